"""The leader's sweep: what has expired leaves every node by an entry, in the same order of things everywhere."""

from tests.node.stage import Stage
from upstash_global.engine.sweep import expired_fields, expired_keys


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


class SlowClock:
    """A clock that takes 100 µs to read, so that whatever looks at it takes time."""

    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        self.now_us += 100
        return self.now_us


def stage_with_expired(n_keys: int, n_fields: int) -> Stage:
    """The sweep has not seen them yet."""
    stage = Stage(replica=True)
    client = stage.leader.client()
    client.run("DEBUG SET-ACTIVE-EXPIRE 0")
    client.run(
        *[f"SET k{i} v PX 1" for i in range(n_keys)],
        *[f"HSETEX h{i % 3} PX 1 FIELDS 1 f{i} v" for i in range(n_fields)],
    )
    client.run("SET kept v")
    stage.pass_ms(10)
    client.run("DEBUG SET-ACTIVE-EXPIRE 1")
    return stage


def test_the_sweep_takes_a_millisecond_at_a_stretch_and_then_lets_others_have_a_turn() -> None:
    stage = stage_with_expired(25, 0)
    node, client = stage.leader.node, stage.leader.client()
    node.clock_us = SlowClock()
    left = []
    node.tick(stage.now_ms)
    while node.sweeping.has_more:
        left.append(len(node.engine.keyspace.values))
        assert node.take_outbox().has_expired
        assert client.run("DBSIZE") == 1  # hidden at once, whatever the sweep has got to
        node.go_on(stage.now_ms)
    assert left == [16, 6]
    assert list(node.engine.keyspace.values) == [b"kept"]
    assert not node.take_outbox().has_expired


def test_what_has_expired_goes_in_stretches_down_to_the_last_field() -> None:
    stage = stage_with_expired(30, 40)
    node = stage.leader.node
    node.clock_us = SlowClock()
    node.tick(stage.now_ms)
    n_stretches = 1
    while node.sweeping.has_more:
        node.go_on(stage.now_ms)
        n_stretches += 1
    assert n_stretches > 3
    assert list(node.engine.keyspace.values) == [b"kept"]
    stage.settle()
    assert node.digest() == stage.replica.node.digest()


def test_asking_for_a_few_expired_keys_costs_a_few() -> None:
    """The others stay in the heap: a million that expire at one moment are not all looked at."""
    stage = stage_with_expired(200, 200)
    keyspace = stage.leader.node.engine.keyspace
    assert len(expired_keys(keyspace, stage.now_ms, 16)) == len(keyspace.hidden) == 16
    assert len(keyspace.heap) == 184
    ((key, *fields),) = expired_fields(keyspace, stage.now_ms, 16)
    assert len(fields) == len(keyspace.values[key].deadlines.passed) == 16
