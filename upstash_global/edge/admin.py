"""The admin port of an edge: health, metrics, status, purging.

    /healthz                 200 ok while the process runs; open to everybody
    /readyz                  200 while the log is followed closely enough, or in the mode `ttl`; else 503 with the reason
    /metrics                 Prometheus text
    /v1/status
    POST /v1/purge           {"key": TEXT} or {"prefix": TEXT} or {"all": true}; how many replies were dropped

As on a node's admin port, all but /healthz need the admin token, and probes and metrics are open to loopback.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from upstash_global.config import Config
from upstash_global.server.admin import AdminPort, error_response, json_body

if TYPE_CHECKING:
    from upstash_global.edge.run import RunningEdge

_COUNTERS: Final = {  # of the status → what they count
    "requests": "Requests.",
    "hits": "Replies from the cache.",
    "stale_hits": "Replies from the cache that had outlived their time, where the request allowed that.",
    "misses": "Reads the node was asked for, or that joined one.",
    "joined": "Misses that joined a running one.",
    "bypassed": "Requests passed on to the node.",
    "unreachable": "Requests the node did not answer.",
    "refused": "Replies that came too late to be kept.",
    "invalidated": "Replies dropped because a key they depend on changed.",
    "renewed": "Values that an entry of the log said anew, and that were kept.",
    "ended": "Replies dropped because a key they depend on expired.",
    "evicted": "Replies dropped for room.",
    "drops": "How often everything was dropped.",
}
_GAUGES: Final = {
    "replies": "Replies in the cache.",
    "bytes": "Bytes they take.",
    "capacity_bytes": "Bytes they may take.",
    "clients": "Client connections.",
    "lag_entries": "Entries of the log not applied yet.",
    "lag_ms": "Delay of the log in the last second, in milliseconds.",
    "staleness_ms": "Age of the newest state that is applied completely, in milliseconds.",
}


class EdgeCollector(Collector):
    def __init__(self, edge: "RunningEdge") -> None:
        self.edge = edge

    def collect(self) -> Iterable[Metric]:
        status = self.edge.status()
        yield GaugeMetricFamily(
            "upstash_global_edge_following", "Whether the log is followed.", value=status["state"] == "streaming"
        )
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"upstash_global_edge_{name}", text, value=status[name])
        for name, text in _GAUGES.items():
            if status[name] is not None:
                yield GaugeMetricFamily(f"upstash_global_edge_{name}", text, value=status[name])


class EdgeAdmin(AdminPort):
    def __init__(self, edge: "RunningEdge", config: Config) -> None:
        registry = CollectorRegistry()
        registry.register(EdgeCollector(edge))
        super().__init__(config, registry)
        self.edge = edge

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/readyz", self._readyz)
        router.add_get("/v1/status", self._status)
        router.add_post("/v1/purge", self._purge)

    async def _readyz(self, request: web.Request) -> web.Response:
        if not self.edge.is_fresh():
            return error_response(
                503, f"{self.edge.state_name}: {self.edge.me.upstream} is not followed closely enough"
            )
        return web.Response(text="ready\n")

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(self.edge.status())

    async def _purge(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        cache = self.edge.cache
        if body.get("all") is True:
            n_dropped = cache.drop_all()
        elif isinstance(body.get("key"), str):
            n_dropped = cache.purge_key(body["key"].encode())
        elif isinstance(body.get("prefix"), str):
            n_dropped = cache.purge_prefix(body["prefix"].encode())
        else:
            return error_response(400, 'the body is {"key": TEXT}, {"prefix": TEXT} or {"all": true}')
        return web.json_response({"dropped": n_dropped})
