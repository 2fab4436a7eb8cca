"""Replies: the table of reply.py on both wires, and that parse undoes encode."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from librt.strings import BytesWriter

from upstash_global.errors import CommandError, ProtocolError
from upstash_global.floats import format_double
from upstash_global.protocol.replies import ReplyParser
from upstash_global.protocol.resp import encode
from upstash_global.reply import (
    NO_REPLY,
    NULL_ARRAY,
    OK,
    PENDING,
    Attributed,
    BigNumber,
    Double,
    Named,
    Pairs,
    Push,
    Reply,
    Set,
    Simple,
    Verbatim,
)


def wire(reply: Reply, version: int) -> bytes:
    out = BytesWriter()
    encode(out, reply, version)
    return out.getvalue()


def parsed(data: bytes) -> Reply:
    replies = ReplyParser().feed(data)
    assert len(replies) == 1
    return replies[0]


TABLE = [
    (b"ab", b"$2\r\nab\r\n", b"$2\r\nab\r\n"),
    (b"x" * 2000, b"$2000\r\n" + b"x" * 2000 + b"\r\n", b"$2000\r\n" + b"x" * 2000 + b"\r\n"),
    (bytearray(b"ab"), b"$2\r\nab\r\n", b"$2\r\nab\r\n"),
    ("é", b"$2\r\n\xc3\xa9\r\n", b"$2\r\n\xc3\xa9\r\n"),
    (0, b":0\r\n", b":0\r\n"),
    (-1, b":-1\r\n", b":-1\r\n"),
    (123456789, b":123456789\r\n", b":123456789\r\n"),
    (2.5, b"$3\r\n2.5\r\n", b",2.5\r\n"),
    (3.0, b"$1\r\n3\r\n", b",3\r\n"),
    (math.inf, b"$3\r\ninf\r\n", b",inf\r\n"),
    (True, b":1\r\n", b"#t\r\n"),
    (False, b":0\r\n", b"#f\r\n"),
    (None, b"$-1\r\n", b"_\r\n"),
    ([], b"*0\r\n", b"*0\r\n"),
    ([1, None, [b"a"]], b"*3\r\n:1\r\n$-1\r\n*1\r\n$1\r\na\r\n", b"*3\r\n:1\r\n_\r\n*1\r\n$1\r\na\r\n"),
    ((1, 2), b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:1\r\n:2\r\n"),
    ({b"a": 1}, b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
    (OK, b"+OK\r\n", b"+OK\r\n"),
    (Simple("PONG"), b"+PONG\r\n", b"+PONG\r\n"),
    (Simple("a\r\nb"), b"+a  b\r\n", b"+a  b\r\n"),
    (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
    (Set([1]), b"*1\r\n:1\r\n", b"~1\r\n:1\r\n"),
    (
        Named([(b"a", [1]), (b"a", [])]),
        b"*2\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n",
        b"%2\r\n$1\r\na\r\n*1\r\n:1\r\n$1\r\na\r\n*0\r\n",
    ),
    (Pairs([(b"a", 1.5)]), b"*2\r\n$1\r\na\r\n$3\r\n1.5\r\n", b"*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n"),
    (Double(b"0.50"), b"$4\r\n0.50\r\n", b",0.50\r\n"),
    (BigNumber(b"12\r\n+3"), b"$6\r\n12  +3\r\n", b"(12  +3\r\n"),
    (Attributed({b"a": 1}, b"x"), b"$1\r\nx\r\n", b"|1\r\n$1\r\na\r\n:1\r\n$1\r\nx\r\n"),
    (Verbatim(b"text", "é"), b"$4\r\ntext\r\n", b"=8\r\n\xe9  :text\r\n"),
    (Verbatim(b"text", "long"), b"$4\r\ntext\r\n", b"=8\r\nlon:text\r\n"),
    (Verbatim(b"text"), b"$4\r\ntext\r\n", b"=8\r\ntxt:text\r\n"),
    (Push([b"a"]), b"*1\r\n$1\r\na\r\n", b">1\r\n$1\r\na\r\n"),
    (CommandError("ERR", "no\r\nway"), b"-ERR no  way\r\n", b"-ERR no  way\r\n"),
    (CommandError("ERR", "unknown '\udcff'"), b"-ERR unknown '\xff'\r\n", b"-ERR unknown '\xff'\r\n"),
    (CommandError("ERR", "\ud800"), b"-ERR ?\r\n", b"-ERR ?\r\n"),
    (ProtocolError("Protocol error: x"), b"-ERR Protocol error: x\r\n", b"-ERR Protocol error: x\r\n"),
    (NO_REPLY, b"", b""),
]


@pytest.mark.parametrize(("reply", "resp2", "resp3"), TABLE)
def test_each_row_of_the_table_looks_as_it_says(reply: Reply, resp2: bytes, resp3: bytes) -> None:
    assert wire(reply, 2) == resp2
    assert wire(reply, 3) == resp3


@pytest.mark.parametrize("reply", [PENDING, object(), {1, 2}])
def test_what_is_no_reply_is_a_bug_of_ours(reply: object) -> None:
    with pytest.raises(TypeError):
        wire(reply, 2)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary()
    | st.builds(Simple, st.text(st.characters(codec="ascii", exclude_characters="\r\n")))
    | st.just(OK)
    | st.builds(CommandError, st.just("ERR"), st.text(st.characters(codec="utf-8", exclude_characters="\r\n")))
    | st.builds(Verbatim, st.binary())
)
replies = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.binary(), inner)
        | st.builds(Set, st.lists(inner))
        | st.builds(Push, st.lists(inner))
    ),
    max_leaves=10,
)


@given(replies)
def test_parse_undoes_encode_in_resp3(reply: Reply) -> None:
    assert parsed(wire(reply, 3)) == reply


def as_resp2(reply: Reply) -> Reply:
    """What RESP2 can tell of a reply."""
    if isinstance(reply, bool):
        return int(reply)
    if isinstance(reply, float):
        return format_double(reply)
    if isinstance(reply, Verbatim):
        return reply.text
    if isinstance(reply, dict):
        return [as_resp2(part) for pair in reply.items() for part in pair]
    if isinstance(reply, Set | Push):
        return [as_resp2(item) for item in reply.items]
    if isinstance(reply, list):
        return [as_resp2(item) for item in reply]
    return reply


@given(replies)
def test_parse_undoes_encode_in_resp2_as_far_as_it_can_tell(reply: Reply) -> None:
    assert parsed(wire(reply, 2)) == as_resp2(reply)


@given(st.lists(replies, max_size=4), st.integers(1, 7))
def test_replies_in_pieces_are_the_same_replies(several: list[Reply], size: int) -> None:
    data = b"".join(wire(reply, 3) for reply in several)
    parser = ReplyParser()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [reply for piece in pieces for reply in parser.feed(piece)] == several


@pytest.mark.parametrize(
    "data", [b"?\r\n", b"*x\r\n", b"$-2\r\n", b":1x\r\n", b",x\r\n", b"$1\r\nabc\r\n", b"*1\r\n" * 500]
)
def test_bytes_that_are_no_reply_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ReplyParser().feed(data)


# The text of doubles.


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-17.0, "-17"),
        (0.1, "0.1"),
        (1 / 3, "0.3333333333333333"),
        (-123.456, "-123.456"),
        (0.0001, "0.0001"),
        (0.000001, "0.000001"),
        (0.0000001, "1e-7"),
        (0.00001234, "1.234e-5"),
        (2.0**62, "4611686018427387904"),
        (1e18, "1000000000000000000"),
        (1e19, "1e+19"),
        (5e18, "5e+18"),
        (12345678901234567890.0, "12345678901234567000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (5e-324, "5e-324"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
    ],
)
def test_doubles_are_laid_out_as_redis_7_2_does(value: float, text: str) -> None:
    assert format_double(value) == text.encode()


@given(st.floats(allow_nan=False))
def test_the_text_of_a_double_reads_back_as_the_same_double(value: float) -> None:
    again = float(format_double(value))
    assert again == value and math.copysign(1, again) == math.copysign(1, value)


def test_numbers_and_lengths_of_every_size_are_written_in_decimal() -> None:
    random = Random(1)
    edges = [edge + step for power in range(63) for edge in (1 << power, 10 ** (power % 19)) for step in (-1, 0, 1)]
    numbers = [*edges, *[random.randrange(1 << random.randrange(1, 63)) for _ in range(1000)]]
    for number in [*numbers, *[-number for number in numbers]]:
        assert wire(number, 2) == b":%d\r\n" % number
    for length in (0, 1, 999, 1000, 1023, 1024, 70_000):
        assert wire([None] * length, 2) == b"*%d\r\n" % length + b"$-1\r\n" * length
        assert wire(b"x" * length, 2) == b"$%d\r\n" % length + b"x" * length + b"\r\n"
