"""Clients that wait are let go from where they are: CLIENT UNBLOCK at a replica, WAITAOF for disks. And who reads unseen."""

import pytest

from tests.node.stage import Stage
from upstash_global.errors import CommandError
from upstash_global.reply import NULL_ARRAY, OK, PONG


@pytest.fixture
def stage() -> Stage:
    return Stage(replica=True)


@pytest.mark.parametrize(
    ("how", "reply"),
    [
        ("", NULL_ARRAY),
        ("TIMEOUT", NULL_ARRAY),
        ("ERROR", CommandError("UNBLOCKED", "client unblocked via CLIENT UNBLOCK")),
    ],
)
def test_a_wait_that_the_leader_runs_is_ended_at_the_replica(stage: Stage, how: str, reply: object) -> None:
    client, admin = stage.replica.client(), stage.replica.client()
    client.say("BLPOP l 0")
    assert b" flags=b " in admin.run(f"CLIENT LIST ID {client.id}").text
    assert admin.run(f"CLIENT UNBLOCK {client.id} {how}") == 1
    assert client.take() == [reply]
    assert admin.run(f"CLIENT UNBLOCK {client.id}") == 0
    stage.leader.client().run("RPUSH l a")
    assert client.say("LLEN l").take() == [1]


def test_a_wait_is_ended_also_when_the_leader_hears_so_on_its_next_stream(stage: Stage) -> None:
    client, admin = stage.replica.client(), stage.replica.client()
    client.say("BLPOP l 0")
    stage.cut()
    assert admin.run(f"CLIENT UNBLOCK {client.id}") == 1
    assert client.take() == []
    stage.link()
    assert client.take() == [NULL_ARRAY]


def test_a_wait_takes_nothing_while_its_node_is_away(stage: Stage) -> None:
    """Another client has its turn; what is left is there for the first one when its node returns."""
    client, other, pusher = stage.replica.client(), stage.leader.client(), stage.leader.client()
    client.say("BLPOP l 0")
    other.say("BLPOP l 0")
    stage.cut()
    stage.leader.node.disconnected("replica/forward", stage.now_ms)
    assert pusher.run("RPUSH l a") == 1
    assert other.take() == [[b"l", b"a"]]
    assert pusher.run("RPUSH l b") == 1
    assert pusher.run("LLEN l") == 1
    stage.link()
    assert client.take() == [[b"l", b"b"]]
    assert pusher.run("LLEN l") == 0


def test_who_does_not_wait_is_not_unblocked(stage: Stage) -> None:
    client, admin = stage.replica.client(), stage.replica.client()
    client.run("INCR n")
    assert admin.run(f"CLIENT UNBLOCK {client.id}") == 0
    stage.leader.client().run("CLIENT PAUSE 10000 WRITE")
    client.say("INCR n")
    assert admin.run(f"CLIENT UNBLOCK {client.id}") == 0


@pytest.mark.parametrize("at", ["leader", "replica"])
def test_waitaof_answers_when_the_leaders_disk_has_it(stage: Stage, at: str) -> None:
    stage.leader.holds_syncs = True
    client = stage.machines[at].client()
    client.run("SET k v")
    assert client.run("WAITAOF 0 0 0")[0] == 0
    assert client.say("WAITAOF 1 0 0").take() == []
    stage.leader.sync()
    assert client.take()[0][0] == 1


def test_waitaof_counts_the_disks_of_replicas(stage: Stage) -> None:
    client = stage.leader.client()
    client.run("SET k v")
    client.say("WAITAOF 0 1 0")
    stage.leader.sync()
    stage.replica.sync()
    stage.pass_ms(2000)
    assert client.take()[0][1] == 1


def test_waitaof_ends_with_what_there_is(stage: Stage) -> None:
    client = stage.leader.client()
    stage.leader.holds_syncs = stage.replica.holds_syncs = True
    client.run("SET k v")
    client.say("WAITAOF 1 5 100")
    stage.pass_ms(200)
    assert client.take() == [[0, 0]]


@pytest.mark.parametrize("at", ["leader", "replica"])
@pytest.mark.parametrize(("line", "reply"), [("WAIT 5 0", 1), ("WAITAOF 0 5 0", [0, 0])])
def test_a_request_does_not_wait_for_ever(stage: Stage, at: str, line: str, reply: object) -> None:
    machine = stage.machines[at]
    client = machine.client()
    client.may_block = False  # as that of a REST connection
    client.run("SET k v")
    client.say(line)
    stage.pass_ms(machine.node.settings.forward_timeout_ms - 1000)
    assert client.take() == []
    stage.pass_ms(2000)
    assert client.take() == [reply]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("x 0 0", "value is not an integer or out of range"),
        ("2 0 0", "value is out of range, value must between 0 and 1"),
        ("1 -1 0", "value is out of range, must be positive"),
        ("1 x 0", "value is out of range, must be positive"),
        ("1 0 x", "timeout is not an integer or out of range"),
        ("1 0 -1", "timeout is negative"),
    ],
)
def test_waitaof_checks_its_arguments(stage: Stage, line: str, text: str) -> None:
    assert stage.leader.client().run(f"WAITAOF {line}") == CommandError("ERR", text)


@pytest.mark.parametrize(
    "command",
    ["WAIT 2 {}", "WAITAOF 1 0 {}", "CLIENT PAUSE {}", "XREAD BLOCK {} STREAMS s $"],
    ids=lambda line: line[:6],
)
def test_a_timeout_must_end_before_time_does(stage: Stage, command: str) -> None:
    client, last_ms = stage.leader.client(), (1 << 63) - 1
    assert client.run(command.format(last_ms)) == CommandError("ERR", "timeout is out of range")
    assert client.run(command.format(last_ms + 1)) == CommandError("ERR", "timeout is not an integer or out of range")
    assert client.run(command.format(-1)) == CommandError("ERR", "timeout is negative")
    assert client.run("PING") == PONG


def test_reads_of_a_no_touch_client_are_no_accesses(stage: Stage) -> None:
    admin, client = stage.leader.client(), stage.leader.client()
    admin.say("CONFIG SET maxmemory-policy allkeys-lru", "CONFIG SET maxmemory 100mb", "SET k v").take()
    assert client.run("CLIENT NO-TOUCH ON") == OK
    stage.pass_ms(5000)
    client.run("GET k")
    assert admin.run("OBJECT IDLETIME k") == 5
    client.run("TOUCH k")
    assert admin.run("OBJECT IDLETIME k") == 0
