"""Which refusal comes first, what is queued, and what an EXEC of it answers."""

import subprocess
import sys
from typing import Any

import pytest

from tests.node.stage import Client, Stage
from upstash_global.engine.table import TABLE
from upstash_global.errors import CommandError, error
from upstash_global.reply import NULL_ARRAY, OK, PONG, QUEUED, Push, Simple


@pytest.fixture
def client() -> Client:
    return Stage().leader.client()


def stranger() -> Client:
    """A client that has to log in."""
    return Stage(password="secret").leader.client()


# -- the order of refusals


def test_an_unknown_command_is_told_even_to_a_stranger() -> None:
    assert stranger().run("NOSUCH a") == error("unknown command 'NOSUCH', with args beginning with: 'a' ")


def test_a_wrong_number_of_arguments_is_told_before_noauth() -> None:
    assert stranger().run("GET") == error("wrong number of arguments for 'get' command")


def test_a_stranger_may_not_run_commands() -> None:
    assert stranger().run("GET k") == CommandError("NOAUTH", "Authentication required.")


@pytest.mark.parametrize("command", ["AUTH secret", "HELLO 2 AUTH default secret"])
def test_a_stranger_may_log_in(command: str) -> None:
    client = stranger()
    client.run(command)
    assert client.run("PING") == PONG


def test_a_wrong_password_is_counted_and_changes_nothing() -> None:
    client = stranger()
    assert client.run("AUTH wrong") == CommandError("WRONGPASS", "invalid username-password pair or user is disabled.")
    assert client.machine.node.metrics.n_failed_logins == 1
    assert client.user is None


def test_reset_makes_a_stranger_again() -> None:
    client = stranger()
    client.run("AUTH secret")
    assert client.run("RESET") == Simple("RESET")
    assert client.run("GET k") == CommandError("NOAUTH", "Authentication required.")


# -- queueing


def test_multi_queues_and_exec_answers_all(client: Client) -> None:
    assert client.say("MULTI", "SET k v", "GET k", "EXEC").take() == [OK, QUEUED, QUEUED, [OK, b"v"]]


def test_a_transaction_is_one_entry(client: Client) -> None:
    node = client.machine.node
    before = node.log.head.lsn
    client.run("MULTI", "SET a 1", "INCR a", "GET a", "EXEC")
    (entry,) = node.log.entries_after(before, 10, 1000) or []
    assert entry.commands == [[b"SET", b"a", b"1"], [b"INCR", b"a"]]


def test_an_error_within_exec_stands_at_its_place(client: Client) -> None:
    client.run("SET text abc")
    assert client.run("MULTI", "INCR text", "SET k v", "EXEC") == [
        error("value is not an integer or out of range"),
        OK,
    ]


@pytest.mark.parametrize("mistake", ["NOSUCH", "GET", "GET a b", "CLIENT NOSUCH"])
def test_a_refused_command_spoils_the_transaction(client: Client, mistake: str) -> None:
    client.run("MULTI", "SET k v", mistake)
    assert client.run("EXEC") == CommandError("EXECABORT", "Transaction discarded because of previous errors.")
    assert client.run("GET k") is None


def test_exec_with_arguments_ends_the_transaction(client: Client) -> None:
    assert client.run("MULTI", "SET k v", "EXEC now") == CommandError(
        "EXECABORT", "Transaction discarded because of: wrong number of arguments for 'exec' command"
    )
    assert client.run("EXEC") == error("EXEC without MULTI")


def test_a_nested_multi_is_refused_and_spoils_nothing(client: Client) -> None:
    replies = client.say("MULTI", "MULTI", "SET k v", "EXEC").take()
    assert replies == [OK, error("MULTI calls can not be nested"), QUEUED, [OK]]


def test_discard_forgets_the_queue_and_the_watches(client: Client) -> None:
    client.run("SET k 1")
    assert client.run("WATCH k", "MULTI", "SET k 2", "DISCARD") == OK
    assert not client.watches
    assert client.run("GET k") == b"1"


@pytest.mark.parametrize("command", ["EXEC", "DISCARD"])
def test_there_is_nothing_to_end_without_multi(client: Client, command: str) -> None:
    assert client.run(command) == error(f"{command} without MULTI")


