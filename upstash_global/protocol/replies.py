"""The client's side of RESP: bytes of a server become replies again, in the shapes of reply.py.

For our command line and our tests, so it prefers being plain to being fast: what is incomplete is read again from its
beginning when more has come. Of the table in reply.py, RESP2 has lost the names (a map is a flat array, a double is
text), and both versions read Pairs as an array of arrays.
"""

from typing import Final

from upstash_global.errors import CommandError, ProtocolError
from upstash_global.reply import NULL_ARRAY, OK, Push, Reply, Set, Simple, Verbatim

MAX_DEPTH: Final = 128


class ReplyParser:
    """Turns the bytes of one server connection into replies; errors are CommandError values, not raised.

    Raises ProtocolError when the bytes are no RESP; the connection is of no use then.
    """

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that `data` completes, in order."""
        self._data += data
        self._at = 0
        replies: list[Reply] = []
        begin = 0
        try:
            while begin < len(self._data):
                replies.append(self._read(0))
                begin = self._at
        except _Incomplete:
            pass  # read again from `begin`, when more has come
        self._data = self._data[begin:]
        return replies

    def _read(self, depth: int) -> Reply:
        if depth > MAX_DEPTH:
            raise ProtocolError("reply is nested too deeply")
        line = self._line()
        kind, text = line[:1], line[1:]
        if kind == b"+":
            return OK if text == b"OK" else Simple(_words(text))
        if kind == b"-":
            return _error(text)
        if kind in (b":", b"("):
            return _number(text)
        if kind == b"$":
            return self._bulk(text)
        if kind == b"*":
            return self._items(text, depth) if text != b"-1" else NULL_ARRAY
        if kind == b"_":
            return None
        if kind == b"#":
            return text == b"t"
        if kind == b",":
            return _double(text)
        if kind == b"%":
            pairs = [(_key(self._read(depth + 1)), self._read(depth + 1)) for _ in range(_count(text))]
            return dict(pairs)
        if kind == b"~":
            return Set(self._items(text, depth))
        if kind == b">":
            return Push(self._items(text, depth))
        if kind == b"=":
            verbatim = self._bulk(text) or b""
            return Verbatim(verbatim[4:], _words(verbatim[:3]))
        if kind == b"!":
            return _error(self._bulk(text) or b"")
        raise ProtocolError(f"unknown reply type {_words(kind)!r}")

    def _line(self) -> bytes:
        end = self._data.find(b"\r\n", self._at)
        if end < 0:
            raise _Incomplete
        line = self._data[self._at : end]
        self._at = end + 2
        return line

    def _bulk(self, length: bytes) -> bytes | None:
        if length == b"-1":
            return None
        end = self._at + _count(length)
        if end + 2 > len(self._data):
            raise _Incomplete
        data = self._data[self._at : end]
        if self._data[end : end + 2] != b"\r\n":
            raise ProtocolError("bulk string does not end where its length says")
        self._at = end + 2
        return data

    def _items(self, count: bytes, depth: int) -> list[Reply]:
        return [self._read(depth + 1) for _ in range(_count(count))]


class _Incomplete(Exception):
    """The reply goes on in bytes that have not come yet."""


def _error(text: bytes) -> CommandError:
    code, _, message = _words(text).partition(" ")
    return CommandError(code, message)


def _number(text: bytes) -> int:
    if not text.removeprefix(b"-").isdigit():
        raise ProtocolError(f"{_words(text)!r} is not a number")
    return int(text)


def _count(text: bytes) -> int:
    if not text.isdigit():
        raise ProtocolError(f"{_words(text)!r} is not a length")
    return int(text)


def _double(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        raise ProtocolError(f"{_words(text)!r} is not a double") from None


def _key(reply: Reply) -> Reply:
    """A reply as the key of a dict; a list becomes a tuple."""
    return tuple(_key(item) for item in reply) if isinstance(reply, list) else reply


def _words(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
