"""The same FUNCTION and FCALL commands get the same replies from ours and from a real redis-server, in RESP2 and RESP3.

One story: libraries that are refused, libraries that are loaded, calls, dumps that are restored. Left out is FCALL_RO of a
function without `no-writes`, which Upstash allows.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.differential.sides import NodeSide, Oracle, Side
from tests.differential.wire import Reply, Tagged
from upstash_global.engine.rdb.format import seal
from upstash_global.engine.rdb.writer import write_string

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]

LIBRARY = """#!lua name=lib
local n = 0
local function count(keys, args) n = n + 1 return {n, keys, args} end
redis.register_function('count', count)
redis.register_function{
  function_name = 'reader', callback = function(keys) return redis.call('get', keys[1]) end,
  flags = {'no-writes', 'allow-stale'}, description = 'reads'
}
redis.register_function('writer', function(keys, args) return redis.call('set', keys[1], args[1]) end)
redis.register_function{
  function_name = 'bad_writer', flags = {'no-writes'},
  callback = function(keys, args) return redis.call('set', keys[1], args[1]) end
}
redis.register_function('fails', function(keys, args) error('boom') end)
redis.register_function('fails_with_table', function(keys, args) error({err='My boom'}) end)
redis.register_function('unknown', function(keys, args) return redis.call('nosuch') end)
redis.register_function('wrong_arity', function(keys, args)
  local reply = redis.call('incr', 'a', 'b', 'c')
end)
redis.register_function('global_keys', function(keys, args) return KEYS end)
redis.register_function('sets_global', function(keys, args) x = 1 end)
redis.register_function('registers', function(keys, args) return redis.register_function('x', function() end) end)
redis.register_function('map3', function(keys, args) redis.setresp(3) return redis.call('hgetall', keys[1]) end)
redis.register_function('error_reply', function(keys, args) return redis.error_reply('MY x') end)
redis.register_function('status_reply', function(keys, args) return redis.status_reply('fine') end)
redis.register_function('nothing', function(keys, args) end)
redis.register_function('map', function(keys, args) return {map={a=1}} end)
redis.register_function('types', function(keys, args) return type(_G) .. type(redis.call) .. type(math) end)
redis.register_function('reply', function(keys, args) return {1, 'a', {2}, false, 3.9} end)
redis.register_function('Case', function(keys, args) return 'Case' end)
"""

CALLED = [
    "writer", "reader", "bad_writer", "fails", "fails_with_table", "unknown", "wrong_arity", "global_keys", "sets_global",
    "registers", "error_reply", "status_reply", "nothing", "map", "types", "reply", "Case", "case",
]  # fmt: skip

# What stands behind the first line of a library that is refused, or that registers nothing.
REFUSED = r"""

