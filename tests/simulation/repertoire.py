"""What the clients of a simulated cluster say: every family, those without an oracle too, and scripts that call them all.

A script gets the command lines that it is to run as arguments, so it may do whatever a client may. Scripts by their SHA-1
and functions are called before, after and while other clients load and delete them: an unknown one is an answer like any.
"""

from random import Random
from typing import Final

from tests.differential.families import FAMILIES, MIXTURE, lines_of
from tests.differential.grammar import KINDS, Argv, Maker, parse, some
from upstash_global.engine.scripts import sha_of

HASH_DEADLINES: Final = """
HEXPIRE key seconds [NX|XX|GT|LT] FIELDS (1 field|2 field field|3 field field field)
HEXPIREAT key at FIELDS (1 field|2 field field|3 field field field)
HEXPIRETIME key FIELDS (1 field|2 field field|3 field field field)
HGETDEL key FIELDS (1 field|2 field field|3 field field field)
HGETEX key {EX seconds|PX soon|PERSIST} FIELDS (1 field|2 field field|3 field field field)
HPERSIST key FIELDS (1 field|2 field field|3 field field field)
HPEXPIRE key soon FIELDS (1 field|2 field field|3 field field field)
HPEXPIRE key soon FIELDS (1 field|2 field field|3 field field field)
HPEXPIREAT key at_ms FIELDS (1 field|2 field field|3 field field field)
HPEXPIRETIME key FIELDS (1 field|2 field field|3 field field field)
HPTTL key FIELDS (1 field|2 field field|3 field field field)
HSETEX key {FNX|FXX|EX seconds|PX soon|KEEPTTL} FIELDS (1 field value|2 field value field value)
HSETEX key PX soon FIELDS (1 field value|2 field value field value)
HTTL key FIELDS (1 field|2 field field|3 field field field)
HSET key (field value)...
"""

LATER_STRINGS: Final = """
BITOP (DIFF|DIFF1|ANDOR|ONE) key key key...
DELEX key
DELEX key (IFEQ|IFNE) value
DELEX key (IFDEQ|IFDNE) digest
DIGEST key
SET key value (IFEQ|IFNE) value [GET]
SET key value (IFDEQ|IFDNE) digest
SET key value
"""

JSON: Final = """
JSON.ARRAPPEND key json_path json
JSON.ARRINDEX key json_path json
JSON.ARRINSERT key json_path index json
JSON.ARRLEN key json_path
JSON.ARRPOP key json_path [index]
JSON.ARRTRIM key json_path index index
JSON.CLEAR key json_path
JSON.DEL key json_path
JSON.FORGET key json_path
JSON.GET key json_path
JSON.MERGE key json_path json
JSON.MGET key key json_path
JSON.MSET (key json_path json)...
JSON.NUMINCRBY key json_path float
JSON.NUMMULTBY key json_path float
JSON.OBJKEYS key json_path
JSON.OBJLEN key json_path
JSON.RESP key json_path
JSON.SET key json_root json
JSON.SET key json_root json
JSON.SET key json_path json [NX|XX]
JSON.STRAPPEND key json_path json
JSON.STRLEN key json_path
JSON.TOGGLE key json_path
JSON.TYPE key json_path
"""

# Of parse: words of lower case are kinds, and a point is no part of a word.
KINDS.update(
    {
        "soon": lambda random: b"%d" % random.randint(1, 900),
        "digest": some([b"e7cf1ad1ba1d9c3d", b"3a1e5b1c0d2f4a6b"], [b"", b"xyz"]),
        "json_root": some([b"$", b"."], [b"", b"a"]),
        "json_path": some(
            [b"$", b"$", b".", b"$.a", b"$..a", b"$.*", b"$[0]", b"$..b[-1]", b"a", b".a.b", b"$[?(@>1)]", b"$.a[1:]"],
            [b"$[", b"$$", b"\xff"],
        ),
        "json": some(
            [b'{"a":1,"b":[1,2.50,"x"]}', b'{"a":{"a":true,"b":[]},"c":null}', b"[1,[2,3],{}]", b'"text"', b"-0", b"1e3",
             b"true", b"{}", b"[]", b'{"b":null}', b"9223372036854775807"],
            [b"{", b"nan", b"", b"[1,]"],
        ),
    }
)  # fmt: skip

SYNTAXES: Final = [
    parse(line)
    for table in [*FAMILIES.values(), MIXTURE, HASH_DEADLINES, LATER_STRINGS, JSON]
    for line in lines_of(table)
    if "many_elements" not in line  # takes half of the time, and shows nothing more here
]

# Each runs the command lines in ARGV: a count of words, then the words, and so on.
_RUN_ALL: Final = b"""
local function lines()
  local found, at = {}, 1
  while at <= #ARGV do
    local n = tonumber(ARGV[at])
    found[#found + 1] = {unpack(ARGV, at + 1, at + n)}
    at = at + n + 1
  end
  return found
end
"""
SCRIPTS: Final = [
    _RUN_ALL + b"local last for _, line in ipairs(lines()) do last = redis.pcall(unpack(line)) end return last",
    _RUN_ALL
    + b"redis.setresp(3) local last for _, line in ipairs(lines()) do last = redis.pcall(unpack(line)) end return last",
    _RUN_ALL + b"for _, line in ipairs(lines()) do redis.call(unpack(line)) end return redis.status_reply('all')",
    _RUN_ALL
    + b"for i, line in ipairs(lines()) do if pcall(redis.call, unpack(line)) then redis.call('incr', 'fine') end end",
]
LIBRARY: Final = (
    b"#!lua name=library\nlocal function run(keys, argv)\nlocal last\nfor i = 1, #keys do last = redis.pcall('incr', keys[i]) end\n"
    b"return redis.pcall(unpack(argv))\nend\nredis.register_function('run', run)\n"
    b"redis.register_function{function_name='look', callback=function(keys) return redis.call('type', keys[1]) end, flags={'no-writes'}}"
)


def script_line(maker: Maker, random: Random) -> Argv:
    """A script or a function that runs a few random command lines, or something done to those."""
    lines = [maker.line(random.choice(SYNTAXES)) for _ in range(random.choice([1, 1, 2, 4]))]
    packed = [word for line in lines for word in [b"%d" % len(line), *line]]
    script = random.choice(SCRIPTS)
    luck = random.random()
    if luck < 0.5:
        return [b"EVAL", script, b"0", *packed]
    if luck < 0.7:
        return [b"EVALSHA", sha_of(script), b"0", *packed]
    if luck < 0.76:
        return [b"SCRIPT", b"LOAD", script]
    if luck < 0.88:
        return [b"FCALL", b"run", b"1", maker.key(), *lines[0]]
    if luck < 0.92:
        return [b"FCALL_RO", b"look", b"1", maker.key()]
    if luck < 0.97:
        return [b"FUNCTION", b"LOAD", b"REPLACE", LIBRARY]
    return random.choice([[b"SCRIPT", b"FLUSH"], [b"FUNCTION", b"DELETE", b"library"], [b"FUNCTION", b"FLUSH"]])
