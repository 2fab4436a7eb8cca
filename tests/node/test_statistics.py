"""INFO and LATENCY: what a node tells about itself."""

from tests.node.stage import Client, Stage
from upstash_global.engine.table import TABLE
from upstash_global.errors import error
from upstash_global.node.latency import BUCKETS, Event, cumulative, graph, note_calls, percentile_us
from upstash_global.reply import OK


class Clock:
    """Each look at it finds it later by as much as the last `takes` said."""

    def __init__(self, stage: Stage) -> None:
        self.now_us = 0
        self.step_us = 0
        stage.leader.node.clock_us = self.look

    def look(self) -> int:
        self.now_us += self.step_us
        return self.now_us

    def takes(self, microseconds: int) -> None:
        self.step_us = microseconds


def info(client: Client, section: str) -> dict[str, str]:
    lines = client.run(f"INFO {section}").text.decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def watched() -> tuple[Stage, Clock, Client]:
    stage = Stage()
    clock, client = Clock(stage), stage.leader.client()
    client.run("CONFIG SET latency-monitor-threshold 5 slowlog-log-slower-than -1")
    client.run("CONFIG RESETSTAT")
    return stage, clock, client


# -- latency


def test_what_takes_too_long_is_kept_as_the_longest_spike_of_its_second() -> None:
    stage, clock, client = watched()
    for took_ms in (7, 12, 9, 4):
        clock.takes(took_ms * 1000)
        client.run("KEYS *")
    clock.takes(8_000)
    client.run("GET k")
    clock.takes(0)
    second = stage.leader.node.now_ms // 1000
    assert client.run("LATENCY LATEST") == [[b"command", second, 12, 12], [b"fast-command", second, 8, 8]]
    assert client.run("LATENCY HISTORY command") == [[second, 12]]
    stage.pass_ms(2_000)
    clock.takes(6_000)
    client.run("KEYS *")
    clock.takes(0)
    assert client.run("LATENCY HISTORY command") == [[second, 12], [second + 2, 6]]
    assert client.run("LATENCY LATEST")[0] == [b"command", second + 2, 6, 12]
    assert b"average 9ms" in client.run("LATENCY DOCTOR").text
    assert client.run("LATENCY RESET nosuch command") == 1
    assert client.run("LATENCY RESET") == 1
    assert client.run("LATENCY LATEST") == []
    assert client.run("LATENCY GRAPH command") == error("No samples available for event 'command'")


def test_nothing_is_kept_without_a_threshold() -> None:
    _, clock, client = watched()
    client.run("CONFIG SET latency-monitor-threshold 0")
    clock.takes(10**9)
    client.run("KEYS *")
    clock.takes(0)
    assert client.run("LATENCY LATEST") == []
    assert b"is off" in client.run("LATENCY DOCTOR").text


def test_a_graph_has_a_column_for_each_spike() -> None:
    event = Event()
    for second, took_ms in ((100, 1), (101, 10), (102, 4)):
        event.spikes.append((second, took_ms))
    event.longest_ms = 20
    lines = graph("command", event, 162).splitlines()
    assert lines[0] == "command - high 10 ms, low 1 ms (all time high 20 ms)"
    assert [line[1] for line in lines[2:6]] == ["_", "#", "#", "#"]
    assert lines[-2:] == ["111", "mmm"]


def test_calls_are_counted_in_powers_of_two() -> None:
    row = TABLE[b"GET"]
    row.histogram = []
    for took_us in (0, 1, 2, 3, 4, 5, 1000):
        note_calls(row, took_us, 1)
    note_calls(row, 800, 8)
    assert cumulative(row.histogram) == [(1, 2), (2, 3), (4, 5), (8, 6), (128, 14), (1024, 15)]
    assert [percentile_us(row.histogram, p) for p in (0, 20, 50, 100)] == [1, 2, 128, 1024]
    note_calls(row, 1 << 50, 1)
    assert len(row.histogram) == BUCKETS
    row.histogram = []


def test_histograms_are_told_per_command_and_reset() -> None:
    _, clock, client = watched()
    clock.takes(100)
    client.run("SET k v")
    client.run("CONFIG GET hz")
    assert client.run("LATENCY HISTOGRAM set nosuch") == {b"set": {b"calls": 1, b"histogram_usec": {128: 1}}}
    assert b"config|get" in client.run("LATENCY HISTOGRAM config")
    assert info(client, "latencystats")["latency_percentiles_usec_set"] == "p50=128.000,p99=128.000,p99.9=128.000"
    client.run("CONFIG SET latency-tracking-info-percentiles 50")
    assert info(client, "latencystats")["latency_percentiles_usec_set"] == "p50=128.000"
    client.run("CONFIG RESETSTAT")
    assert b"set" not in client.run("LATENCY HISTOGRAM")
    client.run("CONFIG SET latency-tracking no")
    client.run("CONFIG RESETSTAT")
    client.run("SET k v")
    assert client.run("LATENCY HISTOGRAM set") == {}


