"""What is asked of a cluster with and without simulated distances alike: every client, in every region."""

import asyncio
import json
import shutil
import subprocess

import pytest
import upstash_redis
import upstash_redis.asyncio

from tests.cluster import groups
from tests.cluster.running import LIMIT_S, Running
from tests.cluster.sdk import VERSIONS, run_script


def redis_cli(cluster: Running) -> None:
    """redis-cli writes through every region; each value is read from all."""
    if shutil.which("redis-cli") is None:
        pytest.skip("redis-cli is not installed")

    def call(name: str, *words: str) -> str:
        place = cluster.places[name]
        done = subprocess.run(
            ["redis-cli", "-h", place.host, "-p", str(place.port), "--no-auth-warning", *words],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env=cluster.environment | {"REDISCLI_AUTH": cluster.password},
        )
        return done.stdout.strip()

    for name in cluster.places:
        assert call(name, "SET", f"cli:{name}", f"from {name}") == "OK"
        assert call(name, "-3", "GET", f"cli:{name}") == f"from {name}"
    cluster.settle()
    for name in cluster.places:
        assert [call(name, "GET", f"cli:{other}") for other in cluster.places] == [
            f"from {other}" for other in cluster.places
        ]


def redis_py(cluster: Running, protocol: int) -> None:
    for name in cluster.places:
        with cluster.redis(name, protocol=protocol) as client:
            client.hset(f"py:{protocol}:{name}", mapping={"region": cluster.places[name].region, "n": 1})
            assert client.hget(f"py:{protocol}:{name}", "n") == "1"
            with client.pipeline(transaction=True) as pipeline:
                pipeline.hincrby(f"py:{protocol}:{name}", "n", 41).hgetall(f"py:{protocol}:{name}")
                assert pipeline.execute() == [42, {"region": cluster.places[name].region, "n": "42"}]
    cluster.settle()
    for name in cluster.places:
        with cluster.redis(name, protocol=protocol) as client:
            for other, place in cluster.places.items():
                assert client.hgetall(f"py:{protocol}:{other}") == {"region": place.region, "n": "42"}


def upstash_sync(cluster: Running) -> None:
    def client(name: str) -> "upstash_redis.Redis":
        return upstash_redis.Redis(cluster.places[name].rest, cluster.token, allow_telemetry=False)

    for name in cluster.places:
        with client(name) as redis:
            for n in range(10):  # at once, with the distance between: the client sends its sync token
                redis.set(f"sync:{name}", n)
                assert redis.get(f"sync:{name}") == str(n)
            assert redis.zadd(f"sync:z:{name}", {"a": 1.5, "b": 2}) == 2
            assert redis.zrange(f"sync:z:{name}", 0, -1, withscores=True) == [("a", 1.5), ("b", 2.0)]
            pipeline = redis.pipeline()
            pipeline.incr(f"sync:n:{name}")
            pipeline.get(f"sync:n:{name}")
            assert pipeline.exec() == [1, "1"]
            transaction = redis.multi()
            transaction.rpush(f"sync:l:{name}", "a", "b")
            transaction.lrange(f"sync:l:{name}", 0, -1)
            assert transaction.exec() == [2, ["a", "b"]]
    cluster.settle()
    for name in cluster.places:
        with client(name) as redis:
            assert redis.mget(*(f"sync:{other}" for other in cluster.places)) == ["9"] * len(cluster.places)


def upstash_async(cluster: Running) -> None:
    async def story() -> None:
        async def write(name: str) -> None:
            async with upstash_redis.asyncio.Redis(
                cluster.places[name].rest, cluster.token, allow_telemetry=False
            ) as redis:
                for n in range(10):
                    await redis.set(f"async:{name}", n)
                    assert await redis.get(f"async:{name}") == str(n)
                assert await redis.incr("async:counter") > 0

        await asyncio.gather(*(write(name) for name in cluster.places))

    asyncio.run(story())
    cluster.settle()
    for name in cluster.places:
        with cluster.redis(name) as client:
            assert client.get("async:counter") == str(len(cluster.places))


