"""The leader's sweep at work: what has expired leaves the keyspace by logged `_EXPIRED` rows, a millisecond's worth at a stretch.

A million keys that expire at one moment hold nobody up: between two stretches, which the shell starts again and again while
`has_more`, everybody else has a turn. Nobody sees the keys that are left, for readers look at deadlines.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.sweep import expired_fields, expired_keys
from upstash_global.engine.table import TABLE

if TYPE_CHECKING:
    from upstash_global.node.node import Node

STRETCH_US: Final = 1000
SLICE: Final = 16  # keys or fields that are looked up at once


class Sweeping:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.is_on = True  # DEBUG SET-ACTIVE-EXPIRE 0 stops it
        self.has_more = False  # the last stretch ended before the work did

    @property
    def may_run(self) -> bool:
        node = self.node
        can_write = node.is_leader and node.write_refusal is None and not node.is_sealed
        return self.is_on and can_write and not node.pause.until_ms

    def run(self) -> None:
        """One stretch: remove keys, and when none is left fields of hashes, longest expired first."""
        self.has_more = False
        if not self.may_run:
            return
        node = self.node
        started_us = now_us = node.clock_us()
        while now_us - started_us < STRETCH_US:
            expired = self._some_expired()
            if not expired:
                break
            for key_and_fields in expired:
                self._remove(key_and_fields)
                now_us = node.clock_us()
                if now_us - started_us >= STRETCH_US:
                    self.has_more = True
                    break
        took_us = now_us - started_us
        if took_us >= node.latency.threshold_us > 0:
            node.latency.note("expire-cycle", node.now_ms, took_us)

    def _some_expired(self) -> list[list[bytes]]:
        """As `[key]` or `[key, field…]`; [] when nothing is left."""
        keyspace, now_ms = self.node.engine.keyspace, self.node.now_ms
        expired = [[key] for key in expired_keys(keyspace, now_ms, SLICE)]
        if not expired and keyspace.hashes.times:
            return expired_fields(keyspace, now_ms, SLICE)
        return expired

    def _remove(self, key_and_fields: list[bytes]) -> None:
        node = self.node
        node.engine.begin(node.now_ms)
        node.engine.execute(TABLE[b"_EXPIRED"], [b"_EXPIRED", *key_and_fields])
        effects = node.engine.take_effects()
        assert effects is not None
        node.commit(None, effects, None)
        node.metrics.n_expired += len(key_and_fields) == 1
        node.metrics.n_expired_fields += len(key_and_fields) - 1
