"""Keyspace notifications: every node tells its own subscribers what the cluster's parameter asks for."""

import pytest

from tests.node.stage import Client, Stage
from upstash_global.errors import CommandError
from upstash_global.node import parametertexts
from upstash_global.node.notifications import Notifications
from upstash_global.node.parametertable import TABLE
from upstash_global.reply import OK, Push, Reply


def listening(stage: Stage, at: str, flags: str = "KEA") -> Client:
    """A RESP2 client of a node that hears all events which its node tells."""
    machine = stage.machines[at]
    assert machine.client().run(f"CONFIG SET notify-keyspace-events '{flags}'") == OK
    client = machine.client()
    client.run("PSUBSCRIBE __key*")
    return client


def heard(client: Client) -> list[tuple[bytes, bytes]]:
    """(channel, message) of what came since the last call."""
    messages: list[tuple[bytes, bytes]] = []
    for reply in client.take():
        assert isinstance(reply, Push) and reply.items[0] == b"pmessage"
        messages.append((reply.items[2], reply.items[3]))
    return messages


def test_an_event_is_told_by_key_and_by_event() -> None:
    stage = Stage()
    listener = listening(stage, "leader")
    stage.leader.client().run("SET k v")
    assert heard(listener) == [(b"__keyspace@0__:k", b"set"), (b"__keyevent@0__:set", b"k")]


def test_a_replica_tells_what_it_applies() -> None:
    stage = Stage(replica=True)
    listener = listening(stage, "replica", "El")
    stage.leader.client().say("RPUSH l a", "SET k v", "LPOP l")
    assert heard(listener) == [(b"__keyevent@0__:rpush", b"l"), (b"__keyevent@0__:lpop", b"l")]


def test_what_nobody_asks_for_is_not_even_noted() -> None:
    stage = Stage()
    listening(stage, "leader", "KEl")
    stage.leader.client().run("SET k v")
    assert stage.leader.node.engine.context.said == []


def test_classes_without_a_kind_of_channel_tell_nothing() -> None:
    stage = Stage()
    listener = listening(stage, "leader", "A")
    stage.leader.client().run("SET k v")
    assert heard(listener) == []


@pytest.mark.parametrize("at", ["leader", "replica"])
def test_expired_keys_are_told_everywhere(at: str) -> None:
    stage = Stage(replica=True)
    listener = listening(stage, at, "Ex")
    stage.leader.client().run("SET k v PX 50")
    stage.pass_ms(200)
    assert heard(listener) == [(b"__keyevent@0__:expired", b"k")]


@pytest.mark.parametrize("at", ["leader", "replica"])
def test_a_key_that_is_overwritten_after_its_deadline_has_expired_first(at: str) -> None:
    stage = Stage(replica=True)
    listener = listening(stage, at, "Ex$n")
    client = stage.leader.client()
    client.run("SET k v PX 50")
    stage.now_ms += 60  # and the sweep has not been there
    client.run("SET k w")
    assert [event.rpartition(b":")[2] for event, _ in heard(listener)] == [b"new", b"set", b"expired", b"new", b"set"]


def test_a_read_that_misses_is_told_where_it_is_served() -> None:
    stage = Stage(replica=True)
    here, there = listening(stage, "leader", "Em"), listening(stage, "replica", "Em")
    stage.replica.client().say("GET k", "EXISTS k k", "OBJECT ENCODING k", "MGET k l")
    assert heard(there) == [(b"__keyevent@0__:keymiss", key) for key in (b"k", b"k", b"k", b"k", b"l")]
    assert heard(here) == []


def test_a_miss_within_a_script_is_told() -> None:
    stage = Stage()
    listener = listening(stage, "leader", "Em")
    stage.leader.client().run("EVAL \"redis.call('incr', KEYS[1]) return redis.call('get', KEYS[2])\" 2 k l")
    assert heard(listener) == [(b"__keyevent@0__:keymiss", b"l")]


def test_messages_and_events_of_a_transaction_keep_their_order() -> None:
    stage = Stage(replica=True)
    listener = listening(stage, "replica", "E$")
    listener.say("SUBSCRIBE c").take()
    stage.leader.client().say("MULTI", "SET a 1", "PUBLISH c hi", "SET b 1", "EXEC")
    assert [push.items[-1] for push in listener.take() if isinstance(push, Push)] == [b"a", b"hi", b"b"]


@pytest.mark.parametrize("at", ["leader", "replica"])
def test_who_writes_hears_it_behind_the_reply_to_that_command(at: str) -> None:
    stage = Stage(replica=True)
    stage.machines[at].client().run("CONFIG SET notify-keyspace-events E$")
    client = stage.machines[at].client()
    client.say("HELLO 3", "PSUBSCRIBE __key*").take()
    event = b"__keyevent@0__:set"
    told = [Push([b"pmessage", b"__key*", event, key]) for key in (b"a", b"b")]
    assert client.say("SET a 1", "GET a", "SET b 1").take() == [OK, told[0], b"1", OK, told[1]]


def test_a_replay_from_disk_is_told_to_nobody() -> None:
    stage = Stage()
    stage.leader.client().run("SET k v")
    node = stage.leader.node
    listener = listening(stage, "leader")
    node.reset()
    node.restore(stage.leader.storage.recover())
    stage.settle()
    assert heard(listener) == []
    assert stage.leader.client().run("GET k") == b"v"


@pytest.mark.parametrize("given", ["KEA", "EKg$lshzxetd", "$gK", "nmEx", "", "dtexzhsl$gAmKE", "AnK", "g$"])
def test_the_flags_that_are_shown_mean_what_was_given(given: str) -> None:
    shown = parametertexts.canonical(TABLE["notify-keyspace-events"], given, "")
    as_given, as_shown = Notifications(), Notifications()
    as_given.set(given)
    as_shown.set(shown)
    assert (as_given.mask, as_given.by_key, as_given.by_event) == (as_shown.mask, as_shown.by_key, as_shown.by_event)


def test_an_unknown_letter_is_refused_and_changes_nothing() -> None:
    client = Stage().leader.client()
    client.run("CONFIG SET notify-keyspace-events Kl")
    refusal: Reply = client.run("CONFIG SET notify-keyspace-events KQ")
    assert isinstance(refusal, CommandError) and "Invalid event class character" in refusal.message
    assert client.run("CONFIG GET notify-keyspace-events") == {b"notify-keyspace-events": b"lK"}
