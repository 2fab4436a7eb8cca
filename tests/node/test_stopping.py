"""A node that stops refuses what clients still say; nothing of it runs, here or at a leader that stops."""

import pytest

from tests.node.stage import Stage
from upstash_global.errors import CommandError, error
from upstash_global.node.attention import stop_serving
from upstash_global.reply import OK, QUEUED

SHUTTING_DOWN = CommandError("SHUTTINGDOWN", "The server is shutting down")


@pytest.mark.parametrize("command", ["SET k v", "GET k", "PING", "MULTI", "SUBSCRIBE news", "CONFIG SET timeout 1"])
def test_nothing_runs_any_more(command: str) -> None:
    stage = Stage()
    client = stage.leader.client()
    head = stage.leader.node.log.head
    stop_serving(stage.leader.node)
    assert client.run(command) == SHUTTING_DOWN
    assert stage.leader.node.log.head == head


def test_an_open_transaction_is_discarded() -> None:
    stage = Stage()
    client = stage.leader.client()
    assert client.say("MULTI", "SET k v").take() == [OK, QUEUED]
    stop_serving(stage.leader.node)
    assert client.run("EXEC") == CommandError("EXECABORT", f"Transaction discarded because of: {SHUTTING_DOWN.text}")


def test_quit_is_served_and_what_is_wrong_is_told() -> None:
    stage = Stage()
    stop_serving(stage.leader.node)
    assert stage.leader.client().run("QUIT") == OK
    assert stage.leader.client().run("GET") == error("wrong number of arguments for 'get' command")


def test_a_replica_that_stops_still_answers_what_it_has_forwarded() -> None:
    stage = Stage(replica=True)
    admin, client = stage.leader.client(), stage.replica.client()
    admin.run("CLIENT PAUSE 10000 WRITE")
    client.say("SET k v", "GET k")
    stop_serving(stage.replica.node)
    assert stage.replica.client().run("GET k") == SHUTTING_DOWN
    admin.run("CLIENT UNPAUSE")
    assert client.take() == [OK, b"v"]


def test_what_is_forwarded_to_a_leader_that_stops_runs_when_it_is_back() -> None:
    stage = Stage(replica=True)
    client = stage.replica.client()
    stop_serving(stage.leader.node)
    assert client.say("INCR n").take() == []
    stage.leader.node.is_stopping = False
    stage.leader.node.audience.note_attention()
    stage.replica.node.forward_connected("leader", stage.now_ms)
    stage.settle()
    assert client.take() == [1]


def test_if_it_is_not_back_in_time_the_write_was_not_executed() -> None:
    stage = Stage(replica=True)
    client = stage.replica.client()
    stop_serving(stage.leader.node)
    client.say("INCR n")
    stage.pass_ms(5_100)
    assert [reply.code for reply in client.take()] == ["READONLY"]
