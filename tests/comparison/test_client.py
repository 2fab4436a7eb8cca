"""The client: an answer arrives whole in whatever pieces it comes, connections are kept, and a lost one is a failed answer."""

import asyncio
from collections.abc import Awaitable, Callable

from upstash_global.comparison.client import Server

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\nUpstash-Edge-Cache: hit\r\n\r\n{"result":"1"}'

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def with_server(serve: Serve, ask: Callable[[Server], Awaitable[None]]) -> None:
    async def run() -> None:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = Server(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", "token")
        try:
            await ask(client)
        finally:
            client.close()
            listening.close()

    asyncio.run(asyncio.wait_for(run(), 60))


async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request, each answer cut at another place."""
    cut = 1
    while await reader.readuntil(b"\r\n\r\n"):
        for piece in (ANSWER[:cut], ANSWER[cut:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        cut = cut % (len(ANSWER) - 1) + 1


def test_an_answer_arrives_whole_in_whatever_pieces_it_comes() -> None:
    async def ask(client: Server) -> None:
        for _ in range(len(ANSWER) - 1):
            answer = await client.answer(client.get("/get/k"))
            assert (answer.status, answer.body) == (200, b'{"result":"1"}')
            assert answer.header(b"upstash-edge-cache") == b"hit"
            assert answer.header(b"upstash-position") == b""
            assert answer.started_ms <= answer.ended_ms
        assert len(client.connections) == 1  # kept from the first to the last

    with_server(in_pieces, ask)


def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    async def ask(client: Server) -> None:
        answers = await asyncio.gather(*[client.answer(client.get("/get/k")) for _ in range(5)])
        assert [answer.status for answer in answers] == [200] * 5
        assert len(client.idle) == len(client.connections) == 5

    with_server(in_pieces, ask)


def test_a_stranger_s_connection_is_not_kept() -> None:
    async def ask(client: Server) -> None:
        answer = await client.answer_to_a_stranger(client.get("/get/k"))
        assert answer.status == 200 and client.idle == []

    with_server(in_pieces, ask)


def test_a_connection_that_is_lost_fails_its_answer_and_is_not_asked_again() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER[:-1])
        writer.close()

    async def ask(client: Server) -> None:
        answer = await client.answer(client.get("/get/k"))
        assert answer.status == 0 and client.idle == []

    with_server(hang_up, ask)


def test_a_server_that_is_not_there_fails_the_answer() -> None:
    async def ask() -> None:
        client = Server("http://127.0.0.1:1", "token")
        assert (await client.answer(client.get("/get/k"))).status == 0

    asyncio.run(asyncio.wait_for(ask(), 60))