# -- INFO


def test_hits_and_misses_are_those_of_reads() -> None:
    _, _, client = watched()
    client.run("INCR n")
    client.run("GET n", "GET n", "GET missing", "TTL missing")
    stats = info(client, "stats")
    assert stats["keyspace_misses"] >= "1"
    assert int(stats["keyspace_hits"]) == 4 - int(stats["keyspace_misses"])
    client.run("CONFIG RESETSTAT")
    assert info(client, "stats")["keyspace_misses"] == "0"


def test_the_failure_of_a_command_that_has_waited_is_counted() -> None:
    stage = Stage()
    client = stage.leader.client()
    client.run("CONFIG RESETSTAT", "XGROUP CREATE x g $ MKSTREAM")
    stage.leader.client().say("XREADGROUP GROUP g me BLOCK 0 STREAMS x >")
    client.run("XGROUP DESTROY x g")
    assert info(client, "errorstats") == {"errorstat_NOGROUP": "count=1"}
    assert info(client, "stats")["total_error_replies"] == "1"
    assert info(client, "commandstats")["cmdstat_xreadgroup"].endswith("rejected_calls=0,failed_calls=1")


def test_hashes_with_deadlines_and_their_expired_fields_are_counted() -> None:
    stage = Stage()
    client = stage.leader.client()
    client.run("HSET h a 1 b 2 c 3", "HPEXPIRE h 100 FIELDS 2 a b", "HSET plain a 1")
    assert info(client, "keyspace")["db0"].endswith("keys=2,expires=0,avg_ttl=0,subexpiry=1")
    stage.pass_ms(500)
    assert info(client, "stats")["expired_subkeys"] == "2"
    assert info(client, "keyspace")["db0"].endswith(",subexpiry=0")


def test_expired_keys_are_counted_where_they_are_removed() -> None:
    stage, _, client = watched()
    client.run("SET k v PX 10", "SET l v PX 10")
    stage.pass_ms(100)
    assert info(client, "stats")["expired_keys"] == "2"
    assert client.run("CONFIG RESETSTAT") == OK
    assert info(client, "stats")["expired_keys"] == "0"


def test_commands_per_second_are_the_mean_of_the_last_seconds() -> None:
    stage, _, client = watched()
    for _ in range(100):
        for _ in range(10):
            client.run("PING")
        stage.pass_ms(100)
    assert 90 <= int(info(client, "stats")["instantaneous_ops_per_sec"]) <= 110


def test_turns_and_what_they_take_are_told_and_reset() -> None:
    stage = Stage()
    client, clock = stage.leader.client(), Clock(stage)
    busy = iter(range(1_000_000, 9_000_000, 300))  # each look at the thread's time finds it 300 µs later
    stage.leader.node.metrics.loop_us = lambda: next(busy)
    clock.takes(7)
    assert client.run("CONFIG RESETSTAT") == OK
    turns = int(info(client, "stats")["eventloop_cycles"])
    client.run("SET k v", "SET k w")
    told = info(client, "stats")
    assert turns < int(told["eventloop_cycles"]) <= turns + 4
    assert 300 <= int(told["eventloop_duration_sum"]) <= 3000
    assert int(told["eventloop_duration_cmd_sum"]) >= 7
    for _ in range(20):
        stage.pass_ms(100)  # 5 ticks, each with its turn, and one look
    told = info(client, "stats")
    assert 50 <= int(told["instantaneous_eventloop_cycles_per_sec"]) <= 60
    assert 50 <= int(told["instantaneous_eventloop_duration_usec"]) <= 60


def test_bytes_between_nodes_are_told_and_reset() -> None:
    stage, _, client = watched()
    traffic = stage.leader.node.metrics.links
    for _ in range(100):
        traffic.bytes_in += 100
        traffic.bytes_out += 200
        stage.pass_ms(100)
    stats = info(client, "stats")
    assert (stats["total_net_repl_input_bytes"], stats["total_net_repl_output_bytes"]) == ("10000", "20000")
    assert 0.9 <= float(stats["instantaneous_input_repl_kbps"]) * 1024 / 1000 <= 1.1
    client.run("CONFIG RESETSTAT")
    assert info(client, "stats")["total_net_repl_input_bytes"] == "0"


def test_no_field_of_info_stands_there_twice() -> None:
    _, _, client = watched()
    lines = client.run("INFO everything").text.decode().splitlines()
    names = [line.split(":")[0] for line in lines if ":" in line]
    assert len(names) == len(set(names)) > 150


