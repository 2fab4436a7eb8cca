"""DUMP and RESTORE: values as Redis's own bytes, and what is done about bytes that are none.

That redis-server reads ours and we read its own is seen in tests/differential/test_dumping.py.
"""

import random
from typing import Any

import pytest

from tests.engine.bench import Bench
from tests.engine.payloads import LATER, OLDER, payload
from upstash_global.engine.accesses import Accesses
from upstash_global.engine.dump import dump
from upstash_global.engine.encodings import Limits
from upstash_global.engine.rdb.format import VERSION, crc64, seal
from upstash_global.engine.rdb.listpack import listpack_of, read_listpack
from upstash_global.engine.rdb.lzf import expand
from upstash_global.engine.rdb.read import read_value
from upstash_global.engine.rdb.reader import Reader
from upstash_global.engine.rdb.writer import write_length
from upstash_global.errors import CommandError, DumpError
from upstash_global.reply import OK

BAD_FORMAT = CommandError("ERR", "Bad data format")
WRONG_CHECKSUM = CommandError("ERR", "DUMP payload version or checksum are wrong")

STORIES: dict[str, list[str]] = {
    "string": ["SET k hello"],
    "integer": ["SET k 12345"],
    "empty string": ["SET k ''"],
    "list": ["RPUSH k a 1 b -5000 c"],
    "set of integers": ["SADD k 1 3 5"],
    "set": ["SADD k a b 3"],
    "hash": ["HSET k a 1 b two"],
    "sorted set": ["ZADD k 1.5 a -inf b 3 c"],
    "document": ["""JSON.SET k $ '{"a": [1, 2.50, null, "x"], "b": {}}'"""],
    "stream": [
        "XADD k 5-1 f v g w",
        "XADD k 5-2 f x g y",
        "XADD k 7-0 h z",
        "XDEL k 5-2",
        "XGROUP CREATE k one 0",
        "XGROUP CREATE k two 5-1 ENTRIESREAD 1",
        "XREADGROUP GROUP one Alice COUNT 1 STREAMS k >",
        "XREADGROUP GROUP one bob STREAMS k >",
    ],
    "hash with deadlines": ["HSET k a 1 b 2 c 3", "HPEXPIRE k 5000 FIELDS 1 b", "HPEXPIRE k 9000 FIELDS 1 c"],
}


def dumped(*lines: str) -> tuple[Bench, bytes]:
    bench = Bench()
    for line in lines:
        bench.run(line)
    found = bench.run("DUMP k")
    assert type(found) is bytes
    return bench, found


def value_of(bench: Bench, key: bytes = b"k") -> Any:
    return bench.engine.keyspace.values[key]


@pytest.mark.parametrize("name", STORIES)
def test_a_value_comes_back_as_it_was(name: str) -> None:
    bench, found = dumped(*STORIES[name])
    assert bench.run("RESTORE", "copy", 0, found) == OK
    assert bench.run("OBJECT ENCODING copy") == bench.run("OBJECT ENCODING k")
    assert dump(value_of(bench, b"copy")) == dump(value_of(bench))
    assert bench.run("DUMP copy") == found


def test_a_missing_key_has_no_dump() -> None:
    assert Bench().run("DUMP missing") is None


def test_a_time_to_live_counts_from_the_entry() -> None:
    bench, found = dumped("SET k v")
    bench.run("RESTORE", "relative", 5000, found)
    bench.run("RESTORE", "absolute", bench.now_ms + 5000, found, "ABSTTL")
    bench.run("RESTORE", "none", 0, found, "ABSTTL")
    assert [bench.run(f"PTTL {key}") for key in ("relative", "absolute", "none")] == [5000, 5000, -1]


def test_a_deadline_in_the_past_removes_what_was_replaced() -> None:
    bench, found = dumped("SET k v", "SET other w")
    assert bench.run("RESTORE", "other", 1, found, "ABSTTL", "REPLACE") == OK
    assert bench.entries[-1].commands == [[b"DEL", b"other"]]
    assert bench.run("EXISTS other") == 0


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ("0 PAYLOAD", "BUSYKEY Target key name already exists."),
        ("x PAYLOAD REPLACE", "ERR value is not an integer or out of range"),
        ("-1 PAYLOAD REPLACE", "ERR Invalid TTL value, must be >= 0"),
        ("-1 PAYLOAD", "BUSYKEY Target key name already exists."),
        ("0 PAYLOAD REPLACE IDLETIME -1", "ERR Invalid IDLETIME value, must be >= 0"),
        ("0 PAYLOAD REPLACE FREQ 256", "ERR Invalid FREQ value, must be >= 0 and <= 255"),
        ("0 PAYLOAD REPLACE IDLETIME 1 FREQ 2", "ERR syntax error"),
        ("0 PAYLOAD REPLACE FREQ", "ERR syntax error"),
        ("0 PAYLOAD nonsense", "ERR syntax error"),
        ("0 short REPLACE", "ERR DUMP payload version or checksum are wrong"),
    ],
)
def test_refusals_are_those_of_redis(options: str, refusal: str) -> None:
    bench, found = dumped("SET k v")
    words = [found if word == "PAYLOAD" else word for word in options.split()]
    assert bench.run("RESTORE", "k", *words).text == refusal


