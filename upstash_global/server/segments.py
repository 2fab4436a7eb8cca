"""Segments: the files of the log, and how they are read and judged.

A segment is a header (cluster, stream, first position, CRC of the record before it, its own CRC) and then records. Reading
checks every record, the LSNs and the chain, within a file and from one file to the next.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import Final

from isal.isal_zlib import crc32

from upstash_global.replication.codec import (
    FORMAT_VERSION,
    INCOMPLETE,
    STREAM,
    Entry,
    decode_records,
    next_valid_record,
)
from upstash_global.replication.position import Position
from upstash_global.replication.storage import Corruption, StorageError

READ_BYTES: Final = 1 << 20
MARK_BYTES: Final = 64 << 10  # one known offset for about so many bytes of a segment

_MAGIC: Final = b"UGSEGMNT"
_HEADER: Final = Struct(">8sHH64sQQI")  # magic, format version, stream, cluster, first epoch, first LSN, CRC before it
HEADER_BYTES: Final = _HEADER.size + 4


class Segment:
    """One file of the log."""

    def __init__(self, path: Path, generation: int, first_lsn: int) -> None:
        self.path = path
        self.generation = generation
        self.first_lsn = first_lsn
        self.fd = os.open(path, os.O_RDWR)
        self.size = os.fstat(self.fd).st_size
        self.marks: list[tuple[int, int]] = [(first_lsn, HEADER_BYTES)]  # (LSN, offset), ascending, sparse
        self.ends: dict[int, int] = {}  # LSN → offset where reads have stopped, the last few

    def mark(self, lsn: int, offset: int) -> None:
        """Remember where a record stands, if it is far enough behind the last one known."""
        if offset - self.marks[-1][1] >= MARK_BYTES:
            self.marks.append((lsn, offset))

    def stopped_at(self, lsn: int, offset: int) -> None:
        if len(self.ends) >= 16:
            del self.ends[next(iter(self.ends))]
        self.ends[lsn] = offset

    def offset_before(self, lsn: int) -> int:
        """A known offset of a record at or before `lsn`."""
        exact = self.ends.get(lsn)
        if exact is not None:
            return exact
        return self.marks[bisect_right(self.marks, lsn, key=_first) - 1][1]

    def forget_from(self, lsn: int) -> None:
        self.marks = [mark for mark in self.marks if mark[0] < lsn] or self.marks[:1]
        self.ends = {}

    def read(self, wanted: int, max_bytes: int) -> list[Entry]:
        """Entries from LSN `wanted` on, at least one if there is any, up to the end of the segment."""
        offset = self.offset_before(wanted)
        size = min(max_bytes, READ_BYTES) + MARK_BYTES
        found: list[Entry] = []
        found_bytes = 0
        while offset < self.size:
            data = os.pread(self.fd, min(size, self.size - offset), offset)
            entries, end, problem = decode_records(data)
            if problem is not None and problem != INCOMPLETE:
                lsn = entries[-1].position.lsn + 1 if entries else wanted
                raise corrupt(self.path, offset + end, lsn, problem)
            if not entries:
                if len(data) == self.size - offset:
                    raise corrupt(self.path, offset, wanted, INCOMPLETE)
                size *= 4  # a record larger than what was read
                continue
            for entry in entries:
                if entry.position.lsn >= wanted:
                    if found and found_bytes + len(entry.record) > max_bytes:
                        self.stopped_at(entry.position.lsn, offset)
                        return found
                    found.append(entry)
                    found_bytes += len(entry.record)
                offset += len(entry.record)
            self.mark(entries[-1].position.lsn + 1, offset)
        return found

    def offset_of(self, lsn: int) -> int:
        """Where the record of `lsn` begins; it must be in this segment."""
        if lsn == self.first_lsn:
            return HEADER_BYTES
        last = self.offset_before(lsn)
        while True:
            entries, _, _ = decode_records(os.pread(self.fd, self.size - last, last), 0, 1000)
            for entry in entries:
                if entry.position.lsn == lsn:
                    return last
                last += len(entry.record)
            if not entries:
                raise corrupt(self.path, last, lsn, INCOMPLETE)

    def delete(self) -> None:
        os.close(self.fd)
        self.path.unlink()


def entries_of(
    paths: list[Path],
    cluster: str | None,
    after_lsn: int,
    crc_there: int | None,
    last_lsn: int | None,
    problems: list[str] | None = None,
) -> Iterator[Entry]:
    """The entries above `after_lsn`, whose record has `crc_there`; LSNs and chain are checked from the first one read.

    Without `last_lsn` the end of the last file may be torn. None for cluster or CRC leaves them unchecked.
    """
    starts = [first_lsn_of(path) for path in paths]
    paths = paths[max(0, bisect_right(starts, after_lsn + 1) - 1) :] if last_lsn is not None else paths
    lsn, crc = -1, 0  # of the last record read
    for path in paths:
        data = path.read_bytes()
        first, previous_crc = check_header(path, data, cluster)
        if lsn >= 0 and (first.lsn != lsn + 1 or previous_crc != crc):
            raise corrupt(path, 0, lsn + 1, "the segment does not continue the one before")
        lsn, crc = first.lsn - 1, previous_crc
        if lsn == after_lsn and crc_there is not None and crc != crc_there:
            raise corrupt(path, 0, first.lsn, "the log does not continue the snapshot")
        at = HEADER_BYTES
        while at < len(data):
            if last_lsn is not None and lsn >= last_lsn:
                return
            entries, end, problem = decode_records(data, at, 1000)
            for entry in entries:
                if entry.position.lsn != lsn + 1 or entry.previous_crc != crc:
                    raise corrupt(path, at, lsn + 1, "gap or broken chain")
                lsn, crc = entry.position.lsn, entry.crc
                at += len(entry.record)
                if lsn == after_lsn and crc_there is not None and crc != crc_there:
                    raise corrupt(path, at, lsn, "the log does not continue the snapshot")
                if lsn > after_lsn and (last_lsn is None or lsn <= last_lsn):
                    yield entry
            if problem is not None and (last_lsn is None or lsn < last_lsn):
                if last_lsn is None and path is paths[-1] and next_valid_record(data, end + 1) is None:
                    if problems is not None:
                        problems.append(f"torn tail: segment {path.name}, byte {end}, LSN {lsn + 1}: {problem}")
                    return
                raise corrupt(path, end, lsn + 1, problem)


def segment_header(cluster: str, first: Position, previous_crc: int) -> bytes:
    packed = _HEADER.pack(_MAGIC, FORMAT_VERSION, STREAM, cluster.encode()[:64], first.epoch, first.lsn, previous_crc)
    return packed + crc32(packed).to_bytes(4, "big")


def check_header(path: Path, data: bytes, cluster: str | None) -> tuple[Position, int]:
    """The first position of a segment and the CRC of the record before it."""
    packed = data[: _HEADER.size]
    if len(data) < HEADER_BYTES or crc32(packed) != int.from_bytes(data[_HEADER.size : HEADER_BYTES], "big"):
        raise corrupt(path, 0, first_lsn_of(path), "damaged header")
    magic, version, stream, owner, epoch, lsn, previous_crc = _HEADER.unpack(packed)
    if magic != _MAGIC or version != FORMAT_VERSION or stream != STREAM:
        raise StorageError(
            f"segment {path.name} has format {version}, stream {stream}; known is {FORMAT_VERSION}, {STREAM}"
        )
    if cluster is not None and owner.rstrip(b"\0") != cluster.encode()[:64]:
        raise StorageError(
            f"segment {path.name} belongs to cluster {owner.rstrip(bytes(1)).decode('utf-8', 'replace')}"
        )
    return Position(epoch, lsn), previous_crc


def corrupt(path: Path, offset: int, lsn: int, problem: str) -> Corruption:
    return Corruption(f"log corrupt: segment {path.name}, byte {offset}, LSN {lsn}: {problem}")


def generation_of(name: str) -> int:
    return int(name.split("-")[0])


def first_lsn_of(path: Path) -> int:
    """From a segment's name; a divergent file is named `<epoch>-<from>-<to>.log`."""
    return int(path.stem.split("-")[1])


def _first(mark: tuple[int, int]) -> int:
    return mark[0]


def write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def write_file(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise StorageError(f"{doing}: {problem.strerror or problem}") from problem
