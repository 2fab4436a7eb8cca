"""Replication lag: how long after its answer at the leader a SET is visible at a replica.

One client writes at the leader and then asks the replica until it sees the value, without a pause, so that the figure is
right to about one round trip of the asking. The same for a redis master and its replica, idle and under load.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.against_redis import VALUE
from bench.report import Table, at_most
from bench.servers import Server, our_servers, redis_servers

SAMPLES: Final = 1000
MOST_S: Final = 15.0  # of one measurement, however many samples it has by then
PAUSE_S: Final = 0.002  # between two samples, as of a client that does something else too
LOAD_CLIENTS: Final = 10
LOAD_PIPELINE: Final = 16
LATE_S: Final = 10.0
AIM: Final = at_most("p99", 2, " ms")  # idle


def measure(directory: Path) -> list[Table]:
    table = Table(
        "Replication lag",
        "From the answer of a SET at the leader until it is read at a replica on the same machine, in milliseconds; "
        f"up to {SAMPLES} samples in {MOST_S:.0f} s. Loaded: {LOAD_CLIENTS} clients send SETs, {LOAD_PIPELINE} at a time, as fast as they can.",
        ["servers", "load", ">p50 ms", ">p99 ms", ">most ms", ">samples", ">SET/s meanwhile"],
    )
    with redis_servers(directory / "redis", 1) as theirs, our_servers(directory / "ours", 1) as ours:
        for loaded in (False, True):
            for name, (leader, replica) in (("ours", ours), ("redis", theirs)):
                if loaded:
                    with load(leader) as sent:
                        lags = sampled(leader, replica)
                    rate = f"{sent[0]:,.0f}"
                else:
                    lags, rate = sampled(leader, replica), "-"
                lags.sort()
                p50, p99 = lags[len(lags) // 2], lags[len(lags) * 99 // 100]
                table.add(
                    name,
                    "loaded" if loaded else "idle",
                    f"{p50 * 1e3:.2f}",
                    f"{p99 * 1e3:.2f}",
                    f"{lags[-1] * 1e3:.2f}",
                    len(lags),
                    rate,
                    aims=[(AIM, p99 * 1e3)] if name == "ours" and not loaded else (),
                )
    return [table]


def sampled(leader: Server, replica: Server) -> list[float]:
    """Seconds between a SET's answer and the first read that sees it."""
    lags: list[float] = []
    deadline = time.perf_counter() + MOST_S
    with leader.client() as writer, replica.client() as reader:
        for n in range(SAMPLES):
            if lags and time.perf_counter() > deadline:
                break
            value = str(n)
            writer.call("SET", "lag", value)
            answered = time.perf_counter()
            while not reader.call("GET", "lag").endswith(f"\r\n{value}\r\n".encode()):
                if time.perf_counter() - answered > LATE_S:
                    break
            lags.append(time.perf_counter() - answered)
            time.sleep(PAUSE_S)
    return lags


@contextmanager
def load(leader: Server) -> Iterator[list[float]]:
    """Writes in the background; the list gets how many a second there were."""
    command = ["redis-benchmark", "-p", str(leader.port), "-c", str(LOAD_CLIENTS), "-P", str(LOAD_PIPELINE), "-q"]
    command += ["-n", "1000000000", "-r", "100000", "SET", "key:__rand_int__", VALUE]
    rate: list[float] = []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        before, began = n_commands(leader), time.monotonic()
        yield rate
        rate.append((n_commands(leader) - before) / (time.monotonic() - began))
    finally:
        process.kill()
        process.wait()


def n_commands(server: Server) -> int:
    with server.client() as client:
        info = client.call("INFO", "stats")
    return int(info.partition(b"total_commands_processed:")[2].split()[0])
