"""Named stories of a simulated cluster: each says what happened to it and what must be true afterwards."""

from tests.simulation.simcluster import SimCluster, SimNode, WorstCase
from upstash_global.errors import CommandError
from upstash_global.reply import NULL_ARRAY, OK, Push


def test_a_write_at_the_leader_is_read_in_every_region() -> None:
    cluster = SimCluster(seed=1)
    cluster.settle()
    assert cluster.leader.run("SET greeting hello") is OK
    cluster.settle()
    for each in cluster.nodes.values():
        assert each.run("GET greeting") == b"hello"


def test_a_client_that_stays_in_its_region_reads_its_own_write() -> None:
    """The answer of a forwarded write comes once this replica has applied it, so the next read is right without a token."""
    cluster = SimCluster(seed=2)
    cluster.settle()
    tokyo = cluster["ap-southeast-1"]
    for n in range(20):
        assert tokyo.run(f"SET k {n}") is OK
        assert tokyo.up().engine.keyspace.values[b"k"] == str(n).encode()
        assert tokyo.run("GET k") == str(n).encode()


def test_a_pipeline_at_a_replica_keeps_its_order() -> None:
    cluster = SimCluster(seed=3)
    cluster.settle()
    paulo = cluster["sa-east-1"]
    client = paulo.client()
    paulo.send(client, "SET k 1", "INCR k", "GET k", "PING", "DEL k", "EXISTS k")
    cluster.run_for(2_000)
    assert [getattr(reply, "text", reply) for reply in client.replies] == ["OK", 2, b"2", "PONG", 1, 0]


def test_replica_that_missed_the_backlog_gets_a_snapshot() -> None:
    """Cut one region, write more than backlog and log keep, heal; it must catch up by snapshot, not by entries."""
    cluster = SimCluster(seed=7, backlog_entries=10, snapshot_bytes=2_000)
    cluster.settle()
    tokyo = cluster["ap-southeast-1"]
    cluster.cut("ap-southeast-1")
    for _ in range(5):
        for _ in range(40):
            cluster.leader.run("INCR counter")
        cluster.run_for(500)
    cluster.heal("ap-southeast-1")
    cluster.settle()
    assert tokyo.run("GET counter") == b"200"
    assert tokyo.snapshots_loaded == 1


def test_a_short_cut_ends_in_a_partial_resync() -> None:
    cluster = SimCluster(seed=8)
    cluster.settle()
    cluster.cut("eu-central-1")
    for _ in range(20):
        cluster.leader.run("INCR counter")
    cluster.heal("eu-central-1")
    cluster.settle()
    assert cluster["eu-central-1"].run("GET counter") == b"20"
    roles = cluster.leader.up().roles
    assert [feed.n_partial for stream, feed in roles.feeds.items() if roles.names[stream] == "eu-central-1"] == [1]
    assert cluster["eu-central-1"].snapshots_loaded == 0


def test_a_restarted_replica_resumes_from_its_own_disk() -> None:
    cluster = SimCluster(seed=9)
    cluster.settle()
    for _ in range(10):
        cluster.leader.run("INCR counter")
    cluster.settle()
    cluster.run_for(2_000)
    cluster["us-west-2"].crash()
    cluster.leader.run("INCR counter")
    cluster.restart("us-west-2")
    cluster.settle()
    assert cluster["us-west-2"].run("GET counter") == b"11"
    assert cluster["us-west-2"].snapshots_loaded == 0


def test_kill_of_the_leader_loses_no_acked_write_with_fsync_always() -> None:
    cluster = SimCluster(seed=10, fsync="always")
    cluster.settle()
    for n in range(1, 30):
        assert cluster.leader.run("INCR counter") == n
    cluster["leader"].crash()
    cluster.restart("leader")
    cluster.settle()
    assert cluster.leader.run("GET counter") == b"29"


