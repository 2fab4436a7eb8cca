"""OBJECT and MEMORY USAGE: what a key costs and how its value is kept.

Encodings are those that Redis 7.2 would use. Accesses are known only while a memory policy tracks them (see
engine/accesses.py); sizes are estimates of this implementation's memory.
"""

from typing import Final

from upstash_global.engine.arguments import Arguments
from upstash_global.engine.context import Context
from upstash_global.engine.encodings import encoding_name
from upstash_global.engine.memory import DEFAULT_SAMPLES, usage
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import LOADING, READONLY, STALE, VOLATILE, Family, Keys
from upstash_global.errors import error, syntax_error
from upstash_global.reply import Reply, Simple

command = Family("generic").command
server_command = Family("server").command

SECOND: Final = Keys(2, 2, 1)

_SWITCHING: Final = (
    "Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
)
_SHARED_INTEGERS: Final = 10_000  # Redis keeps one object for each of these, whoever uses it
_SHARED_COUNT: Final = 2**31 - 1


@command("OBJECT ENCODING", arity=3, flags=READONLY, keys=SECOND)
def object_encoding(ctx: Context, argv: list[bytes]) -> Reply:
    """Get how the value of a key is kept."""
    value = ctx.peek(argv[2])
    return None if value is None else encoding_name(value, ctx.limits)


@command("OBJECT FREQ", arity=3, flags=READONLY | VOLATILE, keys=SECOND)
def object_freq(ctx: Context, argv: list[bytes]) -> Reply:
    """Get how often a key is used, as a counter of 0 to 255; only under an LFU policy."""
    if ctx.peek(argv[2]) is None:
        return None
    accesses = ctx.keyspace.accesses
    if accesses is None or not accesses.counts_uses:
        raise error(f"An LFU maxmemory policy is not selected, access frequency not tracked. {_SWITCHING}")
    return accesses.frequency(argv[2], ctx.now_ms)


@command("OBJECT HELP", arity=2, flags=LOADING | STALE)
def object_help(ctx: Context, argv: list[bytes]) -> Reply:
    """Show what OBJECT can do."""
    return [Simple(line) for line in _HELP.splitlines()]


@command("OBJECT IDLETIME", arity=3, flags=READONLY | VOLATILE, keys=SECOND)
def object_idletime(ctx: Context, argv: list[bytes]) -> Reply:
    """Get how long a key was not used, in seconds; 0 while no policy tracks it."""
    if ctx.peek(argv[2]) is None:
        return None
    accesses = ctx.keyspace.accesses
    if accesses is None:
        return 0
    if accesses.counts_uses:
        raise error(f"An LFU maxmemory policy is selected, idle time not tracked. {_SWITCHING}")
    return accesses.idle_ms(argv[2], ctx.now_ms) // 1000


@command("OBJECT REFCOUNT", arity=3, flags=READONLY, keys=SECOND)
def object_refcount(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the number of references to a value: 1, but Redis shares small integers."""
    value = ctx.peek(argv[2])
    if value is None:
        return None
    number = parse_integer(value) if type(value) is bytes else None
    return _SHARED_COUNT if number is not None and 0 <= number < _SHARED_INTEGERS else 1


_HELP: Final = """\
OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
ENCODING <key>
    Return the kind of internal representation used in order to store the value
    associated with a <key>.
FREQ <key>
    Return the access frequency index of the <key>. The returned integer is
    proportional to the logarithm of the recent access frequency of the key.
IDLETIME <key>
    Return the idle time of the <key>, that is the approximated number of
    seconds elapsed since the last access to the key.
REFCOUNT <key>
    Return the number of references of the value associated with the specified
    <key>.
HELP
    Prints this help."""


# -- memory -----------------------------------------------------------------------------------------------------


@server_command("MEMORY USAGE", arity=-3, flags=READONLY, keys=SECOND)
def memory_usage(ctx: Context, argv: list[bytes]) -> Reply:
    """Estimate the bytes that a key and its value take; a collection by the mean of SAMPLES elements, 0 means all."""
    n_samples = DEFAULT_SAMPLES
    args = Arguments(argv, 3)
    while args.more():
        if args.left() > 1 and args.flag(b"SAMPLES"):
            n_samples = args.integer()
            if n_samples < 0:
                args.fail(syntax_error())
        else:
            args.unknown()
    args.done()
    value = ctx.peek(argv[2])
    if value is None:
        return None
    return usage(argv[2], value, n_samples)
