"""The REST form, rule by rule, as docs of Upstash and its SDKs have it."""

import json
from base64 import b64encode
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from upstash_global.errors import CommandError, HttpError, error, wrong_type
from upstash_global.protocol.rest import (
    JSON,
    MAX_PLAIN_NAME_BYTES,
    MAX_PLAIN_NAMES,
    OCTETS,
    Call,
    Mode,
    Request,
    Response,
    _plain_names,
    access_token,
    as_rest_error,
    ask_nothing,
    cors_headers,
    event,
    parse_request,
    render,
    render_error,
    status_of,
    too_large,
    unauthorized,
)
from upstash_global.reply import NULL_ARRAY, OK, Named, Pairs, Reply, Set, Simple, Verbatim


def call(line: str, body: bytes | str = b"", **headers: str) -> Call:
    """`call("POST /set/k", "v", upstash_encoding="base64")`."""
    method, _, target = line.partition(" ")
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return parse_request(
        Request(method.encode(), target.encode(), named, body.encode() if isinstance(body, str) else body)
    )


def argv(line: str, body: bytes | str = b"", **headers: str) -> list[bytes] | CommandError:
    parsed = call(line, body, **headers)
    assert parsed.mode is Mode.SINGLE
    return parsed.commands[0]


def refused(line: str, body: bytes | str = b"", **headers: str) -> tuple[int, str]:
    with pytest.raises(HttpError) as refusal:
        call(line, body, **headers)
    return refusal.value.status, refusal.value.text


def told(response: Response) -> tuple[int, bytes]:
    return response.status, response.body


def words(text: str) -> list[bytes]:
    return text.encode().split()


# Path forms.


def test_each_path_segment_is_an_argument() -> None:
    assert argv("GET /SET/foo/bar") == words("SET foo bar")


def test_query_parameters_follow_the_path() -> None:
    assert argv("GET /set/foo/bar?EX=100&NX") == words("set foo bar EX 100 NX")


def test_a_body_stands_between_path_and_query() -> None:
    assert argv("POST /set/foo?EX=100", "V") == words("set foo V EX 100")


def test_put_is_as_post() -> None:
    assert argv("PUT /set/foo", "V") == words("set foo V")


def test_an_empty_body_is_no_argument() -> None:
    assert argv("POST /publish/chat/hello") == words("publish chat hello")


def test_a_path_body_is_raw_whatever_its_type() -> None:
    body = b'\x00\xff["not json'
    assert argv("POST /set/k", body, content_type="application/json") == [b"set", b"k", body]


def test_the_body_of_a_get_is_no_argument() -> None:
    assert argv("GET /get/k", "x") == words("get k")


def test_a_path_is_split_before_it_is_decoded() -> None:
    assert argv("GET /set/a%2Fb/%C3%A9%00") == [b"set", b"a/b", "é\x00".encode()]


def test_plus_is_itself_in_a_path_and_a_space_in_a_query() -> None:
    assert argv("GET /set/a+b/c?d+e=f%2Bg") == [b"set", b"a+b", b"c", b"d e", b"f+g"]


def test_an_empty_query_value_is_an_argument_and_an_empty_piece_is_none() -> None:
    assert argv("GET /set/a?b=&&") == [b"set", b"a", b"b", b""]


def test_an_empty_middle_segment_is_an_empty_argument() -> None:
    assert argv("GET /set/k//EX/5") == [b"set", b"k", b"", b"EX", b"5"]


def test_slashes_at_both_ends_do_not_count() -> None:
    assert argv("GET //get/k//") == words("get k")
    assert call("POST //pipeline/", '[["GET","k"]]').mode is Mode.PIPELINE


def test_the_absolute_form_of_a_target_is_read() -> None:
    assert argv("GET http://host:80/get/k?a=1") == words("get k a 1")


