"""Scripts: what they may do, what they leave in the log, and what keeps them in bounds."""

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.lua import Interpreter
from upstash_global.engine.scripts import MAX_EVALUATED, Scripts, sha_of
from upstash_global.errors import CommandError
from upstash_global.reply import OK, Reply, Set, Simple


def ev(bench: Bench, source: str, *keys_and_args: object, n_keys: int = 0) -> Reply:
    return bench.run("EVAL", source, n_keys, *keys_and_args)


def refusal(reply: Reply) -> str:
    assert isinstance(reply, CommandError), reply
    return reply.text


def test_a_script_is_logged_as_what_it_did() -> None:
    leader, replica = Bench(seed=1), Bench(seed=2)
    source = "redis.call('SADD', KEYS[1], 'a', 'b', 'c') redis.call('GET', 'x') return redis.call('SPOP', KEYS[1])"
    gone = ev(leader, source, "k", n_keys=1)
    assert leader.entries[-1].commands == [
        [b"_SCRIPT", source.encode()],
        [b"SADD", b"k", b"a", b"b", b"c"],
        [b"SREM", b"k", gone],
    ]
    replica.apply(leader.entries)
    assert replica.digest() == leader.digest()
    assert replica.engine.context.scripts.dump() == leader.engine.context.scripts.dump()


@pytest.mark.parametrize(
    ("line", "logged"),
    [("'BLPOP', 'l', 0", b"LPOP l"), ("'BRPOP', 'l', 0", b"RPOP l"), ("'BLMOVE', 'l', 'm', 'LEFT', 'LEFT', 0", b"LMOVE l m LEFT LEFT")]
    + [("'BRPOPLPUSH', 'l', 'm', 0", b"RPOPLPUSH l m"), ("'BZPOPMIN', 'z', 0", b"ZPOPMIN z"), ("'BZPOPMAX', 'z', 0", b"ZPOPMAX z")]
    + [("'BLMPOP', 0, 1, 'l', 'LEFT'", b"LMPOP 1 l LEFT")],
)  # fmt: skip
def test_what_blocks_takes_what_is_there_and_does_not_wait_in_a_script(line: str, logged: bytes) -> None:
    """As in Redis 7.2."""
    bench = Bench()
    source = f"return redis.call({line}) == false and 'nothing' or 'taken'"
    assert ev(bench, source) == b"nothing"
    bench.run("RPUSH", "l", "a")
    bench.run("ZADD", "z", 1, "a")
    assert ev(bench, source) == b"taken"
    assert bench.entries[-1].commands == [logged.split()]


def test_a_cached_script_that_only_reads_is_no_entry() -> None:
    bench = Bench()
    ev(bench, "return redis.call('GET', 'k')")
    assert len(bench.entries) == 1
    ev(bench, "return redis.call('GET', 'k')")
    assert len(bench.entries) == 1


def test_what_was_written_before_an_error_stays_and_is_one_entry() -> None:
    bench = Bench()
    bench.run("SCRIPT", "LOAD", "redis.call('SET', 'a', '1') redis.call('INCR', 'a') redis.call('LPUSH', 'a', 'x')")
    sha = sha_of(b"redis.call('SET', 'a', '1') redis.call('INCR', 'a') redis.call('LPUSH', 'a', 'x')")
    text = refusal(bench.run("EVALSHA", sha, 0))
    assert text.startswith("WRONGTYPE Operation against a key holding the wrong kind of value script: ")
    assert text.endswith(", on @user_script:1.")
    assert bench.entries[-1].commands == [[b"SET", b"a", b"1"], [b"INCR", b"a"]]


def test_evalsha_finds_the_script_where_only_the_log_came() -> None:
    leader, replica = Bench(), Bench()
    leader.run("SCRIPT", "LOAD", "return ARGV[1]")
    ev(leader, "return 'second'")
    replica.apply(leader.entries)
    assert replica.run("EVALSHA", sha_of(b"return ARGV[1]"), 0, "x") == b"x"
    assert replica.run("EVALSHA", sha_of(b"return 'second'").upper(), 0) == b"second"
    leader.run("SCRIPT", "FLUSH")
    replica.apply(leader.entries[-1:])
    assert refusal(replica.run("EVALSHA", sha_of(b"return ARGV[1]"), 0)).startswith("NOSCRIPT ")


