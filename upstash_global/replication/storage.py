"""Storage: the disk as the floors without input and output see it, and one in memory for simulations.

The log is a row of records, each appended once; what `sync` has not covered may be lost at a crash, as a suffix. Snapshots
are written under a temporary name and count only once finished. Everything a node must remember besides (the highest
epoch it saw, its leader, its start count) is one small state, replaced atomically.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from upstash_global.replication.codec import Entry, decode_records, record_position
from upstash_global.replication.position import History, Position
from upstash_global.replication.snapshot import Loaded, SnapshotLoader

if TYPE_CHECKING:
    from random import Random


class StorageError(Exception):
    """The disk did not do what it was told; nothing that was not yet durable may count as written."""


class Corruption(StorageError):
    """What the disk holds is damaged where no crash can have damaged it: served to nobody."""


class Recovered:
    """What a node starts from: the newest good snapshot and the entries behind it."""

    def __init__(self, snapshot: Loaded | None, entries: Iterable[Entry], torn_bytes: int) -> None:
        self.snapshot = snapshot  # None: the log starts at LSN 1
        self.entries = entries  # may raise Corruption while it is read
        self.torn_bytes = torn_bytes  # cut off behind the last good record


class SnapshotInfo:
    """A finished snapshot."""

    def __init__(self, name: str, position: Position, crc: int, history: History, time_ms: int, size: int) -> None:
        self.name = name
        self.position = position
        self.crc = crc
        self.history = history
        self.time_ms = time_ms
        self.size = size


class Storage:
    """What a node asks of its disk. Every method may raise StorageError."""

    durable_lsn: int = 0  # every entry up to here survives a crash

    # the log

    def append(self, records: list[bytes]) -> None:
        """Write records behind the last one; durable after the next `sync`."""
        raise NotImplementedError

    def sync(self) -> int:
        """Make durable what was appended before the call; the LSN up to which that holds."""
        raise NotImplementedError

    def read_log(self, after_lsn: int, max_bytes: int) -> list[Entry] | None:
        """Entries above `after_lsn`, at least one if there is any; None if the log does not reach back that far."""
        raise NotImplementedError

    def set_aside(self, from_lsn: int) -> tuple[int, str]:
        """Move the entries from `from_lsn` on out of the log: (how many, where to). Snapshots of them are dropped.

        If the log begins above `from_lsn`, the newest of these snapshots goes with them: it alone knows the rest.

        If no snapshot is left to start from, `recover` raises Corruption until `reset_log`; after a restart the node is
        then an empty one.
        """
        raise NotImplementedError

    def reset_log(self, position: Position) -> None:
        """Start the log afresh behind `position`, where a received snapshot has just been finished."""
        raise NotImplementedError

    def recover(self, limit_lsn: int | None = None) -> Recovered:
        """The state on disk, or the part of it up to `limit_lsn`. Raises Corruption when there is none to be had."""
        raise NotImplementedError

    # snapshots

    def begin_snapshot(self, position: Position) -> None:
        raise NotImplementedError

    def write_snapshot(self, data: bytes) -> None:
        raise NotImplementedError

    def finish_snapshot(self) -> str:
        """Make the snapshot durable, read it back, let it count; then drop what is no longer needed. Its name.

        One that was begun before the log was cut or started afresh counts for nothing: its name is "".
        """
        raise NotImplementedError

    def abort_snapshot(self) -> None:
        raise NotImplementedError

    def snapshots(self) -> list[SnapshotInfo]:
        """The finished ones, newest first."""
        raise NotImplementedError

    def read_snapshot(self, name: str, offset: int, size: int) -> bytes:
        """Up to `size` bytes of a finished snapshot."""
        raise NotImplementedError

    def pin(self, name: str) -> None:
        """Keep this snapshot and the log behind it until `unpin`; pins are counted."""
        raise NotImplementedError

    def unpin(self, name: str) -> None:
        raise NotImplementedError

    # a snapshot that arrives from another node

    def receive_snapshot_begin(self, position: Position) -> None:
        raise NotImplementedError

    def receive_snapshot_write(self, data: bytes) -> None:
        raise NotImplementedError

    def receive_snapshot_finish(self) -> str:
        """Make it durable. From here on it is what the node recovers from, and the log before it is void."""
        raise NotImplementedError

    def receive_snapshot_abort(self) -> None:
        raise NotImplementedError

    # the rest

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the node's small state, durably and at once."""
        raise NotImplementedError

    def load_state(self) -> dict[str, Any]:
        """The state last saved; empty on a new disk."""
        raise NotImplementedError

    def free_bytes(self) -> int:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of files; nothing is synced."""


class MemoryStorage(Storage):
    """A disk for simulations. `crash` loses what was not synced, but for a prefix of it, perhaps with a torn record."""

    def __init__(self) -> None:
        self.durable_lsn = 0
        self.n_lost = 0  # entries lost in crashes
        self.torn_bytes = 0
        self.log: list[bytes] = []  # records, without a gap
        self.first_lsn = 1
        self.tail = b""  # what a crash left of the record after the last
        self.start_is_lost = False  # `set_aside` went below everything that could be started from
        self.set_aside_logs: dict[str, list[bytes]] = {}
        self.set_aside_snapshots: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}  # finished snapshots, oldest first
        self.infos: list[SnapshotInfo] = []
        self.pins: dict[str, int] = {}
        self.writing: bytearray | None = None
        self.writing_cuts = 0  # n_cuts when it was begun
        self.n_cuts = 0  # how often the log was cut or started afresh
        self.receiving: bytearray | None = None
        self.state: dict[str, Any] = {}
        self.n_snapshots = 0

    @property
    def head_lsn(self) -> int:
        return self.first_lsn + len(self.log) - 1

    def append(self, records: list[bytes]) -> None:
        for record in records:
            position, _ = record_position(record)
            if not self.log and not self.infos:
                assert position.lsn == 1, "an empty log begins at LSN 1"
            assert position.lsn == self.head_lsn + 1, f"{position} after {self.head_lsn}"
            self.log.append(record)

    def sync(self) -> int:
        self.durable_lsn = self.head_lsn
        return self.durable_lsn

    def read_log(self, after_lsn: int, max_bytes: int) -> list[Entry] | None:
        at = after_lsn + 1 - self.first_lsn
        if at < 0:
            return None
        entries: list[Entry] = []
        size = 0
        while at < len(self.log) and (not entries or size + len(self.log[at]) <= max_bytes):
            size += len(self.log[at])
            entries.extend(decode_records(self.log[at])[0])
            at += 1
        return entries

    def set_aside(self, from_lsn: int) -> tuple[int, str]:
        self.n_cuts += 1
        count = max(0, self.head_lsn + 1 - from_lsn)
        keep = max(0, from_lsn - self.first_lsn)
        tail = self.log[keep:]
        name = ""
        above = [each for each in self.infos if each.position.lsn >= from_lsn]
        if above and from_lsn < self.first_lsn:
            name = divergent_snapshot_name(above[-1].position, from_lsn)
            self.set_aside_snapshots[name] = self.files[above[-1].name]
        if tail:
            name = divergent_name(tail[0], from_lsn, self.head_lsn)
            self.set_aside_logs[name] = tail
            del self.log[keep:]
        self.durable_lsn = min(self.durable_lsn, from_lsn - 1)
        for info in above:
            self._drop(info)
        self.start_is_lost = not self.infos and self.first_lsn > 1
        return count, name

    def reset_log(self, position: Position) -> None:
        self.n_cuts += 1
        self.log = []
        self.first_lsn = position.lsn + 1
        self.durable_lsn = position.lsn
        self.start_is_lost = False
        for info in self.infos[:-1]:
            self._drop(info)

    def recover(self, limit_lsn: int | None = None) -> Recovered:
        entries, _, _ = decode_records(b"".join(self.log))
        limit = self.head_lsn if limit_lsn is None else limit_lsn
        torn, self.tail = len(self.tail), b""
        self.torn_bytes += torn
        for info in reversed(self.infos):
            if info.position.lsn <= limit or limit_lsn is None:
                loader = SnapshotLoader()
                loader.feed(self.files[info.name])
                loaded = loader.finish()
                wanted = [entry for entry in entries if info.position.lsn < entry.position.lsn <= limit]
                return Recovered(loaded, wanted, torn)
        if self.start_is_lost:
            raise Corruption(f"no snapshot at or below LSN {limit}, and the log begins at {self.first_lsn}")
        return Recovered(None, [entry for entry in entries if entry.position.lsn <= limit], torn)

    def begin_snapshot(self, position: Position) -> None:
        self.writing = bytearray()
        self.writing_cuts = self.n_cuts

    def write_snapshot(self, data: bytes) -> None:
        assert self.writing is not None
        self.writing += data

    def finish_snapshot(self) -> str:
        assert self.writing is not None
        data, self.writing = bytes(self.writing), None
        if self.writing_cuts != self.n_cuts:
            return ""
        name = self._finish(data)
        kept = [each for i, each in enumerate(self.infos) if i >= len(self.infos) - 2 or each.name in self.pins]
        for info in [each for each in self.infos if each not in kept]:
            self._drop(info)
        drop = self.infos[0].position.lsn + 1 - self.first_lsn
        if len(self.infos) > 1 and drop > 0:
            del self.log[:drop]
            self.first_lsn += drop
        return name

    def abort_snapshot(self) -> None:
        self.writing = None

    def snapshots(self) -> list[SnapshotInfo]:
        return self.infos[::-1]

    def read_snapshot(self, name: str, offset: int, size: int) -> bytes:
        if name not in self.files:
            raise StorageError(f"no snapshot {name}")
        return self.files[name][offset : offset + size]

    def pin(self, name: str) -> None:
        self.pins[name] = self.pins.get(name, 0) + 1

    def unpin(self, name: str) -> None:
        self.pins[name] -= 1
        if not self.pins[name]:
            del self.pins[name]

    def receive_snapshot_begin(self, position: Position) -> None:
        self.receiving = bytearray()

    def receive_snapshot_write(self, data: bytes) -> None:
        assert self.receiving is not None
        self.receiving += data

    def receive_snapshot_finish(self) -> str:
        assert self.receiving is not None
        data, self.receiving = bytes(self.receiving), None
        return self._finish(data)

    def receive_snapshot_abort(self) -> None:
        self.receiving = None

    def save_state(self, state: dict[str, Any]) -> None:
        self.state = dict(state)

    def load_state(self) -> dict[str, Any]:
        return dict(self.state)

    def free_bytes(self) -> int:
        return 1 << 40

    def crash(self, random: "Random") -> int:
        """Power fails: of the unsynced records a prefix stays, and perhaps a piece of the next. How many were lost."""
        n_durable = max(0, self.durable_lsn + 1 - self.first_lsn)
        kept = random.randint(n_durable, len(self.log)) if len(self.log) > n_durable else len(self.log)
        lost = len(self.log) - kept
        self.tail = self.log[kept][: random.randrange(len(self.log[kept]))] if lost else b""
        del self.log[kept:]
        self.n_lost += lost
        self.durable_lsn = self.head_lsn  # what is read back after the crash is on the disk
        self.writing = None
        self.receiving = None
        self.pins = {}
        if self.start_is_lost:
            self.log, self.first_lsn, self.durable_lsn, self.start_is_lost = [], 1, 0, False
        return lost

    def _finish(self, data: bytes) -> str:
        loader = SnapshotLoader()
        loader.feed(data)
        header = loader.finish()
        self.n_snapshots += 1
        name = f"{self.n_snapshots:08d}-{header.position.lsn}.snapshot"
        self.files[name] = data
        self.infos.append(SnapshotInfo(name, header.position, header.crc, header.history, header.time_ms, len(data)))
        return name

    def _drop(self, info: SnapshotInfo) -> None:
        self.infos.remove(info)
        del self.files[info.name]


def divergent_name(record: bytes, from_lsn: int, to_lsn: int) -> str:
    """Where entries go that a superseded leader wrote and nobody else has."""
    position, _ = record_position(record)
    return f"divergent/{position.epoch}-{from_lsn}-{to_lsn}.log"


def divergent_snapshot_name(position: Position, from_lsn: int) -> str:
    """Where a snapshot goes that holds what such entries did, where the log no longer has them."""
    return f"divergent/{position.epoch}-{from_lsn}-{position.lsn}.snapshot"