def test_a_leader_that_lost_its_unsynced_tail_takes_it_back_from_a_replica() -> None:
    """everysec: the replicas have what the leader's disk lost; it asks them before it opens its next epoch."""
    cluster = SimCluster(seed=11)
    cluster.settle()
    cluster.run_for(1_100)
    for n in range(1, 11):
        assert cluster.leader.run("INCR counter") == n
    cluster.run_for(80)
    cluster["leader"].crash(WorstCase())
    assert cluster["leader"].storage.n_lost == 10
    cluster.restart("leader")
    cluster.settle()
    assert cluster.leader.run("GET counter") == b"10"


def test_switchover_loses_nothing_and_writes_go_on_at_the_new_leader() -> None:
    cluster = SimCluster(seed=12)
    cluster.settle()
    for _ in range(10):
        cluster.leader.run("INCR counter")
    cluster["leader"].up().roles.switch("eu-central-1")
    client = cluster["leader"].client()
    cluster["leader"].send(client, "INCR counter")
    cluster.run_for(3_000)
    assert cluster.leader.name == "eu-central-1"
    assert client.replies == [11]
    cluster.settle()
    assert cluster["sa-east-1"].run("INCR counter") == 12


def test_promotion_by_force_puts_the_old_leaders_tail_aside() -> None:
    """The old leader is cut off and takes writes that nobody sees; when it returns they are put aside and reported."""
    cluster = SimCluster(seed=13)
    cluster.settle()
    cluster.leader.run("SET k before")
    cluster.settle()
    old = cluster["leader"]
    cluster.cut("leader")
    assert old.run("SET k lost") is OK
    cluster["us-west-2"].up().roles.promote(True)
    cluster["us-west-2"].turn()
    cluster.run_for(5_000)
    assert cluster["us-west-2"].run("SET k after") is OK
    cluster.heal("leader")
    cluster.settle()
    assert old.run("GET k") == b"after"
    assert not old.up().is_leader
    assert old.up().metrics.n_divergent_entries == 1


def test_without_a_leader_writes_are_refused_and_reads_go_on() -> None:
    cluster = SimCluster(seed=14)
    cluster.settle()
    cluster.leader.run("SET k v")
    cluster.settle()
    cluster["leader"].crash()
    cluster.run_for(1_000)
    refused = cluster["sa-east-1"].run("SET k w")
    assert isinstance(refused, CommandError) and refused.code == "NOLEADER"
    assert cluster["sa-east-1"].run("GET k") == b"v"


def test_watch_at_a_replica_sees_a_write_from_another_region() -> None:
    cluster = SimCluster(seed=15)
    cluster.settle()
    cluster.leader.run("SET balance 10")
    cluster.settle()
    tokyo = cluster["ap-southeast-1"]
    client = tokyo.client()
    tokyo.send(client, "WATCH balance", "GET balance", "MULTI", "SET balance 11", "EXEC")
    cluster.run_for(1_000)
    assert client.replies[-1] == [OK]
    tokyo.send(client, "WATCH balance", "GET balance", "MULTI", "SET balance 12")
    assert cluster["sa-east-1"].run("SET balance 99") is OK
    tokyo.send(client, "EXEC")
    cluster.run_for(1_000)
    assert client.replies[-1] is NULL_ARRAY
    cluster.settle()
    assert tokyo.run("GET balance") == b"99"


def test_publish_is_heard_in_every_region_once_and_counts_local_listeners() -> None:
    cluster = SimCluster(seed=16)
    cluster.settle()
    listeners = {}
    for name in ("us-west-2", "sa-east-1"):
        listeners[name] = cluster[name].client()
        cluster[name].send(listeners[name], "SUBSCRIBE news")
    assert cluster["sa-east-1"].run("PUBLISH news hi") == 1
    cluster.settle()
    for session in listeners.values():
        assert session.replies.count(Push([b"message", b"news", b"hi"])) == 1


