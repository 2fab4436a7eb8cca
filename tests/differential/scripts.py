"""Random scripts and functions, made of the lines of all families, and what may differ in their replies.

A script gets the command lines that it runs as arguments, each a count and its words, so the comparison knows which reply
belongs to which line and applies the rules of normalise.py. Bodies differ in how they call (call, pcall, an error that
ends them), with which protocol (setresp), what they make of a reply (cjson, cmsgpack) and what a word becomes (a number).

Left out inside scripts are the commands whose oracle has to be asked something else (chance), and cursors.
"""

from collections.abc import Iterator
from random import Random
from typing import Any, Final

from tests.differential.families import FAMILIES, command_of, lines_of
from tests.differential.grammar import Argv, Maker, parse
from tests.differential.normalise import QUESTIONS, RULES, is_error, name_of, same, sorted_deeply
from tests.differential.sides import SCANS, Side
from tests.differential.wire import Reply, Tagged
from upstash_global.engine.scripts import sha_of

PLAIN_FAMILIES: Final = (
    "strings",
    "hashes",
    "lists",
    "sets",
)  # whose replies hold no score; those with a rule are left out
# Beside what the oracle has to be asked in another way: where one side may refuse, and so end the script, and the other not.
LEFT_OUT: Final = {
    *(name.decode() for name in (*QUESTIONS, *SCANS)),
    "BITCOUNT",
    "BITPOS",
    "COPY",
    "DUMP",
    "MEMORY USAGE",
    "OBJECT ENCODING",
    "XINFO CONSUMERS",
}
LEFT_OUT_WORDS: Final = ("many_elements", "BLOCK")  # slow; 7.0 refuses it in scripts, 7.2 does not wait

LINES: Final = b"""
local lines, at = {}, 1
while at <= #ARGV do
  local n = tonumber(ARGV[at])
  lines[#lines + 1] = {unpack(ARGV, at + 1, at + n)}
  at = at + n + 1
end
"""
NUMBERS: Final = b"for _, line in ipairs(lines) do for i = 2, #line do if tostring(tonumber(line[i])) == line[i] then line[i] = tonumber(line[i]) end end end\n"
EACH: Final = b"local replies = {} for i, line in ipairs(lines) do replies[i] = {%s} end return replies"
SHAPED: Final = b"if type(reply) == 'table' and reply.err then return reply end return "

# How a reply leaves the script: as it is in a list of one, or as bytes that say all of it.
REPLIES: Final = [
    LINES + EACH % b"redis.pcall(unpack(line))",
    LINES + NUMBERS + EACH % b"redis.pcall(unpack(line))",
    LINES + b"redis.setresp(3) " + EACH % b"redis.pcall(unpack(line))",
    LINES + EACH % b"redis.call(unpack(line))",
    LINES + b"redis.setresp(3) " + NUMBERS + EACH % b"redis.call(unpack(line))",
]
SHAPES: Final = [
    LINES + b"local function shape(reply) " + SHAPED + shape + b" end\n" + EACH % b"shape(redis.pcall(unpack(line)))"
    for shape in (
        b"cjson.encode(reply)",
        b"cjson.encode(cjson.decode(cjson.encode({reply})))",
        b"cmsgpack.pack(reply)",
        b"cmsgpack.unpack(cmsgpack.pack(reply))",
        b"{type(reply), tostring(type(reply) == 'table' and #reply or reply)}",
    )
]
FUNCTIONS: Final = {b"f%d" % number: body for number, body in enumerate([*REPLIES, *SHAPES])}
LIBRARY: Final = b"#!lua name=library\n" + b"".join(
    b"redis.register_function('%s', function(KEYS, ARGV)\n%s\nend)\n" % pair for pair in FUNCTIONS.items()
)


def script_lines(ours: Side, seed: int, version: int) -> Iterator[Argv]:
    """Endless lines: scripts by text and by SHA-1, functions, and plain lines between them."""
    random = Random(f"scripts {version} {seed}")
    maker = Maker(random)
    tables = {
        family: [parse(line) for line in lines_of(table) if fits(ours, line)]
        for family, table in FAMILIES.items()
        if family
        != "hyperloglogs"  # others may damage one, and a PFADD of Redis that fails then has changed some of it
    }
    everything = [syntax for table in tables.values() for syntax in table]
    plain = [
        parse(line)
        for family in PLAIN_FAMILIES
        for line in lines_of(FAMILIES[family])
        if fits(ours, line) and name_of([word.encode() for word in command_of(line)]) not in RULES
    ]
    while True:
        luck = random.random()
        if luck < 0.01:
            yield [b"FUNCTION", b"LOAD", b"REPLACE", LIBRARY]
        elif luck < 0.02:
            yield [b"SCRIPT", b"LOAD", random.choice([*REPLIES, *SHAPES])]
        elif luck < 0.03:
            yield [b"SCRIPT", b"EXISTS", *[sha_of(random.choice(REPLIES)) for _ in range(2)]]
        elif luck < 0.3:
            yield maker.line(random.choice(everything))
        else:
            is_shaped = random.random() < 0.4
            inner = [maker.line(random.choice(plain if is_shaped else everything)) for _ in range(random.randint(1, 4))]
            packed = [word for line in inner for word in (b"%d" % len(line), *line)]
            number = random.randrange(len(SHAPES)) + len(REPLIES) if is_shaped else random.randrange(len(REPLIES))
            body = FUNCTIONS[b"f%d" % number]
            call = random.choice(
                [[b"EVAL", body], [b"EVAL", body], [b"EVALSHA", sha_of(body)], [b"FCALL", b"f%d" % number]]
            )
            yield [*call, b"0", *packed]


def fits(ours: Side, line: str) -> bool:
    name = command_of(line)
    is_left_out = " ".join(name) in LEFT_OUT or name[0] in LEFT_OUT or any(word in line for word in LEFT_OUT_WORDS)
    return ours.has(name) and not is_left_out


def inner_lines(argv: Argv) -> list[Argv]:
    """The command lines that a script was given."""
    lines, at = [], 3
    while at < len(argv):
        n = int(argv[at])
        lines.append(argv[at + 1 : at + 1 + n])
        at += n + 1
    return lines


def same_script(argv: Argv, ours: Reply, theirs: list[Reply]) -> bool:
    """As normalise.same, for the reply of a script by the lines that it ran."""
    if argv[0] not in (b"EVAL", b"EVALSHA", b"FCALL"):
        return same(argv, ours, theirs)
    (other,) = theirs
    if ours == other:
        return True
    inner = inner_lines(argv)
    if is_error(ours) and is_error(other):  # of any of the lines, with the place behind it
        (mine, where), (text, there) = _parted(ours), _parted(other)
        return where == there and any(same(line, mine, [text]) for line in inner)
    if not (isinstance(ours, list) and isinstance(other, list) and len(ours) == len(other) <= len(inner)):
        return False
    for line, mine, each in zip(inner, ours, other, strict=False):
        if len(mine) != len(each):
            return False
        if mine and not same(line, mine[0], [each[0]]) and sorted_deeply(mine[0]) != sorted_deeply(each[0]):
            return False
    return True


def _parted(error: Tagged) -> tuple[Tagged, Any]:
    text, _, where = error.content.partition(" script: ")
    return Tagged("error", text), where
