"""MIGRATE over real connections: to a redis-server, and to targets that are none."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from tests.differential.sides import Oracle
from tests.ports import free_port
from tests.server.serving import LIMIT_S, Served, config, wait_for
from upstash_global.config import Config

HOST: Final = "127.0.0.1"
LONG_MS: Final = int(LIMIT_S * 1000)

needs_redis = pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to move keys to")


def allowing(*names: str) -> Config:
    settings = config(names=names)
    return replace(settings, security=replace(settings.security, migrate=True))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    """A leader and a replica that may dial."""
    settings = allowing("one", "two")
    with (
        Served(tmp_path_factory.mktemp("one"), settings, "one") as leader,
        Served(tmp_path_factory.mktemp("two"), settings, "two") as replica,
    ):
        yield leader, replica


@pytest.fixture
def client(leader: Served) -> Iterator["redis.Redis"]:
    with leader.redis() as client:
        yield client


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    with Oracle(tmp_path_factory.mktemp("oracle")) as running:
        yield running


@pytest.fixture
def target(oracle: Oracle) -> Iterator["redis.Redis"]:
    with redis.Redis(host=HOST, port=oracle.port, socket_timeout=LIMIT_S) as client:
        client.flushall()
        yield client


def migrate(client: "redis.Redis", port: int, key: str, *options: str, database: int = 0, ms: int = LONG_MS) -> Any:
    return client.execute_command("MIGRATE", HOST, port, key, database, ms, *options)  # type: ignore[no-untyped-call]


@needs_redis
def test_keys_of_all_types_move_with_their_deadlines_and_replicas_see_it(
    client: "redis.Redis", replica: Served, oracle: Oracle, target: "redis.Redis"
) -> None:
    client.set("string", "v", px=LONG_MS)
    client.hset("hash", mapping={"a": "1", "b": "2"})
    client.rpush("list", *"abc")
    client.sadd("set", *"abc")
    client.zadd("zset", {"a": 1, "b": 2.5})
    client.xadd("stream", {"a": "1"}, id="1-1")
    client.set("large", b"x" * (1 << 20))
    client.set("stays", "v")
    names = ["string", "hash", "list", "set", "zset", "stream", "large", "missing"]
    assert migrate(client, oracle.port, "", "KEYS", *names) == b"OK"
    assert client.keys() == [b"stays"]
    with replica.redis() as far:
        wait_for(lambda: far.keys() == [b"stays"])
    assert target.get("string") == b"v" and 0 < target.pttl("string") <= LONG_MS
    assert target.hgetall("hash") == {b"a": b"1", b"b": b"2"} and target.pttl("hash") == -1
    assert target.lrange("list", 0, -1) == [b"a", b"b", b"c"]
    assert target.smembers("set") == {b"a", b"b", b"c"}
    assert target.zrange("zset", 0, -1, withscores=True) == [(b"a", 1.0), (b"b", 2.5)]
    assert target.xrange("stream") == [(b"1-1", {b"a": b"1"})]
    assert target.get("large") == b"x" * (1 << 20)
    assert not target.exists("missing")
    assert migrate(client, oracle.port, "missing") == b"NOKEY"


@needs_redis
def test_a_replica_may_be_asked_and_sees_its_own_move(replica: Served, oracle: Oracle, target: "redis.Redis") -> None:
    with replica.redis() as far:
        far.set("k", "v")
        assert migrate(far, oracle.port, "k", database=3) == b"OK"
        assert far.get("k") is None
    with redis.Redis(host=HOST, port=oracle.port, db=3) as third:
        assert third.get("k") == b"v"


@needs_redis
def test_copy_keeps_and_replace_replaces(client: "redis.Redis", oracle: Oracle, target: "redis.Redis") -> None:
    client.set("k", "new")
    assert migrate(client, oracle.port, "k", "COPY") == b"OK"
    assert client.get("k") == b"new" == target.get("k")
    target.set("k", "old")
    with pytest.raises(redis.ResponseError, match="Target instance replied with error: BUSYKEY"):
        migrate(client, oracle.port, "k")
    assert client.get("k") == b"new" and target.get("k") == b"old"
    assert migrate(client, oracle.port, "k", "REPLACE") == b"OK"
    assert client.get("k") is None and target.get("k") == b"new"


@needs_redis
def test_nothing_moves_where_the_login_or_the_database_is_refused(
    client: "redis.Redis", oracle: Oracle, target: "redis.Redis"
) -> None:
    client.set("k", "v")
    target.acl_setuser("mover", enabled=True, passwords=["+secret"], commands=["+restore", "+select"], keys=["*"])
    with pytest.raises(redis.ResponseError, match="Target instance replied with error: WRONGPASS"):
        migrate(client, oracle.port, "k", "AUTH2", "mover", "wrong")
    with pytest.raises(redis.ResponseError, match="Target instance replied with error: ERR DB index is out of range"):
        migrate(client, oracle.port, "k", database=99)
    assert client.get("k") == b"v" and target.dbsize() == 0
    assert migrate(client, oracle.port, "k", "AUTH2", "mover", "secret") == b"OK"
    assert target.get("k") == b"v"


def test_where_nobody_listens_the_client_is_told_so(client: "redis.Redis") -> None:
    client.set("k", "v")
    with pytest.raises(redis.ResponseError, match="IOERR error or timeout writing to target instance"):
        migrate(client, free_port(), "k")
    assert client.get("k") == b"v"


def test_a_name_that_nobody_has_cannot_be_reached(client: "redis.Redis") -> None:
    client.set("k", "v")
    with pytest.raises(redis.ResponseError, match="IOERR error or timeout connecting to the client"):
        client.execute_command("MIGRATE", "a..b", 6379, "k", 0, LONG_MS)  # type: ignore[no-untyped-call]


def test_a_target_that_never_answers_is_given_up_in_time(client: "redis.Redis") -> None:
    client.set("k", "v")
    too_late = pytest.raises(redis.ResponseError, match="IOERR error or timeout reading to target instance")
    with socket.create_server((HOST, 0)) as silent, too_late:
        migrate(client, silent.getsockname()[1], "k", ms=50)
    assert client.get("k") == b"v"


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+" + b"x" * (1 << 20), b":1\r\n", b"+OK\r\n"])
def test_a_target_that_speaks_another_protocol_or_hangs_up_gets_no_key(client: "redis.Redis", said: bytes) -> None:
    client.set("k", "v")
    with socket.create_server((HOST, 0)) as server:
        thread = threading.Thread(target=_say_and_hang_up, args=(server, said))
        thread.start()
        with pytest.raises(redis.ResponseError, match="IOERR error or timeout (reading|writing) to target instance"):
            migrate(client, server.getsockname()[1], "k")
        thread.join()
    assert client.get("k") == b"v"


def _say_and_hang_up(server: socket.socket, said: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1 << 16)
        with contextlib.suppress(OSError):  # it does not listen to all of that
            connection.sendall(said)


def test_others_are_served_while_a_target_makes_one_wait(leader: Served, client: "redis.Redis") -> None:
    client.set("k", "v")
    with socket.create_server((HOST, 0)) as server, leader.wire() as mover:
        port = str(server.getsockname()[1])
        mover.send(b"MIGRATE 127.0.0.1 %b k 0 %d\r\n" % (port.encode(), LONG_MS))
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            assert client.incr("n") == 1 and client.get("k") == b"v"
            connection.sendall(b"+OK\r\n")
            assert b"RESTORE" in connection.recv(1 << 16)
            client.append("k", "!")
            connection.sendall(b"+OK\r\n")
            assert mover.reply() == (
                b"-ERR 1 of the keys changed while they were sent; the target has them as they were\r\n"
            )
    assert client.get("k") == b"v!"


def test_it_is_off_unless_the_configuration_says_so(tmp_path: Path) -> None:
    with Served(tmp_path) as served, served.redis() as client:
        client.set("k", "v")
        with pytest.raises(redis.ResponseError, match="MIGRATE is not enabled, see security.migrate"):
            migrate(client, free_port(), "k")
