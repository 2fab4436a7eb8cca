"""Clients of a simulated cluster: what each does is random, what each must see is not.

A client has one connection at a time, sends a batch, waits for all its answers, thinks, and goes on; when the connection
is cut it comes back once the node is up. Whatever a client writes and wants followed carries a mark (see ledger).
"""

from collections import deque
from random import Random
from typing import TYPE_CHECKING

from tests.differential.grammar import Maker
from tests.simulation.ledger import ACKED, REFUSED, UNKNOWN
from tests.simulation.repertoire import SYNTAXES, script_line
from upstash_global.errors import CommandError
from upstash_global.node.scope import after, is_met
from upstash_global.protocol.consistency import SESSION, Consistency
from upstash_global.protocol.tokens import SyncToken
from upstash_global.replication.position import START, Position
from upstash_global.reply import NULL_ARRAY, Push, Reply

if TYPE_CHECKING:
    from tests.simulation.simcluster import SimCluster, SimNode, SimSession

THINK_MS = 150
PATIENCE_MS = 12_000  # virtual time in which every batch is answered or its connection cut
REGISTERS = 3

SHORT_LIVED = ["SET k0 v PX %d", "PEXPIRE k1 %d", "PEXPIRE k2 %d", "PEXPIRE k3 %d", "SET x0 v PX %d", "GETEX k0 PX %d"]

CHANCE = ["SADD chance a b c d e f g", "SPOP chance", "SPOP chance 2"]


def outcome(reply: Reply) -> str:
    """What the answer to a write says about it."""
    if isinstance(reply, CommandError):
        return UNKNOWN if reply.code == "UNKNOWN" else REFUSED
    return REFUSED if reply is NULL_ARRAY else ACKED


class Client:
    def __init__(self, cluster: "SimCluster", home: "SimNode", random: Random) -> None:
        self.cluster = cluster
        self.home = home
        self.random = random
        self.session: SimSession | None = None
        self.n_expected = 0  # answers under way
        self.n_seen = 0  # of the session's replies
        self.sent_ms = 0
        self.is_over = False
        cluster.after(random.randint(1, THINK_MS), self.act)

    # -- what a kind of client fills in

    def batch(self) -> list[list[bytes]]:
        """The commands to send next."""
        raise NotImplementedError

    def answered(self, replies: list[Reply]) -> None:
        """Every command of the batch was answered."""

    def cut_off(self) -> None:
        """The connection was cut while answers were outstanding."""

    def connected(self) -> None:
        """There is a new connection."""

    # -- the rounds

    def act(self) -> None:
        if self.is_over or self.n_expected:
            return
        if not self.home.is_up:
            self.think()
            return
        if self.session is None:
            self.session = self.home.client()
            self.n_seen = 0
            self.session.heard = self.heard
            self.connected()
        commands = self.batch()
        if not commands:
            self.think()
            return
        self.n_expected = len(commands)
        self.sent_ms = self.cluster.now_ms
        self.home.send(self.session, *commands)

    def think(self) -> None:
        self.cluster.after(self.random.randint(1, THINK_MS), self.act)

    def heard(self) -> None:
        session = self.session
        assert session is not None
        replies = [reply for reply in session.replies[self.n_seen :] if type(reply) is not Push]
        if session.is_cut:
            self.session = None
            if self.n_expected:
                self.n_expected = 0
                self.cut_off()
            self.think()
        elif self.n_expected and len(replies) >= self.n_expected:
            if len(replies) > self.n_expected:
                self.cluster.broken(f"a client at {self.home.name} got an answer too many: {replies}")
            self.n_expected = 0
            self.n_seen = len(session.replies)
            self.answered(replies)
            self.think()

    def check_patience(self) -> None:
        if self.n_expected and self.cluster.now_ms - self.sent_ms > PATIENCE_MS:
            waited_ms = self.cluster.now_ms - self.sent_ms
            self.cluster.broken(f"{type(self).__name__} at {self.home.name} has waited for {waited_ms} ms")


