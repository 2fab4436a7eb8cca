"""A client at a replica: what is forwarded in one run, what stays, and what it hears when the leader is away."""

from typing import Any

import pytest

from tests.node.stage import Client, Machine, Stage
from upstash_global.errors import CommandError, error
from upstash_global.node.forwarding import NOLEADER, UNKNOWN
from upstash_global.replication.messages import Forward, Forwarded, Message
from upstash_global.reply import NULL_ARRAY, OK, PONG, QUEUED, Push


class Listening(Stage):
    """A stage that keeps the Forwards, and may lose their answers."""

    def __init__(self, **settings: Any) -> None:
        self.forwards: list[list[list[bytes]]] = []
        self.loses_answers = False
        super().__init__(replica=True, **settings)

    def deliver(self, sender: Machine, peer: str, message: Message) -> None:
        if isinstance(message, Forward):
            self.forwards.append(message.commands)
        if self.loses_answers and isinstance(message, Forwarded):
            return
        super().deliver(sender, peer, message)


@pytest.fixture
def stage() -> Listening:
    return Listening()


@pytest.fixture
def client(stage: Listening) -> Client:
    return stage.replica.client()


# -- runs


def test_a_write_is_forwarded_and_read_here_at_once(stage: Listening, client: Client) -> None:
    assert client.run("SET k v") == OK
    assert client.run("GET k") == b"v"
    assert stage.forwards == [[[b"SET", b"k", b"v"]]]


def test_reads_before_the_first_write_stay_and_those_behind_it_go_along(stage: Listening, client: Client) -> None:
    assert client.say("GET k", "SET k v", "GET k", "INCR n", "GET n").take() == [None, OK, b"v", 1, b"1"]
    assert stage.forwards == [[[b"SET", b"k", b"v"], [b"GET", b"k"], [b"INCR", b"n"], [b"GET", b"n"]]]


@pytest.mark.parametrize("command", ["PING", "CLIENT ID", "SELECT 0", "HELLO 2", "ECHO x", "UNWATCH", "NOSUCH"])
def test_what_is_about_the_connection_ends_the_run(stage: Listening, client: Client, command: str) -> None:
    replies = client.say("SET k 1", command, "INCR k").take()
    assert len(replies) == 3 and replies[0] == OK and replies[2] == 2
    assert stage.forwards == [[[b"SET", b"k", b"1"]], [[b"INCR", b"k"]]]


def test_a_blocking_command_is_a_run_of_its_own(stage: Listening, client: Client) -> None:
    client.say("SET a 1", "BLPOP l 0", "SET b 2")
    stage.leader.client().run("RPUSH l x")
    assert client.take() == [OK, [b"l", b"x"], OK]
    assert [len(run) for run in stage.forwards] == [1, 1, 1]


def test_what_is_read_later_waits_for_its_turn(stage: Listening, client: Client) -> None:
    stage.cut()
    client.say("SET k v")
    client.say("GET k")
    assert client.take() == []
    stage.link()
    assert client.take() == [OK, b"v"]


# -- errors


@pytest.mark.parametrize(
    "command",
    ["INCR text", "LPUSH text a", "SET k", "SET k v NX XX", "EXPIRE text abc", "SETRANGE text -1 x", "RENAME nosuch b"],
)
def test_an_error_is_the_leader_s_word_for_word(stage: Listening, client: Client, command: str) -> None:
    stage.leader.client().run("SET text abc")
    expected = stage.leader.client().run(command)
    assert isinstance(expected, CommandError)
    assert client.run(command) == expected


@pytest.mark.parametrize("mistake", ["NOSUCH", "SET k", "INCR"])
def test_a_mistake_spoils_a_transaction_here_too(stage: Listening, client: Client, mistake: str) -> None:
    client.run("MULTI", "SET k v", mistake)
    assert client.run("EXEC") == CommandError("EXECABORT", "Transaction discarded because of previous errors.")
    assert stage.forwards == []


# -- transactions


def test_a_transaction_of_reads_stays(stage: Listening, client: Client) -> None:
    client.run("SET k v")
    del stage.forwards[:]
    assert client.run("MULTI", "GET k", "STRLEN k", "EXEC") == [b"v", 1]
    assert stage.forwards == []


def test_a_transaction_that_writes_goes_whole(stage: Listening, client: Client) -> None:
    assert client.run("MULTI", "SET k abc", "INCR k", "GET k", "EXEC") == [
        OK,
        error("value is not an integer or out of range"),
        b"abc",
    ]
    assert len(stage.forwards) == 1