def test_a_damaged_payload_is_found_by_its_checksum() -> None:
    bench, found = dumped("RPUSH k a b c")
    for at in range(len(found)):
        damaged = found[:at] + bytes([found[at] ^ 1]) + found[at + 1 :]
        assert bench.run("RESTORE", "other", 0, damaged) == WRONG_CHECKSUM


def test_a_payload_of_a_later_version_is_refused() -> None:
    assert Bench().run("RESTORE", "k", 0, seal(b"\0\1v", 13)) == WRONG_CHECKSUM
    assert Bench().run("RESTORE", "k", 0, seal(b"\0\1v", 12)) == OK


def test_what_was_used_before_is_known_after() -> None:
    bench, found = dumped("SET k v")
    bench.engine.keyspace.accesses = Accesses(bench.now_ms, counts_uses=False)
    bench.run("RESTORE", "k", 0, found, "REPLACE", "IDLETIME", 100)
    assert bench.run("OBJECT IDLETIME k") == 100
    bench.engine.keyspace.accesses = Accesses(bench.now_ms, counts_uses=True)
    bench.run("RESTORE", "k", 0, found, "REPLACE", "FREQ", 77)
    assert bench.run("OBJECT FREQ k") == 77


# -- forms of other versions ------------------------------------------------------------------------------------------


def test_a_set_of_redis_7_2_is_restored() -> None:
    bench = Bench()
    assert bench.run("RESTORE", "k", 0, LATER["set listpack"]) == OK
    assert bench.run("SMEMBERS k").items == [b"a", b"2", b"c"]
    assert bench.run("OBJECT ENCODING k") == "listpack"


def test_a_consumer_of_redis_7_2_that_never_got_anything_is_restored() -> None:
    bench = Bench()
    assert bench.run("RESTORE", "k", 0, LATER["stream of Redis 7.2"]) == OK
    assert value_of(bench).groups[b"g"].consumers[b"Al"].active_ms == -1


@pytest.mark.parametrize("name", ["hash with deadlines", "hash listpack with deadlines"])
def test_deadlines_of_fields_are_those_of_redis_7_4(name: str) -> None:
    bench = Bench()
    assert bench.run("RESTORE", "k", 0, LATER[name]) == OK
    assert bench.run("HPEXPIRETIME k FIELDS 3 a b c") == [-1, 1_700_000_100_000, 1_700_000_100_005]
    bench.later(100_001)
    assert bench.run("RESTORE", "later", 0, LATER[name]) == OK
    assert sorted(bench.run("HKEYS later")) == [b"a", b"c"]


def test_a_hash_whose_fields_have_expired_is_no_key() -> None:
    bench, found = dumped("HSET k a 1", "HPEXPIRE k 5000 FIELDS 1 a")
    bench.later(6_000)
    assert bench.run("RESTORE", "copy", 0, found) == OK
    assert bench.run("EXISTS copy") == 0
    assert bench.effects is None


def test_a_document_is_dumped_as_redisjson_does() -> None:
    """Module id of `ReJSON-RL` version 3, one string, end. Redis without RedisJSON answers Bad data format."""
    _, found = dumped("JSON.SET k $ '[1, 2]'")
    assert found[:-10] == b"\x07\x81" + (0x45E25238DF912C03).to_bytes(8, "big") + b"\x05\x05[1,2]\x00"


# -- hostile payloads -------------------------------------------------------------------------------------------------


def test_the_checksum_is_that_of_redis() -> None:
    assert crc64()(b"123456789") == 0xE9C6D914C4B8D9CA


def test_compressed_data_may_repeat_itself() -> None:
    assert expand(b"\x00a\xe0\x05\x00", 15) == b"a" * 15
    for data, size in [(b"\x00a\xe0\x05\x00", 14), (b"\x20\x05", 3), (b"\x05ab", 6), (b"\xe0", 9), (b"", 1)]:
        with pytest.raises(DumpError):
            expand(data, size)


def test_listpacks_hold_integers_and_strings_of_every_width() -> None:
    numbers = [b"%d" % (sign * (1 << bits) + n) for bits in range(63) for sign in (1, -1) for n in (-1, 0, 1)]
    strings = [b"x" * n for n in (0, 63, 64, 4095, 4096, 16382, 16383, 70000)]
    elements = [*numbers, *strings, b"-0", b"01", b"9223372036854775808"]
    packed = listpack_of(elements)
    assert read_listpack(Reader(packed, len(packed), 1 << 30), packed) == elements


