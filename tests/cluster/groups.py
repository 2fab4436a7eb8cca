"""Every group of commands of the official Python client, as an application uses it, with what it must answer.

A group is a list of steps in order: what, a call on a client, and the answer (or a test of it). The same steps run on the
blocking client and on the asyncio one, each group with keys of its own and all groups at once.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import upstash_redis
import upstash_redis.asyncio
from upstash_redis.commands import Commands, JsonCommands

FAR_S: Final = 4_102_444_800  # a deadline in the year 2100
FAR_MS: Final = FAR_S * 1000

Key = Callable[[str], str]
Step = tuple[str, Callable[[Any], Any], Any]
Wrong = tuple[str, object, object]

# Methods of the client that no group uses: three would take the data of the others, and CLIENT is refused over REST.
APART: Final = {"flushall", "flushdb", "script_flush", "client_setinfo"}


def unused_methods() -> set[str]:
    """The client's methods for commands that no group uses."""
    methods = {name for kind in (Commands, JsonCommands) for name in dir(kind) if not name.startswith("_")}
    for group in GROUPS.values():
        for _, call, _ in group(lambda key: key):
            methods -= set(call.__code__.co_names)
    return methods


def wrong_answers(url: str, token: str) -> list[Wrong]:
    """What the blocking client got wrong: (step, seen, wanted)."""

    def tell(name: str) -> list[Wrong]:
        wrong = []
        with upstash_redis.Redis(url, token, allow_telemetry=False, rest_retries=0) as redis:
            for what, call, wanted in GROUPS[name](lambda key: f"sync:{name}:{key}"):
                seen = call(redis)
                if not _is(seen, wanted):
                    wrong.append((f"{name}: {what}", seen, wanted))
        return wrong

    with ThreadPoolExecutor(len(GROUPS)) as pool:
        return [wrong for found in pool.map(tell, GROUPS) for wrong in found]


def wrong_answers_async(url: str, token: str) -> list[Wrong]:
    """The same with the asyncio client."""

    async def tell(name: str) -> list[Wrong]:
        wrong = []
        async with upstash_redis.asyncio.Redis(url, token, allow_telemetry=False, rest_retries=0) as redis:
            for what, call, wanted in GROUPS[name](lambda key: f"async:{name}:{key}"):
                seen = await call(redis)
                if not _is(seen, wanted):
                    wrong.append((f"{name}: {what}", seen, wanted))
        return wrong

    async def all_groups() -> list[list[Wrong]]:
        return await asyncio.gather(*map(tell, GROUPS))

    return [wrong for found in asyncio.run(all_groups()) for wrong in found]


def _is(seen: Any, wanted: Any) -> bool:
    return bool(wanted(seen)) if callable(wanted) else bool(seen == wanted)


def strings(key: Key) -> list[Step]:
    k, n = key("k"), key("n")
    return [
        ("set", lambda r: r.set(k, "välue", ex=100), True),
        ("get", lambda r: r.get(k), "välue"),
        ("set get", lambda r: r.set(k, "abc", get=True), "välue"),
        ("set nx", lambda r: r.set(k, "x", nx=True), False),
        ("getex", lambda r: r.getex(k, ex=50), "abc"),
        ("append", lambda r: r.append(k, "def"), 6),
        ("getrange", lambda r: r.getrange(k, 1, 2), "bc"),
        ("setrange", lambda r: r.setrange(k, 0, "A"), 6),
        ("strlen", lambda r: r.strlen(k), 6),
        ("getset", lambda r: r.getset(k, "1"), "Abcdef"),
        ("incr", lambda r: r.incr(n), 1),
        ("incrby", lambda r: r.incrby(n, 9), 10),
        ("decr", lambda r: r.decr(n), 9),
        ("decrby", lambda r: r.decrby(n, 4), 5),
        ("incrbyfloat", lambda r: r.incrbyfloat(n, 0.5), 5.5),
        ("mset", lambda r: r.mset({k: "a", n: 2}), True),
        ("mget", lambda r: r.mget(k, n, key("none")), ["a", "2", None]),
        ("msetnx", lambda r: r.msetnx({k: "a"}), False),
        ("setex", lambda r: r.setex(k, 10, "s"), True),
        ("psetex", lambda r: r.psetex(k, 10_000, "p"), True),
        ("setnx", lambda r: r.setnx(k, "s"), False),
        ("substr", lambda r: r.substr(k, 0, 0), "p"),
        ("getdel", lambda r: r.getdel(k), "p"),
        ("bool", lambda r: r.set(k, True), True),
        ("bool as text", lambda r: r.get(k), "true"),
    ]


