"""MONITOR shows what the clients of a node let run, in Redis's words."""

import re

import pytest

from tests.node.stage import Client, Stage
from upstash_global.reply import OK, Simple


@pytest.fixture
def stage() -> Stage:
    return Stage(replica=True)


def monitor(stage: Stage, at: str) -> Client:
    client = stage.machines[at].client()
    assert client.say("MONITOR").take() == [OK]
    return client


def shown(client: Client) -> list[str]:
    """The lines since the last call, without the time."""
    lines: list[str] = []
    for reply in client.take():
        assert isinstance(reply, Simple)
        found = re.fullmatch(r"\d{10}\.\d{6} \[0 ([^]]*)\] (.*)", reply.text)
        assert found is not None, reply.text
        lines.append(found[2] if found[1] != "lua" else f"lua: {found[2]}")
    return lines


@pytest.mark.parametrize("at", ["leader", "replica"])
def test_commands_are_shown_where_they_were_sent(stage: Stage, at: str) -> None:
    here = monitor(stage, at)
    elsewhere = monitor(stage, "replica" if at == "leader" else "leader")
    stage.machines[at].client().say("GET k", "SET k v", "GET k", "PING")
    assert shown(here) == ['"GET" "k"', '"SET" "k" "v"', '"GET" "k"', '"PING"']
    assert shown(elsewhere) == []


def test_bytes_are_quoted_as_redis_does(stage: Stage) -> None:
    watcher = monitor(stage, "leader")
    stage.leader.client().say([b"get", b'a\x00\n\t\r\a\b"\\\xff \x7f~'])
    assert shown(watcher) == [r'"get" "a\x00\n\t\r\a\b\"\\\xff \x7f~"']


def test_passwords_and_administration_are_not_shown(stage: Stage) -> None:
    watcher = monitor(stage, "leader")
    stage.leader.client().say(
        "AUTH secret", "AUTH user secret", "HELLO 3 AUTH user secret SETNAME x", "CONFIG GET port", "CLIENT ID"
    )
    assert shown(watcher) == [
        '"AUTH" "(redacted)"',
        '"AUTH" "(redacted)" "(redacted)"',
        '"HELLO" "3" "AUTH" "(redacted)" "(redacted)" "SETNAME" "x"',
        '"CLIENT" "ID"',
    ]


def test_what_is_refused_is_not_shown(stage: Stage) -> None:
    watcher = monitor(stage, "leader")
    stage.leader.client().say("NOSUCH x", "GET", "MULTI", "GET", "EXEC", "LPUSH k a", "GET k")
    assert shown(watcher) == ['"MULTI"', '"EXEC"', '"LPUSH" "k" "a"', '"GET" "k"']


@pytest.mark.parametrize("at", ["leader", "replica"])
def test_a_transaction_is_shown_when_it_runs(stage: Stage, at: str) -> None:
    watcher = monitor(stage, at)
    client = stage.machines[at].client()
    client.say("MULTI", "SET a b", "GET a")
    assert shown(watcher) == ['"MULTI"']
    client.say("EXEC")
    assert shown(watcher) == ['"SET" "a" "b"', '"GET" "a"', '"EXEC"']


def test_what_a_script_calls_follows_it(stage: Stage) -> None:
    watcher = monitor(stage, "leader")
    script = "redis.call('set', 'x', 1) return redis.call('get', 'x')"
    stage.leader.client().say([b"EVAL", script.encode(), b"0"])
    assert shown(watcher) == [f'"EVAL" "{script}" "0"', 'lua: "set" "x" "1"', 'lua: "get" "x"']


def test_a_reset_ends_it(stage: Stage) -> None:
    watcher = monitor(stage, "leader")
    watcher.say("RESET").take()
    stage.leader.client().run("GET k")
    assert watcher.take() == []
    assert not stage.leader.node.is_attended


def test_a_monitor_that_has_gone_is_forgotten(stage: Stage) -> None:
    watcher = monitor(stage, "leader")
    stage.leader.node.close(watcher)
    assert not stage.leader.node.is_attended
    assert stage.leader.node.engine.context.overhear is None
