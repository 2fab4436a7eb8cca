"""redis-py, in both protocols, as applications use it."""

import asyncio
import threading
import time
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.server.serving import PASSWORD, Served

pytestmark = pytest.mark.parametrize("protocol", [2, 3])


def test_values_of_every_type(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol, decode_responses=True) as client:
        assert client.set("s", "välue", ex=100) is True
        assert client.get("s") == "välue"
        assert 0 < client.ttl("s") <= 100
        assert client.incrbyfloat("f", 1.5) == 1.5
        assert client.hset("h", mapping={"a": 1, "b": 2}) == 2
        assert client.hgetall("h") == {"a": "1", "b": "2"}
        assert client.rpush("l", *range(5)) == 5
        assert client.lrange("l", 1, -2) == ["1", "2", "3"]
        assert client.sadd("set", "x", "y") == 2
        assert client.smembers("set") == {"x", "y"}
        assert client.zadd("z", {"a": 1, "b": 2.5}) == 2
        pairs = [[member, score] for member, score in client.zrange("z", 0, -1, withscores=True)]
        assert pairs == [["a", 1.0], ["b", 2.5]]
        assert client.zscore("z", "b") == 2.5
        assert client.setbit("bits", 7, 1) == 0
        assert client.bitcount("bits") == 1
        assert client.type("z") == "zset"
        assert client.delete("s", "h", "nothing") == 2


def test_binary_values(served: Served, protocol: int) -> None:
    every_byte = bytes(range(256))
    with served.redis(protocol=protocol) as client:
        client.set(every_byte, every_byte)
        assert client.get(every_byte) == every_byte


def test_a_pipeline_of_a_thousand(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol) as client, client.pipeline(transaction=False) as pipeline:
        for n in range(1000):
            pipeline.set(f"k{n}", n).get(f"k{n}")
        replies = pipeline.execute()
    assert replies == [reply for n in range(1000) for reply in (True, b"%d" % n)]


def test_errors_inside_a_pipeline(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol) as client, client.pipeline(transaction=False) as pipeline:
        replies = pipeline.set("k", "v").incr("k").lpush("k", 1).get("k").execute(raise_on_error=False)
    assert replies[0] is True and replies[3] == b"v"
    assert [str(error) for error in replies[1:3]] == [
        "value is not an integer or out of range",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
    ]


def test_optimistic_locking(served: Served, protocol: int) -> None:
    """Eight threads add to a number by WATCH, GET, MULTI, SET, EXEC; none of their additions is lost."""
    with served.redis(protocol=protocol) as client:

        def add(pipeline: Any) -> None:
            present = int(pipeline.get("n") or 0)
            pipeline.multi()
            pipeline.set("n", present + 1)

        def work() -> None:
            for _ in range(10):
                client.transaction(add, "n")

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert client.get("n") == b"80"


def test_a_watched_key_that_changed_aborts(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol) as client, client.pipeline() as pipeline:
        pipeline.watch("k")
        client.set("k", "theirs")
        pipeline.multi()
        pipeline.set("k", "ours")
        with pytest.raises(redis.WatchError):
            pipeline.execute()
        assert client.get("k") == b"theirs"


def test_a_transaction_with_a_mistake_is_discarded(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol) as client, client.pipeline() as pipeline:
        pipeline.set("k", "v").execute_command("SET", "too", "few", "NONSENSE", "x", "y")
        with pytest.raises(redis.ResponseError, match="syntax error"):
            pipeline.execute()
        assert client.get("k") == b"v"  # as Redis: a mistake that shows when it runs discards nothing
        pipeline.set("k", "w").execute_command("GET")
        with pytest.raises(redis.ResponseError, match="wrong number of arguments for 'get'"):
            pipeline.execute()
        assert client.get("k") == b"v"


def test_pub_sub(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol, decode_responses=True) as client, client.pubsub() as listener:
        listener.subscribe("news")
        listener.psubscribe("n*")
        heard = [listener.get_message(timeout=60) for _ in range(2)]
        assert [(each["type"], each["data"]) for each in heard] == [("subscribe", 1), ("psubscribe", 2)]
        assert client.publish("news", "hello") == 2
        heard = [listener.get_message(timeout=60) for _ in range(2)]
        assert [(each["type"], each["pattern"], each["data"]) for each in heard] == [
            ("message", None, "hello"),
            ("pmessage", "n*", "hello"),
        ]
        assert client.pubsub_numsub("news") == [("news", 1)]
        assert client.pubsub_channels() == ["news"]
        assert client.pubsub_numpat() == 1
        listener.unsubscribe()
        listener.punsubscribe()
        assert [listener.get_message(timeout=60)["data"] for _ in range(2)] == [1, 0]