def test_several_sections_come_in_redis_s_order() -> None:
    _, _, client = watched()
    text = client.run("INFO keyspace CPU server").text.decode()
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# Server", "# CPU", "# Keyspace"]


def test_memory_fields_agree_with_each_other() -> None:
    _, _, client = watched()
    client.run("SET k " + "v" * 10_000)
    client.run("CONFIG SET maxmemory 2gb")
    memory = info(client, "memory")
    assert 10_000 < int(memory["used_memory"]) < 12_000
    assert memory["used_memory_human"].endswith("K") and memory["maxmemory_human"] == "2.00G"
    assert int(memory["used_memory_peak"]) >= int(memory["used_memory"])
    assert int(memory["used_memory_overhead"]) + int(memory["used_memory_dataset"]) == int(memory["used_memory"])


def test_the_memory_of_scripts_is_told() -> None:
    _, _, client = watched()
    assert info(client, "memory")["used_memory_lua"] == "0"
    client.run([b"EVAL", b"return 1", b"0"])
    memory = info(client, "memory")
    assert int(memory["used_memory_vm_total"]) == int(memory["used_memory_lua"]) > 10_000
    assert memory["used_memory_scripts"] == memory["used_memory_scripts_eval"] == "8"


# -- what was refused, and what failed


def counted(client: Client, command: str) -> str:
    """What INFO commandstats tells of a command's calls, without their times."""
    fields = info(client, "commandstats").get(f"cmdstat_{command}", "").split(",")
    return " ".join([field for field in fields if not field.startswith("usec")])


def test_a_wrong_number_of_arguments_and_a_full_memory_are_rejected_calls() -> None:
    _, _, client = watched()
    client.run("SET k v")
    client.run("CONFIG RESETSTAT")
    client.run("SET k")
    assert counted(client, "set") == "calls=0 rejected_calls=1 failed_calls=0"
    client.run("CONFIG SET maxmemory 1")
    assert client.run("SET k v").code == "OOM"
    assert counted(client, "set") == "calls=0 rejected_calls=2 failed_calls=0"
    assert info(client, "errorstats") == {"errorstat_ERR": "count=1", "errorstat_OOM": "count=1"}


def test_what_fails_inside_exec_and_scripts_is_counted_once_and_as_that_command() -> None:
    _, _, client = watched()
    client.run("MULTI", "LPUSH l a", "GET l", "EXEC")
    assert counted(client, "get") == "calls=1 rejected_calls=0 failed_calls=1"
    assert counted(client, "exec") == "calls=1 rejected_calls=0 failed_calls=0"
    assert info(client, "errorstats") == {"errorstat_WRONGTYPE": "count=1"}
    for call, fails in (("call", "1"), ("pcall", "2")):
        assert client.run([b"EVAL", b"return redis.%s('get', 'l')" % call.encode(), b"0"]).code == "WRONGTYPE"
        assert counted(client, "eval").endswith(f"failed_calls={fails}")
    client.run([b"EVAL", b"redis.pcall('get', 'l'); redis.pcall('get')", b"0"])
    assert counted(client, "get") == "calls=4 rejected_calls=1 failed_calls=4"
    assert counted(client, "eval") == "calls=3 rejected_calls=0 failed_calls=2"
    assert info(client, "errorstats") == {"errorstat_ERR": "count=1", "errorstat_WRONGTYPE": "count=4"}
    client.run([b"EVAL", b"return redis.error_reply('MINE all')", b"0"])
    assert info(client, "errorstats")["errorstat_MINE"] == "count=1"


def test_a_line_break_in_an_error_makes_no_line_of_info() -> None:
    _, _, client = watched()
    client.run(
        [b"DEBUG", b"ERROR", b"MINE\nused_memory:1"], [b"EVAL", b"return {err='YOURS\\r\\nused_memory:1'}", b"0"]
    )
    assert info(client, "errorstats") == {"errorstat_MINE": "count=1", "errorstat_YOURS": "count=1"}


def test_a_blocked_client_that_is_woken_with_an_error_counts() -> None:
    stage, _, client = watched()
    blocked = stage.leader.client()
    blocked.say("BLPOP l 0")
    assert counted(client, "blpop") == ""
    client.run(f"CLIENT UNBLOCK {blocked.id} ERROR")
    assert counted(client, "blpop") == "calls=1 rejected_calls=0 failed_calls=1"
    assert info(client, "errorstats") == {"errorstat_UNBLOCKED": "count=1"}


