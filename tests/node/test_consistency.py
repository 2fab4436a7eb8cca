"""How new the state is that a session's reads are served from, at a replica that has stopped hearing of entries."""

import pytest

from tests.node.stage import Client, Stage
from upstash_global.errors import CommandError, error
from upstash_global.node.freshness import TOO_STALE
from upstash_global.protocol.consistency import Consistency
from upstash_global.protocol.tokens import SyncToken, encode_token, sync_token_key
from upstash_global.reply import OK, Simple


@pytest.fixture
def stage() -> Stage:
    """The replica knows `old`; the leader has `new` since; half a second ago."""
    stage = Stage(replica=True)
    stage.replica.client().run("SET k old")
    stage.hold_entries()
    stage.leader.client().run("SET k new")
    stage.pass_ms(500)
    return stage


def reader(stage: Stage, *consistency: str) -> Client:
    client = stage.replica.client()
    if consistency:
        assert client.run(" ".join(["CLIENT", "CONSISTENCY", *consistency])) == OK
    return client


@pytest.mark.parametrize(
    "consistency, value",
    [
        ([], b"old"),
        (["EVENTUAL"], b"old"),
        (["SESSION"], b"old"),
        (["BOUNDED", "100000"], b"old"),
        (["BOUNDED", "100"], b"new"),
        (["BOUNDED", "0"], b"new"),
        (["LEADER"], b"new"),
    ],
)
def test_a_read_is_as_new_as_its_session_asks(stage: Stage, consistency: list[str], value: bytes) -> None:
    client = reader(stage, *consistency)
    assert client.run("GET k") == value
    assert client.run("GET k") == value
    client.say("MULTI", "GET k").take()
    assert client.run("EXEC") == [value]


def test_a_bound_that_can_be_met_again_is_served_here(stage: Stage) -> None:
    client = reader(stage, "BOUNDED", "300")
    n_forwarded = stage.replica.node.forwarding.n_forwarded
    stage.is_following = True
    stage.pass_ms(10_000)
    assert client.run("GET k") == b"new"
    assert stage.replica.node.forwarding.n_forwarded == n_forwarded


@pytest.mark.parametrize("consistency", ["LEADER", "BOUNDED 100"])
def test_what_cannot_be_had_is_stale(stage: Stage, consistency: str) -> None:
    client = reader(stage, consistency)
    stage.replica.node.forward_disconnected("leader", stage.now_ms)
    reply = client.run("GET k")
    assert isinstance(reply, CommandError) and reply.code == "STALE"
    assert reader(stage).run("GET k") == b"old"


def test_a_session_reads_its_own_write_although_it_is_not_here_yet(stage: Stage) -> None:
    client, careless = reader(stage), reader(stage, "EVENTUAL")
    bounded = reader(stage, "BOUNDED", "100000")
    for each in (client, careless, bounded):
        each.say("SET k mine")
        if each is client:
            assert each.take() == []
            stage.pass_ms(1_100)  # sync_wait_ms: the answer is sent before the entry is here
        assert each.take() == [OK]
    client.say("GET k")
    stage.pass_ms(1_100)
    assert client.take() == [b"mine"]
    assert bounded.run("GET k") == b"mine"
    assert careless.run("GET k") == b"old"


def test_a_transaction_with_a_watch_runs_whatever_is_asked(stage: Stage) -> None:
    stage.is_following = True
    stage.pass_ms(10_000)
    for consistency in ("LEADER", "BOUNDED 0", "EVENTUAL"):
        client = reader(stage, consistency)
        client.say("WATCH k", "MULTI", "SET k w", "GET k").take()
        assert client.run("EXEC") == [OK, b"w"]


def test_the_leader_serves_every_kind(stage: Stage) -> None:
    for consistency in ("EVENTUAL", "SESSION", "BOUNDED 0", "LEADER"):
        client = stage.leader.client()
        client.run(f"CLIENT CONSISTENCY {consistency}")
        assert client.run("GET k") == b"new"


def test_what_a_session_asks_is_told_and_ends_with_reset(stage: Stage) -> None:
    client = reader(stage, "BOUNDED", "250")
    assert client.run("CLIENT CONSISTENCY") == b"bounded; max-staleness-ms=250"
    client.run("RESET")
    assert client.run("CLIENT CONSISTENCY") == b"session"
    for mistake in ("STRONG", "BOUNDED", "BOUNDED x", "LEADER 5", "BOUNDED 1 2"):
        assert client.run(f"CLIENT CONSISTENCY {mistake}") == CommandError("ERR", "syntax error")


