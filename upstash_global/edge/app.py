"""The edge's HTTP: REST as a node has it, where the reply to a read may come from the cache.

    GET of one command that only reads ──▶ in the cache ──▶ Hit
                                             └──▶ asked of the node (once, for all who ask meanwhile) ──▶ Miss, and kept
    everything else ──▶ passed on to the node, and its answer back, as they are

Framing is server/http.py's. Who may read what is the node's to say: the cache is asked by the token as it was sent, so a
Hit goes only to whom the node has answered before. What changes users or tokens stands in the log and drops everything.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

import upstash_global.engine.commands
import upstash_global.node.commands  # noqa: F401  (fill the table)
from upstash_global.config import Config
from upstash_global.edge.cache import EdgeCache, Kept, Tag
from upstash_global.edge.fills import Fill, Fills
from upstash_global.edge.wishes import Wish, wish_of
from upstash_global.engine.footprint import keys_read
from upstash_global.engine.table import lookup
from upstash_global.errors import CommandError
from upstash_global.node.edges import read_tag
from upstash_global.protocol.rest import (
    EVENTS,
    Call,
    HttpError,
    Mode,
    Request,
    Response,
    access_token,
    cors_headers,
    parse_request,
    render_error,
    unauthorized,
)
from upstash_global.protocol.tokens import (
    SyncToken,
    decode_token,
    edge_proof,
    encode_token,
    sync_token_key,
)
from upstash_global.replication.position import NEVER, START, Position
from upstash_global.server.http import Header, HttpConnection, HttpLimits

if TYPE_CHECKING:
    from upstash_global.edge.run import RunningEdge

log = logging.getLogger("upstash_global")

CONNECT_S: Final = 5.0  # to the node
ANSWER_S: Final = 15.0  # for a read; a node waits for a position and for its leader, at most
ANSWER_BYTES: Final = 128 << 20  # of one header line of the node, at most; bodies are bounded by the node
EXAMINED_BYTES: Final = 64 << 10  # of a body that is looked into
SWEEP_S: Final = 1.0

HIT: Final = b"hit"
STALE: Final = b"stale"
MISS: Final = b"miss"
BYPASS: Final = b"bypass"

# Request headers the node is shown, beside all that begin with `upstash-`.
_PASSED_ON: Final = frozenset(
    [b"authorization", b"content-type", b"idempotency-key", b"if-match", b"if-none-match", b"user-agent"]
)
# What asks for more than a plain read, and is left to the node.
_ASKS_MORE: Final = (b"if-match", b"if-none-match", b"idempotency-key")
# Answer headers the client is shown, beside those that begin with `upstash-`.
_PASSED_BACK: Final = frozenset([b"etag", b"allow"])
# Of those, what is true of one answer only, and is told anew with each hit.
_OF_ONE_ANSWER: Final = frozenset([b"upstash-sync-token", b"upstash-position", b"upstash-staleness-ms", b"etag"])


class Answer:
    """What the node said; `tag` is there if the reply may be kept."""

    def __init__(self, response: Response, headers: list[Header], tag: Tag | None = None) -> None:
        self.response = response
        self.headers = headers
        self.tag = tag


class Asked:
    """One request for a reply that may be kept."""

    def __init__(self, connection: HttpConnection, request: Request, call: Call, keys: list[bytes]) -> None:
        self.connection = connection
        self.request = request
        self.keys = keys  # on which the reply depends
        self.identity = _identity(request)
        self.name = _name(request, call, self.identity)  # of the reply in the cache
        self.wish: Wish = wish_of(request.headers.get(b"cache-control", b""))
        self.wanted = START  # what the client's sync token says that it has seen


class EdgeListener:
    def __init__(self, edge: "RunningEdge", config: Config, cache: EdgeCache) -> None:
        self.edge = edge
        self.name = edge.me.name.encode()
        self.cache = cache
        self.fills = Fills(cache)
        limits = config.limits
        self.max_clients = limits.max_clients
        self.max_commands = limits.pipeline_commands
        self.limits = HttpLimits.of(limits)
        credentials = config.credentials
        shared_secret = credentials.cluster or config.cluster.id
        self.cluster = config.cluster.id
        self.token_key = sync_token_key(shared_secret)
        self.proof = edge_proof(shared_secret).decode()
        self.is_insecure = credentials.insecure
        self.upstream = f"http://{config.upstream_of(edge.me, 'rest')}"
        self.loop = asyncio.get_running_loop()
        self.http: aiohttp.ClientSession | None = None
        self.server: asyncio.Server | None = None
        self.sweeper: asyncio.TimerHandle | None = None
        self.connections: set[HttpConnection] = set()
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
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self.server = await self.loop.create_server(
            lambda: HttpConnection(self, self.limits, self.loop), host, port, backlog=1024
        )
        self.sweeper = self.loop.call_later(SWEEP_S, self._sweep)
        bound: int = self.server.sockets[0].getsockname()[1]
        return bound

    # -- connections --------------------------------------------------------------------------------------------

    def connected(self, connection: HttpConnection) -> None:
        if len(self.connections) >= self.max_clients:
            connection.refuse(HttpError(429, "ERR max number of clients reached"))
            return
        self.connections.add(connection)

    def disconnected(self, connection: HttpConnection) -> None:
        self.connections.discard(connection)
        if connection.is_streaming and connection.state is not None:
            connection.state.cancel()  # nobody listens to the events any more

    def headers_for(self, request: Request) -> Iterable[Header]:
        return cors_headers(request)

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
        asked = self._asked(connection, request)
        if asked is None or not asked.wish.may_use_cache or not self._may_answer(asked):
            self._bypass(connection, request)
        else:
            self.serve(asked)

    def _bypass(self, connection: HttpConnection, request: Request) -> None:
        self.n_bypassed += 1
        self._spawn(self._pass_on(connection, request), connection)

    def _asked(self, connection: HttpConnection, request: Request) -> Asked | None:
        """What the cache may be asked for; None if the request is none of its business."""
        headers = request.headers
        if request.method != b"GET" or request.body or any(name in headers for name in _ASKS_MORE):
            return None
        try:
            call = parse_request(request, self.max_commands)
        except HttpError:
            return None  # the node will say what is wrong
        argv = call.commands[0] if call.mode is Mode.SINGLE else None
        if argv is None or isinstance(argv, CommandError):
            return None
        keys = keys_read(argv)
        if keys is None:
            return None
        asked = Asked(connection, request, call, keys)
        asked.wanted = self._position_in(request)
        return asked

    def _may_answer(self, asked: Asked) -> bool:
        """Whether this edge may speak for the log: it is near enough, and has applied what the client has seen."""
        if not self.edge.is_fresh(_allowed_staleness_ms(asked.request)):
            return False
        if not self.cache.follows_log:
            return asked.wanted is not NEVER  # each reply is asked where it was read
        owed = self.owed.get(asked.identity)
        if owed is not None:
            if not self._is_settled(owed):
                return False
            del self.owed[asked.identity]
        return self.edge.covers(asked.wanted)

    def _is_settled(self, owed: Position) -> bool:
        """Whether a write that was passed on is applied here, or was lost with its epoch."""
        return owed.epoch < self.cache.applied.epoch or self.edge.covers(owed)

    def _position_in(self, request: Request) -> Position:
        """What the client's sync token says it has seen: START without one, NEVER if it cannot be read."""
        text = request.headers.get(b"upstash-sync-token", b"").decode("latin-1")
        if not text:
            return START
        token = decode_token(text, self.cluster, self.token_key)
        if token is None:
            return NEVER
        return Position(token.epoch, max([token.lsn, *[lsn for _, lsn in token.keys]]))

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
        """Ask the node for a reply, for one request and all that join it."""
        waiting = [] if is_answered else [asked]
        try:
            answer = await self._ask(asked, self.cache.applied)
        except HttpError as refusal:
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
        answer.tag.keys = asked.keys
        shared = [header for header in answer.headers if header[0] not in _OF_ONE_ANSWER]
        kept = Answer(answer.response, shared)
        size = len(answer.response.body) + sum([len(name) + len(value) for name, value in shared])
        now_ms = self.edge.now_ms()
        served, others = self.fills.end(fill, kept, size, answer.tag, asked.wish.lifetime_ms, now_ms)
        for each in [*waiting, *served]:
            self._respond_fetched(each, answer)
        for each in others:
            self.n_misses -= 1  # counted again
            self.serve(each)

    async def _ask(self, asked: Asked, applied: Position) -> Answer:
        """The node's whole answer, not older than what this edge has `applied`. Raises HttpError if there is none.

        The client has seen no more than that, or it would not have come this far; a node that has restarted may be behind.
        """
        headers = self._headers_for_node(asked.request)
        headers["upstash-edge"] = self.proof
        if applied is not START:
            headers["upstash-sync-token"] = self._token_at(applied)
        try:
            async with asyncio.timeout(ANSWER_S), self._open(asked.request, headers) as response:
                return await _read(response)
        except (aiohttp.ClientError, TimeoutError):
            self.n_unreachable += 1
            raise HttpError(503, "ERR the edge cannot reach its node") from None

    def _token_at(self, position: Position) -> str:
        """The sync token of a position; hit after hit asks for the same one."""
        if position != self.signed[0]:
            token = encode_token(SyncToken(position.epoch, position.lsn), self.cluster, self.token_key)
            self.signed = (position, token)
        return self.signed[1]

    async def _pass_on(self, connection: HttpConnection, request: Request) -> None:
        """Let the node answer a request as it is; events are streamed as they come."""
        changes = _may_change(request, self.max_commands)
        try:
            async with self._open(request, self._headers_for_node(request)) as response:
                if response.content_type == EVENTS:
                    connection.begin_stream(EVENTS, [*_told(response), *self._cache_headers(BYPASS)[:-1]])
                    async for piece in response.content.iter_any():
                        connection.stream(piece)
                    connection.cut()
                    return
                answer = await _read(response)
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
        connection.respond(answer.response, [*answer.headers, *self._cache_headers(BYPASS)])

    def _note_owed(self, request: Request, answer: Answer) -> None:
        """What was written through this edge is not answered from before it, whether the client sends tokens or not."""
        text = dict(answer.headers).get(b"upstash-sync-token", b"").decode("latin-1")
        token = decode_token(text, self.cluster, self.token_key) if text else None
        if token is not None and self.cache.follows_log:
            self.owed[_identity(request)] = Position(token.epoch, token.lsn)

    def _fail(self, connection: HttpConnection, status: int, text: str) -> None:
        self.n_unreachable += 1
        if connection.is_streaming:
            connection.cut()
            return
        connection.respond(render_error(HttpError(status, text)), self._cache_headers(BYPASS))

    def _open(self, request: Request, headers: dict[str, str]) -> "aiohttp.client._RequestContextManager":
        assert self.http is not None
        return self.http.request(
            request.method.decode("latin-1"),
            URL(self.upstream + _target(request), encoded=True),
            headers=headers,
            data=request.body or None,
            allow_redirects=False,
            max_line_size=ANSWER_BYTES,
            max_field_size=ANSWER_BYTES,
        )

    def _headers_for_node(self, request: Request) -> dict[str, str]:
        """The request's headers that mean something to the node; what is no text means nothing."""
        headers = {}
        for name, value in request.headers.items():
            if name in _PASSED_ON or (name.startswith(b"upstash-") and name != b"upstash-edge"):
                try:
                    headers[name.decode("ascii")] = value.decode()
                except UnicodeDecodeError:
                    continue
        return headers

    # -- answering ----------------------------------------------------------------------------------------------

    def _respond_kept(self, asked: Asked, kept: Kept, state: bytes) -> None:
        content: Answer = kept.content
        age_ms = kept.age_ms(self.edge.now_ms())
        headers = [
            *content.headers,
            *self._receipt(self.cache.served_at(kept.tag)),
            (b"age", b"%d" % (age_ms // 1000)),
            *self._cache_headers(state, max(0, kept.lifetime_ms - age_ms) // 1000),
        ]
        asked.connection.respond(content.response, headers)

    def _respond_fetched(self, asked: Asked, answer: Answer) -> None:
        """A reply that has just come, or what is kept from before if it is an error and the request prefers that."""
        if answer.response.status >= 500 and self._respond_at_need(asked):
            return
        lifetime_s = asked.wish.lifetime_ms // 1000 if answer.tag is not None else 0
        asked.connection.respond(answer.response, [*answer.headers, *self._cache_headers(MISS, lifetime_s)])

    def _respond_refusal(self, asked: Asked, refusal: HttpError) -> None:
        if not self._respond_at_need(asked):
            asked.connection.respond(render_error(refusal), self._cache_headers(MISS))

    def _respond_at_need(self, asked: Asked) -> bool:
        """Serve what is kept although its time is over, if the request allows that: there is no better reply."""
        now_ms = self.edge.now_ms()
        kept = self.cache.find(asked.name, now_ms)
        if kept is None or not asked.wish.will_do_at_need(kept, now_ms):
            return False
        self.n_stale += 1
        self._respond_kept(asked, kept, STALE)
        return True

    def _receipt(self, served_at: Position) -> list[Header]:
        """What is true of this answer alone: the position that it counts as served at."""
        return [(b"upstash-sync-token", self._token_at(served_at).encode())]

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
        task.add_done_callback(self._ended)
        if connection is not None:
            connection.state = task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a request failed", exc_info=task.exception())

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
        if self.http is not None:
            await self.http.close()


# What a reply is kept under, and for whom.


def _name(request: Request, call: Call, identity: bytes) -> bytes:
    """Everything the reply depends on beside the data: path, query, who asks, and in which form."""
    path, _, query = request.target.partition(b"?")
    asked = b"&".join([part for part in query.split(b"&") if not part.startswith(b"_token=")])
    form = b"%d%d" % (call.base64, call.resp2)
    return b"\0".join([path, asked, identity, form])


def _identity(request: Request) -> bytes:
    """Who asks, as far as an edge can tell: the token as it was sent."""
    return sha256((access_token(request) or "").encode("utf-8", "surrogateescape")).digest()


def _is_at_least(position: Position, wanted: Position) -> bool:
    return position.epoch == wanted.epoch and position.lsn >= wanted.lsn


def _may_change(request: Request, max_commands: int) -> bool:
    """Whether a request may write, as far as can be seen without much work."""
    if len(request.body) > EXAMINED_BYTES:
        return True
    try:
        call = parse_request(request, max_commands)
    except HttpError:
        return False
    for argv in call.commands:
        if not isinstance(argv, CommandError):
            try:
                if lookup(argv).needs_leader:
                    return True
            except CommandError:
                continue
    return False


def _allowed_staleness_ms(request: Request) -> int:
    """The bound on staleness that the request sets itself: -1 for none, 0 if only the leader will do."""
    consistency = request.headers.get(b"upstash-consistency", b"").lower()
    kind, _, rest = consistency.partition(b";")
    kind = kind.strip()
    if kind in (b"", b"eventual", b"session"):
        return -1
    name, _, value = rest.strip().partition(b"=")
    if kind == b"bounded" and name == b"max-staleness-ms" and value.isdigit():
        return int(value[:9])
    return 0


def _target(request: Request) -> str:
    """Path and query for a URL: bytes that have no place in one are escaped, which means the same to the node."""
    target = request.target
    if not target.startswith(b"/"):
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    return "".join([chr(byte) if 33 <= byte < 127 and byte != 35 else f"%{byte:02X}" for byte in target])


# What the node answered.


async def _read(response: aiohttp.ClientResponse) -> Answer:
    body = await response.read()
    answer = Response(response.status, body, response.headers.get("Content-Type", "application/json"))
    tag = None
    text = response.headers.get("upstash-edge")
    if text is not None and response.status == 200:
        told = read_tag(text.encode())
        if told is not None:
            tag = Tag(told[0], [], told[1])
    return Answer(answer, _told(response), tag)


def _told(response: aiohttp.ClientResponse) -> list[Header]:
    """The headers of the node's answer that are meant for the client."""
    told = []
    for name, value in response.raw_headers:
        name = name.lower()
        if name in _PASSED_BACK or (name.startswith(b"upstash-") and name != b"upstash-edge"):
            told.append((name, value))
    return told
