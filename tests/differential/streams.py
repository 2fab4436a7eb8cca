"""What normalise.py has to know of streams: times, what 7.2 added to XINFO, and where Upstash differs.

- `~` trims exactly here, by whole nodes in Redis: the oracle is asked for `=`.
- XREADGROUP … NOACK leaves no new consumer here: the oracle is told to remove the one that only such lines name.
- XREADGROUP, XCLAIM and XAUTOCLAIM create their consumer since 7.2 even if there is nothing for it: the oracle is told to.
- XSETID refuses an id below the highest deleted one since 7.2: the oracle is not asked.
- The consumers of a missing group are [], an error in Redis.
- XDELEX and XACKDEL are of Redis 8.2: the oracle does the same by XACK and XDEL.
"""

from collections.abc import Callable
from typing import Any, Final

from tests.differential.wire import Reply, Tagged

Argv = list[bytes]

TOLERANCE_MS: Final = 120_000  # what is idle differs by much more; see grammar.KINDS
GHOST: Final = b"ghost"
GROUPS: Final = (b"g", b"h", b"nosuch", b"")


_NAMES_ITSELF: Final = "since 7.2 the error names the command that was sent"
_NO_SEQUENCE_LEFT: Final = "7.0 has one text for all that streamAppendItem refuses without a reason"
_OF_8_2: Final = "7.0 does not know the command"
ERROR_TEXTS: Final[list[tuple[str, str, str]]] = [
    *[
        (
            f"ERR Unbalanced '{name}' list of streams: for each stream key {ids} must be specified.",
            "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
            _NAMES_ITSELF,
        )
        for name, ids in (("xread", "an ID, '+', or '$'"), ("xreadgroup", "an ID or '>'"))
    ],
    (
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        "ERR Elements are too large to be stored",
        _NO_SEQUENCE_LEFT,
    ),
    *[
        (
            f"ERR wrong number of arguments for '{name.lower()}' command",
            f"ERR unknown command '{name}', with args beginning with: ",
            _OF_8_2,
        )
        for name in ("XDELEX", "XACKDEL")
    ],
]


class Near:
    """A time, or how long ago it was: equal to any that is not far from it."""

    def __init__(self, ms: Any) -> None:
        self.ms = ms

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Near) or type(self.ms) is not int or type(other.ms) is not int:
            return False
        return abs(self.ms - other.ms) <= TOLERANCE_MS

    def __hash__(self) -> int:
        return 0


_TIMES: Final = (b"idle", b"seen-time")
_ADDED_OR_OURS: Final = (b"inactive", b"active-time", b"radix-tree-keys", b"radix-tree-nodes")
_MENDED: Final = (b"lag", b"entries-read")  # by 8.0, where entries were deleted or trimmed; its own tests are run, too


def plain(reply: Reply) -> Any:
    """A reply of XINFO as dicts and lists, its times Near, without the fields that may differ."""
    if isinstance(reply, Tagged) and reply.shape == "map":
        return _fields([(name, value) for name, value in reply.content])
    if not isinstance(reply, list):
        return reply
    if reply and reply[0] in (b"name", b"length") and len(reply) % 2 == 0:
        return _fields([(reply[i], reply[i + 1]) for i in range(0, len(reply), 2)])
    return [plain(each) for each in reply]


def _fields(pairs: list[tuple[bytes, Reply]]) -> Any:
    found: dict[bytes, Any] = {}
    for name, value in pairs:
        if name in _TIMES:
            found[name] = Near(value)
        elif name == b"pending" and isinstance(value, list):
            found[name] = [[*row[:-2], Near(row[-2]), row[-1]] for row in value]
        elif name == b"entries":
            found[name] = value
        elif name not in _ADDED_OR_OURS + _MENDED:
            found[name] = plain(value)
    return [*found.items()]


