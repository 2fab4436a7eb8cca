"""MULTI, EXEC, DISCARD, WATCH, UNWATCH."""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.table import (
    ALL,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NOSCRIPT,
    SKIP_SLOWLOG,
    STALE,
    Family,
)
from upstash_global.errors import CommandError, error
from upstash_global.node.session import Session, Watch
from upstash_global.node.transactions import execute_queue
from upstash_global.reply import OK, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("transactions").session_command

MAX_WATCHES: Final = 100_000  # keys that one client may watch


@command("DISCARD", arity=1, flags=NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
def discard(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Forget the queued commands and the watched keys."""
    if session.queue is None:
        raise error("DISCARD without MULTI")
    session.end_transaction()
    return OK


@command("EXEC", arity=1, flags=NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG)
def exec_(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Run the queued commands as one unit."""
    queue = session.queue
    if queue is None:
        raise error("EXEC without MULTI")
    failed = session.queue_failed
    watches = list(session.watches.values())
    session.end_transaction()
    if failed:
        raise CommandError("EXECABORT", "Transaction discarded because of previous errors.")
    return execute_queue(node, session, queue, watches)


@command("MULTI", arity=1, flags=NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
def multi(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Begin to queue commands."""
    if session.queue is not None:
        raise error("MULTI calls can not be nested")
    session.queue = []
    session.queue_bytes = 0
    session.queue_failed = False
    return OK


@command("UNWATCH", arity=1, flags=NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
def unwatch(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Forget the watched keys."""
    session.watches = {}
    return OK


@command("WATCH", arity=-2, flags=NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY, keys=ALL)
def watch(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Let the next EXEC abort if one of the keys changes before it."""
    if session.queue is not None:
        raise error("WATCH inside MULTI is not allowed")
    if len(session.watches) + len(argv) - 1 > MAX_WATCHES:
        raise error(f"max number of watched keys of a client reached. Limit: {MAX_WATCHES}")
    context = node.engine.context
    context.now_ms = node.now_ms
    for key in argv[1:]:
        if key not in session.watches:
            session.watches[key] = Watch(key, node.log.head, context.glance(key) is not None)
    return OK
