"""What a client hears: replies that are off, channels, who is cut off, what CLIENT LIST says."""

import pytest

from tests.node.stage import Client, Stage
from upstash_global.errors import error
from upstash_global.node import pubsub
from upstash_global.node.clientmemory import CLIENT_BYTES
from upstash_global.node.commands import transactions
from upstash_global.reply import OK, PONG, Push


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def client(stage: Stage) -> Client:
    return stage.leader.client()


# -- CLIENT REPLY


def test_replies_off_are_off_until_they_are_on(client: Client) -> None:
    assert client.say("CLIENT REPLY OFF", "SET k v", "NOSUCH", "CLIENT REPLY ON", "GET k").take() == [OK, b"v"]


def test_skip_is_for_the_next_command_alone(client: Client) -> None:
    assert client.say("CLIENT REPLY SKIP", "SET k v", "GET k").take() == [b"v"]


def test_skip_after_skip_is_for_the_last(client: Client) -> None:
    assert client.say("CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING", "ECHO x").take() == [b"x"]


def test_skip_does_not_turn_replies_on(client: Client) -> None:
    assert client.say("CLIENT REPLY OFF", "CLIENT REPLY SKIP", "PING", "ECHO x").take() == []


def test_reset_turns_replies_on(client: Client) -> None:
    assert client.say("CLIENT REPLY OFF", "RESET", "PING").take()[-1] == PONG


def test_messages_come_although_replies_are_off(client: Client, stage: Stage) -> None:
    client.say("HELLO 3", "SUBSCRIBE c").take()
    client.say("CLIENT REPLY OFF")
    stage.leader.client().run("PUBLISH c hi")
    assert client.take() == [Push([b"message", b"c", b"hi"])]


# -- channels


def test_subscribing_answers_for_each_channel_with_the_count(client: Client) -> None:
    assert client.say("SUBSCRIBE a b a", "PSUBSCRIBE p*").take() == [
        Push([b"subscribe", b"a", 1]),
        Push([b"subscribe", b"b", 2]),
        Push([b"subscribe", b"a", 2]),
        Push([b"psubscribe", b"p*", 3]),
    ]


def test_leaving_nothing_is_answered_once(client: Client) -> None:
    assert client.say("UNSUBSCRIBE").take() == [Push([b"unsubscribe", None, 0])]


def test_publish_answers_the_deliveries_and_channels_come_before_patterns(client: Client, stage: Stage) -> None:
    client.say("PSUBSCRIBE c*", "SUBSCRIBE c1").take()
    assert stage.leader.client().run("PUBLISH c1 hi") == 2
    assert client.take() == [Push([b"message", b"c1", b"hi"]), Push([b"pmessage", b"c*", b"c1", b"hi"])]


def test_who_publishes_hears_it_behind_the_answer(client: Client) -> None:
    client.say("HELLO 3", "SUBSCRIBE c").take()
    assert client.say("PUBLISH c hi", "PING").take() == [1, Push([b"message", b"c", b"hi"]), PONG]


def test_a_client_that_has_gone_hears_nothing(client: Client, stage: Stage) -> None:
    client.run("SUBSCRIBE c")
    stage.leader.node.close(client)
    assert stage.leader.client().run("PUBLISH c hi") == 0
    assert stage.leader.node.pubsub.channels == {}


def test_a_message_reaches_the_subscribers_of_every_node() -> None:
    stage = Stage(replica=True)
    here, there = stage.leader.client(), stage.replica.client()
    here.say("SUBSCRIBE c").take()
    there.say("SUBSCRIBE c").take()
    stage.replica.client().run("PUBLISH c hi")
    assert here.take() == there.take() == [Push([b"message", b"c", b"hi"])]


def test_shard_channels_are_channels_of_their_own_in_every_region() -> None:
    stage = Stage(replica=True)
    here, there = stage.leader.client(), stage.replica.client()
    assert here.say("SSUBSCRIBE c", "SUBSCRIBE c").take() == [
        Push([b"ssubscribe", b"c", 1]),
        Push([b"subscribe", b"c", 1]),
    ]
    there.say("SSUBSCRIBE c d", "PSUBSCRIBE *").take()
    assert stage.replica.client().run("SPUBLISH c hi") == 1
    assert here.take() == there.take() == [Push([b"smessage", b"c", b"hi"])]
    assert stage.replica.client().run("PUBSUB SHARDNUMSUB c d e") == [b"c", 1, b"d", 1, b"e", 0]
    stage.replica.node.close(there)
    assert stage.replica.node.pubsub.shard_channels == {}


