"""Deadlines of keys: the EXPIRE and TTL families, and what other commands with deadlines share.

A deadline is absolute, in milliseconds since 1970. Commands with relative times are logged as they came: the entry
carries the time they count from. A deadline that has passed removes the key at once and is logged as the DEL it is.
"""

from typing import Final

from upstash_global.engine.arguments import integer_argument
from upstash_global.engine.context import EVENT_GENERIC, Context
from upstash_global.engine.numbers import INT64_MAX, INT64_MIN
from upstash_global.engine.table import FAST, FIRST, READONLY, VOLATILE, WRITE, Family
from upstash_global.errors import CommandError, error
from upstash_global.reply import Reply

command = Family("generic").command


# -- reads ------------------------------------------------------------------------------------------------------


@command("EXPIRETIME", arity=2, flags=READONLY | FAST, keys=FIRST)
def expiretime(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the deadline of a key in seconds since 1970; -1 without one, -2 without a key."""
    return _in_seconds(ctx.deadline(argv[1]))


@command("PEXPIRETIME", arity=2, flags=READONLY | FAST, keys=FIRST)
def pexpiretime(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the deadline of a key in milliseconds since 1970; -1 without one, -2 without a key."""
    return ctx.deadline(argv[1])


@command("PTTL", arity=2, flags=READONLY | FAST | VOLATILE, keys=FIRST)
def pttl(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the time to live of a key in milliseconds; -1 without a deadline, -2 without a key."""
    return _left_ms(ctx, argv[1])


@command("TTL", arity=2, flags=READONLY | FAST | VOLATILE, keys=FIRST)
def ttl(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the time to live of a key in seconds; -1 without a deadline, -2 without a key."""
    return _in_seconds(_left_ms(ctx, argv[1]))


def _left_ms(ctx: Context, key: bytes) -> int:
    deadline = ctx.deadline(key)
    return deadline - ctx.now_ms if deadline >= 0 else deadline


def _in_seconds(ms: int) -> int:
    return (ms + 500) // 1000 if ms >= 0 else ms


# -- writes -----------------------------------------------------------------------------------------------------


@command("EXPIRE", arity=-3, flags=WRITE | FAST, keys=FIRST)
def expire_(ctx: Context, argv: list[bytes]) -> Reply:
    """Set the time to live of a key in seconds."""
    return _set_deadline(ctx, argv, ctx.now_ms, 1000, "expire")


@command("EXPIREAT", arity=-3, flags=WRITE | FAST, keys=FIRST)
def expireat(ctx: Context, argv: list[bytes]) -> Reply:
    """Set the deadline of a key in seconds since 1970."""
    return _set_deadline(ctx, argv, 0, 1000, "expireat")


@command("PERSIST", arity=2, flags=WRITE | FAST, keys=FIRST)
def persist(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove the deadline of a key; reply with 1 if it had one."""
    if ctx.deadline(argv[1]) < 0:
        return 0
    ctx.expire(argv[1], -1)
    ctx.notify(EVENT_GENERIC, b"persist", argv[1])
    return 1


@command("PEXPIRE", arity=-3, flags=WRITE | FAST, keys=FIRST)
def pexpire(ctx: Context, argv: list[bytes]) -> Reply:
    """Set the time to live of a key in milliseconds."""
    return _set_deadline(ctx, argv, ctx.now_ms, 1, "pexpire")


@command("PEXPIREAT", arity=-3, flags=WRITE | FAST, keys=FIRST)
def pexpireat(ctx: Context, argv: list[bytes]) -> Reply:
    """Set the deadline of a key in milliseconds since 1970."""
    return _set_deadline(ctx, argv, 0, 1, "pexpireat")


def _set_deadline(ctx: Context, argv: list[bytes], base_ms: int, unit_ms: int, name: str) -> int:
    key = argv[1]
    condition = _Condition(argv[3:]) if len(argv) > 3 else None
    time = integer_argument(argv[2])
    at_ms = time * unit_ms
    if not INT64_MIN <= at_ms <= INT64_MAX - base_ms:
        raise invalid_time(name)
    at_ms += base_ms
    old_ms = ctx.deadline(key)
    if old_ms == -2 or (condition is not None and not condition.holds(old_ms, at_ms)):
        return 0
    expire(ctx, key, at_ms)
    return 1


class _Condition:
    """When a new deadline may replace the old one: NX, XX, GT and LT. No deadline counts as an infinite one."""

    def __init__(self, words: list[bytes]) -> None:
        self.nx = self.xx = self.gt = self.lt = False
        for word in words:
            flag = word.upper()
            if flag == b"NX":
                self.nx = True
            elif flag == b"XX":
                self.xx = True
            elif flag == b"GT":
                self.gt = True
            elif flag == b"LT":
                self.lt = True
            else:
                shown = word.partition(b"\0")[0].decode("utf-8", "surrogateescape")  # printed as a C string
                raise error(f"Unsupported option {shown}")
        if self.nx and (self.xx or self.gt or self.lt):
            raise error("NX and XX, GT or LT options at the same time are not compatible")
        if self.gt and self.lt:
            raise error("GT and LT options at the same time are not compatible")

    def holds(self, old_ms: int, new_ms: int) -> bool:
        if old_ms < 0:
            return not self.xx and not self.gt
        if self.nx:
            return False
        return (not self.gt or new_ms > old_ms) and (not self.lt or new_ms < old_ms)


# -- for other families -----------------------------------------------------------------------------------------

DEADLINE_UNITS: Final = (b"EX", b"PX", b"EXAT", b"PXAT")


def deadline_argument(unit: bytes, text: bytes, now_ms: int, name: str) -> int:
    """The deadline that `EX 10` and the like mean, in milliseconds since 1970; `name` is the command's, lower case.

    Raises CommandError for no integer, zero, a negative time and a deadline beyond 64 bits. One in the past is no error.
    """
    time = integer_argument(text)
    at_ms = time * 1000 if unit in (b"EX", b"EXAT") else time
    if unit in (b"EX", b"PX"):
        at_ms += now_ms
    if time <= 0 or at_ms > INT64_MAX:
        raise invalid_time(name)
    return at_ms


def expire(ctx: Context, key: bytes, at_ms: int) -> None:
    """Give a key a deadline; one that has passed removes the key, which is logged as the DEL it is."""
    if at_ms > ctx.now_ms:
        ctx.expire(key, at_ms)
        ctx.notify(EVENT_GENERIC, b"expire", key)
    elif ctx.remove(key):
        ctx.log_as(b"DEL", key)
        ctx.notify(EVENT_GENERIC, b"del", key)


def invalid_time(name: str) -> CommandError:
    return error(f"invalid expire time in '{name}' command")
