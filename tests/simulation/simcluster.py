"""SimCluster: a whole cluster in one process, with one seed, one virtual clock, a bad network and crashes.

    cluster = SimCluster(seed=7)
    tokyo = cluster["ap-southeast-1"]
    cluster.cut("ap-southeast-1")
    cluster.leader.run("INCR counter")
    cluster.heal("ap-southeast-1")
    cluster.settle()

The nodes are the real ones; only sockets, disk and time are played. Messages of an open stream may be delayed, lost,
repeated and reordered, which is worse than what gRPC does; streams break when a node crashes or is cut off. A crash loses
what the disk had not synced. Checkers always run: one total order, replay is a fixed point, equal position means equal
digest, positions only grow except through a rewind, at most one leader per epoch.
"""

import random
import shlex
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from upstash_global.engine.engine import Effects
from upstash_global.errors import ClusterError
from upstash_global.node.node import Node
from upstash_global.node.session import Session
from upstash_global.node.settings import Peer, Settings
from upstash_global.replication.messages import Cancel, Forward, Forwarded, Message, decode, encode
from upstash_global.replication.storage import MemoryStorage
from upstash_global.reply import Reply

START_MS = 1_700_000_000_000
TICK_MS = 20
SYNC_MS = 3  # how long an fsync takes
RECONNECT_MS = 150
ASK_TIMEOUT_MS = 3_000

REGIONS = ["us-east-1", "us-west-2", "eu-central-1", "ap-southeast-1", "sa-east-1"]


class Broken(AssertionError):
    """A checker found what must never be; its text names the seed."""


class WorstCase(random.Random):
    """The chance that a crash keeps nothing unsynced."""

    def randint(self, a: int, b: int) -> int:
        return a

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return 0


class SimSession(Session):
    """A client's connection; what it was answered stands in `replies`, pushes included."""

    def __init__(self, session_id: int, owner: "SimNode") -> None:
        super().__init__(session_id, "default")
        self.owner = owner
        self.pending: list[Reply] = []
        self.replies: list[Reply] = []
        self.is_cut = False  # the connection was dropped

    def write(self, reply: Reply) -> None:
        self.pending.append(reply)

    def take_output(self) -> Any:
        pending, self.pending = self.pending, []
        return pending or None

    def send(self, output: Any) -> None:
        if output is None:
            self.is_cut = True
        else:
            self.replies.extend(output)


class CheckedNode(Node):
    """A node that checks, with every entry it makes or applies, what must hold."""

    cluster: "SimCluster"

    def _after(self, lsn: int, effects: Effects) -> None:
        super()._after(lsn, effects)
        entry = self.log.backlog[-1]
        if entry.commands != effects.commands:
            self.cluster.broken(f"{self.settings.name}: replaying {entry.commands} gave {effects.commands}")

    def take_outbox(self) -> Any:
        self.cluster.check(self)
        return super().take_outbox()


class Connection:
    """One open stream from `source` to `target`; messages go both ways."""

    def __init__(self, number: int, kind: str, source: "SimNode", target: "SimNode") -> None:
        self.number = number
        self.kind = kind
        self.source = source
        self.target = target
        self.is_open = True

    @property
    def inbound_name(self) -> str:
        return f"in:{self.number}"


