"""How the cost of each command grows with the value it works on, beside redis-server: nothing may be quadratic.

Every command runs alone, a few times, on values of two sizes; its least time counts, from sending to the end of the reply.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.report import Aim, Table, at_most
from bench.servers import Client, Server, our_servers, packed, redis_servers

SMALL: Final = 4_000  # elements
LARGE: Final = 64_000
REPEATS: Final = 5
BATCH: Final = 1_000
SHOWN_ABOVE: Final = 4  # times redis-server's time
QUIET_US: Final = 300.0  # what takes no longer has not grown
GROWTH: Final[Aim] = at_most("grows", 4 * LARGE / SMALL)  # proportional costs grow by 16; caches miss more, too

# What makes a value, its first argument left out, and {n} counting up. `group` reads all of a stream for one consumer.
VALUES: Final[dict[str, str]] = {
    "list": "RPUSH {key} e{n}",
    "numbers": "RPUSH {key} {scattered}",
    "equals": "RPUSH {key} x",
    "set": "SADD {key} e{n}",
    "integers": "SADD {key} {n}",
    "zset": "ZADD {key} {n} e{n}",
    "hash": "HSET {key} e{n} v{n}",
    "string": "APPEND {key} ab",
    "stream": "XADD {key} {n}-1 f v",
    "group": "XADD {key} {n}-1 f v",
    "geo": "GEOADD {key} {longitude} {latitude} e{n}",
}
# {m} is the middle, {l} the last. The value is under `v`; each command finds it as it was made.
COMMANDS: Final[dict[str, list[str]]] = {
    "list": [
        *["LINDEX v {m}", "LRANGE v {m} {m}", "LRANGE v 0 -1", "LPOS v e{l}", "LPOS v z RANK -1", "LPOS v z COUNT 0"],
        *["LPUSH v x", "LPOP v", "LPOP v {m}", "RPOP v {m}", "LSET v {m} y", "LINSERT v BEFORE e{m} y", "LREM v 0 z"],
        *["LREM v -1 e1", "LTRIM v 1 -2", "LTRIM v {m} -1", "LMOVE v v LEFT RIGHT", "LMPOP 1 v LEFT COUNT {m}"],
        *["SORT v ALPHA", "COPY v w REPLACE", "RENAME v w", "DUMP v", "DEL v", "MEMORY USAGE v"],
    ],
    "numbers": ["SORT v", "SORT v LIMIT 0 10", "SORT v BY nosort", "SORT v BY w_* GET # GET w_*", "SORT v STORE w"],
    "equals": ["LREM v 0 x", "LREM v {m} x", "LPOS v x COUNT 0", "LPOS v x RANK {l}"],
    "set": [
        *["SMEMBERS v", "SISMEMBER v e{m}", "SRANDMEMBER v", "SRANDMEMBER v {m}", "SRANDMEMBER v -{m}", "SSCAN v 0"],
        *["SINTER v v", "SUNION v v", "SDIFF v w", "SINTERCARD 2 v v LIMIT 10", "SINTERSTORE w v v", "SADD v z"],
        *["SREM v e{m}", "SPOP v", "SPOP v {m}", "SMOVE v w e{m}", "COPY v w REPLACE", "DUMP v", "DEL v"],
    ],
    "integers": ["SADD v z", "SADD v 99999999", "SREM v {m}", "SRANDMEMBER v 10"],
    "zset": [
        *["ZRANGE v {m} {m}", "ZRANGE v 0 -1 WITHSCORES", "ZRANGE v {m} +inf BYSCORE LIMIT 0 10", "ZSCORE v e{m}"],
        *["ZRANGE v 0 +inf BYSCORE LIMIT {m} 10", "ZRANGE v 0 9 REV", "ZRANK v e{m}", "ZREVRANK v e{m}", "ZSCAN v 0"],
        *["ZCOUNT v 10 {m}", "ZRANDMEMBER v {m}", "ZRANDMEMBER v -{m} WITHSCORES", "ZUNION 2 v v", "ZINTER 2 v v"],
        *["ZDIFF 2 v w", "ZINTERCARD 2 v v LIMIT 10", "ZUNIONSTORE w 2 v v", "ZINTERSTORE w 2 v v", "ZADD v 5.5 z"],
        *["ZRANGESTORE w v 0 -1", "ZADD v 99999999 e1", "ZINCRBY v 1 e{m}", "ZREM v e{m}", "ZPOPMIN v", "ZPOPMAX v"],
        *["ZPOPMIN v {m}", "ZREMRANGEBYRANK v {m} {m}", "ZREMRANGEBYRANK v 0 {m}", "ZREMRANGEBYSCORE v 10 20"],
        *["ZMPOP 1 v MAX COUNT 10", "COPY v w REPLACE", "DUMP v", "DEL v"],
    ],
    "hash": [
        *["HGET v e{m}", "HGETALL v", "HKEYS v", "HRANDFIELD v", "HRANDFIELD v {m}", "HRANDFIELD v -{m}", "HSCAN v 0"],
        *["HSET v z 1", "HDEL v e{m}", "HINCRBY v z 1", "COPY v w REPLACE", "DUMP v", "DEL v"],
    ],
    "string": [
        *[
            "GET v",
            "GETRANGE v {m} {m}",
            "BITCOUNT v",
            "BITPOS v 0",
            "GETBIT v {m}",
            "BITOP AND w v v",
            "BITOP NOT w v",
        ],
        *[
            "BITFIELD_RO v GET u8 {m}",
            "APPEND v x",
            "SETRANGE v {m} yy",
            "SETBIT v {m} 1",
            "DUMP v",
            "COPY v w REPLACE",
        ],
    ],
    "stream": [
        *["XLEN v", "XRANGE v {m} + COUNT 10", "XREVRANGE v + - COUNT 10", "XRANGE v - +", "XINFO STREAM v FULL"],
        *[
            "XREAD COUNT 10 STREAMS v {m}",
            "XADD v * f v",
            "XADD v MAXLEN {m} * f v",
            "XTRIM v MINID {m}",
            "XDEL v {m}-1",
        ],
        *["XGROUP CREATE v g $", "COPY v w REPLACE", "DUMP v", "DEL v"],
    ],
    "group": [
        *["XPENDING v g", "XPENDING v g {m} + 10", "XPENDING v g - + 10 c", "XINFO CONSUMERS v g", "XACK v g {m}-1"],
        *["XREADGROUP GROUP g c COUNT 10 STREAMS v {m}", "XCLAIM v g d 0 {m}-1", "XAUTOCLAIM v g d 0 0 COUNT 10"],
        *["XAUTOCLAIM v g d 99999999 0 COUNT 10", "XGROUP DELCONSUMER v g c", "XDEL v {m}-1", "XTRIM v MAXLEN 0"],
    ],
    "geo": [
        *["GEOPOS v e1", "GEODIST v e1 e2", "GEOSEARCH v FROMLONLAT 0 0 BYRADIUS 100 km"],
        *["GEOSEARCH v FROMLONLAT 0 0 BYRADIUS 30000 km", "GEOSEARCH v FROMLONLAT 0 0 BYRADIUS 30000 km COUNT 5"],
        *["GEOSEARCH v FROMLONLAT 0 0 BYRADIUS 30000 km COUNT 5 ANY"],
    ],
}


def measure(directory: Path) -> list[Table]:
    table = Table(
        "How costs grow",
        f"{sum(map(len, COMMANDS.values()))} commands, each by itself on a value of {SMALL:,} and one of {LARGE:,} elements: the least "
        f"of {REPEATS} times from sending to the end of the reply, in µs. Shown is what takes more than {SHOWN_ABOVE} times as long "
        f"as in redis-server on the large value, and what grows the most.",
        ["command", "on", ">ours", ">ours large", ">grows", ">redis", ">redis large", ">redis grows"],
    )
    times: dict[tuple[str, str], list[float]] = {}
    with redis_servers(directory / "redis") as (theirs,), our_servers(directory / "ours") as (ours,):
        for server in (ours, theirs):
            for kind, commands in COMMANDS.items():
                for n in (SMALL, LARGE):
                    for command, us in timed(server, kind, commands, n):
                        times.setdefault((kind, command), []).append(us)
    growths = {name: us[1] / us[0] if us[1] > QUIET_US else 1.0 for name, us in times.items()}
    worst = max(growths, key=lambda name: growths[name])
    for name, (small, large, their_small, their_large) in times.items():
        if name != worst and (large <= SHOWN_ABOVE * their_large or large <= QUIET_US):
            continue
        table.add(
            name[1],
            name[0],
            f"{small:,.0f}",
            f"{large:,.0f}",
            f"{large / small:.1f}",
            f"{their_small:,.0f}",
            f"{their_large:,.0f}",
            f"{their_large / their_small:.1f}",
            aims=[(GROWTH, growths[name])] if name == worst else (),
        )
    return [table]


def timed(server: Server, kind: str, commands: list[str], n: int) -> Iterator[tuple[str, float]]:
    """Each command with its least time, in µs, on a value of n elements."""
    with server.client() as client:
        for batch in made(kind, "made", n):
            answered(client, batch)
        for command in commands:
            argv = command.format(m=n // 2, l=n).split()
            least = float("inf")
            for _ in range(REPEATS):
                answered(client, packed("COPY", "made", "v", "REPLACE") + packed("DEL", "w"))
                began = time.perf_counter()
                answered(client, packed(*argv))
                least = min(least, time.perf_counter() - began)
            yield command, least * 1e6
        answered(client, packed("DEL", "made", "v", "w"))


def made(kind: str, key: str, n: int) -> Iterator[bytes]:
    """The commands that make a value, in batches."""
    for start in range(1, n + 1, BATCH):
        yield b"".join(packed(*_words(kind, key, i, n)) for i in range(start, min(start + BATCH, n + 1)))
    if kind == "group":
        yield packed("XGROUP", "CREATE", key, "g", "0")
        yield packed("XREADGROUP", "GROUP", "g", "c", "COUNT", str(n), "STREAMS", key, ">")


def _words(kind: str, key: str, i: int, n: int) -> list[str]:
    """The command that adds element i of n."""
    facts = {"scattered": i * 7919 % n, "longitude": i * 37 % 3600 / 10 - 180, "latitude": i * 91 % 1700 / 10 - 85}
    return VALUES[kind].format(key=key, n=i, **facts).split()


def answered(client: Client, commands: bytes) -> None:
    """Send, and read until what came behind is answered. Raises ValueError when the first reply is an error."""
    marker = b"the end of the replies"
    client.socket.sendall(commands + packed("ECHO", marker.decode()))
    reply = client.socket.recv(1 << 20)
    if reply.startswith(b"-"):
        raise ValueError(reply.partition(b"\r\n")[0].decode())
    while not reply.endswith(marker + b"\r\n"):
        reply = reply[-len(marker) :] + client.socket.recv(1 << 20)