def bitmaps(key: Key) -> list[Step]:
    a, b = key("a"), key("b")
    return [
        ("setbit", lambda r: r.setbit(a, 7, 1), 0),
        ("getbit", lambda r: r.getbit(a, 7), 1),
        ("bitcount", lambda r: r.bitcount(a), 1),
        ("bitpos", lambda r: r.bitpos(a, 1), 7),
        ("bitop", lambda r: r.bitop("NOT", b, a), 1),
        ("bitfield", lambda r: r.bitfield(key("f")).set("u8", 0, 200).incrby("u8", 0, 10).execute(), [0, 210]),
        ("bitfield_ro", lambda r: r.bitfield_ro(key("f")).get("u8", 0).execute(), [210]),
    ]


def keys(key: Key) -> list[Step]:
    a, b = key("a"), key("b")
    return [
        ("set", lambda r: r.set(a, 1), True),
        ("exists", lambda r: r.exists(a, b), 1),
        ("type", lambda r: r.type(a), "string"),
        ("copy", lambda r: r.copy(a, b), True),
        ("expire", lambda r: r.expire(a, 100), True),
        ("ttl", lambda r: r.ttl(a), lambda ttl: 90 < ttl <= 100),
        ("pexpire", lambda r: r.pexpire(a, 100_000), True),
        ("pttl", lambda r: r.pttl(a), lambda ttl: 90_000 < ttl <= 100_000),
        ("expireat", lambda r: r.expireat(a, FAR_S), True),
        ("expireat nx", lambda r: r.expireat(a, FAR_S, nx=True), False),
        ("pexpireat", lambda r: r.pexpireat(a, FAR_MS), True),
        ("persist", lambda r: r.persist(a), True),
        ("touch", lambda r: r.touch(a, b), 2),
        ("keys", lambda r: r.keys(key("*")), lambda found: sorted(found) == [a, b]),
        ("scan", lambda r: r.scan(0, match=key("*"), count=10_000), lambda page: isinstance(page[0], int)),
        ("randomkey", lambda r: r.randomkey(), lambda found: isinstance(found, str)),
        ("dbsize", lambda r: r.dbsize(), lambda size: size >= 2),
        ("rename", lambda r: r.rename(a, key("z")), True),
        ("renamenx", lambda r: r.renamenx(key("z"), b), False),
        ("unlink", lambda r: r.unlink(b), 1),
        ("delete", lambda r: r.delete(b, key("z")), 1),
    ]


def hashes(key: Key) -> list[Step]:
    h = key("h")
    return [
        ("hset", lambda r: r.hset(h, values={"a": 1, "b": "text"}), 2),
        ("hget", lambda r: r.hget(h, "b"), "text"),
        ("hgetall", lambda r: r.hgetall(h), {"a": "1", "b": "text"}),
        ("hmget", lambda r: r.hmget(h, "a", "none"), ["1", None]),
        ("hincrby", lambda r: r.hincrby(h, "a", 2), 3),
        ("hincrbyfloat", lambda r: r.hincrbyfloat(h, "a", 0.5), 3.5),
        ("hexists", lambda r: r.hexists(h, "a"), True),
        ("hkeys", lambda r: r.hkeys(h), lambda found: sorted(found) == ["a", "b"]),
        ("hvals", lambda r: r.hvals(h), lambda found: sorted(found) == ["3.5", "text"]),
        ("hlen", lambda r: r.hlen(h), 2),
        ("hstrlen", lambda r: r.hstrlen(h, "b"), 4),
        ("hsetnx", lambda r: r.hsetnx(h, "a", 1), False),
        ("hrandfield", lambda r: r.hrandfield(h, 1, withvalues=True), lambda found: len(found) == 1),
        ("hscan", lambda r: r.hscan(h, 0), lambda page: page[0] == 0 and page[1] == {"a": "3.5", "b": "text"}),
        ("hexpire", lambda r: r.hexpire(h, "a", 100), [1]),
        ("httl", lambda r: r.httl(h, "a"), lambda ttl: 90 < ttl[0] <= 100),
        ("hpersist", lambda r: r.hpersist(h, "a"), [1]),
        ("hpexpire", lambda r: r.hpexpire(h, "a", 100_000), [1]),
        ("hpttl", lambda r: r.hpttl(h, "a"), lambda ttl: 90_000 < ttl[0] <= 100_000),
        ("hexpireat", lambda r: r.hexpireat(h, ["a", "none"], FAR_S), [1, -2]),
        ("hexpiretime", lambda r: r.hexpiretime(h, "a"), [FAR_S]),
        ("hpexpireat", lambda r: r.hpexpireat(h, "a", FAR_MS + 1, gt=True), [1]),
        ("hpexpiretime", lambda r: r.hpexpiretime(h, "a"), [FAR_MS + 1]),
        ("hmset", lambda r: r.hmset(h, {"a": "1", "x": "y"}), True),
        ("hsetex", lambda r: r.hsetex(h, "x", "z", ex=100), 1),
        ("hsetex fnx", lambda r: r.hsetex(h, values={"x": "q"}, fnx=True), 0),
        ("hgetex", lambda r: r.hgetex(h, "x", "none", persist=True), ["z", None]),
        ("hgetdel", lambda r: r.hgetdel(h, "x", "none"), ["z", None]),
        ("hdel", lambda r: r.hdel(h, "a", "b"), 2),
    ]