class SimNode:
    """A machine: its disk survives crashes, its node does not."""

    def __init__(self, cluster: "SimCluster", name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.storage = MemoryStorage()
        self.node: CheckedNode | None = None
        self.n_starts = 0
        self.streams: dict[str, Connection] = {}  # kind → the one that this node opened
        self.inbound: dict[str, Connection] = {}
        self.following = ""
        self.clients: list[SimSession] = []

    @property
    def is_up(self) -> bool:
        return self.node is not None

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
        self.up().handle(session, argvs, self.cluster.now_ms)
        self.turn()

    def run(self, *commands: str | list[bytes]) -> Reply:
        """Run commands on a connection of their own and let time pass until they are answered; the last reply."""
        session = self.client()
        self.send(session, *commands)
        for _ in range(100_000):
            if len(session.replies) >= len(commands) or session.is_cut:
                break
            self.cluster.step()
        if self.node is not None:
            self.node.close(session)
        self.clients.remove(session)
        assert len(session.replies) >= len(commands), f"{commands} was not answered (seed {self.cluster.seed})"
        return session.replies[len(commands) - 1]

    def up(self) -> CheckedNode:
        assert self.node is not None, f"{self.name} is down"
        return self.node

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        cluster = self.cluster
        self.n_starts += 1
        node = CheckedNode.__new__(CheckedNode)
        node.cluster = cluster
        CheckedNode.__init__(
            node,
            cluster.settings_of(self.name),
            self.storage,
            cluster.random,
            f"{self.name}.{self.n_starts}",
            lambda: 0,
        )
        node.set_clock(cluster.now_ms)
        node.restore(self.storage.recover())
        self.node = node
        self.following = ""
        statuses = [
            other.up().status()
            for other in cluster.nodes.values()
            if other is not self and cluster.can_talk(self, other)
        ]
        node.roles.start(statuses)
        cluster.after(TICK_MS, lambda: self.tick(node))
        cluster.after(1_000, lambda: self.every_second(node))
        self.turn()

    def crash(self, chance: random.Random | None = None) -> None:
        """Power is gone: the node, and of what was not synced whatever `chance` takes."""
        self.node = None
        for session in self.clients:
            session.is_cut = True
        self.clients = []
        self.storage.crash(chance or self.cluster.random)
        for connection in [*self.streams.values(), *self.inbound.values()]:
            self.cluster.close(connection)
        self.streams, self.inbound = {}, {}

    def tick(self, node: Node) -> None:
        if self.node is node:
            node.tick(self.cluster.now_ms)
            self.turn()
            self.cluster.after(TICK_MS, lambda: self.tick(node))

    def every_second(self, node: Node) -> None:
        if self.node is node:
            if node.settings.fsync != "no":
                self.sync(node)
            self.cluster.after(1_000, lambda: self.every_second(node))

    def sync(self, node: Node) -> None:
        self.cluster.after(SYNC_MS, lambda: self.synced(node))

    def synced(self, node: Node) -> None:
        if self.node is node:
            node.persisted(self.storage.sync())
            self.turn()

    def turn(self) -> None:
        node = self.node
        if node is None:
            return
        outbox = node.take_outbox()
        if outbox.records:
            self.storage.append(outbox.records)
        for peer, message in outbox.messages:
            self.dispatch(peer, message)
        for session, output in outbox.released:
            session.send(output)
        for name, question in outbox.asks:
            self.ask(name, question)
        for stream in outbox.hang_ups:
            if stream in self.inbound:
                self.cluster.close(self.inbound[stream])
        if outbox.must_sync:
            self.sync(node)
        if outbox.has_more:
            self.cluster.after(0, self.turn)
        if node.leader_name != self.following:
            self.follow(node.leader_name)

    def follow(self, leader: str) -> None:
        self.following = leader
        for connection in list(self.streams.values()):
            self.cluster.close(connection)
        self.streams = {}
        if leader and leader != self.name:
            for kind in ("follow", "forward"):
                self.connect(kind, leader)

    def connect(self, kind: str, leader: str) -> None:
        """Open a stream, or try again later, as long as this leader is to be followed."""
        cluster, node = self.cluster, self.node
        if node is None or self.following != leader or kind in self.streams:
            return
        target = cluster.nodes[leader]
        if not cluster.can_talk(self, target):
            cluster.after(RECONNECT_MS, lambda: self.node is node and self.connect(kind, leader))
            return
        cluster.n_connections += 1
        connection = Connection(cluster.n_connections, kind, self, target)
        self.streams[kind] = connection
        target.inbound[connection.inbound_name] = connection
        if kind == "follow":
            node.follow_connected(leader, cluster.now_ms)
        else:
            node.forward_connected(leader, cluster.now_ms)
        cluster.after(0, self.turn)

    def disconnected(self, connection: Connection) -> None:
        """One of this node's streams has ended."""
        node = self.node
        now_ms = self.cluster.now_ms
        if connection.source is self:
            if self.streams.get(connection.kind) is connection:
                del self.streams[connection.kind]
                leader = connection.target.name
                if node is not None:
                    if connection.kind == "follow":
                        node.disconnected(leader, now_ms)
                    else:
                        node.forward_disconnected(leader, now_ms)
                    self.cluster.after(
                        RECONNECT_MS, lambda: self.node is node and self.connect(connection.kind, leader)
                    )
        elif self.inbound.pop(connection.inbound_name, None) is not None and node is not None:
            node.disconnected(connection.inbound_name, now_ms)
        self.turn()

    def dispatch(self, peer: str, message: Message) -> None:
        if peer in self.inbound:
            self.cluster.carry(self.inbound[peer], self, message)
            return
        kind = "forward" if isinstance(message, (Forward, Cancel)) else "follow"
        connection = self.streams.get(kind)
        if connection is not None and connection.target.name == peer:
            self.cluster.carry(connection, self, message)

    def ask(self, name: str, question: Message) -> None:
        """One question on a stream of its own, and perhaps its answer."""
        cluster, target, node = self.cluster, self.cluster.nodes[name], self.node
        if not cluster.can_talk(self, target):
            return

        def arrive() -> None:
            if cluster.can_talk(self, target):
                target.up().set_clock(cluster.now_ms)
                try:
                    answer = target.up().roles.answer(decode(encode(question)))
                except ClusterError:
                    return
                target.turn()
                cluster.after(cluster.delay(self, target), lambda: back(decode(encode(answer))))

        def back(answer: Message) -> None:
            if self.node is node and node is not None:
                node.receive(name, answer, cluster.now_ms)
                self.turn()

        cluster.after(cluster.delay(self, target), arrive)


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
    ) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.fsync = fsync
        self.loss = loss
        self.max_delay_ms = max_delay_ms
        self.backlog_entries = backlog_entries
        self.snapshot_bytes = snapshot_bytes
        self.configure = configure
        self.now_ms = START_MS
        self.events: list[tuple[int, int, Callable[[], Any]]] = []
        self.n_events = 0
        self.n_connections = 0
        self.is_cut: set[str] = set()
        # what the checkers know
        self.crcs: dict[tuple[int, int], int] = {}  # position → CRC of the entry that every node must have there
        self.digests: dict[tuple[int, int], str] = {}
        self.leaders: dict[int, str] = {}  # epoch → the one node that led it
        self.checked: dict[str, int] = {}
        names = ["leader", *(regions or REGIONS)]
        self.peers = [Peer(name, "us-east-1" if name == "leader" else name, i) for i, name in enumerate(names)]
        self.nodes = {name: SimNode(self, name) for name in names}
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
        assert leading, f"nobody leads (seed {self.seed})"
        return max(leading, key=lambda each: each.up().roles.epoch)

    # -- the network --------------------------------------------------------------------------------------------

    def can_talk(self, one: SimNode, other: SimNode) -> bool:
        return one.is_up and other.is_up and one.name not in self.is_cut and other.name not in self.is_cut

    def delay(self, one: SimNode, other: SimNode) -> int:
        return self.random.randint(1, self.max_delay_ms)

    def carry(self, connection: Connection, sender: SimNode, message: Message) -> None:
        """Take a message to the other end: late, perhaps twice, perhaps never, perhaps behind a later one."""
        receiver = connection.target if sender is connection.source else connection.source
        data = encode(message)
        copies = 1
        if self.loss and not isinstance(message, (Forward, Forwarded)):
            if self.random.random() < self.loss:
                copies = 0
            elif self.random.random() < self.loss / 2:
                copies = 2

        def arrive() -> None:
            node = receiver.node
            if not connection.is_open or node is None or not self.can_talk(sender, receiver):
                return
            peer = connection.inbound_name if receiver is connection.target else connection.target.name
            node.receive(peer, decode(data), self.now_ms)
            receiver.turn()

        for _ in range(copies):
            self.after(self.delay(sender, receiver), arrive)

    def close(self, connection: Connection) -> None:
        if connection.is_open:
            connection.is_open = False
            self.after(1, lambda: connection.source.disconnected(connection))
            self.after(1, lambda: connection.target.disconnected(connection))

    def cut(self, name: str) -> None:
        """Separate a node from all others; its streams break, as TCP finds out."""
        self.is_cut.add(name)
        each = self.nodes[name]
        for connection in [*each.streams.values(), *each.inbound.values()]:
            self.close(connection)

    def heal(self, name: str) -> None:
        self.is_cut.discard(name)

    # -- time ---------------------------------------------------------------------------------------------------

    def after(self, ms: int, action: Callable[[], Any]) -> None:
        self.n_events += 1
        heappush(self.events, (self.now_ms + ms, self.n_events, action))

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
                self.broken(f"the cluster does not settle: {heads}")
            self.run_for(100)
        self.check_level()

    def is_level(self) -> bool:
        up = [each.up() for each in self.nodes.values() if each.is_up and each.name not in self.is_cut]
        leading = [node for node in up if node.is_leader]
        if len(leading) != 1:
            return False
        head = leading[0].log.head
        return all(node.log.head == head and node.state_name == "streaming" for node in up) and not any(
            session.waiting for node in up for session in node.sessions.values()
        )

    def restart(self, name: str) -> None:
        self.nodes[name].start()

    # -- checkers -----------------------------------------------------------------------------------------------

    def broken(self, what: str) -> None:
        raise Broken(f"{what} (seed {self.seed}, at {self.now_ms - START_MS} ms)")

    def check(self, node: CheckedNode) -> None:
        """One total order, one leader per epoch, equal position means equal digest; called with every turn."""
        name = node.settings.name
        if node.is_leader:
            epoch = node.roles.epoch
            if self.leaders.setdefault(epoch, name) != name:
                self.broken(f"{name} and {self.leaders[epoch]} both lead epoch {epoch}")
        head = node.log.head
        if self.checked.get(name) == head.lsn or not head.lsn:
            return
        self.checked[name] = head.lsn
        at = (head.epoch, head.lsn)
        crc = node.log.head_crc
        if self.crcs.setdefault(at, crc) != crc:
            self.broken(f"{name} has another entry at {head} than others")
        if head.lsn % 5 == 0:
            self.check_digest(node)

    def check_digest(self, node: Node) -> None:
        head = node.log.head
        digest = node.digest()
        if self.digests.setdefault((head.epoch, head.lsn), digest) != digest:
            self.broken(f"{node.settings.name} has another state at {head} than others")

    def check_level(self) -> None:
        for each in self.nodes.values():
            if each.is_up and each.name not in self.is_cut:
                self.check_digest(each.up())


def _argv(command: str | list[bytes]) -> list[bytes]:
    if isinstance(command, list):
        return command
    return [word.encode() for word in shlex.split(command)]
