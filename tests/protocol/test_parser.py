"""Requests: every split, every error text, every limit."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstash_global.protocol.resp import ARGUMENT_BYTES, MAX_BULK, Parser, split_arguments

Commands = list[list[bytes]]

arguments = st.lists(st.binary(max_size=40), min_size=1, max_size=6).filter(
    lambda argv: argv[0].upper() not in (b"POST", b"HOST:")
)


def request(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in argv)


def read(pieces: Iterable[bytes], parser: Parser | None = None) -> tuple[Commands, str | None]:
    """What a parser makes of the pieces: the commands, and the text of its error."""
    parser = parser or Parser()
    commands = [argv for piece in pieces for argv in parser.feed(piece)]
    return commands, str(parser.error) if parser.error else None


def one_by_one(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


STREAMS = [
    request(b"SET", b"key", b"value") + request(b"GET", b"key"),
    request(b"PING") * 3,
    b"*0\r\n" + request(b"PING") + b"*-1\r\n" + request(b"PING"),
    b"\r\n\n" + request(b"PING") + b"SET k 'a b' \"\\x41\\n\"\r\nGET k\n" + request(b"GET", b""),
    request(b"SET", b"", b"\r\n$3\r\n*1\r\n"),
    request(b"SET", b"k", b"x" * 1500) + request(b"DEL", b"k"),
    request(b"MSET", *[b"%d" % n for n in range(30)]),
]
MISTAKES = [
    (b"*x\r\n", "invalid multibulk length"),
    (b"*\r\n", "invalid multibulk length"),
    (b"*+1\r\n", "invalid multibulk length"),
    (b"* 1\r\n", "invalid multibulk length"),
    (b"*01\r\n", "invalid multibulk length"),
    (b"*1_0\r\n", "invalid multibulk length"),
    (b"*-0\r\n", "invalid multibulk length"),
    ("*１\r\n".encode(), "invalid multibulk length"),
    (b"*2147483648\r\n", "invalid multibulk length"),
    (b"*2147483647\r\n", "too big request"),
    (b"*99999999999999999999\r\n", "invalid multibulk length"),
    (b"*-99999999999999999999\r\n", "invalid multibulk length"),
    (b"*1\r\n+3\r\n", "expected '$', got '+'"),
    (b"*1\r\n\r\n", "expected '$', got '\r'"),
    (b"*2\r\n$1\r\na\r\n:1\r\n", "expected '$', got ':'"),
    (b"*1\r\n$x\r\n", "invalid bulk length"),
    (b"*1\r\n$\r\n", "invalid bulk length"),
    (b"*1\r\n$-1\r\n", "invalid bulk length"),
    (b"*1\r\n$+1\r\n", "invalid bulk length"),
    (b"*1\r\n$01\r\n", "invalid bulk length"),
    (b"*1\r\n$%d\r\n" % (MAX_BULK + 1), "invalid bulk length"),
    (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
    (b"SET k 'v\r\n", "unbalanced quotes in request"),
    (b'SET k "v"x\r\n', "unbalanced quotes in request"),
]


@pytest.mark.parametrize("stream", STREAMS)
def test_every_cut_gives_the_same_commands(stream: bytes) -> None:
    whole = read([stream])
    assert whole[0] and whole[1] is None
    assert read(one_by_one(stream)) == whole
    for cut in range(len(stream)):
        assert read([stream[:cut], stream[cut:]]) == whole


@pytest.mark.parametrize(("mistake", "text"), MISTAKES)
def test_every_cut_gives_the_same_error_after_the_commands_before_it(mistake: bytes, text: str) -> None:
    stream = request(b"SET", b"k", b"v") + mistake + request(b"PING")
    expected = ([[b"SET", b"k", b"v"]], f"Protocol error: {text}")
    assert read([stream]) == expected
    assert read(one_by_one(stream)) == expected
    for cut in range(len(stream)):
        assert read([stream[:cut], stream[cut:]]) == expected


@given(st.lists(arguments, max_size=8), st.data())
def test_what_was_asked_is_what_is_read_however_it_is_cut(asked: Commands, data: st.DataObject) -> None:
    stream = b"".join(request(*argv) for argv in asked)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(pieces) == (asked, None)


@given(st.lists(st.sampled_from([b"*", b"$", b"1", b"2", b"0", b"-", b"\r", b"\n", b"\r\n", b"a", b"'", b'"', b" "])))
def test_noise_is_read_alike_whole_and_byte_by_byte(pieces: list[bytes]) -> None:
    stream = b"".join(pieces)
    assert read([stream]) == read(one_by_one(stream))


@given(st.binary())
def test_no_bytes_raise_anything(data: bytes) -> None:
    read([data])
    read([data], Parser(authenticated=False))


def test_after_an_error_nothing_is_read() -> None:
    parser = Parser()
    parser.feed(b"*x\r\n")
    assert parser.feed(request(b"PING")) == []
    assert parser.buffered_bytes == 0


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (b"x" * 65537, "too big inline request"),
        (b"x" * 65537 + b"\r\n", "too big inline request"),
        (b"*" + b"1" * 65536, "too big mbulk count string"),
        (b"*" + b"1" * 65536 + b"\r\n", "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 65536, "too big bulk count string"),
    ],
)
def test_a_line_has_a_limit(stream: bytes, text: str) -> None:
    assert read([stream]) == ([], f"Protocol error: {text}")
    assert read([stream[:40000], stream[40000:]]) == ([], f"Protocol error: {text}")


def test_a_line_of_the_largest_size_is_read() -> None:
    assert read([b"x" * 65535 + b"\r\n"]) == ([[b"x" * 65535]], None)


def test_limits_are_settable() -> None:
    def small() -> Parser:
        return Parser(max_bulk=90, max_arguments=2, max_request=92)

    assert read([request(b"GET", b"k")], small()) == ([[b"GET", b"k"]], None)
    assert read([request(b"x" * 91)], small()) == ([], "Protocol error: invalid bulk length")
    assert read([request(b"a", b"b", b"c")], small()) == ([], "Protocol error: invalid multibulk length")
    assert read([request(b"GET", b"k" * 90)], small()) == ([], "Protocol error: too big request")


def test_a_command_of_more_than_a_million_arguments_is_read() -> None:
    stream = request(b"DEL", *[b"k"] * 1_200_000)
    pieces = [stream[at : at + 250_000] for at in range(0, len(stream), 250_000)]
    commands, error = read(pieces)
    assert error is None and [len(argv) for argv in commands] == [1_200_001]


def test_arguments_are_counted_against_the_limit_before_one_is_held() -> None:
    parser = Parser(max_request=ARGUMENT_BYTES * 1000)
    assert parser.feed(b"*1000\r\n") == [] and parser.error is None
    parser.feed(b"$0\r\n\r\n" * 100)
    assert parser.buffered_bytes == ARGUMENT_BYTES * 100
    parser = Parser(max_request=ARGUMENT_BYTES * 1000)
    assert parser.feed(b"*1001\r\n") == [] and parser.is_too_large
    assert str(parser.error) == "Protocol error: too big request"


def test_a_limit_that_is_lowered_holds_for_the_command_that_is_being_read() -> None:
    for begun in (b"*2\r\n$600\r\n" + b"x" * 500, b"*2\r\n$600\r\n" + b"x" * 600 + b"\r\n"):
        parser = Parser(max_request=1000)
        assert parser.feed(begun) == [] and parser.error is None
        parser.max_request = 599
        assert parser.feed(b"x") == [] and parser.is_too_large and parser.buffered_bytes == 0
    parser = Parser(max_request=1000)
    parser.feed(b"*x\r\n")
    assert parser.error is not None and not parser.is_too_large


def test_a_request_too_large_in_all_is_refused_at_its_header_before_it_is_held() -> None:
    parser = Parser(max_request=1000)
    parser.feed(b"*3\r\n$600\r\n" + b"x" * 600 + b"\r\n$401\r\n")
    assert str(parser.error) == "Protocol error: too big request"
    assert parser.buffered_bytes == 0


def test_a_number_of_many_digits_costs_nothing() -> None:
    """Whole numbers have no end in Python: reading 64 KiB of digits with them took two seconds."""
    for kind in (b"*", b"*1\r\n$"):
        stream = kind + b"1" * 60000 + b"\r\n"
        for _ in range(100):
            assert read([stream])[1] is not None


def test_a_large_argument_in_small_pieces_is_copied_once_per_byte() -> None:
    """8 MiB in pieces of 64 bytes: done at once if linear, hours if each piece copied what came before."""
    value = bytes(8 * 1024 * 1024)
    head = b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % len(value)
    pieces = [value[at : at + 64] for at in range(0, len(value), 64)]
    assert read([head, *pieces, b"\r", b"\n"]) == ([[b"ECHO", value]], None)


def test_the_bytes_behind_an_argument_are_not_looked_at_as_in_redis() -> None:
    assert read([b"*1\r\n$4\r\nPINGxx" + request(b"GET", b"k")]) == ([[b"PING"], [b"GET", b"k"]], None)


# Before authentication.


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (request(*[b"x"] * 11), "unauthenticated multibulk length"),
        (b" ".join([b"x"] * 11) + b"\r\n", "unauthenticated multibulk length"),
        (request(b"SET", b"x" * 16385), "unauthenticated bulk length"),
        (b"SET " + b"x" * 16385 + b"\r\n", "unauthenticated bulk length"),
    ],
)
def test_a_stranger_may_not_send_much(stream: bytes, text: str) -> None:
    assert read([stream], Parser(authenticated=False)) == ([], f"Protocol error: {text}")
    assert read(one_by_one(stream), Parser(authenticated=False)) == ([], f"Protocol error: {text}")
    assert read([stream])[1] is None


@pytest.mark.parametrize("large", [request(*[b"x"] * 11), request(b"SET", b"k", b"x" * 16385)])
def test_a_large_command_right_behind_auth_waits_for_its_outcome(large: bytes) -> None:
    auth = request(b"AUTH", b"secret")
    parser = Parser(authenticated=False)
    assert parser.feed(auth + large) == [[b"AUTH", b"secret"]]
    assert parser.paused
    parser.authenticated = True
    assert len(parser.feed(request(b"PING"))) == 2
    assert not parser.paused

    refused = Parser(authenticated=False)
    refused.feed(auth + large)
    assert refused.feed(b"") == []
    assert "unauthenticated" in str(refused.error)


def test_what_waits_behind_auth_is_bounded() -> None:
    parser = Parser(authenticated=False)
    assert parser.feed(request(b"AUTH", b"secret") + request(b"SET", b"k", bytes(2 * 1024 * 1024)))
    assert str(parser.error) == "Protocol error: unauthenticated bulk length"


# Cross-protocol requests.


@pytest.mark.parametrize(
    "stream",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /get/key HTTP/1.0\r\n",
        b"GET /it's HTTP/1.1\r\n",
        b"pOsT x\r\n",
        b"hOST: x\r\n",
        request(b"Post", b"x"),
        request(b"HOST:"),
    ],
)
def test_http_is_cut_off_after_what_came_before(stream: bytes) -> None:
    parser = Parser()
    assert parser.feed(request(b"PING") + stream + request(b"FLUSHALL")) == [[b"PING"]]
    assert parser.cross_protocol and parser.error is not None


def test_post_as_an_argument_is_harmless() -> None:
    assert read([request(b"SET", b"POST", b"Host:")]) == ([[b"SET", b"POST", b"Host:"]], None)


# Inline words.


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b" \t ", []),
        (b"  SET  k\tv  ", [b"SET", b"k", b"v"]),
        (b"SET k ''", [b"SET", b"k", b""]),
        (b'"a\\n\\r\\t\\b\\a\\\\\\"\\q"', [b'a\n\r\t\b\a\\"q']),
        (b'"\\x00\\xfF\\xg0"', [b"\x00\xffxg0"]),
        (b"'it\\'s \\n'", [b"it's \\n"]),
        (b"pre'fix'", [b"prefix"]),
        (b"a\\b", [b"a\\b"]),
        (b"'a' 'b'", [b"a", b"b"]),
        (b"'a'b", None),
        (b"'a", None),
        (b'"a', None),
        (b'"a\\"', None),
        (b'a"', None),
    ],
)
def test_inline_words_are_split_as_redis_does(line: bytes, words: list[bytes] | None) -> None:
    assert split_arguments(line) == words