def test_session_commands_of_a_transaction_stay_with_their_session(stage: Listening, client: Client) -> None:
    commands = ["SET k v", "CLIENT ID", "PING", "CLIENT SETNAME me", "SUBSCRIBE c", "INCR n"]
    replies = client.run("MULTI", *commands, "EXEC")
    assert replies == [OK, client.id, PONG, OK, Push([b"subscribe", b"c", 1]), 1]
    assert stage.forwards == [[[b"SET", b"k", b"v"], [b"INCR", b"n"]]]
    assert client.name == b"me" and stage.leader.node.pubsub.channels == {}
    stage.leader.client().run("PUBLISH c hi")
    assert client.take() == [Push([b"message", b"c", b"hi"])]


def test_an_aborted_transaction_runs_none_of_its_session_commands(stage: Listening, client: Client) -> None:
    client.run("WATCH k", "MULTI", "SET k 1", "CLIENT SETNAME me")
    stage.leader.client().run("SET k 2")
    assert client.run("EXEC") is NULL_ARRAY
    assert client.name == b""


def test_a_change_at_the_leader_aborts_what_was_watched_here(stage: Listening, client: Client) -> None:
    client.run("SET k 1")
    client.run("WATCH k", "GET k")
    stage.cut()
    stage.leader.client().run("SET k 2")  # this replica does not know yet
    client.say("MULTI", "SET k 3", "EXEC").take()
    stage.link()
    assert client.take() == [NULL_ARRAY]
    assert stage.leader.client().run("GET k") == b"2"


def test_wait_inside_a_forwarded_transaction_counts_at_the_leader(client: Client) -> None:
    assert client.run("MULTI", "SET k v", "WAIT 0 0", "EXEC") == [OK, 1]


# -- PUBLISH


def test_publish_answers_the_deliveries_here(stage: Listening, client: Client) -> None:
    for _ in range(2):
        stage.replica.client().run("SUBSCRIBE c")
    stage.leader.client().run("SUBSCRIBE c")
    assert client.run("PUBLISH c hi") == 2


# -- no leader, and answers that are lost


def test_without_a_leader_writes_are_refused_and_reads_go_on(stage: Listening, client: Client) -> None:
    client.run("SET k v")
    stage.replica.node.forward_disconnected("leader", stage.now_ms)
    assert client.say("SET k 2", "GET k").take() == [NOLEADER, b"v"]
    assert client.run("MULTI", "SET k 2", "EXEC") == NOLEADER


def test_a_forward_that_is_sent_again_runs_once(stage: Listening, client: Client) -> None:
    stage.loses_answers = True
    client.say("INCR n", "INCR n")
    assert client.take() == []
    stage.loses_answers = False
    stage.replica.node.forward_disconnected("leader", stage.now_ms)
    stage.link()
    assert client.take() == [1, 2]
    assert stage.leader.client().run("GET n") == b"2"


def test_a_forwarded_transaction_that_is_sent_again_runs_once(stage: Listening, client: Client) -> None:
    stage.loses_answers = True
    client.say("MULTI", "INCR n", "PING", "EXEC").take()
    stage.loses_answers = False
    stage.link()
    assert client.take() == [[1, PONG]]


def test_a_forward_without_an_answer_ends_as_unknown(stage: Listening, client: Client) -> None:
    stage.loses_answers = True
    client.say("INCR n", "GET n")
    stage.pass_ms(6_000)
    assert client.take() == [UNKNOWN, UNKNOWN]


def test_a_client_that_goes_is_forgotten_by_the_leader(stage: Listening, client: Client) -> None:
    client.say("BLPOP l 0")
    stage.replica.node.close(client)
    stage.settle()
    assert stage.leader.node.forwarding.remotes == {}
    assert stage.leader.client().run("RPUSH l x", "LLEN l") == 1


def test_queueing_asks_nobody(stage: Listening, client: Client) -> None:
    stage.cut()
    assert client.say("MULTI", "SET k v", "DISCARD").take() == [OK, QUEUED, OK]


def test_a_repeat_brings_the_answers_of_the_first_run_reads_too(stage: Listening, client: Client) -> None:
    stage.loses_answers = True
    client.say("SET k 1", "GET k")
    stage.leader.client().run("SET k 2")
    stage.loses_answers = False
    stage.link()
    assert client.take() == [OK, b"1"]
