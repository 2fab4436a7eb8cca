"""The admin port: health for balancers, metrics for Prometheus, and what the CLI asks.

    /healthz                 200 ok while the process runs; open to everybody
    /readyz                  200 once this node serves reads, else 503 with the reason
    /leader                  200 at the leader, else 503
    /replica?lag=MS          200 if this node's data is at most so stale, else 503
    /metrics                 Prometheus text
    /v1/nearest?lag=MS       all nodes, the best first: see nearest.py
    /v1/openapi.json         the REST API of this node, described
    /v1/status, /v1/log, POST /v1/switchover, /v1/promote, /v1/snapshot

All but /healthz need the admin token; probes and metrics are also open to loopback. Errors are JSON {"error": text}.
"""

import asyncio
import hmac
import json
from hashlib import sha256
from ipaddress import ip_address
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from upstash_global.config import Config
from upstash_global.errors import CommandError
from upstash_global.node.logins import FailedLogins
from upstash_global.server.metrics import registry_of
from upstash_global.server.nearest import Neighbours
from upstash_global.server.openapi import as_text, description

if TYPE_CHECKING:
    from upstash_global.server.shell import Shell

POLL_S: Final = 0.02
SNAPSHOT_S: Final = 120.0
MAX_LOG_ENTRIES: Final = 1_000
MAX_LOG_BYTES: Final = 4 << 20

WRONG_TOKEN: Final = "WRONGPASS invalid or missing admin token"

_KINDS: Final = {0: "data", 1: "epoch", 2: "system"}


class AdminPort:
    """What the admin ports of nodes and edges have in common: who may, health, metrics. A subclass adds its routes."""

    def __init__(self, config: Config, registry: CollectorRegistry) -> None:
        secret = config.credentials.admin
        self.secret_hash = None if config.credentials.insecure or secret is None else _hash(secret)
        self.is_insecure = config.credentials.insecure
        self.failed_logins = FailedLogins(config.limits.failed_logins_per_minute)
        self.delay_s = config.limits.failed_login_delay_ms / 1000
        self.registry = registry
        self.runner: web.AppRunner | None = None

    def add_routes(self, router: web.UrlDispatcher) -> None:
        raise NotImplementedError

    async def listen(self, host: str, port: int) -> int:
        application = web.Application(middlewares=[self._guard])
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/metrics", self._metrics)
        self.add_routes(application.router)
        self.runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self.runner.setup()
        site = web.TCPSite(self.runner, host, port)
        await site.start()
        bound: int = self.runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()

    # -- who may ------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path != "/healthz" and not self._is_open_probe(request):
            refused = await self._refusal(request)
            if refused is not None:
                return refused
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as refusal:
            return error_response(refusal.status, refusal.reason)
        except CommandError as refusal:
            return error_response(404 if refusal.code == "NOTFOUND" else 409, refusal.text)
        return response

    def _is_open_probe(self, request: web.Request) -> bool:
        is_probe = not request.path.startswith("/v1/")
        return is_probe and request.remote is not None and ip_address(request.remote).is_loopback

    async def _refusal(self, request: web.Request) -> web.Response | None:
        """What a request hears that does not show the token, or comes from an address with too many wrong ones."""
        if self.is_insecure:
            return None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return error_response(401, WRONG_TOKEN)
        address, now_ms = request.remote or "", int(1000 * asyncio.get_running_loop().time())
        wait_ms = self.failed_logins.wait_ms(address, now_ms)
        if wait_ms:
            response = error_response(429, f"ERR {self.failed_logins.refusal()}")
            response.headers["Retry-After"] = str(ceil(wait_ms / 1000))
            return response
        if self.secret_hash is not None and hmac.compare_digest(_hash(token.strip()), self.secret_hash):
            return None
        self.failed_logins.note(address, now_ms)
        await asyncio.sleep(self.delay_s)
        return error_response(401, WRONG_TOKEN)

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self.registry), headers={"Content-Type": content_type})