def lists(key: Key) -> list[Step]:
    a, b = key("a"), key("b")
    return [
        ("rpush", lambda r: r.rpush(a, "a", "b", "c"), 3),
        ("lpush", lambda r: r.lpush(a, "z"), 4),
        ("lrange", lambda r: r.lrange(a, 0, -1), ["z", "a", "b", "c"]),
        ("lindex", lambda r: r.lindex(a, 1), "a"),
        ("linsert", lambda r: r.linsert(a, "BEFORE", "b", "aa"), 5),
        ("lpos", lambda r: r.lpos(a, "aa"), 2),
        ("lset", lambda r: r.lset(a, 0, "y"), True),
        ("lrem", lambda r: r.lrem(a, 1, "aa"), 1),
        ("lmove", lambda r: r.lmove(a, b, "LEFT", "RIGHT"), "y"),
        ("rpoplpush", lambda r: r.rpoplpush(a, b), "c"),
        ("lpushx", lambda r: r.lpushx(key("none"), "x"), 0),
        ("rpushx", lambda r: r.rpushx(b, "x"), 3),
        ("ltrim", lambda r: r.ltrim(b, 0, 1), "OK"),
        ("llen", lambda r: r.llen(b), 2),
        ("lpop", lambda r: r.lpop(b), "c"),
        ("rpop", lambda r: r.rpop(b, 5), ["y"]),
    ]


def sets(key: Key) -> list[Step]:
    a, b, c = key("a"), key("b"), key("c")

    def like(*members: str) -> Callable[[Any], bool]:
        return lambda found: sorted(found) == list(members)

    return [
        ("sadd", lambda r: r.sadd(a, "x", "y", "z"), 3),
        ("sadd b", lambda r: r.sadd(b, "y", "z", "w"), 3),
        ("smembers", lambda r: r.smembers(a), like("x", "y", "z")),
        ("sismember", lambda r: r.sismember(a, "x"), True),
        ("smismember", lambda r: r.smismember(a, "x", "q"), [True, False]),
        ("scard", lambda r: r.scard(a), 3),
        ("sdiff", lambda r: r.sdiff(a, b), like("x")),
        ("sinter", lambda r: r.sinter(a, b), like("y", "z")),
        ("sunion", lambda r: r.sunion(a, b), like("w", "x", "y", "z")),
        ("sdiffstore", lambda r: r.sdiffstore(c, a, b), 1),
        ("sinterstore", lambda r: r.sinterstore(c, a, b), 2),
        ("sunionstore", lambda r: r.sunionstore(c, a, b), 4),
        ("smove", lambda r: r.smove(a, c, "x"), True),
        ("sscan", lambda r: r.sscan(a, 0), lambda page: sorted(page[1]) == ["y", "z"]),
        ("srandmember", lambda r: r.srandmember(a), lambda member: member in "yz"),
        ("spop", lambda r: r.spop(a), lambda member: member in "yz"),
        ("srem", lambda r: r.srem(b, "w"), 1),
    ]


