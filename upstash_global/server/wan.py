"""A wide area network on one machine: delay proxies between the regions of a cluster.

A Link is the way from one region to one node's gRPC listener: a TCP proxy that gives every byte its time of arrival, when
it comes in, and passes it on then. A node is led through it by the `dial` address of its configuration; it notices
nothing but the distance. Each link has two Lines (there and back), each connection two Flows, one on each line:

    End (socket) ──reads──▶ Flow: deque of (due, chunk), one timer ──writes──▶ End (socket)

- Order is kept: a chunk is due no earlier than the one before it, whatever the jitter says.
- A line of limited bandwidth is shared by all connections of the link, as a real one is.
- Chunks are neither copied nor joined, so one core moves some hundreds of MB a second.
- Backpressure passes through: a full sink, or MAX_HELD_BYTES under way, stops the reading at the source.

A link can be cut in two ways. REFUSE: its connections are reset and new ones are refused, as when a process is gone. DROP:
nothing passes in either direction and nobody is told, as when a cable is gone; what was under way arrives after healing,
as TCP would retransmit it.
"""

import asyncio
import hmac
import json
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from random import Random
from typing import Any, Final, cast

from upstash_global.config import Address, Config
from upstash_global.errors import ClusterError
from upstash_global.server.clock import microseconds

MAX_HELD_BYTES: Final = 32 << 20  # of one flow; with a one-way delay of 160 ms that is 200 MB/s
MAX_REQUEST_BYTES: Final = 1 << 16
CONNECT_TIMEOUT_S: Final = 5.0

_END: Final = b""  # in a flow: the source has finished sending
_LOST: Final = None  # in a flow: the source is gone


class State(StrEnum):
    OPEN = "open"
    REFUSE = "refuse"
    DROP = "drop"


class Line:
    """One direction of a link: how long a chunk takes, and when the line is free for the next."""

    def __init__(self, random: Random) -> None:
        self.delay_us = 0
        self.jitter_us = 0
        self.bandwidth_bytes_per_s = 0  # 0: unlimited
        self.free_at_us = 0
        self.bytes = 0
        self.random = random

    def arrival_us(self, n_bytes: int, now_us: int) -> int:
        """When a chunk that is sent now is there."""
        self.bytes += n_bytes
        sent_us = now_us
        if self.bandwidth_bytes_per_s:
            sent_us = max(now_us, self.free_at_us) + n_bytes * 1_000_000 // self.bandwidth_bytes_per_s
            self.free_at_us = sent_us
        jitter_us = self.random.randint(0, self.jitter_us) if self.jitter_us else 0
        return sent_us + self.delay_us + jitter_us


class End(asyncio.Protocol):
    """One socket of a proxied connection: the source of one flow and the sink of the other."""

    def __init__(self, on_made: Callable[[], None]) -> None:
        self.on_made = on_made
        self.outward: Flow | None = None  # carries what is read here
        self.inward: Flow | None = None  # brings what is written here
        self.transport: asyncio.Transport | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.on_made()

    def data_received(self, data: bytes) -> None:
        if self.outward is not None:
            self.outward.push(data)

    def eof_received(self) -> bool:
        if self.outward is not None:
            self.outward.push(_END)
        return True  # the other direction may go on

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self.inward is not None:
            self.inward.unblock()  # what still comes goes nowhere, but its end has to be seen
        if self.outward is not None:
            self.outward.push(_LOST)

    def pause_writing(self) -> None:
        if self.inward is not None:
            self.inward.block()

    def resume_writing(self) -> None:
        if self.inward is not None:
            self.inward.unblock()