def test_a_head_is_rendered_as_a_get() -> None:
    """Its length is told; the shell leaves the body out."""
    asked = call("HEAD /get/k")
    assert asked.commands == [words("get k")]
    assert told(render(asked, [b"value"])) == told(render(call("GET /get/k"), [b"value"]))


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "TRACE", "get", "CONNECT"])
def test_another_method_is_405_with_an_empty_body(method: str) -> None:
    assert refused(f"{method} /get/k") == (405, "")
    assert told(render_error(HttpError(405, ""))) == (405, b"")


# JSON forms.


def test_an_array_is_a_command() -> None:
    assert argv("POST /", '["SET","k","v"]') == words("SET k v")


def test_the_content_type_does_not_matter() -> None:
    assert argv("POST /", '["GET","k"]', content_type="text/plain") == words("GET k")


def test_get_of_the_root_reads_a_body_as_well() -> None:
    assert argv("GET /", '["GET","k"]') == words("GET k")
    assert refused("GET /") == (400, "EOF")


@pytest.mark.parametrize("literal", ["13.361389", "1", "-0", "1.0", "1e400", "1E+21", "9" * 40, "-1.50"])
def test_a_number_is_stored_as_it_was_written(literal: str) -> None:
    assert argv("POST /", f'["SET","k",{literal}]') == [b"SET", b"k", literal.encode()]


def test_booleans_are_words() -> None:
    assert argv("POST /", '["SET",true,false]') == words("SET true false")


def test_text_is_utf8() -> None:
    assert argv("POST /", '["SET","é","\\ud83d\\ude00\\u0000"]') == [b"SET", "é".encode(), "😀\0".encode()]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "EOF"),
        (" \n", "EOF"),
        ("{}", "expected JSON array"),
        ('"GET"', "expected JSON array"),
        ("1", "expected JSON array"),
        ("[]", "ERR empty command"),
        ('["SET","k",null]', "ERR null args are not supported"),
        ('["SET","k",["a"]]', 'ERR unsupported arg type: "[": json.Delim'),
        ('["SET","k",{"a":1}]', 'ERR unsupported arg type: "{": json.Delim'),
        ('["SET","k",NaN]', "ERR request body is not valid JSON"),
        ('["SET","k",-Infinity]', "ERR request body is not valid JSON"),
        ('["SET","k","\\ud800"]', "ERR request body is not valid JSON"),
        ('["SET","k",01]', "ERR request body is not valid JSON"),
        ('["SET","k",+1]', "ERR request body is not valid JSON"),
        ('["SET","k",]', "ERR request body is not valid JSON"),
        ("['SET']", "ERR request body is not valid JSON"),
        ('["SET"] x', "ERR request body is not valid JSON"),
        ('["SET","a\nb"]', "ERR request body is not valid JSON"),
        ("[" * 100_000, "ERR request body is not valid JSON"),
        ("[" * 33 + "]" * 33, 'ERR unsupported arg type: "[": json.Delim'),
    ],
)
def test_a_body_that_is_no_command_is_refused(body: str, text: str) -> None:
    assert refused("POST /", body) == (400, text)


def test_a_body_that_is_not_utf8_is_refused() -> None:
    assert refused("POST /", b'["GET","\xff"]') == (400, "ERR request body is not valid JSON")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_text_arrives(row: list[str]) -> None:
    assert argv("POST /", json.dumps(["SET", *row])) == [b"SET", *[word.encode() for word in row]]


@given(st.binary(), st.sampled_from(["/", "/pipeline", "/multi-exec", "/set/k"]))
def test_no_body_raises_anything_but_a_refusal(body: bytes, path: str) -> None:
    try:
        parse_request(Request(b"POST", path.encode(), {}, body))
    except HttpError as refusal:
        assert refusal.status == 400


@given(st.binary())
def test_no_target_raises_anything_but_a_refusal(target: bytes) -> None:
    try:
        parse_request(Request(b"GET", target, {}))
    except HttpError as refusal:
        assert refusal.status == 400


