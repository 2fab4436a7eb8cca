"""Headers that a client repeats are read once: that must show in nothing but time."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.serving import READ_TOKEN, TOKEN, Served
from tests.server.test_rest import OK, Client
from upstash_global.protocol.rest import Request, Response
from upstash_global.server.http import MAX_HEADS, HttpConnection, HttpLimits


class Recorder:
    """A handler that answers at once and keeps what it was handed."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.written: list[bytes] = []

    def connected(self, connection: HttpConnection) -> None:
        pass

    def disconnected(self, connection: HttpConnection) -> None:
        pass

    def begin(self, connection: HttpConnection, request: Request) -> None:
        pass

    def request(self, connection: HttpConnection, request: Request) -> None:
        self.requests.append(request)
        connection.respond(Response(200, request.body))

    def waits(self, connection: HttpConnection) -> bool:
        return False

    def lines_for(self, request: Request) -> bytes:
        return b""

    @property
    def read(self) -> list[tuple[object, ...]]:
        return [(each.method, each.target, dict(each.headers), each.body, each.is_chunkable) for each in self.requests]


def connection() -> tuple[HttpConnection, Recorder]:
    """One whose client is the test: what it writes is in the recorder."""
    recorder = Recorder()
    transport = SimpleNamespace(
        get_extra_info=lambda name: ("127.0.0.1", 1),
        set_write_buffer_limits=lambda high: None,
        write=recorder.written.append,
        is_closing=lambda: False,
        can_write_eof=lambda: False,
        pause_reading=lambda: None,
        resume_reading=lambda: None,
        close=lambda: recorder.written.append(b"(closed)"),
    )
    loop = SimpleNamespace(time=lambda: 0.0)
    made = HttpConnection(recorder, HttpLimits(uri_bytes=64), cast(Any, loop))
    made.connection_made(cast(Any, transport))
    return made, recorder


HOST = b"Host: x\r\n"


def test_requests_that_repeat_their_headers_share_them() -> None:
    client, server = connection()
    for first_line in (b"GET /get/a HTTP/1.1", b"GET /get/b HTTP/1.1", b"HEAD /get/%20?x=1 HTTP/1.1"):
        client.data_received(first_line + b"\r\n" + HOST + b"Authorization: Bearer me\r\n\r\n")
    assert [request.target for request in server.requests] == [b"/get/a", b"/get/b", b"/get/%20?x=1"]
    assert len({id(request.headers) for request in server.requests}) == 1


