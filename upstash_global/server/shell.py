"""Shell: the world around one Node, and the turn that carries out what the node wants.

A turn runs once per pass of the event loop in which anything happened: persist the entries of all commands of the pass,
then send, then let the answers out. An fsync runs in a thread of its own; what waits for it is in the node's gate.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from upstash_global.errors import ClusterError
from upstash_global.node.migrating import READING, Migration
from upstash_global.node.node import Node
from upstash_global.node.outbox import Outbox
from upstash_global.replication.messages import Message
from upstash_global.replication.storage import Storage, StorageError
from upstash_global.server.clock import STEP_MS, Clock
from upstash_global.server.links import Links
from upstash_global.server.migrate import converse

TICK_S: Final = 0.02
SWEEP_PAUSE_S: Final = 0.001  # between two stretches of the sweep, which take as long
SYNC_EVERY_S: Final = 1.0
SLOW_SYNC_S: Final = 2.0  # an fsync that takes longer makes writes wait for it
ASK_TIMEOUT_S: Final = 3.0

log = logging.getLogger("upstash_global")


class Shell:
    def __init__(self, node: Node, storage: Storage, clock: Clock, min_free_bytes: int) -> None:
        self.min_free_bytes = min_free_bytes  # with less disk left, writes are refused
        self.node = node
        self.storage = storage
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.links: Links | None = None
        self.addresses: dict[str, str] = {}  # node name → gRPC address that this node dials
        self.is_scheduled = False
        self.is_sweeping = False  # another stretch of the sweep is planned
        self.is_syncing = False
        self.sync_began = 0.0
        self.disk = ThreadPoolExecutor(1, "fsync")
        self.tasks: set[asyncio.Task[None]] = set()
        self.following = ""  # whom the links follow and forward to
        self.stopping = asyncio.Event()
        self.failed = False  # by a bug of ours; the process ends with 1
        self.hurry = asyncio.Event()  # a second signal: no more waiting

    # -- the turn -----------------------------------------------------------------------------------------------

    def schedule(self) -> None:
        """Have a turn at the end of this pass of the event loop."""
        if not self.is_scheduled:
            self.is_scheduled = True
            self.loop.call_soon(self.turn)

    def turn(self) -> None:
        """Carry out what the node wants. A failure here is a bug of ours: the node ends rather than diverge."""
        self.is_scheduled = False
        try:
            self._turn()
        except Exception:
            log.exception("the turn failed")
            self.failed = True
            self.stopping.set()

    def _turn(self) -> None:
        outbox = self.node.take_outbox()
        if outbox.records:
            try:
                self.storage.append(outbox.records)
            except StorageError as failure:
                self._storage_failed(failure, outbox)
                return
        if outbox.messages:
            self._send(outbox)
        for session, output in outbox.released:
            session.send(output)
        for name, message in outbox.asks:
            self.spawn(self._ask(name, message))
        for migration in outbox.migrations:
            self.spawn(self._migrate(migration))
        for stream in outbox.hang_ups:
            if self.links is not None:
                self.links.close_peer(stream)
        if outbox.must_sync:
            self.sync()
        if outbox.finish_snapshot:
            self.loop.run_in_executor(self.disk, self.storage.finish_snapshot).add_done_callback(
                self._snapshot_finished
            )
        if outbox.is_busy:
            self.loop.call_soon(self._go_on)
        if outbox.has_expired and not self.is_sweeping:
            self.is_sweeping = True
            self.loop.call_later(SWEEP_PAUSE_S, self._sweep_on)
        if outbox.has_more:
            self.schedule()
        if self.node.leader_name != self.following:
            self._follow(self.node.leader_name)

    def _go_on(self) -> None:
        """Another slice of a long script; whatever else has come was served before it."""
        self.node.go_on(self.clock.now_ms())
        self.schedule()

    def _sweep_on(self) -> None:
        self.is_sweeping = False
        self._go_on()

    def _send(self, outbox: Outbox) -> None:
        links = self.links
        if links is not None:
            for peer, message in outbox.messages:
                links.send(peer, message)

    def _storage_failed(self, failure: StorageError, outbox: Outbox) -> None:
        """Nothing of this turn may be answered as done: the clients lose their connections, the only honest answer."""
        log.error("storage failed: %s", failure)
        self.node.storage_failed(str(failure))
        for session, _ in outbox.released:
            session.killed = True
            session.send(None)
        self.stopping.set()

    def sync(self) -> None:
        """fsync the log in the disk thread; a second call while one runs does nothing (the tick asks again)."""
        if not self.is_syncing:
            self.is_syncing = True
            self.sync_began = self.loop.time()
            self.loop.run_in_executor(self.disk, self.storage.sync).add_done_callback(self._synced)

    def _synced(self, future: "asyncio.Future[int]") -> None:
        self.is_syncing = False
        self.node.sync_is_slow = False
        if future.cancelled():
            return
        failure = future.exception()
        if failure is not None:
            self._storage_failed(StorageError(str(failure)), Outbox())
            return
        self.node.persisted(future.result())
        if self.node.sync_wanted > self.node.durable_lsn:
            self.sync()
        self.schedule()

    def _snapshot_finished(self, future: "asyncio.Future[str]") -> None:
        if future.cancelled():
            return
        failure = future.exception()
        if isinstance(failure, StorageError):  # if the log is concerned too, the next append or sync says so
            self.node.snapshots.failed(str(failure))
        elif failure is not None:
            self._storage_failed(StorageError(str(failure)), Outbox())
        else:
            self.node.snapshots.finished(future.result())

    # -- time ---------------------------------------------------------------------------------------------------

    async def run_ticks(self) -> None:
        """The node's sense of time, the once-a-second fsync, the process log."""
        next_second = self.loop.time() + SYNC_EVERY_S
        while True:
            await asyncio.sleep(TICK_S)
            if self.is_syncing and self.loop.time() - self.sync_began > SLOW_SYNC_S:
                self.node.sync_is_slow = self.node.settings.fsync == "everysec"
            self.node.tick(self.clock.now_ms())
            if self.loop.time() >= next_second:
                next_second = self.loop.time() + SYNC_EVERY_S
                if self.node.settings.fsync != "no" and self.storage.durable_lsn < self.node.log.head.lsn:
                    self.sync()
                self.node.note_free_disk(self.storage.free_bytes() >= self.min_free_bytes)
                off_ms = self.clock.follow_wall()
                if abs(off_ms) > STEP_MS:
                    self.node.events.note(
                        self.node.now_ms, "clock-step", f"the wall clock is {off_ms} ms away", "warning"
                    )
            for event in self.node.events.take_unread():
                log.log(logging.getLevelName(event.level.upper()), "%s: %s", event.name, event.text)
            self.schedule()

    # -- peers --------------------------------------------------------------------------------------------------

    def on_message(self, peer: str, message: Message) -> None:
        self.node.receive(peer, message, self.clock.now_ms())
        self.schedule()

    def on_closed(self, peer: str) -> None:
        self.node.disconnected(peer, self.clock.now_ms())
        self.schedule()

    def on_drained(self, peer: str) -> None:
        """What has gathered for a peer meanwhile may go."""
        self.schedule()

    def _follow(self, leader: str) -> None:
        """Point the outgoing streams at the leader; at none if it is this node."""
        self.following = leader
        links = self.links
        if links is None:
            return
        if leader and leader != self.node.settings.name:
            links.follow(leader, self.addresses[leader])
            links.forward_to(leader, self.addresses[leader])
        else:  # so that either is opened again, and heard of, if the same node leads once more
            links.unfollow()
            links.unforward()

    async def _ask(self, name: str, message: Message) -> None:
        """Tell another node something; its answer is a message like any other."""
        assert self.links is not None
        try:
            answer = await self.links.ask(self.addresses[name], message, ASK_TIMEOUT_S)
        except ClusterError:
            return  # unreachable; whoever needs it asks again
        self.node.receive(name, answer, self.clock.now_ms())
        self.schedule()

    async def _migrate(self, migration: Migration) -> None:
        """Bring keys to another server; whatever comes of it, the node hears."""
        try:
            lines, failure = await converse(migration)
        except Exception:
            log.exception("the conversation of a MIGRATE failed")
            lines, failure = [], READING
        self.node.migrations.ended(migration.token, lines, failure, self.clock.now_ms())
        self.schedule()

    def spawn(self, coroutine: Any) -> None:
        """Run something beside the loop's work, and keep it from being collected."""
        task: asyncio.Task[None] = self.loop.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