def sorted_sets(key: Key) -> list[Step]:
    a, b, c = key("a"), key("b"), key("c")
    return [
        ("zadd", lambda r: r.zadd(a, {"one": 1, "two": 2.5, "three": 3}), 3),
        ("zadd b", lambda r: r.zadd(b, {"one": 10}), 1),
        ("zadd incr", lambda r: r.zadd(a, {"one": 0.5}, incr=True), 1.5),
        ("zrange", lambda r: r.zrange(a, 0, -1, withscores=True), [("one", 1.5), ("two", 2.5), ("three", 3.0)]),
        ("zrange byscore", lambda r: r.zrange(a, "(1.5", "+inf", sortby="BYSCORE"), ["two", "three"]),
        ("zscore", lambda r: r.zscore(a, "two"), 2.5),
        ("zmscore", lambda r: r.zmscore(a, ["one", "none"]), [1.5, None]),
        ("zincrby", lambda r: r.zincrby(a, 1, "two"), 3.5),
        ("zcard", lambda r: r.zcard(a), 3),
        ("zcount", lambda r: r.zcount(a, "-inf", "+inf"), 3),
        ("zrank", lambda r: r.zrank(a, "one"), 0),
        ("zrevrank", lambda r: r.zrevrank(a, "one"), 2),
        ("zscan", lambda r: r.zscan(a, 0), lambda page: ("one", 1.5) in page[1]),
        ("zunion", lambda r: r.zunion([a, b], aggregate="MAX", withscores=True), lambda found: ("one", 10.0) in found),
        ("zinter", lambda r: r.zinter([a, b]), ["one"]),
        ("zdiff", lambda r: r.zdiff([b, a]), []),
        ("zunionstore", lambda r: r.zunionstore(c, [a, b]), 3),
        ("zinterstore", lambda r: r.zinterstore(c, [a, b], weights=[1, 2]), 1),
        ("zdiffstore", lambda r: r.zdiffstore(c, [a, b]), 2),
        ("zrangestore", lambda r: r.zrangestore(c, a, 0, 0), 1),
        ("zrandmember", lambda r: r.zrandmember(b), "one"),
        ("zlexcount", lambda r: r.zlexcount(b, "-", "+"), 1),
        ("zrangebyscore", lambda r: r.zrangebyscore(a, "(1.5", 3.5, withscores=True), [("three", 3.0), ("two", 3.5)]),
        ("zrevrangebyscore", lambda r: r.zrevrangebyscore(a, "+inf", 0, offset=1, count=1), ["three"]),
        ("zrevrange", lambda r: r.zrevrange(a, 0, 0, withscores=True), [("two", 3.5)]),
        ("zadd same scores", lambda r: r.zadd(c, {"a": 0, "b": 0, "c": 0, "d": 0}), 4),
        ("zremrangebyrank", lambda r: r.zremrangebyrank(c, 4, -1), 1),
        ("zrangebylex", lambda r: r.zrangebylex(c, "[b", "+", offset=0, count=2), ["b", "c"]),
        ("zrevrangebylex", lambda r: r.zrevrangebylex(c, "(c", "-"), ["b", "a"]),
        ("zremrangebylex", lambda r: r.zremrangebylex(c, "-", "(c"), 2),
        ("zpopmin", lambda r: r.zpopmin(a), [("one", 1.5)]),
        ("zpopmax", lambda r: r.zpopmax(a), [("two", 3.5)]),
        ("zremrangebyscore", lambda r: r.zremrangebyscore(a, 9, 10), 0),
        ("zrem", lambda r: r.zrem(a, "three"), 1),
    ]


