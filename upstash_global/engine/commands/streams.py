"""Streams without their groups: entries by id, added at the end, read by ranges, removed anywhere.

`XADD key *` is logged as typed: the id follows from the time of the entry and from the stream, so that every node gives the
same one.
"""

from typing import Any, Final

from upstash_global.engine.arguments import Arguments, integer_argument, timeout_argument
from upstash_global.engine.commands.streamids import (
    first_of_range,
    last_of_range,
    leads_sequence,
    numbered_id,
    read_trimming,
)
from upstash_global.engine.context import EVENT_STREAM, Context
from upstash_global.engine.table import (
    BLOCKING,
    DENYOOM,
    FAST,
    FIRST,
    MOVABLEKEYS,
    READONLY,
    WRITE,
    Family,
    Keys,
)
from upstash_global.engine.types.stream import MAX_ID, MAX_SEQUENCE, Stream, id_text, unpack_fields
from upstash_global.errors import error, syntax_error, wrong_arity
from upstash_global.reply import NULL_ARRAY, OK, Named, Reply

command = Family("stream").command

MOST_ENTRY_BYTES: Final = 1 << 30


# -- reads --------------------------------------------------------------------------------------------------------


@command("XLEN", arity=2, flags=READONLY | FAST, keys=FIRST)
def xlen(ctx: Context, argv: list[bytes]) -> Reply:
    """The number of entries."""
    stream = ctx.find_stream(argv[1])
    return 0 if stream is None else len(stream)


@command("XRANGE", arity=-4, flags=READONLY, keys=FIRST)
def xrange(ctx: Context, argv: list[bytes]) -> Reply:
    """The entries between two ids, at most COUNT."""
    return _range(ctx, argv, argv[2], argv[3], False)


@command("XREVRANGE", arity=-4, flags=READONLY, keys=FIRST)
def xrevrange(ctx: Context, argv: list[bytes]) -> Reply:
    """The entries between two ids from the higher one down, at most COUNT."""
    return _range(ctx, argv, argv[3], argv[2], True)


