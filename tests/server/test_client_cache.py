"""redis-py's client-side cache, pointed at a replica: what it keeps is what the replica answered, until that changes.

redis-py asks for a server that calls itself 7.4 before it caches; nothing it then does came with that version.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.server.serving import Served, config, wait_for

redis_cache = pytest.importorskip("redis.cache")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    settings = config(names=("one", "two"))
    with (
        Served(tmp_path_factory.mktemp("one"), settings, "one") as leader,
        Served(tmp_path_factory.mktemp("two"), settings, "two") as replica,
    ):
        yield leader, replica


@pytest.fixture
def cached(pair: tuple[Served, Served], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the replica with a cache."""
    monkeypatch.setattr(redis.connection.CacheProxyConnection, "MIN_ALLOWED_VERSION", "7.2.0")
    with pair[1].redis(protocol=3, cache_config=redis_cache.CacheConfig()) as client:
        client.flushall()
        yield client


def n_gets(served: Served) -> int:
    with served.redis() as client:
        stats = client.info("commandstats")
    return int(stats.get("cmdstat_get", {"calls": 0})["calls"])


def test_a_cached_key_is_not_asked_for_again(pair: tuple[Served, Served], cached: Any) -> None:
    cached.set("k", "1")
    assert cached.get("k") == b"1"
    before = n_gets(pair[1])
    assert [cached.get("k") for _ in range(10)] == [b"1"] * 10
    assert n_gets(pair[1]) == before


def test_a_write_in_another_region_reaches_the_cache(pair: tuple[Served, Served], cached: Any) -> None:
    cached.set("k", "1")
    assert cached.get("k") == b"1"
    with pair[0].redis() as elsewhere:
        elsewhere.set("k", "2")
    wait_for(lambda: cached.get("k") == b"2")


def test_an_own_write_reaches_the_own_cache(cached: Any) -> None:
    for n in range(20):
        cached.set("k", n)
        assert cached.get("k") == b"%d" % n


def test_a_flush_reaches_the_cache(pair: tuple[Served, Served], cached: Any) -> None:
    cached.set("k", "1")
    assert cached.get("k") == b"1"
    with pair[0].redis() as elsewhere:
        elsewhere.flushall()
    wait_for(lambda: cached.get("k") is None)
