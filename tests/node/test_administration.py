"""What an administrator of one Redis says to it: done, or refused in plain words."""

import pytest

from tests.node.stage import Client, Stage
from tests.node.test_statistics import info
from upstash_global.errors import CommandError, error, not_an_integer
from upstash_global.replication.storage import MemoryStorage, StorageError
from upstash_global.reply import OK, Set, Simple, Verbatim


@pytest.fixture
def client() -> Client:
    return Stage().leader.client()


# -- saving


class FullDisk(MemoryStorage):
    """There is room for the log, not for snapshots."""

    is_full = True

    def write_snapshot(self, data: bytes) -> None:
        if self.is_full:
            raise StorageError("no space left")
        super().write_snapshot(data)


def test_save_answers_when_the_snapshot_is_there() -> None:
    stage = Stage()
    client, node = stage.leader.client(), stage.leader.node
    stage.leader.holds_snapshots = True
    client.run("SET k v")
    assert client.run("LASTSAVE") == node.started_ms // 1000
    client.say("SAVE")
    assert client.take() == []
    other = stage.leader.client()
    assert other.run("BGSAVE") == error("Background save already in progress")
    stage.pass_ms(100)
    assert client.take() == []
    node.snapshots.finished(stage.leader.storage.finish_snapshot())
    stage.pass_ms(20)
    assert client.take() == [OK]
    assert client.run("LASTSAVE") == node.snapshots.last_ms // 1000
    assert info(other, "persistence")["rdb_bgsave_in_progress"] == "0"
    assert other.run("BGSAVE SCHEDULE") == Simple("Background saving started")
    assert info(other, "persistence")["rdb_bgsave_in_progress"] == "1", "who asks before it has begun is refused, too"
    assert other.run("BGSAVE nosuch") == error("syntax error")


def test_a_snapshot_that_cannot_be_written_is_said_to_have_failed_and_the_node_goes_on() -> None:
    stage = Stage()
    client, node, storage = stage.leader.client(), stage.leader.node, FullDisk()
    storage.log = stage.leader.storage.log
    node.storage = stage.leader.storage = storage
    client.run("SET k v")
    assert info(client, "persistence")["rdb_last_bgsave_status"] == "ok"
    client.say("SAVE")
    stage.pass_ms(100)
    assert client.take() == [error("the snapshot could not be written")]
    shown = info(client, "persistence")
    assert (shown["rdb_last_bgsave_status"], shown["rdb_bgsave_in_progress"], shown["rdb_saves"]) == ("err", "0", "0")
    assert [event.text for event in node.events.recent if event.name == "snapshot-failed"] == ["no space left"]
    assert client.run("SET k w") == OK
    storage.is_full = False
    client.say("SAVE")
    stage.pass_ms(100)
    assert client.take() == [OK]
    shown = info(client, "persistence")
    assert (shown["rdb_last_bgsave_status"], shown["rdb_saves"], shown["rdb_last_bgsave_time_sec"]) == ("ok", "1", "0")


def test_a_snapshot_that_failed_is_not_begun_again_at_once() -> None:
    stage = Stage(snapshot_bytes=1)
    node, storage = stage.leader.node, FullDisk()
    storage.log = stage.leader.storage.log
    node.storage = stage.leader.storage = storage
    stage.leader.client().run("SET k v")
    stage.pass_ms(9_000)
    assert node.snapshots.n_failed == 1
    stage.pass_ms(2_000)
    assert node.snapshots.n_failed == 2


# -- stopping, leading


def test_shutdown_stops_the_node_and_answers_nothing() -> None:
    stage = Stage()
    stops: list[bool] = []
    stage.leader.node.stop = stops.append
    client = stage.leader.client()
    assert client.run("SHUTDOWN nosuch") == error("syntax error")
    assert client.run("SHUTDOWN SAVE NOSAVE") == error("syntax error")
    assert client.run("SHUTDOWN ABORT") == error("No shutdown in progress.")
    assert stops == []
    client.say("SHUTDOWN NOSAVE NOW")
    assert client.take() == [] and stops == [True] and client.closing


def test_who_leads_is_not_changed_by_commands_of_redis() -> None:
    stage = Stage(replica=True)
    leader, replica = stage.leader.client(), stage.replica.client()
    assert leader.run("REPLICAOF NO ONE") == OK
    for client, command in ((leader, "REPLICAOF 10.0.0.1 6379"), (replica, "SLAVEOF NO ONE"), (leader, "FAILOVER")):
        refusal = client.run(command)
        assert isinstance(refusal, CommandError) and "switchover" in refusal.text
    assert leader.run("FAILOVER ABORT") == error("No failover in progress.")
    assert leader.run("FAILOVER nosuch") == error("syntax error")
    assert stage.leader.node.is_leader


@pytest.mark.parametrize(
    "command", ["CLUSTER INFO", "CLUSTER SLOTS", "CLUSTER KEYSLOT k", "READONLY", "READWRITE", "ASKING"]
)
def test_this_is_no_redis_cluster(client: Client, command: str) -> None:
    assert client.run(command) == error("This instance has cluster support disabled")


@pytest.mark.parametrize(
    "command", ["SYNC", "PSYNC ? -1", "REPLCONF listening-port 1", "MODULE LOAD x", "MODULE UNLOAD x"]
)
def test_what_cannot_be_had_is_refused(client: Client, command: str) -> None:
    assert isinstance(client.run(command), CommandError)


