"""Sorted set commands: what they answer and what they refuse. Their replies are compared with Redis in tests/differential."""

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.context import EVENT_GENERIC, EVENT_ZSET
from upstash_global.reply import NULL_ARRAY, Pairs


def bench_with(pairs: str) -> Bench:
    bench = Bench()
    bench.run(f"ZADD z {pairs}")
    return bench


def everything(bench: Bench, key: str = "z") -> list[tuple[bytes, float]]:
    reply = bench.run(f"ZRANGE {key} 0 -1 WITHSCORES")
    return reply.items if isinstance(reply, Pairs) else reply


def test_members_stand_by_score_and_then_by_bytes() -> None:
    assert bench_with("2 b 1 c 2 B 1 a").run("ZRANGE z 0 -1") == [b"a", b"c", b"B", b"b"]


def test_zadd_counts_new_members_and_with_ch_changed_ones() -> None:
    bench = bench_with("1 a 2 b")
    assert bench.run("ZADD z 1 a 3 b 4 c") == 1
    assert bench.run("ZADD z CH 1 a 5 b 6 d") == 2


@pytest.mark.parametrize(
    ("options", "pair", "after"),
    [
        ("NX", "9 a", 5.0),
        ("XX", "9 a", 9.0),
        ("GT", "4 a", 5.0),
        ("GT", "6 a", 6.0),
        ("LT", "6 a", 5.0),
        ("LT", "4 a", 4.0),
        ("XX GT", "6 a", 6.0),
        ("xx lt ch", "6 a", 5.0),
    ],
)
def test_zadd_conditions(options: str, pair: str, after: float) -> None:
    bench = bench_with("5 a")
    bench.run(f"ZADD z {options} {pair}")
    assert bench.run("ZSCORE z a") == after


def test_zadd_incr_answers_the_score_or_nil() -> None:
    bench = bench_with("5 a")
    assert bench.run("ZADD z INCR 2 a") == 7.0
    assert bench.run("ZADD z NX INCR 2 a") is None
    assert bench.run("ZADD z GT INCR -1 a") is None
    assert bench.run("ZADD z XX INCR 2 b") is None
    assert bench.run("ZINCRBY z 1.5 b") == 1.5


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("NX XX 1 a", "ERR XX and NX options at the same time are not compatible"),
        ("GT LT 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("NX GT 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("INCR 1 a 2 b", "ERR INCR option supports a single increment-element pair"),
        ("1 a 2", "ERR syntax error"),
        ("nan a", "ERR value is not a valid float"),
        ("1 a x b", "ERR value is not a valid float"),
    ],
)
def test_zadd_refusals_change_nothing(words: str, text: str) -> None:
    bench = Bench()
    assert bench.run(f"ZADD z {words}").text == text
    assert bench.entries == []
    assert bench.run("ZCARD z") == 0


def test_infinities_do_not_add_up_to_nan() -> None:
    bench = bench_with("inf a")
    assert bench.run("ZINCRBY z -inf a").text == "ERR resulting score is not a number (NaN)"
    assert bench.run("ZSCORE z a") == float("inf")


def test_a_command_that_changes_nothing_is_not_logged() -> None:
    bench = bench_with("1 a")
    n_entries = len(bench.entries)
    for line in ["ZADD z 1 a", "ZADD z XX 5 b", "ZINCRBY z 0 a", "ZREM z b", "ZREMRANGEBYSCORE z 7 9", "ZPOPMIN z 0",
                 "ZADD z GT 0 a", "ZRANGESTORE nothing z 5 9", "ZUNIONSTORE nothing 1 none", "ZMPOP 1 none MIN"]:  # fmt: skip
        bench.run(line)
    assert len(bench.entries) == n_entries


def test_ranges_by_rank_score_and_member_backwards_too() -> None:
    bench = bench_with("1 a 2 b 3 c 4 d")
    assert bench.run("ZRANGE z 1 -2") == [b"b", b"c"]
    assert bench.run("ZRANGE z 0 1 REV") == [b"d", b"c"]
    assert bench.run("ZRANGE z (1 3 BYSCORE") == [b"b", b"c"]
    assert bench.run("ZRANGE z 3 -inf BYSCORE REV LIMIT 1 5") == [b"b", b"a"]
    assert bench.run("ZREVRANGEBYSCORE z +inf 3 WITHSCORES") == Pairs([(b"d", 4.0), (b"c", 3.0)])
    bench.run("ZADD l 0 a 0 b 0 c 0 d")
    assert bench.run("ZRANGE l [b + BYLEX LIMIT 0 2") == [b"b", b"c"]
    assert bench.run("ZREVRANGEBYLEX l (d -") == [b"c", b"b", b"a"]
    assert bench.run("ZLEXCOUNT l (a [c") == 2


