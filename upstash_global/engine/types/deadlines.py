"""Deadlines: names, each with a time, and which of the times have passed.

A dict answers for one name. A heap of (time, name) finds those whose time has come without looking at the others; pairs
that are out of date are skipped, and dropped when they are the larger part.
"""

from collections.abc import ItemsView
from heapq import heapify, heappop, heappush
from itertools import islice


class Deadlines:
    __slots__ = ("times", "heap", "passed", "asked_ms")

    def __init__(self, times: dict[bytes, int] | None = None) -> None:
        self.times: dict[bytes, int] = times or {}  # name → milliseconds since 1970
        self.heap: list[tuple[int, bytes]] = [(at_ms, name) for name, at_ms in self.times.items()]
        self.passed: dict[bytes, None] = {}  # names whose time `due` has seen pass, oldest time first; not in the heap
        self.asked_ms = -1  # the latest time that `due` was asked for
        heapify(self.heap)

    def set(self, name: bytes, at_ms: int) -> None:
        self.times[name] = at_ms
        self.passed.pop(name, None)
        heappush(self.heap, (at_ms, name))
        if len(self.heap) > 64 + 2 * len(self.times):
            self.heap = [(at, each) for each, at in self.times.items() if each not in self.passed]
            heapify(self.heap)

    def clear(self, name: bytes) -> None:
        self.times.pop(name, None)
        self.passed.pop(name, None)

    def due(self, now_ms: int) -> dict[bytes, None]:
        """The names whose time has passed at `now_ms`, or at a later time that was asked for; the live table, not a copy."""
        heap = self.heap
        if now_ms > self.asked_ms:
            self.asked_ms = now_ms
        while heap and heap[0][0] <= now_ms:
            at_ms, name = heappop(heap)
            if self.times.get(name) == at_ms:
                self.passed[name] = None
        return self.passed

    def some_due(self, now_ms: int, limit: int) -> list[bytes]:
        """Up to `limit` of those names, at the cost of as many."""
        heap = self.heap
        if now_ms > self.asked_ms:
            self.asked_ms = now_ms
        while len(self.passed) < limit and heap and heap[0][0] <= now_ms:
            at_ms, name = heappop(heap)
            if self.times.get(name) == at_ms:
                self.passed[name] = None
        return list(islice(self.passed, limit))

    def earliest(self) -> int:
        """The earliest time of all, or one that has passed already; -1 if there is none."""
        heap = self.heap
        while heap and self.times.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        earliest = heap[0][0] if heap else -1
        for name in self.passed:
            at_ms = self.times[name]
            return at_ms if earliest < 0 else min(earliest, at_ms)
        return earliest

    def items(self) -> ItemsView[bytes, int]:
        return self.times.items()

    def __len__(self) -> int:
        return len(self.times)