# Requests whose headers are known to ask for nothing.

HEADERS_THAT_ASK = {
    b"upstash-encoding": b"base64",
    b"upstash-response-format": b"resp2",
    b"upstash-consistency": b"leader",
    b"upstash-sync-token": b"AQ",
    b"idempotency-key": b"once",
    b"if-match": b'"AQ"',
    b"if-none-match": b'"AQ"',
}
OTHERS = {b"host": b"x", b"authorization": b"Bearer me", b"content-type": b"application/json", b"origin": b"http://x"}


class Listening(dict[bytes, bytes]):
    """Headers that remember which of them somebody wanted to know."""

    def __init__(self, headers: dict[bytes, bytes]) -> None:
        super().__init__(headers)
        self.asked: set[object] = set()

    def get(self, name: bytes, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name: bytes) -> bytes:
        self.asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.asked.add(name)
        return super().__contains__(name)


def test_headers_ask_for_something_by_name() -> None:
    assert ask_nothing({}) and ask_nothing(OTHERS)
    assert not any(ask_nothing({**OTHERS, name: value}) for name, value in HEADERS_THAT_ASK.items())
    assert not ask_nothing({b"upstash-edge": b"proof"})  # which the listener asks for


@pytest.mark.parametrize("line", ["GET /get/k", "POST /", "POST /pipeline", "POST /multi-exec", "GET /monitor"])
def test_no_header_is_looked_at_that_would_not_have_been_missed(line: str) -> None:
    method, _, target = line.encode().partition(b" ")
    headers = Listening(OTHERS)
    parse_request(Request(method, target, headers, b'[["PING"]]' if len(target) > 1 else b'["PING"]'))
    assert not any(ask_nothing({cast(bytes, name): b"x"}) for name in headers.asked)


PATHS = st.lists(
    st.sampled_from([*words("get SET k acl ACL setuser default v1 nearest pipeline multi-exec"), b"", b"%41", b"a?b=c"])
    | st.sampled_from([*words("subscribe monitor Monitor AUTH auth http: ? ?_token=a&_token=b *")])
    | st.binary(max_size=3),
    max_size=5,
)


def outcome(method: bytes, target: bytes, body: bytes, is_plain: bool) -> object:
    try:
        asked = parse_request(Request(method, target, OTHERS, body, is_plain=is_plain))
    except HttpError as refusal:
        return refusal.status, refusal.text
    return {name: getattr(asked, name) for name in dir(asked) if not name.startswith("_")}


@example(b"DELETE", b"get/get", b"/", b"")
@given(
    st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE"]),
    PATHS.map(b"/".join),
    st.sampled_from([b"", b"/", b"//"]),
    st.sampled_from([b"", b"v", b'["GET","k"]', b'[["GET","k"],["auth","x"]]']),
)
def test_a_request_that_asks_nothing_more_is_read_as_any_other(
    method: bytes, path: bytes, start: bytes, body: bytes
) -> None:
    assert outcome(method, start + path, body, True) == outcome(method, start + path, body, False)


def test_of_names_that_clients_make_up_a_few_are_remembered() -> None:
    for n in range(2 * MAX_PLAIN_NAMES):
        assert argv(f"GET /made-up-{n}/k") == [b"made-up-%d" % n, b"k"]
        assert argv(f"GET /{'x' * MAX_PLAIN_NAME_BYTES}{n}/k")[1:] == [b"k"]  # type: ignore[index]
    assert len(_plain_names) <= MAX_PLAIN_NAMES
    assert max(map(len, _plain_names)) <= MAX_PLAIN_NAME_BYTES
    assert refused("GET /auth/pw")[0] == 400


# Pipelines and transactions.


def test_a_pipeline_is_rows() -> None:
    asked = call("POST /pipeline", '[["SET","k",1],["GET","k"]]')
    assert asked.mode is Mode.PIPELINE
    assert asked.commands == [words("SET k 1"), words("GET k")]


