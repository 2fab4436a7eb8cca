"""Upstream: the edge as a client of its node's REST port, over connections that are kept.

What a request brings for the node, and what an answer brings for the client, is named here; everything else stays on its
side. The proof of the cluster makes the node say where a reply was read and until when it is true (node/edges.py), and not
count the strangers behind an edge as its own.
"""

import asyncio
from typing import Final

import aiohttp
from yarl import URL

from upstash_global.edge.cache import Tag
from upstash_global.errors import HttpError
from upstash_global.node.edges import read_tag
from upstash_global.protocol.consistency import SESSION
from upstash_global.protocol.rest import JSON, Header, Request, Response

CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0  # for a read; a node waits for a position and for its leader, at most
HEADER_BYTES: Final = 1 << 20  # of one header of the node; bodies are bounded by the node

# Request headers the node is shown, beside all that begin with `upstash-`.
_PASSED_ON: Final = frozenset(
    [b"authorization", b"content-type", b"idempotency-key", b"if-match", b"if-none-match", b"user-agent"]
)
# Answer headers the client is shown, beside those that begin with `upstash-`.
_PASSED_BACK: Final = frozenset([b"etag", b"allow"])
_BETWEEN_US: Final = b"upstash-edge"


class Answer:
    """What the node said; `tag` is there if the reply may be kept, its keys to be filled in by who asked."""

    def __init__(self, response: Response, headers: list[Header], tag: Tag | None = None) -> None:
        self.response = response
        self.headers = headers
        self.tag = tag
        self.retry_after_s = 1  # told with 429 and 503
        self.staleness_ms = 0  # of the state it was read from, as the node said


class Upstream:
    def __init__(self, url: str, proof: str) -> None:
        """To be made on the loop that uses it."""
        self.url = url  # without a path
        self.proof = proof
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def read(self, request: Request, sync_token: str) -> Answer:
        """The whole answer to a read, from no state before the token's. Raises HttpError 503 if there is none."""
        headers = _headers_of(request)
        headers["upstash-consistency"] = SESSION
        if sync_token:
            headers["upstash-sync-token"] = sync_token
        try:
            async with asyncio.timeout(ANSWER_S), self._open(request, headers) as response:
                return await whole(response)
        except (aiohttp.ClientError, TimeoutError):
            raise HttpError(503, "ERR the edge cannot reach its node") from None

    def pass_on(self, request: Request) -> "aiohttp.client._RequestContextManager":
        """The answer to a request as it is, for `async with`; raises what aiohttp raises."""
        return self._open(request, _headers_of(request))

    def _open(self, request: Request, headers: dict[str, str]) -> "aiohttp.client._RequestContextManager":
        headers["upstash-edge"] = self.proof
        return self.http.request(
            request.method.decode("latin-1"),
            URL(self.url + _target(request), encoded=True),
            headers=headers,
            data=request.body or None,
            allow_redirects=False,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
        )

    async def close(self) -> None:
        await self.http.close()


def _headers_of(request: Request) -> dict[str, str]:
    """The request's headers that mean something to the node; what is no text means nothing."""
    headers = {}
    for name, value in request.headers.items():
        if name in _PASSED_ON or (name.startswith(b"upstash-") and name != _BETWEEN_US):
            try:
                headers[name.decode("ascii")] = value.decode()
            except UnicodeDecodeError:
                continue
    return headers


def _target(request: Request) -> str:
    """Path and query for a URL: bytes that have no place in one are escaped, which means the same to the node."""
    target = request.target
    if not target.startswith(b"/"):  # the absolute form that proxies send
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    return "".join([chr(byte) if 33 <= byte < 127 and byte != 35 else f"%{byte:02X}" for byte in target])


async def whole(response: aiohttp.ClientResponse) -> Answer:
    """An answer, once all of it has come."""
    body = await response.read()
    headers = response.headers
    untold = _number(headers.get("Content-Length"), 0) if response.method == "HEAD" else 0
    answer = Answer(Response(response.status, body, headers.get("Content-Type", JSON), untold), for_client(response))
    answer.retry_after_s = _number(headers.get("retry-after"), 1)
    answer.staleness_ms = _number(headers.get("upstash-staleness-ms"), 0)
    text = headers.get("upstash-edge")
    if text is not None and response.status == 200:
        told = read_tag(text.encode())
        if told is not None:
            answer.tag = Tag(told[0], [], told[1])
    return answer


def for_client(response: aiohttp.ClientResponse) -> list[Header]:
    """The headers of an answer that are meant for the client."""
    told = []
    for name, value in response.raw_headers:
        name = name.lower()
        if name in _PASSED_BACK or (name.startswith(b"upstash-") and name != _BETWEEN_US):
            told.append((name, value))
    return told


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdecimal() else otherwise
