"""REST as rest-api.md has it, over real connections."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import aiohttp
import pytest

from tests.server.serving import LIMIT_S, READ_TOKEN, TOKEN, Answer, Served, Wire, config, wait_for
from upstash_global.node.node import MISCONF

_opener = build_opener(ProxyHandler({}))


class Client:
    """One connection that is kept; says what the test says, with a token unless told otherwise."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> None:
        named = {"host": "x", "authorization": f"Bearer {TOKEN}"} | headers
        if body is not None:
            named["content-length"] = str(len(body))
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items() if value]
        self.wire.send("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + (body or b""))

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        self.send(method, path, body, **headers)
        return self.wire.answer(has_body=method != "HEAD")

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        return _told(self.ask("GET", path, None, **headers))

    def post(self, path: str, value: object, **headers: str) -> tuple[int, Any]:
        return _told(self.ask("POST", path, json.dumps(value).encode(), **headers))


def _told(answer: Answer) -> tuple[int, Any]:
    return answer.status, json.loads(answer.body)


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with served.http() as wire:
        yield Client(wire)


OK = (200, {"result": "OK"})


# -- the forms


def test_path_form(client: Client) -> None:
    assert client.get("/SET/foo/bar?EX=100") == OK
    assert client.get("/get/foo") == (200, {"result": "bar"})
    assert client.get("/set/foo/baz?GET&xx") == (200, {"result": "bar"})
    assert client.get("/get/foo/") == client.get("//get/foo") == (200, {"result": "baz"})
    assert client.get("/set/a%2Fb+c/%C3%A4?ex=10&NX") == OK
    assert client.get("/mget/a%2Fb+c/missing") == (200, {"result": ["ä", None]})


def test_path_form_with_a_body(client: Client) -> None:
    assert _told(client.ask("POST", "/set/foo?EX=100", b'{"not": parsed}\0\xff')) == OK
    assert client.get("/strlen/foo") == (200, {"result": 17})
    assert 0 < client.get("/ttl/foo")[1]["result"] <= 100
    assert _told(client.ask("PUT", "/set/foo", b"by PUT")) == OK
    assert client.get("/get/foo") == (200, {"result": "by PUT"})
    assert _told(client.ask("POST", "/publish/chat/hello", b"")) == (200, {"result": 0})


def test_body_form_keeps_numbers_as_they_are_written(client: Client) -> None:
    for written in (b"1", b"1.10", b"1e21", b"13.361389", b"-0.0", b"123456789012345678901234567890", b"true"):
        assert _told(client.ask("POST", "/", b'["set", "n", %b]' % written)) == OK
        assert client.get("/get/n") == (200, {"result": written.decode()})


@pytest.mark.parametrize("path", ["/get/foo", "/get", "/nonsense", "/get/foo?_token=wrong"])
@pytest.mark.parametrize("form", ["json", "resp2"])
def test_head_says_what_get_would_without_the_body(client: Client, path: str, form: str) -> None:
    client.get("/set/foo/bar")
    told = client.ask("GET", path, upstash_response_format=form)
    answer = client.ask("HEAD", path, upstash_response_format=form)
    assert (answer.status, answer.headers) == (told.status, told.headers)
    assert answer.headers[b"content-length"] == b"%d" % len(told.body) != b"0"
    assert client.get("/get/foo") == (200, {"result": "bar"})  # the next answer is whole


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "TRACE", "PROPFIND"])
def test_other_methods_are_refused_without_a_body(client: Client, method: str) -> None:
    answer = client.ask(method, "/get/foo")
    assert (answer.status, answer.body) == (405, b"")
    assert client.get("/ping") == (200, {"result": "PONG"})


@pytest.mark.parametrize("request_line", ["CONNECT /get/foo", "CONNECT example.com:443", "BREW /get/foo"])
def test_methods_that_end_the_connection(client: Client, request_line: str) -> None:
    method, _, target = request_line.partition(" ")
    client.send(method, target)
    answer = client.wire.answer()
    assert (answer.status, answer.body, answer.headers[b"connection"]) == (405, b"", b"close")
    assert client.wire.read_all() == b""  # one answer to one request


