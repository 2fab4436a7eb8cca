"""Client-side caching: who has read a key hears of its next change, from the leader or from the nearest replica."""

import pytest

from tests.node.stage import Client, Stage
from upstash_global.errors import CommandError
from upstash_global.reply import OK, Push, Reply

NODES = pytest.mark.parametrize("at", ["leader", "replica"])


def invalid(*keys: bytes) -> Push:
    return Push([b"invalidate", list(keys)])


ALL = Push([b"invalidate", None])


def tracker(stage: Stage, at: str, options: str = "") -> Client:
    client = stage.machines[at].client()
    client.say("HELLO 3", f"CLIENT TRACKING ON {options}").take()
    return client


@pytest.fixture
def stage() -> Stage:
    return Stage(replica=True)


@NODES
def test_who_has_read_a_key_hears_of_its_next_change_once(stage: Stage, at: str) -> None:
    client = tracker(stage, at)
    assert client.say("GET k", "GET other").take() == [None, None]
    stage.leader.client().say("SET k 1", "SET k 2")
    assert client.take() == [invalid(b"k")]
    client.say("GET k").take()
    stage.replica.client().run("DEL k")
    assert client.take() == [invalid(b"k")]


@NODES
def test_an_own_write_is_heard_of_behind_its_reply(stage: Stage, at: str) -> None:
    client = tracker(stage, at)
    client.say("MGET a b").take()
    replies = client.say("SET a 1", "GET c", "SET b 1").take()
    assert replies == [OK, invalid(b"a"), None, OK, invalid(b"b")]


@NODES
def test_what_the_author_had_read_is_told_last(stage: Stage, at: str) -> None:
    listener = tracker(stage, at)
    author = tracker(stage, at, f"REDIRECT {listener.id}")
    author.run("GET mine")
    listener.run("GET yours")
    author.run("MSET mine 1 yours 1")
    assert listener.take() == [invalid(b"yours"), invalid(b"mine")]


@NODES
def test_noloop_spares_the_author_alone(stage: Stage, at: str) -> None:
    client, other = tracker(stage, at, "NOLOOP"), tracker(stage, at, "NOLOOP")
    client.run("GET k")
    other.run("GET k")
    assert client.say("SET k 1").take() == [OK]
    assert other.take() == [invalid(b"k")]


@NODES
def test_keys_that_expire_change(stage: Stage, at: str) -> None:
    client = tracker(stage, at)
    stage.leader.client().run("SET k v PX 50")
    client.run("GET k")
    stage.pass_ms(200)
    assert client.take() == [invalid(b"k")]


@NODES
def test_a_flush_changes_everything(stage: Stage, at: str) -> None:
    stage.leader.client().run("SET k v")
    client, deaf = tracker(stage, at), tracker(stage, at, "BCAST NOLOOP PREFIX x")
    client.run("GET nothing")
    stage.leader.client().run("FLUSHALL")
    assert (client.take(), deaf.take()) == ([ALL], [ALL])
    assert stage.machines[at].node.tracking.readers == {}


@NODES
def test_broadcasts_come_once_a_turn_for_each_prefix(stage: Stage, at: str) -> None:
    client = tracker(stage, at, "BCAST PREFIX user: PREFIX item:")
    stage.leader.client().say("SET user:2 x", "SET user:1 x", "SET user:2 y", "SET elsewhere x", "SET item:1 x")
    assert client.take() == [invalid(b"item:1"), invalid(b"user:1", b"user:2")]


@NODES
def test_broadcasts_leave_out_what_the_author_alone_changed(stage: Stage, at: str) -> None:
    client = tracker(stage, at, "BCAST NOLOOP")
    assert client.say("SET a 1", "SET b 1").take() == [OK, OK]
    stage.leader.client().run("SET a 2")
    assert client.take() == [invalid(b"a")]


@NODES
def test_optin_tracks_what_follows_caching_yes(stage: Stage, at: str) -> None:
    client = tracker(stage, at, "OPTIN")
    client.say("GET a", "CLIENT CACHING YES", "GET b", "GET c").take()
    stage.leader.client().run("MSET a 1 b 1 c 1")
    assert client.take() == [invalid(b"b")]