def _info(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    if is_no_group(theirs[0]) and argv[1].upper() == b"CONSUMERS":
        return bool(ours == [])
    return bool(plain(ours) == plain(theirs[0]))


def _pending(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    if len(argv) == 3 or not isinstance(ours, list) or not isinstance(theirs[0], list):
        return bool(ours == theirs[0])
    return [_near_row(row) for row in ours] == [_near_row(row) for row in theirs[0]]


def _near_row(row: list[Reply]) -> list[Any]:
    return [row[0], row[1], Near(row[2]), row[3]]


def _first(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    return bool(ours == theirs[0])


def _deleted(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """XDELEX, XACKDEL: as many entries and references went away as ours says."""
    if not isinstance(ours, list):
        return True  # its errors have tests of their own
    is_acknowledging = argv[0].upper() == b"XACKDEL"
    n_deleted = sum([each == 1 for each in ours])
    if is_acknowledging:
        return bool(theirs[0] == sum([each != -1 for each in ours])) and (not n_deleted or theirs[1] <= n_deleted)
    return not n_deleted or bool(theirs[0] == n_deleted)


BELOW_DELETED: Final = Tagged("error", "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")


def _set_id(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    return bool(ours in (theirs[0], BELOW_DELETED))


def is_no_group(reply: Reply) -> bool:
    return isinstance(reply, Tagged) and reply.shape == "error" and reply.content.startswith("NOGROUP")


RULES: Final[dict[bytes, Callable[[Argv, Reply, list[Reply]], bool]]] = {
    **dict.fromkeys([b"XINFO CONSUMERS", b"XINFO GROUPS", b"XINFO STREAM"], _info),
    b"XPENDING": _pending,
    **dict.fromkeys([b"XREADGROUP", b"XCLAIM", b"XAUTOCLAIM"], _first),
    **dict.fromkeys([b"XDELEX", b"XACKDEL"], _deleted),
    b"XSETID": _set_id,
}


# -- questions ------------------------------------------------------------------------------------------------------


def _exactly(argv: Argv, ours: Reply) -> list[Argv]:
    if isinstance(ours, Tagged):
        return [argv]
    asked = list(argv)
    at = 2
    while at < len(asked):
        word = asked[at].upper()
        if word in (b"MAXLEN", b"MINID"):
            if asked[at + 1] == b"~":
                asked[at + 1] = b"="
            at += 3 if asked[at + 1] == b"=" else 2
        elif word == b"LIMIT":
            del asked[at : at + 2]
        elif word == b"NOMKSTREAM":
            at += 1
        else:
            break
    return [asked]


def _and_create_or_forget_consumer(argv: Argv, ours: Reply) -> list[Argv]:
    if isinstance(ours, Tagged) and ours.shape == "error":
        return [argv]
    words = [word.upper() for word in argv]
    at = words.index(b"STREAMS") + 1
    group, consumer = argv[words.index(b"GROUP") + 1 :][:2]
    then = b"DELCONSUMER" if consumer == GHOST else b"CREATECONSUMER"
    return [argv, *[[b"XGROUP", then, key, group, consumer] for key in argv[at : at + (len(argv) - at) // 2]]]


def _and_create_consumer(argv: Argv, ours: Reply) -> list[Argv]:
    if isinstance(ours, Tagged):
        return [argv]
    return [argv, [b"XGROUP", b"CREATECONSUMER", *argv[1:4]]]


def _in_words_of_7_0(argv: Argv, ours: Reply) -> list[Argv]:
    if not isinstance(ours, list):
        return [[b"PING"]]
    words = [word.upper() for word in argv]
    at = words.index(b"IDS")
    ids = argv[at + 2 : at + 2 + int(argv[at + 1])]
    gone = [id for id, result in zip(ids, ours, strict=True) if result == 1]
    asked: list[Argv] = []
    if words[0] == b"XACKDEL":
        asked.append([b"XACK", argv[1], argv[2], *ids])
    if gone:
        asked.append([b"XDEL", argv[1], *gone])
        if b"DELREF" in words:
            asked += [[b"XACK", argv[1], group, *gone] for group in GROUPS]
    return asked or [[b"PING"]]


QUESTIONS: Final[dict[bytes, Callable[[Argv, Reply], list[Argv]]]] = {
    **dict.fromkeys([b"XADD", b"XTRIM"], _exactly),
    b"XREADGROUP": _and_create_or_forget_consumer,
    **dict.fromkeys([b"XCLAIM", b"XAUTOCLAIM"], _and_create_consumer),
    b"XSETID": lambda argv, ours: [[b"PING"] if ours == BELOW_DELETED else argv],
    **dict.fromkeys([b"XDELEX", b"XACKDEL"], _in_words_of_7_0),
}
