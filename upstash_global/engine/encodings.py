"""Encodings: what OBJECT ENCODING answers, and the thresholds where a value changes its encoding.

Our values have one form each; an encoding is only a name that clients can see, and it moves one way, as in Redis 7.2:
a collection starts compact and never shrinks back by losing members. A collection carries its code in `encoding`; a
string's follows from its type and text (see `string_encoding`).

The thresholds are CONFIG parameters. They decide a visible state, so CONFIG SET changes them on every node alike.
"""

from collections import deque
from typing import Any, Final

from upstash_global.engine.numbers import parse_integer

LISTPACK: Final = 0  # hashes, sets, sorted sets and lists that are small
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
        self.hash_max_listpack_entries = 128
        self.hash_max_listpack_value = 64
        self.list_max_listpack_size = -2  # -2 is 8 KiB
        self.proto_max_bulk_len = 512 * 1024 * 1024  # of any string
        self.set_max_intset_entries = 512
        self.set_max_listpack_entries = 128
        self.set_max_listpack_value = 64
        self.zset_max_listpack_entries = 128
        self.zset_max_listpack_value = 64


LIMITS: Final = Limits()

# A string that INCRBYFLOAT wrote: never shown as `int`, though it may read as one. Made by type(), because a compiled
# class cannot extend bytes; everything but this module and dump.py treats it as the bytes it is.
FloatText: Final = type("FloatText", (bytes,), {"__slots__": ()})


def encoding_name(value: Any) -> str:
    """The encoding of any value of the keyspace, as OBJECT ENCODING shows it."""
    if isinstance(value, (bytes, bytearray)):
        return string_encoding(value)
    if type(value) is deque:
        return list_encoding(value)
    name: str = NAMES[value.encoding]
    return name


def list_encoding(value: deque[bytes]) -> str:
    """`listpack` for a list within `list-max-listpack-size`, else `quicklist`."""
    limit = LIMITS.list_max_listpack_size
    if limit >= 0:
        return NAMES[LISTPACK if len(value) <= limit else QUICKLIST]
    left_bytes = 4096 << min(-limit - 1, 4)
    for element in value:
        left_bytes -= len(element) + 2
        if left_bytes < 0:
            return NAMES[QUICKLIST]
    return NAMES[LISTPACK]


def string_encoding(value: bytes | bytearray) -> str:
    """`int`, `embstr` or `raw`; a string that was edited in place (a bytearray) is raw."""
    if isinstance(value, bytearray):
        return "raw"
    if type(value) is bytes and len(value) <= 20 and parse_integer(value) is not None:
        return "int"
    return "embstr" if len(value) <= EMBEDDED_BYTES else "raw"
