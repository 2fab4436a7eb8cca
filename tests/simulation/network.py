"""The played network: streams and questions between the machines of a SimCluster, slow and worse.

    follow streams    lose, repeat and reorder messages, which is more than gRPC ever does
    forward streams   keep their order and lose nothing while they are open, as gRPC does; instead they break now and then

When a stream breaks, of what is under way a prefix still arrives, and the two ends notice at different times: until then
an end goes on sending into nothing, and may receive what the other sent before. A pair of machines that is cut apart
loses its streams at once, or silently: then nothing is noticed until somebody has waited too long.
"""

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from upstash_global.errors import ClusterError
from upstash_global.replication.messages import Message, decode, encode

if TYPE_CHECKING:
    from tests.simulation.simcluster import SimCluster, SimNode

KEEPALIVE_MS = 2_000  # a stream over a silent cut breaks after this long
BREAKS_PER_LOSS = 0.1  # of the share of lost messages: how often a message on a forward stream breaks it


class Way:
    """One direction of a stream."""

    def __init__(self, receiver: "SimNode") -> None:
        self.receiver = receiver
        self.node = receiver.node  # messages are for this incarnation only
        self.n_sent = 0
        self.n_arrived = 0
        self.n_survivors = -1  # after the break: how many of those sent still arrive
        self.queue: deque[bytes] = deque()  # a forward stream: sent, not yet arrived, in order
        self.n_due = 0  # of the queue: how many have been under way long enough
        self.latest_ms = 0  # arrival of the newest message in the queue
        self.is_over = False  # the receiver has noticed the end


class Connection:
    """One open stream from `source` to `target`; messages go both ways."""

    def __init__(self, number: int, kind: str, source: "SimNode", target: "SimNode") -> None:
        self.number = number
        self.kind = kind
        self.source = source
        self.target = target
        self.is_broken = False
        self.ways = {source.name: Way(source), target.name: Way(target)}  # by receiver

    @property
    def inbound_name(self) -> str:
        return f"in:{self.number}"


