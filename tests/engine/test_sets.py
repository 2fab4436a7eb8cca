"""Set commands: what they answer, what they log, and the order that every node shares. See also tests/differential."""

from typing import Any

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.context import EVENT_GENERIC, EVENT_SET
from upstash_global.engine.dump import dump, load
from upstash_global.errors import CommandError, error, syntax_error
from upstash_global.reply import Set


def bench_with(**sets: str) -> Bench:
    bench = Bench()
    for key, members in sets.items():
        bench.run(f"SADD {key} {members}")
    return bench


def members(reply: Any) -> list[bytes]:
    assert type(reply) is Set
    return sorted(reply.items)


def test_sadd_and_srem_count_what_changed() -> None:
    bench = Bench()
    assert bench.run("SADD s a b a") == 2
    assert bench.run("SADD s b c") == 1
    assert bench.run("SREM s a a missing") == 1
    assert members(bench.run("SMEMBERS s")) == [b"b", b"c"]


def test_what_changes_nothing_is_not_logged() -> None:
    bench = bench_with(s="a")
    for line in ["SADD s a", "SREM s b", "SREM none a", "SMOVE s s a", "SMOVE s t b", "SPOP none", "SPOP s 0"]:
        bench.run(line)
    assert len(bench.entries) == 1


def test_membership() -> None:
    bench = bench_with(s="a b")
    assert bench.run("SISMEMBER s a") == 1
    assert bench.run("SMISMEMBER s a c b") == [1, 0, 1]
    assert bench.run("SMISMEMBER none a c") == [0, 0]
    assert [bench.run("SCARD s"), bench.run("SCARD none")] == [2, 0]


def test_smove() -> None:
    bench = bench_with(a="x y", b="y")
    assert bench.run("SMOVE a b x") == 1
    assert bench.run("SMOVE a b y") == 1
    assert bench.run("EXISTS a") == 0
    assert members(bench.run("SMEMBERS b")) == [b"x", b"y"]


def test_a_move_to_another_type_leaves_the_source_alone() -> None:
    bench = bench_with(a="x")
    bench.run("SET t v")
    reply = bench.run("SMOVE a t x")
    assert isinstance(reply, CommandError) and reply.code == "WRONGTYPE"
    assert bench.run("SCARD a") == 1


# -- chance -------------------------------------------------------------------------------------------------------


def test_spop_is_logged_as_the_srem_it_led_to() -> None:
    bench = bench_with(s="a b c")
    member = bench.run("SPOP s")
    assert bench.entries[-1].commands == [[b"SREM", b"s", member]]


def test_spop_of_several_is_logged_as_one_srem() -> None:
    bench = bench_with(s="a b c d e")
    popped = bench.run("SPOP s 3")
    assert bench.entries[-1].commands == [[b"SREM", b"s", *popped.items]]
    assert len(set(popped.items)) == 3 and bench.run("SCARD s") == 2


def test_spop_of_all_is_logged_as_del() -> None:
    bench = bench_with(s="a b c")
    assert members(bench.run("SPOP s 9")) == [b"a", b"b", b"c"]
    assert bench.entries[-1].commands == [[b"DEL", b"s"]]


def test_spop_refuses() -> None:
    bench = bench_with(s="a")
    assert bench.run("SPOP s -1") == error("value is out of range, must be positive")
    assert bench.run("SPOP s 1 2") == syntax_error()
    assert bench.run("SPOP none") is None
    assert bench.run("SPOP none 2") == Set([])


def test_srandmember_shapes() -> None:
    bench = bench_with(s="a b c")
    assert bench.run("SRANDMEMBER s") in (b"a", b"b", b"c")
    assert sorted(bench.run("SRANDMEMBER s 9")) == [b"a", b"b", b"c"]
    assert len(bench.run("SRANDMEMBER s -9")) == 9
    assert bench.run("SRANDMEMBER none") is None
    assert bench.run("SRANDMEMBER none 2") == []
    assert len(bench.entries) == 1


def test_more_picks_than_memory_holds_are_refused() -> None:
    assert bench_with(s="a").run("SRANDMEMBER s -1000000000000") == error("value is out of range")


