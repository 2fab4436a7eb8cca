"""Streams in Redis's format: entries in listpacks, then counters, groups, consumers, and what is pending.

A node is a listpack under its first id. It begins with the number of entries that stand and that were deleted, and with
the names of the first entry's fields; entries of the same names only have values, ids are differences to the node's:

    count | deleted | n | name × n | 0       then for each entry
    flags | milliseconds | sequence | value × n, or n | name value × n | number of elements before this one
"""

from struct import Struct
from typing import Final

from upstash_global.engine.encodings import Limits
from upstash_global.engine.numbers import INT64_MAX, parse_integer
from upstash_global.engine.rdb import format as form
from upstash_global.engine.rdb.listpack import Listpack, read_listpack
from upstash_global.engine.rdb.reader import Reader
from upstash_global.engine.rdb.writer import write_length, write_string
from upstash_global.engine.types.stream import (
    ID_BYTES,
    MAX_SEQUENCE,
    UNKNOWN,
    Consumer,
    Group,
    Pending,
    Stream,
    pack_fields,
    unpack_fields,
)
from upstash_global.errors import DumpError

DELETED: Final = 1
SAME_FIELDS: Final = 2
NODE_BYTES: Final = 4096  # stream-node-max-bytes

_MILLISECONDS: Final = Struct("<q")
_UNKNOWN_READ: Final = (1 << 64) - 1


# -- writing --------------------------------------------------------------------------------------------------------


def write_stream(out: bytearray, stream: Stream, limits: Limits) -> None:
    """As Redis 7.0 has it: when consumers were last active is left out."""
    _write_nodes(out, stream, limits)
    write_length(out, len(stream))
    _write_id(out, stream.last_id)
    _write_id(out, stream.entries.first_id())
    _write_id(out, stream.max_deleted_id)
    write_length(out, stream.entries_added)
    write_length(out, len(stream.groups))
    for name, group in stream.groups.items():
        write_string(out, name)
        _write_id(out, group.last_id)
        write_length(out, _UNKNOWN_READ if group.entries_read == UNKNOWN else group.entries_read)
        write_length(out, len(group.pending))
        for id, pending in group.pending.walk(0):
            out += id.to_bytes(ID_BYTES, "big")
            out += _MILLISECONDS.pack(pending.delivered_ms)
            write_length(out, pending.n_deliveries)
        write_length(out, len(group.consumers))
        for consumer in group.consumers.values():
            write_string(out, consumer.name)
            out += _MILLISECONDS.pack(consumer.seen_ms)
            write_length(out, len(consumer.pending))
            for id, _ in consumer.pending.walk(0):
                out += id.to_bytes(ID_BYTES, "big")


def _write_id(out: bytearray, id: int) -> None:
    write_length(out, id >> 64)
    write_length(out, id & MAX_SEQUENCE)


def _write_nodes(out: bytearray, stream: Stream, limits: Limits) -> None:
    nodes: list[tuple[int, bytes]] = []
    entries: list[tuple[int, list[bytes]]] = []
    n_bytes = 0
    for id, packed in stream.entries.walk(0):
        if entries and (n_bytes + len(packed) > NODE_BYTES or len(entries) == limits.stream_node_max_entries):
            nodes.append((entries[0][0], _node(entries)))
            entries = []
            n_bytes = 0
        entries.append((id, unpack_fields(packed)))
        n_bytes += len(packed)
    if entries:
        nodes.append((entries[0][0], _node(entries)))
    write_length(out, len(nodes))
    for id, node in nodes:
        write_string(out, id.to_bytes(ID_BYTES, "big"))
        write_string(out, node)


