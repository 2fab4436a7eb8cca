"""The edge's HTTP: REST as a node has it, where the reply to a read may come from the cache.

    GET of one command that only reads ──▶ in the cache ──▶ Hit
                                             └──▶ asked of the node (once, for all who ask meanwhile) ──▶ Miss, and kept
    everything else ──▶ passed on to the node, and its answer back, as they are

Framing is server/http.py's. Who may read what is the node's to say: the cache is asked by the token as it was sent, so a
Hit goes only to whom the node has answered before. What changes users or tokens stands in the log and drops everything.
"""

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final, cast

import aiohttp

from upstash_global.config import Config
from upstash_global.edge.asked import Asked, asked_by, identity_of, may_change
from upstash_global.edge.cache import EdgeCache, Kept
from upstash_global.edge.fills import Fill, Fills
from upstash_global.edge.upstream import Answer, Upstream, for_client, whole
from upstash_global.engine.footprint import Left
from upstash_global.errors import HttpError
from upstash_global.node.logins import FailedLogins
from upstash_global.protocol.consistency import DEFAULT_CONSISTENCY, EVENTUAL, LEADER, Consistency, read_consistency
from upstash_global.protocol.rest import (
    EVENTS,
    Cors,
    Header,
    Request,
    Response,
    access_token,
    etag,
    header_lines,
    render,
    render_error,
    unauthorized,
)
from upstash_global.protocol.tokens import SyncToken, decode_token, edge_proof, encode_token, sync_token_key
from upstash_global.replication.position import NEVER, START, Position, later
from upstash_global.server.http import HttpConnection, HttpLimits, idlest
from upstash_global.server.rates import Strangers

if TYPE_CHECKING:
    from upstash_global.edge.run import RunningEdge

log = logging.getLogger("upstash_global")

SWEEP_S: Final = 1.0

HIT: Final = b"hit"
STALE: Final = b"stale"
MISS: Final = b"miss"
BYPASS: Final = b"bypass"

# What the node says that is true of one answer only; a hit has a receipt of its own.
_OF_ONE_ANSWER: Final = frozenset(
    [b"upstash-sync-token", b"upstash-sync-token-status", b"upstash-position", b"upstash-staleness-ms"]
)


