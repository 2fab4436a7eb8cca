"""What groups have pending: acknowledging it, looking at it, and taking it over from consumers that are gone.

All are logged as typed: idle times count to the time of the entry, so that a replay claims the same entries.
"""

from typing import Any, Final

from upstash_global.engine.arguments import Arguments, integer_argument
from upstash_global.engine.commands.streamgroups import no_key_or_group, seen_consumer, shown
from upstash_global.engine.commands.streamids import first_of_range, last_of_range, numbered_id
from upstash_global.engine.commands.streams import entry_reply
from upstash_global.engine.context import Context
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import FAST, FIRST, READONLY, VOLATILE, WRITE, Family
from upstash_global.engine.types.stream import Consumer, Group, Pending, id_text
from upstash_global.errors import CommandError, error, syntax_error
from upstash_global.reply import NULL_ARRAY, Reply

command = Family("stream").command

_DEFAULT_CLAIMS: Final = 100
_LOOKED_AT_PER_CLAIM: Final = 10
_MOST_CLAIMS: Final = ((1 << 63) - 1) // 16


@command("XACK", arity=-4, flags=WRITE | FAST, keys=FIRST)
def xack(ctx: Context, argv: list[bytes]) -> Reply:
    """Acknowledge entries: they are pending no more; how many were."""
    stream = ctx.find_stream(argv[1])
    group = None if stream is None else stream.groups.get(argv[2])
    if group is None:
        return 0
    ids = [numbered_id(text) for text in argv[3:]]
    stream = ctx.edit_stream(argv[1])
    n_acknowledged = 0
    for id in ids:
        n_acknowledged += group.acknowledge(id)
    if n_acknowledged:
        ctx.save_unwatched(argv[1], stream)
    return n_acknowledged


@command("XPENDING", arity=-3, flags=READONLY | VOLATILE, keys=FIRST)
def xpending(ctx: Context, argv: list[bytes]) -> Reply:
    """What is pending in a group: a summary, or the entries between two ids, of one consumer or idle for some time."""
    n = len(argv)
    if n != 3 and (n < 6 or n > 9):
        raise syntax_error()
    at = 3
    min_idle_ms = 0
    start = end = count = 0
    if n > 3:
        if argv[3].upper() == b"IDLE":
            min_idle_ms = integer_argument(argv[4])
            if n < 8:
                raise syntax_error()
            at = 5
        count = max(0, integer_argument(argv[at + 2]))
        start = first_of_range(argv[at])
        end = last_of_range(argv[at + 1])
    group = _group_of_key(ctx, argv[1], argv[2])
    if n == 3:
        return _pending_summary(group)
    pending_list = group.pending
    if at + 3 < n:
        consumer = group.consumers.get(argv[at + 3])
        if consumer is None:
            return []
        pending_list = consumer.pending
    found: list[Any] = []
    for id, pending in pending_list.walk(start):
        if id > end or len(found) == count:
            break
        idle_ms = ctx.now_ms - pending.delivered_ms
        if min_idle_ms and idle_ms < min_idle_ms:
            continue
        found.append([id_text(id), pending.consumer.name, max(0, idle_ms), pending.n_deliveries])
    return found


def _pending_summary(group: Group) -> list[Any]:
    if not len(group.pending):
        return [0, None, None, NULL_ARRAY]
    consumers = [
        [name, b"%d" % len(group.consumers[name].pending)]
        for name in sorted(group.consumers)
        if len(group.consumers[name].pending)
    ]
    return [len(group.pending), id_text(group.pending.first_id()), id_text(group.pending.last_id()), consumers]


def _group_of_key(ctx: Context, key: bytes, name: bytes) -> Group:
    stream = ctx.find_stream(key)
    group = None if stream is None else stream.groups.get(name)
    if group is None:
        raise no_key_or_group(key, name)
    return group


# -- claims -------------------------------------------------------------------------------------------------------


@command("XAUTOCLAIM", arity=-6, flags=WRITE | FAST, keys=FIRST)
def xautoclaim(ctx: Context, argv: list[bytes]) -> Reply:
    """Take over what has been pending for long: where to go on, the entries, and the ids that were deleted meanwhile."""
    min_idle_ms = _milliseconds(argv[4], "Invalid min-idle-time argument for XAUTOCLAIM")
    start = first_of_range(argv[5])
    count = _DEFAULT_CLAIMS
    just_ids = False
    args = Arguments(argv, 6)
    while args.more():
        if args.left() > 1 and args.flag(b"COUNT"):
            number = parse_integer(args.next())
            if number is None or not 1 <= number <= _MOST_CLAIMS:
                raise error("COUNT must be > 0")
            count = number
        elif args.flag(b"JUSTID"):
            just_ids = True
        else:
            args.unknown()
    args.done()
    _group_of_key(ctx, argv[1], argv[2])

    stream = ctx.edit_stream(argv[1])
    group = stream.groups[argv[2]]
    consumer = seen_consumer(ctx, argv[1], group, argv[3])
    claimed: list[Any] = []
    deleted: list[int] = []
    next_id = 0
    for n_looked_at, (id, pending) in enumerate(group.pending.walk(start)):
        if len(claimed) + len(deleted) == count or n_looked_at == count * _LOOKED_AT_PER_CLAIM:
            next_id = id
            break
        packed = stream.entries.get(id)
        if packed is None:
            deleted.append(id)
        elif not min_idle_ms or ctx.now_ms - pending.delivered_ms >= min_idle_ms:
            _claim(group, id, pending, consumer, ctx.now_ms, ctx.now_ms)
            if not just_ids:
                pending.n_deliveries += 1
            claimed.append(id_text(id) if just_ids else entry_reply(id, packed))
    for id in deleted:
        group.acknowledge(id)
    ctx.save_unwatched(argv[1], stream)
    return [id_text(next_id), claimed, [id_text(id) for id in deleted]]