def compressed(n_bytes: int, size: int) -> bytes:
    """A string that says it expands to `size`, from `n_bytes` bytes of repetitions."""
    out = bytearray(b"\0\xc3")
    data = b"\x00\x00" + b"\xe0\xff\x00" * (n_bytes // 3)
    write_length(out, len(data))
    write_length(out, size)
    return seal(bytes(out) + data, VERSION)


HUGE = {
    "a string of 2**63 bytes": seal(b"\0\x81" + b"\x7f" + b"\xff" * 7, VERSION),
    "a list of 2**32 elements": seal(b"\1\x80\xff\xff\xff\xff", VERSION),
    "a compressed string that is no such": compressed(3_000, 1 << 40),
    "a stream of 2**60 nodes": seal(b"\x15\x81\x10" + bytes(7) + b"abc", VERSION),
    "a listpack that says 4 GiB": payload(16, VERSION, b"\xff\xff\xff\xff\x02\x00abc\xff"),
    "an intset that says 2**32": payload(11, VERSION, b"\x08\0\0\0\xff\xff\xff\xff" + bytes(8)),
    "a module of another name": seal(b"\7\1\0", VERSION),
    "deep JSON": seal(b"\7\x81" + bytes(8) + b"\5\0\0", VERSION),
    "an empty list": payload(18, VERSION, 0),
    "a list with an empty node": payload(18, VERSION, 1, 1, b""),
    "an empty listpack": payload(16, VERSION, listpack_of([])),
    "a hash of an odd number of elements": payload(16, VERSION, listpack_of([b"a"])),
    "a member twice": payload(2, VERSION, 2, b"a", b"a"),
    "a score that is no number": payload(17, VERSION, listpack_of([b"a", b"nan"])),
    "nothing": seal(b"", VERSION),
    "an unknown kind": seal(b"\x63abc", VERSION),
}


@pytest.mark.parametrize("name", HUGE)
def test_what_cannot_be_is_bad_data_before_memory_is_spent(name: str) -> None:
    bench = Bench()
    assert bench.run("RESTORE", "k", 0, HUGE[name]) == BAD_FORMAT
    assert bench.entries == []


@pytest.mark.parametrize("name", ["a long string", "many elements", "entries of a stream that share their names"])
def test_a_value_is_paid_for_before_it_is_made(name: str) -> None:
    """A reader of 20,000 bytes stands for one of 512 MiB, which is RESTORE's."""
    names = [b"n" * 100, b"0"]
    entries = [b"2", b"0", b"1", b"v", b"4"] * 100
    node = listpack_of([b"100", b"0", b"1", *names, *entries])
    bodies = {
        "a long string": compressed(900, 70_000),
        "many elements": payload(18, VERSION, 1, 2, listpack_of([b"7"] * 400)),
        "entries of a stream that share their names": payload(19, VERSION, 1, bytes(16), node),
    }
    body = bodies[name][:-10]
    with pytest.raises(DumpError, match="too large"):
        read_value(Reader(body, len(body), 20_000), 0, Limits())


def test_mutated_payloads_are_refused_or_give_a_value_that_works(seed: int, mutations: int) -> None:
    """Checksums are made right again, so that the reader itself is what stops them."""
    chance = random.Random(seed)
    bodies = [dumped(*story)[1][:-10] for story in STORIES.values()]
    bodies += [each[:-10] for each in (*OLDER.values(), *LATER.values(), compressed(30, 2_000))]
    n_accepted = 0
    for number in range(mutations):
        body = bytearray(chance.choice(bodies))
        for _ in range(chance.choice([1, 1, 1, 2, 5])):
            mutate(chance, body)
        bench = Bench()
        found = seal(body, VERSION)
        reply = bench.run("RESTORE", "k", 0, found)
        assert reply in (OK, BAD_FORMAT), (number, found)
        if bench.entries:
            n_accepted += 1
            for line in [
                "TYPE k",
                "OBJECT ENCODING k",
                "DUMP k",
                "COPY k other",
                "MEMORY USAGE k",
                "XINFO STREAM k FULL",
            ]:
                bench.run(line)
            replica = Bench(seed=2)
            replica.apply(bench.entries)
            assert replica.digest() == bench.digest(), (number, found)
    assert n_accepted


def mutate(chance: random.Random, body: bytearray) -> None:
    at = chance.randrange(len(body)) if body else 0
    luck = chance.random()
    if luck < 0.4 and body:
        body[at] = chance.choice([0, 1, 0x7F, 0x80, 0x81, 0xC3, 0xFE, 0xFF, chance.randrange(256)])
    elif luck < 0.6 and body:
        body[at] ^= 1 << chance.randrange(8)
    elif luck < 0.7:
        del body[at : at + chance.randint(1, 8)]
    elif luck < 0.8:
        body[at:at] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 8)))
    elif luck < 0.9:
        del body[at:]
    else:
        body[at:at] = body[at : at + chance.randint(1, 20)]
