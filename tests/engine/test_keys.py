from random import Random

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.accesses import Accesses
from upstash_global.engine.context import EVENT_GENERIC
from upstash_global.engine.sweep import expired_keys
from upstash_global.engine.table import TABLE, lookup


def bench_with(*lines: str) -> Bench:
    bench = Bench()
    for line in lines:
        bench.run(line)
    return bench


# -- removing, naming, copying ----------------------------------------------------------------------------------


def test_del_exists_and_touch_count_keys() -> None:
    bench = bench_with("MSET a 1 b 2 c 3")
    assert bench.run("EXISTS a b a missing") == 3
    assert bench.run("TOUCH a missing") == 1
    assert bench.run("DEL a missing") == 1
    assert bench.run("UNLINK b c b") == 2
    assert bench.run("DBSIZE") == 0


def test_rename_carries_the_deadline_and_drops_what_was_there() -> None:
    bench = bench_with("SET a v EX 10", "SET b old EX 99")
    assert bench.run("RENAME a b").text == "OK"
    assert bench.run("PTTL b") == 10_000
    assert bench.run("EXISTS a") == 0
    assert bench.run("RENAME a b").text == "ERR no such key"
    assert bench.run("RENAME b b").text == "OK"
    assert bench.run("RENAMENX b b") == 0
    assert len(bench.entries) == 3


def test_renamenx_spares_what_is_there() -> None:
    bench = bench_with("SET a v", "SET b old")
    assert bench.run("RENAMENX a b") == 0
    assert bench.run("RENAMENX a c") == 1


def test_a_copy_shares_nothing_that_can_change() -> None:
    bench = bench_with("APPEND a x", "APPEND a y", "EXPIRE a 10")
    assert bench.run("COPY a b") == 1
    bench.run("APPEND a z")
    assert bench.run("GET b") == b"xy"
    assert bench.run("PTTL b") == 10_000
    assert bench.run("COPY a b") == 0
    assert bench.run("COPY a b DB 0 REPLACE") == 1
    assert bench.run("GET b") == b"xyz"


