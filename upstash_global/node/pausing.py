"""CLIENT PAUSE: commands of clients wait until a moment in time, or CLIENT UNPAUSE; all of them, or those that may write.

A pause is this node's own. At the leader it holds what replicas forward as well, and whoever waits there for longer than the
forward timeout is told -UNKNOWN. Nothing expires and nothing is evicted meanwhile: an operator wants the data to stand still.
"""

from typing import TYPE_CHECKING

from upstash_global.engine.commands.scripting import promises_no_writes
from upstash_global.engine.context import Context
from upstash_global.engine.table import Row, find_row
from upstash_global.node.parking import Parked
from upstash_global.node.session import Session
from upstash_global.reply import PENDING, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node


class Pause:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.until_ms = 0  # on this node's clock; 0: there is none
        self.is_total = False  # reads wait as well
        self.is_over = False  # it has ended, and those who waited do not know yet

    def begin(self, until_ms: int, is_total: bool) -> None:
        """Begin to pause; one that goes on already gets no shorter and no weaker, as in Redis."""
        self.is_total = is_total or (self.is_total and self.until_ms > 0)
        self.until_ms = max(self.until_ms, until_ms)
        self.node.audience.note_attention()

    def end(self) -> None:
        """Let everybody go on, at the end of the turn."""
        self.until_ms = 0
        self.is_over = True
        self.node.audience.note_attention()

    def wake(self) -> None:
        """The pause has ended: who waited goes on."""
        self.is_over = False
        self.node.wake_cause("pause")

    def tick(self) -> None:
        if 0 < self.until_ms <= self.node.local_ms:
            self.end()

    def holds(self, session: Session, row: Row | None, argv: list[bytes]) -> bool:
        """Whether this command has to wait; what is refused anyway is refused at once."""
        if not self.until_ms or row is None or session.user is None or not row.arity_fits(len(argv)):
            return False
        if self.is_total:
            return row.name != "CLIENT UNPAUSE"
        if session.protocol == 2 and session.is_subscribed:
            return False
        context = self.node.engine.context
        if row.name == "EXEC":
            return session.queue is not None and any(
                [_may_write(context, find_row(each), each) for each in session.queue]
            )
        return _may_write(context, row, argv)

    def park(self, session: Session, argv: list[bytes]) -> Reply:
        """Let a command wait."""
        self.node.parking.park(Parked(session, lambda _: self._again(session, argv), 0, lambda: PENDING, [], "pause"))
        return PENDING

    def _again(self, session: Session, argv: list[bytes]) -> Reply:
        return PENDING if self.holds(session, find_row(argv), argv) else self.node.retry(session, argv)


def _may_write(context: Context, row: Row | None, argv: list[bytes]) -> bool:
    if row is None or not row.needs_leader or row.name.startswith("SCRIPT "):  # a cache of scripts is no data
        return False
    if row.name in ("EVAL", "EVALSHA", "FCALL"):
        return not promises_no_writes(context, argv)
    return row.handler is not None or row.is_write