# -- algebra ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("SINTER a b", [b"2", b"3"]),
        ("SINTER a b c", [b"3"]),
        ("SINTER a none", []),
        ("SINTER a", [b"1", b"2", b"3"]),
        ("SUNION a b none", [b"1", b"2", b"3", b"4"]),
        ("SDIFF a b", [b"1"]),
        ("SDIFF a c", [b"1", b"2"]),
        ("SDIFF a a", []),
        ("SDIFF a none", [b"1", b"2", b"3"]),
        ("SDIFF none a", []),
    ],
)
def test_algebra(line: str, found: list[bytes]) -> None:
    bench = bench_with(a="1 2 3", b="2 3 4", c="3")
    assert members(bench.run(line)) == found
    name, _, keys = line.partition(" ")
    assert bench.run(f"{name}STORE t {keys}") == len(found)
    assert members(bench.run("SMEMBERS t")) == found
    assert bench.run("EXISTS t") == (1 if found else 0)


def test_a_small_first_set_asks_the_big_ones_and_a_big_one_drops_the_small_ones() -> None:
    many = " ".join(map(str, range(1000)))
    bench = bench_with(many=many, few="5 6 x")
    assert members(bench.run("SDIFF few many")) == [b"x"]
    assert len(members(bench.run("SDIFF many few"))) == 998


@pytest.mark.parametrize("name", ["SINTER", "SUNION", "SDIFF"])
def test_an_operand_of_another_type_is_refused_wherever_it_stands(name: str) -> None:
    bench = bench_with(a="1")
    bench.run("SET text v")
    for line in (f"{name} a text", f"{name} none text", f"{name}STORE t none text"):
        reply = bench.run(line)
        assert isinstance(reply, CommandError) and reply.code == "WRONGTYPE"


def test_a_stored_result_replaces_any_key_and_its_deadline() -> None:
    bench = bench_with(a="1 2")
    bench.run("SET t old EX 100")
    bench.run("SUNIONSTORE t a")
    assert bench.run("TTL t") == -1
    assert bench.run("SINTERSTORE t none") == 0
    assert bench.run("EXISTS t") == 0


@pytest.mark.parametrize(("limit", "count"), [("", 3), ("LIMIT 0", 3), ("LIMIT 2", 2), ("LIMIT 9", 3)])
def test_sintercard(limit: str, count: int) -> None:
    assert bench_with(a="1 2 3 4", b="2 3 4").run(f"SINTERCARD 2 a b {limit}") == count


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("0 a", "numkeys should be greater than 0"),
        ("x a", "numkeys should be greater than 0"),
        ("3 a b", "Number of keys can't be greater than number of args"),
        ("1 a LIMIT -1", "LIMIT can't be negative"),
        ("1 a LIMIT x", "LIMIT can't be negative"),
        ("1 a LIMIT", "syntax error"),
        ("1 a b", "syntax error"),
    ],
)
def test_sintercard_refuses(words: str, refusal: str) -> None:
    assert Bench().run(f"SINTERCARD {words}") == error(refusal)


@pytest.mark.parametrize("line", ["SUNIONSTORE t a b", "SDIFFSTORE t a b", "SDIFFSTORE t a c", "SINTERSTORE t a d"])
def test_a_node_that_loaded_a_snapshot_stores_the_same_order(line: str) -> None:
    """The dict of an IndexedSet remembers another order than its members after a removal, and a dump forgets it."""
    leader = bench_with(a="1 2 3 4 5 6 7", b="8 9 3", c="1 2 3 4 5 6 7 8", d="1 5 3 6 7 8 9 10")
    leader.run("SREM a 2")
    leader.run("SREM d 5")
    loaded = Bench()
    for key, value in leader.engine.keyspace.values.items():
        loaded.engine.keyspace.store(key, load(dump(value)))
    before = len(leader.entries)
    leader.run(line)
    loaded.apply(leader.entries[before:])
    assert loaded.digest() == leader.digest()


# -- encodings ----------------------------------------------------------------------------------------------------


def numbers(n: int) -> str:
    return " ".join(map(str, range(n)))