def test_limit_works_on_ranks_as_upstash_has_it() -> None:
    bench = bench_with("1 a 2 b 3 c 4 d")
    assert bench.run("ZRANGE z 0 -1 LIMIT 1 2") == [b"b", b"c"]
    assert bench.run("ZRANGE z 0 -1 REV LIMIT 1 2") == [b"c", b"b"]
    assert bench.run("ZRANGESTORE r z 0 -1 LIMIT 2 -1") == 2
    refused = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
    assert bench.run("ZREVRANGE z 0 -1 LIMIT 1 2").text == refused


def test_a_stored_range_takes_its_members_in_the_order_of_the_range() -> None:
    """A listpack forgets the sign of -0: the highest member is too long for one, and comes first or last."""
    bench = bench_with(f"-0 a 1 {'x' * 65}")
    bench.run("ZADD z -0 b")
    bench.run("ZRANGESTORE ascending z 0 -1")
    bench.run("ZRANGESTORE descending z 0 -1 REV")
    assert repr(bench.run("ZMSCORE ascending a b")) == "[0.0, 0.0]"
    assert repr(bench.run("ZMSCORE descending a b")) == "[0.0, -0.0]"


def test_a_stored_range_of_many_ranks_is_no_listpack_from_the_start() -> None:
    bench = bench_with(scored(130))
    bench.run("ZADD z -1 m0 -0 m1")
    bench.run("ZRANGESTORE few z 0 127")
    bench.run("ZRANGESTORE many z 0 128")
    bench.run("ZRANGESTORE also-many z -inf +inf BYSCORE")
    assert [repr(bench.run(f"ZSCORE {key} m1")) for key in ("few", "many", "also-many")] == ["0.0", "-0.0", "0.0"]


def test_ranks_count_from_either_end_and_may_bring_the_score() -> None:
    bench = bench_with("1 a 2 b 3 c")
    assert bench.run("ZRANK z c") == 2
    assert bench.run("ZREVRANK z c WITHSCORE") == [0, 3.0]
    assert bench.run("ZRANK z x") is None
    assert bench.run("ZRANK z x WITHSCORE") is NULL_ARRAY


def test_pops_take_from_their_end() -> None:
    bench = bench_with("1 a 2 b 3 c 4 d 5 e")
    assert bench.run("ZPOPMIN z") == [b"a", 1.0]
    assert bench.run("ZPOPMAX z 2") == Pairs([(b"e", 5.0), (b"d", 4.0)])
    assert bench.run("ZMPOP 2 none z MIN COUNT 9") == [b"z", [[b"b", 2.0], [b"c", 3.0]]]
    assert bench.run("ZMPOP 2 none z MIN") is NULL_ARRAY
    assert bench.run("ZPOPMIN z") == []


@pytest.mark.parametrize("count", ["0", "-1", "a", "99999999999999999999"])
def test_a_count_that_is_none_is_refused(count: str) -> None:
    for line in (f"ZMPOP 1 z MIN COUNT {count}", f"BZMPOP 0 2 y z MAX COUNT {count}"):
        assert bench_with("1 a").run(line).text == "ERR count should be greater than 0"


def test_an_emptied_set_is_no_key_and_says_so() -> None:
    bench = bench_with("1 a")
    bench.engine.context.event_mask = EVENT_ZSET | EVENT_GENERIC
    bench.run("ZREM z a")
    assert bench.effects is not None
    assert bench.effects.events == [(EVENT_ZSET, b"zrem", b"z"), (EVENT_GENERIC, b"del", b"z")]
    assert bench.engine.keyspace.values == {}


