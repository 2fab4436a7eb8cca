"""Footprints: what a cache outside of the node may believe about reads and entries."""

import pytest

from tests.engine.bench import Bench, Words, argv_of
from tests.engine.examples import EXAMPLES
from tests.engine.test_replay import play
from upstash_global.engine.footprint import WHOLE_KEYSPACE, keys_changed, keys_named, keys_read, true_until
from upstash_global.engine.table import BLOCKING, READONLY, VOLATILE, all_rows
from upstash_global.errors import CommandError

KEYSPACE = [
    "MSET s 12 s2 13",
    "HSET h f v g w",
    "RPUSH l a b c",
    "SADD t 1 2 3",
    "SADD t2 2 3",
    "ZADD z 1 a 2 b",
    "ZADD z2 2 b",
    "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "XADD x 1-1 f v",
    "XGROUP CREATE x group 0",
    'JSON.SET j $ \'{"a":[1,2],"b":"text","c":{}}\'',
    "SET other 1",
]

READS = [
    "BITCOUNT s",
    "BITFIELD_RO s GET u8 0",
    "BITPOS s 1",
    "DBSIZE",
    "DIGEST s",
    "DUMP l",
    "EXISTS s missing",
    "EXPIRETIME s",
    "GEODIST geo Palermo Catania",
    "GEOHASH geo Palermo",
    "GEOPOS geo Palermo",
    "GEORADIUSBYMEMBER_RO geo Palermo 200 km",
    "GEORADIUS_RO geo 15 37 200 km",
    "GEOSEARCH geo FROMLONLAT 15 37 BYRADIUS 200 km ASC",
    "GET s",
    "GET missing",
    "GETBIT s 3",
    "GETRANGE s 0 0",
    "HEXISTS h f",
    "HEXPIRETIME h FIELDS 1 f",
    "HGET h f",
    "HGETALL h",
    "HKEYS h",
    "HLEN h",
    "HMGET h f g",
    "HPEXPIRETIME h FIELDS 1 f",
    "HSTRLEN h f",
    "HVALS h",
    "JSON.ARRINDEX j $.a 2",
    "JSON.ARRLEN j $.a",
    "JSON.DEBUG MEMORY j",
    "JSON.GET j",
    "JSON.MGET j missing $.a",
    "JSON.OBJKEYS j",
    "JSON.OBJLEN j",
    "JSON.RESP j",
    "JSON.STRLEN j $.b",
    "JSON.TYPE j $.a",
    "KEYS *",
    "LCS s s2",
    "LINDEX l 0",
    "LLEN l",
    "LPOS l b",
    "LRANGE l 0 -1",
    "MEMORY USAGE s",
    "MGET s s2 missing",
    "OBJECT ENCODING s",
    "OBJECT REFCOUNT s",
    "PEXPIRETIME s",
    "SCAN 0",
    "SCARD t",
    "SDIFF t t2",
    "SINTER t t2",
    "SINTERCARD 2 t t2",
    "SISMEMBER t 1",
    "SMEMBERS t",
    "SMISMEMBER t 1 9",
    "STRLEN s",
    "SUBSTR s 0 0",
    "SUNION t t2",
    "TYPE z",
    "XINFO GROUPS x",
    "XINFO STREAM x",
    "XLEN x",
    "XRANGE x - +",
    "XREVRANGE x + -",
    "ZCARD z",
    "ZCOUNT z 1 2",
    "ZDIFF 2 z z2",
    "ZINTER 2 z z2",
    "ZINTERCARD 2 z z2",
    "ZLEXCOUNT z - +",
    "ZMSCORE z a missing",
    "ZRANGE z 0 -1",
    "ZRANGEBYLEX z - +",
    "ZRANGEBYSCORE z 1 2",
    "ZRANK z a",
    "ZREVRANGE z 0 -1",
    "ZREVRANGEBYLEX z + -",
    "ZREVRANGEBYSCORE z 2 1",
    "ZREVRANK z a",
    "ZSCORE z a",
    "ZUNION 2 z z2",
]


def filled() -> Bench:
    bench = Bench()
    for line in KEYSPACE:
        assert not isinstance(bench.run(line), CommandError), line
    return bench


def shown(bench: Bench, words: Words) -> str:
    reply = bench.run(words)
    assert not isinstance(reply, CommandError), words
    return repr(reply)


def test_every_read_that_may_be_kept_has_an_example() -> None:
    kept = {
        row.name
        for row in all_rows()
        if row.handler is not None  # a command about the keyspace
        and row.flags & READONLY
        and not row.flags & (VOLATILE | BLOCKING)
        and not row.needs_leader
    }
    rows = {row.name for row in all_rows()}
    named = {" ".join(line.split()[:2]) if " ".join(line.split()[:2]) in rows else line.split()[0] for line in READS}
    assert kept == named


