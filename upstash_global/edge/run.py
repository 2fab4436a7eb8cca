"""Run one edge: its HTTP, its admin port, and the link on which it follows the log of its node.

    Links ──messages──▶ Follower (no keyspace, no disk) ──entries──▶ EdgeCache
                                                      └──a new start──▶ everything is dropped

An edge starts at the head of the log with an empty cache. After a lost link it goes on where it was, if the node's log
reaches back; if not, or when the epoch changes, or while the log is further behind than `consistency.max_staleness_ms`,
everything is dropped, and nothing is kept meanwhile.
"""

import asyncio
import logging
import random
import signal
import sys
import uuid
from typing import Any, Final

from upstash_global import __version__
from upstash_global.config import Config
from upstash_global.edge.admin import EdgeAdmin
from upstash_global.edge.app import EdgeListener
from upstash_global.edge.cache import EdgeCache
from upstash_global.errors import ClusterError
from upstash_global.replication.codec import Entry
from upstash_global.replication.follower import Follower, FollowerLimits, Identity
from upstash_global.replication.log import ReplicationLog
from upstash_global.replication.messages import EDGE, Message
from upstash_global.replication.position import START, Position
from upstash_global.replication.snapshot import Loaded
from upstash_global.server.clock import Clock
from upstash_global.server.links import Kind, Links

TICK_S: Final = 0.05
BACKLOG_ENTRIES: Final = 1_000  # only to recognise repeats
BACKLOG_BYTES: Final = 1 << 20

log = logging.getLogger("upstash_global")