@pytest.mark.parametrize("path", ["/pipeline", "/multi-exec"])
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "EOF"),
        ("x", "ERR request body is not valid JSON"),
        ("{}", "expected JSON array"),
        ('["GET","k"]', "expected JSON array"),
        ('[["GET","k"],"GET"]', "expected JSON array"),
        ("[]", "ERR empty pipeline request"),
        ('[["GET","k"],[]]', "ERR empty pipeline command"),
        ('[["GET","k"],["SET","k",null]]', "ERR null args are not supported"),
    ],
)
def test_malformed_rows_refuse_the_whole_request(path: str, body: str, text: str) -> None:
    assert refused(f"POST {path}", body) == (400, text)


def test_a_pipeline_has_at_most_ten_thousand_commands() -> None:
    row = '["PING"]'
    assert len(call("POST /pipeline", f"[{','.join([row] * 10_000)}]").commands) == 10_000
    assert refused("POST /pipeline", f"[{','.join([row] * 10_001)}]")[0] == 413


def test_pipeline_items_are_answered_each_for_itself() -> None:
    asked = call("POST /pipeline", '[["SET","k","v"],["INCR","k"]]')
    status, body = told(render(asked, [OK, wrong_type()]))
    assert status == 200
    assert json.loads(body) == [{"result": "OK"}, {"error": wrong_type().text}]


def test_a_transaction_answers_as_a_pipeline() -> None:
    asked = call("POST /multi-exec", '[["SET","k","v"],["INCR","k"]]')
    assert asked.mode is Mode.TRANSACTION
    assert told(render(asked, [OK, wrong_type()])) == (
        200,
        b'[{"result":"OK"},{"error":"' + wrong_type().text.encode() + b'"}]',
    )


def test_a_discarded_transaction_is_one_error() -> None:
    response = render_error(error("wrong number of arguments for 'get' command"))
    assert told(response) == (400, b'{"error":"ERR wrong number of arguments for \'get\' command"}')


NEEDS_A_CONNECTION = [
    "AUTH", "CLIENT", "HELLO", "RESET", "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "MONITOR",
    "SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "SYNCTOKEN",
]  # fmt: skip


@pytest.mark.parametrize("name", NEEDS_A_CONNECTION)
def test_what_needs_a_connection_is_refused(name: str) -> None:
    text = f'ERR Command "{name}" is not allowed in REST or it has a special context path'
    assert refused("POST /", f'["{name.lower()}"]') == (400, text)
    assert refused("POST /multi-exec", f'[["PING"],["{name}"]]') == (400, text)
    asked = call("POST /pipeline", f'[["PING"],["{name}"]]')
    assert asked.commands[0] == [b"PING"]
    assert json.loads(render(asked, [Simple("PONG"), asked.commands[1]]).body)[1] == {"error": text}


def test_whoever_has_a_token_cannot_stop_the_node() -> None:
    status, text = refused("GET /shutdown/nosave")
    assert status == 400 and text.startswith("ERR Command is not available: 'SHUTDOWN'. See ")
    assert refused("POST /", '["Shutdown"]') == refused("POST /multi-exec", '[["PING"],["SHUTDOWN"]]') == (400, text)
    row = call("POST /pipeline", '[["shutdown"]]').commands[0]
    assert isinstance(row, CommandError) and row.text == text


@pytest.mark.parametrize("words", [["ACL", "SETUSER", "default", "off"], ["acl", "deluser", "alice", "default"]])
def test_the_user_of_the_standard_token_cannot_be_changed(words: list[str]) -> None:
    text = "ERR the user 'default' cannot be changed over REST; use a connection of RESP"
    assert refused(f"GET /{'/'.join(words)}") == refused("POST /", json.dumps(words)) == (400, text)
    assert refused("POST /multi-exec", json.dumps([["PING"], words])) == (400, text)
    row = call("POST /pipeline", json.dumps([words])).commands[0]
    assert isinstance(row, CommandError) and row.text == text