class Anything(Client):
    """Random commands of all families, alone and in pipelines, now and then in a transaction."""

    def __init__(self, cluster: "SimCluster", home: "SimNode", random: Random, flushes: bool) -> None:
        super().__init__(cluster, home, random)
        self.maker = Maker(random)
        self.flushes = flushes

    def batch(self) -> list[list[bytes]]:
        commands = [self.command() for _ in range(self.random.choice([1, 1, 1, 2, 5]))]
        if self.random.random() < 0.2:
            commands = [[b"MULTI"], *commands, [b"EXEC"]]
            if self.random.random() < 0.5:
                commands.insert(0, [b"WATCH", b"k0", b"k1"])
        return commands

    def command(self) -> list[bytes]:
        random = self.random
        luck = random.random()
        if luck < 0.08:
            return (random.choice(SHORT_LIVED) % random.randint(20, 800)).encode().split()
        if luck < 0.2:
            return [b"RPUSH", b"new:%d" % random.randrange(1_000_000), b"x"]  # a key that was not there
        if luck < 0.26:
            return random.choice(CHANCE).encode().split()
        if self.flushes and luck < 0.28:
            return [b"FLUSHALL"]
        if luck < 0.4:
            return script_line(self.maker, random)
        return self.maker.line(random.choice(SYNTAXES))


class Counting(Client):
    """INCR on its home's counter: each is applied at most once, and if it was acked, once."""

    def __init__(self, cluster: "SimCluster", home: "SimNode", random: Random) -> None:
        super().__init__(cluster, home, random)
        self.key = b"counter:" + home.name.encode()
        self.n_sent = 0  # of this batch
        self.n_acked = 0
        self.n_unknown = 0

    def batch(self) -> list[list[bytes]]:
        self.n_sent = self.random.choice([1, 1, 3])
        return [[b"INCR", self.key]] * self.n_sent

    def answered(self, replies: list[Reply]) -> None:
        for reply in replies:
            self.n_acked += outcome(reply) == ACKED
            self.n_unknown += outcome(reply) == UNKNOWN

    def cut_off(self) -> None:
        self.n_unknown += self.n_sent

    def check(self, final: int, may_lose: bool) -> None:
        told = f"{self.key!r} is {final}; {self.n_acked} INCRs were acked, {self.n_unknown} ended unknown"
        if final > self.n_acked + self.n_unknown or final < self.n_acked and not may_lose:
            self.cluster.broken(told)


class Appending(Client):
    """A marked element and a count in one transaction; the two are never seen apart, and nobody's update is overwritten."""

    KEYS = [b"list:a", b"count:a"]

    def __init__(self, cluster: "SimCluster", home: "SimNode", random: Random) -> None:
        super().__init__(cluster, home, random)
        self.mark = b""
        self.count: Reply = None
        self.is_watching = False
        self.is_reading = False

    def connected(self) -> None:
        self.is_watching = False

    def batch(self) -> list[list[bytes]]:
        elements, count = self.KEYS
        self.is_reading = not self.is_watching and self.random.random() < 0.4
        if self.is_reading:
            return [[b"MULTI"], [b"LLEN", elements], [b"GET", count], [b"EXEC"]]
        if self.is_watching:
            self.mark = self.cluster.ledger.mark()
            number = b"%d" % (int(self.count or b"0") + 1)
            return [[b"MULTI"], [b"SET", count, number], [b"RPUSH", elements, self.mark], [b"EXEC"]]
        return [[b"WATCH", count], [b"GET", count]]

    def answered(self, replies: list[Reply]) -> None:
        last = replies[-1]
        if self.is_reading:
            if isinstance(last, list) and last[0] != int(last[1] or b"0"):
                self.cluster.broken(f"a client at {self.home.name} saw half a transaction: {last}")
        elif self.is_watching:
            self.cluster.ledger.answered(self.mark, outcome(last))
            if last is NULL_ARRAY:
                self.cluster.note("", "transaction-aborted")
            self.is_watching = False
        else:
            self.is_watching = not isinstance(last, CommandError)
            self.count = last

    def cut_off(self) -> None:
        if self.is_watching and not self.is_reading:
            self.cluster.ledger.answered(self.mark, UNKNOWN)


