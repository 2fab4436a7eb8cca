"""Hashes: fields and values under one key, and the counters kept in them.

OBJECT ENCODING says listpack until a hash has seen too many fields or too long a field or value, then hashtable for good.
"""

from upstash_global.engine.arguments import integer_argument
from upstash_global.engine.commands.picking import pick_count
from upstash_global.engine.commands.scanning import ScanOptions, scan_cursor
from upstash_global.engine.context import EVENT_GENERIC, EVENT_HASH, Context
from upstash_global.engine.encodings import HASHTABLE, LISTPACK, Limits
from upstash_global.engine.numbers import (
    INT64_MAX,
    INT64_MIN,
    add_long_doubles,
    parse_integer,
    parse_long_double,
)
from upstash_global.engine.table import DENYOOM, FAST, FIRST, READONLY, VOLATILE, WRITE, Family
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.errors import error, not_a_float, syntax_error, wrong_arity
from upstash_global.reply import OK, Pairs, Reply

command = Family("hash").command


# -- reads ----------------------------------------------------------------------------------------------------------


@command("HEXISTS", arity=3, flags=READONLY | FAST, keys=FIRST)
def hexists(ctx: Context, argv: list[bytes]) -> Reply:
    """Whether a hash has a field: 1 or 0."""
    found = ctx.find_hash(argv[1])
    return 1 if found is not None and found.get(argv[2], ctx.now_ms) is not None else 0