def words(n: int) -> str:
    return " ".join(f"w{i}" for i in range(n))


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        (["SADD s 1 -5 9223372036854775807"], "intset"),
        (["SADD s 1 01"], "listpack"),
        (["SADD s 9223372036854775808"], "listpack"),
        (["SADD s 1 2", "SADD s x"], "listpack"),
        (["SADD s x", "SREM s x", "SADD s 1"], "intset"),
        (["SADD s x 1", "SREM s x"], "listpack"),
        ([f"SADD s {numbers(512)}"], "intset"),
        ([f"SADD s {numbers(512)}", "SADD s 1000"], "hashtable"),
        ([f"SADD s {numbers(513)}"], "hashtable"),
        ([f"SADD s {numbers(127)}", "SADD s x"], "listpack"),
        ([f"SADD s {numbers(128)}", "SADD s x"], "hashtable"),
        ([f"SADD s {words(128)}"], "listpack"),
        ([f"SADD s {words(129)}"], "hashtable"),
        (["SADD s " + "x " * 129], "hashtable"),
        ([f"SADD s {'x' * 64}"], "listpack"),
        ([f"SADD s {'x' * 65}"], "hashtable"),
        ([f"SADD s 1 {'x' * 65}", f"SREM s {'x' * 65}"], "hashtable"),
        ([f"SADD a {numbers(200)}", "SADD b x", "SUNIONSTORE s a"], "intset"),
        ([f"SADD a {numbers(200)}", "SADD b x", "SUNIONSTORE s a b"], "hashtable"),
        (["SADD a x 1 2", "SADD b 1 2 y", "SINTERSTORE s a b"], "intset"),
        (["SADD a x 1 2", "SADD b 1", "SDIFFSTORE s a b"], "listpack"),
        (["SADD a x", "SMOVE a s x"], "listpack"),
        (["SADD a 1 x", "SADD s 1 2", "SMOVE a s x"], "listpack"),
    ],
)
def test_encodings(lines: list[str], encoding: str) -> None:
    bench = Bench()
    for line in lines:
        bench.run(line)
    assert bench.run("OBJECT ENCODING s") == encoding


# -- scans --------------------------------------------------------------------------------------------------------


def test_a_small_set_is_scanned_in_one_page() -> None:
    assert bench_with(s="a b c").run("SSCAN s 0 COUNT 1") == [b"0", [b"a", b"b", b"c"]]
    assert bench_with(s=numbers(300)).run("SSCAN s 0 COUNT 1")[0] == b"0"
    assert bench_with(s="a b c").run("SSCAN s 0 MATCH [ab]") == [b"0", [b"a", b"b"]]


def test_a_big_set_is_scanned_by_pages() -> None:
    bench = bench_with(s=words(500))
    seen: list[bytes] = []
    cursor = b"0"
    while True:
        cursor, page = bench.run("SSCAN", "s", cursor, "COUNT", 30)
        assert len(page) <= 30
        seen.extend(page)
        if cursor == b"0":
            break
    assert sorted(seen) == members(bench.run("SMEMBERS s"))


def test_events_are_those_of_redis() -> None:
    bench = Bench()
    bench.engine.context.event_mask = EVENT_SET | EVENT_GENERIC
    events: list[tuple[bytes, bytes]] = []
    for line in ["SADD s a b c", "SREM s c", "SMOVE s t a", "SMOVE s t b", "SINTERSTORE u t", "SDIFFSTORE u u u",
                 "SUNIONSTORE v t", "SPOP v", "SPOP v 1", "SPOP t 5"]:  # fmt: skip
        bench.run(line)
        assert bench.effects is not None
        events.extend((event, key) for _, event, key in bench.effects.events)
    assert events == [
        (b"sadd", b"s"), (b"srem", b"s"), (b"srem", b"s"), (b"sadd", b"t"),
        (b"srem", b"s"), (b"del", b"s"), (b"sadd", b"t"), (b"sinterstore", b"u"), (b"del", b"u"), (b"sunionstore", b"v"),
        (b"spop", b"v"), (b"spop", b"v"), (b"del", b"v"), (b"spop", b"t"), (b"del", b"t"),
    ]  # fmt: skip
