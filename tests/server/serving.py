"""A real node with its listeners, on a loop in a thread of this process, for clients that block."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

import redis
import yaml

from tests.ports import free_port
from upstash_global.config import LISTENERS, Config, parse
from upstash_global.node.node import Node
from upstash_global.server.run import RunningNode

ROOT: Final = Path(__file__).parents[2]
LIMIT_S: Final = 60.0  # a test that hangs fails after this; none waits for it otherwise
PASSWORD: Final = "correct horse"
TOKEN: Final = "standard-token"
READ_TOKEN: Final = "read-only-token"
ADMIN_TOKEN: Final = "admin-token"

T = TypeVar("T")


def config(*, names: tuple[str, ...] = ("one",), **limits: int) -> Config:
    """Nodes on free ports; the first one leads."""
    return parse(cluster_file(names, limits), {})


def cluster_file(names: tuple[str, ...], limits: dict[str, int]) -> dict[str, Any]:
    """What a configuration file says."""
    return {
        "cluster": {"id": "test", "leader": names[0]},
        "credentials": {
            "password": PASSWORD,
            "tokens": {"standard": TOKEN, "read_only": READ_TOKEN},
            "cluster": "peers",
            "admin": ADMIN_TOKEN,
        },
        "durability": {"fsync": "no"},
        "limits": {"failed_logins_per_minute": 1000} | limits,  # one node serves many tests in a minute
        "regions": {"us-east-1": {}},
        "nodes": [
            {"name": name, "region": "us-east-1"} | {kind: f"127.0.0.1:{free_port()}" for kind in LISTENERS}
            for name in names
        ],
    }


class Served:
    """A running node; `with` ends it."""

    def __init__(self, directory: Path, settings: Config | None = None, name: str = "one") -> None:
        self.config = settings or config()
        self.name = name
        me = self.config.node(name)
        self.resp, self.rest, self.admin = me.resp.port, me.rest.port, me.admin.port
        self.directory = directory
        self.loop = asyncio.new_event_loop()
        self.stopping: Future[int] | None = None
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> "Served":
        self.thread.start()
        self.running: RunningNode = self.await_(self._start())
        wait_for(lambda: self.ask(_is_ready))
        return self

    async def _start(self) -> RunningNode:
        running = RunningNode(self.config, self.name, self.directory)
        await running.start()
        return running

    def begin_to_stop(self) -> None:
        """As SIGTERM does; `with` waits for the end."""
        self.stopping = asyncio.run_coroutine_threadsafe(self.running.stop(), self.loop)

    def __exit__(self, *failure: object) -> None:
        if self.stopping is None:
            self.begin_to_stop()
        assert self.stopping is not None
        self.stopping.result(LIMIT_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(LIMIT_S)
        self.loop.close()

    def await_(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(LIMIT_S)

    def ask(self, question: Callable[[Node], T]) -> T:
        """Look at the node, on its own loop."""

        async def answer() -> T:
            return question(self.running.node)

        return self.await_(answer())

    def redis(self, **options: Any) -> "redis.Redis":
        """A redis-py client of its own pool."""
        return redis.Redis(
            host="127.0.0.1", port=self.resp, password=PASSWORD, socket_timeout=LIMIT_S, **({"protocol": 2} | options)
        )

    def wire(self, login: bool = True) -> "Wire":
        """A raw connection to the RESP port."""
        wire = Wire(self.resp)
        if login:
            assert wire.call("AUTH", PASSWORD) == b"+OK\r\n"
        return wire

    def http(self) -> "Wire":
        """A raw connection to the REST port."""
        return Wire(self.rest)


def _is_ready(node: Node) -> bool:
    if node.is_leader:
        return node.durable_lsn >= node.must_be_durable
    return node.can_forward and node.state_name == "streaming" and node.read_refusal is None


class OwnProcess:
    """A node in a process of its own, so that its memory can be told from that of the test; `with` ends it."""

    def __init__(self, directory: Path, insecure: bool = False, **limits: int) -> None:
        raw = cluster_file(("one",), limits)
        self.insecure = insecure
        if insecure:
            raw["credentials"] = {"insecure": True}
        file = directory / "cluster.yaml"
        file.write_text(yaml.safe_dump(raw))
        me = parse(raw, {}).node("one")
        self.resp, self.rest = me.resp.port, me.rest.port
        self.log = directory / "node.log"
        where = ["--config", str(file), "--name", "one", "--data-dir", str(directory / "one"), "--end-with-parent"]
        self.command = [sys.executable, "-m", "upstash_global", "node", *where]

    def __enter__(self) -> "OwnProcess":
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)
        wait_for(lambda: self.process.poll() is not None or self._answers())
        assert self.process.poll() is None, self.log.read_text()
        return self

    def __exit__(self, *failure: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(LIMIT_S)

    def _answers(self) -> bool:
        try:
            with self.wire() as wire:
                return wire.call("SET", "ready", "") == b"+OK\r\n"
        except OSError:
            return False

    def peak_bytes(self) -> int:
        """The most memory it has ever had resident."""
        told = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(told.partition("VmHWM:")[2].split()[0]) * 1024

    def wire(self) -> "Wire":
        """A raw connection to the RESP port, logged in."""
        wire = Wire(self.resp)
        assert self.insecure or wire.call("AUTH", PASSWORD) == b"+OK\r\n"
        return wire

    def http(self) -> "Wire":
        """A raw connection to the REST port."""
        return Wire(self.rest)


class Wire:
    """A socket that says and expects exact bytes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT_S)
        self.held = bytearray()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *failure: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> "Wire":
        self.socket.sendall(data)
        return self

    def read(self, n: int) -> bytes:
        """Exactly `n` bytes, or fewer if the server closes."""
        while len(self.held) < n and self._fill():
            pass
        return self._take(n)

    def read_until(self, end: bytes) -> bytes:
        """Everything up to and including `end`, or what came before the server closed."""
        while end not in self.held and self._fill():
            pass
        at = self.held.find(end)
        return self._take(len(self.held) if at < 0 else at + len(end))

    def read_all(self) -> bytes:
        """Everything until the server closes."""
        while self._fill():
            pass
        return self._take(len(self.held))

    def _take(self, n: int) -> bytes:
        taken = bytes(self.held[:n])
        del self.held[:n]
        return taken

    def _fill(self) -> bool:
        try:
            piece = self.socket.recv(1 << 16)
        except ConnectionResetError:
            return False
        self.held += piece
        return bool(piece)

    # RESP

    def call(self, *words: str | bytes) -> bytes:
        """One command; the bytes of its reply."""
        self.send(command(*words))
        return self.reply()

    def reply(self) -> bytes:
        """The bytes of one reply, nested ones included."""
        line = self.read_until(b"\r\n")
        kind, rest = line[:1], line[1:-2]
        if kind in (b"$", b"=") and rest != b"-1":
            return line + self.read(int(rest) + 2)
        if kind in (b"*", b"~", b">") and rest != b"-1":
            return line + b"".join(self.reply() for _ in range(int(rest)))
        if kind == b"%":
            return line + b"".join(self.reply() for _ in range(2 * int(rest)))
        return line

    # HTTP

    def answer(self, has_body: bool = True) -> "Answer":
        """One HTTP response."""
        head = self.read_until(b"\r\n\r\n")
        if not head:
            raise EOFError("the server closed")
        first, *lines = head[:-4].split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        body = self.read(int(headers.get(b"content-length", b"0"))) if has_body else b""
        return Answer(int(first.split(b" ")[1]), headers, body)

    def chunk(self) -> bytes:
        """One chunk of a body that goes on."""
        n = int(self.read_until(b"\r\n"), 16)
        return self.read(n + 2)[:-2]


class Answer:
    def __init__(self, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"{self.status} {self.headers} {self.body!r}"


def command(*words: str | bytes) -> bytes:
    """A command as clients send it."""
    data = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(data) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in data)


def wait_for(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


# -- REST in one line


def rest(served: Served, value: object, path: str = "/", **headers: str) -> tuple[int, Any, dict[bytes, bytes]]:
    """A POST of JSON with the standard token on a connection of its own: (status, JSON or None, headers)."""
    body = json.dumps(value).encode()
    named = {"host": "x", "authorization": f"Bearer {TOKEN}", "content-length": str(len(body))} | headers
    lines = [f"{name.replace('_', '-')}: {text}" for name, text in named.items()]
    with served.http() as wire:
        wire.send("\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body)
        answer = wire.answer()
    return answer.status, json.loads(answer.body) if answer.body else None, answer.headers


def position(headers: dict[bytes, bytes]) -> tuple[int, int]:
    """(epoch, LSN) of a receipt."""
    epoch, _, lsn = headers[b"upstash-position"].partition(b"-")
    return int(epoch), int(lsn)
