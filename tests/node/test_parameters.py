"""CONFIG: what is set for the cluster travels in the log, what is set for a node stays on its disk."""

from random import Random

import pytest

from tests.node.stage import Client, Machine, Stage
from upstash_global.errors import CommandError, error
from upstash_global.node.node import Node
from upstash_global.node.parametertable import ALIASES, TABLE
from upstash_global.node.parametertexts import memory_size
from upstash_global.node.tables import load_system_tables, system_tables
from upstash_global.reply import OK, Reply


@pytest.fixture
def client() -> Client:
    return Stage().leader.client()


def value(client: Client, name: str) -> Reply:
    return client.run(f"CONFIG GET {name}")[name.encode()]


# -- what is the cluster's


def test_a_threshold_set_at_a_replica_holds_on_every_node_from_one_position_on() -> None:
    stage = Stage(replica=True)
    leader, replica = stage.leader.client(), stage.replica.client()
    assert replica.run("CONFIG SET hash-max-listpack-entries 1") == OK
    assert stage.leader.node.log.head == stage.replica.node.log.head
    leader.run("HSET h a 1 b 2")
    for each in (leader, replica):
        assert value(each, "hash-max-listpack-entries") == b"1"
        assert each.run("OBJECT ENCODING h") == "hashtable"
    assert stage.leader.node.digest() == stage.replica.node.digest()


def test_the_thresholds_of_one_node_are_not_those_of_another_in_this_process() -> None:
    one, other = Stage().leader.client(), Stage().leader.client()
    one.run("CONFIG SET set-max-intset-entries 1")
    for each in (one, other):
        each.run("SADD s 1 2")
    assert one.run("OBJECT ENCODING s") == "listpack"
    assert other.run("OBJECT ENCODING s") == "intset"


def test_what_is_the_nodes_stays_there() -> None:
    stage = Stage(replica=True)
    leader, replica = stage.leader.client(), stage.replica.client()
    assert replica.run("CONFIG SET timeout 7 maxmemory 1mb") == OK
    assert [value(leader, name) for name in ("timeout", "maxmemory")] == [b"0", b"1048576"]
    assert [value(replica, name) for name in ("timeout", "maxmemory")] == [b"7", b"1048576"]


def test_nothing_is_set_here_if_the_leader_cannot_be_asked() -> None:
    stage = Stage(replica=True)
    replica = stage.replica.client()
    stage.replica.node.forward_disconnected("leader", stage.now_ms)
    refusal = replica.run("CONFIG SET timeout 7 maxmemory 1mb")
    assert isinstance(refusal, CommandError) and refusal.code == "NOLEADER"
    assert value(replica, "timeout") == b"0"


def test_a_snapshot_carries_the_cluster_s_parameters() -> None:
    stage = Stage(replica=True)
    leader, replica = stage.leader, stage.replica
    leader.client().run("CONFIG SET list-max-listpack-size 2 maxmemory-policy allkeys-lru")
    tables = system_tables(leader.node)
    load_system_tables(replica.node, {})
    assert value(replica.client(), "maxmemory-policy") == b"noeviction"
    load_system_tables(replica.node, tables)
    assert value(replica.client(), "maxmemory-policy") == b"allkeys-lru"
    assert replica.node.engine.context.limits.list_max_listpack_size == 2


def test_a_transaction_sets_parameters_in_its_one_entry(client: Client) -> None:
    before = client.machine.node.log.head.lsn
    assert client.run("MULTI", "SET k v", "CONFIG SET maxmemory 5", "CONFIG SET hz 11", "EXEC") == [OK, OK, OK]
    assert client.machine.node.log.head.lsn == before + 1
    assert value(client, "maxmemory") == b"5"


def test_a_value_that_is_set_already_is_no_entry(client: Client) -> None:
    client.run("CONFIG SET maxmemory 5")
    before = client.machine.node.log.head
    assert client.run("CONFIG SET maxmemory 5") == OK
    assert client.machine.node.log.head == before


# -- what is the node's


def restarted(machine: Machine) -> Node:
    node = Node(machine.node.settings, machine.storage, Random(2), "again", lambda: 0)
    machine.storage.sync()
    node.restore(machine.storage.recover())
    return node


def test_a_restart_keeps_all_that_was_set() -> None:
    leader = Stage().leader
    leader.client().run("CONFIG SET slowlog-max-len 3 slowlog-log-slower-than 99 zset-max-ziplist-entries 4")
    node = restarted(leader)
    assert (node.slowlog.max_entries, node.slowlog.threshold_us) == (3, 99)
    assert node.parameters.values["zset-max-listpack-entries"] == "4"
    assert node.engine.context.limits.zset_max_listpack_entries == 4
    assert leader.storage.load_state()["leader"] == "leader"


def test_what_this_version_does_not_take_is_left_out_at_a_start() -> None:
    leader = Stage().leader
    leader.node.remember({"parameters": {"timeout": "never", "nosuch": "1", "maxmemory": "5", "port": "1", "hz": "20"}})
    node = restarted(leader)
    assert [node.parameters.values[name] for name in ("timeout", "maxmemory", "port", "hz")] == ["0", "0", "7000", "20"]


# -- reading


def test_parameters_are_told_as_they_were_asked_for(client: Client) -> None:
    assert client.run("CONFIG GET MaxMemory") == {b"MaxMemory": b"0"}
    assert set(client.run("CONFIG GET maxmemory-[ps]*")) == {b"maxmemory-policy", b"maxmemory-samples"}
    assert client.run("CONFIG GET nosuch") == {}


