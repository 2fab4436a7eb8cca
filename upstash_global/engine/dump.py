"""Values as plain structures and back: what snapshots store and digests cover.

A dump is a list that msgpack can carry: a one-letter type, then what the type needs. Order is part of a value where
commands can see it (sets, hashes), so that a node which loaded a snapshot goes on exactly like one which replayed the log.
"""

from hashlib import sha1
from typing import Any, Final

import msgpack

from upstash_global.engine.encodings import FloatText
from upstash_global.engine.keyspace import Keyspace
from upstash_global.engine.types.deadlines import Deadlines
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.engine.types.json import Json, encode, parse
from upstash_global.engine.types.list import List
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.engine.types.stream import Stream, load_stream

STRING: Final = "s"
FLOAT_STRING: Final = "f"  # a string that INCRBYFLOAT wrote
EDITED_STRING: Final = "a"  # a string that was changed in place; OBJECT ENCODING says raw
LIST: Final = "l"
HASH: Final = "h"
SET: Final = "S"
ZSET: Final = "z"
STREAM: Final = "x"
JSON: Final = "j"


def type_name(value: Any) -> str:
    """The name that TYPE answers."""
    if isinstance(value, (bytes, bytearray)):
        return "string"
    return _TYPE_NAMES[type(value)]


_TYPE_NAMES: Final[dict[type, str]] = {
    List: "list",
    Hash: "hash",
    IndexedSet: "set",
    SortedSet: "zset",
    Stream: "stream",
    Json: "ReJSON-RL",
}


def dump(value: Any) -> list[Any]:
    """A plain structure that `load` turns back into an equal value."""
    if type(value) is bytes:
        return [STRING, value]
    if isinstance(value, bytearray):
        return [EDITED_STRING, bytes(value)]
    if isinstance(value, bytes):
        return [FLOAT_STRING, bytes(value)]
    if type(value) is List:
        return [LIST, value.elements()]
    if type(value) is Hash:
        flat: list[bytes] = []
        for field, content in value.fields.items():
            flat.append(field)
            flat.append(content)
        deadlines = list(value.deadlines.items()) if value.deadlines else []
        return [HASH, value.encoding, flat, deadlines]
    if type(value) is IndexedSet:
        return [SET, value.encoding, list(value.members)]
    if type(value) is SortedSet:
        scored: list[Any] = []
        for member, score in value.items():
            scored.append(member)
            scored.append(score)
        return [ZSET, value.encoding, scored]
    if type(value) is Stream:
        return [STREAM, *value.dump()]
    if type(value) is Json:
        return [JSON, encode(value.root)]
    raise TypeError(f"{type(value).__name__} is no type of the keyspace")


def load(structure: list[Any]) -> Any:
    """The value that `dump` was given. Raises ValueError for a structure of no known type."""
    kind = structure[0]
    if kind == STRING:
        return structure[1]
    if kind == EDITED_STRING:
        return bytearray(structure[1])
    if kind == FLOAT_STRING:
        return FloatText(structure[1])
    if kind == LIST:
        return List(structure[1])
    if kind == HASH:
        found = Hash()
        found.encoding = structure[1]
        flat = structure[2]
        for i in range(0, len(flat), 2):
            found.fields[flat[i]] = flat[i + 1]
        if structure[3]:
            found.deadlines = Deadlines({field: at_ms for field, at_ms in structure[3]})
        return found
    if kind == SET:
        members = IndexedSet()
        members.encoding = structure[1]
        for member in structure[2]:
            members.add(member)
        return members
    if kind == ZSET:
        ranked = SortedSet()
        scored = structure[2]
        for i in range(0, len(scored), 2):
            ranked.add(scored[i], scored[i + 1])
        ranked.encoding = structure[1]
        return ranked
    if kind == STREAM:
        return load_stream(structure[1], structure[2], structure[3])
    if kind == JSON:
        return Json(parse(structure[1]))
    raise ValueError(f"unknown type {kind!r} in a dump")


def key_digest(key: bytes, value: Any, deadline: int) -> int:
    """A 160-bit number for one key, its value and its deadline (-1 without one)."""
    packed = msgpack.packb([key, deadline, dump(value)])
    return int.from_bytes(sha1(packed).digest(), "big")


def digest(keyspace: Keyspace, tables: dict[str, Any] | None = None) -> str:
    """40 hex digits of the physical state, hidden keys and the system tables included.

    The order of keys does not matter; the tables are plain structures by name.
    """
    total = int.from_bytes(sha1(msgpack.packb(sorted((tables or {}).items()))).digest(), "big")
    for key, value in keyspace.values.items():
        total ^= key_digest(key, value, keyspace.deadlines.get(key, -1))
    return f"{total:040x}"
