"""Following: a place in the log of a node, kept by one who has no data of his own.

    Links ──messages──▶ Follower (no keyspace, no disk) ──each entry──▶ apply
                                                     └──a new place──▶ restart

It begins at the head of the log. After a lost link it goes on where it was, if the node's log reaches back; if not, it is
told to restart at the head, since what happened in between is not known. An `apply` that fails is a bug of ours, and counts
as that too.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Callable
from typing import Final

from upstash_global.config import Address, Config
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


class Following:
    def __init__(
        self,
        config: Config,
        name: str,
        region: str,
        apply: Callable[[Entry], None],
        restart: Callable[[Position], None],
        on_tick: Callable[[], None],
    ) -> None:
        """`name` is who follows, as the node shows it. `on_tick` is called every TICK_S."""
        self.clock = Clock()
        self.started_ms = self.clock.now_ms()
        self.log = ReplicationLog(BACKLOG_ENTRIES, BACKLOG_BYTES)
        self.apply = apply
        self.restart = restart
        self.on_tick = on_tick
        self.max_staleness_ms = config.consistency.max_staleness_ms
        self.follower = Follower(
            self.log,
            self._apply,
            self._start_anew,
            Identity(config.cluster.id, name, region, uuid.uuid4().hex, EDGE),
            None,
            random.Random(),
            self.started_ms,
            FollowerLimits(silence_ms=config.replication.silence_ms),
        )
        self.follower.broken = True  # it has nothing to go on from: the node lets it begin at the head
        secret = None if config.credentials.insecure else config.credentials.cluster
        self.links = Links(name, secret, self._on_message, self._on_connected, self._on_closed, _refuse)
        self.upstream = ""
        self.ticks: asyncio.Task[None] | None = None
        self.on_failure: Callable[[], None] = _nothing  # time stands still, by a bug of ours

    def start(self, upstream: str, address: Address | None) -> None:
        """Follow `upstream` from now on; without an address only time passes."""
        self.upstream = upstream
        if address is not None:
            self.links.follow(upstream, str(address))
        self.ticks = asyncio.create_task(self._run_ticks())
        self.ticks.add_done_callback(self._ticks_ended)

    async def stop(self) -> None:
        if self.ticks is not None:
            self.ticks.cancel()
        await self.links.stop(0.2)

    # -- what others ask ----------------------------------------------------------------------------------------

    def leader_now(self) -> int:
        """Leader time; this process's own as long as there is no word of it."""
        return self.follower.leader_now(self.clock.now_ms())

    def staleness_ms(self) -> int:
        """Age of the newest state of the log that is known to be applied completely."""
        return self.follower.staleness_ms(self.clock.now_ms())

    def is_near(self, allowed_ms: int = -1) -> bool:
        """Whether the log is followed as closely as the cluster demands, and no further behind than `allowed_ms` if given."""
        if self.log.head == START:
            return False
        staleness_ms = self.staleness_ms()
        return staleness_ms <= (self.max_staleness_ms or staleness_ms) and (
            allowed_ms < 0 or staleness_ms <= allowed_ms
        )

    def covers(self, position: Position) -> bool:
        """Whether everything up to `position` is applied."""
        return self.log.contains(position)

    # -- what the link brings -----------------------------------------------------------------------------------

    def _apply(self, entry: Entry) -> None:
        try:
            self.apply(entry)
        except Exception:  # what the entry changed is not known
            log.exception("the entry at %s could not be read", entry.position)
            self.restart(entry.position)

    def _start_anew(self, loaded: Loaded | None) -> None:
        self.restart(self.log.head)

    def _on_message(self, peer: str, message: Message) -> None:
        self._send(self.follower.receive(message, self.clock.now_ms()))

    def _on_connected(self, peer: str, kind: Kind) -> None:
        self._send(self.follower.connected(self.clock.now_ms()))

    def _on_closed(self, peer: str, kind: Kind) -> None:
        self.follower.disconnected(self.clock.now_ms())

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            self.links.send(self.upstream, message)

    async def _run_ticks(self) -> None:
        next_second = self.clock.now_ms()
        while True:
            await asyncio.sleep(TICK_S)
            now_ms = self.clock.now_ms()
            if now_ms >= next_second:
                next_second = now_ms + 1000
                self.clock.follow_wall()
            self._send(self.follower.tick(now_ms))
            self.on_tick()

    def _ticks_ended(self, ticks: "asyncio.Task[None]") -> None:
        if not ticks.cancelled():
            log.error("the sense of time is gone", exc_info=ticks.exception())
            self.on_failure()


def _refuse(message: Message) -> Message:
    raise ClusterError("this is no node; ask one")


def _nothing() -> None:
    pass