def test_both_names_of_a_parameter_tell_one_value(client: Client) -> None:
    assert client.run("CONFIG SET lua-time-limit 6") == OK
    assert client.run("CONFIG GET lua-time-limit busy-reply-threshold") == {
        b"lua-time-limit": b"6",
        b"busy-reply-threshold": b"6",
    }
    assert all(name in TABLE for names in ALIASES.items() for name in names)


# -- writing


def test_config_set_takes_all_or_nothing(client: Client) -> None:
    client.run("CONFIG SET timeout 5 maxmemory-policy nosuch")
    assert value(client, "timeout") == b"0"
    assert client.run("CONFIG SET timeout 5 maxmemory 1mb") == OK
    assert client.run("CONFIG GET timeout maxmemory") == {b"timeout": b"5", b"maxmemory": b"1048576"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("maxmemory abc", "argument must be a memory value"),
        ("timeout abc", "argument couldn't be parsed into an integer"),
        ("timeout -1", "argument must be between 0 and 2147483647 inclusive"),
        ("activerehashing perhaps", "argument must be 'yes' or 'no'"),
        ("timeout 1 timeout 2", "duplicate parameter"),
        ("databases 2", "can't set immutable config"),
        ("dir /tmp", "can't set protected config"),
    ],
)
def test_config_set_says_what_is_wrong(client: Client, words: str, reason: str) -> None:
    name = words.split()[0]
    assert client.run(f"CONFIG SET {words}") == error(
        f"CONFIG SET failed (possibly related to argument '{name}') - {reason}"
    )


@pytest.mark.parametrize(
    ("name", "given", "shown"),
    [
        ("notify-keyspace-events", "KEA", "AKE"),
        ("notify-keyspace-events", "mEglx", "glxEm"),
        ("client-output-buffer-limit", "replica 1mb 2kb 3", "normal 0 0 0 slave 1048576 2048 3 pubsub 33554432 8388608 60"),
        ("maxmemory-policy", "AllKeys-LFU", "allkeys-lfu"),
        ("shutdown-on-sigterm", "force now", "now force"),
        ("maxmemory-clients", "5%", "5%"),
        ("hz", "1000", "500"),
        ("latency-tracking-info-percentiles", "50 99.9 100", "50 99.9 100"),
    ],
)  # fmt: skip
def test_values_are_shown_in_redis_s_form(client: Client, name: str, given: str, shown: str) -> None:
    assert client.run([b"CONFIG", b"SET", name.encode(), given.encode()]) == OK
    assert value(client, name) == shown.encode()


def test_bytes_that_are_no_text_are_refused_and_not_stumbled_over(client: Client) -> None:
    for name in (b"timeout", b"maxmemory", b"maxmemory-policy", b"save", b"\xff"):
        assert isinstance(client.run([b"CONFIG", b"SET", name, b"\xff\x00"]), CommandError)
    assert client.run([b"CONFIG", b"SET", b"masterauth", b"\xff"]) == OK
    assert client.run("CONFIG GET masterauth") == {b"masterauth": b"\xff"}


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("5", 5), ("1k", 1000), ("1KB", 1024), ("2gb", 2 << 30), ("1x", None), ("-1", None), ("1.5mb", None),
     ("", 0), ("99999999999999999999", (1 << 64) - 1)],
)  # fmt: skip
def test_sizes_are_read_as_redis_reads_them(text: str, size: int | None) -> None:
    assert memory_size(text) == size


def test_the_slow_log_keeps_what_its_threshold_says(client: Client) -> None:
    assert client.run("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 2") == OK
    client.run("SLOWLOG RESET")
    client.run("SET k v")
    client.run("GET k")
    client.run("DBSIZE")
    assert [entry[3] for entry in client.run("SLOWLOG GET -1")][-2:] != []
    assert client.run("SLOWLOG LEN") == 2


def test_idle_clients_are_cut_off_unless_they_wait_or_listen() -> None:
    stage = Stage()
    idle, blocked, listener, busy = [stage.leader.client() for _ in range(4)]
    idle.run("PING")
    blocked.say("BLPOP l 0")
    listener.say("SUBSCRIBE c")
    busy.run("CONFIG SET timeout 2")
    stage.pass_ms(1_500)
    busy.run("PING")
    stage.pass_ms(1_000)
    assert [client.is_cut for client in (idle, blocked, listener, busy)] == [True, False, False, False]
    busy.run("CONFIG SET timeout 0")
    stage.pass_ms(5_000)
    assert not busy.is_cut


def test_limits_of_output_are_known_by_kind_of_client(client: Client) -> None:
    client.run([b"CONFIG", b"SET", b"client-output-buffer-limit", b"normal 1mb 0 0 pubsub 2mb 1mb 60"])
    limits = client.machine.node.output_limits
    assert {kind: (limit.hard, limit.soft, limit.seconds) for kind, limit in limits.items()} == {
        "normal": (1 << 20, 0, 0),
        "slave": (268435456, 67108864, 60),
        "pubsub": (2 << 20, 1 << 20, 60),
    }
    assert client.machine.node.bounds_answers


def test_all_that_is_told_may_be_written_back(client: Client) -> None:
    told = client.run("CONFIG GET *")
    assert isinstance(told, dict)
    fixed = {name for name, value in told.items() if client.run([b"CONFIG", b"SET", _b(name), _b(value)]) != OK}
    assert fixed.isdisjoint([b"bind", b"port", b"maxmemory", b"save"]) and b"databases" in fixed
    refusal = error("CONFIG SET failed (possibly related to argument 'bind') - can't set immutable config")
    assert client.run("CONFIG SET bind 10.0.0.1") == refusal


def _b(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
