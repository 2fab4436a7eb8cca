"""SimCluster: a whole cluster in one process, with one seed, one virtual clock, a bad network and crashes.

    cluster = SimCluster(seed=7)
    tokyo = cluster["ap-southeast-1"]
    cluster.cut("ap-southeast-1")
    cluster.leader.run("INCR counter")
    cluster.heal("ap-southeast-1")
    cluster.settle()

The nodes are the real ones; only sockets (see network), disk and time are played. A crash loses what the disk had not
synced. The checks of `ledger` always run.
"""

import random
import shlex
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from tests.simulation.ledger import Ledger
from tests.simulation.network import Connection, Network
from upstash_global.engine.context import Effects
from upstash_global.errors import Divergence
from upstash_global.node.node import NO_ATTRIBUTES, Node
from upstash_global.node.session import Session
from upstash_global.node.settings import Peer, Settings
from upstash_global.replication.codec import Entry
from upstash_global.replication.messages import Cancel, Forward, Message
from upstash_global.replication.position import Position
from upstash_global.replication.storage import MemoryStorage
from upstash_global.reply import Reply

START_MS = 1_700_000_000_000
RECONNECT_MS = 150
N_RECENT = 60  # notable events that a failure shows

REGIONS = ["us-east-1", "us-west-2", "eu-central-1", "ap-southeast-1", "sa-east-1"]


class Broken(AssertionError):
    """A check found what must never be; its text names the seed."""


class WorstCase(random.Random):
    """The chance that a crash keeps nothing unsynced."""

    def randint(self, a: int, b: int) -> int:
        return a

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return 0


class BestCase(random.Random):
    """The chance that a crash keeps everything: the process was killed, the machine goes on."""

    def randint(self, a: int, b: int) -> int:
        return b


class SimDisk(MemoryStorage):
    """A disk whose sync takes time and covers what was appended before it began."""

    def __init__(self) -> None:
        super().__init__()
        self.syncing_lsn = 0  # a sync up to here runs; 0 for none

    def begin_sync(self) -> int:
        self.syncing_lsn = self.head_lsn
        return self.head_lsn

    def end_sync(self) -> None:
        self.durable_lsn = max(self.durable_lsn, self.syncing_lsn)
        self.syncing_lsn = 0

    def sync(self) -> int:
        self.syncing_lsn = 0
        return super().sync()

    def set_aside(self, from_lsn: int) -> tuple[int, str]:
        self.sync()  # as the real disk does before it cuts the log
        return super().set_aside(from_lsn)

    def finish_snapshot(self) -> str:
        self.sync()  # or a crash might leave a log that ends below the snapshot
        return super().finish_snapshot()

    def reset_log(self, position: Position) -> None:
        self.syncing_lsn = 0
        super().reset_log(position)

    def crash(self, random: random.Random) -> int:
        self.syncing_lsn = 0
        return super().crash(random)


class SimSession(Session):
    """A client's connection; what it was answered stands in `replies`, pushes included."""

    def __init__(self, session_id: int, owner: "SimNode") -> None:
        super().__init__(session_id, None)
        self.owner = owner
        self.pending: list[Reply] = []
        self.replies: list[Reply] = []
        self.is_cut = False  # the connection was dropped
        self.heard: Callable[[], None] | None = None  # told when there is something new, or the end

    def write(self, reply: Reply) -> None:
        self.pending.append(reply)

    def take_output(self) -> Any:
        pending, self.pending = self.pending, []
        return pending or None

    def send(self, output: Any) -> None:
        if self.is_cut:
            return
        if output is None:
            self.is_cut = True
        else:
            self.replies.extend(output)
        if self.heard is not None:
            self.heard()


class CheckedNode(Node):
    """A node that checks, with every entry it makes or applies, what must hold."""

    cluster: "SimCluster"
    owner: "SimNode"

    def commit(
        self, session: Session | None, effects: Effects, reply: Reply, attributes: dict[str, Any] = NO_ATTRIBUTES
    ) -> None:
        super().commit(session, effects, reply, attributes)
        self.cluster.ledger.logged(self.owner, self.newest_entry())

    def newest_entry(self) -> Entry:
        (entry,) = self.log.entries_after(self.log.head.lsn - 1, 1, 0) or []
        return entry

    def apply(self, entry: Entry) -> None:
        super().apply(entry)
        if not self.is_replaying:
            self.cluster.ledger.applied(self.owner, entry)

    def _after(self, lsn: int, effects: Effects) -> None:
        super()._after(lsn, effects)
        entry = self.newest_entry()
        if entry.commands != effects.commands:
            self.cluster.broken(f"{self.settings.name}: replaying {entry.commands} gave {effects.commands}")


