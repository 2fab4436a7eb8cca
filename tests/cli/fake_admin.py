"""A stand-in for the admin ports of a cluster: answers with what a test says, and notes what it was asked."""

import asyncio
import threading
from types import TracebackType
from typing import Any

from aiohttp import web

TOKEN = "admin-token"


def status(node: str, region: str, role: str = "replica", **changes: Any) -> dict[str, Any]:
    """A healthy node's answer to GET /v1/status."""
    answer = {
        "cluster": "test",
        "node": node,
        "region": region,
        "role": role,
        "state": "streaming",
        "epoch": 0x1_0000_0200,
        "leader": "leader",
        "reaches_leader": True,
        "position": {"epoch": 0x1_0000_0200, "lsn": 12},
        "durable_lsn": 12,
        "lag_entries": 0,
        "lag_bytes": 0,
        "lag_ms": 0,
        "staleness_ms": 40,
        "uptime_ms": 61_000,
        "keys": 3,
        "clients": 1,
        "followers": [],
        "version": "0.1.0",
    }
    return answer | changes


class FakeNode:
    """One node's admin port, on a loop and a thread of its own."""

    def __init__(self, status: dict[str, Any], entries: list[dict[str, Any]] | None = None) -> None:
        self.status = status
        self.entries = entries or []
        self.refusal: tuple[int, str] | None = None  # status and error of every answer from now on
        self.nearest: list[dict[str, Any]] = []
        self.asked: dict[str, str] = {}  # the query that came with GET /v1/nearest
        self.posted: list[tuple[str, Any]] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "FakeNode":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def _answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": "the admin token is wrong"}, status=401)
        if self.refusal is not None:
            return web.json_response({"error": self.refusal[1]}, status=self.refusal[0])
        if request.method == "POST":
            body = await request.json()
            self.posted.append((request.path, body))
            return web.json_response({"asked": request.path})
        if request.path == "/v1/status":
            return web.json_response(self.status)
        if request.path == "/v1/nearest":
            self.asked = dict(request.query)
            return web.json_response(
                {
                    "node": self.status["node"],
                    "region": self.status["region"],
                    "leader": "leader",
                    "nodes": self.nearest,
                }
            )
        if request.path == "/v1/log":
            start, limit = int(request.query["from"]), int(request.query["limit"])
            found = [entry for entry in self.entries if entry["lsn"] >= start][:limit]
            return web.json_response({"entries": found, "next": found[-1]["lsn"] + 1 if found else start})
        return web.json_response({"error": "no such page"}, status=404)
