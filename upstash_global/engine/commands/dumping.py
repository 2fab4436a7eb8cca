"""DUMP and RESTORE: a value in Redis's own format, with its checksum, to be carried between servers.

What redis-server dumped is restored here, and the reverse; engine/rdb says how. RESTORE is logged as it came: a payload
gives the same value on every node, and the entry's time is what a time to live counts from.
"""

from typing import Final

from upstash_global.engine.arguments import Arguments, integer_argument
from upstash_global.engine.context import EVENT_GENERIC, Context
from upstash_global.engine.numbers import INT64_MAX
from upstash_global.engine.rdb.format import unseal
from upstash_global.engine.rdb.read import read_value
from upstash_global.engine.rdb.write import payload_of
from upstash_global.engine.table import ASKING, DANGEROUS, DENYOOM, FIRST, READONLY, WRITE, Family
from upstash_global.errors import CommandError, DumpError, error
from upstash_global.reply import OK, Reply

command = Family("generic").command
server_command = Family("server").command

MAX_VALUE_BYTES: Final = 512 << 20  # about what one payload may take in memory
_HIGHEST_FREQUENCY: Final = 255


@command("DUMP", arity=2, flags=READONLY, keys=FIRST)
def dump(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the value of a key as a payload for RESTORE; nil without a key."""
    value = ctx.find(argv[1])
    return None if value is None else payload_of(value, ctx.now_ms, ctx.limits)


@command("RESTORE", arity=-4, flags=WRITE | DENYOOM | DANGEROUS, keys=FIRST)
def restore(ctx: Context, argv: list[bytes]) -> Reply:
    """Create a key from a payload of DUMP, with a time to live in milliseconds (0: none)."""
    key = argv[1]
    options = _Options(argv)
    if not options.replaces and ctx.exists(key):
        raise CommandError("BUSYKEY", "Target key name already exists.")
    at_ms = integer_argument(argv[2])
    if at_ms < 0:
        raise error("Invalid TTL value, must be >= 0")
    reader = unseal(argv[3], MAX_VALUE_BYTES)
    if reader is None:
        raise error("DUMP payload version or checksum are wrong")
    try:
        value = read_value(reader, ctx.now_ms, ctx.limits)
    except DumpError:
        raise error("Bad data format") from None
    if at_ms and not options.is_absolute:
        at_ms += ctx.now_ms
    is_past = at_ms != 0 and not ctx.now_ms < at_ms <= INT64_MAX  # beyond 64 bits as well, as in Redis
    if value is None or is_past:
        if ctx.remove(key):
            ctx.log_as(b"DEL", key)
            ctx.notify(EVENT_GENERIC, b"del", key)
        return OK
    ctx.put(key, value)
    if at_ms:
        ctx.expire(key, at_ms)
    if ctx.keyspace.accesses is not None:
        last_ms = -1 if options.idle_s < 0 else max(0, ctx.now_ms - options.idle_s * 1000)
        ctx.keyspace.accesses.give(key, last_ms if options.frequency < 0 else ctx.now_ms, options.frequency)
    ctx.notify(EVENT_GENERIC, b"restore", key)
    return OK


@server_command("RESTORE-ASKING", arity=-4, flags=WRITE | DENYOOM | ASKING | DANGEROUS, keys=FIRST)
def restore_asking(ctx: Context, argv: list[bytes]) -> Reply:
    """RESTORE, as nodes of a Redis Cluster say it to each other."""
    return restore(ctx, argv)


class _Options:
    """What stands behind the payload. IDLETIME and FREQ exclude each other."""

    def __init__(self, argv: list[bytes]) -> None:
        self.replaces = False
        self.is_absolute = False
        self.idle_s = -1
        self.frequency = -1
        args = Arguments(argv, 4)
        while args.more():
            if args.flag(b"REPLACE"):
                self.replaces = True
            elif args.flag(b"ABSTTL"):
                self.is_absolute = True
            elif args.left() > 1 and self.frequency < 0 and args.flag(b"IDLETIME"):
                self.idle_s = args.integer()
                if self.idle_s < 0:
                    args.fail(error("Invalid IDLETIME value, must be >= 0"))
            elif args.left() > 1 and self.idle_s < 0 and args.flag(b"FREQ"):
                self.frequency = args.integer()
                if not 0 <= self.frequency <= _HIGHEST_FREQUENCY:
                    args.fail(error("Invalid FREQ value, must be >= 0 and <= 255"))
            else:
                args.unknown()
        args.done()
