"""Hash commands: what they answer and what they refuse. Their replies are compared with Redis in tests/differential."""

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.context import EVENT_GENERIC, EVENT_HASH
from upstash_global.errors import CommandError, error
from upstash_global.reply import OK, Pairs


def bench_with(pairs: str) -> Bench:
    bench = Bench()
    bench.run(f"HSET h {pairs}")
    return bench


def big_hash(n: int) -> Bench:
    return bench_with(" ".join(f"f{i} {i}" for i in range(n)))


def test_hset_counts_new_fields() -> None:
    bench = bench_with("a 1")
    assert bench.run("HSET h a 2") == 0
    assert bench.run("HSET h a 3 b 1 c 1 c 2") == 2
    assert bench.run("HGETALL h") == {b"a": b"3", b"b": b"1", b"c": b"2"}


def test_hmset_answers_ok_and_hsetnx_keeps_what_is_there() -> None:
    bench = Bench()
    assert bench.run("HMSET h a 1 b 2") == OK
    assert bench.run("HSETNX h a 9") == 0
    assert bench.run("HSETNX h c 3") == 1
    assert bench.run("HMGET h a missing c") == [b"1", None, b"3"]


@pytest.mark.parametrize("name", ["hset", "hmset"])
def test_a_field_without_value_is_a_matter_of_arity(name: str) -> None:
    bench = Bench()
    assert bench.run(f"{name} h a 1 b") == error(f"wrong number of arguments for '{name}' command")
    assert bench.entries == []


def test_reads_of_no_hash() -> None:
    bench = Bench()
    lines = ["HGET h a", "HGETALL h", "HKEYS h", "HVALS h", "HLEN h", "HMGET h a b", "HEXISTS h a", "HSTRLEN h a",
             "HRANDFIELD h", "HRANDFIELD h 2", "HSCAN h 0"]  # fmt: skip
    assert [bench.run(line) for line in lines] == [
        None, {}, [], [], 0, [None, None], 0, 0, None, [], [b"0", []]]  # fmt: skip


@pytest.mark.parametrize("line", ["HGET h a", "HSET h a 1", "HDEL h a", "HINCRBY h a 1", "HRANDFIELD h", "HSCAN h 0"])
def test_another_type_is_refused(line: str) -> None:
    bench = Bench()
    bench.run("SET h v")
    reply = bench.run(line)
    assert isinstance(reply, CommandError) and reply.code == "WRONGTYPE"


def test_the_last_field_takes_the_key_with_it() -> None:
    bench = bench_with("a 1 b 2")
    assert bench.run("HDEL h b missing b") == 1
    assert bench.run("HDEL h a") == 1
    assert bench.effects is not None
    assert bench.run("EXISTS h") == 0


def test_a_removal_of_nothing_is_not_logged() -> None:
    bench = bench_with("a 1")
    bench.run("HDEL h missing")
    bench.run("HSETNX h a 2")
    assert len(bench.entries) == 1


# -- counters -----------------------------------------------------------------------------------------------------


def test_hincrby_counts() -> None:
    bench = bench_with("n 5")
    assert bench.run("HINCRBY h n -7") == -2
    assert bench.run("HINCRBY h new 3") == 3
    assert bench.run("HGET h n") == b"-2"


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("HINCRBY h text 1", "hash value is not an integer"),
        ("HINCRBY h text x", "value is not an integer or out of range"),
        ("HINCRBY h most 1", "increment or decrement would overflow"),
        ("HINCRBYFLOAT h text 1", "hash value is not a float"),
        ("HINCRBYFLOAT h most x", "value is not a valid float"),
        ("HINCRBYFLOAT h most inf", "value is NaN or Infinity"),
        ("HINCRBYFLOAT h inf 1", "increment would produce NaN or Infinity"),
    ],
)
def test_a_refused_increment_changes_nothing(line: str, refusal: str) -> None:
    bench = bench_with("text x most 9223372036854775807 inf inf")
    before = bench.digest()
    assert bench.run(line) == error(refusal)
    assert bench.digest() == before and len(bench.entries) == 1


def test_hincrbyfloat_counts_in_long_doubles() -> None:
    bench = bench_with("f 0.1")
    assert bench.run("HINCRBYFLOAT h f 0.2") == b"0.3"
    assert bench.run("HINCRBYFLOAT h new 5.0e3") == b"5000"


