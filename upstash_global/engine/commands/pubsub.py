"""PUBLISH: a message is logged like a write and delivered on every node as it is applied."""

from upstash_global.engine.context import Context
from upstash_global.engine.table import FAST, LEADER, LOADING, PUBSUB, STALE, Family
from upstash_global.reply import Reply

command = Family("pubsub").command


@command("PUBLISH", arity=3, flags=PUBSUB | LOADING | STALE | FAST | LEADER)
def publish(ctx: Context, argv: list[bytes]) -> Reply:
    """Send a message to a channel; reply with the deliveries on this node."""
    ctx.publish(argv[1], argv[2])
    return ctx.receivers(argv[1])
