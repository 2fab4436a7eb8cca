"""What an operator is shown of replication: resyncs with their reasons, divergences, the lag of each replica."""

from typing import Any

from tests.node.stage import Client, Stage
from tests.node.test_statistics import info
from upstash_global.errors import Divergence
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
