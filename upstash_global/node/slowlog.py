"""The slow log: the newest commands that took longer than a threshold, on this node.

Durations are measured by the batch that the client sent; only a batch that was slow as a whole is looked at by command, so
that a fast one costs two readings of the clock.
"""

from collections import deque
from typing import Final

MAX_ARGUMENTS: Final = 32
MAX_ARGUMENT_BYTES: Final = 128


class SlowEntry:
    __slots__ = ("id", "time_s", "microseconds", "argv", "address", "name")

    def __init__(self, id: int, time_s: int, microseconds: int, argv: list[bytes], address: str, name: bytes) -> None:
        self.id = id
        self.time_s = time_s
        self.microseconds = microseconds
        self.argv = argv
        self.address = address
        self.name = name


class SlowLog:
    def __init__(self) -> None:
        self.threshold_us = 10_000  # slowlog-log-slower-than; below 0 nothing is logged
        self.max_entries = 128  # slowlog-max-len
        self.entries: deque[SlowEntry] = deque()  # newest first
        self.next_id = 0

    def note(self, time_ms: int, microseconds: int, argv: list[bytes], address: str, name: bytes) -> None:
        """Remember a command, cut to a bounded size."""
        shown = [_cut(argument) for argument in argv[:MAX_ARGUMENTS]]
        if len(argv) > MAX_ARGUMENTS:
            shown[-1] = b"... (%d more arguments)" % (len(argv) - MAX_ARGUMENTS + 1)
        self.entries.appendleft(SlowEntry(self.next_id, time_ms // 1000, microseconds, shown, address, name))
        self.next_id += 1
        self.trim()

    def trim(self) -> None:
        while len(self.entries) > self.max_entries:
            self.entries.pop()


def _cut(argument: bytes) -> bytes:
    if len(argument) <= MAX_ARGUMENT_BYTES:
        return bytes(argument)
    return bytes(argument[:MAX_ARGUMENT_BYTES]) + b"... (%d more bytes)" % (len(argument) - MAX_ARGUMENT_BYTES)
