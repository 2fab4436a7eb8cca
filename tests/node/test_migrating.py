"""MIGRATE without a network: the test plays the target."""

from typing import Any

import pytest

from tests.node.stage import Client, Stage
from upstash_global.engine.commands.dumping import MAX_VALUE_BYTES
from upstash_global.engine.rdb.format import unseal
from upstash_global.engine.rdb.read import read_value
from upstash_global.errors import CommandError, error
from upstash_global.node.migrating import NO_KEY, READING, Migration
from upstash_global.reply import OK, QUEUED, pack

ONE = "MIGRATE target 6379 k 0 50"
THREE = "MIGRATE target 6379 '' 0 50 KEYS a b c"


def staged(**settings: Any) -> Stage:
    return Stage(**({"migrate": True} | settings))


def sent(stage: Stage) -> Migration:
    """The one that waits for its target."""
    (migration,) = stage.leader.migrations
    return migration


def answer(stage: Stage, *lines: bytes, failure: str = "") -> None:
    """The target has said this, its answers to the introduction included."""
    migration = stage.leader.migrations.pop()
    stage.leader.node.migrations.ended(migration.token, list(lines), failure, stage.now_ms)
    stage.settle()


def filled(stage: Stage) -> Client:
    client = stage.leader.client()
    client.run("MSET k v a 1 b 2 c 3")
    return client


def test_a_key_that_the_target_has_taken_is_deleted_here_by_a_logged_del() -> None:
    stage = staged(replica=True)
    client = filled(stage)
    client.run("PEXPIRE k 5000")
    before = stage.leader.node.log.head.lsn
    client.say(ONE, "GET a")
    migration = sent(stage)
    assert client.take() == [] and client.waiting
    assert (migration.host, migration.port, migration.timeout_ms) == ("target", 6379, 50)
    assert migration.introduction == [[b"SELECT", b"0"]]
    ((name, key, left_ms, payload),) = migration.restores
    assert (name, key, left_ms) == (b"RESTORE", b"k", b"5000")
    reader = unseal(payload, MAX_VALUE_BYTES)
    assert reader is not None and read_value(reader, 0, stage.leader.node.engine.context.limits) == b"v"
    assert client.machine.client().run("GET k") == b"v", "others are served meanwhile, and the key is still there"
    answer(stage, b"+OK", b"+OK")
    assert client.take() == [OK, b"1"]
    assert stage.leader.node.log.head.lsn == before + 1
    assert client.run("EXISTS k") == 0
    assert stage.replica.client().run("EXISTS k") == 0
    assert stage.leader.node.digest() == stage.replica.node.digest()


def test_a_copy_stays_and_changes_nothing() -> None:
    stage = staged()
    client = filled(stage)
    before = stage.leader.node.log.head.lsn
    client.say(ONE + " COPY REPLACE AUTH secret")
    migration = sent(stage)
    assert migration.introduction == [[b"AUTH", b"secret"], [b"SELECT", b"0"]]
    assert migration.restores[0][2::2] == [b"0", b"REPLACE"]
    answer(stage, b"+OK", b"+OK", b"+OK")
    assert client.take() == [OK]
    assert client.run("GET k") == b"v" and stage.leader.node.log.head.lsn == before


def test_without_any_key_nobody_is_called() -> None:
    stage = staged()
    client = stage.leader.client()
    assert client.run(ONE) == NO_KEY
    client.run("SET '' named-by-nobody")
    assert client.run("MIGRATE target 6379 '' 0 50 KEYS") == NO_KEY
    assert stage.leader.migrations == []


def test_keys_that_are_not_there_are_left_out() -> None:
    stage = staged()
    client = stage.leader.client()
    client.run("SET b 2")
    client.say("MIGRATE target 6379 '' 3 0 AUTH2 user secret KEYS a b c")
    migration = sent(stage)
    assert migration.introduction == [[b"AUTH", b"user", b"secret"], [b"SELECT", b"3"]]
    assert migration.timeout_ms == 1000, "what is no time stands for a second"
    assert [words[1] for words in migration.restores] == [b"b"]


def test_a_key_that_changed_meanwhile_stays_and_the_client_is_told() -> None:
    stage = staged()
    client = filled(stage)
    client.say(THREE)
    client.machine.client().run("APPEND b !")
    answer(stage, b"+OK", b"+OK", b"+OK", b"+OK")
    assert client.take() == [error("1 of the keys changed while they were sent; the target has them as they were")]
    assert client.run("MGET a b c") == [None, b"2!", None]


def test_a_key_whose_time_is_over_meanwhile_is_no_change() -> None:
    stage = staged()
    client = filled(stage)
    client.run("PEXPIRE k 100")
    client.say(ONE)
    stage.pass_ms(1000)
    assert client.machine.client().run("EXISTS k") == 0
    answer(stage, b"+OK", b"+OK")
    assert client.take() == [OK]


def test_what_the_target_refuses_stays_here_and_what_it_took_before_goes() -> None:
    stage = staged()
    client = filled(stage)
    client.say(THREE)
    answer(stage, b"+OK", b"+OK", b"-BUSYKEY Target key name already exists.", b"+OK")
    assert client.take() == [error("Target instance replied with error: BUSYKEY Target key name already exists.")]
    assert client.run("MGET a b c") == [None, b"2", None]