class Sighting:
    """A session has written or read a marked value of a register."""

    def __init__(
        self,
        register: int,
        mark: bytes | None,
        is_write: bool,
        position: Position,
        is_new: bool,
        n_back: int,
        text: str,
    ) -> None:
        self.register = register
        self.mark = mark  # None: there was no value
        self.is_write = is_write
        self.position = position  # of the node when it answered
        self.is_new = is_new  # that is of no earlier reign than all that the client had brought
        self.n_back = n_back  # how often the node had rewound or loaded a snapshot
        self.text = text


class Reading(Client):
    """Writes and reads registers that all share: it sees its own writes, and nothing older than what it has seen.

    One that travels goes from node to node and takes its position along, as a sync token; then nothing excuses an old read.
    """

    def __init__(self, cluster: "SimCluster", home: "SimNode", random: Random, travels: bool) -> None:
        super().__init__(cluster, home, random)
        self.travels = travels
        self.token: Position = START
        self.sightings: list[list[Sighting]] = [[]]  # by session; one that travels has a single one
        self.sent: list[tuple[int, bytes]] = []  # (register, mark or empty for a read) of each command

    @property
    def epoch_brought(self) -> int:
        return self.token.epoch

    def connected(self) -> None:
        if self.travels:
            self.show_token()
        else:
            self.sightings.append([])

    def batch(self) -> list[list[bytes]]:
        random = self.random
        self.sent = []
        for _ in range(random.choice([1, 1, 2, 4])):
            mark = self.cluster.ledger.mark() if random.random() < 0.3 else b""
            self.sent.append((random.randrange(REGISTERS), mark))
        return [[b"SET", b"reg:%d" % n, mark] if mark else [b"GET", b"reg:%d" % n] for n, mark in self.sent]

    def answered(self, replies: list[Reply]) -> None:
        node = self.home.up()
        n_back = node.events.counts.get("rewound", 0) + node.metrics.n_full_resyncs
        head = node.log.head
        is_new = head.epoch >= self.epoch_brought
        where = f"at {self.home.name}, {head}, sent at {self.sent_ms}, answered at {self.cluster.now_ms}"
        for (register, mark), reply in zip(self.sent, replies, strict=True):
            if mark:
                self.cluster.ledger.answered(mark, outcome(reply))
            if not isinstance(reply, CommandError):
                seen = mark or reply
                assert seen is None or isinstance(seen, bytes)
                self.sightings[-1].append(
                    Sighting(
                        register, seen, bool(mark), head, is_new, n_back, f"{seen!r} {where}: {self.sent} {replies}"
                    )
                )
        if self.travels:
            if not all(isinstance(reply, CommandError) for reply in replies):
                self.take_token()
            self._travel()

    def show_token(self) -> None:
        """As a REST request does."""
        assert self.session is not None
        self.session.position = self.token

    def take_token(self) -> None:
        """The position that a successful REST response carries."""
        session = self.session
        assert session is not None
        self.token = max(session.served, session.position, key=lambda position: (position.epoch, position.lsn))

    def _travel(self) -> None:
        """Go on elsewhere, as a REST client might."""
        session = self.session
        assert session is not None
        if self.random.random() < 0.5:
            self.session = session.heard = None
            self.home.hang_up(session)
            self.home = self.random.choice(list(self.cluster.nodes.values()))
        else:
            self.show_token()

    def cut_off(self) -> None:
        for _, mark in self.sent:
            if mark:
                self.cluster.ledger.answered(mark, UNKNOWN)

    def check(self) -> None:
        """Afterwards, when it is known which of the writes have come to stay."""
        for session in self.sightings:
            for register in range(REGISTERS):
                self._check_register([sighting for sighting in session if sighting.register == register])

    def _check_register(self, sightings: list[Sighting]) -> None:
        history = self.cluster.leader.up().log.history
        newest: Sighting | None = None
        newest_lsn = 0
        for sighting in sightings:
            lsn = self._lsn(sighting.mark)
            if lsn is None or sighting.is_new and not history.contains(sighting.position):
                continue  # read or written on a history that has ended, led by who had been promoted by force
            if sighting.is_write and lsn < newest_lsn:
                continue  # a pipeline that was repeated: its writes stand, its reads ran again, on what came later
            if newest is not None and lsn < newest_lsn and (self.travels or sighting.n_back == newest.n_back):
                self.cluster.broken(f"a session saw {newest.text}, and then {sighting.text}")
            if lsn >= newest_lsn:
                newest, newest_lsn = sighting, lsn

    def _lsn(self, mark: bytes | None) -> int | None:
        if mark is None:
            return 0
        positions = self.cluster.ledger.marks[mark]  # several: it was lost and ran again, and either may have been seen
        is_kept = len(positions) == 1 and self.cluster.leader.up().log.history.contains(positions[0])
        return positions[0].lsn if is_kept else None


