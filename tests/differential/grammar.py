"""Command lines at random, from syntaxes written as Redis's manual writes them.

    SET key value {NX|XX|GET|EX seconds|KEEPTTL}

| in a syntax | in a line                                             |
|-------------|-------------------------------------------------------|
| UPPER       | that word                                             |
| lower       | an argument of that kind, see KINDS                   |
| (a|b)       | one of them                                           |
| [a|b]       | one of them or nothing                                |
| {a|b|c}     | some of them in any order, rarely one of them twice   |
| x...        | x once or several times                               |

Most lines are valid; about one in twelve is spoilt afterwards: a word too few or too many, junk, another order.
"""

import re
from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.engine.payloads import OLDER

Argv = list[bytes]
Node = tuple[str, Any]

OWN_KEYS: Final = [b"k0", b"k1", b"k2", b"k3", b"k4", b"k5"]
FOREIGN_KEYS: Final = [b"x0", b"x1"]  # mostly hold values of other families
LEX_KEYS: Final = [b"l0", b"l1"]  # sorted sets of equal scores: elsewhere Redis leaves ranges by lex undefined
WRONG_KEY: Final = b"s0"  # among LEX_KEYS, but a string
KEYS: Final = [*OWN_KEYS, *FOREIGN_KEYS, *LEX_KEYS, WRONG_KEY, b""]

# The shortest lifetime that is not over before both sides have answered, in the unit of the word or command before it.
SHORTEST: Final = {b"EX": 1_000, b"PX": 1_000_000}
SHORTEST_AFTER_KEY: Final = {
    b"EXPIRE": 1_000, b"SETEX": 1_000, b"HEXPIRE": 1_000, b"PEXPIRE": 1_000_000, b"PSETEX": 1_000_000, b"HPEXPIRE": 1_000_000,
}  # fmt: skip

# Never a large valid negative count: SRANDMEMBER and its like would answer that many members.
JUNK: Final = [
    b"", b"abc", b"1.5", b" 1", b"+1", b"01", b"-0", b"1e3", b"0x10", b"nan", b"inf", b"9223372036854775808",
    b"-9223372036854775809", b"99999999999999999999", b"\x00\xff", b"WITHSCORES", b"COUNT", b"LIMIT", b"(1", b"[a",
]  # fmt: skip
WORDS: Final = [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"aa", b"ab", b"ba", b"B", b"foo", b"bar"]
NUMBERS: Final = [b"0", b"1", b"2", b"3", b"-1", b"-2", b"10", b"42", b"100", b"-7", b"123456"]
ODD_VALUES: Final = [
    b"", b"3.5", b"-1.25", b" 1", b"0x10", b"nan", b"1e5", b"hello world", b"\x00\x01\xff", b"9223372036854775807",
    b"-9223372036854775808", b"9999", b"10000", b"x" * 44, b"x" * 45, b"y" * 64, b"y" * 65, b"z" * 100,
]  # fmt: skip


# Whole ones and damaged ones: empty, of an unknown form, all registers full, too short. None is as short as an embstr,
# which in Redis turns raw when a PF command has only looked at it; in none a PFADD that fails has changed something before.
HYPERLOGLOGS: Final = [
    b"HYLL\1" + bytes(11) + b"\x3f" * 256, b"HYLL\2" + bytes(40), b"HYLL\1", b"HYLL\0" + bytes(12300),
    b"HYLL\0" + bytes(10) + b"\x80" + b"\xff" * 12288, b"HYLL\1" + bytes(10) + b"\x80" + b"\x8b" * 4096,
    b"HYLL\1" + bytes(10) + b"\x80" + b"\xff" * 29, b"hyll\1" + bytes(60),
]  # fmt: skip

PAYLOADS: Final = [OLDER[name] for name in ("list", "set of integers", "zset ziplist", "hash", "plain node")]


