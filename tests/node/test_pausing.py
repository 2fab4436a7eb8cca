"""CLIENT PAUSE holds the commands of a node's clients back; they go on in their order."""

import pytest

from tests.node.stage import Client, Stage
from upstash_global.errors import CommandError
from upstash_global.reply import OK, PONG, Push


@pytest.fixture
def stage() -> Stage:
    return Stage(replica=True)


@pytest.fixture
def admin(stage: Stage) -> Client:
    return stage.leader.client()


def test_writes_wait_and_reads_go_on(stage: Stage, admin: Client) -> None:
    client = stage.leader.client()
    assert admin.run("CLIENT PAUSE 10000 WRITE") == OK
    assert client.say("GET k", "SET k v", "GET k").take() == [None]
    assert admin.run("CLIENT UNPAUSE") == OK
    assert client.take() == [OK, b"v"]
    assert not stage.leader.node.is_attended


def test_a_pause_ends_by_itself(stage: Stage, admin: Client) -> None:
    client = stage.leader.client()
    admin.run("CLIENT PAUSE 500 WRITE")
    client.say("INCR n")
    stage.pass_ms(400)
    assert client.take() == []
    stage.pass_ms(200)
    assert client.take() == [1]


def test_a_pause_of_all_holds_reads_but_not_its_own_end(stage: Stage, admin: Client) -> None:
    client = stage.leader.client()
    admin.run("CLIENT PAUSE 10000")
    assert client.say("PING", "GET k").take() == []
    admin.run("CLIENT UNPAUSE")
    assert client.take() == [PONG, None]


def test_a_pause_gets_no_shorter_and_no_weaker(stage: Stage, admin: Client) -> None:
    admin.run("CLIENT PAUSE 1000 ALL")
    stage.leader.node.pause.begin(stage.leader.node.local_ms + 1, False)
    client = stage.leader.client()
    client.say("PING")
    stage.pass_ms(800)
    assert client.take() == []


def test_scripts_that_promise_not_to_write_go_on(stage: Stage, admin: Client) -> None:
    client = stage.leader.client()
    function = "redis.register_function{function_name='f', callback=function() return 2 end, flags={'no-writes'}}"
    client.run([b"FUNCTION", b"LOAD", f"#!lua name=l\n{function}".encode()])
    admin.run("CLIENT PAUSE 10000 WRITE")
    assert client.run([b"EVAL", b"#!lua flags=no-writes\nreturn 1", b"0"]) == 1
    sha = client.run([b"SCRIPT", b"LOAD", b"#!lua flags=no-writes\nreturn 3"])
    assert client.run("FCALL f 0", [b"EVALSHA", sha, b"0"]) == 3
    assert client.say("MULTI", "FCALL f 0", "EXEC").take()[-1] == [2]
    assert client.say([b"EVAL", b"return 1", b"0"]).take() == []
    admin.run("CLIENT UNPAUSE")
    assert client.take() == [1]


def test_what_is_refused_is_refused_at_once(stage: Stage, admin: Client) -> None:
    admin.run("CLIENT PAUSE 10000 WRITE")
    replies = stage.leader.client().say("SET k", "NOSUCH", "INCR n").take()
    assert [type(reply) for reply in replies] == [CommandError, CommandError]


def test_an_exec_waits_if_it_writes(stage: Stage, admin: Client) -> None:
    client = stage.leader.client()
    client.say("MULTI", "INCR n").take()
    admin.run("CLIENT PAUSE 10000 WRITE")
    assert client.say("EXEC").take() == []
    assert stage.leader.client().say("MULTI", "GET n", "EXEC").take()[-1] == [None]
    admin.run("CLIENT UNPAUSE")
    assert client.take() == [[1]]


def test_what_a_replica_forwards_waits_at_the_leader(stage: Stage, admin: Client) -> None:
    client = stage.replica.client()
    admin.run("CLIENT PAUSE 10000 WRITE")
    assert client.say("INCR n").take() == []
    admin.run("CLIENT UNPAUSE")
    assert client.take() == [1]


def test_a_pause_of_a_replica_is_its_own(stage: Stage) -> None:
    held = stage.replica.client()
    stage.replica.client().run("CLIENT PAUSE 10000 WRITE")
    assert held.say("INCR n").take() == []
    assert stage.leader.client().run("INCR n") == 1
    stage.replica.client().run("CLIENT UNPAUSE")
    assert held.take() == [2]


def test_nothing_expires_meanwhile(stage: Stage, admin: Client) -> None:
    admin.run("SET k v PX 50")
    admin.run("CLIENT PAUSE 10000 WRITE")
    stage.pass_ms(200)
    assert b"k" in stage.leader.node.engine.keyspace.values
    admin.run("CLIENT UNPAUSE")
    stage.pass_ms(40)
    assert b"k" not in stage.leader.node.engine.keyspace.values


def test_a_waiting_client_is_blocked_and_may_go(stage: Stage, admin: Client) -> None:
    client = stage.leader.client()
    admin.run("CLIENT PAUSE 10000 WRITE")
    client.say("INCR n")
    line = admin.run(f"CLIENT LIST ID {client.id}")
    assert b" flags=b " in line.text and b" cmd=incr " in line.text
    stage.leader.node.close(client)
    admin.run("CLIENT UNPAUSE")
    assert admin.run("GET n") is None


def test_messages_are_delivered_meanwhile(stage: Stage, admin: Client) -> None:
    listener = stage.replica.client()
    listener.say("SUBSCRIBE c").take()
    stage.replica.client().run("CLIENT PAUSE 10000 ALL")
    admin.run("PUBLISH c hi")
    assert listener.take() == [Push([b"message", b"c", b"hi"])]
