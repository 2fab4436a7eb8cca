"""What strings and bitmaps learned after Redis 7: conditions on SET, DELEX, DIGEST, and four operations of BITOP.

There is no server here to compare with; the claims are those of Redis's and Upstash's documentation.
"""

from random import Random

import pytest

from tests.engine.bench import Bench
from upstash_global.errors import CommandError, error, syntax_error
from upstash_global.reply import OK

WRONG_DIGEST = "0123456789abcdef"


def bench_with(value: str | None) -> Bench:
    bench = Bench()
    if value is not None:
        bench.run("SET", "k", value)
    return bench


# -- digests ------------------------------------------------------------------------------------------------------


def test_a_digest_is_xxh3_in_16_hexadecimal_digits() -> None:
    bench = bench_with("Hello world")
    assert bench.run("DIGEST k") == b"b6acb9d84a38ff74"  # as in Redis's documentation
    assert bench.run("DIGEST none") is None
    bench.run("SETRANGE k 0 J")
    assert bench.run("DIGEST k") != b"b6acb9d84a38ff74"


def test_a_digest_keeps_its_leading_zeros() -> None:
    """The text is redis-rs's example of such a value."""
    text = "v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd"
    digest = bench_with(text).run("DIGEST k")
    assert len(digest) == 16 and digest.startswith(b"0")


def test_only_strings_have_a_digest() -> None:
    bench = Bench()
    bench.run("LPUSH k v")
    assert bench.run("DIGEST k").code == "WRONGTYPE"


# -- conditions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "condition", "holds"),
    [
        ("v", "IFEQ v", True),
        ("v", "IFEQ w", False),
        ("v", "ifeq v", True),
        (None, "IFEQ v", False),
        ("v", "IFNE v", False),
        ("v", "IFNE w", True),
        ("v", f"IFDEQ {WRONG_DIGEST}", False),
        ("Hello world", "IFDEQ b6acb9d84a38ff74", True),
        ("Hello world", "IFDEQ B6ACB9D84A38FF74", True),
        (None, f"IFDEQ {WRONG_DIGEST}", False),
        ("Hello world", "IFDNE b6acb9d84a38ff74", False),
        ("v", f"IFDNE {WRONG_DIGEST}", True),
    ],
)
def test_set_and_delex_do_their_work_if_the_condition_holds(value: str | None, condition: str, holds: bool) -> None:
    bench = bench_with(value)
    old = None if value is None else value.encode()
    assert bench.run(f"SET k new {condition}") == (OK if holds else None)
    assert bench.run("GET k") == (b"new" if holds else old)
    bench = bench_with(value)
    assert bench.run(f"DELEX k {condition}") == (1 if holds else 0)
    assert bench.run("GET k") == (None if holds else old)


@pytest.mark.parametrize("condition", ["IFNE v", f"IFDNE {WRONG_DIGEST}"])
def test_a_missing_key_differs_from_everything_but_cannot_be_removed(condition: str) -> None:
    bench = Bench()
    assert bench.run(f"DELEX k {condition}") == 0
    assert bench.run(f"SET k new {condition}") == OK


def test_get_tells_the_old_value_whether_or_not_the_new_one_was_set() -> None:
    bench = bench_with("v")
    assert bench.run("SET k new IFEQ other GET") == b"v"
    assert bench.run("GET k") == b"v"
    assert bench.run("SET k new GET IFEQ v EX 10") == b"v"
    assert bench.run("GET k") == b"new"
    assert bench.run("TTL k") == 10


def test_delex_without_condition_removes_any_key() -> None:
    bench = Bench()
    bench.run("LPUSH k v")
    assert bench.run("DELEX k") == 1
    assert bench.run("DELEX k") == 0


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("SET k new IFEQ", syntax_error()),
        ("SET k new IFEQ v NX", syntax_error()),
        ("SET k new XX IFEQ v", syntax_error()),
        ("SET k new IFEQ v IFNE w", syntax_error()),
        ("SET k new IFDEQ 12", error("must be exactly 16 hexadecimal characters")),
        ("SET k new IFDNE x123456789abcdef", error("must be exactly 16 hexadecimal characters")),
        ("DELEX k IFDEQ 12", error("must be exactly 16 hexadecimal characters")),
        ("DELEX k IFXX v", error("Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")),
        ("DELEX k IFEQ", error("wrong number of arguments for 'delex' command")),
        ("DELEX k IFEQ v IFEQ v", error("wrong number of arguments for 'delex' command")),
        ("GETEX k IFEQ v", syntax_error()),
    ],
)
def test_refusals_change_nothing(line: str, refusal: CommandError) -> None:
    bench = bench_with("v")
    assert bench.run(line) == refusal
    assert bench.run("GET k") == b"v" and len(bench.entries) == 1


@pytest.mark.parametrize("line", ["SET k new IFEQ v", f"SET k new IFDNE {WRONG_DIGEST}", "DELEX k IFNE v"])
def test_a_condition_wants_a_string(line: str) -> None:
    bench = Bench()
    bench.run("LPUSH k v")
    assert bench.run(line).code == "WRONGTYPE"
    assert bench.run("LLEN k") == 1


def test_a_condition_that_does_not_hold_is_not_logged() -> None:
    bench = bench_with("v")
    for line in ["SET k w IFEQ x", "DELEX k IFEQ x", "SET none w IFEQ x"]:
        bench.run(line)
    assert len(bench.entries) == 1


# -- BITOP --------------------------------------------------------------------------------------------------------


def bit_by_bit(name: str, sources: list[bytes]) -> bytes:
    width = max(len(source) for source in sources)
    result = bytearray(width)
    for bit in range(width * 8):
        first, *others = [int.from_bytes(source.ljust(width, b"\0"), "big") >> bit & 1 for source in sources]
        holds = {
            "DIFF": first and not any(others),
            "DIFF1": not first and any(others),
            "ANDOR": first and any(others),
            "ONE": first + sum(others) == 1,
        }[name]
        result[width - 1 - bit // 8] |= bool(holds) << bit % 8
    return bytes(result)


@pytest.mark.parametrize("name", ["DIFF", "DIFF1", "ANDOR", "ONE"])
def test_the_new_operations_are_what_they_say_of_each_bit(name: str) -> None:
    random = Random(name)
    for n_sources in (2, 3, 5):
        bench = Bench()
        sources = [random.randbytes(random.randrange(1, 9)) for _ in range(n_sources)]
        for i, source in enumerate(sources):
            bench.run(b"SET", f"s{i}", source)
        expected = bit_by_bit(name, sources)
        assert bench.run(f"BITOP {name} t " + " ".join(f"s{i}" for i in range(n_sources))) == len(expected)
        assert bench.run("GET t") == expected


@pytest.mark.parametrize("name", ["DIFF", "DIFF1", "ANDOR"])
def test_operations_on_a_first_and_others_want_two_sources(name: str) -> None:
    reply = bench_with("v").run(f"BITOP {name.lower()} t k")
    assert reply == error(f"BITOP {name} must be called with at least two source keys.")


def test_one_of_a_single_source_is_that_source() -> None:
    bench = bench_with("v")
    assert bench.run("BITOP ONE t k") == 1
    assert bench.run("GET t") == b"v"