class Flow:
    """One direction of a connection: the chunks under way, in order, each with its time of arrival."""

    def __init__(self, line: Line, source: End, sink: End, on_end: Callable[[], None]) -> None:
        self.line = line
        self.source = source
        self.sink = sink
        self.on_end = on_end  # called once, when everything the source had to send has arrived
        self.loop = asyncio.get_running_loop()
        self.under_way: deque[tuple[int, bytes | None]] = deque()
        self.held_bytes = 0
        self.last_due_us = 0
        self.timer: asyncio.TimerHandle | None = None  # for the first chunk, while something is under way
        self.is_blocked = False  # the sink takes no more for now
        self.is_cut = False
        self.is_source_paused = False
        self.is_ended = False

    def push(self, data: bytes | None) -> None:
        n_bytes = len(data) if data else 0
        self.last_due_us = max(self.last_due_us, self.line.arrival_us(n_bytes, microseconds()))
        self.under_way.append((self.last_due_us, data))
        self.held_bytes += n_bytes
        self._regulate_source()
        self._set_timer()

    def deliver(self) -> None:
        """Write everything that is due, and set the timer for the rest."""
        self.timer = None
        now_us = microseconds()
        chunks: list[bytes] = []
        while self.under_way and self.under_way[0][0] <= now_us and not self.is_blocked and not self.is_cut:
            data = self.under_way.popleft()[1]
            if data:
                self.held_bytes -= len(data)
                chunks.append(data)
                continue
            self._write(chunks)
            chunks = []
            self._finish(data)
        self._write(chunks)
        self._regulate_source()
        self._set_timer()

    def block(self) -> None:
        self.is_blocked = True
        self._cancel_timer()

    def unblock(self) -> None:
        self.is_blocked = False
        self._set_timer()

    def cut(self) -> None:
        self.is_cut = True
        self._cancel_timer()

    def heal(self) -> None:
        self.is_cut = False
        self._set_timer()

    def discard(self) -> None:
        self._cancel_timer()
        self.under_way.clear()
        self.held_bytes = 0

    def _write(self, chunks: list[bytes]) -> None:
        transport = self.sink.transport
        if chunks and transport is not None and not self.sink.is_lost and not transport.is_closing():
            transport.writelines(chunks)

    def _finish(self, data: bytes | None) -> None:
        transport = self.sink.transport
        if transport is not None and not self.sink.is_lost:
            if data is _LOST:
                transport.close()
            elif transport.can_write_eof() and not transport.is_closing():
                with suppress(OSError):  # the sink is gone already, and its own end is on the way
                    transport.write_eof()
        if not self.is_ended:
            self.is_ended = True
            self.on_end()

    def _set_timer(self) -> None:
        if self.timer is None and self.under_way and not self.is_blocked and not self.is_cut:
            wait_us = self.under_way[0][0] - microseconds()
            wait_ms = max(0, -(-wait_us // 1000))  # rounded up: event loops count in milliseconds and may wake early
            self.timer = self.loop.call_later(wait_ms / 1000, self.deliver)

    def _cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _regulate_source(self) -> None:
        transport = self.source.transport
        if transport is None or self.source.is_lost or transport.is_closing():
            return
        if not self.is_source_paused and self.held_bytes > MAX_HELD_BYTES:
            self.is_source_paused = True
            transport.pause_reading()
        elif self.is_source_paused and self.held_bytes <= MAX_HELD_BYTES // 2:
            self.is_source_paused = False
            transport.resume_reading()


class Connection:
    """One client of a link, its own connection to the target, and the two flows between them."""

    def __init__(self, link: "Link") -> None:
        self.link = link
        self.near = End(self._accepted)
        self.far = End(self._connected)
        self.flows = (
            Flow(link.there, self.near, self.far, self._ended),
            Flow(link.back, self.far, self.near, self._ended),
        )
        self.near.outward, self.far.outward = self.flows
        self.far.inward, self.near.inward = self.flows
        self.flows[0].block()  # until the target has accepted
        self.dialling: asyncio.Task[None] | None = None
        self.n_ended = 0

    def _accepted(self) -> None:
        self.link.connections.add(self)
        if self.link.state is State.DROP:
            self.cut()
        self.dialling = asyncio.create_task(self._dial())

    async def _dial(self) -> None:
        await self.link.is_passable.wait()
        to = self.link.to
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(lambda: self.far, to.host, to.port)
        except (OSError, TimeoutError):
            self.abort()

    def _connected(self) -> None:
        self.flows[0].unblock()

    def _ended(self) -> None:
        self.n_ended += 1
        if self.n_ended == 2:
            self.link.connections.discard(self)
            for end in (self.near, self.far):
                if end.transport is not None:
                    end.transport.close()

    def cut(self) -> None:
        for flow in self.flows:
            flow.cut()

    def heal(self) -> None:
        for flow in self.flows:
            flow.heal()

    def abort(self) -> None:
        """Reset both sides and forget what is under way."""
        self.link.connections.discard(self)
        if self.dialling is not None:
            self.dialling.cancel()
        for end in (self.near, self.far):
            end.outward = end.inward = None
            if end.transport is not None:
                end.transport.abort()
        for flow in self.flows:
            flow.discard()


class Link:
    """The way from one region to one node: a listener, and the distance behind it."""

    def __init__(
        self, source: str, target: str, target_region: str, listen: Address, to: Address, random: Random
    ) -> None:
        """Take the listening address at once (port 0: any free one), so that it can be told before anyone listens."""
        self.source = source  # region
        self.target = target  # node
        self.target_region = target_region
        self.to = to
        self.there = Line(random)
        self.back = Line(random)
        self.state = State.OPEN
        self.connections: set[Connection] = set()
        self.server: asyncio.Server | None = None
        self.is_passable = asyncio.Event()
        self.is_passable.set()
        # This socket is bound and never listens: it keeps the port ours while a cut link refuses connections.
        self.claim = _socket_at(listen)
        self.listen = Address(f"{listen.rpartition(':')[0]}:{self.claim.getsockname()[1]}")

    def set_distance(self, rtt_ms: float, jitter_ms: float, bandwidth_bytes_per_s: int) -> None:
        """From now on; what is under way keeps its time of arrival. Raises ValueError if it makes no sense."""
        if not (0 <= rtt_ms < 1e6 and 0 <= jitter_ms < 1e6 and bandwidth_bytes_per_s >= 0):
            raise ValueError("a distance is not negative, and its times are below 1000 s")
        for line in (self.there, self.back):
            line.delay_us = round(rtt_ms * 500)
            line.jitter_us = round(jitter_ms * 1000)
            line.bandwidth_bytes_per_s = bandwidth_bytes_per_s

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Connection(self).near, sock=_socket_at(self.listen))

    async def close(self) -> None:
        self._refuse()
        self.claim.close()

    async def cut(self, state: State) -> None:
        await self.heal()
        self.state = state
        if state is State.REFUSE:
            self._refuse()
        elif state is State.DROP:
            self.is_passable.clear()
            for connection in self.connections:
                connection.cut()

    async def heal(self) -> None:
        if self.server is None:
            await self.open()
        self.state = State.OPEN
        self.is_passable.set()
        for connection in self.connections:
            connection.heal()

    def _refuse(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None
        for connection in list(self.connections):
            connection.abort()

    def shown(self) -> dict[str, Any]:
        return {
            "from": self.source,
            "to": self.target,
            "state": str(self.state),
            "rtt_ms": self.there.delay_us / 500,
            "jitter_ms": self.there.jitter_us / 1000,
            "bandwidth_bytes_per_s": self.there.bandwidth_bytes_per_s,
            "connections": len(self.connections),
            "sent_bytes": self.there.bytes,
            "received_bytes": self.back.bytes,
            "listen": str(self.listen),
            "target": str(self.to),
        }


def _socket_at(place: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((place.host, place.port))
    except OSError:
        bound.close()
        raise
    return bound


class Network:
    """All links of a cluster, and the words to change them."""

    def __init__(self, config: Config, random: Random) -> None:
        self.wan = config.wan
        self.random = random
        self.links: list[Link] = []
        self.names = {*config.regions, *(node.name for node in config.nodes)}

    def add_missing(self, config: Config) -> Config:
        """Make a link for each region and each node elsewhere, and return the configuration that leads through them.

        Where a node has a `dial` address already, that stays as it is.
        """
        made: dict[tuple[str, str], Link] = {}
        nodes = []
        for node in config.nodes:
            dial = dict(node.dial)
            for peer in config.nodes:
                if peer.region == node.region or peer.name in dial:
                    continue
                way = (node.region, peer.name)
                if way not in made:
                    made[way] = self._add(node.region, peer.name, config, Address("127.0.0.1:0"))
                dial[peer.name] = made[way].listen
            nodes.append(replace(node, dial=dial))
        return replace(config, nodes=tuple(nodes))

    def add_configured(self, config: Config, listen_host: str) -> None:
        """Make a link for each `dial` address that nodes have, at its port. Nodes of one region may share one."""
        made: dict[int, tuple[str, str]] = {}
        for node in config.nodes:
            for peer, place in node.dial.items():
                way = (node.region, peer)
                if made.setdefault(place.port, way) != way:
                    raise ClusterError(
                        f"port {place.port} cannot lead both from {' to '.join(made[place.port])} and from {' to '.join(way)}"
                    )
                if not any(link.listen.port == place.port for link in self.links):
                    self._add(node.region, peer, config, Address(f"{listen_host}:{place.port}"))

    def _add(self, region: str, peer: str, config: Config, listen: Address) -> Link:
        target = config.node(peer)
        link = Link(region, peer, target.region, listen, target.advertised("grpc"), self.random)
        rtt_ms = self.wan.rtt(region, target.region)
        if rtt_ms is None:
            raise ClusterError(f"no round trip is known between {region} and {target.region}")
        link.set_distance(rtt_ms, self.wan.jitter_ms, self.wan.bandwidth_bytes_per_s)
        self.links.append(link)
        return link

    async def open(self) -> None:
        for link in self.links:
            await link.open()

    async def close(self) -> None:
        for link in self.links:
            await link.close()

    def between(self, one: str | None, other: str | None) -> Iterator[Link]:
        """The links that touch both places, in either direction. None is any place; a place is a region or a node.

        A name that is both is the region. A node stands for the links that lead to it.
        """
        for place in (one, other):
            if place is not None and place not in self.names:
                raise ClusterError(f"there is no region or node {place}; there are {', '.join(sorted(self.names))}")
        for link in self.links:
            ends = [{link.source}, {link.target_region, link.target}]
            if any((one is None or one in a) and (other is None or other in b) for a, b in (ends, ends[::-1])):
                yield link

    async def change(self, request: dict[str, Any]) -> list[Link]:
        """Do what a request of the control port says: `do` is cut, heal, delay or show. Returns the links it was about."""
        links = list(self.between(request.get("from"), request.get("to")))
        match request.get("do"):
            case "cut":
                state = State(request.get("mode", State.REFUSE))
                for link in links:
                    await link.cut(state)
            case "heal":
                for link in links:
                    await link.heal()
            case "delay":
                for link in links:
                    was = link.there
                    rtt_ms = float(request.get("rtt_ms", was.delay_us / 500))
                    jitter_ms = float(request.get("jitter_ms", was.jitter_us / 1000))
                    bandwidth = int(request.get("bandwidth_bytes_per_s", was.bandwidth_bytes_per_s))
                    link.set_distance(rtt_ms, jitter_ms, bandwidth)
            case "show":
                pass
            case unknown:
                raise ClusterError(f"{unknown!r} is not one of cut, heal, delay, show")
        return links


class Control:
    """A loopback port that takes one JSON object per line and answers each with one: {"links": [...]} or {"error": text}.

    Each request carries the token, which the owner of the network keeps where only its user can read it.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.token = secrets.token_urlsafe(32)
        self.server: asyncio.Server | None = None

    async def open(self) -> Address:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=MAX_REQUEST_BYTES)
        return Address(f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}")

    def close(self) -> None:
        if self.server is not None:
            self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):  # a line without end, or a client that has left
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                return {"error": "a request is a JSON object"}
            if not hmac.compare_digest(str(request.get("token", "")).encode(), self.token.encode()):
                return {"error": "the token is wrong", "denied": True}
            return {"links": [link.shown() for link in await self.network.change(request)]}
        except (ClusterError, ValueError, TypeError) as mistake:
            return {"error": str(mistake)}
