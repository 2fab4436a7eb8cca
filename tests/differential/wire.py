"""RESP as this test reads it: an own small parser, so that both sides are judged by a third.

Decoded replies keep every shape that a client can tell apart: a null array is not a null, a double keeps its text.
"""

import socket
from contextlib import suppress
from typing import Any, Final

Reply = Any
TIMEOUT_S: Final = 60


class Tagged:
    """A reply whose shape Python has no type for, or whose text matters."""

    __slots__ = ("shape", "content")

    def __init__(self, shape: str, content: Any) -> None:
        self.shape = shape
        self.content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tagged) and (self.shape, self.content) == (other.shape, other.content)

    def __hash__(self) -> int:
        return hash(self.shape)

    def __repr__(self) -> str:
        return f"{self.shape}({self.content!r})"


NULL_ARRAY: Final = Tagged("null array", None)


class Incomplete(Exception):
    """The reply goes on in bytes that have not come yet."""


def request(argv: list[bytes]) -> bytes:
    parts = [b"*%d\r\n" % len(argv)]
    for word in argv:
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def decode(data: bytes | bytearray, at: int) -> tuple[Reply, int]:
    """The reply that starts at `at`, and where the next one starts. Raises Incomplete."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise Incomplete
    kind = data[at : at + 1]
    line = bytes(data[at + 1 : end])
    at = end + 2
    if kind == b"$":
        if line == b"-1":
            return None, at
        end = at + int(line)
        if len(data) < end + 2:
            raise Incomplete
        assert data[end : end + 2] == b"\r\n", "a bulk string does not end where it said"
        return bytes(data[at:end]), end + 2
    if kind == b":":
        return int(line), at
    if kind == b"+":
        return Tagged("simple", line), at
    if kind == b"-":
        return Tagged("error", line.decode("utf-8", "replace")), at
    if kind == b"*":
        if line == b"-1":
            return NULL_ARRAY, at
        return _items(data, at, int(line))
    if kind == b"_":
        return None, at
    if kind == b",":
        return Tagged("double", line), at
    if kind == b"#":
        return line == b"t", at
    if kind == b"%":
        flat, at = _items(data, at, 2 * int(line))
        return Tagged("map", [[flat[i], flat[i + 1]] for i in range(0, len(flat), 2)]), at
    if kind == b"~":
        items, at = _items(data, at, int(line))
        return Tagged("set", items), at
    if kind == b">":
        items, at = _items(data, at, int(line))
        return Tagged("push", items), at
    if kind == b"=":
        end = at + int(line)
        if len(data) < end + 2:
            raise Incomplete
        return Tagged("verbatim", bytes(data[at:end])), end + 2
    if kind == b"(":
        return Tagged("big number", line), at
    raise AssertionError(f"no reply starts with {kind!r}")


def _items(data: bytes | bytearray, at: int, n: int) -> tuple[list[Reply], int]:
    items = []
    for _ in range(n):
        item, at = decode(data, at)
        items.append(item)
    return items, at


class Connection:
    """One client connection to a server, used in pipelines."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a command leaves as it is sent
        self.buffer = bytearray()

    def pipeline(self, lines: list[list[bytes]]) -> list[Reply]:
        self.socket.sendall(b"".join([request(argv) for argv in lines]))
        replies: list[Reply] = []
        at = 0
        while len(replies) < len(lines):
            try:
                reply, at = decode(self.buffer, at)
                replies.append(reply)
            except Incomplete:
                del self.buffer[:at]
                at = 0
                received = self.socket.recv(1 << 20)
                assert received, "the server closed the connection"
                self.buffer += received
        del self.buffer[:at]
        return replies

    def send(self, argv: list[bytes]) -> None:
        """One command, without waiting for what it leads to; a closed connection shows when it is read."""
        with suppress(OSError):
            self.socket.sendall(request(argv))

    def read_what_is_there(self) -> bool:
        """Take into `buffer` what has arrived by now; False once the server has closed the connection."""
        self.socket.setblocking(False)
        try:
            while True:
                received = self.socket.recv(1 << 20)
                if not received:
                    return False
                self.buffer += received
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        finally:
            self.socket.settimeout(TIMEOUT_S)

    def read_more(self) -> bool:
        """Wait for bytes and take them into `buffer`; False once the server has closed the connection."""
        received = self.socket.recv(1 << 20)
        self.buffer += received
        return bool(received)

    def close(self) -> None:
        self.socket.close()
