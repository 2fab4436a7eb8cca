"""Links: the gRPC connections between this node and its peers.

A Link is one open stream with a queue of messages that wait to be written. Links come in two directions and two kinds:

    kind       who opens it                     up                          down
    FOLLOW     a follower, at the node whose    Subscribe, Ack              Resume, Entries, Heartbeat, snapshots
               log it wants
    FORWARD    a replica, at the leader         Forward, Cancel             Forwarded

A node opens at most one of each and opens it again by itself, with a jittered and growing pause, until it is told to
stop. Each of the two has a TCP connection of its own, so that a snapshot never delays a forwarded write. What others
open here gets a peer name of our making, such as "in:3".

Every link that opens is closed exactly once (`on_closed`), whoever ends it. Sending never waits: the message is encoded
and queued, and one task per link writes what is queued. The queue is not bounded here, since only the sender knows what
may be left out; it reads `backlog(peer)`.

Of the ways to speak on a grpc.aio stream, generated messages with read() and write() were chosen: packing and parsing
the envelope cost 3 µs of the 120 µs that a frame takes on its whole way, so raw byte handlers would gain nothing.
"""

import asyncio
import hashlib
import hmac
import inspect
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from enum import StrEnum
from itertools import count
from typing import Any, Final

import grpc
import grpc.aio
import grpc.experimental

from upstash_global.errors import ClusterError
from upstash_global.node.metrics import Traffic
from upstash_global.replication.messages import Cancel, Forward, Message, decode, encode
from upstash_global.server.clock import microseconds
from upstash_global.server.pb.replication_pb2 import Envelope
from upstash_global.server.pb.replication_pb2_grpc import ReplicationStub, add_ReplicationServicer_to_server

log = logging.getLogger(__name__)

FORMAT: Final = 1  # of an envelope's body
CONNECT_TIMEOUT_S: Final = 5.0
SHORTEST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
REFUSAL_DELAY_S: Final = 0.1  # makes guessing the cluster secret slow

OPTIONS: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.so_reuseport", 0),  # a second node on the same port is a mistake to report, not a partner to share with
    ("grpc.use_local_subchannel_pool", 1),  # a TCP connection for each channel
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_TIMEOUT_S * 1000)),  # how long one attempt to connect may take
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


class Kind(StrEnum):
    """What a link is for; also the name of the call that opens it."""

    FOLLOW = "follow"
    FORWARD = "forward"


class Link:
    """One open stream to a peer: a queue, the task that writes it out, and the task that reads."""

    def __init__(self, peer: str, kind: Kind, stream: Any, opened_here: bool, traffic: Traffic) -> None:
        self.peer = peer
        self.kind = kind
        self.opened_here = opened_here
        self.traffic = traffic
        self.backlog_bytes = 0  # queued or being written
        self._stream = stream  # a grpc.aio call or servicer context: both have read() and write()
        self._queue: deque[bytes | None] = deque()  # None: the end, after what was queued before it
        self._filled = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def send(self, body: bytes) -> None:
        self.backlog_bytes += len(body)
        self._queue.append(body)
        self._filled.set()

    def carries(self, message: Message) -> bool:
        """Whether a message to this peer belongs on this link; a peer that came in has one link for everything."""
        return not self.opened_here or (self.kind is Kind.FORWARD) == isinstance(message, Forward | Cancel)

    async def greet(self, node_name: str) -> None:
        """Let the peer that opened this link in."""
        await self._stream.send_initial_metadata((("node", node_name),))

    def finish(self) -> None:
        """Close once all that is queued has been written."""
        self._queue.append(None)
        self._filled.set()

    def close(self) -> None:
        """Close now; what is queued is lost."""
        for task in self._tasks:
            task.cancel()

    async def run(self, on_message: Callable[[str, Message], None], on_drained: Callable[[str], None]) -> None:
        """Write and read until either side ends; raises what ended it, if that was a failure."""
        self._tasks = [asyncio.create_task(self._write(on_drained)), asyncio.create_task(self._read(on_message))]
        try:
            ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                if not task.cancelled():
                    task.result()
        finally:
            self.close()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self, on_drained: Callable[[str], None]) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._queue:
                body = self._queue.popleft()
                if body is None:
                    return
                try:
                    await self._stream.write(Envelope(format=FORMAT, body=body))
                except asyncio.InvalidStateError:
                    return  # the stream has ended; the reader learns why
                self.backlog_bytes -= len(body)
                self.traffic.bytes_out += len(body)
            on_drained(self.peer)

    async def _read(self, on_message: Callable[[str, Message], None]) -> None:
        while True:
            envelope = await self._stream.read()
            if envelope is grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs lack it
                return
            self.traffic.bytes_in += len(envelope.body)
            on_message(self.peer, _open_envelope(envelope))


