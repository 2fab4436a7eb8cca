"""REST: Upstash's HTTP API around the node. Framing is http.py's, meaning is protocol.rest's; this joins them.

Each connection has one session, used by one request after the other. Replies leave through the node's release gate: the
answer is rendered when its last reply is there, and written when the gate lets it out.
"""

import asyncio
import json
import logging
from hmac import compare_digest
from math import ceil
from typing import TYPE_CHECKING, Any, Final, cast

from upstash_global.config import Config
from upstash_global.engine.acl import User
from upstash_global.engine.table import lookup
from upstash_global.engine.users import DEFAULT, READ_ONLY
from upstash_global.errors import INTERNAL_ERROR, CommandError, HttpError, error
from upstash_global.node.attention import SHUTTING_DOWN
from upstash_global.node.clients import ReceiptLines, RestSession
from upstash_global.node.edges import NOT_TO_BE_KEPT, edge_tag, surrogate_headers
from upstash_global.node.freshness import is_lost
from upstash_global.node.permissions import user_of_token
from upstash_global.node.scope import after
from upstash_global.protocol.consistency import DEFAULT_CONSISTENCY, LEADER, Consistency, read_consistency
from upstash_global.protocol.rest import (
    NEAREST,
    NOWHERE,
    PIPELINE,
    SINGLE,
    Call,
    Cors,
    Mode,
    Request,
    Response,
    access_token,
    etag,
    header_lines,
    is_bug,
    parse_request,
    render,
    render_error,
    token_in_headers,
    token_in_query,
    unauthorized,
)
from upstash_global.protocol.tokens import AccessTokens, edge_proof, token_hash
from upstash_global.replication.position import START, Position, later
from upstash_global.reply import NULL_ARRAY, Reply
from upstash_global.server.http import HttpConnection, HttpLimits, idlest
from upstash_global.server.nearest import Neighbours
from upstash_global.server.rates import Allowances, Strangers
from upstash_global.server.units import CHANGED, is_unchanged, make_unit, refuse_unit, validator

if TYPE_CHECKING:
    from upstash_global.server.shell import Shell

log = logging.getLogger("upstash_global")

MAX_KEY_BYTES: Final = 32 << 10  # as Upstash has it
KEEPALIVE_S: Final = 15.0  # between comment lines on an open event stream
_REFUSAL: Final = CommandError  # compiled code finds it here without a dictionary
STREAMS: Final = (Mode.SUBSCRIBE, Mode.PSUBSCRIBE, Mode.MONITOR)


