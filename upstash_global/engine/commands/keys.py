"""Keys: commands about a key whatever it holds, and about all keys.

Keys whose deadline has passed are hidden from every answer here, counts included.
"""

from typing import Any, Final

from upstash_global.engine.arguments import Arguments, integer_argument
from upstash_global.engine.context import EVENT_GENERIC, Context
from upstash_global.engine.dump import dump, load, type_name
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import (
    ALL,
    DANGEROUS,
    DENYOOM,
    FAST,
    FIRST,
    FIRST_TWO,
    READONLY,
    VOLATILE,
    WRITE,
    Family,
)
from upstash_global.engine.types.glob import Glob
from upstash_global.errors import error, syntax_error
from upstash_global.reply import OK, Reply, Simple

command = Family("generic").command
server_command = Family("server").command


# -- reads ------------------------------------------------------------------------------------------------------


@server_command("DBSIZE", arity=1, flags=READONLY | FAST)
def dbsize(ctx: Context, argv: list[bytes]) -> Reply:
    """Count the keys."""
    return ctx.keyspace.size(ctx.now_ms)


@command("EXISTS", arity=-2, flags=READONLY | FAST, keys=ALL)
def exists(ctx: Context, argv: list[bytes]) -> Reply:
    """Count how many of the keys exist; a key named twice counts twice."""
    return sum([ctx.exists(key) for key in argv[1:]])


@command("KEYS", arity=2, flags=READONLY | DANGEROUS)
def keys(ctx: Context, argv: list[bytes]) -> Reply:
    """Get all keys that match a glob pattern."""
    glob = Glob(argv[1])
    hidden = ctx.keyspace.gone(ctx.now_ms)
    takes_all = argv[1] == b"*"
    return [key for key in ctx.keyspace.values if (takes_all or glob.matches(key)) and key not in hidden]


@command("RANDOMKEY", arity=1, flags=READONLY | VOLATILE)
def randomkey(ctx: Context, argv: list[bytes]) -> Reply:
    """Get one key by chance; nil when there is none."""
    keyspace = ctx.keyspace
    if keyspace.size(ctx.now_ms) == 0:
        return None
    hidden = keyspace.gone(ctx.now_ms)
    for _ in range(_RANDOM_TRIES):
        key = keyspace.key_index().random(ctx.random)
        if key not in hidden:
            return key
    return ctx.random.choice([key for key in keyspace.values if key not in hidden])


_RANDOM_TRIES: Final = 100  # then nearly all keys are hidden, and the few others are listed


@command("TOUCH", arity=-2, flags=READONLY | FAST | VOLATILE, keys=ALL)
def touch(ctx: Context, argv: list[bytes]) -> Reply:
    """Note that keys were used; reply with how many exist."""
    return sum([ctx.touch(key) for key in argv[1:]])


@command("TYPE", arity=2, flags=READONLY | FAST, keys=FIRST)
def type_(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the type of the value of a key; `none` without a key."""
    value = ctx.peek(argv[1])
    return Simple("none" if value is None else type_name(value))


# -- writes -----------------------------------------------------------------------------------------------------


@command("COPY", arity=-3, flags=WRITE | DENYOOM, keys=FIRST_TWO)
def copy(ctx: Context, argv: list[bytes]) -> Reply:
    """Copy the value and the deadline of a key to another key.

    A key onto itself answers 0, as Upstash does (Redis 7.2: an error).
    """
    source, target = argv[1], argv[2]
    replaces = False
    args = Arguments(argv, 3)
    while args.more():
        if args.flag(b"REPLACE"):
            replaces = True
        elif args.left() > 1 and args.flag(b"DB"):
            _only_database(args.next())
        else:
            args.unknown()
    args.done()
    value = ctx.find(source)
    if value is None or source == target or (not replaces and ctx.exists(target)):
        return 0
    deadline = ctx.deadline(source)
    ctx.remove(target)  # not overwritten, as in Redis: the key is a new one
    ctx.put(target, _duplicate(value))
    if deadline >= 0:
        ctx.expire(target, deadline)
    ctx.notify(EVENT_GENERIC, b"copy_to", target)
    return 1


@command("DEL", arity=-2, flags=WRITE, keys=ALL)
def del_(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove keys; reply with how many there were."""
    n_removed = 0
    for key in argv[1:]:
        if ctx.remove(key):
            ctx.notify(EVENT_GENERIC, b"del", key)
            n_removed += 1
    return n_removed


@server_command("FLUSHALL", arity=-1, flags=WRITE | DANGEROUS)
def flushall(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove all keys; SYNC and ASYNC mean the same here."""
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() not in (b"SYNC", b"ASYNC")):
        raise syntax_error()
    if ctx.keyspace.values:
        ctx.flush()
    return OK


@server_command("FLUSHDB", arity=-1, flags=WRITE | DANGEROUS)
def flushdb(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove all keys of the database, of which there is one."""
    return flushall(ctx, argv)


@command("MOVE", arity=3, flags=WRITE | FAST, keys=FIRST)
def move(ctx: Context, argv: list[bytes]) -> Reply:
    """Move a key to another database; refused, for there is only one."""
    _only_database(argv[2])
    raise error("source and destination objects are the same")


@command("RENAME", arity=3, flags=WRITE, keys=FIRST_TWO)
def rename(ctx: Context, argv: list[bytes]) -> Reply:
    """Give a key another name, over what has that name."""
    value = _present(ctx, argv[1])
    if argv[1] != argv[2]:
        _rename(ctx, argv[1], argv[2], value)
    return OK


@command("RENAMENX", arity=3, flags=WRITE | FAST, keys=FIRST_TWO)
def renamenx(ctx: Context, argv: list[bytes]) -> Reply:
    """Give a key another name, if no key has that name."""
    value = _present(ctx, argv[1])
    if ctx.exists(argv[2]):
        return 0
    _rename(ctx, argv[1], argv[2], value)
    return 1


@server_command("SWAPDB", arity=3, flags=WRITE | FAST | DANGEROUS)
def swapdb(ctx: Context, argv: list[bytes]) -> Reply:
    """Swap two databases; there is only one, so nothing changes."""
    for which, index in (("first", argv[1]), ("second", argv[2])):
        number = parse_integer(index)
        if number is None or not -(1 << 31) <= number < 1 << 31:
            raise error(f"invalid {which} DB index")
    _only_database(argv[1])
    _only_database(argv[2])
    return OK


@command("UNLINK", arity=-2, flags=WRITE | FAST, keys=ALL)
def unlink(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove keys; reply with how many there were."""
    return del_(ctx, argv)


def _present(ctx: Context, key: bytes) -> Any:
    value = ctx.find(key)
    if value is None:
        raise error("no such key")
    return value


def _rename(ctx: Context, source: bytes, target: bytes, value: Any) -> None:
    deadline = ctx.deadline(source)
    ctx.remove(source)
    ctx.remove(target)  # not overwritten, as in Redis: the key is a new one
    ctx.put(target, value)
    if deadline >= 0:
        ctx.expire(target, deadline)
    ctx.notify(EVENT_GENERIC, b"rename_from", source)
    ctx.notify(EVENT_GENERIC, b"rename_to", target)


def _duplicate(value: Any) -> Any:
    """An equal value that shares nothing which can change."""
    return value if isinstance(value, bytes) else load(dump(value))


def _only_database(index: bytes) -> None:
    """Raises CommandError for anything but 0."""
    number = integer_argument(index)
    if not -(1 << 31) <= number < 1 << 31:
        raise error("value is out of range, value must between -2147483648 and 2147483647")
    if number != 0:
        raise error("DB index is out of range")