def test_a_queue_that_grows_too_large_is_refused() -> None:
    client = Stage(entry_bytes=1000).leader.client()
    refusal = client.run("MULTI", [b"SET", b"k", b"x" * 2000])
    assert isinstance(refusal, CommandError) and "max entry size exceeded" in refusal.text
    assert client.run("EXEC").code == "EXECABORT"


def test_nothing_waits_inside_exec(client: Client) -> None:
    assert client.run("MULTI", "BLPOP l 0", "DEBUG SLEEP 100", "WAIT 5 0", "EXEC") == [NULL_ARRAY, OK, 0]


# -- session commands inside EXEC


def test_subscribing_inside_exec_answers_for_each_channel(client: Client) -> None:
    client.run("HELLO 3")
    assert client.run("MULTI", "SUBSCRIBE a b", "SET k v", "EXEC") == [
        Push([b"subscribe", b"a", 1]),
        Push([b"subscribe", b"b", 2]),
        OK,
    ]


def test_client_reply_inside_exec_leaves_no_hole(client: Client) -> None:
    assert client.say("MULTI", "CLIENT REPLY SKIP", "SET k v", "EXEC", "PING", "ECHO x").take() == [
        OK,
        QUEUED,
        QUEUED,
        [OK],
        b"x",
    ]


# -- WATCH


@pytest.mark.parametrize(
    "change", ["SET k 2", "DEL k", "APPEND k x", "EXPIRE k 100", "RENAME k other", "FLUSHALL", "PEXPIRE k -1"]
)
def test_a_change_of_a_watched_key_aborts(client: Client, change: str) -> None:
    client.run("SET k 1")
    client.run("WATCH k")
    client.machine.client().run(change)
    assert client.run("MULTI", "SET done 1", "EXEC") is NULL_ARRAY
    assert client.run("GET done") is None


@pytest.mark.parametrize("other", ["SET other 2", "GET k", "TTL k", "DEL nosuch", "SETNX k 2"])
def test_what_leaves_a_watched_key_alone_does_not_abort(client: Client, other: str) -> None:
    client.run("SET k 1")
    client.run("WATCH k")
    client.machine.client().run(other)
    assert client.run("MULTI", "SET done 1", "EXEC") == [OK]


@pytest.mark.parametrize(
    "change",
    [
        "XSETID s 5-1",
        "XGROUP CREATE s h 0",
        "XGROUP SETID s g 0",
        "XGROUP DESTROY s g",
        "XREADGROUP GROUP g c STREAMS s >",
        "SETBIT b 1 1",
        "BITFIELD b INCRBY u8 0 0",
        "BITFIELD b OVERFLOW FAIL INCRBY u8 8 256",
        "EVAL \"redis.call('XGROUP', 'CREATE', 's', 'h', 0) redis.call('XSETID', 's', '5-1')\" 1 s",
    ],
)
def test_watch_does_not_see_a_streams_groups_nor_a_string_that_takes_another_form(client: Client, change: str) -> None:
    """As Redis 7.2; the change is logged all the same."""
    client.run("XADD s 1-1 f v", "XGROUP CREATE s g 0", "SET b a", "WATCH s b")
    head = client.machine.node.log.head_lsn
    client.machine.client().run(change)
    assert client.machine.node.log.head_lsn > head
    assert client.run("MULTI", "SET done 1", "EXEC") == [OK]


@pytest.mark.parametrize(
    "changes",
    [
        ["XADD s 2-1 f v", "XSETID s 5-1"],
        ["XSETID s 5-1", "XDEL s 1-1", "XGROUP DESTROY s g"],
        ["EVAL \"redis.call('XADD', 's', '2-1', 'f', 'v') redis.call('XGROUP', 'DESTROY', 's', 'g')\" 1 s"],
        ["SETBIT s2 100 0", "DEL s", "SET s a", "SETBIT s 1 1"],
    ],
)
def test_watch_sees_a_change_before_or_behind_one_that_it_does_not(client: Client, changes: list[str]) -> None:
    client.run("XADD s 1-1 f v", "XGROUP CREATE s g 0", "WATCH s")
    client.machine.client().run(*changes)
    assert client.run("MULTI", "SET done 1", "EXEC") is NULL_ARRAY


def test_watch_sees_a_stream_that_a_group_creates(client: Client) -> None:
    client.run("WATCH s", "XGROUP CREATE s g $ MKSTREAM")
    assert client.run("MULTI", "SET done 1", "EXEC") is NULL_ARRAY


