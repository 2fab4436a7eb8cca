"""The REST form of commands, as Upstash has it: an HTTP request is a few commands and a way to run them.

    GET  /SET/key/value?EX=10       one command, path segments and then query parameters
    POST /SET/key?EX=10   + body    the whole body is one argument, between the two
    POST /                + JSON    one command, an array
    POST /pipeline        + JSON    an array of arrays, each answered for itself
    POST /multi-exec      + JSON    an array of arrays, all or nothing
    POST /subscribe/channel         server-sent events
    GET  /v1/nearest                which nodes there are, the best first

The shell does the HTTP: it asks `access_token` first (a stranger learns nothing but 401), then `parse_request`, runs
what the Call says, and sends what `render` makes of the replies. Answers have the shapes of RESP2, in JSON unless the
client asks for RESP2 itself. Never `result` and `error` in one object.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from enum import Enum
from json.encoder import encode_basestring
from typing import Any, Final, NoReturn
from urllib.parse import unquote_to_bytes

from librt.strings import BytesWriter

from upstash_global.errors import INTERNAL_ERROR, CommandError, HttpError, error, wrong_arity
from upstash_global.floats import format_double
from upstash_global.protocol.consistency import FORMS, Consistency, read_consistency
from upstash_global.protocol.resp import encode
from upstash_global.reply import (
    NO_REPLY,
    NULL_ARRAY,
    Attributed,
    BigNumber,
    ByProtocol,
    Double,
    Named,
    Pairs,
    Push,
    Reply,
    Set,
    Simple,
    Verbatim,
)

MAX_COMMANDS: Final = 10_000  # of one pipeline
MAX_IDEMPOTENCY_KEY: Final = 255

Header = tuple[bytes, bytes]
Position = tuple[int, int]  # (epoch, LSN), as clients name it
PositionOf = Callable[[str], Position | None]  # of a sync token; None: this cluster did not write it
NOWHERE: Final = ((1 << 64) - 1, (1 << 64) - 1)  # on no history: every key has changed since
DOCS: Final = "docs/rest.md"

JSON: Final = "application/json; charset=utf-8"
OCTETS: Final = "application/octet-stream"
EVENTS: Final = "text/event-stream"

DEFAULT_STAYS: Final = error("the user 'default' cannot be changed over REST; use a connection of RESP")

# Bytes are found in bytes only behind an exception that says that they are no number; a number is found at once.
_QUESTION_MARK: Final = ord("?")
_PERCENT: Final = ord("%")

_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS"))
# Headers by which a request asks for more than its line says.
_ASKING: Final = frozenset(
    b"upstash-encoding upstash-response-format upstash-consistency upstash-sync-token upstash-edge "
    b"idempotency-key if-match if-none-match".split()
)
_NEEDS_A_CONNECTION: Final = frozenset(
    b"AUTH CLIENT HELLO RESET QUIT SYNCTOKEN MULTI EXEC DISCARD WATCH UNWATCH MONITOR "
    b"SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUNSUBSCRIBE".split()
)
_SHUTDOWN: Final = b"SHUTDOWN"  # tokens are given to browsers and edges, which must not be able to stop a node
_NEEDS_A_LOOK: Final = _NEEDS_A_CONNECTION | {
    _SHUTDOWN,
    b"ACL",
    b"V1",
}  # first words of a path that need not be plain commands
MAX_PLAIN_NAMES: Final = 1000
MAX_PLAIN_NAME_BYTES: Final = 64
# Names of commands that need no look, as clients have written them; the first object of each.
_plain_names: Final[dict[bytes, bytes]] = {}


class Mode(Enum):
    """How the commands of a Call are run, and what its answer is."""

    SINGLE = "single"
    PIPELINE = "pipeline"
    TRANSACTION = "transaction"
    SUBSCRIBE = "subscribe"
    PSUBSCRIBE = "psubscribe"
    MONITOR = "monitor"
    NEAREST = "nearest"  # no command: the node tells of all nodes
    PREFLIGHT = "preflight"  # a browser asks whether it may; see `cors_headers`


_REFUSAL: Final = CommandError  # compiled code finds it here without a dictionary

# Python 3.11 looks a member up by Python code: on the hot path this shows.
SINGLE: Final = Mode.SINGLE
PIPELINE: Final = Mode.PIPELINE
TRANSACTION: Final = Mode.TRANSACTION
MONITOR: Final = Mode.MONITOR
NEAREST: Final = Mode.NEAREST


class Request:
    """One HTTP request; header names in lower case."""

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: dict[bytes, bytes],
        body: bytes = b"",
        is_chunkable: bool = True,
        is_plain: bool = False,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.is_chunkable = is_chunkable  # the client knows chunks, as HTTP/1.0 does not
        self.is_plain = is_plain  # known to have headers that `ask_nothing`


class Call:
    """What a request asks for. In a PIPELINE, a CommandError stands for a row that is answered without being run."""

    def __init__(
        self, mode: Mode, commands: list[list[bytes] | CommandError], base64: bool = False, resp2: bool = False
    ) -> None:
        self.mode = mode
        self.commands = commands
        self.base64 = base64
        self.resp2 = resp2
        self.is_head = False
        self.is_unit = False  # run as one transaction, whatever the mode says of its answer
        self.once: bytes | None = None  # the Idempotency-Key
        self.if_match: Position | None = None
        self.if_none_match: Position | None = None
        self.consistency: Consistency | None = None  # None: the default of the token
        self.sync_token: str | None = None
        self.lag = ""  # of NEAREST: the budget in ms
        self.region = ""  # of NEAREST: the only one to be told of


class Response:
    """What is answered, beside the headers that others know."""

    def __init__(self, status: int, body: bytes, content_type: str = JSON, untold: int = 0) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.untold = untold  # bytes of a body that is known by its length alone: another server's answer to HEAD


# Reading a request.


def ask_nothing(headers: dict[bytes, bytes]) -> bool:
    """Whether a request with these headers is fully described by its line, its body and whose it is."""
    return _ASKING.isdisjoint(headers)


def is_known_method(method: bytes) -> bool:
    return method == b"GET" or method == b"POST" or method in _METHODS


def access_token(request: Request) -> str | None:
    """The bearer token of the request: `?_token=`, else the Authorization header with or without `Bearer`.

    Raises HttpError as `token_in_query` does.
    """
    return token_in_query(request) or token_in_headers(request.headers)


def token_in_query(request: Request) -> str | None:
    """What `?_token=` says, if anything.

    Raises HttpError for two of them, as the framing does for two headers: whose is the request? Before that for a method that
    nobody may use.
    """
    if not is_known_method(request.method):
        raise HttpError(405, "")
    if _QUESTION_MARK not in request.target:
        return None
    _, query = _path_and_query(request.target)
    given = [value for name, value in _parameters(query) if name == b"_token"]
    if len(given) > 1:
        raise HttpError(400, "ERR the parameter _token stands twice")
    return _text(given[0]) if given and given[0] else None


def token_in_headers(headers: dict[bytes, bytes]) -> str | None:
    authorization = headers.get(b"authorization", b"").strip()
    scheme, _, rest = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        authorization = rest.strip()
    return _text(authorization) or None


def parse_request(request: Request, max_commands: int = MAX_COMMANDS, position_of: PositionOf | None = None) -> Call:
    """What `request` asks for. Raises HttpError when it is refused as a whole.

    `position_of` reads the token in a validator; None for one that is not ours, as all are if nobody can say.
    """
    if request.is_plain and not request.body:
        plain = _plain_call(request)
        if plain is not None:
            return plain
    path, query = _path_and_query(request.target)
    if query or not is_known_method(request.method):
        token_in_query(request)  # for what it refuses
    if request.method == b"OPTIONS":
        return Call(Mode.PREFLIGHT, [])
    segments = path.strip(b"/").split(b"/")
    if _PERCENT in path:
        segments = [unquote_to_bytes(segment) for segment in segments]
    call = (
        _stream_call(segments)
        or _nearest_call(segments, query)
        or _command_call(request, segments, query, max_commands)
    )
    call.is_head = request.method == b"HEAD"
    call.is_unit = call.mode is TRANSACTION
    if request.is_plain:
        return call
    call.consistency = _consistency(request.headers)
    call.once = _idempotency_key(request.headers)
    if b"if-match" in request.headers:
        call.if_match = read_etag(request.headers[b"if-match"], position_of) or NOWHERE
    if b"if-none-match" in request.headers:
        call.if_none_match = read_etag(request.headers[b"if-none-match"], position_of)
    sync_token = request.headers.get(b"upstash-sync-token")
    if sync_token:
        call.sync_token = sync_token.decode("latin-1")
    return call


def _plain_call(request: Request) -> Call | None:
    """The call of a request that is a command in a path and nothing else; None for all that takes more than that to read."""
    target = request.target
    if (request.method != b"GET" and request.method != b"POST") or _QUESTION_MARK in target or _PERCENT in target:
        return None
    argv = target.split(b"/")
    if len(argv) < 3 or argv[0] or not argv[-1]:
        return None
    name = _plain_name(argv[1]) if argv[1] else None
    if name is None:
        return None
    argv.pop(0)
    argv[0] = name
    return Call(SINGLE, [argv])


def _stream_call(segments: list[bytes]) -> Call | None:
    """Server-sent events, whose body and encoding headers do not count (the JS SDK sends both)."""
    name = segments[0].lower()
    if name == b"monitor" and len(segments) == 1:
        return Call(MONITOR, [[b"MONITOR"]])
    if name not in (b"subscribe", b"psubscribe"):
        return None
    if len(segments) == 1:
        raise HttpError(400, wrong_arity(name.decode()).text)
    return Call(Mode(name.decode()), [[name.upper(), *segments[1:]]])


def _nearest_call(segments: list[bytes], query: bytes) -> Call | None:
    if len(segments) != 2 or segments[0] != b"v1" or segments[1] != b"nearest":
        return None
    asked = dict(_parameters(query))
    call = Call(NEAREST, [])
    call.lag, call.region = _text(asked.get(b"lag") or b""), _text(asked.get(b"region") or b"")
    return call


def _command_call(request: Request, segments: list[bytes], query: bytes, max_commands: int) -> Call:
    base64 = not request.is_plain and _is_base64(request.headers)
    only = segments[0] if len(segments) == 1 else None
    if only == b"multi-exec":
        rows = _read_rows(request.body, max_commands)
        for argv in rows:
            refusal = _refusal(argv)
            if refusal is not None:
                raise HttpError(400, refusal.text)
        return Call(TRANSACTION, list(rows), base64)
    resp2 = not request.is_plain and _is_resp2(request.headers, base64)
    if only == b"pipeline":
        return Call(
            PIPELINE, [_refusal(argv) or argv for argv in _read_rows(request.body, max_commands)], base64, resp2
        )
    if only == b"":
        argv = _read_command(request.body)
    else:
        argv = _path_command(request, segments, query)
    refusal = _refusal(argv)
    if refusal is not None:
        raise HttpError(400, refusal.text)
    return Call(SINGLE, [argv], base64, resp2)


def _path_command(request: Request, segments: list[bytes], query: bytes) -> list[bytes]:
    """Path arguments, then the body as one argument if there is one, then the query parameters."""
    argv = segments
    if request.body and request.method in (b"POST", b"PUT"):
        argv.append(request.body)
    for name, value in _parameters(query):
        if name != b"_token":
            argv.append(name)
            if value is not None:
                argv.append(value)
    return argv


def is_out_of_place(name: bytes) -> bool:
    """Whether a command, in upper case, has no meaning in a request of its own, or is not for those who have a token."""
    return name in _NEEDS_A_CONNECTION or name == _SHUTDOWN


def _plain_name(name: bytes) -> bytes | None:
    """The name of a command that, in any case, needs no look at what it asks for; None for any other.

    It is one object for all requests that spell it alike, by which the table knows it again.
    """
    known = _plain_names.get(name)
    if known is not None:
        return known
    if name.upper() in _NEEDS_A_LOOK:
        return None
    if len(_plain_names) < MAX_PLAIN_NAMES and len(name) <= MAX_PLAIN_NAME_BYTES:
        _plain_names[name] = name
    return name


def _refusal(argv: list[bytes]) -> CommandError | None:
    plain = _plain_name(argv[0])
    if plain is not None:
        argv[0] = plain
        return None
    name = argv[0].upper()
    if name == _SHUTDOWN:
        return _not_available(name.decode())
    if is_out_of_place(name):
        return error(f'Command "{name.decode()}" is not allowed in REST or it has a special context path')
    return DEFAULT_STAYS if name == b"ACL" and _changes_default(argv) else None


def _changes_default(argv: list[bytes]) -> bool:
    """Whether a command would change the user that the standard token stands for: a slip could lock all of REST out."""
    subcommand = argv[1].upper() if len(argv) > 2 else b""
    return (subcommand == b"SETUSER" and argv[2] == b"default") or (subcommand == b"DELUSER" and b"default" in argv[2:])


def _path_and_query(target: bytes) -> tuple[bytes, bytes]:
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/") and b"://" in path:  # the absolute form that proxies send
        path = path.partition(b"://")[2].partition(b"/")[2]
    return path, query


def _parameters(query: bytes) -> list[tuple[bytes, bytes | None]]:
    """(name, value) in order; the value is None when there is no `=`."""
    parameters: list[tuple[bytes, bytes | None]] = []
    if not query:
        return parameters
    for piece in query.replace(b"+", b" ").split(b"&"):
        if piece:
            name, equals, value = piece.partition(b"=")
            parameters.append((unquote_to_bytes(name), unquote_to_bytes(value) if equals else None))
    return parameters


def _is_base64(headers: dict[bytes, bytes]) -> bool:
    encoding = headers.get(b"upstash-encoding")
    if encoding and encoding != b"base64":
        raise HttpError(400, "ERR unsupported Upstash-Encoding, only base64 is known")
    return bool(encoding)


def _consistency(headers: dict[bytes, bytes]) -> Consistency | None:
    text = headers.get(b"upstash-consistency")
    if not text:
        return None
    consistency = read_consistency(text.decode("latin-1"))
    if consistency is None:
        raise HttpError(400, f"ERR Upstash-Consistency is {FORMS}")
    return consistency


def _idempotency_key(headers: dict[bytes, bytes]) -> bytes | None:
    key = headers.get(b"idempotency-key")
    if not key:
        return None
    if len(key) > MAX_IDEMPOTENCY_KEY or not all(33 <= byte <= 126 for byte in key):
        raise HttpError(400, f"ERR an Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} visible characters")
    return key


_ETAG: Final = re.compile(rb'(?:W/)?"([A-Za-z0-9_-]{1,512})"')


def etag(token: bytes) -> bytes:
    """The sync token of a position as a validator: the state that a reply was read from."""
    return b'"%b"' % token


def read_etag(text: bytes, position_of: PositionOf | None) -> Position | None:
    """The position behind one of our validators; None for anything else."""
    found = _ETAG.fullmatch(text.strip())
    return None if found is None or position_of is None else position_of(found[1].decode())


def _is_resp2(headers: dict[bytes, bytes], base64: bool) -> bool:
    form = headers.get(b"upstash-response-format")
    if not form or form == b"json":
        return False
    if form != b"resp2":
        raise HttpError(400, "ERR unsupported Upstash-Response-Format, only json and resp2 are known")
    if base64:
        raise HttpError(400, "ERR Upstash-Encoding base64 cannot be used with Upstash-Response-Format resp2")
    return True


# Reading JSON: numbers stay the text that the client wrote.


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)


def _read_array(body: bytes) -> list[Any]:
    if not body.strip():
        raise HttpError(400, "EOF")
    try:
        text = body.decode().strip(" \t\r\n")
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        raise _invalid_json() from None
    if end != len(text):
        raise _invalid_json()
    if not isinstance(value, list):
        raise HttpError(400, "expected JSON array")
    return value


def _read_command(body: bytes) -> list[bytes]:
    values = _read_array(body)
    if not values:
        raise HttpError(400, "ERR empty command")
    return [_argument(value) for value in values]


def _read_rows(body: bytes, max_commands: int) -> list[list[bytes]]:
    rows = _read_array(body)
    if not rows:
        raise HttpError(400, "ERR empty pipeline request")
    if len(rows) > max_commands:
        raise HttpError(413, f"ERR max pipeline size exceeded. Limit: {max_commands} commands, Actual: {len(rows)}")
    commands: list[list[bytes]] = []
    for row in rows:
        if not isinstance(row, list):
            raise HttpError(400, "expected JSON array")
        if not row:
            raise HttpError(400, "ERR empty pipeline command")
        commands.append([_argument(value) for value in row])
    return commands


def _argument(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, "\ud800"
            raise _invalid_json() from None
    if value is None:
        raise HttpError(400, "ERR null args are not supported")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    raise HttpError(400, f'ERR unsupported arg type: "{"[" if isinstance(value, list) else "{"}": json.Delim')


def _invalid_json() -> HttpError:
    return HttpError(400, "ERR request body is not valid JSON")


# Writing an answer.


def render(call: Call, replies: list[Reply]) -> Response:
    """The answer to a call that was run: one reply per command, a CommandError where it failed or was not run.

    A transaction that was discarded as a whole has no replies; answer it by `render_error`.
    """
    is_single = call.mode is not PIPELINE and call.mode is not TRANSACTION  # a refused stream is one, too
    status = 200
    if is_single:
        only = replies[0]
        if type(only) is _REFUSAL:
            status = status_of(only)
    if call.resp2:
        out = BytesWriter()
        for reply in replies:
            encode(out, as_rest_error(reply) if type(reply) is _REFUSAL else reply, 2)
        return Response(status, out.getvalue(), OCTETS)
    if is_single:
        return Response(status, _item(replies[0], call.base64))
    return Response(status, b"[%b]" % b",".join([_item(reply, call.base64) for reply in replies]))


def render_error(refusal: CommandError | HttpError) -> Response:
    """The answer to a request that was refused as a whole."""
    if isinstance(refusal, CommandError):
        refusal = as_rest_error(refusal)
        return Response(status_of(refusal), _error_item(refusal.text))
    body = b"" if refusal.status == 405 else _error_item(refusal.text)
    return Response(refusal.status, body)


def unauthorized(delay_ms: int = 0) -> HttpError:
    """No token, or one that is nobody's."""
    return HttpError(401, f"WRONGPASS invalid or missing auth token. See {DOCS} for details.", delay_ms=delay_ms)


