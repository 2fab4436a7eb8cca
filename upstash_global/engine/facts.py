"""Facts about Redis's commands that do not follow from a row: since when, how costly, which arguments, what is done to keys.

They stand in facts.json, beside this module, and are read when a client first asks (COMMAND INFO, COMMAND DOCS). The file
is generated from a redis-server; a test says when it is out of date. A command of ours that Redis does not have is told by
its row alone.

What a command does is the first line of its function's docstring. Compiled functions have none, so `make docs` copies those
lines to summaries.json, which both builds read; a test says when that is out of date.
"""

import json
from importlib.resources import files
from typing import Any, Final

from upstash_global.engine.table import READONLY, Row

Facts = dict[str, Any]

_LOADED: Final[dict[str, Facts]] = {}
_SUMMARIES: Final[dict[str, str]] = {}  # by the row's name
_SPECS: Final[dict[str, list["KeySpec"]]] = {}  # by the row's name, once asked


def facts_of(row: Row) -> Facts:
    """`since`, `complexity`, `arguments`, `tips`, `keys` and more, as far as they are known."""
    if not _LOADED:
        _LOADED.update(_read("facts.json"))
    return _LOADED.get(row.display_name, {})


def summary_of(row: Row) -> str:
    """What the command does, in a sentence."""
    if not _SUMMARIES:
        _SUMMARIES.update(_read("summaries.json"))
    return row.summary or _SUMMARIES.get(row.name, "")


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files("upstash_global.engine").joinpath(name).read_text("utf-8"))
    return found


class KeySpec:
    """Where some of a command's keys stand, and what happens to them.

    `begin` says where to start: `index 1`, `keyword STREAMS 1` (behind that word, sought from position 1) or `unknown`.
    `find` says how to go on: `range LAST STEP LIMIT` (last is relative to the start, or if negative to the end), `keynum AT
    FIRST STEP` (a count of keys stands at AT, both relative to the start), or `unknown`.
    """

    def __init__(self, flags: list[str], begin: list[str], find: list[str], notes: str) -> None:
        self.flags = flags  # RO, RW, OW or RM; access, update, insert, delete; incomplete, variable_flags
        self.begin = begin
        self.find = find
        self.notes = notes

    def positions(self, argv: list[bytes]) -> list[int]:
        """Where in `argv` this specification finds keys; [] for an unknown one and for what does not fit in `argv`."""
        start = self._start(argv)
        if not 0 < start < len(argv) or self.find[0] == "unknown":
            return []
        first, last, step = start, start, 1
        if self.find[0] == "range":
            last, step, limit = int(self.find[1]), int(self.find[2]), int(self.find[3])
            if last >= 0:
                last += start
            elif limit <= 1:
                last += len(argv)
            else:
                last = start + (len(argv) - start) // limit + last
        else:
            at, step = start + int(self.find[1]), int(self.find[3])
            if at >= len(argv) or not argv[at].isdigit():
                return []
            first = start + int(self.find[2])
            last = first + (int(argv[at]) - 1) * step
        return list(range(first, last + 1, step)) if last < len(argv) else []

    def _start(self, argv: list[bytes]) -> int:
        if self.begin[0] == "index":
            return int(self.begin[1])
        if self.begin[0] == "keyword":
            keyword, start = self.begin[1].encode(), int(self.begin[2])
            for at in range(start, len(argv)) if start > 0 else range(len(argv) + start, 0, -1):
                if argv[at].upper() == keyword:
                    return at + 1
        return 0


def key_specs(row: Row) -> list[KeySpec]:
    """Redis's key specifications of a command; for one that Redis does not have, what its row says."""
    specs = _SPECS.get(row.name)
    if specs is None:
        specs = _SPECS[row.name] = _key_specs(row)
    return specs


def _key_specs(row: Row) -> list[KeySpec]:
    known = facts_of(row).get("keys")
    if known is not None:
        return [KeySpec(each[0].split(), each[1].split(), each[2].split(), "".join(each[3:])) for each in known]
    flags = ["RO", "access"] if row.flags & READONLY else ["RW", "access", "update"]
    keys = row.keys
    specs: list[KeySpec] = []
    if keys.first:
        last = keys.last if keys.last < 0 else keys.last - keys.first
        specs.append(KeySpec(flags, ["index", str(keys.first)], ["range", str(last), str(keys.step), "0"], ""))
    if keys.counted:
        specs.append(KeySpec(flags, ["index", str(keys.counted)], ["keynum", "0", "1", "1"], ""))
    return specs


def keys_with_flags(row: Row, argv: list[bytes]) -> list[tuple[bytes, list[str]]]:
    """The keys in a command line, each with what happens to it; [] when the line does not fit the specifications."""
    found: list[tuple[bytes, list[str]]] = []
    rest: list[str] | None = None  # the flags of keys that only the row's finder finds (SORT … STORE)
    for spec in key_specs(row):
        if "incomplete" in spec.flags:  # only the finder knows (MIGRATE)
            happens = [flag for flag in spec.flags if flag != "incomplete"]
            return [(key, happens) for key in row.keys.find(argv)]
        if "not_key" in spec.flags:  # a shard channel: only the client's choice of a node goes by it
            continue
        if spec.begin[0] == "unknown":
            rest = spec.flags
            continue
        positions = spec.positions(argv)
        if not positions and spec.begin[0] == "index":
            return []
        for at in positions:
            found.append((argv[at], _flags_now(row, spec.flags, argv)))
    if rest is not None:
        for key in row.keys.find(argv)[len(found) :]:
            found.append((key, rest))
    return found


def _flags_now(row: Row, flags: list[str], argv: list[bytes]) -> list[str]:
    """What `variable_flags` come to in this command line."""
    if "variable_flags" not in flags:
        return flags
    words = [word.upper() for word in argv]
    if row.name == "SET" and b"GET" not in words[3:]:
        return ["OW", "update"]
    if row.name == "BITFIELD" and _only_reads(words):
        return ["RO", "access"]
    return [flag for flag in flags if flag != "variable_flags"]


def _only_reads(words: list[bytes]) -> bool:
    """Whether a BITFIELD, in upper case, has nothing but GETs."""
    at = 2
    while at < len(words):
        if words[at] == b"GET" and at + 2 < len(words):
            at += 3
        elif words[at] == b"OVERFLOW" and at + 1 < len(words):
            at += 2
        else:
            return False
    return True
