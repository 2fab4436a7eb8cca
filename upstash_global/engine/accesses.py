"""Accesses: when each key was last used, or how often, for OBJECT IDLETIME and FREQ and for eviction.

A keyspace has none until a memory policy needs them (`keyspace.accesses = Accesses(…)`), and then pays for what it uses.
They are this node's own observations: no part of snapshots or digests, and no logged command may depend on them.

How often is Redis's LFU counter: it grows the more rarely the higher it is, up to 255, and falls by one for each minute
without use, so that 5 is "new or forgotten" and 100 is "used all the time".
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

INITIAL_FREQUENCY: Final = 5
_HIGHEST_FREQUENCY: Final = 255
MAX_RECENT: Final = 10  # reads remembered between two reports


class Accesses:
    def __init__(self, now_ms: int, counts_uses: bool) -> None:
        self.began_ms = now_ms
        self.counts_uses = counts_uses  # LFU policies; the others want the time of the last use
        self.last_ms: dict[bytes, int] = {}
        self.counters: dict[bytes, int] = {}
        self.log_factor = 10  # lfu-log-factor
        self.decay_ms = 60_000  # lfu-decay-time; 0: counters do not fall
        self.recent: dict[bytes, None] | None = None  # at a replica: a few keys that were read since its last report
        self.given: dict[bytes, None] = {}  # keys about which RESTORE told something, until that unit is noted

    def note(self, key: bytes, now_ms: int, random: "Random") -> None:
        """A present key was looked up."""
        if self.recent is not None and len(self.recent) < MAX_RECENT:
            self.recent[key] = None
        self.use(key, now_ms, random)

    def use(self, key: bytes, now_ms: int, random: "Random") -> None:
        """A present key was used, perhaps on another node."""
        if self.counts_uses:
            counter = self.frequency(key, now_ms)
            above = max(0, counter - INITIAL_FREQUENCY)
            if counter < _HIGHEST_FREQUENCY and random.random() * (above * self.log_factor + 1) < 1:
                counter += 1
            self.counters[key] = counter
        self.last_ms[key] = now_ms

    def give(self, key: bytes, last_ms: int, frequency: int) -> None:
        """What RESTORE says about the time before: when the key was last used, or how often (-1: nothing)."""
        if self.counts_uses and frequency >= 0:
            self.counters[key] = frequency
        elif self.counts_uses or last_ms < 0:
            return
        self.last_ms[key] = last_ms
        self.given[key] = None

    def forget(self, key: bytes) -> None:
        self.last_ms.pop(key, None)
        self.counters.pop(key, None)

    def clear(self) -> None:
        self.last_ms.clear()
        self.counters.clear()

    def idle_ms(self, key: bytes, now_ms: int) -> int:
        """How long the key was not used; at least since counting began."""
        return max(0, now_ms - self.last_ms.get(key, self.began_ms))

    def frequency(self, key: bytes, now_ms: int) -> int:
        """The counter as it has decayed until now, 0 to 255."""
        counter = self.counters.get(key, INITIAL_FREQUENCY)
        if not self.decay_ms:
            return counter
        return max(0, counter - self.idle_ms(key, now_ms) // self.decay_ms)