def test_what_a_client_may_listen_to_is_bounded(client: Client) -> None:
    half = [b"%d" % n for n in range(pubsub.MAX_SUBSCRIPTIONS // 2)]
    client.say([b"SUBSCRIBE", *half], [b"SSUBSCRIBE", *half]).take()
    refused = client.run("PSUBSCRIBE one-more")
    assert refused == error(f"max number of subscriptions of a client reached. Limit: {pubsub.MAX_SUBSCRIPTIONS}")
    assert client.say("UNSUBSCRIBE 0", "PSUBSCRIBE one-more").take()[-1] == Push(
        [b"psubscribe", b"one-more", len(half)]
    )


def test_what_a_client_may_watch_is_bounded(client: Client) -> None:
    assert client.run([b"WATCH", *[b"%d" % n for n in range(transactions.MAX_WATCHES)]]) == OK
    assert client.run("WATCH k") == error(
        f"max number of watched keys of a client reached. Limit: {transactions.MAX_WATCHES}"
    )
    assert client.say("UNWATCH", "WATCH k").take() == [OK, OK]


# -- ending


def test_quit_is_answered_and_nothing_behind_it_runs(client: Client) -> None:
    assert client.say("QUIT", "SET k v").take() == [OK]
    assert client.closing
    assert client.machine.client().run("GET k") is None


def test_killing_cuts_another_client_off_at_once(client: Client) -> None:
    victim = client.machine.client()
    assert client.run(f"CLIENT KILL ID {victim.id}") == 1
    assert victim.is_cut


def test_killing_oneself_is_answered_first(client: Client) -> None:
    assert client.run(f"CLIENT KILL ID {client.id} SKIPME no") == 1
    assert client.closing and not client.is_cut


def test_the_old_form_of_kill_wants_an_address(client: Client) -> None:
    assert client.run("CLIENT KILL 1.2.3.4:5") == error("No such client")
    victim = client.machine.client()
    assert client.run(f"CLIENT KILL {victim.address}") == OK


# -- CLIENT LIST


@pytest.mark.parametrize(
    ("commands", "flags"),
    [
        (["PING"], "N"),
        (["MULTI"], "x"),
        (["SUBSCRIBE c"], "P"),
        (["CLIENT NO-EVICT ON", "CLIENT NO-TOUCH ON"], "eT"),
        (["BLPOP l 0"], "b"),
        (["WATCH k", "SET k v", "MULTI"], "xd"),
    ],
)
def test_the_flags_of_a_client_say_what_it_does(client: Client, commands: list[str], flags: str) -> None:
    client.say(*commands)
    line = client.machine.client().run(f"CLIENT LIST ID {client.id}").text.decode()
    assert f" flags={flags} " in line
    assert f" cmd={commands[-1].split()[0].lower()}" in line


def test_hello_names_logs_in_and_switches_in_one_step() -> None:
    client = Stage(password="secret").leader.client()
    reply = client.run("HELLO 3 AUTH default secret SETNAME me")
    assert reply[b"proto"] == 3 and reply[b"role"] == b"master"
    assert client.run("CLIENT GETNAME") == b"me"


def test_a_refused_hello_changes_nothing() -> None:
    client = Stage(password="secret").leader.client()
    client.run("HELLO 3 SETNAME me AUTH default wrong")
    assert (client.protocol, client.name, client.user) == (2, b"", None)


def test_client_kill_with_maxage_spares_the_young() -> None:
    stage = Stage()
    old = stage.leader.client()
    stage.pass_ms(3_000)
    young, admin = stage.leader.client(), stage.leader.client()
    assert admin.run("CLIENT KILL MAXAGE 2") == 1
    assert (old.is_cut, young.is_cut) == (True, False)
    assert admin.run("CLIENT KILL MAXAGE many") == error("maxage is not an integer or out of range")
    assert admin.run("CLIENT KILL MAXAGE 0") == error("maxage should be greater than 0")


def test_client_list_shows_what_a_client_has_sent_and_queued() -> None:
    client = Stage().leader.client()
    fields = dict(field.split(b"=", 1) for field in client.run("CLIENT LIST").text.split())
    assert (fields[b"qbuf"], fields[b"argv-mem"]) == (b"26", b"10")
    client.run("MULTI", "SET k v")
    other = client.machine.client()
    line = other.run(f"CLIENT LIST ID {client.id}").text
    fields = dict(field.split(b"=", 1) for field in line.split())
    assert (fields[b"multi"], fields[b"qbuf"]) == (b"1", b"0")
    assert int(fields[b"tot-mem"]) == CLIENT_BYTES + int(fields[b"multi-mem"]) and int(fields[b"multi-mem"]) > 5
