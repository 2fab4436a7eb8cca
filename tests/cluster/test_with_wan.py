"""A cluster with the distances between five regions: every client reads its own writes at the nearest node."""

import json
from collections.abc import Iterator
from urllib.request import Request

import pytest

from tests.cluster import stories
from tests.cluster.running import Running, fetch, wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("wan"), "--wan") as running:
        yield running


def test_redis_cli(cluster: Running) -> None:
    stories.redis_cli(cluster)


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(cluster: Running, protocol: int) -> None:
    stories.redis_py(cluster, protocol)


def test_upstash_redis(cluster: Running) -> None:
    stories.upstash_sync(cluster)


def test_upstash_redis_asyncio(cluster: Running) -> None:
    stories.upstash_async(cluster)


def test_upstash_redis_javascript(cluster: Running) -> None:
    stories.upstash_javascript(cluster)


def test_every_group_of_the_python_client(cluster: Running) -> None:
    stories.every_group_in_python(cluster)


def test_every_group_of_the_javascript_client(cluster: Running) -> None:
    stories.every_group_in_javascript(cluster)


def test_a_worker_in_the_workers_runtime(cluster: Running) -> None:
    stories.a_worker_reads_at_the_nearest_node(cluster)


def test_curl(cluster: Running) -> None:
    stories.curl(cluster)


def test_all_are_equal_and_idle(cluster: Running) -> None:
    stories.all_are_equal_and_idle(cluster)


def test_a_token_of_one_region_is_honoured_in_another(cluster: Running) -> None:
    """Written in São Paulo, read in Singapore with the token of the write: never older than it."""
    for n in range(5):
        _, _, headers = cluster.rest("sa-east-1", "set", "token:key", n)
        token = headers["upstash-sync-token"]
        status, answer = _get(cluster, "ap-southeast-1", "token:key", token)
        assert (status, answer) == (200, {"result": str(n)})


def test_lag_is_at_least_one_way_under_load_and_zero_when_idle(cluster: Running) -> None:
    def lags() -> dict[str, int]:
        rows = json.loads(cluster.cli("lag", "-o", "json").stdout)
        return {row["node"]: row["lag_ms"] for row in rows}

    with cluster.redis("leader") as client:

        def is_seen() -> bool:
            for n in range(200):
                client.set("load", n)
            return lags()["ap-southeast-1"] >= 107  # half of the simulated round trip

        wait_for(is_seen, cluster.report)
    wait_for(lambda: set(lags().values()) == {0}, cluster.report)


def _get(cluster: Running, name: str, key: str, token: str) -> tuple[int, object]:
    request = Request(f"{cluster.places[name].rest}/get/{key}")
    request.add_header("Authorization", f"Bearer {cluster.token}")
    request.add_header("Upstash-Sync-Token", token)
    return fetch(request)