def test_a_key_past_its_deadline_is_hidden_everywhere_and_then_removed_everywhere() -> None:
    cluster = SimCluster(seed=17)
    cluster.settle()
    cluster.leader.run("SET k v PX 500")
    cluster.settle()
    assert cluster["eu-central-1"].run("GET k") == b"v"
    cluster.run_for(1_000)
    for each in cluster.nodes.values():
        assert each.run("GET k") is None
    cluster.settle()
    for each in cluster.nodes.values():
        assert b"k" not in each.up().engine.keyspace.values


def test_a_transaction_without_a_leader_is_refused_and_the_connection_goes_on() -> None:
    """It used to wait for ever (seed 1 of the random programs)."""
    cluster = SimCluster(seed=18)
    cluster.settle()
    cluster["leader"].crash()
    cluster.run_for(1_000)
    paulo = cluster["sa-east-1"]
    client = paulo.client()
    paulo.send(client, "MULTI", "INCR k", "EXEC", "PING")
    cluster.run_for(100)
    assert [getattr(reply, "text", reply) for reply in client.replies[:2]] == ["OK", "QUEUED"]
    assert isinstance(client.replies[2], CommandError) and client.replies[2].code == "NOLEADER"
    assert len(client.replies) == 4


def test_a_long_pipeline_without_a_leader_is_refused_command_by_command() -> None:
    """It used to nest one level deeper for every forwarded run."""
    cluster = SimCluster(seed=19)
    cluster.settle()
    cluster["leader"].crash()
    cluster.run_for(1_000)
    paulo = cluster["sa-east-1"]
    client = paulo.client()
    paulo.send(client, *(["PING", "INCR k"] * 2_000))
    assert len(client.replies) == 4_000


def test_a_sync_that_ends_after_a_rewind_says_nothing_about_the_entries_that_came_instead() -> None:
    """The node used to take them for durable (seeds 14, 15 and 23 of the random programs)."""
    cluster = SimCluster(seed=20)
    cluster.settle()
    old = cluster["leader"]
    cluster.cut("leader")
    for _ in range(20):
        old.run("INCR k")
    late_lsn = old.storage.head_lsn
    old.synced(old.up(), late_lsn)
    cluster["us-west-2"].up().roles.promote(True)
    cluster["us-west-2"].turn()
    cluster.run_for(2_000)
    cluster.heal("leader")
    cluster.settle()
    assert old.storage.durable_lsn < late_lsn
    old.up().persisted(late_lsn)
    assert old.up().durable_lsn == old.storage.durable_lsn


def crash_with_a_lost_tail(cluster: SimCluster) -> SimNode:
    """The leader loses ten acked entries that only one of its replicas has."""
    leader = cluster["leader"]
    cluster.settle()
    cluster.run_for(1_100)
    for name in ("us-east-1", "us-west-2", "eu-central-1", "ap-southeast-1"):
        cluster.cut(name)
    for n in range(1, 11):
        assert leader.run("INCR counter") == n
    cluster.run_for(400)
    leader.crash(WorstCase())
    assert leader.storage.n_lost == 10
    return leader


def test_a_restarted_leader_asks_again_when_the_answer_is_lost() -> None:
    """It used to wait for ever, and nobody led (seeds 2 and 22 of the random programs)."""
    cluster = SimCluster(seed=21)
    leader = crash_with_a_lost_tail(cluster)
    cluster.restart("leader")
    cluster.network.cut("leader", "sa-east-1")  # the question is under way
    cluster.run_for(200)
    assert not leader.up().is_leader
    cluster.network.heal("leader", "sa-east-1")
    cluster.run_for(1_500)
    assert leader.run("GET counter") == b"10"


def test_a_restarted_leader_leads_without_what_a_peer_out_of_reach_has() -> None:
    cluster = SimCluster(seed=22)
    leader = crash_with_a_lost_tail(cluster)
    cluster.restart("leader")
    cluster.cut("sa-east-1")
    cluster.run_for(4_000)
    assert leader.run("SET k v") is OK
    for name in cluster.nodes:
        cluster.heal(name)
    cluster.settle()
    assert cluster["sa-east-1"].run("GET counter") is None
    assert cluster["sa-east-1"].up().metrics.n_divergent_entries == 10


