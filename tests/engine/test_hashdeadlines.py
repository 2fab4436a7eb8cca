"""Deadlines of hash fields: who sees what at which time, and what the log carries.

No server here knows these commands; the claims are those of Redis's documentation of 7.4 and 8.0.
"""

from random import Random

import pytest

from tests.engine.bench import Bench, Logged
from upstash_global.engine.context import EVENT_GENERIC, EVENT_HASH
from upstash_global.engine.dump import dump, load
from upstash_global.engine.sweep import expired_fields, expired_keys
from upstash_global.engine.types.deadlines import Deadlines
from upstash_global.errors import CommandError, error
from upstash_global.reply import Pairs, Simple


def bench_with(fields: str, *lines: str) -> Bench:
    bench = Bench()
    bench.run(f"HSET h {fields}")
    for line in lines:
        bench.run(line)
    return bench


def sweep(bench: Bench, limit: int = 1000) -> list[list[bytes]]:
    """What the leader's sweep does at the bench's time: the entries that it logs."""
    keyspace = bench.engine.keyspace
    found = [[key] for key in expired_keys(keyspace, bench.now_ms, limit)]
    found += expired_fields(keyspace, bench.now_ms, limit)
    for each in found:
        bench.apply([Logged([[b"_EXPIRED", *each]], bench.now_ms)])
    return found


# -- setting and asking ---------------------------------------------------------------------------------------------


