"""Run one node: compose it from the configuration, start it in the right order, end it without losing anything.

Start: disk → recover → listen for peers → ask them who leads → take a role → listen for clients.
Stop (SIGTERM): accept nobody new → refuse what clients still say → finish what runs → let replicas catch up → fsync → answer →
close. A second signal skips the waits, not the fsync.
"""

import asyncio
import gc
import logging
import os
import random
import resource
import secrets
import signal
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from upstash_global import __version__
from upstash_global.config import Config
from upstash_global.node.attention import stop_serving
from upstash_global.node.node import Node
from upstash_global.node.settings import Peer, Settings
from upstash_global.protocol.consistency import DEFAULT_CONSISTENCY, read_consistency
from upstash_global.protocol.tokens import sync_token_key
from upstash_global.replication.feed import FeedState
from upstash_global.replication.messages import Message, StatusReply, StatusRequest
from upstash_global.replication.storage import StorageError
from upstash_global.server.admin import AdminListener
from upstash_global.server.clock import Clock, microseconds, thread_microseconds
from upstash_global.server.descriptors import allow_connections
from upstash_global.server.disk import DiskStorage
from upstash_global.server.links import Kind, Links
from upstash_global.server.nearest import Neighbours
from upstash_global.server.resp import RespListener
from upstash_global.server.rest import RestListener
from upstash_global.server.shell import Shell

PEERS_ANSWER_S: Final = 3.0  # at most so long a starting node waits to hear who leads
CATCH_UP_S: Final = 5.0
FINISH_S: Final = 5.0

log = logging.getLogger("upstash_global")


