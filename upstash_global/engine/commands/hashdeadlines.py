"""Deadlines of hash fields (Redis 7.4), and the reads and writes that set them on the way (Redis 8.0).

A field whose deadline has passed is hidden at once on every node; the leader's sweep removes it by a logged `_EXPIRED`.
Relative times are logged as they came: the entry carries the time they count from. A deadline that has passed already
removes the field instead.

Replies of the HEXPIRE family are one number per field: -2 no such field, -1 no deadline, 0 the condition forbids it, 1
done, 2 removed because the deadline has passed.
"""

from typing import Final

from upstash_global.engine.arguments import integer_argument
from upstash_global.engine.commands.expiry import DEADLINE_UNITS, invalid_time
from upstash_global.engine.commands.hashes import save_fewer, set_fields
from upstash_global.engine.context import EVENT_GENERIC, EVENT_HASH, Context
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import DENYOOM, FAST, FIRST, READONLY, VOLATILE, WRITE, Family
from upstash_global.engine.types.hash import Hash
from upstash_global.errors import CommandError, error
from upstash_global.reply import Reply

command = Family("hash").command

_LATEST_MS: Final = (1 << 46) - 1  # the latest deadline that Redis keeps for a field

NO_FIELD: Final = -2
NO_DEADLINE: Final = -1
FORBIDDEN: Final = 0
DONE: Final = 1
REMOVED: Final = 2


# -- reads ----------------------------------------------------------------------------------------------------------


