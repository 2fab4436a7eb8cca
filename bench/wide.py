"""The wide area as `up --wan` simulates it, and how long `up` takes to be ready."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.report import Table
from bench.servers import REPOSITORY, Client, Unavailable, node_command

SAMPLES: Final = 15
READY_S: Final = 120.0
STOP_S: Final = 30.0


class Member:
    def __init__(self, node: dict[str, Any], password: str) -> None:
        self.name: str = node["name"]
        self.region: str = node["region"]
        self.is_leader = node["role"] == "leader"
        self.client = Client(int(node["resp"].rpartition(":")[2]))
        self.client.call("AUTH", password)


def measure_wan(directory: Path) -> list[Table]:
    from upstash_global.config import Wan

    table = Table(
        "Across regions",
        "`upstash-global up --wan`: a leader in us-east-1 and a replica in each region, delayed by our own proxies. "
        f"Medians of {SAMPLES}, in milliseconds. RTT: what is simulated between the region and the leader's. Write: a SET "
        "sent to the region's replica until its answer, which the replica gives once it has applied the write. "
        "Visible: from that answer until the value is read in the other region that sees it last. Read: a GET at the "
        "replica.",
        ["region", ">RTT", ">write", ">write : RTT", ">visible in all", ">read"],
    )
    with cluster(directory, True, True) as (endpoints, _):
        members = [Member(node, endpoints["password"]) for node in endpoints["nodes"]]
        leader_region = next(member.region for member in members if member.is_leader)
        for member in members:
            writes, visible, reads = [], [], []
            others = [other for other in members if other is not member]
            for n in range(SAMPLES):
                value = f"{member.name}-{n}"
                began = time.perf_counter()
                member.client.call("SET", "wan", value)
                answered = time.perf_counter()
                writes.append(answered - began)
                waiting = list(others)
                while waiting:
                    waiting = [other for other in waiting if value.encode() not in other.client.call("GET", "wan")]
                visible.append(time.perf_counter() - answered)
                began = time.perf_counter()
                member.client.call("GET", "wan")
                reads.append(time.perf_counter() - began)
            rtt_ms = 0.0 if member.is_leader else Wan().rtt(member.region, leader_region) or 0.0
            write_ms = median(writes) * 1e3
            table.add(
                f"{member.region} (leader)" if member.is_leader else member.region,
                f"{rtt_ms:.1f}",
                f"{write_ms:.1f}",
                f"{write_ms / rtt_ms:.2f}" if rtt_ms else "-",
                f"{median(visible) * 1e3:.1f}",
                f"{median(reads) * 1e3:.2f}",
            )
    return [table]


def measure_start(directory: Path) -> list[Table]:
    table = Table(
        "Starting",
        "From the command until all six nodes of `upstash-global up --no-wan` are ready, in seconds; the build itself "
        "is not in it. Again: on the data of the first start.",
        ["build", ">first start s", ">again s"],
    )
    for name, compiled in (("compiled", True), ("pure Python", False)):
        times: list[float] = []
        for _ in range(2):
            with cluster(directory / name.split()[0], False, compiled) as (_, seconds):
                times.append(seconds)
        table.add(name, *(f"{seconds:.1f}" for seconds in times))
    return [table]


@contextmanager
def cluster(directory: Path, wan: bool, compiled: bool) -> Iterator[tuple[dict[str, Any], float]]:
    """`upstash-global up`: what endpoints.json says, and after how many seconds it was there."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [*node_command(compiled), "up", "--data-dir", str(directory / "data"), "--wan" if wan else "--no-wan"]
    command += ["--base-port", str(_base_port())]
    endpoints = directory / "data" / "endpoints.json"
    log = directory / "up.log"
    began = time.monotonic()
    with log.open("wb") as file:
        cwd = directory if compiled else REPOSITORY
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=cwd)
    try:
        while not endpoints.exists():
            if process.poll() is not None or time.monotonic() - began > READY_S:
                raise Unavailable(f"`up` did not come up:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        seconds = time.monotonic() - began
        yield json.loads(endpoints.read_text()), seconds
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


def _base_port() -> int:
    """A port above which the ports of a cluster are free, below those that outgoing connections get."""
    from upstash_global.cli.failures import Failed
    from upstash_global.cli.processes import check_ports
    from upstash_global.config import Credentials, default_config

    for candidate in range(10_000, 30_000, 100):
        try:
            check_ports(default_config(candidate, Credentials()))
        except Failed:
            continue
        return candidate
    raise Unavailable("the ports of a cluster are not free")
