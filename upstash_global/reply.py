"""Replies: plain Python values, and the few shapes that Python has no type for.

| Python                  | RESP3          | RESP2                                  |
|-------------------------|----------------|----------------------------------------|
| bytes, bytearray, str   | bulk string    | bulk string                            |
| int                     | integer        | integer                                |
| float                   | double         | bulk string of its shortest text       |
| Double                  | double         | bulk string, both of the text it holds |
| BigNumber               | big number     | bulk string, both of the text it holds |
| bool                    | boolean        | integer 1 or 0                         |
| None                    | null           | null bulk string                       |
| list, tuple             | array          | array                                  |
| dict                    | map            | array of alternating keys and values   |
| Simple                  | simple string  | simple string                          |
| NULL_ARRAY              | null           | null array                             |
| Set                     | set            | array                                  |
| Pairs                   | array of pairs | flat array                             |
| Named                   | map            | array of pairs                         |
| Verbatim                | verbatim text  | bulk string                            |
| Attributed              | attributes, then its `reply` | its `reply`              |
| ByProtocol              | its `resp3`    | its `resp2`                            |
| Push                    | push           | array                                  |
| CommandError            | error          | error                                  |
| NO_REPLY                | nothing is sent| nothing is sent                        |

Only `protocol/` knows how they look on a wire. `pack` and `unpack` carry them between nodes (a forwarded write's
answer) without losing a shape.
"""

from typing import Any, Final

import msgpack

from upstash_global.errors import CommandError

MAX_REPLY_BYTES: Final = 576 << 20  # of one reply on a wire: the longest string, and something beside it
LEFT_OUT: Final = CommandError("UNKNOWN", "it ran, but its reply is too long to be sent")


class Simple:
    """A simple string: a status such as OK, PONG or QUEUED."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Simple) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Simple({self.text!r})"


class Double:
    """A double whose text is not the shortest one: GEOPOS answers 17 decimals."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Double) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Double({self.text!r})"


class BigNumber:
    """A whole number of any length, as a script returns it: the text is the script's, not ours."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text.replace(b"\r", b" ").replace(b"\n", b" ")  # RESP3 ends it at the line's end

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BigNumber) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"BigNumber({self.text!r})"


class Items:
    """What Set, Pairs, Named and Push share: a list under another name."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Items) and other.items == self.items

    def __hash__(self) -> int:
        return hash(len(self.items))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.items!r})"


class Set(Items):
    """Members without order, as SMEMBERS answers."""


class Pairs(Items):
    """A list of (name, value) tuples, flat in RESP2 and nested in RESP3, as ZRANGE WITHSCORES answers."""


class Named(Items):
    """A list of (name, value) tuples, nested in RESP2 and a map in RESP3, as XREAD answers; a name may come twice."""


class Push(Items):
    """Data that nobody asked for just now: a message of a channel, an invalidation."""


class Verbatim:
    """Text that a client shows as it stands, as INFO answers."""

    __slots__ = ("text", "format")

    def __init__(self, text: bytes, format: str = "txt") -> None:
        self.text = text
        self.format = format

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verbatim) and other.text == self.text and other.format == self.format

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Verbatim({self.text!r})"


class ByProtocol:
    """A reply that RESP3 has in another shape than RESP2, as those of some JSON commands."""

    __slots__ = ("resp2", "resp3")

    def __init__(self, resp2: Any, resp3: Any) -> None:
        self.resp2 = resp2
        self.resp3 = resp3

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByProtocol) and other.resp2 == self.resp2 and other.resp3 == self.resp3

    def __hash__(self) -> int:
        return hash(type(self.resp2))

    def __repr__(self) -> str:
        return f"ByProtocol({self.resp2!r}, {self.resp3!r})"


class Attributed:
    """A reply with remarks about it, which only RESP3 can send; DEBUG PROTOCOL shows how that looks."""

    __slots__ = ("attributes", "reply")

    def __init__(self, attributes: dict[Any, Any], reply: Any) -> None:
        self.attributes = attributes
        self.reply = reply

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attributed) and (other.attributes, other.reply) == (self.attributes, self.reply)

    def __hash__(self) -> int:
        return hash(len(self.attributes))

    def __repr__(self) -> str:
        return f"Attributed({self.attributes!r}, {self.reply!r})"


