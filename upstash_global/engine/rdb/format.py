"""The frame of a payload, and the numbers that name what is in it.

    kind (1) | value | version (2) | CRC-64 of all before it (8)          numbers little-endian

Versions: 10 is Redis 7.0's, 11 is 7.2's, 12 is 7.4's. A server refuses a payload of a version later than its own, so we
write 10 wherever it can say what there is.
"""

from collections.abc import Callable
from functools import cache
from typing import Final

from upstash_global.engine.rdb.reader import Reader

VERSION: Final = 10
VERSION_OF_FIELD_DEADLINES: Final = 12
LATEST_VERSION: Final = 12  # of all that can be read

STRING: Final = 0
LIST: Final = 1
SET: Final = 2
ZSET_TEXT: Final = 3  # scores as text
HASH: Final = 4
ZSET: Final = 5
MODULE: Final = 7
HASH_ZIPMAP: Final = 9
LIST_ZIPLIST: Final = 10
SET_INTSET: Final = 11
ZSET_ZIPLIST: Final = 12
HASH_ZIPLIST: Final = 13
LIST_ZIPLISTS: Final = 14  # a quicklist of ziplists
STREAM: Final = 15
HASH_LISTPACK: Final = 16
ZSET_LISTPACK: Final = 17
LIST_LISTPACKS: Final = 18  # a quicklist of listpacks, and of single elements that are large
STREAM_2: Final = 19  # with first and highest deleted id, and what was ever added and read
SET_LISTPACK: Final = 20
STREAM_3: Final = 21  # with the time at which each consumer was last active
HASH_DEADLINES: Final = 24  # of fields
HASH_LISTPACK_DEADLINES: Final = 25
FUNCTION: Final = 245  # a library of functions; several may follow each other

PLAIN_NODE: Final = 1  # of a quicklist: one element
PACKED_NODE: Final = 2  # a listpack

# What RedisJSON's values are: the name and version of its type, nine characters of six bits and ten bits.
_NAME_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _module_id(name: str, version: int) -> int:
    number = 0
    for character in name:
        number = number << 6 | _NAME_CHARACTERS.index(character)
    return number << 10 | version


JSON_MODULE: Final = _module_id("ReJSON-RL", 3)
MODULE_STRING: Final = 5
MODULE_END: Final = 0

_TRAILER_BYTES: Final = 10


@cache
def crc64() -> Callable[[bytes], int]:
    """What makes the CRC-64 of Redis. Loaded when it is first asked for: that takes longer than all of the rest here."""
    from anycrc import Model

    calculate: Callable[[bytes], int] = Model("CRC64-REDIS").calc
    return calculate


def seal(body: bytes | bytearray, version: int) -> bytes:
    """A whole payload."""
    sealed = bytes(body) + version.to_bytes(2, "little")
    return sealed + crc64()(sealed).to_bytes(8, "little")


def unseal(payload: bytes, budget_bytes: int) -> Reader | None:
    """A reader of what is inside; None if the version is unknown or the checksum is wrong."""
    end = len(payload) - _TRAILER_BYTES
    if end < 0 or int.from_bytes(payload[end : end + 2], "little") > LATEST_VERSION:
        return None
    if crc64()(payload[:-8]) != int.from_bytes(payload[-8:], "little"):
        return None
    return Reader(payload, end, budget_bytes)
