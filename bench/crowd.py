"""A crowd: what a request costs while thousands of other connections idle or hear events at the same node."""

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from bench.report import Table
from bench.rest import TOKEN, wait_until_answered
from bench.servers import Server, Unavailable, our_servers
from upstash_global.server.descriptors import allow_connections

IDLE: Final = 10_000
LISTENING: Final = 1_000
AIM: Final = 2.0
SECONDS: Final = 2.0  # of one round
ROUNDS: Final = 5
OTHERS: Final = 10  # connections that ask, one after the other
BATCH: Final = 200  # opened before any of them has shown its token: an address may have so many strangers
MESSAGE_S: Final = 1.0  # between two messages that all subscribers hear
TIMEOUT_S: Final = 60.0
LIMITS: Final = "{http_idle_ms: 3600000}"  # the crowd stays, however long it takes to gather


def asked(line: str) -> bytes:
    return f"{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


GET: Final = asked("GET /get/key")
SUBSCRIBE: Final = asked("GET /subscribe/news")


def measure(
    directory: Path, idle: int = IDLE, listening: int = LISTENING, rounds: int = ROUNDS, compiled: bool = True
) -> list[Table]:
    limit = allow_connections(0)
    if limit != resource.RLIM_INFINITY and limit < idle + listening + 1_000:
        raise Unavailable(f"{idle + listening:,} connections need more open files than {limit:,} (ulimit -n)")
    table = Table(
        "A crowd on one node",
        f"Latency of GET over REST, {OTHERS} connections asking one after the other, median of {rounds} rounds of {SECONDS:g} s, "
        f"while others are connected to the same node and do nothing. Default limits but http_idle_ms. The aim is a p99 of at most {AIM:g} times the one without "
        "them, which is the better of those before and after.",
        ["beside them", ">requests/s", ">p50 µs", ">p99 µs", ">p99.9 µs", ">times p99 alone", ">KiB for each"],
    )
    with our_servers(directory / "ours", compiled=compiled, token=TOKEN, limits=LIMITS) as (server,):
        wait_until_answered(server.rest_port, "/set/key/value", f"Bearer {TOKEN}")
        probe(server, 1)  # warm
        before_bytes = server.peak_bytes()
        rows = [("nobody", probe(server, rounds), 0.0)]
        with connected(server, idle, GET, b'{"result":"value"}') as idlers:
            each = (server.peak_bytes() - before_bytes) / idle / 1024
            rows.append((f"{idle:,} idle connections", probe(server, rounds), each))
            before_bytes = server.peak_bytes()
            with connected(server, listening, SUBSCRIBE, b"news,1\n\n\r\n") as listeners:
                each = (server.peak_bytes() - before_bytes) / listening / 1024
                rows.append((f"and {listening:,} subscribers", probe(server, rounds), each))
                with messages(server):
                    rows.append((f"which hear a message every {MESSAGE_S:g} s", probe(server, rounds), 0.0))
                demand_open([*idlers, *listeners])
        rows.append(("nobody again", probe(server, rounds), 0.0))
    alone_us = min(percentile(rows[0][1], 99), percentile(rows[-1][1], 99))
    for name, measured, each in rows:
        p99_us = percentile(measured, 99)
        table.add(
            name,
            f"{median([len(times_us) for times_us in measured]) / SECONDS:,.0f}",
            f"{percentile(measured, 50):.0f}",
            f"{p99_us:.0f}",
            f"{percentile(measured, 99.9):.0f}",
            f"{p99_us / alone_us:.2f}",
            f"{each:.1f}" if each else "-",
        )
    return [table]


def percentile(rounds: list[list[float]], percent: float) -> float:
    """The median of what the rounds have there."""
    return median([quantiles(times_us, n=1_000)[int(percent * 10) - 1] for times_us in rounds])


def probe(server: Server, rounds: int) -> list[list[float]]:
    """How long each request of each round took, in µs."""
    sockets = [opened(server) for _ in range(OTHERS)]
    measured = [probed(sockets) for _ in range(rounds)]
    for each in sockets:
        each.close()
    return measured


def probed(sockets: list[socket.socket]) -> list[float]:
    times_us: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for each in sockets:
            began = time.perf_counter()
            each.sendall(GET)
            answer = each.recv(65536)
            times_us.append((time.perf_counter() - began) * 1e6)
            if not answer.endswith(b'{"result":"value"}'):
                raise Unavailable(f"GET was answered {answer!r}")
    return times_us


def opened(server: Server) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", server.rest_port), TIMEOUT_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


@contextmanager
def connected(server: Server, n: int, sent: bytes, end: bytes) -> Iterator[list[socket.socket]]:
    """So many connections, each of which has had the answer to one request, or its beginning."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < n:
            batch = [opened(server) for _ in range(min(BATCH, n - len(sockets)))]
            sockets += batch
            for each in batch:
                each.sendall(sent)
            for each in batch:
                answer = b""
                while not answer.endswith(end):
                    piece = each.recv(65536)
                    if not piece:
                        raise Unavailable(f"one of {n:,} connections was closed after {answer!r}")
                    answer += piece
        yield sockets
    finally:
        for each in sockets:
            each.close()


@contextmanager
def messages(server: Server) -> Iterator[None]:
    """Publish now and then, from a thread that does little else than wait."""
    stop = threading.Event()

    def publish() -> None:
        with opened(server) as publisher:
            while not stop.wait(MESSAGE_S):
                publisher.sendall(asked("GET /publish/news/hello"))
                publisher.recv(65536)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def demand_open(sockets: list[socket.socket]) -> None:
    """Raises Unavailable if more of them were closed than had to make room: then it was not what was to be measured.

    Room is made for those who ask, and for subscribers until they have said what they are.
    """
    n_closed = 0
    for each in sockets:
        each.setblocking(False)
        with suppress(BlockingIOError):
            n_closed += not each.recv(1, socket.MSG_PEEK)
    if n_closed > OTHERS + 1 + BATCH:
        raise Unavailable(f"{n_closed} connections of the crowd were closed before the end")