class ReadingByKey(Reading):
    """One that travels and takes along what it has seen key by key; now and then it reads without naming the key."""

    def __init__(self, cluster: "SimCluster", home: "SimNode", random: Random) -> None:
        super().__init__(cluster, home, random, travels=True)
        self.scope = SyncToken(0, 0)
        self.commands: list[list[bytes]] = []

    @property
    def epoch_brought(self) -> int:
        return self.scope.epoch

    def show_token(self) -> None:
        assert self.session is not None
        seen = self.home.up().log.history.locate(self.scope.epoch, self.scope.newest_lsn)
        self.session.ask(Consistency(SESSION, is_scoped=True), seen, self.scope)

    def take_token(self) -> None:
        session = self.session
        assert session is not None and session.scope is not None
        self.scope = after(session.scope, self.home.up(), self.commands, session.served)

    def batch(self) -> list[list[bytes]]:
        commands = super().batch()
        for n, (register, mark) in enumerate(self.sent):
            if not mark and self.random.random() < 0.1:
                commands[n] = [b"EVAL_RO", b"return redis.call('GET', 'reg:%d')" % register, b"0"]
        self.commands = commands
        node, session = self.home.up(), self.session
        assert session is not None
        if not node.covers(session.position) and is_met(self.scope, node.log.history, commands):
            self.cluster.note("", "served-by-key")
        return commands


class Publishing(Client):
    """Says marked things on one channel."""

    def __init__(self, cluster: "SimCluster", home: "SimNode", random: Random) -> None:
        super().__init__(cluster, home, random)
        self.mark = b""

    def batch(self) -> list[list[bytes]]:
        self.mark = self.cluster.ledger.mark()
        return [[b"PUBLISH", b"news", self.mark]]

    def answered(self, replies: list[Reply]) -> None:
        self.cluster.ledger.answered(self.mark, outcome(replies[0]))

    def cut_off(self) -> None:
        self.cluster.ledger.answered(self.mark, UNKNOWN)


class Listening(Client):
    """Hears the channel at its node: nothing twice, and in the order of the log."""

    def __init__(self, cluster: "SimCluster", home: "SimNode", random: Random) -> None:
        super().__init__(cluster, home, random)
        self.ears: list[SimSession] = []

    def batch(self) -> list[list[bytes]]:
        assert self.session is not None
        if self.session not in self.ears:
            self.ears.append(self.session)
            self.home.send(self.session, [b"SUBSCRIBE", b"news"])
        return []

    def check(self) -> None:
        history = self.cluster.leader.up().log.history
        for session in self.ears:
            heard = [push.items[2] for push in session.replies if type(push) is Push and push.items[0] == b"message"]
            lsns: list[int] = []
            for mark in heard:
                positions = self.cluster.ledger.marks[mark]
                if heard.count(mark) > len(positions):
                    self.cluster.broken(f"{self.home.name} delivered {mark!r} {heard.count(mark)} times")
                lsns.extend(each.lsn for each in positions if len(positions) == 1 and history.contains(each))
            if lsns != sorted(lsns):
                self.cluster.broken(f"{self.home.name} delivered out of order: {heard}")


