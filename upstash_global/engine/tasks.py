"""Tasks: a call that can pause where it stands, however deep, and go on later. What lets a long script give way to others.

A task has a stack of its own (greenlet) and runs only while somebody calls `go_on`: no thread, no lock, and the same order
every time. Lua 5.1 cannot yield from a hook, and a thread would cost every script two handovers.
"""

from collections.abc import Callable

from greenlet import GreenletExit, getcurrent, greenlet

from upstash_global.reply import PENDING, Reply


class Task:
    def __init__(self, function: Callable[[], Reply]) -> None:
        self._stack = greenlet(function)

    def go_on(self) -> Reply:
        """Run to the end, or until it pauses: what the function returned, or PENDING."""
        reply = self._stack.switch()
        return reply if self._stack.dead else PENDING

    @property
    def is_over(self) -> bool:
        return bool(self._stack.dead)


def pause() -> bool:
    """Give way: the running task's `go_on` returns, and this call does when it is called again.

    False if the task has been thrown away and is to come to its end.
    """
    try:
        getcurrent().parent.switch(PENDING)
    except GreenletExit:
        return False
    return True