class AdminListener(AdminPort):
    """The admin port of a node."""

    def __init__(self, shell: "Shell", config: Config, neighbours: Neighbours) -> None:
        super().__init__(config, registry_of(shell.node))
        self.shell = shell
        self.neighbours = neighbours
        self.switchover_s = config.replication.switchover_ms / 1000
        self.openapi_text = ""  # once somebody has asked

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/readyz", self._readyz)
        router.add_get("/leader", self._leader)
        router.add_get("/replica", self._replica)
        router.add_get("/v1/openapi.json", self._openapi)
        router.add_get("/v1/status", self._status)
        router.add_get("/v1/nearest", self._nearest)
        router.add_get("/v1/log", self._log)
        router.add_post("/v1/switchover", self._switchover)
        router.add_post("/v1/promote", self._promote)
        router.add_post("/v1/snapshot", self._snapshot)

    # -- probes -------------------------------------------------------------------------------------------------

    async def _readyz(self, request: web.Request) -> web.Response:
        node = self.shell.node
        if not node.leader_name:
            return error_response(503, "NOLEADER no leader is known")
        if node.read_refusal is not None:
            return error_response(503, node.read_refusal.text)
        if node.is_leader:
            if node.durable_lsn < node.must_be_durable:
                return error_response(503, "the new epoch is not on disk yet")
        elif not node.can_forward or node.state_name != "streaming":
            return error_response(503, f"{node.state_name}: the way to the leader is not open")
        return web.Response(text="ready\n")

    async def _leader(self, request: web.Request) -> web.Response:
        node = self.shell.node
        body = {"leader": node.leader_name, "epoch": node.roles.epoch}
        return web.json_response(body, status=200 if node.is_leader else 503)

    async def _replica(self, request: web.Request) -> web.Response:
        node = self.shell.node
        try:
            bound_ms = int(request.query.get("lag", "0") or "0")
        except ValueError:
            return error_response(400, "lag is a number of milliseconds")
        fits = node.read_refusal is None and (bound_ms <= 0 or node.staleness_ms <= bound_ms)
        body = {"state": node.state_name, "staleness_ms": node.staleness_ms}
        return web.json_response(body, status=200 if fits else 503)

    async def _openapi(self, request: web.Request) -> web.Response:
        if not self.openapi_text:
            self.openapi_text = as_text(description(self.shell.node.settings.me.rest))
        return web.Response(text=self.openapi_text, content_type="application/json")

    # -- for the CLI --------------------------------------------------------------------------------------------

    async def _status(self, request: web.Request) -> web.Response:
        self.shell.node.set_clock(self.shell.clock.now_ms())
        return web.json_response(self.shell.node.status())

    async def _nearest(self, request: web.Request) -> web.Response:
        """All nodes, or those of `region`, the best first; `lag` is a budget in ms."""
        try:
            answer = self.neighbours.answer(request.query.get("lag", ""), request.query.get("region", ""))
        except ValueError as mistake:
            return error_response(400, str(mistake))
        return web.json_response(answer)

    async def _log(self, request: web.Request) -> web.Response:
        """Entries from an LSN on (from=, default: the newest) as readable text."""
        node = self.shell.node
        limit = min(_integer(request, "limit", 100), MAX_LOG_ENTRIES)
        start = _integer(request, "from", max(1, node.log.head.lsn - limit + 1))
        entries = node.log.entries_after(start - 1, limit, MAX_LOG_BYTES)
        if entries is None:
            entries = (self.shell.storage.read_log(start - 1, MAX_LOG_BYTES) or [])[:limit]
        shown = [
            {
                "epoch": entry.position.epoch,
                "lsn": entry.position.lsn,
                "time_ms": entry.time_ms,
                "kind": _KINDS.get(entry.kind, str(entry.kind)),
                "commands": [[word.decode("utf-8", "backslashreplace") for word in argv] for argv in entry.commands],
            }
            for entry in entries
        ]
        following = entries[-1].position.lsn + 1 if entries else start
        return web.json_response({"entries": shown, "next": following})

    async def _switchover(self, request: web.Request) -> web.Response:
        """Hand the lead to another node; answers when that has happened, or has failed."""
        target = (await json_body(request)).get("to")
        if not isinstance(target, str):
            return error_response(400, 'the body is {"to": NODE}')
        node = self.shell.node
        handover = node.roles.switch(target)
        self.shell.schedule()
        deadline = self.shell.loop.time() + self.switchover_s + 5
        while node.is_leader and handover.result is None and self.shell.loop.time() < deadline:
            await asyncio.sleep(POLL_S)
        if node.is_leader:
            return error_response(409, handover.result or "the switchover did not end in time")
        return web.json_response({"leader": node.leader_name, "epoch": node.roles.epoch})

    async def _promote(self, request: web.Request) -> web.Response:
        """Make this node the leader, whatever the old one does."""
        body = await json_body(request)
        node = self.shell.node
        node.set_clock(self.shell.clock.now_ms())
        node.roles.promote(bool(body.get("force", False)))
        self.shell.schedule()
        while node.is_leader and node.durable_lsn < node.must_be_durable:
            await asyncio.sleep(POLL_S)
        return web.json_response({"leader": node.leader_name, "epoch": node.roles.epoch})

    async def _snapshot(self, request: web.Request) -> web.Response:
        """Write a snapshot; answers when it is on disk."""
        snapshots = self.shell.node.snapshots
        written, failed = snapshots.n_written, snapshots.n_failed
        snapshots.is_wanted = True
        deadline = self.shell.loop.time() + SNAPSHOT_S
        while (written, failed) == (snapshots.n_written, snapshots.n_failed) and self.shell.loop.time() < deadline:
            await asyncio.sleep(POLL_S)
        if snapshots.n_failed > failed:
            return error_response(500, "the snapshot could not be written; the node's log says why")
        if snapshots.n_written == written:
            return error_response(504, "the snapshot was not finished in time; it goes on")
        return web.json_response({"lsn": snapshots.last_lsn})


async def json_body(request: web.Request) -> dict[str, Any]:
    text = await request.text()
    try:
        body = json.loads(text) if text else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(reason="the body is not a JSON object")
    return body


def _integer(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise web.HTTPBadRequest(reason=f"{name} is not a number")
    return int(text)


def error_response(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
