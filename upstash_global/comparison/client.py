"""A client of the REST API that costs little: kept connections, one request at a time on each, answers to callbacks.

The less the client does, the less of what is measured is its own. It knows HTTP as our servers speak it: a head and a body of
known length.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import urlsplit

MAX_WAITING: Final = 200  # of one server, for a connection; reads that come then are not asked, but counted


class Answer:
    """What came back. Times are in ms of `clock_ms`."""

    __slots__ = ("status", "head", "body", "started_ms", "ended_ms")

    def __init__(self, status: int, head: bytes, body: bytes, started_ms: float, ended_ms: float) -> None:
        self.status = status  # 0: the connection was lost
        self.head = head  # in lower case
        self.body = body
        self.started_ms = started_ms
        self.ended_ms = ended_ms

    def header(self, name: bytes) -> bytes:
        """The value of a header, named in lower case; empty without it."""
        return self.head.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0]


def clock_ms() -> float:
    """The one clock of all that is compared: monotonic, with fractions."""
    return time.perf_counter() * 1e3


class Connection(asyncio.Protocol):
    def __init__(self, server: "Server") -> None:
        self.server = server
        self.transport: asyncio.Transport | None = None
        self.received = bytearray()
        self.wanted = -1  # bytes of the answer, once its head is there
        self.head_bytes = 0
        self.started_ms = 0.0
        self.on_answer: Callable[[Answer], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, on_answer: Callable[[Answer], None]) -> None:
        """The answer's time begins now."""
        assert self.transport is not None and self.on_answer is None
        self.on_answer = on_answer
        self.started_ms = clock_ms()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        ended_ms = clock_ms()
        received = self.received
        received += data
        if self.wanted < 0:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head_bytes = end + 4
            length = bytes(received[:end]).lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            self.wanted = self.head_bytes + int(length)
        if len(received) < self.wanted:
            return
        head, body = bytes(received[: self.head_bytes - 2]).lower(), bytes(received[self.head_bytes : self.wanted])
        del received[: self.wanted]
        self.wanted = -1
        self._answer(Answer(int(head[9:12]), head, body, self.started_ms, ended_ms))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.server.lost(self)
        self._answer(Answer(0, b"", b"", self.started_ms, clock_ms()))

    def _answer(self, answer: Answer) -> None:
        on_answer, self.on_answer = self.on_answer, None
        if on_answer is not None:
            if self.transport is not None:
                self.server.idle.append(self)
            on_answer(answer)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


class Server:
    """One REST listener as a client place sees it, with the connections it keeps to it.

    A request takes a connection that is idle. If all are busy another one is opened first, and the answer's time begins when
    it is there.
    """

    def __init__(self, url: str, token: str) -> None:
        place = urlsplit(url)
        self.host, self.port = place.hostname or "", place.port or 80
        self.token = token
        self.idle: list[Connection] = []
        self.connections: set[Connection] = set()
        self.opening: set[asyncio.Task[None]] = set()

    def get(self, path: str) -> bytes:
        return self._request(f"GET {path}", "")

    def post(self, body: str) -> bytes:
        return self._request("POST /", body)

    def _request(self, line: str, body: str) -> bytes:
        length = f"content-length: {len(body.encode())}\r\n" if body else ""
        return (
            f"{line} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\nauthorization: Bearer {self.token}\r\n{length}\r\n{body}"
        ).encode()

    def ask(self, request: bytes, on_answer: Callable[[Answer], None]) -> bool:
        """Send a request. False if too many wait for a connection: then it is not sent."""
        while self.idle:
            connection = self.idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                connection.send(request, on_answer)
                return True
        if len(self.opening) >= MAX_WAITING:
            return False
        task = asyncio.get_running_loop().create_task(self._open_and_send(request, on_answer))
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)
        return True

    async def answer(self, request: bytes) -> Answer:
        """The same, to be awaited."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if not self.ask(request, lambda answer: None if answered.cancelled() else answered.set_result(answer)):
            raise ConnectionError("too many requests wait for a connection")
        return await answered

    async def answer_to_a_stranger(self, request: bytes) -> Answer:
        """The answer on a connection of its own; its time includes opening that."""
        started_ms = clock_ms()
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        connection = await self._open()
        connection.send(request, answered.set_result)
        answer = await answered
        answer.started_ms = started_ms
        if connection in self.idle:
            self.idle.remove(connection)
        connection.close()
        return answer

    async def _open_and_send(self, request: bytes, on_answer: Callable[[Answer], None]) -> None:
        try:
            connection = await self._open()
        except OSError:
            now_ms = clock_ms()
            on_answer(Answer(0, b"", b"", now_ms, now_ms))
            return
        connection.send(request, on_answer)

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), self.host, self.port)
        self.connections.add(connection)
        return connection

    def lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def close(self) -> None:
        for task in list(self.opening):
            task.cancel()
        for connection in list(self.connections):
            connection.close()
