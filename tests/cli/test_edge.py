"""`upstash-global edge`: what it refuses, and purging over the admin ports of running edges."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.edge.serving import ServedEdge, with_edge
from upstash_global.cli.main import cli
from upstash_global.config import to_yaml


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "cluster.yaml"
    place.write_text(to_yaml(with_edge(), reveal_secrets=True))
    return place


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["edge", *map(str, arguments)])


def test_an_edge_needs_a_name_that_the_file_knows(file: Path) -> None:
    assert run().exit_code == 2
    assert run("--config", file).exit_code == 2
    unknown = run("--config", file, "--name", "one")
    assert unknown.exit_code == 1 and "edges: none is named one; there are edge" in unknown.output


def test_a_purger_is_for_nodes_that_tell_caches(file: Path) -> None:
    refused = run("purger", "--config", file, "--upstream", "one", "--varnish", "http://127.0.0.1:1")
    assert refused.exit_code == 1 and "surrogate: true" in refused.output
    unknown = run("purger", "--config", file, "--upstream", "two", "--varnish", "http://127.0.0.1:1")
    assert unknown.exit_code == 1 and "none is named two" in unknown.output


@pytest.mark.parametrize("wishes", [[], ["--key", "k", "--all"], ["--prefix", "p", "--key", "k"]])
def test_purging_wants_one_wish(file: Path, wishes: list[str]) -> None:
    assert run("purge", "--config", file, *wishes).exit_code == 2


def test_purging_reaches_every_edge_of_the_cluster(tmp_path: Path) -> None:
    settings = with_edge()
    place = tmp_path / "cluster.yaml"
    place.write_text(to_yaml(settings, reveal_secrets=True))
    with ServedEdge(tmp_path / "node", settings) as served:
        served.get("/get/user:1")
        purged = run("purge", "--config", place, "--prefix", "user:", "-o", "json")
        assert json.loads(purged.stdout) == [{"edge": "edge", "dropped": 1}]
        served.get("/get/user:1")
        assert run("purge", "--config", place, "--key", "user:1", "--edge", "edge").exit_code == 0
        assert run("purge", "--config", place, "--all", "--edge", "nobody").exit_code == 3
        assert served.get("/get/user:1")[0] == "miss"
    assert run("purge", "--config", place, "--all").exit_code == 6