def test_fields_have_deadlines_of_their_own() -> None:
    bench = bench_with("a 1 b 2 c 3")
    assert bench.run("HEXPIRE h 10 FIELDS 2 a none") == [1, -2]
    assert bench.run("HPEXPIRE h 1500 FIELDS 1 b") == [1]
    assert bench.run("HTTL h FIELDS 4 a b c none") == [10, 2, -1, -2]
    assert bench.run("HPTTL h FIELDS 2 a b") == [10_000, 1500]
    assert bench.run("HPEXPIRETIME h FIELDS 1 b") == [bench.now_ms + 1500]
    assert bench.run("HEXPIRETIME h FIELDS 1 b") == [bench.now_ms // 1000 + 2]
    assert bench.run("HEXPIREAT h 1900000000 FIELDS 1 c") == [1]
    assert bench.run("HPEXPIREAT h 1900000000001 FIELDS 1 c") == [1]
    assert bench.run("HEXPIRETIME h FIELDS 1 c") == [1_900_000_001]


@pytest.mark.parametrize("name", ["HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST"])
def test_a_missing_hash_has_no_such_field(name: str) -> None:
    bench = Bench()
    assert bench.run(f"{name} h FIELDS 2 a b") == [-2, -2]
    assert bench.entries == []


@pytest.mark.parametrize(
    ("old_s", "condition", "new_s", "reply"),
    [
        (None, "NX", 10, 1),
        (None, "XX", 10, 0),
        (None, "GT", 10, 0),
        (None, "LT", 10, 1),
        (20, "NX", 10, 0),
        (20, "XX", 10, 1),
        (20, "GT", 10, 0),
        (20, "GT", 20, 0),
        (20, "GT", 30, 1),
        (20, "lt", 10, 1),
        (20, "LT", 20, 0),
        (20, "LT", 30, 0),
    ],
)
def test_conditions(old_s: int | None, condition: str, new_s: int, reply: int) -> None:
    bench = bench_with("a 1")
    if old_s is not None:
        bench.run(f"HEXPIRE h {old_s} FIELDS 1 a")
    assert bench.run(f"HEXPIRE h {new_s} {condition} FIELDS 1 a") == [reply]
    assert bench.run("HTTL h FIELDS 1 a") == [new_s if reply else old_s or -1]


def test_a_deadline_in_the_past_removes_the_field() -> None:
    bench = bench_with("a 1 b 2")
    assert bench.run("HEXPIRE h 0 FIELDS 1 a") == [2]
    assert bench.run("HGETALL h") == {b"b": b"2"}
    assert bench.run("HPEXPIREAT h 1 FIELDS 1 b") == [2]
    assert bench.run("EXISTS h") == 0


def test_hpersist_removes_deadlines() -> None:
    bench = bench_with("a 1 b 2", "HEXPIRE h 10 FIELDS 1 a")
    assert bench.run("HPERSIST h FIELDS 3 a b none") == [1, -1, -2]
    assert bench.run("HTTL h FIELDS 1 a") == [-1]
    n = len(bench.entries)
    bench.run("HPERSIST h FIELDS 1 a")
    assert len(bench.entries) == n


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("HEXPIRE h 10 FIELDS 2 a", "The `numfields` parameter must match the number of arguments"),
        ("HEXPIRE h 10 FIELDS 0 a", "Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 10 a FIELDS 1", "Mandatory argument FIELDS is missing or not at the right position"),
        ("HEXPIRE h x FIELDS 1 a", "value is not an integer or out of range"),
        ("HEXPIRE h -1 FIELDS 1 a", "invalid expire time, must be >= 0"),
        ("HEXPIRE h 9223372036854775807 FIELDS 1 a", "invalid expire time in 'hexpire' command"),
        ("HPEXPIREAT h 70368744177664 FIELDS 1 a", "invalid expire time in 'hpexpireat' command"),
        ("HTTL h FIELDS 0 a", "Number of fields must be a positive integer"),
        ("HTTL h FIELD 1 a", "Mandatory argument FIELDS is missing or not at the right position"),
        ("HGETDEL h FIELDS 2 a", "The `numfields` parameter must match the number of arguments"),
        ("HGETEX h EX 10 PERSIST FIELDS 1 a", "Mandatory argument FIELDS is missing or not at the right position"),
        ("HGETEX h KEEPTTL FIELDS 1 a", "Mandatory argument FIELDS is missing or not at the right position"),
        ("HGETEX h FIELDS 2 a b c", "The `numfields` parameter must match the number of arguments"),
        ("HGETEX h FIELDS 0 a", "Number of fields must be a positive integer"),
        ("HGETEX h EX a FIELDS 1 a", "value is not an integer or out of range"),
        ("HSETEX h FNX FXX FIELDS 1 a 1", "Only one of FXX or FNX arguments can be specified"),
        ("HSETEX h EX 1 PX 1 FIELDS 1 a 1", "Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"),
        ("HSETEX h FIELDS 1 a 1 b", "wrong number of arguments"),
        ("HSETEX h FIELDS x a 1", "invalid number of fields"),
        ("HSETEX h EX 10 KEEP a 1", "unknown argument: KEEP"),
    ],
)
def test_refusals_change_nothing(line: str, refusal: str) -> None:
    bench = bench_with("a 1")
    before = bench.digest()
    assert bench.run(line) == error(refusal)
    assert bench.digest() == before and len(bench.entries) == 1


@pytest.mark.parametrize("line", ["HEXPIRE h 1 FIELDS 1 a", "HTTL h FIELDS 1 a", "HGETDEL h FIELDS 1 a",
                                  "HGETEX h FIELDS 1 a", "HSETEX h FIELDS 1 a 1", "HPERSIST h FIELDS 1 a"])  # fmt: skip
def test_another_type_is_refused(line: str) -> None:
    bench = Bench()
    bench.run("SET h v")
    reply = bench.run(line)
    assert isinstance(reply, CommandError) and reply.code == "WRONGTYPE"