def test_script_load_of_a_known_script_and_flush_of_nothing_are_no_entries() -> None:
    bench = Bench()
    bench.run("SCRIPT FLUSH")
    assert bench.entries == []
    bench.run("SCRIPT", "LOAD", "return 1")
    bench.run("SCRIPT", "LOAD", "return 1")
    assert len(bench.entries) == 1


def test_the_table_of_scripts_survives_a_snapshot() -> None:
    table, other = Scripts(), Scripts()
    table.load(sha_of(b"return 1"), b"return 1")
    table.evaluate(sha_of(b"return 2"), b"return 2")
    other.restore(table.dump())
    assert other.dump() == table.dump()
    assert other.find(sha_of(b"return 2")) == b"return 2"


def test_eval_pushes_out_only_what_eval_brought() -> None:
    table = Scripts()
    table.load(sha_of(b"return 'kept'"), b"return 'kept'")
    for i in range(MAX_EVALUATED + 1):
        table.evaluate(sha_of(b"return %d" % i), b"return %d" % i)
    assert table.find(sha_of(b"return 0")) is None
    assert table.find(sha_of(b"return 'kept'")) is not None
    assert len(table.evaluated) == MAX_EVALUATED


def test_a_read_only_script_reads_and_may_not_write() -> None:
    bench = Bench()
    bench.run("SET k v")
    assert bench.run("EVAL_RO", "return redis.call('GET', 'k')", 0) == b"v"
    assert bench.run("EVALSHA_RO", sha_of(b"return redis.call('GET', 'k')"), 0) == b"v"
    text = refusal(bench.run("EVAL_RO", "return redis.call('SET', 'k', 'w')", 0))
    assert "Write commands are not allowed from read-only scripts" in text
    assert "not allowed from read-only" in refusal(ev(bench, "#!lua flags=no-writes\nreturn redis.call('DEL', 'k')"))
    assert bench.run("GET k") == b"v"


def test_with_key_locking_only_declared_keys_may_be_touched() -> None:
    bench = Bench()
    shebang = "#!lua flags=allow-key-locking\n"
    assert ev(bench, shebang + "return redis.call('SET', KEYS[1], 'v')", "a", n_keys=1) == OK
    text = refusal(ev(bench, shebang + "return redis.call('SET', 'b', 'v')", "a", n_keys=1))
    assert text.startswith(
        "ERR Dynamic keys are not allowed in Lua scripts when 'allow-key-locking' flag is set. Key was: b"
    )
    assert bench.run("EXISTS b") == 0