def some(good: list[bytes], bad: list[bytes] = JUNK, bad_share: float = 0.03) -> Callable[[Random], bytes]:
    def make(random: Random) -> bytes:
        return random.choice(bad if random.random() < bad_share else good)

    return make


def number_between(low: int, high: int) -> Callable[[Random], bytes]:
    def make(random: Random) -> bytes:
        if random.random() < 0.03:
            return random.choice(JUNK)
        return b"%d" % random.randint(low, high)

    return make


def score(random: Random) -> bytes:
    luck = random.random()
    if luck < 0.7:
        return b"%d" % random.randint(-5, 20)
    if luck < 0.8:
        return repr(round(random.uniform(-10, 10), random.randint(0, 6))).encode()
    if luck < 0.97:
        return random.choice(
            [b"inf", b"-inf", b"+inf", b"INF", b"infinity", b"0", b"-0", b"0.1", b"1e17", b"1e21", b"3e-7", b"1.5e300",
             b"-1e300", b"123456789012345678", b"0.30000000000000004", b".5", b"5.", b"1e3", b"0x10", b"+2"]
        )  # fmt: skip
    return random.choice([b"nan", b"", b"abc", b"1 ", b" 1", b"1e400", b"--1", b"1_0", b"(1", b"NaN"])


def score_bound(random: Random) -> bytes:
    luck = random.random()
    if luck < 0.2:
        return random.choice([b"-inf", b"+inf", b"inf", b"(-inf", b"(inf"])
    return (b"(" if luck < 0.4 else b"") + score(random)


def degrees(limit: float, home: float) -> Callable[[Random], bytes]:
    """A longitude or latitude: mostly near `home`, else anywhere. No two are alike: Redis leaves the order of ties open."""

    def make(random: Random) -> bytes:
        luck = random.random()
        if luck < 0.02:
            return random.choice([*JUNK, b"%.9f" % (limit + 0.1), b"-%.9f" % (limit + 0.1)])
        if luck < 0.08:
            return random.choice([b"-", b""]) + repr(limit - random.random() / 1000).encode()
        return repr(random.uniform(-limit, limit) if luck < 0.4 else home + random.gauss(0, 0.3)).encode()

    return make


def length(random: Random) -> bytes:
    if random.random() < 0.03:
        return random.choice([b"-1", b"abc", b"", b"nan", b"inf", b"1e400", b"0"])
    return repr(10 ** random.uniform(-2, 5.5)).encode()


def stream_id(random: Random) -> bytes:
    """Mostly of an entry that may be there: see `new_id`."""
    luck = random.random()
    if luck < 0.75:
        return b"%d-%d" % (random.choice([3, 4, 5, 5, 5, 5]), random.randint(0, 9))
    if luck < 0.93:
        return random.choice(
            [b"0", b"0-0", b"0-1", b"1", b"5", b"5-3", b"6", b"7-1", b"1-0", b"4-18446744073709551615"]
        )
    if luck < 0.95:
        return random.choice(
            [b"18446744073709551615", b"18446744073709551615-18446744073709551615", b"9223372036854775808-1"]
        )
    return random.choice(ODD_IDS)


def new_id(random: Random) -> bytes:
    """Rises seldom, so that streams grow for a long time under few ids."""
    luck = random.random()
    if luck < 0.7:
        return random.choice([b"3-*", b"4-*", b"5-*", b"5-*", b"5-*"])
    return stream_id(random) if luck < 0.98 else b"*-1"


def range_id(random: Random) -> bytes:
    luck = random.random()
    if luck < 0.3:
        return random.choice(
            [b"-", b"+", b"-", b"+", b"(-", b"(", b"(0-0", b"(18446744073709551615-18446744073709551615"]
        )
    return (b"(" if luck < 0.5 else b"") + stream_id(random)


LAST: Final = b"+"  # XREAD knows it since 7.4
ODD_IDS: Final = [
    b"", b"-", b"+", b"$", b">", b"abc", b"1-", b"-1", b"1-abc", b"1--1", b" 5-1", b"+5-1", b"05-1", b"5-01", b"5- 1", b"5-+1",
    b"5- -1", b"5-1 ", b"5-1-1", b"5.0", b"18446744073709551616", b"5-18446744073709551616", b"5-*", b"5-1\x00x", b"0x5-1",
]  # fmt: skip