def upstash_javascript(cluster: Running) -> None:
    n = len(cluster.places)
    report = run_script("sdk.mjs", token=cluster.token, urls=[place.rest for place in cluster.places.values()])
    assert report["stale"] == []
    assert report["heard"] == "hello, world"
    assert report["written"] == [
        {
            "length": 3,
            "list": ["a", "b", "c"],
            "transaction": [1, 1],
            "hash": {"field": "välue", "other": 2},
            "json": [{"region": index, "nested": [1, "two", None], "truth": True}, None],
        }
        for index in range(n)
    ]
    cluster.settle()
    for name in cluster.places:
        with cluster.redis(name) as client:
            assert client.get("js:counter") == str(2 * n)
            assert [client.zscore(f"js:zset:{index}", "a") for index in range(n)] == [1.5] * n


def every_group_in_python(cluster: Running) -> None:
    """Every group of commands of upstash-redis, at the node that is farthest from the leader."""
    assert groups.unused_methods() == groups.APART
    url = cluster.places["ap-southeast-1"].rest
    assert groups.wrong_answers(url, cluster.token) == []
    assert groups.wrong_answers_async(url, cluster.token) == []
    with upstash_redis.Redis(url, cluster.token, allow_telemetry=False) as redis:
        assert redis.script_flush() and redis.flushdb("ASYNC") and redis.flushall()
        assert redis.dbsize() == 0


def every_group_in_javascript(cluster: Running) -> None:
    """Every group of commands of @upstash/redis, in three versions, with @upstash/ratelimit and @upstash/lock."""
    url = cluster.places["ap-southeast-1"].rest
    report = run_script("groups.mjs", token=cluster.token, url=url, packages=VERSIONS)
    assert report["wrong"] == []
    assert all(report["checked"][version] > 200 for version in VERSIONS), report["checked"]


def a_worker_reads_at_the_nearest_node(cluster: Running) -> None:
    """In workerd: what it writes goes to the leader, what it reads does not, and its edge keeps what it read until then."""
    place = cluster.places["sa-east-1"]

    def forwards() -> str:
        _, metrics = cluster.ask(place.name, "/metrics")
        return str(next(line for line in metrics.splitlines() if line.startswith("upstash_global_forwarded_commands")))

    written = run_script("worker.mjs", token=cluster.token, url=place.rest, path="/write")
    assert written == {"seen": [{"n": n} for n in range(10)], "agent": "Cloudflare-Workers"}
    before = forwards()
    read = run_script("worker.mjs", token=cluster.token, url=place.rest, path="/read")
    assert read["seen"] == [{"n": 9}] * 10
    assert forwards() == before
    edge = cluster.edges[place.region]
    kept = run_script("worker.mjs", token=cluster.token, url=place.rest, edge=edge.url, path="/edge")
    assert kept["seen"] == [["miss", '{"n":9}'], ["hit", '{"n":9}']]
    assert kept["last"] == "changed"


def curl(cluster: Running) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    def call(name: str, path: str, *options: str) -> object:
        command = ["curl", "-sS", "--noproxy", "*", "-H", f"Authorization: Bearer {cluster.token}", *options]
        done = subprocess.run(
            [*command, cluster.places[name].rest + path], capture_output=True, text=True, timeout=LIMIT_S
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    for name in cluster.places:
        assert call(name, f"/set/curl:{name}?EX=1000", "-d", f"from {name}") == {"result": "OK"}
        assert call(name, f"/get/curl:{name}") == {"result": f"from {name}"}
        assert call(name, "/pipeline", "-d", f'[["incr","curl:n:{name}"],["ttl","nothing"]]') == [
            {"result": 1},
            {"result": -2},
        ]
    cluster.settle()
    for name in cluster.places:
        for other in cluster.places:
            assert call(name, f"/get/curl:{other}") == {"result": f"from {other}"}


def all_are_equal_and_idle(cluster: Running) -> None:
    digests = cluster.digests()
    assert len(set(digests.values())) == 1, digests

    rows = json.loads(cluster.cli("lag", "-o", "json").stdout)
    assert len(rows) == len(cluster.places) - 1
    assert all(row["state"] == "streaming" and row["lag_entries"] == row["lag_bytes"] == 0 for row in rows), rows
