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
from typing import Any, Final

import msgpack
from isal.isal_zlib import crc32
from librt.strings import BytesWriter, read_i32_be, read_i64_be, write_i32_be, write_i64_be
from mypy_extensions import i64, u8

from upstash_global.bytestrings import read_strings, write_array_head, write_strings, write_word
from upstash_global.replication.position import Position

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
_LENGTH_AT: Final = 8
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

_ARRAY: Final = 0x90  # the first byte of a short array in msgpack
_EMPTY_MAP: Final = 0x80


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
    writer: BytesWriter,
    kind: int,
    epoch: int,
    lsn: int,
    time_ms: int,
    previous_crc: int,
    commands: list[list[bytes]],
    attributes: dict[str, Any],
) -> tuple[bytes, int]:
    """The record of one entry and its CRC.

    `writer` is used again and again; mypyc knows it: to compiled code a write is a copy of bytes, not a call.
    """
    writer.truncate(0)
    write_i32_be(writer, _RECORD_MAGIC_NUMBER)
    write_i32_be(writer, FORMAT_VERSION << 24 | kind << 16 | STREAM)
    write_i32_be(writer, 0)  # the length, when it is known
    write_word(writer, epoch >> 32)  # its upper half may be above what an i64 holds
    write_word(writer, epoch & 0xFFFFFFFF)
    write_i64_be(writer, lsn)
    write_i64_be(writer, time_ms)
    write_word(writer, previous_crc)
    writer.append(_ARRAY | 2)
    write_array_head(writer, len(commands))
    for argv in commands:
        write_strings(writer, argv)
    if attributes:
        writer.write(_packer.pack(attributes))
    else:
        writer.append(_EMPTY_MAP)
    length: i64 = len(writer) - HEADER_BYTES
    for i in range(_LENGTH_AT, _LENGTH_AT + 4):
        writer[i] = u8((length >> 8 * (_LENGTH_AT + 3 - i)) & 0xFF)
    crc: int = _crc32(writer.getvalue())
    write_word(writer, crc)
    return writer.getvalue(), crc


def decode_records(data: bytes, at: int = 0, max_records: int = -1) -> tuple[list[Entry], int, str | None]:
    """The entries that stand in `data` from offset `at` on: (entries, offset behind the last one, problem).

    The problem is None when `data` ended with a whole record or `max_records` were read; otherwise it says what is wrong
    with the bytes at the returned offset. Checks each record by itself; the chain is the log's matter.
    """
    entries: list[Entry] = []
    size: i64 = len(data)
    begin: i64 = at
    while begin < size and len(entries) != max_records:
        if size - begin < RECORD_OVERHEAD:
            return entries, begin, INCOMPLETE
        if read_i32_be(data, begin) != _RECORD_MAGIC_NUMBER:
            return entries, begin, BAD_MAGIC
        word = _read_word(data, begin + 4)
        if word >> 24 != FORMAT_VERSION or word & 0xFFFF != STREAM:
            return entries, begin, BAD_VERSION
        length = _read_word(data, begin + _LENGTH_AT)
        if length > MAX_PAYLOAD_BYTES:
            return entries, begin, BAD_LENGTH
        end: i64 = begin + RECORD_OVERHEAD + length
        if end > size:
            return entries, begin, INCOMPLETE
        body = data[begin : end - 4]
        crc: int = _crc32(body)
        if crc != _read_word(data, end - 4):
            return entries, begin, BAD_CRC
        commands, stop = _read_commands(body)
        attributes: dict[str, Any] = {}
        if stop + 1 != len(body) or body[stop] != _EMPTY_MAP:
            try:
                if stop > 0:
                    attributes = msgpack.unpackb(body[stop:])
                else:
                    commands, attributes = msgpack.unpackb(body[HEADER_BYTES:])
                _check_payload(commands, attributes)
            except (ValueError, TypeError):
                return entries, begin, BAD_PAYLOAD
        upper: int = _read_word(data, begin + 12)  # of the epoch; with the rest it may be above what an i64 holds
        position = Position(upper << 32 | _read_word(data, begin + 16), read_i64_be(data, begin + 20))
        entries.append(
            Entry(
                position,
                read_i64_be(data, begin + 28),
                word >> 16 & 0xFF,
                commands,
                attributes,
                data[begin:end],
                crc,
                _read_word(data, begin + 36),
            )
        )
        begin = end
    return entries, begin, None


def _check_payload(commands: Any, attributes: Any) -> None:
    """Raises ValueError."""
    if not isinstance(commands, list) or not isinstance(attributes, dict):
        raise ValueError
    for argv in commands:
        if not isinstance(argv, list) or not argv or not all([isinstance(argument, bytes) for argument in argv]):
            raise ValueError


def _read_word(data: bytes, at: i64) -> i64:
    """An unsigned number of 32 bits."""
    number = i64(read_i32_be(data, at))
    return number & 0xFFFFFFFF


def _read_commands(body: bytes) -> tuple[list[list[bytes]], i64]:
    """The commands behind the header and the offset behind them; 0 if they are not as most are: msgpack has to look."""
    commands: list[list[bytes]] = []
    at: i64 = HEADER_BYTES + 2
    if at > len(body) or body[at - 2] != _ARRAY | 2 or body[at - 1] & 0xF0 != _ARRAY:
        return commands, 0
    n: i64 = body[at - 1] & 0x0F
    while n > 0:
        argv, at = read_strings(body, at)
        if not argv or at == 0:
            return commands, 0
        commands.append(argv)
        n -= 1
    return commands, at


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
    crc: int = _crc32(body)
    return body + crc.to_bytes(4, "big")


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
    if _crc32(body) != _CRC.unpack_from(data, end - 4)[0]:
        return 0, b"", at, BAD_CRC
    return kind, body[BLOCK_OVERHEAD - 4 :], end, None
