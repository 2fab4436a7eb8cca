"""No edge returns what it has seen overwritten: random histories of one node and one edge, every answer checked.

Method: a node runs random commands and logs them; an edge asks it, and hears of its log, over two ways that delay and overtake
each other at random. Every answer has to be what a read at some position would give, not before the one that the edge had
applied when the request came. Bugs are planted to see that the check would find them.
"""

from random import Random
from typing import Any

import pytest

from tests.engine.bench import Bench, argv_of
from upstash_global.edge.cache import EdgeCache, Tag
from upstash_global.edge.fills import Fill, Fills
from upstash_global.edge.wishes import wish_of
from upstash_global.engine.footprint import Left, keys_read, true_until, value_read
from upstash_global.engine.sweep import expired_keys
from upstash_global.replication.codec import Entry
from upstash_global.replication.log import ReplicationLog
from upstash_global.replication.position import Position, make_epoch

KEYS = ["a", "b", "c", "d"]
READS = ["GET a", "GET b", "GET c", "GET d", "MGET a b", "MGET c d", "EXISTS a c", "DBSIZE", "KEYS *"]
STEPS = 300
SEEDS = range(40)


State = dict[bytes, tuple[bytes, int | None]]  # key → (value, deadline)


class Asking:
    """A client's request at the edge."""

    def __init__(self, line: str, arrived: Position, arrived_ms: int) -> None:
        self.line = line
        self.arrived = arrived
        self.arrived_ms = arrived_ms


class World:
    def __init__(self, seed: int, cache: EdgeCache, fills: type[Fills]) -> None:
        self.random = Random(seed)
        self.node = Bench(seed)
        self.log = ReplicationLog()
        self.n_epochs = 0
        self.states: dict[int, State] = {}  # of the node after each LSN
        self.on_the_way: list[Entry] = []  # from the node to the edge, in order
        self.cache = cache
        self.fills = fills(cache)
        self.sent: list[tuple[Fill, Asking]] = []  # not read yet
        self.read: list[tuple[Fill, Asking, Any, Tag, int]] = []  # not arrived yet; the last is when it was read
        self.n_answers = 0
        self.begin_epoch()

    def run(self, steps: int) -> None:
        actions = [self.write] * 4 + [self.deliver] * 5 + [self.ask] * 8 + [self.read_fill] * 6 + [self.end_fill] * 6
        actions += [self.pass_time, self.sweep]
        for _ in range(steps):
            self.random.choice(actions)()
            if self.random.random() < 0.01:
                self.random.choice([self.begin_epoch, self.reset, self.purge])()

    # -- the node

    def begin_epoch(self) -> None:
        self.n_epochs += 1
        self._logged(self.log.begin_epoch(make_epoch(1, self.n_epochs, 0), self.node.now_ms, "node"))

    def write(self) -> None:
        one, other = self.random.sample(KEYS, 2)
        number = self.random.randrange(1000)
        lines = [f"SET {one} {number}"] * 4
        lines += [f"SET {one} {number} PX {self.random.randrange(1, 100)}", f"MSET {one} {number} {other} {number}"]
        lines += [f"DEL {one} {other}", f"RENAME {one} {other}", f"COPY {one} {other} REPLACE", f"PERSIST {one}"]
        lines += [f"PEXPIRE {one} 50", "FLUSHALL"] if number < 300 else []
        lines += [
            f"SET {one} {number} XX KEEPTTL",
            f"PSETEX {one} 50 {number}",
            f"GETSET {one} {number}",
            f"GETDEL {one}",
        ]
        lines += [f"SET {one} {number} NX GET", f"APPEND {one} 1", f"INCR {one}", f"SETNX {one} {number}"]
        n_entries = len(self.node.entries)
        for line in self.random.choices(lines, k=self.random.choice([1, 1, 1, 2])):
            self.node.run(line)
        commands = [argv for entry in self.node.entries[n_entries:] for argv in entry.commands]
        if commands:  # of two lines as of a transaction
            self._logged(self.log.append(self.node.now_ms, 0, commands, {}))

    def sweep(self) -> None:
        for key in list(expired_keys(self.node.engine.keyspace, self.node.now_ms, 10)):
            self.node.engine.apply([[b"_EXPIRED", key]], self.node.now_ms)
            self._logged(self.log.append(self.node.now_ms, 0, [[b"_EXPIRED", key]], {}))

    def _logged(self, entry: Entry) -> None:
        self.on_the_way.append(entry)
        keyspace = self.node.engine.keyspace
        self.states[entry.position.lsn] = {
            key: (bytes(value), keyspace.deadlines.get(key)) for key, value in keyspace.values.items()
        }

    def pass_time(self) -> None:
        self.node.later(self.random.randrange(40))

    def read_fill(self) -> None:
        if self.sent:
            fill, asking = self.sent.pop(self.random.randrange(len(self.sent)))
            reply = self.node.run(asking.line)
            keys = keys_read(argv_of(asking.line))
            assert keys is not None
            until_ms = true_until(self.node.engine.keyspace, keys, self.node.now_ms)
            self.read.append(
                (
                    fill,
                    asking,
                    reply,
                    Tag(self.log.head, keys, until_ms, value_read(argv_of(asking.line))),
                    self.node.now_ms,
                )
            )

    # -- the edge

    def deliver(self) -> None:
        if self.on_the_way:
            self.cache.apply(self.on_the_way.pop(0))

    def reset(self) -> None:
        """The link was lost for too long, and the edge starts anew at the head."""
        self.on_the_way.clear()
        self.cache.restart(self.log.head)

    def purge(self) -> None:
        self.cache.purge_key(self.random.choice(KEYS).encode())

    def ask(self) -> None:
        self.serve(Asking(self.random.choice(READS), self.cache.applied, self.node.now_ms))

    def serve(self, asking: Asking) -> None:
        """As edge/app.py does."""
        name = asking.line.encode()
        kept = self.cache.find(name, self.node.now_ms)
        if kept is not None and wish_of(b"").is_fresh(kept, self.node.now_ms):
            if kept.left is not None:
                self.cache.renew(kept, kept.left.value, 0)
            self.check(asking, kept.content)
        elif not self.fills.join(name, asking):
            self.sent.append((self.fills.begin(name), asking))

    def end_fill(self) -> None:
        if self.read:
            fill, asking, reply, tag, read_ms = self.read.pop(self.random.randrange(len(self.read)))
            served, others = self.fills.end(fill, reply, 10, tag, 30_000, self.node.now_ms)
            for each in [asking, *served]:
                self.check(each, reply, read_ms)
            for each in others:
                self.serve(each)

    # -- the check

    def check(self, asking: Asking, answer: Any, read_ms: int = 0) -> None:
        """Keys expire while a request is under way: it may have been answered at any time of that."""
        self.n_answers += 1
        times = {asking.arrived_ms, max(asking.arrived_ms, read_ms), self.node.now_ms}
        possible = [
            expected(asking.line, self.states[lsn], now_ms)
            for lsn in range(asking.arrived.lsn, self.log.head.lsn + 1)
            for now_ms in times
            if lsn in self.states
        ]
        answer = sorted(answer) if asking.line == "KEYS *" else answer
        assert answer in possible, f"{asking.line} at {asking.arrived} gave {answer!r}"