# -- what keeps and what clears a deadline --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "left_s"),
    [
        ("HSET h a 5", -1),
        ("HSET h a 5 b 6", -1),
        ("HMSET h a 5", -1),
        ("HSETNX h a 5", 10),
        ("HINCRBY h a 5", 10),
        ("HINCRBYFLOAT h a 5", 10),
        ("HSET h b 5", 10),
        ("HDEL h a", -2),
        ("HGETEX h FIELDS 1 a", 10),
        ("HGETEX h PERSIST FIELDS 1 a", -1),
        ("HGETEX h EX 20 FIELDS 1 a", 20),
        ("HSETEX h FIELDS 1 a 5", -1),
        ("HSETEX h KEEPTTL FIELDS 1 a 5", 10),
        ("HSETEX h EX 20 FIELDS 1 a 5", 20),
    ],
)
def test_writes_and_the_deadline_of_a_field(line: str, left_s: int) -> None:
    bench = bench_with("a 1 b 2", "HEXPIRE h 10 FIELDS 1 a")
    bench.run(line)
    assert bench.run("HTTL h FIELDS 1 a") == [left_s]


@pytest.mark.parametrize("line", ["RENAME h t", "COPY h t"])
def test_deadlines_go_with_the_hash(line: str) -> None:
    bench = bench_with("a 1 b 2", "HPEXPIRE h 100 FIELDS 1 a", line)
    assert bench.run("HPTTL t FIELDS 2 a b") == [100, -1]
    bench.later(100)
    assert [b"t", b"a"] in sweep(bench)
    assert bench.run("HGETALL t") == {b"b": b"2"}


def test_a_loaded_dump_keeps_them_and_is_swept() -> None:
    bench = bench_with("a 1 b 2", "HPEXPIRE h 100 FIELDS 1 a")
    other = Bench()
    other.engine.keyspace.store(b"h", load(dump(bench.engine.keyspace.values[b"h"])))
    assert other.digest() == bench.digest()
    other.later(100)
    assert sweep(other) == [[b"h", b"a"]]


# -- HGETDEL, HGETEX, HSETEX ----------------------------------------------------------------------------------------


def test_hgetdel_takes_fields_away() -> None:
    bench = bench_with("a 1 b 2")
    assert bench.run("HGETDEL h FIELDS 3 a none a") == [b"1", None, None]
    assert bench.run("HGETALL h") == {b"b": b"2"}
    assert bench.run("HGETDEL h FIELDS 1 b") == [b"2"]
    assert bench.run("EXISTS h") == 0
    assert bench.run("HGETDEL h FIELDS 1 b") == [None]


def test_hgetex_answers_values_and_removes_what_has_expired() -> None:
    bench = bench_with("a 1 b 2")
    assert bench.run("HGETEX h EXAT 1 FIELDS 2 a none") == [b"1", None]
    assert bench.run("HGETALL h") == {b"b": b"2"}
    n = len(bench.entries)
    assert bench.run("HGETEX h FIELDS 1 b") == [b"2"]
    assert bench.run("HGETEX h EX 10 FIELDS 1 none") == [None]
    assert len(bench.entries) == n


def test_hsetex_sets_all_or_nothing() -> None:
    bench = bench_with("a 1")
    assert bench.run("HSETEX h FNX FIELDS 2 a 5 b 6") == 0
    assert bench.run("HSETEX h FXX FIELDS 2 a 5 b 6") == 0
    assert bench.run("HSETEX none FXX FIELDS 1 a 5") == 0
    assert bench.run("HGETALL h") == {b"a": b"1"}
    assert bench.run("HSETEX h FNX PX 100 FIELDS 2 c 5 b 6") == 1
    assert bench.run("HPTTL h FIELDS 3 a b c") == [-1, 100, 100]
    assert bench.run("HSETEX h EXAT 1 FXX FIELDS 2 a 9 b 9") == 1
    assert bench.run("HGETALL h") == {b"c": b"5"}


# -- hidden fields --------------------------------------------------------------------------------------------------