@pytest.mark.parametrize(
    "path",
    ["/acl/setuser/default_ro/off", "/acl/setuser/alice/on/default", "/acl/getuser/default", "/acl/list", "/acl"],
)
def test_other_users_can_be_changed_and_default_be_looked_at(path: str) -> None:
    assert call(f"GET {path}").commands == [[word.encode() for word in path[1:].split("/")]]


# Server-sent events.


def test_subscribe_takes_every_segment_and_ignores_body_and_encoding() -> None:
    asked = call("POST /subscribe/a/b%2Fc", "[]", upstash_encoding="base64", upstash_response_format="x")
    assert (asked.mode, asked.commands, asked.base64) == (Mode.SUBSCRIBE, [[b"SUBSCRIBE", b"a", b"b/c"]], False)
    assert call("GET /psubscribe/n*").mode is Mode.PSUBSCRIBE
    assert call("POST /monitor").mode is Mode.MONITOR


def test_the_list_of_nodes_is_no_command() -> None:
    asked = call("GET /v1/nearest?lag=500&region=sa-east-1&_token=t")
    assert (asked.mode, asked.commands, asked.lag, asked.region) == (Mode.NEAREST, [], "500", "sa-east-1")
    assert argv("GET /v1/nearest/one") == words("v1 nearest one")
    assert argv("GET /v1") == words("v1")


def test_subscribe_without_a_channel_is_refused() -> None:
    assert refused("POST /subscribe") == (400, "ERR wrong number of arguments for 'subscribe' command")


def test_an_event_is_a_data_line() -> None:
    assert event([b"subscribe", b"chan", 1]) == b"data: subscribe,chan,1\n\n"
    assert event([b"message", b"chan", b"a\nb\r\nc"]) == b"data: message,chan,a\ndata: b\ndata: c\n\n"


# Tokens and headers.


@pytest.mark.parametrize(
    ("target", "authorization", "token"),
    [
        ("/", "Bearer abc", "abc"),
        ("/", "bEARER  abc ", "abc"),
        ("/", "abc", "abc"),
        ("/?_token=abc", "", "abc"),
        ("/?_token=abc", "Bearer other", "abc"),
        ("/?x=1&_token=a%2Bc", "", "a+c"),
        ("/?_token=", "Bearer abc", "abc"),
        ("/", "", None),
        ("/", "Bearer ", None),
    ],
)
def test_the_token_comes_from_the_query_or_the_header(target: str, authorization: str, token: str | None) -> None:
    assert access_token(Request(b"GET", target.encode(), {b"authorization": authorization.encode()})) == token


def test_the_token_parameter_is_no_argument() -> None:
    assert argv("GET /get/k?_token=abc") == words("get k")


def test_the_token_is_readable_before_the_request_makes_sense() -> None:
    broken = Request(b"POST", b"/", {b"authorization": b"Bearer abc", b"upstash-encoding": b"rot13"}, b"{")
    assert access_token(broken) == "abc"


def test_a_stranger_is_told_so() -> None:
    status, body = told(render_error(unauthorized()))
    assert status == 401
    assert json.loads(body)["error"].startswith("WRONGPASS invalid or missing auth token. See ")


def test_an_empty_sync_token_counts_as_none() -> None:
    assert call("GET /get/k", upstash_sync_token="").sync_token is None
    assert call("GET /get/k", upstash_sync_token="my-new-sync-token").sync_token == "my-new-sync-token"


def test_options_is_a_preflight_that_needs_nothing() -> None:
    assert call("OPTIONS *").mode is Mode.PREFLIGHT
    assert call("OPTIONS /pipeline", upstash_encoding="x").mode is Mode.PREFLIGHT