def test_what_came_before_a_connect_is_answered(client: Client) -> None:
    client.send("GET", "/set/foo/bar")
    client.send("CONNECT", "example.com:443")
    assert _told(client.wire.answer()) == OK
    assert client.wire.answer().status == 405
    assert client.wire.read_all() == b""


def test_replies_have_the_shapes_of_resp2(client: Client) -> None:
    client.post("/", ["hset", "h", "a", 1, "b", 2])
    client.post("/", ["zadd", "z", 1.5, "m"])
    assert client.get("/hgetall/h") == (200, {"result": ["a", "1", "b", "2"]})
    assert client.get("/zrange/z/0/-1/WITHSCORES") == (200, {"result": ["m", "1.5"]})
    assert client.get("/zscore/z/m") == (200, {"result": "1.5"})
    assert client.get("/scan/0")[1]["result"][0] == "0"
    assert client.get("/lrange/missing/0/-1") == (200, {"result": []})
    assert client.get("/get/missing") == (200, {"result": None})
    assert client.post("/", ["set", "n", str(2**63 - 1)]) == OK
    assert client.ask("GET", "/incrby/n/0").body == b'{"result":9223372036854775807}'
    assert client.ask("GET", "/ping").headers[b"content-type"] == b"application/json; charset=utf-8"


# -- errors


def test_errors_of_a_command(client: Client) -> None:
    client.get("/set/s/text")
    assert client.get("/incr/s") == (400, {"error": "ERR value is not an integer or out of range"})
    assert client.get("/lpush/s/x")[1]["error"].startswith("WRONGTYPE ")
    assert client.get("/get") == (400, {"error": "ERR wrong number of arguments for 'get' command"})
    status, answer = client.get("/nonsense/x")
    assert status == 400 and answer["error"].startswith("ERR Command is not available: 'NONSENSE'. See ")
    for name in ("multi", "watch", "subscribe", "client", "auth", "hello", "monitor"):
        status, answer = client.post("/", [name, "x"])
        assert (status, answer["error"]) == (
            400,
            f'ERR Command "{name.upper()}" is not allowed in REST or it has a special context path',
        )


def test_unknown_encodings_are_refused(client: Client) -> None:
    assert client.get("/ping", upstash_encoding="rot13")[0] == 400
    assert client.get("/ping", upstash_response_format="resp3")[0] == 400
    assert client.get("/ping", upstash_response_format="resp2", upstash_encoding="base64")[0] == 400


# -- who may


def test_forms_of_authentication(client: Client) -> None:
    refused = client.ask("GET", "/ping", authorization="")
    assert refused.status == 401
    assert json.loads(refused.body)["error"].startswith("WRONGPASS invalid or missing auth token")
    assert refused.headers[b"access-control-allow-origin"] == b"*"
    pong = (200, {"result": "PONG"})
    assert client.get("/ping", authorization="Bearer wrong")[0] == 401
    assert client.get("/ping", authorization=f"bEARER {TOKEN}") == pong
    assert client.get("/ping", authorization=TOKEN) == pong
    assert client.get(f"/echo/x?_token={TOKEN}", authorization="") == (200, {"result": "x"})
    assert client.get(f"/ping?_token={TOKEN}", authorization="Bearer wrong") == pong
    assert client.get("/ping?_token=wrong")[0] == 401
    assert client.post("/nonsense", ["x"], authorization="")[0] == 401  # before anything else