class RestListener:
    def __init__(self, shell: "Shell", config: Config, neighbours: Neighbours) -> None:
        self.shell = shell
        self.neighbours = neighbours
        limits = config.limits
        self.strangers = Strangers(limits.max_clients_per_address)
        self.allowances = Allowances(limits.rest_commands_per_s)
        self.cors = Cors(list(config.security.cors_origins) or None)
        self.max_commands = limits.pipeline_commands
        self.limits = HttpLimits.of(limits)
        credentials = config.credentials
        users = {}
        if credentials.tokens.standard is not None:
            users[credentials.tokens.standard] = DEFAULT
        if credentials.tokens.read_only is not None:
            users[credentials.tokens.read_only] = READ_ONLY
        self.tokens = None if credentials.insecure else AccessTokens(users)
        reads = config.consistency
        self.consistency = read_consistency(reads.default) or DEFAULT_CONSISTENCY  # of requests that ask for none
        self.consistency_of = {READ_ONLY: read_consistency(reads.read_only) or DEFAULT_CONSISTENCY}
        self.edge_proof = edge_proof(credentials.cluster or config.cluster.id)
        self.position_of: Final = self._position_in  # bound once
        self.receipts: Final = ReceiptLines(shell.node.settings.me.region)
        self.is_surrogate = config.surrogate
        self.connections: dict[HttpConnection, None] = {}  # the oldest first
        self.streams: set[HttpConnection] = set()  # of these, those that hear events, or are about to
        self.unapplied: dict[bytes, Position] = {}  # user → a write answered before this node had applied it
        self.server: Any = None  # an asyncio.Server; uvloop's own has a list of sockets
        self.sweeper: asyncio.TimerHandle | None = None
        self.beats = 0

    async def listen(self, host: str, port: int) -> int:
        """Accept connections; the bound port."""
        loop = self.shell.loop
        self.server = await loop.create_server(
            lambda: cast(asyncio.Protocol, HttpConnection(self, self.limits, loop)), host, port, backlog=1024
        )
        self.sweeper = loop.call_later(1.0, self._sweep)
        bound: int = self.server.sockets[0].getsockname()[1]
        return bound

    # -- connections --------------------------------------------------------------------------------------------

    def connected(self, connection: HttpConnection) -> None:
        if not self._has_room() or not self.strangers.admit(connection.host):
            self.shell.node.metrics.n_rejected_connections += 1
            connection.refuse(HttpError(429, "ERR max number of clients reached"))
            return
        self.connections[connection] = None
        node = self.shell.node
        now_ms = self.shell.clock.now_ms()
        session = RestSession(node.next_session_id(), connection.address, now_ms, connection, self, node)
        session.local_address = connection.local_address
        connection.state = session
        node.open(session)

    def _has_room(self) -> bool:
        """Whether one more may come; one that idles goes for it."""
        if len(self.connections) - len(self.streams) < self.shell.node.settings.max_clients:
            return True
        idle = idlest(self.connections)
        if idle is None:
            return False
        self._leave(idle)
        idle.make_room()
        return True

    def disconnected(self, connection: HttpConnection) -> None:
        self._leave(connection)

    def _leave(self, connection: HttpConnection) -> None:
        self.connections.pop(connection, None)
        self.streams.discard(connection)
        session: RestSession | None = connection.state
        if session is not None:
            if not session.is_known:
                self.strangers.leave(connection.host)
            self.shell.node.close(session)
            connection.state = None
            self.shell.schedule()

    def lines_for(self, request: Request) -> bytes:
        return self.cors.lines(request)

    def waits(self, connection: HttpConnection) -> bool:
        session: RestSession | None = connection.state
        return session is not None and self.shell.node.waits(session)

    # -- requests -----------------------------------------------------------------------------------------------

    def begin(self, connection: HttpConnection, request: Request) -> None:
        """Before a body is invited, or read if it is long: whether this client may send one."""
        self._user(connection, request, access_token(request))

    def request(self, connection: HttpConnection, request: Request) -> None:
        """Run a request; raises HttpError when it is refused as a whole."""
        node = self.shell.node
        node.metrics.n_http_requests += 1
        session: RestSession = connection.state
        if request.method == b"OPTIONS":
            connection.respond(Response(200, b""))
            return
        if node.is_stopping:
            connection.keep_alive = False  # so that the client goes elsewhere
            raise HttpError(503, SHUTTING_DOWN.text)
        if not request.is_plain and self._is_edge(request):
            self._admit(connection, session)  # whoever stands behind it
        self._identify(connection, session, request)
        self._admit(connection, session)
        call = parse_request(request, self.max_commands, self.position_of)
        if self.allowances.per_s:
            self._count(session.token, len(call.commands))
        if call.mode is NEAREST:
            connection.respond(self._nearest(call), header_lines(NOT_TO_BE_KEPT))
            return
        if len(request.body) + len(request.target) > MAX_KEY_BYTES:
            _check_keys(call)
        self._ask(session, call)
        if call.mode in STREAMS:
            if call.is_head:
                raise HttpError(400, "ERR HEAD has no body to stream in")
            if len(self.streams) >= node.settings.max_clients:
                raise HttpError(429, "ERR max number of clients reached")
        session.once = None
        if call.once is not None or call.if_match is not None:
            make_unit(node, session, call)
        commands = _to_run(call)
        if call.is_unit:
            refuse_unit(node, session)
            commands = [[b"MULTI"], *commands, [b"EXEC"]]
        if call.mode in STREAMS:
            self.streams.add(connection)
        session.begin(call, len(commands))
        if commands:
            node.handle(session, commands, self.shell.clock.now_ms())
            if self.is_surrogate or (not request.is_plain and b"upstash-edge" in request.headers):
                self._tell_caches(session, request)
        else:
            node.mark_dirty(session)
        self.shell.schedule()

    def _nearest(self, call: Call) -> Response:
        """All nodes, the best first. Not counted as a command: who follows the nearest node asks four times a second."""
        try:
            return Response(200, json.dumps(self.neighbours.answer(call.lag, call.region)).encode())
        except ValueError as mistake:
            raise HttpError(400, error(str(mistake)).text) from None

    def _admit(self, connection: HttpConnection, session: RestSession) -> None:
        """The connection is no stranger's any more."""
        if not session.is_known:
            session.is_known = True
            self.strangers.leave(connection.host)

    def _is_edge(self, request: Request) -> bool:
        proof = request.headers.get(b"upstash-edge")
        return proof is not None and compare_digest(proof, self.edge_proof)

    def _identify(self, connection: HttpConnection, session: RestSession, request: Request) -> None:
        """Find out whose the request is. Raises HttpError.

        The framing gives headers that are repeated as the same dict: whose token is in it is known, as long as no user has
        changed since.
        """
        token = token_in_query(request)
        users_version = self.shell.node.users.version
        if token is None and session.vouching is request.headers and session.users_version == users_version:
            return
        session.vouching = None
        session.token = token or token_in_headers(request.headers)
        session.user = self._user(connection, request, session.token)
        if token is None:
            session.vouching, session.users_version = request.headers, users_version

    def _user(self, connection: HttpConnection, request: Request, token: str | None) -> User:
        """Whose token that is. Raises HttpError; a wrong token is told late, and not to everybody."""
        node = self.shell.node
        users = node.users
        if self.tokens is None:
            return users.default
        user: User | None = None
        if token is not None:
            name = self.tokens.find(token)
            user = users.find(name) if name is not None else user_of_token(users, token)
            if node.permissions.logins.of_address and not self._is_edge(request):  # an edge sees to that itself
                self._check_address(connection, user)
        if user is None or not user.is_on:
            node.metrics.n_failed_logins += 1
            if token is None:
                raise unauthorized()  # that was no guess
            if not self._is_edge(request):
                node.permissions.note_failure_of(connection.host)
            raise unauthorized(node.settings.failed_login_delay_ms)
        return user

    def _check_address(self, connection: HttpConnection, user: User | None) -> None:
        """Refuse whoever comes from an address with too many failed logins, and is not the one who has used the connection
        before. Raises HttpError."""
        node, session = self.shell.node, connection.state
        wait_ms = node.permissions.logins.wait_ms(connection.host, node.local_ms)
        if wait_ms and not (session.is_known and user is not None and user is session.user):
            raise HttpError(429, f"ERR {node.permissions.logins.refusal()}", ceil(wait_ms / 1000))

    def _count(self, token: str | None, n_commands: int) -> None:
        """Refuse what exceeds the token's allowance of commands. Raises HttpError.

        Where no token is demanded, all requests share one allowance: whatever they carry has not been looked at.
        """
        identity = token_hash(token) if token is not None and self.tokens is not None else b""
        wait_s = self.allowances.take(identity, n_commands, self.shell.loop.time())
        if wait_s:
            limit = self.allowances.per_s
            raise HttpError(429, f"ERR max commands per second exceeded. Limit: {limit}; not executed", ceil(wait_s))

    def _ask(self, session: RestSession, call: Call) -> None:
        """How new the state must be that this request's reads are served from: by its headers, by the default of its token,
        and by what was answered before it was applied here."""
        assert session.user is not None
        node, user = self.shell.node, session.user.name
        consistency = call.consistency or self.consistency_of.get(user, self.consistency)
        seen = START
        token = None
        session.owes = session.is_lost_epoch = False
        if call.sync_token:
            token = node.sync_tokens.read(call.sync_token)
            if token is None:  # who knows what it stands for: only the leader may answer
                session.ask(Consistency(LEADER))
                return
            seen = node.log.history.locate(token.epoch, token.newest_lsn)
            session.is_lost_epoch = is_lost(node, seen)
        if call.if_match is not None or call.if_none_match is not None:
            for asked in (call.if_match, call.if_none_match):
                if asked is not None and asked != NOWHERE and asked[1] > seen.lsn:
                    seen = Position(*asked)
                    token = None
        owed = self.unapplied.get(user) if self.unapplied else None
        if owed is not None and node.covers(owed):
            del self.unapplied[user]
            owed = None
        if owed is not None and (seen is START or seen.lsn < owed.lsn):
            session.ask(consistency, owed)
            session.fresh_until_leader = True
        else:
            session.ask(consistency, seen, token)

    def answer(self, session: RestSession, call: Call, replies: list[Reply]) -> tuple[Response, bytes]:
        """The response to a call whose replies are all there, and the lines of its receipt."""
        if call.mode in STREAMS:  # it was refused: there is nothing to hear
            self.streams.discard(session.connection)
        try:
            return self._answer(session, call, replies)
        except Exception:
            log.exception("an answer cannot be rendered")
            return render_error(INTERNAL_ERROR), b""

    def _answer(self, session: RestSession, call: Call, replies: list[Reply]) -> tuple[Response, bytes]:
        if session.owes and session.user is not None:
            name = session.user.name
            self.unapplied[name] = later(
                session.own, self.unapplied.get(name, START)
            )  # answers may overtake each other
        served, seen = session.served, session.own
        if seen.epoch == served.epoch and seen.lsn > served.lsn:
            served = seen
        lines = self._receipt(session, self._token(session, call, served))
        if session.told_caches:
            lines += header_lines(session.told_caches)
        if call.is_unit:
            outcome = _outcome(call, replies)
            if not isinstance(outcome, list):
                return render_error(outcome), lines
            replies = outcome
        if call.mode is PIPELINE and len(replies) < len(call.commands):
            ran = iter(replies)
            replies = [command if type(command) is _REFUSAL else next(ran) for command in call.commands]
        for reply in replies:
            if is_bug(reply):
                return render_error(INTERNAL_ERROR), lines
        response = render(call, replies)
        tag = validator(session, call) if response.status == 200 else None
        if tag is not None:
            lines += b"etag: %b\r\n" % etag(self.shell.node.sync_tokens.of(tag))
            if is_unchanged(self.shell.node, session, call):
                response = Response(304, b"")
        return response, lines

    def _tell_caches(self, session: RestSession, request: Request) -> None:
        """What a cache between the client and this node has to know of the reply, which was given just now if it is there."""
        if self._is_edge(request):
            tag = edge_tag(self.shell.node, session)
            if tag is not None:
                session.told_caches = [(b"upstash-edge", tag)]
        elif self.is_surrogate and request.method == b"GET":
            session.told_caches = surrogate_headers(self.shell.node, session)

    def _token(self, session: RestSession, call: Call, served: Position) -> bytes:
        """The sync token of what the client has seen once it is answered: a position, or key by key."""
        node = self.shell.node
        if session.scope is None:
            return node.sync_tokens.of(served)
        return node.sync_tokens.sign(after(session.scope, node, _to_run(call), session.served))

    def _position_in(self, token: str) -> tuple[int, int] | None:
        """(epoch, LSN) that a sync token of ours names, here in an ETag; None if it is none."""
        known = self.shell.node.sync_tokens.read(token)
        return None if known is None else (known.epoch, known.lsn)

    def _receipt(self, session: RestSession, token: bytes) -> bytes:
        """What the client has seen, and from what state it was answered: every reply is at least as new as that."""
        receipt, node = session.receipt, self.shell.node
        if not receipt.regions:
            receipt.note(session.here, node.log.head, node.staleness_ms)
        lines = self.receipts.of(receipt, token)
        if session.is_lost_epoch:
            lines += b"upstash-sync-token-status: lost-epoch\r\n"
        return lines

    # -- time and end -------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        self.beat()
        self.sweeper = self.shell.loop.call_later(1.0, self._sweep)

    def beat(self) -> None:
        """Once a second: late connections, and a sign of life on event streams."""
        now = self.shell.loop.time()
        self.beats += 1
        for connection in list(self.connections):
            connection.close_if_late(now)
            if connection.is_streaming and self.beats % int(KEEPALIVE_S) == 0:
                connection.stream(b": keepalive\n\n")

    def stop_accepting(self) -> None:
        if self.server is not None:
            self.server.close()

    def close_all(self) -> None:
        if self.sweeper is not None:
            self.sweeper.cancel()
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.close()