def test_only_base64_is_an_encoding() -> None:
    assert call("GET /get/k", upstash_encoding="base64").base64
    assert not call("GET /get/k", upstash_encoding="").base64
    assert refused("GET /get/k", upstash_encoding="gzip")[0] == 400


def test_only_json_and_resp2_are_formats() -> None:
    assert call("GET /get/k", upstash_response_format="resp2").resp2
    assert not call("GET /get/k", upstash_response_format="json").resp2
    assert refused("GET /get/k", upstash_response_format="resp3")[0] == 400
    assert refused("GET /get/k", upstash_response_format="resp2", upstash_encoding="base64")[0] == 400


def test_a_transaction_ignores_the_format() -> None:
    asked = call("POST /multi-exec", '[["PING"]]', upstash_response_format="resp2", upstash_encoding="base64")
    assert not asked.resp2
    assert render(asked, [OK]).body == b'[{"result":"OK"}]'


# Answers.

SINGLE = Call(Mode.SINGLE, [[b"X"]])
BASE64 = Call(Mode.SINGLE, [[b"X"]], base64=True)


def result(reply: Reply, asked: Call = SINGLE) -> object:
    response = render(asked, [reply])
    assert (response.status, response.content_type) == (200, JSON)
    answer = json.loads(response.body)
    assert list(answer) == ["result"]
    return answer["result"]


def raw(response: Response) -> tuple[int, bytes]:
    assert response.content_type == OCTETS
    return told(response)


def encoded(text: str | bytes) -> str:
    return b64encode(text if isinstance(text, bytes) else text.encode()).decode()


@pytest.mark.parametrize(
    ("reply", "plain", "base64"),
    [
        (OK, "OK", "OK"),
        (Simple("PONG"), "PONG", encoded("PONG")),
        (Simple("list"), "list", encoded("list")),
        (b"value", "value", encoded("value")),
        (b"OK", "OK", "T0s="),
        (b"\xff\x00", "\ufffd\x00", encoded(b"\xff\x00")),
        ("text", "text", encoded("text")),
        (2**63 - 1, 2**63 - 1, 2**63 - 1),
        (True, 1, 1),
        (None, None, None),
        (NULL_ARRAY, None, None),
        ([], [], []),
        ([b"a", [1, None, b"b"]], ["a", [1, None, "b"]], [encoded("a"), [1, None, encoded("b")]]),
        ([OK], ["OK"], ["T0s="]),
        (1.5, "1.5", encoded("1.5")),
        ({b"f": b"v"}, ["f", "v"], [encoded("f"), encoded("v")]),
        (Pairs([(b"m", 2.0)]), ["m", "2"], [encoded("m"), encoded("2")]),
        (
            Named([(b"s", [[b"1-0", [b"f"]]])]),
            [["s", [["1-0", ["f"]]]]],
            [[encoded("s"), [[encoded("1-0"), [encoded("f")]]]]],
        ),
        (Set([b"m"]), ["m"], [encoded("m")]),
        (Verbatim(b"info"), "info", encoded("info")),
        ([error("inner")], ["ERR inner"], [encoded("ERR inner")]),
    ],
)
def test_each_reply_has_its_json(reply: Reply, plain: object, base64: object) -> None:
    assert result(reply) == plain
    assert result(reply, BASE64) == base64


def test_json_carries_text_as_utf8() -> None:
    assert render(SINGLE, ['é"\n'.encode()]).body == '{"result":"é\\"\\n"}'.encode()


@given(st.binary(max_size=20) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_the_text_that_they_are_as_utf8(value: bytes) -> None:
    text = json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False)
    assert render(SINGLE, [value]).body == f'{{"result":{text}}}'.encode()


def test_a_failure_has_an_error_only_and_is_never_base64() -> None:
    for asked in (SINGLE, BASE64):
        assert told(render(asked, [wrong_type()])) == (400, b'{"error":"' + wrong_type().text.encode() + b'"}')


