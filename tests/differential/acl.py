"""What normalise.py has to know of ACL: 7.2's words, the rules of a user as it lists them, and what ours has beside.

- 7.2 words what is denied in other ways, and names the user.
- 7.2 shows the command rules as they were given; 7.0 works some out that come to the same. Only whether all commands are
  allowed at first is compared: what is allowed, DRYRUN and the commands themselves tell.
- 7.2 shows sanitize-payload of every user, 7.0 of those for whom it was said.
- Ours has the user default_ro, the category json, and commands of its own; 7.2 has three more fields in ACL LOG.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from tests.differential.facts import LATER, PATH
from tests.differential.wire import Reply, Tagged

Argv = list[bytes]

_FACTS: Final = json.loads(PATH.read_text())  # of the oracle's commands, and later ones

_WORDED: Final[list[tuple[str, str]]] = [  # 7.2's, 7.0's
    (r"ACL failure in script: User \S* has no permissions to run the '.*' command",
     "The user executing the script can't run this command or subcommand"),
    ("ACL failure in script: No permissions to access a key",
     "The user executing the script can't access at least one of the keys mentioned in the command arguments"),
    ("ACL failure in script: No permissions to access a channel",
     "The user executing the script can't publish to the channel mentioned in the command"),
    (r"NOPERM User \S* has no permissions to run the", "NOPERM this user has no permissions to run the"),
    ("NOPERM No permissions to access a (key|channel)",
     r"NOPERM this user has no permissions to access one of the \1s used as arguments"),
]  # fmt: skip


def worded_as_7_0(text: str) -> str:
    """An error of 7.2 about permissions in the words of 7.0."""
    for later, earlier in _WORDED:
        text = re.sub(later, earlier, text)
    return text


def _cat(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """In no order; of commands those that both have, and no category of ours alone."""
    if not isinstance(ours, list) or not isinstance(theirs[0], list):
        return bool(ours == theirs[0])
    if len(argv) == 2:
        return [name for name in ours if name != b"json"] == theirs[0]
    known = [name for name in ours if name.decode() in _FACTS and name.decode() not in LATER]
    return set(known) <= set(theirs[0]) and len(set(ours)) == len(ours)


def _dryrun(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    if not isinstance(ours, bytes) or not isinstance(theirs[0], bytes):
        return bool(ours == theirs[0])
    told = re.sub(rb"^User \S* has", b"This user has", ours)
    return re.sub(rb"\0[^']*'", b"'", told) == theirs[0]  # 7.0 prints C strings


def _genpass(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    return isinstance(ours, bytes) and isinstance(theirs[0], bytes) and len(ours) == len(theirs[0])


def _getuser(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    return bool(_fields(ours) == _fields(theirs[0]))


def _fields(reply: Reply) -> Any:
    """A user's or a selector's fields, without what 7.2 tells otherwise."""
    if isinstance(reply, Tagged) and reply.shape == "map":
        pairs = reply.content
    elif isinstance(reply, list):
        pairs = [reply[i : i + 2] for i in range(0, len(reply), 2)]
    else:
        return reply
    fields = {name: value for name, value in pairs}
    fields[b"commands"] = fields[b"commands"].split()[0]
    if b"flags" in fields:
        flags = fields[b"flags"].content if isinstance(fields[b"flags"], Tagged) else fields[b"flags"]
        fields[b"flags"] = sorted(flag for flag in flags if flag != b"sanitize-payload")
    if b"selectors" in fields:
        fields[b"selectors"] = [_fields(selector) for selector in fields[b"selectors"]]
    return fields


def _list(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    if not isinstance(ours, list) or not isinstance(theirs[0], list):
        return bool(ours == theirs[0])
    return [_rules(line) for line in ours if not line.startswith(b"user default_ro ")] == [
        _rules(line) for line in theirs[0]
    ]


def _rules(line: bytes) -> list[bytes]:
    """The words of a line without the command rules behind `+@all` or `-@all`."""
    line = re.sub(rb" [+-](?!@all)[^ )]+", b"", line)
    return [word for word in line.split(b" ") if word != b"sanitize-payload"]


def _log(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    if not isinstance(ours, list) or not isinstance(theirs[0], list):
        return bool(ours == theirs[0])
    return [_entry(each) for each in ours] == [_entry(each) for each in theirs[0]]


def _entry(reply: Reply) -> Any:
    """What was denied to whom and how often; the client by its name, command and user."""
    items = reply.content if isinstance(reply, Tagged) else [reply[i : i + 2] for i in range(0, len(reply), 2)]
    fields = {name: value for name, value in items}
    client = dict(word.split(b"=", 1) for word in fields[b"client-info"].split(b" "))
    told = [fields[name] for name in (b"count", b"reason", b"context", b"object", b"username")]
    return [*told, client[b"cmd"], client[b"user"], client[b"resp"]]


def _users(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    if not isinstance(ours, list):
        return bool(ours == theirs[0])
    return bool([name for name in ours if name != b"default_ro"] == theirs[0])


RULES: Final[dict[bytes, Callable[[Argv, Reply, list[Reply]], bool]]] = {
    b"ACL CAT": _cat,
    b"ACL DRYRUN": _dryrun,
    b"ACL GENPASS": _genpass,
    b"ACL GETUSER": _getuser,
    b"ACL LIST": _list,
    b"ACL LOG": _log,
    b"ACL USERS": _users,
}
