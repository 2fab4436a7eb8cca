"""Which nodes there are, how far away and how well: what `GET /v1/nearest` answers on the admin port and on REST.

Each node pings the others with the question for their status, one after the other, on connections of their own: so it
knows the round trip to each, and what that one says of itself. At most five pings a second leave, and one every two seconds
to each node, beside everything else: no request waits for them. The order is that of upstash_global/nearest.py, seen from
this node; a client measures for itself.
"""

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from upstash_global.config import Config
from upstash_global.errors import ClusterError
from upstash_global.nearest import SAMPLES, STREAMING, UNREACHABLE, preference
from upstash_global.replication.messages import StatusReply, StatusRequest
from upstash_global.server.clock import microseconds

if TYPE_CHECKING:
    from upstash_global.server.shell import Shell

PING_S: Final = 2.0  # between two pings to one node, if there are not too many nodes for that
SHORTEST_PAUSE_S: Final = 0.2  # between two pings of this node
TIMEOUT_S: Final = 3.0

DISCONNECTED: Final = "disconnected"

_NUMBER: Final = re.compile(r"[0-9]{1,9}")


class Neighbour:
    """What is known of another node."""

    def __init__(self, address: str) -> None:
        self.address = address  # gRPC
        self.samples: deque[float] = deque(maxlen=SAMPLES)  # round trips in ms
        self.status: dict[str, Any] = {}  # as it was told last
        self.heard_us = 0
        self.is_reached = False
        self.is_asked = False


class Neighbours:
    def __init__(self, shell: "Shell", config: Config) -> None:
        self.shell = shell
        self.neighbours = {name: Neighbour(address) for name, address in shell.addresses.items()}
        self.edges: dict[str, list[str]] = {}  # region → URLs
        for edge in config.edges:
            self.edges.setdefault(edge.region, []).append(f"http://{edge.advertised('listen')}")

    # -- pinging ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ping one after the other, for ever; one that does not answer delays nobody."""
        pause_s = max(SHORTEST_PAUSE_S, PING_S / max(1, len(self.neighbours)))
        while self.neighbours:
            for neighbour in self.neighbours.values():
                if not neighbour.is_asked:
                    neighbour.is_asked = True
                    self.shell.spawn(self.ping(neighbour))
                await asyncio.sleep(pause_s)

    async def ping(self, neighbour: Neighbour) -> None:
        assert self.shell.links is not None
        try:
            answer, rtt_ms = await self.shell.links.ping(neighbour.address, StatusRequest(), TIMEOUT_S)
        except ClusterError:
            neighbour.is_reached = False
            neighbour.samples.clear()
            return
        finally:
            neighbour.is_asked = False
        if isinstance(answer, StatusReply):
            neighbour.is_reached = True
            neighbour.samples.append(rtt_ms)
            neighbour.status = answer.status
            neighbour.heard_us = microseconds()

    # -- telling ------------------------------------------------------------------------------------------------

    def answer(self, lag: str, region: str) -> dict[str, Any]:
        """The nodes of a region (of all, if empty), the best first. `lag`: a budget in ms as text, or empty.

        Raises ValueError if that is no number.
        """
        if lag and not _NUMBER.fullmatch(lag):
            raise ValueError("lag is a number of milliseconds")
        node = self.shell.node
        node.set_clock(self.shell.clock.now_ms())
        rows = [
            self._row(name, int(lag) if lag else None)
            for name, peer in node.settings.peers.items()
            if region in ("", peer.region)
        ]
        rows.sort(key=lambda row: preference(row["state"], row["fits"], row["role"], row["rtt_ms"], row["lag_ms"]))
        return {
            "node": node.settings.name,
            "region": node.settings.me.region,
            "leader": node.leader_name or None,
            "nodes": rows,
        }

    def _row(self, name: str, budget_ms: int | None) -> dict[str, Any]:
        node = self.shell.node
        peer = node.settings.peers[name]
        neighbour = self.neighbours.get(name)
        if neighbour is None:  # this node
            status: dict[str, Any] = node.status()
            rtt_ms: float | None = 0.0
            state, heard_ms = _state(status), 0
        else:
            status = neighbour.status
            rtt_ms = round(min(neighbour.samples), 2) if neighbour.samples else None
            state = _state(status) if neighbour.is_reached else UNREACHABLE
            heard_ms = (microseconds() - neighbour.heard_us) // 1000
        staleness_ms = status.get("staleness_ms")
        return {
            "name": name,
            "region": peer.region,
            "role": status.get("role"),
            "state": state,
            "url": peer.rest,
            "resp": peer.resp,
            "edges": self.edges.get(peer.region, []),
            "rtt_ms": rtt_ms,
            "lag_ms": status.get("lag_ms"),
            "staleness_ms": staleness_ms,
            "heard_ms": heard_ms if status else None,
            "fits": budget_ms is None or (staleness_ms is not None and staleness_ms <= budget_ms),
        }


def _state(status: dict[str, Any]) -> str:
    """A node that has the log but no way to forward a write, or still refuses reads, is no better than one without a link."""
    state = str(status["state"])
    is_of_use = status["reaches_leader"] and status.get("serves_reads", True)
    return state if is_of_use or state != STREAMING else DISCONNECTED
