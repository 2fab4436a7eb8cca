"""What caches outside are told of a reply: our own edges by a tag, standard HTTP caches by surrogate keys.

A tag says where the reply was read, and until when it stays true:

    EPOCH LSN UNTIL     decimal; UNTIL in milliseconds since 1970 by leader time, -1 for as long as nothing is written

The keys it depends on follow from the command, on both sides by the same table (engine/footprint.py). A standard cache knows
no commands, so it is told their hashes in `Surrogate-Key`, by which edge/purger.py has them banned.

Both are told only with a single read that this node answered at once from its own data.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.footprint import keys_read, true_until
from upstash_global.errors import CommandError
from upstash_global.node.clients import RestSession
from upstash_global.protocol.rest import Mode
from upstash_global.protocol.tokens import key_hash
from upstash_global.replication.position import Position

if TYPE_CHECKING:
    from upstash_global.node.node import Node


SURROGATE_LIFETIME_S: Final = 30  # how long a standard cache may keep a reply that nobody bans
SURROGATE_OF_ALL: Final = b"all-keys"  # of replies that depend on every key

NOT_TO_BE_KEPT: Final = [(b"cache-control", b"no-store")]


def edge_tag(node: "Node", session: RestSession) -> bytes | None:
    """The tag of the reply that the session was given just now; None if the reply must not be kept.

    Whose it is does not matter: an edge keeps it for the token alone that asked, and drops everything when an entry changes users.
    """
    keys = _keys_of_reply(session)
    if keys is None:
        return None
    read_at = session.served
    return b"%d %d %d" % (read_at.epoch, read_at.lsn, true_until(node.engine.keyspace, keys, node.now_ms))


def surrogate_headers(node: "Node", session: RestSession) -> list[tuple[bytes, bytes]]:
    """What a standard cache is told of the reply that the session was given just now."""
    keys = _keys_of_reply(session)
    if keys is None:
        return NOT_TO_BE_KEPT
    lifetime_s = SURROGATE_LIFETIME_S
    until_ms = true_until(node.engine.keyspace, keys, node.now_ms)
    if until_ms >= 0:
        lifetime_s = min(lifetime_s, (until_ms - node.now_ms) // 1000)
    if lifetime_s <= 0:
        return NOT_TO_BE_KEPT
    surrogates = b" ".join([surrogate_of(key) for key in keys]) if keys else SURROGATE_OF_ALL
    return [(b"cache-control", b"s-maxage=%d, max-age=0" % lifetime_s), (b"surrogate-key", surrogates)]


def surrogate_of(key: bytes) -> bytes:
    """The text by which a standard cache knows a key; two keys may share one, and are then banned together."""
    return b"%016x" % key_hash(key)


def _keys_of_reply(session: RestSession) -> list[bytes] | None:
    """On which keys the reply depends that the session was given just now; None if it must not be kept."""
    call = session.call
    if call is None or call.mode is not Mode.SINGLE or session.waiting or len(session.replies) != 1:
        return None
    if type(session.replies[0]) is CommandError:
        return None
    argv = call.commands[0]
    return None if isinstance(argv, CommandError) else keys_read(argv)


def read_tag(text: bytes) -> tuple[Position, int] | None:
    """(position, until) of a tag; None if it is none."""
    words = text.split(b" ")
    try:
        epoch, lsn, until_ms = [int(word) for word in words]
    except ValueError:
        return None
    return Position(epoch, lsn), until_ms
