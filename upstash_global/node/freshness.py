"""Freshness: whether this node's state is as new as a session asks for, and what to do about it when it is not.

A session asks by its consistency and by the position that it has seen (session.py). A read that is not served here waits
for that position, within bounds, or goes to the leader; without a leader it is refused as STALE, never served from less.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.errors import CommandError
from upstash_global.node.parking import Parked
from upstash_global.node.scope import is_met
from upstash_global.node.session import Session
from upstash_global.replication.position import NEVER, START, Position
from upstash_global.reply import PENDING, Reply, Special

if TYPE_CHECKING:
    from upstash_global.node.node import Node

FORWARD: Final = Special("FORWARD")  # the leader has to answer

TOO_STALE: Final = CommandError("STALE", "this replica is further behind than max-staleness allows")
STALE_LEADER: Final = CommandError("STALE", "another node has begun to lead, and this one has not heard from it yet")


def serves(node: "Node", session: Session, commands: list[list[bytes]]) -> bool:
    """Whether this node's state is as new as the session asks for when it sends these commands."""
    position = session.position
    if position is START or node.covers(position):
        return True
    if session.scope is not None:
        return is_met(session.scope, node.log.history, commands)
    return 0 <= session.consistency.bound_ms >= node.staleness_ms and node.covers(session.own)


def is_lost(node: "Node", position: Position) -> bool:
    """Whether `position` is of a reign whose end was given up in a failover."""
    end_lsn = node.log.history.fork_point(position.epoch)
    return end_lsn is not None and position.epoch != node.log.epoch and position.lsn > end_lsn


def is_superseded(node: "Node", position: Position) -> bool:
    """Whether `position` is of a later reign than this leader knows: what it has may be older."""
    return node.roles.epoch < position.epoch < NEVER.epoch


def park_read(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """A read for which this node is not new enough: wait for the session's position, within bounds, else ask the leader."""
    head = node.log.head
    is_known = session.position.epoch == head.epoch or node.log.history.fork_point(session.position.epoch) is None
    if session.fresh_until_leader or node.state_name != "streaming" or not is_known:  # lost in a failover: the leader's
        return FORWARD if node.can_forward else TOO_STALE
    node.parking.park(
        Parked(
            session,
            lambda _: node.retry(session, argv) if serves(node, session, [argv]) else PENDING,
            node.local_ms + node.settings.sync_wait_ms,
            lambda: _read_at_leader(node, session, argv),
            [],
            "position",
        )
    )
    return PENDING


def _read_at_leader(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    if not (node.is_leader or node.can_forward):
        return TOO_STALE
    session.fresh_until_leader = True
    return node.retry(session, argv)
