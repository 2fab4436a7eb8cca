"""Blocking commands: a session waits for a key, until there is something to take or its time is over.

It is tried again when one of its keys changes: `Parking` says whose turn it is. As in Redis 7.2 its command counts for the
statistics when it ends, with the time it took to serve it; one that its user may not run any more was rejected.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.commands.blocking import TYPE_OF_GROUP, narrowed
from upstash_global.engine.commands.streamgroups import has_news
from upstash_global.engine.dump import type_name
from upstash_global.engine.table import Row
from upstash_global.errors import CommandError
from upstash_global.node.dispatch import execute_unit
from upstash_global.node.parking import Parked
from upstash_global.node.session import RemoteSession, Session
from upstash_global.reply import PENDING, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node

UNBLOCKED: Final = CommandError(
    "UNBLOCKED", "force unblock from blocking operation, instance state changed (master -> replica?)"
)


class Blocking:
    def __init__(self, node: "Node") -> None:
        self.node = node

    def park(self, session: Session, row: Row, argv: list[bytes]) -> Reply:
        """A blocking command found nothing: it is tried again whenever one of its keys changes, until its time is over."""
        node = self.node
        blocked = node.engine.context.blocked
        assert blocked is not None
        if not session.may_block:
            return blocked.timeout_reply
        deadline_ms = node.local_ms + blocked.timeout_ms if blocked.timeout_ms else 0
        timeout_reply = blocked.timeout_reply
        tried = blocked.argv or argv
        row.calls -= 1  # it counts when it ends
        node.parking.park(
            Parked(
                session,
                lambda key: self._wake(session, row, argv, tried, key),
                deadline_ms,
                lambda: self._give_up(session, row, argv, timeout_reply),
                blocked.keys,
                "blocked",
                row.name == "XREADGROUP",
            )
        )
        return PENDING

    def end_all(self) -> None:
        """The node no longer leads: who waits for a key here would wait in vain."""
        node = self.node
        for parked in list(node.parking.by_cause.get("blocked", {}).values()):
            node.parking.release(parked.session)
            node.metrics.note_failure(parked.session.row, UNBLOCKED, True)
            node.answer(parked.session, [UNBLOCKED])

    def _wake(self, session: Session, row: Row, argv: list[bytes], tried: list[bytes], key: bytes) -> Reply:
        if isinstance(session, RemoteSession) and session.lost_ms:
            return PENDING  # its node may be gone for good, and with it what the session would take
        node = self.node
        started_us = node.clock_us()
        reply = self._try(session, row, tried, key)
        if reply is PENDING:
            return reply
        if type(reply) is CommandError and reply.code == "NOPERM":
            row.rejected_calls += 1
            node.metrics.note_refusal(reply)
            return reply
        if type(reply) is CommandError:
            node.metrics.note_failure(row, reply)
        row.calls += 1
        node.note_duration(session, row, [argv], started_us)
        return reply

    def _give_up(self, session: Session, row: Row, argv: list[bytes], reply: Reply) -> Reply:
        row.calls += 1
        self.node.note_duration(session, row, [argv], self.node.clock_us())
        return reply

    def _try(self, session: Session, row: Row, argv: list[bytes], key: bytes) -> Reply:
        """Its reply now that `key` has changed, or PENDING; a key that is gone or of another type is waited out
        (but not by a consumer: its group is gone as well)."""
        node = self.node
        context = node.engine.context
        context.now_ms = node.now_ms
        value = context.glance(key)
        narrow = narrowed(argv, key)
        if row.name == "XREADGROUP":
            if not has_news(value, narrow):
                return PENDING
        elif value is None or type_name(value) != TYPE_OF_GROUP[row.group]:
            return PENDING
        if session.user is not None and session.user.is_restricted:  # its rules may have changed meanwhile
            refused = node.permissions.refusal(session, row, argv)
            if refused is not None:
                return refused
        if row.needs_leader:
            return execute_unit(node, session, row, narrow)
        node.engine.begin(node.now_ms, session)
        reply = node.engine.execute(row, narrow)
        if session.tracking is not None and reply is not PENDING:
            node.tracking.note_read(session, row, narrow, [])
        return reply
