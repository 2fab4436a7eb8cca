"""When two replies count as equal: the one table of allowed differences between ours (Redis 7.2) and the oracle (7.0).

`same` judges a command's replies; `questions` says what the oracle is asked in place of the command, where that differs:
to see all members beside a random one, to follow a random removal of ours, to ask in 7.0's words for what 7.2 added.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from tests.differential import acl, streams
from tests.differential.facts import LATER, PATH
from tests.differential.wire import NULL_ARRAY, Reply, Tagged

Argv = list[bytes]

DEADLINE_TOLERANCE_MS: Final = 120_000  # deadlines are made at least 1000 s apart; see grammar.KINDS
SCRATCH: Final = b"scratch key of the oracle"  # never seen by ours, gone after each question

FACTS: Final = json.loads(PATH.read_text())  # of the oracle's commands

# Texts of errors that changed between 7.0 and 7.2: (7.2's, 7.0's, why).
_WITHSCORE: Final = "WITHSCORE came with 7.2, so a fourth word is a matter of syntax, not of arity"
_HELLO: Final = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO {}AUTH <user> <pass> option "
    "can be used to authenticate the client and select the RESP protocol version at the same time"
)
ERROR_TEXTS: Final[list[tuple[str, str, str]]] = [
    (_HELLO.format("<proto> "), _HELLO.format(""), "7.2 names the argument that AUTH needs before it"),
    ("ERR syntax error", "ERR wrong number of arguments for 'zrank' command", _WITHSCORE),
    ("ERR syntax error", "ERR wrong number of arguments for 'zrevrank' command", _WITHSCORE),
    *streams.ERROR_TEXTS,
    (
        "ERR who leads is changed by `upstash-global switchover` or `promote`, not by this command",
        "ERR FAILOVER requires connected replicas.",
        "roles are ours",
    ),
]

# OBJECT ENCODING: (7.2's, 7.0's, why).
ENCODINGS: Final[set[tuple[bytes, bytes]]] = {
    (b"listpack", b"quicklist"),  # small lists became plain listpacks in 7.2
    (b"listpack", b"hashtable"),  # small sets of any members became listpacks in 7.2
}


# COMMAND INFO and DOCS: rows that differ in those fields because of 7.2, or that only 7.2 has.
ROWS_OF_7_2: Final[dict[str, str]] = {
    # allowed in scripts, where they do not block
    **{name: "flags categories" for name in ("BLMOVE", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZPOPMAX", "BZPOPMIN", "WAIT")},
    "CLIENT NO-TOUCH": "",
    "CLIENT SETINFO": "",
    "WAITAOF": "",
    "XACKDEL": "arity",  # of 8.2
    "XDELEX": "arity",
    "ZRANK": "arity docs",  # WITHSCORE
    "ZREVRANK": "arity docs",
}

LIMIT_OF_RANKS: Final = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"


CONTAINERS: Final = (
    b"ACL",
    b"CLIENT",
    b"COMMAND",
    b"CONFIG",
    b"DEBUG",
    b"LATENCY",
    b"MEMORY",
    b"OBJECT",
    b"PUBSUB",
    b"SLOWLOG",
    b"XGROUP",
    b"XINFO",
)


def name_of(argv: Argv) -> bytes:
    """`OBJECT ENCODING` for commands with subcommands, else the first word; upper case."""
    name = argv[0].upper()
    if name in CONTAINERS and len(argv) > 1:
        name += b" " + argv[1].upper()
    return name


def same(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """`theirs` are the oracle's replies to `questions(argv, ours)`."""
    first = theirs[0]
    if ours == first and len(theirs) == 1:
        return True
    rule = RULES.get(name_of(argv))
    if is_error(ours) and is_error(first) and rule not in (_range, _bits):
        text = ours.content.partition("\0")[0]  # Redis prints arguments as C strings
        return (
            text == first.content
            or acl.worded_as_7_0(text) == first.content
            or (text, first.content) in {(new, old) for new, old, _ in ERROR_TEXTS}
        )
    if rule is not None:
        return rule(argv, ours, theirs)
    return bool(ours == with_float_texts(first))