def streams_of(argv: list[bytes]) -> list[bytes]:
    """The keys of XREAD and XREADGROUP: the first half of what follows STREAMS."""
    at = 1
    while at < len(argv):
        word = argv[at].upper()
        if word == b"STREAMS":
            return argv[at + 1 : at + 1 + (len(argv) - at - 1) // 2]
        at += {b"BLOCK": 2, b"COUNT": 2, b"GROUP": 3}.get(word, 1)
    return []


STREAMS: Final = Keys(finder=streams_of)


@command("XREAD", arity=-4, flags=READONLY | BLOCKING | MOVABLEKEYS, keys=STREAMS)
def xread(ctx: Context, argv: list[bytes]) -> Reply:
    """The entries of several streams behind the given ids, at most COUNT of each; with BLOCK it waits for some.

    As in Redis 7.4, `+` means the last entry that is there, or else the first to come.
    """
    options = ReadOptions(argv, "xread", ctx.now_ms)
    afters: list[int] = []
    for key, text in zip(options.keys, options.ids, strict=True):
        stream = ctx.find_stream(key)
        if text == b"+" and stream is not None and len(stream):
            afters.append(stream.entries.last_id() - 1)
        elif text == b"$" or text == b"+":
            afters.append(0 if stream is None else stream.last_id)
        elif text == b">":
            raise error(
                "The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
            )
        else:
            afters.append(numbered_id(text))
    found: list[Any] = []
    read: dict[tuple[bytes, int], list[Any]] = {}  # a stream may be named thousands of times
    for key, after in zip(options.keys, afters, strict=True):
        stream = ctx.find_stream(key)
        if stream is not None and stream.entries.last_id() > after:
            if (key, after) not in read:
                read[key, after] = entries_between(stream, after + 1, MAX_ID, options.count)
            found.append((key, read[key, after]))
    if found:
        return Named(found)
    if options.timeout_ms < 0:
        return NULL_ARRAY
    again = [*argv[: len(argv) - len(afters)], *[id_text(after) for after in afters]]
    return ctx.block(options.keys, options.timeout_ms, NULL_ARRAY, NULL_ARRAY, again)


class ReadOptions:
    """The options of XREAD and XREADGROUP, in Redis's order of checks."""

    def __init__(self, argv: list[bytes], name: str, now_ms: int) -> None:
        self.timeout_ms = -1  # of BLOCK; -1 without it, 0 for ever
        self.count = -1  # of entries of each stream; -1 for all
        self.group: bytes | None = None
        self.consumer = b""
        self.is_acknowledged = False  # by NOACK
        self.keys: list[bytes] = []
        self.ids: list[bytes] = []
        is_group_read = name == "xreadgroup"
        at = 1
        n = len(argv)
        while at < n:
            word = argv[at].upper()
            more = n - at - 1
            if word == b"BLOCK" and more:
                at += 1
                self.timeout_ms = timeout_argument(argv[at], now_ms)
            elif word == b"COUNT" and more:
                at += 1
                count = integer_argument(argv[at])
                self.count = count if count > 0 else -1
            elif word == b"STREAMS" and more:
                if more % 2:
                    ids = "an ID or '>'" if is_group_read else "an ID, '+', or '$'"
                    raise error(f"Unbalanced '{name}' list of streams: for each stream key {ids} must be specified.")
                self.keys = argv[at + 1 : at + 1 + more // 2]
                self.ids = argv[at + 1 + more // 2 :]
                break
            elif word == b"GROUP" and more >= 2:
                if not is_group_read:
                    raise error("The GROUP option is only supported by XREADGROUP. You called XREAD instead.")
                self.group = argv[at + 1]
                self.consumer = argv[at + 2]
                at += 2
            elif word == b"NOACK":
                if not is_group_read:
                    raise error("The NOACK option is only supported by XREADGROUP. You called XREAD instead.")
                self.is_acknowledged = True
            else:
                raise syntax_error()
            at += 1
        if not self.keys:
            raise syntax_error()
        if is_group_read and self.group is None:
            raise error("Missing GROUP option for XREADGROUP")


def entries_between(stream: Stream, start: int, end: int, count: int) -> list[Any]:
    """[id, [name, value, …]] of each entry between two ids, both included; a negative `count` is no limit."""
    return [entry_reply(id, packed) for id, packed in stream.entries.between(start, end, count)]


def entry_reply(id: int, packed: bytes) -> list[Any]:
    return [id_text(id), unpack_fields(packed)]


def _range(ctx: Context, argv: list[bytes], first: bytes, last: bytes, is_down: bool) -> Reply:
    start = first_of_range(first)
    end = last_of_range(last)
    count = -1
    args = Arguments(argv, 4)
    while args.more():
        if args.left() > 1 and args.flag(b"COUNT"):
            count = max(0, args.integer())
        else:
            args.unknown()
    args.done()
    stream = ctx.find_stream(argv[1])
    if stream is None:
        return []
    if count == 0:
        return NULL_ARRAY
    if is_down:
        return [entry_reply(id, packed) for id, packed in stream.entries.between_down(start, end, count)]
    return entries_between(stream, start, end, count)


# -- writes -------------------------------------------------------------------------------------------------------


@command("XADD", arity=-5, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def xadd(ctx: Context, argv: list[bytes]) -> Reply:
    """Append an entry and return its id; a stream may be trimmed on the way."""
    trimming = None if argv[2] == b"*" else read_trimming(argv, True, ctx.limits)
    at = 2 if trimming is None else trimming.next
    fields = argv[at + 1 :]
    if not fields or len(fields) % 2:
        raise wrong_arity("xadd")
    wanted = argv[at]
    takes_clock = wanted == b"*"
    takes_sequence = not takes_clock and leads_sequence(wanted)
    id = 0 if takes_clock else numbered_id(wanted[:-2] if takes_sequence else wanted)
    if id == 0 and not takes_clock and not takes_sequence:
        raise error("The ID specified in XADD must be greater than 0-0")
    stream = ctx.find_stream(argv[1])
    if stream is None and trimming is not None and not trimming.makes_stream:
        return None
    last_id = 0 if stream is None else stream.last_id
    if last_id == MAX_ID:
        raise error("The stream has exhausted the last possible ID, unable to add more items")
    if takes_clock:
        id = max(ctx.now_ms << 64, last_id + 1)
    elif takes_sequence and id >> 64 == last_id >> 64:
        id = last_id if last_id & MAX_SEQUENCE == MAX_SEQUENCE else last_id + 1
    if id <= last_id:
        raise error("The ID specified in XADD is equal or smaller than the target stream top item")
    if sum([len(field) for field in fields]) > MOST_ENTRY_BYTES:
        raise error("Elements are too large to be stored")
    stream = ctx.edit_stream(argv[1])
    stream.add(id, fields)
    is_trimmed = trimming is not None and trimming.trim(stream) > 0
    ctx.save(argv[1], stream)
    ctx.notify(EVENT_STREAM, b"xadd", argv[1])
    if is_trimmed:
        ctx.notify(EVENT_STREAM, b"xtrim", argv[1])
    return id_text(id)


@command("XDEL", arity=-3, flags=WRITE | FAST, keys=FIRST)
def xdel(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove entries by id and return how many were there; they stay pending where they are."""
    stream = ctx.find_stream(argv[1])
    if stream is None:
        return 0
    ids = [numbered_id(text) for text in argv[2:]]
    stream = ctx.edit_stream(argv[1])
    n_deleted = 0
    for id in ids:
        n_deleted += stream.delete(id)
    if n_deleted:
        ctx.notify(EVENT_STREAM, b"xdel", argv[1])
        ctx.save(argv[1], stream)
    return n_deleted


@command("XSETID", arity=-3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def xsetid(ctx: Context, argv: list[bytes]) -> Reply:
    """Set the last id of a stream, and its counters: what a copy of it elsewhere starts from."""
    id = numbered_id(argv[2])
    entries_added = -1
    max_deleted_id = 0
    at = 3
    while at < len(argv):
        word = argv[at].upper()
        if word == b"ENTRIESADDED" and at + 1 < len(argv):
            entries_added = integer_argument(argv[at + 1])
            if entries_added < 0:
                raise error("entries_added must be positive")
        elif word == b"MAXDELETEDID" and at + 1 < len(argv):
            max_deleted_id = numbered_id(argv[at + 1])
            if id < max_deleted_id:
                raise error("The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
        else:
            raise syntax_error()
        at += 2
    stream = ctx.find_stream(argv[1])
    if stream is None:
        raise error("no such key")
    if id < stream.max_deleted_id:
        raise error("The ID specified in XSETID is smaller than current max_deleted_entry_id")
    if len(stream):
        if id < stream.entries.last_id():
            raise error("The ID specified in XSETID is smaller than the target stream top item")
        if entries_added != -1 and len(stream) > entries_added:
            raise error("The entries_added specified in XSETID is smaller than the target stream length")
    stream = ctx.edit_stream(argv[1])
    stream.last_id = id
    if entries_added != -1:
        stream.entries_added = entries_added
    if max_deleted_id:
        stream.max_deleted_id = max_deleted_id
    ctx.notify(EVENT_STREAM, b"xsetid", argv[1])
    ctx.save_unwatched(argv[1], stream)
    return OK


@command("XTRIM", arity=-4, flags=WRITE, keys=FIRST)
def xtrim(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove the oldest entries: all but MAXLEN, or those below MINID; how many."""
    trimming = read_trimming(argv, False, ctx.limits)
    if ctx.find_stream(argv[1]) is None:
        return 0
    stream = ctx.edit_stream(argv[1])
    n_trimmed = trimming.trim(stream)
    if n_trimmed:
        ctx.notify(EVENT_STREAM, b"xtrim", argv[1])
        ctx.save(argv[1], stream)
    return n_trimmed
