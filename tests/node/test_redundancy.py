"""min-replicas-to-write: no writes at the leader while too few replicas follow closely."""

import pytest

from tests.node.stage import Stage
from upstash_global.errors import CommandError
from upstash_global.node.tables import load_system_tables, system_tables
from upstash_global.reply import OK, QUEUED

NOREPLICAS = CommandError("NOREPLICAS", "Not enough good replicas to write.")
WRITES = [b"EVAL", b"redis.call('set', 'k', 'v') return 'written'", b"0"]


def alone() -> Stage:
    """A leader that is to have a replica and has none."""
    stage = Stage()
    stage.leader.client().run("CONFIG SET min-replicas-to-write 1")
    return stage


def test_writes_are_refused_and_everything_else_is_not() -> None:
    stage = Stage()
    client = stage.leader.client()
    client.run("SET k v")
    client.run("CONFIG SET min-replicas-to-write 1")
    for command in ("SET k w", "DEL k", "FLUSHALL", "BLPOP none 0"):
        assert client.run(command) == NOREPLICAS
    assert client.run("GET k") == b"v"
    assert client.run("PUBLISH channel message") == 0
    assert client.run("ACL SETUSER somebody on") == OK
    assert client.run("CONFIG SET min-replicas-to-write 0") == OK
    assert client.run("SET k w") == OK


def test_a_queued_write_spoils_its_transaction_and_reads_run() -> None:
    client = alone().leader.client()
    assert client.say("MULTI", "GET k", "SET k v", "EXEC").take() == [
        OK,
        QUEUED,
        NOREPLICAS,
        CommandError("EXECABORT", "Transaction discarded because of previous errors."),
    ]
    assert client.run("MULTI", "GET k", "EXEC") == [None]


def test_exec_refuses_what_was_queued_before_the_replicas_went() -> None:
    stage = Stage()
    client = stage.leader.client()
    client.say("MULTI", "SET k v").take()
    stage.leader.client().run("CONFIG SET min-replicas-to-write 1")
    assert client.run("EXEC") == CommandError("EXECABORT", f"Transaction discarded because of: {NOREPLICAS.text}")
    assert client.run("GET k") is None


def test_a_script_runs_until_it_writes() -> None:
    client = alone().leader.client()
    assert client.run([b"EVAL", b"return redis.call('get', 'k') or 'none'", b"0"]) == b"none"
    refused = client.run(WRITES)
    assert isinstance(refused, CommandError) and refused.text.startswith(f"{NOREPLICAS.text} script: ")
    assert client.run([b"EVAL", b"return redis.pcall('set', 'k', 'v')", b"0"]) == NOREPLICAS
    assert client.run([b"EVAL", b"#!lua\nreturn 'no write'", b"0"]) == NOREPLICAS
    assert client.run([b"EVAL", b"#!lua flags=no-writes\nreturn 'no write'", b"0"]) == b"no write"
    replies = client.run([b"MULTI"], WRITES, [b"EXEC"])
    assert [reply.code for reply in replies] == ["NOREPLICAS"]
    assert client.run("GET k") is None
    client.run("CONFIG SET min-replicas-to-write 0")
    assert client.run(WRITES) == b"written"


@pytest.mark.parametrize("name", ["min-replicas-to-write", "min-replicas-max-lag"])
def test_either_number_at_0_asks_for_nothing(name: str) -> None:
    client = alone().leader.client()
    client.run(f"CONFIG SET {name} 0")
    assert client.run("SET k v") == OK
    assert b"min_slaves_good_slaves" not in client.run("INFO replication").text


def test_a_replica_counts_while_its_acks_are_fresh() -> None:
    stage = Stage(replica=True)
    client = stage.leader.client()
    client.run("CONFIG SET min-replicas-to-write 1 min-replicas-max-lag 1")
    assert client.run("SET k v") == OK
    stage.cut()
    stage.pass_ms(900)
    assert client.run("SET k v") == OK
    stage.pass_ms(300)
    assert client.run("SET k v") == NOREPLICAS
    assert b"\r\nmin_slaves_good_slaves:0\r\n" in client.run("INFO replication").text
    stage.link()
    stage.pass_ms(200)
    assert b"\r\nmin_slaves_good_slaves:1\r\n" in client.run("INFO replication").text
    assert client.run("SET k v") == OK


def test_a_replica_that_is_gone_does_not_count() -> None:
    stage = Stage(replica=True)
    client = stage.leader.client()
    client.run("CONFIG SET min-replicas-to-write 1")
    stage.leader.node.disconnected("replica/follow", stage.now_ms)
    assert client.run("SET k v") == NOREPLICAS


def test_a_replica_asks_the_leader() -> None:
    """It needs one replica and has one; of two it needs, it has one."""
    stage = Stage(replica=True)
    client = stage.replica.client()
    assert client.run("CONFIG SET min-replicas-to-write 1") == OK
    assert client.run("SET k v") == OK
    assert client.run("CONFIG SET min-replicas-to-write 2") == OK
    assert client.run("SET k w") == NOREPLICAS
    assert client.run("MULTI", "SET k w", "EXEC").code == "EXECABORT"
    assert client.run(WRITES).code == "NOREPLICAS"
    assert client.run("GET k") == b"v"


def test_a_loaded_state_brings_it_along() -> None:
    node, other = alone().leader.node, Stage().leader
    load_system_tables(other.node, system_tables(node))
    assert other.client().run("SET k v") == NOREPLICAS


def test_a_write_that_ran_is_answered_again_although_replicas_are_missing_now() -> None:
    """As at a new leader: it has no replica yet, and knows of the Forward that it is sent once more from the log."""
    stage = Stage(replica=True)
    leader, client = stage.leader.client(), stage.replica.client()
    leader.run("CONFIG SET min-replicas-to-write 1")
    stage.cut()
    assert client.say("INCR n").take() == []
    message = next(iter(stage.replica.node.forwarding.outstanding.values())).message
    stage.leader.node.receive("replica/forward", message, stage.now_ms)
    stage.leader.turn()  # it runs, and the answer is lost
    stage.leader.node.forwarding.remotes.clear()
    stage.leader.node.disconnected("replica/follow", stage.now_ms)
    stage.is_linked = True
    stage.replica.node.forward_connected("leader", stage.now_ms)
    assert leader.run("INCR n") == NOREPLICAS
    stage.pass_ms(1_100)  # the replica does not hear of the entry: after sync_wait_ms the true answer goes out
    assert client.take() == [1]