def test_the_read_only_token_changes_nothing_in_any_form(client: Client) -> None:
    client.get("/set/k/v")
    reader = {"authorization": f"Bearer {READ_TOKEN}"}
    assert client.get("/get/k", **reader) == (200, {"result": "v"})

    def told(name: str) -> dict[str, str]:
        return {"error": f"NOPERM this user has no permissions to run the '{name}' command or its subcommand"}

    for argv in (
        ["set", "k", "w"],
        ["getex", "k", "EX", 1],
        ["getdel", "k"],
        ["publish", "c", "m"],
        ["bitfield", "k", "SET", "u8", 0, 1],
        ["sort", "k", "STORE", "l"],
        ["expire", "k", 1],
        ["flushall"],
        ["config", "set", "maxmemory", "1"],
        ["debug", "sleep", "0"],
        ["keys", "*"],
        ["scan", 0],
        ["copy", "k", "l"],
    ):
        status, answer = client.post("/", argv, **reader)
        assert status == 400, (argv, answer)
        assert answer["error"].startswith(("NOPERM ", "ERR ")), (argv, answer)
    assert client.post("/", ["set", "k", "w"], **reader) == (400, told("set"))
    assert client.get(f"/set/k/w?_token={READ_TOKEN}") == (400, told("set"))
    assert client.post("/pipeline", [["get", "k"], ["set", "k", "w"]], **reader) == (
        200,
        [{"result": "v"}, told("set")],
    )
    assert client.post("/multi-exec", [["get", "k"], ["set", "k", "w"]], **reader) == (400, told("set"))
    assert client.post("/multi-exec", [["get", "k"], ["strlen", "k"]], **reader) == (
        200,
        [{"result": "v"}, {"result": 1}],
    )
    assert client.get("/get/k") == (200, {"result": "v"})


# -- encodings


def test_base64_encodes_every_string_but_ok_and_errors(client: Client) -> None:
    def b64(text: str) -> str:
        return b64encode(text.encode()).decode()

    encoded = {"upstash_encoding": "base64"}
    assert client.get("/set/k/OK", **encoded) == OK
    assert client.get("/get/k", **encoded) == (200, {"result": b64("OK")})
    assert client.get("/ping", **encoded) == (200, {"result": b64("PONG")})
    client.post("/", ["rpush", "l", "a", "ä"])
    assert client.get("/lrange/l/0/-1", **encoded) == (200, {"result": [b64("a"), b64("ä")]})
    assert client.get("/llen/l", **encoded) == (200, {"result": 2})
    assert client.get("/get/l", **encoded)[1]["error"].startswith("WRONGTYPE ")
    assert client.post("/pipeline", [["set", "k", "v"], ["get", "k"], ["get", "x"]], **encoded) == (
        200,
        [{"result": "OK"}, {"result": b64("v")}, {"result": None}],
    )
    assert client.post("/multi-exec", [["get", "k"]], **encoded) == (200, [{"result": b64("v")}])
    _told(client.ask("POST", "/set/k", bytes(range(256))))
    assert client.get("/get/k", **encoded) == (200, {"result": b64encode(bytes(range(256))).decode()})


def test_resp2_answers(client: Client) -> None:
    raw = {"upstash_response_format": "resp2"}
    answer = client.ask("GET", "/set/k/v", None, **raw)
    assert (answer.body, answer.headers[b"content-type"]) == (b"+OK\r\n", b"application/octet-stream")
    answer = client.ask("GET", "/incr/k", None, **raw)
    assert (answer.status, answer.body) == (400, b"-ERR value is not an integer or out of range\r\n")
    answer = client.ask("POST", "/pipeline", b'[["get","k"],["incr","k"],["get","x"]]', **raw)
    assert answer.status == 200
    assert answer.body == b"$1\r\nv\r\n-ERR value is not an integer or out of range\r\n$-1\r\n"
    assert client.post("/multi-exec", [["get", "k"]], **raw) == (200, [{"result": "v"}])


# -- several commands