def test_a_blocked_command_counts_when_it_ends_and_as_rejected_if_it_is_not_allowed_any_more() -> None:
    stage, clock, client = watched()
    blocked = stage.leader.client()
    clock.takes(10)
    client.run("ACL SETUSER u on nopass ~* +@all")
    blocked.say("AUTH u x", "BLPOP l 0.1")
    stage.pass_ms(200)
    assert counted(client, "blpop") == "calls=1 rejected_calls=0 failed_calls=0"
    client.run("CONFIG RESETSTAT")
    blocked.say("BLPOP l 0")
    client.run("ACL SETUSER u -blpop")
    client.run("RPUSH l a")
    told = info(client, "commandstats")["cmdstat_blpop"]
    assert told == "calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0"
    assert info(client, "errorstats") == {"errorstat_NOPERM": "count=1"}


def test_scripts_cannot_make_the_node_remember_ever_more_codes() -> None:
    _, _, client = watched()
    for number in range(200):
        client.run([b"EVAL", b"return redis.error_reply(ARGV[1])", b"0", b"E%d no" % number])
    assert info(client, "errorstats") == {"errorstat_ERRORSTATS_DISABLED": "count=1"}
    assert info(client, "stats")["total_error_replies"] == "200"


def test_a_command_that_waits_is_noted_when_it_has_ended() -> None:
    stage, clock, client = watched()
    sleeper, blocked = stage.leader.client(), stage.leader.client()
    client.run("CONFIG SET slowlog-log-slower-than 100000")
    sleeper.say("DEBUG SLEEP 0.2")
    blocked.say("BLPOP l 0")
    clock.now_us += 200_000
    stage.pass_ms(200)
    assert sleeper.take() == [OK]
    assert [entry[3] for entry in client.run("SLOWLOG GET")] == [[b"DEBUG", b"SLEEP", b"0.2"]]
    client.run("CONFIG SET slowlog-log-slower-than 0")
    client.run("MULTI", "RPUSH l a", "SLOWLOG RESET", "EXEC")
    assert blocked.take() == [[b"l", b"a"]]
    assert client.run("SLOWLOG GET 1")[0][3] == [b"BLPOP", b"l", b"0"]


# -- the slow log


def slow_lines(client: Client) -> list[bytes]:
    """What the slow log of a node that logs everything has, oldest first, without the questions about it."""
    lines = [b" ".join(entry[3]) for entry in reversed(client.run("SLOWLOG GET -1"))]
    client.run("SLOWLOG RESET")
    return [line for line in lines if not line.startswith((b"SLOWLOG", b"CONFIG"))]


def test_the_slow_log_has_no_calls_that_were_refused() -> None:
    _, _, client = watched()
    client.run("CONFIG SET slowlog-log-slower-than 0", "ACL SETUSER u on nopass +get ~*", "SLOWLOG RESET")
    client.say("GET", "NOSUCH k", "CONFIG", "GET k k").take()
    client.run("SADD s a", "GET s")  # one that fails has run
    assert slow_lines(client) == [b"SADD s a", b"GET s"]
    stranger = client.machine.client()
    stranger.user = None
    stranger.run("SET k v")
    stranger.run("AUTH u x", "SET k v", "GET k")
    assert slow_lines(client) == [b"AUTH (redacted) (redacted)", b"GET k"]


def test_the_slow_log_has_each_command_of_a_transaction_but_neither_its_queueing_nor_exec() -> None:
    _, _, client = watched()
    client.run("CONFIG SET slowlog-log-slower-than 0")
    client.run("MULTI", "SET k v", "GET", "EXEC")
    client.run("MULTI", "MULTI", "SET k v", "GET k", "EXEC")
    assert slow_lines(client) == [b"MULTI", b"MULTI", b"MULTI", b"SET k v", b"GET k"]


def test_the_slow_log_has_the_calls_of_scripts_when_every_call_is_measured() -> None:
    _, clock, client = watched()
    source = b"redis.call('SET', KEYS[1], 'v') redis.pcall('GET') return redis.call('PING')"
    client.run("CONFIG SET slowlog-log-slower-than 999", "CLIENT SETNAME me")
    clock.takes(1000)
    client.run([b"EVAL", source, b"1", b"k"])
    clock.takes(0)
    assert [entry[3:] for entry in client.run("SLOWLOG GET 3")[1:]] == [
        [[b"PING"], client.address.encode(), b"me"],
        [[b"SET", b"k", b"v"], client.address.encode(), b"me"],
    ]
    client.run("CONFIG SET slowlog-log-slower-than 1000", "SLOWLOG RESET")
    clock.takes(1000)
    client.run([b"EVAL", source, b"1", b"k"])
    clock.takes(0)
    assert slow_lines(client) == [b"EVAL " + source + b" 1 k"]
