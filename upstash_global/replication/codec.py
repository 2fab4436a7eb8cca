"""Bytes of the log and of snapshots: records and blocks.

A record is one entry, packed once and shared by the disk and by all feeds:

    magic  version  kind  stream  length  epoch  LSN  time   previous CRC | payload               | CRC
    4      1        1     2       4       8      8    8      4            | [commands, attributes] | 4

Numbers are big-endian, the payload is msgpack, `length` is the payload's. The CRC-32 (zlib) covers header and payload,
and with the previous record's CRC in the header the records form a chain. A block of a snapshot is framed alike:

    magic  kind  version  unused  length | payload | CRC
    4      1     1        2       4      |         | 4
"""

from struct import Struct
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import msgpack

from upstash_global.replication.position import Position

if TYPE_CHECKING:
    from mypy_extensions import i64

DATA: Final = 0  # commands of clients
EPOCH: Final = 1  # the first entry of a leader's reign: names the previous epoch and its last LSN
SYSTEM: Final = 2  # cluster configuration, users, scripts

FORMAT_VERSION: Final = 1
STREAM: Final = 0  # the only one for now; later several leaders may each own a stream of keys
MAX_PAYLOAD_BYTES: Final = 1 << 30  # a unit's argv is checked against max-entry-bytes (64 MiB) long before

RECORD_MAGIC: Final = b"UGLR"
_RECORD_MAGIC_NUMBER: Final = 0x55474C52
_HEADER: Final = Struct(">IBBHIQQQI")
_CRC: Final = Struct(">I")
_crc32: Final = crc32  # compiled code finds it here without a dictionary
_HEAD: Final = Struct(">IBBHI")
_N_HEADS: Final = 512
_DATA_HEADS: Final = [_HEAD.pack(_RECORD_MAGIC_NUMBER, FORMAT_VERSION, DATA, STREAM, n) for n in range(_N_HEADS)]
_BYTES: Final = [bytes([n]) for n in range(256)]
HEADER_BYTES: Final = 40
RECORD_OVERHEAD: Final = 44  # header and CRC

# What can be wrong with the bytes at an offset.
INCOMPLETE: Final = "incomplete record"
BAD_MAGIC: Final = "no record begins here"
BAD_VERSION: Final = "unknown format version"
BAD_LENGTH: Final = "length out of bounds"
BAD_CRC: Final = "checksum mismatch"
BAD_PAYLOAD: Final = "payload is not [commands, attributes]"

_packer: Final = msgpack.Packer(use_bin_type=True)

# Pieces of msgpack: heads of short arrays and of short and long byte strings.
_ARRAY_HEADS: Final = [bytes([0x90 | n]) for n in range(16)]
_BIN_HEADS: Final = [bytes([0xC4, n]) for n in range(256)]
_HEAD16: Final = Struct(">BH")
_HEAD32: Final = Struct(">BI")
_PAIR_HEAD: Final = b"\x92"
_SINGLE_HEADS: Final = [_PAIR_HEAD + b"\x91" + head for head in _ARRAY_HEADS]  # of a payload with one command
_EMPTY_MAP: Final = b"\x80"


class _Last:
    """What of a header is mostly as it was in the record before, packed: epoch, all but the last byte of the LSN, time, CRC."""

    def __init__(self) -> None:
        self.epoch = -1
        self.lsn_high = -1
        self.place = b""
        self.time_ms = -1
        self.time = b""
        self.crc = -1
        self.packed_crc = b""


_last: Final = _Last()


class Entry:
    """One atomic, replayable unit of the log; immutable by convention."""

    __slots__ = ("position", "time_ms", "kind", "commands", "attributes", "record", "crc", "previous_crc")

    def __init__(
        self,
        position: Position,
        time_ms: int,
        kind: int,
        commands: list[list[bytes]],
        attributes: dict[str, Any],
        record: bytes,
        crc: int,
        previous_crc: int,
    ) -> None:
        self.position = position
        self.time_ms = time_ms  # leader time at which the unit ran, milliseconds since 1970
        self.kind = kind  # DATA, EPOCH or SYSTEM
        self.commands = commands
        self.attributes = attributes  # carried through replay unchanged: origin "o", boot id "b", session "s", …
        self.record = record
        self.crc = crc
        self.previous_crc = previous_crc

    def __repr__(self) -> str:
        return f"Entry({self.position}, {self.commands})"


def encode_record(
    kind: int,
    epoch: int,
    lsn: int,
    time_ms: int,
    previous_crc: int,
    commands: list[list[bytes]],
    attributes: dict[str, Any],
) -> tuple[bytes, int]:
    """The record of one entry and its CRC."""
    last = _last
    if epoch != last.epoch or lsn >> 8 != last.lsn_high:
        last.epoch = epoch
        last.lsn_high = lsn >> 8
        last.place = epoch.to_bytes(8, "big") + last.lsn_high.to_bytes(7, "big")
    if time_ms != last.time_ms:
        last.time_ms = time_ms
        last.time = time_ms.to_bytes(8, "big")
    link = last.packed_crc if previous_crc == last.crc else previous_crc.to_bytes(4, "big")
    parts = [b"", last.place, _BYTES[lsn & 255], last.time, link]
    if attributes:
        payload: bytes = _packer.pack((commands, attributes))
        parts.append(payload)
        length = len(payload)
    else:
        length = _pack_commands(commands, parts)
    if kind == DATA and length < _N_HEADS:
        parts[0] = _DATA_HEADS[length]
    else:
        parts[0] = _head(kind, length)
    body = b"".join(parts)
    crc: int = _crc32(body)
    last.crc = crc
    last.packed_crc = crc.to_bytes(4, "big")
    return body + last.packed_crc, crc


