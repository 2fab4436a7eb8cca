from random import Random

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.context import EVENT_GENERIC, EVENT_STRING


def encoding_after(*lines: str) -> str:
    bench = Bench()
    for line in lines:
        bench.run(line)
    found: str = bench.run("OBJECT ENCODING k")
    return found


# -- SET and GET ------------------------------------------------------------------------------------------------


def test_what_is_set_is_got() -> None:
    bench = Bench()
    assert bench.run("SET", "k", b"\x00\xff").text == "OK"
    assert bench.run("GET k") == b"\x00\xff"
    assert bench.run("GET missing") is None


@pytest.mark.parametrize(
    ("options", "expected", "left_ms"),
    [("EX 10", "OK", 10_000), ("PX 1500", "OK", 1500), ("EXAT 1700000100", "OK", 100_000),
     ("PXAT 1700000000500", "OK", 500), ("KEEPTTL", "OK", 5000), ("", "OK", -1), ("XX EX 3", "OK", 3000)],
)  # fmt: skip
def test_set_gives_keeps_or_clears_the_deadline(options: str, expected: str, left_ms: int) -> None:
    bench = Bench()
    bench.run("SET k old PX 5000")
    assert bench.run(f"SET k new {options}").text == expected
    assert bench.run("GET k") == b"new"
    assert bench.run("PTTL k") == left_ms


def test_set_nx_and_xx_look_at_the_key_first() -> None:
    bench = Bench()
    assert bench.run("SET k 1 XX") is None
    assert bench.run("SET k 1 NX").text == "OK"
    assert bench.run("SET k 2 NX") is None
    assert bench.run("SET k 2 NX GET") == b"1"
    assert bench.run("SET k 3 XX GET") == b"1"
    assert bench.run("SET other 1 GET") is None
    assert bench.run("GET k") == b"3"


def test_set_get_refuses_a_value_of_another_type() -> None:
    bench = Bench()
    bench.run("ZADD k 1 a")
    assert bench.run("SET k v GET").code == "WRONGTYPE"
    assert bench.run("TYPE k").text == "zset"


def test_a_deadline_in_the_past_deletes_and_is_logged_as_del() -> None:
    bench = Bench()
    bench.run("SET k v")
    assert bench.run("SET k w PXAT 1").text == "OK"
    assert bench.run("EXISTS k") == 0
    assert bench.entries[-1].commands == [[b"DEL", b"k"]]
    assert bench.run("SET k w PXAT 1").text == "OK"
    assert len(bench.entries) == 2


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("SET k v EX", "ERR syntax error"),
        ("SET k v NX XX", "ERR syntax error"),
        ("SET k v EX 10 PX 10", "ERR syntax error"),
        ("SET k v KEEPTTL EX 10", "ERR syntax error"),
        ("SET k v EX x", "ERR value is not an integer or out of range"),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET k v EX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("SET k v PX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("SETEX k -1 v", "ERR invalid expire time in 'setex' command"),
        ("PSETEX k 0 v", "ERR invalid expire time in 'psetex' command"),
        ("GETEX s EX 0", "ERR invalid expire time in 'getex' command"),
        ("GETEX s EX 10 PERSIST", "ERR syntax error"),
        ("GETEX s KEEPTTL", "ERR syntax error"),
        ("SETRANGE k -1 v", "ERR offset is out of range"),
        ("SETRANGE k 536870912 v", "ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("INCR s", "ERR value is not an integer or out of range"),
        ("INCRBY k 9223372036854775808", "ERR value is not an integer or out of range"),
        ("INCRBY max 1", "ERR increment or decrement would overflow"),
        ("DECRBY max -9223372036854775808", "ERR decrement would overflow"),
        ("INCRBYFLOAT s 1", "ERR value is not a valid float"),
        ("INCRBYFLOAT max inf", "ERR increment would produce NaN or Infinity"),
        ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
        ("MSETNX a 1 b", "ERR wrong number of arguments for 'msetnx' command"),
        ("LCS z s", "ERR The specified keys must contain string values"),
        ("LCS s s LEN IDX", "ERR If you want both the length and indexes, please just use IDX."),
        ("LCS s s MINMATCHLEN", "ERR syntax error"),
    ],
)  # fmt: skip
def test_refusals_are_worded_as_by_redis_and_change_nothing(line: str, text: str) -> None:
    bench = Bench()
    bench.run("MSET s text max 9223372036854775807")
    bench.run("ZADD z 1 a")
    before = bench.digest()
    assert bench.run(line).text == text
    assert bench.digest() == before


@pytest.mark.parametrize("line", ["GET z", "GETRANGE z 0 1", "STRLEN z", "APPEND z v", "INCR z", "INCRBYFLOAT z 1",
                                  "GETDEL z", "GETEX z", "GETSET z v", "SETRANGE z 0 v"])  # fmt: skip
def test_only_strings_are_taken_for_strings(line: str) -> None:
    bench = Bench()
    bench.run("ZADD z 1 a")
    assert bench.run(line).code == "WRONGTYPE"


def test_mget_answers_nil_for_what_is_no_string() -> None:
    bench = Bench()
    bench.run("ZADD z 1 a")
    bench.run("APPEND k a")
    bench.run("APPEND k b")
    assert bench.run("MGET k z missing k") == [b"ab", None, None, b"ab"]


def test_msetnx_sets_all_or_nothing() -> None:
    bench = Bench()
    bench.run("SET b old")
    assert bench.run("MSETNX a 1 b 2") == 0
    assert bench.run("EXISTS a") == 0
    assert bench.run("MSETNX a 1 c 2") == 1