@command("HEXPIRETIME", arity=-5, flags=READONLY | FAST, keys=FIRST)
def hexpiretime(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the deadlines of fields in seconds since 1970."""
    return [_in_seconds(deadline) for deadline in _deadlines(ctx, argv)]


@command("HPEXPIRETIME", arity=-5, flags=READONLY | FAST, keys=FIRST)
def hpexpiretime(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the deadlines of fields in milliseconds since 1970."""
    return _deadlines(ctx, argv)


@command("HPTTL", arity=-5, flags=READONLY | FAST | VOLATILE, keys=FIRST)
def hpttl(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the time that fields have to live in milliseconds."""
    return [_left_ms(ctx, deadline) for deadline in _deadlines(ctx, argv)]


@command("HTTL", arity=-5, flags=READONLY | FAST | VOLATILE, keys=FIRST)
def httl(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the time that fields have to live in seconds, begun ones counted."""
    return [_in_seconds(_left_ms(ctx, deadline)) for deadline in _deadlines(ctx, argv)]


def _deadlines(ctx: Context, argv: list[bytes]) -> list[int]:
    """Of each field in milliseconds since 1970, or NO_DEADLINE or NO_FIELD."""
    found = ctx.find_hash(argv[1])
    fields = _fields(argv, 2)
    if found is None:
        return [NO_FIELD] * len(fields)
    return [NO_FIELD if found.get(field, ctx.now_ms) is None else found.deadline(field) for field in fields]


def _left_ms(ctx: Context, deadline: int) -> int:
    return deadline - ctx.now_ms if deadline >= 0 else deadline


def _in_seconds(ms: int) -> int:
    return (ms + 999) // 1000 if ms >= 0 else ms


# -- writes ---------------------------------------------------------------------------------------------------------


@command("HEXPIRE", arity=-6, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def hexpire(ctx: Context, argv: list[bytes]) -> Reply:
    """Set the time that fields have to live in seconds."""
    return _set_deadlines(ctx, argv, ctx.now_ms, 1000, "hexpire")


@command("HEXPIREAT", arity=-6, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def hexpireat(ctx: Context, argv: list[bytes]) -> Reply:
    """Set the deadlines of fields in seconds since 1970."""
    return _set_deadlines(ctx, argv, 0, 1000, "hexpireat")


@command("HGETDEL", arity=-5, flags=WRITE | FAST, keys=FIRST)
def hgetdel(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the values of fields and remove the fields; nil for a field that is missing."""
    key = argv[1]
    edited = ctx.edit_hash(key)
    values: list[bytes | None] = []
    for field in _fields(argv, 2):
        values.append(edited.get(field, ctx.now_ms))
        if values[-1] is not None:
            edited.remove(field)
    if any([value is not None for value in values]):
        save_fewer(ctx, key, edited, b"hdel")
    return values


@command("HGETEX", arity=-5, flags=WRITE | FAST, keys=FIRST)
def hgetex(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the values of fields and set or remove their deadlines; nil for a field that is missing."""
    key = argv[1]
    edited = ctx.edit_hash(key)
    option = argv[2].upper()
    at_ms = -1
    if option in DEADLINE_UNITS:
        at_ms = _deadline(ctx, option, argv[3], "hgetex")
    fields = _fields(argv, 4 if option in DEADLINE_UNITS else 3 if option == b"PERSIST" else 2)
    values = [edited.get(field, ctx.now_ms) for field in fields]
    present = [field for field, value in zip(fields, values, strict=True) if value is not None]
    if option == b"PERSIST" and edited.deadlines is not None:
        persisted = [field for field in present if _persist(edited, field)]
        if persisted:
            ctx.save_hash(key, edited)
            ctx.notify(EVENT_HASH, b"hpersist", key)
    elif option in DEADLINE_UNITS and present:
        _expire_all(ctx, key, edited, present, at_ms)
    return values


@command("HPERSIST", arity=-5, flags=WRITE | FAST, keys=FIRST)
def hpersist(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove the deadlines of fields."""
    key = argv[1]
    edited = ctx.edit_hash(key)
    replies: list[int] = []
    for field in _fields(argv, 2):
        if edited.get(field, ctx.now_ms) is None:
            replies.append(NO_FIELD)
        else:
            replies.append(DONE if _persist(edited, field) else NO_DEADLINE)
    if DONE in replies:
        ctx.save_hash(key, edited)
        ctx.notify(EVENT_HASH, b"hpersist", key)
    return replies


@command("HPEXPIRE", arity=-6, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def hpexpire(ctx: Context, argv: list[bytes]) -> Reply:
    """Set the time that fields have to live in milliseconds."""
    return _set_deadlines(ctx, argv, ctx.now_ms, 1, "hpexpire")


@command("HPEXPIREAT", arity=-6, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def hpexpireat(ctx: Context, argv: list[bytes]) -> Reply:
    """Set the deadlines of fields in milliseconds since 1970."""
    return _set_deadlines(ctx, argv, 0, 1, "hpexpireat")


@command("HSETEX", arity=-6, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def hsetex(ctx: Context, argv: list[bytes]) -> Reply:
    """Set fields and their deadline, with FNX only if none of them is there, with FXX only if all are: 1 if so."""
    key = argv[1]
    edited = ctx.edit_hash(key)
    options = _SetOptions(ctx, argv)
    fields = argv[options.first :: 2]
    for field in fields:
        is_there = edited.get(field, ctx.now_ms) is not None
        if (options.only_new and is_there) or (options.only_present and not is_there):
            return 0
    if options.unit and options.at_ms <= ctx.now_ms:
        _expire_all(ctx, key, edited, fields, options.at_ms)  # what is set would be gone at once
        return 1
    set_fields(ctx, edited, argv, options.first, options.keeps)
    if options.unit:
        for field in fields:
            edited.set_deadline(field, options.at_ms)
    ctx.save_hash(key, edited)
    ctx.notify(EVENT_HASH, b"hset", key)
    if options.unit:
        ctx.notify(EVENT_HASH, b"hexpire", key)
    return 1


# -- what they share ------------------------------------------------------------------------------------------------


def _set_deadlines(ctx: Context, argv: list[bytes], base_ms: int, unit_ms: int, name: str) -> Reply:
    """HEXPIRE key time [NX|XX|GT|LT] FIELDS n field…"""
    key = argv[1]
    edited = ctx.edit_hash(key)
    at_ms = _time(argv[2], base_ms, unit_ms, name)
    condition = argv[3].upper()
    fields = _fields(argv, 4 if condition in _CONDITIONS else 3, "Parameter `numFields` should be greater than 0")
    replies: list[int] = []
    for field in fields:
        if edited.get(field, ctx.now_ms) is None:
            replies.append(NO_FIELD)
        elif not _allows(condition, edited.deadline(field), at_ms):
            replies.append(FORBIDDEN)
        elif at_ms <= ctx.now_ms:
            edited.remove(field)
            replies.append(REMOVED)
        else:
            edited.set_deadline(field, at_ms)
            replies.append(DONE)
    if DONE in replies or REMOVED in replies:
        _save(ctx, key, edited, DONE in replies, REMOVED in replies)
    return replies


_CONDITIONS: Final = (b"NX", b"XX", b"GT", b"LT")


def _allows(condition: bytes, old_ms: int, new_ms: int) -> bool:
    """Whether a new deadline may replace the old one; no deadline (-1) counts as an infinite one."""
    if old_ms < 0:
        return condition not in (b"XX", b"GT")
    if condition == b"NX":
        return False
    return new_ms > old_ms if condition == b"GT" else new_ms < old_ms if condition == b"LT" else True


def _expire_all(ctx: Context, key: bytes, edited: Hash, fields: list[bytes], at_ms: int) -> None:
    """Give fields a deadline, or remove them if it has passed; those that are not there stay so."""
    is_past = at_ms <= ctx.now_ms
    changed = False
    for field in fields:
        if edited.get(field, ctx.now_ms) is None:
            continue
        changed = True
        if is_past:
            edited.remove(field)
        else:
            edited.set_deadline(field, at_ms)
    if changed:
        _save(ctx, key, edited, not is_past, is_past)


def _save(ctx: Context, key: bytes, edited: Hash, has_set: bool, has_removed: bool) -> None:
    is_gone = ctx.save_hash(key, edited)
    if has_removed:
        ctx.notify(EVENT_HASH, b"hdel", key)
    if has_set:
        ctx.notify(EVENT_HASH, b"hexpire", key)
    if is_gone:
        ctx.notify(EVENT_GENERIC, b"del", key)


def _persist(edited: Hash, field: bytes) -> bool:
    """Remove the deadline of a field; True if it had one."""
    if edited.deadline(field) < 0:
        return False
    edited.clear_deadline(field)
    return True


def _time(text: bytes, base_ms: int, unit_ms: int, name: str) -> int:
    """A deadline in milliseconds since 1970. Raises CommandError for one that is none, negative or too late."""
    time = integer_argument(text)
    if time < 0:
        raise error("invalid expire time, must be >= 0")
    at_ms = time * unit_ms + base_ms
    if at_ms > _LATEST_MS:
        raise invalid_time(name)
    return at_ms


def _fields(argv: list[bytes], at: int, bad_count: str = "Number of fields must be a positive integer") -> list[bytes]:
    """The fields of `FIELDS n field…` at the end of argv."""
    if at >= len(argv) or argv[at].upper() != b"FIELDS":
        raise error("Mandatory argument FIELDS is missing or not at the right position")
    count = parse_integer(argv[at + 1]) if at + 1 < len(argv) else None
    if count is None or count < 1:
        raise error(bad_count)
    if count != len(argv) - at - 2:
        raise error("The `numfields` parameter must match the number of arguments")
    return argv[at + 2 :]


def _deadline(ctx: Context, unit: bytes, text: bytes, name: str) -> int:
    """The deadline that EX, PX, EXAT or PXAT gives, in milliseconds since 1970. Raises CommandError."""
    return _time(text, ctx.now_ms if unit in (b"EX", b"PX") else 0, 1000 if unit in (b"EX", b"EXAT") else 1, name)


class _SetOptions:
    """The options of HSETEX, and where its fields begin. Raises CommandError as Redis 8.0."""

    def __init__(self, ctx: Context, argv: list[bytes]) -> None:
        self.only_new = False
        self.only_present = False
        self.keeps = False  # KEEPTTL
        self.unit = b""
        self.at_ms = -1
        self.first = 0
        at = 2
        while at < len(argv):
            word = argv[at].upper()
            if word == b"FIELDS":
                self._read_fields(argv, at)
                return
            if word in (b"FNX", b"FXX"):
                if self.only_new or self.only_present:
                    raise error("Only one of FXX or FNX arguments can be specified")
                self.only_new, self.only_present = word == b"FNX", word == b"FXX"
            elif word == b"KEEPTTL":
                self._check_one_deadline()
                self.keeps = True
            elif word in DEADLINE_UNITS:
                self._check_one_deadline()
                at += 1
                if at >= len(argv):
                    raise error("missing expire time")
                self.unit = word
                self.at_ms = _deadline(ctx, word, argv[at], "hsetex")
            else:
                raise _unknown(argv[at])
            at += 1
        raise error("missing FIELDS argument")

    def _check_one_deadline(self) -> None:
        if self.unit or self.keeps:
            raise error("Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified")

    def _read_fields(self, argv: list[bytes], at: int) -> None:
        count = parse_integer(argv[at + 1]) if at + 1 < len(argv) else None
        if count is None or count < 1:
            raise error("invalid number of fields")
        self.first = at + 2
        if len(argv) - self.first != 2 * count:
            raise error("wrong number of arguments")


def _unknown(word: bytes) -> CommandError:
    return error(f"unknown argument: {word.partition(bytes(1))[0].decode('utf-8', 'surrogateescape')}")
