"""Strings: values of bytes, and the counters kept in them.

A value is `bytes` (OBJECT ENCODING follows from its text) until a command edits it in place: APPEND, SETRANGE and the bit
commands leave a `bytearray`, which is `raw`. INCRBYFLOAT leaves a FloatText, which is never `int`.
"""

from typing import Final

from xxhash import xxh3_64_hexdigest

from upstash_global.engine.arguments import Arguments, integer_argument
from upstash_global.engine.commands.expiry import DEADLINE_UNITS, deadline_argument, expire
from upstash_global.engine.context import EVENT_GENERIC, EVENT_STRING, Context
from upstash_global.engine.encodings import FloatText
from upstash_global.engine.numbers import (
    INT64_MAX,
    INT64_MIN,
    add_long_doubles,
    parse_integer,
    parse_long_double,
)
from upstash_global.engine.table import ALL, DENYOOM, FAST, FIRST, PAIRS, READONLY, WRITE, Family
from upstash_global.errors import error, not_a_float, not_an_integer, syntax_error, wrong_arity, wrong_type
from upstash_global.reply import OK, Reply

command = Family("string").command


# -- reads ------------------------------------------------------------------------------------------------------


@command("DIGEST", arity=2, flags=READONLY | FAST, keys=FIRST)
def digest(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the XXH3 digest of a string as 16 hexadecimal digits, for the conditions of SET and DELEX."""
    value = ctx.view_string(argv[1])
    return None if value is None else _digest(value)


@command("GET", arity=2, flags=READONLY | FAST, keys=FIRST)
def get(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the string value of a key."""
    return ctx.find_string(argv[1])


@command("GETRANGE", arity=4, flags=READONLY, keys=FIRST)
def getrange(ctx: Context, argv: list[bytes]) -> Reply:
    """Get a part of a string, by its first and last byte."""
    start = integer_argument(argv[2])
    end = integer_argument(argv[3])
    value = ctx.view_string(argv[1])
    if not value or (start < 0 and end < 0 and start > end):
        return b""
    n = len(value)
    start = max(0, start + n) if start < 0 else start
    end = max(0, end + n) if end < 0 else end  # as Redis 7.2: an end before the first byte means the first byte
    return bytes(value[start : end + 1])


@command("MGET", arity=-2, flags=READONLY | FAST, keys=ALL)
def mget(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the values of several keys; nil for a key that is missing or holds no string."""
    values: list[Reply] = []
    for key in argv[1:]:
        value = ctx.find(key)
        if type(value) is not bytes:
            value = bytes(value) if isinstance(value, (bytes, bytearray)) else None
        values.append(value)
    return values


@command("STRLEN", arity=2, flags=READONLY | FAST, keys=FIRST)
def strlen(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the length of a string in bytes."""
    value = ctx.view_string(argv[1])
    return 0 if value is None else len(value)


@command("SUBSTR", arity=4, flags=READONLY, keys=FIRST)
def substr(ctx: Context, argv: list[bytes]) -> Reply:
    """Get a part of a string; the old name of GETRANGE."""
    return getrange(ctx, argv)


# -- writes -----------------------------------------------------------------------------------------------------


@command("APPEND", arity=3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def append(ctx: Context, argv: list[bytes]) -> Reply:
    """Append to a string, or create it; reply with the new length."""
    key, tail = argv[1], argv[2]
    value = ctx.view_string(key)
    if value is None:
        ctx.put(key, tail)
        ctx.notify(EVENT_STRING, b"append", key)
        return len(tail)
    check_length(ctx, len(value) + len(tail))
    edited = ctx.edit_string(key)
    edited += tail
    ctx.save(key, edited)
    ctx.notify(EVENT_STRING, b"append", key)
    return len(edited)


@command("DECR", arity=2, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def decr(ctx: Context, argv: list[bytes]) -> Reply:
    """Subtract one from the integer of a key; reply with the new value."""
    return _increment(ctx, argv[1], -1)


@command("DECRBY", arity=3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def decrby(ctx: Context, argv: list[bytes]) -> Reply:
    """Subtract from the integer of a key; reply with the new value."""
    by = integer_argument(argv[2])
    if by == INT64_MIN:
        raise error("decrement would overflow")
    return _increment(ctx, argv[1], -by)


@command("DELEX", arity=-2, flags=WRITE | FAST, keys=FIRST)
def delex(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove a key, with a condition only if its string is or is not as said: 1 if it was removed."""
    key = argv[1]
    if len(argv) not in (2, 4):
        raise wrong_arity("delex")
    if len(argv) == 4:
        condition = argv[2].upper()
        if condition not in CONDITIONS:
            raise error("Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")
        _check_operand(condition, argv[3])
        value = ctx.view_string(key)
        if value is None or not _holds(condition, argv[3], value):
            return 0
    if not ctx.remove(key):
        return 0
    ctx.notify(EVENT_GENERIC, b"del", key)
    return 1


@command("GETDEL", arity=2, flags=WRITE | FAST, keys=FIRST)
def getdel(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the string value of a key and remove the key."""
    value = ctx.find_string(argv[1])
    if value is not None:
        ctx.remove(argv[1])
        ctx.notify(EVENT_GENERIC, b"del", argv[1])
    return value


@command("GETEX", arity=-2, flags=WRITE | FAST, keys=FIRST)
def getex(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the string value of a key, and set or remove its deadline."""
    key = argv[1]
    options = _Options(argv, 2, of_set=False)
    value = ctx.find_string(key)
    if value is None:
        return None
    if options.unit:
        expire(ctx, key, deadline_argument(options.unit, options.time, ctx.now_ms, "getex"))
    elif options.persist and ctx.deadline(key) >= 0:
        ctx.expire(key, -1)
        ctx.notify(EVENT_GENERIC, b"persist", key)
    return value


@command("GETSET", arity=3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def getset(ctx: Context, argv: list[bytes]) -> Reply:
    """Set the string value of a key; reply with the value it had."""
    value = ctx.find_string(argv[1])
    _store(ctx, argv[1], argv[2])
    return value


@command("INCR", arity=2, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def incr(ctx: Context, argv: list[bytes]) -> Reply:
    """Add one to the integer of a key; reply with the new value."""
    return _increment(ctx, argv[1], 1)


@command("INCRBY", arity=3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def incrby(ctx: Context, argv: list[bytes]) -> Reply:
    """Add to the integer of a key; reply with the new value."""
    return _increment(ctx, argv[1], integer_argument(argv[2]))


@command("INCRBYFLOAT", arity=3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def incrbyfloat(ctx: Context, argv: list[bytes]) -> Reply:
    """Add to the float of a key; reply with the new value as text."""
    key = argv[1]
    text = ctx.find_string(key)
    value = parse_long_double(b"0" if text is None else text)
    by = parse_long_double(argv[2])
    if value is None or by is None:
        raise not_a_float()
    total = add_long_doubles(value, by)
    if total is None:
        raise error("increment would produce NaN or Infinity")
    ctx.save(key, total if parse_integer(total) is None else FloatText(total))
    ctx.notify(EVENT_STRING, b"incrbyfloat", key)
    return total


@command("MSET", arity=-3, flags=WRITE | DENYOOM, keys=PAIRS)
def mset(ctx: Context, argv: list[bytes]) -> Reply:
    """Set several keys at once."""
    if len(argv) % 2 == 0:
        raise wrong_arity("mset")
    for at in range(1, len(argv), 2):
        _store(ctx, argv[at], argv[at + 1])
    return OK


@command("MSETNX", arity=-3, flags=WRITE | DENYOOM, keys=PAIRS)
def msetnx(ctx: Context, argv: list[bytes]) -> Reply:
    """Set several keys at once, if none of them exists."""
    if len(argv) % 2 == 0:
        raise wrong_arity("msetnx")
    for key in argv[1::2]:
        if ctx.exists(key):
            return 0
    for at in range(1, len(argv), 2):
        _store(ctx, argv[at], argv[at + 1])
    return 1


@command("PSETEX", arity=4, flags=WRITE | DENYOOM, keys=FIRST)
def psetex(ctx: Context, argv: list[bytes]) -> Reply:
    """Set a key and its time to live in milliseconds."""
    return _set_for(ctx, argv, b"PX", "psetex")


@command("SET", arity=-3, flags=WRITE | DENYOOM, keys=FIRST)
def set_(ctx: Context, argv: list[bytes]) -> Reply:
    """Set the string value of a key, whatever it held."""
    key = argv[1]
    if len(argv) == 3:
        ctx.put(key, argv[2])
        if ctx.event_mask:
            ctx.notify(EVENT_STRING, b"set", key)
        return OK
    return _set_with_options(ctx, argv)


@command("SETEX", arity=4, flags=WRITE | DENYOOM, keys=FIRST)
def setex(ctx: Context, argv: list[bytes]) -> Reply:
    """Set a key and its time to live in seconds."""
    return _set_for(ctx, argv, b"EX", "setex")


@command("SETNX", arity=3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def setnx(ctx: Context, argv: list[bytes]) -> Reply:
    """Set a key if it does not exist."""
    if ctx.exists(argv[1]):
        return 0
    _store(ctx, argv[1], argv[2])
    return 1


@command("SETRANGE", arity=4, flags=WRITE | DENYOOM, keys=FIRST)
def setrange(ctx: Context, argv: list[bytes]) -> Reply:
    """Overwrite a part of a string, zero bytes filling what lay beyond its end; reply with the new length."""
    key, part = argv[1], argv[3]
    offset = integer_argument(argv[2])
    if offset < 0:
        raise error("offset is out of range")
    value = ctx.view_string(key)
    if not part:
        return 0 if value is None else len(value)
    end = offset + len(part)
    check_length(ctx, end)
    edited = ctx.edit_string(key)
    if len(edited) < offset:
        edited.extend(bytes(offset - len(edited)))
    edited[offset:end] = part
    ctx.save(key, edited)
    ctx.notify(EVENT_STRING, b"setrange", key)
    return len(edited)


# -- what they share --------------------------------------------------------------------------------------------


class _Options:
    """The options of SET and GETEX; which exclude each other, and what a repeated one means, is as Redis 7.2 has it."""

    def __init__(self, argv: list[bytes], at: int, of_set: bool) -> None:
        self.only_new = False
        self.only_present = False
        self.wants_old = False
        self.keeps_deadline = False
        self.persist = False
        self.condition = b""  # one of CONDITIONS
        self.operand = b""
        self.unit = b""  # EX, PX, EXAT or PXAT
        self.time = b""
        args = Arguments(argv, at)
        while args.more():
            self._read(args, of_set)
        args.done()

    def _read(self, args: Arguments, of_set: bool) -> None:
        if of_set and not self.only_present and not self.condition and args.flag(b"NX"):
            self.only_new = True
        elif of_set and not self.only_new and not self.condition and args.flag(b"XX"):
            self.only_present = True
        elif of_set and args.left() > 1 and args.argv[args.at].upper() in CONDITIONS:
            if self.only_new or self.only_present or self.condition:
                args.fail(syntax_error())
            self.condition, self.operand = args.next().upper(), args.next()
        elif of_set and args.flag(b"GET"):
            self.wants_old = True
        elif of_set and not self.unit and args.flag(b"KEEPTTL"):
            self.keeps_deadline = True
        elif not of_set and not self.unit and args.flag(b"PERSIST"):
            self.persist = True
        elif not self.keeps_deadline and not self.persist and args.left() > 1:
            word = args.next().upper()
            if word not in DEADLINE_UNITS or self.unit not in (b"", word):
                args.fail(syntax_error())
            self.unit = word
            self.time = args.next()
        else:
            args.unknown()


CONDITIONS: Final = (b"IFEQ", b"IFNE", b"IFDEQ", b"IFDNE")  # a value, not that value, its digest, not that digest


def _holds(condition: bytes, operand: bytes, value: bytes | bytearray | None) -> bool:
    """Whether a string is as a condition says; a missing one equals nothing."""
    if condition in (b"IFDEQ", b"IFDNE"):
        equal = value is not None and _digest(value) == operand.lower()
    else:
        equal = value is not None and value == operand
    return equal if condition in (b"IFEQ", b"IFDEQ") else not equal


def _check_operand(condition: bytes, operand: bytes) -> None:
    """Raises CommandError for what cannot be a digest, as Redis 8.4."""
    if condition in (b"IFDEQ", b"IFDNE") and (len(operand) != 16 or operand.lower().strip(b"0123456789abcdef")):
        raise error("must be exactly 16 hexadecimal characters")


def _digest(value: bytes | bytearray) -> bytes:
    digest: str = xxh3_64_hexdigest(value)
    return digest.encode()


def check_length(ctx: Context, n_bytes: int) -> None:
    """Raises CommandError if a string would get longer than any may be."""
    if n_bytes > ctx.limits.proto_max_bulk_len:
        raise error("string exceeds maximum allowed size (proto-max-bulk-len)")


def _increment(ctx: Context, key: bytes, by: int) -> int:
    value = ctx.find(key)
    if value is None:
        total = by
    else:
        old = parse_integer(value if type(value) is bytes else _string_of(value))
        if old is None:
            raise not_an_integer()
        total = old + by
        if total > INT64_MAX or total < INT64_MIN:
            raise error("increment or decrement would overflow")
    ctx.save(key, str(total).encode())
    if ctx.event_mask:
        ctx.notify(EVENT_STRING, b"incrby", key)
    return total


def _string_of(value: object) -> bytes:
    if not isinstance(value, (bytes, bytearray)):
        raise wrong_type()
    return bytes(value)


def _store(ctx: Context, key: bytes, value: bytes) -> None:
    ctx.put(key, value)
    ctx.notify(EVENT_STRING, b"set", key)


def _set_for(ctx: Context, argv: list[bytes], unit: bytes, name: str) -> Reply:
    at_ms = deadline_argument(unit, argv[2], ctx.now_ms, name)
    _store(ctx, argv[1], argv[3])
    expire(ctx, argv[1], at_ms)
    return OK


def _set_with_options(ctx: Context, argv: list[bytes]) -> Reply:
    key = argv[1]
    options = _Options(argv, 3, of_set=True)
    at_ms = -1
    if options.unit:
        at_ms = deadline_argument(options.unit, options.time, ctx.now_ms, "set")
    if options.condition:
        _check_operand(options.condition, options.operand)
    old = ctx.find_string(key) if options.wants_old else None
    if options.condition and not _holds(options.condition, options.operand, ctx.view_string(key)):
        return old
    exists = ctx.exists(key)
    if exists if options.only_new else options.only_present and not exists:
        return old
    reply = old if options.wants_old else OK
    if options.unit and at_ms <= ctx.now_ms:
        expire(ctx, key, at_ms)
        return reply
    if options.keeps_deadline:
        at_ms = ctx.deadline(key)
    _store(ctx, key, argv[2])
    if options.unit:
        expire(ctx, key, at_ms)
    elif at_ms >= 0:
        ctx.expire(key, at_ms)
    return reply