def test_getex_without_options_is_a_read() -> None:
    bench = Bench()
    bench.run("SET k v EX 10")
    assert bench.run("GETEX k") == b"v"
    assert len(bench.entries) == 1


def test_a_reply_does_not_change_with_the_value_it_was_taken_from() -> None:
    bench = Bench()
    bench.run("APPEND k a")
    bench.run("APPEND k b")
    before = bench.run("GET k")
    bench.run("APPEND k c")
    assert before == b"ab"


# -- parts of a string ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "part"),
    [(0, 2, b"abc"), (-2, -1, b"ef"), (0, -1, b"abcdef"), (2, 100, b"cdef"), (4, 2, b""), (-1, -2, b""), (0, -100, b"a"),
     (-100, 1, b"ab"), (6, 8, b"")],
)  # fmt: skip
def test_getrange_takes_both_ends(start: int, end: int, part: bytes) -> None:
    bench = Bench()
    bench.run("SET k abcdef")
    assert bench.run(f"GETRANGE k {start} {end}") == part
    assert bench.run(f"SUBSTR k {start} {end}") == part


def test_setrange_fills_with_zero_bytes() -> None:
    bench = Bench()
    assert bench.run("SETRANGE k 3 ab") == 5
    assert bench.run("GET k") == b"\x00\x00\x00ab"
    assert bench.run("SETRANGE k 1 xyz") == 5
    assert bench.run("GET k") == b"\x00xyzb"
    assert bench.run("SETRANGE missing 5 ''") == 0
    assert bench.run("EXISTS missing") == 0


def test_append_refuses_what_would_get_too_long() -> None:
    bench = Bench()
    bench.run("SET k abc")
    bench.engine.context.limits.proto_max_bulk_len = 5
    assert bench.run("APPEND k def").text == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    assert bench.run("APPEND k de") == 5


# -- counters and encodings -------------------------------------------------------------------------------------


def test_counters_count() -> None:
    bench = Bench()
    assert [bench.run(line) for line in ("INCR k", "INCRBY k 9", "DECR k", "DECRBY k -1")] == [1, 10, 9, 10]
    assert bench.run("INCRBYFLOAT k 0.1") == b"10.1"


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        (["SET k 12"], "int"),
        (["SET k 012"], "embstr"),
        (["SET k 9223372036854775808"], "embstr"),
        (["SET k " + "x" * 44], "embstr"),
        (["SET k " + "x" * 45], "raw"),
        (["APPEND k 12"], "int"),
        (["SET k 12", "APPEND k 3"], "raw"),
        (["SETRANGE k 0 12"], "raw"),
        (["SET k 1", "APPEND k 2", "INCR k"], "int"),
        (["INCRBYFLOAT k 12"], "embstr"),
        (["INCRBYFLOAT k 12", "INCR k"], "int"),
        (["INCRBYFLOAT k 12", "GETSET k 12"], "int"),
        (["INCRBYFLOAT a 12", "RENAME a k"], "embstr"),
    ],
)  # fmt: skip
def test_encodings_are_those_of_redis(lines: list[str], encoding: str) -> None:
    assert encoding_after(*lines) == encoding


# -- events -----------------------------------------------------------------------------------------------------


def test_events_are_those_of_redis() -> None:
    bench = Bench()
    bench.engine.context.event_mask = EVENT_STRING | EVENT_GENERIC
    events: list[bytes] = []
    for line in ["SET k v EX 10", "APPEND k x", "SET k 1", "INCR k", "INCRBYFLOAT k 1", "SETRANGE k 0 1", "GETEX k EX 5",
                 "GETEX k PERSIST", "GETDEL k"]:  # fmt: skip
        bench.run(line)
        assert bench.effects is not None
        events.extend(event for _, event, _ in bench.effects.events)
    assert events == [b"set", b"expire", b"append", b"set", b"incrby", b"incrbyfloat", b"setrange", b"expire", b"persist",
                      b"del"]  # fmt: skip


# -- LCS --------------------------------------------------------------------------------------------------------


def test_lcs_answers_text_length_and_ranges() -> None:
    bench = Bench()
    bench.run("MSET a ohmytext b mynewtext")
    assert bench.run("LCS a b") == b"mytext"
    assert bench.run("LCS a b LEN") == 6
    assert bench.run("LCS a b IDX") == {b"matches": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], b"len": 6}
    assert bench.run("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN") == {b"matches": [[[4, 7], [5, 8], 4]], b"len": 6}
    assert bench.run("LCS a missing") == b""


def naive_lcs(a: str, b: str) -> str:
    """The walk through a full table, left when both ways are as good, as Redis does it."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            equal = a[i - 1] == b[j - 1]
            table[i][j] = table[i - 1][j - 1] + 1 if equal else max(table[i - 1][j], table[i][j - 1])
    i, j, found = len(a), len(b), ""
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j, found = i - 1, j - 1, a[i - 1] + found
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found


@pytest.mark.parametrize("seed", range(5))
def test_lcs_finds_the_same_subsequence_as_a_full_table(seed: int) -> None:
    random = Random(seed)
    bench = Bench()
    for _ in range(100):
        a = "".join(random.choices("abcd", k=random.randrange(1, 30)))
        b = "".join(random.choices("abcd", k=random.randrange(1, 30)))
        bench.run(f"MSET a {a} b {b}")
        assert bench.run("LCS a b") == naive_lcs(a, b).encode()


def test_lcs_refuses_what_would_need_too_much_memory() -> None:
    bench = Bench()
    bench.run("SET", "a", b"x" * 20_000)
    assert bench.run("LCS a a").text.startswith("ERR Insufficient memory")
