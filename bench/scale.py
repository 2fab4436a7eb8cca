"""Large values: how the cost of commands grows, on collections of a million elements, beside redis-server.

Each collection is loaded into both servers through pipelines; then redis-benchmark runs the commands, in turn.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

from bench.against_redis import Run
from bench.report import Aim, Table, at_least
from bench.servers import Client, Server, our_servers, packed, redis_servers

N: Final = 1_000_000
BATCH: Final = 1_000
ROUNDS: Final = 3
PIPELINE: Final = 16
RANDOM: Final = "__rand_int__"  # below 100,000, twelve digits

COLLECTIONS: Final[dict[str, tuple[str, ...]]] = {  # what makes element number {n}
    "zset": ("ZADD", "zset", "{n}", "member:{n:012d}"),
    "list": ("RPUSH", "list", "element:{n}"),
    "stream": ("XADD", "stream", "{n}-1", "field", "value:{n}"),
    "keys": ("SET", "key:{n}", "{n}"),
}
COMMANDS: Final[list[tuple[str, list[str], int]]] = [  # name, argv, requests in one round
    ("ZADD", ["ZADD", "zset", RANDOM, f"member:{RANDOM}"], 50_000),
    ("ZRANK", ["ZRANK", "zset", f"member:{RANDOM}"], 50_000),
    ("ZRANGE 10 in the middle", ["ZRANGE", "zset", "500000", "500009"], 50_000),
    ("ZRANGEBYSCORE LIMIT 10", ["ZRANGE", "zset", RANDOM, "+inf", "BYSCORE", "LIMIT", "0", "10"], 50_000),
    ("LINDEX in the middle", ["LINDEX", "list", "500000"], 2_000),
    ("LRANGE 10 in the middle", ["LRANGE", "list", "500000", "500009"], 2_000),
    ("LINSERT near the head", ["LINSERT", "list", "BEFORE", "element:100", "x"], 2_000),
    ("LINSERT in the middle", ["LINSERT", "list", "BEFORE", "element:500000", "x"], 200),
    ("XADD", ["XADD", "stream", "*", "field", "value"], 50_000),
    ("XRANGE COUNT 10", ["XRANGE", "stream", RANDOM, "+", "COUNT", "10"], 50_000),
    (
        "XREADGROUP COUNT 10",
        ["XREADGROUP", "GROUP", "group", "reader", "COUNT", "10", "STREAMS", "stream", ">"],
        20_000,
    ),
    ("SCAN COUNT 100", ["SCAN", RANDOM, "COUNT", "100"], 20_000),
]

AIMS: Final[dict[str, Aim]] = {"ZADD": at_least("throughput", 0.5)}


def measure(directory: Path) -> list[Table]:
    table = Table(
        "A million elements",
        f"redis-benchmark, {PIPELINE} commands at a time, on one sorted set, list and stream of {N:,} elements each and "
        f"{N:,} keys; median of {ROUNDS} rounds, measured in turn. Ratios are ours to redis, above 1 is better than redis.",
        ["command", ">ours/s", ">redis/s", ">throughput ratio", ">ours µs CPU", ">redis µs CPU", ">CPU ratio"],
    )
    runs: dict[tuple[str, bool], Run] = {}
    walks: dict[bool, float] = {}
    with redis_servers(directory / "redis") as (theirs,), our_servers(directory / "ours") as (ours,):
        for server in (ours, theirs):
            fill(server)
        for is_ours, server in ((True, ours), (False, theirs)):
            walks[is_ours] = walked(server)
        for _ in range(ROUNDS):
            for name, argv, requests in COMMANDS:
                for is_ours, server in ((True, ours), (False, theirs)):
                    runs.setdefault((name, is_ours), Run()).measure(server, argv, PIPELINE, requests)
    for name, _, _ in COMMANDS:
        ours_run, their_run = runs[(name, True)], runs[(name, False)]
        per_s, their_per_s = median(ours_run.per_s), median(their_run.per_s)
        cpu_us, their_cpu_us = median(ours_run.cpu_us), median(their_run.cpu_us)
        table.add(
            name,
            f"{per_s:,.0f}",
            f"{their_per_s:,.0f}",
            f"{per_s / their_per_s:.2f}",
            f"{cpu_us:.2f}",
            f"{their_cpu_us:.2f}",
            f"{their_cpu_us / max(cpu_us, 0.01):.2f}",
            aims=[(AIMS[name], per_s / their_per_s)] if name in AIMS else (),
        )
    table.add(
        "SCAN of all keys, COUNT 1000",
        f"{1 / walks[True]:.2f}",
        f"{1 / walks[False]:.2f}",
        f"{walks[False] / walks[True]:.2f}",
        "-",
        "-",
        "-",
    )
    return [table]


def fill(server: Server) -> None:
    with server.client() as client:
        for words in COLLECTIONS.values():
            for batch in batches(words):
                send(client, batch)
        client.call("XGROUP", "CREATE", "stream", "group", "0")


def batches(words: tuple[str, ...]) -> Iterator[bytes]:
    for start in range(1, N + 1, BATCH):
        yield b"".join(packed(*(word.format(n=n) for word in words)) for n in range(start, start + BATCH))


def send(client: Client, batch: bytes) -> None:
    """A batch, and as many reply lines as it has commands; an id of a stream takes two."""
    client.socket.sendall(batch)
    wanted = BATCH * (2 if b"XADD" in batch[:20] else 1)
    while wanted > 0:
        wanted -= client.socket.recv(1 << 20).count(b"\r\n")


def walked(server: Server) -> float:
    """Seconds of a whole SCAN."""
    began = time.perf_counter()
    with server.client() as client:
        cursor = "0"
        while True:
            client.socket.sendall(packed("SCAN", cursor, "COUNT", "1000"))
            reply = client.socket.recv(1 << 20)
            while reply.count(b"\r\n") < 4:
                reply += client.socket.recv(1 << 20)
            cursor = reply.split(b"\r\n")[2].decode()
            n_lines = 4 + 2 * int(reply.split(b"\r\n")[3][1:])
            while reply.count(b"\r\n") < n_lines:
                reply += client.socket.recv(1 << 20)
            if cursor == "0":
                return time.perf_counter() - began
