"""Run an edge: its HTTP, its admin port, and its place in the log of its node. Several may share a process, each for itself.

An edge starts at the head of the log with an empty cache. When it has to begin there again, when the epoch changes, or while
the log is further behind than `consistency.max_staleness_ms`, everything is dropped, and nothing is kept meanwhile.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from typing import Any

from upstash_global import __version__
from upstash_global.config import Config
from upstash_global.edge.admin import EdgeAdmin
from upstash_global.edge.app import EdgeListener
from upstash_global.edge.cache import EdgeCache
from upstash_global.edge.following import Following
from upstash_global.replication.position import START, Position
from upstash_global.server.descriptors import allow_connections

log = logging.getLogger("upstash_global")


def run_edges(config: Config, names: Sequence[str]) -> int:
    """Run edges until SIGTERM or Ctrl-C; the exit code: 0 stopped cleanly, 1 one of them failed."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr, force=True
    )
    allow_connections(2 * config.limits.max_clients)  # what a client asks the node is asked over another connection
    try:
        import uvloop
    except ImportError:  # not on this platform; the loop of the standard library does the same, slower
        return asyncio.run(_run(config, names))
    code: int = uvloop.run(_run(config, names))
    return code


async def _run(config: Config, names: Sequence[str]) -> int:
    stopping = asyncio.Event()
    edges = [RunningEdge(config, name, stopping) for name in names]
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopping.set)
    for edge in edges:
        try:
            await edge.start()
        except OSError as failure:
            log.error("%s cannot start: %s", edge.me.name, failure)
            edge.fail()
    await stopping.wait()
    for edge in edges:
        await edge.stop()
        log.info("%s stopped", edge.me.name)
    return 1 if any(edge.failed for edge in edges) else 0


class RunningEdge:
    """One edge with its listeners and its link, on the running loop; tests start it in their own process."""

    def __init__(self, config: Config, name: str, stopping: asyncio.Event | None = None) -> None:
        """`stopping` is set when the edge can go on no longer; its process ends it then."""
        self.config = config
        self.me = config.edge(name)
        self.cache = EdgeCache(self.me.cache_bytes, self.me.invalidate == "log")
        self.following = Following(
            config, name, self.me.region, self.cache.apply, self.cache.restart, self._drop_what_is_too_old
        )
        self.following.on_failure = self.fail
        self.listener = EdgeListener(self, config, self.cache)
        self.admin = EdgeAdmin(self, config)
        self.stopping = stopping or asyncio.Event()
        self.failed = False

    async def start(self) -> None:
        """Raises OSError when an address is taken."""
        if self.me.admin is not None:
            await self.admin.listen(self.me.admin.host, self.me.admin.port)
        await self.listener.listen(self.me.listen.host, self.me.listen.port)
        address = self.config.upstream_of(self.me, "grpc") if self.cache.follows_log else None
        self.following.start(self.me.upstream, address)
        log.info("%s listens: %s, reads from %s", self.me.name, self.me.listen, self.me.upstream)

    async def stop(self) -> None:
        """Close whatever is open."""
        await self.listener.stop()
        await self.following.stop()
        await self.admin.stop()

    # -- what the listener asks ---------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Leader time, by which deadlines are; in the mode `ttl` this process's own."""
        return self.following.leader_now() if self.cache.follows_log else self.following.clock.now_ms()

    def staleness_ms(self) -> int:
        """Age of the newest state of the log that this edge is known to have applied completely."""
        return self.following.staleness_ms()

    def is_fresh(self, allowed_ms: int = -1) -> bool:
        """Whether what the log has not dropped may be served: it is near enough to now, as the cluster and a request allow."""
        return self.following.is_near(allowed_ms) if self.cache.follows_log else allowed_ms < 0

    def covers(self, position: Position) -> bool:
        """Whether this edge has applied everything up to `position`."""
        return self.following.covers(position)

    def _drop_what_is_too_old(self) -> None:
        if self.cache.replies and not self.is_fresh():
            log.warning("the log is %d ms behind: everything is dropped", self.staleness_ms())
            self.cache.drop_all()

    def fail(self) -> None:
        self.failed = True
        self.stopping.set()

    # -- telling ------------------------------------------------------------------------------------------------

    @property
    def state_name(self) -> str:
        """streaming, syncing or disconnected; an edge that does not follow the log is `ttl`."""
        return self.following.follower.shown_state if self.cache.follows_log else "ttl"

    def status(self) -> dict[str, Any]:
        """Plain values for the admin port and the command line, in a node's words where they mean the same."""
        cache, listener, follower = self.cache, self.listener, self.following.follower
        now_ms = self.following.clock.now_ms()
        follows = cache.follows_log
        return {
            "cluster": self.config.cluster.id,
            "node": self.me.name,
            "region": self.me.region,
            "role": "edge",
            "state": self.state_name,
            "upstream": self.me.upstream,
            "epoch": cache.applied.epoch,
            "position": {"epoch": cache.applied.epoch, "lsn": cache.applied.lsn},
            "lag_entries": follower.lag_entries if follows else None,
            "lag_bytes": follower.lag_bytes if follows else None,
            "lag_ms": follower.lag_ms(now_ms) if follows else None,
            "staleness_ms": self.staleness_ms() if follows and cache.applied is not START else None,
            "uptime_ms": now_ms - self.following.started_ms,
            "clients": len(listener.connections),
            "requests": listener.n_requests,
            "hits": listener.n_hits,
            "stale_hits": listener.n_stale,
            "misses": listener.n_misses,
            "joined": listener.fills.n_joined,
            "bypassed": listener.n_bypassed,
            "unreachable": listener.n_unreachable,
            "replies": len(cache.replies),
            "bytes": cache.bytes,
            "capacity_bytes": cache.capacity_bytes,
            "refused": cache.n_refused,
            "invalidated": cache.n_invalidated,
            "renewed": cache.n_renewed,
            "ended": cache.n_ended,
            "evicted": cache.n_evicted,
            "drops": cache.n_drops,
            "partial_resyncs": follower.n_partial,
            "followers": [],
            "version": __version__,
        }
