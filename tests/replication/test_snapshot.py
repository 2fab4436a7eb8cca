"""Snapshots of a keyspace that goes on changing."""

import random

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.dump import digest
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.engine.types.list import List
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.engine.types.stream import Consumer, Group, Stream
from upstash_global.errors import SnapshotError
from upstash_global.replication.position import History, Position
from upstash_global.replication.snapshot import (
    SLICE,
    Loaded,
    SnapshotLoader,
    SnapshotWriter,
    read_header,
)

POSITION = Position(1 << 32, 7)


def begin(bench: Bench, tables: dict[str, object] | None = None) -> SnapshotWriter:
    history = History()
    history.begin(1 << 32, 1)
    history.head_lsn = 7
    return SnapshotWriter(bench.engine.keyspace, tables or {}, POSITION, 99, history, bench.now_ms)


def finish(writer: SnapshotWriter, already: bytes = b"") -> bytes:
    data = bytearray(already)
    while (more := writer.step(100)) is not None:
        data += more
    return bytes(data)


def load(data: bytes) -> Loaded:
    loader = SnapshotLoader()
    loader.feed(data)
    return loader.finish()


def change(bench: Bench, word: str, key: bytes, argument: bytes = b"", ms: int = 0) -> None:
    """One unit, said with the verbs of Context: what every command comes down to."""
    ctx = bench.engine.context
    ctx.begin(bench.now_ms)
    kind = type(ctx.find(key))
    if word == "put":
        ctx.put(key, argument)
    elif word == "remove":
        ctx.remove(key)
    elif word == "expire" and ctx.exists(key):
        ctx.expire(key, bench.now_ms + ms if ms else -1)
    elif word == "rename" and ctx.exists(key):
        value = ctx.find(key)
        ctx.remove(key)
        ctx.put(argument, value)
    elif word == "flush":
        ctx.flush()
    elif word == "append" and kind in (bytes, bytearray, type(None)):
        ctx.save(key, ctx.edit_string(key) + argument)
    elif word == "push" and kind in (List, type(None)):
        items = ctx.edit_list(key)
        items.append(argument)
        ctx.save(key, items)
    elif word == "pop" and kind is List:
        items = ctx.edit_list(key)
        items.pop_left()
        ctx.save(key, items)
    elif word == "add" and kind in (IndexedSet, type(None)):
        members = ctx.edit_set(key)
        members.add(argument)
        ctx.save(key, members)
    elif word == "hset" and kind in (Hash, type(None)):
        fields = ctx.edit_hash(key)
        fields.fields[argument] = argument
        ctx.save(key, fields)
    elif word == "zadd" and kind in (SortedSet, type(None)):
        ranked = ctx.edit_zset(key)
        ranked.add(argument, float(len(argument)))
        ctx.save(key, ranked)
    elif word == "xadd" and kind in (Stream, type(None)):
        stream = ctx.edit_stream(key)
        stream.add(stream.last_id + 1, [b"f", argument])
        group = stream.groups.setdefault(b"g", Group(0, 0))
        consumer = group.consumers.setdefault(argument[:2], Consumer(argument[:2], bench.now_ms))
        group.deliver(stream.last_id, consumer, bench.now_ms)
        ctx.save(key, stream)


def program(chance: random.Random, n: int) -> list[tuple[str, bytes, bytes, int]]:
    """Changes of few keys in many ways; some have no effect."""
    words = ["put", "remove", "remove", "expire", "rename", "append", "push", "pop", "add", "hset", "zadd", "xadd"]
    changes = []
    for _ in range(n):
        word = "flush" if chance.random() < 0.02 else chance.choice(words)
        changes.append((word, b"k%d" % chance.randrange(8), b"k%d" % chance.randrange(8), chance.randrange(5000)))
    return changes


