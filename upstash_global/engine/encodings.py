"""Encodings: what OBJECT ENCODING answers, and the thresholds where a value changes its encoding.

Our values have one form each; an encoding is only a name that clients can see, and it moves one way, as in Redis 7.2:
a hash, set or sorted set starts compact and never shrinks back by losing members; it carries its code in `encoding`.
Those of strings and lists follow from what they hold.

The thresholds are CONFIG parameters. They decide a visible state, so CONFIG SET changes them by an entry, on every node at
the same position (see parameters.py).
"""

from typing import Any, Final

from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.json import Json
from upstash_global.engine.types.list import List

LISTPACK: Final = 0  # small collections
HASHTABLE: Final = 1  # hashes and sets
INTSET: Final = 2  # sets of integers
SKIPLIST: Final = 3  # sorted sets
QUICKLIST: Final = 4  # lists
STREAM: Final = 5

NAMES: Final = ["listpack", "hashtable", "intset", "skiplist", "quicklist", "stream"]

EMBEDDED_BYTES: Final = 44  # up to this length a string that is no integer is `embstr`


class Limits:
    """Redis 7.2's defaults; a parameter's name with underscores for dashes."""

    def __init__(self) -> None:
        self.hash_max_listpack_entries = 512
        self.hash_max_listpack_value = 64
        self.hll_sparse_max_bytes = 3000
        self.list_max_listpack_size = -2  # -2 is 8 KiB
        self.proto_max_bulk_len = 512 * 1024 * 1024  # of any string
        self.set_max_intset_entries = 512
        self.set_max_listpack_entries = 128
        self.set_max_listpack_value = 64
        self.stream_node_max_entries = 100  # see streamids.Trimming
        self.trims_whole_nodes = False  # by `~`: since stream-node-max-entries was set
        self.zset_max_listpack_entries = 128
        self.zset_max_listpack_value = 64


LIMIT_NAMES: Final = {  # CONFIG's name → the attribute of Limits
    name.replace("_", "-").encode(): name
    for name in (
        "hash_max_listpack_entries",
        "hash_max_listpack_value",
        "hll_sparse_max_bytes",
        "list_max_listpack_size",
        "proto_max_bulk_len",
        "set_max_intset_entries",
        "set_max_listpack_entries",
        "set_max_listpack_value",
        "stream_node_max_entries",
        "zset_max_listpack_entries",
        "zset_max_listpack_value",
    )
}


# A string that INCRBYFLOAT wrote: never shown as `int`, though it may read as one. Made by type(), because a compiled
# class cannot extend bytes; everything but this module and dump.py treats it as the bytes it is.
FloatText: Final = type("FloatText", (bytes,), {"__slots__": ()})


def encoding_name(value: Any, limits: Limits) -> str:
    """The encoding of any value of the keyspace, as OBJECT ENCODING shows it."""
    if isinstance(value, (bytes, bytearray)):
        return string_encoding(value)
    if type(value) is List:
        return list_encoding(value, limits)
    if type(value) is Json:
        return "raw"  # as of any value of a module
    if type(value) is Hash and value.deadlines is not None and value.encoding == LISTPACK:
        return "listpackex"  # as Redis 7.4, while a field has a deadline
    name: str = NAMES[value.encoding]
    return name


def list_encoding(value: List, limits: Limits) -> str:
    """`listpack` for a list that fits into one of `list-max-listpack-size`, else `quicklist`.

    Follows from what the list holds now. Redis 7.2 differs while a list shrinks: it waits until half the size is free.
    """
    limit = limits.list_max_listpack_size
    if limit >= 0:
        return NAMES[LISTPACK if len(value) <= max(1, limit) else QUICKLIST]
    left_bytes = (4096 << min(-limit - 1, 4)) - _LISTPACK_FRAME_BYTES
    for element in value:
        left_bytes -= _entry_bytes(element)
        if left_bytes < 0:
            return NAMES[QUICKLIST]
    return NAMES[LISTPACK]


_LISTPACK_FRAME_BYTES: Final = 7


def _entry_bytes(element: bytes) -> int:
    """What an element takes in a listpack: a header, the bytes or the integer, and its length for walking back."""
    n = len(element)
    integer = parse_integer(element) if n <= 20 else None
    if integer is not None:
        n_bits = (integer if integer >= 0 else ~integer).bit_length() + 1
        if 0 <= integer < 128:
            return 2
        for width, n_bytes in ((13, 2), (16, 3), (24, 4), (32, 5)):
            if n_bits <= width:
                return n_bytes + 1
        return 10
    n += 1 if n < 64 else 2 if n < 4096 else 5
    return n + (1 if n < 128 else 2 if n < 16384 else 3)


def string_encoding(value: bytes | bytearray) -> str:
    """`int`, `embstr` or `raw`; a string that was edited in place (a bytearray) is raw."""
    if isinstance(value, bytearray):
        return "raw"
    if type(value) is bytes and len(value) <= 20 and parse_integer(value) is not None:
        return "int"
    return "embstr" if len(value) <= EMBEDDED_BYTES else "raw"