def questions(argv: Argv, ours: Reply) -> list[Argv]:
    """What the oracle is asked in place of `argv`, to which ours replied `ours`."""
    asker = QUESTIONS.get(name_of(argv))
    return [argv] if asker is None or (len(argv) < 2 and argv[0].upper() != b"RANDOMKEY") else asker(argv, ours)


def is_error(reply: Reply) -> bool:
    return isinstance(reply, Tagged) and reply.shape == "error"


# -- floats: 7.0 prints %.17g, 7.2 the shortest text that reads back equal ------------------------------------------

# What may be other digits in 7.2, or the same ones with an exponent: the latter begins at seven places behind the point.
_SEVENTEEN_DIGITS: Final = re.compile(rb"-?\d\.?\d*e[+-]\d\d+|-?\d+\.\d{7,}|-?(?=[\d.]{16})\d+\.\d+")


def with_float_texts(reply: Reply) -> Reply:
    """A reply of 7.0 with its scores printed as 7.2 does."""
    if isinstance(reply, bytes):
        return float_text(float(reply)) if _SEVENTEEN_DIGITS.fullmatch(reply) else reply
    if isinstance(reply, list):
        return [with_float_texts(each) for each in reply]
    if isinstance(reply, Tagged):
        if reply.shape == "double":
            return Tagged("double", float_text(float(reply.content)))
        if reply.shape in ("map", "set", "scan"):
            return Tagged(reply.shape, with_float_texts(reply.content))
    return reply


def float_text(value: float) -> bytes:
    """A double as 7.2 prints it (d2string): whole numbers below 2**62 as integers, else the shortest digits.

    The layout of the digits is fpconv's: an exponent only below 1e-6 or where 7 zeros or more would follow the digits.
    """
    if value in (float("inf"), float("-inf")):
        return b"inf" if value > 0 else b"-inf"
    if value == int(value) and abs(value) <= 2**62:
        return b"-0" if str(value) == "-0.0" else b"%d" % int(value)
    mantissa, _, exponent_text = f"{value!r}".lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    power = int(exponent_text or 0) - len(fraction)
    shorter = digits.rstrip("0")
    power += len(digits) - len(shorter)
    digits = shorter
    exponent = power + len(digits) - 1
    if power >= 0 and abs(exponent) < len(digits) + 7:
        text = digits + "0" * power
    elif power < 0 and (power > -7 or abs(exponent) < 4):
        point = len(digits) + power
        text = "0." + "0" * -point + digits if point <= 0 else digits[:point] + "." + digits[point:]
    else:
        text = (
            digits[0]
            + ("." + digits[1:] if len(digits) > 1 else "")
            + f"e{'-' if exponent < 0 else '+'}{abs(exponent)}"
        )
    return ("-" if value < 0 else "").encode() + text.encode()


# -- rules: (argv, ours, replies of the oracle) → whether they count as equal ----------------------------------------