def test_a_refused_introduction_leaves_everything_here() -> None:
    stage = staged()
    client = filled(stage)
    client.say(ONE + " AUTH wrong")
    answer(stage, b"-WRONGPASS no", b"+OK")
    assert client.take() == [error("Target instance replied with error: WRONGPASS no")]
    assert client.run("GET k") == b"v"


def test_a_target_that_falls_silent_gets_no_more_than_what_it_has_acknowledged() -> None:
    stage = staged()
    client = filled(stage)
    client.say(THREE)
    answer(stage, b"+OK", b"+OK", failure=READING)
    assert client.take() == [CommandError("IOERR", "error or timeout reading to target instance")]
    assert client.run("MGET a b c") == [None, b"2", b"3"]


def test_a_move_is_completed_although_the_client_has_gone() -> None:
    stage = staged()
    client = filled(stage)
    client.say(ONE)
    stage.leader.node.close(client)
    answer(stage, b"+OK", b"+OK")
    assert client.replies == []
    assert stage.leader.client().run("EXISTS k") == 0


def test_a_pause_holds_the_deletion_back() -> None:
    stage = staged()
    client = filled(stage)
    client.say(ONE)
    other = stage.leader.client()
    other.run("CLIENT PAUSE 100 WRITE")
    answer(stage, b"+OK", b"+OK")
    assert client.take() == [] and other.run("GET k") == b"v"
    stage.pass_ms(200)
    assert client.take() == [OK] and other.run("GET k") is None
    other.run("CLIENT PAUSE 100 WRITE")
    client.say("MIGRATE target 6379 a 0 50")
    assert stage.leader.migrations == [], "nor does another begin"
    stage.pass_ms(200)
    assert len(stage.leader.migrations) == 1


def test_a_replica_lets_the_leader_do_it_however_long_it_takes() -> None:
    stage = staged(replica=True, forward_timeout_ms=100)
    filled(stage)
    client = stage.replica.client()
    client.say(ONE, "GET k")
    stage.pass_ms(1000)
    assert client.take() == []
    answer(stage, b"+OK", b"+OK")
    assert client.take() == [OK, None]
    for machine in (stage.leader, stage.replica):  # whoever leads next knows what to answer to a repeat
        known = machine.node.answers.find("replica", "replica.1", client.id, client.sequence)
        assert known == {0: pack(OK)}


def test_a_leader_that_leads_no_more_deletes_nothing() -> None:
    stage = staged(replica=True)
    client = filled(stage)
    client.say(ONE)
    roles = stage.leader.node.roles
    roles.step_down("replica", roles.epoch + 1)
    answer(stage, b"+OK", b"+OK")
    assert client.take()[0] == CommandError(
        "READONLY", "this node leads no more; what the target has accepted was not deleted here"
    )
    assert b"k" in stage.leader.node.engine.keyspace.values


def test_it_is_off_unless_the_configuration_says_so() -> None:
    client = Stage().leader.client()
    client.run("SET k v")
    assert client.run(ONE) == error("MIGRATE is not enabled, see security.migrate")


def test_only_users_with_the_right_may_call_it() -> None:
    stage = staged()
    client = filled(stage)
    client.run("ACL SETUSER limited on nopass ~a +@all -@dangerous")
    client.run("AUTH limited x")
    refused = client.run("MIGRATE target 6379 a 0 50")
    assert isinstance(refused, CommandError) and refused.code == "NOPERM"
    other = stage.leader.client()
    other.run("ACL SETUSER limited +migrate")
    refused = client.run(THREE)
    assert isinstance(refused, CommandError) and refused.code == "NOPERM", "b is none of its keys"
    client.say("MIGRATE target 6379 a 0 50")
    assert len(stage.leader.migrations) == 1


def test_nothing_waits_inside_a_transaction_or_a_script() -> None:
    stage = staged()
    client = filled(stage)
    refusal = error("MIGRATE has to wait for another server, which is not possible inside a transaction or script")
    client.run("MULTI")
    assert client.run(ONE) == QUEUED
    assert client.run("EXEC") == [refusal]
    told = client.run([b"EVAL", b"return redis.call('MIGRATE', 'target', 6379, 'k', 0, 50)", b"0"])
    assert isinstance(told, CommandError) and refusal.message in told.text
    assert stage.leader.migrations == []


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("MIGRATE h 1 k 0 x", "value is not an integer or out of range"),
        ("MIGRATE h 1 k x 0", "value is not an integer or out of range"),
        ("MIGRATE h 1 k 0 0 NOPE", "syntax error"),
        ("MIGRATE h 1 k 0 0 AUTH", "syntax error"),
        ("MIGRATE h 1 k 0 0 AUTH2 user", "syntax error"),
        (
            "MIGRATE h 1 k 0 0 KEYS a",
            "When using MIGRATE KEYS option, the key argument must be set to the empty string",
        ),
        ("MIGRATE h 1", "wrong number of arguments for 'migrate' command"),
    ],
)
def test_what_is_malformed_is_refused_in_redis_words(line: str, refusal: str) -> None:
    assert filled(staged()).run(line) == error(refusal)


@pytest.mark.parametrize("place", ["h 0", "h 65536", "h x", "'' 6379"])
def test_an_address_that_is_none_cannot_be_reached(place: str) -> None:
    stage = staged()
    told = filled(stage).run(f"MIGRATE {place} k 0 50")
    assert told == CommandError("IOERR", "error or timeout connecting to the client")
    assert stage.leader.migrations == []
