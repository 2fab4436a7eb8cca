"""Checks: whether replicas hold what the leader holds, at the same position, for ever and a little at a time.

A digest of everything would stop a node for as long as everything takes. So the leader walks over its keys, in steps of a few
hundred names and two milliseconds: once a second it says to its replicas which sums these keys have at its head. It says so
before anything above that head is sent, and streams keep their order, so a replica hears of the position before it goes
beyond it, and compares when it is exactly there. What a bad link loses is not missed: the next step comes in a second.

With each step goes the number of keys. If those are equal, and in a whole pass every key of the leader's had its sum, then a
replica has the same keys and no others. Large values are compared by excerpts that move on with each pass; system tables, one at
a time, begin a pass.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.excerpt import key_sum, plain_sum
from upstash_global.node.tables import NAMES, system_table
from upstash_global.replication.feed import FeedState
from upstash_global.replication.messages import Check

if TYPE_CHECKING:
    from upstash_global.node.node import Node

BUDGET_US: Final = 2_000  # of a step, at the leader
MOST_NAME_BYTES: Final = 16 << 10  # of a step, on the wire; a key with a longer name is counted only
HEARD_MS: Final = 2_000  # a replica that has been silent for longer gets none
MOST_SHOWN: Final = 128  # bytes of a key


class Checks:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.made_ms = 0
        self.turn = 0  # number of the pass
        self.tables: list[str] = []  # of this pass, still to be compared, from the end
        self.keys: list[bytes] = []
        self.n_made = 0
        self.n_passes = 0  # that were gone through to the end

    # -- at the leader ------------------------------------------------------------------------------------------

    def tick(self) -> None:
        node = self.node
        settings = node.settings
        if not node.is_leader or not settings.check_keys:
            self.keys = []
            return
        if node.local_ms - self.made_ms < settings.check_ms:
            return
        self.made_ms = node.local_ms
        streams = self._streams()
        if streams:
            check = self._next()
            self.n_made += 1
            for stream in streams:
                node.send(stream, check)

    def _streams(self) -> list[str]:
        """Those of replicas that follow closely enough to compare, and that make the sums that this node makes."""
        node = self.node
        found: list[str] = []
        for stream, feed in node.roles.feeds.items():
            if feed.state is FeedState.STREAMING and feed.is_replica and feed.software == node.settings.version:
                silence_ms = feed.silence_ms(node.now_ms)
                if silence_ms is not None and silence_ms <= HEARD_MS:
                    found.append(stream)
        return found

    def _next(self) -> Check:
        """The next step of the pass, or the first one of another."""
        node = self.node
        keyspace = node.engine.keyspace
        if not self.tables and not self.keys:
            self.n_passes += self.turn > 0
            self.turn += 1
            self.tables = list(NAMES)
            self.keys = list(keyspace.values)
        keys: list[bytes] = []
        sums: list[int] = []
        table = ""
        if self.tables:
            table = self.tables.pop()
            sums.append(plain_sum(system_table(node, table)))
        else:
            begun_us = node.clock_us()
            n_bytes = 0
            while self.keys and len(keys) < node.settings.check_keys and n_bytes < MOST_NAME_BYTES:
                key = self.keys.pop()
                if len(key) > MOST_NAME_BYTES:
                    continue
                keys.append(key)
                sums.append(key_sum(keyspace, key, self.turn))
                n_bytes += len(key)
                if node.clock_us() - begun_us >= BUDGET_US:
                    break
        return Check(node.roles.epoch, node.log.head, len(keyspace.values), self.turn, keys, sums, table)

    # -- at a replica -------------------------------------------------------------------------------------------

    def compare(self, check: Check) -> str:
        """How this node's state, at the check's position, differs from the leader's; "" if it does not."""
        node = self.node
        keyspace = node.engine.keyspace
        differences: list[str] = []
        if len(keyspace.values) != check.n_keys:
            differences.append(f"{len(keyspace.values)} keys instead of {check.n_keys}")
        if check.table:
            if check.table in NAMES and plain_sum(system_table(node, check.table)) != check.sums[0]:
                differences.append(f"the system table {check.table} differs")
        for key, expected in zip(check.keys, check.sums, strict=False):
            if key_sum(keyspace, key, check.turn) != expected:
                differences.append(f"key {key[:MOST_SHOWN]!r} differs")
                break
        return ", ".join(differences)
