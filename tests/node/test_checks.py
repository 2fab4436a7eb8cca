"""Checks: a replica that differs from its leader finds out, and gets everything anew; one that does not is left alone."""

import pytest

from tests.node.stage import Stage
from tests.node.test_replication_shown import number, told
from tests.node.test_statistics import info
from upstash_global.engine.keyspace import Keyspace
from upstash_global.node.tables import NAMES
from upstash_global.replication.messages import Check

PASS_MS = 1_000 * (len(NAMES) + 2)  # of a small data set


def filled(**settings: int) -> Stage:
    stage = Stage(replica=True, **settings)
    client = stage.leader.client()
    client.run("SET text hello", "SET short v PX 500", "RPUSH list a b c", "HSET hash f v", "ZADD zset 1 a 2 b")
    client.run("XADD stream 1-1 f v", "SADD set a b c", "JSON.SET document $ '{\"a\":[1,2]}'", "PEXPIRE list 90000")
    return stage


def equal(stage: Stage) -> bool:
    return stage.leader.node.digest() == stage.replica.node.digest()


def test_replicas_that_hold_what_the_leader_holds_are_left_alone() -> None:
    stage = filled()
    for n in range(3 * PASS_MS // 100):
        stage.leader.client().run(f"SET key:{n} v", "SPOP set", "LPUSH list x")
        stage.pass_ms(100)
    leader, replica = stage.leader.node, stage.replica.node
    assert leader.checks.n_passes >= 2
    assert replica.roles.follower.n_checks >= leader.checks.n_made - 1 > 20
    assert replica.roles.follower.n_mismatches == replica.metrics.n_full_resyncs == 0
    shown = info(stage.replica.client(), "replication")
    assert shown["digest_checks"] == str(replica.roles.follower.n_checks) and shown["digest_mismatches"] == "0"
    assert number(stage.leader.client(), "replication", "digest_checks") == leader.checks.n_made


def another_value(keyspace: Keyspace) -> None:
    keyspace.values[b"text"] = b"hallo"


def a_key_less(keyspace: Keyspace) -> None:
    keyspace.forget(b"hash")


def a_key_more(keyspace: Keyspace) -> None:
    keyspace.store(b"extra", b"v")


def another_key(keyspace: Keyspace) -> None:
    keyspace.store(b"renamed", keyspace.values[b"hash"])
    keyspace.forget(b"hash")


def another_deadline(keyspace: Keyspace) -> None:
    keyspace.set_deadline(b"list", keyspace.deadlines[b"list"] + 1)


def another_order(keyspace: Keyspace) -> None:
    members = keyspace.values[b"set"]
    members.remove(b"a")
    members.add(b"a")


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (another_value, "key b'text' differs"),
        (a_key_less, "9 keys instead of 10"),
        (a_key_more, "11 keys instead of 10"),
        (another_key, "key b'hash' differs"),
        (another_deadline, "key b'list' differs"),
        (another_order, "key b'set' differs"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_silent_difference_is_found_named_and_repaired(spoil: object, named: str) -> None:
    stage = filled()
    stage.leader.client().run("SET a 1", "SET b 2", "SET c 3")
    stage.pass_ms(2_000)
    assert equal(stage) and len(stage.replica.node.engine.keyspace.values) == 10
    spoil(stage.replica.node.engine.keyspace)  # type: ignore[operator]
    assert not equal(stage)
    stage.pass_ms(PASS_MS + 3_000)
    assert equal(stage)
    ((level, text),) = told(stage, "replica", "digest-mismatch")
    assert level == "error" and named in text
    shown = info(stage.replica.client(), "replication")
    assert (shown["digest_mismatches"], shown["divergences"], shown["full_resyncs"]) == ("1", "1", "1")
    assert shown["last_resync_reason"] == "another state at the same position"
    assert stage.replica.node.status()["digest_mismatches"] == 1


def test_a_system_table_that_differs_is_found() -> None:
    stage = filled()
    stage.leader.client().run("SCRIPT LOAD 'return 1'")
    stage.replica.node.engine.context.scripts.loaded.clear()
    stage.pass_ms(PASS_MS)
    ((_, text),) = told(stage, "replica", "digest-mismatch")
    assert "the system table scripts differs" in text
    stage.pass_ms(3_000)
    assert equal(stage)


def test_what_a_full_resync_does_not_repair_stays_an_alarm_and_causes_no_other_one_for_a_while() -> None:
    """A replica that always finds something, by a bug of ours, must not load everything every few seconds."""
    stage = filled()
    follower = stage.replica.node.roles.follower
    follower.compare = lambda check: "planted"
    stage.pass_ms(60_000)
    assert follower.n_mismatches > 50 and follower.n_full == 1
    stage.pass_ms(560_000)
    assert follower.n_full == 2


def test_a_check_that_comes_before_its_entries_waits_for_them() -> None:
    stage = filled()
    follower = stage.replica.node.roles.follower
    stage.hold_entries()
    leader = stage.leader.client()
    leader.run("SET text later")
    head = stage.leader.node.log.head
    check = Check(head.epoch, head, 10, 1, [b"text"], [1])
    follower.receive(check, stage.now_ms)
    n_checks = follower.n_checks
    leader.run("SET text last")
    stage.is_following = True
    compared: list[tuple[object, bytes]] = []

    def note(check: Check) -> str:
        compared.append((stage.replica.node.log.head, stage.replica.node.engine.keyspace.values[b"text"]))
        return ""

    follower.compare = note
    stage.link()
    stage.pass_ms(100)
    assert compared[0] == (head, b"later"), "exactly there, though more came in the same frame"
    assert follower.n_checks >= n_checks + 1


def test_a_replica_of_another_version_gets_no_checks_and_0_keys_mean_none() -> None:
    stage = filled()
    stage.leader.node.settings.version = "9.9"
    before = stage.leader.node.checks.n_made
    stage.pass_ms(5_000)
    assert stage.leader.node.checks.n_made == before
    stage = filled(check_keys=0)
    stage.pass_ms(5_000)
    assert stage.leader.node.checks.n_made == 0


def test_a_step_is_bounded_in_keys_in_bytes_and_in_time() -> None:
    stage = filled(check_keys=50)
    client = stage.leader.client()
    for n in range(400):
        client.run(f"SET {'k' * 400}:{n} v")
    client.run([b"SET", b"k" * 20_000, b"v"])
    checks = stage.leader.node.checks
    stage.leader.node.settings.check_keys = 50
    while checks.tables or not checks.keys:
        checks._next()
    steps = [checks._next()]
    while checks.keys:
        steps.append(checks._next())
    assert sum(len(step.keys) for step in steps) >= 400
    assert max(len(step.keys) for step in steps) < 50, "16 KiB of names are fewer"
    assert max(sum(map(len, step.keys)) for step in steps) < 17_000
    ticking = iter(range(0, 10**9, 1_500))
    stage.leader.node.clock_us = lambda: next(ticking)
    while checks.tables or not checks.keys:
        checks._next()
    assert len(checks._next().keys) == 2, "2 ms"