def test_nothing_waits_inside_a_script() -> None:
    assert ev(Bench(), "return redis.call('BLMPOP', 0, 1, 'l', 'LEFT')") is None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return {1, 2.9, 'x', false, true, {3}, nil, 4}", [1, 2, b"x", None, 1, [3]]),
        ("return -3.99", -3),
        ("return {ok='fine'}", Simple("fine")),
        ("return {double=3.5}", 3.5),
        ("return {map={a=1}}", {b"a": 1}),
        ("return {set={a=true}}", Set([b"a"])),
        ("redis.setresp(3) return false", False),
        ("redis.call('HSET', 'h', 'f', 'v') redis.setresp(3) return redis.call('HGETALL', 'h').map.f", b"v"),
        ("return tostring(redis.call('GET', 'none'))", b"false"),
        ("return redis.call('ZADD', 'z', 1.5, 'm') + redis.call('ZSCORE', 'z', 'm')", 2),
        ("return redis.pcall('LPUSH')['err']", b"ERR Wrong number of args calling Redis command from script"),
        ("return #redis.call('PING_', 1)", None),
        ("return cjson.encode({a={1,2.5,'x/y'},b=cjson.null})", None),
        ("return cjson.encode({})", b"{}"),
        ("return cjson.decode('[1,{\"a\":[true,null]}]')[2].a[1]", 1),
        ("return tostring(cjson.decode('[null]')[1] == cjson.null)", b"true"),
        ("return cjson.decode('\"\\\\u20ac\\\\ud83d\\\\ude00\"')", "€😀".encode()),
        ("return cmsgpack.unpack(cmsgpack.pack({1, 'x', -70000, 1.1}))", [1, b"x", -70000, 1]),
        ("return tostring(cmsgpack.unpack(cmsgpack.pack(1.1)))", b"1.1"),
        ("return struct.pack('>I2i4c2', 258, -2, 'ab')", b"\x01\x02\xff\xff\xff\xfeab"),
        ("return {struct.unpack('<hbs', struct.pack('<hbs', -5, -1, 'q'))}", [-5, -1, b"q", 6]),
        ("return {struct.unpack('b', 57, '2')}", [55, 3]),
        ("return {cmsgpack.unpack_limit('\\1\\2\\3', 0)}", [1, 2, 3]),
        ("return {cmsgpack.unpack_limit('\\1\\2\\3', 0, 1)}", [1]),
        ("return {cmsgpack.unpack_limit('\\1\\2\\3', '1', '1')}", [2, 2]),
        ("return {bit.band(12, 10), bit.bor(12, 10), bit.bxor(12, 10), bit.bnot(0), bit.lshift(1, 31)}",
         [8, 14, 6, -1, -2147483648]),
        ("return {bit.tohex(255, 4), bit.rol(0x12345678, 8), bit.bswap(1)}", [b"00ff", 0x34567812, 16777216]),
    ],
)  # fmt: skip
def test_conversions_and_libraries(source: str, expected: Reply) -> None:
    reply = ev(Bench(), source)
    if expected is not None:
        assert reply == expected
    elif "PING_" in source:
        assert refusal(reply).startswith("ERR Unknown Redis command called from script script: ")
    else:
        assert reply in (b'{"a":[1,2.5,"x\\/y"],"b":null}', b'{"b":null,"a":[1,2.5,"x\\/y"]}')


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return struct.pack()", "bad argument #1 to 'pack' (string expected, got no value)"),
        ("return struct.size({})", "bad argument #1 to 'size' (string expected, got table)"),
        ("return struct.size('bs')", "bad argument #1 to 'size' (option 's' has no fixed size)"),
        ("return struct.unpack('b', redis.call('GET', 'none'))", "bad argument #2 to 'unpack' (string expected, got boolean)"),
        ("return struct.unpack('b', 'a', 'x')", "bad argument #3 to 'unpack' (number expected, got string)"),
        ("return struct.unpack('b', 'a', -1)", "bad argument #2 to 'unpack' (data string too short)"),
        ("return cmsgpack.unpack_one()", "bad argument #1 to 'unpack_one' (string expected, got no value)"),
        ("return cmsgpack.unpack_limit('a', 1, {})", "bad argument #3 to 'unpack_limit' (number expected, got table)"),
    ],
)  # fmt: skip
def test_libraries_say_which_argument_they_do_not_take(source: str, expected: str) -> None:
    assert refusal(ev(Bench(), source)).startswith(f"ERR user_script:1: {expected} script: ")


@pytest.mark.parametrize(
    "name", ["io", "debug", "package", "require", "dofile", "python", "getfenv", "setfenv", "newproxy", "print"]
)
def test_the_world_is_out_of_reach(name: str) -> None:
    text = refusal(ev(Bench(), f"return {name}"))
    assert f"Script attempted to access nonexistent global variable '{name}'" in text


def test_a_script_may_measure_its_time_and_has_nothing_else_of_its_system() -> None:
    bench = Bench()
    source = (
        "local s = os.clock() for i = 1, 1e5 do end redis.call('SET', 'took', os.clock() - s) return os.clock() > s"
    )
    assert ev(bench, source) == 1
    assert ev(bench, "local names = {} for name in pairs(os) do names[#names + 1] = name end return names") == [
        b"clock"
    ]
    assert "attempt to call field 'getenv' (a nil value)" in refusal(ev(bench, "return os.getenv('HOME')"))
    replica = Bench()
    replica.apply(bench.entries)
    assert replica.digest() == bench.digest()


@pytest.mark.parametrize(
    "source",
    [
        "x = 1", "KEYS = {}", "redis.call = 1", "string.foo = 1", "_G.x = 2", "rawset(redis, 'x', 1)",
        "rawset(_G, 'x', 1)", "setmetatable(redis, {})",
    ],
)  # fmt: skip
def test_the_environment_is_read_only(source: str) -> None:
    assert "Attempt to modify a readonly table" in refusal(ev(Bench(), source))