def test_a_flush_does_not_abort_for_a_key_that_was_not_there(client: Client) -> None:
    client.run("SET other 1")
    client.run("WATCH k")
    client.run("FLUSHALL")
    assert client.run("MULTI", "SET done 1", "EXEC") == [OK]


def test_ones_own_change_aborts_too(client: Client) -> None:
    assert client.run("WATCH k", "SET k 1", "MULTI", "GET k", "EXEC") is NULL_ARRAY


def test_a_watched_key_that_expired_aborts() -> None:
    stage = Stage()
    client = stage.leader.client()
    client.run("SET k 1 PX 100", "WATCH k")
    stage.pass_ms(200)
    assert client.run("MULTI", "SET done 1", "EXEC") is NULL_ARRAY


def test_exec_ends_the_watches(client: Client) -> None:
    client.run("WATCH k", "MULTI", "EXEC")
    client.run("SET k 1")
    assert client.run("MULTI", "GET k", "EXEC") == [b"1"]


def test_unwatch_forgets(client: Client) -> None:
    client.run("WATCH k", "SET k 1", "UNWATCH")
    assert client.run("MULTI", "GET k", "EXEC") == [b"1"]


def test_watching_inside_multi_is_refused_and_spoils_nothing(client: Client) -> None:
    replies = client.say("MULTI", "WATCH k", "GET k", "EXEC").take()
    assert replies[1:] == [error("WATCH inside MULTI is not allowed"), QUEUED, [None]]


def test_reset_ends_a_transaction(client: Client) -> None:
    client.run("WATCH k", "MULTI", "SET k v", "RESET")
    assert client.run("EXEC") == error("EXEC without MULTI")
    assert not client.watches


# -- what a subscribed RESP2 client may do


@pytest.mark.parametrize("command", ["GET k", "MULTI", "CLIENT ID", "PUBLISH c m", "HELLO 3"])
def test_a_subscribed_resp2_client_may_not(client: Client, command: str) -> None:
    client.run("SUBSCRIBE c")
    refusal: Any = client.run(command)
    assert refusal.message.startswith("Can't execute '") and refusal.message.endswith("allowed in this context")


def test_a_subscribed_resp2_client_is_ponged_in_an_array(client: Client) -> None:
    assert client.run("SUBSCRIBE c", "PING") == [b"pong", b""]
    assert client.run("PING hi") == [b"pong", b"hi"]


def test_a_subscribed_resp3_client_may_do_anything(client: Client) -> None:
    client.run("HELLO 3", "SUBSCRIBE c")
    assert client.run("SET k v") == OK


def test_having_left_all_channels_a_client_may_do_anything(client: Client) -> None:
    client.run("SUBSCRIBE c", "PSUBSCRIBE p*", "UNSUBSCRIBE")
    assert isinstance(client.run("GET k"), CommandError)
    client.run("PUNSUBSCRIBE p*")
    assert client.run("GET k") is None


# -- HELP


@pytest.mark.parametrize("container", ["CLIENT", "COMMAND", "CONFIG", "OBJECT", "PUBSUB", "SLOWLOG"])
def test_help_names_every_subcommand(client: Client, container: str) -> None:
    lines = [line.text for line in client.run(f"{container} HELP")]
    named = {line.split()[0] for line in lines[1:] if not line.startswith(" ")}
    assert lines[0] == f"{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert {name.decode() for name in TABLE[container.encode()].subcommands} <= named


def test_help_shows_what_a_subcommand_takes(client: Client) -> None:
    lines = [line.text for line in client.run("CLIENT HELP")]
    assert "REPLY (ON|OFF|SKIP)" in lines and "SETNAME <connection-name>" in lines


def test_what_commands_do_is_told_by_a_build_without_docstrings() -> None:
    """As mypyc's is; `python -OO` drops them as well."""
    story = """
from tests.node.stage import Stage
client = Stage().leader.client()
docs = client.run("COMMAND DOCS blpop client")
print(docs[b"blpop"][b"summary"].decode())
print(docs[b"client"][b"subcommands"][b"client|id"][b"summary"].decode())
lines = [line.text for line in client.run("CLIENT HELP")]
print(lines[lines.index("ID") + 1].strip())
"""
    told = subprocess.run([sys.executable, "-OO", "-c", story], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == [
        "The first element of the first list that has one, with its key; waits for one.",
        "The connection's number, unique on this node while it runs.",
        "The connection's number, unique on this node while it runs.",
    ]
