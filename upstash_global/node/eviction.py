"""Eviction: what happens when the data takes more than `maxmemory`.

The leader makes room before it runs a command that takes memory, and with each tick: it picks keys as the policy says and
logs `_EVICTED key` for each, so that every node loses the same keys at the same position. Where it finds none to evict, the
command is refused. At most MOST_AT_ONCE keys go at a stretch; a command that comes meanwhile is run, as Redis does.

A pick is the best of a few random keys and of those that nearly were picked before (as Redis's pool). volatile-ttl needs no
chance: the keyspace has a heap of deadlines. What replicas read counts as well: they report a sample with their acks.

Without a limit there is no Memory, and nothing is counted; without an LRU or LFU policy, no Accesses.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.accesses import Accesses
from upstash_global.engine.context import Effects
from upstash_global.engine.memory import Memory, estimated_bytes
from upstash_global.engine.table import DENYOOM, TABLE, Row
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.errors import CommandError

if TYPE_CHECKING:
    from upstash_global.node.node import Node

MOST_AT_ONCE: Final = 200  # keys
POOLED: Final = 16
COUNTED_AT_ONCE: Final = 500  # keys per tick, while those of before the limit are counted
REPORT_MS: Final = 100  # how often a replica reports what it read

OOM: Final = CommandError("OOM", "command not allowed when used memory > 'maxmemory'.")


class Eviction:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.limit = 0  # maxmemory, bytes; 0: none
        self.policy = "noeviction"
        self.samples = 5
        self.volatile: IndexedSet | None = None  # the keys with deadlines, while a policy picks among them
        self.pool: list[bytes] = []  # keys that nearly were picked
        self.n_evicted = 0
        self.reported_ms = 0

    def configure(self) -> None:
        """Take over what the parameters say, for the keyspace that the node has now."""
        node = self.node
        keyspace = node.engine.keyspace
        parameters = node.parameters
        self.limit = parameters.integer("maxmemory")
        self.policy = parameters.values["maxmemory-policy"]
        self.samples = min(parameters.integer("maxmemory-samples"), 64)
        self.pool = []
        self.volatile = None
        node.engine.context.oom = None
        if not self.limit:
            node.memory = None
        elif node.memory is None or node.memory.keyspace is not keyspace:
            node.memory = Memory(keyspace)
        if self.limit and self.policy in ("volatile-lru", "volatile-lfu", "volatile-random"):
            self.volatile = IndexedSet()
            self.volatile.extend(list(keyspace.deadlines))
        counts_uses = self.policy.endswith("-lfu")
        if not counts_uses and not self.policy.endswith("-lru"):
            keyspace.accesses = None
        elif keyspace.accesses is None or keyspace.accesses.counts_uses != counts_uses:
            keyspace.accesses = Accesses(node.now_ms, counts_uses)
        if keyspace.accesses is not None:
            keyspace.accesses.log_factor = parameters.integer("lfu-log-factor")
            keyspace.accesses.decay_ms = parameters.integer("lfu-decay-time") * 60_000

    def used_bytes(self) -> int:
        """About what the data takes."""
        memory = self.node.memory
        return estimated_bytes(self.node.engine.keyspace) if memory is None else memory.used()

    def note(self, memory: Memory, effects: Effects) -> None:
        """A unit has changed these keys."""
        if effects.flushed:
            memory.flushed()
            self.pool = []
        memory.note(effects.touched)
        if self.volatile is not None:
            deadlines = memory.keyspace.deadlines
            for key in effects.touched:
                if key in deadlines:
                    self.volatile.add(key)
                else:
                    self.volatile.remove(key)

    def refusal(self, row: Row) -> CommandError | None:
        """Make room for a command that takes memory; why it may not run, or None. A script is told, and may run."""
        if row.group == "scripting":
            lack = self.node.engine.context.oom = self.lacks_room()
            return lack if row.flags & DENYOOM else None
        return self.lacks_room() if row.flags & DENYOOM else None

    def lacks_room(self) -> CommandError | None:
        """Make room if that is needed and possible; OOM if none is left."""
        memory = self.node.memory
        if memory is None or memory.used() <= self.limit:
            return None
        if self.policy == "noeviction":
            return OOM
        return None if self._make_room(memory) else OOM

    def tick(self) -> None:
        node = self.node
        memory = node.memory
        if memory is not None:
            memory.step(COUNTED_AT_ONCE)
            may_write = node.is_leader and not node.is_sealed and node.write_refusal is None
            if may_write and self.policy != "noeviction" and memory.used() > self.limit:
                self._make_room(memory)
        accesses = node.engine.keyspace.accesses
        if accesses is not None and node.local_ms - self.reported_ms >= REPORT_MS:
            self.reported_ms = node.local_ms
            self._report(accesses)

    def _report(self, accesses: Accesses) -> None:
        """At a replica, let the next ack carry what was read here; at the leader, count what replicas read."""
        node = self.node
        if not node.is_leader:
            if accesses.recent:
                node.roles.follower.read_keys = list(accesses.recent)
            accesses.recent = {}
            return
        accesses.recent = None
        for feed in node.roles.feeds.values():
            keys, feed.read_keys = feed.read_keys, []
            for key in keys:
                if key in node.engine.keyspace.values:
                    accesses.use(key, node.now_ms, node.random)

    # -- picking ------------------------------------------------------------------------------------------------

    def _make_room(self, memory: Memory) -> bool:
        """Evict until the data fits, or for long enough; False if no key is left to evict."""
        node = self.node
        started_us = node.clock_us()
        found = self._evict_some(memory)
        took_us = node.clock_us() - started_us
        if 0 < node.latency.threshold_us <= took_us:
            node.latency.note("eviction-cycle", node.now_ms, took_us)
        return found

    def _evict_some(self, memory: Memory) -> bool:
        node = self.node
        row = TABLE[b"_EVICTED"]
        for _ in range(MOST_AT_ONCE):
            key = self._pick()
            if key is None:
                return False
            node.engine.begin(node.now_ms)
            node.engine.execute(row, [b"_EVICTED", key])
            effects = node.engine.take_effects()
            assert effects is not None
            node.commit(None, effects, None)
            self.n_evicted += 1
            if memory.used() <= self.limit:
                break
        return True

    def _pick(self) -> bytes | None:
        """The key that is to go next, or None if the policy allows none."""
        keyspace = self.node.engine.keyspace
        if self.policy == "volatile-ttl":
            return keyspace.next_to_expire()
        candidates = keyspace.key_index() if self.volatile is None else self.volatile
        if not len(candidates):
            return None
        if self.policy.endswith("-random"):
            return candidates.random(self.node.random)
        among = dict.fromkeys([key for key in self.pool if key in candidates])
        for _ in range(self.samples):
            among[candidates.random(self.node.random)] = None
        ordered = sorted(among, key=self._score)
        self.pool = ordered[1 : 1 + POOLED]
        return ordered[0]

    def _score(self, key: bytes) -> int:
        """The lower, the sooner a key goes."""
        accesses = self.node.engine.keyspace.accesses
        assert accesses is not None
        if accesses.counts_uses:
            return accesses.frequency(key, self.node.now_ms)
        return -accesses.idle_ms(key, self.node.now_ms)