def test_no_run_leaves_a_trace_for_the_next() -> None:
    bench = Bench()
    ev(bench, "table.insert(redis, 'trace') KEYS[1] = 'trace' math.randomseed(7)")
    assert ev(bench, "return {redis[1] or 'none', KEYS[1] or 'none'}") == [b"none", b"none"]
    assert ev(bench, "return math.random(1000000)") != ev(bench, "return  math.random(1000000)")


def test_what_was_put_into_an_empty_table_is_gone_in_the_next_run() -> None:
    bench = Bench()
    ev(bench, "table.insert(_G, 'x') table.insert(math, 'y') table.insert(math, 'z') error('and it fails')")
    assert ev(bench, "return {#_G, #math}") == [0, 0]
    ev(bench, "for i = 1, 300000 do table.insert(_G, i) end")  # each is taken out in one step
    assert ev(bench, "return #_G") == 0


def test_large_arguments_are_gone_in_the_next_run() -> None:
    bench, text = Bench(), bytes(25 << 20)
    for source in ("return #ARGV[1]", "return #ARGV[1] + 0"):
        assert ev(bench, source, text) == len(text)
        assert ev(bench, source, text, text[:9], n_keys=1) == 9


@pytest.mark.parametrize("n", [0, 1, 2, 199, 200, 201, 5000])
def test_lists_cross_the_border_whole(n: int) -> None:
    bench = Bench()
    items = [b"item %d" % i for i in range(n)]
    counted = "return {#KEYS, #ARGV, KEYS[1] or 'none', ARGV[#ARGV] or 'none'}"
    first, last = (items[0], items[-1]) if items else (b"none", b"none")
    assert ev(bench, counted, *items) == [0, n, b"none", last]
    assert ev(bench, counted, *items, n_keys=n) == [n, 0, first, b"none"]
    if n > 2:
        assert ev(bench, counted, *items, n_keys=n - 1) == [n - 1, 1, first, last]
    assert ev(bench, "return ARGV", *items) == items
    if n:
        bench.run("RPUSH", "list", *items)
    assert ev(bench, "return redis.call('LRANGE', 'list', 0, -1)") == items
    assert ev(bench, "return #redis.call('LRANGE', 'list', 0, -1)") == n


@pytest.mark.parametrize(
    ("source", "reply"),
    [
        ("return {1, 2.9, -2.9, 'x', 1e300, 0/0}", [1, 2, -2, b"x", -(2**63), -(2**63)]),
        ("return {2^53, 2^62, -2^63, 2^63}", [2**53, 2**62, -(2**63), -(2**63)]),
        ("return {1, nil, 3}", [1]),
        ("return {1, false, true}", [1, None, 1]),
        ("return {1, {2, 'x'}, 3}", [1, [2, b"x"], 3]),
        ("return {1, 2, name = 3}", [1, 2]),
        ("return {'a', ok = 'b'}", Simple("b")),
        ("return setmetatable({1}, {__index = function() return 2 end})", [1]),
        ("return {}", []),
        ("return true", 1),
        ("return false", None),
        ("return", None),
        ("return 'x', 'y'", b"x"),
        ("return 3.99", 3),
        ("return -1/0", -(2**63)),
        ("return tostring", None),
        ("redis.call('SET', 'k', 7) return redis.call('MGET', 'k', 'none')", [b"7", None]),
        ("redis.call('SET', 'k', 1e17) return redis.call('GET', 'k')", b"1e+17"),
        ("redis.call('SET', 'k', 2^53) return redis.call('INCRBY', 'k', 1)", 2**53),
        ("redis.call('HSET', 'h', 'f', 'x') return redis.call('HGETALL', 'h')[2]", b"x"),
    ],
)
def test_results_of_every_shape(source: str, reply: Reply) -> None:
    assert ev(Bench(), source) == reply


def test_bytecode_is_not_loaded() -> None:
    assert ev(Bench(), "return tostring(loadstring('\\27Lua'))") == b"nil"


