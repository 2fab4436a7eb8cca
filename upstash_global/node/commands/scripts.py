"""What is said about the script or function that runs: KILL and STATS. The node serves them while it is busy."""

from typing import TYPE_CHECKING

from upstash_global.engine.table import ALLOW_BUSY, NOSCRIPT, Family
from upstash_global.node.freshness import FORWARD
from upstash_global.node.session import Session
from upstash_global.reply import Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("scripting").session_command


@command("FUNCTION KILL", arity=2, flags=NOSCRIPT | ALLOW_BUSY)
def function_kill(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Stop the function that runs here or, if none does, at the leader; it must not have written."""
    return _kill(node, True)


@command("FUNCTION STATS", arity=2, flags=NOSCRIPT | ALLOW_BUSY)
def function_stats(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Show the function that runs on this node, and how many there are."""
    run = node.scripts.running
    running: Reply = None
    if run is not None:
        if not run.function:
            raise node.scripts.refusal
        duration_ms = node.local_ms - node.scripts.began_ms
        running = {"name": run.function, "command": list(node.scripts.argv), "duration_ms": duration_ms}
    libraries = node.engine.context.functions.libraries
    counts = {
        "libraries_count": len(libraries),
        "functions_count": sum([len(library.functions) for library in libraries.values()]),
    }
    return {"running_script": running, "engines": {"LUA": counts}}


@command("SCRIPT KILL", arity=2, flags=NOSCRIPT | ALLOW_BUSY)
def script_kill(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Stop the script that runs here or, if none does, at the leader; it must not have written."""
    return _kill(node, False)


def _kill(node: "Node", is_function: bool) -> Reply:
    if node.scripts.running is None and not node.is_leader and node.can_forward:
        return FORWARD
    return node.scripts.kill(is_function)
