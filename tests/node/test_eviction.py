"""maxmemory: the leader makes room by logged removals, or refuses what takes memory."""

import pytest

from tests.node.stage import Client, Stage
from upstash_global.errors import CommandError
from upstash_global.node.tables import load_system_tables, system_tables
from upstash_global.reply import OK

LIMIT = 150_000  # bytes


def filled(stage: Stage, policy: str, n_keys: int = 1000) -> Client:
    """A leader's client that has written more than fits; every other key has a deadline, the later ones the earlier."""
    client = stage.leader.client()
    client.run(f"CONFIG SET maxmemory {LIMIT} maxmemory-policy {policy}")
    for i in range(n_keys):
        client.run(f"SET key:{i} {'v' * 200}" + (f" EX {10_000 - i}" if i % 2 else ""))
    return client


def keys_left(client: Client) -> set[int]:
    return {int(key.split(b":")[1]) for key in client.run("KEYS key:*")}


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_the_data_stays_within_its_limit_on_every_node(policy: str) -> None:
    stage = Stage(replica=True)
    client = filled(stage, policy)
    left = len(keys_left(client))
    assert 100 < left < 1000
    assert stage.leader.node.eviction.used_bytes() < 1.05 * LIMIT  # the last command went beyond it
    assert stage.leader.node.eviction.n_evicted == 1000 - left
    assert stage.leader.node.digest() == stage.replica.node.digest()


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"])
def test_a_volatile_policy_takes_keys_with_deadlines_alone_and_then_refuses(policy: str) -> None:
    client = filled(Stage(), policy)
    client.run("SET key:1000 more")  # what came last may have had a deadline and gone for this
    left = keys_left(client)
    assert any(i % 2 == 0 for i in left) and not any(i % 2 for i in left)
    for _ in range(3):
        refusal = client.run("APPEND one " + "v" * 2000)
    assert refusal == CommandError("OOM", "command not allowed when used memory > 'maxmemory'.")
    assert client.run("GET key:0") == b"v" * 200
    assert client.run("DEL " + " ".join(f"key:{i}" for i in range(2, 102, 2))) == 50
    assert client.run("SET one more") == OK


def test_volatile_ttl_takes_the_earliest_deadline_first() -> None:
    client = filled(Stage(), "volatile-ttl", 500)
    odd = sorted(i for i in keys_left(client) if i % 2 and i != 499)  # the last one came when all was done
    assert 0 < len(odd) < 249 and odd == list(range(1, 2 * len(odd), 2))


def test_lru_keeps_what_is_used() -> None:
    stage = Stage()
    client = stage.leader.client()
    client.run(f"CONFIG SET maxmemory {LIMIT} maxmemory-policy allkeys-lru maxmemory-samples 10")
    for i in range(600):
        stage.now_ms += 10
        client.run(f"SET key:{i} {'v' * 200}")
        client.run("GET key:0")
    assert 0 in keys_left(client)


def test_without_a_policy_what_takes_memory_is_refused_and_what_frees_it_is_not() -> None:
    client = filled(Stage(), "noeviction")
    assert client.run("SET k v").code == "OOM"
    replies = client.say("MULTI", "GET k", "DISCARD", "MULTI", "SET k v", "EXEC").take()
    assert [reply.code for reply in replies if isinstance(reply, CommandError)] == ["OOM", "OOM", "EXECABORT"]
    assert client.run([b"EVAL", b"return redis.call('set','k','v')", b"0"]).code == "OOM"
    assert client.run("DEL key:0") == 1
    assert client.run("CONFIG SET maxmemory 0") == OK
    assert client.run("SET k v") == OK


def test_what_was_queued_while_there_was_room_is_refused_by_exec_if_it_takes_memory() -> None:
    stage = Stage()
    client, other = stage.leader.client(), stage.leader.client()
    client.run("SET k v")
    client.run("MULTI", "SET k w")
    other.run("CONFIG SET maxmemory 1")
    assert client.run("EXEC").text == (
        "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'."
    )
    other.run("CONFIG SET maxmemory 0")
    client.run("MULTI", "GET k")
    other.run("CONFIG SET maxmemory 1")
    assert client.run("EXEC") == [b"v"]