def test_there_is_one_database(client: Client) -> None:
    assert client.run("SWAPDB 0 0") == OK
    assert client.run("SWAPDB 0 1") == error("DB index is out of range")
    assert client.run("SWAPDB a 0") == error("invalid first DB index")
    assert client.run("SWAPDB 0 b") == error("invalid second DB index")
    assert client.run("MODULE LIST") == []
    assert client.run("LOLWUT VERSION x") == not_an_integer()
    assert client.run("LOLWUT VERSION 5 x") == not_an_integer()
    assert isinstance(client.run("LOLWUT VERSION 5 40 20"), Verbatim)
    *art, version = client.run("LOLWUT").text.splitlines()
    assert len(art) > 5 and version.startswith(b"Redis ver. ")


# -- DEBUG


def test_debug_object_tells_how_a_value_is_kept(client: Client) -> None:
    client.run("RPUSH l a b c")
    told = client.run("DEBUG OBJECT l").text
    assert "encoding:listpack" in told and "refcount:1" in told and "lru_seconds_idle:0" in told
    assert client.run("DEBUG OBJECT nosuch") == error("no such key")


def test_digests_of_values_are_those_of_equal_values() -> None:
    stage = Stage(replica=True)
    leader, replica = stage.leader.client(), stage.replica.client()
    leader.run("SADD s 1 2")
    leader.run("COPY s t")
    one, other, none = leader.run("DEBUG DIGEST-VALUE s t nosuch")
    assert one == other != none == Simple("0" * 40)
    assert replica.run("DEBUG DIGEST-VALUE s") == [one]


def test_populate_creates_what_is_not_there_in_units_that_every_node_gets() -> None:
    stage = Stage(replica=True)
    client, other = stage.leader.client(), stage.leader.client()
    client.run("SET k:7 mine")
    head = stage.leader.node.log.head.lsn
    client.say("DEBUG POPULATE 2500 k 4")
    assert client.take() == [] and other.run("DBSIZE") == 1000  # others have their turn between the units
    stage.pass_ms(60)
    assert client.take() == [OK]
    assert stage.leader.node.log.head.lsn == head + 3
    assert stage.replica.client().run("MGET k:7 k:2499 k:2500") == [b"mine", b"valu", None]
    assert stage.leader.node.digest() == stage.replica.node.digest()


def test_populate_is_for_the_leader_and_waits_for_nothing_in_a_transaction() -> None:
    stage = Stage(replica=True)
    refusal = stage.replica.client().run("DEBUG POPULATE 1")
    assert isinstance(refusal, CommandError) and refusal.code == "READONLY"
    (refusal,) = stage.leader.client().run("MULTI", "DEBUG POPULATE 5000", "EXEC")
    assert isinstance(refusal, CommandError) and stage.leader.client().run("DBSIZE") == 0


def test_the_sweep_can_be_stopped() -> None:
    stage = Stage()
    client = stage.leader.client()
    client.run("DEBUG SET-ACTIVE-EXPIRE 0")
    client.run("SET k v PX 10")
    stage.pass_ms(200)
    assert b"k" in stage.leader.node.engine.keyspace.values
    client.run("DEBUG SET-ACTIVE-EXPIRE 1")
    stage.pass_ms(200)
    assert b"k" not in stage.leader.node.engine.keyspace.values


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("STRINGMATCH-LEN 100 a*a", 1),
        ("STRINGMATCH-LEN 100 b*", 0),
        ("STRINGMATCH-LEN -1 b*", not_an_integer()),
        ("QUICKLIST-PACKED-THRESHOLD 100b", OK),
        ("QUICKLIST-PACKED-THRESHOLD 5gb", error("argument must be a memory value bigger than 1 and smaller than 4gb")),
        ("ERROR 'MYERR is this'", CommandError("MYERR", "is this")),
        ("PROTOCOL set", Set([0, 1, 2])),
        ("PROTOCOL double", 3.141),
        ("HTSTATS 1", error("Out of range database")),
        ("LISTPACK k", error("Not a listpack encoded object.")),
        ("POPULATE 1 k -2", error("value is out of range, must be positive")),
        ("POPULATE 1 k 999999999999", error("string exceeds maximum allowed size (proto-max-bulk-len)")),
        ("RELOAD", OK),
        ("LOADAOF", OK),
        ("CHANGE-REPL-ID", OK),
        ("JMAP", error("unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP.")),
        ("OBJECT", error("unknown subcommand or wrong number of arguments for 'OBJECT'. Try DEBUG HELP.")),
    ],
)  # fmt: skip
def test_debug(client: Client, command: str, reply: object) -> None:
    client.run("SET k v")
    client.run("XADD x * f v")
    assert client.run(f"DEBUG {command}") == reply


# -- MEMORY


def test_memory_stats_and_doctor(client: Client) -> None:
    client.run("SET k v")
    stats = client.run("MEMORY STATS")
    assert stats[b"keys.count"] == 1 and b"db.0" in stats
    assert stats[b"dataset.bytes"] + stats[b"overhead.total"] == stats[b"total.allocated"]
    assert client.run("MEMORY PURGE") == OK
    assert b"Nothing" in client.run("MEMORY DOCTOR").text
    client.run("CONFIG SET maxmemory 1")
    doctor = client.run("MEMORY DOCTOR")
    assert isinstance(doctor, Verbatim) and b"maxmemory" in doctor.text
