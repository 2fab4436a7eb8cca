"""Excerpts: equal values have equal ones, a difference shows within one round of turns, and none is large."""

from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from tests.engine.bench import Bench
from upstash_global.engine.dump import dump, load
from upstash_global.engine.excerpt import ABSENT, MOST_BYTES, MOST_ELEMENTS, excerpt, key_sum
from upstash_global.engine.keyspace import Keyspace

N = 3 * MOST_ELEMENTS + 7
LONG = "x" * (5 * MOST_BYTES)
VALUES: dict[str, list[list[Any]]] = {  # name → commands that make it
    "string": [["SET", "k", "v"]],
    "long string": [["SET", "k", LONG]],
    "edited string": [["SET", "k", LONG], ["SETRANGE", "k", "3", "y"]],
    "float": [["INCRBYFLOAT", "k", "1.5"]],
    "list": [["RPUSH", "k", *[str(i) for i in range(N)]], ["LPUSH", "k", LONG]],
    "set": [["SADD", "k", *[f"m{i}" for i in range(N)]]],
    "sorted set": [["ZADD", "k", *[word for i in range(N) for word in (str(i % 50), f"m{i}")]]],
    "hash": [
        ["HSET", "k", *[word for i in range(N) for word in (f"f{i}", str(i))]],
        ["HEXPIRE", "k", "1000", "FIELDS", "2", "f1", f"f{N - 1}"],
    ],
    "stream": [
        *[["XADD", "k", f"{i}-1", "f", str(i)] for i in range(1, N)],
        ["XGROUP", "CREATE", "k", "g", "0"],
        ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">"],
    ],
    "document": [["JSON.SET", "k", "$", '{"a":[1,2.50,{"b":null}],"c":"' + LONG + '"}']],
}
CHANGES: dict[str, list[Any]] = {  # name → a command that changes little, far from the beginning
    "string": ["APPEND", "k", "w"],
    "long string": ["SETRANGE", "k", str(5 * MOST_BYTES - 1), "y"],
    "edited string": ["SETRANGE", "k", str(4 * MOST_BYTES), "y"],
    "float": ["INCRBYFLOAT", "k", "1"],
    "list": ["LSET", "k", "-1", "other"],
    "set": ["SPOP", "k"],
    "sorted set": ["ZADD", "k", "17.5", "m17"],
    "hash": ["HEXPIRE", "k", "2000", "FIELDS", "1", f"f{N - 1}"],
    "stream": ["XACK", "k", "g", f"{N - 1}-1"],
    "document": ["JSON.SET", "k", "$.a[2].b", "1"],
}


def made(name: str) -> Bench:
    bench = Bench()
    for command in VALUES[name]:
        bench.run(*command)
    assert b"k" in bench.engine.keyspace.values
    return bench


def all_turns(keyspace: Keyspace) -> list[int]:
    return [key_sum(keyspace, b"k", turn) for turn in range(1, 6)]


@pytest.mark.parametrize("name", VALUES)
def test_a_value_and_what_a_snapshot_brought_back_of_it_have_the_same_sums(name: str) -> None:
    one, other = made(name).engine.keyspace, Keyspace()
    other.store(b"k", load(msgpack.unpackb(msgpack.packb(dump(one.values[b"k"])), raw=False, strict_map_key=False)))
    assert all_turns(one) == all_turns(other)


@pytest.mark.parametrize("name", VALUES)
def test_a_small_change_shows_within_a_round_of_turns(name: str) -> None:
    changed = made(name)
    before = all_turns(changed.engine.keyspace)
    changed.run(*CHANGES[name])
    assert all_turns(changed.engine.keyspace) != before


def test_a_deadline_belongs_to_a_key_and_an_absent_key_has_a_sum_of_its_own() -> None:
    bench = made("string")
    keyspace = bench.engine.keyspace
    before = key_sum(keyspace, b"k", 1)
    assert key_sum(keyspace, b"nosuch", 1) == ABSENT != before
    bench.run("PEXPIRE", "k", "1000")
    assert key_sum(keyspace, b"k", 1) != before


def large(make: Callable[[int], list[Any]]) -> Any:
    bench = Bench()
    for i in range(20):
        bench.run(*make(i))
    return bench.engine.keyspace.values[b"k"]


@pytest.mark.parametrize(
    "make",
    [
        lambda i: ["APPEND", "k", "x" * 100_000],
        lambda i: ["RPUSH", "k", *["x" * 2_000] * 1_000],
        lambda i: ["SADD", "k", *[f"{i} {j}" + "x" * 2_000 for j in range(200)]],
        lambda i: ["ZADD", "k", *[word for j in range(200) for word in (str(j), f"{i} {j}" + "x" * 2_000)]],
        lambda i: ["HSET", "k", *[word for j in range(200) for word in (f"{i} {j}" + "x" * 2_000, "y" * 2_000)]],
        lambda i: ["XADD", "k", f"{i + 1}-1", *["x" * 2_000] * 500],
        lambda i: ["JSON.SET", "k", "$", "[" + ",".join(['"' + "x" * 5_000 + '"'] * 1_000) + "]"],
    ],
)
def test_an_excerpt_of_a_large_value_is_small(make: Callable[[int], list[Any]]) -> None:
    value = large(make)
    assert len(msgpack.packb(dump(value))) > 1_900_000
    for turn in (1, 2, 77):
        assert len(msgpack.packb(excerpt(value, turn))) < 2 * MOST_ELEMENTS * (MOST_BYTES + 100)