def run_edge(config: Config, name: str) -> int:
    """Run an edge until SIGTERM or Ctrl-C; the exit code: 0 stopped cleanly, 1 failed."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr, force=True
    )
    try:
        import uvloop
    except ImportError:  # not on this platform; the loop of the standard library does the same, slower
        return asyncio.run(_run(config, name))
    code: int = uvloop.run(_run(config, name))
    return code


async def _run(config: Config, name: str) -> int:
    running = RunningEdge(config, name)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, running.stopping.set)
    try:
        await running.start()
    except OSError as failure:
        log.error("%s cannot start: %s", name, failure)
        await running.stop()
        return 1
    await running.stopping.wait()
    await running.stop()
    log.info("%s stopped", name)
    return 1 if running.failed else 0


class RunningEdge:
    """One edge with its listeners and its link, on the running loop; tests start it in their own process."""

    def __init__(self, config: Config, name: str) -> None:
        self.config = config
        self.me = config.edge(name)
        self.clock = Clock()
        self.started_ms = self.clock.now_ms()
        self.max_staleness_ms = config.consistency.max_staleness_ms
        self.cache = EdgeCache(self.me.cache_bytes, self.me.invalidate == "log")
        self.log = ReplicationLog(BACKLOG_ENTRIES, BACKLOG_BYTES)
        self.follower = Follower(
            self.log,
            self._apply,
            self._start_anew,
            Identity(config.cluster.id, name, self.me.region, uuid.uuid4().hex, EDGE),
            None,
            random.Random(),
            self.started_ms,
            FollowerLimits(silence_ms=config.replication.silence_ms),
        )
        self.follower.broken = True  # it has nothing to go on from: the node lets it begin at the head
        secret = None if config.credentials.insecure else config.credentials.cluster
        self.links = Links(name, secret, self._on_message, self._on_connected, self._on_closed, _answer)
        self.listener = EdgeListener(self, config, self.cache)
        self.admin = EdgeAdmin(self, config)
        self.stopping = asyncio.Event()
        self.failed = False
        self.ticks: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises OSError when an address is taken."""
        if self.me.admin is not None:
            await self.admin.listen(self.me.admin.host, self.me.admin.port)
        await self.listener.listen(self.me.listen.host, self.me.listen.port)
        if self.cache.follows_log:
            self.links.follow(self.me.upstream, str(self.config.upstream_of(self.me, "grpc")))
        self.ticks = asyncio.create_task(self._run_ticks())
        self.ticks.add_done_callback(self._ticks_ended)
        log.info("%s listens: %s, reads from %s", self.me.name, self.me.listen, self.me.upstream)

    async def stop(self) -> None:
        """Close whatever is open."""
        if self.ticks is not None:
            self.ticks.cancel()
        await self.listener.stop()
        await self.links.stop(0.2)
        await self.admin.stop()

    # -- what the listener asks ---------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Leader time, by which deadlines are; this process's own as long as there is no word of it."""
        now_ms = self.clock.now_ms()
        return self.follower.leader_now(now_ms) if self.cache.follows_log else now_ms

    def staleness_ms(self) -> int:
        """Age of the newest state of the log that this edge is known to have applied completely."""
        return self.follower.staleness_ms(self.clock.now_ms())

    def is_fresh(self, allowed_ms: int = -1) -> bool:
        """Whether what the log has not dropped may be served: it is near enough to now, as the cluster and a request allow."""
        if not self.cache.follows_log:
            return allowed_ms < 0
        if self.cache.applied is START:
            return False
        if allowed_ms == 0:
            return False  # nothing but the leader's own word will do
        bounds = [bound_ms for bound_ms in (self.max_staleness_ms, allowed_ms) if bound_ms > 0]
        return not bounds or self.staleness_ms() <= min(bounds)

    def covers(self, position: Position) -> bool:
        """Whether this edge has applied everything up to `position`."""
        return self.log.contains(position)

    # -- following ----------------------------------------------------------------------------------------------

    def _apply(self, entry: Entry) -> None:
        try:
            self.cache.apply(entry)
        except Exception:  # a bug of ours: what the entry changed is not known, so all of it goes
            log.exception("the entry at %s could not be read", entry.position)
            self.cache.restart(entry.position)

    def _start_anew(self, loaded: Loaded | None) -> None:
        """The log goes on elsewhere: what happened in between is not known."""
        self.cache.restart(self.log.head)

    def _on_message(self, peer: str, message: Message) -> None:
        self._send(self.follower.receive(message, self.clock.now_ms()))

    def _on_connected(self, peer: str, kind: Kind) -> None:
        self._send(self.follower.connected(self.clock.now_ms()))

    def _on_closed(self, peer: str, kind: Kind) -> None:
        self.follower.disconnected(self.clock.now_ms())

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            self.links.send(self.me.upstream, message)

    async def _run_ticks(self) -> None:
        """Ask again for the log, and drop everything while it is too far behind."""
        next_second = self.clock.now_ms()
        while True:
            await asyncio.sleep(TICK_S)
            now_ms = self.clock.now_ms()
            if now_ms >= next_second:
                next_second = now_ms + 1000
                self.clock.follow_wall()
            if not self.cache.follows_log:
                continue
            self._send(self.follower.tick(now_ms))
            if self.cache.replies and not self.is_fresh():
                log.warning("the log is %d ms behind: everything is dropped", self.staleness_ms())
                self.cache.drop_all()

    def _ticks_ended(self, ticks: "asyncio.Task[None]") -> None:
        if not ticks.cancelled():
            log.error("the edge's sense of time is gone", exc_info=ticks.exception())
            self.failed = True
            self.stopping.set()

    # -- telling ------------------------------------------------------------------------------------------------

    @property
    def state_name(self) -> str:
        """streaming, syncing or disconnected; an edge that does not follow the log is `ttl`."""
        return self.follower.shown_state if self.cache.follows_log else "ttl"

    def status(self) -> dict[str, Any]:
        """Plain values for the admin port and the command line, in a node's words where they mean the same."""
        cache, listener, follower = self.cache, self.listener, self.follower
        now_ms = self.clock.now_ms()
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
            "uptime_ms": now_ms - self.started_ms,
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
            "ended": cache.n_ended,
            "evicted": cache.n_evicted,
            "drops": cache.n_drops,
            "partial_resyncs": follower.n_partial,
            "followers": [],
            "version": __version__,
        }


def _answer(message: Message) -> Message:
    raise ClusterError("this is an edge; ask a node")
