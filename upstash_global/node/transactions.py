"""Transactions: a queue of commands run as one unit, if no watched key has changed.

A transaction of reads alone runs where the client is; any other runs at the leader, which asks the change index. It aborts
when a watched key changed after the position at which it was watched, was visible then and is hidden now, or when that
position lies off the leader's history or below the index's floor. Some changes do not count, as in Redis: see
`Context.save_unwatched`.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.context import Effects
from upstash_global.engine.table import Row, lookup
from upstash_global.errors import INTERNAL_ERROR, CommandError
from upstash_global.node.dispatch import remembered
from upstash_global.node.freshness import STALE_LEADER, is_superseded, serves
from upstash_global.node.longscripts import is_script
from upstash_global.node.session import Session, Several, Watch, size_of_reply
from upstash_global.node.tracking import reads_of_unit
from upstash_global.replication.position import Position
from upstash_global.reply import LEFT_OUT, NO_REPLY, NULL_ARRAY, PENDING, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node

MAX_REPLIES_BYTES: Final = 512 << 20  # of all replies of one EXEC
_EXEC: Final = [b"EXEC"]


def is_dirty(node: "Node", watches: list[Watch], seen: Position) -> bool:
    """Whether one of the watched keys may have changed since, or the session has seen what is not on this history."""
    if watches and not node.log.history.contains(seen):
        return True
    context = node.engine.context
    context.now_ms = node.now_ms
    for watch in watches:
        if not node.log.history.contains(watch.position):
            return True
        visible = watch.visible
        if node.changes.changed_for_watch(watch.key, watch.position.lsn, visible is not False):
            return True
        if visible and context.glance(watch.key) is None or visible is None and _may_have_expired(node, watch.key):
            return True
    return False


def _may_have_expired(node: "Node", key: bytes) -> bool:
    """Whether a key, or a field of it, is there and hidden: since when is not known, and no entry tells yet."""
    keyspace = node.engine.keyspace
    if key in keyspace.values and not node.engine.context.exists(key):
        return True
    return 0 <= keyspace.hashes.times.get(key, -1) <= node.now_ms


def execute_queue(node: "Node", session: Session, queue: list[list[bytes]], watches: list[Watch]) -> Reply:
    """EXEC: run the queue here, or let the leader, or wait for a switchover to end."""
    writes = any(_needs_leader(argv) for argv in queue)
    if not node.is_leader and (writes or not serves(node, session, queue)):
        if not node.can_forward:
            return node.forwarding.no_leader()
        for_leader = [argv for argv in queue if not _runs_here(argv)]
        state = session.tracking
        reads = reads_of_unit(state, state.is_caching, queue) if state is not None else []
        node.forwarding.start_exec(
            session, for_leader, watches, reads, lambda answer: _with_own(node, session, queue, answer)
        )
        return PENDING
    if writes and node.is_sealed:
        return node.park_until_unsealed(session, lambda: execute_queue(node, session, queue, watches))
    if node.is_leader and not writes and is_superseded(node, session.position):
        return STALE_LEADER
    if node.read_refusal is not None and queue:
        return node.read_refusal
    return run_transaction(node, session, queue, watches)


def run_transaction(node: "Node", session: Session, queue: list[list[bytes]], watches: list[Watch]) -> Reply:
    """Run the queued commands as one unit: a list of their replies, or NULL_ARRAY when a watched key changed."""
    rows: list[Row] = []
    writes = False
    for argv in queue:
        try:
            row = lookup(argv)
        except CommandError as refusal:
            return CommandError("EXECABORT", f"Transaction discarded because of: {refusal.text}")
        rows.append(row)
        writes = writes or row.needs_leader
    if session.is_remote:
        answered = remembered(session)
        if answered is not PENDING:
            return answered
    once = session.once
    user = session.user.name if session.user is not None else b""
    if once is not None:
        answered = node.retries.answer(user, once, node.now_ms)
        if answered is not PENDING:
            return answered
    if writes and node.write_refusal is not None:
        return CommandError("EXECABORT", f"Transaction discarded because of: {node.write_refusal.text}")
    if node.redundancy is not None and node.is_leader:
        for row in rows:
            lack = node.redundancy.refusal(row)
            if lack is not None:
                return CommandError("EXECABORT", f"Transaction discarded because of: {lack.text}")
    if node.memory is not None and node.is_leader:
        for row in rows:
            lack = node.eviction.refusal(row)
            if lack is not None:
                return CommandError("EXECABORT", f"Transaction discarded because of: {lack.text}")
    if is_dirty(node, watches, session.seen):
        return NULL_ARRAY
    if any([is_script(row) for row in rows]):
        return node.scripts.start(session, _EXEC, lambda: _run_all(node, session, rows, queue))
    return _run_all(node, session, rows, queue)


def _run_all(node: "Node", session: Session, rows: list[Row], queue: list[list[bytes]]) -> Reply:
    once = session.once
    user = session.user.name if session.user is not None else b""
    node.engine.begin(node.now_ms, session)
    was_caching = session.tracking is not None and session.tracking.is_caching
    replies: list[Reply] = []
    n_bytes = 0
    node.engine.context.may_block = False
    for row, argv in zip(rows, queue, strict=True):
        reply = _run_one(node, session, row, argv)
        n_bytes += size_of_reply(reply)
        _add_reply(replies, reply if n_bytes <= MAX_REPLIES_BYTES else LEFT_OUT)
    node.engine.context.may_block = True
    effects = node.engine.take_effects()
    reads = reads_of_unit(session.tracking, was_caching, queue) if session.tracking is not None else []
    _note_reads(node, session, reads, True)
    if once is not None:
        node.commit(
            session, effects or Effects([], [], False, []), replies, node.retries.attributes(user, once, replies)
        )
    elif effects is not None:
        node.commit(session, effects, replies)
    _note_reads(node, session, reads, False)
    return replies


def _note_reads(node: "Node", session: Session, reads: list[tuple[bytes, bool]], written: bool) -> None:
    """Track what the unit read: what it may have written after that before its changes are told, the rest behind them."""
    for key, is_written in reads:
        if is_written == written:
            node.tracking.remember(session, key)


def _add_reply(replies: list[Reply], reply: Reply) -> None:
    """One command's part of what EXEC answers: one element, several for SUBSCRIBE, none for CLIENT REPLY OFF."""
    if type(reply) is Several:
        replies.extend(reply.answers)
    elif reply is not NO_REPLY:
        replies.append(reply)


