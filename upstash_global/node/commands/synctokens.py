"""SYNCTOKEN: what a client of RESP carries from node to node to be shown nothing older."""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.table import FAST, NO_MULTI, NOSCRIPT, Family
from upstash_global.errors import error, wrong_arity
from upstash_global.node.freshness import is_lost
from upstash_global.node.session import Session
from upstash_global.replication.position import later
from upstash_global.reply import OK, Reply, Simple

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("connection").session_command

LOST: Final = Simple("lost-epoch")  # as REST's Upstash-Sync-Token-Status


@command("SYNCTOKEN", arity=-1, flags=NOSCRIPT | NO_MULTI | FAST)
def synctoken(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The token of what this connection has read and written; with a token of any node, be shown nothing older than that.

    It answers `lost-epoch` when what the token knows was given up in a failover: reads go to the leader until the next token.
    """
    if len(argv) == 1:
        return node.sync_tokens.of(later(node.log.head, session.own))
    if len(argv) > 2:
        raise wrong_arity("synctoken")
    token = node.sync_tokens.read(argv[1].decode("latin-1"))
    if token is None:
        raise error("this is no sync token of this cluster")
    position = node.log.history.locate(token.epoch, token.newest_lsn)
    scope = token if node.covers(session.own) else None  # what is owed to this connection has no keys in the token
    session.ask(session.consistency, later(session.own, position), scope)
    return LOST if is_lost(node, position) else OK