def test_a_script_that_says_what_it_wants_is_refused_unless_it_wants_no_memory_or_ignores_its_lack() -> None:
    client = Stage().leader.client()
    for name in ("writes", "no-writes", "allow-oom"):
        flags = "" if name == "writes" else f", flags={{'{name}'}}"
        function = f"redis.register_function{{function_name='{name[:2]}', callback=function() return 1 end{flags}}}"
        client.run([b"FUNCTION", b"LOAD", f"#!lua name={name[:2]}\n{function}".encode()])
    payload = client.run("FUNCTION DUMP")
    client.run("SET k v")
    client.run("CONFIG SET maxmemory 1")
    refused = CommandError(
        "OOM", "allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
    )
    assert client.run([b"EVAL", b"#!lua\nreturn 1", b"0"]) == refused
    assert client.run("FCALL wr 0") == refused
    assert client.run("FCALL no 0") == client.run("FCALL al 0") == 1
    assert client.run([b"EVAL", b"#!lua flags=no-writes\nreturn redis.call('get', 'k')", b"0"]) == b"v"
    assert client.run([b"EVAL", b"#!lua flags=allow-oom\nreturn redis.call('set', 'k', 'w')", b"0"]) == OK
    assert client.run([b"FUNCTION", b"RESTORE", payload, b"REPLACE"]).code == "OOM"
    assert client.run([b"FUNCTION", b"LOAD", b"#!lua name=x\nredis.register_function('x', print)"]).code == "OOM"


def test_a_limit_that_is_set_late_is_reached_in_steps_and_without_a_client() -> None:
    stage = Stage()
    client = stage.leader.client()
    for i in range(2000):
        client.run(f"SET key:{i} {'v' * 200}")
    client.run(f"CONFIG SET maxmemory {LIMIT} maxmemory-policy allkeys-random")
    stage.pass_ms(1_000)
    assert stage.leader.node.eviction.used_bytes() <= LIMIT
    assert client.run("FLUSHALL") == OK
    assert stage.leader.node.memory is not None and stage.leader.node.memory.total == 0


def test_a_full_resync_brings_its_own_count() -> None:
    stage = Stage(replica=True)
    filled(stage, "allkeys-lru")
    node = stage.replica.node
    tables, keyspace = system_tables(node), node.engine.keyspace
    assert node.memory is not None
    counted = node.memory.total
    node.reset()
    node.engine.take_keyspace(keyspace)
    load_system_tables(node, tables)
    assert node.memory is not None
    node.memory.step(1000)
    assert node.memory.total == counted


def test_what_a_replica_reads_counts_at_the_leader() -> None:
    stage = Stage(replica=True)
    leader, replica = stage.leader.client(), stage.replica.client()
    leader.run("CONFIG SET maxmemory-policy allkeys-lru")
    leader.run("SET read v")
    leader.run("SET unread v")
    stage.pass_ms(5_000)
    assert leader.run("OBJECT IDLETIME read") == 5
    replica.run("GET read")
    leader.run("SET other v")  # an entry that the replica applies is no read of its clients
    stage.pass_ms(500)
    assert leader.run("OBJECT IDLETIME read") == 0
    assert leader.run("OBJECT IDLETIME unread") == 5


def test_an_lfu_policy_counts_uses_and_another_one_does_not() -> None:
    client = Stage().leader.client()
    client.run("SET k v")
    assert isinstance(client.run("OBJECT FREQ k"), CommandError)
    client.run("CONFIG SET maxmemory-policy allkeys-lfu")
    assert client.run("OBJECT FREQ k") == 5
    client.run("CONFIG SET maxmemory-policy noeviction")
    assert client.machine.node.engine.keyspace.accesses is None
