"""Rows that only the log carries: how expired and evicted keys leave the keyspace of every node, and cluster parameters change.

Reads never log. The leader's sweep logs `_EXPIRED key` and `_EXPIRED key field…`, its memory policy `_EVICTED key`; they
remove whatever the deadlines say, so that a replica needs no clock of its own for it.
"""

from upstash_global.engine.commands.hashes import save_fewer
from upstash_global.engine.context import EVENT_EVICTED, EVENT_EXPIRED, Context
from upstash_global.engine.parameters import PASSWORD
from upstash_global.engine.table import FIRST, INTERNAL, WRITE, Family
from upstash_global.errors import error
from upstash_global.reply import OK, Reply

command = Family("internal").command


@command("_CONFIG", arity=-3, flags=WRITE | INTERNAL)
def config(ctx: Context, argv: list[bytes]) -> Reply:
    """Set cluster parameters, `name text` each; the node that logs it has checked them."""
    for at in range(1, len(argv), 2):
        if argv[at] == PASSWORD:
            ctx.changed = ctx.users.set_default_password(argv[at + 1]) or ctx.changed
        elif ctx.parameters.set(argv[at], argv[at + 1]):
            ctx.changed = True
            ctx.configured(argv[at], argv[at + 1])
    return OK


@command("_EVICTED", arity=2, flags=WRITE | INTERNAL, keys=FIRST)
def evicted(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove a key because memory was short."""
    return _remove(ctx, argv[1], EVENT_EVICTED, b"evicted")


@command("_EXPIRED", arity=-2, flags=WRITE | INTERNAL, keys=FIRST)
def expired(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove a key because its deadline has passed, or the fields of a hash whose deadlines have."""
    if len(argv) == 2:
        return _remove(ctx, argv[1], EVENT_EXPIRED, b"expired")
    edited = ctx.edit_hidden_hash(argv[1])
    if edited is None or not any([edited.remove(field) for field in argv[2:]]):
        raise error("no such field")
    save_fewer(ctx, argv[1], edited, b"hexpired")
    return OK


def _remove(ctx: Context, key: bytes, event_class: int, event: bytes) -> Reply:
    if not ctx.remove_hidden(key):
        raise error("no such key")
    ctx.notify(event_class, event, key)
    return OK
