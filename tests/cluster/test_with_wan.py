"""A cluster with the distances between five regions: every client reads its own writes at the nearest node."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.request import Request

import pytest

from tests.cluster import stories
from tests.cluster.running import LIMIT_S, Running, fetch, no_proxy, wait_for
from upstash_global.config import Wan

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


@pytest.mark.parametrize(
    "consistency, region",
    [("session", "sa-east-1"), ("bounded; max-staleness-ms=60000", "sa-east-1"), ("leader", "us-east-1")],
)
def test_a_receipt_names_the_region_that_answered(cluster: Running, consistency: str, region: str) -> None:
    cluster.rest("sa-east-1", "set", "receipt:key", consistency)
    request = Request(f"{cluster.places['sa-east-1'].rest}/get/receipt:key")
    request.add_header("Authorization", f"Bearer {cluster.token}")
    request.add_header("Upstash-Consistency", consistency)
    with no_proxy.open(request, timeout=LIMIT_S) as response:
        assert json.load(response) == {"result": consistency}
        assert response.headers["Upstash-Region"] == region
        assert int(response.headers["Upstash-Staleness-Ms"]) <= 60_000


# What distance alone enforces: a slow machine makes nothing quicker.


def rtt_ms(cluster: Running, one: str, other: str) -> float:
    """What is simulated between the regions of two nodes."""
    rtt = Wan().rtt(cluster.places[one].region, cluster.places[other].region)
    assert rtt is not None
    return rtt


def milliseconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return (time.monotonic() - began) * 1000


def test_a_write_in_singapore_costs_a_round_trip_to_the_leader(cluster: Running) -> None:
    needed_ms = rtt_ms(cluster, "ap-southeast-1", cluster.leader())
    assert needed_ms > 200
    with cluster.redis("ap-southeast-1") as client:
        client.ping()  # connected
        assert min(milliseconds_of(partial(client.set, "far", n)) for n in range(5)) >= needed_ms
    assert min(milliseconds_of(partial(cluster.rest, "ap-southeast-1", "set", "far", n)) for n in range(5)) >= needed_ms


def test_a_read_at_a_replica_makes_no_trip(cluster: Running) -> None:
    """Counted, not timed."""

    def n_forwarded() -> int:
        text = cluster.ask("ap-southeast-1", "/metrics")[1]
        (line,) = [line for line in text.splitlines() if line.startswith("upstash_global_forwarded_commands_total ")]
        return int(float(line.split()[1]))

    with cluster.redis("ap-southeast-1") as client:
        client.set("near", "by")
        before = n_forwarded()
        assert before > 0
        for _ in range(50):
            assert client.get("near") == "by"
            assert cluster.rest("ap-southeast-1", "get", "near")[1] == {"result": "by"}
        assert n_forwarded() == before


def test_a_write_is_visible_in_sao_paulo_no_sooner_than_distance_allows(cluster: Running) -> None:
    """At the leader: one way from there. In Singapore: the way to the leader, and the one from there."""
    leader = cluster.leader()
    from_leader_ms = rtt_ms(cluster, leader, "sa-east-1") / 2
    to_leader_ms = rtt_ms(cluster, "ap-southeast-1", leader) / 2
    for name, needed_ms in ((leader, from_leader_ms), ("ap-southeast-1", to_leader_ms + from_leader_ms)):
        for n in range(5):
            assert seen_after_ms(cluster, name, f"{name} {n}") >= needed_ms


def seen_after_ms(cluster: Running, name: str, value: str) -> float:
    """From the moment that a write is sent to a node until São Paulo first answers with it."""
    with cluster.redis("sa-east-1") as reader, cluster.redis(name) as writer, ThreadPoolExecutor(1) as thread:
        reader.ping()
        writer.ping()
        began = time.monotonic()
        written = thread.submit(writer.set, "seen", value)
        while reader.get("seen") != value:  # without a pause, which would pass for distance
            assert time.monotonic() - began < LIMIT_S, cluster.report()
        seen = time.monotonic()
        assert written.result(LIMIT_S)
    return (seen - began) * 1000


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


def test_a_write_in_one_region_ends_what_the_edges_of_all_regions_keep(cluster: Running) -> None:
    _, states = [assert_edges_follow(cluster, "leader", number) for number in ("1", "2")]
    assert set(states) == {"hit"}, "what was asked for after the first write, the log renewed at the second"


def assert_edges_follow(cluster: Running, leader: str, value: str) -> list[str]:
    """Written at the leader, and seen at each edge once that has applied it; how their caches took part in GET.

    What the log does not say whole each edge asks of its node, and then keeps the answer.
    """
    states = []
    with cluster.redis(leader) as client:
        client.set("edge:key", value)
        client.hset("edge:hash", "field", value)
    written = cluster.status(leader)["position"]

    def has_arrived(region: str) -> bool:
        position = cluster.edge_status(region)["position"]
        return bool(position["epoch"] == written["epoch"] and position["lsn"] >= written["lsn"])

    for region in cluster.edges:
        wait_for(lambda: has_arrived(region), cluster.report)  # noqa: B023
        answers = [cluster.edge_get(region, "/hget/edge:hash/field") for _ in range(2)]
        assert answers == [(200, state, {"result": value}) for state in ("miss", "hit")], region
        status, state, body = cluster.edge_get(region, "/get/edge:key")
        assert (status, body) == (200, {"result": value}), region
        states.append(state)
    return states


def test_edges_are_shown_and_can_be_purged(cluster: Running) -> None:
    for region in cluster.edges:
        cluster.edge_get(region, "/get/edge:key")
    purged = json.loads(cluster.cli("edge", "purge", "--key", "edge:key", "-o", "json").stdout)
    assert {row["edge"] for row in purged} == {edge.name for edge in cluster.edges.values()}
    assert all(row["dropped"] == 1 for row in purged)
    statuses = json.loads(cluster.cli("status", "-o", "json").stdout)
    edges = {each["node"]: each["state"] for each in statuses if each["role"] == "edge"}
    assert edges == {edge.name: "streaming" for edge in cluster.edges.values()}
    assert "edge-sa-east-1" in cluster.cli("topology").stdout
    assert cluster.cli("edge", "purge").returncode == 2


def test_edges_go_on_under_another_leader(cluster: Running) -> None:
    for target in ("us-west-2", "leader"):
        assert cluster.cli("switchover", "--to", target).returncode == 0
        assert cluster.leader() == target
        assert_edges_follow(cluster, target, f"led by {target}")


def test_no_edge_goes_back_in_time_whatever_happens_to_its_node(cluster: Running) -> None:
    """A counter counts up; its region is cut off, healed, its replica killed and started again. Who reads at the edge, with or
    without an answer from the cache, never sees a smaller number than before, and in the end the last one."""
    region = "sa-east-1"
    seen = [0]

    def read() -> None:
        status, _, answer = cluster.edge_get(region, "/get/edge:counter")
        if status == 200 and answer["result"] is not None:
            seen.append(int(answer["result"]))

    with cluster.redis("leader") as client:

        def count() -> None:
            client.incr("edge:counter")
            read()

        for _ in range(30):
            count()
        cluster.cli("wan", "cut", region)
        for _ in range(30):
            count()
        cluster.cli("wan", "heal")
        for _ in range(30):
            count()
        cluster.end(region, signal.SIGKILL)
        for _ in range(30):
            count()
        cluster.start(region)
        last = int(client.incr("edge:counter"))

        def has_arrived() -> bool:
            read()
            return seen[-1] == last

        wait_for(has_arrived, cluster.report)
    assert seen == sorted(seen)


def _get(cluster: Running, name: str, key: str, token: str) -> tuple[int, object]:
    request = Request(f"{cluster.places[name].rest}/get/{key}")
    request.add_header("Authorization", f"Bearer {cluster.token}")
    request.add_header("Upstash-Sync-Token", token)
    return fetch(request)
