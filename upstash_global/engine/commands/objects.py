"""OBJECT and MEMORY USAGE: what a key costs and how its value is kept.

Encodings are those that Redis 7.2 would use. Accesses are known only while a memory policy tracks them (see
engine/accesses.py); sizes are estimates of this implementation's memory.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from upstash_global.engine.arguments import Arguments
from upstash_global.engine.context import Context
from upstash_global.engine.encodings import encoding_name
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import LOADING, READONLY, STALE, VOLATILE, Family, Keys
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.json import Json, memory_bytes
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.engine.types.stream import Stream
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

_DEFAULT_SAMPLES: Final = 5
_KEY_BYTES: Final = 33 + 100  # a bytes object and its place in the keyspace's table
_CONTAINER_BYTES: Final = 64 + 232  # an object and an empty table
_ITEM_BYTES: Final = 33 + 8  # a bytes object and a reference to it
_SLOT_BYTES: Final = 100  # a place in a table
_SCORE_BYTES: Final = 24
_ENTRY_BYTES: Final = 24 + 33 + 3 * 8  # the rest of an id, a bytes object for the fields, and references
_PENDING_BYTES: Final = 120


@server_command("MEMORY USAGE", arity=-3, flags=READONLY, keys=SECOND)
def memory_usage(ctx: Context, argv: list[bytes]) -> Reply:
    """Estimate the bytes that a key and its value take; a collection by the mean of SAMPLES elements, 0 means all."""
    n_samples = _DEFAULT_SAMPLES
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
    return _KEY_BYTES + len(argv[2]) + value_bytes(value, n_samples)


def value_bytes(value: Any, n_samples: int) -> int:
    """An estimate of a value's memory from its first `n_samples` elements, 0 for all of them."""
    if isinstance(value, (bytes, bytearray)):
        return 33 + len(value)
    if type(value) is Json:
        return _CONTAINER_BYTES + memory_bytes(value.root)
    n = len(value)
    if type(value) is Hash:
        each = _SLOT_BYTES + 2 * _ITEM_BYTES
        return _CONTAINER_BYTES + n * each + _scaled_bytes(value.fields.items(), n, n_samples)
    if type(value) is SortedSet:
        each = _SLOT_BYTES + _ITEM_BYTES + _SCORE_BYTES
        return _CONTAINER_BYTES + n * each + _scaled_bytes(value.scores, n, n_samples)
    if type(value) is Stream:
        n_pending = sum([len(group.pending) for group in value.groups.values()])
        entries_bytes = n * _ENTRY_BYTES + _scaled_bytes(value.items(), n, n_samples)
        return _CONTAINER_BYTES * (1 + len(value.groups)) + n_pending * _PENDING_BYTES + entries_bytes
    if hasattr(value, "__iter__"):
        return _CONTAINER_BYTES + n * _ITEM_BYTES + _scaled_bytes(value, n, n_samples)
    return _CONTAINER_BYTES + n * (_SLOT_BYTES + _ITEM_BYTES)


def _scaled_bytes(elements: Iterable[Any], n: int, n_samples: int) -> int:
    """The bytes of all `n` elements if all are like the first ones."""
    sampled = 0
    n_sampled = 0
    for element in islice(elements, n_samples or n):
        parts = element if isinstance(element, tuple) else (element,)
        sampled += sum([len(part) for part in parts if isinstance(part, bytes)])
        n_sampled += 1
    return sampled * n // n_sampled if n_sampled else 0
