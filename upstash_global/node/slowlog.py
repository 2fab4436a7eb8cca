"""The slow log: the newest commands that took longer than a threshold, on this node.

The clock is read once for up to STRETCH calls of one command in a row, so that a pipeline costs little more than a single
call. A stretch that was slow as a whole is noted as its heaviest call; one of which a call was refused or queued is not noted.
With a threshold so low that fast calls reach it, every call is measured for itself, and so is what scripts call.
"""

from collections import deque
from typing import Final

from upstash_global.node.redaction import redacted

STRETCH: Final = 16
LOW_US: Final = 1_000
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
        self.measures_each = False  # every call for itself, those of scripts too
        self.stretch = STRETCH  # calls of one command that are measured together
        self.max_entries = 128  # slowlog-max-len
        self.entries: deque[SlowEntry] = deque()  # newest first
        self.next_id = 0

    def set_threshold(self, microseconds: int) -> None:
        self.threshold_us = microseconds
        self.measures_each = 0 <= microseconds < LOW_US
        self.stretch = 1 if self.measures_each else STRETCH

    def note(self, time_ms: int, microseconds: int, argv: list[bytes], address: str, name: bytes) -> None:
        """Remember a command, cut to a bounded size."""
        shown = [_cut(argument) for argument in redacted(argv[:MAX_ARGUMENTS])]
        if len(argv) > MAX_ARGUMENTS:
            shown[-1] = b"... (%d more arguments)" % (len(argv) - MAX_ARGUMENTS + 1)
        self.entries.appendleft(SlowEntry(self.next_id, time_ms // 1000, microseconds, shown, address, name))
        self.next_id += 1
        self.trim()

    def trim(self) -> None:
        while len(self.entries) > self.max_entries:
            self.entries.pop()


def heaviest(calls: list[list[bytes]]) -> list[bytes]:
    """The call with the most bytes of arguments, the first of equals."""
    if len(calls) == 1:
        return calls[0]
    return max(calls, key=_argument_bytes)


def _argument_bytes(argv: list[bytes]) -> int:
    return sum([len(argument) for argument in argv])


def _cut(argument: bytes) -> bytes:
    if len(argument) <= MAX_ARGUMENT_BYTES:
        return bytes(argument)
    return bytes(argument[:MAX_ARGUMENT_BYTES]) + b"... (%d more bytes)" % (len(argument) - MAX_ARGUMENT_BYTES)