def streams(key: Key) -> list[Step]:
    s = key("s")
    return [
        ("xadd", lambda r: r.xadd(s, "1-1", {"a": 1}), "1-1"),
        ("xadd *", lambda r: r.xadd(s, "*", {"b": "text"}), lambda found: found.endswith("-0")),
        ("xlen", lambda r: r.xlen(s), 2),
        ("xrange", lambda r: r.xrange(s, count=1), [["1-1", ["a", "1"]]]),
        ("xrevrange", lambda r: r.xrevrange(s, count=1), lambda found: found[0][1] == ["b", "text"]),
        ("xread", lambda r: r.xread({s: "0"}, count=1), [[s, [["1-1", ["a", "1"]]]]]),
        ("xgroup_create", lambda r: r.xgroup_create(s, "g", "0"), "OK"),
        ("xreadgroup", lambda r: r.xreadgroup("g", "c", {s: ">"}, count=1), [[s, [["1-1", ["a", "1"]]]]]),
        ("xpending", lambda r: r.xpending(s, "g"), [1, "1-1", "1-1", [["c", "1"]]]),
        ("xclaim", lambda r: r.xclaim(s, "g", "d", 0, "1-1", justid=True), ["1-1"]),
        ("xautoclaim", lambda r: r.xautoclaim(s, "g", "e", 0, "0", justid=True), lambda found: found[1] == ["1-1"]),
        ("xack", lambda r: r.xack(s, "g", "1-1"), 1),
        ("xgroup_createconsumer", lambda r: r.xgroup_createconsumer(s, "g", "f"), 1),
        (
            "xinfo_consumers",
            lambda r: r.xinfo_consumers(s, "g"),
            lambda found: [row[1] for row in found] == list("cdef"),
        ),
        ("xgroup_delconsumer", lambda r: r.xgroup_delconsumer(s, "g", "f"), 0),
        ("xgroup_setid", lambda r: r.xgroup_setid(s, "g", "0", entries_read=0), "OK"),
        ("xreadgroup again", lambda r: r.xreadgroup("g", "c", {s: ">"}, count=1), [[s, [["1-1", ["a", "1"]]]]]),
        ("xdelex", lambda r: r.xdelex(s, "1-1", "7-7", option="ACKED"), [2, -1]),
        ("xackdel", lambda r: r.xackdel(s, "g", "1-1", option="DELREF"), [1]),
        ("xadd for xdel", lambda r: r.xadd(key("t"), "1-1", {"a": 1}), "1-1"),
        ("xdel", lambda r: r.xdel(key("t"), "1-1", "2-2"), 1),
        ("xadd for xtrim", lambda r: r.xadd(s, "*", {"b": "more"}), lambda found: found.endswith("-0")),
        ("xinfo_groups", lambda r: r.xinfo_groups(s), lambda found: len(found) == 1),
        ("xtrim", lambda r: r.xtrim(s, maxlen=1, approximate=False), 1),
        ("xgroup_destroy", lambda r: r.xgroup_destroy(s, "g"), 1),
    ]


def geo(key: Key) -> list[Step]:
    g = key("g")
    return [
        ("geoadd", lambda r: r.geoadd(g, (13.361389, 38.115556, "Palermo"), (15.087269, 37.502669, "Catania")), 2),
        ("geodist", lambda r: r.geodist(g, "Palermo", "Catania", "KM"), 166.2742),
        ("geopos", lambda r: r.geopos(g, "Palermo", "none"), lambda at: abs(at[0][0] - 13.361389) < 1e-4 and not at[1]),
        ("geohash", lambda r: r.geohash(g, "Palermo"), ["sqc8b49rny0"]),
        ("geosearch", lambda r: r.geosearch(g, member="Palermo", radius=1, unit="KM"), ["Palermo"]),
        ("geosearchstore", lambda r: r.geosearchstore(key("h"), g, member="Palermo", radius=1, unit="KM"), 1),
        ("georadius", lambda r: r.georadius(g, 15, 37, 200, "KM", order="ASC"), ["Catania", "Palermo"]),
        ("georadius store", lambda r: r.georadius(g, 15, 37, 100, "KM", store=key("i")), 1),
        ("georadius_ro", lambda r: r.georadius_ro(g, 15, 37, 100, "KM"), ["Catania"]),
        ("georadiusbymember", lambda r: r.georadiusbymember(g, "Palermo", 100, "KM", count=1), ["Palermo"]),
        ("georadiusbymember_ro", lambda r: r.georadiusbymember_ro(g, "Palermo", 100, "KM"), ["Palermo"]),
    ]


def hyperloglogs(key: Key) -> list[Step]:
    a, b = key("a"), key("b")
    return [
        ("pfadd", lambda r: r.pfadd(a, "x", "y"), True),
        ("pfcount", lambda r: r.pfcount(a), 2),
        ("pfmerge", lambda r: r.pfmerge(b, a), True),
    ]


