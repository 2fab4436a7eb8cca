"""Storage: the disk as the floors without input and output see it, and one in memory for simulations.

The log is a row of records, each appended once; what `sync` has not covered may be lost at a crash, as a suffix. Snapshots
are written under a temporary name and count only once finished. Everything a node must remember besides (the highest
epoch it saw, its leader, its start count) is one small state, replaced atomically.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from upstash_global.replication.codec import Entry, decode_records, record_position
from upstash_global.replication.position import START, History, Position
from upstash_global.replication.snapshot import Loaded, SnapshotError, SnapshotLoader, read_header

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
        """Move the entries from `from_lsn` on out of the log: (how many, where to). Snapshots of them are dropped."""
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
        """Make the snapshot durable, read it back, let it count; then drop what is no longer needed. Its name."""
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