def test_the_default_is_a_setting() -> None:
    stage = Stage(replica=True, consistency=Consistency("leader"))
    stage.hold_entries()
    stage.leader.client().run("SET k v")
    assert stage.replica.client().run("GET k") == b"v"


# -- SYNCTOKEN


def test_a_token_of_another_node_is_waited_for(stage: Stage) -> None:
    token = stage.leader.client().run("SYNCTOKEN")
    client = reader(stage)
    assert client.run([b"SYNCTOKEN", token]) == OK
    assert client.say("GET k").take() == []
    assert reader(stage).run("GET k") == b"old"  # who has no token does not wait
    n_forwarded = stage.replica.node.forwarding.n_forwarded
    stage.is_following = True
    stage.leader.client().run("SET other v")  # there is a gap before it: the replica asks for what it has missed
    stage.pass_ms(100)
    assert client.take() == [b"new"]
    assert stage.replica.node.forwarding.n_forwarded == n_forwarded


def test_a_token_that_is_not_reached_in_time_is_the_leaders_to_answer(stage: Stage) -> None:
    token = stage.leader.client().run("SYNCTOKEN")
    client = reader(stage)
    client.run([b"SYNCTOKEN", token])
    client.say("GET k")
    stage.pass_ms(2_200)  # sync_wait_ms for the token, and once more for the position that the leader answered at
    assert client.take() == [b"new"]
    stage.replica.node.forward_disconnected("leader", stage.now_ms)
    reply = client.run("GET k")
    assert isinstance(reply, CommandError) and reply.code == "STALE"


def test_a_token_of_a_reign_that_was_given_up_is_said_to_be_lost() -> None:
    stage = Stage(replica=True)
    stage.hold_entries()
    leader = stage.leader.client()
    leader.run("SET k lost")
    token = leader.run("SYNCTOKEN")
    stage.cut()
    stage.replica.node.roles.promote(True)
    client = stage.replica.client()
    assert client.run([b"SYNCTOKEN", token]) == Simple("lost-epoch")
    assert client.run("GET k") is None


def test_a_token_covers_what_was_written_in_the_same_packet_and_what_is_owed(stage: Stage) -> None:
    leader = stage.leader.client()
    assert leader.run("SYNCTOKEN") != leader.run("SET k newer", "SYNCTOKEN")
    client = reader(stage, "EVENTUAL")
    client.run("SET k mine")  # not applied here
    assert client.run("SYNCTOKEN") == leader.run("SYNCTOKEN") != reader(stage).run("SYNCTOKEN")


def test_an_older_token_takes_nothing_back(stage: Stage) -> None:
    old = stage.replica.client().run("SYNCTOKEN")
    new = stage.leader.client().run("SYNCTOKEN")
    client = reader(stage)
    for token in (new, old):
        assert client.run([b"SYNCTOKEN", token]) == OK
    assert client.run("SYNCTOKEN") == new


def test_info_tells_the_token_of_this_nodes_state(stage: Stage) -> None:
    for machine in stage.machines.values():
        client = machine.client()
        assert b"\r\nsync_token:%s\r\n" % client.run("SYNCTOKEN") in client.run("INFO replication").text


def test_what_this_cluster_did_not_write_is_refused(stage: Stage) -> None:
    client = reader(stage)
    foreign = encode_token(SyncToken(1, 1), "another", sync_token_key("another"))
    for token in ("made-up", foreign):
        assert client.run(f"SYNCTOKEN {token}") == error("this is no sync token of this cluster")
    assert client.run("SYNCTOKEN a b").text == "ERR wrong number of arguments for 'synctoken' command"
    assert client.run("MULTI", "SYNCTOKEN") == error("Command not allowed inside a transaction")


def test_a_replica_serves_reads_again_with_the_message_that_makes_it_new_enough() -> None:
    """Not only with its next tick: whoever was just told that it is fit would be refused until then."""
    stage = Stage(replica=True)
    stage.replica.node.read_refusal = TOO_STALE
    assert stage.leader.client().run("SET k v") == OK
    assert stage.replica.client().run("GET k") == b"v"