def documents(key: Key) -> list[Step]:
    j = key("j")
    return [
        ("json.set", lambda r: r.json.set(j, "$", {"a": [1, 2], "n": 1, "s": "x", "t": True, "o": {"k": 1}}), True),
        ("json.resp", lambda r: r.json.resp(j, "$.o"), [["{", "k", 1]]),
        ("json.get", lambda r: r.json.get(j, "$.a"), [[1, 2]]),
        ("json.arrappend", lambda r: r.json.arrappend(j, "$.a", 3, "four"), [4]),
        ("json.arrindex", lambda r: r.json.arrindex(j, "$.a", 3), [2]),
        ("json.arrinsert", lambda r: r.json.arrinsert(j, "$.a", 0, 0), [5]),
        ("json.arrlen", lambda r: r.json.arrlen(j, "$.a"), [5]),
        ("json.arrpop", lambda r: r.json.arrpop(j, "$.a"), ["four"]),
        ("json.arrtrim", lambda r: r.json.arrtrim(j, "$.a", 0, 1), [2]),
        ("json.numincrby", lambda r: r.json.numincrby(j, "$.n", 2), [3]),
        ("json.nummultby", lambda r: r.json.nummultby(j, "$.n", 2), [6]),
        ("json.objkeys", lambda r: r.json.objkeys(j, "$.o"), [["k"]]),
        ("json.objlen", lambda r: r.json.objlen(j, "$.o"), [1]),
        ("json.strappend", lambda r: r.json.strappend(j, "$.s", "y"), [2]),
        ("json.strlen", lambda r: r.json.strlen(j, "$.s"), [2]),
        ("json.toggle", lambda r: r.json.toggle(j, "$.t"), [False]),
        ("json.type", lambda r: r.json.type(j, "$.a"), ["array"]),
        ("json.merge", lambda r: r.json.merge(j, "$", {"m": None, "s": "z"}), True),
        ("json.mset", lambda r: r.json.mset([(key("i"), "$", {"n": 1})]), True),
        ("json.mget", lambda r: r.json.mget([j, key("i")], "$.n"), [[6], [1]]),
        ("json.clear", lambda r: r.json.clear(j, "$.a"), 1),
        ("json.delete", lambda r: r.json.delete(j, "$.a"), 1),
        ("json.forget", lambda r: r.json.forget(j), 1),
    ]


def scripts(key: Key) -> list[Step]:
    k = key("k")
    source = f"return redis.call('GET', KEYS[1]) -- {k}"
    sha: list[str] = []

    def loaded(digest: str) -> bool:
        sha.append(digest)
        return len(digest) == 40

    return [
        ("eval", lambda r: r.eval("redis.call('SET', KEYS[1], ARGV[1]) return {1, 'two'}", [k], ["v"]), [1, "two"]),
        ("script_load", lambda r: r.script_load(source), loaded),
        ("evalsha", lambda r: r.evalsha(sha[0], [k]), "v"),
        ("eval_ro", lambda r: r.eval_ro(source, [k]), "v"),
        ("evalsha_ro", lambda r: r.evalsha_ro(sha[0], [k]), "v"),
        ("script_exists", lambda r: r.script_exists(sha[0], "0" * 40), [True, False]),
    ]


def server(key: Key) -> list[Step]:
    return [
        ("ping", lambda r: r.ping(), "PONG"),
        ("echo", lambda r: r.echo("hello"), "hello"),
        ("time", lambda r: r.time(), lambda found: isinstance(found[0], int)),
        ("publish", lambda r: r.publish(key("nobody"), "x"), 0),
        ("execute", lambda r: r.execute(["ECHO", "raw"]), "raw"),
        ("pipeline", lambda r: r.pipeline().set(key("k"), 1).incr(key("k")).exec(), [True, 2]),
        ("multi", lambda r: r.multi().incr(key("k")).get(key("k")).exec(), [3, "3"]),
    ]


GROUPS: dict[str, Callable[[Key], list[Step]]] = {
    group.__name__: group
    for group in (
        strings,
        bitmaps,
        keys,
        hashes,
        lists,
        sets,
        sorted_sets,
        streams,
        geo,
        hyperloglogs,
        documents,
        scripts,
        server,
    )
}
