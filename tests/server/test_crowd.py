"""Many connections at once: those that idle, those that hear events, and those that come for one request and go."""

import asyncio
import json
import resource
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from upstash_redis.asyncio import Redis

from tests.conftest import volume
from tests.server.serving import READ_TOKEN, TOKEN, Served, Wire, config, wait_for
from upstash_global.server.descriptors import allow_connections

BATCH = 200  # connections opened before any of them is asked whether it works


def request(line: bytes, *headers: bytes, token: str = TOKEN) -> bytes:
    return b"\r\n".join([line, b"Host: x", b"Authorization: Bearer " + token.encode(), *headers, b"", b""])


PING = request(b"GET /ping HTTP/1.1")
SUBSCRIBE = request(b"POST /subscribe/news HTTP/1.1")


@pytest.fixture
def n_idle(request: pytest.FixtureRequest) -> int:
    """How many, as far as this process may open both ends of them; a tenth as many hear events beside."""
    limit = allow_connections(0)
    wanted = volume(request, "--connections", 500, 10_000)
    return wanted if limit == resource.RLIM_INFINITY else min(wanted, int((limit - 1_000) / 2.2))


@pytest.fixture
def crowd(tmp_path: Path, n_idle: int) -> Iterator[tuple[Served, list[Wire], list[Wire]]]:
    """A node with the default limits, connections that have been asked once, and subscribers."""
    with Served(tmp_path, config(http_idle_ms=600_000)) as served, ExitStack() as stack:
        idle = gathered(served, stack, n_idle, PING)
        for wire in idle:
            assert wire.answer().status == 200
        listening = gathered(served, stack, n_idle // 10, SUBSCRIBE)
        for wire in listening:
            wire.read_until(b"data: subscribe,news,1\n\n\r\n")
        yield served, idle, listening


def gathered(served: Served, stack: ExitStack, n: int, sent: bytes) -> list[Wire]:
    """So many connections, each of which has shown its token; no more strangers at once than an address may have."""
    wires: list[Wire] = []
    for start in range(0, n, BATCH):
        batch = [stack.enter_context(served.http()) for _ in range(min(BATCH, n - start))]
        for wire in batch:
            wire.send(sent)
        wires += batch
        wait_for(lambda: served.ask(lambda node: not served.running.rest.strangers.of_address))
    return wires


def test_a_crowd_that_idles_and_listens_is_served(crowd: tuple[Served, list[Wire], list[Wire]]) -> None:
    served, idle, listening = crowd
    assert served.ask(lambda node: len(node.sessions)) == len(idle) + len(listening)
    with served.http() as other, served.redis() as publisher:
        assert other.send(PING).answer().status == 200
        assert publisher.publish("news", "hello") == len(listening)
        for wire in listening:
            assert wire.chunk() == b"data: message,news,hello\n\n"
        for wire in idle:
            wire.send(PING)
        assert {wire.answer().status for wire in idle} == {200}
        assert other.send(PING).answer().status == 200


def test_event_streams_are_counted_beside_the_other_connections(tmp_path: Path) -> None:
    with Served(tmp_path, config(max_clients=3)) as served, ExitStack() as stack:
        listening = gathered(served, stack, 3, SUBSCRIBE)
        for wire in listening:
            wire.read_until(b"news,1\n\n\r\n")
        first, *others = gathered(served, stack, 3, PING)
        assert {wire.answer().status for wire in (first, *others)} == {200}
        answer = first.send(SUBSCRIBE).answer()
        assert (answer.status, json.loads(answer.body)) == (429, {"error": "ERR max number of clients reached"})
        assert first.send(PING).answer().status == 200
        listening[0].socket.close()
        wait_for(lambda: served.ask(lambda node: len(served.running.rest.streams) == 2))
        first.send(SUBSCRIBE).read_until(b"news,1\n\n\r\n")


def test_a_connection_that_idles_makes_room(tmp_path: Path) -> None:
    with Served(tmp_path, config(max_clients=3)) as served, ExitStack() as stack:
        wires = [stack.enter_context(served.http()) for _ in range(3)]
        for wire in (wires[1], wires[0], wires[2]):
            assert wire.send(PING).answer().status == 200
        wires[2].send(b"GET /ping HTT")  # begun: it does not idle
        wait_for(
            lambda: served.ask(lambda node: [it.is_idle for it in served.running.rest.connections].count(True) == 2)
        )
        for longest in (wires[1], wires[0]):
            other = stack.enter_context(served.http())
            assert longest.read_all() == b"", "the one that has idled longest"
        assert stack.enter_context(served.http()).answer().status == 429, "one is busy, two have just come"
        wires[2].send(PING[len(b"GET /ping HTT") :])
        assert wires[2].answer().status == other.send(PING).answer().status == 200
        assert served.ask(lambda node: len(node.sessions)) == 3


def test_a_refused_stream_is_not_counted(served: Served) -> None:
    with served.http() as wire:
        wire.send(request(b"GET /monitor HTTP/1.1", token=READ_TOKEN))
        assert wire.answer().status == 400
        wire.send(request(b"GET /monitor HTTP/1.1", b"If-Match: x"))
        assert wire.answer().status == 400
        assert not served.ask(lambda node: served.running.rest.streams)


# -- those who stay for one request


def test_functions_that_live_for_one_call_use_the_sdk_at_a_replica(
    leader: Served, replica: Served, pytestconfig: pytest.Config
) -> None:
    """As a Lambda does: a client of its own for each call, many at a time, a write and then a read of it."""
    n, at_once = (1_000 if pytestconfig.getoption("--long") else 40), 20

    async def story() -> list[object]:
        gate = asyncio.Semaphore(at_once)

        async def one(number: int) -> object:
            async with gate, Redis(f"http://127.0.0.1:{replica.rest}", TOKEN, allow_telemetry=False) as client:
                await client.set(f"k{number}", number)
                await client.incr("n")
                return await client.get(f"k{number}")

        return await asyncio.gather(*(one(number) for number in range(n)))

    assert asyncio.run(story()) == [str(number) for number in range(n)]
    with leader.redis() as client:
        assert client.get("n") == str(n).encode()
    wait_for(lambda: not replica.ask(lambda node: node.sessions or node.forwarding.outstanding))
    wait_for(lambda: not leader.ask(lambda node: node.forwarding.remotes))


def test_short_connections_many_at_a_time(replica: Served) -> None:
    """Raw HTTP, so that each request is one connection for certain."""
    n, at_once = 3_000, 100

    async def story() -> list[int]:
        gate = asyncio.Semaphore(at_once)

        async def call() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", replica.rest)
            writer.write(request(b"GET /incr/n HTTP/1.1", b"Connection: close"))
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

        async def one() -> int:
            async with gate:
                answer = await call()
                while answer.startswith(b"HTTP/1.1 503 "):  # not executed: the machine is too busy to reach the leader
                    answer = await call()
                assert answer.startswith(b"HTTP/1.1 200 "), answer
                return int(json.loads(answer.partition(b"\r\n\r\n")[2])["result"])

        return await asyncio.gather(*(one() for _ in range(n)))

    assert sorted(asyncio.run(story())) == list(range(1, n + 1))
    wait_for(lambda: not replica.ask(lambda node: node.sessions))