def _value(random: Random) -> bytes:
    luck = random.random()
    return random.choice(WORDS if luck < 0.4 else NUMBERS if luck < 0.7 else ODD_VALUES)


# Deadlines lie in the past or far away, and no two are near each other: the two sides read two clocks.
ACL_RULES: Final = [
    *b"on on on off nopass nopass >pw >pw >pw2 <pw resetpass +@all +@all +@all -@all +@read +@write -@write".split(),
    *b"+@string +@keyspace +@pubsub -@dangerous +@transaction +@connection +@scripting -@scripting +@fast +get".split(),
    *b"+set -get -set +mget +acl -acl +acl|whoami -acl|whoami -acl|cat +config|get -config +select|0 +GET".split(),
    *b"+client -client|kill -eval -multi -exec -publish -subscribe ~* ~* allkeys resetkeys ~k* ~k* ~k0 ~k1".split(),
    *b"%R~k* %W~k* %RW~k1 %r~k2 %w~* &* allchannels resetchannels &c* &c0 &news clearselectors reset".split(),
    *b"nocommands allcommands sanitize-payload skip-sanitize-payload".split(),
    *(b"#" + b"0a" * 32, b"!" + b"0a" * 32, b"(+get ~k1)", b"(+@all ~k2 &news)", b"(%R~* +@read)", b"(+@write ~k*)"),
]
ACL_SCRIPTS: Final = [
    b"return redis.call('get', 'k0')", b"return redis.pcall('set', 'k1', 'v')", b"return redis.acl_check_cmd('publish', 'c0', 'm')",
    b"return {redis.acl_check_cmd('get', 'k0'), redis.acl_check_cmd('set', 'k0', 1), redis.acl_check_cmd('config|get', 'x')}",
    b"return redis.acl_check_cmd('nosuch', 'k0')", b"redis.pcall('get', 'k2') return redis.pcall('set', 'k2', 1)",
    b"return redis.pcall('sort', 'k3', 'by', 'x*')", b"return redis.pcall('mget', 'k0', 'k1')",
]  # fmt: skip

