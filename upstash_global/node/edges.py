"""What an edge is told of a reply that it may keep: where it was read, and until when it stays true.

The keys it depends on follow from the command, on both sides by the same table (engine/footprint.py). The text is

    EPOCH LSN UNTIL     decimal; UNTIL in milliseconds since 1970 by leader time, -1 for as long as nothing is written

and is there only for a single read that this node answered at once from its own data.
"""

from typing import TYPE_CHECKING

from upstash_global.engine.footprint import keys_read, true_until
from upstash_global.errors import CommandError
from upstash_global.node.clients import RestSession
from upstash_global.protocol.rest import Mode
from upstash_global.replication.position import Position

if TYPE_CHECKING:
    from upstash_global.node.node import Node


def edge_tag(node: "Node", session: RestSession) -> bytes | None:
    """The tag of the reply that the session was given just now; None if the reply must not be kept.

    Whose it is does not matter: an edge keeps it for the token alone that asked, and drops everything when an entry changes users.
    """
    call = session.call
    if call is None or call.mode is not Mode.SINGLE or session.waiting or len(session.replies) != 1:
        return None
    if type(session.replies[0]) is CommandError:
        return None
    argv = call.commands[0]
    if isinstance(argv, CommandError):
        return None
    keys = keys_read(argv)
    if keys is None:
        return None
    read_at = session.served
    return b"%d %d %d" % (read_at.epoch, read_at.lsn, true_until(node.engine.keyspace, keys, node.now_ms))


def read_tag(text: bytes) -> tuple[Position, int] | None:
    """(position, until) of a tag; None if it is none."""
    words = text.split(b" ")
    try:
        epoch, lsn, until_ms = [int(word) for word in words]
    except ValueError:
        return None
    return Position(epoch, lsn), until_ms
