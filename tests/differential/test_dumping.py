"""Values travel between ours and a real redis-server by DUMP and RESTORE, in both directions, and arrive as they were.

Goal: whatever a server can hold can be moved. Method: random writes of a family fill the oracle; each of its keys is
restored here and compared by what commands show; then ours is restored there, over the original, and compared again.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.differential.duel import CONTENT
from tests.differential.families import FAMILIES, lines_of, mixture_of
from tests.differential.grammar import KEYS, Maker, parse
from tests.differential.normalise import same
from tests.differential.sides import EngineSide, Oracle, ServerSide, SmallLimits
from tests.differential.wire import Tagged
from tests.engine.payloads import OLDER

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]

OK = Tagged("simple", b"OK")
DUMPED_FAMILIES = ["strings", "hashes", "lists", "sets", "sorted-sets", "bitmaps", "streams", "geo", "hyperloglogs"]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    directory: Path = tmp_path_factory.mktemp("oracle")
    with Oracle(directory) as running:
        yield running


def content_of(key: bytes) -> list[list[bytes]]:
    return [[key if word == "{}" else word.encode() for word in line.split()] for line in CONTENT]


def differences(ours: EngineSide, theirs: ServerSide, key: bytes) -> list[str]:
    lines = content_of(key)
    answers = zip(lines, ours.run(lines), theirs.run(lines), strict=True)
    return [f"{argv}: ours {mine}, redis {other}" for argv, mine, other in answers if not same(argv, mine, [other])]


def travel(ours: EngineSide, theirs: ServerSide, key: bytes) -> list[str]:
    """Move a key of the oracle here and back; it moves onto itself first, which may change its encoding there, too."""
    payload, left_ms = theirs.run([[b"DUMP", key], [b"PTTL", key]])
    if payload is None:
        return []
    time_to_live = b"%d" % max(0, left_ms)
    assert theirs.run([[b"RESTORE", key, time_to_live, payload, b"REPLACE"]]) == [OK]
    assert ours.run([[b"RESTORE", key, time_to_live, payload]]) == [OK], payload
    found = differences(ours, theirs, key)
    own_payload = ours.run([[b"DUMP", key]])[0]
    assert theirs.run([[b"RESTORE", key, time_to_live, own_payload, b"REPLACE"]]) == [OK], own_payload
    return found + differences(ours, theirs, key)


@pytest.mark.parametrize("compression", [b"yes", b"no"])
@pytest.mark.parametrize("family", DUMPED_FAMILIES)
def test_values_of_redis_restore_here_and_ours_there(
    oracle: Oracle, family: str, compression: bytes, seed: int
) -> None:
    random = Random(f"{family} {seed}")
    maker = Maker(random)
    syntaxes = [parse(line) for line in [*lines_of(FAMILIES[family]) * 3, *mixture_of(family)]]
    ours, theirs = EngineSide(2), oracle.connect(2)
    try:
        theirs.run([[b"CONFIG", b"SET", b"rdbcompression", compression]])
        for number in range(12):
            theirs.reset()
            ours.reset()
            theirs.run([maker.line(random.choice(syntaxes)) for _ in range(120)])
            small = SmallLimits(ours, theirs)
            if number % 2:
                small.__enter__()
            try:
                for key in KEYS:
                    assert travel(ours, theirs, key) == []
            finally:
                small.__exit__()
            assert ours.replica_agrees()
    finally:
        theirs.close()


LARGE = {
    "a compressible string": [[b"SET", b"k", b"ab" * 50_000]],
    "a string of one letter": [[b"SET", b"k", b"x" * 100_000]],
    "a long quicklist": [[b"RPUSH", b"k", *[b"%d" % n if n % 3 else b"element %d" % n for n in range(9_000)]]],
    "a list with large elements": [[b"RPUSH", b"k", b"a" * 9_000, b"b", b"c" * 70_000, b"d" * 20_000, b"5"]],
    "a large hash": [[b"HSET", b"k", *[b"%d" % n for n in range(2_000)]]],
    "a hash with long values": [[b"HSET", b"k", b"f", b"v" * 5_000]],
    "a set of large integers": [[b"SADD", b"k", *[b"%d" % (n << 40) for n in range(-200, 200)]]],
    "a set of 600 integers": [[b"SADD", b"k", *[b"%d" % n for n in range(600)]]],
    "a large sorted set": [[b"ZADD", b"k", *[b"%d" % n for n in range(1_000)], b"inf", b"z", b"-inf", b"y"]],
    "integers of every width": [
        [b"RPUSH", b"k", *[b"%d" % (sign * (1 << bits) + n) for bits in range(63) for sign in (1, -1) for n in (-1, 0, 1)]]
    ],
    "strings of every width": [[b"RPUSH", b"k", *[b"s" * n for n in (0, 1, 63, 64, 127, 128, 4_095, 4_096, 16_382, 16_383)]]],
    "a long stream": [
        *[[b"XADD", b"k", b"%d-%d" % (5 + n // 50, n % 50), b"f", b"%d" % n, b"g", b"v"] for n in range(500)],
        *[[b"XADD", b"k", b"%d-%d" % (90 + n, 100 - n), b"field %d" % (n % 3), b"x" * n] for n in range(100)],
        [b"XDEL", b"k", b"5-0", b"6-7", b"6-8", b"95-95"],
        [b"XGROUP", b"CREATE", b"k", b"g", b"0"],
        [b"XREADGROUP", b"GROUP", b"g", b"Alice", b"COUNT", b"200", b"STREAMS", b"k", b">"],
        [b"XREADGROUP", b"GROUP", b"g", b"bob", b"COUNT", b"50", b"STREAMS", b"k", b">"],
        [b"XACK", b"k", b"g", b"5-1", b"5-2"],
        [b"XDEL", b"k", b"5-5"],
        [b"XGROUP", b"CREATE", b"k", b"h", b"6-3"],
    ],
    "a stream that is empty": [[b"XADD", b"k", b"MAXLEN", b"0", b"7-1", b"f", b"v"], [b"XGROUP", b"CREATE", b"k", b"g", b"$"]],
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_large_values_travel(oracle: Oracle, name: str) -> None:
    ours, theirs = EngineSide(2), oracle.connect(2)
    try:
        theirs.run([[b"CONFIG", b"SET", b"rdbcompression", b"yes"], [b"FLUSHALL"]])
        theirs.run(LARGE[name])
        assert travel(ours, theirs, b"k") == []
    finally:
        theirs.close()


@pytest.mark.parametrize("name", ["strings", "lists"])
def test_a_dump_has_the_bytes_of_redis(oracle: Oracle, name: str, seed: int) -> None:
    """Without compression, where the order of elements is part of the value and floats are not (7.0 prints them longer)."""
    random = Random(f"{name} {seed}")
    maker = Maker(random)
    syntaxes = [parse(line) for line in lines_of(FAMILIES[name])]
    ours, theirs = EngineSide(2), oracle.connect(2)
    try:
        theirs.run([[b"CONFIG", b"SET", b"rdbcompression", b"no"], [b"FLUSHALL"]])
        theirs.run([maker.line(random.choice(syntaxes)) for _ in range(200)])
        for key in KEYS:
            payload = theirs.run([[b"DUMP", key]])[0]
            if payload is not None and ours.run([[b"RESTORE", key, b"0", payload]]) == [OK]:
                assert ours.run([[b"DUMP", key]]) == [payload]
    finally:
        theirs.close()


@pytest.mark.parametrize("name", OLDER)
def test_older_forms_restore_as_in_redis(oracle: Oracle, name: str) -> None:
    ours, theirs = EngineSide(2), oracle.connect(2)
    try:
        for side in (ours, theirs):
            side.reset()
            assert side.run([[b"RESTORE", b"k", b"0", OLDER[name]]]) == [OK]
        assert differences(ours, theirs, b"k") == []
    finally:
        theirs.close()
