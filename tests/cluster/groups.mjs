// Every group of commands of the official JavaScript client, as an application uses it: one client per version, against one
// node, with auto-pipelining; every value is read right after it was written. Also @upstash/ratelimit and @upstash/lock.
//
// argv: a JSON object {token, url, packages}; stdout: a JSON object {wrong: [[package, what, seen, wanted]…], checked: {package: n}}.
import { isDeepStrictEqual } from "node:util";
import { Lock } from "@upstash/lock";
import { Ratelimit } from "@upstash/ratelimit";

const { token, url, packages } = JSON.parse(process.argv[2]);
const wrong = [];
const checked = {};

class Story {
  constructor(plain, from, name) {
    this.plain = plain; // without auto-pipelining
    this.from = from;
    this.name = name;
  }

  key(name) {
    return `js:${this.from}:${this.name}:${name}`;
  }

  is(what, seen, wanted) {
    checked[this.from] = (checked[this.from] ?? 0) + 1;
    const holds = typeof wanted === "function" ? wanted(seen) : isDeepStrictEqual(seen, wanted);
    if (!holds) wrong.push([this.from, `${this.name}: ${what}`, seen ?? null, String(wanted?.toString?.() ?? wanted)]);
  }

  async fails(what, promise, text) {
    const message = await promise.then(() => "no error", (failure) => String(failure.message));
    this.is(what, message.includes(text) ? text : message, text);
  }
}

process.on("unhandledRejection", (failure) => wrong.push(["?", "unhandled", String(failure.message ?? failure), "no error"]));

const sorted = (list) => [...list].sort();
const farS = 4_102_444_800; // a deadline in the year 2100

