"""`up` as a real process, with fake nodes: what it starts, tells and leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.ports import base_port, free_port
from upstash_global.cli.main import cli
from upstash_global.config import load

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0


class Up:
    """A running `up`, in a directory of its own."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        command = [sys.executable, str(Path(__file__).with_name("up_with_fake_nodes.py")), "up"]
        self.process = subprocess.Popen(
            [*command, "--data-dir", str(directory), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def endpoints(self) -> dict[str, Any]:
        """Wait until the cluster is ready."""
        file = self.directory / "endpoints.json"
        wait_for(lambda: file.exists() or self.process.poll() is not None)
        assert file.exists(), self.process.communicate(timeout=LIMIT_S)[0]
        known: dict[str, Any] = json.loads(file.read_text())
        return known

    def wait(self) -> tuple[int, str]:
        """Exit code and everything printed."""
        output = self.process.communicate(timeout=LIMIT_S)[0]
        return self.process.returncode, output

    def stop(self, signum: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(signum)
        return self.wait()


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(*arguments: str) -> Up:
        started.append(Up(tmp_path / "data", *arguments))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.process.kill()
            up.process.communicate(timeout=LIMIT_S)


def cluster_file(tmp_path: Path, *names: str) -> str:
    """A configuration of nodes on free ports; the first one leads, the others are in another region."""
    nodes = [
        {"name": name, "region": "us-east-1" if name == names[0] else "sa-east-1"}
        | {kind: f"127.0.0.1:{free_port()}" for kind in ("resp", "rest", "grpc", "admin")}
        for name in names
    ]
    raw = {
        "cluster": {"id": "test", "leader": names[0]},
        "credentials": {"password": "p", "tokens": {"standard": "s", "read_only": "r"}, "cluster": "c", "admin": "a"},
        "regions": {"us-east-1": {}, "sa-east-1": {}},
        "nodes": nodes,
    }
    file = tmp_path / "given.yaml"
    file.write_text(yaml.safe_dump(raw))
    return str(file)


# -- what it starts and tells -----------------------------------------------------------------------------------------


def test_the_default_cluster_starts_tells_its_places_and_ends_cleanly(start: Callable[..., Up]) -> None:
    base = base_port()
    up = start("--base-port", str(base), "--no-wan")
    known = up.endpoints()
    assert set(known) == {"password", "tokens", "nodes", "edges"}
    assert set(known["tokens"]) == {"standard", "read_only"}
    assert [(node["name"], node["role"]) for node in known["nodes"]] == [
        ("leader", "leader"),
        ("us-east-1", "replica"),
        ("us-west-2", "replica"),
        ("eu-central-1", "replica"),
        ("ap-southeast-1", "replica"),
        ("sa-east-1", "replica"),
    ]
    last = known["nodes"][-1]
    pid = last.pop("pid")
    assert is_alive(pid)
    assert last == {
        "name": "sa-east-1",
        "region": "sa-east-1",
        "role": "replica",
        "resp": f"127.0.0.1:{base + 5}",
        "rest": f"http://127.0.0.1:{base + 1005}",
        "admin": f"http://127.0.0.1:{base + 2105}",
    }
    edges = known["edges"]
    regions = ["us-east-1", "us-west-2", "eu-central-1", "ap-southeast-1", "sa-east-1"]
    assert [(edge["name"], edge["region"]) for edge in edges] == [(f"edge-{region}", region) for region in regions]
    edge_pid = edges[-1].pop("pid")
    assert is_alive(edge_pid)
    assert edges[-1] == {
        "name": "edge-sa-east-1",
        "region": "sa-east-1",
        "url": f"http://127.0.0.1:{base + 1105}",
        "admin": f"http://127.0.0.1:{base + 2205}",
    }
    for name in ("endpoints.json", "admin.token", "secrets.json", "cluster.yaml"):
        assert (up.directory / name).stat().st_mode & 0o077 == 0, name

    exit_code, output = up.stop()
    assert exit_code == 0, output
    assert f'UPSTASH_REDIS_REST_URL="http://127.0.0.1:{base + 1005}"' in output
    assert output.count(f'UPSTASH_REDIS_REST_TOKEN="{known["tokens"]["standard"]}"') == 5
    assert not is_alive(pid) and not is_alive(edge_pid)
    assert not (up.directory / "endpoints.json").exists()


def test_edges_can_be_left_out(start: Callable[..., Up]) -> None:
    up = start("--base-port", str(base_port()), "--no-wan", "--no-edges")
    assert up.endpoints()["edges"] == []
    assert not load(up.directory / "cluster.yaml", {}).edges
    up.stop()


def test_secrets_are_strong_and_stay(start: Callable[..., Up], tmp_path: Path) -> None:
    arguments = ("--base-port", str(base_port()), "--no-wan", "--no-edges")
    first = start(*arguments)
    known = first.endpoints()
    first.stop()
    again = start(*arguments)
    assert (again.endpoints()["password"], again.endpoints()["tokens"]) == (known["password"], known["tokens"])
    again.stop()
    everything = {known["password"], *known["tokens"].values()}
    assert len(everything) == 3
    assert all(len(secret) >= 43 for secret in everything), "43 characters of base64 are 32 bytes"


def test_ctrl_c_ends_it_cleanly(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start("--config", cluster_file(tmp_path, "a", "b"))
    up.endpoints()
    assert up.stop(signal.SIGINT)[0] == 0


def test_the_environment_overrides_the_configuration(
    start: Callable[..., Up], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTASH_GLOBAL_DURABILITY__FSYNC", "always")
    up = start("--config", cluster_file(tmp_path, "a"))
    up.endpoints()
    assert load(up.directory / "cluster.yaml", {}).durability.fsync == "always"
    up.stop()


def test_status_finds_what_up_started(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start("--config", cluster_file(tmp_path, "a"))
    up.endpoints()
    result = CliRunner().invoke(cli, ["status", "a", "--data-dir", str(up.directory), "-o", "json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["node"] == "a"
    up.stop()


def test_the_network_is_simulated_and_can_be_changed(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start("--config", cluster_file(tmp_path, "a", "b", "c"), "--wan")
    up.endpoints()
    config = load(up.directory / "cluster.yaml", {})
    assert set(config.node("b").dial) == {"a"}, "b and c are in one region"

    def wan(*arguments: str) -> Any:
        result = CliRunner().invoke(cli, ["wan", *arguments, "--data-dir", str(up.directory), "-o", "json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    assert [(link["from"], link["to"], link["rtt_ms"]) for link in wan("show")] == [
        ("us-east-1", "b", 114.0),
        ("us-east-1", "c", 114.0),
        ("sa-east-1", "a", 114.0),
    ]
    assert [link["state"] for link in wan("cut", "sa-east-1", "a", "--mode", "drop")] == ["drop"]
    assert {link["state"] for link in wan("heal")} == {"open"}
    assert [link["rtt_ms"] for link in wan("delay", "a", "--rtt-ms", "7")] == [7]
    table = CliRunner().invoke(cli, ["wan", "show", "--data-dir", str(up.directory)])
    assert "114 ms" in table.stdout
    unknown = CliRunner().invoke(cli, ["wan", "cut", "mars", "--data-dir", str(up.directory)])
    assert unknown.exit_code == 1
    assert up.stop()[0] == 0
    assert not (up.directory / "wan.json").exists()


# -- what can go wrong ------------------------------------------------------------------------------------------------


def test_a_second_up_in_the_same_directory_is_refused(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start("--config", cluster_file(tmp_path, "a"))
    up.endpoints()
    exit_code, output = start("--config", cluster_file(tmp_path, "a")).wait()
    assert exit_code == 1
    assert f"(process {up.process.pid})" in output
    assert up.endpoints(), "the first one goes on"
    up.stop()


def test_a_port_that_is_taken_is_named_and_nothing_is_started(start: Callable[..., Up], tmp_path: Path) -> None:
    file = cluster_file(tmp_path, "a", "b")
    first = start("--config", file)
    taken = {node["resp"] for node in first.endpoints()["nodes"]}
    other = Up(tmp_path / "other", "--config", file)
    exit_code, output = other.wait()
    assert exit_code == 1
    assert "(admin of a): Address already in use" in output
    assert not (tmp_path / "other" / "a").exists()
    assert taken
    first.stop()


def test_a_node_that_cannot_start_ends_everything_with_its_last_words(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start("--config", cluster_file(tmp_path, "slow", "broken"))
    exit_code, output = up.wait()
    assert exit_code == 1
    assert "broken ended with exit code 3" in output
    assert "    this node is broken" in output
    assert not (up.directory / "endpoints.json").exists()


def test_a_cluster_that_is_not_ready_in_time_is_ended(start: Callable[..., Up], tmp_path: Path) -> None:
    exit_code, output = start("--config", cluster_file(tmp_path, "slow"), "--timeout", "1").wait()
    assert exit_code == 1
    assert "not ready after 1 s" in output


def test_a_start_can_be_stopped(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start("--config", cluster_file(tmp_path, "slow"))
    wait_for((up.directory / "slow" / "node.log").exists)
    assert up.stop()[0] == 0


def test_a_node_that_is_lost_is_reported_and_the_others_go_on(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start("--config", cluster_file(tmp_path, "a", "b"))
    pids = {node["name"]: node["pid"] for node in up.endpoints()["nodes"]}
    os.kill(pids["a"], signal.SIGKILL)
    wait_for(lambda: not is_alive(pids["a"]))
    assert is_alive(pids["b"])
    assert up.process.poll() is None
    exit_code, output = up.stop()
    assert exit_code == 1
    assert "a was ended by SIGKILL" in output
    assert not is_alive(pids["b"])


def test_a_node_that_ignores_sigterm_is_killed_by_the_second_one(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start("--config", cluster_file(tmp_path, "stubborn"))
    (node,) = up.endpoints()["nodes"]
    up.process.send_signal(signal.SIGTERM)
    wait_for(lambda: not (up.directory / "endpoints.json").exists() or up.process.poll() is not None)
    exit_code, output = up.stop()
    assert exit_code == 0
    assert "stubborn did not end when asked to, and was killed" in output
    assert not is_alive(node["pid"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_nodes_end_with_an_up_that_was_killed(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start("--config", cluster_file(tmp_path, "a", "b"))
    pids = [node["pid"] for node in up.endpoints()["nodes"]]
    up.process.kill()
    wait_for(lambda: not any(is_alive(pid) for pid in pids))


def test_the_network_runs_alone_for_nodes_that_something_else_starts(tmp_path: Path) -> None:
    port = free_port()
    file = Path(cluster_file(tmp_path, "a", "b"))
    raw = yaml.safe_load(file.read_text())
    raw["nodes"][1]["dial"] = {"a": f"wan.example:{port}"}
    file.write_text(yaml.safe_dump(raw))
    command = [sys.executable, "-m", "upstash_global", "wan", "run", "--config", str(file), "--data-dir", str(tmp_path)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        wait_for(lambda: (tmp_path / "wan.json").exists() or process.poll() is not None)
        result = CliRunner().invoke(cli, ["wan", "show", "--data-dir", str(tmp_path), "-o", "json"])
        (link,) = json.loads(result.stdout)
        assert (link["from"], link["to"], link["listen"]) == ("sa-east-1", "a", f"127.0.0.1:{port}")
        process.terminate()
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait(LIMIT_S)
