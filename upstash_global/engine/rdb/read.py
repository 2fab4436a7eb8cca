"""Reading a value of any form that Redis has written since 2.4, up to 7.4.

A form that is kept compact there stays so here while it has no more elements than the threshold says; anything else gets
the encoding that its elements call for, as in Redis's own loading.
"""

from typing import Any, Final

from upstash_global.engine.encodings import HASHTABLE, INTSET, LISTPACK, SKIPLIST, Limits
from upstash_global.engine.numbers import INT64_MAX, parse_float, parse_integer
from upstash_global.engine.rdb import format as form
from upstash_global.engine.rdb.listpack import read_listpack
from upstash_global.engine.rdb.older import read_intset, read_ziplist, read_zipmap
from upstash_global.engine.rdb.reader import Reader
from upstash_global.engine.rdb.streams import read_stream
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.engine.types.json import Json, parse
from upstash_global.engine.types.list import List
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.errors import CommandError, DumpError

LISTS: Final = (form.LIST, form.LIST_ZIPLIST, form.LIST_ZIPLISTS, form.LIST_LISTPACKS)
SETS: Final = (form.SET, form.SET_INTSET, form.SET_LISTPACK)
ZSETS: Final = (form.ZSET_TEXT, form.ZSET, form.ZSET_ZIPLIST, form.ZSET_LISTPACK)
HASHES: Final = (form.HASH, form.HASH_ZIPMAP, form.HASH_ZIPLIST, form.HASH_LISTPACK)
STREAMS: Final = (form.STREAM, form.STREAM_2, form.STREAM_3)

_NAN: Final = 253  # in place of a score's length
_INFINITE: Final = 254
_MINUS_INFINITE: Final = 255


def read_value(reader: Reader, now_ms: int, limits: Limits) -> Any:
    """The value that a payload holds; None for a hash whose fields have all expired at `now_ms`. Raises DumpError."""
    kind = reader.byte()
    if kind == form.STRING:
        return reader.string()
    if kind in LISTS:
        return _list(reader, kind)
    if kind in SETS:
        return _set(reader, kind, limits)
    if kind in ZSETS:
        return _zset(reader, kind, limits)
    if kind in HASHES:
        return _hash(reader, kind, limits)
    if kind == form.HASH_DEADLINES:
        return _hash_with_deadlines(reader, now_ms, limits)
    if kind == form.HASH_LISTPACK_DEADLINES:
        return _listpack_with_deadlines(reader, now_ms, limits)
    if kind in STREAMS:
        return read_stream(reader, kind)
    if kind == form.MODULE:
        return _document(reader)
    raise DumpError("a value of no known form")


# -- lists and sets -------------------------------------------------------------------------------------------------


def _list(reader: Reader, kind: int) -> List:
    if kind == form.LIST_ZIPLIST:
        elements = List(read_ziplist(reader, reader.string()))
    else:
        elements = List()
        for _ in range(reader.count(1)):
            if kind == form.LIST:
                elements.append(reader.string())
            elif kind == form.LIST_ZIPLISTS:
                elements.extend(read_ziplist(reader, reader.string()))
            else:
                _read_node(reader, elements)
    if not elements:
        raise DumpError("an empty list")
    return elements


def _read_node(reader: Reader, elements: List) -> None:
    container = reader.length()
    if container == form.PLAIN_NODE:
        element = reader.string()
        if not element:
            raise DumpError("an empty node")  # an empty element stands in a packed one, as Redis has it
        elements.append(element)
    elif container == form.PACKED_NODE:
        elements.extend(read_listpack(reader, reader.string()))
    else:
        raise DumpError("a node of no known form")


def _set(reader: Reader, kind: int, limits: Limits) -> IndexedSet:
    if kind == form.SET_INTSET:
        members = read_intset(reader, reader.string())
    elif kind == form.SET_LISTPACK:
        members = read_listpack(reader, reader.string())
    else:
        members = [reader.string() for _ in range(reader.count(1))]
    found = IndexedSet()
    found.extend(members)
    if not members or len(found) != len(members):
        raise DumpError("a set without members, or with one that comes twice")
    found.encoding = _set_encoding(members, kind, limits)
    return found


def _set_encoding(members: list[bytes], kind: int, limits: Limits) -> int:
    n = len(members)
    if kind == form.SET_LISTPACK:
        return LISTPACK if n <= limits.set_max_listpack_entries else HASHTABLE
    if n > limits.set_max_intset_entries:
        return HASHTABLE
    if kind == form.SET_INTSET or all([parse_integer(member) is not None for member in members]):
        return INTSET
    longest = max([len(member) for member in members])
    is_small = n <= limits.set_max_listpack_entries and longest <= limits.set_max_listpack_value
    return LISTPACK if is_small else HASHTABLE


# -- sorted sets ----------------------------------------------------------------------------------------------------


