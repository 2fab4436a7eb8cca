"""HELP of every command that has subcommands: what they take and what they do, as the table and the facts say."""

from typing import TYPE_CHECKING, Any, Final

from upstash_global.engine.facts import facts_of, summary_of
from upstash_global.engine.table import LOADING, STALE, TABLE, Family
from upstash_global.node.session import Session
from upstash_global.reply import Reply, Simple

if TYPE_CHECKING:
    from upstash_global.node.node import Node

SUMMARY: Final = "Print this help."


def declare() -> None:
    """Add a HELP to every container that has none; call it when all other commands are declared."""
    for container in list(TABLE.values()):
        if container.subcommands and b"HELP" not in container.subcommands:
            family = Family(container.group)
            family.session_command(f"{container.name} HELP", arity=2, flags=LOADING | STALE, summary=SUMMARY)(help_)


def help_(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    container = TABLE[argv[0].upper()]
    lines = [f"{container.name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for name, row in sorted(container.subcommands.items()):
        lines.append(" ".join([name.decode(), *map(_syntax, facts_of(row).get("arguments", []))]))
        lines.append(f"    {summary_of(row)}")
    return [Simple(line) for line in lines]


def _syntax(argument: dict[str, Any]) -> str:
    """An argument as Redis's manual writes it: `[TYPE <type>]`, `(ON|OFF)`, `<key> [<key> ...]`."""
    flags = argument.get("flags", [])
    kind = argument["type"]
    token = argument.get("token", "")
    if kind == "pure-token":
        text = token
    elif kind == "oneof":
        choices = "|".join(map(_syntax, argument["arguments"]))
        text = choices if "optional" in flags and not token else f"({choices})"
    elif kind == "block":
        text = " ".join(map(_syntax, argument["arguments"]))
    else:
        text = f"<{argument['name']}>"
    if token and kind != "pure-token":
        text = f"{token} {text}"
    if "multiple" in flags:
        text += f" [{text} ...]"
    return f"[{text}]" if "optional" in flags else text