def test_a_pipeline_answers_each_command(client: Client) -> None:
    rows = [["set", "k", "v"], ["incr", "k"], ["nonsense"], ["get"], ["multi"], ["get", "k"]]
    status, answers = client.post("/pipeline", rows)
    assert status == 200
    assert [list(answer) for answer in answers] == [["result"], *[["error"]] * 4, ["result"]]
    assert answers[2]["error"].startswith("ERR Command is not available: 'NONSENSE'")
    assert answers[3]["error"] == "ERR wrong number of arguments for 'get' command"
    assert answers[5] == {"result": "v"}


@pytest.mark.parametrize("path", ["/pipeline", "/multi-exec"])
@pytest.mark.parametrize("rows", [[], [[]], {}, "x", ["get"], [["get", None]], [["set", "k", "v"], ["get", {}]]])
def test_malformed_batches_are_refused_whole(client: Client, path: str, rows: object) -> None:
    status, answer = client.post(path, rows)
    assert (status, list(answer)) == (400, ["error"])
    assert client.get("/exists/k") == (200, {"result": 0})


def test_a_transaction_runs_as_one(client: Client) -> None:
    rows: list[list[object]] = [["set", "k", "v"], ["incr", "k"], ["append", "k", "w"], ["get", "k"]]
    status, answers = client.post("/multi-exec", rows)
    assert status == 200
    assert answers == [
        {"result": "OK"},
        {"error": "ERR value is not an integer or out of range"},
        {"result": 2},
        {"result": "vw"},
    ]


@pytest.mark.parametrize(
    "bad, told",
    [
        (["get"], "ERR wrong number of arguments for 'get' command"),
        (["nonsense"], "ERR Command is not available: 'NONSENSE'"),
        (["multi"], 'ERR Command "MULTI" is not allowed in REST'),
    ],
)
def test_a_transaction_with_a_mistake_is_discarded(client: Client, bad: list[str], told: str) -> None:
    status, answer = client.post("/multi-exec", [["set", "k", "v"], bad, ["set", "l", "v"]])
    assert status == 400 and list(answer) == ["error"] and answer["error"].startswith(told)
    assert client.get("/exists/k/l") == (200, {"result": 0})
    assert client.post("/multi-exec", [["get", "k"]]) == (200, [{"result": None}])  # nothing is left behind


# -- sync tokens


def test_the_sync_token_changes_with_every_write(client: Client) -> None:
    def token(method: str, path: str, body: bytes | None = None) -> bytes:
        return client.ask(method, path, body).headers[b"upstash-sync-token"]

    tokens = [
        token("GET", "/set/k/1"),
        token("GET", "/incr/k"),
        token("POST", "/", b'["incr","k"]'),
        token("POST", "/pipeline", b'[["incr","k"],["get","k"]]'),
        token("POST", "/multi-exec", b'[["incr","k"]]'),
    ]
    assert len(set(tokens)) == len(tokens)
    assert token("GET", "/get/k") == token("POST", "/pipeline", b'[["get","k"]]') == tokens[-1]
    assert all(len(each) <= 512 for each in tokens)


def test_resp_has_the_same_tokens_and_rest_leaves_the_command_to_it(client: Client, served: Served) -> None:
    token = client.ask("GET", "/set/k/1").headers[b"upstash-sync-token"]
    with served.redis() as resp:
        assert resp.execute_command("SYNCTOKEN") == resp.info("replication")["sync_token"].encode() == token
        assert resp.execute_command("SYNCTOKEN", token) == b"OK"
    assert client.get("/synctoken")[0] == 400


def test_parallel_writes_have_tokens_of_their_own(served: Served) -> None:
    async def story() -> set[str]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{served.rest}", headers=headers) as session:

            async def write(n: int) -> str:
                async with session.post("/", json=["set", f"k{n}", n]) as response:
                    assert await response.json() == {"result": "OK"}
                    return response.headers["Upstash-Sync-Token"]

            return set(await asyncio.gather(*(write(n) for n in range(50))))

    assert len(asyncio.run(story())) == 50


