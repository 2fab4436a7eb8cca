"""Fills: requests to the node for replies that are not in the cache, one at a time for each name.

Who asks for the same reply meanwhile joins the running fill. A reply may be older than a request that joined: it was read
at P, and when the request came this edge had applied E. The one who joined gets it under the rule by which the cache
keeps one, P ≥ E or nothing it depends on changed in (P, E]; otherwise it asks again, and then the reply is new enough,
since that fill begins after its arrival.
"""

from typing import Any

from upstash_global.edge.cache import EdgeCache, Tag
from upstash_global.replication.position import Position


class Fill:
    """A reply that was asked for."""

    def __init__(self, name: bytes, n_purges: int) -> None:
        self.name = name
        self.n_purges = n_purges  # of the cache, as it began
        self.joined: list[tuple[Position, Any]] = []  # (applied as it came, request)


class Fills:
    def __init__(self, cache: EdgeCache) -> None:
        self.cache = cache
        self.running: dict[bytes, Fill] = {}
        self.n_joined = 0

    def begin(self, name: bytes) -> Fill:
        """The caller asks the node, and says `end` or `abandon` whatever happens. Nobody joins an earlier one any more."""
        fill = Fill(name, self.cache.n_purges)
        self.running[name] = fill
        return fill

    def join(self, name: bytes, request: Any) -> bool:
        """Wait for a running fill, which will name `request` when it ends; False if there is none."""
        fill = self.running.get(name)
        if fill is None or fill.n_purges != self.cache.n_purges:
            return False
        fill.joined.append((self.cache.applied, request))
        self.n_joined += 1
        return True

    def end(
        self, fill: Fill, content: Any, size: int, tag: Tag, lifetime_ms: int, now_ms: int
    ) -> tuple[list[Any], list[Any]]:
        """The reply is here: keep it if it is not too late for that. (who joined and gets it, who has to ask again)"""
        joined = self._forget(fill)
        self.cache.store(fill.name, content, size, tag, lifetime_ms, now_ms, fill.n_purges)
        served: list[Any] = []
        others: list[Any] = []
        has_ended = 0 <= tag.until_ms <= now_ms
        for arrived, request in joined:
            if not has_ended and self.cache.is_current(tag, arrived):
                served.append(request)
            else:
                others.append(request)
        return served, others

    def abandon(self, fill: Fill) -> list[Any]:
        """There is no reply that could be shared: who joined."""
        return [request for _, request in self._forget(fill)]

    def _forget(self, fill: Fill) -> list[tuple[Position, Any]]:
        if self.running.get(fill.name) is fill:
            del self.running[fill.name]
        return fill.joined