return 1
x x
error('boom')
x = 1
return x
redis.call('get', 'x')
local call = redis.call
redis.foo = 1
math.foo = 1
redis.setresp(3)
redis.log(redis.LOG_NOTICE, 'x')
local keys = KEYS
local number = redis.REDIS_VERSION_NUM
_G.x = 1
local t = redis.nosuch
local t = nil; local y = t.x
redis.register_function()
redis.register_function('f', 'g', 'h')
redis.register_function(1)
redis.register_function('f')
redis.register_function({}, function() end)
redis.register_function('f', 'g')
redis.register_function{function_name='f'}
redis.register_function{callback=function() end}
redis.register_function{function_name={}, callback=function() end}
redis.register_function{function_name='f', callback=1}
redis.register_function{function_name='f', callback=function() end, foo=1}
redis.register_function{function_name='f', callback=function() end, flags='x'}
redis.register_function{function_name='f', callback=function() end, flags={'x'}}
redis.register_function{function_name='f', callback=function() end, flags={1}}
redis.register_function{function_name='f', callback=function() end, description={}}
redis.register_function{[1]=1}
redis.register_function{[{}]=1}
redis.register_function('a b', function() end)
redis.register_function('', function() end)
redis.register_function('f', function() end) redis.register_function('f', function() end)
""".strip("\n").split("\n")

FIRST_LINES = [
    "return 1", "#!lua name=lib", "#!lua\nx", "#!js name=lib\nx", "#!lua name=a name=b\nx", "#!lua name=lib foo=bar\nx",
    "#!lua name=\nx", "#!lua name=a-b\nx", "#! name=x\nx", "#!lua name=lib 'x\ny", "",
]  # fmt: skip


def load(code: str, *options: str) -> list[str]:
    return ["FUNCTION", "LOAD", *options, code]


STORY: list[list[str]] = [
    *[load(code) for code in FIRST_LINES],
    *[load("#!lua name=lib\n" + code) for code in REFUSED],
    load("#!LUA NAME=a_b\nredis.register_function(5, function() return 'five' end)"),
    ["FUNCTION", "LIST"],
    ["FCALL", "5", "0"],
    ["FUNCTION", "DELETE", "a_b"],
    ["FUNCTION", "DELETE", "nosuch"],
    ["FUNCTION", "FLUSH", "X"],
    ["FUNCTION", "FLUSH", "SYNC", "X"],
    ["FUNCTION", "FLUSH", "async"],
    load(LIBRARY),
    load(LIBRARY),
    load("#!lua name=other\nredis.register_function('count', function() end)"),
    load("#!lua name=other\nredis.register_function('COUNT', function() end)", "REPLACE"),
    load("#!lua name=lib\nnonsense x", "REPLACE"),
    load("#!lua name=stamp\n\n\nredis.register_function('stamped', function() return 1 end)"),
    ["FCALL", "count", "0"],
    ["FCALL", "count", "1", "k", "a", "b"],
    ["FCALL", "count", "2", "k", "a", "b"],
    ["FCALL", "COUNT", "0"],
    ["FCALL", "nosuch", "0"],
    ["FCALL", "count", "x"],
    ["FCALL", "count", "-1"],
    ["FCALL", "count", "2", "k"],
    ["FCALL", "count"],
    ["HSET", "h", "a", "1"],
    ["FCALL", "map3", "1", "h"],
    *[["FCALL", name, "1", "k", "v"] for name in CALLED],
    ["FCALL_RO", "reader", "1", "k"],
    ["FCALL_RO", "bad_writer", "1", "k", "v"],
    ["FUNCTION", "STATS"],
    ["FUNCTION", "LIST", "LIBRARYNAME"],
    ["FUNCTION", "LIST", "X"],
    ["FUNCTION", "LIST", "LIBRARYNAME", "st*"],
    ["FUNCTION", "LIST", "LIBRARYNAME", "ST*", "WITHCODE"],
    ["FUNCTION", "LIST", "WITHCODE", "WITHCODE"],
    ["FUNCTION", "LIST", "libraryname", "nosuch"],
    ["FUNCTION", "LIST", "withcode"],
    ["FUNCTION", "KILL"],
    ["SCRIPT", "KILL"],
    ["FUNCTION", "LOAD"],
    ["FUNCTION", "LOAD", "REPLACE"],
    ["FUNCTION", "LOAD", "FOO", "x"],
    ["FUNCTION"],
    ["FUNCTION", "NOSUCH"],
    ["FUNCTION", "HELP"],
    ["FUNCTION", "DUMP", "x"],
    ["FUNCTION", "DUMP"],
    ["FUNCTION", "RESTORE"],
    ["FUNCTION", "RESTORE", "abc"],
    ["FUNCTION", "RESTORE", "<tiny>"],
    ["FUNCTION", "RESTORE", "<tiny>"],
    ["FUNCTION", "RESTORE", "<theirs>", "X"],
    ["FUNCTION", "RESTORE", "<theirs>", "APPEND", "X"],
    ["FUNCTION", "RESTORE", "<theirs>", "replace"],
    ["FUNCTION", "RESTORE", "<ours>", "FLUSH"],
    ["FUNCTION", "FLUSH"],
    ["FUNCTION", "RESTORE", "<ours>"],
    ["FCALL", "count", "0"],
    load("#!lua name=stamp\nredis.register_function('stamped', function() return 2 end)", "REPLACE"),
    ["FCALL", "stamped", "0"],
    load("#!lua name=third\nredis.register_function('z', function() end)"),
    ["FUNCTION", "DELETE", "stamp"],
    load("#!lua name=third\nredis.register_function('stamped', function() end)", "REPLACE"),
    ["FUNCTION", "RESTORE", "<theirs>", "REPLACE"],
    ["FCALL", "z", "0"],
    *[["FUNCTION", "RESTORE", name] for name in ("<string>", "<bad>", "<before 7.0>", "<truncated>", "<twice>", "<empty>")],
    ["FUNCTION", "LIST"],
    ["EVAL", "return redis.call('fcall','count',0)", "0"],
    ["EVAL", "return redis.call('function','list')", "0"],
    ["FUNCTION", "RESTORE", "<empty>", "FLUSH"],
    ["FUNCTION", "STATS"],
]  # fmt: skip


def library(code: bytes) -> bytes:
    out = bytearray([245])
    write_string(out, code)
    return bytes(out)


TINY = library(b"#!lua name=tiny\nredis.register_function('t', function() end)")
PAYLOADS = {
    b"<tiny>": seal(TINY, 10),
    b"<string>": seal(b"\0\1v", 10),
    b"<bad>": seal(library(b"#!lua name=q\nx x"), 10),
    b"<before 7.0>": seal(b"\xf6abc", 10),
    b"<truncated>": seal(b"\xf5\x20abc", 10),
    b"<twice>": seal(TINY + TINY, 10),
    b"<empty>": seal(b"", 10),
}


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    directory: Path = tmp_path_factory.mktemp("oracle")
    with Oracle(directory) as running:
        yield running


@pytest.mark.parametrize("version", [2, 3])
def test_functions_answer_as_in_redis(oracle: Oracle, version: int) -> None:
    ours, theirs = NodeSide(version), oracle.connect(version)
    payloads = dict(PAYLOADS)
    different: list[str] = []
    try:
        theirs.run([[b"FLUSHALL"], [b"FUNCTION", b"FLUSH"]])
        for line in STORY:
            argv = [payloads.get(word.encode(), word.encode()) for word in line]
            mine, other = one(ours, argv), one(theirs, argv)
            if line == ["FUNCTION", "DUMP"]:
                payloads[b"<ours>"], payloads[b"<theirs>"] = mine, other
            elif unordered(mine) != unordered(other):
                different.append(f"{line}\n    ours:  {mine}\n    redis: {other}")
    finally:
        theirs.close()
    assert not different, "\n".join(different)


def one(side: Side, argv: list[bytes]) -> Any:
    return side.run([argv])[0]


def unordered(reply: Reply) -> Any:
    """Redis keeps libraries and functions in tables without an order."""
    if isinstance(reply, list):
        items = [unordered(each) for each in reply]
        return sorted(items, key=repr) if any(isinstance(each, (list, Tagged)) for each in items) else items
    if isinstance(reply, Tagged) and isinstance(reply.content, list):
        return Tagged(reply.shape, sorted([unordered(each) for each in reply.content], key=repr))
    return reply
