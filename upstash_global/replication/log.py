"""The replication log in memory: its head, its history, and the newest records.

A leader appends, a follower accepts; both chain the CRC of each record to the one before. The backlog keeps the newest
records, bounded by count and bytes, for the feeds; what has left it is read from the disk. It holds bytes, not entries:
100,000 entries are a million objects, which the garbage collector would walk over and over.
"""

from typing import Any, Final

from librt.strings import BytesWriter

from upstash_global.errors import Divergence, Gap
from upstash_global.replication.codec import DATA, EPOCH, SYSTEM, Entry, decode_records, encode_record, record_crc
from upstash_global.replication.position import START, History, Position, epoch_parts, make_epoch

__all__ = [
    "DATA",
    "EPOCH",
    "START",
    "SYSTEM",
    "Divergence",
    "Entry",
    "Gap",
    "History",
    "Position",
    "ReplicationLog",
    "epoch_parts",
    "make_epoch",
]

KEPT_WRITER_BYTES: Final = 1 << 16  # a larger record's buffer is not kept for the next ones
EPOCH_ROW: Final = b"_EPOCH"  # _EPOCH <previous epoch> <its last LSN> <leader>: how an epoch's first entry reads


class ReplicationLog:
    def __init__(self, max_entries: int = 100_000, max_bytes: int = 64 << 20) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.head_lsn = 0  # of the newest entry
        self.head_crc = 0  # its CRC, which the next record chains to
        self.head_time_ms = 0  # its time; a leader's clock never goes back behind it
        self.history = History()
        self.epoch = 0  # of the head
        self.backlog: list[bytes] = []  # the newest records, without a gap up to the head
        self.backlog_bytes = 0
        self.base_crc = 0  # CRC of the record just before the backlog
        self._head: Position | None = START  # made when somebody asks: of few entries anybody does
        self._writer = BytesWriter()

    @property
    def head(self) -> Position:
        """The newest entry."""
        head = self._head
        if head is None:
            head = self._head = Position(self.epoch, self.head_lsn)
        return head

    @property
    def first_lsn(self) -> int:
        """The oldest LSN in the backlog; head + 1 when it is empty."""
        return self.head_lsn + 1 - len(self.backlog)

    @property
    def head_bytes(self) -> int:
        """Record bytes of all entries from the first one up to the head."""
        return self.history.head_bytes

    def contains(self, position: Position) -> bool:
        """Whether `position` is on this log's history, at or below its head."""
        return self.history.contains(position)

    # -- growing ------------------------------------------------------------------------------------------------

    def append(self, time_ms: int, kind: int, commands: list[list[bytes]], attributes: dict[str, Any]) -> Entry:
        """The leader's way: the entry at the next LSN of the current epoch."""
        previous_crc = self.head_crc
        record = self.write(time_ms, kind, commands, attributes)
        return Entry(self.head, time_ms, kind, commands, attributes, record, self.head_crc, previous_crc)

    def write(self, time_ms: int, kind: int, commands: list[list[bytes]], attributes: dict[str, Any]) -> bytes:
        """As `append`, for whoever wants the record alone."""
        record, crc = encode_record(
            self._writer, kind, self.epoch, self.head_lsn + 1, time_ms, self.head_crc, commands, attributes
        )
        if len(record) > KEPT_WRITER_BYTES:
            self._writer = BytesWriter()
        self._extend(record, crc, time_ms)
        return record

    def begin_epoch(self, epoch: int, time_ms: int, node_name: str) -> Entry:
        """Start a reign: an entry at the next LSN that names the previous epoch and its last LSN, the fork point."""
        head = self.head
        self.history.begin(epoch, head.lsn + 1)
        self.epoch = epoch
        return self.append(time_ms, EPOCH, [_epoch_command(head, node_name)], {})

    def accept(self, entry: Entry) -> None:
        """The follower's way: an entry that another node made.

        Raises Gap if it is not the one after the head, Divergence if it claims to be but was chained to another past.
        """
        position = entry.position
        if position.lsn != self.head_lsn + 1:
            raise Gap(f"got {position}, the head is {self.head}")
        if entry.previous_crc != self.head_crc:
            raise Divergence(f"{position} follows an entry that is not ours at {self.head}")
        if position.epoch != self.epoch:
            if entry.kind != EPOCH or position.epoch < self.epoch:
                raise Gap(f"got {position}, whose epoch has not begun here; the head is {self.head}")
            if entry.commands[0][1:3] != _epoch_command(self.head, "")[1:3]:
                raise Divergence(f"epoch {position.epoch} does not fork off {self.head}")
            self.history.begin(position.epoch, position.lsn)
            self.epoch = position.epoch
        self._extend(entry.record, entry.crc, entry.time_ms)

    def _extend(self, record: bytes, crc: int, time_ms: int) -> None:
        """Make this record, of the current epoch, the head."""
        size = len(record)
        lsn = self.head_lsn + 1
        history = self.history
        history.head_lsn = lsn
        history.head_bytes += size
        self.head_lsn = lsn
        self._head = None
        self.head_crc = crc
        self.head_time_ms = time_ms
        self.backlog.append(record)
        self.backlog_bytes += size
        if len(self.backlog) > self.max_entries or self.backlog_bytes > self.max_bytes:
            self._trim()

    def _trim(self) -> None:
        """Drop the oldest entries down to seven eighths of the bounds, so that the move of the rest is rarely paid."""
        backlog = self.backlog
        keep_entries = max(1, self.max_entries - self.max_entries // 8)
        keep_bytes = self.max_bytes - self.max_bytes // 8
        drop = max(0, len(backlog) - keep_entries)
        size = self.backlog_bytes
        for i in range(drop):
            size -= len(backlog[i])
        while size > keep_bytes and drop < len(backlog) - 1:
            size -= len(backlog[drop])
            drop += 1
        if drop:
            self.base_crc = record_crc(backlog[drop - 1])
            del backlog[:drop]
            self.backlog_bytes = size

    # -- reading ------------------------------------------------------------------------------------------------

    def entries_after(self, lsn: int, max_entries: int, max_bytes: int) -> list[Entry] | None:
        """Entries above `lsn`, at least one if there is any; None if the next one has left the backlog."""
        records = self.records_after(lsn, max_entries, max_bytes)
        return None if records is None else decode_records(b"".join(records))[0]

    def records_after(self, lsn: int, max_entries: int, max_bytes: int) -> list[bytes] | None:
        """The records of `entries_after`."""
        start = lsn + 1 - self.first_lsn
        if start < 0:
            return None
        backlog = self.backlog
        end = start
        size = 0
        last = min(len(backlog), start + max_entries)
        while end < last:
            size += len(backlog[end])
            if size > max_bytes and end > start:
                break
            end += 1
        return backlog[start:end]

    def crc_at(self, lsn: int) -> int | None:
        """The CRC of the record at `lsn` (0 at LSN 0), if the backlog or its edge still knows it."""
        if lsn == self.head_lsn:
            return self.head_crc
        i = lsn - self.first_lsn
        if i == -1:
            return self.base_crc
        return record_crc(self.backlog[i]) if 0 <= i < len(self.backlog) else None

    # -- starting elsewhere -------------------------------------------------------------------------------------

    def reset(self, position: Position, crc: int, history: History, time_ms: int = 0) -> None:
        """Go on from a snapshot at `position` whose record had `crc`; the backlog starts empty."""
        self.head_lsn = position.lsn
        self._head = position
        self.head_crc = crc
        self.head_time_ms = max(time_ms, self.head_time_ms)
        self.history = history.copy()
        self.epoch = position.epoch
        self.backlog = []
        self.backlog_bytes = 0
        self.base_crc = crc

    def truncate_to(self, lsn: int) -> None:
        """Forget the entries above `lsn`, which must be in the backlog or at its edge."""
        keep = lsn + 1 - self.first_lsn
        assert 0 <= keep <= len(self.backlog), f"LSN {lsn} has left the backlog"
        dropped = sum([len(record) for record in self.backlog[keep:]])
        crc = self.crc_at(lsn)
        assert crc is not None
        del self.backlog[keep:]
        self.backlog_bytes -= dropped
        self.history.truncate(lsn, self.history.head_bytes - dropped)
        self.head_lsn = lsn
        self.head_crc = crc
        self._head = head = self.history.position_at(lsn)
        self.epoch = head.epoch


def _epoch_command(head: Position, node_name: str) -> list[bytes]:
    return [EPOCH_ROW, str(head.epoch).encode(), str(head.lsn).encode(), node_name.encode()]