const groups = {
  async strings(story, redis) {
    const [k, n, f] = ["k", "n", "f"].map((name) => story.key(name));
    story.is("SET", await redis.set(k, "value"), "OK");
    story.is("GET", await redis.get(k), "value");
    story.is("SET GET", await redis.set(k, "next", { get: true }), "value");
    story.is("SET NX", await redis.set(k, "other", { nx: true }), null);
    story.is("SET EX", await redis.set(k, { nested: [1, "two", null, true] }, { ex: 100 }), "OK");
    story.is("GET JSON", await redis.get(k), { nested: [1, "two", null, true] });
    story.is("TTL", await redis.ttl(k), (ttl) => ttl > 90 && ttl <= 100);
    story.is("GETEX", await redis.getex(k, { persist: true }), { nested: [1, "two", null, true] });
    story.is("SET unicode", await redis.set(k, "ä€😀\n\"'"), "OK");
    story.is("GET unicode", await redis.get(k), "ä€😀\n\"'");
    story.is("APPEND", await redis.append(k, "!"), (length) => length > 5);
    story.is("GETSET", await redis.getset(k, "abcdef"), "ä€😀\n\"'!");
    story.is("STRLEN", await redis.strlen(k), 6);
    story.is("GETRANGE", await redis.getrange(k, 1, 3), "bcd");
    story.is("SETRANGE", await redis.setrange(k, 6, "gh"), 8);
    story.is("GETDEL", await redis.getdel(k), "abcdefgh");
    story.is("GET of nothing", await redis.get(k), null);
    story.is("INCR", await redis.incr(n), 1);
    story.is("INCRBY", await redis.incrby(n, 41), 42);
    story.is("DECR", await redis.decr(n), 41);
    story.is("DECRBY", await redis.decrby(n, 40), 1);
    story.is("GET number", await redis.get(n), 1);
    story.is("INCRBYFLOAT", await redis.incrbyfloat(f, 1.5), 1.5);
    story.is("MSET", await redis.mset({ [k]: "a", [n]: { b: 1 } }), "OK");
    story.is("MGET", await redis.mget(k, n, story.key("none")), ["a", { b: 1 }, null]);
    story.is("MSETNX", await redis.msetnx({ [k]: "x", [story.key("m")]: "y" }), 0);
    story.is("SETNX", await redis.setnx(k, "x"), 0);
    story.is("SETEX", await redis.setex(k, 50, "s"), "OK");
    story.is("PSETEX", await redis.psetex(k, 50_000, "p"), "OK");
    story.is("PTTL", await redis.pttl(k), (ttl) => ttl > 10_000 && ttl <= 50_000);
    await story.fails("INCR of text", redis.incr(k), "ERR value is not an integer or out of range");
  },

  async bitmaps(story, redis) {
    const [a, b, c] = ["a", "b", "c"].map((name) => story.key(name));
    story.is("SETBIT", await redis.setbit(a, 7, 1), 0);
    story.is("GETBIT", await redis.getbit(a, 7), 1);
    story.is("BITCOUNT", await redis.bitcount(a, 0, -1), 1);
    story.is("BITPOS", await redis.bitpos(a, 1), 7);
    await redis.set(b, "a");
    story.is("BITOP", await redis.bitop("or", c, a, b), 1);
    // With auto-pipelining the client's own builder is lost (1.39.0: "redis.bitfield(...).set is not a function").
    story.is("BITFIELD", await story.plain.bitfield(story.key("f")).set("u8", 0, 200).incrby("u8", 0, 10).get("u8", 0).exec(), [0, 210, 210]);
  },

  async keys(story, redis) {
    const [a, b] = ["a", "b"].map((name) => story.key(name));
    await redis.set(a, 1);
    story.is("EXISTS", await redis.exists(a, b), 1);
    story.is("TYPE", await redis.type(a), "string");
    story.is("COPY", await redis.copy(a, b), "COPIED");
    story.is("EXPIRE", await redis.expire(a, 100), 1);
    story.is("EXPIREAT", await redis.expireat(a, Math.floor(Date.now() / 1000) + 1000), 1);
    story.is("PEXPIRE", await redis.pexpire(a, 100_000), 1);
    story.is("PEXPIREAT", await redis.pexpireat(a, Date.now() + 1_000_000), 1);
    story.is("PERSIST", await redis.persist(a), 1);
    story.is("TTL", await redis.ttl(a), -1);
    story.is("RENAME", await redis.rename(a, story.key("z")), "OK");
    story.is("RENAMENX", await redis.renamenx(story.key("z"), b), 0);
    story.is("TOUCH", await redis.touch(b, a), 1);
    story.is("KEYS", sorted(await redis.keys(`${story.key("")}*`)), sorted([b, story.key("z")]));
    let [cursor, found] = ["0", []];
    do {
      const page = await redis.scan(cursor, { match: `${story.key("")}*`, count: 1000 });
      cursor = String(page[0]);
      found.push(...page[1]);
    } while (cursor !== "0");
    story.is("SCAN", sorted(new Set(found)), sorted([b, story.key("z")]));
    story.is("RANDOMKEY", await redis.randomkey(), (key) => typeof key === "string");
    story.is("DBSIZE", await redis.dbsize(), (size) => size >= 2);
    story.is("UNLINK", await redis.unlink(b), 1);
    story.is("DEL", await redis.del(story.key("z"), b), 1);
  },

  async hashes(story, redis) {
    const h = story.key("h");
    story.is("HSET", await redis.hset(h, { a: 1, b: "text", c: { d: [1] } }), 3);
    story.is("HGET", await redis.hget(h, "c"), { d: [1] });
    story.is("HGETALL", await redis.hgetall(h), { a: 1, b: "text", c: { d: [1] } });
    story.is("HMGET", await redis.hmget(h, "a", "none"), { a: 1, none: null });
    story.is("HINCRBY", await redis.hincrby(h, "a", 5), 6);
    story.is("HINCRBYFLOAT", await redis.hincrbyfloat(h, "f", 1.5), 1.5);
    story.is("HEXISTS", await redis.hexists(h, "a"), 1);
    story.is("HKEYS", sorted(await redis.hkeys(h)), ["a", "b", "c", "f"]);
    story.is("HVALS", (await redis.hvals(h)).length, 4);
    story.is("HLEN", await redis.hlen(h), 4);
    story.is("HSTRLEN", await redis.hstrlen(h, "b"), 4);
    story.is("HSETNX", await redis.hsetnx(h, "a", 1), 0);
    story.is("HRANDFIELD", await redis.hrandfield(h), (field) => "abcf".includes(field));
    story.is("HSCAN", (await redis.hscan(h, 0))[1].length, 8);
    story.is("HDEL", await redis.hdel(h, "f", "none"), 1);
    story.is("HGETALL of nothing", await redis.hgetall(story.key("none")), null);
    story.is("HMSET", await redis.hmset(h, { m: 1 }), "OK");
    if (redis.hexpire) {
      story.is("HEXPIRE", await redis.hexpire(h, "a", 100), [1]);
      story.is("HTTL", await redis.httl(h, "a"), ([ttl]) => ttl > 90 && ttl <= 100);
      story.is("HPERSIST", await redis.hpersist(h, "a"), [1]);
      story.is("HPEXPIRE", await redis.hpexpire(h, "a", 100_000), [1]);
      story.is("HPTTL", await redis.hpttl(h, "a"), ([ttl]) => ttl > 90_000 && ttl <= 100_000);
      story.is("HEXPIREAT", await redis.hexpireat(h, ["a", "none"], farS), [1, -2]);
      story.is("HEXPIRETIME", await redis.hexpiretime(h, "a"), [farS]);
      story.is("HPEXPIREAT", await redis.hpexpireat(h, "a", farS * 1000 + 1, "GT"), [1]);
      story.is("HPEXPIRETIME", await redis.hpexpiretime(h, "a"), [farS * 1000 + 1]);
    }
    if (redis.hgetdel) {
      story.is("HSETEX", await redis.hsetex(h, { expiration: { ex: 100 } }, { x: "y" }), 1);
      story.is("HGETEX", await redis.hgetex(h, { persist: true }, "x"), { x: "y" });
      story.is("HGETDEL", await redis.hgetdel(h, "x"), { x: "y" });
    }
  },

  async lists(story, redis) {
    const [l, m] = ["l", "m"].map((name) => story.key(name));
    story.is("RPUSH", await redis.rpush(l, "a", "b", { c: 1 }), 3);
    story.is("LPUSH", await redis.lpush(l, "z"), 4);
    story.is("LRANGE", await redis.lrange(l, 0, -1), ["z", "a", "b", { c: 1 }]);
    story.is("LINDEX", await redis.lindex(l, -1), { c: 1 });
    story.is("LINSERT", await redis.linsert(l, "before", "b", "aa"), 5);
    story.is("LPOS", await redis.lpos(l, "aa"), 2);
    story.is("LSET", await redis.lset(l, 0, "y"), "OK");
    story.is("LREM", await redis.lrem(l, 1, "aa"), 1);
    story.is("LMOVE", await redis.lmove(l, m, "left", "right"), "y");
    story.is("RPUSHX", await redis.rpushx(story.key("none"), "x"), 0);
    story.is("LPUSHX", await redis.lpushx(l, "w"), 4);
    story.is("LTRIM", await redis.ltrim(l, 0, 1), "OK");
    story.is("LLEN", await redis.llen(l), 2);
    story.is("LPOP", await redis.lpop(l), "w");
    story.is("RPOP", await redis.rpop(l), "a");
    story.is("LMPOP", await redis.lmpop(1, [m], "LEFT"), [m, ["y"]]);
  },

  async sets(story, redis) {
    const [a, b, c] = ["a", "b", "c"].map((name) => story.key(name));
    story.is("SADD", await redis.sadd(a, "x", "y", "z"), 3);
    await redis.sadd(b, "y", "z", "w");
    story.is("SMEMBERS", sorted(await redis.smembers(a)), ["x", "y", "z"]);
    story.is("SISMEMBER", await redis.sismember(a, "x"), 1);
    story.is("SMISMEMBER", await redis.smismember(a, ["x", "q"]), [1, 0]);
    story.is("SCARD", await redis.scard(a), 3);
    story.is("SDIFF", await redis.sdiff(a, b), ["x"]);
    story.is("SINTER", sorted(await redis.sinter(a, b)), ["y", "z"]);
    story.is("SUNION", sorted(await redis.sunion(a, b)), ["w", "x", "y", "z"]);
    story.is("SDIFFSTORE", await redis.sdiffstore(c, a, b), 1);
    story.is("SINTERSTORE", await redis.sinterstore(c, a, b), 2);
    story.is("SUNIONSTORE", await redis.sunionstore(c, a, b), 4);
    story.is("SMOVE", await redis.smove(a, c, "x"), 1);
    story.is("SSCAN", sorted((await redis.sscan(a, 0))[1]), ["y", "z"]);
    story.is("SRANDMEMBER", await redis.srandmember(a), (member) => "yz".includes(member));
    story.is("SPOP", await redis.spop(a), (member) => "yz".includes(member));
    story.is("SREM", await redis.srem(b, "w", "none"), 1);
    if (redis.sintercard) story.is("SINTERCARD", await redis.sintercard([b, c]), 2);
  },

  async sortedSets(story, redis) {
    const [a, b, c] = ["a", "b", "c"].map((name) => story.key(name));
    story.is("ZADD", await redis.zadd(a, { score: 1, member: "one" }, { score: 2.5, member: "two" }, { score: 3, member: { three: 3 } }), 3);
    await redis.zadd(b, { score: 10, member: "one" });
    story.is("ZADD GT", await redis.zadd(a, { gt: true, ch: true }, { score: 0, member: "one" }), 0);
    story.is("ZRANGE", await redis.zrange(a, 0, -1), ["one", "two", { three: 3 }]);
    story.is("ZRANGE WITHSCORES", await redis.zrange(a, 0, 1, { withScores: true, rev: true }), [{ three: 3 }, 3, "two", 2.5]);
    story.is("ZRANGE BYSCORE", await redis.zrange(a, 1, "(3", { byScore: true, offset: 1, count: 1 }), ["two"]);
    story.is("ZSCORE", await redis.zscore(a, "two"), 2.5);
    story.is("ZMSCORE", await redis.zmscore(a, ["one", "none"]), [1, null]);
    story.is("ZINCRBY", await redis.zincrby(a, 0.5, "one"), 1.5);
    story.is("ZCARD", await redis.zcard(a), 3);
    story.is("ZCOUNT", await redis.zcount(a, "-inf", "+inf"), 3);
    story.is("ZRANK", await redis.zrank(a, "two"), 1);
    story.is("ZREVRANK", await redis.zrevrank(a, "two"), 1);
    story.is("ZSCAN", (await redis.zscan(a, 0))[1].length, 6);
    story.is("ZUNION", await redis.zunion(2, [a, b], { withScores: true, aggregate: "max" }), (list) => list.length === 6);
    story.is("ZUNIONSTORE", await redis.zunionstore(c, 2, [a, b]), 3);
    story.is("ZINTERSTORE", await redis.zinterstore(c, 2, [a, b], { weights: [1, 2] }), 1);
    story.is("ZDIFFSTORE", await redis.zdiffstore(c, 2, a, b), 2);
    story.is("ZLEXCOUNT", await redis.zlexcount(b, "-", "+"), 1);
    story.is("ZPOPMIN", await redis.zpopmin(a), ["one", 1.5]);
    story.is("ZPOPMAX", await redis.zpopmax(a), [{ three: 3 }, 3]);
    story.is("ZREMRANGEBYSCORE", await redis.zremrangebyscore(a, 9, 10), 0);
    story.is("ZREMRANGEBYRANK", await redis.zremrangebyrank(a, 5, 6), 0);
    story.is("ZREMRANGEBYLEX", await redis.zremrangebylex(b, "[x", "[z"), 0);
    story.is("ZREM", await redis.zrem(a, "two"), 1);
  },

  async streams(story, redis) {
    const s = story.key("s");
    story.is("XADD", await redis.xadd(s, "1-1", { a: 1, b: "text" }), "1-1");
    await redis.xadd(s, "2-1", { a: 2 });
    story.is("XADD *", await redis.xadd(story.key("t"), "*", { a: 1 }, { trim: { type: "MAXLEN", threshold: 10, comparison: "=" } }), (id) => /^\d+-\d+$/.test(id));
    story.is("XLEN", await redis.xlen(s), 2);
    story.is("XRANGE", await redis.xrange(s, "-", "+"), { "1-1": { a: 1, b: "text" }, "2-1": { a: 2 } });
    story.is("XREVRANGE", await redis.xrevrange(s, "+", "-", 1), { "2-1": { a: 2 } });
    story.is("XREAD", await redis.xread(s, "1-1"), [[s, [["2-1", ["a", 2]]]]]);
    story.is("XREAD BLOCK", await redis.xread(s, "$", { blockMS: 60_000 }), null);
    story.is("XGROUP CREATE", await redis.xgroup(s, { type: "CREATE", group: "g", id: "0" }), "OK");
    story.is("XREADGROUP", await redis.xreadgroup("g", "c", s, ">", { count: 1 }), [[s, [["1-1", ["a", 1, "b", "text"]]]]]);
    story.is("XPENDING", await redis.xpending(s, "g", "-", "+", 10), (list) => list.length === 1 && list[0][0] === "1-1" && list[0][1] === "c");
    story.is("XCLAIM", await redis.xclaim(s, "g", "d", 0, "1-1"), (claimed) => JSON.stringify(claimed).includes("1-1"));
    story.is("XAUTOCLAIM", await redis.xautoclaim(s, "g", "e", 0, "0"), (claimed) => claimed[0] === "0-0");
    story.is("XACK", await redis.xack(s, "g", "1-1"), 1);
    if (redis.xackdel) {
      const x = story.key("x");
      for (const id of ["1-1", "2-1"]) await redis.xadd(x, id, { a: id });
      await redis.xgroup(x, { type: "CREATE", group: "g", id: "0" });
      await redis.xreadgroup("g", "c", x, ">");
      story.is("XDELEX", await redis.xdelex(x, "ACKED", "1-1", "7-7"), [2, -1]);
      story.is("XACKDEL", await redis.xackdel(x, "g", "DELREF", "1-1"), [1]);
    }
    story.is("XINFO", await redis.xinfo(s, { type: "GROUPS" }), (list) => list.length === 1);
    story.is("XTRIM", await redis.xtrim(s, { strategy: "MAXLEN", threshold: 1, exactness: "=" }), 1);
    story.is("XDEL", await redis.xdel(s, "2-1"), 1);
  },

  async geo(story, redis) {
    const g = story.key("g");
    story.is("GEOADD", await redis.geoadd(g, { longitude: 13.361389, latitude: 38.115556, member: "Palermo" }, { longitude: 15.087269, latitude: 37.502669, member: "Catania" }), 2);
    story.is("GEODIST", await redis.geodist(g, "Palermo", "Catania", "KM"), 166.2742);
    story.is("GEOPOS", await redis.geopos(g, "Palermo", "none"), (found) => Math.abs(found[0].lng - 13.361389) < 1e-4);
    story.is("GEOHASH", await redis.geohash(g, "Palermo"), ["sqc8b49rny0"]);
    story.is("GEOSEARCH", await redis.geosearch(g, { type: "FROMLONLAT", coordinate: { lon: 15, lat: 37 } }, { type: "BYRADIUS", radius: 200, radiusType: "KM" }, "ASC"), [{ member: "Catania" }, { member: "Palermo" }]);
    story.is("GEOSEARCHSTORE", await redis.geosearchstore(story.key("h"), g, { type: "FROMMEMBER", member: "Palermo" }, { type: "BYRADIUS", radius: 1, radiusType: "KM" }, "ASC"), 1);
  },

  async hyperloglogs(story, redis) {
    const [a, b, c] = ["a", "b", "c"].map((name) => story.key(name));
    story.is("PFADD", await redis.pfadd(a, "x", "y"), 1);
    await redis.pfadd(b, "y", "z");
    story.is("PFCOUNT", await redis.pfcount(a, b), 3);
    story.is("PFMERGE", await redis.pfmerge(c, a, b), "OK");
    story.is("PFCOUNT merged", await redis.pfcount(c), 3);
  },

  async json(story, redis) {
    const j = story.key("j");
    story.is("JSON.SET", await redis.json.set(j, "$", { a: [1, 2], n: 1, s: "x", t: true, o: { k: 1 } }), "OK");
    story.is("JSON.GET", await redis.json.get(j, "$.a"), [[1, 2]]);
    story.is("JSON.ARRAPPEND", await redis.json.arrappend(j, "$.a", 3, '"four"'), [4]);
    story.is("JSON.ARRINDEX", await redis.json.arrindex(j, "$.a", 3), [2]);
    story.is("JSON.ARRINSERT", await redis.json.arrinsert(j, "$.a", 0, 0), [5]);
    story.is("JSON.ARRLEN", await redis.json.arrlen(j, "$.a"), [5]);
    story.is("JSON.ARRPOP", await redis.json.arrpop(j, "$.a"), ["four"]);
    story.is("JSON.ARRTRIM", await redis.json.arrtrim(j, "$.a", 0, 1), [2]);
    story.is("JSON.NUMINCRBY", await redis.json.numincrby(j, "$.n", 2), [3]);
    story.is("JSON.NUMMULTBY", await redis.json.nummultby(j, "$.n", 2), [6]);
    story.is("JSON.OBJKEYS", await redis.json.objkeys(j, "$.o"), [["k"]]);
    story.is("JSON.OBJLEN", await redis.json.objlen(j, "$.o"), [1]);
    story.is("JSON.STRAPPEND", await redis.json.strappend(j, "$.s", '"y"'), [2]);
    story.is("JSON.STRLEN", await redis.json.strlen(j, "$.s"), [2]);
    story.is("JSON.TOGGLE", await redis.json.toggle(j, "$.t"), [0]);
    story.is("JSON.TYPE", await redis.json.type(j, "$.a"), ["array"]);
    story.is("JSON.MGET", await redis.json.mget([j, story.key("none")], "$.n"), [[6], null]);
    story.is("JSON.CLEAR", await redis.json.clear(j, "$.a"), 1);
    story.is("JSON.DEL", await redis.json.del(j, "$.a"), 1);
    const i = story.key("i");
    story.is("JSON.MSET", await redis.json.mset({ key: i, path: "$", value: { n: 1 } }), "OK");
    if (redis.json.merge) story.is("JSON.MERGE", await redis.json.merge(i, "$", { m: "new" }), "OK");
    story.is("JSON.RESP", await redis.json.resp(j, "$.o"), [["{", "k", 1]]);
    story.is("JSON.GET whole", await redis.json.get(j), { n: 6, s: "xy", t: false, o: { k: 1 } });
    story.is("JSON.FORGET", await redis.json.forget(j), 1);
  },

  async scripts(story, redis) {
    const k = story.key("k");
    story.is("EVAL", await redis.eval("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])", [k], ["v"]), "v");
    const source = `return {KEYS[1], ARGV[1], 1, {"${story.from}"}}`;
    const sha = await redis.scriptLoad(source);
    story.is("EVALSHA", await redis.evalsha(sha, [k], ["a"]), [k, "a", 1, [story.from]]);
    story.is("SCRIPT EXISTS", await redis.scriptExists(sha), [1]);
    const script = redis.createScript(`return "${story.from} is made"`);
    story.is("createScript", await script.exec([], []), `${story.from} is made`); // EVALSHA, and EVAL on NOSCRIPT
    story.is("createScript again", await script.exec([], []), `${story.from} is made`);
    if (redis.evalRo) story.is("EVAL_RO", await redis.evalRo("return redis.call('GET', KEYS[1])", [k], []), "v");
    if (redis.evalshaRo) story.is("EVALSHA_RO", await redis.evalshaRo(sha, [k], ["a"]), [k, "a", 1, [story.from]]);
    await story.fails("EVAL of nonsense", redis.eval("nonsense", [], []), "ERR Error compiling script");
  },

  async functions(story, redis) {
    if (!redis.functions) return;
    const library = story.key("library").replaceAll(/[^a-z0-9]/g, "_");
    const code = `#!lua name=${library}
      redis.register_function("${library}_set", function(keys, args) return redis.call("SET", keys[1], args[1]) end)
      redis.register_function{function_name="${library}_get", flags={"no-writes"}, callback=function(keys) return redis.call("GET", keys[1]) end}`;
    story.is("FUNCTION LOAD", await redis.functions.load({ code, replace: true }), library);
    story.is("FCALL", await redis.functions.call(`${library}_set`, [story.key("k")], ["v"]), "OK");
    story.is("FCALL_RO", await redis.functions.callRo(`${library}_get`, [story.key("k")]), "v");
    await story.fails("FCALL_RO that writes", redis.functions.callRo(`${library}_set`, [story.key("k")], ["w"]), "read-only");
    const [found] = await redis.functions.list({ libraryName: library, withCode: true });
    story.is("FUNCTION LIST", [found.libraryName, found.functions.length, found.libraryCode], [library, 2, code]);
    story.is("FUNCTION STATS", (await redis.functions.stats()).engines.LUA.functionsCount, (count) => count >= 2);
    story.is("FUNCTION DELETE", await redis.functions.delete(library), "OK");
    await story.fails("FCALL of nothing", redis.functions.call(`${library}_get`, [story.key("k")]), "ERR Function not found");
  },

  async subscriptions(story, redis) {
    if (!redis.psubscribe) return;
    const heard = [];
    let tell;
    const two = new Promise((resolve) => (tell = resolve));
    const hear = (kind) => (event) => heard.push([kind, event.pattern ?? null, event.channel, event.message]) === 2 && tell();
    const name = story.key("channel").replaceAll("/", "."); // the client does not encode it
    const channel = redis.subscribe(name);
    const pattern = redis.psubscribe(`${name.slice(0, -3)}*`);
    channel.on("message", hear("message"));
    pattern.on("pmessage", hear("pmessage"));
    await Promise.all([channel, pattern].map((each) => new Promise((resolve) => each.on(each === channel ? "subscribe" : "psubscribe", resolve))));
    await redis.publish(name, { hello: [1, "wörld, and more"] });
    await two;
    const message = { hello: [1, "wörld, and more"] };
    story.is("messages", heard.sort(), [
      ["message", null, name, message],
      ["pmessage", `${name.slice(0, -3)}*`, name, message],
    ]);
    await Promise.all([channel.unsubscribe(), pattern.unsubscribe()]);
  },

  async server(story, redis) {
    story.is("PING", await redis.ping(), "PONG");
    story.is("ECHO", await redis.echo("hello"), "hello");
    story.is("TIME", (await redis.time()).length, 2);
    story.is("PUBLISH", await redis.publish(story.key("nobody"), "x"), 0);
    if (story.plain.exec) story.is("exec", await story.plain.exec(["ECHO", "raw"]), "raw");
  },

  async batches(story, redis) {
    const k = story.key("k");
    story.is("pipeline", await redis.pipeline().set(k, 1).incr(k).get(k).exec(), ["OK", 2, 2]);
    story.is("multi", await redis.multi().incr(k).incr(k).get(k).exec(), [3, 4, 4]);
    const both = redis.pipeline().set(k, "text").incr(k).get(k);
    await story.fails("pipeline with a mistake", both.exec(), "ERR value is not an integer or out of range");
    const kept = await redis.pipeline().incr(k).get(k).exec({ keepErrors: true });
    story.is("keepErrors", kept.map((item) => [item.result ?? null, item.error ?? null]), [[null, "ERR value is not an integer or out of range"], ["text", null]]);
    const many = await Promise.all(Array.from({ length: 200 }, (_, n) => redis.set(story.key(n), n)));
    story.is("200 at once", many.every((reply) => reply === "OK"), true);
    const read = await Promise.all(Array.from({ length: 200 }, (_, n) => redis.get(story.key(n))));
    story.is("and read", read, Array.from({ length: 200 }, (_, n) => n));
  },

  async ratelimit(story, redis) {
    const limiters = {
      fixed: Ratelimit.fixedWindow(2, "1 h"),
      sliding: Ratelimit.slidingWindow(2, "1 h"),
      bucket: Ratelimit.tokenBucket(2, "1 h", 2),
    };
    for (const [name, limiter] of Object.entries(limiters)) {
      const limit = new Ratelimit({ redis, limiter, prefix: story.key(name), ephemeralCache: false });
      const allowed = [];
      for (let n = 0; n < 3; n++) allowed.push((await limit.limit("someone")).success);
      story.is(`Ratelimit ${name}`, allowed, [true, true, false]);
      await limit.resetUsedTokens("someone");
      story.is(`Ratelimit ${name} after a reset`, (await limit.limit("someone")).success, true);
    }
  },

  async lock(story, redis) {
    const options = { id: story.key("lock"), redis, lease: 60_000, retry: { attempts: 1, delay: 1 } };
    const [one, two] = [new Lock(options), new Lock(options)];
    story.is("acquire", await one.acquire(), true);
    story.is("acquire what is held", await two.acquire(), false);
    story.is("extend", await one.extend(1000), true);
    story.is("release of another's", await two.release(), false);
    story.is("release", await one.release(), true);
    story.is("acquire what is free", await two.acquire(), true);
  },
};

async function tell(from) {
  const { Redis } = await import(from);
  const options = { url, token, enableTelemetry: false, retry: { retries: 0 } };
  const plain = new Redis({ ...options, enableAutoPipelining: false });
  await Promise.all(
    Object.entries(groups).map(async ([name, group]) => {
      const redis = new Redis(options); // its own: in 1.34.4 a failing command takes its whole auto-pipeline with it
      const story = new Story(plain, from, name);
      await group(story, redis).catch((failure) => wrong.push([from, name, String(failure.message ?? failure), "no error"]));
    }),
  );
}

await Promise.all(packages.map(tell));
console.log(JSON.stringify({ wrong, checked }));
process.exit(0);
