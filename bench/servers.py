"""The servers that are measured: started on free loopback ports, watched through /proc, ended with the measurement."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parent.parent
START_S: Final = 60.0
STOP_S: Final = 30.0
POLL_S: Final = 0.02
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Unavailable(Exception):
    """What is to be measured cannot be had here."""


class Server:
    """One process that listens on a port: for RESP, if it is not webdis."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.rest_port = 0  # of our nodes
        self.log = log

    def cpu_s(self) -> float:
        """User and system time of all its threads so far; clock ticks of 10 ms."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def peak_bytes(self) -> int:
        """The most memory it has had resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def client(self) -> "Client":
        return Client(self.port)

    def wait_until(self, condition: str, *argv: str) -> None:
        """Until the reply of a command contains a text. Raises Unavailable when the process ends or takes too long."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with self.client() as client:
                    if condition.encode() in client.call(*argv):
                        return
            except OSError:
                pass  # not listening yet
            time.sleep(POLL_S)
        raise Unavailable(f"{self.log.name} did not come up:\n" + self.log.read_text(errors="replace")[-2000:])

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


class Client:
    """A blocking RESP connection, as plain as can be, so that little of what is measured is its own."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def call(self, *argv: str) -> bytes:
        """The raw reply of one command: a line, or a bulk string with its head."""
        self.socket.sendall(packed(*argv))
        reply = self._receive()
        while not _is_whole(reply):
            reply += self._receive()
        return reply

    def _receive(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def packed(*argv: str) -> bytes:
    parts = [b"*%d\r\n" % len(argv)]
    for argument in argv:
        parts.append(b"$%d\r\n%b\r\n" % (len(argument.encode()), argument.encode()))
    return b"".join(parts)


def _is_whole(reply: bytes) -> bool:
    head, end, body = reply.partition(b"\r\n")
    if not end:
        return False
    if head[:1] not in b"$=" or head == b"$-1":
        return True
    return len(body) == int(head[1:]) + 2


def free_ports(n: int) -> list[int]:
    probes = [socket.socket() for _ in range(n)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def node_command(compiled: bool) -> list[str]:
    """How a node is started: from the installed build, or from the sources of this tree."""
    return [sys.executable, *(["-P"] if compiled else []), "-m", "upstash_global"]


def is_compiled() -> bool:
    """Whether the installed build has compiled modules."""
    shown = subprocess.run([*node_command(True), "version"], capture_output=True, text=True, cwd="/")
    return "compiled" in shown.stdout


@contextmanager
def redis_servers(directory: Path, n_replicas: int = 0) -> Iterator[list[Server]]:
    """A redis-server that appends to its file and syncs it every second, and its replicas."""
    ports = free_ports(1 + n_replicas)
    servers: list[Server] = []
    try:
        for port in ports:
            own = directory / f"redis-{port}"
            own.mkdir(parents=True)
            options = {"port": port, "bind": "127.0.0.1", "dir": own, "appendonly": "yes", "appendfsync": "everysec"}
            options |= {"save": "", "repl-diskless-sync-delay": 0}
            command = ["redis-server"]
            for name, value in options.items():
                command += [f"--{name}", str(value)]
            if port != ports[0]:
                command += ["--replicaof", f"127.0.0.1 {ports[0]}"]
            servers.append(started(command, port, own / "redis.log", directory))
        servers[0].wait_until("PONG", "PING")
        for replica in servers[1:]:
            replica.wait_until("master_link_status:up", "INFO", "replication")
        yield servers
    finally:
        _stop(servers)


@contextmanager
def our_servers(
    directory: Path, n_replicas: int = 0, compiled: bool = True, token: str | None = None, limits: str = "{}"
) -> Iterator[list[Server]]:
    """A leader with the default settings and its replicas, without simulated distances.

    With a token REST demands it, and RESP a password that nobody here knows.
    """
    names = ["leader", *(f"replica-{i + 1}" for i in range(n_replicas))]
    directory.mkdir(parents=True)
    ports = free_ports(4 * len(names))
    secrets = f"{{password: bench, cluster: bench, admin: bench, tokens: {{standard: {token}}}}}"
    credentials = "{insecure: true}" if token is None else secrets
    lines = [
        "cluster: {id: bench, leader: leader}",
        f"credentials: {credentials}",
        f"limits: {limits}",
        "regions: {here: {}}",
        "nodes:",
    ]
    for i, name in enumerate(names):
        listeners = zip(("resp", "rest", "grpc", "admin"), ports[4 * i : 4 * i + 4], strict=True)
        places = ", ".join(f'{listener}: "127.0.0.1:{port}"' for listener, port in listeners)
        lines.append(f"  - {{name: {name}, region: here, {places}}}")
    cluster = directory / "cluster.yaml"
    cluster.write_text("\n".join(lines) + "\n")
    servers: list[Server] = []
    try:
        for i, name in enumerate(names):
            command = [*node_command(compiled), "node", "--config", str(cluster), "--name", name]
            command += ["--data-dir", str(directory / name), "--end-with-parent"]
            cwd = directory if compiled else REPOSITORY
            servers.append(started(command, ports[4 * i], directory / f"{name}.log", cwd))
        for i, server in enumerate(servers):
            server.rest_port = ports[4 * i + 1]
        servers[0].wait_until("PONG" if token is None else "NOAUTH", "PING")
        for replica in servers[1:]:
            replica.wait_until("master_link_status:up", "INFO", "replication")
        yield servers
    finally:
        _stop(servers)


def started(command: list[str], port: int, log: Path, cwd: Path) -> Server:
    with log.open("wb") as file:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=cwd)
        except FileNotFoundError:
            raise Unavailable(f"{command[0]} is not installed") from None
    return Server(process, port, log)


def _stop(servers: list[Server]) -> None:
    for server in reversed(servers):
        server.stop()
