"""The same scripts give the same replies on a node and on a real redis-server, in RESP2 and RESP3.

Left out are what we do otherwise on purpose: the version, doubles (their shortest text, as of 7.2), chance (Redis does not seed each run anew), and redis.set_repl,
which would make regions differ.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.sides import Oracle
from tests.differential.test_blocking import Ours, answered, leading_node, turn
from tests.differential.wire import Connection

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]

SCRIPTS = r"""
return redis.call('nope')
return redis.pcall('nope').err
return redis.call('get')
local x = redis.call('incr', KEYS[1], 'x', 'y')
redis.call('set','s','x') return redis.call('lpush','s','x')
redis.call('set','s','x') return redis.pcall('lpush','s','x')
return redis.call()
return redis.call({})
return redis.call('set','n',nil)
redis.call('set','n',3.7) return redis.call('get','n')
redis.call('set','n',1e20) return redis.call('get','n')
redis.call('set','n',1/0) return redis.call('get','n')
redis.call('set','n',12345678901234567) return redis.call('get','n')
return x
x=1
redis.call=1
string.foo=1
rawset(_G,'x',2)
rawset(redis,'x',2)
setmetatable(redis,{})
KEYS={}
KEYS[1]='z' return KEYS
error('boom')
error({err='My boom'})
error()
return redis.error_reply('boom')
return redis.error_reply('-My boom')
return {err='boom x'}
return redis.status_reply('fine')
return redis.status_reply(1)
return redis.sha1hex('') .. redis.sha1hex(1)
return redis.sha1hex()
return redis.log(redis.LOG_NOTICE,'x')
return redis.log('x')
return redis.setresp(4)
return redis.replicate_commands()
return redis.acl_check_cmd('nope')
return redis.acl_check_cmd('get','x')
return redis.call('eval','return 1',0)
return redis.call('multi')
return redis.call('client','id')
return redis.call('config','get','x')
return redis.call('script','exists','x')
return redis.call('PING')
return redis.call('echo','x')
return #redis.call('TIME')
return redis.call('object','foo','bar')
return {3.99, -3.99, 1e300, 'x', false, true, {3, {4}}, nil, 5}
return {function() end, 1}
return {double=3.5}
return {map={a=1}}
return {set={a=true}}
return {verbatim_string={format='txt',string='abc'}}
return {big_number='123'}
redis.setresp(3) return {big_number='123'}
redis.setresp(3) return {big_number='123\r\n+INJ'}
return {big_number='123\r\n+INJ'}
redis.setresp(3) return {{big_number='1\r2'}, {big_number='3\n4'}}
redis.setresp(3) return {big_number=123}
redis.setresp(3) return {big_number='no number'}
redis.setresp(3) return {map={[1]={big_number='5'}}}
redis.setresp(3) return {verbatim_string={format='txt',string='a\r\n+INJ'}}
redis.setresp(3) return {verbatim_string={format='t\r\n',string='abc'}}
redis.setresp(3) return {verbatim_string={format='text',string='abc'}}
redis.setresp(3) return {verbatim_string={format='x',string='abc'}}
redis.setresp(3) return {verbatim_string={format='',string='abc'}}
redis.setresp(3) return {verbatim_string={format='é!',string='abc'}}
return {verbatim_string={format='t\r\n',string='abc'}}
redis.setresp(3) return {verbatim_string={format='txt'}}
redis.setresp(3) return {verbatim_string='txt:abc'}
redis.setresp(3) return {{double=1/0}, {double=-1/0}, {double=3}, {double=-2.5}, {double=-0}}
redis.setresp(3) return {double='3\r\n+INJ'}
redis.setresp(3) return {map={['a\r\n+INJ']='b\r\n+INJ'}}
redis.setresp(3) return {set={['a\r\n+INJ']=true}}
redis.setresp(3) return {map={a={map={b=1}}}}
redis.setresp(3) return {map={}}
redis.setresp(3) return {set={}}
redis.setresp(3) return {set={{1}}}
redis.setresp(3) return {map='x'}
return {ok='fine\r\n+INJ'}
return {err='bad\r\n+INJ'}
return {err='bad\r\n'}
return redis.status_reply('fine\r\n+INJ')
return redis.error_reply('bad\r\n+INJ')
return {redis.status_reply('a\nb'), redis.error_reply('a\nb')}
error('bad\r\n+INJ')
error({err='bad\r\n+INJ'})
return {err='', ok='x', double=1}
return {ok='x', big_number='1'}
redis.setresp(3) return {big_number='1', verbatim_string={format='txt',string='a'}}
redis.setresp(3) return {set={a=true}, map={a=1}}
redis.setresp(3) local n = 0 for flag in pairs(redis.call('command', 'getkeysandflags', 'get', 'a')[1][2].set) do n = n + #flag.ok end return n
return redis.call('command', 'info', 'get')
redis.setresp(3) return redis.call('command', 'info', 'get')[1][1]
redis.setresp(3) redis.call('geoadd', 'g', 13, 38, 'm') return redis.call('geopos', 'g', 'm', 'q')
redis.setresp(3) return redis.call('config', 'resetstat')
redis.setresp(3) redis.call('rpush', 'list', 'a') return redis.call('lmpop', 1, 'list', 'left')
redis.setresp(3) return redis.call('xinfo', 'stream', 'x')
return {redis.call('incrby', 'big', '8825501086245354148')}
redis.call('set', 'big', '8825501086245354148') return {redis.call('incrby', 'big', 1), redis.call('decrby', 'big', 2), redis.call('incr', 'big')}
redis.call('set', 'big', '-8825501086245354148') return {redis.call('incrby', 'big', 1), redis.call('decrby', 'big', 2)}
return {cmsgpack.unpack('\207\122\122\122\122\122\122\122\164'), cmsgpack.unpack('\211\133\133\133\133\133\133\133\92')}
return {struct.unpack('>l', '\122\122\122\122\122\122\122\164'), struct.unpack('>l', '\133\133\133\133\133\133\133\92'), struct.unpack('<L', '\164\122\122\122\122\122\122\122')}
return {struct.unpack('>h', '\255\254'), struct.unpack('<i', '\0\0\0\128'), struct.unpack('>l', '\255\255\255\255\255\255\255\255')}
redis.setresp(3) return {true, false, nil}
redis.setresp(3) redis.call('hset','h','a',1) return redis.call('hgetall','h')
redis.setresp(3) return tostring(redis.call('get','nokey'))
redis.setresp(3) redis.call('zadd','z',1.5,'a') return redis.call('zscore','z','a')
redis.setresp(3) redis.call('sadd','ss','a') return redis.call('smembers','ss')
redis.call('zadd','z',1.5,'a') return redis.call('zrange','z',0,-1,'withscores')
syntax error here
local x = nil return x.y
return tostring(loadstring(string.char(27) .. 'Lua'))
return {pcall(redis.call,'nope')}
return {pcall(error,{err='q'})}
return {pcall(function() return x end)}
local f=coroutine.wrap(function() coroutine.yield(1) end) return f()
('x'):foo()
#!lua flags=no-writes\nreturn redis.call('set','a',1)
#!lua flags=foo\nreturn 1
#!lua foo=bar\nreturn 1
#!js\nreturn 1
#!lua
#!lua\n\nerror('x')
return cjson.encode({1, 2.5, 'a"/\\b', {}, true, cjson.null, 1e20, 0.1, 1/3, -0.5, 100000000000000})
return cjson.encode({a = {b = {1, 2}}})
return cjson.encode({[1] = 1, [3] = 3})
local reply = cjson.encode({[1] = 1, [100] = 3}) return reply
return cjson.encode({[1.5] = 1})
local reply = cjson.encode(1/0) return reply
return cjson.encode(print_)
local reply = cjson.encode(string.rep) return reply
local reply = cjson.encode({[true] = 1}) return reply
return cjson.encode('\0\1\31\127\t\n é')
local reply = cjson.encode('x', 'y') return reply
local t = {} for i = 1, 1001 do t = {t} end local reply = cjson.encode(t) return reply
local reply = cjson.decode(string.rep('[', 1001)) return reply
return cjson.decode('{"a":[1,2,{"b":null}],"c":"x"}').a
return tostring(cjson.decode('1.50'))
return tostring(cjson.decode('[0x10,1e3,-2,nan,inf]')[5])
local reply = cjson.decode('[1,]') return reply
local reply = cjson.decode('[1 2]') return reply
local reply = cjson.decode('{"a" 1}') return reply
local reply = cjson.decode('{a:1}') return reply
local reply = cjson.decode('{"a":1') return reply
local reply = cjson.decode('{"a":1} x') return reply
local reply = cjson.decode('') return reply
return cjson.decode('"a\\u00e9\\ud83d\\ude00\\n"')
local reply = cjson.decode('"\\ud83d"') return reply
local reply = cjson.decode('"abc') return reply
local reply = cjson.decode('"\\q"') return reply
local reply = cjson.decode('nul') return reply
return cjson.decode('01')
return cjson.decode('[true,false,"x"]')
local reply = cjson.decode(nil) return reply
return cmsgpack.pack(1, -1, 127, 128, 255, 256, 65535, 65536, 4294967296, -32, -33, -128, -129, -32769, -2147483649)
return cmsgpack.pack(1.5, 0.1, 1e300, -0.25, 1e-310)
return cmsgpack.pack('x', string.rep('a', 31), string.rep('a', 32), string.rep('b', 256), true, false, nil)
return cmsgpack.pack({1, 2, {3}}, {}, {a = 1})
local t = {} for i = 1, 20 do t = {t} end return cmsgpack.pack(t)
return {cmsgpack.unpack(cmsgpack.pack(1, -70000, 'x', {1, 2}, {a = 1}))}
return tostring(cmsgpack.unpack(cmsgpack.pack(0.1)))
return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3), 1)}
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2, 0)}
local reply = cmsgpack.unpack('\205\1') return reply
local reply = cmsgpack.pack() return reply
return struct.pack('>BbHhLlIi', 1, -1, 2, -2, 3, -3, 4, -4)
return struct.pack('<i3I2d', -5, 65535, 0.1)
return struct.pack('!4bi', 1, 2)
return struct.pack('fsc3x', 1.5, 'ab', 'cde')
local reply = struct.pack('c5', 'ab') return reply
return {struct.unpack('>BbHhLlIi', struct.pack('>BbHhLlIi', 1, -1, 2, -2, 3, -3, 4, -4))}
return {struct.unpack('<bc0s', '\2ab' .. 'cd\0rest')}
local reply = struct.unpack('i', 'ab') return reply
return struct.size('!8bl')
local reply = struct.pack('q', 1) return reply
return {bit.tobit(4294967295), bit.bnot(5), bit.band(255, 15, 3), bit.bor(1, 2, 4), bit.bxor(255, 15)}
return {bit.lshift(1, 31), bit.rshift(-1, 28), bit.arshift(-256, 4), bit.rol(305419896, 8), bit.ror(305419896, 8), bit.bswap(305419896)}
return {bit.tohex(255), bit.tohex(-1, 4), bit.tohex(48879, -4)}
return cjson.encode({[1] = 1, [100] = 3})
cjson.encode_sparse_array(true) local r = cjson.encode({[1] = 1, [100] = 3}) cjson.encode_sparse_array(false, 2, 10) return r
return {cjson.encode_sparse_array(false, 2, 10)}
cjson.encode_max_depth(2) local _, e = pcall(function() local r = cjson.encode({{{1}}}) return r end) cjson.encode_max_depth(1000) return e
cjson.decode_max_depth(3) local _, e = pcall(function() local r = cjson.decode('[[[[1]]]]') return r end) cjson.decode_max_depth(1000) return e
cjson.encode_number_precision(3) local r = cjson.encode(1/3) cjson.encode_number_precision(14) return r
return cjson.encode_number_precision(17)
return cjson.encode_max_depth('x')
return cjson.encode_max_depth(1, 2)
return cjson.encode_sparse_array(false, -1)
return cjson.encode_sparse_array(1, 2, 3, 4)
return tostring(cjson.encode_keep_buffer())
return cjson.encode_keep_buffer('x')
cjson.encode_invalid_numbers(true) local r = cjson.encode({1/0, -1/0}) cjson.encode_invalid_numbers(false) return r
cjson.encode_invalid_numbers('null') local r = cjson.encode({1/0, 0/0}) cjson.encode_invalid_numbers(false) return r
return cjson.encode_invalid_numbers('x')
cjson.decode_invalid_numbers(false) local _, e = pcall(function() local r = cjson.decode('[0x10]') return r end) cjson.decode_invalid_numbers(true) return e
cjson.decode_invalid_numbers(false) local _, e = pcall(function() local r = cjson.decode('[nan]') return r end) cjson.decode_invalid_numbers(true) return e
local c = cjson.new() c.encode_max_depth(2) return cjson.encode({{{1}}})
return cmsgpack._COPYRIGHT .. cmsgpack._DESCRIPTION
return cmsgpack.unpack()
return cmsgpack.unpack({})
return cmsgpack.unpack(12)
return {cmsgpack.unpack_limit('abc')}
return struct.pack('<q', 1)
return struct.pack('i33', 1)
return struct.pack('!3i', 1)
return struct.pack('b')
return struct.pack('b', 'x')
return struct.size('i40')
return bit.band()
return bit.bnot()
return bit.tohex('x')
return bit.tohex(-1, 0)
return bit.tohex(1, 100)
return bit.lshift(1)
return {bit.bor(1.5, 2.5), bit.tobit(2^40 + 5), bit.rol(1, 33), bit.lshift(1, -1), bit.band('5', 3)}
return bit.band(1, {})
return redis.setresp('3')
return redis.set_repl(9)
return {ok=5}
return {err=5}
return {double='x'}
return {verbatim_string={string='abc'}}
redis.call('xadd', 'x', '1-1', 'f', 'v') redis.setresp(3) return redis.call('xread', 'count', 1, 'streams', 'x', '0')
#!lua \nreturn 1
#!lua flags=no-writes,allow-oom\nreturn 1
local t = {} t.x = t return cjson.encode(t)
return cjson.encode({[2^31] = 1}) .. cjson.encode({[1e15] = 'x', a = 1})
local t = {} t[1] = 1 t[2^53] = 1 t[2] = 1 return cjson.encode(t)
local reply = cjson.encode({[1/0] = 1}) return reply
return {tostring(cjson.null), tostring(cjson.decode('null')), type(cjson.null)}
local names = {} for name in pairs(cjson.new()) do names[#names + 1] = name end table.sort(names) return names
return cjson.encode_max_depth(0/0)
local r = {cjson.encode_max_depth(2^32 + 5)} cjson.encode_max_depth(1000) return r
return cjson.encode(cjson.decode('[+1,-.5,0x1.8p3,-0x10,1.,"\\9\\1\\31"]'))
return tostring(cjson.decode('[-Infinity]')[1]) .. tostring(cjson.decode('[NaN(1)]')[1]) .. tostring(cjson.decode('[-nan]')[1])
local reply = cjson.decode('[infinit]') return reply
local reply = cjson.decode('--1') return reply
local reply = cjson.decode('+') return reply
cjson.decode_invalid_numbers(false) local _, e = pcall(cjson.decode, '[-.5,1.0x1F]') cjson.decode_invalid_numbers(true) return e
cjson.decode_invalid_numbers(false) local _, e = pcall(cjson.decode, '[--1]') cjson.decode_invalid_numbers(true) return e
return {cjson.decode('1\0 x'), cjson.decode('"a\1b"')}
local reply = cjson.decode('"a\0b"') return reply
local reply = cjson.decode('\0') return reply
local reply = cjson.decode('[1\0]') return reply
return cmsgpack.pack(0/0, -(0/0), 1/0, 1 + 2^-24)
return cmsgpack.pack(cmsgpack.unpack('\202\127\192\0\0\202\255\192\0\0'))
return {cmsgpack.unpack('\207\255\255\255\255\255\255\255\255\207\128\0\0\0\0\0\0\1')}
local reply = cmsgpack.unpack('\196\1a') return reply
local reply = cmsgpack.unpack('\129\192\1') return reply
local reply = cmsgpack.unpack('\129\203\127\248\0\0\0\0\0\1') return reply
return {cmsgpack.unpack_one('\1', 2^32)}
return {cmsgpack.unpack_limit('\1', 1/0)}
return {bit.tobit(1e16), bit.tobit(2^53 + 2), bit.tobit(-2^60 - 256), bit.tobit(0/0), bit.bnot(1/0), bit.band(3, 0/0)}
return bit.tohex(1e16) .. bit.tohex(2^51 + 5, -4) .. bit.tohex(-1, 3.7)
return struct.pack('fffd', 1e100, 1 + 2^-24, 0/0, 0/0)
return struct.pack('>I16i3L', -1, -2^70, 2^64)
return {struct.size('1z'), struct.size('!8bI3i5d'), #struct.pack('!I5i8', 1, 2)}
return {struct.unpack('I16', string.rep('\7', 16))}
return {struct.unpack('fc0', struct.pack('f', -0.5))}
for k in pairs(nil) do end
return next('x')
return rawget({})
rawset(nil, 1, 2)
return setmetatable({}, 1)
return setmetatable(cjson.null, {})
local _, e = pcall(bit.band, {}) return e
local _, e = pcall(function() return cjson.decode('x') end) return e
""".strip().split("\n")


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    directory: Path = tmp_path_factory.mktemp("oracle")
    with Oracle(directory) as running:
        yield running


@pytest.mark.parametrize("version", [2, 3])
def test_scripts_answer_as_in_redis(oracle: Oracle, version: int) -> None:
    node = leading_node()
    ours = Ours(node)
    theirs = Connection("127.0.0.1", oracle.port)
    different: list[str] = []
    try:
        for lines in [[b"HELLO", b"%d" % version]], [[b"FLUSHALL"]]:
            node.handle(ours.session, lines, node.local_ms)
            turn(node)
            theirs.pipeline(lines)
        answered(ours)
        for script in SCRIPTS:
            source = script.replace("\\n", "\n") if script.startswith("#!") else script
            argv = [b"EVAL", source.encode(), b"2", b"k1", b"k2", b"a1", b"a2"]
            node.handle(ours.session, [argv], node.local_ms)
            turn(node)
            (mine,) = answered(ours)
            (expected,) = theirs.pipeline([argv])
            if mine != expected:
                different.append(f"{script}\n    ours:  {mine}\n    redis: {expected}")
    finally:
        theirs.close()
    assert not different, "\n".join(different)
