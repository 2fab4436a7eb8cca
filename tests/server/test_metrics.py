"""/metrics: as Prometheus reads it, with the numbers of INFO under redis_exporter's names."""

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.node.stage import Machine, Stage
from tests.node.test_statistics import info
from upstash_global.reply import OK
from upstash_global.server.metrics import registry_of
from upstash_global.server.redismetrics import COUNTERS, GAUGES

pytestmark = pytest.mark.pure  # the clients of the stage

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
SECTIONS = "server clients memory persistence stats replication cpu"
MOVES = {"total_commands_processed"}  # INFO itself is a command


def scraped(machine: Machine) -> dict[str, Metric]:
    text = generate_latest(registry_of(machine.node)).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for family in families.values():
        labels = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(labels) == len(set(labels)), f"{family.name} has two samples with the same labels"
    return families


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """Of the one sample with this name that has these labels."""
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, f"{name}{labels}: {found}"
    return float(found[0])


@pytest.fixture
def busy() -> Stage:
    stage = Stage(replica=True)
    leader, replica = stage.leader.client(), stage.replica.client()
    leader.run("SET k v", "GET k", "GET nosuch", "NOSUCH", "SET short v PX 100", "SUBSCRIBE news")
    leader = stage.leader.client()
    leader.run("CONFIG SET maxmemory 1gb", "EVAL 'return 1' 0", "SADD s a")
    replica.run("SET k w", "GET k", "LPUSH l x")
    stage.pass_ms(2_000)
    return stage


@pytest.mark.parametrize("side", ["leader", "replica"])
def test_every_number_of_info_has_redis_exporter_s_name_and_type(busy: Stage, side: str) -> None:
    machine = busy.machines[side]
    families = scraped(machine)
    shown = info(machine.client(), SECTIONS)
    for field, (name, _) in GAUGES.items():
        assert families[name].type == "gauge", name
        wanted = {"ok": "1", "err": "0"}.get(shown[field], shown[field])
        if field != "connected_clients":  # the one who asked for INFO
            assert value(families, name) == float(wanted), name
    for field, (name, _) in COUNTERS.items():
        assert families[name].type == "counter", name
        if field not in MOVES | {"total_connections_received"}:
            assert value(families, f"{name}_total") == float(shown[field]), name


def test_numbers_are_those_of_what_happened(busy: Stage) -> None:
    families = scraped(busy.leader)
    assert value(families, "redis_up") == 1
    assert value(families, "redis_keyspace_misses_total") >= 1 <= value(families, "redis_keyspace_hits_total")
    assert value(families, "redis_expired_keys_total") == 1
    assert value(families, "redis_memory_max_bytes") == 1 << 30
    assert value(families, "redis_db_keys", db="db0") == 3 == len(busy.leader.node.engine.keyspace.values)
    assert value(families, "redis_pubsub_channels") == 1
    assert value(families, "redis_errors_total", err="ERR") >= 1
    assert value(families, "redis_commands_total", cmd="sadd") >= 1
    assert value(families, "redis_commands_duration_seconds_total", cmd="sadd") >= 0
    assert value(families, "redis_slowlog_length") == 0
    assert value(families, "redis_instance_info", role="master", redis_mode="standalone") == 1


def test_used_memory_is_the_data_and_resident_memory_the_process() -> None:
    stage = Stage()
    stage.leader.node.resident_bytes = lambda: 50_000_000
    stage.leader.client().run("SET k " + "v" * 10_000)
    families = scraped(stage.leader)
    assert 10_000 < value(families, "redis_memory_used_bytes") < 20_000
    assert value(families, "redis_memory_used_rss_bytes") == 50_000_000


def test_the_slow_log_is_counted() -> None:
    stage = Stage()
    client = stage.leader.client()
    client.run("CONFIG SET slowlog-log-slower-than 0")
    client.run("SET k v")
    families = scraped(stage.leader)
    assert value(families, "redis_slowlog_length") == len(stage.leader.node.slowlog.entries) > 0
    assert value(families, "redis_slowlog_last_id") == stage.leader.node.slowlog.entries[0].id


