"""A leader's log with its feed, and a follower, face to face; a seeded network between them."""

import random
from collections.abc import Callable

from upstash_global.engine.keyspace import Keyspace
from upstash_global.replication.feed import Feed, FeedLimits
from upstash_global.replication.follower import Follower, FollowerLimits, Identity
from upstash_global.replication.host import Host
from upstash_global.replication.log import DATA, Entry, ReplicationLog, make_epoch
from upstash_global.replication.messages import Message, decode, encode
from upstash_global.replication.snapshot import Loaded, SnapshotWriter
from upstash_global.replication.storage import MemoryStorage

CLUSTER = "test"


class LeaderSide:
    """A log whose state is one counter key per entry, so that a state says which entries made it."""

    def __init__(self, term: int = 1, backlog_entries: int = 1000, storage: MemoryStorage | None = None) -> None:
        self.log = ReplicationLog(max_entries=backlog_entries)
        self.storage = storage or MemoryStorage()
        self.state: dict[bytes, bytes] = {}
        self.host = Host(CLUSTER, "leader", 0)
        self.feed: Feed | None = None
        self.now_ms = 1_700_000_000_000

    def begin_epoch(self, term: int, node: int = 0) -> None:
        epoch = make_epoch(term, 1, node)
        self.storage.append([self.log.begin_epoch(epoch, self.now_ms, "leader").record])
        self.storage.sync()
        self.host.epoch = epoch

    def write(self, n: int = 1) -> None:
        for _ in range(n):
            value = b"%d" % (self.log.head.lsn + 1)
            entry = self.log.append(self.now_ms, DATA, [[b"SET", b"k" + value, value]], {})
            self.state[b"k" + value] = value
            self.storage.append([entry.record])
        self.storage.sync()

    def take_snapshot(self) -> None:
        keyspace = Keyspace()
        for key, value in self.state.items():
            keyspace.store(key, value)
        log = self.log
        writer = SnapshotWriter(keyspace, {}, log.head, log.head_crc, log.history, self.now_ms)
        self.storage.begin_snapshot(log.head)
        while (data := writer.step(10)) is not None:
            self.storage.write_snapshot(data)
        self.storage.finish_snapshot()

    def new_feed(self, now_ms: int, limits: FeedLimits | None = None) -> Feed:
        self.feed = Feed("follower", self.log, self.storage, now_ms, limits or FeedLimits(), self.host)
        return self.feed


class FollowerSide:
    def __init__(self, seed: int = 0, backlog_entries: int = 1000, purpose: str = "replica") -> None:
        self.log = ReplicationLog(max_entries=backlog_entries)
        self.storage = MemoryStorage()
        self.state: dict[bytes, bytes] = {}
        self.applied: list[Entry] = []
        self.installed: list[Loaded | None] = []
        self.on_apply: Callable[[Entry], None] | None = None
        self.follower = Follower(
            self.log,
            self.apply,
            self.install,
            Identity(CLUSTER, "follower", "sa-east-1", "boot", purpose),
            self.storage if purpose == "replica" else None,
            random.Random(seed),
            0,
            FollowerLimits(),
        )

    def apply(self, entry: Entry) -> None:
        if self.on_apply is not None:
            self.on_apply(entry)
        if entry.kind == DATA:
            for _, key, value in entry.commands:
                self.state[key] = value
        self.applied.append(entry)
        if self.follower.storage is not None:
            self.storage.append([entry.record])
            self.follower.durable_lsn = self.storage.sync()

    def install(self, loaded: Loaded | None) -> None:
        self.installed.append(loaded)
        self.state = dict(loaded.keyspace.values) if loaded is not None else {}


class Pair:
    """Virtual time in steps of 10 ms; every message is encoded and decoded on its way."""

    def __init__(
        self,
        leader: LeaderSide,
        replica: FollowerSide,
        seed: int = 0,
        loss: float = 0.0,
        repeat: float = 0.0,
        delay_ms: tuple[int, int] = (10, 10),
        limits: FeedLimits | None = None,
    ) -> None:
        self.leader = leader
        self.replica = replica
        self.random = random.Random(seed)
        self.loss = loss
        self.repeat = repeat
        self.delay_ms = delay_ms
        self.is_cut = False
        self.now_ms = 1_700_000_000_000
        self.ahead_ms = 5_000  # how far the leader's clock is ahead of the follower's
        self.flying: list[tuple[int, int, str, bytes]] = []
        self.n_sent = 0
        self.log_of_messages: list[Message] = []
        leader.new_feed(self.now_ms + self.ahead_ms, limits)

    def send(self, to: str, messages: list[Message]) -> None:
        for message in messages:
            self.log_of_messages.append(message)
            for _ in range(2 if self.random.random() < self.repeat else 1):
                if self.is_cut or self.random.random() < self.loss:
                    continue
                self.n_sent += 1
                at = self.now_ms + self.random.randint(*self.delay_ms)
                self.flying.append((at, self.n_sent, to, encode(message)))

    def step(self) -> None:
        self.now_ms += 10
        there = self.now_ms + self.ahead_ms
        feed, follower = self.leader.feed, self.replica.follower
        assert feed is not None
        if feed.closed:
            feed = self.leader.new_feed(there, feed.limits)
        arrived = sorted(each for each in self.flying if each[0] <= self.now_ms)
        self.flying = [each for each in self.flying if each[0] > self.now_ms]
        for _, _, to, data in arrived:
            if to == "leader":
                self.send("replica", feed.receive(decode(data), there))
            else:
                self.send("leader", follower.receive(decode(data), self.now_ms))
        self.send("replica", feed.tick(there))
        if feed.wants_snapshot:
            self.leader.take_snapshot()
        for _ in range(10):
            messages = feed.advance(self.leader.storage.durable_lsn, there)
            self.send("replica", messages)
            if not messages:
                break
        self.send("leader", follower.tick(self.now_ms))
        self.check()

    def run(self, ms: int) -> None:
        for _ in range(ms // 10):
            self.step()

    def settle(self, limit_ms: int = 60_000) -> None:
        """Until the follower is level."""
        for _ in range(limit_ms // 10):
            if self.is_level:
                return
            self.step()
        raise AssertionError(f"not level after {limit_ms} ms: {self.replica.log.head} of {self.leader.log.head}")

    @property
    def is_level(self) -> bool:
        return self.replica.log.head == self.leader.log.head

    def check(self) -> None:
        if self.is_level and self.replica.follower.storage is not None:
            assert self.replica.state == self.leader.state
            assert self.replica.log.head_crc == self.leader.log.head_crc
            assert self.replica.log.head_bytes == self.leader.log.head_bytes


def level_pair(**arguments: object) -> Pair:
    """A leader with a few entries and a follower that has them."""
    leader = LeaderSide()
    leader.begin_epoch(1)
    leader.write(5)
    pair = Pair(leader, FollowerSide(), **arguments)  # type: ignore[arg-type]
    pair.settle()
    pair.run(500)
    return pair
