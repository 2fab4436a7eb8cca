"""The cluster of docker-compose.yml in a real Docker engine: written in one region, read in five, far apart.

The image is built and the services are started once for the module. Times are judged by what distance alone enforces, so
a slow machine passes too.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.compose.cluster import EDGES, NODES, REPLICAS, SERVICES, Cluster, running_cluster
from tests.compose.engine import NoEngine, docker_engine
from tests.compose.images import build_product

pytestmark = pytest.mark.compose

SINGAPORE_RTT_MS: Final = 214  # to the leader
USER: Final = "10001"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    try:
        with docker_engine() as engine, running_cluster(engine, build_product(engine)) as services:
            yield services
    except NoEngine as reason:
        pytest.skip(str(reason))


def wait_for_replicas(cluster: Cluster) -> None:
    """Return when all five have applied what the leader has applied by now."""
    leader = cluster.redis("leader")
    leader.set("barrier", time.time())
    assert leader.wait(len(REPLICAS), 30_000) == len(REPLICAS)


def test_a_write_by_redis_protocol_in_one_region_is_read_in_all(cluster: Cluster) -> None:
    cluster.redis("sa-east-1").set("greeting", "bom dia")
    wait_for_replicas(cluster)
    assert {node: cluster.redis(node).get("greeting") for node in NODES} == dict.fromkeys(NODES, "bom dia")


def test_a_write_by_rest_in_one_region_is_read_in_all(cluster: Cluster) -> None:
    assert cluster.rest("eu-central-1", "SET", "greeting", "guten Tag") == "OK"
    wait_for_replicas(cluster)
    assert {node: cluster.rest(node, "GET", "greeting") for node in NODES} == dict.fromkeys(NODES, "guten Tag")


def test_a_write_in_singapore_takes_the_round_trip_to_the_leader_and_a_read_does_not(cluster: Cluster) -> None:
    singapore = cluster.redis("ap-southeast-1")
    assert milliseconds_of(lambda: singapore.set("far", "away")) >= SINGAPORE_RTT_MS
    # The quickest of several: a busy machine delays some, but distance would delay each.
    assert min(milliseconds_of(lambda: singapore.get("far")) for _ in range(20)) < SINGAPORE_RTT_MS / 2


def test_lag_shows_the_distance_while_writes_flow(cluster: Cluster) -> None:
    """Asked as a user does, by the command line of the machine that the containers run on."""
    with steady_writes(cluster):
        wait_for_replicas(cluster)
        lags = {row["node"]: row["lag_ms"] for row in cluster.command("lag")}
    assert set(lags) == set(REPLICAS)
    assert lags["ap-southeast-1"] >= SINGAPORE_RTT_MS / 2


def test_a_write_ends_what_the_edges_keep(cluster: Cluster) -> None:
    for value in ("old", "new"):
        cluster.redis("us-west-2").set("at:edges", value)
        wait_for_replicas(cluster)
        lsn = cluster.command("status", "leader")[0]["position"]["lsn"]
        for edge in EDGES:
            while cluster.command("status", edge)[0]["position"]["lsn"] < lsn:
                time.sleep(0.05)
            states = ["miss", "hit"] if value == "old" else ["hit", "hit"]  # the log has said the new value
            assert [cluster.edge_get(edge, "/get/at:edges") for _ in range(2)] == [(state, value) for state in states]


def test_every_container_runs_as_a_plain_user(cluster: Cluster) -> None:
    assert {cluster.run(service, "id", "-u").strip() for service in SERVICES} == {USER}


def test_data_outlives_the_containers_and_these_end_cleanly(cluster: Cluster) -> None:
    """Write, stop everything by SIGTERM, remove the containers, start new ones on the same volumes, read everywhere."""
    cluster.redis("us-west-2").set("kept", "yes")
    containers = [cluster.container(service) for service in SERVICES]
    cluster.compose("stop")
    exits = cluster.engine.docker("inspect", "--format", "{{.State.ExitCode}}", *containers).split()
    assert exits == ["0"] * len(containers)
    cluster.up("--force-recreate")
    wait_for_replicas(cluster)
    assert {node: cluster.redis(node).get("kept") for node in NODES} == dict.fromkeys(NODES, "yes")


@contextmanager
def steady_writes(cluster: Cluster) -> Iterator[None]:
    """Some fifty writes a second at the leader, for as long as the block runs."""
    over = threading.Event()
    leader = cluster.redis("leader")

    def write() -> None:
        while not over.wait(0.02):
            leader.incr("steady")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


def milliseconds_of(request: Callable[[], object]) -> float:
    start = time.monotonic()
    request()
    return (time.monotonic() - start) * 1000