KINDS: Final[dict[str, Callable[[Random], bytes]]] = {
    "value": _value,
    "field": some(WORDS, ODD_VALUES, 0.1),
    "member": some([*WORDS, *NUMBERS], ODD_VALUES, 0.08),
    "int": some([*NUMBERS, b"9223372036854775807", b"-9223372036854775808", b"5", b"-3"], JUNK, 0.05),
    "float": some([*NUMBERS, b"0.5", b"-1.25", b"3.0e3", b"0.1", b"1e-5", b"inf"], JUNK, 0.05),
    "longitude": degrees(180, 13.4),
    "latitude": degrees(85.05112878, 38.1),
    "length": length,
    "unit": some([b"m", b"km", b"ft", b"mi", b"km", b"KM"], [b"", b"miles"]),
    "element": lambda random: b"%d" % random.randrange(10 ** random.randint(1, 9)),
    "hyperloglog": lambda random: random.choice(HYPERLOGLOGS),
    "count": number_between(-8, 12),
    "positive": number_between(1, 9),
    "size": number_between(0, 9),
    "index": number_between(-9, 9),
    "offset": some([b"%d" % n for n in range(30)], [b"-1", b"536870912", b"9223372036854775807", b"abc", b"", b"1.5"]),
    "bit_offset": some([b"%d" % n for n in range(100)], [b"-1", b"4294967296", b"abc", b"", b"1.5"]),
    "bit": some([b"0", b"1"], [b"2", b"-1", b"", b"abc"]),
    "field_type": some([b"u8", b"i8", b"u1", b"i5", b"u63", b"i64", b"i16"], [b"u64", b"i65", b"u0", b"x8", b"", b"u"]),
    "field_offset": some([b"0", b"1", b"7", b"8", b"#0", b"#1", b"#3", b"40"], [b"-1", b"#", b"#-1", b"4294967296", b"abc"]),
    "seconds": lambda random: _distance(random, SHORTEST[b"EX"], 10**8),
    "milliseconds": lambda random: _distance(random, SHORTEST[b"PX"], 10**11),
    "at": lambda random: _distance(random, 4_102_444_800, 4_202_444_800),
    "at_ms": lambda random: _distance(random, 4_102_444_800_000, 4_202_444_800_000),
    "stream_id": stream_id,
    "new_id": new_id,
    "range_id": range_id,
    "read_id": some([b">", b">", b"0", b"5-2", b"$"], [id for id in ODD_IDS if id != LAST], 0.1),
    "xread_id": lambda random: next(id for id in iter(lambda: stream_id(random), None) if id != LAST),
    "group_id": some([b"0", b"0", b"$", b"5-1", b"5-3", b"4"], ODD_IDS, 0.1),
    "group": some([b"g", b"g", b"g", b"h"], [b"nosuch", b""], 0.05),
    "consumer": some([b"Alice", b"bob", b"carol"], [b"", b"\xff\x00"], 0.03),
    "ghost": some([b"ghost"], [b"ghost"]),  # who reads without acknowledging, and is gone after that
    "min_idle": some([b"0", b"0", b"100000000", b"-1"], JUNK, 0.05),
    "idle": some([b"0", b"1000000000", b"5000", b"-5"], JUNK, 0.05),
    "entries_count": some([b"0", b"1", b"2", b"5", b"-1", b"100"], [b"-2", *JUNK], 0.05),
    "trim_limit": some([b"0", b"100000"], [b"-1", *JUNK], 0.2),
    "bad_timeout": some([b"abc", b"-1", b"1.5", b""], [b"abc"]),  # a good one would stop the oracle
    "score": score,
    "any_score": lambda random: b"%d" % int(random.uniform(-1.5, 1.5) * 10 ** random.uniform(10, 20)),
    "score_bound": score_bound,
    "lex_bound": some([b"-", b"+", b"[a", b"(a", b"[c", b"(c", b"[f", b"(b", b"[", b"(", b"[1", b"[z"], [b"a", b"", b"-1", b"++"]),
    "lex_key": some(LEX_KEYS, [WRONG_KEY], 0.05),
    "wrong_key": some([WRONG_KEY], [WRONG_KEY]),
    "weight": some([b"1", b"2", b"0", b"-1", b"0.5", b"inf"], [b"nan", b"abc", b""]),
    "pattern": some([b"*", b"k*", b"?", b"a*", b"[a-c]*", b"k[0-2]", b"[^a]", b"*0", b"\\a", b"*\\*", b"**b**"], [b"", b"[", b"\\"]),
    "by_pattern": some([b"*", b"k*", b"w_*", b"nosort", b"x*->f", b"k*->a", b"#"]),
    "cursor": some([b"0"], [b"abc", b"1.5", b"", b" 0"]),
    "type": some([b"string", b"list", b"set", b"zset", b"hash", b"STRING"], [b"foo", b"stream", b""]),
    "db": some([b"0"], [b"-1", b"abc", b"99999", b""]),
    "channel": some([b"c0", b"c1", b"c2", b"news", b"k0"], [b"", b"\x00\xff"]),
    "invalidated": some([b"__redis__:invalidate"], [b"c0"]),
    "lua": some([b"return 1", b"return redis.call('get', 'k0')"], [b"return"]),
    "long": some([b"1000000", b"2000000"], [b"1000000"]),
    "bad_pause": some([b"-1", b"abc", b"", b"1.5"], [b"-9223372036854775808"]),
    "prefix": some([b"k", b"k0", b"k1", b"x", b"l", b"k5"], [b"", b"k55"], 0.1),
    "event_flags": some([b"KEA", b"KEg$lshzxetmn", b"KEg$lshzxetmn", b"KAE", b"Kg$l", b"Eshz", b"Ktdxn", b"AE", b"g$m", b"KEm", b""], [b"KQ", b"ke"]),
    "event_channel": some([b"__keyspace@0__:k0", b"__keyevent@0__:del", b"__keyevent@0__:set"], [b"__keyspace@1__:k0"]),
    "event_pattern": some([b"__key*", b"__key*", b"__keyspace@0__:*", b"__keyevent@*:z*"], [b"", b"["]),
    "channel_pattern": some([b"c*", b"c?", b"*", b"n[a-f]ws", b"c0"], [b"", b"[", b"\\"]),
    "client_name": some([b"one", b"two", b"a-b_c.d"], [b"", b"a b", b"new\nline", b"\xff"], 0.1),
    "client_id": some([b"<id 0>", b"<id 1>", b"<id 2>"], [b"0", b"-1", b"999999", b"abc", b""], 0.2),
    "address": some([b"<addr 0>", b"<addr 1>", b"<addr 2>"], [b"127.0.0.1:1", b"", b"abc"], 0.3),
    "client_type": some([b"normal", b"pubsub", b"PubSub"], [b"master", b"replica", b"slave", b"abc", b""], 0.3),
    "user": some([b"default"], [b"nobody", b"", b"Default"], 0.2),
    "password": some([b"correct", b"correct", b"wrong"], [b"", b"Correct", b"correct\x00"], 0.2),
    "acl_user": some([b"u0", b"u1", b"u2"], [b"nobody", b"", b"a b", b"U0"], 0.04),
    "acl_password": some([b"pw", b"pw", b"pw2"], [b"", b"wrong"], 0.1),
    "acl_rule": some(ACL_RULES, [b"nosuch", b"", b"+", b"-@nosuch", b"(+get", b"~k3)", b"(nosuch)", b"#abc", b"~a b", b"%X~a"], 0.04),
    "acl_secret": some([b">pw"], [b">pw"]),
    "acl_keys": some([b"~k*"], [b"~k*"]),
    "acl_channels": some([b"allchannels", b"resetchannels"], [b"yes", b""]),
    "acl_script": lambda random: random.choice(ACL_SCRIPTS),
    "bits": some([b"1", b"5", b"256", b"4096"], [b"0", b"-1", b"4097", b"abc"], 0.3),
    "own_user": some([b"default"], [b"default"]),
    "own_password": some([b"correct"], [b"correct"]),
    "protocol": some([b"2", b"3"], [b"1", b"4", b"abc", b"", b"2.0"], 0.2),
    "command": some([b"get", b"SET", b"mset", b"Ping", b"client|kill", b"config", b"sort", b"zunionstore", b"object"],
                    [b"nosuch", b"client|nosuch", b"", b"get|set", b"*"], 0.1),
    "category": some([b"read", b"write", b"FAST", b"string", b"pubsub", b"connection"], [b"nosuch", b"", b"@read"]),
    "parameter": some([b"maxmemory", b"MaxMemory-Policy", b"maxmemory-samples", b"slowlog-max-len", b"timeout",
                       b"lazyfree-lazy-user-del", b"latency-monitor-threshold"], [b"nosuch", b""], 0.1),
    "set_parameter": some([b"Maxmemory-Policy", b"maxmemory-samples", b"slowlog-max-len", b"timeout",
                           b"lazyfree-lazy-user-del", b"latency-monitor-threshold"], [b"nosuch", b"", b"databases"], 0.1),
    "parameter_value": some([b"0", b"5", b"100", b"yes", b"no", b"noeviction", b"allkeys-lru"], [b"", b"abc", b"-1", b"1gb"], 0.2),
    "threshold": some([b"hash-max-listpack-entries", b"hash-max-ziplist-value", b"zset-max-listpack-entries"],
                      [b"nosuch", b"hash-max-listpack-entries"], 0.1),
    "reply_type": some([b"string", b"integer", b"double", b"null", b"array", b"set", b"map", b"true", b"false", b"verbatim"],
                       [b"nosuch", b""], 0.1),
    "size_value": some([b"0", b"1gb", b"1000mb", b"2GB"], [b"abc", b"", b"1xb", b"-1", b"1.5gb"], 0.2),
    "payload": some(PAYLOADS, [*(payload[:-1] for payload in PAYLOADS), b"", b"abc", b"\x63\x0c\x00" + bytes(8)], 0.2),
    "policy": some([b"noeviction", b"allkeys-lfu", b"volatile-ttl"], [b"", b"abc"], 0.2),
    "info_section": some([b"server", b"clients", b"MEMORY", b"keyspace", b"all", b"default", b"everything", b"commandstats"],
                         [b"nosuch", b""], 0.1),
}  # fmt: skip


