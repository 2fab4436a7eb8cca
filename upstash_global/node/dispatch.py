"""Dispatch: from a client's argv to its reply, as one short list of steps.

    look up → authenticate → permit → queue (MULTI) → serve a session command, or route and execute a data command

A step that refuses answers with a CommandError and nothing has happened. PENDING means that the answer comes later,
FORWARD that the leader has to give it.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.table import NO_AUTH, NO_MULTI, STALE, Row, find_row, lookup
from upstash_global.errors import INTERNAL_ERROR, CommandError, error
from upstash_global.node.eviction import OOM
from upstash_global.node.freshness import FORWARD, STALE_LEADER, is_superseded, park_read, serves
from upstash_global.node.redundancy import NOREPLICAS
from upstash_global.node.session import RemoteSession, Session
from upstash_global.replication.position import START
from upstash_global.reply import PENDING, QUEUED, Reply, unpack

if TYPE_CHECKING:
    from upstash_global.node.node import Node

_REFUSAL: Final = CommandError  # compiled code finds it here without a dictionary

NOAUTH: Final = CommandError("NOAUTH", "Authentication required.")

QUEUED_BYTES: Final = 64  # about what a queued command takes beside its arguments

# What runs at once although a transaction is being queued.
_NEVER_QUEUED: Final = frozenset(["EXEC", "DISCARD", "MULTI", "WATCH", "QUIT", "RESET"])
# What a RESP2 connection may do while it is subscribed.
_WHILE_SUBSCRIBED: Final = frozenset(
    ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "PING", "QUIT", "RESET"]
)


def dispatch(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The reply to one command of this session, PENDING, or FORWARD."""
    try:
        row = lookup(argv)
    except CommandError as refusal:
        session.row = row_of_name = find_row(argv)
        if row_of_name is not None:
            row_of_name.rejected_calls += 1
        return _refuse(node, session, argv, refusal)
    session.row = row
    refused = _refusal(node, session, row, argv)
    if refused is not None:
        row.rejected_calls += 1
        return _refuse(node, session, argv, refused)
    if session.queue is not None and row.name not in _NEVER_QUEUED:
        lack = _refusal_to_queue(node, row)
        if lack is not None:
            row.rejected_calls += 1
            return _refuse(node, session, argv, lack)
        session.ran = False
        session.queue_bytes += size_of(argv) + QUEUED_BYTES
        if session.queue_bytes > node.settings.entry_bytes:
            session.queue_failed = True
            session.queue.clear()
            return too_large(node)
        if not session.queue_failed:  # as Redis: there is no sense in keeping what will not run
            session.queue.append(argv)
        return QUEUED
    row.calls += 1
    serve = row.session_handler
    if serve is None:
        reply = run_data(node, session, row, argv)
    elif row.needs_leader and not node.is_leader:
        return FORWARD
    else:
        try:
            reply = serve(node, session, argv)
        except CommandError as failure:
            reply = failure
        except Exception as bug:
            node.engine.context.tell_bug(row.name, bug)
            reply = INTERNAL_ERROR
    if type(reply) is _REFUSAL:
        _count_failure(node, session, row, reply)
    return reply


def _count_failure(node: "Node", session: Session, row: Row, failure: CommandError) -> None:
    """What the state of the node forbids was rejected and is no call, as Redis counts."""
    node.metrics.note_refusal(failure)
    if failure is OOM or failure is NOREPLICAS or failure is node.write_refusal or failure is node.read_refusal:
        session.ran = False
        row.calls -= 1
        row.rejected_calls += 1
    else:
        row.failed_calls += 1


def _refusal_to_queue(node: "Node", row: Row) -> CommandError | None:
    """Why the leader does not even queue a command: for want of replicas, or because a queue takes memory, too."""
    if not node.is_leader:
        return None
    lack = None if node.redundancy is None else node.redundancy.refusal(row)
    return lack if lack is not None or node.memory is None else node.eviction.lacks_room()


def refuse(node: "Node", session: Session, argv: list[bytes], row: Row, refusal: CommandError) -> CommandError:
    """Do not run a command that would otherwise run; a reason of its own comes first."""
    row.rejected_calls += 1
    return _refuse(node, session, argv, _refusal(node, session, row, argv) or refusal)


