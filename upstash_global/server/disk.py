"""The disk of a node: segments of the log, snapshots, and a small state, in one directory.

    lock                                  held while a process uses the directory
    state.json                            replaced atomically
    durable                               how far the log was known to be durable
    log/<generation>-<first LSN>.log      a header, then records; a new segment every 64 MiB
    snapshots/<generation>-<LSN>-<epoch>.snapshot
    divergent/<epoch>-<from>-<to>.log     entries of a superseded leader that nobody else has
    divergent/<epoch>-<from>-<to>.snapshot  and its state, when the log no longer had all of them
    torn-<time>.bin                       what a crash left of the last write

What a crash can leave is a tail: bytes behind the last good record of the last segment, from above the durable mark. It is
cut off and kept. Anything else (a bad record before a good one, a gap, a broken chain, damage in what was durable) is
corruption, and recovery refuses with segment, byte and LSN. A failed write or fsync is never tried again: the storage
refuses everything from then on.

A snapshot received from another node begins a new generation: renaming it into place voids, in that one step, the log and
the snapshots of the generation before; what is left of those is deleted afterwards.

`sync` and `finish_snapshot` may run on a worker thread while the loop appends and reads.
"""

import fcntl
import json
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import Any, Final

from isal.isal_zlib import crc32

from upstash_global.errors import SnapshotError
from upstash_global.replication.codec import Entry, decode_records, next_valid_record, record_position
from upstash_global.replication.position import Position
from upstash_global.replication.snapshot import BlockReader, Loaded, SnapshotHeader, SnapshotLoader, read_header
from upstash_global.replication.storage import (
    Corruption,
    Recovered,
    SnapshotInfo,
    Storage,
    StorageError,
    divergent_name,
    divergent_snapshot_name,
)
from upstash_global.server.segments import (
    HEADER_BYTES,
    READ_BYTES,
    Segment,
    check_header,
    corrupt,
    disk_errors,
    entries_of,
    first_lsn_of,
    generation_of,
    segment_header,
    sync_directory,
    write_all,
    write_file,
)

SEGMENT_BYTES: Final = 64 << 20
KEPT_SNAPSHOTS: Final = 2

_DURABLE: Final = Struct(">QQ")  # generation, LSN