@pytest.mark.parametrize("token", ["", "my-new-sync-token", "AAAA", "x" * 5000])
def test_any_sync_token_is_taken(client: Client, token: str) -> None:
    client.get("/set/k/v")
    assert client.get("/get/k", upstash_sync_token=token) == (200, {"result": "v"})
    assert client.get("/set/k/w", upstash_sync_token=token) == OK


# -- browsers


def test_preflight_needs_no_token(client: Client) -> None:
    answer = client.ask(
        "OPTIONS",
        "/pipeline",
        authorization="",
        origin="https://app.example",
        access_control_request_headers="authorization, upstash-sync-token",
    )
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers[b"access-control-allow-origin"] == b"https://app.example"
    assert answer.headers[b"access-control-allow-credentials"] == b"true"
    assert answer.headers[b"access-control-allow-methods"] == b"HEAD, GET, POST, PUT, OPTIONS"
    assert answer.headers[b"access-control-allow-headers"] == b"authorization, upstash-sync-token"


@pytest.mark.parametrize("path", ["/ping", "/nonsense"])
def test_pages_may_read_answers_and_errors(client: Client, path: str) -> None:
    answer = client.ask("GET", path, origin="https://app.example")
    assert answer.headers[b"access-control-allow-origin"] == b"https://app.example"
    assert answer.headers[b"access-control-expose-headers"].startswith(b"upstash-sync-token, ")
    assert answer.headers[b"vary"] == b"origin"
    forged = client.ask("GET", path, origin="x\"'<script>")
    assert forged.headers[b"access-control-allow-origin"] == b"*"


# -- connections


def test_a_connection_is_kept_until_the_client_closes_it(client: Client) -> None:
    for n in range(100):
        assert client.get("/incr/n") == (200, {"result": n + 1})
    answer = client.ask("GET", "/get/n", connection="close")
    assert answer.headers[b"connection"] == b"close"
    assert client.wire.read_all() == b""


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    n = 500
    for _ in range(n):
        client.send("GET", "/incr/n")
    assert [json.loads(client.wire.answer().body)["result"] for _ in range(n)] == list(range(1, n + 1))


def test_http_1_0_is_answered_and_closed(client: Client) -> None:
    client.wire.send(b"GET /ping HTTP/1.0\r\nAuthorization: Bearer %s\r\n\r\n" % TOKEN.encode())
    assert client.wire.answer().body == b'{"result":"PONG"}'
    assert client.wire.read_all() == b""


def test_http_1_0_that_asks_for_it_is_kept_and_told_so(client: Client) -> None:
    for _ in range(3):
        client.wire.send(
            b"GET /ping HTTP/1.0\r\nConnection: keep-alive\r\nAuthorization: Bearer %s\r\n\r\n" % TOKEN.encode()
        )
        answer = client.wire.answer()
        assert (answer.body, answer.headers[b"connection"]) == (b'{"result":"PONG"}', b"keep-alive")
    assert b"connection" not in client.ask("GET", "/ping").headers


def test_a_chunked_body(client: Client) -> None:
    client.send("POST", "/", transfer_encoding="chunked")
    for piece in (b'["set",', b'"k",', b'"v"]'):
        client.wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    client.wire.send(b"0\r\n\r\n")
    assert _told(client.wire.answer()) == OK


