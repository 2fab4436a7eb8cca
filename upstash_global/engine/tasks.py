"""Tasks: calls that can pause where they stand, however deep, and go on later. What lets a long script give way to others.

A call runs on a stack of its own (greenlet) and only while somebody waits for `run` or `go_on`: no thread, no lock, and the
same order every time. Lua 5.1 cannot yield from a hook, and a thread would cost every script two handovers. The stack is
kept for the next call: to map the memory of a new one takes longer than most scripts.
"""

from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from upstash_global.reply import PENDING, Reply


class Stack:
    """Where one call after another runs."""

    def __init__(self) -> None:
        self._greenlet: Any = None
        self.is_idle = True  # no call stands in it

    def run(self, function: Callable[[], Reply]) -> Reply:
        """Run a call to its end, or until it pauses: what it returned, or PENDING. Raises what it raised."""
        assert self.is_idle
        if self._greenlet is None:
            self._greenlet = greenlet(_work)
        self.is_idle = False
        return self._outcome(self._greenlet.switch(function))

    def go_on(self) -> Reply:
        """The same for a call that has paused."""
        return self._outcome(self._greenlet.switch())

    def _outcome(self, outcome: Any) -> Reply:
        if outcome is PENDING:
            return PENDING
        self.is_idle = True
        reply, failure = outcome
        if failure is not None:
            raise failure
        return reply


def pause() -> bool:
    """Give way: `run` or `go_on` returns, and this call does when `go_on` is called again.

    False if the stack has been thrown away and the call is to come to its end.
    """
    try:
        getcurrent().parent.switch(PENDING)
    except GreenletExit:
        getcurrent().is_thrown_away = True
        return False
    return True


def _work(function: Callable[[], Reply]) -> None:
    """Run the call that was handed over, then the next one. Refers to the greenlet at no time, so that it can be thrown away."""
    while True:
        try:
            outcome: tuple[Reply, Exception | None] = (function(), None)
        except Exception as failure:
            outcome = (None, failure)
        del function
        if hasattr(getcurrent(), "is_thrown_away"):
            return
        function = getcurrent().parent.switch(outcome)
