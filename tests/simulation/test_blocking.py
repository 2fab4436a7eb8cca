"""Blocking commands in a simulated cluster: at the leader, from a replica, first come first served."""

from tests.simulation.simcluster import SimCluster
from upstash_global.reply import NULL_ARRAY, OK


def test_a_blocked_pop_at_a_replica_is_served_by_a_push_in_another_region() -> None:
    cluster = SimCluster(seed=31)
    cluster.settle()
    waiting = cluster["ap-southeast-1"].client()
    cluster["ap-southeast-1"].send(waiting, "BLPOP queue 0")
    cluster.run_for(1_000)
    assert waiting.replies == []
    assert cluster["sa-east-1"].run("RPUSH queue job") == 1
    cluster.run_for(1_000)
    assert waiting.replies == [[b"queue", b"job"]]
    cluster.settle()
    assert cluster["us-west-2"].run("EXISTS queue") == 0


def test_blocked_sessions_are_served_first_come_first_served() -> None:
    cluster = SimCluster(seed=32)
    cluster.settle()
    leader = cluster.leader
    first, second = leader.client(), leader.client()
    leader.send(first, "BRPOP queue 0")
    leader.send(second, "BLMPOP 0 1 queue LEFT")
    assert leader.run("RPUSH queue a b c") == 3
    assert first.replies == [[b"queue", b"c"]]
    assert second.replies == [[b"queue", [b"a"]]]
    assert leader.run("LRANGE queue 0 -1") == [b"b"]


def test_a_blocked_pop_ends_with_its_time() -> None:
    cluster = SimCluster(seed=33)
    cluster.settle()
    waiting = cluster["eu-central-1"].client()
    cluster["eu-central-1"].send(waiting, "BZPOPMIN scores 0.5", "PING")
    cluster.run_for(400)
    assert waiting.replies == []
    cluster.run_for(2_000)
    assert waiting.replies[0] is NULL_ARRAY
    assert len(waiting.replies) == 2


def test_a_chain_of_blocked_moves_passes_an_element_on() -> None:
    cluster = SimCluster(seed=34)
    cluster.settle()
    leader = cluster.leader
    mover, popper = leader.client(), leader.client()
    leader.send(popper, "BLPOP target 0")
    leader.send(mover, "BLMOVE source target LEFT RIGHT 0")
    assert leader.run("LPUSH source x") == 1
    assert mover.replies == [b"x"]
    assert popper.replies == [[b"target", b"x"]]


def test_inside_a_transaction_nothing_waits() -> None:
    cluster = SimCluster(seed=35)
    cluster.settle()
    client = cluster["us-west-2"].client()
    cluster["us-west-2"].send(client, "MULTI", "SET k v", "BLPOP queue 0", "EXEC")
    cluster.run_for(1_000)
    assert client.replies[-1] == [OK, NULL_ARRAY]


def test_a_client_that_goes_takes_its_wait_along() -> None:
    """An element pushed after a blocked client has gone stays in the list."""
    cluster = SimCluster(seed=36)
    cluster.settle()
    paulo = cluster["sa-east-1"]
    waiting = paulo.client()
    paulo.send(waiting, "BLPOP queue 0")
    cluster.run_for(1_000)
    paulo.up().close(waiting)
    paulo.turn()
    cluster.run_for(1_000)
    assert cluster.leader.run("RPUSH queue job") == 1
    cluster.settle()
    assert cluster.leader.run("LLEN queue") == 1


def test_client_unblock_ends_a_wait_with_or_without_an_error() -> None:
    cluster = SimCluster(seed=37)
    cluster.settle()
    leader = cluster.leader
    first, second = leader.client(), leader.client()
    leader.send(first, "BLPOP queue 0")
    leader.send(second, "BLPOP queue 0")
    assert leader.run(f"CLIENT UNBLOCK {first.id}") == 1
    assert leader.run(f"CLIENT UNBLOCK {second.id} ERROR") == 1
    assert leader.run(f"CLIENT UNBLOCK {second.id}") == 0
    assert first.replies[0] is NULL_ARRAY
    assert second.replies[0].code == "UNBLOCKED"


def test_a_region_that_is_silent_too_long_takes_nothing_from_a_list() -> None:
    cluster = SimCluster(seed=38)
    cluster.settle()
    waiting = cluster["sa-east-1"].client()
    cluster["sa-east-1"].send(waiting, "BLPOP queue 0")
    cluster.run_for(1_000)
    cluster.cut("sa-east-1")
    cluster.run_for(15_000)
    assert cluster.leader.run("RPUSH queue job") == 1
    cluster.run_for(1_000)
    assert cluster.leader.run("LLEN queue") == 1


def test_xread_blocks_at_a_replica_until_an_entry_arrives_there() -> None:
    cluster = SimCluster(seed=39)
    cluster.settle()
    waiting = cluster["ap-southeast-1"].client()
    cluster["ap-southeast-1"].send(waiting, "XREAD BLOCK 0 STREAMS s $")
    cluster.run_for(500)
    assert waiting.replies == []
    cluster.leader.run("XADD s 5-1 k v")
    cluster.settle()
    assert len(waiting.replies) == 1


def test_a_consumer_blocks_at_the_leader_and_is_given_the_next_entry() -> None:
    cluster = SimCluster(seed=40)
    cluster.settle()
    cluster.leader.run("XGROUP CREATE s g $ MKSTREAM")
    cluster.settle()
    waiting = cluster["sa-east-1"].client()
    cluster["sa-east-1"].send(waiting, "XREADGROUP GROUP g me BLOCK 0 STREAMS s >")
    cluster.run_for(1_000)
    assert waiting.replies == []
    cluster["us-west-2"].run("XADD s 5-1 k v")
    cluster.settle()
    assert len(waiting.replies) == 1
    assert cluster["eu-central-1"].run("XPENDING s g")[0] == 1
