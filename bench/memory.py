"""Memory: how much the peak of a server's resident memory grows with each key."""

from pathlib import Path
from typing import Final

from bench.report import Table, at_most
from bench.servers import Server, our_servers, packed, redis_servers

KEYS: Final = 1_000_000
KEY_BYTES: Final = 16
VALUE_BYTES: Final = 64
BATCH: Final = 500
AIM: Final = at_most("times redis", 1.6)


def measure(directory: Path) -> list[Table]:
    table = Table(
        "Memory per key",
        f"Growth of the peak resident memory while {KEYS:,} keys of {KEY_BYTES} B with values of {VALUE_BYTES} B are "
        f"set in pipelines of {BATCH}, by key; log, backlog and change index included.",
        ["server", ">bytes per key", ">times redis", ">µs CPU per SET"],
    )
    with redis_servers(directory / "redis") as (theirs,):
        redis_bytes, redis_cpu_us = loaded(theirs)
    with our_servers(directory / "ours", 1) as (leader, replica):
        idle_bytes = replica.peak_bytes()
        our_bytes, our_cpu_us = loaded(leader)
        replica.wait_until(f"keys={KEYS},", "INFO", "keyspace")
        replica_bytes = (replica.peak_bytes() - idle_bytes) / KEYS
    table.add("redis-server", f"{redis_bytes:.0f}", "1.00", f"{redis_cpu_us:.2f}")
    for name, n_bytes, cpu in (("our leader", our_bytes, f"{our_cpu_us:.2f}"), ("our replica", replica_bytes, "-")):
        times = n_bytes / redis_bytes
        table.add(name, f"{n_bytes:.0f}", f"{times:.2f}", cpu, aims=[(AIM, times)])
    return [table]


def loaded(server: Server) -> tuple[float, float]:
    """(bytes of peak memory, µs of CPU) per key."""
    bytes_before, cpu_before = server.peak_bytes(), server.cpu_s()
    with server.client() as client:
        for start in range(0, KEYS, BATCH):
            batch = b"".join(
                packed("SET", f"k{n:0{KEY_BYTES - 1}d}", f"{n:0{VALUE_BYTES}d}") for n in range(start, start + BATCH)
            )
            client.socket.sendall(batch)
            missing = BATCH * len(b"+OK\r\n")
            while missing:
                missing -= len(client.socket.recv(missing))
    return (server.peak_bytes() - bytes_before) / KEYS, (server.cpu_s() - cpu_before) / KEYS * 1e6