def test_copy_of_a_key_onto_itself_answers_0_as_upstash() -> None:
    assert bench_with("SET a v").run("COPY a a REPLACE") == 0


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("COPY a b DB 1", "ERR DB index is out of range"),
        ("COPY a b FOO", "ERR syntax error"),
        ("MOVE a 0", "ERR source and destination objects are the same"),
        ("MOVE a 1", "ERR DB index is out of range"),
        ("MOVE a 99999999999", "ERR value is out of range, value must between -2147483648 and 2147483647"),
        ("MOVE a x", "ERR value is not an integer or out of range"),
        ("FLUSHALL NOW", "ERR syntax error"),
        ("FLUSHDB SYNC ASYNC", "ERR syntax error"),
        ("SCAN x", "ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "ERR syntax error"),
        ("SCAN 0 COUNT x", "ERR value is not an integer or out of range"),
        ("SCAN 0 MATCH", "ERR syntax error"),
        ("EXPIRE a x", "ERR value is not an integer or out of range"),
        ("EXPIRE a 1 FOO", "ERR Unsupported option FOO"),
        ("EXPIRE a 1 NX GT", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE a 1 GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE a 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("EXPIRE a -9223372036854775808", "ERR invalid expire time in 'expire' command"),
        ("PEXPIRE a 9223372036854775807", "ERR invalid expire time in 'pexpire' command"),
        ("EXPIREAT a 9223372036854776", "ERR invalid expire time in 'expireat' command"),
        ("SORT a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("SORT z LIMIT 0", "ERR syntax error"),
        ("SORT z", "ERR One or more scores can't be converted into double"),
        ("SORT_RO z STORE t", "ERR syntax error"),
        ("MEMORY USAGE a SAMPLES -1", "ERR syntax error"),
        ("OBJECT FOO a", "ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
        ("OBJECT FREQ a b", "ERR wrong number of arguments for 'object|freq' command"),
    ],
)  # fmt: skip
def test_refusals_are_worded_as_by_redis_and_change_nothing(line: str, text: str) -> None:
    bench = bench_with("SET a v", "ZADD z 1 member")
    before = bench.digest()
    assert bench.run(line).text == text
    assert bench.digest() == before


def test_events_are_those_of_redis() -> None:
    bench = Bench()
    bench.engine.context.event_mask = EVENT_GENERIC
    events: list[tuple[bytes, bytes]] = []
    for line in ["SET a v", "COPY a b", "RENAME a c", "EXPIRE c 10", "PERSIST c", "EXPIRE c -1", "DEL b"]:
        bench.run(line)
        assert bench.effects is not None
        events.extend((event, key) for _, event, key in bench.effects.events)
    assert events == [(b"copy_to", b"b"), (b"rename_from", b"a"), (b"rename_to", b"c"), (b"expire", b"c"),
                      (b"persist", b"c"), (b"del", b"c"), (b"del", b"b")]  # fmt: skip


# -- deadlines --------------------------------------------------------------------------------------------------


def test_times_to_live_are_told_in_every_unit() -> None:
    bench = bench_with("SET k v PX 1499", "SET forever v")
    assert [bench.run(f"{name} k") for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")] == [
        1, 1499, 1_700_000_001, 1_700_000_001_499]  # fmt: skip
    assert [bench.run(f"{name} forever") for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")] == [-1] * 4
    assert [bench.run(f"{name} missing") for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")] == [-2] * 4


@pytest.mark.parametrize(
    ("before", "option", "reply"),
    [("", "NX", 1), ("", "XX", 0), ("", "GT", 0), ("", "LT", 1), ("", "XX LT", 0),
     ("5", "NX", 0), ("5", "XX", 1), ("5", "GT", 1), ("5", "LT", 0), ("20", "GT", 0), ("20", "LT", 1), ("10", "GT", 0),
     ("10", "LT", 0), ("20", "XX LT", 1)],
)  # fmt: skip
def test_conditions_compare_with_the_old_deadline(before: str, option: str, reply: int) -> None:
    bench = bench_with("SET k v", *([f"EXPIRE k {before}"] if before else []))
    assert bench.run(f"EXPIRE k 10 {option}") == reply
    assert bench.run("TTL k") == (10 if reply else int(before or -1))


@pytest.mark.parametrize(
    "line", ["EXPIRE k 0", "PEXPIRE k -1", "EXPIREAT k 1", "PEXPIREAT k 1700000000000", "PEXPIREAT k -5"]
)
def test_a_deadline_in_the_past_is_logged_as_del(line: str) -> None:
    bench = bench_with("SET k v")
    assert bench.run(line) == 1
    assert bench.run("EXISTS k") == 0
    assert bench.entries[-1].commands == [[b"DEL", b"k"]]


def test_a_deadline_counts_from_the_time_of_its_entry() -> None:
    leader, replica = Bench(), Bench(now_ms=0)
    leader.run("SET k v")
    leader.run("EXPIRE k 10")
    replica.apply(leader.entries)
    replica.now_ms = leader.now_ms
    assert replica.run("PTTL k") == 10_000


# -- hidden keys ------------------------------------------------------------------------------------------------


@pytest.fixture
def half_expired() -> Bench:
    """Ten keys, of which the odd ones have expired and wait for the sweep."""
    bench = Bench()
    for n in range(10):
        bench.run(f"SET k{n} v" + (" PX 100" if n % 2 else ""))
    bench.later(100)
    return bench


def test_expired_keys_are_hidden_from_every_answer(half_expired: Bench) -> None:
    even = {b"k0", b"k2", b"k4", b"k6", b"k8"}
    assert half_expired.run("DBSIZE") == 5
    assert set(half_expired.run("KEYS *")) == even
    assert set(half_expired.run("KEYS k[0-9]")) == even
    assert set(half_expired.run("SCAN 0")[1]) == even
    assert {half_expired.run("RANDOMKEY") for _ in range(200)} == even
    assert half_expired.run("EXISTS k1") == 0
    assert half_expired.run("TYPE k1").text == "none"
    assert half_expired.run("TTL k1") == -2
    assert half_expired.run("OBJECT ENCODING k1") is None
    assert half_expired.run("MEMORY USAGE k1") is None
    assert half_expired.run("DEL k1") == 0
    assert len(half_expired.entries) == 10


def test_randomkey_finds_the_one_visible_key_among_many() -> None:
    bench = Bench()
    for n in range(2000):
        bench.run(f"SET k{n} v PX 1")
    bench.run("SET visible v")
    bench.later(5)
    assert bench.run("RANDOMKEY") == b"visible"
    assert Bench().run("RANDOMKEY") is None


def test_the_sweep_names_expired_keys_longest_expired_first(half_expired: Bench) -> None:
    half_expired.run("SET soon v PX 1")
    half_expired.later(1)
    keyspace = half_expired.engine.keyspace
    assert set(expired_keys(keyspace, half_expired.now_ms, 100)) == {b"k1", b"k3", b"k5", b"k7", b"k9", b"soon"}
    assert expired_keys(keyspace, half_expired.now_ms, 100)[-1] == b"soon"
    assert len(expired_keys(keyspace, half_expired.now_ms, 2)) == 2
    assert half_expired.run("DBSIZE") == 5


def test_what_the_sweep_removed_it_does_not_name_again(half_expired: Bench) -> None:
    keyspace = half_expired.engine.keyspace
    swept = expired_keys(keyspace, half_expired.now_ms, 100)
    half_expired.engine.apply([[b"_EXPIRED", key] for key in swept], half_expired.now_ms)
    assert expired_keys(keyspace, half_expired.now_ms, 100) == []
    assert half_expired.run("DBSIZE") == len(keyspace.values) == 5


def test_a_key_that_lives_again_is_not_swept(half_expired: Bench) -> None:
    half_expired.run("SET k1 new")
    half_expired.run("APPEND k3 new")
    half_expired.run("RENAME k0 k5")
    assert set(expired_keys(half_expired.engine.keyspace, half_expired.now_ms, 100)) == {b"k7", b"k9"}
    assert half_expired.run("PTTL k3") == -1


# -- SCAN -------------------------------------------------------------------------------------------------------


def scan_all(bench: Bench, options: str) -> list[bytes]:
    found: list[bytes] = []
    cursor = b"0"
    while True:
        cursor, page = bench.run(f"SCAN {cursor.decode()} {options}")
        found.extend(page)
        if cursor == b"0":
            return found


def test_count_is_exact() -> None:
    bench = bench_with("MSET a 1 b 2 c 3")
    cursor, page = bench.run("SCAN 0 COUNT 1")
    assert len(page) == 1
    assert cursor != b"0"
    assert sorted(scan_all(bench, "COUNT 1")) == [b"a", b"b", b"c"]


def test_a_small_database_comes_in_one_call() -> None:
    bench = Bench()
    for n in range(40):
        bench.run(f"SET k{n} v")
    cursor, page = bench.run("SCAN 0 MATCH k*")
    assert (cursor, len(page)) == (b"0", 40)


def test_scan_filters_by_pattern_and_type_and_tells_types() -> None:
    bench = bench_with("SET a 1", "SET b 2", "ZADD z 1 m")
    assert bench.run("SCAN 0 MATCH [a-b] TYPE string")[1] == [b"b", b"a"]
    assert bench.run("SCAN 0 TYPE ZSET WITHTYPE") == [b"0", [b"z", "zset"]]
    assert bench.run("SCAN 0 TYPE nonsense")[1] == []


@pytest.mark.parametrize("seed", range(10))
def test_a_key_that_stays_is_seen_whatever_else_changes(seed: int) -> None:
    random = Random(seed)
    bench = Bench()
    for n in range(50):
        bench.run(f"SET stays{n} v")
        bench.run(f"SET goes{n} v")
    seen: set[bytes] = set()
    cursor = b"0"
    while True:
        cursor, page = bench.run(f"SCAN {cursor.decode()} COUNT {random.randrange(1, 9)}")
        seen.update(page)
        if cursor == b"0":
            break
        for _ in range(5):
            bench.run(f"DEL goes{random.randrange(50)}")
            bench.run(f"SET new{random.randrange(50)} v")
    assert {b"stays%d" % n for n in range(50)} <= seen


# -- SORT -------------------------------------------------------------------------------------------------------


def test_sort_orders_by_number_text_or_other_keys() -> None:
    bench = bench_with("ZADD z 1 10 2 9 3 8", "MSET w_10 5 w_9 7 w_8 6", "SET n_9 nine")
    assert bench.run("SORT z") == [b"8", b"9", b"10"]
    assert bench.run("SORT z DESC LIMIT 1 2") == [b"9", b"8"]
    assert bench.run("SORT z ALPHA") == [b"10", b"8", b"9"]
    assert bench.run("SORT z BY w_* GET # GET n_*") == [b"10", None, b"8", None, b"9", b"nine"]
    assert bench.run("SORT_RO z BY nosort DESC") == [b"8", b"9", b"10"]
    assert bench.run("SORT missing") == []


def test_sort_names_its_keys() -> None:
    argv = b"SORT k BY store GET STORE STORE a LIMIT 0 1 STORE t".split()
    assert lookup(argv).keys.find(argv) == [b"k", b"t"]


# -- OBJECT and MEMORY ------------------------------------------------------------------------------------------


def test_without_a_policy_nothing_is_idle_and_nothing_is_counted() -> None:
    bench = bench_with("SET k v")
    bench.later(60_000)
    assert bench.run("OBJECT IDLETIME k") == 0
    assert bench.run("OBJECT FREQ k").text.startswith("ERR An LFU maxmemory policy is not selected")
    assert bench.run("OBJECT FREQ missing") is None
    assert bench.run("OBJECT REFCOUNT k") == 1


def test_idle_time_ends_with_a_use_and_not_with_a_question() -> None:
    bench = bench_with("SET k v", "SET other v")
    bench.engine.keyspace.accesses = Accesses(bench.now_ms, counts_uses=False)
    bench.later(60_000)
    for line in ["OBJECT ENCODING k", "TTL k", "TYPE k", "EXISTS k"]:
        bench.run(line)
    assert bench.run("OBJECT IDLETIME k") == 60
    bench.run("GET k")
    bench.run("SET other w")
    bench.later(3_000)
    assert bench.run("OBJECT IDLETIME k") == 3
    assert bench.run("OBJECT IDLETIME other") == 3
    bench.run("DEL k")
    bench.run("FLUSHALL")
    assert bench.engine.keyspace.accesses.last_ms == {}


def test_frequency_grows_with_use_and_falls_with_time() -> None:
    bench = bench_with("SET k v")
    bench.engine.keyspace.accesses = Accesses(bench.now_ms, counts_uses=True)
    for _ in range(1000):
        bench.run("GET k")
    grown = bench.run("OBJECT FREQ k")
    assert 10 < grown < 100
    assert bench.run("OBJECT IDLETIME k").text.startswith("ERR An LFU maxmemory policy is selected")
    bench.later(3 * 60_000)
    assert bench.run("OBJECT FREQ k") == grown - 3


def test_memory_usage_grows_with_the_value() -> None:
    bench = Bench()
    bench.run("SET", "small", b"x")
    bench.run("SET", "large", b"x" * 10_000)
    small, large = bench.run("MEMORY USAGE small"), bench.run("MEMORY USAGE large SAMPLES 0")
    assert abs(large - small - 9_999) < 16  # as the allocator rounds
    assert bench.run("MEMORY USAGE missing") is None


def test_object_help_lists_every_subcommand() -> None:
    lines = [line.text.split()[0] for line in Bench().run("OBJECT HELP")]
    assert {name.decode() for name in TABLE[b"OBJECT"].subcommands} <= set(lines)


@pytest.mark.parametrize(
    ("elements", "encoding"),
    [([b"x" * 4000, b"y" * 4000], "listpack"), ([b"x" * 4000, b"y" * 4200], "quicklist"), ([b"1"] * 2700, "listpack"),
     ([b"x" * 9000], "quicklist")],
)  # fmt: skip
def test_a_list_is_a_listpack_up_to_8_kib(elements: list[bytes], encoding: str) -> None:
    bench = Bench()
    bench.run("RPUSH", "l", *elements)
    assert bench.run("OBJECT ENCODING l") == encoding
