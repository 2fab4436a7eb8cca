"""Clients near São Paulo follow the nearest node, in Python and JavaScript, while it stops, dies and loses the leader.

The distance between the clients and each node is simulated too: nodes advertise the REST addresses of delay proxies.
"""

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import pytest
import upstash_redis.asyncio

import upstash_global
from tests.cluster.running import LIMIT_S, Running, wait_for
from tests.cluster.sdk import VERSIONS, prepare
from tests.ports import base_port
from upstash_global.config import Address, Advertise, Config, Credentials, Tokens, Wan, default_config, to_yaml
from upstash_global.nearest import AsyncNearest, Place
from upstash_global.server.wan import Link

pytestmark = pytest.mark.cluster

HOME: Final = "sa-east-1"
LAST_MILE_MS: Final = 4.0
LAG_BUDGET_MS: Final = 2_000
HELPER: Final = Path(upstash_global.__file__).parent / "clients" / "nearest.mjs"  # as it was installed


class ClientPlace:
    """The ways from a place near a region to every node's REST listener, each as long as from that region."""

    def __init__(self, config: Config, region: str) -> None:
        self.config = config
        self.region = region
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Config:
        """The configuration in which nodes are found through these ways."""
        self.thread.start()
        return asyncio.run_coroutine_threadsafe(self._open(), self.loop).result(LIMIT_S)

    async def _open(self) -> Config:
        self.links = []
        nodes = []
        for node in self.config.nodes:
            link = Link("clients", node.name, node.region, Address("127.0.0.1:0"), node.rest, Random(1))
            link.set_distance((self.config.wan.rtt(self.region, node.region) or 0) + LAST_MILE_MS, 0, 0)
            await link.open()
            self.links.append(link)
            nodes.append(replace(node, advertise=Advertise(rest=link.listen)))
        return replace(self.config, nodes=tuple(nodes))

    async def _close(self) -> None:
        for link in self.links:
            await link.close()

    def __exit__(self, *failure: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(LIMIT_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(LIMIT_S)
        self.loop.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("nearest")
    credentials = Credentials("password", Tokens("standard", "reader"), "peers", "admin")
    config = replace(default_config(base_port(), credentials), edges=())
    with ClientPlace(config, HOME) as found:
        file = directory / "cluster.yaml"
        file.write_text(to_yaml(found, reveal_secrets=True))
        with Running(directory, "--config", str(file)) as running:
            yield running


def urls(cluster: Running) -> list[str]:
    """What a client is given: two nodes far away."""
    return [cluster.places[name].rest for name in ("leader", "ap-southeast-1")]


def test_a_node_ranks_all_by_the_distances_it_has_measured(cluster: Running) -> None:
    def rows() -> list[dict[str, Any]]:
        answer = json.loads(cluster.cli("nearest", HOME, "-o", "json").stdout)
        assert (answer["node"], answer["leader"]) == (HOME, "leader")
        return list(answer["nodes"])

    seen: list[dict[str, Any]] = []

    def are_ranked() -> bool:
        seen[:] = rows()
        regions = [HOME, "us-east-1", "us-east-1", "us-west-2", "eu-central-1", "ap-southeast-1"]
        known = [row["region"] for row in seen if row["rtt_ms"] is not None and row["state"] == "streaming"]
        return known == regions  # each was asked at least once since it serves

    wait_for(are_ranked, cluster.report)
    for row in seen[1:]:
        assert row["rtt_ms"] >= (Wan().rtt(HOME, row["region"]) or 0)
        assert row["url"] == cluster.places[row["name"]].rest
        assert row["fits"]


def test_a_client_leaves_the_nearest_node_when_it_stops_dies_or_falls_behind(cluster: Running) -> None:
    """One application reads without a pause, and no read fails. Its node is stopped (it hangs, and nobody is told), killed,
    and cut off from the leader, which makes it older than the lag budget; each time the application goes elsewhere, and comes
    home when that is over."""

    def client(place: Place) -> "upstash_redis.asyncio.Redis":
        return upstash_redis.asyncio.Redis(place.url, cluster.token, rest_retries=0, allow_telemetry=False)

    with cluster.redis("leader") as leader:
        leader.set("greeting", "hello")
    cluster.settle()

    async def story() -> None:
        async with AsyncNearest(
            urls(cluster),
            cluster.read_token,
            client=client,
            failures=(httpx.TransportError,),
            lag_budget_ms=LAG_BUDGET_MS,
        ) as nearest:

            async def read_until(holds: Callable[[], bool]) -> None:
                while not holds():
                    assert await nearest.run(lambda db: db.get("greeting")) == "hello"

            def is_home() -> bool:
                return nearest.place.name == HOME

            def is_away() -> bool:
                return not is_home()

            def is_left_for_the_next() -> bool:
                return nearest.place.region == "us-east-1"

            def is_left_for_its_age() -> bool:
                return is_away() and home.is_up and (home.staleness_ms or 0) > LAG_BUDGET_MS

            await read_until(is_home)
            home = nearest.place
            assert home.rtt_ms is not None and home.rtt_ms >= LAST_MILE_MS

            os.kill(cluster.places[HOME].pid, signal.SIGSTOP)
            try:
                await read_until(is_left_for_the_next)
                assert home.problem == "no answer in time"
            finally:
                os.kill(cluster.places[HOME].pid, signal.SIGCONT)
            await read_until(is_home)

            cluster.cli("wan", "cut", HOME, "--mode", "drop")
            await read_until(is_left_for_its_age)
            cluster.cli("wan", "heal")
            await read_until(is_home)

            cluster.end(HOME, signal.SIGKILL)
            await read_until(is_away)
            cluster.start(HOME)
            await read_until(is_home)

    asyncio.run(asyncio.wait_for(story(), LIMIT_S))


def test_writes_run_once_wherever_they_end_up(cluster: Running) -> None:
    """The same with @upstash/redis, in several versions: it counts up while its node is stopped and killed. No request fails,
    each answer is one more than the last, and the counter is what the application counted."""
    script = prepare("nearest.mjs")
    given = {
        "token": cluster.token,
        "urls": urls(cluster),
        "helper": HELPER.as_uri(),
        "packages": VERSIONS,
        "limit_ms": LIMIT_S * 1000,
    }
    application = subprocess.Popen(
        ["node", script.name, json.dumps(given)],
        cwd=script.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with application:
        assert application.stdin is not None and application.stdout is not None
        lines = iter(application.stdout.readline, "")

        def next_place() -> str:
            return str(json.loads(next(lines))["place"])

        try:
            while next_place() != HOME:
                pass
            pid = pid_of(cluster, HOME)
            os.kill(pid, signal.SIGSTOP)
            try:
                assert next_place() != HOME
            finally:
                os.kill(pid, signal.SIGCONT)
            while next_place() != HOME:
                pass
            cluster.end(HOME, signal.SIGKILL)
            assert next_place() != HOME
            cluster.start(HOME)
            while next_place() != HOME:
                pass
            application.stdin.close()
            report: dict[str, Any] = {}
            for line in lines:
                report = json.loads(line)
        finally:
            application.kill()
    assert report["failures"] == []
    assert report["fetched"] == [200, ["result"]]
    for package in VERSIONS:
        answers = report["counted"][package]
        assert answers == list(range(1, len(answers) + 1)) and answers, package
        assert report["values"][package] == len(answers), package


def pid_of(cluster: Running, name: str) -> int:
    process = cluster.restarted.get(name)
    return cluster.places[name].pid if process is None else process.pid