@NODES
def test_optin_tracks_the_transaction_that_follows_caching_yes(stage: Stage, at: str) -> None:
    client = tracker(stage, at, "OPTIN")
    client.say("CLIENT CACHING YES", "MULTI", "GET a", "INCR n", "GET b", "EXEC", "GET c").take()
    stage.leader.client().run("MSET a 1 b 1 c 1")
    assert client.take() == [invalid(b"a"), invalid(b"b")]


@NODES
def test_caching_within_a_transaction_counts_from_there_on(stage: Stage, at: str) -> None:
    client = tracker(stage, at, "OPTIN")
    client.say("MULTI", "GET a", "CLIENT CACHING YES", "GET b", "EXEC", "GET c").take()
    stage.leader.client().run("MSET a 1 b 1 c 1")
    assert client.take() == [invalid(b"b")]


@NODES
def test_what_a_transaction_reads_and_then_changes_is_told_once(stage: Stage, at: str) -> None:
    client = tracker(stage, at)
    replies = client.say("MULTI", "SINTER a b a", "GET b", "MSET a 1 b 1", "EXEC").take()
    assert replies[-2:] == [invalid(b"a"), invalid(b"b")]


@NODES
def test_noloop_spares_the_author_of_a_transaction(stage: Stage, at: str) -> None:
    client = tracker(stage, at, "NOLOOP")
    assert client.say("MULTI", "MGET a c", "MSET a 1 b 1", "EXEC").take()[-1] == [[None, None], OK]
    stage.leader.client().run("MSET a 2 c 2")
    assert client.take() == [invalid(b"c")]


@NODES
def test_optout_tracks_all_but_what_follows_caching_no(stage: Stage, at: str) -> None:
    client = tracker(stage, at, "OPTOUT")
    client.say("GET a", "CLIENT CACHING NO", "GET b", "GET c").take()
    stage.leader.client().run("MSET a 1 b 1 c 1")
    assert client.take() == [invalid(b"a"), invalid(b"c")]


@NODES
def test_a_resp2_client_hears_through_another_that_is_subscribed(stage: Stage, at: str) -> None:
    listener, client = stage.machines[at].client(), stage.machines[at].client()
    listener.say("SUBSCRIBE __redis__:invalidate").take()
    assert client.say(f"CLIENT TRACKING ON REDIRECT {listener.id}", "GET k").take() == [OK, None]
    client.say("SET k v").take()
    assert listener.take() == [Push([b"message", b"__redis__:invalidate", [b"k"]])]
    client.run("FLUSHALL")
    assert listener.take() == [Push([b"message", b"__redis__:invalidate", None])]


def test_a_redirection_to_a_client_that_has_gone_is_broken(stage: Stage) -> None:
    listener = stage.leader.client()
    client = tracker(stage, "leader", f"REDIRECT {listener.id}")
    client.run("GET k")
    stage.leader.node.close(listener)
    stage.leader.client().run("SET k v")
    assert client.take() == [Push([b"tracking-redir-broken", listener.id])]
    info = client.run("CLIENT TRACKINGINFO")
    assert isinstance(info, dict) and b"broken_redirect" in info[b"flags"].items


def test_a_redirection_to_a_client_that_is_about_to_close_is_broken(stage: Stage) -> None:
    listener = stage.leader.client()
    client = tracker(stage, "leader", f"REDIRECT {listener.id}")
    client.run("GET k")
    listener.run("QUIT")
    stage.leader.client().run("SET k v")
    assert client.take() == [Push([b"tracking-redir-broken", listener.id])]


def test_a_script_that_runs_here_is_tracked_by_what_it_reads(stage: Stage) -> None:
    client, other = tracker(stage, "leader"), stage.leader.client()
    client.run([b"EVAL", b"redis.call('SET', 'x', '1')", b"1", b"k"])
    other.run("SET k v")
    assert client.take() == []
    client.run([b"EVAL", b"redis.call('GET', 'x')", b"1", b"k"])
    other.run("MSET k w x 2")
    assert client.take() == [invalid(b"x")]


def test_a_full_table_forgets_what_is_tracked_longest_and_says_so(stage: Stage) -> None:
    client = tracker(stage, "leader")
    client.run("CONFIG SET tracking-table-max-keys 2")
    replies = client.say("GET a", "GET b", "GET c").take()
    assert replies == [None, None, None, invalid(b"a")]
    assert list(stage.leader.node.tracking.readers) == [b"b", b"c"]


