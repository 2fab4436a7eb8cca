"""Bad input: it gets the error or the close that guarantees.md says, and nobody else notices.

Each case runs against a node that another client uses; afterwards that client is still served, and the connection of the
offender is gone.
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from tests.server.serving import READ_TOKEN, TOKEN, OwnProcess, Served, Wire, command, config, rest, wait_for

MIB = 1 << 20


@pytest.fixture
def bystander(served: Served) -> Iterator[Wire]:
    """Another client, which must not notice anything."""
    with served.wire() as wire:
        before = served.ask(lambda node: len(node.sessions))
        yield wire
        wait_for(lambda: served.ask(lambda node: len(node.sessions)) <= before)
        assert wire.call("PING") == b"+PONG\r\n"


MALFORMED_RESP = {
    "count is no number": (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    "count is huge": (b"*2147483648\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    "count is large": (b"*1700000\r\n", b"-ERR Protocol error: too big request\r\n"),
    "count has 30 digits": (b"*" + b"9" * 30 + b"\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    "count has a plus": (b"*+1\r\n$4\r\nPING\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    "no bulk": (b"*1\r\nPING\r\n", b"-ERR Protocol error: expected '$', got 'P'\r\n"),
    "nested array": (b"*1\r\n*1\r\n$4\r\nPING\r\n", b"-ERR Protocol error: expected '$', got '*'\r\n"),
    "negative length": (b"*1\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    "huge length": (b"*1\r\n$99999999999\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    "length just too long": (b"*1\r\n$%d\r\n" % (64 * MIB + 1), b"-ERR Protocol error: invalid bulk length\r\n"),
    "wrong length": (
        b"*3\r\n$3\r\nGET\r\n$1\r\nkey\r\n$1\r\n",
        b"-ERR Protocol error: expected '$', got ' '\r\n",
    ),
    "unbalanced quotes": (b'SET k "v\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    "endless inline": (b"x" * (64 * 1024 + 1), b"-ERR Protocol error: too big inline request\r\n"),
    "endless count": (b"*" + b"1" * (64 * 1024 + 1), b"-ERR Protocol error: too big mbulk count string\r\n"),
    "request too big in sum": (
        b"*3\r\n$3\r\nSET\r\n$%d\r\n" % (40 * MIB) + b"k" * (40 * MIB) + b"\r\n$%d\r\n" % (40 * MIB),
        b"-ERR Protocol error: too big request\r\n",
    ),
    "NUL": (b"\0\0\0\0\r\n*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
}


@pytest.mark.parametrize("name", MALFORMED_RESP)
def test_malformed_resp(served: Served, bystander: Wire, name: str) -> None:
    sent, answer = MALFORMED_RESP[name]
    with served.wire() as wire:
        wire.send(sent)
        assert wire.read_all().endswith(answer)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET k v\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PING\r\nhOsT: x\r\nSET k v\r\n",
        command("post", "x"),
    ],
)
def test_http_at_the_resp_port_is_closed_without_an_answer(served: Served, bystander: Wire, sent: bytes) -> None:
    with served.wire() as wire:
        wire.send(sent)
        assert b"SET" not in wire.read_all()
    assert bystander.call("EXISTS", "k") == b":0\r\n"


def test_what_came_before_a_mistake_is_done_and_answered(served: Served, bystander: Wire) -> None:
    with served.wire() as wire:
        wire.send(command("DEBUG", "SLEEP", "0.01") + command("SET", "k", "v") + b"*x\r\n")
        answer = b"+OK\r\n+OK\r\n-ERR Protocol error: invalid multibulk length\r\n"
        assert wire.read_all() == answer


def test_a_client_that_closes_its_sending_side_gets_what_it_is_owed(served: Served, bystander: Wire) -> None:
    with served.wire() as wire:
        wire.send(b"SET k v\r\nGET k\r\n")
        wire.socket.shutdown(1)
        assert wire.read_all() == b"+OK\r\n$1\r\nv\r\n"


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_a_truncated_command_leaves_nothing(served: Served, bystander: Wire, cut: int) -> None:
    with served.wire() as wire:
        wire.send(command("SET", "k", "value")[:cut])
    assert bystander.call("EXISTS", "k") == b":0\r\n"


@pytest.mark.parametrize(
    "sent, answer",
    [
        (b"*11\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n"),
        (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n"),
        (b"PING " + b"x " * 11 + b"\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n"),
    ],
)
def test_limits_of_a_stranger(served: Served, bystander: Wire, sent: bytes, answer: bytes) -> None:
    with served.wire(login=False) as wire:
        assert wire.send(sent).read_all() == answer


def test_a_stranger_who_does_not_log_in_is_closed(tmp_path: Path) -> None:
    with Served(tmp_path, config(authenticate_ms=50)) as served, served.wire(login=False) as wire:
        assert wire.read_all() == b""


def test_too_many_clients_are_refused(tmp_path: Path) -> None:
    with Served(tmp_path, config(max_clients=2)) as served, served.wire(), served.wire():
        with served.wire(login=False) as third:
            assert third.read_all() == b"-ERR max number of clients reached\r\n"
        with served.http(), served.http():
            wait_for(lambda: served.ask(lambda node: len(node.sessions)) == 4)
            with served.http() as refused:
                assert refused.answer().status == 429


def test_limits_of_the_configuration_reach_the_resp_port(tmp_path: Path) -> None:
    limits = config(
        resp_bulk_bytes=1000, resp_arguments=20, inline_bytes=100, query_buffer_bytes=1500, entry_bytes=1200
    )
    with Served(tmp_path, limits) as served:
        for sent, answer in {
            b"*2\r\n$3\r\nGET\r\n$1001\r\n": b"-ERR Protocol error: invalid bulk length\r\n",
            b"*21\r\n": b"-ERR Protocol error: invalid multibulk length\r\n",
            b"x" * 101: b"-ERR Protocol error: too big inline request\r\n",
            b"*3\r\n$3\r\nSET\r\n$900\r\n" + b"k" * 900 + b"\r\n$900\r\n": b"-ERR Protocol error: too big request\r\n",
        }.items():
            with served.wire() as wire:
                assert wire.send(sent).read_all() == answer
        too_large = b"-ERR max entry size exceeded. Limit: 1200 bytes\r\n"
        with served.wire() as wire:
            assert wire.call("MSET", "a" * 600, "b" * 600) == too_large
            assert wire.call("SET", "a" * 600, "b" * 500) == b"+OK\r\n"
            wire.call("MULTI")
            assert wire.call("SET", "a", "b" * 700) == b"+QUEUED\r\n"
            assert wire.call("SET", "a", "b" * 700) == too_large
            assert wire.call("EXEC").startswith(b"-EXECABORT ")
            assert wire.call("EXISTS", "a") == b":0\r\n"


# -- those who do not read


def test_a_client_that_does_not_read_its_answers_is_run_no_further(served: Served, bystander: Wire) -> None:
    """A gigabyte of answers is asked for; the node computes only what fits its buffers, and the rest when it is read."""
    bystander.call("SET", "big", b"x" * MIB)
    with served.wire() as wire:
        number = int(wire.call("CLIENT", "ID")[1:])
        wire.send(command("GET", "big") * 1000)

        def has_stopped() -> bool:
            return served.ask(lambda node: bool(node.sessions[number].input) and node.sessions[number].is_full)

        wait_for(has_stopped)
        assert bystander.call("PING") == b"+PONG\r\n"
        assert served.ask(lambda node: len(node.sessions[number].input)) > 900
        for _ in range(1000):
            assert wire.read_until(b"\r\n") == b"$%d\r\n" % MIB
            assert len(wire.read(MIB + 2)) == MIB + 2
        assert wire.call("PING") == b"+PONG\r\n"


def test_a_subscriber_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    with (
        Served(tmp_path, config(output_buffer_bytes=4 * MIB)) as served,
        served.wire() as subscriber,
        served.wire() as publisher,
        served.http() as stream,
    ):
        subscriber.call("SUBSCRIBE", "news")
        stream.send(b"POST /subscribe/news HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % TOKEN.encode())
        stream.read_until(b"news,1\n\n")
        message = b"x" * MIB
        wait_for(lambda: publisher.call("PUBLISH", "news", message) == b":0\r\n")
        assert served.ask(lambda node: node.events.counts.get("slow-client")) == 1


def test_limits_of_output_are_those_of_config_set(tmp_path: Path) -> None:
    """A hard one counts what is to be written as well; above a soft one there are some seconds left."""
    with Served(tmp_path, config()) as served, served.wire() as admin, served.wire() as greedy:
        admin.call("SET", "big", "x" * 200_000)
        assert admin.call("CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0") == b"+OK\r\n"
        greedy.send(command("GET", "big"))
        assert greedy.read_all() == b""
        assert admin.call("CONFIG", "SET", "client-output-buffer-limit", "normal 0 100000 1") == b"+OK\r\n"
        with served.wire() as slow:
            number = int(slow.call("CLIENT", "ID")[1:])
            slow.send(command("GET", "big") * 100)
            wait_for(lambda: served.ask(lambda node: number not in node.sessions))
        assert admin.call("PING") == b"+PONG\r\n"
        assert served.ask(lambda node: node.metrics.n_slow_clients) == 2


def test_a_stranger_that_does_not_read_what_it_is_told_is_cut_off(tmp_path: Path) -> None:
    with Served(tmp_path, config()) as served, Wire(served.resp) as stranger:
        refusals = command("GET", "k") * 1000

        def is_cut() -> bool:
            try:
                stranger.send(refusals)
            except OSError:
                return True
            return False

        wait_for(is_cut)
        wait_for(lambda: served.ask(lambda node: node.metrics.n_slow_clients) == 1)


def test_client_list_tells_how_much_a_client_leaves_unread(tmp_path: Path) -> None:
    with Served(tmp_path, config()) as served, served.wire() as admin, served.wire() as slow:
        admin.call("SET", "big", "x" * MIB)
        slow.call("CLIENT", "SETNAME", "slow")
        slow.send(command("GET", "big") * 100)

        def unread() -> int:
            admin.send(command("CLIENT", "LIST"))
            listed = admin.read(int(admin.read_until(b"\r\n")[1:]) + 2)
            line = next(line for line in listed.splitlines() if b"name=slow" in line)
            fields = dict(field.split(b"=", 1) for field in line.split(b" "))
            assert int(fields[b"tot-mem"]) >= int(fields[b"omem"])
            return int(fields[b"omem"])

        wait_for(lambda: unread() > 0)


def test_a_client_hears_of_its_mistake_although_it_is_still_sending(tmp_path: Path) -> None:
    """To close a connection on which more comes in takes back what was said on it."""
    with Served(tmp_path, config(resp_bulk_bytes=1000)) as served, served.wire() as client:
        client.send(b"*2\r\n$3\r\nGET\r\n$%d\r\n" % (8 * MIB))
        for _ in range(8):
            client.send(b"k" * MIB)
        assert client.read_all() == b"-ERR Protocol error: invalid bulk length\r\n"
        client.socket.close()
        wait_for(lambda: served.ask(lambda node: len(node.sessions)) == 0)


def test_the_limit_of_a_command_is_that_of_config_set_also_for_who_is_connected(tmp_path: Path) -> None:
    with Served(tmp_path, config()) as served, served.wire() as admin, served.wire() as begun, served.wire() as client:
        assert client.call("SET", "k", "v" * 2 * MIB) == b"+OK\r\n"
        begun.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (2 * MIB) + b"v" * MIB)
        wait_for(lambda: served.ask(lambda node: max(each.read_bytes() for each in node.sessions.values())) > MIB)
        assert admin.call("CONFIG", "SET", "client-query-buffer-limit", "1mb") == b"+OK\r\n"
        assert begun.send(b"v").read_all() == b""  # as Redis says nothing
        assert client.call("SET", "k", "v" * (MIB - 4)) == b"+OK\r\n"
        with suppress(ConnectionError):
            client.send(command("SET", "k", "v" * MIB))
        assert client.read_all() == b""
        assert served.ask(lambda node: node.metrics.n_verbose_clients) == 2
        assert admin.call("CONFIG", "SET", "client-query-buffer-limit", "1gb") == b"+OK\r\n"
        with served.wire() as other:
            assert other.call("SET", "k", "v" * 2 * MIB) == b"+OK\r\n"  # the cluster file's limit is left


def test_a_command_that_comes_in_pieces_counts_as_client_memory(tmp_path: Path) -> None:
    with Served(tmp_path, config()) as served, served.wire() as admin, served.wire() as client:
        assert admin.call("CONFIG", "SET", "maxmemory-clients", str(MIB)) == b"+OK\r\n"
        client.send(b"*2\r\n$3\r\nGET\r\n$%d\r\n" % (2 * MIB))
        with suppress(ConnectionError):
            client.send(b"k" * (2 * MIB - 1))
        assert client.read_all() == b""
        assert served.ask(lambda node: node.client_memory.n_evicted) == 1
        assert admin.call("PING") == b"+PONG\r\n"


# -- HTTP


def request(first: bytes = b"POST / HTTP/1.1", *headers: bytes, body: bytes = b"", token: str = TOKEN) -> bytes:
    lines = [first, b"Host: x", b"Authorization: Bearer " + token.encode(), *headers]
    return b"\r\n".join([*lines, b"", b""]) + body


GET = b"GET /get/k HTTP/1.1"
MALFORMED_HTTP = {
    "RESP": command("PING"),
    "an inline command": b"PING\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": b"GET /get/k\r\n\r\n",
    "unknown version": b"GET /get/k HTTP/9.9\r\nHost: x\r\n\r\n",
    "no host": b"GET /get/k HTTP/1.1\r\n\r\n",
    "two lengths": request(b"POST / HTTP/1.1", b"Content-Length: 2", b"Content-Length: 2", body=b"[]"),
    "two different lengths": request(b"POST / HTTP/1.1", b"Content-Length: 2", b"Content-Length: 3", body=b"[]"),
    "a list of lengths": request(b"POST / HTTP/1.1", b"Content-Length: 2, 2", body=b"[]"),
    "a signed length": request(b"POST / HTTP/1.1", b"Content-Length: +2", body=b"[]"),
    "a negative length": request(b"POST / HTTP/1.1", b"Content-Length: -2", body=b"[]"),
    "an underscored length": request(b"POST / HTTP/1.1", b"Content-Length: 0_2", body=b"[]"),
    "a huge length": request(b"POST / HTTP/1.1", b"Content-Length: " + b"9" * 40),
    "length and chunks": request(b"POST / HTTP/1.1", b"Content-Length: 2", b"Transfer-Encoding: chunked", body=b"[]"),
    "gzip and chunks": request(b"POST / HTTP/1.1", b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunks twice": request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "unknown coding": request(b"POST / HTTP/1.1", b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "a bad chunk length": request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=b"-1\r\n\r\n"),
    "chunks in HTTP/1.0": request(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "trailers": request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=b"0\r\nX-A: b\r\n\r\n"),
    "a fold": request(GET, b"X-A: b\r\n c"),
    "a fold at the token": request(GET, b"X-A:\r\n\tc"),
    "a bare LF": b"GET /get/k HTTP/1.1\nHost: x\nAuthorization: Bearer %s\n\n" % TOKEN.encode(),
    "a bare LF in the headers": request(GET, b"X-A: b\nX-B: c"),
    "a bare CR": request(GET, b"X-A: b\rX-B: c"),
    "NUL in a header": request(GET, b"X-A: b\0c"),
    "NUL in the path": request(b"GET /get/\0 HTTP/1.1"),
    "raw bytes in the path": request(b"GET /get/\xff\xfe HTTP/1.1"),
    "raw bytes in the query": request(b"GET /get/k?\xc3\xa4 HTTP/1.1"),
    "raw bytes in a header's name": request(GET, b"X-\xff: b"),
    "a space in a name": request(GET, b"X A: b"),
    "a space before the colon": request(GET, b"Content-Length : 0"),
    "two hosts": request(GET, b"Host: y"),
    "two authorizations": request(GET, b"Authorization: Bearer x"),
    "an upgrade": request(GET, b"Connection: Upgrade", b"Upgrade: websocket"),
    "h2c": request(GET, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"),
}


@pytest.mark.parametrize("name", MALFORMED_HTTP)
def test_malformed_http_is_refused_and_closed(served: Served, bystander: Wire, name: str) -> None:
    with served.http() as wire:
        wire.send(MALFORMED_HTTP[name])
        answer = wire.answer()
        assert answer.status in (400, 413), answer
        assert json.loads(answer.body).keys() == {"error"}
        assert answer.headers[b"connection"] == b"close"
        assert wire.read_all() == b""


def get(path: bytes, *headers: bytes) -> bytes:
    return request(b"GET %b HTTP/1.1" % path, *headers)


TWICE = "ERR the parameter _token stands twice"
UNKNOWN = "ERR Command is not available: '..'. See docs/rest.md for details"
UNREACHED = "ERR precondition failed: a key has changed since; not executed"
ODD_HTTP = {  # well-formed as HTTP, and the connection goes on: what is sent, status, what is told
    "dots in the path": (get(b"/get/../../etc/passwd"), 400, "ERR wrong number of arguments for 'get' command"),
    "dots at its start": (get(b"/../../etc/passwd"), 400, UNKNOWN),
    "escaped dots and slashes": (get(b"/get/..%2F..%2Fetc%2Fpasswd"), 200, None),
    "escaped dots at its start": (get(b"/%2e%2e/%2e%2e/etc/passwd"), 400, UNKNOWN),
    "a backslash": (get(b"/get/..\\..\\etc"), 200, None),
    "escaped bytes that are no text": (get(b"/get/%FF%fe%C3%28"), 200, None),
    "a lone surrogate in the path": (get(b"/get/%ED%A0%80"), 200, None),
    "half an escape": (get(b"/get/%4"), 200, None),
    "an escaped NUL": (get(b"/get/%00"), 200, None),
    "raw bytes in a header": (get(b"/get/k", b"X-A: \xff\xfe"), 200, None),
    "raw bytes in a sync token": (get(b"/get/k", b"Upstash-Sync-Token: \xff"), 200, None),
    "raw bytes in an ETag": (get(b"/get/k", b'If-None-Match: "\xff"'), 200, None),
    "raw bytes in a condition": (get(b"/set/k/v", b'If-Match: "\xff"'), 412, UNREACHED),
    "raw bytes in an idempotency key": (
        get(b"/set/k/v", b"Idempotency-Key: \xff"),
        400,
        "ERR an Idempotency-Key has 1 to 255 visible characters",
    ),
    "raw bytes in an encoding": (
        get(b"/get/k", b"Upstash-Encoding: \xff"),
        400,
        "ERR unsupported Upstash-Encoding, only base64 is known",
    ),
    "raw bytes in an origin": (get(b"/get/k", b"Origin: \xff"), 200, None),
    "two tokens in the query": (get(b"/get/k?_token=%b&_token=%b" % (TOKEN.encode(), TOKEN.encode())), 400, TWICE),
    "an empty second token": (get(b"/get/k?_token=%b&_token" % TOKEN.encode()), 400, TWICE),
    "an escaped second token": (get(b"/get/k?_token=x&%%5Ftoken=%b" % TOKEN.encode()), 400, TWICE),
    "a token that is no text": (get(b"/get/k?_token=%FF"), 401, None),
    "a token that is a surrogate": (get(b"/get/k?_token=%ED%A0%80"), 401, None),
    "a raw token": (b"GET /get/k HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\r\n\r\n", 401, None),
    "a scheme without a token": (b"GET /get/k HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n\r\n", 401, None),
}


@pytest.mark.parametrize("name", ODD_HTTP)
def test_odd_http_gets_its_answer(served: Served, bystander: Wire, name: str) -> None:
    sent, status, told = ODD_HTTP[name]
    with served.http() as wire:
        wire.send(sent)
        answer = wire.answer()
        assert answer.status == status, answer
        body = json.loads(answer.body)
        assert body.keys() == {"result" if status == 200 else "error"}
        if told is not None:
            assert body == {"error": told}
        wire.send(request(b"GET /ping HTTP/1.1"))
        assert wire.answer().status == 200


@pytest.mark.parametrize("key", [b"..%2F..%2Fetc%2Fpasswd", b"%FF%FE", b"%ED%A0%80", b"%00", b"%4", b"a%2"])
def test_any_bytes_name_a_key(served: Served, bystander: Wire, key: bytes) -> None:
    with served.http() as wire:
        wire.send(get(b"/set/%b/v" % key))
        assert wire.answer().body == b'{"result":"OK"}'
        wire.send(get(b"/get/%b" % key))
        assert wire.answer().body == b'{"result":"v"}'
        wire.send(get(b"/keys/*", b"Upstash-Encoding: base64"))
        assert b64decode(json.loads(wire.answer().body)["result"][0]) == unquote_to_bytes(key)


TOO_LARGE_HTTP = {
    "the URI": (request(b"GET /get/%s HTTP/1.1" % (b"k" * 17_000)), 414),
    "a header": (request(GET, b"X-A: " + b"x" * 33_000), 431),
    "the headers": (request(GET, *[b"X-%d: 1" % i for i in range(101)]), 431),
    "a header that does not end": (b"GET / HTTP/1.1\r\nX-A: " + b"x" * MIB, 431),
    "the body": (request(b"POST / HTTP/1.1", b"Content-Length: %d" % (17 * MIB)), 413),
    "the chunks": (
        request(
            b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=b"ffffff\r\n" + b"x" * 0xFFFFFF + b"\r\n2\r\n.."
        ),
        413,
    ),
    "a stranger's body": (request(b"POST / HTTP/1.1", b"Content-Length: 70000", token="nobody's"), 401),
    "a stranger's chunks": (request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", token="nobody's"), 401),
}


@pytest.mark.parametrize("name", TOO_LARGE_HTTP)
def test_too_much_http_is_refused_and_closed(served: Served, bystander: Wire, name: str) -> None:
    sent, status = TOO_LARGE_HTTP[name]
    with served.http() as wire:
        wire.send(sent)
        answer = wire.answer()
        assert answer.status == status
        assert json.loads(answer.body).keys() == {"error"}
        assert wire.read_all() == b""


def test_a_refusal_arrives_although_the_client_goes_on_sending(served: Served, bystander: Wire) -> None:
    with served.http() as wire:
        wire.send(request(b"POST / HTTP/1.1", b"Content-Length: %d" % (17 * MIB), body=b"x" * MIB))
        assert wire.answer().status == 413


BAD_BODIES = {
    b"": "EOF",
    b"{": "ERR request body is not valid JSON",
    b"[" * 100_000: "ERR request body is not valid JSON",
    b'["set","k",NaN]': "ERR request body is not valid JSON",
    b'["set","k",-Infinity]': "ERR request body is not valid JSON",
    b'["get","\\ud800"]': "ERR request body is not valid JSON",
    b'["get","k"] x': "ERR request body is not valid JSON",
    b"\xff": "ERR request body is not valid JSON",
    b"{}": "expected JSON array",
    b'"get"': "expected JSON array",
    b"[]": "ERR empty command",
    b'["get",null]': "ERR null args are not supported",
    b'["get",["k"]]': 'ERR unsupported arg type: "[": json.Delim',
    b'["get",{"k":1}]': 'ERR unsupported arg type: "{": json.Delim',
    b'["get"]': "ERR wrong number of arguments for 'get' command",
}


@pytest.mark.parametrize("body", BAD_BODIES)
def test_bad_bodies(served: Served, bystander: Wire, body: bytes) -> None:
    with served.http() as wire:
        wire.send(request(b"POST / HTTP/1.1", b"Content-Length: %d" % len(body), body=body))
        answer = wire.answer()
        assert (answer.status, json.loads(answer.body)) == (400, {"error": BAD_BODIES[body]})
        wire.send(request(b"GET /ping HTTP/1.1"))  # the connection goes on
        assert wire.answer().status == 200


def test_thousands_of_refused_requests_behind_one_that_waits(served: Served, bystander: Wire) -> None:
    n = 5000
    with served.http() as wire:
        wire.send(request(b"GET /set/k/v HTTP/1.1") + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * n)
        assert wire.answer().status == 200
        assert {wire.answer().status for _ in range(n)} == {401}


def test_what_came_before_malformed_http_is_answered(served: Served, bystander: Wire) -> None:
    with served.http() as wire:
        wire.send(request(b"GET /set/k/v HTTP/1.1") + request(b"GET /get/k HTTP/1.1") + b"\0")
        assert [wire.answer().body for _ in range(2)] == [b'{"result":"OK"}', b'{"result":"v"}']
        assert wire.answer().status == 400
        assert wire.read_all() == b""


def test_slow_senders_are_ended(tmp_path: Path) -> None:
    with (
        Served(tmp_path, config(http_header_ms=1500, http_idle_ms=1500)) as served,
        served.http() as silent,
        served.http() as slow,
        served.http() as idle,
        served.http() as stuck,
    ):
        idle.send(request(b"GET /ping HTTP/1.1"))
        assert idle.answer().status == 200
        slow.send(b"GET /ping HTT")
        stuck.send(request(b"POST / HTTP/1.1", b"Content-Length: 10", body=b"["))
        assert slow.answer().status == 408
        assert stuck.answer().status == 408
        assert silent.read_all() == idle.read_all() == b""


def test_a_client_that_does_not_read_its_http_answers_is_run_no_further(served: Served, bystander: Wire) -> None:
    bystander.call("SET", "big", b"x" * MIB)
    n = 200
    with served.http() as wire:
        before = served.ask(lambda node: node.metrics.n_http_requests)
        wire.send(request(b"GET /get/big HTTP/1.1") * n)
        wait_for(lambda: served.ask(lambda node: node.metrics.n_http_requests) > before)
        assert bystander.call("PING") == b"+PONG\r\n"
        assert served.ask(lambda node: node.metrics.n_http_requests) < before + n / 2
        for _ in range(n):
            assert len(wire.answer().body) > MIB


def test_keys_over_rest_are_at_most_32_kib(served: Served, bystander: Wire) -> None:
    long = "k" * 32_769
    told = "ERR max key size exceeded. Limit: 32768 bytes, Actual: 32769 bytes"
    with served.http() as wire:

        def post(path: bytes, value: object) -> tuple[int, object]:
            body = json.dumps(value).encode()
            wire.send(request(b"POST %s HTTP/1.1" % path, b"Content-Length: %d" % len(body), body=body))
            answer = wire.answer()
            return answer.status, json.loads(answer.body)

        assert post(b"/", ["set", long, "v"]) == (400, {"error": told})
        assert post(b"/", ["set", "k", long]) == (200, {"result": "OK"})
        assert post(b"/pipeline", [["set", long, "v"], ["ping"]]) == (200, [{"error": told}, {"result": "PONG"}])
        assert post(b"/multi-exec", [["ping"], ["set", long, "v"]]) == (400, {"error": told})


def test_too_long_a_pipeline_is_refused(tmp_path: Path) -> None:
    with Served(tmp_path, config(pipeline_commands=2)) as served, served.http() as wire:
        body = b'[["ping"],["ping"],["ping"]]'
        wire.send(request(b"POST /pipeline HTTP/1.1", b"Content-Length: %d" % len(body), body=body, token=READ_TOKEN))
        assert wire.answer().status == 413


def test_a_pipeline_over_rest_stops_where_its_answer_is_too_large(served: Served, bystander: Wire) -> None:
    bystander.call("SET", "big", b"x" * (16 * MIB))
    with served.http() as wire:
        body = json.dumps([["get", "big"]] * 4 + [["set", "k", "v"]] * 2).encode()
        wire.send(request(b"POST /pipeline HTTP/1.1", b"Content-Length: %d" % len(body), body=body))
        answers = json.loads(wire.answer().body)
    assert [list(answer) for answer in answers] == [["result"]] * 4 + [["error"]] * 2
    assert answers[4]["error"].endswith("; not executed")
    assert bystander.call("EXISTS", "k") == b":0\r\n"


# -- answers that are longer than their questions

LEFT_OUT = "UNKNOWN it ran, but its reply is too long to be sent"


def test_a_reply_too_long_to_be_sent_is_left_out(served: Served, bystander: Wire) -> None:
    """Commands of a few hundred bytes ask for a gigabyte each; what is around them is answered."""
    bystander.call("SETRANGE", "big", str(16 * MIB - 1), "x")
    with served.wire() as wire:
        wire.call("HELLO", "3")
        many = command("MGET", *["big"] * 64)
        wire.send(command("PING") + many + command("GET", "k") + many)
        assert [wire.reply() for _ in range(4)] == [
            b"+PONG\r\n",
            b"-%b\r\n" % LEFT_OUT.encode(),
            b"_\r\n",
            b"-%b\r\n" % LEFT_OUT.encode(),
        ]


def test_a_reply_too_long_to_be_sent_is_left_out_over_rest(served: Served, bystander: Wire) -> None:
    bystander.call("SETRANGE", "big", str(16 * MIB - 1), "x")
    status, answer, _ = rest(served, ["mget", *["big"] * 64])
    assert (status, answer) == (504, {"error": LEFT_OUT})
    assert rest(served, ["get", "k"])[1] == {"result": None}


# -- all of it at once: the process, its memory, the other clients


def everything_bad() -> list[tuple[bool, bytes]]:
    """(whether it goes to the RESP port, what is sent there) of every case above that does not wait for a limit of time."""
    resp = [sent for sent, _ in MALFORMED_RESP.values()]
    bodies = [
        request(b"POST / HTTP/1.1", b"Content-Length: %d" % len(body), b"Connection: close", body=body)
        for body in BAD_BODIES
    ]
    http = [*MALFORMED_HTTP.values(), *(sent for sent, _ in TOO_LARGE_HTTP.values()), *bodies]
    truncated = [command("SET", "k", "v" * 100)[:cut] for cut in range(1, 120, 7)]
    return [
        *((True, sent) for sent in [*resp, *truncated, *http]),
        *((False, sent) for sent in [*http, *(sent[: len(sent) // 2] for sent in http), *resp]),
    ]


def test_whatever_comes_the_process_its_memory_and_the_others_are_undisturbed(tmp_path: Path) -> None:
    """Every bad input at either port, all of them eight times over. Meanwhile a client counts and misses nothing. What the
    largest request may take is taken in the first round; the rounds after it take no more."""
    with OwnProcess(tmp_path) as node, node.wire() as bystander:
        peaks, count = [node.peak_bytes()], 0
        for _ in range(8):
            for is_resp, sent in everything_bad():
                with node.wire() if is_resp else node.http() as wire:
                    try:
                        wire.send(sent)
                        wire.socket.shutdown(1)
                    except OSError:
                        pass  # it was refused before all of it was sent
                    wire.read_all()
                count += 1
                assert bystander.call("INCR", "count") == b":%d\r\n" % count
            peaks.append(node.peak_bytes())
        assert node.process.poll() is None
        assert peaks[1] - peaks[0] < 4 * 64 * MIB, peaks  # the largest request, and the copies on its way
        assert peaks[-1] - peaks[1] < 64 * MIB, peaks
        assert bystander.call("EXISTS", "k") == b":0\r\n"


def test_slow_senders_of_huge_commands_take_no_room_before_they_send(tmp_path: Path) -> None:
    """A hundred clients announce 64 MiB each and send a byte now and then; another one is served all the while."""
    announced = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (60 * MIB)
    with OwnProcess(tmp_path) as node, node.wire() as bystander, ExitStack() as stack:
        before = node.peak_bytes()
        slow = [stack.enter_context(node.wire()) for _ in range(100)]
        for byte in [announced[i : i + 1] for i in range(len(announced))] + [b"x"] * 20:
            for wire in slow:
                wire.send(byte)
            assert bystander.call("PING") == b"+PONG\r\n"
        assert node.peak_bytes() - before < 64 * MIB
        assert bystander.call("EXISTS", "k") == b":0\r\n"


def test_a_command_that_comes_byte_by_byte_is_run_once_it_is_whole(served: Served, bystander: Wire) -> None:
    with served.wire() as wire:
        for sent, answer in ((command("SET", "slow", "value"), b"+OK\r\n"), (b"GET slow\r\n", b"$5\r\nvalue\r\n")):
            exists = bystander.call("EXISTS", "slow")
            for i in range(len(sent)):
                assert bystander.call("EXISTS", "slow") == exists
                wire.send(sent[i : i + 1])
            assert wire.reply() == answer
