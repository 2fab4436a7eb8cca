"""Commands that need no cluster."""

import json
import platform
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from upstash_global import __version__
from upstash_global.cli.main import cli
from upstash_global.cli.output import bytes_text, duration_text
from upstash_global.replication.log import DATA, ReplicationLog
from upstash_global.server.disk import DiskStorage

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example.yaml"
SECRETS = {name: name.lower() for name in ("PASSWORD", "TOKEN", "READ_ONLY_TOKEN", "CLUSTER_SECRET", "ADMIN_TOKEN")}


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, env=env)


def test_every_command_has_help() -> None:
    listed = run("--help").stdout
    for command in [
        "completion",
        "config",
        "lag",
        "log",
        "node",
        "promote",
        "snapshot",
        "status",
        "switchover",
        "topology",
        "up",
        "version",
        "wan",
    ]:
        assert f"  {command} " in listed
        assert run(command, "--help").exit_code == 0


def test_an_unknown_command_is_wrong_usage() -> None:
    assert run("start").exit_code == 2


def test_version() -> None:
    assert __version__ in run("version").stdout
    assert json.loads(run("version", "-o", "json").stdout)["python"] == platform.python_version()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    assert "_UPSTASH_GLOBAL_COMPLETE" in run("completion", shell).stdout


def test_a_valid_configuration_exits_with_0() -> None:
    result = run("config", "validate", str(EXAMPLE), env=SECRETS)
    assert result.exit_code == 0, result.output
    assert "6 nodes in 5 regions" in result.stdout


def test_an_invalid_configuration_lists_all_mistakes_and_exits_with_1(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("cluster: {id: a, leadr: b}\n")
    result = run("config", "validate", str(file))
    assert result.exit_code == 1
    assert "cluster.leadr: unknown key; the nearest valid one is leader" in result.stderr
    assert "nodes: is missing" in result.stderr


def test_config_show_masks_secrets_unless_asked() -> None:
    masked = run("config", "show", str(EXAMPLE), env=SECRETS).stdout
    assert yaml.safe_load(masked)["credentials"]["password"] == "***"
    revealed = run("config", "show", str(EXAMPLE), "--reveal-secrets", "-o", "json", env=SECRETS).stdout
    assert json.loads(revealed)["credentials"]["password"] == "password"


def test_node_checks_its_configuration_before_anything_else(tmp_path: Path) -> None:
    assert run("node", "--config", str(tmp_path / "none.yaml"), "--name", "a").exit_code == 1
    result = run("node", "--config", str(EXAMPLE), "--name", "mars", env=SECRETS)
    assert result.exit_code == 1
    assert "none is named mars" in result.stderr


def test_the_network_is_not_found_where_none_runs(tmp_path: Path) -> None:
    assert run("wan", "show", "--data-dir", str(tmp_path)).exit_code == 3


def test_up_takes_ports_from_one_place_only() -> None:
    assert run("up", "--config", str(EXAMPLE), "--base-port", "7000").exit_code == 2


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB"), (5 << 40, "5120.0 GiB")],
)
def test_bytes_in_words(n_bytes: int, text: str) -> None:
    assert bytes_text(n_bytes) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 ms"), (999, "999 ms"), (61_000, "61 s"), (600_000, "10 min"), (7_200_000, "2 h"), (864e5 * 3, "3 d")],
)
def test_durations_in_words(milliseconds: float, text: str) -> None:
    assert duration_text(milliseconds) == text


# -- the log of a node at rest ----------------------------------------------------------------------------------------

AT_MS = 1_700_000_000_000


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A data directory: an epoch, and three writes behind it."""
    storage = DiskStorage(tmp_path / "node", "test", lambda: AT_MS)
    storage.recover()
    log = ReplicationLog()
    storage.append([log.begin_epoch(1, AT_MS, "leader").record])
    for n in range(1, 4):
        storage.append([log.append(AT_MS + n, DATA, [[b"SET", b"k", b"value %d" % n]], {}).record])
    storage.sync()
    storage.close()
    return tmp_path / "node"


def segment(node: Path) -> Path:
    (only,) = (node / "log").glob("*.log")
    return only


def damage(node: Path) -> str:
    """Change one letter of the second write, and answer how the place of its record is told."""
    data = bytearray(segment(node).read_bytes())
    at = data.index(b"value 2")
    start = data.rindex(b"UGLR", 0, at)
    data[at] ^= 0x20
    segment(node).write_bytes(data)
    return f"segment {segment(node).name}, byte {start}, LSN 3"


def test_log_dump_prints_every_entry(node: Path) -> None:
    lines = run("log", "dump", str(node)).stdout.splitlines()
    assert [line.split(maxsplit=1)[1].strip() for line in lines[1:]] == [
        f'{n + 1} 2023-11-14T22:13:20.00{n}Z data   SET k "value {n}"' for n in (1, 2, 3)
    ]


def test_log_dump_for_programs_is_a_line_per_entry_also_of_one_file(node: Path) -> None:
    for place in (node, segment(node)):
        result = run("log", "dump", str(place), "-o", "json")
        assert result.exit_code == 0, result.output
        entries = [json.loads(line) for line in result.stdout.splitlines()]
        assert [(each["lsn"], each["kind"]) for each in entries] == [
            (1, "epoch"),
            (2, "data"),
            (3, "data"),
            (4, "data"),
        ]
        assert entries[-1]["commands"] == [["SET", "k", "value 3"]]


def test_log_verify_of_a_whole_log(node: Path) -> None:
    result = run("log", "verify", str(node))
    assert (result.exit_code, result.stdout) == (0, "every entry is whole and in its place\n")
    assert json.loads(run("log", "verify", str(node), "-o", "json").stdout) == {"problems": []}


def test_log_verify_names_segment_byte_and_lsn_of_a_damage_and_exits_with_1(node: Path) -> None:
    place = damage(node)
    result = run("log", "verify", str(node), "-o", "json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert place in problem
    assert place in re.sub(r"\s+", " ", run("log", "verify", str(node)).stdout)
    assert "1 problem" in result.stderr


def test_log_dump_prints_what_is_whole_and_then_names_the_damage(node: Path) -> None:
    place = damage(node)
    result = run("log", "dump", str(node), "-o", "json")
    assert result.exit_code == 1
    assert [json.loads(line)["lsn"] for line in result.stdout.splitlines()] == [1, 2]
    assert place in result.stderr


def test_log_verify_names_a_torn_tail(node: Path) -> None:
    with segment(node).open("r+b") as file:
        file.truncate(segment(node).stat().st_size - 1)
    result = run("log", "verify", str(node), "-o", "json")
    assert result.exit_code == 1
    assert "LSN 4" in json.loads(result.stdout)["problems"][0]