class Caching(Client):
    """Keeps what its node answered until it is told that it has changed; in the end all it keeps is true."""

    def __init__(self, cluster: "SimCluster", home: "SimNode", random: Random) -> None:
        super().__init__(cluster, home, random)
        self.own = b"cached:" + home.name.encode()
        self.cache: dict[bytes, Reply] = {}
        self.asked: deque[bytes] = deque()  # the keys whose answers are under way, empty for a command that reads none
        self.n_heard = 0  # of the session's replies and pushes
        self.is_tracking = False

    def connected(self) -> None:
        self.cache.clear()
        self.asked.clear()
        self.n_heard = 0
        self.is_tracking = False

    def batch(self) -> list[list[bytes]]:
        if not self.is_tracking:
            self.is_tracking = True
            self.asked.extend([b"", b""])
            return [[b"HELLO", b"3"], [b"CLIENT", b"TRACKING", b"ON"]]
        commands: list[list[bytes]] = []
        for _ in range(self.random.choice([1, 2, 5])):
            if self.random.random() < 0.3:
                commands.append([b"INCR", self.own])
                self.asked.append(b"")
            else:
                key = self.random.choice([self.own, *Appending.KEYS[1:], *self._counters()])
                commands.append([b"GET", key])
                self.asked.append(key)
        return commands

    def _counters(self) -> list[bytes]:
        return [b"counter:" + name.encode() for name in self.cluster.nodes]

    def heard(self) -> None:
        self._listen()
        super().heard()

    def _listen(self) -> None:
        """Take answers and news in the order in which they came."""
        session = self.session
        assert session is not None
        for item in session.replies[self.n_heard :]:
            if type(item) is Push:
                for key in list(self.cache) if item.items[1] is None else item.items[1]:
                    self.cache.pop(key, None)
            else:
                key = self.asked.popleft()
                if key and not isinstance(item, CommandError):
                    self.cache[key] = item
        self.n_heard = len(session.replies)

    def check(self) -> None:
        if self.session is None or self.session.is_cut:
            return
        values = self.home.up().engine.keyspace.values
        for key, kept in self.cache.items():
            if kept != values.get(key):
                self.cluster.broken(
                    f"a client at {self.home.name} still keeps {key!r} as {kept!r}; it is {values.get(key)!r}"
                )
        self.cluster.tally["kept"] = self.cluster.tally.get("kept", 0) + len(self.cache)


class Waiting(Client):
    """WAIT behind a write: as many nodes as it answers have the write."""

    def __init__(self, cluster: "SimCluster", home: "SimNode", random: Random) -> None:
        super().__init__(cluster, home, random)
        self.mark = b""
        self.n_starts = 0

    def batch(self) -> list[list[bytes]]:
        self.mark = self.cluster.ledger.mark()
        self.n_starts = sum(each.n_starts for each in self.cluster.nodes.values())
        n, timeout_ms = self.random.randint(0, 3), self.random.choice([1, 300, 1_000])
        return [[b"SET", b"waited", self.mark], [b"WAIT", b"%d" % n, b"%d" % timeout_ms]]

    def answered(self, replies: list[Reply]) -> None:
        self.cluster.ledger.answered(self.mark, outcome(replies[0]))
        n_replicas = replies[1]
        if (
            isinstance(n_replicas, int)
            and outcome(replies[0]) == ACKED
            and all(each.is_up for each in self.cluster.nodes.values())
        ):
            positions = self.cluster.ledger.marks[self.mark]
            having = [
                each.name
                for each in self.cluster.nodes.values()
                if any(each.up().log.history.contains(position) for position in positions)
            ]
            is_quiet = self.n_starts == sum(each.n_starts for each in self.cluster.nodes.values())
            if is_quiet and len(self.cluster.ledger.reigns) == 1 and n_replicas > len(having) - 1:
                self.cluster.broken(f"WAIT at {self.home.name} answered {n_replicas}, {having} have the write")

    def cut_off(self) -> None:
        self.cluster.ledger.answered(self.mark, UNKNOWN)
