"""Attention: what the node does around a command when somebody follows what sessions do.

While nobody does, commands run through `dispatch` alone and this costs nothing: see `Node.is_attended`.
"""

from typing import TYPE_CHECKING

from upstash_global.engine.table import BLOCKING, Row, find_row
from upstash_global.node.dispatch import dispatch
from upstash_global.node.freshness import FORWARD
from upstash_global.node.session import Session
from upstash_global.reply import PENDING, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node


def attend(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """As `dispatch`; what the session hears of its own command waits for the reply, and what it read is noted."""
    row = find_row(argv)
    n_rejected = 0 if row is None else row.rejected_calls
    node.audience.begin(session)
    reply = dispatch(node, session, argv)
    state = session.tracking
    if state is not None and session.queue is None and not _runs_later(row, reply):
        node.audience.begin(session)
        if row is not None and row.handler is not None and row.rejected_calls == n_rejected:
            if row.arity_fits(len(argv)):
                node.tracking.note_read(session, row, argv)
        if row is None or not row.name.startswith("CLIENT "):
            state.is_caching = False
    node.audience.end()
    return reply


def _runs_later(row: Row | None, reply: Reply) -> bool:
    """Whether a data command was forwarded, or waits for a position; a read that blocks counts as having run."""
    if row is None or row.handler is None:
        return False
    return reply is FORWARD or (reply is PENDING and not row.flags & BLOCKING)