def too_large(limit_bytes: int, actual_bytes: int) -> HttpError:
    return HttpError(413, f"ERR max request size exceeded. Limit: {limit_bytes} bytes, Actual: {actual_bytes} bytes")


def as_rest_error(failure: CommandError) -> CommandError:
    """An unknown command is told in Upstash's words; any other error stays as it is."""
    if failure.code != "ERR" or not failure.message.startswith("unknown command '"):
        return failure
    name = failure.message.removeprefix("unknown command '").partition("', with args beginning with:")[0]
    return _not_available(name.rstrip("'").upper())


def _not_available(name: str) -> CommandError:
    return error(f"Command is not available: '{name}'. See {DOCS} for details")


_STATUS: Final = {
    "NOAUTH": 401,
    "WRONGPASS": 401,
    "READONLY": 503,
    "NOLEADER": 503,
    "STALE": 503,
    "LOADING": 503,
    "NOREPLICAS": 503,
    "MISCONF": 503,
    "BUSY": 503,
    "SHUTTINGDOWN": 503,
    "UNKNOWN": 504,
    "KEYREUSED": 422,
    "ANSWERLOST": 409,
}


def status_of(failure: CommandError) -> int:
    """The HTTP status of a single command that failed so; send Retry-After with 503."""
    if failure.code == "ERR" and failure.message.startswith("max number of clients reached"):
        return 429
    if is_bug(failure):
        return 500
    return _STATUS.get(failure.code, 400)