def _head(kind: int, length: int) -> bytes:
    """The first twelve bytes of a record."""
    return _HEAD.pack(_RECORD_MAGIC_NUMBER, FORMAT_VERSION, kind, STREAM, length)


def _pack_commands(commands: list[list[bytes]], parts: list[bytes]) -> int:
    """The payload of an entry without attributes, as msgpack gives it, in a third of the time; its length."""
    length: i64
    if len(commands) == 1 and len(commands[0]) < 16:
        parts.append(_SINGLE_HEADS[len(commands[0])])
        length = 4 + _pack_arguments(commands[0], parts)
    else:
        head = _array_head(len(commands))
        parts.append(_PAIR_HEAD + head)
        length = 2 + len(head)
        for argv in commands:
            head = _array_head(len(argv))
            parts.append(head)
            length += len(head) + _pack_arguments(argv, parts)
    parts.append(_EMPTY_MAP)
    return length


def _pack_arguments(argv: list[bytes], parts: list[bytes]) -> int:
    """The arguments of one command; how many bytes they take."""
    length: i64 = 0
    for argument in argv:
        n: i64 = len(argument)
        if n < 256:
            parts.append(_BIN_HEADS[n])
            length += n + 2
        elif n < 1 << 16:
            parts.append(_HEAD16.pack(0xC5, n))
            length += n + 3
        else:
            parts.append(_HEAD32.pack(0xC6, n))
            length += n + 5
        parts.append(argument)
    return length


def _array_head(n: int) -> bytes:
    return _ARRAY_HEADS[n] if n < 16 else _HEAD16.pack(0xDC, n) if n < 1 << 16 else _HEAD32.pack(0xDD, n)


def decode_records(data: bytes, at: int = 0, max_records: int = -1) -> tuple[list[Entry], int, str | None]:
    """The entries that stand in `data` from offset `at` on: (entries, offset behind the last one, problem).

    The problem is None when `data` ended with a whole record or `max_records` were read; otherwise it says what is wrong
    with the bytes at the returned offset. Checks each record by itself; the chain is the log's matter.
    """
    entries: list[Entry] = []
    size = len(data)
    while at < size and len(entries) != max_records:
        if size - at < RECORD_OVERHEAD:
            return entries, at, INCOMPLETE
        magic, version, kind, stream, length, epoch, lsn, time_ms, previous_crc = _HEADER.unpack_from(data, at)
        if magic != _RECORD_MAGIC_NUMBER:
            return entries, at, BAD_MAGIC
        if version != FORMAT_VERSION or stream != STREAM:
            return entries, at, BAD_VERSION
        if length > MAX_PAYLOAD_BYTES:
            return entries, at, BAD_LENGTH
        end = at + RECORD_OVERHEAD + length
        if end > size:
            return entries, at, INCOMPLETE
        body = data[at : end - 4]
        crc = crc32(body)
        if crc != _CRC.unpack_from(data, end - 4)[0]:
            return entries, at, BAD_CRC
        try:
            commands, attributes = msgpack.unpackb(body[HEADER_BYTES:], strict_map_key=False)
        except ValueError:
            return entries, at, BAD_PAYLOAD
        record = data[at:end]
        entries.append(Entry(Position(epoch, lsn), time_ms, kind, commands, attributes, record, crc, previous_crc))
        at = end
    return entries, at, None


def record_position(record: bytes) -> tuple[Position, int]:
    """The position of a record and the CRC of the one before it, read from its header alone."""
    fields = _HEADER.unpack_from(record, 0)
    return Position(fields[5], fields[6]), fields[8]


def record_crc(record: bytes) -> int:
    """The CRC of a whole record, read from its end."""
    return int.from_bytes(record[-4:], "big")


def next_valid_record(data: bytes, at: int) -> int | None:
    """The offset of the first whole record at or after `at`, or None: tells a torn tail from a damaged middle."""
    at = data.find(RECORD_MAGIC, at)
    while at >= 0:
        entries, _, _ = decode_records(data, at, 1)
        if entries:
            return at
        at = data.find(RECORD_MAGIC, at + 1)
    return None


_BLOCK: Final = Struct(">IBBHI")
_BLOCK_MAGIC_NUMBER: Final = 0x55475342  # "UGSB"
BLOCK_OVERHEAD: Final = 16
MAX_BLOCK_BYTES: Final = 16 << 20


def encode_block(kind: int, payload: bytes) -> bytes:
    """One framed block of a snapshot."""
    assert len(payload) <= MAX_BLOCK_BYTES
    body = _BLOCK.pack(_BLOCK_MAGIC_NUMBER, kind, FORMAT_VERSION, 0, len(payload)) + payload
    return body + crc32(body).to_bytes(4, "big")


def decode_block(data: bytes, at: int = 0) -> tuple[int, bytes, int, str | None]:
    """The block at offset `at`: (kind, payload, offset behind it, problem); with INCOMPLETE, more bytes are needed."""
    if len(data) - at < BLOCK_OVERHEAD:
        return 0, b"", at, INCOMPLETE
    magic, kind, version, _, length = _BLOCK.unpack_from(data, at)
    if magic != _BLOCK_MAGIC_NUMBER:
        return 0, b"", at, BAD_MAGIC
    if version != FORMAT_VERSION:
        return 0, b"", at, BAD_VERSION
    if length > MAX_BLOCK_BYTES:
        return 0, b"", at, BAD_LENGTH
    end = at + BLOCK_OVERHEAD + length
    if end > len(data):
        return 0, b"", at, INCOMPLETE
    body = data[at : end - 4]
    if crc32(body) != _CRC.unpack_from(data, end - 4)[0]:
        return 0, b"", at, BAD_CRC
    return kind, body[BLOCK_OVERHEAD - 4 :], end, None
