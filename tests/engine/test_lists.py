"""List commands: what they answer and what they refuse. Their replies are compared with Redis in tests/differential."""

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.context import EVENT_GENERIC, EVENT_LIST
from upstash_global.errors import CommandError, error, syntax_error, wrong_arity
from upstash_global.reply import NULL_ARRAY, OK


def bench_with(elements: str, key: str = "l") -> Bench:
    bench = Bench()
    bench.run(f"RPUSH {key} {elements}")
    return bench


def everything(bench: Bench, key: str = "l") -> bytes:
    """The elements in one text, as `a b c`."""
    return b" ".join(bench.run(f"LRANGE {key} 0 -1"))


def test_pushes_answer_the_length() -> None:
    bench = Bench()
    assert [bench.run(line) for line in ("RPUSH l c d", "LPUSH l b a", "RPUSHX l e", "LPUSHX l 2 1")] == [2, 4, 5, 7]
    assert everything(bench) == b"1 2 a b c d e"


def test_a_push_that_wants_a_list_makes_none() -> None:
    bench = Bench()
    assert bench.run("LPUSHX l a") == 0
    assert bench.run("RPUSHX l a") == 0
    assert bench.entries == [] and bench.run("EXISTS l") == 0


def test_pops() -> None:
    bench = bench_with("a b c d e f")
    assert [bench.run(line) for line in ("LPOP l", "RPOP l", "LPOP l 2", "RPOP l 9")] == [
        b"a", b"f", [b"b", b"c"], [b"e", b"d"]]  # fmt: skip
    assert bench.run("EXISTS l") == 0


def test_pops_of_nothing() -> None:
    bench = Bench()
    assert bench.run("LPOP l") is None
    assert bench.run("LPOP l 1") is NULL_ARRAY
    bench.run("RPUSH l a")
    assert bench.run("RPOP l 0") == []
    assert bench.run("LPOP l -1") == error("value is out of range, must be positive")
    assert bench.run("LPOP l 1 2") == wrong_arity("lpop")
    assert len(bench.entries) == 1


@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 40, 100])
def test_every_range_is_that_of_a_python_list(n: int) -> None:
    bench = Bench()
    model = [b"%d" % i for i in range(n)]
    if n:
        bench.run("RPUSH", "l", *model)
    places = sorted({-n - 2, -n, 1 - n, -n // 2, -17, -2, -1, 0, 1, 3, 16, n // 2, n - 1, n, n + 2})
    for start in places:
        for end in places:
            first = max(start + n, 0) if start < 0 else start
            stop = (end + n if end < 0 else end) + 1
            assert bench.run(f"LRANGE l {start} {end}") == model[first : max(stop, 0)], (start, end)


@pytest.mark.parametrize(
    ("start", "end", "left"),
    [(0, -1, b"a b c d e f"), (1, -2, b"b c d e"), (1, 1, b"b"), (-2, 99, b"e f"), (3, 2, b""), (9, 12, b""), (-99, 0, b"a")],
)  # fmt: skip
def test_ltrim(start: int, end: int, left: bytes) -> None:
    bench = bench_with("a b c d e f")
    assert bench.run(f"LTRIM l {start} {end}") == OK
    assert everything(bench) == left
    assert bench.run("EXISTS l") == (1 if left else 0)


def test_a_trim_of_nothing_is_not_logged() -> None:
    bench = bench_with("a b")
    bench.run("LTRIM l 0 -1")
    bench.run("LTRIM missing 0 -1")
    assert len(bench.entries) == 1


@pytest.mark.parametrize(
    ("count", "removed", "left"),
    [(0, 3, b"b c"), (1, 1, b"b a c a"), (2, 2, b"b c a"), (-1, 1, b"a b a c"), (-2, 2, b"a b c"), (9, 3, b"b c"), (-9, 3, b"b c")],
)  # fmt: skip
def test_lrem(count: int, removed: int, left: bytes) -> None:
    bench = bench_with("a b a c a")
    assert bench.run(f"LREM l {count} a") == removed
    assert everything(bench) == left


def test_linsert() -> None:
    bench = bench_with("a b b")
    assert bench.run("LINSERT l before b x") == 4
    assert bench.run("LINSERT l AFTER b y") == 5
    assert everything(bench) == b"a x b y b"
    assert bench.run("LINSERT l AFTER missing y") == -1
    assert bench.run("LINSERT none AFTER a y") == 0
    assert bench.run("LINSERT l BESIDE a y") == syntax_error()


def test_lindex_and_lset() -> None:
    bench = bench_with("a b c")
    assert [bench.run(f"LINDEX l {at}") for at in (0, 2, -1, -3, 3, -4)] == [b"a", b"c", b"c", b"a", None, None]
    assert bench.run("LSET l -1 z") == OK
    assert bench.run("LSET l 3 z") == error("index out of range")
    assert bench.run("LSET l -4 z") == error("index out of range")
    assert bench.run("LSET none 0 z") == error("no such key")
    assert everything(bench) == b"a b z"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", 2),
        ("RANK 2", 5),
        ("RANK 4", None),
        ("RANK -1", 6),
        ("RANK -3", 2),
        ("COUNT 2", [2, 5]),
        ("COUNT 0", [2, 5, 6]),
        ("RANK -1 COUNT 0", [6, 5, 2]),
        ("RANK 2 COUNT 9", [5, 6]),
        ("COUNT 0 MAXLEN 6", [2, 5]),
        ("COUNT 0 RANK -1 MAXLEN 2", [6, 5]),
        ("MAXLEN 2", None),
        ("COUNT 1 MAXLEN 2", []),
    ],
)
def test_lpos(options: str, found: object) -> None:
    assert bench_with("a b c 1 2 c c").run(f"LPOS l c {options}") == found


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ("COUNT -1", "COUNT can't be negative"),
        ("MAXLEN -1", "MAXLEN can't be negative"),
        ("RANK x", "value is not an integer or out of range"),
        ("COUNT", "syntax error"),
    ],
)
def test_lpos_refuses(options: str, refusal: str) -> None:
    assert Bench().run(f"LPOS l c {options}") == error(refusal)