class SimNode:
    """A machine: its disk survives crashes, its node does not."""

    def __init__(self, cluster: "SimCluster", name: str, skew_ms: int) -> None:
        self.cluster = cluster
        self.name = name
        self.skew_ms = skew_ms  # how far this machine's clock is ahead
        self.storage = SimDisk()
        self.node: CheckedNode | None = None
        self.n_starts = 0
        self.started_ms = 0
        self.n_events = 0  # notable events of the node that were taken over
        self.streams: dict[str, Connection] = {}  # kind → the one that this node opened
        self.inbound: dict[str, Connection] = {}
        self.following = ""
        self.clients: list[SimSession] = []

    @property
    def is_up(self) -> bool:
        return self.node is not None

    @property
    def now_ms(self) -> int:
        """What this machine's clock shows."""
        return self.cluster.now_ms + self.skew_ms

    @property
    def snapshots_loaded(self) -> int:
        assert self.node is not None
        return self.node.metrics.n_full_resyncs

    # -- a client's view ----------------------------------------------------------------------------------------

    def client(self) -> SimSession:
        """A new connection to this node."""
        node = self.up()
        session = SimSession(node.next_session_id(), self)
        node.open(session)
        self.clients.append(session)
        return session

    def send(self, session: SimSession, *commands: str | list[bytes]) -> None:
        """Send commands on a connection; the answers come while virtual time runs."""
        argvs = [_argv(command) for command in commands]
        self.up().handle(session, argvs, self.now_ms)
        self.turn()

    def hang_up(self, session: SimSession) -> None:
        """The client closes its connection."""
        session.is_cut = True
        if session in self.clients:
            self.clients.remove(session)
            self.up().close(session)
            self.turn()

    def run(self, *commands: str | list[bytes]) -> Reply:
        """Run commands on a connection of their own and let time pass until they are answered; the last reply."""
        session = self.client()
        self.send(session, *commands)
        for _ in range(100_000):
            if len(session.replies) >= len(commands) or session.is_cut:
                break
            self.cluster.step()
        self.hang_up(session)
        if len(session.replies) < len(commands):
            self.cluster.broken(f"{commands} was not answered")
        return session.replies[len(commands) - 1]

    def up(self) -> CheckedNode:
        assert self.node is not None, f"{self.name} is down"
        return self.node

    # -- life ---------------------------------------------------------------------------------------------------

    def make_node(self) -> CheckedNode:
        """A node with what the disk holds, that has not taken a role."""
        node = CheckedNode.__new__(CheckedNode)
        node.cluster, node.owner = self.cluster, self
        settings = self.cluster.settings_of(self.name)
        boot_id = f"{self.name}.{self.n_starts}"
        CheckedNode.__init__(node, settings, self.storage, self.cluster.random, boot_id, lambda: 0)
        limits = node.roles.feed_limits
        limits.chunk_bytes = min(limits.chunk_bytes, self.cluster.chunk_bytes)
        limits.chunks_unacked_bytes = min(limits.chunks_unacked_bytes, 4 * self.cluster.chunk_bytes)
        node.set_clock(self.now_ms)
        try:
            node.restore(self.storage.recover())
        except Divergence as failure:
            self.cluster.broken(f"{self.name} cannot start from what its disk holds: {failure}")
        return node

    def start(self) -> None:
        cluster = self.cluster
        self.n_starts += 1
        self.started_ms = cluster.now_ms
        self.n_events = 0
        node = self.node = self.make_node()
        self.following = ""
        cluster.ledger.started(self)
        statuses = [
            other.up().status()
            for other in cluster.nodes.values()
            if other is not self and cluster.network.can_talk(self, other)
        ]
        node.roles.start(statuses)
        cluster.after(cluster.tick_ms, lambda: self.tick(node))
        cluster.after(1_000, lambda: self.every_second(node))
        self.turn()

    def crash(self, chance: random.Random | None = None) -> None:
        """Power is gone: the node, and of what was not synced whatever `chance` takes."""
        self.node = None
        sessions, self.clients = self.clients, []
        before = self.storage.log
        first_lsn = self.storage.first_lsn
        self.storage.log = list(before)
        self.storage.crash(chance or self.cluster.random)
        kept = len(self.storage.log) if self.storage.first_lsn == first_lsn else 0
        self.cluster.ledger.crashed(self, before[kept:])
        for connection in [*self.streams.values(), *self.inbound.values()]:
            self.cluster.network.break_(connection, self)
        self.streams, self.inbound = {}, {}
        for session in sessions:
            session.send(None)

    def tick(self, node: Node) -> None:
        if self.node is node:
            node.tick(self.now_ms)
            self.turn()
            self.cluster.after(self.cluster.tick_ms, lambda: self.tick(node))

    def every_second(self, node: Node) -> None:
        if self.node is node:
            if node.settings.fsync != "no" and self.storage.durable_lsn < node.log.head.lsn:
                self.sync(node)
            self.cluster.after(1_000, lambda: self.every_second(node))

    def sync(self, node: Node) -> None:
        """Begin an fsync, unless one runs: then another follows if it is still needed."""
        if not self.storage.syncing_lsn:
            lsn = self.storage.begin_sync()
            self.cluster.after(self.cluster.sync_ms, lambda: self.synced(node, lsn))

    def synced(self, node: Node, lsn: int) -> None:
        if self.node is node:
            self.storage.end_sync()
            node.persisted(lsn)
            if node.sync_wanted > node.durable_lsn:
                self.sync(node)
            self.turn()

    def finish_snapshot(self, node: Node) -> None:
        if self.node is node:
            node.snapshots.finished(self.storage.finish_snapshot())
            self.turn()

    def turn(self) -> None:
        node = self.node
        if node is None:
            return
        outbox = node.take_outbox()
        if outbox.records:
            self.storage.append(outbox.records)
        self.cluster.check(self)
        for peer, message in outbox.messages:
            self.dispatch(peer, message)
        for session, output in outbox.released:
            session.send(output)
        for name, question in outbox.asks:
            self.cluster.network.ask(self, name, question)
        for stream in outbox.hang_ups:
            if stream in self.inbound:
                self.cluster.network.break_(self.inbound[stream], self)
        if outbox.must_sync:
            self.sync(node)
        if outbox.finish_snapshot:
            self.cluster.after(self.cluster.sync_ms, lambda: self.finish_snapshot(node))
        if outbox.has_more:
            self.cluster.after(0, self.turn)
        if node.leader_name != self.following:
            self.follow(node.leader_name)

    # -- streams ------------------------------------------------------------------------------------------------

    def follow(self, leader: str) -> None:
        self.following = leader
        streams, self.streams = self.streams, {}
        for connection in streams.values():
            self.cluster.network.break_(connection, self)
        if leader and leader != self.name:
            for kind in ("follow", "forward"):
                self.connect(kind, leader)

    def connect(self, kind: str, leader: str) -> None:
        """Open a stream, or try again later, as long as this leader is to be followed."""
        cluster, node = self.cluster, self.node
        if node is None or self.following != leader or kind in self.streams:
            return
        target = cluster.nodes[leader]
        if not cluster.network.can_talk(self, target):
            cluster.after(RECONNECT_MS, lambda: self.connect_if(node, kind, leader))
            return
        connection = cluster.network.open(kind, self, target)
        self.streams[kind] = connection
        target.inbound[connection.inbound_name] = connection
        if kind == "follow":
            node.follow_connected(leader, self.now_ms)
        else:
            node.forward_connected(leader, self.now_ms)
        cluster.after(0, self.turn)

    def connect_if(self, node: Node, kind: str, leader: str) -> None:
        if self.node is node:
            self.connect(kind, leader)

    def disconnected(self, connection: Connection) -> None:
        """This node has noticed that one of its streams has ended."""
        node = self.up()
        if connection.source is self:
            if self.streams.get(connection.kind) is not connection:
                return
            del self.streams[connection.kind]
            leader = connection.target.name
            if connection.kind == "follow":
                node.disconnected(leader, self.now_ms)
            else:
                node.forward_disconnected(leader, self.now_ms)
            self.cluster.after(RECONNECT_MS, lambda: self.connect_if(node, connection.kind, leader))
        elif self.inbound.pop(connection.inbound_name, None) is not None:
            node.disconnected(connection.inbound_name, self.now_ms)
        self.turn()

    def dispatch(self, peer: str, message: Message) -> None:
        if peer in self.inbound:
            self.cluster.network.carry(self.inbound[peer], self, message)
            return
        kind = "forward" if isinstance(message, (Forward, Cancel)) else "follow"
        connection = self.streams.get(kind)
        if connection is not None and connection.target.name == peer:
            self.cluster.network.carry(connection, self, message)


