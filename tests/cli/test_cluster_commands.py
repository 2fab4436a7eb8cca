"""Commands that ask a cluster, against fake admin ports: what they print, what they send, how they exit."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.cli.fake_admin import TOKEN, FakeNode, status
from tests.ports import free_port
from upstash_global.cli.main import cli

FOLLOWER = {
    "name": "sa-east-1",
    "region": "sa-east-1",
    "state": "streaming",
    "acked_lsn": 12,
    "durable_lsn": 12,
    "lag_entries": 0,
    "lag_bytes": 0,
    "lag_ms": 3,
    "staleness_ms": 180,
    "rtt_ms": 114.2,
}
ENTRIES = [
    {
        "epoch": 512,
        "lsn": lsn,
        "time_ms": 1_700_000_000_000 + lsn,
        "kind": "data",
        "commands": [["SET", "k", f"v {lsn}"]],
    }
    for lsn in range(1, 13)
]


class Running:
    """A leader and a replica, and the data directory by which the commands find them."""

    def __init__(self, leader: FakeNode, replica: FakeNode, directory: Path) -> None:
        self.leader = leader
        self.replica = replica
        self.directory = directory
        self.write_endpoints({"leader": leader.url, "sa-east-1": replica.url})
        (directory / "admin.token").write_text(TOKEN + "\n")

    def write_endpoints(self, urls: dict[str, str]) -> None:
        nodes = [{"name": name, "region": "r", "admin": url} for name, url in urls.items()]
        (self.directory / "endpoints.json").write_text(json.dumps({"nodes": nodes, "edges": []}))

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, [*arguments, "--data-dir", str(self.directory)])


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.delenv("UPSTASH_GLOBAL_ADMIN_TOKEN", raising=False)
    with ExitStack() as stack:
        leading = status("leader", "us-east-1", "leader", followers=[FOLLOWER])
        leader = stack.enter_context(FakeNode(leading, ENTRIES))
        replica = stack.enter_context(FakeNode(status("sa-east-1", "sa-east-1")))
        yield Running(leader, replica, tmp_path)


def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}"


# -- status -----------------------------------------------------------------------------------------------------------


def test_status_shows_every_node(running: Running) -> None:
    result = running.run("status")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:5] == ["leader", "us-east-1", "leader", "streaming", "1.2.0"]


def test_status_tells_what_a_node_has_been_through_and_only_then(running: Running) -> None:
    nothing = {"partial_resyncs": 0, "full_resyncs": 0, "divergences": 0, "divergent_entries": 0, "torn_bytes": 0}
    running.leader.status |= nothing
    running.replica.status |= nothing
    assert "since its start" not in running.run("status").stdout
    running.replica.status |= {"partial_resyncs": 2, "full_resyncs": 1, "divergent_entries": 10, "torn_bytes": 2048}
    heading, leader, replica = running.run("status").stdout.splitlines()
    assert heading.rstrip().endswith("since its start") and leader.rstrip().endswith("-")
    assert replica.rstrip().endswith("2 partial resyncs, 1 full resync, 10 divergent entries, 2.0 KiB torn")
    running.replica.status |= nothing | {"divergences": 1, "digest_mismatches": 3, "divergent_entries": 1}
    line = running.run("status").stdout.splitlines()[2]
    assert line.rstrip().endswith("  1 divergence, 3 digest mismatches, 1 divergent entry")


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_status_for_programs_is_what_the_nodes_said(running: Running, output: str, read: Callable[[str], Any]) -> None:
    assert read(running.run("status", "-o", output).stdout) == [running.leader.status, running.replica.status]


def test_status_of_one_node(running: Running) -> None:
    result = running.run("status", "sa-east-1", "-o", "json")
    assert [each["node"] for each in json.loads(result.stdout)] == ["sa-east-1"]


def test_status_of_a_node_that_is_not_there_exits_with_3(running: Running) -> None:
    result = running.run("status", "mars")
    assert result.exit_code == 3
    assert "there is no node mars; there are leader, sa-east-1" in result.stderr


def test_a_replica_that_does_not_stream_exits_with_4(running: Running) -> None:
    running.replica.status["state"] = "syncing"
    result = running.run("status")
    assert result.exit_code == 4
    assert "sa-east-1 is syncing" in result.stderr


def test_a_replica_that_cannot_forward_a_write_exits_with_4(running: Running) -> None:
    running.replica.status["reaches_leader"] = False
    result = running.run("status")
    assert result.exit_code == 4
    assert "sa-east-1 streams, but has no way to forward a write" in result.stderr


def test_a_cluster_without_leader_exits_with_4(running: Running) -> None:
    running.leader.status["role"] = "replica"
    assert running.run("status").exit_code == 4


def test_two_leaders_exit_with_4(running: Running) -> None:
    running.replica.status["role"] = "leader"
    result = running.run("status")
    assert result.exit_code == 4
    assert "lead at the same time" in result.stderr


def test_a_node_that_does_not_answer_is_shown_and_exits_with_4(running: Running) -> None:
    running.write_endpoints({"leader": running.leader.url, "sa-east-1": nobody()})
    result = running.run("status", "-o", "json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)[1]["state"] == "unreachable"


def test_a_cluster_that_does_not_answer_exits_with_6(running: Running) -> None:
    running.write_endpoints({"leader": nobody(), "sa-east-1": nobody()})
    assert running.run("status").exit_code == 6


def test_a_wrong_token_exits_with_5(running: Running) -> None:
    (running.directory / "admin.token").write_text("wrong")
    result = running.run("status")
    assert result.exit_code == 5
    assert "the admin token is wrong" in result.stderr


def test_no_cluster_exits_with_3(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["status", "--data-dir", str(tmp_path)])
    assert result.exit_code == 3
    assert "endpoints.json" in result.stderr


def test_damaged_endpoints_are_told(running: Running) -> None:
    (running.directory / "endpoints.json").write_text("{")
    assert "is damaged" in running.run("status").stderr


# -- ways to find a cluster -------------------------------------------------------------------------------------------


def test_a_single_node_is_found_by_its_url(running: Running, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    result = CliRunner().invoke(cli, ["status", "--admin", running.replica.url, "--token-file", str(token)])
    assert result.exit_code == 0, result.output


EDGE: dict[str, Any] = {"role": "edge", "upstream": "sa-east-1", "bytes": 0} | dict.fromkeys(
    ["hits", "stale_hits", "misses", "bypassed", "replies", "invalidated"], 0
)


@pytest.mark.parametrize(("state", "code"), [("streaming", 0), ("ttl", 0), ("disconnected", 4)])
def test_the_state_of_a_single_edge_is_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, code: int
) -> None:
    """As the health check of its container asks."""
    monkeypatch.setenv("UPSTASH_GLOBAL_ADMIN_TOKEN", TOKEN)
    with FakeNode(status("edge-sa-east-1", "sa-east-1", state=state, **EDGE)) as edge:
        result = CliRunner().invoke(cli, ["status", "--admin", edge.url, "--data-dir", str(tmp_path)])
        assert result.exit_code == code, result.output


def test_the_token_may_come_from_the_environment(running: Running) -> None:
    environ = {"UPSTASH_GLOBAL_ADMIN_TOKEN": TOKEN}
    result = CliRunner().invoke(cli, ["status", "--admin", running.leader.url], env=environ)
    assert result.exit_code == 0, result.output


def test_a_cluster_is_found_by_its_endpoints_file(running: Running) -> None:
    result = CliRunner().invoke(cli, ["status", "--endpoints", str(running.directory / "endpoints.json")])
    assert result.exit_code == 0, result.output


def test_a_cluster_is_found_by_its_configuration(running: Running, tmp_path: Path) -> None:
    places = {key: f"127.0.0.1:{free_port()}" for key in ("resp", "rest", "grpc")}
    admin = running.leader.url.removeprefix("http://")
    credentials = {"password": "p", "tokens": {"standard": "s"}, "cluster": "c", "admin": TOKEN}
    raw = {
        "cluster": {"id": "test", "leader": "leader"},
        "credentials": credentials,
        "regions": {"east": {}},
        "nodes": [{"name": "leader", "region": "east", "admin": admin} | places],
    }
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(raw))
    result = CliRunner().invoke(cli, ["status", "leader", "--config", str(file)])
    assert result.exit_code == 0, result.output


def test_an_address_that_is_no_url_is_wrong_usage() -> None:
    assert CliRunner().invoke(cli, ["status", "--admin", "127.0.0.1:9100"]).exit_code == 2


# -- topology and lag -------------------------------------------------------------------------------------------------


def test_topology_shows_who_follows_whom(running: Running) -> None:
    result = running.run("topology")
    assert result.exit_code == 0, result.output
    assert "leader (us-east-1) leads, epoch 1.2.0" in result.stdout
    assert "sa-east-1 (sa-east-1) streaming, 0 entries behind, round trip 114.2 ms, 180 ms stale" in result.stdout


def test_topology_for_programs(running: Running) -> None:
    data = json.loads(running.run("topology", "-o", "json").stdout)
    assert data["leaders"][0]["followers"] == [FOLLOWER]
    assert data["without_leader"] == []


def test_lag_shows_the_replicas(running: Running) -> None:
    running.replica.status |= {"lag_entries": 7, "lag_bytes": 2048, "lag_ms": 130}
    result = running.run("lag")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].split() == [
        "sa-east-1",
        "sa-east-1",
        "streaming",
        "7",
        "2.0",
        "KiB",
        "130",
        "ms",
        "40",
        "ms",
    ]


def test_of_a_replica_that_does_not_answer_lag_shows_what_its_leader_knows(running: Running) -> None:
    running.write_endpoints({"leader": running.leader.url, "sa-east-1": nobody()})
    running.leader.status["followers"] = [FOLLOWER | {"lag_entries": 9, "lag_bytes": 900}]
    assert json.loads(running.run("lag", "-o", "json").stdout) == [
        {
            "node": "sa-east-1",
            "region": "r",
            "state": "unreachable",
            "lag_entries": 9,
            "lag_bytes": 900,
            "lag_ms": 3,
            "staleness_ms": 180,
        }
    ]
    running.leader.status["followers"] = []
    (row,) = json.loads(running.run("lag", "-o", "json").stdout)
    assert row["lag_entries"] is None and row["staleness_ms"] is None


@pytest.mark.parametrize(("lag_ms", "exit_code"), [(100, 0), (101, 4)])
def test_lag_over_budget_exits_with_4(running: Running, lag_ms: int, exit_code: int) -> None:
    running.replica.status["lag_ms"] = lag_ms
    assert running.run("lag", "--budget-ms", "100").exit_code == exit_code


def test_a_replica_that_does_not_answer_is_over_every_budget(running: Running) -> None:
    running.write_endpoints({"leader": running.leader.url, "sa-east-1": nobody()})
    assert running.run("lag").exit_code == 0
    result = running.run("lag", "--budget-ms", "1000000")
    assert result.exit_code == 4
    assert "sa-east-1 is unreachable" in result.stderr


def test_watching_lag_gives_a_line_per_round(running: Running) -> None:
    result = running.run("lag", "--watch", "--interval", "0", "--count", "3", "-o", "json")
    assert [json.loads(line)[0]["node"] for line in result.stdout.splitlines()] == ["sa-east-1"] * 3


# -- changes ----------------------------------------------------------------------------------------------------------


def test_a_switchover_is_asked_of_the_leader(running: Running) -> None:
    result = running.run("switchover", "--to", "sa-east-1")
    assert result.exit_code == 0, result.output
    assert running.leader.posted == [("/v1/switchover", {"to": "sa-east-1"})]
    assert running.replica.posted == []


def test_of_two_leaders_the_one_of_the_higher_epoch_is_asked(running: Running) -> None:
    running.replica.status |= {"role": "leader", "epoch": running.leader.status["epoch"] + 1}
    running.run("switchover", "--to", "leader")
    assert running.replica.posted == [("/v1/switchover", {"to": "leader"})]


def test_a_switchover_to_nobody_is_not_asked(running: Running) -> None:
    assert running.run("switchover", "--to", "mars").exit_code == 3
    assert running.leader.posted == []


def test_a_switchover_without_leader_exits_with_4(running: Running) -> None:
    running.leader.status["role"] = "replica"
    assert running.run("switchover", "--to", "sa-east-1").exit_code == 4


@pytest.mark.parametrize(("options", "force"), [([], False), (["--force"], True)])
def test_a_promotion_is_asked_of_the_node_itself(running: Running, options: list[str], force: bool) -> None:
    result = running.run("promote", "sa-east-1", *options)
    assert result.exit_code == 0, result.output
    assert running.replica.posted == [("/v1/promote", {"force": force})]
    assert ("Forced" in result.stderr) == force


def test_a_refused_promotion_says_why(running: Running) -> None:
    running.replica.refusal = (409, "the leader did not answer; use force")
    result = running.run("promote", "sa-east-1")
    assert result.exit_code == 1
    assert "sa-east-1: the leader did not answer; use force" in result.stderr


def test_a_snapshot_is_made_by_the_leader_or_the_node_named(running: Running) -> None:
    assert running.run("snapshot").exit_code == 0
    assert running.run("snapshot", "sa-east-1").exit_code == 0
    assert running.leader.posted == running.replica.posted == [("/v1/snapshot", {})]


# -- log --------------------------------------------------------------------------------------------------------------


def test_log_tail_shows_the_newest_entries_as_commands(running: Running) -> None:
    result = running.run("log", "tail", "-n", "2")
    assert result.exit_code == 0, result.output
    assert [line.split(maxsplit=4)[1:] for line in result.stdout.splitlines()] == [
        ["11", "2023-11-14T22:13:20.011Z", "data", 'SET k "v 11"'],
        ["12", "2023-11-14T22:13:20.012Z", "data", 'SET k "v 12"'],
    ]


def test_log_tail_for_programs_is_a_line_per_entry(running: Running) -> None:
    lines = running.run("log", "tail", "-n", "100", "-o", "json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == ENTRIES


@pytest.mark.parametrize("command", ["dump", "verify"])
def test_a_directory_that_is_not_there_exits_with_3(tmp_path: Path, command: str) -> None:
    assert CliRunner().invoke(cli, ["log", command, str(tmp_path / "none")]).exit_code == 3


# -- nearest ----------------------------------------------------------------------------------------------------------

NEAR = {
    "name": "sa-east-1",
    "region": "sa-east-1",
    "role": "replica",
    "state": "streaming",
    "url": "http://10.0.0.5:8000",
    "resp": "10.0.0.5:7000",
    "edges": ["http://10.0.0.5:8100"],
    "rtt_ms": 0.0,
    "lag_ms": 12,
    "staleness_ms": 40,
    "heard_ms": 0,
    "fits": True,
}
FAR = NEAR | {"name": "leader", "region": "us-east-1", "role": "leader", "rtt_ms": 114.2, "edges": []}


def test_nearest_shows_the_order_in_which_a_node_answers(running: Running) -> None:
    running.replica.nearest = [NEAR, FAR]
    result = running.run("nearest", "sa-east-1", "--lag-ms", "500", "--region", "r")
    assert result.exit_code == 0
    title, _, first, second = result.stdout.splitlines()
    assert title.strip() == "as sa-east-1 in sa-east-1 sees them"
    assert first.split()[:4] == ["sa-east-1", "sa-east-1", "replica", "streaming"]
    assert second.split()[-3:] == ["http://10.0.0.5:8000", "10.0.0.5:7000", "-"] and "114.2 ms" in second
    assert running.replica.asked == {"lag": "500", "region": "r"}


def test_nearest_asks_whoever_answers(running: Running) -> None:
    running.write_endpoints({"leader": nobody(), "sa-east-1": running.replica.url})
    running.replica.nearest = [NEAR, FAR]
    answer = json.loads(running.run("nearest", "-o", "json").stdout)
    assert (answer["node"], answer["nodes"]) == ("sa-east-1", [NEAR, FAR])
    running.write_endpoints({"leader": nobody(), "sa-east-1": nobody()})
    assert running.run("nearest").exit_code == 6


@pytest.mark.parametrize("unfit", [{"fits": False}, {"state": "disconnected"}, {"state": "unreachable"}])
def test_nearest_exits_with_4_when_no_node_will_do(running: Running, unfit: dict[str, Any]) -> None:
    running.replica.nearest = [NEAR | unfit]
    assert running.run("nearest", "sa-east-1").exit_code == 4
    running.replica.nearest = [NEAR | unfit, FAR]
    assert running.run("nearest", "sa-east-1").exit_code == 0
