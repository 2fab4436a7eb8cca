"""Blocking pops: a plain command and how long to wait for it.

Each tries its plain form first and is logged as that. When there is nothing to take, `ctx.block` says for which keys and how
long the session waits; the node parks it and runs the same handler again whenever one of the keys changes. Inside MULTI and
scripts nothing waits: there the answer is that of a timeout.
"""

from typing import Final

from upstash_global.engine.commands.lists import lmove, lmpop, pop, rpoplpush
from upstash_global.engine.commands.sortedsets import pop as pop_pairs
from upstash_global.engine.commands.sortedsets import zmpop
from upstash_global.engine.context import Context
from upstash_global.engine.numbers import parse_float
from upstash_global.engine.table import (
    BLOCKING,
    DENYOOM,
    FAST,
    FIRST_TWO,
    MOVABLEKEYS,
    WRITE,
    Family,
    Keys,
)
from upstash_global.errors import error
from upstash_global.reply import NULL_ARRAY, Reply

command = Family("list").command
zset_command = Family("sorted-set").command

TYPE_OF_GROUP: Final = {"list": "list", "sorted-set": "zset", "stream": "stream"}  # what a blocked command waits for
KEYS_BEFORE_TIMEOUT: Final = Keys(1, -2, 1)
MOST_MS: Final = 1 << 53


@command("BLMOVE", arity=6, flags=WRITE | DENYOOM | BLOCKING, keys=FIRST_TWO)
def blmove(ctx: Context, argv: list[bytes]) -> Reply:
    """LMOVE, waiting for an element."""
    plain = [b"LMOVE", *argv[1:5]]
    timeout_ms = _timeout_ms(argv[5])
    value = lmove(ctx, plain)
    if value is None:
        return ctx.block(argv[1:2], timeout_ms, NULL_ARRAY, None)
    ctx.log_as(*plain)
    return value


@command("BLMPOP", arity=-5, flags=WRITE | BLOCKING | MOVABLEKEYS, keys=Keys(0, 0, 0, counted=2))
def blmpop(ctx: Context, argv: list[bytes]) -> Reply:
    """LMPOP, waiting for a list."""
    timeout_ms = _timeout_ms(argv[1])
    plain = [b"LMPOP", *argv[2:]]
    return _or_block(ctx, plain, lmpop(ctx, plain), timeout_ms)


@command("BLPOP", arity=-3, flags=WRITE | BLOCKING, keys=KEYS_BEFORE_TIMEOUT)
def blpop(ctx: Context, argv: list[bytes]) -> Reply:
    """The first element of the first list that has one, with its key; waits for one."""
    return _pop_first(ctx, argv, b"LPOP", True)


@command("BRPOP", arity=-3, flags=WRITE | BLOCKING, keys=KEYS_BEFORE_TIMEOUT)
def brpop(ctx: Context, argv: list[bytes]) -> Reply:
    """The last element of the first list that has one, with its key; waits for one."""
    return _pop_first(ctx, argv, b"RPOP", False)


@command("BRPOPLPUSH", arity=4, flags=WRITE | DENYOOM | BLOCKING, keys=FIRST_TWO)
def brpoplpush(ctx: Context, argv: list[bytes]) -> Reply:
    """RPOPLPUSH, waiting for an element."""
    timeout_ms = _timeout_ms(argv[3])
    plain = [b"RPOPLPUSH", argv[1], argv[2]]
    value = rpoplpush(ctx, plain)
    if value is None:
        return ctx.block(argv[1:2], timeout_ms, NULL_ARRAY, None)
    ctx.log_as(*plain)
    return value


@zset_command("BZMPOP", arity=-5, flags=WRITE | BLOCKING | MOVABLEKEYS, keys=Keys(0, 0, 0, counted=2))
def bzmpop(ctx: Context, argv: list[bytes]) -> Reply:
    """ZMPOP, waiting for a sorted set."""
    timeout_ms = _timeout_ms(argv[1])
    plain = [b"ZMPOP", *argv[2:]]
    return _or_block(ctx, plain, zmpop(ctx, plain), timeout_ms)


@zset_command("BZPOPMAX", arity=-3, flags=WRITE | FAST | BLOCKING, keys=KEYS_BEFORE_TIMEOUT)
def bzpopmax(ctx: Context, argv: list[bytes]) -> Reply:
    """The highest member of the first sorted set that has one, with key and score; waits for one."""
    return _pop_extreme(ctx, argv, b"ZPOPMAX", True)


@zset_command("BZPOPMIN", arity=-3, flags=WRITE | FAST | BLOCKING, keys=KEYS_BEFORE_TIMEOUT)
def bzpopmin(ctx: Context, argv: list[bytes]) -> Reply:
    """The lowest member of the first sorted set that has one, with key and score; waits for one."""
    return _pop_extreme(ctx, argv, b"ZPOPMIN", False)


def narrowed(argv: list[bytes], key: bytes) -> list[bytes]:
    """The command as it is tried again for one of its keys: Redis serves a waiting client from the key that got ready."""
    name = argv[0].upper()
    if name in (b"BLMPOP", b"BZMPOP"):
        return [argv[0], argv[1], b"1", key, *argv[3 + int(argv[2]) :]]
    if name in (b"BLPOP", b"BRPOP", b"BZPOPMIN", b"BZPOPMAX"):
        return [argv[0], key, argv[-1]]
    return argv


def _pop_first(ctx: Context, argv: list[bytes], plain: bytes, from_left: bool) -> Reply:
    timeout_ms = _timeout_ms(argv[-1])
    for key in argv[1:-1]:
        if ctx.find_list(key) is not None:
            value = pop(ctx, key, 1, from_left)[0]
            ctx.log_as(plain, key)
            return [key, value]
    return ctx.block(argv[1:-1], timeout_ms, NULL_ARRAY, NULL_ARRAY)


def _pop_extreme(ctx: Context, argv: list[bytes], plain: bytes, is_highest: bool) -> Reply:
    timeout_ms = _timeout_ms(argv[-1])
    for key in argv[1:-1]:
        if ctx.find_zset(key) is not None:
            member, score = pop_pairs(ctx, key, 1, is_highest)[0]
            ctx.log_as(plain, key)
            return [key, member, score]
    return ctx.block(argv[1:-1], timeout_ms, NULL_ARRAY, NULL_ARRAY)


def _or_block(ctx: Context, plain: list[bytes], reply: Reply, timeout_ms: int) -> Reply:
    """The answer of LMPOP or ZMPOP, or a wait for one of its keys."""
    if reply is NULL_ARRAY:
        return ctx.block(plain[2 : 2 + int(plain[1])], timeout_ms, NULL_ARRAY, NULL_ARRAY)
    ctx.log_as(*plain)
    return reply


def _timeout_ms(text: bytes) -> int:
    """Seconds, with fractions, as milliseconds; 0 waits for ever."""
    seconds = parse_float(text)
    if seconds is None:
        raise error("timeout is not a float or out of range")
    if seconds < 0:
        raise error("timeout is negative")
    if seconds * 1000 > MOST_MS:
        raise error("timeout is out of range")
    return 0 if seconds == 0 else max(1, int(seconds * 1000))
