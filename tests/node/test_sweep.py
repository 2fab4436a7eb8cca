"""The leader's sweep: what has expired leaves every node by an entry, in the same order of things everywhere."""

from tests.node.stage import Stage


def last_entry(stage: Stage) -> list[list[bytes]]:
    log = stage.leader.node.log
    (entry,) = log.entries_after(log.head.lsn - 1, 10, 1000) or []
    return list(entry.commands)


def test_expired_fields_are_hidden_on_a_replica_at_once_and_removed_by_the_leaders_entry() -> None:
    stage = Stage(replica=True)
    leader, reader = stage.leader.client(), stage.replica.client()
    leader.run("HSET h a 1 b 2")
    leader.run("HPEXPIRE h 1000 FIELDS 1 a")
    stage.pass_ms(900)
    assert reader.run("HKEYS h") == [b"a", b"b"]
    stage.pass_ms(200)
    assert reader.run("HKEYS h") == [b"b"]
    assert last_entry(stage) == [[b"_EXPIRED", b"h", b"a"]]
    for machine in (stage.leader, stage.replica):
        assert list(machine.node.engine.keyspace.values[b"h"].fields) == [b"b"]


def test_a_hash_goes_with_its_last_field() -> None:
    stage = Stage(replica=True)
    leader, reader = stage.leader.client(), stage.replica.client()
    leader.run("HSETEX h PX 1000 FIELDS 2 a 1 b 2")
    stage.pass_ms(1100)
    assert reader.run("EXISTS h") == 0
    assert last_entry(stage) == [[b"_EXPIRED", b"h", b"a", b"b"]]
    assert stage.leader.node.engine.keyspace.values == stage.replica.node.engine.keyspace.values == {}
