"""What an operator is shown of replication: resyncs with their reasons, divergences, the lag of each replica."""

from typing import Any

from tests.node.stage import Client, Stage
from tests.node.test_statistics import info
from upstash_global.errors import Divergence
from upstash_global.node.info import replica_state
from upstash_global.reply import OK


def broken_by_an_entry(stage: Stage) -> None:
    """The replica cannot apply what the leader writes next, and gets everything anew."""
    node = stage.replica.node
    apply = node.roles.follower.apply

    def fail(entry: Any) -> None:
        node.roles.follower.apply = apply
        raise Divergence("planted")

    node.roles.follower.apply = fail
    assert stage.leader.client().run("SET k v") == OK
    stage.pass_ms(1_000)


def told(stage: Stage, side: str, name: str) -> list[tuple[str, str]]:
    events = stage.machines[side].node.events.recent
    return [(event.level, event.text) for event in events if event.name == name]


def number(client: Client, section: str, name: str) -> int:
    return int(info(client, section)[name])


def test_a_divergence_is_told_counted_and_the_reason_of_the_resync_it_leads_to() -> None:
    stage = Stage(replica=True)
    broken_by_an_entry(stage)
    why = "an entry could not be applied: planted"
    shown = info(stage.replica.client(), "replication")
    assert (shown["divergences"], shown["full_resyncs"], shown["last_resync_reason"]) == ("1", "1", why)
    n_bytes = int(shown["last_resync_bytes"])
    position = stage.leader.node.log.head
    assert n_bytes == stage.leader.storage.snapshots()[0].size
    assert told(stage, "replica", "divergence") == [("error", f"at {position}: {why}")]
    assert told(stage, "replica", "full-resync") == [("warning", f"loaded {n_bytes} bytes at {position}: {why}")]
    assert told(stage, "leader", "full-resync-begun") == [
        ("warning", f"replica gets {n_bytes} bytes at {position}: {why}")
    ]
    (follower,) = stage.leader.node.status()["followers"]
    assert (follower["full_resyncs"], follower["resync_reason"]) == (1, why)
    assert stage.replica.node.status()["divergences"] == 1
    assert stage.replica.node.status()["resync_bytes"] == n_bytes


def test_the_leader_s_counts_of_resyncs_outlive_the_streams() -> None:
    stage = Stage(replica=True)
    broken_by_an_entry(stage)
    client = stage.leader.client()
    before = [number(client, "stats", name) for name in ("sync_full", "sync_partial_ok", "sync_partial_err")]
    assert before == [1, 1, 0]
    stage.leader.node.disconnected("replica/follow", stage.now_ms)
    assert stage.leader.node.status()["followers"] == []
    assert [number(client, "stats", name) for name in ("sync_full", "sync_partial_ok")] == [1, 1]
    assert client.run("CONFIG RESETSTAT") == OK
    assert [number(client, "stats", name) for name in ("sync_full", "sync_partial_ok")] == [0, 0]


# -- the lag of each replica ------------------------------------------------------------------------------------------


def replica_line(stage: Stage) -> dict[str, str]:
    return dict(field.split("=") for field in info(stage.leader.client(), "replication")["slave0"].split(","))


def test_the_leader_shows_each_replica_with_redis_s_fields_and_ours() -> None:
    stage = Stage(replica=True)
    stage.leader.client().run("SET k v")
    stage.replica.sync()
    stage.pass_ms(500)
    line = replica_line(stage)
    head = stage.leader.node.log.head
    assert list(line)[:5] == ["ip", "port", "state", "offset", "lag"]
    assert (line["ip"], line["port"], line["state"], line["lag"]) == ("127.0.0.1", "7001", "online", "0")
    assert (line["name"], line["region"], line["link"]) == ("replica", "us-east-1", "streaming")
    assert line["offset"] == line["durable_lsn"] == str(head.lsn)
    assert (line["lag_entries"], line["lag_bytes"], line["lag_ms"], line["rtt_ms"]) == ("0", "0", "0", "0")
    assert int(line["staleness_ms"]) <= 100


def test_what_a_silent_replica_lacks_is_seen_at_the_leader() -> None:
    stage = Stage(replica=True)
    stage.cut()
    before = stage.leader.node.log.head_bytes
    stage.leader.client().run("SET k v", "SET k w")
    stage.pass_ms(3_500)
    line = replica_line(stage)
    assert line["lag"] == "3", "seconds since its last ack"
    assert line["lag_entries"] == "2"
    assert line["lag_bytes"] == str(stage.leader.node.log.head_bytes - before)
    assert 3_400 <= int(line["staleness_ms"]) <= 3_700
    (follower,) = stage.leader.node.status()["followers"]
    assert 3_400 <= follower["silence_ms"] <= 3_600
    assert follower["staleness_ms"] == int(line["staleness_ms"])


def test_the_delay_that_a_replica_measures_is_told_by_its_leader() -> None:
    """Entries reach the replica 300 ms late; that is its lag for the second that follows."""
    stage = Stage(replica=True)
    stage.pass_ms(200)
    stage.cut()
    stage.leader.client().run("SET k v")
    stage.pass_ms(300)
    stage.link()
    stage.pass_ms(120)
    (follower,) = stage.leader.node.status()["followers"]
    assert 300 <= follower["lag_ms"] <= 420
    assert replica_line(stage)["lag_ms"] == str(follower["lag_ms"])
    stage.pass_ms(1_500)
    assert replica_line(stage)["lag_ms"] == "0"


def test_a_replica_that_gets_a_snapshot_is_said_to() -> None:
    stage = Stage(replica=True)
    feed = stage.leader.node.roles.feeds["replica/follow"]
    stage.replica.node.roles.follower.broken = True
    stage.replica.node.follow_connected("leader", stage.now_ms)
    stage.settle()
    assert replica_line(stage)["state"] == "wait_bgsave"
    stage.leader.node.tick(stage.now_ms)
    while feed.transfer is None:
        stage.leader.node.tick(stage.now_ms)
        stage.leader.turn()
    shown = stage.leader.node.status()["followers"][0]
    assert (shown["state"], replica_state(shown)) == ("syncing", "send_bulk")