def _to_run(call: Call) -> list[list[bytes]]:
    """The commands of a call but for those that are answered without being run."""
    commands = call.commands
    if call.mode is not SINGLE:  # which is refused as a whole
        commands = [command for command in commands if type(command) is not _REFUSAL]
    return cast(list[list[bytes]], commands)


def _check_keys(call: Call) -> None:
    """Refuse keys that are too long: the row of a pipeline, any other request as a whole. Raises HttpError."""
    for index, argv in enumerate(call.commands):
        if isinstance(argv, CommandError) or sum([len(word) for word in argv]) <= MAX_KEY_BYTES:
            continue
        try:
            keys = lookup(argv).keys.find(argv)
        except CommandError:
            continue  # unknown or misspelt: told when it is run
        longest = max([len(key) for key in keys], default=0)
        if longest > MAX_KEY_BYTES:
            refusal = error(f"max key size exceeded. Limit: {MAX_KEY_BYTES} bytes, Actual: {longest} bytes")
            if call.mode is not PIPELINE:
                raise HttpError(400, refusal.text)
            call.commands[index] = refusal


def _outcome(call: Call, replies: list[Reply]) -> list[Reply] | CommandError | HttpError:
    """MULTI, each QUEUED or refused, EXEC: the items of EXEC, or why the whole was discarded."""
    for queued in replies[1:-1]:
        if isinstance(queued, CommandError):
            return queued
    outcome = replies[-1]
    if isinstance(outcome, CommandError):
        return _why_discarded(outcome)
    if outcome is NULL_ARRAY:
        return [] if call.if_match is None else HttpError(412, CHANGED)
    assert isinstance(outcome, list)
    return outcome


def _why_discarded(failure: CommandError) -> CommandError:
    """EXECABORT as REST has it: the error that spoiled the transaction."""
    text = failure.message.removeprefix("Transaction discarded because of: ")
    code, _, message = text.partition(" ")
    if failure.code != "EXECABORT" or text == failure.message:
        return failure
    return CommandError(code, message) if code.isupper() else error(text)
