"""A script that takes long: what goes on meanwhile, what waits, what is refused, and how it is ended.

The clock that measures slices is a counter, so that a script gives way every 10,000 instructions; each tick of 20 ms runs one
slice. LONG takes about thirty of them.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from tests.node.stage import Client, Machine, Stage
from upstash_global.errors import CommandError
from upstash_global.node.longscripts import NOT_BUSY, SLICE_US, UNKILLABLE
from upstash_global.reply import OK, QUEUED, Reply

LONG = "for i = 1, 330000 do end"
BUSY_SCRIPT = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
BUSY_FUNCTION = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
LIBRARY = f"""#!lua name=lib
redis.register_function('long', function(keys, args) {LONG} return 'done' end)
redis.register_function('endless', function(keys, args) while true do pcall(function() while true do end end) end end)
"""


def slicing_clock() -> Callable[[], int]:
    ticks = count(0, SLICE_US)
    return lambda: next(ticks)


def stage_with(replica: bool = False) -> Stage:
    stage = Stage(replica=replica)
    for machine in stage.machines.values():
        machine.node.clock_us = slicing_clock()
    return stage


def begin(machine: Machine, source: str, *keys: str) -> Client:
    """A client whose script is under way."""
    client = machine.client()
    client.say([b"EVAL", source.encode(), b"%d" % len(keys), *[key.encode() for key in keys]])
    assert client.take() == []
    return client


def text_of(reply: Reply) -> str:
    assert isinstance(reply, CommandError), reply
    return reply.text


def test_a_long_script_is_answered_when_it_ends() -> None:
    stage = stage_with()
    client = begin(stage.leader, LONG + " return redis.call('incr', KEYS[1])", "k")
    client.say("GET k")
    stage.pass_ms(5_000)
    assert client.take() == [1, b"1"]
    assert stage.leader.client().run("GET k") == b"1"


def test_others_wait_until_the_threshold_and_are_refused_after_it() -> None:
    stage = stage_with()
    begin(stage.leader, "while true do end")
    early, late = stage.leader.client(), stage.leader.client()
    early.say("GET k")
    stage.pass_ms(4_000)
    assert early.take() == []
    stage.pass_ms(2_000)
    assert [text_of(reply) for reply in early.take()] == [BUSY_SCRIPT]
    assert text_of(late.run("SET k v")) == BUSY_SCRIPT
    assert text_of(late.run("nosuch")).startswith("ERR unknown command")
    assert late.run("SCRIPT KILL") == OK
    stage.pass_ms(20)
    assert late.run("SET k v") == OK


def test_who_waited_is_served_in_order_when_the_script_ends() -> None:
    stage = stage_with()
    begin(stage.leader, LONG)
    clients = [stage.leader.client() for _ in range(3)]
    for client in clients:
        client.say("INCR k", "INCR k")
    stage.pass_ms(5_000)
    assert [client.take() for client in clients] == [[1, 2], [3, 4], [5, 6]]


def test_the_threshold_is_a_parameter() -> None:
    stage = stage_with()
    client = stage.leader.client()
    client.run("CONFIG SET busy-reply-threshold 100")
    begin(stage.leader, "while true do end")
    stage.pass_ms(100)
    assert text_of(client.run("PING")) == BUSY_SCRIPT
    client.run("SCRIPT KILL")


def test_what_redis_allows_is_served_at_once() -> None:
    stage = stage_with()
    begin(stage.leader, LONG)
    client = stage.leader.client()
    assert client.run("MULTI") == OK
    assert client.run("DISCARD") == OK
    assert client.run("RESET").text == "RESET"


def test_a_refused_command_spoils_its_transaction() -> None:
    stage = stage_with()
    client = stage.leader.client()
    client.run("MULTI")
    begin(stage.leader, "while true do end")
    stage.pass_ms(6_000)
    assert text_of(client.run("SET k v")) == BUSY_SCRIPT
    assert text_of(client.run("EXEC")).startswith("EXECABORT Transaction discarded because of: BUSY")
    client.run("SCRIPT KILL")


@pytest.mark.parametrize("body", ["while true do end", "while true do pcall(function() while true do end end) end",
                                  "coroutine.wrap(function() while true do end end)()"])  # fmt: skip
def test_kill_ends_a_script_that_has_not_written(body: str) -> None:
    stage = stage_with()
    victim = begin(stage.leader, body)
    client = stage.leader.client()
    assert client.run("SCRIPT KILL") == OK
    stage.pass_ms(20)
    (reply,) = victim.take()
    assert text_of(reply).startswith("ERR Script killed by user with SCRIPT KILL... script: ")
    assert client.run("SCRIPT KILL") == NOT_BUSY


def test_a_script_that_has_written_cannot_be_killed_and_ends_as_one_entry() -> None:
    stage = stage_with()
    victim = begin(stage.leader, f"redis.call('set', 'a', 1) {LONG} redis.call('set', 'b', 2) return 'done'")
    stage.pass_ms(100)
    client = stage.leader.client()
    assert client.run("SCRIPT KILL") == UNKILLABLE
    head = stage.leader.node.log.head.lsn
    stage.pass_ms(5_000)
    assert victim.take() == [b"done"]
    assert stage.leader.node.log.head.lsn == head + 1
    assert client.run("MGET a b") == [b"1", b"2"]


def test_a_function_is_shown_and_ended_by_its_own_words() -> None:
    stage = stage_with()
    client, victim = stage.leader.client(), stage.leader.client()
    client.run([b"FUNCTION", b"LOAD", LIBRARY.encode()])
    victim.say("FCALL endless 1 k")
    stage.pass_ms(6_000)
    running = client.run("FUNCTION STATS")["running_script"]
    assert running["name"] == b"endless"
    assert running["command"] == [b"FCALL", b"endless", b"1", b"k"]
    assert running["duration_ms"] == 6_000
    assert text_of(client.run("GET k")) == BUSY_FUNCTION
    assert text_of(client.run("SCRIPT KILL")) == BUSY_FUNCTION
    assert client.run("FUNCTION KILL") == OK
    stage.pass_ms(20)
    assert text_of(victim.take()[0]).startswith(
        "ERR Script killed by user with SCRIPT KILL... script: endless, on @user_fu"
    )
    assert client.run("FUNCTION STATS")["running_script"] is None


def test_a_script_is_not_ended_as_a_function() -> None:
    stage = stage_with()
    begin(stage.leader, "while true do end")
    client = stage.leader.client()
    assert text_of(client.run("FUNCTION KILL")) == BUSY_SCRIPT
    assert text_of(client.run("FUNCTION STATS")) == BUSY_SCRIPT
    assert client.run("SCRIPT KILL") == OK


def test_a_transaction_pauses_with_its_script() -> None:
    stage = stage_with()
    client = stage.leader.client()
    assert client.run("MULTI", "INCR k", [b"EVAL", f"{LONG} return 'done'".encode(), b"0"], "INCR k") == QUEUED
    assert client.say("EXEC").take() == []
    stage.pass_ms(5_000)
    assert client.take() == [[1, b"done", 2]]


def test_followers_hear_from_a_busy_leader() -> None:
    stage = stage_with(replica=True)
    begin(stage.leader, "redis.call('set', 'a', 1) while true do end")
    stage.pass_ms(20_000)
    replica = stage.replica.node
    assert replica.state_name == "streaming"
    assert replica.staleness_ms < 2_000
    assert stage.leader.node.roles.n_replicas_at(stage.leader.node.log.head.lsn) == 1
    assert stage.replica.client().run("GET a") is None


def test_a_replica_reads_while_its_leader_is_busy_and_is_told_about_writes() -> None:
    stage = stage_with(replica=True)
    client, victim = stage.replica.client(), stage.replica.client()
    client.run("SET k v")
    client.run("CONFIG SET busy-reply-threshold 1000")
    victim.say([b"EVAL", b"while true do end", b"0"])
    stage.pass_ms(1_000)
    assert client.run("GET k") == b"v"
    assert text_of(client.run("SET k w")) == BUSY_SCRIPT
    assert client.run("SCRIPT KILL") == OK
    stage.pass_ms(20)
    assert "SCRIPT KILL" in text_of(victim.take()[0])
    assert client.run("SET k w") == OK


def test_a_reading_script_of_a_replica_sees_one_state() -> None:
    stage = stage_with(replica=True)
    leader, reader = stage.leader.client(), stage.replica.client()
    leader.run("SET k old")
    reader.say(
        [b"EVAL_RO", f"local a = redis.call('get', 'k') {LONG} return {{a, redis.call('get', 'k')}}".encode(), b"0"]
    )
    leader.run("SET k new")
    stage.pass_ms(100)
    assert reader.take() == []
    stage.pass_ms(5_000)
    assert reader.take() == [[b"old", b"old"]]
    assert reader.run("GET k") == b"new"
    assert stage.replica.node.digest() == stage.leader.node.digest()


def test_a_node_that_changes_its_role_ends_its_script_and_logs_what_it_wrote() -> None:
    stage = stage_with()
    node = stage.leader.node
    begin(stage.leader, "redis.call('set', 'a', 1) while true do pcall(function() while true do end end) end")
    head = node.log.head.lsn
    node.roles.step_down("other", node.roles.epoch + 1)
    assert not node.is_busy
    assert node.log.head.lsn == head + 1
    assert node.engine.keyspace.values == {b"a": b"1"}


def test_the_client_of_a_script_may_go() -> None:
    stage = stage_with()
    victim = begin(stage.leader, LONG + " redis.call('set', 'k', 'v')")
    stage.leader.node.close(victim)
    stage.pass_ms(5_000)
    assert victim.take() == []
    assert stage.leader.client().run("GET k") == b"v"


def test_nothing_expires_under_a_script() -> None:
    stage = stage_with()
    client = stage.leader.client()
    client.run("SET k v PX 100")
    victim = begin(stage.leader, f"local a = redis.call('get', 'k') {LONG} return {{a, redis.call('get', 'k')}}")
    stage.pass_ms(5_000)
    assert victim.take() == [[b"v", b"v"]]
    assert client.run("GET k") is None


def test_a_switchover_waits_for_no_script() -> None:
    stage = stage_with(replica=True)
    begin(stage.leader, "while true do end")
    with pytest.raises(CommandError, match="BUSY"):
        stage.leader.node.roles.switch("replica")
    stage.leader.client().run("SCRIPT KILL")


def test_a_later_request_of_the_same_session_is_not_answered_with_the_script() -> None:
    """Its Forward has timed out at the replica, which sends the next one while the first still runs."""
    stage = stage_with(replica=True)
    client = stage.replica.client()
    client.say([b"EVAL", f"redis.call('set', 'k', 1) for i = 1, 12 do {LONG} end return 'late'".encode(), b"0"])
    stage.pass_ms(stage.replica.node.settings.forward_timeout_ms + 40)
    replies: list[Any] = client.take()
    assert text_of(replies[0]).startswith("UNKNOWN")
    client.say("INCR k")
    stage.pass_ms(15_000)
    assert client.take() == [2]
    assert stage.replica.node.digest() == stage.leader.node.digest()


def test_a_script_of_one_that_is_woken_stops_the_pipeline_that_woke_it() -> None:
    stage = stage_with()
    sleeper, waker = stage.leader.client(), stage.leader.client()
    sleeper.say("BLPOP q 0", [b"EVAL", f"{LONG} return redis.call('incr', 'k')".encode(), b"0"])
    waker.say("RPUSH q x", "INCR k", "INCR k")
    assert waker.take() == [1]
    stage.pass_ms(5_000)
    assert sleeper.take() == [[b"q", b"x"], 1]
    assert waker.take() == [2, 3]


def test_a_transaction_of_a_replica_waits_or_is_refused() -> None:
    stage = stage_with(replica=True)
    client = stage.replica.client()
    begin(stage.leader, LONG)
    assert client.say("MULTI", "INCR k", "EXEC").take() == [OK, QUEUED]
    stage.pass_ms(2_000)
    assert client.take() == [[1]]
    begin(stage.leader, "while true do end")
    stage.pass_ms(1_000)
    assert client.say("MULTI", "INCR k", "EXEC").take() == [OK, QUEUED]
    stage.pass_ms(4_000)
    assert [text_of(reply) for reply in client.take()] == [f"EXECABORT Transaction discarded because of: {BUSY_SCRIPT}"]
    stage.leader.client().run("SCRIPT KILL")


def test_a_node_that_is_thrown_away_with_a_script_does_not_hang() -> None:
    stage = stage_with()
    begin(stage.leader, "while true do pcall(function() while true do end end) end")
    node = stage.leader.node
    assert not node.scripts.stack.is_idle
    del node.scripts.stack
    assert node.engine.context.interpreter.running is None


def test_a_long_script_is_in_the_slow_log_once_when_it_has_ended() -> None:
    stage = stage_with()
    watcher = stage.leader.client()
    watcher.run("CONFIG SET slowlog-log-slower-than 0", "SLOWLOG RESET")
    begin(stage.leader, LONG)
    stage.pass_ms(5_000)
    assert [entry[3][0] for entry in watcher.run("SLOWLOG GET")] == [b"EVAL", b"SLOWLOG"]
