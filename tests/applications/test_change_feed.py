"""The program of docs/replication.md, as it stands there: it knows the log by its documentation alone, not by our code."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.server.serving import LIMIT_S, Served, config

ROOT: Final = Path(__file__).parents[2]
Place = tuple[str, str, str]  # epoch, LSN, CRC


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    settings = config(names=("one", "two"))
    with (
        Served(tmp_path_factory.mktemp("one"), settings, "one") as leader,
        Served(tmp_path_factory.mktemp("two"), settings, "two") as replica,
    ):
        yield leader, replica


class Feed:
    """The running program: its lines, taken apart."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def started(self) -> tuple[str, Place]:
        """How it began, and where."""
        *how, epoch, lsn, crc = self.line().split(" ")
        return " ".join(how), (epoch, lsn, crc)

    def write(self) -> tuple[Place, str]:
        """The next command, and its place in the log."""
        epoch, lsn, crc, command = self.line().split(" ", 3)
        return (epoch, lsn, crc), command

    def writes_up_to(self, command: str) -> list[tuple[Place, str]]:
        found = [self.write()]
        while found[-1][1] != command:
            found.append(self.write())
        return found


@contextmanager
def following(directory: Path, node: Served, *place: str, secret: str = "peers") -> Iterator[Feed]:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "replication.md").read_text(), re.S)
    file = directory / "follow.py"
    file.write_text(program)
    command = [sys.executable, str(file), str(node.config.node(node.name).grpc), secret, "test", *place]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "no_grpc_proxy": "127.0.0.1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    too_long = threading.Timer(LIMIT_S, process.kill)
    too_long.start()
    try:
        yield Feed(process)
    finally:
        too_long.cancel()
        process.kill()
        process.communicate()


def test_a_change_feed_sees_every_write_in_order(tmp_path: Path, pair: tuple[Served, Served]) -> None:
    leader, _ = pair
    with following(tmp_path, leader) as feed, leader.redis() as client:
        assert feed.started() == ("going on after", ("0", "0", "0"))
        client.set("greeting", "hello")
        client.rpush("list", "a", "b")
        with client.pipeline(transaction=True) as both:
            both.incrby("n", 2).delete("list").execute()
        client.set("last", "first")
        writes = feed.writes_up_to("SET last first")
    assert [command for _, command in writes][-5:] == [
        "SET greeting hello",
        "RPUSH list a b",
        "INCRBY n 2",
        "DEL list",
        "SET last first",
    ]
    lsns = [int(lsn) for (_, lsn, _), _ in writes]
    assert lsns == sorted(lsns)
    assert lsns[-3] == lsns[-2], "a transaction is one entry"


def test_it_goes_on_where_it_was_and_misses_nothing(tmp_path: Path, pair: tuple[Served, Served]) -> None:
    leader, _ = pair
    with leader.redis() as client:
        client.set("seen", 1)
        with following(tmp_path, leader) as feed:
            feed.started()
            place, _ = feed.writes_up_to("SET seen 1")[-1]
        for n in (2, 3):
            client.set("seen", n)
        with following(tmp_path, leader, *place) as feed:
            assert feed.started() == ("going on after", place)
            assert [command for _, command in feed.writes_up_to("SET seen 3")] == ["SET seen 2", "SET seen 3"]


def test_a_replica_serves_the_same_log(tmp_path: Path, pair: tuple[Served, Served]) -> None:
    leader, replica = pair
    with leader.redis() as client:
        client.set("same", "everywhere")
    logs = []
    for node in pair:
        with following(tmp_path, node) as feed:
            feed.started()
            logs.append(feed.writes_up_to("SET same everywhere"))
    assert logs[0] == logs[1]


def test_at_a_place_on_another_history_it_is_told_to_begin_anew(tmp_path: Path, pair: tuple[Served, Served]) -> None:
    leader, _ = pair
    with leader.redis() as client:
        client.set("old", "news")
        with following(tmp_path, leader) as feed:
            feed.started()
            (epoch, lsn, crc), _ = feed.writes_up_to("SET old news")[-1]
        with following(tmp_path, leader, epoch, lsn, str(int(crc) ^ 1)) as feed:
            how, (_, start_lsn, _) = feed.started()
            assert how == "reset to"
            assert int(start_lsn) <= int(lsn)
            client.set("fresh", "news")
            feed.writes_up_to("SET fresh news")


def test_without_the_secret_of_the_cluster_there_is_nothing_to_see(tmp_path: Path, pair: tuple[Served, Served]) -> None:
    with following(tmp_path, pair[0], secret="guessed") as feed:
        output, errors = feed.process.communicate(timeout=LIMIT_S)
        assert (output, feed.process.returncode) == ("", 1)
        assert "UNAUTHENTICATED" in errors