def test_an_error_that_holds_bytes_of_a_client_is_still_json() -> None:
    body = render(SINGLE, [error("no '\udcff' here")]).body
    assert json.loads(body) == {"error": "ERR no '?' here"}


def test_resp2_answers_are_raw() -> None:
    single = Call(Mode.SINGLE, [[b"X"]], resp2=True)
    assert raw(render(single, [{b"a": 1.5}])) == (200, b"*2\r\n$1\r\na\r\n$3\r\n1.5\r\n")
    assert raw(render(single, [error("bad")])) == (400, b"-ERR bad\r\n")
    several = Call(Mode.PIPELINE, [[b"X"], [b"Y"]], resp2=True)
    assert raw(render(several, [OK, error("bad")])) == (200, b"+OK\r\n-ERR bad\r\n")


def test_an_unknown_command_is_told_in_upstashs_words() -> None:
    failure = as_rest_error(error("unknown command 'foo', with args beginning with: 'a' 'b' "))
    assert failure.text.startswith("ERR Command is not available: 'FOO'. See ")
    assert b"not available: 'FOO'" in render(SINGLE, [error("unknown command 'foo', with args beginning with: ")]).body
    assert as_rest_error(error("unknown subcommand 'x'. Try CONFIG HELP.")).message.startswith("unknown subcommand")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("ERR syntax error", 400),
        ("WRONGTYPE Operation", 400),
        ("NOSCRIPT No matching script", 400),
        ("NOPERM this user", 400),
        ("OOM command not allowed", 400),
        ("EXECABORT Transaction discarded", 400),
        ("NOAUTH Authentication required.", 401),
        ("WRONGPASS invalid", 401),
        ("ERR max number of clients reached", 429),
        ("READONLY You can't write", 503),
        ("NOLEADER no leader", 503),
        ("STALE", 503),
        ("LOADING Redis is loading", 503),
        ("NOREPLICAS Not enough", 503),
        ("MISCONF Errors writing", 503),
        ("BUSY Redis is busy", 503),
        ("SHUTTINGDOWN", 503),
        ("UNKNOWN write may or may not have been applied", 504),
    ],
)
def test_each_error_has_its_status(text: str, status: int) -> None:
    code, _, message = text.partition(" ")
    assert status_of(CommandError(code, message)) == status


def test_a_request_too_large_is_413() -> None:
    assert told(render_error(too_large(10, 12))) == (
        413,
        b'{"error":"ERR max request size exceeded. Limit: 10 bytes, Actual: 12 bytes"}',
    )


# Browsers.


def cors(method: str, origins: list[str] | None = None, **headers: str) -> dict[str, str]:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    request = Request(method.encode(), b"/", named)
    return {name.decode(): value.decode() for name, value in cors_headers(request, origins)}


def test_every_answer_may_be_read_by_a_page() -> None:
    headers = cors("GET", origin="https://app.example")
    assert headers["access-control-allow-origin"] == "https://app.example"
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["access-control-expose-headers"].startswith("upstash-sync-token, ")
    assert cors("GET")["access-control-allow-origin"] == "*"


def test_a_preflight_is_told_methods_and_headers() -> None:
    headers = cors("OPTIONS", origin="null", access_control_request_headers="authorization,upstash-encoding")
    assert headers["access-control-allow-methods"] == "HEAD, GET, POST, PUT, OPTIONS"
    assert headers["access-control-allow-headers"] == "authorization,upstash-encoding"


def test_headers_repeat_no_text_of_a_client_that_is_not_what_it_should_be() -> None:
    headers = cors("OPTIONS", origin="https://a\r\nx: y", access_control_request_headers="a: b")
    assert headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-headers" not in headers


def test_a_list_of_origins_shuts_out_others() -> None:
    assert cors("GET", ["https://app.example"], origin="https://other.example") == {}
    assert cors("GET", ["https://app.example"], origin="https://app.example")
