"""Consumer groups: who has read what of a stream. What is then still to be acknowledged is the subject of streampending.

Every command is logged as typed. Delivery and idle times are those of the entry, so a replay gives the same ones; and since
reading shows in a consumer's `seen-time`, XREADGROUP that found nothing is an entry, too.

Upstash: XREADGROUP with NOACK does not leave a new consumer behind.
"""

from typing import Any, Final

from upstash_global.engine.arguments import integer_argument
from upstash_global.engine.commands.streamids import edge_id, numbered_id
from upstash_global.engine.commands.streams import STREAMS, ReadOptions, entry_reply
from upstash_global.engine.context import EVENT_STREAM, Context
from upstash_global.engine.table import (
    BLOCKING,
    DENYOOM,
    LOADING,
    MOVABLEKEYS,
    STALE,
    WRITE,
    Family,
    Keys,
)
from upstash_global.engine.types.stream import MAX_ID, UNKNOWN, Consumer, Group, Stream, id_text
from upstash_global.errors import CommandError, error
from upstash_global.reply import NULL_ARRAY, OK, Named, Reply, Simple

command = Family("stream").command

SECOND: Final = Keys(2, 2, 1)


# -- groups and consumers -------------------------------------------------------------------------------------------


@command("XGROUP CREATE", arity=-5, flags=WRITE | DENYOOM, keys=SECOND)
def xgroup_create(ctx: Context, argv: list[bytes]) -> Reply:
    """Create a group that has read up to an id, `$` for the last; MKSTREAM creates the stream if there is none."""
    makes_stream, entries_read = _group_options(argv, "CREATE")
    stream = ctx.find_stream(argv[2])
    if stream is None and not makes_stream:
        raise _no_stream()
    if len(argv) > 8:
        raise wrong_form(argv)
    last_id = _last_read_id(stream, argv[4], True)
    if stream is not None and argv[3] in stream.groups:
        raise CommandError("BUSYGROUP", "Consumer Group name already exists")
    is_new = stream is None
    stream = ctx.edit_stream(argv[2])
    stream.groups[argv[3]] = Group(last_id, entries_read)
    if is_new:
        ctx.save(argv[2], stream)
    else:
        ctx.save_unwatched(argv[2], stream)
    ctx.notify(EVENT_STREAM, b"xgroup-create", argv[2])
    return OK


@command("XGROUP CREATECONSUMER", arity=5, flags=WRITE | DENYOOM, keys=SECOND)
def xgroup_createconsumer(ctx: Context, argv: list[bytes]) -> Reply:
    """Create a consumer of a group; 1 if it is new."""
    if argv[4] in _group(ctx, argv).consumers:
        return 0
    stream = ctx.edit_stream(argv[2])
    _add_consumer(ctx, argv[2], stream.groups[argv[3]], argv[4])
    ctx.save_unwatched(argv[2], stream)
    return 1