def test_an_old_leader_without_a_snapshot_below_the_fork_point_is_synced_in_full() -> None:
    """Its log files begin above the fork point, so it cannot go back by itself; it used to fail (seed 26)."""
    cluster = SimCluster(seed=23, backlog_entries=10, snapshot_bytes=2_000)
    cluster.settle()
    old = cluster["leader"]
    cluster.cut("leader")
    for _ in range(10):
        for _ in range(20):
            old.run("INCR counter")
        cluster.run_for(100)
    assert old.storage.first_lsn > 2
    cluster["us-west-2"].up().roles.promote(True)
    cluster["us-west-2"].turn()
    assert cluster["us-west-2"].run("SET k after") is OK
    cluster.heal("leader")
    cluster.run_for(50)
    cluster.settle()
    assert old.run("GET k") == b"after"
    assert old.run("GET counter") is None
    assert old.snapshots_loaded == 1
    assert old.up().metrics.n_divergent_entries == 200
    assert list(old.storage.set_aside_snapshots) == ["divergent/4294967296-2-201.snapshot"]


def test_a_write_that_waited_for_a_switchover_is_covered_by_the_token_that_comes_with_its_answer() -> None:
    """The position told was the one from before the wait (seed 1)."""
    cluster = SimCluster(seed=24)
    cluster.settle()
    leader = cluster["leader"]
    cluster["us-west-2"].up().roles.follower.limits.ack_ms = 100_000
    leader.up().roles.switch("us-west-2")
    cluster.cut("us-west-2")
    client = leader.client()
    leader.send(client, "SET k v")
    assert client.replies == []
    cluster.run_for(12_000)
    assert client.replies == [OK]
    assert client.served == leader.up().log.head


def test_wait_counts_a_replica_once_though_its_former_stream_has_not_ended_yet() -> None:
    """Seed 28: two feeds of one replica were two replicas."""
    cluster = SimCluster(seed=25, regions=["us-east-1", "us-west-2"])
    cluster.network.notice_ms = 3_000
    cluster.settle()
    east = cluster["us-east-1"]
    cluster.cut("us-west-2", silently=True)
    cluster.run_for(100)
    while len([stream for stream in cluster["leader"].up().roles.names.values() if stream == "us-east-1"]) < 2:
        cluster.network.break_(east.streams["follow"], east)
        cluster.run_for(500)
    cluster["leader"].run("SET k v")
    client = cluster["leader"].client()
    cluster["leader"].send(client, "WAIT 2 1000")
    cluster.run_for(1_100)
    assert client.replies == [1]


def test_a_write_that_ran_before_its_leader_stepped_down_is_not_called_refused() -> None:
    """The old leader ran it, could not answer, and then said READONLY to the repeat (seeds 2, 18 and 22)."""
    cluster = SimCluster(seed=26)
    cluster.settle()
    old, paulo = cluster["leader"], cluster["sa-east-1"]
    client = paulo.client()
    paulo.send(client, "INCR k")
    while old.up().engine.keyspace.values.get(b"k") is None:
        cluster.step()
    cluster.network.break_(paulo.streams["forward"], paulo)
    cluster.network.cut("sa-east-1", "us-west-2")
    cluster.run_for(30)
    old.up().roles.switch("us-west-2")
    cluster.run_for(8_000)
    assert cluster.leader.name == "us-west-2"
    assert cluster.leader.up().engine.keyspace.values[b"k"] == b"1"
    assert isinstance(client.replies[0], CommandError) and client.replies[0].code == "UNKNOWN"


def test_a_write_that_only_came_too_late_for_the_old_leader_is_run_by_the_new_one() -> None:
    cluster = SimCluster(seed=27)
    cluster.settle()
    old, paulo = cluster["leader"], cluster["sa-east-1"]
    cluster.network.cut("sa-east-1", "us-west-2")
    old.up().roles.switch("us-west-2")
    while old.up().is_leader:
        cluster.step()
    cluster.network.heal("sa-east-1", "us-west-2")
    assert paulo.up().leader_name == "leader"
    assert paulo.run("INCR k") == 1


