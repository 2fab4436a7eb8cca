"""The keyspace: keys, values, deadlines.

Keys stand in insertion order in one dict. Two side structures are built only when somebody needs them: the key index
(for SCAN and RANDOMKEY) and, for keys with deadlines, a heap of (deadline, key) that the sweep reads.

The number of visible keys needs no scan: `due` moves keys whose deadline has passed from the heap into `hidden`.

Hashes with deadlines of fields are listed by the earliest of them, so that the sweep finds those and the rest costs
nothing. A hash whose fields are all hidden is no key for anybody, though it is still present.
"""

from collections import OrderedDict
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Any, Final

from upstash_global.engine.accesses import Accesses
from upstash_global.engine.types.deadlines import Deadlines
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet

ALL: Final = 1 << 62


class Observer:
    """Told of a change before it happens: a running snapshot, which saves what it has not reached yet."""

    def before_change(self, key: bytes) -> None:
        raise NotImplementedError

    def before_flush(self) -> None:
        raise NotImplementedError


class Keyspace:
    def __init__(self) -> None:
        self.values: dict[bytes, Any] = {}  # an exact type per Redis type
        self.deadlines: dict[bytes, int] = {}  # key → milliseconds since 1970; only keys of `values`
        self.index: IndexedSet | None = None  # all keys of `values`, once SCAN or RANDOMKEY asked
        self.observer: Observer | None = None
        self.accesses: Accesses | None = None  # when keys were last used, while a memory policy wants to know
        # Present keys whose deadline `due` has seen pass, oldest first; ordered, for the sweep takes from its front for long.
        self.hidden: OrderedDict[bytes, None] = OrderedDict()
        self.heap: list[tuple[int, bytes]] = []  # (deadline, key); stale pairs are skipped
        self.hashes = Deadlines()  # key of a hash with deadlines of fields → the earliest, or an earlier time

    def store(self, key: bytes, value: Any) -> None:
        if self.index is not None and key not in self.values:
            self.index.add(key)
        self.values[key] = value
        if type(value) is Hash and value.deadlines is not None:
            self.note_fields(key, value)

    def forget(self, key: bytes) -> None:
        """Remove a present key and its deadline."""
        del self.values[key]
        if self.index is not None:
            self.index.remove(key)
        if self.deadlines and key in self.deadlines:
            self.clear_deadline(key)
        if self.hashes.times:
            self.hashes.clear(key)

    def clear(self) -> None:
        """Empty by replacing the tables, so that a running snapshot may keep the old ones."""
        self.values = {}
        self.deadlines = {}
        self.index = None
        self.hidden = OrderedDict()
        self.heap = []
        self.hashes = Deadlines()
        if self.accesses is not None:
            self.accesses.clear()

    def set_deadline(self, key: bytes, at_ms: int) -> None:
        self.deadlines[key] = at_ms
        self.hidden.pop(key, None)
        heappush(self.heap, (at_ms, key))
        if len(self.heap) > 64 + 2 * len(self.deadlines):
            self.heap = [(at, each) for each, at in self.deadlines.items() if each not in self.hidden]
            heapify(self.heap)

    def clear_deadline(self, key: bytes) -> None:
        self.deadlines.pop(key, None)
        self.hidden.pop(key, None)

    def due(self, now_ms: int) -> dict[bytes, None]:
        """The present keys whose deadline has passed, oldest first; the live table, not a copy."""
        heap = self.heap
        while heap and heap[0][0] <= now_ms:
            at_ms, key = heappop(heap)
            if self.deadlines.get(key) == at_ms:
                self.hidden[key] = None
        return self.hidden

    def some_due(self, now_ms: int, limit: int) -> list[bytes]:
        """Up to `limit` of those keys, at the cost of as many."""
        heap = self.heap
        while len(self.hidden) < limit and heap and heap[0][0] <= now_ms:
            at_ms, key = heappop(heap)
            if self.deadlines.get(key) == at_ms:
                self.hidden[key] = None
        return list(islice(self.hidden, limit))

    def next_to_expire(self) -> bytes | None:
        """The key with the earliest deadline, hidden or not; None if no key has one."""
        for key in self.hidden:
            return key
        heap = self.heap
        while heap and self.deadlines.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][1] if heap else None

    def note_fields(self, key: bytes, value: Hash) -> None:
        """A hash under a key has got deadlines of fields, or other ones, or lost them."""
        earliest = -1 if value.deadlines is None else value.deadlines.earliest()
        if earliest < 0:
            self.hashes.clear(key)
        elif self.hashes.times.get(key) != earliest:
            self.hashes.set(key, earliest)

    def hashes_due(self, now_ms: int, limit: int = ALL) -> list[bytes]:
        """The keys of hashes that have hidden fields, where the key itself is not hidden; only `limit` hashes are looked at."""
        due: list[bytes] = []
        for key in self.hashes.some_due(now_ms, limit):
            value = self.values.get(key)
            if type(value) is not Hash or not value.some_hidden(now_ms, 1):
                self.hashes.clear(key)
                if type(value) is Hash:
                    self.note_fields(key, value)
            elif not 0 <= self.deadlines.get(key, -1) <= now_ms:
                due.append(key)
        return due

    def is_gone(self, key: bytes, now_ms: int) -> bool:
        """Whether a present key is a hash whose fields are all hidden."""
        value = self.values[key]
        return type(value) is Hash and value.deadlines is not None and value.is_gone(now_ms)

    def gone(self, now_ms: int) -> dict[bytes, None]:
        """The present keys that are hidden from readers: their deadline has passed, or that of all their fields."""
        hidden = self.due(now_ms)
        if not self.hashes.times:
            return hidden
        gone = [key for key in self.hashes_due(now_ms) if self.is_gone(key, now_ms)]
        return {**hidden, **dict.fromkeys(gone)} if gone else hidden

    def size(self, now_ms: int) -> int:
        """How many keys are visible at `now_ms`."""
        return len(self.values) - len(self.gone(now_ms))

    def key_index(self) -> IndexedSet:
        """All present keys, hidden ones included, in an order that a counted-down cursor may walk (see IndexedSet)."""
        if self.index is None:
            index = IndexedSet()
            for key in self.values:
                index.add(key)
            self.index = index
        return self.index