def expected(line: str, state: State, now_ms: int) -> Any:
    """What a read gives, told from the state alone; KEYS sorted."""
    visible = {key: value for key, (value, deadline) in state.items() if deadline is None or deadline > now_ms}
    name, *keys = argv_of(line)
    if name == b"KEYS":
        return sorted(visible)
    if name == b"DBSIZE":
        return len(visible)
    if name == b"EXISTS":
        return sum(key in visible for key in keys)
    values = [visible.get(key) for key in keys]
    return values if name == b"MGET" else values[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_answer_is_older_than_what_the_edge_has_applied(seed: int) -> None:
    world = World(seed, EdgeCache(20_000), Fills)
    world.run(STEPS)
    assert world.n_answers > 30


def test_replies_are_renewed_in_these_histories() -> None:
    worlds = [World(seed, EdgeCache(20_000), Fills) for seed in SEEDS]
    for world in worlds:
        world.run(STEPS)
    assert sum(world.cache.n_renewed for world in worlds) > 5 * len(worlds)


# -- planted bugs -----------------------------------------------------------------------------------------------------


class WithoutGuard(EdgeCache):
    """Keeps whatever arrives."""

    def is_current(self, tag: Tag, at: Position) -> bool:
        return True


class WithoutDeadlines(EdgeCache):
    """Serves a reply although a key of it has expired."""

    def find(self, name: bytes, now_ms: int) -> Any:
        return super().find(name, 0)


class FirstKeyOnly(EdgeCache):
    """Thinks that a command changes its first key alone."""

    def apply(self, entry: Entry) -> None:
        commands = [argv[:3] if argv[0] == b"MSET" else argv for argv in entry.commands]
        super().apply(Entry(entry.position, entry.time_ms, entry.kind, commands, {}, b"", 0, 0))


class ForgetsWhole(EdgeCache):
    """Does not drop the replies that depend on every key."""

    def _overtake(self, names: set[bytes] | None, *arguments: Any) -> None:
        if names is not self.of_whole:
            super()._overtake(names, *arguments)


class ForgetsNewDeadlines(EdgeCache):
    """Renews a reply, but not when that ends."""

    def _overtake(
        self, names: set[bytes] | None, position: Position, key: bytes | None = None, left: Left | None = None
    ) -> None:
        super()._overtake(names, position, key, None if left is None else Left(left.value, -1))


class FirstCommandOnly(EdgeCache):
    """Renews a reply from the first command of an entry, though another follows."""

    def apply(self, entry: Entry) -> None:
        super().apply(Entry(entry.position, entry.time_ms, entry.kind, entry.commands[:1], {}, b"", 0, 0))


class Sociable(Fills):
    """Gives everybody who joined what has arrived."""

    def end(self, fill: Fill, *arguments: Any) -> tuple[list[Any], list[Any]]:
        served, others = super().end(fill, *arguments)
        return [*served, *others], []


@pytest.mark.parametrize(
    ("cache", "fills"),
    [
        (WithoutGuard, Fills),
        (WithoutDeadlines, Fills),
        (FirstKeyOnly, Fills),
        (ForgetsWhole, Fills),
        (ForgetsNewDeadlines, Fills),
        (FirstCommandOnly, Fills),
        (EdgeCache, Sociable),
    ],
    ids=lambda each: each.__name__,
)
def test_the_check_finds_a_planted_bug(cache: type[EdgeCache], fills: type[Fills]) -> None:
    for seed in SEEDS:
        try:
            World(seed, cache(20_000), fills).run(STEPS)
        except AssertionError:
            return
    pytest.fail("no seed found it")