@command("HGET", arity=3, flags=READONLY | FAST, keys=FIRST)
def hget(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the value of a field."""
    found = ctx.find_hash(argv[1])
    return None if found is None else found.get(argv[2], ctx.now_ms)


@command("HGETALL", arity=2, flags=READONLY, keys=FIRST)
def hgetall(ctx: Context, argv: list[bytes]) -> Reply:
    """Get all fields and their values."""
    found = ctx.find_hash(argv[1])
    return {} if found is None else dict(found.visible(ctx.now_ms))


@command("HKEYS", arity=2, flags=READONLY, keys=FIRST)
def hkeys(ctx: Context, argv: list[bytes]) -> Reply:
    """Get all fields."""
    found = ctx.find_hash(argv[1])
    return [] if found is None else list(found.visible(ctx.now_ms))


@command("HLEN", arity=2, flags=READONLY | FAST, keys=FIRST)
def hlen(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the number of fields."""
    found = ctx.find_hash(argv[1])
    return 0 if found is None else len(found.fields) - len(found.hidden(ctx.now_ms))


@command("HMGET", arity=-3, flags=READONLY | FAST, keys=FIRST)
def hmget(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the values of several fields; nil for a field that is missing."""
    found = ctx.find_hash(argv[1])
    if found is None:
        return [None] * (len(argv) - 2)
    if found.deadlines is not None:
        return [found.get(field, ctx.now_ms) for field in argv[2:]]
    fields = found.fields
    return [fields.get(field) for field in argv[2:]]


@command("HRANDFIELD", arity=-2, flags=READONLY | VOLATILE, keys=FIRST)
def hrandfield(ctx: Context, argv: list[bytes]) -> Reply:
    """Get one field by chance, or `count` of them: distinct ones, or with a negative count any; WITHVALUES as pairs."""
    if len(argv) == 2:
        found = ctx.find_hash(argv[1])
        return None if found is None else _pick(ctx, found, 1)[0]
    count = pick_count(argv[2])
    with_values = len(argv) == 4 and argv[3].upper() == b"WITHVALUES"
    if len(argv) > 4 or (len(argv) == 4 and not with_values):
        raise syntax_error()
    if with_values and count > INT64_MAX // 2:
        raise error("value is out of range")
    found = ctx.find_hash(argv[1])
    if found is None:
        return []
    picked = _pick(ctx, found, count)
    return Pairs([(field, found.fields[field]) for field in picked]) if with_values else picked


@command("HSCAN", arity=-3, flags=READONLY | VOLATILE, keys=FIRST)
def hscan(ctx: Context, argv: list[bytes]) -> Reply:
    """Walk through fields and values a few at a time; what stays in the hash throughout is seen at least once.

    A small hash (a listpack) comes in one page, as in Redis; NOVALUES leaves the values out, as in Redis 7.4.
    """
    cursor = scan_cursor(argv[2])
    hash_ = ctx.find_hash(argv[1])
    if hash_ is None:
        return [b"0", []]
    options = ScanOptions(argv, 3, of_hash=True)
    if hash_.encoding == LISTPACK:
        next_cursor, page = 0, list(hash_.fields)
    else:
        next_cursor, page = hash_.field_index().scan(cursor, options.count)
    hidden = hash_.hidden(ctx.now_ms)
    found: list[bytes] = []
    for field in page:
        if field in hidden:
            continue
        if options.glob is None or options.glob.matches(field):
            found.append(field)
            if options.with_values:
                found.append(hash_.fields[field])
    return [b"%d" % next_cursor, found]


@command("HSTRLEN", arity=3, flags=READONLY | FAST, keys=FIRST)
def hstrlen(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the length of the value of a field in bytes."""
    found = ctx.find_hash(argv[1])
    return 0 if found is None else len(found.get(argv[2], ctx.now_ms) or b"")


@command("HVALS", arity=2, flags=READONLY, keys=FIRST)
def hvals(ctx: Context, argv: list[bytes]) -> Reply:
    """Get all values."""
    found = ctx.find_hash(argv[1])
    return [] if found is None else list(found.visible(ctx.now_ms).values())


def _pick(ctx: Context, found: Hash, count: int) -> list[bytes]:
    """Fields by chance: up to `count` distinct ones, or with a negative count that many. One at least is visible."""
    hidden = found.hidden(ctx.now_ms)
    if count >= len(found) - len(hidden):
        return list(found.visible(ctx.now_ms))
    if not hidden:
        return found.field_index().pick(ctx.random, count)
    visible = IndexedSet()
    visible.extend(list(found.visible(ctx.now_ms)))
    return visible.pick(ctx.random, count)


# -- writes ---------------------------------------------------------------------------------------------------------


@command("HDEL", arity=-3, flags=WRITE | FAST, keys=FIRST)
def hdel(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove fields; reply with how many there were."""
    key = argv[1]
    edited = ctx.edit_hash(key)
    removed = 0
    for field in argv[2:]:
        if not edited.hides(field, ctx.now_ms) and edited.remove(field):
            removed += 1
    if removed:
        save_fewer(ctx, key, edited, b"hdel")
    return removed


@command("HINCRBY", arity=4, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def hincrby(ctx: Context, argv: list[bytes]) -> Reply:
    """Add to the integer of a field; reply with the new value."""
    by = integer_argument(argv[3])
    edited = ctx.edit_hash(argv[1])
    text = edited.get(argv[2], ctx.now_ms)
    value = 0 if text is None else parse_integer(text)
    if value is None:
        raise error("hash value is not an integer")
    total = value + by
    if not INT64_MIN <= total <= INT64_MAX:
        raise error("increment or decrement would overflow")
    _set_one(ctx, argv[1], edited, argv[2], b"%d" % total, b"hincrby", keeps_deadline=True)
    return total


@command("HINCRBYFLOAT", arity=4, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def hincrbyfloat(ctx: Context, argv: list[bytes]) -> Reply:
    """Add to the float of a field; reply with the new value as text."""
    by = parse_long_double(argv[3])
    if by is None:
        raise not_a_float()
    if by.infinite:
        raise error("value is NaN or Infinity")
    edited = ctx.edit_hash(argv[1])
    text = edited.get(argv[2], ctx.now_ms)
    value = parse_long_double(b"0" if text is None else text)
    if value is None:
        raise error("hash value is not a float")
    total = add_long_doubles(value, by)
    if total is None:
        raise error("increment would produce NaN or Infinity")
    _set_one(ctx, argv[1], edited, argv[2], total, b"hincrbyfloat", keeps_deadline=True)
    return total


@command("HMSET", arity=-4, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def hmset(ctx: Context, argv: list[bytes]) -> Reply:
    """Set several fields; the old name of HSET, which replies OK."""
    if len(argv) % 2:
        raise wrong_arity("hmset")
    _set_all(ctx, argv)
    return OK


@command("HSET", arity=-4, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def hset(ctx: Context, argv: list[bytes]) -> Reply:
    """Set fields; reply with how many are new."""
    if len(argv) == 4:
        return 1 if _set_one(ctx, argv[1], ctx.edit_hash(argv[1]), argv[2], argv[3], b"hset") else 0
    if len(argv) % 2:
        raise wrong_arity("hset")
    return _set_all(ctx, argv)


@command("HSETNX", arity=4, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def hsetnx(ctx: Context, argv: list[bytes]) -> Reply:
    """Set a field unless it is there; 1 if it was set."""
    edited = ctx.edit_hash(argv[1])
    if edited.get(argv[2], ctx.now_ms) is not None:
        return 0
    _set_one(ctx, argv[1], edited, argv[2], argv[3], b"hset")
    return 1


def save_fewer(ctx: Context, key: bytes, edited: Hash, event: bytes) -> None:
    """Note that fields were removed; a hash without visible fields is no key any more."""
    is_gone = ctx.save_hash(key, edited)
    ctx.notify(EVENT_HASH, event, key)
    if is_gone:
        ctx.notify(EVENT_GENERIC, b"del", key)


def _set_one(
    ctx: Context,
    key: bytes,
    edited: Hash,
    field: bytes,
    value: bytes,
    event: bytes,
    keeps_deadline: bool = False,
) -> bool:
    """Set a field of a hash that is being edited; True if it is new."""
    if edited.deadlines is not None and edited.hides(field, ctx.now_ms):
        edited.remove(field)
    is_new = edited.set(field, value, keeps_deadline)
    if edited.encoding == LISTPACK:
        longest = ctx.limits.hash_max_listpack_value
        most = ctx.limits.hash_max_listpack_entries
        if len(field) > longest or len(value) > longest or len(edited.fields) > most:
            edited.encoding = HASHTABLE
    ctx.save(key, edited)
    ctx.notify(EVENT_HASH, event, key)
    return is_new


def _set_all(ctx: Context, argv: list[bytes]) -> int:
    """Set the fields of `HSET key field value…`; how many are new."""
    key = argv[1]
    edited = ctx.edit_hash(key)
    added = set_fields(ctx, edited, argv, 2, keeps_deadlines=False)
    ctx.save(key, edited)
    ctx.notify(EVENT_HASH, b"hset", key)
    return added


def set_fields(ctx: Context, edited: Hash, argv: list[bytes], start: int, keeps_deadlines: bool) -> int:
    """Set `field value…` from a place in argv to its end; how many are new. The encoding follows."""
    added = 0
    for at in range(start, len(argv), 2):
        if edited.deadlines is not None and edited.hides(argv[at], ctx.now_ms):
            edited.remove(argv[at])
        if edited.set(argv[at], argv[at + 1], keeps_deadlines):
            added += 1
    if edited.encoding == LISTPACK and _is_too_big(edited, argv, start, ctx.limits):
        edited.encoding = HASHTABLE
    return added


def _is_too_big(edited: Hash, argv: list[bytes], start: int, limits: Limits) -> bool:
    """Whether a hash that `field value…` changed is no listpack any more.

    As Redis 7.2: too many fields in one command are too many, although some may be the same.
    """
    most = limits.hash_max_listpack_entries
    if len(edited) > most or (len(argv) - start) // 2 > most:
        return True
    longest = limits.hash_max_listpack_value
    return any([len(word) > longest for word in argv[start:]])
