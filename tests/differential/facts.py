"""Generates engine/facts.json: what COMMAND INFO and COMMAND DOCS say that does not follow from a row of our table.

    python -m tests.differential.facts     asks a redis-server of its own and writes the file

The oracle is Redis 7.0; what 7.2 added to commands that 7.0 has, or brought, stands in LATER, written by hand from 7.2's
documentation. All of Redis's commands are in the file, so it does not change when ours gets one more. Summaries are not:
ours are the first lines of the handlers' docstrings.
"""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import upstash_global.engine
from tests.differential.sides import Oracle
from tests.differential.wire import Reply, Tagged

Facts = dict[str, dict[str, Any]]

PATH: Final = Path(upstash_global.engine.__file__).with_name("facts.json")
ORACLE_VERSION: Final = "7.0.15"

_WITHSCORE: Final = {
    "name": "withscore",
    "type": "pure-token",
    "token": "WITHSCORE",
    "since": "7.2.0",
    "flags": ["optional"],
}
_WITHSCORE_ADDED: Final = ["7.2.0", "Added the optional `WITHSCORE` argument."]

LATER: Final[Facts] = {
    "client|no-touch": {
        "since": "7.2.0",
        "complexity": "O(1)",
        "arguments": [
            {"name": "enabled", "type": "oneof", "arguments": [
                {"name": "on", "type": "pure-token", "token": "ON"},
                {"name": "off", "type": "pure-token", "token": "OFF"},
            ]},
        ],
    },
    "client|setinfo": {
        "since": "7.2.0",
        "complexity": "O(1)",
        "arguments": [
            {"name": "attr", "type": "oneof", "arguments": [
                {"name": "libname", "type": "string", "token": "LIB-NAME"},
                {"name": "libver", "type": "string", "token": "LIB-VER"},
            ]},
        ],
        "tips": ["request_policy:all_nodes", "response_policy:all_succeeded"],
    },
    "zrank": {"history": [_WITHSCORE_ADDED], "arguments": [_WITHSCORE]},
    "zrevrank": {"history": [_WITHSCORE_ADDED], "arguments": [_WITHSCORE]},
}  # fmt: skip


def facts_of(oracle: Oracle) -> Facts:
    """The facts of every command and subcommand, by its display name."""
    connection = oracle.connect(3)
    infos, docs = connection.run([[b"COMMAND"], [b"COMMAND", b"DOCS"]])
    connection.close()
    facts: Facts = {}
    for name, each in docs.content:
        _add_docs(facts, name.decode(), each)
    for info in infos:
        _add_info(facts, info)
    for name, later in LATER.items():
        known = facts.setdefault(name, {})
        for field, value in later.items():
            known[field] = known.get(field, []) + value if isinstance(value, list) else value
    return dict(sorted(facts.items()))


def _add_docs(facts: Facts, name: str, docs: Reply) -> None:
    fields = {field.decode(): value for field, value in docs.content}
    for child, each in fields.pop("subcommands", Tagged("map", [])).content:
        _add_docs(facts, child.decode(), each)
    facts[name] = {field: plain(value) for field, value in fields.items() if field not in ("summary", "group")}


def _add_info(facts: Facts, info: Reply) -> None:
    tips, specs, children = plain(info[7]), plain(info[8]), info[9]
    if tips:
        facts[info[0].decode()]["tips"] = tips
    if specs:
        facts[info[0].decode()]["keys"] = [_spec(each) for each in specs]
    for child in children if isinstance(children, list) else children.content:
        _add_info(facts, child)


def _spec(spec: dict[str, Any]) -> list[str]:
    """A key specification as `[flags, begin_search, find_keys]` in words, and its notes if it has any."""
    words = [" ".join(spec["flags"])]
    for part in ("begin_search", "find_keys"):
        words.append(" ".join([spec[part]["type"], *map(str, (spec[part].get("spec") or {}).values())]))
    return [*words, spec["notes"]] if "notes" in spec else words


def plain(reply: Reply) -> Any:
    """A decoded reply as JSON has it."""
    if isinstance(reply, bytes):
        return reply.decode()
    if isinstance(reply, list):
        return [plain(each) for each in reply]
    if not isinstance(reply, Tagged):
        return reply
    if reply.shape == "map":
        return {name.decode(): plain(value) for name, value in reply.content}
    return plain(reply.content)


def text_of(facts: Facts) -> str:
    """One command a line, so that a change of it can be read."""
    lines = [f"{json.dumps(name)}:{json.dumps(each, separators=(',', ':'))}" for name, each in facts.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory, Oracle(Path(directory)) as running:
        PATH.write_text(text_of(facts_of(running)))
