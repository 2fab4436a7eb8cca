"""What a request is to the cache: something it may be asked for, under a name, or none of its business.

The same few requests come again and again, so what follows from their text alone is worked out once (`Shape`).
"""

from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import upstash_global.engine.commands
import upstash_global.node.commands  # noqa: F401  (fill the table)
from upstash_global.edge.wishes import wish_of
from upstash_global.engine.footprint import keys_read, value_read
from upstash_global.engine.table import lookup
from upstash_global.errors import CommandError, HttpError
from upstash_global.protocol.rest import Call, Mode, Request, access_token, parse_request
from upstash_global.replication.position import START

EXAMINED_BYTES: Final = 64 << 10  # of a body that is looked into
MAX_SHAPES: Final = 4_096  # remembered,
MAX_SHAPE_BYTES: Final = 512  # each with a path and query of at most so much

# What asks for more than a plain read, and is left to the node.
_ASKS_MORE: Final = (b"if-match", b"if-none-match", b"idempotency-key")
# Headers that decide what is asked for, and of whom.
_DECIDES: Final = (
    b"authorization",
    b"upstash-encoding",
    b"upstash-response-format",
    b"upstash-consistency",
    b"cache-control",
)


class Shape:
    """What follows from the text of a request for a reply that may be kept; shared, and not to be changed."""

    def __init__(self, request: Request, call: Call, keys: list[bytes], value_of: bytes | None) -> None:
        self.call = call
        self.keys = keys  # on which the reply depends
        self.value_of = value_of  # the key whose string it is, if it is no more than that
        self.identity = identity_of(access_token(request))
        self.name = _name(request, call, self.identity)  # of the reply in the cache
        self.consistency = call.consistency  # None: the default of the token
        self.wish = wish_of(request.headers.get(b"cache-control", b""))


class Asked:
    """One request for a reply that may be kept. `connection` is the shell's, to answer on."""

    def __init__(self, connection: Any, request: Request, shape: Shape) -> None:
        self.connection = connection
        self.request = request
        self.shape = shape
        self.name = shape.name
        self.wish = shape.wish
        self.wanted = START  # what its sync token says that the client has seen


def asked_by(connection: Any, request: Request) -> Asked | None:
    """What the cache may be asked for; None if the request is none of its business."""
    headers = request.headers
    if request.method != b"GET" or request.body or any([name in headers for name in _ASKS_MORE]):
        return None
    work_out = _remembered_shape if len(request.target) <= MAX_SHAPE_BYTES else _shape
    shape = work_out(request.target, *[headers.get(name, b"") for name in _DECIDES])
    return None if shape is None else Asked(connection, request, shape)


def _shape(target: bytes, *deciding: bytes) -> Shape | None:
    request = Request(b"GET", target, dict(zip(_DECIDES, deciding, strict=True)))
    try:
        call = parse_request(request)
    except HttpError:
        return None  # the node will say what is wrong
    argv = call.commands[0] if call.mode is Mode.SINGLE else None
    if argv is None or isinstance(argv, CommandError):
        return None
    keys = keys_read(argv)
    return None if keys is None else Shape(request, call, keys, value_read(argv))


_remembered_shape = lru_cache(MAX_SHAPES)(_shape)


def may_change(request: Request) -> bool:
    """Whether a request may write, as far as can be seen without much work."""
    if len(request.body) > EXAMINED_BYTES:
        return True
    try:
        call = parse_request(request)
        return any(not isinstance(argv, CommandError) and _needs_leader(argv) for argv in call.commands)
    except HttpError:
        return False  # the node will refuse it


def _needs_leader(argv: list[bytes]) -> bool:
    try:
        return lookup(argv).needs_leader
    except CommandError:
        return False


def identity_of(token: str | None) -> bytes:
    """Who asks, as far as an edge can tell: the token as it was sent."""
    return sha256((token or "").encode("utf-8", "surrogateescape")).digest()


def _name(request: Request, call: Call, identity: bytes) -> bytes:
    """Everything the reply depends on beside the data: path, query, who asks, and in which form."""
    path, _, query = request.target.partition(b"?")
    asked = b"&".join([part for part in query.split(b"&") if not part.startswith(b"_token=")])
    form = b"%d%d" % (call.base64, call.resp2)
    return b"\0".join([path, asked, identity, form])
