"""REST: our leader beside webdis in front of a redis-server, by wrk: requests a second, and the CPU that each costs.

Ours checks a bearer token with every request; webdis checks nothing. It knows no pipelines, so a pipeline of ten commands is
compared with ten of its requests. The CPU of theirs is that of webdis and redis-server together.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from bench.report import Table, at_least
from bench.servers import START_S, Server, Unavailable, free_ports, our_servers, redis_servers, started

CONNECTIONS: Final = 50
SECONDS: Final = 3
ROUNDS: Final = 3
TIMEOUT_S: Final = 60
TOKEN: Final = "bench-token"
VALUE: Final = "v" * 64
PIPELINE: Final = json.dumps([["GET", f"key:{n}"] for n in range(10)])

# name, commands in a request, our wrk script, the path at webdis
REQUESTS: Final = [
    ("GET", 1, 'wrk.path = "/get/key:1"', "/GET/key:1"),
    ("SET", 1, f'wrk.path = "/set/key:1/{VALUE}"', f"/SET/key:1/{VALUE}"),
    ("pipeline of 10 GET", 10, f"wrk.path = '/pipeline'\nwrk.method = 'POST'\nwrk.body = '{PIPELINE}'", "/GET/key:1"),
]

THROUGHPUT: Final = at_least("throughput", 1.3)
CPU: Final = at_least("CPU", 1.0)

_opener: Final = build_opener(ProxyHandler({}))


class Run:
    """One kind of request: what each round gave, counted in commands."""

    def __init__(self) -> None:
        self.per_s: list[float] = []
        self.cpu_us: list[float] = []

    def measure(self, servers: list[Server], port: int, script: Path, commands: int) -> None:
        before = sum(server.cpu_s() for server in servers)
        n, took_s = wrk(port, script)
        self.per_s.append(n * commands / took_s)
        self.cpu_us.append((sum(server.cpu_s() for server in servers) - before) / (n * commands) * 1e6)


def measure(directory: Path, seconds: int = SECONDS, rounds: int = ROUNDS, compiled: bool = True) -> list[Table]:
    """The table of both. Raises Unavailable without wrk or webdis."""
    missing = [name for name in ("wrk", "webdis") if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"{' and '.join(missing)} cannot be found; in Debian: apt-get install {' '.join(missing)}")
    runs: dict[tuple[str, bool], Run] = {}
    with (
        redis_servers(directory / "redis") as (redis, *_),
        webdis(directory, redis.port) as (their, their_port),
        our_servers(directory / "ours", compiled=compiled, token=TOKEN) as (ours, *_),
    ):
        wait_until_answered(ours.rest_port, "/ping", f"Bearer {TOKEN}")
        for _ in range(rounds):
            for name, commands, script, path in REQUESTS:
                mine, others = directory / "ours.lua", directory / "webdis.lua"
                mine.write_text(f'{script}\nwrk.headers["Authorization"] = "Bearer {TOKEN}"\n{CHECK}')
                others.write_text(f'wrk.path = "{path}"\n{CHECK}')
                runs.setdefault((name, True), Run()).measure([ours], ours.rest_port, mine, commands)
                runs.setdefault((name, False), Run()).measure([their, redis], their_port, others, 1)
    table = Table(
        "REST against webdis",
        f"wrk, {CONNECTIONS} connections kept, {len(VALUE)} B values, median of {rounds} rounds of {seconds} s, measured in "
        "turn, counted in commands. Ours: a leader, fsync everysec, the token checked; theirs: webdis in front of a "
        "redis-server with appendfsync everysec, no token, and a request for each command. Ratios are ours to theirs, above 1 is "
        "better than theirs; their CPU is that of both processes.",
        [
            "request",
            ">ours/s",
            ">webdis/s",
            ">throughput ratio",
            ">ours µs CPU",
            ">webdis + redis µs CPU",
            ">CPU ratio",
        ],
    )
    for name, _, _, _ in REQUESTS:
        mine_run, their_run = runs[(name, True)], runs[(name, False)]
        per_s, their_per_s = median(mine_run.per_s), median(their_run.per_s)
        cpu_us, their_cpu_us = median(mine_run.cpu_us), median(their_run.cpu_us)
        table.add(
            name,
            f"{per_s:,.0f}",
            f"{their_per_s:,.0f}",
            f"{per_s / their_per_s:.2f}",
            f"{cpu_us:.2f}",
            f"{their_cpu_us:.2f}",
            f"{their_cpu_us / cpu_us:.2f}",
            aims=[(THROUGHPUT, per_s / their_per_s), (CPU, their_cpu_us / cpu_us)],
        )
    return [table]


# What wrk prints at its end, and that every answer was one.
CHECK: Final = """
done = function(summary)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format("measured %d %d %d\\n", summary.requests, summary.duration, failed))
end
"""


def wrk(port: int, script: Path, seconds: int = SECONDS) -> tuple[int, float]:
    """(requests, seconds) of a run; raises Unavailable when one of them failed."""
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "-s", str(script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    measured = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("measured ")]
    if done.returncode != 0 or not measured or measured[0][2] != "0":
        raise Unavailable(f"wrk failed: {done.stdout}{done.stderr}")
    return int(measured[0][0]), int(measured[0][1]) / 1e6


@contextmanager
def webdis(directory: Path, redis_port: int) -> Iterator[tuple[Server, int]]:
    """webdis in front of a redis-server: (process, port of HTTP)."""
    (port,) = free_ports(1)
    log = directory / "webdis.log"
    settings = {
        "redis_host": "127.0.0.1",
        "redis_port": redis_port,
        "http_host": "127.0.0.1",
        "http_port": port,
        "threads": 1,
        "pool_size": 10,
        "daemonize": False,
        "websockets": False,
        "database": 0,
        "verbosity": 1,
        "logfile": str(directory / "webdis.own.log"),
    }
    file = directory / "webdis.json"
    file.write_text(json.dumps(settings))
    server = started(["webdis", str(file)], port, log, directory)
    try:
        wait_until_answered(port, "/PING", "")
        yield server, port
    finally:
        server.stop()


def wait_until_answered(port: int, path: str, authorization: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            _opener.addheaders = [("Authorization", authorization)]
            with _opener.open(f"http://127.0.0.1:{port}{path}", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise Unavailable(f"nobody answers on port {port}")