class EdgeListener:
    def __init__(self, edge: "RunningEdge", config: Config, cache: EdgeCache) -> None:
        self.edge = edge
        self.name = edge.me.name.encode()
        self.cache = cache
        self.fills = Fills(cache)
        limits = config.limits
        self.max_clients = limits.max_clients
        self.limits = HttpLimits.of(limits)
        credentials = config.credentials
        shared_secret = credentials.cluster or config.cluster.id
        self.cluster = config.cluster.id
        self.token_key = sync_token_key(shared_secret)
        self.is_insecure = credentials.insecure
        reads = config.consistency
        self.consistency = read_consistency(reads.default) or DEFAULT_CONSISTENCY  # of requests that ask for none
        self.consistency_of: dict[bytes, Consistency] = {}  # identity → what its requests ask for instead
        if credentials.tokens.read_only is not None:
            reader = identity_of(credentials.tokens.read_only)
            self.consistency_of[reader] = read_consistency(reads.read_only) or DEFAULT_CONSISTENCY
        self.cors = Cors(list(config.security.cors_origins) or None)
        self.upstream = Upstream(f"http://{config.upstream_of(edge.me, 'rest')}", edge_proof(shared_secret).decode())
        self.loop = asyncio.get_running_loop()
        self.server: asyncio.Server | None = None
        self.sweeper: asyncio.TimerHandle | None = None
        self.connections: dict[HttpConnection, bool] = {}  # whether it has shown a token that the node accepts
        self.streams: set[HttpConnection] = set()  # of the connections: they are counted at the node
        self.strangers = Strangers(limits.max_clients_per_address)
        self.failed_logins = FailedLogins(limits.failed_logins_per_minute)  # the node leaves those of an edge to it
        self.tasks: set[asyncio.Task[None]] = set()
        self.owed: dict[bytes, Position] = {}  # identity → a write passed on for it, not applied here yet

        self.signed: tuple[Position, str] = (NEVER, "")  # the last position that was signed, and its token

        self.n_requests = 0
        self.n_hits = 0
        self.n_stale = 0
        self.n_misses = 0
        self.n_bypassed = 0
        self.n_unreachable = 0  # requests that the node did not answer

    async def listen(self, host: str, port: int) -> int:
        """Accept connections; the bound port."""
        self.server = await self.loop.create_server(
            lambda: cast(asyncio.Protocol, HttpConnection(self, self.limits, self.loop)), host, port, backlog=1024
        )
        self.sweeper = self.loop.call_later(SWEEP_S, self._sweep)
        bound: int = self.server.sockets[0].getsockname()[1]
        return bound

    # -- connections --------------------------------------------------------------------------------------------

    def connected(self, connection: HttpConnection) -> None:
        if not self._has_room() or not self.strangers.admit(connection.host):
            connection.refuse(HttpError(429, "ERR max number of clients reached"))
            return
        self.connections[connection] = False

    def _has_room(self) -> bool:
        """Whether one more may come; one that idles goes for it."""
        if len(self.connections) - len(self.streams) < self.max_clients:
            return True
        idle = idlest(self.connections)
        if idle is None:
            return False
        self.disconnected(idle)
        idle.make_room()
        return True

    def disconnected(self, connection: HttpConnection) -> None:
        self.streams.discard(connection)
        if self.connections.pop(connection, True) is False:
            self.strangers.leave(connection.host)
        if connection.is_streaming and connection.state is not None:
            connection.state.cancel()  # nobody listens to the events any more

    def waits(self, connection: HttpConnection) -> bool:
        return False

    def lines_for(self, request: Request) -> bytes:
        return self.cors.lines(request)

    # -- requests -----------------------------------------------------------------------------------------------

    def begin(self, connection: HttpConnection, request: Request) -> None:
        """Before a long body is read: only from one who shows a token. Whose it is the node will say."""
        if not self.is_insecure and access_token(request) is None:
            raise unauthorized()

    def request(self, connection: HttpConnection, request: Request) -> None:
        self.n_requests += 1
        if request.method == b"OPTIONS":
            connection.respond(Response(200, b""))
            return
        if self.failed_logins.of_address and not self.connections.get(connection, False):
            self._check_address(connection)
        asked = asked_by(connection, request)
        if asked is not None and asked.wish.may_use_cache and self._may_answer(asked):
            self.serve(asked)
        else:
            self.n_bypassed += 1
            self._spawn(self._pass_on(connection, request), connection)

    def _check_address(self, connection: HttpConnection) -> None:
        """Refuse a stranger from an address with too many failed logins. Raises HttpError."""
        wait_ms = self.failed_logins.wait_ms(connection.host, self._now_ms())
        if wait_ms:
            raise HttpError(429, f"ERR {self.failed_logins.refusal()}", ceil(wait_ms / 1000))

    def _now_ms(self) -> int:
        return int(1000 * self.loop.time())

    def _may_answer(self, asked: Asked) -> bool:
        """Whether this edge may speak for the log: it is near enough, and has applied what the client has seen."""
        consistency = asked.shape.consistency or self.consistency_of.get(asked.shape.identity, self.consistency)
        if consistency.kind == LEADER or not self.edge.is_fresh(consistency.bound_ms):
            return False
        if consistency.kind == EVENTUAL:
            return True
        asked.wanted = self._position_in(asked.request.headers.get(b"upstash-sync-token", b""))
        if not self.cache.follows_log:
            return asked.wanted is not NEVER  # each reply is asked where it was read
        owed = self.owed.get(asked.shape.identity)
        if owed is not None:
            if not self._is_settled(owed):
                return False
            del self.owed[asked.shape.identity]
        return self.edge.covers(asked.wanted)

    def _is_settled(self, owed: Position) -> bool:
        """Whether a write that was passed on is applied here, or was lost with its epoch."""
        return owed.epoch < self.cache.applied.epoch or self.edge.covers(owed)

    def _position_in(self, sync_token: bytes) -> Position:
        """What a sync token says that the client has seen, the newest of its keys: START without one, NEVER if it cannot be read."""
        if not sync_token:
            return START
        token = decode_token(sync_token.decode("latin-1"), self.cluster, self.token_key)
        if token is None:
            return NEVER
        return self.edge.following.log.history.locate(token.epoch, token.newest_lsn)

    def serve(self, asked: Asked) -> None:
        """Answer from the cache, or let the node be asked."""
        now_ms = self.edge.now_ms()
        kept = self.cache.find(asked.name, now_ms)
        if not self.cache.follows_log and asked.wanted is not START:
            if kept is None or not _is_at_least(kept.tag.position, asked.wanted):
                self.n_misses += 1  # what runs already may be older
                self._spawn(self._fill(asked, self.fills.begin(asked.name)))
                return
        if kept is not None and asked.wish.is_fresh(kept, now_ms):
            self.n_hits += 1
            self._respond_kept(asked, kept, HIT)
        elif kept is not None and asked.wish.will_do(kept, now_ms):
            self.n_stale += 1
            self._respond_kept(asked, kept, STALE)
            if asked.name not in self.fills.running:
                self._spawn(self._fill(asked, self.fills.begin(asked.name), is_answered=True))
        elif self.fills.join(asked.name, asked):
            self.n_misses += 1
        else:
            self.n_misses += 1
            self._spawn(self._fill(asked, self.fills.begin(asked.name)))

    # -- asking the node ----------------------------------------------------------------------------------------

    async def _fill(self, asked: Asked, fill: Fill, is_answered: bool = False) -> None:
        """Ask the node for a reply, for one request and all that join it.

        It must not be older than what this edge has applied: the client has seen no more than that, or it would not have come
        this far, and a node that has restarted may be behind.
        """
        waiting = [] if is_answered else [asked]
        applied = self.cache.applied
        try:
            answer = await self.upstream.read(asked.request, "" if applied is START else self._token_at(applied))
        except HttpError as refusal:
            self.n_unreachable += 1
            for each in [*waiting, *self.fills.abandon(fill)]:
                self._respond_refusal(each, refusal)
            return
        except BaseException:  # a bug of ours, or the end of this process: nobody may wait for ever
            for each in [*waiting, *self.fills.abandon(fill)]:
                each.connection.cut()
            raise
        if answer.tag is None:
            for each in waiting:
                self._respond_fetched(each, answer)
            for each in self.fills.abandon(fill):  # an error, or a reply that cannot be shared
                self._spawn(self._pass_on(each.connection, each.request), each.connection)
            return
        answer.tag.keys = asked.shape.keys
        answer.tag.value_of = asked.shape.value_of
        shared = [header for header in answer.headers if header[0] not in _OF_ONE_ANSWER]
        kept = Answer(answer.response, shared)
        kept.staleness_ms = answer.staleness_ms
        size = len(answer.response.body) + sum([len(name) + len(value) for name, value in shared])
        now_ms = self.edge.now_ms()
        served, others = self.fills.end(fill, kept, size, answer.tag, asked.wish.lifetime_ms, now_ms)
        for each in [*waiting, *served]:
            self._respond_fetched(each, answer)
        for each in others:
            self.n_misses -= 1  # counted again
            self.serve(each)

    def _token_at(self, position: Position) -> str:
        """The sync token of a position; hit after hit asks for the same one."""
        if position != self.signed[0]:
            token = encode_token(SyncToken(position.epoch, position.lsn), self.cluster, self.token_key)
            self.signed = (position, token)
        return self.signed[1]

    async def _pass_on(self, connection: HttpConnection, request: Request) -> None:
        """Let the node answer a request as it is; events are streamed as they come."""
        changes = may_change(request)
        try:
            async with self.upstream.pass_on(request) as response:
                if response.content_type == EVENTS:
                    if connection not in self.connections:
                        return  # nobody waits for events any more
                    self._admit(connection)
                    self.streams.add(connection)
                    told = [*for_client(response), *self._cache_headers(BYPASS)[:-1]]
                    connection.begin_stream(EVENTS, header_lines(told))
                    async for piece in response.content.iter_any():
                        connection.stream(piece)
                    connection.cut()
                    return
                answer = await whole(response)
        except aiohttp.ClientConnectorError:
            self._fail(connection, 503, "ERR the edge cannot reach its node; not executed")
            return
        except (aiohttp.ClientError, TimeoutError):
            if changes:
                self._fail(connection, 504, "UNKNOWN write may or may not have been applied")
            else:
                self._fail(connection, 503, "ERR the edge lost its node; ask again")
            return
        if changes:
            self._note_owed(request, answer)
        self._respond(connection, answer, self._cache_headers(BYPASS))

    def _note_owed(self, request: Request, answer: Answer) -> None:
        """What was written through this edge is not answered from before it, whether the client sends tokens or not."""
        written = self._position_in(dict(answer.headers).get(b"upstash-sync-token", b""))
        if written is not START and written is not NEVER and self.cache.follows_log:
            identity = identity_of(access_token(request))
            self.owed[identity] = later(written, self.owed.get(identity, START))  # answers may overtake each other

    def _fail(self, connection: HttpConnection, status: int, text: str) -> None:
        self.n_unreachable += 1
        if connection.is_streaming:
            connection.cut()
            return
        connection.respond(render_error(HttpError(status, text)), header_lines(self._cache_headers(BYPASS)))

    # -- answering ----------------------------------------------------------------------------------------------

    def _respond(self, connection: HttpConnection, answer: Answer, headers: list[Header]) -> None:
        if answer.response.status <= 400:  # the node asks for the token before anything else that it answers so
            self._admit(connection)
        elif answer.response.status == 401 and connection.running is not None:
            if access_token(connection.running) is not None:
                self.failed_logins.note(connection.host, self._now_ms())
            if self.failed_logins.wait_ms(connection.host, self._now_ms()):
                connection.keep_alive = False  # it may have been let in, and is to guess no more
        connection.respond(answer.response, header_lines([*answer.headers, *headers]), answer.retry_after_s)

    def _admit(self, connection: HttpConnection) -> None:
        """The connection is no stranger's any more."""
        if self.connections.get(connection) is False:
            self.connections[connection] = True
            self.strangers.leave(connection.host)

    def _respond_kept(self, asked: Asked, kept: Kept, state: bytes) -> None:
        if kept.left is not None:
            self._renew(asked, kept, kept.left)
        content: Answer = kept.content
        age_ms = kept.age_ms(self.edge.now_ms())
        headers = [
            *self._receipt(kept, age_ms),
            (b"age", b"%d" % (age_ms // 1000)),
            *self._cache_headers(state, max(0, kept.lifetime_ms - age_ms) // 1000),
        ]
        self._respond(asked.connection, content, headers)

    def _renew(self, asked: Asked, kept: Kept, left: Left) -> None:
        """Say in a kept reply what its key holds by now, as the node that it was asked of would."""
        old: Answer = kept.content
        response = render(asked.shape.call, [left.value])
        tag = etag(self._token_at(kept.tag.position).encode())
        content = Answer(response, [(name, tag if name == b"etag" else value) for name, value in old.headers])
        content.staleness_ms = old.staleness_ms
        self.cache.renew(kept, content, len(response.body) - len(old.response.body))

    def _respond_fetched(self, asked: Asked, answer: Answer) -> None:
        """A reply that has just come, or what is kept from before if it is an error and the request prefers that."""
        if answer.response.status >= 500 and self._respond_at_need(asked):
            return
        lifetime_s = asked.wish.lifetime_ms // 1000 if answer.tag is not None else 0
        self._respond(asked.connection, answer, self._cache_headers(MISS, lifetime_s))

    def _respond_refusal(self, asked: Asked, refusal: HttpError) -> None:
        if not self._respond_at_need(asked):
            asked.connection.respond(render_error(refusal), header_lines(self._cache_headers(MISS)))

    def _respond_at_need(self, asked: Asked) -> bool:
        """Serve what is kept although its time is over, if the request allows that: there is no better reply."""
        now_ms = self.edge.now_ms()
        kept = self.cache.find(asked.name, now_ms)
        if kept is None or not asked.wish.will_do_at_need(kept, now_ms):
            return False
        self.n_stale += 1
        self._respond_kept(asked, kept, STALE)
        return True

    def _receipt(self, kept: Kept, age_ms: int) -> list[Header]:
        """From what state a hit was answered, beside the region whose node read it: that is in the kept headers."""
        position = self.cache.served_at(kept.tag)
        content: Answer = kept.content
        staleness_ms = self.edge.staleness_ms() if self.cache.follows_log else content.staleness_ms + age_ms
        return [
            (b"upstash-sync-token", self._token_at(position).encode()),
            (b"upstash-position", b"%d-%d" % (position.epoch, position.lsn)),
            (b"upstash-staleness-ms", b"%d" % staleness_ms),
        ]

    def _cache_headers(self, state: bytes, fresh_s: int = 0) -> list[Header]:
        """How the cache took part. Caches behind this one are not told of writes, so in the mode `log` none may keep it."""
        told = b"Hit" if state in (HIT, STALE) else b"Miss"
        may_keep = fresh_s > 0 and not self.cache.follows_log
        return [
            (b"x-cache", b"%s from %s" % (told, self.name)),
            (b"upstash-edge-cache", state),
            (b"cache-control", b"private, max-age=%d" % fresh_s if may_keep else b"no-cache"),
        ]

    # -- time and end -------------------------------------------------------------------------------------------

    def _spawn(self, coroutine: Coroutine[None, None, None], connection: HttpConnection | None = None) -> None:
        task: asyncio.Task[None] = self.loop.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(partial(self._ended, connection))
        if connection is not None:
            connection.state = task

    def _ended(self, connection: HttpConnection | None, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a request failed", exc_info=task.exception())
            if connection is not None:
                connection.fail()

    def _sweep(self) -> None:
        """Once a second: late connections, and what is owed to nobody any more."""
        now = self.loop.time()
        for connection in list(self.connections):
            connection.close_if_late(now)
        for identity, position in list(self.owed.items()):
            if self._is_settled(position):
                del self.owed[identity]
        self.sweeper = self.loop.call_later(SWEEP_S, self._sweep)

    async def stop(self) -> None:
        """Accept nobody any more and end every connection."""
        if self.server is not None:
            self.server.close()
        if self.sweeper is not None:
            self.sweeper.cancel()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.close()
        await self.upstream.close()


def _is_at_least(position: Position, wanted: Position) -> bool:
    return position.epoch == wanted.epoch and position.lsn >= wanted.lsn
