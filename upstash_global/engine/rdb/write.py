"""Writing a value as Redis 7.0 would, so that 7.0 and all later ones can restore it; strings are not compressed.

Two values have no form there. A hash with deadlines of fields is written as Redis 7.4 does, a document as RedisJSON does;
servers that know neither refuse them.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Any, Final

from upstash_global.engine.encodings import INTSET, LISTPACK, Limits, list_encoding
from upstash_global.engine.rdb import format as form
from upstash_global.engine.rdb.listpack import Listpack, listpack_of
from upstash_global.engine.rdb.streams import write_stream
from upstash_global.engine.rdb.writer import write_length, write_string
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.engine.types.json import Json, encode
from upstash_global.engine.types.list import List
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.engine.types.stream import Stream
from upstash_global.floats import format_double

_MILLISECONDS: Final = Struct("<q")
_DOUBLE: Final = Struct("<d")
_ENTRY_OVERHEAD: Final = 8  # of an element in a listpack, as Redis estimates it
_SAFE_NODE_BYTES: Final = 8192  # of a node that is bounded by its number of elements


def payload_of(value: Any, now_ms: int, limits: Limits) -> bytes:
    """The payload that DUMP answers for any value of the keyspace; fields that are hidden at `now_ms` are left out."""
    out = bytearray()
    version = form.VERSION
    if isinstance(value, (bytes, bytearray)):
        out.append(form.STRING)
        write_string(out, bytes(value))
    elif type(value) is List:
        _write_list(out, value, limits)
    elif type(value) is Hash:
        fields = value.visible(now_ms)
        if value.deadlines is not None and any([value.deadline(field) >= 0 for field in fields]):
            version = form.VERSION_OF_FIELD_DEADLINES
            _write_hash_with_deadlines(out, value, fields)
        else:
            _write_hash(out, value.encoding, fields)
    elif type(value) is IndexedSet:
        _write_set(out, value)
    elif type(value) is SortedSet:
        _write_zset(out, value)
    elif type(value) is Stream:
        out.append(form.STREAM_2)
        write_stream(out, value, limits)
    else:
        assert type(value) is Json
        out.append(form.MODULE)
        write_length(out, form.JSON_MODULE)
        write_length(out, form.MODULE_STRING)
        write_string(out, encode(value.root))
        write_length(out, form.MODULE_END)
    return form.seal(out, version)


def _write_list(out: bytearray, value: List, limits: Limits) -> None:
    nodes = [listpack_of(value.elements())] if list_encoding(value, limits) == "listpack" else _nodes(value, limits)
    out.append(form.LIST_LISTPACKS)
    write_length(out, len(nodes))
    for node in nodes:
        write_length(out, form.PACKED_NODE)
        write_string(out, node)


def _nodes(elements: Iterable[bytes], limits: Limits) -> list[bytes]:
    """Listpacks of at most `list-max-listpack-size` each; an element that is larger has one for itself."""
    limit = limits.list_max_listpack_size
    most_bytes = _SAFE_NODE_BYTES if limit >= 0 else 4096 << min(-limit - 1, 4)
    nodes: list[bytes] = []
    node = Listpack()
    for element in elements:
        is_full = node.count == limit or node.size() + len(element) + _ENTRY_OVERHEAD > most_bytes
        if is_full and node.count:
            nodes.append(node.finish())
            node = Listpack()
        node.add(element)
    nodes.append(node.finish())
    return nodes


def _write_set(out: bytearray, value: IndexedSet) -> None:
    if value.encoding == INTSET:
        out.append(form.SET_INTSET)
        write_string(out, _intset(value.members))
        return
    out.append(form.SET)
    write_length(out, len(value))
    for member in value:
        write_string(out, member)


def _intset(members: list[bytes]) -> bytes:
    """Ascending numbers, all as wide as the widest of them needs."""
    numbers = sorted([int(member) for member in members])
    n_bits = max([(number if number >= 0 else ~number).bit_length() + 1 for number in (numbers[0], numbers[-1])])
    width = 2 if n_bits <= 16 else 4 if n_bits <= 32 else 8
    packed = [number.to_bytes(width, "little", signed=True) for number in numbers]
    return width.to_bytes(4, "little") + len(numbers).to_bytes(4, "little") + b"".join(packed)


def _write_zset(out: bytearray, value: SortedSet) -> None:
    if value.encoding == LISTPACK:
        packed = Listpack()
        for member, score in value.items():
            packed.add(member)
            packed.add(format_double(score))
        out.append(form.ZSET_LISTPACK)
        write_string(out, packed.finish())
        return
    out.append(form.ZSET)
    write_length(out, len(value))
    for member, score in reversed(list(value.items())):  # as Redis: the reader then always adds at the same end
        write_string(out, member)
        out += _DOUBLE.pack(score)


def _write_hash(out: bytearray, encoding: int, fields: dict[bytes, bytes]) -> None:
    if encoding == LISTPACK:
        packed = Listpack()
        for field, content in fields.items():
            packed.add(field)
            packed.add(content)
        out.append(form.HASH_LISTPACK)
        write_string(out, packed.finish())
        return
    out.append(form.HASH)
    write_length(out, len(fields))
    for field, content in fields.items():
        write_string(out, field)
        write_string(out, content)


def _write_hash_with_deadlines(out: bytearray, value: Hash, fields: dict[bytes, bytes]) -> None:
    earliest_ms = min([at_ms for at_ms in [value.deadline(field) for field in fields] if at_ms >= 0])
    out.append(form.HASH_DEADLINES)
    out += _MILLISECONDS.pack(earliest_ms)
    write_length(out, len(fields))
    for field, content in fields.items():
        at_ms = value.deadline(field)
        write_length(out, 0 if at_ms < 0 else at_ms - earliest_ms + 1)
        write_string(out, field)
        write_string(out, content)
