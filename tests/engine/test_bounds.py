"""Counts, lengths and patterns of clients are bounded before memory or time is spent on them.

Each line is answered, which a line whose work grew with the number in it, or exponentially with its pattern, would not be
within anybody's patience; and with little memory. Scripts that do not end are in test_scripting.py.
"""

import tracemalloc

import pytest

from tests.engine.bench import Bench
from upstash_global.errors import CommandError
from upstash_global.reply import Reply

MOST_BYTES = 4 << 20
OUT_OF_RANGE = "value is out of range"
TOO_LONG = "string exceeds maximum allowed size (proto-max-bulk-len)"
BIT_OFFSET = "bit offset is not an integer or out of range"
GLOB_BOMB = b"a*" * 200 + b"b"  # 2**200 ways to match, if they were tried


def answered(bench: Bench, *words: str | bytes) -> Reply:
    """The reply, an error included, for less than MOST_BYTES at any moment."""
    tracemalloc.start()
    try:
        reply = bench.run(*words)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES, words[:2]
    finally:
        tracemalloc.stop()
    return reply


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    for line in ("SADD s a b c", "HSET h a 1 b 2", "ZADD z 1 a 2 b", "RPUSH l a b a", "SET k v"):
        bench.run(line)
    return bench


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SRANDMEMBER s -4611686018427387905", OUT_OF_RANGE),
        ("SRANDMEMBER s -4611686018427387903", OUT_OF_RANGE),
        ("SRANDMEMBER s -1000000000", OUT_OF_RANGE),
        ("HRANDFIELD h -4611686018427387905 WITHVALUES", OUT_OF_RANGE),
        ("HRANDFIELD h -1000000000", OUT_OF_RANGE),
        ("ZRANDMEMBER z -4611686018427387905 WITHSCORES", OUT_OF_RANGE),
        ("ZRANDMEMBER z -1000000000", OUT_OF_RANGE),
        ("SETRANGE k 536870912 x", TOO_LONG),
        ("SETRANGE k 9223372036854775807 x", TOO_LONG),
        ("SETBIT k 4294967296 1", BIT_OFFSET),
        ("BITFIELD k SET u8 4611686018427387904 1", BIT_OFFSET),
        ("BITFIELD k SET u8 #2305843009213693952 1", BIT_OFFSET),
        ("BITFIELD k GET u8 9223372036854775807", BIT_OFFSET),
        ("SINTERCARD 4611686018427387904 s", "Number of keys can't be greater than number of args"),
        ("EVAL 'return 1' 4611686018427387904", "Number of keys can't be greater than number of args"),
    ],
)
def test_a_number_too_large_to_be_meant_is_refused(bench: Bench, line: str, message: str) -> None:
    reply = answered(bench, line)
    assert isinstance(reply, CommandError) and reply.message == message


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("LPOS l a COUNT 9223372036854775807 MAXLEN 9223372036854775807", [0, 2]),
        ("LPOS l a RANK -9223372036854775807", None),
        ("LPOP l 4611686018427387904", [b"a", b"b", b"a"]),
        ("LRANGE l -9223372036854775808 9223372036854775807", [b"a", b"b", b"a"]),
        ("GETRANGE k -9223372036854775808 9223372036854775807", b"v"),
        ("ZRANGE z 0 9223372036854775807", [b"a", b"b"]),
        ("SCAN 0 MATCH k COUNT 9223372036854775807", [b"0", [b"k"]]),
    ],
)
def test_a_number_that_says_everything_takes_what_there_is(bench: Bench, line: str, reply: Reply) -> None:
    assert answered(bench, line) == reply


def test_what_is_named_many_times_is_read_once(bench: Bench) -> None:
    """Each of these answers a thousand times as much as there is; without sharing they took 10 to 100 MB."""
    for i in range(1000):
        bench.run(b"SADD", b"many", b"%d" % i)
        bench.run(b"XADD", b"x", b"%d-1" % (i + 1), b"a", b"b")
    bench.run(b"JSON.SET", b"j", b"$", b'"' + b"x" * 100_000 + b'"')
    bench.run(b"XGROUP", b"CREATE", b"x", b"g", b"0")
    bench.run(b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", b"x", b">")
    bench.run(b"XADD", b"long", b"1-1", b"a", b"x" * 100_000)
    bench.run(b"XGROUP", b"CREATE", b"long", b"g", b"0")
    times = 1000
    assert len(answered(bench, b"ZUNION", b"%d" % times, *[b"many"] * times)) == 1000
    assert len(answered(bench, b"JSON.MGET", *[b"j"] * times, b"$")) == times
    streams, ids = [b"x"] * times, [b"0"] * times
    assert len(answered(bench, b"XREAD", b"STREAMS", *streams, *ids).items) == times
    assert len(answered(bench, b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", *streams, *ids).items) == times
    assert len(answered(bench, b"XCLAIM", b"long", b"g", b"c", b"0", *[b"1-1"] * times, b"FORCE")) == times


def test_sort_refuses_to_get_more_than_could_be_sent(bench: Bench) -> None:
    bench.run(b"RPUSH", b"longer", *[b"1"] * 10_000)
    refusal = answered(bench, b"SORT", b"longer", b"BY", b"nosort", *[b"GET", b"#"] * 4000)
    assert isinstance(refusal, CommandError) and refusal.message == "the reply would be too long"


def test_lcs_refuses_long_strings_without_a_copy(bench: Bench) -> None:
    bench.run("SETRANGE one 8000000 x")
    bench.run("SETRANGE other 8000000 x")
    refusal = answered(bench, b"LCS", b"one", b"other")
    assert isinstance(refusal, CommandError) and refusal.message.startswith("Insufficient memory")


def test_glob_bombs_are_answered(bench: Bench) -> None:
    bench.run(b"SET", b"a" * 500, b"v")
    bench.run(b"SADD", b"s", b"a" * 500)
    assert answered(bench, b"KEYS", GLOB_BOMB) == []
    assert answered(bench, b"SCAN", b"0", b"MATCH", GLOB_BOMB)[1] == []
    assert answered(bench, b"SSCAN", b"s", b"0", b"MATCH", GLOB_BOMB)[1] == []
    refusal = answered(bench, b"KEYS", b"[" * 5000)
    assert isinstance(refusal, CommandError) and refusal.message == "pattern is too long"


@pytest.mark.parametrize("text", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
def test_deep_json_is_refused(bench: Bench, text: bytes) -> None:
    refusal = answered(bench, b"JSON.SET", b"j", b"$", text)
    assert isinstance(refusal, CommandError) and refusal.message == "recursion limit exceeded"