def is_bug(reply: Reply) -> bool:
    """Whether a reply says that we failed, also inside a script: then the whole answer is 500."""
    return (
        type(reply) is _REFUSAL
        and reply.code == INTERNAL_ERROR.code
        and reply.message.startswith(INTERNAL_ERROR.message)
    )


# In the quotes of JSON, bytes that stand there as they are stay, others change.
_STANDS_AS_IT_IS: Final = bytes([byte if 32 <= byte < 127 and byte not in b'"\\' else byte ^ 1 for byte in range(256)])


def _item(reply: Reply, base64: bool) -> bytes:
    if type(reply) is bytes and not base64 and reply.translate(_STANDS_AS_IT_IS) == reply:
        return b'{"result":"%b"}' % reply
    if type(reply) is Simple and reply.text == "OK":
        return b'{"result":"OK"}'  # the one string that the SDKs do not decode, and only here
    if type(reply) is _REFUSAL:
        return _error_item(as_rest_error(reply).text)
    return b'{"result":%b}' % _json(_plain(reply, base64)).encode("utf-8", "replace")


def _error_item(text: str) -> bytes:
    return b'{"error":%b}' % _json(text).encode("utf-8", "replace")  # never base64


def _json(plain: Reply) -> str:
    """A plain reply as JSON. To make one of Python's encoders takes longer than to write what most replies are."""
    if type(plain) is str:
        return encode_basestring(plain)
    if plain is None:
        return "null"
    if isinstance(plain, list):
        return f"[{','.join([_json(item) for item in plain])}]"
    assert isinstance(plain, int)
    return str(plain)