def _refuse(node: "Node", session: Session, argv: list[bytes], refusal: CommandError) -> CommandError:
    """A command that does not run spoils the transaction; if it is EXEC, it ends it."""
    node.metrics.note_refusal(refusal)
    session.ran = False
    session.queue_failed = True
    if argv[0].upper() != b"EXEC":
        return refusal
    session.end_transaction()
    reason = refusal.message if refusal.code == "ERR" else refusal.text
    return CommandError("EXECABORT", f"Transaction discarded because of: {reason}")


def _refusal(node: "Node", session: Session, row: Row, argv: list[bytes]) -> CommandError | None:
    """Why this session may not run this row now, or None."""
    user = session.user
    if user is None:
        if not row.flags & NO_AUTH:
            return NOAUTH
    elif user.is_restricted:
        refused = node.permissions.refusal(session, row, argv)
        if refused is not None:
            return refused
    if session.queue is not None:
        if row.flags & NO_MULTI:
            return error("Command not allowed inside a transaction")
    elif session.protocol == 2 and session.is_subscribed and row.name not in _WHILE_SUBSCRIBED:
        return error(
            f"Can't execute '{row.display_name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        )
    return None


def run_data(node: "Node", session: Session, row: Row, argv: list[bytes]) -> Reply:
    """Route one data command and run it if this is the place."""
    if row.needs_leader:
        if not node.is_leader:
            return FORWARD
        if node.write_refusal is not None:
            return node.write_refusal
        if node.is_sealed:
            return _wait_for_seal(node, session, argv)
        if node.redundancy is not None:
            lack = _lacks_replicas(node, session, row)
            if lack is not None:
                return lack
        if node.memory is not None:
            refusal = node.eviction.refusal(row)
            if refusal is not None:
                return refusal
        reply = execute_unit(node, session, row, argv)
        return reply if reply is not PENDING else node.blocking.park(session, row, argv)
    if node.read_refusal is not None and not row.flags & STALE:
        return node.read_refusal
    if session.position is not START and not serves(node, session, [argv]):
        if not node.is_leader:
            return park_read(node, session, argv)
        if is_superseded(node, session.position):
            return STALE_LEADER
    engine = node.engine
    engine.begin(node.now_ms, session)
    reply = engine.execute(row, argv)
    return reply if reply is not PENDING else node.blocking.park(session, row, argv)


def _lacks_replicas(node: "Node", session: Session, row: Row) -> CommandError | None:
    """Why a command is refused for want of replicas. One that ran already, for a Forward that is repeated, is not."""
    assert node.redundancy is not None
    if session.is_remote and remembered(session) is not PENDING:
        return None
    return node.redundancy.refusal(row)


def _wait_for_seal(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    return node.park_until_unsealed(
        session, lambda: node.retry(session, argv)
    )  # a closure costs every call of its function


def execute_unit(node: "Node", session: Session, row: Row, argv: list[bytes]) -> Reply:
    """Run one command as a unit at the leader and log what it changed."""
    if session.is_remote:
        answered = remembered(session)
        if answered is not PENDING:
            return answered
    if size_of(argv) > node.settings.entry_bytes:
        return too_large(node)
    engine = node.engine
    engine.begin(node.now_ms, session)
    reply = engine.execute(row, argv)
    context = engine.context
    if context.commands:
        node.commit(session, context, reply)  # which is done with the unit before another begins
    return reply


def size_of(argv: list[bytes]) -> int:
    """Bytes of the arguments."""
    size = 0
    for argument in argv:
        size += len(argument)
    return size


def too_large(node: "Node") -> CommandError:
    return error(f"max entry size exceeded. Limit: {node.settings.entry_bytes} bytes")


def remembered(session: Session) -> Reply:
    """What this command of a repeated Forward was answered when it ran first; PENDING if it did not."""
    assert isinstance(session, RemoteSession)
    packed = session.remembered.get(len(session.answers))
    if packed is None:
        return PENDING
    if not packed:
        return CommandError("UNKNOWN", "the write was applied, but its answer was too long to be remembered")
    return unpack(packed)