# -- encodings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "encoding"),
    [
        ("HSET h a 1", "listpack"),
        (f"HSET h {'x' * 64} {'y' * 64}", "listpack"),
        (f"HSET h a {'x' * 65}", "hashtable"),
        (f"HSET h {'x' * 65} 1", "hashtable"),
        (f"HINCRBY h {'x' * 65} 1", "hashtable"),
        (f"HSETNX h a {'x' * 65}", "hashtable"),
        ("HSET h " + " ".join(f"f{i} v" for i in range(512)), "listpack"),
        ("HSET h " + " ".join(f"f{i} v" for i in range(513)), "hashtable"),
        ("HSET h " + " ".join(["f v"] * 513), "hashtable"),
    ],
)
def test_encodings(line: str, encoding: str) -> None:
    bench = Bench()
    bench.run(line)
    assert bench.run("OBJECT ENCODING h") == encoding


def test_one_field_more_makes_a_hashtable_for_good() -> None:
    bench = big_hash(512)
    bench.run("HSET h one more")
    assert bench.run("OBJECT ENCODING h") == "hashtable"
    bench.run("HDEL h " + " ".join(f"f{i}" for i in range(512)))
    assert bench.run("OBJECT ENCODING h") == "hashtable"


# -- picks and scans ----------------------------------------------------------------------------------------------


def test_hrandfield_shapes() -> None:
    bench = bench_with("a 1 b 2 c 3")
    assert bench.run("HRANDFIELD h") in (b"a", b"b", b"c")
    assert sorted(bench.run("HRANDFIELD h 9")) == [b"a", b"b", b"c"]
    assert len(set(bench.run("HRANDFIELD h 2"))) == 2
    assert len(bench.run("HRANDFIELD h -9")) == 9
    picked = bench.run("HRANDFIELD h -4 WITHVALUES")
    assert isinstance(picked, Pairs)
    assert len(picked.items) == 4 and set(picked.items) <= {(b"a", b"1"), (b"b", b"2"), (b"c", b"3")}


def test_more_picks_than_memory_holds_are_refused() -> None:
    bench = bench_with("a 1")
    assert bench.run("HRANDFIELD h -1000000000000") == error("value is out of range")


def test_picks_follow_the_changes_of_a_hash() -> None:
    bench = big_hash(200)
    bench.run("HRANDFIELD h")
    bench.run("HDEL h " + " ".join(f"f{i}" for i in range(199)))
    bench.run("HSET h new 1")
    assert {bench.run("HRANDFIELD h") for _ in range(50)} == {b"f199", b"new"}


def test_a_small_hash_is_scanned_in_one_page() -> None:
    bench = bench_with("a 1 b 2 c 3")
    assert bench.run("HSCAN h 0 COUNT 1") == [b"0", [b"a", b"1", b"b", b"2", b"c", b"3"]]
    assert bench.run("HSCAN h 7 MATCH [ab]") == [b"0", [b"a", b"1", b"b", b"2"]]
    assert bench.run("HSCAN h 0 NOVALUES MATCH [ab]") == [b"0", [b"a", b"b"]]
    assert bench.run("SCAN 0 NOVALUES").text == "ERR NOVALUES option can only be used in HSCAN"


def test_a_big_hash_is_scanned_by_pages_that_miss_no_staying_field() -> None:
    bench = big_hash(600)
    seen: set[bytes] = set()
    cursor, step = b"0", 0
    while True:
        cursor, page = bench.run("HSCAN", "h", cursor, "COUNT", 20)
        assert len(page) <= 40
        seen.update(page[::2])
        if cursor == b"0":
            break
        bench.run(f"HDEL h f{step} f{499 - step}")
        bench.run(f"HSET h extra{step} 1")
        step += 1
    assert {b"f%d" % i for i in range(step, 500 - step)} <= seen


def test_an_index_of_fields_is_no_part_of_the_state() -> None:
    asked, unasked = big_hash(200), big_hash(200)
    asked.run("HRANDFIELD h")
    for bench in (asked, unasked):
        bench.run("HDEL h f3 f7")
        bench.run("HSET h f3 again")
    assert asked.digest() == unasked.digest()


def test_events_are_those_of_redis() -> None:
    bench = Bench()
    bench.engine.context.event_mask = EVENT_HASH | EVENT_GENERIC
    events: list[bytes] = []
    for line in ["HSET h a 1", "HMSET h b 1", "HSETNX h c 1", "HINCRBY h a 1", "HINCRBYFLOAT h a 1", "HDEL h a b c"]:
        bench.run(line)
        assert bench.effects is not None
        events.extend(event for _, event, _ in bench.effects.events)
    assert events == [b"hset", b"hset", b"hset", b"hincrby", b"hincrbyfloat", b"hdel", b"del"]