@command("XGROUP DELCONSUMER", arity=5, flags=WRITE, keys=SECOND)
def xgroup_delconsumer(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove a consumer; how many entries were pending with it, which are so no more."""
    if argv[4] not in _group(ctx, argv).consumers:
        return 0
    stream = ctx.edit_stream(argv[2])
    n_pending = stream.groups[argv[3]].remove_consumer(argv[4])
    ctx.notify(EVENT_STREAM, b"xgroup-delconsumer", argv[2])
    ctx.save_unwatched(argv[2], stream)
    return n_pending


@command("XGROUP DESTROY", arity=4, flags=WRITE, keys=SECOND)
def xgroup_destroy(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove a group with its consumers and pending entries; 1 if it was there."""
    stream = ctx.find_stream(argv[2])
    if stream is None:
        raise _no_stream()
    if argv[3] not in stream.groups:
        return 0
    stream = ctx.edit_stream(argv[2])
    del stream.groups[argv[3]]
    ctx.notify(EVENT_STREAM, b"xgroup-destroy", argv[2])
    ctx.save_unwatched(argv[2], stream)
    return 1


@command("XGROUP HELP", arity=2, flags=LOADING | STALE)
def xgroup_help(ctx: Context, argv: list[bytes]) -> Reply:
    """Show what XGROUP can do."""
    return [Simple(line) for line in _HELP.splitlines()]


@command("XGROUP SETID", arity=-5, flags=WRITE, keys=SECOND)
def xgroup_setid(ctx: Context, argv: list[bytes]) -> Reply:
    """Set what a group has read up to, and with ENTRIESREAD how many entries that were."""
    _, entries_read = _group_options(argv, "SETID")
    _group(ctx, argv)
    if len(argv) > 7:
        raise wrong_form(argv)
    last_id = _last_read_id(ctx.find_stream(argv[2]), argv[4], False)
    stream = ctx.edit_stream(argv[2])
    group = stream.groups[argv[3]]
    group.last_id = last_id
    group.entries_read = entries_read
    ctx.notify(EVENT_STREAM, b"xgroup-setid", argv[2])
    ctx.save_unwatched(argv[2], stream)
    return OK


def _group_options(argv: list[bytes], subcommand: str) -> tuple[bool, int]:
    """(MKSTREAM was given, ENTRIESREAD)."""
    makes_stream = False
    entries_read = UNKNOWN
    at = 5
    while at < len(argv):
        word = argv[at].upper()
        if word == b"MKSTREAM" and subcommand == "CREATE":
            makes_stream = True
            at += 1
        elif word == b"ENTRIESREAD" and at + 1 < len(argv):
            entries_read = integer_argument(argv[at + 1])
            if entries_read < 0 and entries_read != UNKNOWN:
                raise error("value for ENTRIESREAD must be positive or -1")
            at += 2
        else:
            raise wrong_form(argv)
    return makes_stream, entries_read


def wrong_form(argv: list[bytes]) -> CommandError:
    """What Redis says of a subcommand whose options do not fit; the client's own spelling is repeated."""
    shown = argv[1][:128].partition(b"\0")[0].decode("utf-8", "surrogateescape")
    name = argv[0].upper().decode()
    return error(f"unknown subcommand or wrong number of arguments for '{shown}'. Try {name} HELP.")


def _last_read_id(stream: Stream | None, text: bytes, is_strict: bool) -> int:
    if text == b"$":
        return 0 if stream is None else stream.last_id
    return numbered_id(text) if is_strict else edge_id(text)


def _group(ctx: Context, argv: list[bytes]) -> Group:
    """The group that an XGROUP subcommand is about."""
    stream = ctx.find_stream(argv[2])
    if stream is None:
        raise _no_stream()
    group = stream.groups.get(argv[3])
    if group is None:
        raise no_group(argv[2], argv[3])
    return group


def _add_consumer(ctx: Context, key: bytes, group: Group, name: bytes) -> Consumer:
    consumer = Consumer(name, ctx.now_ms)
    group.consumers[name] = consumer
    ctx.notify(EVENT_STREAM, b"xgroup-createconsumer", key)
    return consumer


def seen_consumer(ctx: Context, key: bytes, group: Group, name: bytes) -> Consumer:
    """The consumer of that name, a new one if there is none, seen now."""
    consumer = group.consumers.get(name)
    if consumer is None:
        return _add_consumer(ctx, key, group, name)
    consumer.seen_ms = ctx.now_ms
    return consumer


def _no_stream() -> CommandError:
    return error(
        "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option "
        "to create an empty stream automatically."
    )


def no_group(key: bytes, group: bytes) -> CommandError:
    return CommandError("NOGROUP", f"No such consumer group '{shown(group)}' for key name '{shown(key)}'")


def no_key_or_group(key: bytes, group: bytes, where: str = "") -> CommandError:
    return CommandError("NOGROUP", f"No such key '{shown(key)}' or consumer group '{shown(group)}'{where}")


def shown(text: bytes) -> str:
    """As C prints a string."""
    return text.partition(b"\0")[0].decode("utf-8", "surrogateescape")


# -- reading in a group ---------------------------------------------------------------------------------------------


@command("XREADGROUP", arity=-7, flags=WRITE | BLOCKING | MOVABLEKEYS, keys=STREAMS)
def xreadgroup(ctx: Context, argv: list[bytes]) -> Reply:
    """Deliver to a consumer what its group has not read yet (`>`), waiting with BLOCK; or show it again what is pending."""
    options = ReadOptions(argv, "xreadgroup", ctx.now_ms)
    name = options.group
    assert name is not None
    afters: list[int] = []  # -1 for what is new
    for key, text in zip(options.keys, options.ids, strict=True):
        stream = ctx.find_stream(key)
        if stream is None or name not in stream.groups:
            raise no_key_or_group(key, name, " in XREADGROUP with GROUP option")
        if text in (b"$", b"+"):
            new = text.decode()
            raise error(
                f"The {new} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer "
                f"by specifying a proper ID, or use the > ID to get new messages. The {new} ID would just return an empty "
                "result set."
            )
        after = -1 if text == b">" else numbered_id(text)
        afters.append(-1 if after == MAX_ID else after)  # as in Redis 7, where the highest id stands for `>`
    found: list[Any] = []
    again: dict[tuple[bytes, int], list[Any]] = {}  # a stream may be named thousands of times
    for key, after in zip(options.keys, afters, strict=True):
        entries = _read_one(ctx, key, name, after, options)
        if entries is not None:
            found.append((key, entries if after < 0 else again.setdefault((key, after), entries)))
    if found:
        return Named(found)
    return NULL_ARRAY if options.timeout_ms < 0 else ctx.block(options.keys, options.timeout_ms, NULL_ARRAY, NULL_ARRAY)


def has_news(value: Any, argv: list[bytes]) -> bool:
    """Whether a consumer that waits by this XREADGROUP has anything to hear of its one stream: entries, or that the group is gone.

    Asked before it is tried again, for to be seen once more is a change, and would wake it and the other consumers for ever.
    """
    options = ReadOptions(argv, "xreadgroup", 0)  # its timeout was checked when it came
    group = value.groups.get(options.group or b"") if type(value) is Stream else None
    return group is None or bool(value.entries.between(group.last_id + 1, MAX_ID, 1))


def _read_one(ctx: Context, key: bytes, name: bytes, after: int, options: ReadOptions) -> list[Any] | None:
    """What one stream has for the consumer; None if nothing is new."""
    stream = ctx.edit_stream(key)
    group = stream.groups[name]
    if options.is_acknowledged and options.consumer not in group.consumers:
        consumer = Consumer(options.consumer, ctx.now_ms)
    else:
        consumer = seen_consumer(ctx, key, group, options.consumer)
        ctx.save_unwatched(key, stream)
    if after >= 0:
        return _read_again(ctx, stream, consumer, after, options.count)
    entries = stream.entries.between(group.last_id + 1, MAX_ID, options.count)
    if not entries:
        return None
    for id, _ in entries:
        stream.read_by(group, id)
        if not options.is_acknowledged:
            group.deliver(id, consumer, ctx.now_ms)
            consumer.active_ms = ctx.now_ms
    ctx.save_unwatched(key, stream)
    return [entry_reply(id, packed) for id, packed in entries]


def _read_again(ctx: Context, stream: Stream, consumer: Consumer, after: int, count: int) -> list[Any]:
    """What is pending with a consumer behind an id; without fields what was deleted from the stream."""
    entries: list[Any] = []
    for id, pending in consumer.pending.between(after + 1, MAX_ID, count):
        packed = stream.entries.get(id)
        if packed is None:
            entries.append([id_text(id), NULL_ARRAY])
        else:
            pending.delivered_ms = ctx.now_ms
            pending.n_deliveries += 1
            entries.append(entry_reply(id, packed))
    return entries


_HELP: Final = """\
XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
CREATE <key> <groupname> <id|$> [option]
    Create a new consumer group. Options are:
    * MKSTREAM
      Create the empty stream if it does not exist.
    * ENTRIESREAD entries_read
      Set the group's entries_read counter (internal use).
CREATECONSUMER <key> <groupname> <consumer>
    Create a new consumer in the specified group.
DELCONSUMER <key> <groupname> <consumer>
    Remove the specified consumer.
DESTROY <key> <groupname>
    Remove the specified group.
SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]
    Set the current group ID and entries_read counter.
HELP
    Prints this help."""