def _plain(reply: Reply, base64: bool) -> Reply:
    """A reply as JSON has it: str, int, None, and lists of them, in the shapes of RESP2."""
    if isinstance(reply, (bytes, bytearray)):
        return b64encode(reply).decode() if base64 else reply.decode("utf-8", "replace")
    if reply is None or reply is NULL_ARRAY or reply is NO_REPLY:
        return None
    if isinstance(reply, int):
        return int(reply)  # a boolean is 1 or 0
    if isinstance(reply, (list, tuple)):
        return [_plain(item, base64) for item in reply]
    if isinstance(reply, Simple):
        return _plain(reply.text, base64)
    if isinstance(reply, CommandError):
        return _plain(reply.text, base64)
    if isinstance(reply, str):
        return _plain(reply.encode("utf-8", "replace"), base64)
    if isinstance(reply, float):
        return _plain(format_double(reply), base64)
    if isinstance(reply, (BigNumber, Double, Verbatim)):
        return _plain(reply.text, base64)
    if isinstance(reply, dict):
        return [_plain(part, base64) for pair in reply.items() for part in pair]
    if isinstance(reply, Pairs):
        return [_plain(part, base64) for pair in reply.items for part in pair]
    if isinstance(reply, (Set, Named, Push)):
        return [_plain(item, base64) for item in reply.items]
    if isinstance(reply, ByProtocol):
        return _plain(reply.resp2, base64)
    if isinstance(reply, Attributed):
        return _plain(reply.reply, base64)
    raise TypeError(f"{reply!r} is no reply")


