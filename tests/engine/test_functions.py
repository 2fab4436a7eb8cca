"""Functions: what FUNCTION and FCALL leave in the log, on other nodes and in the interpreter.

Replies and error texts are compared with redis-server in tests/differential/test_functions.py.
"""

from typing import Any

from tests.engine.bench import Bench
from upstash_global.engine.functions import Functions
from upstash_global.reply import OK

COUNTER = b"""#!lua name=counter
local calls = 0
redis.register_function('count', function(keys, args)
  calls = calls + 1
  redis.call('incrby', keys[1], args[1])
  return calls
end)
redis.register_function{function_name = 'peek', callback = function(keys) return redis.call('get', keys[1]) end}
redis.register_function{
  function_name = 'locked', flags = {'allow-key-locking'}, callback = function() return redis.call('get', 'other') end
}
"""


def loaded(*codes: bytes) -> Bench:
    bench = Bench()
    for code in codes or (COUNTER,):
        assert type(bench.run("FUNCTION", "LOAD", code)) is bytes
    return bench


def names_of(bench: Bench) -> list[Any]:
    return [each["library_name"] for each in bench.run("FUNCTION LIST")]


def test_a_call_is_logged_as_what_it_did() -> None:
    bench = loaded()
    assert bench.run("FCALL count 1 k 5") == 1
    assert bench.entries[-1].commands == [[b"incrby", b"k", b"5"]]
    assert bench.run("FCALL peek 1 k") == b"5"
    assert bench.effects is None


def test_a_library_reaches_every_node() -> None:
    leader, replica = loaded(), Bench(seed=2)
    leader.run("FCALL count 1 k 5")
    replica.apply(leader.entries)
    assert replica.run("FCALL_RO peek 1 k") == b"5"
    leader.run("FUNCTION FLUSH")
    replica.apply(leader.entries[-1:])
    assert replica.run("FCALL_RO peek 1 k").text == "ERR Function not found"


def test_a_library_remembers_what_its_variables_hold() -> None:
    bench = loaded()
    assert [bench.run("FCALL count 1 k 1") for _ in range(3)] == [1, 2, 3]
    bench.run("FUNCTION", "LOAD", "REPLACE", COUNTER)
    assert bench.run("FCALL count 1 k 1") == 1


def test_a_function_may_be_called_read_only_whatever_its_flags() -> None:
    bench = loaded()
    assert bench.run("FCALL_RO peek 1 k") is None
    assert "Write commands are not allowed from read-only scripts." in bench.run("FCALL_RO count 1 k 1").text


def test_a_function_that_locks_its_keys_touches_no_others() -> None:
    refusal = loaded().run("FCALL locked 1 k")
    assert "Dynamic keys are not allowed" in refusal.text


def test_the_table_comes_back_from_a_snapshot_without_running_lua() -> None:
    bench = loaded()
    restored = Bench()
    restored.engine.context.functions.restore(bench.engine.context.functions.dump())
    assert restored.run("FUNCTION LIST WITHCODE") == bench.run("FUNCTION LIST WITHCODE")
    assert restored.engine.context.interpreter is None
    assert restored.run("FCALL count 1 k 5") == 1


def test_an_interpreter_that_ran_out_of_memory_loads_its_libraries_again() -> None:
    bench = loaded()
    bench.run("FCALL count 1 k 1")
    failure = bench.run("EVAL", "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1e6) .. i end", 0)
    assert "not enough memory" in failure.text
    assert bench.run("FCALL count 1 k 1") in (1, 2)


def test_a_refused_library_leaves_the_old_one_at_work() -> None:
    bench = loaded()
    bench.run("FCALL count 1 k 1")
    assert bench.run("FUNCTION", "LOAD", "REPLACE", b"#!lua name=counter\nnonsense x").text.startswith("ERR Error comp")
    clash = b"#!lua name=clash\nredis.register_function('Count', function() end)"
    assert bench.run("FUNCTION", "LOAD", clash).text == "ERR Function Count already exists"
    assert bench.run("FCALL count 1 k 1") == 2
    assert len(bench.entries) == 3


def test_libraries_travel_as_a_payload() -> None:
    bench = loaded(COUNTER, b"#!lua name=other\nredis.register_function('f', function() return 1 end)")
    other = Bench()
    assert other.run("FUNCTION", "RESTORE", bench.run("FUNCTION DUMP")) == OK
    assert names_of(other) == [b"counter", b"other"]
    assert other.run("FCALL f 0") == 1
    assert other.run("FUNCTION", "RESTORE", bench.run("FUNCTION DUMP"), "FLUSH") == OK
    assert other.run("FUNCTION", "RESTORE", bench.run("FUNCTION DUMP")).text == "ERR Library counter already exists"


def test_an_endless_library_is_stopped() -> None:
    bench = Bench()
    bench.run("EVAL return 0")
    bench.run("EVAL", "return 1", 0)
    bench.engine.context.interpreter.max_instructions = 100_000
    refusal = bench.run("FUNCTION", "LOAD", b"#!lua name=l\nwhile true do end")
    assert refusal.text.startswith("ERR Error registering functions")
    assert bench.run("EVAL", "return 1", 0) == 1


def test_the_table_is_not_changed_by_a_collision() -> None:
    functions = Functions()
    functions.restore([[b"a", b"x", [[b"f", None, []]]]])
    before = functions.dump()
    assert loaded(b"#!lua name=a\nredis.register_function('f', function() end)").run("FUNCTION DELETE b").code == "ERR"
    assert functions.dump() == before