def test_a_transaction_during_a_switchover_waits_and_is_not_lost() -> None:
    """EXEC went on at the sealed leader (seeds 34, 40, 53, 59 and 78)."""
    cluster = SimCluster(seed=28)
    cluster.settle()
    old = cluster["leader"]
    client = old.client()
    old.up().roles.switch("us-west-2")
    old.send(client, "MULTI", "INCR k", "INCR k", "EXEC")
    assert len(client.replies) == 3
    cluster.run_for(3_000)
    assert client.replies[-1] == [1, 2]
    assert cluster.leader.name == "us-west-2"
    assert cluster.leader.up().engine.keyspace.values[b"k"] == b"2"


def test_a_transaction_with_a_writing_subcommand_runs_at_the_leader() -> None:
    """It ran at the replica (seeds 134 and 220)."""
    cluster = SimCluster(seed=34)
    cluster.settle()
    assert cluster["sa-east-1"].run("MULTI", "XGROUP CREATE s g $ MKSTREAM", "EXEC") == [OK]
    cluster.settle()
    assert cluster["us-west-2"].run("EXISTS s") == 1


def test_a_transaction_of_reads_is_not_older_than_the_session_has_seen() -> None:
    cluster = SimCluster(seed=29)
    cluster.settle()
    cluster["leader"].run("SET k v")
    paulo = cluster["sa-east-1"]
    client = paulo.client()
    client.position = cluster["leader"].up().log.head
    paulo.send(client, "MULTI", "GET k", "EXEC")
    cluster.run_for(1_000)
    assert client.replies[-1] == [b"v"]


def test_a_message_is_not_heard_again_after_a_full_resync_to_an_older_snapshot() -> None:
    """Seeds 84 and 89: the entries behind the snapshot are applied once more."""
    cluster = SimCluster(seed=30)
    cluster.settle()
    paulo = cluster["sa-east-1"]
    listener = paulo.client()
    paulo.send(listener, "SUBSCRIBE news")
    leader = cluster["leader"].up()
    leader.snapshots.is_wanted = True
    cluster.run_for(100)
    assert cluster["leader"].run("PUBLISH news hi") == 0
    cluster.settle()
    paulo.up().roles.follower.broken = True
    cluster.network.break_(paulo.streams["follow"])
    cluster.run_for(2_000)
    cluster.settle()
    assert paulo.snapshots_loaded == 1
    assert listener.replies.count(Push([b"message", b"news", b"hi"])) == 1


def test_a_leader_that_was_superseded_does_not_answer_to_a_token_of_the_next_reign() -> None:
    """It does not know yet, but the token says so; also when a replica asks it (seeds 44 and 80)."""
    cluster = SimCluster(seed=31)
    cluster.settle()
    cluster["leader"].run("SET k old")
    cluster.settle()
    for name in ("leader", "sa-east-1"):
        for other in ("us-east-1", "us-west-2", "eu-central-1", "ap-southeast-1"):
            cluster.network.cut(name, other)
    cluster["us-west-2"].up().roles.promote(True)
    cluster["us-west-2"].turn()
    cluster["us-west-2"].run("SET k new")
    for name in ("leader", "sa-east-1"):
        client = cluster[name].client()
        client.position = cluster["us-west-2"].up().log.head
        cluster[name].send(client, "GET k")
        cluster[name].send(client, "MULTI", "GET k", "EXEC")
        cluster.run_for(2_000)
        assert [getattr(client.replies[i], "code", None) for i in (0, 3)] == ["STALE", "STALE"]


