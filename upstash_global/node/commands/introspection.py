"""COMMAND and its subcommands: the table as clients see it."""

from typing import TYPE_CHECKING, Any

from upstash_global.engine.table import (
    FLAG_NAMES,
    INTERNAL,
    LOADING,
    STALE,
    TABLE,
    Family,
    Row,
    all_rows,
    lookup,
)
from upstash_global.engine.types.glob import Glob
from upstash_global.errors import CommandError, error, syntax_error
from upstash_global.node.session import Session
from upstash_global.reply import Reply, Set, Simple

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("server").session_command


@command("COMMAND", arity=-1, flags=LOADING | STALE)
def command_(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Every command with its arity, flags and key positions."""
    return [_info(row) for row in _top_level()]


@command("COMMAND COUNT", arity=2, flags=LOADING | STALE)
def command_count(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """How many commands there are."""
    return len(_top_level())


@command("COMMAND DOCS", arity=-2, flags=LOADING | STALE)
def command_docs(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Summary and group of commands, of all of them without names."""
    docs: dict[bytes, Any] = {}
    for row in _named(argv[2:]) if len(argv) > 2 else _top_level():
        if row is not None:
            docs[row.display_name.encode()] = _docs(row)
    return docs


@command("COMMAND GETKEYS", arity=-3, flags=LOADING | STALE)
def command_getkeys(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The keys in a command line."""
    try:
        row = lookup(argv[2:])
    except CommandError as refusal:
        if "wrong number" in refusal.message:
            raise error("Invalid number of arguments specified for command") from None
        raise error("Invalid command specified") from None
    keys = row.keys.find(argv[2:])
    if not keys:
        if row.keys.first == 0 and not row.keys.counted and row.keys.finder is None:
            raise error("The command has no key arguments")
        raise error("Invalid arguments specified for command")
    return keys


@command("COMMAND INFO", arity=-2, flags=LOADING | STALE)
def command_info(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Arity, flags and key positions of the named commands; nil for an unknown one."""
    if len(argv) == 2:
        return [_info(row) for row in _top_level()]
    return [None if row is None else _info(row) for row in _named(argv[2:])]


@command("COMMAND LIST", arity=-2, flags=LOADING | STALE)
def command_list(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The names of all commands, or of those in a category or matching a pattern."""
    rows = [row for row in all_rows() if not row.flags & INTERNAL]
    if len(argv) == 2:
        return [row.display_name.encode() for row in _top_level()]
    if len(argv) != 5 or argv[2].upper() != b"FILTERBY":
        raise syntax_error()
    kind = argv[3].upper()
    if kind == b"ACLCAT":
        category = argv[4].decode("latin-1").lower()
        return [row.display_name.encode() for row in rows if category in row.categories()]
    if kind == b"PATTERN":
        glob = Glob(argv[4], ignores_case=True)
        return [row.display_name.encode() for row in rows if glob.matches(row.display_name.encode())]
    if kind == b"MODULE":
        return []
    raise syntax_error()


def _top_level() -> list[Row]:
    return [TABLE[name] for name in sorted(TABLE) if not TABLE[name].flags & INTERNAL]


def _named(names: list[bytes]) -> list[Row | None]:
    found: list[Row | None] = []
    for name in names:
        parent, _, child = name.upper().partition(b"|")
        row = TABLE.get(parent)
        if row is not None and child:
            row = row.subcommands.get(child)
        found.append(None if row is None or row.flags & INTERNAL else row)
    return found


def _info(row: Row) -> list[Reply]:
    """The ten fields of COMMAND INFO; tips and key specifications are not kept and read as empty."""
    return [
        row.display_name.encode(),
        row.arity,
        Set([Simple(name) for flag, name in FLAG_NAMES if row.flags & flag]),
        row.keys.first,
        row.keys.last,
        row.keys.step,
        Set([Simple("@" + category) for category in row.categories()]),
        [],
        [],
        [_info(row.subcommands[child]) for child in sorted(row.subcommands)],
    ]


def _docs(row: Row) -> dict[bytes, Any]:
    docs: dict[bytes, Any] = {b"summary": row.summary.encode(), b"group": row.group.encode()}
    if row.subcommands:
        docs[b"subcommands"] = {child.display_name.encode(): _docs(child) for child in row.subcommands.values()}
    return docs