@pytest.mark.parametrize("seed", range(40))
def test_snapshot_and_replay_of_the_rest_give_the_same_digest(seed: int) -> None:
    """A snapshot begins after any number of changes; steps of it interleave with the changes that follow."""
    chance = random.Random(seed)
    changes = program(chance, 60)
    for start in range(0, len(changes), 3):
        leader, replica = Bench(), Bench()
        for each in changes[:start]:
            change(leader, *each)
            leader.later(200)
        at_start, replica.now_ms = leader.digest(), leader.now_ms
        writer = begin(leader)
        data = bytearray()
        for each in changes[start:]:
            if chance.random() < 0.5:
                data += writer.step(1) or b""
            change(leader, *each)
            leader.later(200)
        loaded = load(finish(writer, bytes(data)))
        assert digest(loaded.keyspace) == at_start, f"begun after {start} changes"
        replica.engine.keyspace = replica.engine.context.keyspace = loaded.keyspace
        for each in changes[start:]:
            change(replica, *each)
            replica.later(200)
        assert replica.digest() == leader.digest(), f"begun after {start} changes"


@pytest.mark.parametrize("word", ["push", "add", "hset", "zadd", "xadd"])
def test_a_large_collection_is_written_in_slices_also_when_it_changes_between_them(word: str) -> None:
    def filled() -> Bench:
        bench = Bench()
        for n in range(3 * SLICE + 10):
            change(bench, word, b"big", b"%d" % n)
        change(bench, "put", b"other", b"1")
        return bench

    for n_steps in range(7):
        bench = filled()
        at_start = bench.digest()
        writer = begin(bench)
        data = bytearray()
        for _ in range(n_steps):
            data += writer.step(1) or b""
        written = writer.n_items
        change(bench, "put", b"other", b"2")
        change(bench, word, b"big", b"new")
        assert writer.finished or writer.n_items > written
        assert digest(load(finish(writer, bytes(data))).keyspace) == at_start, f"changed after {n_steps} steps"


def test_a_key_born_after_the_start_is_not_in_the_snapshot() -> None:
    bench = Bench()
    change(bench, "put", b"old", b"1")
    writer = begin(bench)
    change(bench, "put", b"new", b"1")
    assert set(load(finish(writer)).keyspace.values) == {b"old"}


def test_a_flushed_keyspace_is_still_written() -> None:
    bench = Bench()
    change(bench, "put", b"a", b"1")
    change(bench, "expire", b"a", ms=5000)
    change(bench, "push", b"b", b"1")
    at_start = bench.digest()
    writer = begin(bench)
    change(bench, "flush", b"")
    change(bench, "put", b"a", b"2")
    assert digest(load(finish(writer)).keyspace) == at_start


def test_header_and_system_tables_travel_along() -> None:
    data = finish(begin(Bench(), {"scripts": {b"sha": b"return 1"}, "users": [["default", 1]]}))
    loaded = load(data)
    assert loaded.position == POSITION and loaded.crc == 99 and loaded.history.contains(POSITION)
    assert loaded.system_tables == {"scripts": {b"sha": b"return 1"}, "users": [["default", 1]]}
    assert read_header(data).position == POSITION


def test_any_portions_give_the_same_state() -> None:
    bench = Bench()
    for n in range(50):
        change(bench, "put", b"k%d" % n, b"v")
    data = finish(begin(bench))
    loader = SnapshotLoader()
    for i in range(len(data)):
        loader.feed(data[i : i + 1])
    assert digest(loader.finish().keyspace) == bench.digest()


def test_every_damaged_byte_and_every_missing_end_is_noticed() -> None:
    bench = Bench()
    change(bench, "put", b"k", b"value")
    data = finish(begin(bench))
    for i in range(len(data)):
        for damaged in (data[:i], data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :]):
            with pytest.raises(SnapshotError):
                load(damaged)


def test_the_writer_lets_go_of_the_keyspace_when_done_or_aborted() -> None:
    bench = Bench()
    writer = begin(bench)
    writer.abort()
    assert bench.engine.keyspace.observer is None and writer.step(1) is None
    finish(begin(bench))
    assert bench.engine.keyspace.observer is None