@pytest.mark.parametrize(
    "source",
    [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local f = coroutine.wrap(function() while true do end end) f()",
        "while true do pcall(redis.call, 'PING') end",
    ],
)
def test_a_script_without_end_is_killed(source: str) -> None:
    bench = Bench()
    bench.engine.context.interpreter = Interpreter()
    bench.engine.context.interpreter.max_instructions = 200_000
    assert "Script killed" in refusal(ev(bench, source))
    assert ev(bench, "return 1") == 1


@pytest.mark.parametrize(
    "source",
    [
        "local t = {} while true do t[#t + 1] = string.rep('x', 500000) .. #t end",
        "return string.rep('x', 1e9)",
        "local t = {} for i = 1, 30 do t[i] = redis.call('GET', 'big') .. i end return #t",
    ],
)
def test_memory_is_bounded(source: str) -> None:
    bench = Bench()
    bench.run("SET", "big", b"x" * 3_000_000)
    assert "not enough memory" in refusal(ev(bench, source))
    assert ev(bench, "return 1") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["EVAL", "return 1"], "ERR wrong number of arguments for 'eval' command"),
        (["EVAL", "return 1", "x"], "ERR value is not an integer or out of range"),
        (["EVAL", "return 1", "-1"], "ERR Number of keys can't be negative"),
        (["EVAL", "return 1", "3", "a"], "ERR Number of keys can't be greater than number of args"),
        (["EVALSHA", "none", "0"], "NOSCRIPT No matching script. Please use EVAL."),
        (["SCRIPT", "FLUSH", "x"], "ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
        (["EVAL", "#!lua flags=foo\nreturn 1", "0"], "ERR Unexpected flag in script shebang: foo"),
    ],
)
def test_refusals(words: list[str], text: str) -> None:
    bench = Bench()
    assert refusal(bench.run(*words)) == text
    assert bench.entries == []


@pytest.mark.parametrize("resp", [2, 3])
def test_a_reply_that_looks_otherwise_in_resp3_reaches_a_script_as_the_script_wants_it(resp: int) -> None:
    bench = Bench()
    bench.run("JSON.SET j $ [1,2]")
    numbers = bench.run(f"EVAL \"redis.setresp({resp}) return redis.call('json.numincrby', 'j', '$.*', 1)\" 0")
    assert numbers == (b"[2,3]" if resp == 2 else [2, 3])


def test_what_a_metatable_makes_up_is_no_part_of_a_reply() -> None:
    bench = Bench()
    assert ev(bench, "return _G") == []
    source = "return setmetatable({1}, {__index = function() redis.call('set', 'x', '1') end})"
    assert ev(bench, source) == [1]
    assert bench.run("EXISTS x") == 0


def test_a_reply_without_end_is_refused_in_redis_s_words() -> None:
    assert refusal(ev(Bench(), "local a = {} a[1] = a return a")) == "ERR reached lua stack limit"


def test_a_command_takes_as_many_arguments_as_lua_unpacks() -> None:
    source = "local a = {} for i = 1, 7999 do a[i] = i end return redis.call('RPUSH', 'l', unpack(a))"
    bench = Bench()
    assert ev(bench, source) == 7999
    assert bench.run("LRANGE l -1 -1") == [b"7999"]


def test_options_of_a_shebang_line_may_be_quoted() -> None:
    assert refusal(ev(Bench(), '#!lua flags="no-writes"\nredis.call("SET", "k", "v")')).startswith("ERR Write commands")
    library = b"#!lua name=\"mine\"\nredis.register_function('f', function() return 1 end)"
    assert Bench().run("FUNCTION", "LOAD", library) == b"mine"


def test_random_numbers_are_those_of_a_seed_or_of_chance() -> None:
    bench = Bench()
    seeded = "math.randomseed(ARGV[1]) return math.random(1000000)"
    assert ev(bench, seeded, 7) == ev(bench, seeded, 7) != ev(bench, seeded, 8)
    drawn = {ev(bench, "return math.random(1000000)") for _ in range(5)}
    assert len(drawn) == 5


def test_a_set_that_is_not_to_be_sorted_is_sorted_for_a_script() -> None:
    bench = Bench()
    bench.run("SADD s c a b")
    assert bench.run("SORT s BY nosort") == [b"c", b"a", b"b"]
    assert ev(bench, "return redis.call('SORT', KEYS[1], 'BY', 'nosort')", "s", n_keys=1) == [b"a", b"b", b"c"]
