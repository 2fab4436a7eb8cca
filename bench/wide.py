"""The wide area as `up --wan` simulates it: round trips, writes, and how soon they are seen elsewhere."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.report import Table
from bench.servers import POLL_S, STOP_S, Client, Unavailable, node_command

SAMPLES: Final = 15
READY_S: Final = 120.0
LATE_S: Final = 10.0

# Sets a key where the leader runs it, and answers with the leader's time then, in microseconds.
SET_AND_TELL: Final = "redis.call('SET', KEYS[1], ARGV[1]) local at = redis.call('TIME') return at[1] * 1000000 + at[2]"


class Member:
    def __init__(self, node: dict[str, Any], password: str) -> None:
        self.name: str = node["name"]
        self.region: str = node["region"]
        self.is_leader = node["role"] == "leader"
        self.client = self.connected(node, password)
        self.writer = self.connected(node, password)
        self.writes: list[float] = []  # seconds
        self.reads: list[float] = []
        self.seen: list[float] = []  # seconds from the leader's execution of others' writes until they are read here

    @staticmethod
    def connected(node: dict[str, Any], password: str) -> Client:
        client = Client(int(node["resp"].rpartition(":")[2]))
        client.call("AUTH", password)
        return client

    def write(self, value: str) -> int:
        """When the leader ran it, in microseconds since 1970."""
        began = time.perf_counter()
        reply = self.writer.call("EVAL", SET_AND_TELL, "1", "wan", value)
        self.writes.append(time.perf_counter() - began)
        if not reply.startswith(b":"):
            raise Unavailable(f"{self.name} refused a write: {reply!r}")
        return int(reply[1:-2])


def measure(directory: Path) -> list[Table]:
    from upstash_global.config import Wan, load

    table = Table(
        "Across regions",
        "`upstash-global up --wan`: a leader in us-east-1 and a replica in each region, delayed by our own proxies. "
        f"Medians of {SAMPLES} or more, in milliseconds. RTT: simulated between the region and the leader's, and measured by "
        "HTTP/2 PINGs to the leader's listener through the proxy of that region. Write: a script with a SET, sent to the "
        "region's replica until its answer, which the replica gives once it has applied the write. Seen after: from the moment "
        "the leader ran a write that came in elsewhere, by the leader's clock, which is this machine's, until a GET at the "
        "replica shows it; one way is half of the measured RTT. Read: a GET at the replica.",
        ["region", ">RTT simulated", ">RTT measured", ">write", ">write : RTT", ">one way", ">seen after", ">read"],
    )
    with cluster(directory) as endpoints:
        config = load(directory / "data" / "cluster.yaml", os.environ)
        members = [Member(node, endpoints["password"]) for node in endpoints["nodes"]]
        (leader,) = [member for member in members if member.is_leader]
        for n in range(SAMPLES):
            for member in members:
                sample(member, members, f"{member.name}-{n}")
        for member in members:
            simulated_ms = None if member.is_leader else Wan().rtt(member.region, leader.region)
            is_near = member.is_leader or member.region == leader.region  # no proxy in between
            place = config.address_of(leader.name, member.name)
            rtt_ms = 0.0 if is_near else median(ping(place.host, place.port) for _ in range(SAMPLES)) * 1e3
            write_ms = median(member.writes) * 1e3
            table.add(
                f"{member.region} (leader)" if member.is_leader else member.region,
                "-" if is_near else f"{simulated_ms:.1f}",
                "-" if is_near else f"{rtt_ms:.1f}",
                f"{write_ms:.1f}",
                "-" if is_near else f"{write_ms / rtt_ms:.2f}",
                "-" if is_near else f"{rtt_ms / 2:.1f}",
                "-" if member.is_leader else f"{median(member.seen) * 1e3:.1f}",
                f"{median(member.reads) * 1e3:.2f}",
            )
    return [table]


def sample(writer: Member, members: list[Member], value: str) -> None:
    """One write, and when each other member first shows it; the members are asked in turn, without a pause."""
    seen_us: dict[Member, int] = {}
    waiting = [member for member in members if member is not writer]
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(writer.write, value)
        deadline = time.monotonic() + LATE_S
        while waiting:
            for member in waiting:
                if value.encode() in member.client.call("GET", "wan"):
                    seen_us[member] = time.time_ns() // 1000
            waiting = [member for member in waiting if member not in seen_us]
            if time.monotonic() > deadline:
                raise Unavailable(f"a write at {writer.name} is not seen at {', '.join(each.name for each in waiting)}")
        ran_us = running.result(LATE_S)
    for member, at_us in seen_us.items():
        member.seen.append((at_us - ran_us) / 1e6)
    began = time.perf_counter()
    writer.client.call("GET", "wan")
    writer.reads.append(time.perf_counter() - began)


# Frames of HTTP/2: length, type, flags, stream.
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"  # and our SETTINGS, empty
_SETTINGS: Final = 4
_PING: Final = 6
_PAYLOAD: Final = b"8 bytes."


def ping(host: str, port: int) -> float:
    """Seconds of one HTTP/2 PING, on a connection of its own: gRPC takes several of them on one for an attack."""
    with socket.create_connection((host, port), timeout=LATE_S) as peer, peer.makefile("rb") as replies:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.sendall(_PREFACE)
        _wait_for_frame(replies, _SETTINGS)
        began = time.perf_counter()
        peer.sendall(b"\0\0\x08\x06\0\0\0\0\0" + _PAYLOAD)
        while _wait_for_frame(replies, _PING) != _PAYLOAD:
            pass
        return time.perf_counter() - began


def _wait_for_frame(replies: Any, wanted: int) -> bytes:
    """The payload of the next frame of a type."""
    while True:
        head = replies.read(9)
        if len(head) < 9:
            raise Unavailable("the leader's gRPC listener closed a connection")
        payload: bytes = replies.read(int.from_bytes(head[:3], "big"))
        if head[3] == wanted:
            return payload


@contextmanager
def cluster(directory: Path) -> Iterator[dict[str, Any]]:
    """`upstash-global up --wan` of the installed build: what endpoints.json says."""
    command = [*node_command(True), "up", "--data-dir", str(directory / "data"), "--wan"]
    command += ["--base-port", str(base_port())]
    endpoints = directory / "data" / "endpoints.json"
    log = directory / "up.log"
    began = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=directory)
    try:
        while not endpoints.exists():
            if process.poll() is not None or time.monotonic() - began > READY_S:
                raise Unavailable(f"`up` did not come up:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(POLL_S)
        yield json.loads(endpoints.read_text())
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


def base_port() -> int:
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