def _runs_here(argv: list[bytes]) -> bool:
    """Whether a queued command is about this session or node, and stays when its transaction goes to the leader."""
    row = lookup(argv)
    return row.handler is None and not row.needs_leader


def _with_own(node: "Node", session: Session, queue: list[list[bytes]], answer: Reply) -> Reply:
    """The leader's answer to a transaction, completed by the commands that stayed here and run now."""
    if not isinstance(answer, list):
        return answer
    from_leader = iter(answer)
    replies: list[Reply] = []
    node.engine.context.may_block = False
    for argv in queue:
        if _runs_here(argv):
            _add_reply(replies, _run_one(node, session, lookup(argv), argv))
        else:
            replies.append(next(from_leader))
    node.engine.context.may_block = True
    return replies


def _needs_leader(argv: list[bytes]) -> bool:
    try:
        return lookup(argv).needs_leader
    except CommandError:
        return False  # told when it is run


def _run_one(node: "Node", session: Session, row: Row, argv: list[bytes]) -> Reply:
    refused = node.permissions.refusal_at_exec(session, row, argv)
    if refused is not None:
        row.rejected_calls += 1
        node.metrics.note_refusal(refused)
        return refused
    row.calls += 1
    if node.audience.monitors.sessions:
        node.audience.monitors.show(session, row, argv)
    started_us = node.clock_us()
    if row.handler is not None or row.session_handler is None:
        reply = node.engine.execute(row, argv)
    else:
        try:
            reply = row.session_handler(node, session, argv)
        except CommandError as failure:
            reply = failure
        except Exception as bug:
            node.engine.context.tell_bug(row.name, bug)
            reply = INTERNAL_ERROR
    node.note_duration(session, row, [argv], started_us)
    if type(reply) is CommandError:
        row.failed_calls += 1
        node.metrics.note_refusal(reply)
    return reply
