"""Footprints: on which keys the reply of a read depends, and which keys the commands of an entry change.

For caches of replies outside of the node. Both are answered from the table alone, without a keyspace; what the table
cannot say is answered on the safe side: a reply that is not to be kept, a change of everything.
"""

from typing import Final

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