def test_a_transaction_that_rests_on_lost_writes_aborts() -> None:
    """What the client read was put aside, and its watched key looked unchanged to the new leader (seed 74)."""
    cluster = SimCluster(seed=32)
    cluster.settle()
    cluster["leader"].run("SET balance 10")
    cluster.settle()
    old = cluster["leader"]
    client = old.client()
    old.send(client, "WATCH balance")
    cluster.cut("leader")
    old.run("SET balance 99")
    old.send(client, "GET balance")
    cluster["us-west-2"].up().roles.promote(True)
    cluster["us-west-2"].turn()
    cluster.heal("leader")
    cluster.settle()
    old.send(client, "MULTI", "SET balance 100", "EXEC")
    cluster.run_for(1_000)
    assert client.replies[1] == b"99"
    assert client.replies[-1] is NULL_ARRAY
    assert cluster.leader.run("GET balance") == b"10"


def test_what_a_replica_had_forwarded_ends_when_it_is_promoted() -> None:
    """A forwarded WAIT, which has no timeout there, was never answered (seed 39); a write may have run, or runs now."""
    cluster = SimCluster(seed=33)
    cluster.settle()
    paulo = cluster["sa-east-1"]
    waiting, counting = paulo.client(), paulo.client()
    cluster.cut("sa-east-1", silently=True)
    paulo.send(waiting, "WAIT 0 100", "PING")
    paulo.send(counting, "INCR k")
    paulo.send(counting, "PING", "INCR k")
    cluster.run_for(500)
    paulo.up().roles.promote(True)
    cluster.run_for(500)
    assert waiting.replies[0] == 0 and len(waiting.replies) == 2
    assert counting.replies[0] == 1 and counting.replies[2] == 2
    assert not paulo.up().forwarding.remotes


def test_users_hold_in_every_region_and_after_every_loss() -> None:
    """Made at a replica; one region hears of it by a snapshot; the leader is lost, and a write of its own with it."""
    cluster = SimCluster(seed=41, backlog_entries=10, snapshot_bytes=2_000)
    cluster.settle()
    tokyo, old = cluster["ap-southeast-1"], cluster["leader"]
    cluster.cut("ap-southeast-1")
    assert cluster["us-west-2"].run("ACL SETUSER alice on >pw ~a* +set +get") == OK
    for _ in range(5):
        for _ in range(40):
            cluster.leader.run("INCR counter")
        cluster.run_for(500)
    cluster.heal("ap-southeast-1")
    cluster.settle()
    assert tokyo.snapshots_loaded == 1
    assert tokyo.run("AUTH alice pw", "SET a 1") == OK

    cluster.cut("leader")
    assert old.run("ACL DELUSER alice") == 1
    cluster["us-west-2"].up().roles.promote(True)
    cluster.run_for(5_000)
    cluster.heal("leader")
    cluster.settle()
    for each in cluster.nodes.values():
        refusal = each.run("AUTH alice pw", "SET b 1")
        assert isinstance(refusal, CommandError) and refusal.text == "NOPERM No permissions to access a key"


def test_a_silent_difference_at_one_replica_is_found_and_repaired() -> None:
    """One bit of one value, in the midst of writes and with a network that loses and reorders; nobody else is concerned."""
    cluster = SimCluster(seed=24, loss=0.05)
    cluster.settle()
    for n in range(300):
        cluster.leader.run(f"SET key:{n} value:{n}")
    cluster.settle()
    paulo = cluster["sa-east-1"]
    cluster.ledger.spoiled.add("sa-east-1")
    paulo.up().engine.keyspace.values[b"key:7"] = b"value:8"
    for n in range(60):
        cluster.leader.run(f"SET key:{n + 100} later", "INCR counter")
        cluster.run_for(500)
    cluster.settle()
    assert paulo.run("GET key:7") == b"value:7"
    (event,) = [event for event in paulo.up().events.recent if event.name == "digest-mismatch"]
    assert event.level == "error" and "key b'key:7' differs" in event.text
    for name, each in cluster.nodes.items():
        assert each.up().metrics.n_full_resyncs == (name == "sa-east-1")
        assert each.up().roles.follower.n_mismatches == (name == "sa-east-1")
    assert paulo.up().digest() == cluster.leader.up().digest()
