"""CLIENT PAUSE and UNPAUSE, and MONITOR: a node is held, or watched."""

from typing import TYPE_CHECKING

from upstash_global.engine.arguments import timeout_argument
from upstash_global.engine.table import ADMIN, LOADING, NOSCRIPT, STALE, Family, wrong_subcommand
from upstash_global.errors import error
from upstash_global.node.session import Session
from upstash_global.reply import OK, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("connection").session_command
server = Family("server").session_command


@command("CLIENT PAUSE", arity=-3, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def client_pause(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Let the commands of this node's clients wait for so many milliseconds: ALL of them, or those that WRITE."""
    if len(argv) > 4:
        raise wrong_subcommand(argv)
    mode = argv[3].upper() if len(argv) == 4 else b"ALL"
    if mode not in (b"WRITE", b"ALL"):
        raise error("CLIENT PAUSE mode must be WRITE or ALL")
    timeout_ms = timeout_argument(argv[2], node.local_ms)
    node.pause.begin(node.local_ms + timeout_ms, mode == b"ALL")
    return OK


@command("CLIENT UNPAUSE", arity=2, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def client_unpause(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """End the pause of this node's clients."""
    node.pause.end()
    return OK


@server("MONITOR", arity=1, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def monitor(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Be shown every command that the clients of this node let run."""
    if not node.engine.context.may_block:
        raise error("MONITOR isn't allowed for DENY BLOCKING client")
    node.audience.monitors.join(session)
    node.audience.note_attention()
    return OK