def _node(entries: list[tuple[int, list[bytes]]]) -> bytes:
    first_id, first_fields = entries[0]
    names = first_fields[::2]
    listpack = Listpack()
    for number in (len(entries), 0, len(names)):
        listpack.add_integer(number)
    for name in names:
        listpack.add(name)
    listpack.add_integer(0)
    for id, fields in entries:
        before = listpack.count
        is_same = fields[::2] == names
        listpack.add_integer(SAME_FIELDS if is_same else 0)
        listpack.add_integer(_difference(id >> 64, first_id >> 64))
        listpack.add_integer(_difference(id & MAX_SEQUENCE, first_id & MAX_SEQUENCE))
        if not is_same:
            listpack.add_integer(len(fields) // 2)
        for word in fields[1::2] if is_same else fields:
            listpack.add(word)
        listpack.add_integer(listpack.count - before)
    return listpack.finish()


def _difference(number: int, base: int) -> int:
    """Modulo 2**64, as a signed number."""
    difference = (number - base) & MAX_SEQUENCE
    return difference - (1 << 64) if difference >> 63 else difference


# -- reading --------------------------------------------------------------------------------------------------------


def read_stream(reader: Reader, kind: int) -> Stream:
    """A stream of any version. Raises DumpError also for what could not have come about, such as ids out of order."""
    stream = Stream()
    last_node_id = -1
    for _ in range(_count(reader, ID_BYTES)):
        node_id = _id_of(reader.string())
        if node_id <= last_node_id:
            raise DumpError("nodes out of order")
        last_node_id = node_id
        _read_node(reader, stream, node_id)
    n = reader.length()
    stream.last_id = _read_id(reader)
    if n != len(stream) or stream.last_id < stream.entries.last_id():
        raise DumpError("counters that do not fit the entries")
    if kind == form.STREAM:
        stream.entries_added = n
    else:
        _read_id(reader)  # the first one, which is known
        stream.max_deleted_id = _read_id(reader)
        stream.entries_added = reader.length()
        if not n <= stream.entries_added <= INT64_MAX:
            raise DumpError("counters that do not fit the entries")
    for _ in range(_count(reader, 4)):
        name = reader.string()
        if name in stream.groups:
            raise DumpError("a group comes twice")
        stream.groups[name] = _read_group(reader, kind, stream)
    return stream


def _count(reader: Reader, least_bytes: int) -> int:
    """How many items follow, each of at least so many bytes; there may be none."""
    n = reader.length()
    if n > (reader.end - reader.at) // least_bytes:
        raise DumpError("more items are promised than there are bytes")
    reader.spend(n, 0)
    return n


def _id_of(text: bytes) -> int:
    if len(text) != ID_BYTES:
        raise DumpError("an id of another length")
    return int.from_bytes(text, "big")


def _read_id(reader: Reader) -> int:
    milliseconds = reader.length()
    return milliseconds << 64 | reader.length()


def _read_node(reader: Reader, stream: Stream, node_id: int) -> None:
    cursor = _Elements(read_listpack(reader, reader.string()))
    n_left = cursor.number()
    n_entries = n_left + cursor.number()
    names = cursor.words(cursor.number())
    if cursor.number() != 0 or n_left < 1:
        raise DumpError("a node without entries, or without an end of its head")
    for _ in range(n_entries):
        start = cursor.at
        flags = cursor.number()
        milliseconds = (node_id >> 64) + cursor.number()
        sequence = (node_id & MAX_SEQUENCE) + cursor.number()
        fields: list[bytes] = []
        if flags & SAME_FIELDS:
            for name, value in zip(names, cursor.words(len(names)), strict=True):
                fields += (name, value)
            reader.spend(len(names), sum([len(name) for name in names]))
        else:
            fields = cursor.words(2 * cursor.number())
        n_elements = cursor.at - start
        if cursor.number() != n_elements:
            raise DumpError("a node that cannot be walked backwards")
        if flags & DELETED:
            continue
        n_left -= 1
        id = (milliseconds & MAX_SEQUENCE) << 64 | sequence & MAX_SEQUENCE
        if not fields or (len(stream) and id <= stream.entries.last_id()):
            raise DumpError("entries without fields, or out of order")
        stream.entries.put(id, pack_fields(fields))
    if n_left or cursor.at != len(cursor.elements):
        raise DumpError("a node with another number of entries than it says")


class _Elements:
    """A cursor over the elements of a node."""

    def __init__(self, elements: list[bytes]) -> None:
        self.elements = elements
        self.at = 0

    def number(self) -> int:
        number = parse_integer(self.words(1)[0])
        if number is None:
            raise DumpError("a number of a node is none")
        return number

    def words(self, n: int) -> list[bytes]:
        if not 0 <= n <= len(self.elements) - self.at:
            raise DumpError("a node ends too early")
        self.at += n
        return self.elements[self.at - n : self.at]


def _read_group(reader: Reader, kind: int, stream: Stream) -> Group:
    last_id = _read_id(reader)
    entries_read = stream.entries_until(last_id) if kind == form.STREAM else _entries_read(reader.length())
    group = Group(last_id, entries_read)
    unowned: dict[int, tuple[int, int]] = {}  # id → when delivered, how often
    for _ in range(_count(reader, ID_BYTES + 9)):
        id = _id_of(reader.take(ID_BYTES))
        delivered_ms = reader.milliseconds()
        n_deliveries = reader.length()
        if id in unowned or n_deliveries > INT64_MAX:
            raise DumpError("an entry is pending twice, or was delivered too often")
        unowned[id] = (delivered_ms, n_deliveries)
    for _ in range(_count(reader, 10)):
        consumer = Consumer(reader.string(), reader.milliseconds())
        consumer.active_ms = reader.milliseconds() if kind == form.STREAM_3 else consumer.seen_ms
        if consumer.name in group.consumers:
            raise DumpError("a consumer comes twice")
        group.consumers[consumer.name] = consumer
        for _ in range(_count(reader, ID_BYTES)):
            id = _id_of(reader.take(ID_BYTES))
            if id not in unowned:
                raise DumpError("an entry is pending with two consumers, or not in its group")
            delivered_ms, n_deliveries = unowned.pop(id)
            pending = Pending(consumer, delivered_ms, n_deliveries)
            group.pending.put(id, pending)
            consumer.pending.put(id, pending)
    if unowned:
        raise DumpError("an entry is pending with no consumer")
    return group


def _entries_read(number: int) -> int:
    if number > INT64_MAX and number != _UNKNOWN_READ:
        raise DumpError("a counter out of range")
    return UNKNOWN if number == _UNKNOWN_READ else number
