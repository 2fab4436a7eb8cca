"""What a request is to the cache: something it may be asked for, under a name, or none of its business."""

from hashlib import sha256
from typing import Any, Final

import upstash_global.engine.commands
import upstash_global.node.commands  # noqa: F401  (fill the table)
from upstash_global.edge.wishes import wish_of
from upstash_global.engine.footprint import keys_read
from upstash_global.engine.table import lookup
from upstash_global.errors import CommandError
from upstash_global.protocol.rest import Call, HttpError, Mode, Request, access_token, parse_request
from upstash_global.replication.position import START

EXAMINED_BYTES: Final = 64 << 10  # of a body that is looked into

# What asks for more than a plain read, and is left to the node.
_ASKS_MORE: Final = (b"if-match", b"if-none-match", b"idempotency-key")


class Asked:
    """One request for a reply that may be kept. `connection` is the shell's, to answer on."""

    def __init__(self, connection: Any, request: Request, call: Call, keys: list[bytes]) -> None:
        self.connection = connection
        self.request = request
        self.call = call
        self.keys = keys  # on which the reply depends
        self.identity = identity_of(access_token(request))
        self.name = _name(request, call, self.identity)  # of the reply in the cache
        self.wish = wish_of(request.headers.get(b"cache-control", b""))
        self.wanted = START  # what its sync token says that the client has seen


def asked_by(connection: Any, request: Request) -> Asked | None:
    """What the cache may be asked for; None if the request is none of its business."""
    headers = request.headers
    if request.method != b"GET" or request.body or any(name in headers for name in _ASKS_MORE):
        return None
    try:
        call = parse_request(request)
    except HttpError:
        return None  # the node will say what is wrong
    argv = call.commands[0] if call.mode is Mode.SINGLE else None
    if argv is None or isinstance(argv, CommandError):
        return None
    keys = keys_read(argv)
    return None if keys is None else Asked(connection, request, call, keys)


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