def _distance(random: Random, low: int, high: int) -> bytes:
    if random.random() < 0.05:
        return random.choice(
            [b"0", b"-1", b"-1000", b"9223372036854775807", b"-9223372036854775808", b"abc", b"", b"1.5"]
        )
    return b"%d" % random.randint(low, high)


class Maker:
    """Makes command lines; the same Random gives the same lines."""

    def __init__(self, random: Random, foreign: bool = False) -> None:
        self.random = random
        self.foreign = foreign  # makes the values of other families, which live under FOREIGN_KEYS
        self.n_keys = 1  # of the latest `numkeys`; WEIGHTS wants as many

    def line(self, syntax: Node) -> Argv:
        argv: Argv = []
        self.add(argv, syntax)
        luck = self.random.random()
        if argv[:3] == [b"CONFIG", b"SET", b"MAXMEMORY"]:
            return argv  # spoilt, it may leave no room for data
        if argv[:2] == [b"DEBUG", b"SLEEP"] or argv[0] == b"WAIT":
            return argv  # spoilt, it waits
        if argv[0] == b"HELLO":
            return argv  # spoilt, 7.0 would have carried out half of it before it finds the fault; 7.2 checks first
        if argv[0] == b"ZADD" and argv[1] in LEX_KEYS:
            return argv  # spoilt, its scores would not be equal
        if argv[0] == b"ZRANGESTORE" and b"LIMIT" in argv:
            return argv  # spoilt, it may become a LIMIT of ranks, which only ours carries out
        if b"NOACK" in argv:
            return argv  # spoilt, it may leave a consumer behind that only Redis keeps
        if argv[0] == b"EVAL":
            return argv  # spoilt, Redis would check the keys that atoi reads out of their number
        if luck < 0.08:
            spoilt = argv.copy()
            self.spoil(spoilt)
            if not ends_soon(spoilt) and not reads_other_scores(spoilt):
                argv = spoilt
        elif luck < 0.2:
            argv = [word.lower() if word.isupper() else word for word in argv]
        return argv

    def add(self, argv: Argv, node: Node) -> None:
        kind, content = node
        random = self.random
        if kind == "literal":
            argv.append(content)
        elif kind == "word":
            self.add_word(argv, content)
        elif kind == "sequence":
            for each in content:
                self.add(argv, each)
        elif kind == "many":
            luck = random.random()
            for _ in range(1 if luck < 0.4 else random.randint(2, 4) if luck < 0.97 else random.randint(5, 30)):
                self.add(argv, content)
        elif kind == "one":
            self.add(argv, random.choice(content))
        elif kind == "maybe":
            if random.random() < 0.5:
                self.add(argv, random.choice(content))
        else:
            share = 1.3 / len(content)
            for each in random.sample(content, len(content)):
                if random.random() < share:
                    self.add(argv, each)
                    if random.random() < 0.03:
                        self.add(argv, each)

    def add_word(self, argv: Argv, kind: str) -> None:
        random = self.random
        if kind == "key":
            argv.append(self.key())
        elif kind == "keys":  # numkeys key...
            self.n_keys = random.randint(1, 3)
            stated = self.n_keys if random.random() < 0.95 else random.randint(-1, 5)
            argv.append(b"%d" % stated if random.random() < 0.98 else random.choice(JUNK))
            argv.extend([self.key() for _ in range(self.n_keys)])
        elif kind == "many_elements":
            argv.extend([b"%d" % random.randrange(10**9) for _ in range(random.choice([30] * 8 + [300, 1000]))])
        elif kind == "numbered_ids":  # numids id...
            ids = [stream_id(random) for _ in range(random.randint(1, 3))]
            stated = len(ids) if random.random() < 0.95 else random.randint(-1, 5)
            argv.extend([b"%d" % stated, *ids])
        elif kind == "weights":
            for _ in range(self.n_keys):
                argv.append(KINDS["weight"](random))
        else:
            argv.append(KINDS[kind](random))

    def key(self) -> bytes:
        luck = self.random.random()
        if luck < 0.01:
            return b""
        return self.random.choice(FOREIGN_KEYS if (luck < 0.1) != self.foreign else OWN_KEYS)

    def spoil(self, argv: Argv) -> None:
        random = self.random
        fault = random.randrange(6)
        at = random.randrange(1, len(argv)) if len(argv) > 1 else 0
        if fault == 0:
            argv.append(random.choice(JUNK))
        elif at == 0:
            return
        elif fault == 1:
            del argv[at]
        elif fault == 2:
            argv[at] = random.choice(JUNK)
        elif fault == 3:
            argv.insert(at, argv[at])
        elif fault == 4:
            del argv[at:]
        else:
            argv[at], argv[-1] = argv[-1], argv[at]