def hidden_a() -> Bench:
    """A hash of a, b, c whose a has expired and is still present."""
    bench = bench_with("a 1 b 2 c 3", "HPEXPIRE h 100 FIELDS 1 a")
    bench.later(100)
    return bench


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("HGET h a", None),
        ("HMGET h a b", [None, b"2"]),
        ("HEXISTS h a", 0),
        ("HSTRLEN h a", 0),
        ("HLEN h", 2),
        ("HGETALL h", {b"b": b"2", b"c": b"3"}),
        ("HKEYS h", [b"b", b"c"]),
        ("HVALS h", [b"2", b"3"]),
        ("HSCAN h 0", [b"0", [b"b", b"2", b"c", b"3"]]),
        ("HTTL h FIELDS 2 a b", [-2, -1]),
        ("HEXPIRE h 5 FIELDS 1 a", [-2]),
        ("HPERSIST h FIELDS 1 a", [-2]),
        ("HGETDEL h FIELDS 1 a", [None]),
        ("HGETEX h PERSIST FIELDS 1 a", [None]),
        ("HSETEX h FXX FIELDS 1 a 5", 0),
        ("HDEL h a", 0),
        ("SORT_RO l BY nosort GET h->*", [None]),
        ("HRANDFIELD h 5", [b"b", b"c"]),
        ("HRANDFIELD h 5 WITHVALUES", Pairs([(b"b", b"2"), (b"c", b"3")])),
    ],
)
def test_an_expired_field_is_hidden_before_it_is_removed(line: str, reply: object) -> None:
    bench = hidden_a()
    bench.run("RPUSH l a")
    n = len(bench.entries)
    assert bench.run(line) == reply
    assert len(bench.entries) == n
    assert b"a" in bench.engine.keyspace.values[b"h"].fields


def test_chance_never_picks_a_hidden_field() -> None:
    bench = hidden_a()
    assert {bench.run("HRANDFIELD h") for _ in range(30)} == {b"b", b"c"}
    assert set(bench.run("HRANDFIELD h -30")) == {b"b", b"c"}
    assert bench.run("HRANDFIELD h 1")[0] in (b"b", b"c")


@pytest.mark.parametrize(
    ("line", "reply", "left"),
    [
        ("HSET h a 5", 1, b"5"),
        ("HSET h a 5 b 2", 1, b"5"),
        ("HSETNX h a 5", 1, b"5"),
        ("HINCRBY h a 5", 5, b"5"),
        ("HINCRBYFLOAT h a 5", b"5", b"5"),
        ("HSETEX h FNX FIELDS 1 a 5", 1, b"5"),
    ],
)
def test_a_write_to_a_hidden_field_starts_afresh(line: str, reply: object, left: bytes) -> None:
    bench = hidden_a()
    assert bench.run(line) == reply
    assert bench.run("HGET h a") == left
    assert bench.run("HTTL h FIELDS 1 a") == [-1]
    assert sweep(bench) == []


def all_hidden() -> Bench:
    bench = bench_with("a 1 b 2", "HPEXPIRE h 100 FIELDS 2 a b", "EXPIRE h 1000", "SET other v")
    bench.later(100)
    return bench


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("EXISTS h", 0),
        ("TYPE h", Simple("none")),
        ("DBSIZE", 1),
        ("KEYS *", [b"other"]),
        ("SCAN 0", [b"0", [b"other"]]),
        ("RANDOMKEY", b"other"),
        ("TTL h", -2),
        ("HLEN h", 0),
        ("HGETALL h", {}),
        ("HRANDFIELD h", None),
        ("OBJECT ENCODING h", None),
        ("DEL h", 0),
        ("GET h", None),
        ("RENAMENX other h", 1),
        ("COPY other h", 1),
        ("LPUSH h x", 1),
        ("SETNX h x", 1),
    ],
)
def test_a_hash_whose_fields_have_all_expired_is_no_key(line: str, reply: object) -> None:
    assert all_hidden().run(line) == reply


