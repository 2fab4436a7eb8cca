"""What a sync token costs a client that moves and writes all the time, and what `scope=key` saves it."""

import http.client
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.report import Table
from bench.wide import cluster

SAMPLES: Final = 100  # writes, and a read after each
WHOLE: Final = "session"
SCOPED: Final = "session; scope=key"


class RestClient:
    """A REST client that keeps a connection to each node, and the sync token of its last answer."""

    def __init__(self, token: str, consistency: str) -> None:
        self.headers = {"authorization": f"Bearer {token}", "upstash-consistency": consistency}
        self.connections: dict[str, http.client.HTTPConnection] = {}

    def call(self, url: str, *argv: str) -> float:
        """Send one command to a node; after how many seconds it was answered."""
        connection = self.connections.get(url)
        if connection is None:
            connection = self.connections[url] = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
            connection.connect()
        began = time.perf_counter()
        connection.request("POST", "/", json.dumps(argv), self.headers)
        response = connection.getresponse()
        body = response.read()
        seconds = time.perf_counter() - began
        if response.status != 200:
            raise RuntimeError(f"{argv[0]} was answered {response.status}: {body!r}")
        self.headers["upstash-sync-token"] = response.headers["upstash-sync-token"]
        return seconds


def measure(directory: Path) -> list[Table]:
    from upstash_global.config import Wan

    table = Table(
        "A client that writes all the time and reads elsewhere",
        "`upstash-global up --wan`: over REST one client writes a key in us-west-2 or at the leader, and after each answer reads a key "
        f"that nobody writes at the replica of another region, with the token that the write gave it, {SAMPLES} times. "
        "Milliseconds of the reads, from a client beside that replica. Session: the read waits for the write to come there. By key: "
        "`Upstash-Consistency: session; scope=key`. Its own key: the same, reading the key that was written.",
        [
            "written in",
            "read in",
            ">RTT to leader",
            *_headings("session"),
            *_headings("by key"),
            *_headings("its own key"),
        ],
    )
    with cluster(directory) as endpoints:
        token = endpoints["tokens"]["standard"]
        nodes = endpoints["nodes"]
        leader = next(node for node in nodes if node["role"] == "leader")
        west = next(node for node in nodes if node["region"] == "us-west-2")
        for writer in (leader, west):
            for reader in nodes:
                if reader in (writer, leader) or reader["region"] == writer["region"]:
                    continue
                rtt_ms = Wan().rtt(reader["region"], leader["region"]) or 0.0
                times = [
                    *_spread(_reads(writer, reader, token, WHOLE, "still")),
                    *_spread(_reads(writer, reader, token, SCOPED, "still")),
                    *_spread(_reads(writer, reader, token, SCOPED, "busy")),
                ]
                written_in = f"{writer['region']} (leader)" if writer is leader else writer["region"]
                table.add(written_in, reader["region"], f"{rtt_ms:.1f}", *(f"{seconds * 1e3:.1f}" for seconds in times))
    return [table]


def _headings(name: str) -> list[str]:
    return [f">{name} p50", ">p99"]


def _reads(writer: dict[str, Any], reader: dict[str, Any], token: str, consistency: str, key: str) -> list[float]:
    """How long each read of `key` took at the one node, behind a write of `busy` at the other; ascending."""
    client = RestClient(token, consistency)
    client.call(reader["rest"], "GET", key)  # the connections are there
    times: list[float] = []
    for n in range(SAMPLES):
        client.call(writer["rest"], "SET", "busy", str(n))
        times.append(client.call(reader["rest"], "GET", key))
    return sorted(times)


def _spread(times: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile of ascending times."""
    return times[len(times) // 2], times[min(len(times) - 1, int(len(times) * 0.99))]