def test_scan_iter_finds_every_key(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol) as client:
        client.mset({f"a:{n}": n for n in range(1000)} | {f"b:{n}": n for n in range(100)})
        assert set(client.scan_iter(match="b:*", count=50)) == {b"b:%d" % n for n in range(100)}
        assert len(set(client.scan_iter())) == 1100
        client.hset("h", mapping={f"f{n}": n for n in range(1000)})
        assert len(dict(client.hscan_iter("h"))) == 1000


def test_connection_pools_are_shared_by_threads(served: Served, protocol: int) -> None:
    pool = redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]
        host="127.0.0.1", port=served.resp, password=PASSWORD, protocol=protocol, max_connections=3, timeout=60
    )
    seen: list[int] = []

    def work() -> None:
        client = redis.Redis(connection_pool=pool)
        seen.extend(client.incr("n") for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    pool.disconnect()
    assert sorted(seen) == list(range(1, 301))


def test_asyncio(served: Served, protocol: int) -> None:
    async def story() -> list[int]:
        client = redis.asyncio.Redis(host="127.0.0.1", port=served.resp, password=PASSWORD, protocol=protocol)
        async with client:
            return list(await asyncio.gather(*(client.incr("n") for _ in range(100))))

    assert sorted(asyncio.run(story())) == list(range(1, 101))


def test_client_commands(served: Served, protocol: int) -> None:
    with served.redis(
        protocol=protocol, decode_responses=True, client_name="me", single_connection_client=True
    ) as client:
        number = client.client_id()
        assert client.client_getname() == "me"
        client.client_setname("you")
        info = client.client_info()
        assert (info["name"], int(info["id"]), info["lib-name"], int(info["resp"])) == (
            "you",
            number,
            "redis-py",
            protocol,
        )
        assert str(number) in [each["id"] for each in client.client_list()]
        assert client.client_no_evict("ON") == "OK"
        assert client.client_no_touch("OFF") == "OK"
        with served.redis(protocol=protocol) as other:
            assert other.client_kill_filter(_id=str(number)) == 1
        assert client.connection is not None
        with pytest.raises(redis.ConnectionError):
            client.connection.read_response()


def test_info(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol) as client:
        client.set("k", "v")
        info = client.info()
        assert info["role"] == "master" and info["db0"]["keys"] == 1
        assert info["redis_version"].startswith("7.2")
        assert info["connected_clients"] >= 1 and info["used_memory_rss"] > 1 << 20 > info["used_memory"] > 0
        assert info["leader"] == info["node_name"] == "one"
        assert "cmdstat_set" not in info
        assert client.info("commandstats")["cmdstat_set"]["calls"] >= 1
        assert set(client.info("keyspace")) == {"db0"}
        sections = client.execute_command("INFO", "everything") if protocol == 2 else None
        if isinstance(sections, bytes):
            assert b"# Commandstats" in sections


def test_commandstats_count_calls_time_and_failures(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol) as client:
        client.config_resetstat()
        with client.pipeline(transaction=False) as pipeline:
            for n in range(100):
                pipeline.lpush("l", n)
            pipeline.incr("l")
            pipeline.execute(raise_on_error=False)
        with pytest.raises(redis.ResponseError):
            client.execute_command("LPUSH")
        stats = client.info("commandstats")
        assert stats["cmdstat_lpush"]["calls"] == 100
        assert stats["cmdstat_lpush"]["usec"] > 0
        assert stats["cmdstat_incrby"]["failed_calls"] == 1
        assert client.info("errorstats")["errorstat_WRONGTYPE"]["count"] == 1
        assert client.info("stats")["total_commands_processed"] >= 101
        client.config_resetstat()
        assert "cmdstat_lpush" not in client.info("commandstats")


def test_config(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol, decode_responses=True) as client:
        assert client.config_get("maxmemory", "maxmemory-[ps]*", "databases") == {
            "databases": "1",
            "maxmemory": "0",
            "maxmemory-policy": "noeviction",
            "maxmemory-samples": "5",
        }
        assert client.config_set("slowlog-max-len", 64) is True
        assert client.config_get("slowlog-max-len") == {"slowlog-max-len": "64"}
        client.config_set("slowlog-max-len", 128)
        for name, value in (("nonsense", "1"), ("databases", "2"), ("maxmemory", "lots"), ("appendonly", "maybe")):
            with pytest.raises(redis.ResponseError):
                client.config_set(name, value)


def test_command_introspection(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol, decode_responses=True) as client:
        assert client.command_count() == len(client.command()) > 150
        assert client.command()["get"]["arity"] == 2
        assert client.command_getkeys("MSET", "a", 1, "b", 2) == ["a", "b"]
        assert client.command_getkeys("SORT", "a", "STORE", "b") == ["a", "b"]
        with pytest.raises(redis.ResponseError, match="no key arguments"):
            client.command_getkeys("PING", "x")
        docs = client.execute_command("COMMAND DOCS", "set")
        flat = docs if isinstance(docs, list) else [part for pair in docs.items() for part in pair]
        assert flat[0] == "set"
        assert "get" in client.command_list(pattern="ge*")


def test_slow_commands_are_noted(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol, client_name="slow-one") as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.slowlog_reset()
        client.mset({"a": "x" * 1000, "b": 1})
        noted = client.slowlog_get(10)[0]
        assert noted["command"].startswith(b"MSET a xxx") and b"... (872 more bytes)" in noted["command"]
        assert noted["duration"] >= 0 and noted["client_name"] == b"slow-one"
        with client.pipeline() as pipeline:
            pipeline.get("a").get("b").execute()
        names = [entry["command"].split(b" ")[0] for entry in client.slowlog_get(10)]
        assert names.count(b"GET") == 2 and b"EXEC" not in names
        client.execute_command("AUTH", PASSWORD)
        assert PASSWORD.encode() not in repr(client.slowlog_get(100)).encode()
        client.config_set("slowlog-log-slower-than", -1)
        client.slowlog_reset()
        client.get("a")
        assert client.slowlog_len() == 0
        client.config_set("slowlog-log-slower-than", 10_000)


def test_a_slow_call_in_a_pipeline_is_noted(served: Served, protocol: int) -> None:
    """Whatever stands around it, a call above the threshold is named."""
    with served.redis(protocol=protocol) as client:
        client.sadd("a", *range(20_000))
        client.sadd("b", *range(20_000))
        client.config_set("slowlog-log-slower-than", 1000)
        client.slowlog_reset()
        with client.pipeline(transaction=False) as pipeline:
            pipeline.get("x").get("y").sinterstore("c", "a", "b").get("z").execute()
        assert b"SINTERSTORE c a b" in [entry["command"] for entry in client.slowlog_get(10)]
        client.config_set("slowlog-log-slower-than", 10_000)


def test_what_monitoring_asks(served: Served, protocol: int) -> None:
    with served.redis(protocol=protocol) as client:
        assert client.role()[0] == b"master"
        assert client.wait(0, 10) == 0
        assert client.wait(1, 10) == 0
        seconds, microseconds = client.time()
        assert abs(seconds - time.time()) < 60 and 0 <= microseconds < 1_000_000
        client.set("k", "x" * 1000)
        assert 1000 < client.memory_usage("k") < 2000
        assert client.memory_usage("nothing") is None
        before = client.execute_command("DEBUG", "DIGEST")
        client.set("k", "y")
        assert len(before) == 40 and client.execute_command("DEBUG", "DIGEST") != before
        assert client.dbsize() == 1
        assert client.flushall() is True
        assert client.execute_command("SELECT", 0) in (True, b"OK")
        with pytest.raises(redis.ResponseError, match="out of range"):
            client.execute_command("SELECT", 1)


def test_locks_exclude_each_other_and_belong_to_who_took_them(served: Served, protocol: int) -> None:
    """redis-py's Lock is scripts: they compare the token, and release or extend."""
    with served.redis(protocol=protocol) as mine, served.redis(protocol=protocol) as yours:
        one, other = mine.lock("lock", timeout=100), yours.lock("lock", timeout=100)
        assert one.acquire(blocking=False) and not other.acquire(blocking=False)
        assert one.locked() and one.owned() and not other.owned()
        assert one.extend(50, replace_ttl=True) and 0 < mine.ttl("lock") <= 50
        assert one.reacquire() and 50 < mine.ttl("lock") <= 100
        with pytest.raises(redis.exceptions.LockError):
            other.release()
        one.release()
        assert other.acquire(blocking=False) and other.owned()
        mine.delete("lock")
        with pytest.raises(redis.exceptions.LockNotOwnedError):
            other.release()


def test_consumers_of_a_group_share_a_stream_they_all_wait_on(served: Served, protocol: int) -> None:
    got: list[bytes] = []

    def consume(name: str) -> None:
        with served.redis(protocol=protocol) as client:
            while True:
                read = client.xreadgroup("g", name, {"jobs": ">"}, count=1, block=0)
                ((_, batch),) = read.items() if isinstance(read, dict) else read
                ((_, fields),) = batch[0] if protocol == 3 else batch
                if fields == {b"n": b"stop"}:
                    return
                got.append(fields[b"n"])

    with served.redis(protocol=protocol) as client:
        client.xgroup_create("jobs", "g", mkstream=True)
        threads = [threading.Thread(target=consume, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for n in range(100):
            client.xadd("jobs", {"n": n})
        for _ in threads:
            client.xadd("jobs", {"n": "stop"})
        for thread in threads:
            thread.join(60)
        assert sorted(got, key=int) == [b"%d" % n for n in range(100)]
