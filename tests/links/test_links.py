"""Two nodes' Links speaking over real gRPC on loopback."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import grpc.aio
import pytest
import uvloop

from upstash_global.errors import ClusterError
from upstash_global.replication.messages import Entries, Forward, Message, encode
from upstash_global.server.links import FORMAT, Kind, Links
from upstash_global.server.pb.replication_pb2 import Envelope
from upstash_global.server.pb.replication_pb2_grpc import ReplicationStub

LIMIT_S = 60.0  # a test that hangs fails after this; none waits for it otherwise


def entries(n: int, data: bytes = b"") -> Entries:
    """A message for the follow link, number `n`."""
    return Entries(epoch=1, records=data, count=1, first_lsn=n, last_lsn=n)


def forward(n: int, data: bytes = b"") -> Forward:
    """A message for the forward link, number `n`."""
    return Forward("tokyo", "boot", 1, n, "default", "run", [[b"SET", b"k", data]])


def number(message: Message) -> int:
    assert isinstance(message, Entries)
    return message.first_lsn


class Peer:
    """One end: its Links, what it heard, and a way to wait for the next event."""

    def __init__(
        self, name: str, secret: str | None = "s3cret", answer: Callable[[Message], Any] | None = None
    ) -> None:
        self.heard: dict[str, list[Message]] = {}
        self.events: list[str] = []  # "connected leader follow", "closed in:1 follow"
        self._changed = asyncio.Event()
        self.links = Links(name, secret, self._on_message, self._on_connected, self._on_closed, answer or self._echo)
        self.address = ""

    async def serve(self, address: str = "127.0.0.1:0") -> "Peer":
        self.address = f"127.0.0.1:{await self.links.serve(address)}"
        return self

    async def until(self, happened: Callable[[], Any]) -> None:
        while not happened():
            self._changed.clear()
            await self._changed.wait()

    async def hears(self, peer: str, count: int) -> list[Message]:
        await self.until(lambda: len(self.heard.get(peer, [])) >= count)
        return self.heard[peer]

    async def sees(self, event: str, times: int = 1) -> None:
        await self.until(lambda: self.events.count(event) >= times)

    def _echo(self, message: Message) -> Message:
        return message

    def _on_message(self, peer: str, message: Message) -> None:
        self.heard.setdefault(peer, []).append(message)
        self._changed.set()

    def _on_connected(self, peer: str, kind: Kind) -> None:
        self.events.append(f"connected {peer} {kind}")
        self._changed.set()

    def _on_closed(self, peer: str, kind: Kind) -> None:
        self.events.append(f"closed {peer} {kind}")
        self._changed.set()


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(LIMIT_S):
            await story()

    uvloop.run(bounded())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_messages_arrive_in_order_on_both_ways_of_a_follow_link() -> None:
    async def story() -> None:
        leader, replica = await Peer("leader").serve(), Peer("tokyo")
        replica.links.follow("leader", leader.address)
        await replica.sees("connected leader follow")
        for n in range(2000):
            assert replica.links.send("leader", entries(n))
        assert [number(message) for message in await leader.hears("in:1", 2000)] == list(range(2000))
        for n in range(2000):
            assert leader.links.send("in:1", entries(n))
        assert [number(message) for message in await replica.hears("leader", 2000)] == list(range(2000))
        n_bytes = sum(len(encode(entries(n))) for n in range(2000))
        for each in (leader, replica):
            assert (each.links.traffic.bytes_in, each.links.traffic.bytes_out) == (n_bytes, n_bytes)
        await replica.links.stop(1)
        await leader.links.stop(1)

    run(story)


def test_forwards_take_their_own_link_and_never_the_one_of_the_log() -> None:
    async def story() -> None:
        leader, replica = await Peer("leader").serve(), Peer("tokyo")
        replica.links.follow("leader", leader.address)
        await replica.sees("connected leader follow")
        assert not replica.links.send("leader", forward(1))
        replica.links.forward_to("leader", leader.address)
        await replica.sees("connected leader forward")
        assert replica.links.send("leader", forward(2))
        assert replica.links.send("leader", entries(3))
        await leader.hears("in:1", 1)
        await leader.hears("in:2", 1)
        assert leader.heard == {"in:1": [entries(3)], "in:2": [forward(2)]}
        replica.links.unfollow()
        assert not replica.links.send("leader", entries(4))
        await replica.sees("closed leader follow")
        await leader.sees("closed in:1 follow")
        assert replica.links.send("leader", forward(5))
        await leader.hears("in:2", 2)
        await replica.links.stop(1)
        await leader.links.stop(1)

    run(story)


def test_a_link_is_dialled_again_after_the_peer_restarts() -> None:
    async def story() -> None:
        leader, replica = await Peer("leader").serve(), Peer("tokyo")
        replica.links.follow("leader", leader.address)
        await replica.sees("connected leader follow")
        await leader.links.stop(0)
        await replica.sees("closed leader follow")
        assert not replica.links.send("leader", entries(1))
        leader = await Peer("leader").serve(leader.address)
        await replica.sees("connected leader follow", times=2)
        assert replica.links.send("leader", entries(2))
        assert await leader.hears("in:1", 1) == [entries(2)]
        await replica.links.stop(1)
        await leader.links.stop(1)

    run(story)


def test_a_link_waits_for_a_peer_that_starts_later() -> None:
    async def story() -> None:
        address = f"127.0.0.1:{free_port()}"
        replica = Peer("tokyo")
        replica.links.forward_to("leader", address)
        with pytest.raises(ClusterError, match="unreachable"):
            await replica.links.ask(address, entries(1), timeout_s=LIMIT_S)
        leader = await Peer("leader").serve(address)
        await replica.sees("connected leader forward")
        await replica.links.stop(1)
        await leader.links.stop(1)

    run(story)


def test_both_sides_hear_once_that_a_link_has_closed() -> None:
    async def story() -> None:
        leader, replica = await Peer("leader").serve(), Peer("tokyo")
        replica.links.follow("leader", leader.address)
        await replica.sees("connected leader follow")
        replica.links.unfollow()
        await leader.sees("closed in:1 follow")
        await replica.sees("closed leader follow")
        assert not leader.links.send("in:1", entries(1))
        await replica.links.stop(1)
        await leader.links.stop(1)
        assert leader.events == ["closed in:1 follow"]
        assert replica.events == ["connected leader follow", "closed leader follow"]

    run(story)


def test_close_peer_cuts_a_link_and_the_one_who_opened_it_dials_again() -> None:
    async def story() -> None:
        leader, replica = await Peer("leader").serve(), Peer("tokyo")
        replica.links.follow("leader", leader.address)
        await replica.sees("connected leader follow")
        assert replica.links.send("leader", entries(1))
        await leader.hears("in:1", 1)
        leader.links.close_peer("in:1")
        await replica.sees("connected leader follow", times=2)
        replica.links.close_peer("leader")
        await replica.sees("connected leader follow", times=3)
        await leader.sees("closed in:2 follow")
        await replica.links.stop(1)
        await leader.links.stop(1)

    run(story)


def test_following_another_node_ends_the_link_to_the_first() -> None:
    async def story() -> None:
        leader, other, replica = await Peer("leader").serve(), await Peer("other").serve(), Peer("tokyo")
        replica.links.follow("leader", leader.address)
        await replica.sees("connected leader follow")
        replica.links.follow("leader", leader.address)  # as before: nothing happens
        replica.links.follow("other", other.address)
        await replica.sees("connected other follow")
        assert replica.events == ["connected leader follow", "closed leader follow", "connected other follow"]
        await leader.sees("closed in:1 follow")
        for peer in (replica, leader, other):
            await peer.links.stop(1)

    run(story)


@pytest.mark.parametrize("secret", ["wrong", None])
def test_a_wrong_cluster_secret_is_denied_on_every_call(secret: str | None, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        leader, stranger = await Peer("leader").serve(), Peer("stranger", secret=secret)
        with pytest.raises(ClusterError, match="denied"):
            await stranger.links.ask(leader.address, entries(1), timeout_s=LIMIT_S)
        stranger.links.follow("leader", leader.address)
        stranger.links.forward_to("leader", leader.address)
        denied = f"to leader: {leader.address} denied access"
        while not all(f"no {kind} link {denied}" in caplog.text for kind in Kind):
            await asyncio.sleep(0)
        await stranger.links.stop(1)
        await leader.links.stop(1)
        assert leader.heard == {} and leader.events == [] and stranger.events == []
        assert "s3cret" not in caplog.text

    run(story)


def test_without_a_cluster_secret_anybody_is_let_in() -> None:
    async def story() -> None:
        leader = await Peer("leader", secret=None).serve()
        for secret in (None, "any"):
            answer = await Peer("cli", secret=secret).links.ask(leader.address, entries(7), timeout_s=LIMIT_S)
            assert answer == entries(7)
        await leader.links.stop(1)

    run(story)


def test_a_message_of_20_mb_passes_and_counts_as_backlog_until_it_is_written() -> None:
    async def story() -> None:
        leader, replica = await Peer("leader").serve(), Peer("tokyo")
        replica.links.forward_to("leader", leader.address)
        await replica.sees("connected leader forward")
        large = forward(1, b"x" * 20_000_000)
        replica.links.send("leader", large)
        assert replica.links.backlog("leader") == len(encode(large))
        assert await leader.hears("in:1", 1) == [large]
        leader.links.send("in:1", entries(2))
        await replica.hears("leader", 1)
        assert replica.links.backlog("leader") == 0
        assert replica.links.backlog("nobody") == 0
        await replica.links.stop(1)
        await leader.links.stop(1)

    run(story)


def test_stop_still_writes_what_is_queued_for_a_follower() -> None:
    async def story() -> None:
        leader, replica = await Peer("leader").serve(), Peer("tokyo")
        replica.links.follow("leader", leader.address)
        await replica.sees("connected leader follow")
        for n in range(200):
            assert leader.links.send("in:1", entries(n, b"x" * 10_000))
        await leader.links.stop(LIMIT_S)
        assert len(await replica.hears("leader", 200)) == 200
        await replica.links.stop(1)

    run(story)


def test_stop_ends_a_link_that_is_just_being_let_in() -> None:
    async def story() -> None:
        for turns in range(0, 60, 2):  # of the loop between dialling and stopping
            leader, replica = await Peer("leader").serve(), Peer("tokyo")
            replica.links.follow("leader", leader.address)
            for _ in range(turns):
                await asyncio.sleep(0)
            await leader.links.stop(LIMIT_S)
            await replica.links.stop(1)

    run(story)


def test_ask_is_answered_at_once_or_later_or_refused_with_the_reason() -> None:
    async def story() -> None:
        async def later(message: Message) -> Message:
            await asyncio.sleep(0)
            return entries(number(message) + 1)

        def answer(message: Message) -> Message | Awaitable[Message]:
            if number(message) == 0:
                raise ClusterError("this node leads epoch 7")
            return later(message)

        leader, cli = await Peer("leader", answer=answer).serve(), Peer("cli")
        assert await cli.links.ask(leader.address, entries(1), timeout_s=LIMIT_S) == entries(2)
        with pytest.raises(ClusterError, match="this node leads epoch 7"):
            await cli.links.ask(leader.address, entries(0), timeout_s=LIMIT_S)
        await leader.links.stop(1)

    run(story)


def test_ask_gives_up_after_its_timeout() -> None:
    async def story() -> None:
        async def never(message: Message) -> Message:
            await asyncio.Event().wait()
            return message

        leader, cli = await Peer("leader", answer=never).serve(), Peer("cli")
        with pytest.raises(ClusterError, match="in time"):
            await cli.links.ask(leader.address, entries(1), timeout_s=0.05)
        await leader.links.stop(0)

    run(story)


@pytest.mark.parametrize("envelope", [Envelope(format=99, body=b"\x90"), Envelope(format=FORMAT, body=b"\xc1garbage")])
def test_what_is_no_message_ends_the_link_with_the_reason(envelope: Envelope) -> None:
    async def story() -> None:
        leader = await Peer("leader", secret=None).serve()
        async with grpc.aio.insecure_channel(leader.address) as channel:
            call = ReplicationStub(channel).Follow()
            await call.write(envelope)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call.read()
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert refused.value.details()
        await leader.sees("closed in:1 follow")
        assert leader.heard == {}
        await leader.links.stop(1)

    run(story)


def test_an_address_in_use_is_an_error_at_start() -> None:
    async def story() -> None:
        leader = await Peer("leader").serve()
        with pytest.raises(OSError, match=leader.address):
            await Peer("second").serve(leader.address)
        await leader.links.stop(1)

    run(story)
