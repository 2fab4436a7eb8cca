"""Payloads in forms that Redis wrote in earlier versions, or writes in later ones, built by hand.

OLDER ones are read by redis-server 7.0 as well, LATER ones are not.
"""

from collections.abc import Callable, Sequence
from typing import Final

from upstash_global.engine.rdb.format import seal
from upstash_global.engine.rdb.listpack import listpack_of
from upstash_global.engine.rdb.writer import write_length, write_string

PAIRS: Final = [b"field", b"value", b"7", b"-300", b"100000", b"x" * 70, b"", b"-9000000000", b"8000000", b"200"]
SCORED: Final = [b"a", b"-inf", b"b", b"-1.5", b"c", b"3", b"7", b"70000", b"e", b"1e300"]


def ziplist(elements: Sequence[bytes]) -> bytes:
    body = b""
    before = 0
    for element in elements:
        entry = (bytes([before]) if before < 254 else b"\xfe" + before.to_bytes(4, "little")) + _ziplist_body(element)
        body += entry
        before = len(entry)
    last = 10 + len(body) - before if elements else 10
    head = (10 + len(body) + 1).to_bytes(4, "little") + last.to_bytes(4, "little") + len(elements).to_bytes(2, "little")
    return head + body + b"\xff"


def _ziplist_body(element: bytes) -> bytes:
    n = len(element)
    if element.lstrip(b"-").isdigit():
        number = int(element)
        if 0 <= number <= 12:
            return bytes([0xF1 + number])
        for head, width in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
            if -(1 << 8 * width - 1) <= number < 1 << 8 * width - 1:
                return bytes([head]) + number.to_bytes(width, "little", signed=True)
    if n < 64:
        return bytes([n]) + element
    if n < 16384:
        return bytes([0x40 | n >> 8, n & 0xFF]) + element
    return b"\x80" + n.to_bytes(4, "big") + element


def zipmap(pairs: Sequence[bytes]) -> bytes:
    body = bytes([len(pairs) // 2])
    for at in range(0, len(pairs), 2):
        n_free = at % 3
        body += (
            bytes([len(pairs[at])]) + pairs[at] + bytes([len(pairs[at + 1]), n_free]) + pairs[at + 1] + b"?" * n_free
        )
    return body + b"\xff"


def payload(kind: int, version: int, *parts: bytes | int) -> bytes:
    """A payload of strings and lengths."""
    out = bytearray([kind])
    for part in parts:
        if isinstance(part, int):
            write_length(out, part)
        else:
            write_string(out, part)
    return seal(out, version)


def _scores(texts: Sequence[bytes]) -> bytes:
    out = bytearray([3])
    write_length(out, len(texts) // 2)
    special = {b"inf": b"\xfe", b"-inf": b"\xff"}
    for at in range(0, len(texts), 2):
        write_string(out, texts[at])
        out += special.get(texts[at + 1], bytes([len(texts[at + 1])]) + texts[at + 1])
    return seal(out, 6)


def _first_streams() -> bytes:
    """A stream as Redis 5 wrote it: no counters, no time of activity."""
    node = listpack_of([b"2", b"1", b"1", b"f", b"0", b"2", b"0", b"0", b"v", b"4",
                        b"3", b"0", b"1", b"gone", b"4", b"0", b"1", b"0", b"2", b"f", b"w", b"g", b"x", b"8"])  # fmt: skip
    out = bytearray(payload(15, 9, 1, (5 << 64).to_bytes(16, "big"), node, 2, 6, 0, 1, b"group", 5, 0, 1)[:-10])
    pending = (5 << 64).to_bytes(16, "big")
    time = (1_700_000_000_000).to_bytes(8, "little")
    out += pending + time
    write_length(out, 3)
    write_length(out, 1)
    write_string(out, b"Alice")
    out += time
    write_length(out, 1)
    out += pending
    return seal(out, 9)


def _consumer_stream() -> bytes:
    """A stream as Redis 7.2 writes it: a consumer that never got anything."""
    node = listpack_of([b"1", b"0", b"1", b"f", b"0", b"2", b"0", b"0", b"v", b"4"])
    body = payload(
        21, 11, 1, (5 << 64).to_bytes(16, "big"), node, 1, 5, 0, 5, 0, 0, 0, 1, 1, b"g", 0, 0, 0, 0, 1, b"Al"
    )
    times = (1_700_000_000_000).to_bytes(8, "little") + (-1).to_bytes(8, "little", signed=True)
    return seal(body[:-10] + times + b"\0", 11)


def _deadlines(make: Callable[[int], list[bytes | int]]) -> bytes:
    """Redis 7.4: field a without a deadline, b with one at 1,700,000,100,000, c with one 5 ms later."""
    earliest = 1_700_000_100_000
    out = bytearray([24])
    out += earliest.to_bytes(8, "little")
    return seal(bytes(out) + payload(0, 12, *make(earliest))[1:-10], 12)


OLDER: Final[dict[str, bytes]] = {
    "list": payload(1, 6, 3, b"a", b"12", b"x" * 100),
    "list ziplist": payload(10, 6, ziplist([*PAIRS, b"y" * 300, b"z" * 20_000, b"1"])),
    "quicklist of ziplists": payload(14, 9, 2, ziplist(PAIRS), ziplist([b"tail"])),
    "set of integers": payload(2, 6, 3, b"1", b"2", b"-70000"),
    "set": payload(2, 6, 3, b"1", b"two", b"-70000"),
    "zset text": _scores(SCORED),
    "zset ziplist": payload(12, 6, ziplist(SCORED)),
    "hash": payload(4, 6, len(PAIRS) // 2, *PAIRS),
    "hash zipmap": payload(9, 2, zipmap(PAIRS)),
    "hash ziplist": payload(13, 6, ziplist(PAIRS)),
    "stream of Redis 5": _first_streams(),
    "plain node": payload(18, 10, 2, 1, b"alone", 2, listpack_of([b"a", b"b"])),
}
LATER: Final[dict[str, bytes]] = {
    "set listpack": payload(20, 11, listpack_of([b"a", b"2", b"c"])),
    "stream of Redis 7.2": _consumer_stream(),
    "hash with deadlines": _deadlines(lambda at: [3, 0, b"a", b"1", 1, b"b", b"2", 6, b"c", b"3"]),
    "hash listpack with deadlines": seal(
        bytearray([25]) + (1_700_000_100_000).to_bytes(8, "little")
        + payload(0, 12, listpack_of([b"b", b"2", b"1700000100000", b"c", b"3", b"1700000100005", b"a", b"1", b"0"]))[1:-10],
        12,
    ),
}  # fmt: skip
