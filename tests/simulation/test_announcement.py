"""What an announcement changes at a replica, and what it must leave alone."""

from tests.simulation.simcluster import SimCluster
from upstash_global.replication.follower import FollowerState
from upstash_global.replication.messages import Announce
from upstash_global.replication.position import epoch_parts, make_epoch


def test_a_replica_keeps_its_links_when_the_leader_it_follows_announces_its_next_epoch() -> None:
    """After a restart of both, a replica's links may be open before the announcement comes; nobody would open them again."""
    cluster = SimCluster(seed=1)
    cluster.settle()
    tokyo = cluster["ap-southeast-1"].up()
    term, start, index = epoch_parts(tokyo.roles.epoch)
    head = tokyo.log.head
    tokyo.receive("leader", Announce(make_epoch(term, start + 1, index), "leader", head, []), tokyo.now_ms)
    assert tokyo.roles.follower.state is FollowerState.STREAMING
    assert tokyo.roles.forward_is_open