def test_the_leader_tells_how_far_each_replica_is(busy: Stage) -> None:
    busy.cut()
    busy.leader.client().run("SET k x", "SET k y")
    busy.pass_ms(3_000)
    families = scraped(busy.leader)
    of_replica = {"node": "replica", "region": "us-east-1"}
    assert value(families, "upstash_global_follower_lag_entries", **of_replica) == 2
    assert value(families, "upstash_global_follower_lag_bytes", **of_replica) > 0
    assert value(families, "upstash_global_follower_lag_ms", **of_replica) == 0
    assert value(families, "upstash_global_follower_staleness_ms", **of_replica) >= 2_900
    assert value(families, "upstash_global_follower_rtt_ms", **of_replica) == 0
    assert value(families, "upstash_global_follower_state", state="streaming", **of_replica) == 1
    assert value(families, "redis_connected_slave_lag_seconds", slave_port="7001", slave_state="online") >= 2.9
    assert value(scraped(busy.replica), "redis_master_link_up", master_port="7000") == 1


def test_a_replica_that_has_reconnected_is_told_once(busy: Stage) -> None:
    feeds, names = busy.leader.node.roles.feeds, busy.leader.node.roles.names
    feeds["another"], names["another"] = feeds["replica/follow"], "replica"
    families = scraped(busy.leader)
    assert len(families["upstash_global_follower_lag_entries"].samples) == 1
    assert len(families["redis_connected_slave_lag_seconds"].samples) == 1


def test_forwarded_commands_are_counted_and_measured() -> None:
    stage = Stage(replica=True, forward_timeout_ms=1_000)
    client = stage.replica.client()
    assert client.run("SET k v") == OK
    families = scraped(stage.replica)
    assert families["upstash_global_forward_duration_seconds"].type == "histogram"
    assert value(families, "upstash_global_forward_duration_seconds_count") == 1
    assert value(families, "upstash_global_forward_duration_seconds_bucket", le="0.001") == 1
    stage.cut()
    client.say("SET k w")
    stage.pass_ms(300)
    assert value(scraped(stage.replica), "upstash_global_outstanding_forwards") == 1
    stage.link()
    families = scraped(stage.replica)
    assert value(families, "upstash_global_outstanding_forwards") == 0
    assert value(families, "upstash_global_forward_duration_seconds_bucket", le="0.2") == 1
    assert value(families, "upstash_global_forward_duration_seconds_bucket", le="0.5") == 2
    assert value(families, "upstash_global_forward_duration_seconds_sum") == 0.3
    stage.cut()
    client.say("SET k x")
    stage.pass_ms(1_100)
    stage.replica.node.forward_disconnected("leader", stage.now_ms)
    client.say("SET k y")
    families = scraped(stage.replica)
    assert value(families, "upstash_global_unknown_forwards_total") == 1
    assert value(families, "upstash_global_noleader_refusals_total") == 1
    assert value(families, "upstash_global_reaches_leader") == 0


def test_the_alarms_of_the_manual_name_metrics_that_are_there(busy: Stage) -> None:
    (text,) = re.findall(r"```yaml\n(groups:.*?)```", OPERATIONS.read_text(), re.DOTALL)
    (group,) = yaml.safe_load(text)["groups"]
    there = {"up"} | {
        sample.name for side in busy.machines.values() for family in scraped(side).values() for sample in family.samples
    }
    for rule in group["rules"]:
        named = set(re.findall(r"\b(?:up|redis_\w+|upstash_global_\w+)\b(?=[ {\[)])", rule["expr"]))
        assert named and named <= there, f"{rule['alert']}: {named - there} are no metrics"
    assert len(group["rules"]) >= 15
