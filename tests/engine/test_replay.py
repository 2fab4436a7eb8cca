"""Replay is a fixed point: what a write command logs, applied elsewhere, logs itself again and gives the same state.

Goal: find the write command whose log depends on chance, on the clock or on something the log does not carry.
Method: every example of examples.py runs on one bench; a second one, with another seed, applies each entry on its own.
"""

import pytest

import upstash_global.engine.commands  # noqa: F401  (fills the table)
from tests.engine.bench import Bench, Logged, argv_of
from tests.engine.examples import EXAMPLES, WITHOUT_EFFECT, Example
from upstash_global.engine.table import TABLE, WRITE, Row, all_rows, lookup
from upstash_global.errors import CommandError, Divergence

WRITES = [row for row in all_rows() if row.flags & WRITE and row.handler is not None]


def words(line: str, start_ms: int) -> list[bytes]:
    """A line of an example as argv: `@N` is a time, and `\\xff` a byte."""
    argv = [word.decode("unicode_escape").encode("latin-1") if b"\\x" in word else word for word in argv_of(line)]
    return [b"%d" % (start_ms + int(word[1:])) if is_time(word) else word for word in argv]


def is_time(word: bytes) -> bool:
    return word[:1] == b"@" and word[1:].lstrip(b"-").isdigit()


def play(bench: Bench, example: Example) -> None:
    start_ms = bench.now_ms
    for line in example:
        if line[:1] == "+":
            bench.later(int(line[1:]))
            continue
        argv = words(line, start_ms)
        if line[:1] == "_":  # rows of the log alone: a client cannot run them
            bench.apply([Logged([argv], bench.now_ms)])
            continue
        reply = bench.run(*argv)
        assert not isinstance(reply, CommandError), f"{line}: {reply.text}"


def row_of(line: str) -> Row:
    argv = words(line, 0)
    return TABLE[argv[0]] if line[:1] == "_" else lookup(argv)


def test_every_write_command_has_an_example() -> None:
    missing = {row.name for row in WRITES} - set(EXAMPLES) - WITHOUT_EFFECT
    assert missing == set()


def test_no_example_is_of_an_unknown_command() -> None:
    assert set(EXAMPLES) - {row.name for row in WRITES} == set()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_replay_is_a_fixed_point(name: str) -> None:
    for example in EXAMPLES[name]:
        assert row_of(example[-1]).name == name
        leader, replica = Bench(seed=1), Bench(seed=2)
        play(leader, example[:-1])
        n_before = len(leader.entries)
        play(leader, example[-1:])
        assert len(leader.entries) > n_before, f"{example} changed nothing"
        replica.apply(leader.entries)
        assert replica.digest() == leader.digest(), example


@pytest.mark.parametrize("name", sorted(name for name in EXAMPLES if name[0] != "_"))
def test_every_key_that_a_write_touches_is_among_its_keys(name: str) -> None:
    """Or the edge cache and WATCH would miss a change."""
    for example in EXAMPLES[name]:
        bench = Bench(seed=1)
        play(bench, example)
        assert bench.effects is not None
        start_ms = Bench().now_ms
        named = row_of(example[-1]).keys.find(words(example[-1], start_ms))
        assert set(bench.effects.touched) <= set(named), example


def test_a_command_that_changed_nothing_is_no_entry() -> None:
    bench = Bench()
    for line in ["DEL missing", "EXPIRE missing 10", "SET k v XX", "FLUSHALL", "GETDEL missing", "PERSIST missing"]:
        bench.run(line)
    assert bench.entries == []


def test_an_entry_that_has_no_effect_is_divergence() -> None:
    bench = Bench()
    with pytest.raises(Divergence):
        bench.engine.apply([[b"DEL", b"missing"]], bench.now_ms)
