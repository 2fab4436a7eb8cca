"""COMMAND and its subcommands: the table as clients see it."""

from typing import TYPE_CHECKING, Any

from upstash_global.engine.facts import KeySpec, facts_of, key_specs, keys_with_flags, summary_of
from upstash_global.engine.table import (
    FLAG_NAMES,
    INTERNAL,
    LOADING,
    NO_MANDATORY_KEYS,
    STALE,
    Family,
    Row,
    all_rows,
    find_row,
)
from upstash_global.engine.types.glob import Glob
from upstash_global.errors import error, syntax_error
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
    """Summary, group, arguments and more of commands, of all of them without names."""
    docs: dict[bytes, Any] = {}
    for row in _named(argv[2:]) if len(argv) > 2 else _top_level():
        if row is not None:
            docs[row.display_name.encode()] = _docs(row)
    return docs


@command("COMMAND GETKEYS", arity=-4, flags=LOADING | STALE)
def command_getkeys(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The keys in a command line."""
    return [key for key, _ in _keys_in(argv[2:])]


@command("COMMAND GETKEYSANDFLAGS", arity=-4, flags=LOADING | STALE)
def command_getkeysandflags(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The keys in a command line, each with what would happen to it."""
    return [[key, Set([Simple(flag) for flag in flags])] for key, flags in _keys_in(argv[2:])]


@command("COMMAND INFO", arity=-2, flags=LOADING | STALE)
def command_info(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Arity, flags and key positions of the named commands; nil for an unknown one."""
    if len(argv) == 2:
        return [_info(row) for row in _top_level()]
    rows = _named(argv[2:])
    infos = {row: None if row is None else _info(row) for row in set(rows)}  # a name may come thousands of times
    return [infos[row] for row in rows]


@command("COMMAND LIST", arity=-2, flags=LOADING | STALE)
def command_list(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The names of all commands and subcommands, or of those in a category or matching a pattern."""
    names = {row.display_name.encode(): row for row in all_rows() if not row.flags & INTERNAL}
    if len(argv) == 2:
        return list(names)
    if len(argv) != 5 or argv[2].upper() != b"FILTERBY":
        raise syntax_error()
    kind = argv[3].upper()
    if kind == b"ACLCAT":
        category = argv[4].decode("latin-1").lower()
        return [name for name, row in names.items() if category in row.categories()]
    if kind == b"PATTERN":
        glob = Glob(argv[4], ignores_case=True)
        return [name for name in names if glob.matches(name)]
    if kind == b"MODULE":
        return []
    raise syntax_error()


def _top_level() -> list[Row]:
    return [row for row in all_rows() if " " not in row.name and not row.flags & INTERNAL]


def _named(names: list[bytes]) -> list[Row | None]:
    """The rows of names such as `get` and `client|kill`; None for an unknown one."""
    rows = [find_row(name.split(b"|", 1)) for name in names]
    return [
        row if row is not None and row.display_name.encode() == name.lower() else None
        for row, name in zip(rows, names, strict=True)
    ]


def _keys_in(argv: list[bytes]) -> list[tuple[bytes, list[str]]]:
    """The keys of a command line and their flags. Raises CommandError when there are none."""
    row = find_row(argv)
    if row is None:
        raise error("Invalid command specified")
    specs = [spec for spec in key_specs(row) if "not_key" not in spec.flags]
    if not specs:
        raise error("The command has no key arguments")
    if not row.arity_fits(len(argv)):
        raise error("Invalid number of arguments specified for command")
    keys = keys_with_flags(row, argv)
    if not keys and not row.flags & NO_MANDATORY_KEYS:
        raise error("Invalid arguments specified for command")
    return keys


def _info(row: Row) -> list[Reply]:
    """The ten fields of COMMAND INFO."""
    return [
        row.display_name.encode(),
        row.arity,
        Set([Simple(name) for flag, name in FLAG_NAMES if row.flags & flag]),
        row.keys.first,
        row.keys.last,
        row.keys.step,
        Set([Simple("@" + category) for category in row.categories()]),
        Set([tip.encode() for tip in facts_of(row).get("tips", [])]),
        Set([_spec(spec) for spec in key_specs(row)]),
        Set([_info(row.subcommands[child]) for child in sorted(row.subcommands)]),
    ]


_SPEC_FIELDS = {  # what the words behind a specification's type are called
    "index": ["index"],
    "keyword": ["keyword", "startfrom"],
    "range": ["lastkey", "keystep", "limit"],
    "keynum": ["keynumidx", "firstkey", "keystep"],
    "unknown": [],
}


def _spec(spec: KeySpec) -> dict[bytes, Reply]:
    told: dict[bytes, Reply] = {b"notes": spec.notes.encode()} if spec.notes else {}
    told[b"flags"] = Set([Simple(flag) for flag in spec.flags])
    for name, words in ((b"begin_search", spec.begin), (b"find_keys", spec.find)):
        fields: dict[bytes, Reply] = {}
        for field, word in zip(_SPEC_FIELDS[words[0]], words[1:], strict=True):
            fields[field.encode()] = word.encode() if field == "keyword" else int(word)
        told[name] = {b"type": words[0].encode(), b"spec": fields}
    return told


_DOC_FIELDS = ("complexity", "doc_flags", "deprecated_since", "replaced_by", "history", "arguments")


def _docs(row: Row) -> dict[bytes, Any]:
    facts = facts_of(row)
    docs: dict[bytes, Any] = {b"summary": summary_of(row).encode()}
    if "since" in facts:
        docs[b"since"] = facts["since"].encode()
    docs[b"group"] = row.group.encode()
    for field in _DOC_FIELDS:
        if field in facts:
            docs[field.encode()] = _as_reply(field, facts[field])
    if row.subcommands:
        docs[b"subcommands"] = {child.display_name.encode(): _docs(child) for child in row.subcommands.values()}
    return docs


def _as_reply(field: str, fact: Any) -> Reply:
    """A fact as COMMAND DOCS answers it."""
    if field in ("flags", "doc_flags"):
        return Set([Simple(flag) for flag in fact])
    if field == "history":
        return Set([[version.encode(), change.encode()] for version, change in fact])
    if isinstance(fact, str):
        return fact.encode()
    if isinstance(fact, list):
        return [_as_reply("", each) for each in fact]
    if isinstance(fact, dict):
        return {name.encode(): _as_reply(name, value) for name, value in fact.items()}
    return fact