class DiskStorage(Storage):
    def __init__(
        self,
        directory: Path,
        cluster: str,
        now_ms: Callable[[], int],
        segment_bytes: int = SEGMENT_BYTES,
        crashpoint: Callable[[str], None] | None = None,
    ) -> None:
        """Raises StorageError if another process uses the directory or it belongs to another cluster."""
        self.directory = directory
        self.cluster = cluster
        self.now_ms = now_ms
        self.segment_bytes = segment_bytes
        self.crashpoint: Callable[[str], None] = crashpoint or _no_crash
        self.failed = ""  # why nothing is written any more
        self.torn_bytes = 0
        with disk_errors(f"cannot use {directory}"):
            for part in (directory / "log", directory / "snapshots", directory / "divergent"):
                part.mkdir(parents=True, exist_ok=True)
            self.lock_fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self.lock_fd)
            raise StorageError(f"{directory} is in use by another process") from None

        try:
            self._open()
        except StorageError:
            self.close()
            raise

    def _open(self) -> None:
        """Find what there is."""
        self.lock = Lock()  # guards the fields below; held shortly
        self.sync_lock = Lock()  # one sync or rearrangement of files at a time
        self.pins: dict[str, int] = {}
        self.part_fd = -1  # of the snapshot being written
        self.part_cuts = 0  # n_cuts when it was begun
        self.n_cuts = 0  # how often the log was cut or started afresh
        self.received_fd = -1  # of the snapshot being received
        self.dirty: list[Segment] = []  # written since their last fsync
        self.segments: list[Segment] = []
        self.head_lsn = -1  # -1: `recover` comes first
        self.durable_lsn = 0
        self.start_is_lost = False  # `set_aside` went below everything that could be started from
        with disk_errors(f"cannot read {self.directory}"):
            for leftover in self.directory.glob("*/*.part"):
                leftover.unlink()
            self.bad_snapshots: list[str] = []
            self.generation = 0
            self.infos = self._find_snapshots()  # oldest first
            for path in sorted((self.directory / "log").glob("*.log")):
                self.segments.append(Segment(path, generation_of(path.name), first_lsn_of(path)))
        for segment in self.segments:
            self.generation = max(self.generation, segment.generation)
            check_header(segment.path, os.pread(segment.fd, HEADER_BYTES, 0), self.cluster)

    def close(self) -> None:
        """Let go of the directory; nothing is synced."""
        for segment in self.segments:
            os.close(segment.fd)
        self.segments = []
        self.abort_snapshot()
        self.receive_snapshot_abort()
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1

    # -- writing the log ----------------------------------------------------------------------------------------

    def append(self, records: list[bytes]) -> None:
        if self.failed:
            raise StorageError(self.failed)
        if not records:
            return
        position, previous_crc = record_position(records[0])
        if position.lsn != self.head_lsn + 1:
            raise StorageError(f"LSN {position.lsn} cannot be written behind LSN {self.head_lsn}")
        self.crashpoint("before_append")
        try:
            if not self.segments or self.segments[-1].size >= self.segment_bytes:
                self._begin_segment(position, previous_crc)
            segment = self.segments[-1]
            data = b"".join(records) if len(records) > 1 else records[0]
            write_all(segment.fd, data)
        except OSError as problem:
            raise self._fail("writing the log", problem) from problem
        with self.lock:
            segment.mark(position.lsn, segment.size)
            segment.size += len(data)
            self.head_lsn += len(records)
            if not self.dirty or self.dirty[-1] is not segment:
                self.dirty.append(segment)
        self.crashpoint("after_append_before_fsync")

    def sync(self) -> int:
        with self.sync_lock:
            return self._sync()

    def _sync(self) -> int:
        if self.failed:
            raise StorageError(self.failed)
        with self.lock:
            target = self.head_lsn
            dirty, self.dirty = self.dirty, []
        if target == self.durable_lsn and not dirty:
            return target
        try:
            for segment in dirty:
                os.fsync(segment.fd)
            self._write_durable(target)
        except OSError as problem:
            raise self._fail("syncing the log", problem) from problem
        self.crashpoint("after_fsync_before_ack")
        self.durable_lsn = target
        return target

    def _begin_segment(self, position: Position, previous_crc: int) -> None:
        """A file that has its header, durably, before the first record goes there."""
        path = self.directory / "log" / f"{self.generation:08d}-{position.lsn:020d}.log"
        part = path.with_suffix(".part")
        write_file(part, segment_header(self.cluster, position, previous_crc))
        self.crashpoint("segment_before_rename")
        part.rename(path)
        sync_directory(path.parent)
        segment = Segment(path, self.generation, position.lsn)
        os.lseek(segment.fd, 0, os.SEEK_END)
        with self.lock:
            self.segments.append(segment)
        self.crashpoint("segment_after_rename")

    def _write_durable(self, lsn: int) -> None:
        """Note how far the log is durable. Not synced: after a power failure the mark may be old, never too new."""
        packed = _DURABLE.pack(self.generation, lsn)
        with open(self.directory / "durable", "wb", buffering=0) as file:
            file.write(packed + crc32(packed).to_bytes(4, "big"))

    def _read_durable(self) -> int:
        try:
            data = (self.directory / "durable").read_bytes()
        except FileNotFoundError:
            return 0
        packed = data[: _DURABLE.size]
        if len(packed) < _DURABLE.size or crc32(packed) != int.from_bytes(data[_DURABLE.size :], "big"):
            return 0
        generation, lsn = _DURABLE.unpack(packed)
        return int(lsn) if generation == self.generation else 0

    def _fail(self, doing: str, problem: OSError) -> StorageError:
        self.failed = f"{doing} failed: {problem.strerror or problem}"
        return StorageError(self.failed)

    # -- reading the log ----------------------------------------------------------------------------------------

    def read_log(self, after_lsn: int, max_bytes: int) -> list[Entry] | None:
        wanted = after_lsn + 1
        with self.lock:
            if wanted > self.head_lsn:
                return []
            at = bisect_right(self.segments, wanted, key=_first_lsn) - 1
            if at < 0:
                return None
            return self.segments[at].read(wanted, max_bytes)

    # -- recovering ---------------------------------------------------------------------------------------------

    def recover(self, limit_lsn: int | None = None) -> Recovered:
        with self.sync_lock, disk_errors("recovering"):
            torn = self._cut_torn_tail()
            snapshot = self._load_newest(limit_lsn)
            live = [segment for segment in self.segments if segment.generation == self.generation]
            start_lsn = snapshot.position.lsn if snapshot is not None else 0
            begins_lsn = live[0].first_lsn if live else 0
            is_lost = snapshot is None and not live and (self.bad_snapshots or self.generation > 0)
            if is_lost or self.start_is_lost or begins_lsn > start_lsn + 1:
                problems = "; ".join(self.bad_snapshots) or "none is there"
                raise Corruption(f"no good snapshot to start from, and the log begins at LSN {begins_lsn}: {problems}")
            self._delete_older_generations()
            if self.segments and self.head_lsn < start_lsn:  # the snapshot covers all of it
                self._delete_segments(0)
            if not self.segments:
                self.head_lsn = start_lsn
            if self.head_lsn < self._read_durable():
                raise Corruption(f"the log ends at LSN {self.head_lsn}, but was durable up to {self._read_durable()}")
            self._write_durable(self.head_lsn)
            self.durable_lsn = self.head_lsn
            crc = snapshot.crc if snapshot is not None else 0
            last = self.head_lsn if limit_lsn is None else min(limit_lsn, self.head_lsn)
            entries = entries_of([segment.path for segment in self.segments], self.cluster, start_lsn, crc, last)
            return Recovered(snapshot, entries, torn)

    def _load_newest(self, limit_lsn: int | None) -> Loaded | None:
        """The newest snapshot of this generation that is good; damaged ones stay where they are, but count no more."""
        for info in reversed(self.infos.copy()):
            is_above = limit_lsn is not None and info.position.lsn > limit_lsn
            if is_above or generation_of(info.name) != self.generation:
                continue
            loader = SnapshotLoader()
            try:
                with open(self.directory / "snapshots" / info.name, "rb") as file:
                    while data := file.read(READ_BYTES):
                        loader.feed(data)
                return loader.finish()
            except SnapshotError as problem:
                self.bad_snapshots.append(f"snapshot {info.name}: {problem}")
                self.infos.remove(info)
        return None

    def _cut_torn_tail(self) -> int:
        """Find the end of the last segment, and put aside what a crash left behind it."""
        live = [segment for segment in self.segments if segment.generation == self.generation]
        if not live:
            return 0
        segment = live[-1]
        data = segment.path.read_bytes()
        lsn, at = segment.first_lsn, HEADER_BYTES
        problem: str | None = None
        while at < len(data) and problem is None:
            entries, at, problem = decode_records(data, at, 1000)
            lsn += len(entries)
            segment.mark(lsn, at)
        if problem is not None:
            if lsn <= self._read_durable():
                raise corrupt(segment.path, at, lsn, f"{problem}, in what was durable")
            if next_valid_record(data, at + 1) is not None:
                raise corrupt(segment.path, at, lsn, f"{problem}, before a good record")
            write_file(self.directory / f"torn-{self.now_ms()}.bin", data[at:])
            sync_directory(self.directory)
            self.crashpoint("torn_before_cut")
            os.ftruncate(segment.fd, at)
        os.fsync(segment.fd)
        os.lseek(segment.fd, at, os.SEEK_SET)
        segment.size = at
        self.head_lsn = lsn - 1
        torn = len(data) - at
        self.torn_bytes += torn
        return torn

    def _delete_older_generations(self) -> None:
        for segment in [each for each in self.segments if each.generation != self.generation]:
            self.segments.remove(segment)
            segment.delete()
        for info in [each for each in self.infos if generation_of(each.name) != self.generation]:
            self._delete_snapshot(info)

    # -- going back, starting afresh ----------------------------------------------------------------------------

    def set_aside(self, from_lsn: int) -> tuple[int, str]:
        with self.sync_lock, disk_errors("setting entries aside"):
            self._sync()
            self.n_cuts += 1
            count, name = max(0, self.head_lsn + 1 - from_lsn), ""
            above = [each for each in self.infos if each.position.lsn >= from_lsn]
            begins_lsn = self.segments[0].first_lsn if self.segments else self.head_lsn + 1
            if above and from_lsn < begins_lsn:
                name = self._keep_aside(above[-1], from_lsn)
            if count:
                name = self._copy_aside(from_lsn) or name
            self.crashpoint("after_set_aside_before_cut")
            for info in above:
                self._delete_snapshot(info)
            self._write_durable(min(self.durable_lsn, from_lsn - 1))
            self._cut(from_lsn)
            begins_lsn = self.segments[0].first_lsn if self.segments else from_lsn
            if begins_lsn > 1 and not any(begins_lsn <= info.position.lsn + 1 for info in self.infos):
                self.start_is_lost = True  # what is left is no state: after a restart, an empty node
                self._delete_segments(0)
                self._write_durable(0)
            return count, name

    def _cut(self, from_lsn: int) -> None:
        """End the log below `from_lsn`."""
        at = bisect_right(self.segments, from_lsn, key=_first_lsn) - 1
        if at < 0 or self.segments[at].first_lsn == from_lsn:
            self._delete_segments(max(0, at))
        else:
            self._delete_segments(at + 1)
            segment = self.segments[at]
            if from_lsn <= self.head_lsn:
                end = segment.offset_of(from_lsn)
                with self.lock:
                    os.ftruncate(segment.fd, end)
                    os.fsync(segment.fd)
                    os.lseek(segment.fd, end, os.SEEK_SET)
                    segment.size = end
                    segment.forget_from(from_lsn)
        self.head_lsn = min(self.head_lsn, from_lsn - 1)
        self.durable_lsn = min(self.durable_lsn, self.head_lsn)

    def _keep_aside(self, info: SnapshotInfo, from_lsn: int) -> str:
        """Let a snapshot that is about to be dropped stay under another name."""
        name = divergent_snapshot_name(info.position, from_lsn)
        path = self.directory / name
        path.unlink(missing_ok=True)
        path.hardlink_to(self.directory / "snapshots" / info.name)
        sync_directory(path.parent)
        return name

    def _copy_aside(self, from_lsn: int) -> str:
        """Write the entries from `from_lsn` on to a file of their own, itself a segment."""
        at = max(0, bisect_right(self.segments, from_lsn, key=_first_lsn) - 1)
        if not self.segments:
            return ""
        first_lsn = max(from_lsn, self.segments[0].first_lsn)
        first = self.segments[at].read(first_lsn, 1)[0]
        name = divergent_name(first.record, first_lsn, self.head_lsn)
        path = self.directory / name
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            file.write(segment_header(self.cluster, first.position, first.previous_crc))
            for segment in self.segments[at:]:
                offset = segment.offset_of(max(first_lsn, segment.first_lsn))
                while offset < segment.size:
                    data = os.pread(segment.fd, min(READ_BYTES, segment.size - offset), offset)
                    file.write(data)
                    offset += len(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        sync_directory(path.parent)
        return name

    def reset_log(self, position: Position) -> None:
        with self.sync_lock, disk_errors("starting the log afresh"):
            self.dirty = []
            self.n_cuts += 1
            with self.lock:
                self._delete_older_generations()
                self._delete_segments(0)
            self.start_is_lost = False
            self.head_lsn = position.lsn
            self._write_durable(position.lsn)
            self.durable_lsn = position.lsn
            self.crashpoint("after_reset_log")

    def _delete_segments(self, keep: int) -> None:
        """Delete all but the oldest `keep` segments, the newest first, so that a crash leaves no gap."""
        while len(self.segments) > keep:
            segment = self.segments.pop()
            if segment in self.dirty:
                self.dirty.remove(segment)
            segment.delete()
        sync_directory(self.directory / "log")

    # -- snapshots ----------------------------------------------------------------------------------------------

    def begin_snapshot(self, position: Position) -> None:
        self.abort_snapshot()
        with disk_errors("beginning a snapshot"):
            self.part_fd = os.open(self._part("own"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            self.part_cuts = self.n_cuts

    def write_snapshot(self, data: bytes) -> None:
        with disk_errors("writing a snapshot"):
            write_all(self.part_fd, data)

    def finish_snapshot(self) -> str:
        self.sync()  # or a crash might leave a log that ends below the snapshot
        with disk_errors("finishing a snapshot"):
            fd, self.part_fd = self.part_fd, -1
            part = self._part("own")
            header = self._seal(fd, part)
            with self.sync_lock:
                if self.part_cuts != self.n_cuts:
                    part.unlink()
                    return ""
                info = self._name(part, header, self.generation)
                self._take_in(info)
            self.crashpoint("snapshot_after_cleanup")
            return info.name

    def abort_snapshot(self) -> None:
        if self.part_fd >= 0:
            os.close(self.part_fd)
            self.part_fd = -1
            self._part("own").unlink(missing_ok=True)

    def snapshots(self) -> list[SnapshotInfo]:
        with self.lock:
            return self.infos[::-1]

    def read_snapshot(self, name: str, offset: int, size: int) -> bytes:
        with disk_errors(f"reading snapshot {name}"), open(self.directory / "snapshots" / name, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def pin(self, name: str) -> None:
        with self.lock:
            self.pins[name] = self.pins.get(name, 0) + 1

    def unpin(self, name: str) -> None:
        with self.lock:
            self.pins[name] -= 1
            if not self.pins[name]:
                del self.pins[name]

    def receive_snapshot_begin(self, position: Position) -> None:
        self.receive_snapshot_abort()
        with disk_errors("beginning to receive a snapshot"):
            self.received_fd = os.open(self._part("received"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

    def receive_snapshot_write(self, data: bytes) -> None:
        with disk_errors("receiving a snapshot"):
            write_all(self.received_fd, data)

    def receive_snapshot_finish(self) -> str:
        with self.sync_lock, disk_errors("finishing a received snapshot"):
            fd, self.received_fd = self.received_fd, -1
            part = self._part("received")
            info = self._name(part, self._seal(fd, part), self.generation + 1)
            self.n_cuts += 1
            with self.lock:
                self.infos.append(info)
            self.generation += 1
            return info.name

    def receive_snapshot_abort(self) -> None:
        if self.received_fd >= 0:
            os.close(self.received_fd)
            self.received_fd = -1
            self._part("received").unlink(missing_ok=True)

    def _part(self, whose: str) -> Path:
        return self.directory / "snapshots" / f"{whose}.part"

    def _seal(self, fd: int, part: Path) -> SnapshotHeader:
        """Make a written snapshot durable and read it back."""
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            return _verify_snapshot(part)
        except SnapshotError as problem:
            part.unlink()
            raise StorageError(f"the snapshot cannot be read back: {problem}") from None

    def _name(self, part: Path, header: SnapshotHeader, generation: int) -> SnapshotInfo:
        """Give a sealed snapshot the name under which it counts."""
        position = header.position
        path = part.with_name(f"{generation:08d}-{position.lsn:020d}-{position.epoch}.snapshot")
        self.crashpoint("snapshot_before_rename")
        size = part.stat().st_size
        part.rename(path)
        sync_directory(path.parent)
        self.crashpoint("snapshot_after_rename")
        return SnapshotInfo(path.name, position, header.crc, header.history, header.time_ms, size)

    def _take_in(self, info: SnapshotInfo) -> None:
        """Let a new snapshot count. The newest ones are kept, pinned ones, and the log behind the oldest of those."""
        with self.lock:
            self.infos.append(info)
            dropped = [each for each in self.infos[:-KEPT_SNAPSHOTS] if each.name not in self.pins]
            self.infos = [each for each in self.infos if each not in dropped]
            needed_lsn = self.infos[0].position.lsn + 1 if len(self.infos) >= KEPT_SNAPSHOTS else 0
            n_unneeded = 0
            while n_unneeded + 1 < len(self.segments) and self.segments[n_unneeded + 1].first_lsn <= needed_lsn:
                n_unneeded += 1
            unneeded, self.segments = self.segments[:n_unneeded], self.segments[n_unneeded:]
            self.dirty = [segment for segment in self.dirty if segment not in unneeded]
        for each in dropped:
            (self.directory / "snapshots" / each.name).unlink(missing_ok=True)
        for segment in unneeded:
            segment.delete()

    def _delete_snapshot(self, info: SnapshotInfo) -> None:
        (self.directory / "snapshots" / info.name).unlink(missing_ok=True)
        self.infos.remove(info)

    def _find_snapshots(self) -> list[SnapshotInfo]:
        infos: list[SnapshotInfo] = []
        for path in sorted((self.directory / "snapshots").glob("*.snapshot")):
            self.generation = max(self.generation, generation_of(path.name))
            with open(path, "rb") as file:
                data = file.read(READ_BYTES)
            try:
                header = read_header(data)
            except SnapshotError as problem:
                self.bad_snapshots.append(f"snapshot {path.name}: {problem}")
                continue
            size = path.stat().st_size
            infos.append(SnapshotInfo(path.name, header.position, header.crc, header.history, header.time_ms, size))
        return infos

    # -- the rest -----------------------------------------------------------------------------------------------

    def save_state(self, state: dict[str, Any]) -> None:
        path = self.directory / "state.json"
        part = path.with_suffix(".part")
        with disk_errors("saving the state"):
            write_file(part, json.dumps(state, indent=1).encode())
            self.crashpoint("state_before_rename")
            part.rename(path)
            sync_directory(self.directory)
            self.crashpoint("state_after_rename")

    def load_state(self) -> dict[str, Any]:
        path = self.directory / "state.json"
        with disk_errors("loading the state"):
            if not path.exists():
                return {}
            try:
                state: dict[str, Any] = json.loads(path.read_bytes())
            except ValueError as problem:
                raise Corruption(f"{path.name} is damaged: {problem}") from None
            return state

    def free_bytes(self) -> int:
        with disk_errors("asking for free space"):
            space = os.statvfs(self.directory)
            return space.f_bavail * space.f_frsize


# -- for tools: no lock, nothing is changed -----------------------------------------------------------------------------


def read(directory: Path) -> Iterator[Entry]:
    """The entries of a log, also of one in use; ends quietly at a torn tail. `directory` may be a single segment file.

    Raises Corruption with segment, byte and LSN.
    """
    paths = _segment_paths(directory)
    return entries_of(paths, None, 0, None, None)


def verify(directory: Path) -> list[str]:
    """What is wrong with a directory, one line each; a torn tail is named, too."""
    problems: list[str] = []
    try:
        for _ in entries_of(_segment_paths(directory), None, 0, None, None, problems):
            pass
    except StorageError as problem:
        problems.append(str(problem))
    for path in sorted((directory / "snapshots").glob("*.snapshot")):
        try:
            _verify_snapshot(path)
        except SnapshotError as problem:
            problems.append(f"snapshot {path.name}: {problem}")
    return problems


def _segment_paths(directory: Path) -> list[Path]:
    if directory.is_file():
        return [directory]
    paths = sorted((directory / "log").glob("*.log"))
    snapshots = (directory / "snapshots").glob("*.snapshot")
    newest = max([generation_of(path.name) for path in [*paths, *snapshots]], default=0)
    return [path for path in paths if generation_of(path.name) == newest]


def _verify_snapshot(path: Path) -> SnapshotHeader:
    """The header of a snapshot whose every block is good. Raises SnapshotError."""
    reader = BlockReader()
    with open(path, "rb") as file:
        while data := file.read(READ_BYTES):
            reader.feed(data)
    return reader.finish()


def _first_lsn(segment: Segment) -> int:
    return segment.first_lsn


def _no_crash(name: str) -> None:
    pass