class Network:
    def __init__(self, cluster: "SimCluster", loss: float, max_delay_ms: int) -> None:
        self.cluster = cluster
        self.loss = loss
        self.max_delay_ms = max_delay_ms
        self.notice_ms = 1  # how long an end may take to notice that a stream broke
        self.cuts: set[frozenset[str]] = set()  # pairs of machines
        self.connections: dict[int, Connection] = {}
        self.n_connections = 0
        self.changed_ms = 0  # the last cut or heal

    def can_talk(self, one: "SimNode", other: "SimNode") -> bool:
        return one.is_up and other.is_up and frozenset((one.name, other.name)) not in self.cuts

    def delay(self) -> int:
        return self.cluster.random.randint(1, self.max_delay_ms)

    # -- streams ------------------------------------------------------------------------------------------------

    def open(self, kind: str, source: "SimNode", target: "SimNode") -> Connection:
        self.n_connections += 1
        connection = Connection(self.n_connections, kind, source, target)
        self.connections[connection.number] = connection
        return connection

    def carry(self, connection: Connection, sender: "SimNode", message: Message) -> None:
        """Take a message to the other end."""
        receiver = connection.target if sender is connection.source else connection.source
        way = connection.ways[receiver.name]
        if connection.is_broken:
            return
        way.n_sent += 1
        data = encode(message)
        if connection.kind == "forward":
            way.queue.append(data)
            way.latest_ms = max(way.latest_ms, self.cluster.now_ms + self.delay())
            self.cluster.at(way.latest_ms, lambda: self._due(connection, way))
            if self.cluster.random.random() < self.loss * BREAKS_PER_LOSS:
                self.break_(connection)
            return
        number = way.n_sent
        luck = self.cluster.random.random() if self.loss else 1.0
        copies = 0 if luck < self.loss else 2 if luck < 1.5 * self.loss else 1
        for _ in range(copies):
            self.cluster.after(self.delay(), lambda: self._arrive(connection, way, number, data))

    def _due(self, connection: Connection, way: Way) -> None:
        way.n_due += 1
        self._pump(connection, way)

    def _pump(self, connection: Connection, way: Way) -> None:
        """Let arrive what is due on a forward stream; over a silent cut it waits, as TCP goes on trying."""
        while way.n_due and way.queue and not self._is_cut(connection):
            way.n_due -= 1
            self._arrive(connection, way, way.n_arrived + 1, way.queue.popleft())

    def _arrive(self, connection: Connection, way: Way, number: int, data: bytes) -> None:
        if connection.is_broken and number > way.n_survivors or self._is_cut(connection):
            return
        receiver = way.receiver
        way.n_arrived = max(way.n_arrived, number)
        if way.is_over or receiver.node is None or receiver.node is not way.node:
            return
        peer = connection.inbound_name if receiver is connection.target else connection.target.name
        receiver.node.receive(peer, decode(data), receiver.now_ms)
        receiver.turn()

    def break_(self, connection: Connection, at_once: "SimNode | None" = None) -> None:
        """End a stream; `at_once` is the end that does so, and knows. The other notices later."""
        if connection.is_broken:
            return
        connection.is_broken = True
        for way in connection.ways.values():
            way.n_survivors = self.cluster.random.randint(way.n_arrived, way.n_sent)
            wait_ms = 1 if way.receiver is at_once else self.cluster.random.randint(1, self.notice_ms)
            self.cluster.after(wait_ms, partial(self._noticed, connection, way))

    def _noticed(self, connection: Connection, way: Way) -> None:
        way.is_over = True
        if all(each.is_over for each in connection.ways.values()):
            self.connections.pop(connection.number, None)
        if way.receiver.node is way.node:
            way.receiver.disconnected(connection)

    def _give_up(self, connection: Connection) -> None:
        if self._is_cut(connection):
            self.break_(connection)

    def _is_cut(self, connection: Connection) -> bool:
        return frozenset((connection.source.name, connection.target.name)) in self.cuts

    # -- questions ----------------------------------------------------------------------------------------------

    def ask(self, source: "SimNode", name: str, question: Message) -> None:
        """One question on a stream of its own, and perhaps its answer."""
        target, node = self.cluster.nodes[name], source.node
        data = encode(question)

        def arrive() -> None:
            if not self.can_talk(source, target):
                return
            target.up().set_clock(target.now_ms)
            try:
                answer = encode(target.up().roles.answer(decode(data)))
            except ClusterError:
                return
            target.turn()
            if not self._is_lost():
                self.cluster.after(self.delay(), lambda: back(answer))

        def back(answer: bytes) -> None:
            if self.can_talk(source, target) and source.node is node and node is not None:
                node.receive(name, decode(answer), source.now_ms)
                source.turn()

        if self.can_talk(source, target) and not self._is_lost():
            self.cluster.after(self.delay(), arrive)

    def _is_lost(self) -> bool:
        return self.loss > 0 and self.cluster.random.random() < self.loss

    # -- cuts ---------------------------------------------------------------------------------------------------

    def cut(self, one: str, other: str, silently: bool = False) -> None:
        """Separate two machines; their streams break, or if it happens silently go quiet."""
        pair = frozenset((one, other))
        self.cuts.add(pair)
        self.changed_ms = self.cluster.now_ms
        for connection in self._between(pair):
            if silently:
                self.cluster.after(KEEPALIVE_MS, partial(self._give_up, connection))
            else:
                self.break_(connection)

    def heal(self, one: str, other: str) -> None:
        pair = frozenset((one, other))
        if pair not in self.cuts:
            return
        self.cuts.discard(pair)
        self.changed_ms = self.cluster.now_ms
        for connection in self._between(pair):
            for way in connection.ways.values():
                self.cluster.after(self.delay(), partial(self._pump, connection, way))

    def _between(self, pair: frozenset[str]) -> list[Connection]:
        return [each for each in self.connections.values() if {each.source.name, each.target.name} == pair]