def test_random_members_are_distinct_unless_asked_otherwise() -> None:
    bench = bench_with("1 a 2 b 3 c")
    for _ in range(20):
        assert len({*bench.run("ZRANDMEMBER z 2")}) == 2
    assert sorted(bench.run("ZRANDMEMBER z 9")) == [b"a", b"b", b"c"]
    assert len(bench.run("ZRANDMEMBER z -9")) == 9
    assert bench.run("ZRANDMEMBER z -99999999999").text == "ERR value is out of range"
    for member, score in bench.run("ZRANDMEMBER z 2 WITHSCORES").items:
        assert bench.run("ZSCORE", "z", member) == score


def test_plain_sets_take_part_in_algebra_with_score_one() -> None:
    bench = bench_with("5 a 7 b")
    bench.run("SADD y b c")
    assert bench.run("ZUNION 2 z y WITHSCORES") == Pairs([(b"c", 1.0), (b"a", 5.0), (b"b", 8.0)])
    assert bench.run("ZINTER 2 z y AGGREGATE MIN WITHSCORES") == Pairs([(b"b", 1.0)])
    assert bench.run("ZDIFF 2 z y") == [b"a"]
    assert bench.run("ZINTERCARD 2 z z LIMIT 1") == 1
    assert bench.run("ZUNION 0 z").text == "ERR at least 1 input key is needed for 'zunion' command"


def test_storing_may_overwrite_a_source_and_clears_its_deadline() -> None:
    bench = bench_with("1 a 2 b")
    bench.engine.keyspace.set_deadline(b"z", bench.now_ms + 1000)
    assert bench.run("ZUNIONSTORE z 2 z z") == 2
    assert everything(bench) == [(b"a", 2.0), (b"b", 4.0)]
    assert bench.engine.context.deadline(b"z") == -1


def test_scans_see_every_member_with_its_score() -> None:
    bench = Bench()
    for number in range(300):
        bench.run(f"ZADD z {number / 2} m{number}")
    found: dict[bytes, bytes] = {}
    cursor = b"0"
    pages = 0
    while pages == 0 or cursor != b"0":
        cursor, page = bench.run("ZSCAN", "z", cursor, "COUNT", 40)
        found.update(zip(page[::2], page[1::2], strict=True))
        pages += 1
    assert pages > 2
    assert len(found) == 300
    assert found[b"m3"] == b"1.5"
    assert bench.run("ZSCAN z 0 MATCH m29? COUNT 1000")[1][::2] != []


@pytest.mark.parametrize(
    "line", ["ZADD s 1 a", "ZRANGE s 0 1", "ZUNION 2 z s", "ZPOPMIN s", "ZMPOP 1 s MIN", "ZSCAN s 0"]
)
def test_other_types_are_refused(line: str) -> None:
    bench = Bench()
    bench.run("SET s text")
    assert bench.run(line).text.startswith("WRONGTYPE")


# -- encodings ----------------------------------------------------------------------------------------------------


def scored(n: int) -> str:
    return " ".join(f"{i} m{i}" for i in range(n))


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        ([f"ZADD z {scored(128)}"], "listpack"),
        ([f"ZADD z {scored(129)}"], "skiplist"),
        ([f"ZADD z {scored(128)}", "ZADD z 1 one-more"], "skiplist"),
        ([f"ZADD z {scored(129)}", "ZREMRANGEBYRANK z 1 -1"], "skiplist"),
        ([f"ZADD z 1 {'x' * 64}"], "listpack"),
        ([f"ZADD z 1 {'x' * 65}"], "skiplist"),
        ([f"ZADD z 1 {'x' * 65}", f"ZADD z 1 a {'1 ' + 'x' * 64}", f"ZREM z {'x' * 65}"], "skiplist"),
        ([f"ZINCRBY z 1 {'x' * 65}"], "skiplist"),
        ([f"ZADD a {scored(128)}", "ZUNIONSTORE z 1 a"], "listpack"),
        ([f"ZADD a {scored(128)}", "ZADD b 1 x", "ZUNIONSTORE z 2 a b"], "skiplist"),
        ([f"ZADD a {scored(200)}", "ZRANGESTORE z a 0 127"], "listpack"),
        ([f"ZADD a {scored(200)}", "ZRANGESTORE z a 0 128"], "skiplist"),
    ],
)
def test_encodings(lines: list[str], encoding: str) -> None:
    bench = Bench()
    for line in lines:
        bench.run(line)
    assert bench.run("OBJECT ENCODING z") == encoding
