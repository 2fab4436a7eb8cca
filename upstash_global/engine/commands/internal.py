"""Rows that only the log carries: how expired and evicted keys leave the keyspace of every node.

Reads never log. The leader's sweep logs `_EXPIRED key`, its memory policy `_EVICTED key`; both remove the key whatever its
deadline says, so that a replica needs no clock of its own for it.
"""

from upstash_global.engine.context import EVENT_EVICTED, EVENT_EXPIRED, Context
from upstash_global.engine.table import FIRST, INTERNAL, WRITE, Family
from upstash_global.errors import error
from upstash_global.reply import OK, Reply

command = Family("internal").command


@command("_EVICTED", arity=2, flags=WRITE | INTERNAL, keys=FIRST)
def evicted(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove a key because memory was short."""
    return _remove(ctx, argv[1], EVENT_EVICTED, b"evicted")


@command("_EXPIRED", arity=2, flags=WRITE | INTERNAL, keys=FIRST)
def expired(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove a key because its deadline has passed."""
    return _remove(ctx, argv[1], EVENT_EXPIRED, b"expired")


def _remove(ctx: Context, key: bytes, event_class: int, event: bytes) -> Reply:
    if not ctx.remove_hidden(key):
        raise error("no such key")
    ctx.notify(event_class, event, key)
    return OK