# Server-sent events and browsers.


def event(fields: list[Reply]) -> bytes:
    """A pushed reply (`message`, channel, text) as one event; a line end in it begins another data line."""
    text = b",".join([part if isinstance(part, bytes) else str(part).encode() for part in fields])
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"".join([b"data: " + line + b"\n" for line in lines]) + b"\n"


def line_event(text: str) -> bytes:
    """A line of MONITOR as one event; its OK stands in quotes, as Upstash sends it."""
    return b'data: "OK"\n\n' if text == "OK" else event([text])


EXPOSED: Final = (  # headers that a page may read
    b"upstash-sync-token",
    b"upstash-sync-token-status",
    b"upstash-region",
    b"upstash-position",
    b"upstash-staleness-ms",
    b"etag",
    b"retry-after",
    b"age",
    b"x-cache",
    b"upstash-edge-cache",
)
_ORIGIN_BYTES: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:/[]")
_NAME_LIST_BYTES: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-, ")


def cors_headers(request: Request, origins: list[str] | None = None) -> list[Header]:
    """The headers that let a page read the answer, also an error's. `origins` limits who may; None is everyone.

    What the client wrote is repeated only if it looks like an origin or a list of header names.
    """
    origin = request.headers.get(b"origin", b"")
    if origins is not None and origin.decode("latin-1") not in origins:
        return []
    is_origin = bool(origin) and _ORIGIN_BYTES.issuperset(origin)
    headers = [
        (b"access-control-allow-origin", origin if is_origin else b"*"),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b", ".join(EXPOSED)),
    ]
    if is_origin:
        headers.append((b"vary", b"origin"))
    if request.method == b"OPTIONS":
        headers.append((b"access-control-allow-methods", b"HEAD, GET, POST, PUT, OPTIONS"))
        asked = request.headers.get(b"access-control-request-headers", b"")
        if asked and _NAME_LIST_BYTES.issuperset(asked):
            headers.append((b"access-control-allow-headers", asked))
    return headers


class Cors:
    """`cors_headers` as lines of a head. Most requests come from no page, and are all told the same."""

    def __init__(self, origins: list[str] | None) -> None:
        self.origins = origins
        self.of_no_page = header_lines(cors_headers(Request(b"GET", b"/", {}), origins))

    def lines(self, request: Request) -> bytes:
        if b"origin" not in request.headers and request.method != b"OPTIONS":
            return self.of_no_page
        return header_lines(cors_headers(request, self.origins))


def header_lines(headers: Iterable[Header]) -> bytes:
    """Headers as they stand in a head."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
