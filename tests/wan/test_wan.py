"""Delay proxies in front of a loopback echo server. Times are measured as 'at least', since a busy machine is slow too."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from time import monotonic
from typing import Any

import pytest
import uvloop

from tests.ports import free_port
from upstash_global.config import Address, Config, Credentials, default_config
from upstash_global.errors import ClusterError
from upstash_global.server import wan
from upstash_global.server.wan import Control, Line, Link, Network, State

LIMIT_S = 20.0
Story = Callable[[], Coroutine[Any, Any, None]]


def run(story: Story) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(LIMIT_S):
            await story()

    uvloop.run(bounded())


class Echo:
    """Sends back what it receives and counts it."""

    def __init__(self) -> None:
        self.received = 0
        self.address = Address("")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                self.received += len(data)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def echo_server() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.address = Address(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    yield echo
    server.close()


@asynccontextmanager
async def link_to(
    target: Address, rtt_ms: float = 0.0, jitter_ms: float = 0.0, bandwidth_bytes_per_s: int = 0
) -> AsyncIterator[Link]:
    link = Link("west", "leader", "east", Address("127.0.0.1:0"), target, Random(1))
    link.set_distance(rtt_ms, jitter_ms, bandwidth_bytes_per_s)
    await link.open()
    yield link
    await link.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, link: Link) -> "Client":
        return cls(*await asyncio.open_connection(link.listen.host, link.listen.port))

    async def ask(self, data: bytes) -> bytes:
        self.writer.write(data)
        return await self.reader.readexactly(len(data))

    async def is_cut_off(self) -> bool:
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True


# -- a link -----------------------------------------------------------------------------------------------------------


def test_a_round_trip_takes_at_least_the_configured_time() -> None:
    async def story() -> None:
        async with echo_server() as echo, link_to(echo.address, rtt_ms=60) as link:
            client = await Client.to(link)
            started = monotonic()
            assert await client.ask(b"hello") == b"hello"
            assert monotonic() - started >= 0.060

    run(story)


def test_half_of_the_round_trip_is_spent_on_the_way_there() -> None:
    async def story() -> None:
        arrived = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(1)
            arrived.set_result(monotonic())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        target = Address(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with link_to(target, rtt_ms=80) as link:
            client = await Client.to(link)
            started = monotonic()
            client.writer.write(b"x")
            assert await arrived - started >= 0.040
            assert await client.is_cut_off()
            assert monotonic() - started >= 0.080
        server.close()

    run(story)


def test_jitter_keeps_the_order() -> None:
    async def story() -> None:
        async with echo_server() as echo, link_to(echo.address, rtt_ms=2, jitter_ms=5) as link:
            client = await Client.to(link)
            sent = b""
            for n in range(200):
                chunk = b"%d\n" % n
                sent += chunk
                client.writer.write(chunk)
                await client.writer.drain()
            assert await client.reader.readexactly(len(sent)) == sent

    run(story)


def test_jitter_is_added_to_the_delay() -> None:
    line = Line(Random(1))
    line.delay_us, line.jitter_us = 1_000, 500
    arrivals = [line.arrival_us(1, 0) for _ in range(200)]
    assert min(arrivals) >= 1_000 and max(arrivals) <= 1_500
    assert len(set(arrivals)) > 50


def test_bandwidth_is_shared_by_what_is_on_the_line() -> None:
    line = Line(Random(1))
    line.delay_us, line.bandwidth_bytes_per_s = 10_000, 1_000_000
    assert line.arrival_us(1_000, 0) == 11_000
    assert line.arrival_us(1_000, 0) == 12_000, "the second chunk waits for the first"
    assert line.arrival_us(1_000, 50_000) == 61_000, "an idle line saves nothing up"


def test_limited_bandwidth_takes_at_least_its_time() -> None:
    async def story() -> None:
        async with echo_server() as echo, link_to(echo.address, bandwidth_bytes_per_s=1_000_000) as link:
            client = await Client.to(link)
            started = monotonic()
            await client.ask(bytes(100_000))
            assert monotonic() - started >= 0.100

    run(story)


def test_much_data_arrives_whole_and_the_end_of_it_is_passed_on() -> None:
    async def story() -> None:
        data = Random(3).randbytes(20_000_000)
        async with echo_server() as echo, link_to(echo.address, rtt_ms=10) as link:
            client = await Client.to(link)

            async def send() -> None:
                client.writer.write(data)
                await client.writer.drain()
                client.writer.write_eof()

            sending = asyncio.create_task(send())
            assert await client.reader.read(-1) == data
            await sending
            while link.connections:
                await asyncio.sleep(0)

    run(story)


def test_a_source_that_outruns_the_distance_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wan, "MAX_HELD_BYTES", 100_000)

    async def story() -> None:
        async with echo_server() as echo, link_to(echo.address, rtt_ms=100_000) as link:
            client = await Client.to(link)
            client.writer.write(bytes(50_000_000))
            while not any(connection.flows[0].is_source_paused for connection in link.connections):
                await asyncio.sleep(0)
            (connection,) = link.connections
            assert 100_000 < connection.flows[0].held_bytes < 1_000_000
            link.set_distance(0, 0, 0)

    run(story)


def test_the_distance_can_change_while_connections_are_open() -> None:
    async def story() -> None:
        async with echo_server() as echo, link_to(echo.address) as link:
            client = await Client.to(link)
            await client.ask(b"near")
            link.set_distance(70, 0, 0)
            started = monotonic()
            await client.ask(b"far")
            assert monotonic() - started >= 0.070

    run(story)


def test_a_target_that_is_not_there_resets_the_client() -> None:
    async def story() -> None:
        async with echo_server() as echo:
            nobody = echo.address
        async with link_to(nobody) as link:
            assert await (await Client.to(link)).is_cut_off()
            assert not link.connections

    run(story)


# -- cutting ----------------------------------------------------------------------------------------------------------


def test_a_refusing_link_resets_connections_and_refuses_new_ones_until_healed() -> None:
    async def story() -> None:
        async with echo_server() as echo, link_to(echo.address) as link:
            client = await Client.to(link)
            await client.ask(b"before")
            await link.cut(State.REFUSE)
            assert await client.is_cut_off()
            with pytest.raises(ConnectionRefusedError):
                await Client.to(link)
            await link.heal()
            assert await (await Client.to(link)).ask(b"after") == b"after"

    run(story)


def test_a_dropping_link_passes_nothing_and_delivers_after_healing() -> None:
    async def story() -> None:
        async with echo_server() as echo, link_to(echo.address) as link, link_to(echo.address) as other:
            client, witness = await Client.to(link), await Client.to(other)
            await client.ask(b"before")
            await link.cut(State.DROP)
            client.writer.write(b"during")
            for _ in range(20):  # long enough for the other link to pass as much many times over
                await witness.ask(b"w")
            assert echo.received == len(b"before") + 20
            await link.heal()
            assert await client.reader.readexactly(6) == b"during"

    run(story)


def test_who_connects_to_a_dropping_link_hears_nothing_until_it_is_healed() -> None:
    async def story() -> None:
        async with echo_server() as echo, link_to(echo.address) as link, link_to(echo.address) as other:
            await link.cut(State.DROP)
            client, witness = await Client.to(link), await Client.to(other)
            client.writer.write(b"during")
            for _ in range(20):
                await witness.ask(b"w")
            assert echo.received == 20
            await link.heal()
            assert await client.reader.readexactly(6) == b"during"

    run(story)


def test_a_cut_can_change_its_manner() -> None:
    async def story() -> None:
        async with echo_server() as echo, link_to(echo.address) as link:
            await link.cut(State.REFUSE)
            await link.cut(State.DROP)
            client = await Client.to(link)
            await link.cut(State.REFUSE)
            assert await client.is_cut_off()
            await link.heal()
            assert await (await Client.to(link)).ask(b"x") == b"x"

    run(story)


# -- the network of a cluster -----------------------------------------------------------------------------------------


def cluster() -> Config:
    return default_config(7000, Credentials())


@asynccontextmanager
async def network() -> AsyncIterator[Network]:
    made = Network(cluster(), Random(1))
    made.add_missing(cluster())
    yield made
    await made.close()


def test_every_node_dials_peers_of_other_regions_through_a_proxy() -> None:
    async def story() -> None:
        made = Network(cluster(), Random(1))
        config = made.add_missing(cluster())
        by_listen = {link.listen: link for link in made.links}
        assert len(made.links) == 6 * 4  # to each node, from the four other regions
        for node in config.nodes:
            for peer in config.nodes:
                if peer.region == node.region:
                    assert peer.name not in node.dial
                    continue
                link = by_listen[node.dial[peer.name]]
                assert (link.source, link.target, link.to) == (node.region, peer.name, peer.grpc)
                assert link.shown()["rtt_ms"] == config.wan.rtt(node.region, peer.region)
        await made.close()

    run(story)


def test_a_dial_address_of_the_file_stays() -> None:
    async def story() -> None:
        config = cluster()
        tunnel = Address("127.0.0.1:9505")
        with_tunnel = replace(config, nodes=(*config.nodes[:-1], replace(config.nodes[-1], dial={"leader": tunnel})))
        made = Network(with_tunnel, Random(1))
        assert made.add_missing(with_tunnel).node("sa-east-1").dial["leader"] == tunnel
        await made.close()

    run(story)


def test_configured_dial_addresses_become_links() -> None:
    async def story() -> None:
        first = Network(cluster(), Random(1))
        config = first.add_missing(cluster())
        await first.close()
        second = Network(config, Random(1))
        second.add_configured(config, "127.0.0.1")
        assert {link.listen for link in second.links} == {link.listen for link in first.links}
        await second.close()

    run(story)


def test_one_port_cannot_be_two_ways() -> None:
    async def story() -> None:
        nodes = list(cluster().nodes)
        shared = Address(f"127.0.0.1:{free_port()}")
        for index in (4, 5):  # of two regions
            nodes[index] = replace(nodes[index], dial={"leader": shared})
        config = replace(cluster(), nodes=tuple(nodes))
        made = Network(config, Random(1))
        with pytest.raises(ClusterError, match="ap-southeast-1 to leader and from sa-east-1 to leader"):
            made.add_configured(config, "127.0.0.1")
        await made.close()

    run(story)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (None, None, 24),
        ("sa-east-1", None, 4 + 5),  # its replica from four regions, and all five other nodes from it
        ("sa-east-1", "eu-central-1", 2),
        ("eu-central-1", "sa-east-1", 2),
        ("us-east-1", "sa-east-1", 3),  # two nodes there, one here
        ("leader", None, 4),
        ("sa-east-1", "leader", 1),
    ],
)
def test_places_name_the_links_between_them(one: str | None, other: str | None, expected: int) -> None:
    async def story() -> None:
        async with network() as made:
            assert len(list(made.between(one, other))) == expected

    run(story)


def test_an_unknown_place_is_told() -> None:
    async def story() -> None:
        async with network() as made:
            with pytest.raises(ClusterError, match="no region or node mars"):
                list(made.between("mars", None))

    run(story)


# -- the control port -------------------------------------------------------------------------------------------------


def test_the_control_port_changes_the_network_for_who_has_the_token() -> None:
    async def story() -> None:
        async with network() as made:
            await made.open()
            control = Control(made)
            place = await control.open()
            reader, writer = await asyncio.open_connection(place.host, place.port)

            async def ask(**request: object) -> dict[str, Any]:
                writer.write(json.dumps(request).encode() + b"\n")
                answer: dict[str, Any] = json.loads(await reader.readline())
                return answer

            assert (await ask(do="show"))["denied"]
            token = control.token
            cut = await ask(token=token, do="cut", **{"from": "sa-east-1", "to": "leader"}, mode="drop")
            assert [link["state"] for link in cut["links"]] == ["drop"]
            delayed = await ask(token=token, do="delay", **{"from": "sa-east-1", "to": "leader"}, rtt_ms=500)
            assert delayed["links"][0]["rtt_ms"] == 500
            healed = await ask(token=token, do="heal")
            assert {link["state"] for link in healed["links"]} == {"open"}
            assert "mars" in (await ask(token=token, do="cut", **{"from": "mars"}))["error"]
            assert "bend" in (await ask(token=token, do="bend"))["error"]
            assert "negative" in (await ask(token=token, do="delay", rtt_ms=-1))["error"]
            writer.write(b"not json\n")
            assert "error" in json.loads(await reader.readline())
            writer.close()
            control.close()

    run(story)
