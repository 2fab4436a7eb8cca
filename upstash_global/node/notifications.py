"""Keyspace notifications: which events are told, and on which channels.

Handlers raise events as they run, on the leader and, because an entry is applied by the same handlers, on every node alike.
Each node tells its own subscribers what `notify-keyspace-events`, a parameter of the cluster, asks for; a class that is not asked
for is not even noted down. `keymiss` alone comes from reads and is told where the read was served.

Told through the channels `__keyspace@0__:key` (the event is the message) and `__keyevent@0__:event` (the key is).
"""

from typing import Final

from upstash_global.engine.context import (
    EVENT_EVICTED,
    EVENT_EXPIRED,
    EVENT_GENERIC,
    EVENT_HASH,
    EVENT_LIST,
    EVENT_MISS,
    EVENT_MODULE,
    EVENT_NEW,
    EVENT_SET,
    EVENT_STREAM,
    EVENT_STRING,
    EVENT_ZSET,
)

_BY_KEY: Final = 1 << 30  # K
_BY_EVENT: Final = 1 << 31  # E

_ALL: Final = {  # what A stands for
    "g": EVENT_GENERIC,
    "$": EVENT_STRING,
    "l": EVENT_LIST,
    "s": EVENT_SET,
    "h": EVENT_HASH,
    "z": EVENT_ZSET,
    "x": EVENT_EXPIRED,
    "e": EVENT_EVICTED,
    "t": EVENT_STREAM,
    "d": EVENT_MODULE,
}
_MASK_OF_ALL: Final = sum(_ALL.values())
_LETTERS: Final = {**_ALL, "n": EVENT_NEW, "A": _MASK_OF_ALL, "K": _BY_KEY, "E": _BY_EVENT, "m": EVENT_MISS}


class Notifications:
    """What is told; nothing at first."""

    def __init__(self) -> None:
        self.mask = 0  # EVENT_… classes, none while neither kind of channel is asked for
        self.by_key = False
        self.by_event = False

    def set(self, flags: str) -> None:
        """Tell what these letters ask for."""
        mask = 0
        for letter in flags:
            mask |= _LETTERS[letter]
        self.by_key = bool(mask & _BY_KEY)
        self.by_event = bool(mask & _BY_EVENT)
        self.mask = mask & ~(_BY_KEY | _BY_EVENT) if self.by_key or self.by_event else 0
