"""An endless script on a real node: its listeners answer, it is told to end, and it ends."""

import threading
import urllib.request
from collections.abc import Iterator

import pytest
import redis

from tests.server.serving import Served


@pytest.fixture
def busy(served: Served) -> Iterator[Served]:
    """A node that has run a script for longer than `busy-reply-threshold`."""
    failures: list[str] = []

    def run() -> None:
        with served.redis() as client:
            try:
                client.eval("while true do pcall(function() while true do end end) end", 0)
            except redis.ResponseError as failure:
                failures.append(str(failure))

    with served.redis() as client:
        client.config_set("busy-reply-threshold", 50)
        script = threading.Thread(target=run)
        script.start()
        while True:
            try:
                client.ping()
            except redis.exceptions.RedisError:
                break
        yield served
        assert client.script_kill()
        script.join()
        client.config_set("busy-reply-threshold", 5000)
    assert "Script killed by user with SCRIPT KILL." in failures[0]


def test_clients_are_told_that_a_script_is_running(busy: Served) -> None:
    with busy.redis() as client, pytest.raises(redis.exceptions.RedisError, match="SCRIPT KILL"):
        client.set("k", "v")


def test_the_admin_port_answers_while_a_script_runs(busy: Served) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{busy.admin}/healthz", timeout=30) as answer:
        assert answer.status == 200


def test_a_node_stops_while_a_script_runs(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Served(tmp_path_factory.mktemp("one")) as served:
        with served.redis() as client:
            client.config_set("busy-reply-threshold", 50)
        client = served.redis()
        script = threading.Thread(target=lambda: pytest.raises(redis.RedisError, client.eval, "while true do end", 0))
        script.start()
        with served.redis() as other:
            while True:
                try:
                    other.ping()
                except redis.exceptions.RedisError:
                    break
    script.join()