class Special:
    """A reply that is one of a kind; compare with `is`."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


Reply = Any  # one of the rows of the table above

OK: Final = Simple("OK")
PONG: Final = Simple("PONG")
QUEUED: Final = Simple("QUEUED")
NULL_ARRAY: Final = Special("NULL_ARRAY")
NO_REPLY: Final = Special("NO_REPLY")  # SUBSCRIBE and the like answer by pushes, CLIENT REPLY OFF not at all
PENDING: Final = Special("PENDING")  # the answer comes later, through Session.reply


# msgpack extension codes, part of the forwarding protocol: never renumber.
_SIMPLE: Final = 1
_SET: Final = 2
_PAIRS: Final = 3
_PUSH: Final = 4
_VERBATIM: Final = 5
_SPECIAL: Final = 6
_ERROR: Final = 7
_BIG: Final = 8
_DOUBLE: Final = 9
_NAMED: Final = 10
_BY_PROTOCOL: Final = 11
_BIG_NUMBER: Final = 12
_ATTRIBUTED: Final = 13


def pack(reply: Reply) -> bytes:
    """A reply as bytes for another node."""
    data: bytes = msgpack.packb(reply, default=_pack_special, use_bin_type=True, unicode_errors="surrogateescape")
    return data


def unpack(data: bytes) -> Reply:
    """The reply that `pack` was given; bulk strings come back as bytes."""
    return msgpack.unpackb(
        data, ext_hook=_unpack_special, raw=False, strict_map_key=False, use_list=True, unicode_errors="surrogateescape"
    )


def _pack_special(value: object) -> object:
    if isinstance(value, Simple):
        return msgpack.ExtType(_SIMPLE, value.text.encode())
    if isinstance(value, Double):
        return msgpack.ExtType(_DOUBLE, value.text)
    if isinstance(value, BigNumber):
        return msgpack.ExtType(_BIG_NUMBER, value.text)
    if isinstance(value, Set):
        return msgpack.ExtType(_SET, pack(value.items))
    if isinstance(value, Pairs):
        return msgpack.ExtType(_PAIRS, pack([list(pair) for pair in value.items]))
    if isinstance(value, Named):
        return msgpack.ExtType(_NAMED, pack([list(pair) for pair in value.items]))
    if isinstance(value, Push):
        return msgpack.ExtType(_PUSH, pack(value.items))
    if isinstance(value, Verbatim):
        return msgpack.ExtType(_VERBATIM, pack([value.text, value.format]))
    if isinstance(value, ByProtocol):
        return msgpack.ExtType(_BY_PROTOCOL, pack([value.resp2, value.resp3]))
    if isinstance(value, Attributed):
        return msgpack.ExtType(_ATTRIBUTED, pack([value.attributes, value.reply]))
    if isinstance(value, Special):
        return msgpack.ExtType(_SPECIAL, value.name.encode())
    if isinstance(value, CommandError):
        return msgpack.ExtType(_ERROR, pack([value.code, value.message]))
    if isinstance(value, int):
        return msgpack.ExtType(_BIG, str(value).encode())
    raise TypeError(f"{type(value).__name__} is no reply")


def _unpack_special(code: int, data: bytes) -> Reply:
    if code == _SIMPLE:
        text = data.decode()
        return OK if text == "OK" else Simple(text)
    if code == _SET:
        return Set(unpack(data))
    if code == _PAIRS:
        return Pairs([(name, value) for name, value in unpack(data)])
    if code == _NAMED:
        return Named([(name, value) for name, value in unpack(data)])
    if code == _PUSH:
        return Push(unpack(data))
    if code == _VERBATIM:
        text_and_format = unpack(data)
        return Verbatim(text_and_format[0], text_and_format[1])
    if code == _BY_PROTOCOL:
        resp2, resp3 = unpack(data)
        return ByProtocol(resp2, resp3)
    if code == _SPECIAL:
        return NULL_ARRAY if data == b"NULL_ARRAY" else NO_REPLY
    if code == _ERROR:
        code_and_message = unpack(data)
        return CommandError(code_and_message[0], code_and_message[1])
    if code == _BIG:
        return int(data)
    if code == _DOUBLE:
        return Double(data)
    if code == _ATTRIBUTED:
        attributes, reply = unpack(data)
        return Attributed(attributes, reply)
    if code == _BIG_NUMBER:
        return BigNumber(data)
    raise ValueError(f"unknown reply extension {code}")