class SimCluster:
    def __init__(
        self,
        seed: int,
        fsync: str = "everysec",
        loss: float = 0.0,
        max_delay_ms: int = 60,
        backlog_entries: int = 100_000,
        snapshot_bytes: int = 64 << 20,
        regions: list[str] | None = None,
        configure: Callable[[Settings], None] | None = None,
        skews_ms: Sequence[int] = (0,),
        chunk_bytes: int = 256 << 10,
    ) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.fsync = fsync
        self.backlog_entries = backlog_entries
        self.snapshot_bytes = snapshot_bytes
        self.chunk_bytes = chunk_bytes  # of a snapshot on its way
        self.configure = configure
        self.tick_ms = 20
        self.sync_ms = 3  # how long an fsync takes
        self.now_ms = START_MS
        self.events: list[tuple[int, int, Callable[[], Any]]] = []
        self.n_events = 0
        self.network = Network(self, loss, max_delay_ms)
        self.ledger = Ledger(self)
        self.recent: deque[str] = deque(maxlen=N_RECENT)
        self.tally: dict[str, int] = {}  # what has happened, by name
        names = ["leader", *(regions or REGIONS)]
        self.peers = [Peer(name, "us-east-1" if name == "leader" else name, i) for i, name in enumerate(names)]
        self.nodes = {name: SimNode(self, name, skews_ms[i % len(skews_ms)]) for i, name in enumerate(names)}
        for each in self.nodes.values():
            each.start()

    def settings_of(self, name: str) -> Settings:
        settings = Settings(name, self.peers, "sim", "leader")
        settings.fsync = self.fsync
        settings.backlog_entries = self.backlog_entries
        settings.snapshot_bytes = self.snapshot_bytes
        if self.configure is not None:
            self.configure(settings)
        return settings

    def __getitem__(self, name: str) -> SimNode:
        return self.nodes[name]

    @property
    def leader(self) -> SimNode:
        """The running node that leads the highest epoch."""
        leading = [each for each in self.nodes.values() if each.node is not None and each.node.is_leader]
        if not leading:
            self.broken("nobody leads")
        return max(leading, key=lambda each: each.up().roles.epoch)

    # -- faults -------------------------------------------------------------------------------------------------

    def cut(self, name: str, silently: bool = False) -> None:
        """Separate a node from all others."""
        for other in self.nodes:
            if other != name:
                self.network.cut(name, other, silently)

    def heal(self, name: str) -> None:
        for other in self.nodes:
            self.network.heal(name, other)

    def restart(self, name: str) -> None:
        self.nodes[name].start()

    # -- time ---------------------------------------------------------------------------------------------------

    def after(self, ms: int, action: Callable[[], Any]) -> None:
        self.at(self.now_ms + ms, action)

    def at(self, at_ms: int, action: Callable[[], Any]) -> None:
        self.n_events += 1
        heappush(self.events, (at_ms, self.n_events, action))

    def step(self) -> None:
        """Let the next thing happen."""
        at_ms, _, action = heappop(self.events)
        self.now_ms = max(self.now_ms, at_ms)
        action()

    def run_for(self, ms: int) -> None:
        end_ms = self.now_ms + ms
        while self.events and self.events[0][0] <= end_ms:
            self.step()
        self.now_ms = end_ms

    def settle(self, limit_ms: int = 60_000) -> None:
        """Run until every node that is up and connected has the leader's state; fails after `limit_ms` of virtual time."""
        end_ms = self.now_ms + limit_ms
        while not self.is_level():
            if self.now_ms > end_ms:
                heads = {
                    name: (str(each.up().log.head), each.up().state_name)
                    for name, each in self.nodes.items()
                    if each.is_up
                }
                waiting = {
                    name: [session.waiting for session in each.up().sessions.values() if session.waiting]
                    for name, each in self.nodes.items()
                    if each.is_up
                }
                self.broken(f"the cluster does not settle: {heads}; sessions that wait: {waiting}")
            self.run_for(100)
        for node in self.connected():
            self.ledger.check_digest(node)

    def is_level(self) -> bool:
        up = self.connected()
        leading = [node for node in up if node.is_leader]
        if len(leading) != 1:
            return False
        head = leading[0].log.head
        return all(node.log.head == head and node.state_name == "streaming" for node in up) and not any(
            session.waiting for node in up for session in node.sessions.values()
        )

    def connected(self) -> list[CheckedNode]:
        """The nodes that are up and not cut off from all others."""
        return [
            each.up()
            for each in self.nodes.values()
            if each.is_up
            and any(
                frozenset((each.name, other)) not in self.network.cuts for other in self.nodes if other != each.name
            )
        ]

    # -- telling ------------------------------------------------------------------------------------------------

    def note(self, what: str, name: str = "") -> None:
        """Remember something notable for the text of a failure, and count it."""
        if what:
            self.recent.append(f"{self.now_ms - START_MS:6d} ms  {what}")
        if name:
            self.tally[name] = self.tally.get(name, 0) + 1

    def broken(self, what: str) -> None:
        recent = "\n".join(self.recent)
        raise Broken(
            f"{what} (seed {self.seed}, at {self.now_ms - START_MS} ms)\n"
            f"replay it: pytest --seed {self.seed} --seeds 1 tests/simulation/test_seeds.py\n{recent}"
        )

    def check(self, machine: SimNode) -> None:
        """Called with every turn, when its entries are on disk and nothing else of it is out yet."""
        node = machine.up()
        unread = node.events.take_unread()
        for event in unread:
            self.note(f"{machine.name}: {event.name}: {event.text}", event.name)
        self.ledger.check(machine)


def _argv(command: str | list[bytes]) -> list[bytes]:
    if isinstance(command, list):
        return command
    return [word.encode() for word in shlex.split(command)]
