"""Attention: what the node does around a command when somebody follows what sessions do, or holds them back, when what clients
take is bounded, or when it stops.

While nobody does, commands run through `dispatch` alone and this costs nothing: see `Node.is_attended`.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.table import BLOCKING, Row, find_row
from upstash_global.errors import CommandError
from upstash_global.node.dispatch import dispatch, refuse
from upstash_global.node.freshness import FORWARD
from upstash_global.node.session import Session, TrackingState
from upstash_global.reply import NO_REPLY, PENDING, QUEUED, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node


SHUTTING_DOWN: Final = CommandError("SHUTTINGDOWN", "The server is shutting down")
_SERVED_TO_THE_END: Final = ("QUIT", "SHUTDOWN")


def stop_serving(node: "Node") -> None:
    """From now on refuse what clients say, and what other nodes forward: the process is about to end."""
    node.is_stopping = True
    node.audience.note_attention()


def attend(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """As `dispatch`; what the session hears of its own command waits for the reply, and what it read is noted."""
    row = find_row(argv)
    if node.is_stopping and row is not None and row.name not in _SERVED_TO_THE_END and row.arity_fits(len(argv)):
        session.row = row
        return refuse(node, session, argv, row, SHUTTING_DOWN)
    if node.pause.holds(session, row, argv):
        session.row = row
        return node.pause.park(session, argv)
    memory = node.client_memory
    if memory.limit and not memory.admits(session, argv):
        session.row = row
        return NO_REPLY
    n_rejected = 0 if row is None else row.rejected_calls
    audience = node.audience
    monitors = audience.monitors if audience.monitors.sessions else None
    if monitors is not None:
        monitors.begin()
    audience.begin(session)
    reply = dispatch(node, session, argv)
    was_run = row is not None and row.rejected_calls == n_rejected and row.arity_fits(len(argv))
    runs_later = _runs_later(row, reply)
    if session.tracking is not None and session.queue is None and not runs_later:
        audience.begin(session)
        _note_read(node, session, session.tracking, row, argv if was_run else [])
    audience.end()
    if monitors is not None:
        monitors.end(session, row if was_run and not runs_later and reply is not QUEUED else None, argv)
    if memory.limit:
        memory.note(session)
    return reply


def _note_read(node: "Node", session: Session, state: TrackingState, row: Row | None, argv: list[bytes]) -> None:
    if row is not None and row.handler is not None and argv:
        node.tracking.note_read(session, row, argv, node.engine.context.take_script_reads())
    if row is None or not row.name.startswith("CLIENT "):
        state.is_caching = False


def _runs_later(row: Row | None, reply: Reply) -> bool:
    """Whether a data command was forwarded, or waits for a position; a read that blocks counts as having run."""
    if row is None or row.handler is None:
        return False
    return reply is FORWARD or (reply is PENDING and not row.flags & BLOCKING)
