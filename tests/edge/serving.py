"""An edge beside a real node, both on the node's loop, with real listeners and the real link between them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tests.ports import free_port
from tests.server.serving import TOKEN, Answer, Served, Wire, config, wait_for
from upstash_global.config import Address, Config, Consistency, EdgeConfig
from upstash_global.edge.run import RunningEdge
from upstash_global.replication.position import Position

T = TypeVar("T")


def with_edge(invalidate: str = "log", max_staleness_ms: int = 60_000, settings: Config | None = None) -> Config:
    edge = EdgeConfig(
        "edge",
        "us-east-1",
        Address(f"127.0.0.1:{free_port()}"),
        "one",
        Address(f"127.0.0.1:{free_port()}"),
        invalidate,
    )
    return replace(settings or config(), edges=(edge,), consistency=Consistency(max_staleness_ms=max_staleness_ms))


class ServedEdge:
    """A node and an edge; `with` ends both."""

    def __init__(self, directory: Path, settings: Config) -> None:
        self.node = Served(directory, settings)
        self.me = settings.edges[0]

    def __enter__(self) -> "ServedEdge":
        self.node.__enter__()
        self.edge = self.node.await_(self._start())
        self.wait(lambda edge: edge.is_fresh())
        return self

    async def _start(self) -> RunningEdge:
        edge = RunningEdge(self.node.config, self.me.name)
        await edge.start()
        return edge

    def __exit__(self, *failure: object) -> None:
        self.node.await_(self.edge.stop())
        self.node.__exit__()

    def ask(self, question: Callable[[RunningEdge], T]) -> T:
        """Look at the edge, on its own loop."""

        async def answer() -> T:
            return question(self.edge)

        return self.node.await_(answer())

    def wait(self, holds: Callable[[RunningEdge], bool]) -> None:
        wait_for(lambda: self.ask(holds))

    def level(self) -> Position:
        """Wait until the edge has applied the node's head; that position."""
        head = self.node.ask(lambda node: node.log.head)
        self.wait(lambda edge: edge.covers(head))
        return head

    def http(self) -> Wire:
        return Wire(self.me.listen.port)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own, with the standard token unless told otherwise."""
        with self.http() as wire:
            wire.send(request_bytes(method, path, body, **headers))
            return wire.answer(has_body=method != "HEAD")

    def get(self, path: str, **headers: str) -> tuple[str, bytes]:
        """(how the cache took part, body) of a GET that succeeds."""
        answer = self.request("GET", path, None, **headers)
        assert answer.status == 200, answer.body
        return answer.headers[b"upstash-edge-cache"].decode(), answer.body


def request_bytes(method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
    named = {"host": "x", "authorization": f"Bearer {TOKEN}"} | headers
    if body is not None:
        named["content-length"] = str(len(body))
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items() if value]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + (body or b"")
