"""The Python helper against real nodes: what it follows, and what becomes of requests when a node stops or hangs.

Both nodes are as near; the replica is used, since the leader has a handicap. No time is measured.
"""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.server.serving import LIMIT_S, PASSWORD, READ_TOKEN, TOKEN, Served, config, wait_for
from upstash_global.config import Config
from upstash_global.nearest import AsyncNearest, Lost, Nearest, Place

LOST = (redis.ConnectionError, redis.TimeoutError)


@pytest.fixture
def settings() -> Config:
    return config(names=("one", "two"))


@pytest.fixture
def leader(settings: Config, tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path / "one", settings, "one") as served:
        yield served


@pytest.fixture
def replica(settings: Config, tmp_path: Path, leader: Served) -> Iterator[Served]:
    with Served(tmp_path / "two", settings, "two") as served:
        yield served


def url(settings: Config, name: str) -> str:
    return f"http://{settings.node(name).rest}"


def redis_at(place: Place) -> "redis.Redis":
    """Without redis-py's own retries, which would try a lost node for seconds."""
    return redis.Redis(
        host=place.host, port=place.port, password=PASSWORD, socket_timeout=LIMIT_S, retry=Retry(NoBackoff(), 0)
    )


def test_one_url_is_enough_to_know_all_nodes(settings: Config, leader: Served, replica: Served) -> None:
    with Nearest[object]([url(settings, "one")], READ_TOKEN) as nearest:
        wait_for(lambda: [place.is_up for place in nearest.places()] == [True, True])
        places = {place.name: place for place in nearest.places()}
        assert {name: place.url for name, place in places.items()} == {
            name: url(settings, name) for name in ("one", "two")
        }
        assert (places["one"].role, places["two"].role) == ("leader", "replica")
        assert (places["two"].host, places["two"].port) == ("127.0.0.1", replica.resp)
        assert all(place.rtt_ms is not None and place.rtt_ms > 0 for place in places.values())


def test_a_wrong_token_is_told(settings: Config, leader: Served) -> None:
    with Nearest[object]([url(settings, "one")], "wrong") as nearest:
        assert not nearest.place.is_up
        assert "401" in nearest.place.problem and "WRONGPASS" in nearest.place.problem


def test_threads_go_on_elsewhere_when_a_node_stops_and_come_back(
    settings: Config, leader: Served, tmp_path: Path
) -> None:
    nearest: Nearest[redis.Redis]
    with Nearest([url(settings, "one")], TOKEN, client=redis_at, failures=LOST) as nearest:
        for _ in range(2):
            with Served(tmp_path / "two", settings, "two"):
                wait_for(lambda: nearest.place.name == "two")
                nearest.run(lambda db: db.set("k", "v"))
            assert nearest.run(lambda db: db.get("k")) == b"v"
            wait_for(lambda: nearest.place.name == "one")


def test_what_must_not_run_twice_fails_and_the_next_request_goes_elsewhere(
    settings: Config, leader: Served, replica: Served
) -> None:
    nearest: Nearest[redis.Redis]
    with Nearest([url(settings, "one")], TOKEN, client=redis_at, failures=LOST) as nearest:
        wait_for(lambda: nearest.place.name == "two")
        asked: list[object] = []

        def fail(db: "redis.Redis") -> None:
            asked.append(db)
            raise redis.ConnectionError("lost")

        with pytest.raises(redis.ConnectionError):
            nearest.run(fail, again=False)
        assert len(asked) == 1
        assert nearest.run(lambda db: db.connection_pool.connection_kwargs["port"]) == leader.resp


def test_a_request_under_way_at_a_node_that_hangs_is_run_elsewhere(
    settings: Config, leader: Served, replica: Served
) -> None:
    released = threading.Event()

    async def story() -> None:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:

            async def ask(place: Place) -> tuple[str, object]:
                async with session.get(f"{place.url}/dbsize") as response:
                    return place.name, await response.json()

            async with AsyncNearest(
                [url(settings, "one")], TOKEN, client=lambda place: place, failures=(aiohttp.ClientError,)
            ) as nearest:
                while nearest.place.name != "two":
                    await asyncio.sleep(0.01)
                assert await nearest.run(ask) == ("two", {"result": 0})
                replica.loop.call_soon_threadsafe(released.wait)
                once = asyncio.create_task(nearest.run(ask, again=False))
                assert await nearest.run(ask) == ("one", {"result": 0})
                with pytest.raises(Lost, match="two went away before it answered"):
                    await once
                released.set()
                while nearest.place.name != "two":
                    await asyncio.sleep(0.01)
                assert await nearest.run(ask) == ("two", {"result": 0})

    try:
        asyncio.run(asyncio.wait_for(story(), LIMIT_S))
    finally:
        released.set()
