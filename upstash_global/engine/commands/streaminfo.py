"""XINFO: what a stream, its groups and their consumers look like from inside.

The radix tree that Redis counts is our row of chunks. Upstash: the consumers of a missing group are none, not an error.
"""

from typing import Any, Final

from upstash_global.engine.arguments import integer_argument
from upstash_global.engine.commands.streamgroups import wrong_form
from upstash_global.engine.commands.streams import entries_between, entry_reply
from upstash_global.engine.context import Context
from upstash_global.engine.table import LOADING, READONLY, STALE, VOLATILE, Family, Keys
from upstash_global.engine.types.stream import MAX_ID, UNKNOWN, Consumer, Group, Stream, id_text
from upstash_global.errors import error
from upstash_global.reply import Reply, Simple

command = Family("stream").command

SECOND: Final = Keys(2, 2, 1)

_DEFAULT_COUNT: Final = 10


@command("XINFO CONSUMERS", arity=4, flags=READONLY | VOLATILE, keys=SECOND)
def xinfo_consumers(ctx: Context, argv: list[bytes]) -> Reply:
    """The consumers of a group, what is pending with them and how long ago they were seen."""
    group = _stream(ctx, argv).groups.get(argv[3])
    return [] if group is None else [_consumer(ctx, consumer) for consumer in _consumers(group)]


@command("XINFO GROUPS", arity=3, flags=READONLY, keys=SECOND)
def xinfo_groups(ctx: Context, argv: list[bytes]) -> Reply:
    """The groups of a stream and how far they have read."""
    stream = _stream(ctx, argv)
    return [
        {
            "name": name,
            "consumers": len(stream.groups[name].consumers),
            "pending": len(stream.groups[name].pending),
            "last-delivered-id": id_text(stream.groups[name].last_id),
            "entries-read": _entries_read(stream.groups[name]),
            "lag": stream.lag(stream.groups[name]),
        }
        for name in sorted(stream.groups)
    ]


@command("XINFO HELP", arity=2, flags=LOADING | STALE)
def xinfo_help(ctx: Context, argv: list[bytes]) -> Reply:
    """Show what XINFO can do."""
    return [Simple(line) for line in _HELP.splitlines()]


@command("XINFO STREAM", arity=-3, flags=READONLY, keys=SECOND)
def xinfo_stream(ctx: Context, argv: list[bytes]) -> Reply:
    """A stream's counters and ends; with FULL its first entries and all about its groups, COUNT of each list."""
    n = len(argv)
    count = _DEFAULT_COUNT
    stream = _stream(ctx, argv)
    if n > 3:
        if n not in (4, 6) or argv[3].upper() != b"FULL" or (n == 6 and argv[4].upper() != b"COUNT"):
            raise wrong_form(argv)
        if n == 6:
            count = integer_argument(argv[5])
            if count < 0:
                count = _DEFAULT_COUNT
    entries = stream.entries
    about: dict[str, Any] = {
        "length": len(entries),
        "radix-tree-keys": len(entries.last_ids),
        "radix-tree-nodes": len(entries.last_ids) + 1,
        "last-generated-id": id_text(stream.last_id),
        "max-deleted-entry-id": id_text(stream.max_deleted_id),
        "entries-added": stream.entries_added,
        "recorded-first-entry-id": id_text(entries.first_id()),
    }
    if n > 3:
        most = count or -1  # 0 is no limit
        about["entries"] = entries_between(stream, 0, MAX_ID, most)
        about["groups"] = [_full_group(stream, name, most) for name in sorted(stream.groups)]
        return about
    about["groups"] = len(stream.groups)
    for name, found in (
        ("first-entry", entries.between(0, MAX_ID, 1)),
        ("last-entry", entries.between_down(0, MAX_ID, 1)),
    ):
        about[name] = entry_reply(found[0][0], found[0][1]) if found else None
    return about


def _stream(ctx: Context, argv: list[bytes]) -> Stream:
    stream = ctx.find_stream(argv[2])
    if stream is None:
        raise error("no such key")
    return stream


def _entries_read(group: Group) -> int | None:
    return None if group.entries_read == UNKNOWN else group.entries_read


def _consumers(group: Group) -> list[Consumer]:
    """By name, as Redis keeps them."""
    return [group.consumers[name] for name in sorted(group.consumers)]


def _consumer(ctx: Context, consumer: Consumer) -> dict[str, Any]:
    active_ms = consumer.active_ms
    return {
        "name": consumer.name,
        "pending": len(consumer.pending),
        "idle": max(0, ctx.now_ms - consumer.seen_ms),
        "inactive": -1 if active_ms < 0 else max(0, ctx.now_ms - active_ms),
    }


def _full_group(stream: Stream, name: bytes, most: int) -> dict[str, Any]:
    group = stream.groups[name]
    return {
        "name": name,
        "last-delivered-id": id_text(group.last_id),
        "entries-read": _entries_read(group),
        "lag": stream.lag(group),
        "pel-count": len(group.pending),
        "pending": [
            [id_text(id), pending.consumer.name, pending.delivered_ms, pending.n_deliveries]
            for id, pending in group.pending.between(0, MAX_ID, most)
        ],
        "consumers": [
            {
                "name": consumer.name,
                "seen-time": consumer.seen_ms,
                "active-time": consumer.active_ms,
                "pel-count": len(consumer.pending),
                "pending": [
                    [id_text(id), pending.delivered_ms, pending.n_deliveries]
                    for id, pending in consumer.pending.between(0, MAX_ID, most)
                ],
            }
            for consumer in _consumers(group)
        ],
    }


_HELP: Final = """\
XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
CONSUMERS <key> <groupname>
    Show consumers of <groupname>.
GROUPS <key>
    Show the stream consumer groups.
STREAM <key> [FULL [COUNT <count>]
    Show information about the stream.
HELP
    Prints this help."""
