"""PUBLISH: a message is logged like a write and delivered on every node as it is applied.

Channels of SPUBLISH have a namespace of their own and no patterns; beyond that, as there is one shard, they are the same.
"""

from upstash_global.engine.context import MESSAGE, SHARD_MESSAGE, Context
from upstash_global.engine.table import FAST, FIRST, LEADER, LOADING, PUBSUB, STALE, Family
from upstash_global.reply import Reply

command = Family("pubsub").command


@command("PUBLISH", arity=3, flags=PUBSUB | LOADING | STALE | FAST | LEADER)
def publish(ctx: Context, argv: list[bytes]) -> Reply:
    """Send a message to a channel; reply with the deliveries on this node."""
    return ctx.publish(MESSAGE, argv[1], argv[2])


@command("SPUBLISH", arity=3, flags=PUBSUB | LOADING | STALE | FAST | LEADER, keys=FIRST)
def spublish(ctx: Context, argv: list[bytes]) -> Reply:
    """Send a message to a shard channel; reply with the deliveries on this node."""
    return ctx.publish(SHARD_MESSAGE, argv[1], argv[2])