class Links:
    """All links of one node; see the module's text. Everything runs on the event loop that calls."""

    def __init__(
        self,
        node_name: str,
        cluster_secret: str | None,
        on_message: Callable[[str, Message], None],
        on_connected: Callable[[str, Kind], None],
        on_closed: Callable[[str, Kind], None],
        answer: Callable[[Message], Message | Awaitable[Message]],
    ) -> None:
        """`on_message(peer, message)` hears every link; `on_connected` only those that this node opened itself.

        `answer` replies to Ask, and refuses with a ClusterError. Without a cluster secret anybody is let in.
        """
        self._node_name = node_name
        self._metadata = [("authorization", f"Bearer {cluster_secret}")] if cluster_secret is not None else []
        self._secret_hash = _hash(cluster_secret) if cluster_secret is not None else None
        self._on_message = on_message
        self._on_connected = on_connected
        self._on_closed = on_closed
        self._answer = answer
        self._server: grpc.aio.Server | None = None
        self._is_stopping = False
        self._links: dict[str, list[Link]] = {}  # peer → its open links
        self._callers: dict[Kind, tuple[str, str, asyncio.Task[None]]] = {}  # kind → peer, address, task that dials
        self._inbound_numbers = count(1)
        self.traffic = Traffic()
        self._kept: dict[str, grpc.aio.Channel] = {}  # address → the connection that pings use
        self.on_drained: Callable[[str], None] = _nobody  # all that was queued for a peer has been written

    # -- what others open here

    async def serve(self, address: str) -> int:
        """Listen on `host:port`; returns the port, which matters for port 0. Raises OSError when it is taken."""
        server = grpc.aio.server(options=OPTIONS)
        add_ReplicationServicer_to_server(_Service(self), server)
        try:
            port = server.add_secure_port(address, _credentials()[0])
        except RuntimeError as error:
            await server.stop(0)
            raise OSError(f"cannot listen on {address} for gRPC: {error}") from error
        await server.start()
        self._server = server
        return port

    async def accept(self, kind: Kind, context: Any) -> None:
        """Serve one stream that a peer has opened, until it ends."""
        await self._admit(context)
        link = Link(f"in:{next(self._inbound_numbers)}", kind, context, opened_here=False, traffic=self.traffic)
        try:
            await self._run(link)
        except ClusterError as error:
            log.warning("%s link from %s closed: %s", kind, context.peer(), error)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    async def reply(self, request: Envelope, context: Any) -> Envelope:
        """Serve one Ask."""
        await self._admit(context)
        try:
            answer = self._answer(_open_envelope(request))
            message = await answer if inspect.isawaitable(answer) else answer
            return Envelope(format=FORMAT, body=encode(message))
        except ClusterError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise  # not reached: abort raises

    async def _admit(self, context: Any) -> None:
        """End the call of anybody who does not know the cluster secret."""
        if self._secret_hash is None:
            return
        given = dict(context.invocation_metadata()).get("authorization", "")
        if not hmac.compare_digest(_hash(str(given).removeprefix("Bearer ")), self._secret_hash):
            log.warning("refused %s: wrong cluster secret", context.peer())
            await asyncio.sleep(REFUSAL_DELAY_S)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong cluster secret")

    # -- what this node opens

    def follow(self, peer: str, address: str) -> None:
        """Keep one FOLLOW link to `peer` open, instead of any other."""
        self._call(Kind.FOLLOW, peer, address)

    def unfollow(self) -> None:
        self._hang_up(Kind.FOLLOW)

    def forward_to(self, peer: str, address: str) -> None:
        """Keep one FORWARD link to `peer` open, instead of any other."""
        self._call(Kind.FORWARD, peer, address)

    def unforward(self) -> None:
        self._hang_up(Kind.FORWARD)

    async def ask(self, address: str, message: Message, timeout_s: float) -> Message:
        """The answer of the node at `address`. Raises ClusterError: unreachable, denied, late, or the node's refusal."""
        request = Envelope(format=FORMAT, body=encode(message))
        try:
            async with _channel(address) as channel:
                stub = ReplicationStub(channel)
                return _open_envelope(await stub.Ask(request, metadata=self._metadata, timeout=timeout_s))
        except grpc.aio.AioRpcError as error:
            raise ClusterError(_reason(error, address)) from None

    async def ping(self, address: str, message: Message, timeout_s: float) -> tuple[Message, float]:
        """As `ask`, and how long the answer took in ms, on a connection that is kept, so that connecting does not count."""
        channel = self._kept.get(address)
        if channel is None:
            channel = self._kept[address] = _channel(address)
            await self._ping(channel, address, message, timeout_s)
        return await self._ping(channel, address, message, timeout_s)

    async def _ping(
        self, channel: grpc.aio.Channel, address: str, message: Message, timeout_s: float
    ) -> tuple[Message, float]:
        request = Envelope(format=FORMAT, body=encode(message))
        began_us = microseconds()
        try:
            answer = await ReplicationStub(channel).Ask(request, metadata=self._metadata, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            self._kept.pop(address, None)  # a new one connects at once; this one would wait longer and longer
            await channel.close(None)
            raise ClusterError(_reason(error, address)) from None
        return _open_envelope(answer), (microseconds() - began_us) / 1000

    def _call(self, kind: Kind, peer: str, address: str) -> None:
        if kind in self._callers and self._callers[kind][:2] == (peer, address):
            return
        previous = self._hang_up(kind)
        task = asyncio.create_task(self._keep_open(kind, peer, address, previous), name=f"{kind} {peer}")
        self._callers[kind] = (peer, address, task)

    def _hang_up(self, kind: Kind) -> asyncio.Task[None] | None:
        """Nothing can be sent from now on; on_closed follows when the returned task has ended."""
        if kind not in self._callers:
            return None
        peer, _, task = self._callers.pop(kind)
        for link in self._links_of(peer):
            if link.opened_here and link.kind is kind:
                self._links[peer].remove(link)
        task.cancel()
        return task

    async def _keep_open(self, kind: Kind, peer: str, address: str, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await asyncio.wait([previous])  # so that its on_closed comes before our on_connected
        pause_s = SHORTEST_PAUSE_S
        said = ""
        while True:
            try:
                async with _channel(address) as channel:
                    stub = ReplicationStub(channel)
                    call = (stub.Follow if kind is Kind.FOLLOW else stub.Forward)(metadata=self._metadata)
                    async with asyncio.timeout(CONNECT_TIMEOUT_S):
                        await _let_in(call)
                    log.info("%s link to %s at %s is open", kind, peer, address)
                    pause_s, said = SHORTEST_PAUSE_S, ""
                    await self._run(Link(peer, kind, call, opened_here=True, traffic=self.traffic))
                reason = "it was closed"
            except TimeoutError:
                reason = f"{address} did not answer in time"
            except grpc.aio.AioRpcError as error:
                reason = _reason(error, address)
            except ClusterError as error:
                reason = str(error)
            except Exception:  # a bug of ours: it must be seen, and a node without its links would be worse
                log.exception("%s link to %s failed", kind, peer)
                reason = "a failure of this node"
            if reason != said:  # a peer that stays away is news once
                log.warning("no %s link to %s: %s", kind, peer, reason)
                said = reason
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    # -- what all links share

    def send(self, peer: str, message: Message) -> bool:
        """Queue a message for a peer; False if no link can carry it."""
        for link in self._links_of(peer):
            if link.carries(message):
                link.send(encode(message))
                return True
        return False

    def backlog(self, peer: str) -> int:
        """Bytes queued for a peer and not yet written."""
        return sum(link.backlog_bytes for link in self._links_of(peer))

    def is_busy(self, peer: str) -> bool:
        """Whether something for a peer waits to be written: what is sent later then goes in larger pieces."""
        return self.backlog(peer) > 0

    def close_peer(self, peer: str) -> None:
        """Cut every link to a peer; those that this node keeps open are dialled again."""
        for link in self._links_of(peer):
            link.close()

    async def stop(self, grace_s: float) -> None:
        """End every link and stop listening; what is queued for peers that came in has `grace_s` to be written."""
        self._is_stopping = True
        callers = [task for kind in Kind if (task := self._hang_up(kind)) is not None]
        await asyncio.gather(*callers, return_exceptions=True)
        for channel in list(self._kept.values()):
            await channel.close(None)
        for peer in self._links:
            for link in self._links_of(peer):
                link.finish()
        if self._server is not None:
            await self._server.stop(grace_s)

    def _links_of(self, peer: str) -> list[Link]:
        """The open links to a peer: one that came in, or at most one of each kind that this node opened."""
        return list(self._links.get(peer, ()))

    async def _run(self, link: Link) -> None:
        """Let a link live; messages can be sent to it from its on_connected to its on_closed."""
        links = self._links.setdefault(link.peer, [])
        links.append(link)
        try:
            if link.opened_here:
                self._on_connected(link.peer, link.kind)
            else:
                await link.greet(self._node_name)  # not before: a peer that is in can be sent to
            if self._is_stopping:
                link.finish()  # it came too late to be finished with the others
            await link.run(self._on_message, self.on_drained)
        finally:
            if link in links:
                links.remove(link)
            if not links:
                self._links.pop(link.peer, None)
            self._on_closed(link.peer, link.kind)


class _Service:
    """The calls of protos/replication.proto, as gRPC looks for them."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def Follow(self, _requests: Any, context: Any) -> None:
        await self._links.accept(Kind.FOLLOW, context)

    async def Forward(self, _requests: Any, context: Any) -> None:
        await self._links.accept(Kind.FORWARD, context)

    async def Ask(self, request: Envelope, context: Any) -> Envelope:
        return await self._links.reply(request, context)


def _nobody(_peer: str) -> None:
    pass


def _credentials() -> tuple[grpc.ServerCredentials, grpc.ChannelCredentials]:
    """How links are protected on the wire: plaintext, which config allows on loopback or by `security.plaintext`."""
    channel_credentials = grpc.experimental.insecure_channel_credentials()  # type: ignore[no-untyped-call]
    return grpc.insecure_server_credentials(), channel_credentials


def _channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(address, _credentials()[1], options=OPTIONS)


async def _let_in(call: Any) -> None:
    """Wait until the peer has accepted a stream; raises AioRpcError if it does not."""
    if "node" not in await call.initial_metadata():
        await call.read()  # raises: a refused call has no metadata but a status


def _open_envelope(envelope: Envelope) -> Message:
    if envelope.format != FORMAT:
        raise ClusterError(f"envelope format {envelope.format} is unknown here; upgrade this node")
    return decode(envelope.body)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _reason(error: grpc.aio.AioRpcError, address: str) -> str:
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return f"{address} is unreachable"
        case grpc.StatusCode.UNAUTHENTICATED:
            return f"{address} denied access: {error.details()}"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"{address} did not answer in time"
        case grpc.StatusCode.FAILED_PRECONDITION:
            return error.details() or "refused"
        case code:
            return f"{address} failed with {code.name}: {error.details()}"