def test_a_read_that_the_leader_answered_is_tracked_here(stage: Stage) -> None:
    client = tracker(stage, "replica")
    assert client.say("INCR n", "GET k").take() == [1, None]  # forwarded together
    stage.leader.client().run("SET k v")
    assert client.take() == [invalid(b"k")]


def test_a_read_of_an_own_write_in_one_pipeline_is_fresh(stage: Stage) -> None:
    client = tracker(stage, "replica")
    assert client.say("SET k 1", "GET k").take() == [OK, b"1"]
    stage.leader.client().run("SET k 2")
    assert client.take() == [invalid(b"k")]


def test_a_read_that_is_old_when_its_answer_comes_is_taken_back_at_once(stage: Stage) -> None:
    """The leader answers a read, then the key changes there; the replica applies both before it delivers the answer."""
    client = tracker(stage, "replica")
    other = stage.leader.client()
    node = stage.replica.node
    node.handle(client, [[b"INCR", b"n"], [b"GET", b"k"]], stage.now_ms)
    forward = stage.replica.turn()
    for peer, message in forward:
        stage.deliver(stage.replica, peer, message)
    answers = stage.leader.turn()
    stage.leader.node.handle(other, [[b"SET", b"k", b"later"]], stage.now_ms)
    changes = stage.leader.turn()
    held = [(peer, message) for peer, message in answers if type(message).__name__ == "Forwarded"]
    for peer, message in [each for each in answers if each not in held] + changes + held:
        stage.deliver(stage.leader, peer, message)
    stage.settle()
    assert client.take() == [1, None, invalid(b"k")]


@NODES
def test_a_transaction_hears_of_what_it_read_and_then_wrote(stage: Stage, at: str) -> None:
    client = tracker(stage, at)
    assert client.say("MULTI", "GET a", "SET a 1", "SET b 1", "GET b", "EXEC").take()[-2:] == [
        [None, OK, OK, b"1"],
        invalid(b"a"),
    ]
    stage.leader.client().run("SET b 2")
    assert client.take() == [invalid(b"b")]


def test_a_state_that_went_another_way_is_told_as_a_flush(stage: Stage) -> None:
    client = tracker(stage, "replica")
    client.run("GET k")
    stage.replica.node.spoil_reads()
    stage.replica.node.mark_dirty(client)
    stage.settle()
    assert client.take() == [ALL]


def test_a_reset_ends_tracking(stage: Stage) -> None:
    client = tracker(stage, "leader")
    client.say("GET k", "RESET", "HELLO 3").take()
    stage.leader.client().run("SET k v")
    assert client.take() == []
    assert not stage.leader.node.is_attended


def test_what_a_client_tracks_is_told_of_it(stage: Stage) -> None:
    client = tracker(stage, "leader", "BCAST PREFIX b PREFIX a NOLOOP")
    info: Reply = client.run("CLIENT TRACKINGINFO")
    assert isinstance(info, dict)
    assert (info[b"flags"].items, info[b"redirect"], info[b"prefixes"]) == (
        [b"on", b"bcast", b"noloop"],
        0,
        [b"a", b"b"],
    )
    assert isinstance(client.run("CLIENT TRACKING ON BCAST PREFIX ab"), CommandError)
    line = client.run("CLIENT INFO")
    assert b" flags=tB " in line.text and b" redir=0 " in line.text
    info = client.run("INFO")
    for told in (b"tracking_clients:1\r\n", b"tracking_total_prefixes:2\r\n", b"tracking_total_keys:0\r\n"):
        assert told in info.text


def test_what_a_lost_leader_answered_is_given_up_when_another_leads(stage: Stage) -> None:
    """The replica had not applied the write that its client read at the leader. Found by seed 75 of the simulation."""
    client = tracker(stage, "replica")
    stage.hold_entries()
    stage.leader.client().run("SET k 1")
    client.say("INCR other", "GET k")
    stage.pass_ms(1100)
    assert client.take() == [1, b"1"]
    stage.replica.node.roles.promote(force=True)
    stage.cut()
    stage.settle()
    assert client.take() == [ALL]
    assert client.run("GET k") is None
