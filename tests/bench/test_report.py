"""The benchmark's own words: aims, verdicts and tables. Nothing is measured here."""

from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import grpc
import pytest
from rich.console import Console

from bench import against_redis, growth, lag, memory, rest, scale, start, wide
from bench.__main__ import PARTS
from bench.report import Aim, Table, at_least, at_most, missing, summary


def a_table() -> Table:
    table = Table("Speed", "How it was measured.", ["command", ">ratio", ">CPU ratio"])
    table.add("GET", "0.80", "1.20", aims=[(at_least("throughput", 0.8), 0.801), (at_least("CPU", 1), 1.2)])
    table.add("SET", "0.80", "1.00", aims=[(at_least("throughput", 0.8), 0.799), (at_least("CPU", 1), 1.0)])
    table.add("LPUSH", "0.70", "0.90")
    return table


def test_a_verdict_stands_beside_each_row_that_has_an_aim() -> None:
    assert a_table().markdown() == (
        "## Speed\n\nHow it was measured.\n\n"
        "| command | ratio | CPU ratio | aim | met |\n"
        "|---|--:|--:|---|---|\n"
        "| GET | 0.80 | 1.20 | throughput ≥ 0.8, CPU ≥ 1 | yes |\n"
        "| SET | 0.80 | 1.00 | throughput ≥ 0.8, CPU ≥ 1 | NO |\n"
        "| LPUSH | 0.70 | 0.90 | - | - |\n"
    )


def test_a_table_without_aims_says_nothing_of_them() -> None:
    table = Table("Plain", "So.", ["what", ">n"])
    table.add("a", 1)
    table.notes.append("A note.")
    assert table.markdown() == "## Plain\n\nSo.\n\n| what | n |\n|---|--:|\n| a | 1 |\n\nA note.\n"


def test_the_terminal_shows_the_same() -> None:
    output = StringIO()
    a_table().show(Console(file=output, width=160))
    lines = [line.split() for line in output.getvalue().splitlines() if line.strip()]
    assert lines[1][-2:] == ["aim", "met"]
    assert [line[-1] for line in lines[2:5]] == ["yes", "NO", "-"]


@pytest.mark.parametrize(
    ("aim", "text", "met", "missed"),
    [
        (at_least("throughput", 0.85), "throughput ≥ 0.85", 0.85, 0.849),
        (at_most("p99", 2, " ms"), "p99 ≤ 2 ms", 2.0, 2.001),
    ],
)
def test_an_aim_is_a_bound_that_may_be_reached(aim: Aim, text: str, met: float, missed: float) -> None:
    assert str(aim) == text
    assert aim.is_met(met)
    assert not aim.is_met(missed)


def test_the_summary_names_what_was_missed_and_what_was_not_measured() -> None:
    assert summary([a_table(), missing("rest", "webdis cannot be found")]) == (
        "3 of 4 aims are met.\n"
        "Not met:\n\n"
        "- Speed: SET: 0.799, aim: throughput ≥ 0.8\n\n"
        "rest: Not measured: webdis cannot be found\n"
    )
    assert summary([]) == "Nothing here has an aim.\n"


def test_the_aims_are_those_that_were_set() -> None:
    """Changing one shall be a decision, and be seen."""
    assert {key: str(aim) for key, aim in against_redis.AIMS.items()} == {
        ("GET", 1): "throughput ≥ 0.85",
        ("SET", 1): "throughput ≥ 0.85",
        ("GET", 16): "throughput ≥ 0.8",
        ("SET", 16): "throughput ≥ 0.8",
        ("EVAL: a GET", 16): "throughput ≥ 0.25",
    }
    assert str(growth.GROWTH) == "grows ≤ 64"
    assert str(lag.AIM) == "p99 ≤ 2 ms"
    assert str(memory.AIM) == "times redis ≤ 1.6"
    assert {name: str(aim) for name, aim in scale.AIMS.items()} == {"ZADD": "throughput ≥ 0.5"}
    assert [str(aim) for aim in (rest.THROUGHPUT, rest.CPU)] == ["throughput ≥ 1.3", "CPU ≥ 1"]
    assert {name: str(aim) for name, aim in start.FIRST.items()} == {
        "compiled": "first ≤ 180 s",
        "pure Python": "first ≤ 60 s",
    }
    assert str(start.AGAIN) == "again ≤ 5 s"
    assert list(PARTS) == ["redis", "scale", "growth", "rest", "crowd", "lag", "memory", "wan", "scoped", "start"]


def test_what_has_an_aim_is_measured() -> None:
    measured = {(name, pipeline) for name, _, _ in against_redis.COMMANDS for pipeline in against_redis.PIPELINES}
    assert set(against_redis.AIMS) <= measured
    assert set(scale.AIMS) <= {name for name, _, _ in scale.COMMANDS}
    assert set(growth.COMMANDS) == set(growth.VALUES)


def test_a_ping_is_answered_by_a_grpc_server() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert all(wide.ping("127.0.0.1", port) > 0 for _ in range(5))
    finally:
        server.stop(None)