def ends_soon(argv: Argv) -> bool:
    """Whether this line gives a lifetime that may be over on one side only."""
    lifetimes = [(argv[at + 1], SHORTEST.get(word.upper(), 0)) for at, word in enumerate(argv[:-1])]
    if len(argv) > 2:
        lifetimes.append((argv[2], SHORTEST_AFTER_KEY.get(argv[0].upper(), 0)))
    return any(text.isdigit() and 0 < int(text) < shortest for text, shortest in lifetimes)


def reads_other_scores(argv: Argv) -> bool:
    """Whether this line is a range by lex of a key that is none of LEX_KEYS."""
    source = argv[2:3] if argv[0] == b"ZRANGESTORE" else argv[1:2]
    return (b"BYLEX" in argv or b"LEX" in argv[0]) and not {*source} <= {*LEX_KEYS, WRONG_KEY}


def parse(text: str) -> Node:
    """A syntax as a tree for Maker.line."""
    tokens = re.findall(r"\.\.\.|[\[\](){}|]|[^\s\[\](){}|.]+(?:\.[A-Z]+)?", text)
    node, at = _sequence(tokens, 0)
    assert at == len(tokens), f"{text}: cannot read {tokens[at:]}"
    return node


_CLOSING: Final = {"(": (")", "one"), "[": ("]", "maybe"), "{": ("}", "any")}


def _sequence(tokens: list[str], at: int) -> tuple[Node, int]:
    nodes: list[Node] = []
    while at < len(tokens) and tokens[at] not in ")]}|":
        token = tokens[at]
        at += 1
        if token == "...":
            nodes[-1] = ("many", nodes[-1])
        elif token in _CLOSING:
            closing, kind = _CLOSING[token]
            choices = []
            while True:
                choice, at = _sequence(tokens, at)
                choices.append(choice)
                at += 1
                if tokens[at - 1] == closing:
                    break
            nodes.append((kind, choices))
        elif token == token.lower() and (
            token in KINDS or token in ("key", "keys", "weights", "many_elements", "numbered_ids")
        ):
            nodes.append(("word", token))
        else:
            assert token == token.upper(), f"no kind of argument is called {token}"
            nodes.append(("literal", token.encode()))
    return ("sequence", nodes), at