def test_a_body_is_invited_after_the_token_was_checked(client: Client) -> None:
    client.wire.send(
        b"POST /set/k HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        % TOKEN.encode()
    )
    assert client.wire.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.wire.send(b"value")
    assert _told(client.wire.answer()) == OK
    client.wire.send(b"POST /set/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert client.wire.answer().status == 401


def test_urllib(served: Served) -> None:
    def call(path: str, body: bytes | None = None) -> object:
        request = Request(f"http://127.0.0.1:{served.rest}{path}", body, {"Authorization": f"Bearer {TOKEN}"})
        with _opener.open(request, timeout=LIMIT_S) as response:
            return json.load(response)

    assert call("/set/k", b"v") == {"result": "OK"}  # the content type says that it is a form
    assert call("/get/k") == {"result": "v"}
    with pytest.raises(HTTPError) as refusal:
        call("/incr/k")
    assert refusal.value.code == 400


# -- server-sent events


def test_subscribers_hear_messages_as_events(client: Client, served: Served) -> None:
    client.send("POST", "/subscribe/chat/news", b"[]", accept="text/event-stream", upstash_encoding="base64")
    head = client.wire.read_until(b"\r\n\r\n").lower()
    assert head.startswith(b"http/1.1 200 ") and b"content-type: text/event-stream" in head
    assert _events(client.wire, 2) == b"data: subscribe,chat,1\n\ndata: subscribe,news,2\n\n"
    with served.http() as wire, served.redis() as publisher:
        listener = Client(wire)
        listener.send("GET", "/psubscribe/n%2A", authorization=f"Bearer {READ_TOKEN}")
        wire.read_until(b"\r\n\r\n")
        assert _events(wire, 1) == b"data: psubscribe,n*,1\n\n"
        assert publisher.publish("news", "hello, world") == 2
        assert _events(wire, 1) == b"data: pmessage,n*,news,hello, world\n\n"
        assert _events(client.wire, 1) == b"data: message,news,hello, world\n\n"
        assert publisher.publish("chat", "two\nlines") == 1
        assert _events(client.wire, 1) == b"data: message,chat,two\ndata: lines\n\n"


def test_a_monitor_hears_commands_as_events(client: Client, served: Served) -> None:
    client.send("POST", "/monitor", accept="text/event-stream")
    client.wire.read_until(b"\r\n\r\n")
    assert _events(client.wire, 1) == b'data: "OK"\n\n'
    with served.redis() as other:
        other.set("k", "seen")
    while not _events(client.wire, 1).endswith(b'] "SET" "k" "seen"\n\n'):
        pass


def test_a_stream_on_which_nothing_happens_shows_a_sign_of_life_every_15_s(client: Client, served: Served) -> None:
    listener = served.running.rest

    def stop_the_clock() -> None:
        assert listener.sweeper is not None
        listener.sweeper.cancel()
        listener.beats = 0

    def let_pass(seconds: int) -> None:
        for _ in range(seconds):
            served.ask(lambda node: listener.beat())

    served.ask(lambda node: stop_the_clock())
    try:
        client.send("POST", "/subscribe/chat", accept="text/event-stream")
        client.wire.read_until(b"\r\n\r\n")
        assert _events(client.wire, 1) == b"data: subscribe,chat,1\n\n"
        with served.redis() as publisher:
            let_pass(14)
            publisher.publish("chat", "first")
            assert _events(client.wire, 1) == b"data: message,chat,first\n\n"
            let_pass(1)
            assert client.wire.chunk() == b": keepalive\n\n"
            let_pass(30)
            assert client.wire.chunk() + client.wire.chunk() == b": keepalive\n\n" * 2
    finally:
        served.ask(lambda node: listener._sweep())


def test_closing_the_connection_ends_the_subscription(client: Client, served: Served) -> None:
    client.send("POST", "/subscribe/chat")
    client.wire.read_until(b"chat,1\n\n")
    client.wire.socket.close()
    with served.redis() as publisher:
        while publisher.publish("chat", "anybody?"):
            pass


def test_streams_that_cannot_be_are_refused(client: Client) -> None:
    assert client.get("/subscribe")[0] == 400
    assert client.ask("HEAD", "/subscribe/chat").status == 400
    assert client.get("/subscribe/chat", authorization="")[0] == 401


def test_who_may_not_hear_is_told_so_before_any_stream(client: Client, served: Served) -> None:
    with served.redis() as admin:
        admin.execute_command("ACL", "SETUSER", "deaf", "on", ">secret", "~*", "resetchannels", "&public", "+@all")
        token = admin.execute_command("ACL", "RESTTOKEN", "deaf", "secret").decode()
    deaf = {"authorization": f"Bearer {token}"}
    for method in ("GET", "POST"):
        for path in ("/subscribe/private", "/subscribe/public/private", "/psubscribe/p%2A"):
            answer = client.ask(method, path, None, **deaf)
            assert answer.status == 400, answer
            assert json.loads(answer.body)["error"].startswith("NOPERM ")
        answer = client.ask(method, "/monitor", authorization=f"Bearer {READ_TOKEN}")
        assert (answer.status, json.loads(answer.body)) == (
            400,
            {"error": "NOPERM this user has no permissions to run the 'monitor' command or its subcommand"},
        )
    assert client.get("/ping") == (200, {"result": "PONG"})  # the connection goes on
    with served.redis() as admin:
        admin.execute_command("ACL", "DELUSER", "deaf")


def _events(wire: Wire, n: int) -> bytes:
    """The text of so many events, however they are cut into chunks."""
    text = b""
    while text.count(b"\n\n") < n:
        text += wire.chunk()
    return text


def test_a_client_of_http_1_0_gets_events_without_chunks(served: Served) -> None:
    with served.http() as wire, served.redis() as publisher:
        wire.send(b"GET /subscribe/chat HTTP/1.0\r\nAuthorization: Bearer %s\r\n\r\n" % TOKEN.encode())
        head = wire.read_until(b"\r\n\r\n")
        assert b"chunked" not in head and b"connection: close\r\n" in head
        assert wire.read_until(b"\n\n") == b"data: subscribe,chat,1\n\n"
        publisher.publish("chat", "hello")
        assert wire.read_until(b"\n\n") == b"data: message,chat,hello\n\n"


# -- what waits for nobody


@pytest.mark.parametrize(
    "argv",
    [
        ["blpop", "l", 0],
        ["brpop", "l", 0],
        ["blmove", "l", "m", "LEFT", "RIGHT", 0],
        ["brpoplpush", "l", "m", 0],
        ["blmpop", 0, 1, "l", "LEFT"],
        ["bzpopmin", "z", 0],
        ["bzmpop", 0, 1, "z", "MIN"],
        ["xread", "BLOCK", 0, "STREAMS", "s", "$"],
    ],
)
def test_blocking_commands_answer_at_once(client: Client, argv: list[object]) -> None:
    assert client.post("/", argv) == (200, {"result": None})
    assert client.post("/pipeline", [argv, ["ping"]]) == (200, [{"result": None}, {"result": "PONG"}])


def test_a_blocking_command_takes_what_is_there(client: Client) -> None:
    client.post("/", ["rpush", "l", "a"])
    assert client.get("/blpop/l/0") == (200, {"result": ["l", "a"]})


# -- connections that end and requests that are too many


def test_a_client_that_closes_its_sending_side_gets_its_answers(client: Client) -> None:
    for _ in range(20):
        client.send("GET", "/incr/n")
    client.wire.socket.shutdown(1)
    assert [json.loads(client.wire.answer().body)["result"] for _ in range(20)] == list(range(1, 21))
    assert client.wire.read_all() == b""


def test_a_client_that_leaves_ends_what_waits_for_something(served: Served) -> None:
    with served.http() as wire:
        Client(wire).send("POST", "/", b'["WAIT", "9", "3600000"]')
        wait_for(lambda: served.ask(lambda node: node.parking.by_session))
    wait_for(lambda: not served.ask(lambda node: node.parking.by_session))


def test_a_write_that_a_pause_holds_is_not_run_for_a_client_that_has_left(served: Served) -> None:
    with served.redis() as admin:
        admin.execute_command("CLIENT", "PAUSE", "3600000", "WRITE")
        with served.http() as wire:
            Client(wire).send("GET", "/ping")
            Client(wire).send("GET", "/set/k/v")
            Client(wire).send("GET", "/set/k/w")
            wait_for(lambda: served.ask(lambda node: node.parking.by_session))
        wait_for(lambda: not served.ask(lambda node: node.parking.by_session))
        admin.execute_command("CLIENT", "UNPAUSE")
        assert admin.get("k") is None


def test_a_token_has_an_allowance_of_commands_per_second(tmp_path: Path) -> None:
    with Served(tmp_path, config(rest_commands_per_s=20)) as served, served.http() as wire:
        client = Client(wire)
        rows = [["ping"]] * 15
        assert client.post("/pipeline", rows)[0] == 200
        refused = client.ask("POST", "/pipeline", json.dumps(rows).encode())
        assert (refused.status, refused.headers[b"retry-after"]) == (429, b"1")
        assert json.loads(refused.body) == {"error": "ERR max commands per second exceeded. Limit: 20; not executed"}
        assert client.get("/ping", authorization=f"Bearer {READ_TOKEN}")[0] == 200  # another token


def test_two_tokens_of_one_user_have_an_allowance_each(tmp_path: Path) -> None:
    with Served(tmp_path, config(rest_commands_per_s=20)) as served, served.http() as wire, served.redis() as admin:
        admin.execute_command("ACL", "SETUSER", "twin", "on", ">one", ">two", "~*", "+@all")
        tokens = [admin.execute_command("ACL", "RESTTOKEN", "twin", word).decode() for word in ("one", "two")]
        client = Client(wire)
        statuses = [
            client.post("/pipeline", [["ping"]] * 15, authorization=f"Bearer {token}")[0] for token in tokens * 2
        ]
        assert statuses == [200, 200, 429, 429]
        assert client.get(f"/ping?_token={tokens[0]}", authorization="")[0] == 200  # 5 are left, however it is sent


def test_connections_without_a_token_are_few_per_address(tmp_path: Path) -> None:
    with Served(tmp_path, config(max_clients_per_address=2)) as served, served.http() as known, served.http() as one:
        assert Client(known).get("/ping")[0] == 200
        with served.http() as two:
            assert Client(two).get("/ping", authorization="")[0] == 401
            assert Client(one).get("/ping", authorization="")[0] == 401
            with served.http() as third:
                assert third.answer().status == 429
        wait_for(lambda: served.ask(lambda node: len(node.sessions)) == 2)
        with served.http() as again:
            assert Client(again).get("/ping")[0] == 200


def test_only_named_origins_may_read_answers(tmp_path: Path) -> None:
    settings = config()
    settings = replace(settings, security=replace(settings.security, cors_origins=("https://app.example",)))
    with Served(tmp_path, settings) as served, served.http() as wire:
        client = Client(wire)
        known = client.ask("GET", "/ping", origin="https://app.example")
        assert known.headers[b"access-control-allow-origin"] == b"https://app.example"
        stranger = client.ask("GET", "/ping", origin="https://evil.example")
        assert b"access-control-allow-origin" not in stranger.headers


def test_a_transaction_that_cannot_be_written_says_why(client: Client, served: Served) -> None:
    served.ask(lambda node: setattr(node, "write_refusal", MISCONF))
    answer = client.ask("POST", "/multi-exec", b'[["set","k","v"]]')
    served.ask(lambda node: setattr(node, "write_refusal", None))
    assert (answer.status, answer.headers[b"retry-after"]) == (503, b"1")
    assert json.loads(answer.body)["error"].startswith("MISCONF ")


def test_writes_without_enough_replicas_are_503_and_reads_are_not(client: Client) -> None:
    assert client.get("/config/set/min-replicas-to-write/1") == OK
    refused = client.ask("GET", "/set/k/v")
    assert (refused.status, refused.headers[b"retry-after"]) == (503, b"1")
    assert json.loads(refused.body) == {"error": "NOREPLICAS Not enough good replicas to write."}
    assert client.ask("POST", "/multi-exec", b'[["get","k"],["set","k","v"]]').status == 503
    assert client.get("/get/k") == (200, {"result": None})
    assert client.get("/config/set/min-replicas-to-write/0") == OK