@command("XCLAIM", arity=-6, flags=WRITE | FAST, keys=FIRST)
def xclaim(ctx: Context, argv: list[bytes]) -> Reply:
    """Take over entries by id that have been pending for long; what was deleted from the stream is pending no more."""
    _group_of_key(ctx, argv[1], argv[2])
    options = _ClaimOptions(argv, ctx.now_ms)

    stream = ctx.edit_stream(argv[1])
    group = stream.groups[argv[2]]
    group.last_id = max(group.last_id, options.last_id)
    consumer = seen_consumer(ctx, argv[1], group, argv[3])
    claimed: list[Any] = []
    shown: dict[int, list[Any]] = {}  # an id may be named thousands of times
    for id in options.ids:
        pending = group.pending.get(id)
        packed = stream.entries.get(id)
        if packed is None:
            group.acknowledge(id)
            continue
        if pending is None:
            if not options.is_forced:
                continue
            pending = Pending(consumer, ctx.now_ms, 1)
            group.pending.put(id, pending)
            consumer.pending.put(id, pending)
        elif options.min_idle_ms and ctx.now_ms - pending.delivered_ms < options.min_idle_ms:
            continue
        _claim(group, id, pending, consumer, options.delivered_ms, ctx.now_ms)
        if options.n_deliveries >= 0:
            pending.n_deliveries = options.n_deliveries
        elif not options.just_ids:
            pending.n_deliveries += 1
        if not options.just_ids and id not in shown:
            shown[id] = entry_reply(id, packed)
        claimed.append(id_text(id) if options.just_ids else shown[id])
    ctx.save_unwatched(argv[1], stream)
    return claimed


class _ClaimOptions:
    """The ids of XCLAIM and what follows the last of them, in Redis's order of checks."""

    def __init__(self, argv: list[bytes], now_ms: int) -> None:
        self.min_idle_ms = _milliseconds(argv[4], "Invalid min-idle-time argument for XCLAIM")
        self.ids: list[int] = []
        self.delivered_ms = -1
        self.n_deliveries = -1
        self.last_id = 0
        self.is_forced = False
        self.just_ids = False
        at = 5
        while at < len(argv):
            try:
                self.ids.append(numbered_id(argv[at]))
            except CommandError:
                break  # from here on options
            at += 1
        while at < len(argv):
            self._read_option(argv, at, now_ms)
            at += 1 if argv[at].upper() in (b"FORCE", b"JUSTID") else 2
        if not 0 <= self.delivered_ms <= now_ms:
            self.delivered_ms = now_ms

    def _read_option(self, argv: list[bytes], at: int, now_ms: int) -> None:
        word = argv[at].upper()
        more = at + 1 < len(argv)
        if word == b"FORCE":
            self.is_forced = True
        elif word == b"JUSTID":
            self.just_ids = True
        elif word == b"IDLE" and more:
            self.delivered_ms = now_ms - _integer(argv[at + 1], "Invalid IDLE option argument for XCLAIM")
        elif word == b"TIME" and more:
            self.delivered_ms = _integer(argv[at + 1], "Invalid TIME option argument for XCLAIM")
        elif word == b"RETRYCOUNT" and more:
            self.n_deliveries = _integer(argv[at + 1], "Invalid RETRYCOUNT option argument for XCLAIM")
        elif word == b"LASTID" and more:
            self.last_id = numbered_id(argv[at + 1])
        else:
            raise error(f"Unrecognized XCLAIM option '{shown(argv[at])}'")


def _claim(group: Group, id: int, pending: Pending, consumer: Consumer, delivered_ms: int, now_ms: int) -> None:
    group.hand_over(id, pending, consumer)
    pending.delivered_ms = delivered_ms
    consumer.active_ms = now_ms


def _milliseconds(text: bytes, message: str) -> int:
    return max(0, _integer(text, message))


def _integer(text: bytes, message: str) -> int:
    value = parse_integer(text)
    if value is None:
        raise error(message)
    return value
