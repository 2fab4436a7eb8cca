"""Redundancy: no writes while too few replicas follow closely (`min-replicas-to-write`, `min-replicas-max-lag`).

The leader asks when a command comes, as Redis does: what writes is refused, already where a transaction is queued; a script
fails at its first write, and goes on if it has written before. A replica forwards whatever it has: the leader decides.
Without a number wanted, or without a lag allowed, there is no Redundancy and nothing is asked.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.table import WRITE, Row
from upstash_global.errors import CommandError
from upstash_global.replication.feed import FeedState

if TYPE_CHECKING:
    from upstash_global.node.node import Node

NOREPLICAS: Final = CommandError("NOREPLICAS", "Not enough good replicas to write.")


class Redundancy:
    def __init__(self, node: "Node", n_wanted: int, max_lag_ms: int) -> None:
        self.node = node
        self.n_wanted = n_wanted
        self.max_lag_ms = max_lag_ms  # since the last ack of a replica that counts

    @property
    def n_good(self) -> int:
        """How many replicas stream and have been heard from lately."""
        node = self.node
        good: set[str] = set()  # a replica that has just reconnected has two feeds
        for stream, feed in node.roles.feeds.items():
            is_streaming = feed.is_replica and feed.state is FeedState.STREAMING
            if is_streaming and node.now_ms - feed.peer_heard_ms <= self.max_lag_ms:
                good.add(node.roles.names[stream])
        return len(good)

    def refusal(self, row: Row) -> CommandError | None:
        """Why a command may not run at the leader, or None. A script is told, and may run."""
        lack = None if self.n_good >= self.n_wanted else NOREPLICAS
        if row.flags & WRITE:
            return lack
        if row.group == "scripting":
            self.node.engine.context.lacks_replicas = lack
        return None


def configured(node: "Node") -> Redundancy | None:
    """What the parameters ask for."""
    n_wanted = node.parameters.integer("min-replicas-to-write")
    max_lag_s = node.parameters.integer("min-replicas-max-lag")
    node.engine.context.lacks_replicas = None
    return Redundancy(node, n_wanted, 1000 * max_lag_s) if n_wanted and max_lag_s else None