def _unordered(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    return bool(in_order(ours) == in_order(theirs[0]))


def in_order(reply: Reply) -> Reply:
    if isinstance(reply, list):
        return sorted(reply, key=repr)
    if isinstance(reply, Tagged) and reply.shape in ("set", "map"):
        return Tagged(reply.shape, sorted(reply.content, key=repr))
    return reply


def _unordered_pairs(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    if isinstance(ours, list) and isinstance(theirs[0], list):
        return sorted(pairs(ours)) == sorted(pairs(theirs[0]))
    return _unordered(argv, ours, theirs)


def pairs(reply: Reply) -> list[tuple[Any, Any]]:
    """[a, 1, b, 2] or [[a, 1], [b, 2]] or a map as [(a, 1), (b, 2)]."""
    items = reply.content if isinstance(reply, Tagged) else reply
    if items and isinstance(items[0], list):
        return [(name, repr(value)) for name, value in items]
    return [(items[i], repr(items[i + 1])) for i in range(0, len(items), 2)]


def _shape(reply: Reply) -> Reply:
    if isinstance(reply, list):
        return [len(reply), _shape(reply[0]) if reply else None]
    if isinstance(reply, Tagged):
        return [reply.shape, len(reply.content)] if reply.shape in ("set", "map") else reply.shape
    return type(reply)


def _with_score_texts(argv: Argv, reply: Reply) -> Reply:
    """The float texts of sorted sets are scores; what a hash holds is only text."""
    return with_float_texts(reply) if name_of(argv).startswith(b"Z") else reply


def _random_pick(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """The shape of the oracle's pick, and members out of all that the oracle has."""
    if is_error(ours) or ours in (None, []):
        return bool(ours == theirs[0])
    if _shape(ours) != _shape(theirs[0]):
        return False
    everything = _with_score_texts(argv, theirs[1])
    picked = ours if isinstance(ours, list) else [ours]
    with_values = len(argv) > 3
    if with_values:
        if not {*pairs(picked)} <= {*pairs(everything)}:
            return False
        members = [name for name, _ in pairs(picked)]
    else:
        members = picked
        if name_of(argv) in (b"HRANDFIELD", b"ZRANDMEMBER"):
            everything = [name for name, _ in pairs(everything)]
        elif isinstance(everything, Tagged):
            everything = everything.content
        if not {*members} <= {*everything}:
            return False
    repeats_allowed = len(argv) > 2 and argv[2].startswith(b"-")
    return repeats_allowed or len({*members}) == len(members)


def _random_removal(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """SPOP: the shape of the oracle's SPOP on a copy, and every member of ours was there to be removed."""
    if len(theirs) == 1:
        return bool(ours == theirs[0])
    return bool(_shape(ours) == _shape(theirs[1]) and theirs[-1] == len(_members(ours)))


def _deadline(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    if type(ours) is not int or type(theirs[0]) is not int or min(ours, theirs[0]) < 0:
        return bool(ours == theirs[0])
    unit_ms = 1 if name_of(argv).startswith(b"P") else 1000
    return abs(ours - theirs[0]) * unit_ms <= DEADLINE_TOLERANCE_MS


def _same_type(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    return type(ours) is type(theirs[0]) and is_error(ours) == is_error(theirs[0])


def _encoding(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    return bool(ours == theirs[0]) or (ours, theirs[0]) in ENCODINGS


def _scan(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """Driven to their end, both saw everything, however often; from a cursor in the middle, anything may come."""
    first = _with_score_texts(argv, theirs[0])
    if not isinstance(ours, Tagged) or not isinstance(first, Tagged):
        return bool(_shape(ours) == _shape(first))
    if ours.shape != "scan" or first.shape != "scan":
        return bool(ours == first)
    if name_of(argv) in (b"HSCAN", b"ZSCAN"):
        return {*pairs(ours)} == {*pairs(first)}
    return {*ours.content} == {*first.content}


def _sort(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """BY leaves the order open: weights may be equal, and a set that is not to be sorted has none.

    So does ALPHA where texts hold a zero byte: Redis compares what stands before it, ours the whole.
    """
    first = theirs[0] if len(theirs) == 1 else theirs[-2]
    options = [word.upper() for word in argv]
    has_zero = b"ALPHA" in options and isinstance(ours, list) and any(b"\0" in (text or b"") for text in ours)
    if (b"BY" in options or has_zero) and isinstance(ours, list) and isinstance(first, list):
        return len(ours) == len(first) if b"LIMIT" in options else _unordered(argv, ours, [first])
    return bool(ours == first)


def _range(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """Upstash allows LIMIT with ranks; Redis refuses it, or ignores it where the limit is -1."""
    if is_error(theirs[0]) and theirs[0].content == LIMIT_OF_RANKS:
        return True
    options = [word.upper() for word in argv[4:]]
    is_by_rank = b"BYSCORE" not in options and b"BYLEX" not in options
    return bool(ours == with_float_texts(theirs[0])) or (b"LIMIT" in options and is_by_rank)


def _rank_with_score(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """ZRANK … WITHSCORE came with 7.2: the oracle is asked for the rank and for the score."""
    if len(theirs) == 1:
        return bool(ours == theirs[0])
    if is_error(theirs[0]):
        return bool(ours == theirs[0])
    if theirs[0] is None:
        return bool(ours == NULL_ARRAY or ours is None)
    return bool(ours == [theirs[0], with_float_texts(theirs[1])])


def _bits(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """Since 7.4 a range is read before the key is looked up."""
    if is_error(ours) and (theirs[0] in (0, -1) or is_error(theirs[0]) and theirs[0].content.startswith("WRONGTYPE")):
        return True
    return bool(ours == theirs[0])


def _copy(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """A key onto itself answers 0, as Upstash; Redis refuses it."""
    onto_itself = not is_error(ours) and argv[1] == argv[2] and is_error(theirs[0])
    return bool(ours == (0 if onto_itself else theirs[0]))


def _parameters(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """In any order; 7.0 leaves the `n` of notify-keyspace-events out beside `A`, and puts it elsewhere."""
    if any(b"notify" in word.lower() for word in argv) and not is_error(ours):
        return [sorted(repr(pairs(each)).replace("n", "")) for each in [ours, *theirs]] == 2 * [
            sorted(repr(pairs(ours)).replace("n", ""))
        ]
    return _unordered_pairs(argv, ours, theirs)


Rule = Callable[[Argv, Reply, list[Reply]], bool]


# -- rules for what a server says of itself -------------------------------------------------------------------------


def _hello(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """All but the version, the id and the name of a loadable module."""
    mine, other = dict(pairs(ours)), dict(pairs(theirs[0]))
    volatile = [b"id", b"version"]
    if mine[b"role"] == repr(b"replica"):
        volatile.append(b"role")
    return {**mine, **dict.fromkeys(volatile)} == {**other, **dict.fromkeys(volatile)} and [*mine] == [*other]


# Of a client's line: what is neither a number of this machine or process nor new in 7.2 (watch, lib-name, lib-ver).
_CLIENT_FIELDS: Final = ("cmd", "name", "flags", "db", "sub", "psub", "ssub", "multi", "user", "redir", "resp")


def _clients(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """The same clients, alike in what a client can decide."""
    return bool(_client_lines(ours) == _client_lines(theirs[0]))


def _client_lines(reply: Reply) -> Any:
    text = _text(reply)
    if text is None:
        return reply
    lines = [dict(field.partition("=")[::2] for field in line.split(" ")) for line in text.splitlines()]
    for line in lines:
        if line["cmd"] == "exec":  # while EXEC runs, Redis still counts what was queued
            line["flags"], line["multi"] = line["flags"].replace("x", "") or "N", "-1"
        line["redir"] = str(min(1, int(line["redir"])))
        line["flags"] = line["flags"].replace("e", "") or "N"  # from 7.2 on, RESET turns NO-EVICT off
    return sorted([line[field] for field in _CLIENT_FIELDS] for line in lines)


def _sign(reply: Reply) -> Reply:
    """An id says only that there is one."""
    return min(1, reply) if type(reply) is int else reply


def _tracking(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    mine, other = (reply.content if isinstance(reply, Tagged) else reply for reply in (ours, theirs[0]))
    if not isinstance(mine, list) or not isinstance(other, list):
        return bool(ours == theirs[0])
    return repr([_sign(each) for each in flat(mine)]) == repr([_sign(each) for each in flat(other)])


def flat(reply: list[Reply]) -> list[Reply]:
    return [leaf for each in reply for leaf in (flat(list(each)) if isinstance(each, (list, tuple)) else [each])]


def _text(reply: Reply) -> str | None:
    content = reply.content if isinstance(reply, Tagged) and reply.shape == "verbatim" else reply
    return content.decode("latin-1") if isinstance(content, bytes) else None


def _info_sections(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """The same sections in the same order; test_info.py compares their fields."""
    mine, other = _text(ours), _text(theirs[0])
    if mine is None or other is None or isinstance(ours, Tagged) != isinstance(theirs[0], Tagged):
        return False
    titles = [line for line in mine.splitlines() if line.startswith("#")]
    return titles == [line for line in other.splitlines() if line.startswith("#")]


def _named_commands(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """Ours has fewer commands, and some of later versions; test_introspection compares those that both have."""
    mine, other = _names(ours), _names(theirs[0])
    return all(name in other or name.decode() in LATER for name in mine if name.decode() in FACTS)


def _names(reply: Reply) -> set[bytes]:
    if isinstance(reply, Tagged) and reply.shape == "map":
        return {name for name, _ in reply.content}
    items = reply if isinstance(reply, list) else []
    return {each[0] if isinstance(each, list) else each for each in items if isinstance(each, (bytes, list))}


def _command_docs(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """The same commands are documented, once each; test_introspection compares what is said."""
    if len(argv) == 2:
        return _named_commands(argv, ours, theirs)
    if isinstance(ours, list) and isinstance(theirs[0], list):
        return ours[::2] == [*dict.fromkeys(theirs[0][::2])]
    return type(ours) is type(theirs[0]) and [*dict(pairs(ours))] == [*dict(pairs(theirs[0]))]


def _command_info(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """The same commands are known; test_introspection compares what is said."""
    if len(argv) == 2:
        return _named_commands(argv, ours, theirs)
    if not isinstance(ours, list) or not isinstance(theirs[0], list) or len(ours) != len(theirs[0]):
        return False
    return all((a[0] == b[0]) if isinstance(b, list) else a == b for a, b in zip(ours, theirs[0], strict=True))


def _keys_found(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """Where a number of keys is none, Redis falls back on what atoi reads; ours calls the line invalid."""
    counts = [word for word in argv[3:5] if word and not word.isdigit()]
    return sorted_deeply(ours) == sorted_deeply(theirs[0]) or (
        is_error(ours) and argv[2][:1] in b"zZlLbB" and counts != []
    )


def sorted_deeply(reply: Reply) -> Any:
    """Sets and maps have no order; everything else keeps its own."""
    if isinstance(reply, list):
        return [sorted_deeply(each) for each in reply]
    if isinstance(reply, Tagged) and reply.shape in ("set", "map"):
        return in_order(Tagged(reply.shape, [sorted_deeply(each) for each in reply.content]))
    return reply


def _digits(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """Ours covers the system tables too: only the length is the same."""
    return bool(_shape(ours) == _shape(theirs[0]) and len(ours.content) == len(theirs[0].content))


def _role(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """The offset is Redis's in bytes, ours an LSN; a replica of ours answers for itself."""
    if ours[0] == b"slave":
        return [type(each) for each in ours] == [bytes, bytes, int, bytes, int]
    return bool(ours[0] == theirs[0][0] and type(ours[1]) is int and ours[2:] == theirs[0][2:])


RULES: Final[dict[bytes, Rule]] = {
    **acl.RULES,
    **dict.fromkeys([b"KEYS", b"SMEMBERS", b"SDIFF", b"SINTER", b"SUNION", b"HKEYS", b"HVALS"], _unordered),
    b"HGETALL": _unordered_pairs,
    **dict.fromkeys([b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER", b"RANDOMKEY"], _random_pick),
    b"SPOP": _random_removal,
    **dict.fromkeys([b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME"], _deadline),
    **dict.fromkeys([b"MEMORY USAGE", b"OBJECT IDLETIME", b"OBJECT FREQ", b"OBJECT REFCOUNT"], _same_type),
    b"BITCOUNT": _bits,
    b"BITPOS": _bits,
    b"COPY": _copy,
    b"DUMP": _same_type,  # test_dumping.py compares what is in it
    b"OBJECT ENCODING": _encoding,
    **dict.fromkeys([b"SCAN", b"HSCAN", b"SSCAN", b"ZSCAN"], _scan),
    **dict.fromkeys([b"SORT", b"SORT_RO"], _sort),
    b"HELLO": _hello,
    b"CLIENT ID": _same_type,
    **dict.fromkeys([b"CLIENT INFO", b"CLIENT LIST"], _clients),
    b"INFO": _info_sections,
    b"COMMAND COUNT": _same_type,
    **dict.fromkeys([b"COMMAND GETKEYS", b"COMMAND GETKEYSANDFLAGS"], _keys_found),
    **dict.fromkeys([b"COMMAND", b"COMMAND LIST"], _named_commands),
    b"COMMAND DOCS": _command_docs,
    b"COMMAND INFO": _command_info,
    b"CLIENT GETREDIR": lambda argv, ours, theirs: _sign(ours) == _sign(theirs[0]),
    b"CLIENT TRACKINGINFO": _tracking,
    b"CONFIG GET": _parameters,
    b"PUBSUB CHANNELS": _unordered,
    b"PUBSUB SHARDCHANNELS": _unordered,
    b"TIME": lambda argv, ours, theirs: _shape(ours) == _shape(theirs[0]),
    b"SLOWLOG LEN": _same_type,
    b"WAIT": _same_type,  # the oracle has no replica
    b"SLOWLOG GET": lambda argv, ours, theirs: isinstance(ours, list) and isinstance(theirs[0], list),
    b"DEBUG DIGEST": _digits,
    **dict.fromkeys([b"DEBUG OBJECT", b"DEBUG DIGEST-VALUE", b"LASTSAVE", b"LOLWUT"], _same_type),
    **dict.fromkeys([b"LATENCY DOCTOR", b"LATENCY HISTOGRAM", b"LATENCY HISTORY", b"LATENCY LATEST"], _same_type),
    **dict.fromkeys([b"LATENCY RESET", b"MEMORY DOCTOR", b"MEMORY MALLOC-STATS", b"MEMORY STATS"], _same_type),
    b"ROLE": _role,
    **streams.RULES,
    b"ZRANGE": _range,
    **dict.fromkeys([b"ZRANK", b"ZREVRANK"], _rank_with_score),
}


# -- questions: (argv, our reply) → what the oracle is asked ---------------------------------------------------------


def _and_all_keys(argv: Argv, ours: Reply) -> list[Argv]:
    return [argv, [b"KEYS", b"*"]]


def _and_all_members(argv: Argv, ours: Reply) -> list[Argv]:
    everything = {b"S": [b"SMEMBERS"], b"H": [b"HGETALL"], b"Z": [b"ZRANGE"]}[argv[0][:1].upper()]
    return [
        argv,
        [*everything, argv[1], b"0", b"-1", b"WITHSCORES"] if everything == [b"ZRANGE"] else [*everything, argv[1]],
    ]


def _members(reply: Reply) -> list[bytes]:
    content = reply.content if isinstance(reply, Tagged) else reply
    return content if isinstance(content, list) else [content]


def _remove_what_ours_removed(argv: Argv, ours: Reply) -> list[Argv]:
    if is_error(ours) or ours is None or not _members(ours):
        return [argv]
    return [
        [b"COPY", argv[1], SCRATCH],
        [argv[0], SCRATCH, *argv[2:]],
        [b"DEL", SCRATCH],
        [b"SREM", argv[1], *_members(ours)],
    ]


def _rank_and_score(argv: Argv, ours: Reply) -> list[Argv]:
    if len(argv) == 4 and argv[3].upper() == b"WITHSCORE":
        return [argv[:3], [b"ZSCORE", *argv[1:3]]]
    return [argv]


def _sort_a_copy(argv: Argv, ours: Reply) -> list[Argv]:
    """Redis turns the sorted set that it sorts into a skiplist for good; ours does not change what it only reads.

    A scan comes before it to clear errno: a score like 1e400, read earlier, leaves it set, and SORT then refuses every
    weight.
    """
    return [
        [b"COPY", argv[1], SCRATCH],
        [b"SCAN", b"0"],
        [argv[0], SCRATCH, *argv[2:]],
        [b"DEL", SCRATCH],
    ]


QUESTIONS: Final[dict[bytes, Callable[[Argv, Reply], list[Argv]]]] = {
    **dict.fromkeys([b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER"], _and_all_members),
    b"RANDOMKEY": _and_all_keys,
    b"SPOP": _remove_what_ours_removed,
    **dict.fromkeys([b"SORT", b"SORT_RO"], _sort_a_copy),
    **dict.fromkeys([b"ZRANK", b"ZREVRANK"], _rank_and_score),
    **streams.QUESTIONS,
}
