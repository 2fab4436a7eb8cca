"""Excerpts: of any value so much that comparing two costs little, however large they are.

A small value is its own excerpt. Of a large one it is the size and a window of its elements, or of its bytes; the window moves
with a number, the *turn*, which both who compare must name alike. What a dump would show is what an excerpt shows a part of:
order, encoding and deadlines of fields belong to it. Of a large document it is the first nodes, level by level.
"""

from collections import deque
from hashlib import sha1
from itertools import islice
from typing import Any, Final

import msgpack

from upstash_global.engine import dump as kinds
from upstash_global.engine.keyspace import Keyspace
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.engine.types.json import Json, encode
from upstash_global.engine.types.list import List
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.engine.types.stream import Group, Stream

MOST_ELEMENTS: Final = 256
MOST_BYTES: Final = 1024  # of a string or an element

ABSENT: Final = 0


def key_sum(keyspace: Keyspace, key: bytes, turn: int) -> int:
    """A 64-bit number for an excerpt of what stands under a key, with its deadline; ABSENT if nothing does."""
    value = keyspace.values.get(key)
    if value is None:
        return ABSENT
    return plain_sum([keyspace.deadlines.get(key, -1), excerpt(value, turn)])


def plain_sum(structure: Any) -> int:
    """A 64-bit number for a plain structure; never ABSENT."""
    return int.from_bytes(sha1(msgpack.packb(structure)).digest()[:8], "big") or 1


def excerpt(value: Any, turn: int) -> list[Any]:
    """A plain structure of bounded size."""
    if isinstance(value, (bytes, bytearray)):
        kind = kinds.EDITED_STRING if isinstance(value, bytearray) else kinds.FLOAT_STRING
        return [kinds.STRING if type(value) is bytes else kind, _clip(value, turn)]
    if type(value) is Json:
        return [kinds.JSON, _nodes(value.root)]
    size = len(value)
    start = turn * MOST_ELEMENTS % size if size > MOST_ELEMENTS else 0
    stop = min(size, start + MOST_ELEMENTS)
    if type(value) is List:
        return [kinds.LIST, size, [_clip(each, turn) for each in value.slice(start, stop)]]
    if type(value) is IndexedSet:
        return [kinds.SET, size, value.encoding, [_clip(each, turn) for each in value.members[start:stop]]]
    if type(value) is SortedSet:
        ranked = [[_clip(member, turn), score] for member, score in value.pairs(start, stop)]
        return [kinds.ZSET, size, value.encoding, ranked]
    if type(value) is Hash:
        return [kinds.HASH, size, value.encoding, *_fields(value, start, stop, turn)]
    assert type(value) is Stream
    entries = [[_id(id), _clip(packed, turn)] for id, packed in value.entries.slice(start, stop)]
    counters = [_id(value.last_id), _id(value.max_deleted_id), value.entries_added]
    groups = [_group(name, group, turn) for name, group in islice(value.groups.items(), MOST_ELEMENTS)]
    return [kinds.STREAM, size, counters, entries, len(value.groups), groups]


def _clip(data: bytes | bytearray, turn: int) -> Any:
    size = len(data)
    if size <= MOST_BYTES:
        return bytes(data)
    start = turn * MOST_BYTES % size
    return [size, bytes(data[start : start + MOST_BYTES])]


def _fields(value: Hash, start: int, stop: int, turn: int) -> list[Any]:
    """How many fields have deadlines, and [field, content, deadline] for some."""
    times: dict[bytes, int] = {} if value.deadlines is None else value.deadlines.times
    fields = islice(value.fields.items(), start, stop)
    return [len(times), [[_clip(name, turn), _clip(content, turn), times.get(name, -1)] for name, content in fields]]


def _group(name: bytes, group: Group, turn: int) -> list[Any]:
    size = group.pending.size
    start = turn * MOST_ELEMENTS % size if size > MOST_ELEMENTS else 0
    pending = [
        [_id(id), each.consumer.name, each.delivered_ms, each.n_deliveries]
        for id, each in group.pending.slice(start, start + MOST_ELEMENTS)
    ]
    return [name, _id(group.last_id), group.entries_read, len(group.consumers), size, pending]


def _nodes(root: Any) -> list[Any]:
    found: list[Any] = []
    following: deque[Any] = deque([root])
    while following and len(found) < MOST_ELEMENTS:
        value = following.popleft()
        if type(value) is dict:
            found.append([len(value), [name[:MOST_BYTES] for name in islice(value, MOST_ELEMENTS)]])
            following.extend(islice(value.values(), MOST_ELEMENTS))
        elif type(value) is list:
            found.append(len(value))
            following.extend(islice(value, MOST_ELEMENTS))
        elif type(value) is str and len(value) > MOST_BYTES:
            found.append([len(value), value[:MOST_BYTES]])
        else:
            found.append(encode(value))
    return found


def _id(id: int) -> bytes:
    return id.to_bytes(16, "big")