def test_bodies_of_one_length_share_their_headers_too() -> None:
    client, server = connection()
    for body in (b"abc", b"xyz"):
        client.data_received(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\n" + body)
    assert [request.body for request in server.requests] == [b"abc", b"xyz"]
    assert server.requests[0].headers is server.requests[1].headers


def test_no_more_than_a_few_are_remembered_and_the_newest_are() -> None:
    client, server = connection()
    for n in [*range(100), 99, 0]:
        client.data_received(b"GET / HTTP/1.1\r\n" + HOST + b"X: %d\r\n\r\n" % n)
    assert len(client.heads) == MAX_HEADS
    *_, newest, again, oldest = server.requests
    assert again.headers is newest.headers and oldest.headers is not server.requests[0].headers


ORDINARY = [b"GET /get/a HTTP/1.1", b"POST /b HTTP/1.1", b"HEAD /a?b=c HTTP/1.1", b"OPTIONS / HTTP/1.1"]
ODD = [
    b"DELETE /a HTTP/1.1",
    b"CONNECT a:1 HTTP/1.1",
    b"get /a HTTP/1.1",
    b"GET /a HTTP/1.0",
    b"GET /a HTTP/2.0",
    b"GET /a http/1.1",
    b"GET /a",
    b"GET  /a HTTP/1.1",
    b"GET /a  HTTP/1.1",
    b"GET /a HTTP/1.1 ",
    b"GET /a\tHTTP/1.1",
    b"GET http://x/a HTTP/1.1",
    b"GET a HTTP/1.1",
    b"GET * HTTP/1.1",
    b"GET /a#b HTTP/1.1",
    b"GET /\xff HTTP/1.1",
    b"GET /\x7f HTTP/1.1",
    b"GET /\x00 HTTP/1.1",
    b"GET /\r HTTP/1.1",
    b"GET /a HTTP/1.1\n",
    b"\r\nGET /a HTTP/1.1",
    b"\nGET /a HTTP/1.1",
    b"GET /" + b"a" * 64 + b" HTTP/1.1",
    b"GET /" + b"a" * 63 + b" HTTP/1.1",
]
HEADERS = [
    HOST,
    HOST + b"Content-Length: 3\r\n",
    HOST + b"Content-Length: 0\r\n",
    HOST + b"Connection: close\r\n",
    HOST + b"Transfer-Encoding: chunked\r\n",
    HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n",
    HOST + HOST,
    HOST + b"A: b\nC: d\r\n",
    b"Connection: keep-alive\r\n",
    b"",
]
BODIES = [b"", b"abc", b"abcd", b"0\r\n\r\n", b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"]


def read_alike(packets: list[bytes]) -> bool:
    """Whether requests, answers, refusals and closes are those of a connection that forgets what it has read."""
    (remembering, told), (forgetful, told_anew) = connection(), connection()
    for packet in packets:
        remembering.data_received(packet)
        forgetful.heads.clear()
        forgetful.data_received(packet)
    return told.read == told_anew.read and told.written == told_anew.written


@pytest.mark.parametrize("headers", HEADERS)
def test_a_first_line_means_the_same_before_headers_that_are_known(headers: bytes) -> None:
    for earlier in (b"GET / HTTP/1.1", b"GET / HTTP/1.0"):
        for first_line in (*ORDINARY, *ODD):
            for body in BODIES:
                for next_body in BODIES:
                    packets = [
                        earlier + b"\r\n" + headers + b"\r\n" + body,
                        first_line + b"\r\n" + headers + b"\r\n" + next_body,
                    ]
                    assert read_alike(packets), packets


def test_a_first_line_behind_an_empty_one_does_not_become_a_header() -> None:
    rest = b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n"
    assert read_alike([b"\r\n" + rest, b"GET /b HTTP/1.1\r\n" + rest])


TARGETS = st.binary(min_size=1, max_size=8).map(lambda target: b"GET /" + target + b" HTTP/1.1")
REQUESTS = st.tuples(
    st.sampled_from(ORDINARY) | st.sampled_from(ODD) | TARGETS, st.sampled_from(BODIES), st.none() | st.integers(1, 99)
)


@given(st.sampled_from(HEADERS), st.lists(REQUESTS, min_size=2, max_size=5))
def test_packets_in_any_order_whole_or_in_two_are_read_alike(
    headers: bytes, requests: list[tuple[bytes, bytes, int | None]]
) -> None:
    packets: list[bytes] = []
    for first_line, body, cut in requests:
        data = first_line + b"\r\n" + headers + b"\r\n" + body
        packets += [data] if cut is None or cut >= len(data) else [data[:cut], data[cut:]]
    assert read_alike(packets)


# -- whose they are


def test_headers_are_of_whom_their_token_is_of_also_between_other_tokens(served: Served) -> None:
    with served.http() as wire:
        client = Client(wire)
        for _ in range(3):
            assert client.get("/set/k/v") == OK
            status, told = client.get(f"/set/k/v?_token={READ_TOKEN}")
            assert status == 400 and told["error"].startswith("NOPERM")
            assert client.get("/set/k/v", authorization="Bearer nobody")[0] == 401
            assert client.get("/set/k/v", authorization=f"Bearer {READ_TOKEN}")[0] == 400
            assert client.get(f"/set/k/v?_token={TOKEN}", authorization="Bearer nobody") == OK


def test_a_user_who_is_shut_out_hears_so_with_the_next_request(served: Served) -> None:
    with served.redis() as admin, served.http() as wire:
        admin.acl_setuser("carol", enabled=True, passwords=["+pw"], commands=["+get"], keys=["*"])
        client = Client(wire)
        carol = f"Bearer {client.get('/acl/resttoken/carol/pw')[1]['result']}"

        def status() -> int:
            return client.get("/get/k", authorization=carol)[0]

        assert [status(), status()] == [200, 200]
        admin.acl_setuser("carol", enabled=False)
        assert status() == 401
        admin.acl_setuser("carol", enabled=True)
        assert [status(), status()] == [200, 200]
        admin.acl_setuser("carol", enabled=True, commands=["-get"])
        assert status() == 400
        admin.acl_setuser("carol", enabled=True, reset_passwords=True, passwords=["+other"])
        assert status() == 401
        admin.acl_deluser("carol")