@pytest.mark.parametrize(
    ("timeout", "refusal"),
    [
        ("soon", "timeout is not a float or out of range"),
        ("-1", "timeout is negative"),
        ("-inf", "timeout is negative"),
        ("9223372036854775807", "timeout is out of range"),
        ("inf", "timeout is out of range"),
    ],
)
def test_blpop_refuses_a_timeout(timeout: str, refusal: str) -> None:
    assert Bench().run(f"BLPOP l {timeout}") == error(refusal)


@pytest.mark.parametrize(
    ("ends", "moved", "source", "target"),
    [
        ("LEFT LEFT", b"a", b"b c", b"a x"),
        ("LEFT RIGHT", b"a", b"b c", b"x a"),
        ("RIGHT LEFT", b"c", b"a b", b"c x"),
        ("right right", b"c", b"a b", b"x c"),
    ],
)
def test_lmove(ends: str, moved: bytes, source: bytes, target: bytes) -> None:
    bench = bench_with("a b c")
    bench.run("RPUSH t x")
    assert bench.run(f"LMOVE l t {ends}") == moved
    assert (everything(bench), everything(bench, "t")) == (source, target)


def test_a_list_rotates_onto_itself() -> None:
    bench = bench_with("a b c")
    bench.run("LMOVE l l LEFT RIGHT")
    assert everything(bench) == b"b c a"
    bench.run("RPOPLPUSH l l")
    assert everything(bench) == b"a b c"


def test_a_move_to_another_type_leaves_the_source_alone() -> None:
    bench = bench_with("a")
    bench.run("SET t v")
    reply = bench.run("LMOVE l t LEFT LEFT")
    assert isinstance(reply, CommandError) and reply.code == "WRONGTYPE"
    assert everything(bench) == b"a"
    assert bench.run("LMOVE none t LEFT LEFT") is None


def test_lmpop_takes_from_the_first_list_that_has_any() -> None:
    bench = bench_with("a b c")
    assert bench.run("LMPOP 2 none l RIGHT COUNT 2") == [b"l", [b"c", b"b"]]
    assert bench.run("LMPOP 2 none l LEFT") == [b"l", [b"a"]]
    assert bench.run("LMPOP 2 none l LEFT") is NULL_ARRAY


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("0 l LEFT", "numkeys should be greater than 0"),
        ("x l LEFT", "numkeys should be greater than 0"),
        ("2 l LEFT", "syntax error"),
        ("1 l UP", "syntax error"),
        ("1 l LEFT COUNT 0", "count should be greater than 0"),
        ("1 l LEFT COUNT 1 COUNT 2", "syntax error"),
    ],
)
def test_lmpop_refuses(words: str, refusal: str) -> None:
    assert bench_with("a").run(f"LMPOP {words}") == error(refusal)


def test_a_pushed_list_keeps_its_deadline_and_a_hidden_one_does_not() -> None:
    bench = bench_with("a")
    bench.run("PEXPIRE l 100")
    bench.run("RPUSH l b")
    assert bench.run("PTTL l") == 100
    bench.later(101)
    assert bench.run("RPUSH l c") == 1
    assert bench.run("PTTL l") == -1


def test_a_list_of_more_than_8_kib_is_a_quicklist() -> None:
    bench = bench_with("a b c")
    assert bench.run("OBJECT ENCODING l") == "listpack"
    bench.run("RPUSH", "l", b"x" * 9000)
    assert bench.run("OBJECT ENCODING l") == "quicklist"


def test_a_reply_is_no_view_of_the_list() -> None:
    bench = bench_with("a b c")
    reply = bench.run("LRANGE l 0 -1")
    bench.run("LPOP l")
    assert reply == [b"a", b"b", b"c"]


def test_events_are_those_of_redis() -> None:
    bench = Bench()
    bench.engine.context.event_mask = EVENT_LIST | EVENT_GENERIC
    events: list[tuple[bytes, bytes]] = []
    for line in ["RPUSH l a b c", "LPUSHX l z", "LINSERT l BEFORE a y", "LSET l 0 z", "LREM l 0 y", "LTRIM l 0 1",
                 "RPOP l", "LMOVE l t LEFT RIGHT", "RPOPLPUSH t t", "LMPOP 1 t LEFT"]:  # fmt: skip
        bench.run(line)
        assert bench.effects is not None
        events.extend((event, key) for _, event, key in bench.effects.events)
    assert events == [
        (b"rpush", b"l"), (b"lpush", b"l"), (b"linsert", b"l"), (b"lset", b"l"), (b"lrem", b"l"), (b"ltrim", b"l"),
        (b"rpop", b"l"), (b"rpush", b"t"), (b"lpop", b"l"), (b"del", b"l"), (b"lpush", b"t"), (b"rpop", b"t"),
        (b"lpop", b"t"), (b"del", b"t"),
    ]  # fmt: skip