def _zset(reader: Reader, kind: int, limits: Limits) -> SortedSet:
    pairs: list[tuple[bytes, float]] = []
    is_packed = kind in (form.ZSET_ZIPLIST, form.ZSET_LISTPACK)
    if is_packed:
        packed = reader.string()
        flat = read_listpack(reader, packed) if kind == form.ZSET_LISTPACK else read_ziplist(reader, packed)
        for at in range(0, _even(flat), 2):
            pairs.append((flat[at], _score(parse_float(flat[at + 1]))))
    else:
        for _ in range(reader.count(2)):
            member = reader.string()
            pairs.append((member, _score(reader.double() if kind == form.ZSET else _text_score(reader))))
    longest = max([len(member) for member, _ in pairs])
    is_small = len(pairs) <= limits.zset_max_listpack_entries
    found = SortedSet()
    if is_small and (is_packed or longest <= limits.zset_max_listpack_value):
        found.encoding = LISTPACK
    else:
        found.encoding = SKIPLIST
    for member, score in pairs:
        if score == 0.0 and found.encoding == LISTPACK:
            score = 0.0  # a listpack forgets the sign of -0
        if not found.add(member, score):
            raise DumpError("a member comes twice")
    return found


def _score(score: float | None) -> float:
    if score is None or score != score:
        raise DumpError("a score that is no number")
    return score


def _text_score(reader: Reader) -> float | None:
    n = reader.byte()
    if n == _NAN:
        return None
    if n >= _INFINITE:
        return float("inf") if n == _INFINITE else float("-inf")
    return parse_float(reader.take(n))


# -- hashes ---------------------------------------------------------------------------------------------------------


def _hash(reader: Reader, kind: int, limits: Limits) -> Hash:
    longest = limits.hash_max_listpack_value
    if kind == form.HASH:
        flat = [reader.string() for _ in range(2 * reader.count(2))]
    elif kind == form.HASH_ZIPMAP:
        flat = read_zipmap(reader, reader.string())
    else:
        packed = reader.string()
        flat = read_listpack(reader, packed) if kind == form.HASH_LISTPACK else read_ziplist(reader, packed)
        longest = len(packed)  # what is packed stays so, however long its elements
    found = Hash()
    for at in range(0, _even(flat), 2):
        _set_field(found, flat[at], flat[at + 1])
    if len(found) > limits.hash_max_listpack_entries or max([len(word) for word in flat]) > longest:
        found.encoding = HASHTABLE
    return found


def _even(flat: list[bytes]) -> int:
    """How many elements there are, which have to come in pairs."""
    if not flat or len(flat) % 2:
        raise DumpError("elements that do not come in pairs")
    return len(flat)


def _set_field(found: Hash, field: bytes, value: bytes) -> None:
    if not found.set(field, value):
        raise DumpError("a field comes twice")


def _hash_with_deadlines(reader: Reader, now_ms: int, limits: Limits) -> Hash | None:
    """Redis 7.4: the earliest deadline, then for each field how much later its own is, + 1 (0: none), itself and its value."""
    earliest_ms = reader.milliseconds()
    found = Hash()
    n = reader.count(3)
    longest = 0
    for _ in range(n):
        later_ms = reader.length()
        field, value = reader.string(), reader.string()
        _set_field(found, field, value)
        if later_ms:
            _set_deadline(reader, found, field, earliest_ms + later_ms - 1)
        longest = max(longest, len(field), len(value))
    if n > limits.hash_max_listpack_entries or longest > limits.hash_max_listpack_value:
        found.encoding = HASHTABLE
    return _without_expired(found, now_ms)


def _listpack_with_deadlines(reader: Reader, now_ms: int, limits: Limits) -> Hash | None:
    """Redis 7.4: the earliest deadline, then a listpack of field, value, deadline (0: none)."""
    reader.milliseconds()
    flat = read_listpack(reader, reader.string())
    if not flat or len(flat) % 3:
        raise DumpError("elements that do not come in threes")
    found = Hash()
    for at in range(0, len(flat), 3):
        at_ms = parse_integer(flat[at + 2])
        if at_ms is None:
            raise DumpError("a deadline that is no integer")
        _set_field(found, flat[at], flat[at + 1])
        if at_ms:
            _set_deadline(reader, found, flat[at], at_ms)
    if len(found) > limits.hash_max_listpack_entries:
        found.encoding = HASHTABLE
    return _without_expired(found, now_ms)


def _set_deadline(reader: Reader, found: Hash, field: bytes, at_ms: int) -> None:
    if not 0 <= at_ms <= INT64_MAX:
        raise DumpError("a deadline out of range")
    reader.spend(1, 0)
    found.set_deadline(field, at_ms)


def _without_expired(found: Hash, now_ms: int) -> Hash | None:
    for field in list(found.hidden(now_ms)):
        found.remove(field)
    return found if found.fields else None


# -- documents ------------------------------------------------------------------------------------------------------


def _document(reader: Reader) -> Json:
    """A value of RedisJSON: its text."""
    if reader.length() != form.JSON_MODULE or reader.length() != form.MODULE_STRING:
        raise DumpError("a value of an unknown module")
    text = reader.string()
    if reader.length() != form.MODULE_END:
        raise DumpError("a document with more than its text")
    reader.spend(sum([text.count(mark) for mark in (b",", b"[", b"{")]), 0)
    try:
        return Json(parse(text))
    except CommandError as refusal:
        raise DumpError(refusal.message) from None