@pytest.mark.parametrize("line", ["HSET h c 3", "LPUSH h x", "SET h x", "INCR h", "HSETEX h FIELDS 1 c 3"])
def test_what_is_written_over_it_inherits_no_deadline(line: str) -> None:
    leader, replica = all_hidden(), Bench()
    leader.run(line)
    assert leader.run("TTL h") == -1
    assert sweep(leader) == []
    replica.apply(leader.entries)
    assert replica.digest() == leader.digest()


def test_hdel_of_the_last_visible_field_takes_the_hidden_ones_with_it() -> None:
    bench = bench_with("a 1 b 2", "HPEXPIRE h 100 FIELDS 1 a")
    bench.later(100)
    assert bench.run("HDEL h b") == 1
    assert bench.engine.keyspace.values == {} and sweep(bench) == []


# -- the sweep ------------------------------------------------------------------------------------------------------


def test_the_sweep_removes_what_has_expired_and_only_that() -> None:
    bench = bench_with("a 1 b 2 c 3", "HPEXPIRE h 100 FIELDS 1 a", "HPEXPIRE h 200 FIELDS 1 b")
    assert sweep(bench) == []
    bench.later(100)
    assert sweep(bench) == [[b"h", b"a"]]
    assert list(bench.engine.keyspace.values[b"h"].fields) == [b"b", b"c"]
    bench.later(100)
    assert sweep(bench) == [[b"h", b"b"]]
    assert sweep(bench) == []
    assert bench.engine.keyspace.values[b"h"].deadlines is None
    assert len(bench.engine.keyspace.hashes) == 0


def test_a_large_hash_is_swept_in_parts() -> None:
    bench = bench_with(" ".join(f"f{i} v" for i in range(25)), "HSET h stays v")
    bench.run("HPEXPIRE h 100 FIELDS 25 " + " ".join(f"f{i}" for i in range(25)))
    bench.later(100)
    parts = [sweep(bench, limit=10) for _ in range(3)]
    assert [len(part[0]) - 1 for part in parts] == [10, 10, 5]
    assert bench.run("HGETALL h") == {b"stays": b"v"}


def test_an_expired_key_is_swept_as_a_whole() -> None:
    bench = bench_with("a 1", "HPEXPIRE h 100 FIELDS 1 a", "PEXPIRE h 50")
    bench.later(200)
    assert sweep(bench) == [[b"h"]]
    assert bench.engine.keyspace.values == {}


@pytest.mark.parametrize("line", ["HPERSIST h FIELDS 1 a", "HSET h a 2", "HDEL h a", "DEL h", "SET h x", "FLUSHALL"])
def test_a_deadline_that_is_no_more_is_not_swept(line: str) -> None:
    bench = bench_with("a 1 b 2", "HPEXPIRE h 100 FIELDS 1 a", line)
    bench.later(100)
    assert sweep(bench) == []
    assert len(bench.engine.keyspace.hashes) == 0


def test_hashes_without_deadlines_of_fields_are_not_listed_at_all() -> None:
    bench = bench_with("a 1")
    bench.run("EXPIRE h 10")
    assert bench.engine.keyspace.values[b"h"].deadlines is None
    assert len(bench.engine.keyspace.hashes) == 0


def test_events() -> None:
    bench = bench_with("a 1 b 2 c 3 d 4")
    bench.engine.context.event_mask = EVENT_HASH | EVENT_GENERIC
    seen = []
    for line in ["HPEXPIRE h 100 FIELDS 3 a b c", "HPERSIST h FIELDS 1 a", "HSETEX h EX 9 FIELDS 1 a 1",
                 "HGETDEL h FIELDS 1 b", "HEXPIRE h 0 FIELDS 1 d", "HGETEX h EX 5 FIELDS 1 a"]:  # fmt: skip
        bench.run(line)
        assert bench.effects is not None
        seen.append(b" ".join(name for _, name, _ in bench.effects.events))
    assert seen == [b"hexpire", b"hpersist", b"hset hexpire", b"hdel", b"hdel", b"hexpire"]
    bench.later(100)
    bench.engine.begin(bench.now_ms)
    effects = bench.engine.apply([[b"_EXPIRED", b"h", b"c"], [b"_EXPIRED", b"h", b"a"]], bench.now_ms)
    assert [name for _, name, _ in effects.events] == [b"hexpired", b"hexpired", b"del"]


