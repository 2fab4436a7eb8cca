"""Snapshots: the whole keyspace at exactly one position, taken while it goes on changing.

The writer begins between two units and then walks the keys in small steps. A key that is about to change for the first
time since is dumped just before, so what is written is always its value at the start. It need not know whether the walk
had already passed the key: a second copy is the same value, and the loader takes either. A key that was absent at the
start is only marked as touched, and the walk, which goes over the keys of the start, never meets it. FLUSHALL replaces the
tables of the keyspace; the writer keeps the old ones.

Format: blocks (see codec) of three kinds. One HEADER: position, CRC, history, time, names of the tables. DATA: a stream of
msgpack items that runs on across blocks: [name, table] for each system table, then for each key
[key, deadline, part, more]; the parts of a large collection follow each other. One TRAILER: counts, and a CRC over all
bytes before it.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final
from zlib import crc32

import msgpack

from upstash_global.engine import dump as dumps
from upstash_global.engine.dump import dump, load
from upstash_global.engine.keyspace import Keyspace, Observer
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.replication.codec import INCOMPLETE, decode_block, encode_block
from upstash_global.replication.position import History, Position


class SnapshotError(Exception):
    """The bytes are no whole, undamaged snapshot."""


class SnapshotHeader:
    def __init__(self, position: Position, crc: int, history: History, time_ms: int) -> None:
        self.position = position
        self.crc = crc
        self.history = history
        self.time_ms = time_ms


class Loaded(SnapshotHeader):
    """A whole snapshot, verified."""

    def __init__(self, header: SnapshotHeader, keyspace: Keyspace, system_tables: dict[str, Any]) -> None:
        super().__init__(header.position, header.crc, header.history, header.time_ms)
        self.keyspace = keyspace
        self.system_tables = system_tables


class SnapshotWriter(Observer):
    def __init__(
        self,
        keyspace: Keyspace,
        system_tables: dict[str, Any],
        position: Position,
        crc: int,
        history: History,
        time_ms: int,
    ) -> None:
        self.keyspace = keyspace
        self.position = position

    def step(self, max_keys: int) -> bytes | None:
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError


class SnapshotLoader:
    def feed(self, data: bytes) -> None:
        raise NotImplementedError

    def finish(self) -> Loaded:
        raise NotImplementedError


def read_header(data: bytes) -> SnapshotHeader:
    raise NotImplementedError
