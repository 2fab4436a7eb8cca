"""Remembered requests: what is kept, for how long, and what a retry is told."""

from typing import Any

import pytest

from tests.node.stage import Stage
from upstash_global.errors import CommandError
from upstash_global.node import retries
from upstash_global.node.retries import ANSWER_LOST, KEY_REUSED, Once, Retries
from upstash_global.replication.codec import DATA, Entry
from upstash_global.replication.position import Position
from upstash_global.reply import OK, PENDING, Reply, pack, unpack

HOUR_MS = 3600 * 1000
USER = b"default"


def entry(time_ms: int, attributes: dict[str, Any]) -> Entry:
    return Entry(Position(1, 1), time_ms, DATA, [], attributes, b"", 0, 0)


def remember(table: Retries, key: bytes, reply: Reply, time_ms: int = 0) -> None:
    table.note(entry(time_ms, table.attributes(USER, Once(key, b"f"), reply)))


def test_a_request_is_answered_as_before() -> None:
    table = Retries()
    assert table.answer(USER, Once(b"k", b"f"), 0) is PENDING
    remember(table, b"k", [OK, b"v", None])
    assert table.answer(USER, Once(b"k", b"f"), 0) == [OK, b"v", None]
    assert table.answer(b"other", Once(b"k", b"f"), 0) is PENDING
    assert table.answer(USER, Once(b"k", b"g"), 0) == KEY_REUSED


def test_an_error_of_a_script_that_is_no_text_is_packed_as_it_is() -> None:
    failure = CommandError("ERR", b"\xf0 is no UTF-8".decode("utf-8", "surrogateescape"))
    assert unpack(pack([failure])) == [failure]


def test_a_long_answer_is_not_kept_but_known() -> None:
    table = Retries()
    remember(table, b"k", [b"x" * (64 * 1024)])
    assert table.answer(USER, Once(b"k", b"f"), 0) == ANSWER_LOST
    assert table.n_bytes == 0


def test_what_is_old_is_forgotten() -> None:
    table = Retries()
    remember(table, b"old", [1], 0)
    assert table.answer(USER, Once(b"old", b"f"), 24 * HOUR_MS) == [1]
    assert table.answer(USER, Once(b"old", b"f"), 24 * HOUR_MS + 1) is PENDING
    remember(table, b"new", [2], 24 * HOUR_MS + 1)
    assert [key for _, key in table.requests] == [b"new"]


def test_count_and_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "MAX_REQUESTS", 3)
    table = Retries()
    for n in range(5):
        remember(table, b"%d" % n, [n])
    assert [key for _, key in table.requests] == [b"2", b"3", b"4"]
    monkeypatch.setattr(retries, "MAX_BYTES", 2000)
    remember(table, b"large", [b"x" * 1990])
    remember(table, b"next", [b"x" * 20])
    assert [key for _, key in table.requests] == [b"next"]
    assert table.n_bytes == sum(len(ran.answer) for ran in table.requests.values())


def test_the_table_survives_as_plain_values() -> None:
    table, copy = Retries(), Retries()
    remember(table, b"k", [b"v"], 5)
    copy.load(table.dump())
    assert copy.dump() == table.dump()
    assert copy.n_bytes == table.n_bytes
    assert copy.answer(USER, Once(b"k", b"f"), 5) == [b"v"]


def run_once(client: Any, key: bytes, *commands: str) -> Reply:
    client.once = Once(key, " ".join(commands).encode())
    client.say("MULTI", *commands).take()
    reply = client.run("EXEC")
    client.once = None
    return reply


@pytest.mark.parametrize("first, again", [("leader", "replica"), ("replica", "leader"), ("replica", "replica")])
def test_a_transaction_runs_once_wherever_it_is_sent(first: str, again: str) -> None:
    stage = Stage(replica=True)
    reply = run_once(stage.machines[first].client(), b"k", "INCR n", "GET n")
    assert reply == [1, b"1"]
    head = stage.leader.node.log.head
    assert run_once(stage.machines[again].client(), b"k", "INCR n", "GET n") == reply
    assert stage.leader.node.log.head == head
    assert run_once(stage.machines[again].client(), b"k", "INCR m") == KEY_REUSED
    assert stage.leader.node.digest() == stage.replica.node.digest()


def test_what_changed_nothing_is_one_entry_too() -> None:
    stage = Stage(replica=True)
    stage.leader.client().run("SET s text")
    lsn = stage.leader.node.log.head.lsn
    for name in ("leader", "replica"):
        client = stage.machines[name].client()
        nothing = run_once(client, b"nothing" + name.encode(), "DEL missing")
        failed = run_once(client, b"failed" + name.encode(), "INCR s")
        assert nothing == [0] and isinstance(failed, list)
        stage.leader.client().run("SET missing x")
        assert run_once(client, b"nothing" + name.encode(), "DEL missing") == [0]
        assert run_once(client, b"failed" + name.encode(), "INCR s") == failed
        stage.leader.client().run("DEL missing")
    assert stage.leader.node.log.head.lsn == lsn + 2 * 4
    assert stage.leader.node.digest() == stage.replica.node.digest()


def test_what_did_not_run_is_not_remembered() -> None:
    stage = Stage(replica=True)
    client = stage.replica.client()
    stage.replica.node.forward_disconnected("leader", stage.now_ms)
    refused = run_once(client, b"k", "INCR n")
    assert getattr(refused, "code", None) == "NOLEADER"
    stage.replica.node.forward_connected("leader", stage.now_ms)
    assert run_once(client, b"k", "INCR n") == [1]