# -- replicas -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_a_replica_that_is_read_ahead_of_its_entries_stays_the_same(seed: int) -> None:
    """Goal: what a replica's readers have found out about a later time must not show in what entries do.

    Method: random writes and sweeps on the leader; the replica applies each entry late, after reads at the leader's time.
    """
    random = Random(seed)
    leader, replica = Bench(seed=1), Bench(seed=2)
    lines = [
        "HSET h {f} 1", "HSET h {f} 1 {g} 2", "HSETNX h {f} 1", "HDEL h {f} {g}", "HINCRBY h {f} 1",
        "HPEXPIRE h {ms} FIELDS 2 {f} {g}", "HPEXPIRE h {ms} FIELDS 1 {f}", "HPEXPIRE h {ms} GT FIELDS 1 {f}",
        "HPERSIST h FIELDS 1 {f}", "HSETEX h PX {ms} FIELDS 2 {f} 1 {g} 2", "HGETEX h PX {ms} FIELDS 1 {f}",
        "HGETDEL h FIELDS 1 {f}", "PEXPIRE h {ms}", "COPY h t REPLACE", "RENAME h t", "RENAME t h", "HSETEX t KEEPTTL FIELDS 1 {f} 3",
        "SET t v", "INCR h", "DEL h", "HPEXPIRE h {ms} FIELDS 4 a b c d",
    ]  # fmt: skip
    applied = 0
    for _ in range(600):
        line = random.choice(lines)
        leader.run(line.format(f=random.choice("abcd"), g=random.choice("abcd"), ms=random.choice([0, 1, 3, 10, 50])))
        if random.random() < 0.3:
            leader.later(random.choice([1, 2, 5, 20]))
        if random.random() < 0.15:
            sweep(leader, limit=random.choice([1, 100]))
        replica.now_ms = leader.now_ms
        for read in ["HLEN h", "HGETALL t", "DBSIZE", "EXISTS h"]:
            replica.run(read)
        if random.random() < 0.3:
            replica.apply(leader.entries[applied:])
            applied = len(leader.entries)
            assert replica.digest() == leader.digest()
            for read in ["HGETALL h", "HLEN h", "HGETALL t", "DBSIZE", "TYPE h", "KEYS *"]:
                assert replica.run(read) == leader.run(read), read


def test_deadlines_answer_their_earliest_and_forget_what_is_out_of_date() -> None:
    deadlines, random = Deadlines(), Random(3)
    times: dict[bytes, int] = {}
    now_ms = 0
    for _ in range(3000):
        name = b"%d" % random.randrange(40)
        if random.random() < 0.7:
            times[name] = now_ms + random.randrange(100)
            deadlines.set(name, times[name])
        else:
            times.pop(name, None)
            deadlines.clear(name)
        now_ms += random.randrange(3)
        assert set(deadlines.due(now_ms)) == {each for each, at_ms in times.items() if at_ms <= now_ms}
        assert deadlines.earliest() == min(times.values(), default=-1)
        assert len(deadlines.heap) <= 64 + 2 * 41


def test_a_small_hash_with_deadlines_has_an_encoding_of_its_own() -> None:
    bench = Bench()
    bench.run("HSET h a 1 b 2")
    assert bench.run("OBJECT ENCODING h") == "listpack"
    bench.run("HEXPIRE h 10 FIELDS 1 a")
    assert bench.run("OBJECT ENCODING h") == "listpackex"
    bench.run("HSET", "h", "c", "x" * 65)
    assert bench.run("OBJECT ENCODING h") == "hashtable"