@pytest.mark.parametrize("line", READS)
def test_a_reply_depends_on_nothing_but_its_keys(line: str) -> None:
    """Remove every other key, and let time pass: the same reply."""
    bench = filled()
    keys = keys_read(argv_of(line))
    assert keys is not None
    before = shown(bench, line)
    bench.later(10_000)
    if keys != WHOLE_KEYSPACE:
        for other in set(bench.engine.keyspace.values) - set(keys):
            bench.run("DEL", other)
    assert shown(bench, line) == before


@pytest.mark.parametrize(
    "line",
    [
        "SET k v",
        "TTL k",
        "RANDOMKEY",
        "SRANDMEMBER s",
        "SORT_RO l BY w_*",
        "XPENDING x g - + 10",
        "EVAL_RO 'return 1' 0",
    ]
    + ["XREAD BLOCK 0 STREAMS x $", "PFCOUNT h", "GET", "NOSUCH k", "PING", "CLIENT ID", "TIME", "LASTSAVE"],
)
def test_what_is_not_a_plain_read_is_never_kept(line: str) -> None:
    assert keys_read(argv_of(line)) is None


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_keys_that_an_entry_changes_are_found_in_its_commands(name: str) -> None:
    for example in EXAMPLES[name]:
        bench = Bench(seed=1)
        play(bench, example)
        effects = bench.effects
        if effects is None:  # rows of the log alone: their keys are those of the entry itself
            continue
        found = keys_changed(effects.commands)
        if found is None:
            assert effects.flushed or not effects.touched, f"{example} changes keys that the table does not name"
        else:
            assert not effects.flushed and set(effects.touched) <= set(found), example


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_command_changes_no_key_that_it_does_not_name(name: str) -> None:
    if name.startswith("_"):
        return  # a row of the log, which no client sends
    for example in EXAMPLES[name]:
        bench = Bench(seed=1)
        play(bench, example)
        effects, named = bench.effects, keys_named(argv_of(example[-1]))
        assert effects is not None
        if named is not None:
            assert not effects.flushed and set(effects.touched) <= set(named), example


@pytest.mark.parametrize("line", READS)
def test_a_read_names_the_keys_that_its_reply_depends_on(line: str) -> None:
    assert keys_named(argv_of(line)) == (keys_read(argv_of(line)) or None)


@pytest.mark.parametrize(
    "line",
    ["EVAL 'return 1' 1 k", "FCALL_RO f 1 k", "SORT l BY w_*", "SORT_RO l", "FLUSHALL", "RANDOMKEY", "SCRIPT LOAD x"],
)
def test_what_may_touch_more_than_it_names_is_about_every_key(line: str) -> None:
    assert keys_named(argv_of(line)) is None


@pytest.mark.parametrize("line", ["PING", "TIME", "CLIENT ID", "PUBLISH channel text", "GET", "NOSUCH k", "MULTI"])
def test_what_is_about_no_data_names_no_key(line: str) -> None:
    assert keys_named(argv_of(line)) == []


def test_an_entry_that_is_not_known_here_changes_everything() -> None:
    assert keys_changed([[b"SET", b"a", b"1"], [b"_FUTURE", b"b"]]) is None
    assert keys_changed([[b"FLUSHALL"]]) is None


def test_an_entry_about_users_changes_everything() -> None:
    """What was answered to a token may no longer be its to read."""
    assert keys_changed([[b"_USER", b"reader", b"on"]]) is None
    assert keys_changed([[b"_DELUSER", b"reader"]]) is None


def test_a_message_or_a_new_script_changes_nothing() -> None:
    assert keys_changed([[b"PUBLISH", b"channel", b"text"], [b"_SCRIPT", b"return 1"]]) == []


def test_a_reply_stays_true_until_the_earliest_deadline_of_its_keys() -> None:
    bench = Bench()
    now = bench.now_ms
    for line in ["SET a 1 PX 5000", "SET b 1 PX 9000", "SET c 1", "HSET h f 1 g 2", "HPEXPIRE h 7000 FIELDS 1 f"]:
        bench.run(line)
    keyspace = bench.engine.keyspace
    assert true_until(keyspace, [b"c"], now) == -1
    assert true_until(keyspace, [b"c", b"b", b"a"], now) == now + 5000
    assert true_until(keyspace, [b"h"], now) == now + 7000
    assert true_until(keyspace, WHOLE_KEYSPACE, now) == now + 5000


def test_a_key_that_is_hidden_already_stays_hidden() -> None:
    bench = Bench()
    bench.run("SET a 1 PX 5000")
    bench.later(5000)
    assert true_until(bench.engine.keyspace, [b"a"], bench.now_ms) == -1
