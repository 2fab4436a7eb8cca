"""HTTP/1.1 on httptools (llhttp, strict): framing, limits and time-outs, for the REST listener and the edge.

One request at a time is handed to the handler; what a client pipelines behind it waits. Whatever could be read in two
ways (a second length, host or authorization, a fold, a bare line end) is refused with 400 and the connection closed, once
everything before it is answered. What a client may make us hold is bounded: a body beyond STRANGER_BYTES is read only from
one whom the handler lets in, and a client that does not read its answers is not read from.

A client sends the same headers with request after request. Those that a connection has sent are remembered, and what comes
with the same again, word for word and in one packet, is not given to the parser: its requests share one dict of headers, so
that the handler, too, may know by that what it has looked at already. Nothing is compared with what somebody else has sent.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Iterable
from http import HTTPStatus
from itertools import islice
from operator import attrgetter
from typing import Any, Final, Protocol, cast

import httptools

from upstash_global.config import Limits
from upstash_global.errors import INTERNAL_ERROR, HttpError
from upstash_global.protocol.rest import (
    JSON,
    Request,
    Response,
    ask_nothing,
    is_known_method,
    render_error,
    too_large,
)

log = logging.getLogger("upstash_global")

MAX_QUEUED_REQUESTS: Final = 32  # read behind the running one; beyond it the client is not read from
MAX_QUEUED_BYTES: Final = 1 << 20  # of their bodies, likewise
STRANGER_BYTES: Final = 64 << 10  # of a body that is read before anybody asks who sends it
MAX_HEADS: Final = 4  # of a connection that are remembered,
MAX_HEAD_BYTES: Final = 1 << 10  # each of at most so much
MAX_COMPARED: Final = 64  # idle connections, to find the one that makes room
LINGER_S: Final = 2.0  # a refused client may go on sending so long; closing at once could destroy the refusal
_UNKNOWN_METHOD: Final = re.compile(rb"(?!GET|HEAD|POST|PUT|OPTIONS)[A-Z][A-Z-]* [/*h]")
_VERSION: Final = b"HTTP/1.1\r\n"
_LINE_END: Final = 2
# In a target, bytes that are ordinary stay as they are, others change.
_ORDINARY: Final = bytes([byte if 32 < byte < 127 and byte != ord("#") else byte ^ 1 for byte in range(256)])
_SLASH: Final = ord("/")

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
_JSON_START: Final = b"%bcontent-type: %b\r\ncontent-length: " % (_STATUS_LINES[200], JSON.encode())
_ONLY_ONCE: Final = frozenset(
    [b"host", b"authorization", b"content-length", b"transfer-encoding", b"upstash-sync-token"]
)


class HttpLimits:
    def __init__(
        self,
        body_bytes: int = 16 << 20,
        header_bytes: int = 32 << 10,
        headers: int = 100,
        uri_bytes: int = 16 << 10,
        header_s: float = 10.0,
        body_bytes_per_s: int = 1 << 10,
        idle_s: float = 60.0,
        output_bytes: int = 64 << 20,
    ) -> None:
        self.body_bytes = body_bytes
        self.header_bytes = header_bytes
        self.headers = headers
        self.uri_bytes = uri_bytes
        self.header_s = header_s
        self.body_bytes_per_s = body_bytes_per_s
        self.idle_s = idle_s
        self.output_bytes = output_bytes

    @staticmethod
    def of(limits: Limits) -> "HttpLimits":
        """As the configuration has them."""
        return HttpLimits(
            limits.http_body_bytes,
            limits.http_header_bytes,
            limits.http_headers,
            limits.http_uri_bytes,
            limits.http_header_ms / 1000,
            limits.http_body_bytes_per_s,
            limits.http_idle_ms / 1000,
            limits.output_buffer_bytes,
        )


class Head:
    """The headers of a request, for those that repeat them."""

    def __init__(self, headers: dict[bytes, bytes], body_bytes: int) -> None:
        self.headers = headers
        self.body_bytes = body_bytes  # that follow
        self.is_plain = ask_nothing(headers)


class HttpHandler(Protocol):
    """What a listener does with requests. `begin` may refuse before the body is read; `lines_for` gives the lines that the head
    of any answer to a request has; `waits` tells of the running request whether it ends when its client leaves."""

    def connected(self, connection: "HttpConnection") -> None: ...

    def disconnected(self, connection: "HttpConnection") -> None: ...

    def begin(self, connection: "HttpConnection", request: Request) -> None: ...

    def request(self, connection: "HttpConnection", request: Request) -> None: ...

    def lines_for(self, request: Request) -> bytes: ...

    def waits(self, connection: "HttpConnection") -> bool: ...


class HttpConnection:
    """An asyncio.Protocol in all but name: a compiled class cannot inherit from it, and this is the hot path."""

    def __init__(self, handler: HttpHandler, limits: HttpLimits, loop: asyncio.AbstractEventLoop) -> None:
        self.handler = handler
        self.limits = limits
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.address = ""
        self.host = ""
        self.local_address = ""
        self.parser: Any = httptools.HttpRequestParser(self)
        self.state: Any = None  # the handler's own
        self.queue: deque[tuple[Request, bool]] = deque()  # read, not yet handled: (request, keep alive)
        self.running: Request | None = None  # handed to the handler, not answered
        self.keep_alive = True  # of the running request
        self.is_kept = False  # it has had an answer, and may idle until the next request
        self.is_streaming = False  # the answer is open-ended
        self.queued_bytes = 0  # of the bodies in the queue
        self.is_handing_over = False
        self.is_paused = False  # not read from
        self.unread_bytes = 0  # of answers, when it was last looked
        self.is_full = False  # the client does not read its answers: nothing more is handed over
        self.deadline = loop.time() + limits.header_s  # when the client is given up
        self.is_broken = False  # nothing more is read
        self.is_ending = False  # the client sends no more: closed once everything is answered
        self.refusal: HttpError | None = None  # why; told behind the answers to what came before
        self.heads: dict[bytes, Head] = {}  # by their bytes, from the end of the first line on; the oldest first
        # of the request that is being read, or was read last
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.header_bytes = 0
        self.n_headers = 0
        self.body: list[bytes] = []
        self.body_size = 0
        self.is_reading_request = False
        self.is_reading_head = False
        self.head_bytes = 0  # of the packets that hold nothing but a part of the head
        self.is_chunkable = False

    # -- the transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own for them
        self.transport = transport
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.host = peer[0] if peer else ""
        self.address = f"{peer[0]}:{peer[1]}" if peer else ""
        self.local_address = f"{local[0]}:{local[1]}" if local else ""
        transport.set_write_buffer_limits(high=MAX_QUEUED_BYTES)
        self.handler.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.handler.disconnected(self)

    def data_received(self, data: bytes) -> None:
        if self.is_broken or self.is_streaming:
            return
        if self.is_reading_request or not self._read_repeated(data):
            if not self.is_reading_request and self.running is None and not self.queue:
                self.deadline = self.loop.time() + self.limits.header_s
            self._read(data)
        if len(self.queue) > MAX_QUEUED_REQUESTS or self.queued_bytes > MAX_QUEUED_BYTES:
            self._pause_reading()

    def _read_repeated(self, data: bytes) -> bool:
        """Take a whole request whose headers this connection has sent before; False for any other.

        What the parser makes of headers does not depend on the first line, as long as that is an ordinary one. They may hold a
        token, but how long it takes to find none tells nothing of those that are kept: the hash of bytes is keyed.
        """
        heads = self.heads
        if not heads:
            return False
        words = data.split(b" ", 2)
        if len(words) < 3:
            return False
        method, target, rest = words
        if not is_known_method(method) or not rest.startswith(_VERSION):
            return False
        if not target or target[0] != _SLASH or target.translate(_ORDINARY) != target:
            return False
        if len(target) > self.limits.uri_bytes:
            return False
        body = b""  # as a rule nothing follows the headers
        head = heads.get(rest[len(_VERSION) - _LINE_END :]) if rest.endswith(b"\r\n\r\n") else None
        if head is None:
            head_end = rest.find(b"\r\n\r\n") + 4
            head = heads.get(rest[len(_VERSION) - _LINE_END : head_end])
            body = rest[head_end:]
        if head is None or len(body) != head.body_bytes:
            return False
        self._take(Request(method, target, head.headers, body, True, head.is_plain), True)
        return True

    def _read(self, data: bytes) -> None:
        was_reading, was_in_head = self.is_reading_request, self.is_reading_head
        try:
            self.parser.feed_data(data)
            if was_in_head and self.is_reading_head:
                self._count_head(len(data))
            if not was_reading and not self.is_reading_request:
                self._remember(data)
        except HttpError as refusal:
            self.refuse(refusal)
        except httptools.HttpParserUpgrade:
            self.refuse(HttpError(400, "ERR upgrades are not spoken here"))
        except httptools.HttpParserInvalidMethodError:
            is_request = _UNKNOWN_METHOD.match(data) is not None
            self.refuse(HttpError(405, "") if is_request else HttpError(400, "ERR this is not HTTP"))
        except httptools.HttpParserError as mistake:
            cause = mistake.__context__
            if isinstance(cause, HttpError):
                self.refuse(cause)
            elif isinstance(mistake, httptools.HttpParserCallbackError):
                log.error("a request could not be read", exc_info=mistake)
                self.refuse(HttpError(500, INTERNAL_ERROR.text))
            else:
                self.refuse(HttpError(400, f"ERR malformed HTTP request: {mistake}"))

    def _remember(self, data: bytes) -> None:
        """Keep the headers of the request that was read last if this packet is that request and nothing else."""
        headers = self.headers
        line_end = data.find(b"\r\n")
        head_end = data.find(b"\r\n\r\n", line_end) + 4
        if not 0 < line_end < head_end <= line_end + MAX_HEAD_BYTES or data.find(b"\n") < line_end:
            return
        if len(data) - head_end != self.body_size or self.body_size > STRANGER_BYTES:
            return
        if not self.is_chunkable or b"expect" in headers:
            return
        if len(self.heads) == MAX_HEADS:
            del self.heads[next(iter(self.heads))]
        self.heads[data[line_end:head_end]] = Head(headers, self.body_size)

    def eof_received(self) -> bool:
        """The client sends no more, and may still read: it gets what it is owed, then the connection ends.

        Most who do so have left. So who waits for something to happen is let go, as by Redis.
        """
        if self.is_streaming or (self.running is None and not self.queue) or self.handler.waits(self):
            return False
        self.is_ending = True
        return True

    def _count_head(self, n_bytes: int) -> None:
        """A name or value that does not end is kept by the parser and not shown to us."""
        self.head_bytes += n_bytes
        if self.head_bytes > self.limits.header_bytes + self.limits.uri_bytes:
            raise HttpError(431, "ERR the headers are too large")

    def pause_writing(self) -> None:
        self.is_full = True
        self._pause_reading()

    def resume_writing(self) -> None:
        self.is_full = False
        self._go_on()

    def _pause_reading(self) -> None:
        if not self.is_paused and self.transport is not None and not self.transport.is_closing():
            self.is_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self.is_paused and self.transport is not None and not self.transport.is_closing():
            self.is_paused = False
            self.transport.resume_reading()

    # -- reading: callbacks of httptools ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = {}
        self.header_bytes = 0
        self.n_headers = 0
        self.body = []
        self.body_size = 0
        self.is_reading_request = True
        self.is_reading_head = True
        self.head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.uri_bytes:
            raise HttpError(414, "ERR the URI is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_reading_head:
            raise HttpError(400, "ERR trailers are not spoken here")
        name = name.lower()
        self.n_headers += 1
        self.header_bytes += len(name) + len(value)
        if self.n_headers > self.limits.headers or self.header_bytes > self.limits.header_bytes:
            raise HttpError(431, "ERR the headers are too large")
        if name in self.headers:
            if name in _ONLY_ONCE:
                raise HttpError(400, f"ERR the header {name.decode('latin-1')} stands twice")
            value = self.headers[name] + b", " + value
        self.headers[name] = value

    def on_headers_complete(self) -> None:
        self.is_reading_head = False
        if self.parser.get_method() == b"CONNECT":  # for the parser what follows is no HTTP, and no request
            raise HttpError(405, "")
        headers = self.headers
        version = self.parser.get_http_version()
        self.is_chunkable = version == "1.1"
        if version not in ("1.0", "1.1") or b"upgrade" in headers:
            raise HttpError(400, "ERR only HTTP/1.1 and HTTP/1.0 are spoken here, and no upgrades")
        length = headers.get(b"content-length")
        if length is not None:
            if not length.isdigit():
                raise HttpError(400, "ERR Content-Length is no number")
            if int(length) > self.limits.body_bytes:
                raise too_large(self.limits.body_bytes, int(length))
        coding = headers.get(b"transfer-encoding")
        if coding is not None and (coding != b"chunked" or length is not None or version == "1.0"):
            raise HttpError(
                400, "ERR Transfer-Encoding is not exactly chunked, stands beside a Content-Length or in HTTP/1.0"
            )
        if version == "1.1" and b"host" not in headers:
            raise HttpError(400, "ERR the header host is missing")
        self.deadline = self.loop.time() + self.limits.header_s
        if coding is not None or int(length or 0) > STRANGER_BYTES or b"expect" in headers:
            self.handler.begin(self, Request(self.parser.get_method(), self.url, headers))
        if b"expect" in headers:
            if headers[b"expect"].lower() != b"100-continue":
                raise HttpError(417, "ERR only 100-continue can be expected")
            if self.running is None and not self.queue and self.transport is not None:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self.body_size += len(body)
        if self.body_size > self.limits.body_bytes:
            raise too_large(self.limits.body_bytes, self.body_size)
        self.body.append(body)
        self.deadline += len(body) / max(1, self.limits.body_bytes_per_s)

    def on_message_complete(self) -> None:
        self.is_reading_request = False
        parts = self.body
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        request = Request(self.parser.get_method(), self.url, self.headers, body, self.is_chunkable)
        self._take(request, self.parser.should_keep_alive())

    def _take(self, request: Request, keep_alive: bool) -> None:
        is_running = self.running is not None  # by a name: compiled code would believe that it stays None
        if is_running or self.is_handing_over or self.is_full or self.queue:
            self.queue.append((request, keep_alive))
            self.queued_bytes += len(request.body)
            return
        self.is_handing_over = True
        self._hand_over(request, keep_alive)
        self.is_handing_over = False
        if self.running is None:
            self._go_on()

    def _go_on(self) -> None:
        """Hand over what waits, one request at a time; then tell what could not be read, or read on."""
        if self.is_handing_over:
            return  # answered at once: the loop below takes the next one
        self.is_handing_over = True
        while self.queue and self.running is None and not self.is_full:
            request, keep_alive = self.queue.popleft()
            self.queued_bytes -= len(request.body)
            self._hand_over(request, keep_alive)
        self.is_handing_over = False
        if self.is_ending and self.transport is not None and self.running is not None and self.handler.waits(self):
            self.transport.close()
        if self.queue or self.running is not None:
            return
        if self.refusal is not None:
            self._refuse(self.refusal)
        elif self.is_ending and self.transport is not None:
            self.transport.close()
        elif not self.is_full:
            self._resume_reading()

    def _hand_over(self, request: Request, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.running = request
        try:
            self.handler.request(self, request)
        except HttpError as refusal:
            if refusal.delay_ms:
                self.loop.call_later(refusal.delay_ms / 1000, self._respond_late, request, refusal)
            else:
                self.respond(render_error(refusal), retry_after_s=refusal.retry_after_s)
        except Exception:
            log.exception("a request failed")
            self.fail()

    # -- writing ------------------------------------------------------------------------------------------------

    def respond(self, response: Response, lines: bytes = b"", retry_after_s: int = 1) -> None:
        """Answer the running request, and turn to the next one; behind a failure of ours the connection ends.

        `lines` are those of the head that the framing knows nothing of.
        """
        transport, request = self.transport, self.running
        if transport is None or request is None:
            return
        if response.status == 500:
            self.keep_alive = False
        body = b"" if request.method == b"HEAD" else response.body  # whose head is that of GET (RFC 9110 §8.6)
        if response.status == 200 and response.content_type == JSON and self.keep_alive and request.is_chunkable:
            size = len(response.body) + response.untold
            transport.write(b"%b%d\r\n%b%b\r\n%b" % (_JSON_START, size, self.handler.lines_for(request), lines, body))
        else:
            transport.write(self._head(request, response, lines, self.keep_alive, retry_after_s) + body)
        self.running = None
        if not self.keep_alive:
            self.is_broken = True
            self.refusal = None
            self.queue.clear()
            transport.close()
            return
        self.is_kept = True
        self.deadline = self.loop.time() + self.limits.idle_s
        self._go_on()

    def _respond_late(self, request: Request, refusal: HttpError) -> None:
        if self.running is request:
            self.respond(render_error(refusal), retry_after_s=refusal.retry_after_s)

    def _head(self, request: Request, response: Response, lines: bytes, keep_alive: bool, retry_after_s: int) -> bytes:
        status = response.status
        parts = [_STATUS_LINES[status]]
        if status != 304:
            size = len(response.body) + response.untold
            parts.append(b"content-type: %b\r\ncontent-length: %d\r\n" % (response.content_type.encode(), size))
        parts.append(self.handler.lines_for(request))
        parts.append(lines)
        if status in (429, 503):
            parts.append(b"retry-after: %d\r\n" % retry_after_s)
        if not keep_alive:
            parts.append(b"connection: close\r\n")
        elif not request.is_chunkable:  # HTTP/1.0 does not expect it otherwise
            parts.append(b"connection: keep-alive\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    def begin_stream(self, content_type: str, lines: bytes = b"") -> None:
        """Answer the running request with a body that goes on until the client or the server closes."""
        transport, request = self.transport, self.running
        if transport is None or request is None:
            return
        self.is_streaming = True
        framing = b"transfer-encoding: chunked\r\n" if request.is_chunkable else b"connection: close\r\n"
        parts = [
            _STATUS_LINES[200],
            b"content-type: %s\r\ncache-control: no-store\r\n" % content_type.encode(),
            framing,
            self.handler.lines_for(request),
            lines,
            b"\r\n",
        ]
        transport.write(b"".join(parts))

    def stream(self, data: bytes) -> None:
        """One more piece of an open-ended body; a client that does not read it is cut off."""
        if self.transport is not None and self.running is not None and data:
            self.transport.write(b"%x\r\n%s\r\n" % (len(data), data) if self.running.is_chunkable else data)
            if self.transport.get_write_buffer_size() > self.limits.output_bytes:
                self.transport.abort()

    def fail(self) -> None:
        """A bug of ours: the client is told that there is one, and no more of it."""
        if self.is_streaming:
            self.cut()
        else:
            self.respond(render_error(INTERNAL_ERROR))

    def cut(self) -> None:
        """End the connection at once; what was not written is lost."""
        if self.transport is not None:
            self.transport.abort()

    def refuse(self, refusal: HttpError) -> None:
        """Read nothing more, answer what came before, then this, and close."""
        if not self.is_broken:
            self.is_broken = True
            if refusal.delay_ms:
                self.loop.call_later(refusal.delay_ms / 1000, self._refuse_late, refusal)
            else:
                self._refuse_late(refusal)

    def _refuse_late(self, refusal: HttpError) -> None:
        self.refusal = refusal
        self._go_on()

    def _refuse(self, refusal: HttpError) -> None:
        transport = self.transport
        self.refusal = None
        if transport is None or transport.is_closing():
            return
        response = render_error(refusal)
        asked = Request(b"GET", b"/", self.headers)  # what is known of it
        transport.write(self._head(asked, response, b"", False, refusal.retry_after_s) + response.body)
        if transport.can_write_eof():
            transport.write_eof()
        self.deadline = self.loop.time() + LINGER_S
        self._resume_reading()  # and discard

    @property
    def is_idle(self) -> bool:
        """Whether the connection is kept for a request that has not begun to come."""
        return self.is_kept and self.running is None and not self.is_reading_request and not self.queue

    def make_room(self) -> None:
        """Another client needs this place more: close, as after idling too long."""
        self.is_broken = True
        if self.transport is not None:
            self.transport.close()

    def close_if_late(self, now: float) -> None:
        """End a connection that idles, or sends too slowly; called about once a second."""
        transport = self.transport
        if transport is None or self.is_streaming or self.running is not None or now < self.deadline:
            return
        unread_bytes, self.unread_bytes = self.unread_bytes, transport.get_write_buffer_size()
        if 0 < self.unread_bytes != unread_bytes:
            self.deadline = now + self.limits.idle_s  # it reads, slowly
        elif self.is_reading_request and not self.is_broken:
            self.refuse(HttpError(408, "ERR the request was not sent in time"))
        elif self.unread_bytes:
            transport.abort()  # it does not read: a close that waits for that would not end
        else:
            transport.close()


def idlest(connections: Iterable[HttpConnection]) -> HttpConnection | None:
    """The one to close for another to come: of the first that idle, the one that has idled longest; None if none does."""
    idle = islice((connection for connection in connections if connection.is_idle), MAX_COMPARED)
    return min(idle, key=attrgetter("deadline"), default=None)