def run_node(config: Config, name: str, data_dir: Path) -> int:
    """Run a node until SIGTERM or Ctrl-C; the exit code: 0 stopped cleanly, 1 failed."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr, force=True
    )
    for warning in config.warnings:
        log.warning("%s", warning)
    allow_connections(config.limits.max_clients)
    try:
        import uvloop
    except ImportError:  # not on this platform; the loop of the standard library does the same, slower
        return asyncio.run(_run(config, name, data_dir))
    code: int = uvloop.run(_run(config, name, data_dir))
    return code


def settings_of(config: Config, name: str) -> Settings:
    """What the node has to know of the configuration."""
    peers = [
        Peer(
            node.name,
            node.region,
            index,
            config.regions[node.region].candidate,
            node.advertised("resp"),
            f"http://{node.advertised('rest')}",
        )
        for index, node in enumerate(config.nodes)
    ]
    settings = Settings(name, peers, config.cluster.id, config.cluster.leader)
    settings.token_key = sync_token_key(config.credentials.cluster or config.cluster.id)
    settings.password = None if config.credentials.insecure else config.credentials.password
    settings.fsync = config.durability.fsync
    settings.snapshot_bytes = config.durability.snapshot_bytes
    settings.repl_buffer_bytes = config.replication.repl_buffer_bytes
    settings.max_full_syncs = config.replication.max_full_syncs
    settings.backlog_entries = config.replication.backlog_entries
    settings.backlog_bytes = config.replication.backlog_bytes
    settings.heartbeat_ms = config.replication.heartbeat_ms
    settings.silence_ms = config.replication.silence_ms
    settings.check_keys = config.replication.check_keys
    settings.switchover_ms = config.replication.switchover_ms
    settings.consistency = read_consistency(config.consistency.default) or DEFAULT_CONSISTENCY
    settings.sync_wait_ms = config.consistency.sync_wait_ms
    settings.forward_timeout_ms = config.consistency.forward_timeout_ms
    settings.max_staleness_ms = config.consistency.max_staleness_ms
    settings.entry_bytes = config.limits.entry_bytes
    settings.failed_logins_per_minute = config.limits.failed_logins_per_minute
    settings.failed_login_delay_ms = config.limits.failed_login_delay_ms
    settings.max_clients = config.limits.max_clients
    settings.migrate = config.security.migrate
    settings.version = __version__
    return settings


async def _run(config: Config, name: str, data_dir: Path) -> int:
    try:
        running = RunningNode(config, name, data_dir)
    except StorageError as failure:
        log.error("%s cannot start: %s", name, failure)
        return 1
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, running.ask_to_stop)
    try:
        await running.start()
    except (OSError, StorageError) as failure:
        log.error("%s cannot start: %s", name, failure)
        await running.give_up()
        return 1
    await running.wait()
    return await running.stop()


class RunningNode:
    """One node with its listeners and links, on the running loop; tests start it in their own process."""

    def __init__(self, config: Config, name: str, data_dir: Path) -> None:
        self.config = config
        self.me = config.node(name)
        self.clock = Clock()
        self.storage = DiskStorage(data_dir, config.cluster.id, self.clock.now_ms, config.durability.segment_bytes)
        self.node = Node(settings_of(config, name), self.storage, random.Random(), uuid.uuid4().hex, microseconds)
        self.node.resident_bytes = _resident_bytes
        self.node.cpu_seconds = _cpu_seconds
        self.node.metrics.loop_us = thread_microseconds
        self.node.process = _process_facts()
        self.node.parameters.values["dir"] = str(data_dir.resolve())
        self.node.stop = self._stop_for_client
        self.node.secret_bytes = secrets.token_bytes
        self.node.engine.context.tell_bug = self._note_bug
        self.shell = Shell(self.node, self.storage, self.clock, config.durability.min_free_bytes)
        self.shell.addresses = {
            peer.name: str(config.address_of(peer.name, name)) for peer in config.nodes if peer.name != name
        }
        secret = None if config.credentials.insecure else config.credentials.cluster
        self.links = Links(name, secret, self.shell.on_message, self._on_connected, self._on_closed, self._answer)
        self.links.on_drained = self.shell.on_drained
        self.links.traffic = self.node.metrics.links
        self.shell.links = self.links
        self.node.link_is_busy = self.links.is_busy
        self.resp = RespListener(self.shell, config.limits)
        self.neighbours = Neighbours(self.shell, config)
        self.rest = RestListener(self.shell, config, self.neighbours)
        self.admin = AdminListener(self.shell, config, self.neighbours)
        self.is_ready = False
        self.ticks: asyncio.Task[None] | None = None
        self.pings: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Recover, take a role, listen. Raises OSError or StorageError when something of that cannot be had."""
        node = self.node
        node.set_clock(self.clock.now_ms())
        await self.admin.listen(self.me.admin.host, self.me.admin.port)
        node.restore(self.storage.recover())
        gc.freeze()  # what was loaded is no garbage, and need not be looked at again and again
        log.info("%s recovered %s, %d keys", self.me.name, node.log.head, len(node.engine.keyspace.values))
        await self.links.serve(str(self.me.grpc))
        statuses = await self._ask_peers()
        node.set_clock(self.clock.now_ms())
        node.roles.start(statuses)
        self.ticks = asyncio.create_task(self.shell.run_ticks())
        self.ticks.add_done_callback(self._ticks_ended)
        self.pings = asyncio.create_task(self.neighbours.run())
        self.shell.schedule()
        await self.resp.listen(self.me.resp.host, self.me.resp.port)
        await self.rest.listen(self.me.rest.host, self.me.rest.port)
        log.info("%s listens: resp %s, rest %s, admin %s", self.me.name, self.me.resp, self.me.rest, self.me.admin)

    async def _ask_peers(self) -> list[dict[str, Any]]:
        """The statuses of the peers that answer in time; a refused connection is an answer too."""
        questions = [
            self.links.ask(address, StatusRequest(), PEERS_ANSWER_S) for address in self.shell.addresses.values()
        ]
        answers = await asyncio.gather(*questions, return_exceptions=True)
        return [answer.status for answer in answers if isinstance(answer, StatusReply)]

    def _on_connected(self, peer: str, kind: Kind) -> None:
        if kind is Kind.FOLLOW:
            self.node.follow_connected(peer, self.clock.now_ms())
        else:
            self.node.forward_connected(peer, self.clock.now_ms())
        self.shell.schedule()

    def _on_closed(self, peer: str, kind: Kind) -> None:
        if kind is Kind.FORWARD and not peer.startswith("in:"):
            self.node.forward_disconnected(peer, self.clock.now_ms())
            self.shell.schedule()
        else:
            self.shell.on_closed(peer)

    def _answer(self, message: Message) -> Message:
        self.node.set_clock(self.clock.now_ms())
        answer = self.node.roles.answer(message)
        self.shell.schedule()
        return answer

    def _ticks_ended(self, ticks: "asyncio.Task[None]") -> None:
        if not ticks.cancelled():
            log.error("the node's sense of time is gone", exc_info=ticks.exception())
            self.shell.failed = True
            self.shell.stopping.set()

    def _note_bug(self, command: str, bug: Exception) -> None:
        """A command failed by a mistake of ours: its client is told so, everybody else is served on."""
        log.error("%s failed", command, exc_info=bug)
        self.node.events.note(self.node.now_ms, "bug", f"{command} failed: {type(bug).__name__}", "error")

    def _stop_for_client(self, at_once: bool) -> None:
        log.info("%s is told to stop by a client", self.me.name)
        if at_once:
            self.shell.hurry.set()
        self.shell.stopping.set()

    def ask_to_stop(self) -> None:
        """The first signal stops gracefully, a second one at once."""
        if self.shell.stopping.is_set():
            self.shell.hurry.set()
        self.shell.stopping.set()

    async def wait(self) -> None:
        await self.shell.stopping.wait()

    async def stop(self) -> int:
        """End everything; 0 if the log is whole on disk."""
        node = self.node
        self.resp.stop_accepting()
        self.rest.stop_accepting()
        node.scripts.end()
        stop_serving(node)
        await self._wait_until(self._is_answered, FINISH_S)
        if node.is_leader:
            await self._wait_until(self._is_level, CATCH_UP_S)
        self.shell.turn()
        code = 0
        try:
            node.persisted(self.storage.sync())
            self.shell.turn()  # what waited for the fsync is answered
        except StorageError as failure:
            log.error("the last fsync failed: %s", failure)
            code = 1
        await self.give_up()
        log.info("%s stopped at %s", self.me.name, node.log.head)
        return 1 if self.shell.failed or node.write_refusal is not None else code

    async def give_up(self) -> None:
        """Close whatever is open."""
        self.resp.close_all()
        self.rest.close_all()
        for task in (self.ticks, self.pings):
            if task is not None:
                task.cancel()
        await self.links.stop(0.2)
        await self.admin.stop()
        self.shell.disk.shutdown()
        self.storage.close()

    async def _wait_until(self, is_done: Callable[[], bool], at_most_s: float) -> None:
        """Unless it takes too long, or somebody is in a hurry."""
        deadline = self.shell.loop.time() + at_most_s
        while not is_done() and self.shell.loop.time() < deadline and not self.shell.hurry.is_set():
            await asyncio.sleep(0.02)

    def _is_answered(self) -> bool:
        """Whether the leader has answered everything that was forwarded to it, but for what waits there for an event."""
        return all(outstanding.blocks for outstanding in self.node.forwarding.outstanding.values())

    def _is_level(self) -> bool:
        """Whether every streaming replica has everything."""
        node = self.node
        streaming = [feed for feed in node.roles.feeds.values() if feed.state is FeedState.STREAMING]
        return all(feed.acked.lsn >= node.log.head.lsn for feed in streaming)


def _process_facts() -> dict[str, object]:
    """What INFO tells of the process and the machine."""
    system = os.uname()
    return {
        "os": f"{system.sysname} {system.release} {system.machine}",
        "id": os.getpid(),
        "executable": sys.executable,
        "loop": type(asyncio.get_running_loop()).__module__,
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the peak is the best that is known
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _cpu_seconds() -> tuple[float, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_stime, usage.ru_utime
