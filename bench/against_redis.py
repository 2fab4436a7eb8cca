"""Throughput and CPU per command, by redis-benchmark: our leader and a redis-server, both alone, then both with a replica.

The two are measured in turn, round after round, so that what else the machine does meets both. The CPU time is that of
the server process alone, all threads: on a busy machine it says more than throughput, which other processes share.
"""

import csv
import subprocess
from pathlib import Path
from statistics import median
from typing import Final

from bench.report import Aim, Table, at_least
from bench.servers import Server, Unavailable, our_servers, redis_servers

PIPELINES: Final = (1, 16)
CLIENTS: Final = 50
ROUNDS: Final = 3
REQUESTS: Final = {1: 20_000, 16: 100_000}  # of a cheap command, in one round
TIMEOUT_S: Final = 60

VALUE: Final = "v" * 64
KEYS: Final = 100_000
LIMITER: Final = """
local n = redis.call('INCRBY', KEYS[1], ARGV[1])
if n == tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return {n, redis.call('PTTL', KEYS[1])}"""
COMMANDS: Final[list[tuple[str, list[str], float]]] = [  # name, argv, share of the requests
    ("SET", ["SET", "key:__rand_int__", VALUE], 1),
    ("GET", ["GET", "key:__rand_int__"], 1),
    ("INCR", ["INCR", "counter:__rand_int__"], 1),
    ("LPUSH", ["LPUSH", "list", VALUE], 1),
    ("RPUSH", ["RPUSH", "list", VALUE], 1),
    ("LPOP", ["LPOP", "list"], 1),
    ("SADD", ["SADD", "set", "element:__rand_int__"], 1),
    ("HSET", ["HSET", "hash", "element:__rand_int__", VALUE], 1),
    ("SPOP", ["SPOP", "set"], 0.5),
    ("ZADD", ["ZADD", "zset", "__rand_int__", "element:__rand_int__"], 1),
    ("MSET (10 keys)", ["MSET", *(part for _ in range(10) for part in ("key:__rand_int__", VALUE))], 0.2),
    ("LRANGE_100", ["LRANGE", "list", "0", "99"], 0.2),
    ("EXPIRE", ["EXPIRE", "key:__rand_int__", "1000"], 1),
    ("PFADD", ["PFADD", "hll", "element:__rand_int__"], 0.5),
    ("BITFIELD", ["BITFIELD", "bits:__rand_int__", "INCRBY", "u16", "0", "1"], 0.5),
    ("XADD, MAXLEN ~", ["XADD", "log", "MAXLEN", "~", "1000", "*", "field", VALUE], 0.5),
    ("PUBLISH", ["PUBLISH", "channel", VALUE], 1),
    ("EVAL: a GET", ["EVAL", "return redis.call('GET', KEYS[1])", "1", "key:__rand_int__"], 0.5),
    ("EVAL: a rate limit", ["EVAL", LIMITER, "1", "limit:__rand_int__", "1", "10000"], 0.5),
]


AIMS: Final[dict[tuple[str, int], Aim]] = {  # by command and pipeline, of a server alone
    (name, pipeline): at_least("throughput", least)
    for name in ("GET", "SET")
    for pipeline, least in ((1, 0.85), (16, 0.8))
} | {("EVAL: a GET", 16): at_least("throughput", 0.25)}


class Run:
    """One command at one depth of pipelining: what each round gave."""

    def __init__(self) -> None:
        self.per_s: list[float] = []
        self.cpu_us: list[float] = []

    def measure(self, server: Server, argv: list[str], pipeline: int, requests: int) -> None:
        before = server.cpu_s()
        self.per_s.append(benchmark(server, argv, pipeline, requests))
        self.cpu_us.append((server.cpu_s() - before) / requests * 1e6)


def benchmark(server: Server, argv: list[str], pipeline: int, requests: int) -> float:
    """Commands per second as redis-benchmark saw them."""
    command = ["redis-benchmark", "-p", str(server.port), "-c", str(CLIENTS), "-P", str(pipeline), "-n", str(requests)]
    command += ["-r", str(KEYS), "--csv", *argv]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except FileNotFoundError:
        raise Unavailable("redis-benchmark is not installed") from None
    except subprocess.SubprocessError as failure:
        raise Unavailable(f"redis-benchmark failed: {failure}") from None
    return float(list(csv.reader(done.stdout.splitlines()))[-1][1])


def measure(directory: Path) -> list[Table]:
    """Both alone with every command, and both with a replica with the commands that are replicated most."""
    return [_measured(directory / "alone", 0, None), _measured(directory / "followed", 1, ["SET", "INCR", "LPUSH"])]


def _measured(directory: Path, n_replicas: int, names: list[str] | None, rounds: int = ROUNDS) -> Table:
    """`names` chooses some of the commands."""
    chosen = [each for each in COMMANDS if names is None or each[0] in names]
    runs: dict[tuple[str, int, bool], Run] = {}
    with (
        redis_servers(directory / "redis", n_replicas) as (theirs, *_),
        our_servers(directory / "ours", n_replicas) as (ours, *_),
    ):
        for _ in range(rounds):
            for pipeline in PIPELINES:
                for name, argv, share in chosen:
                    requests = int(REQUESTS[pipeline] * share)
                    for is_ours, server in ((True, ours), (False, theirs)):
                        run = runs.setdefault((name, pipeline, is_ours), Run())
                        run.measure(server, argv, pipeline, requests)
    table = Table(
        "Commands against redis-server" + (", both with a replica that follows" if n_replicas else ""),
        f"redis-benchmark, {CLIENTS} clients, {len(VALUE)} B values, {KEYS} keys, median of {rounds} rounds, measured in turn. "
        "Ours: a leader, fsync everysec; redis: appendonly yes, appendfsync everysec. "
        "Ratios are ours to redis, above 1 is better than redis; the CPU is that of the server process.",
        ["command", ">P", ">ours/s", ">redis/s", ">throughput ratio", ">ours µs CPU", ">redis µs CPU", ">CPU ratio"],
    )
    is_judged = n_replicas == 0
    for pipeline in PIPELINES:
        for name, _, _ in chosen:
            ours_run, their_run = runs[(name, pipeline, True)], runs[(name, pipeline, False)]
            per_s, their_per_s = median(ours_run.per_s), median(their_run.per_s)
            cpu_us, their_cpu_us = median(ours_run.cpu_us), median(their_run.cpu_us)
            table.add(
                name,
                pipeline,
                f"{per_s:,.0f}",
                f"{their_per_s:,.0f}",
                f"{per_s / their_per_s:.2f}",
                f"{cpu_us:.2f}",
                f"{their_cpu_us:.2f}",
                f"{their_cpu_us / cpu_us:.2f}",
                aims=[(AIMS[name, pipeline], per_s / their_per_s)] if is_judged and (name, pipeline) in AIMS else (),
            )
    return table
