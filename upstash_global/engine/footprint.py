"""Footprints: on which keys the reply of a read depends, which keys the commands of an entry change, and to what.

For caches of replies outside of the node. Both are answered from the table alone, without a keyspace; what the table
cannot say is answered on the safe side: a reply that is not to be kept, a change of everything.
"""

from typing import Final, NamedTuple

from upstash_global.engine.keyspace import Keyspace
from upstash_global.engine.table import BLOCKING, READONLY, TABLE, VOLATILE, lookup
from upstash_global.errors import CommandError

WHOLE_KEYSPACE: Final[list[bytes]] = []  # what a reply depends on that names no key: any change may change it

_OF_ALL_KEYS: Final = frozenset(["DBSIZE", "KEYS", "SCAN"])
_OF_ANY_KEY: Final = frozenset(  # they may touch others than those they name
    ["EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO", "SORT", "SORT_RO"]
)
_OF_NO_DATA: Final = frozenset(["PUBLISH", "SPUBLISH"])
_OF_NO_KEY: Final = frozenset(  # in the log, and change no key
    ["PUBLISH", "SPUBLISH", "_SCRIPT", "FUNCTION DELETE", "FUNCTION FLUSH", "FUNCTION LOAD", "FUNCTION RESTORE"]
)

_DELETING: Final = frozenset([b"DEL", b"UNLINK", b"GETDEL", b"_EVICTED"])  # all that they name
_SETTING: Final = frozenset([b"SETNX", b"GETSET"])  # key value
_SETTING_PAIRS: Final = frozenset([b"MSET", b"MSETNX"])
_SETTING_FOR: Final = {b"SETEX": b"EX", b"PSETEX": b"PX"}  # key time value
_MS_PER: Final = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}
_SET_FLAGS: Final = (b"NX", b"XX", b"GET")  # what is in the log was carried out


class Left(NamedTuple):
    """What an entry leaves at a key, for GET."""

    value: bytes | None  # None: nothing
    until_ms: int  # its deadline, leader time; -1 for none


def keys_read(argv: list[bytes]) -> list[bytes] | None:
    """The keys that the reply depends on, WHOLE_KEYSPACE (empty) for all; None if the reply must not be kept.

    Kept are replies of commands that only read, that depend on nothing but their keys, and that answer at once.
    """
    try:
        row = lookup(argv)
    except CommandError:
        return None
    if not row.flags & READONLY or row.flags & (VOLATILE | BLOCKING) or row.needs_leader:
        return None
    keys = row.keys.find(argv)
    if keys:
        return keys
    return WHOLE_KEYSPACE if row.name in _OF_ALL_KEYS else None


def keys_changed(commands: list[list[bytes]]) -> list[bytes] | None:
    """The keys that an entry with these commands may change; None if it may change any (FLUSHALL, or unknown here)."""
    changed: list[bytes] = []
    for argv in commands:
        row = TABLE.get(argv[0].upper())
        if row is not None and row.subcommands and len(argv) > 1:
            row = row.subcommands.get(argv[1].upper())
        if row is None:
            return None
        keys = row.keys.find(argv)
        if not keys and row.name not in _OF_NO_KEY:
            return None
        changed.extend(keys)
    return changed


def value_read(argv: list[bytes]) -> bytes | None:
    """The key whose string is the whole reply; None if the reply is anything else."""
    return argv[1] if argv[0].upper() == b"GET" and len(argv) == 2 else None


def strings_left(commands: list[list[bytes]], time_ms: int) -> dict[bytes, Left]:
    """What an entry of these commands, logged at `time_ms`, leaves at keys, as far as its text alone says all of it.

    Of a key that it changes and that is not among these (by INCR, by RENAME), only a read can tell.
    """
    left: dict[bytes, Left] = {}
    for argv in commands:
        for key in keys_changed([argv]) or []:
            left.pop(key, None)
        name = argv[0].upper()
        if name == b"SET":
            deadline_ms = _deadline_of(argv[3:], time_ms)
            if deadline_ms is not None:
                left[argv[1]] = Left(argv[2], deadline_ms)
        elif name in _SETTING:
            left[argv[1]] = Left(argv[2], -1)
        elif name in _SETTING_PAIRS:
            for at in range(1, len(argv), 2):
                left[argv[at]] = Left(argv[at + 1], -1)
        elif name in _SETTING_FOR:
            left[argv[1]] = Left(argv[3], time_ms + int(argv[2]) * _MS_PER[_SETTING_FOR[name]])
        elif name in _DELETING or (name == b"_EXPIRED" and len(argv) == 2):
            for key in argv[1:]:
                left[key] = Left(None, -1)
    return left


def _deadline_of(options: list[bytes], time_ms: int) -> int | None:
    """The deadline that the options of a SET give, -1 for none; None if they say more than that."""
    deadline_ms = -1
    at = 0
    while at < len(options):
        word = options[at].upper()
        if word in _MS_PER and at + 1 < len(options):
            at += 1
            deadline_ms = int(options[at]) * _MS_PER[word] + (0 if word.endswith(b"AT") else time_ms)
        elif word not in _SET_FLAGS:
            return None
        at += 1
    return deadline_ms


def keys_named(argv: list[bytes]) -> list[bytes] | None:
    """The keys that a command may read or change; None if that may be any key, or something beside the keys.

    What will not run names none, and neither does what is about a connection or a node.
    """
    try:
        row = lookup(argv)
    except CommandError:
        return []
    if row.name in _OF_ANY_KEY:
        return None
    keys = row.keys.find(argv)
    if keys or row.name in _OF_NO_DATA or (row.handler is None and not row.needs_leader):
        return keys
    return None


def true_until(keyspace: Keyspace, keys: list[bytes], now_ms: int) -> int:
    """Until when a reply read from `keys` at `now_ms` stays true if nothing is written, in milliseconds since 1970.

    That is the earliest deadline among them, or an earlier time; -1 if none has one. A key that is hidden already stays so.
    """
    until_ms = -1
    if not keys:
        keyspace.due(now_ms)
        if keyspace.heap:
            until_ms = keyspace.heap[0][0]
        return _earlier(until_ms, keyspace.hashes.earliest())
    for key in keys:
        deadline_ms = keyspace.deadlines.get(key, -1)
        if deadline_ms > now_ms:
            until_ms = _earlier(until_ms, deadline_ms)
        if keyspace.hashes.times:
            until_ms = _earlier(until_ms, keyspace.hashes.times.get(key, -1))
    return until_ms


def _earlier(one_ms: int, other_ms: int) -> int:
    if one_ms < 0 or other_ms < 0:
        return max(one_ms, other_ms)
    return min(one_ms, other_ms)
