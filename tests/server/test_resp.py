"""RESP as clients speak it: raw bytes for what the protocol says."""

import json
import re
import socket
from pathlib import Path

import pytest

from tests.server.serving import PASSWORD, READ_TOKEN, Served, command, config, wait_for
from tests.server.test_rest import Client


def test_a_stranger_may_do_nothing_but_log_in(served: Served) -> None:
    with served.wire(login=False) as wire:
        assert wire.call("GET", "k") == b"-NOAUTH Authentication required.\r\n"
        assert wire.call("PING") == b"-NOAUTH Authentication required.\r\n"
        assert wire.call("AUTH", "wrong").startswith(b"-WRONGPASS ")
        assert wire.call("AUTH", "nobody", PASSWORD).startswith(b"-WRONGPASS ")
        assert wire.call("AUTH", "default", "a", "b") == b"-ERR syntax error\r\n"
        assert wire.call("AUTH", "default", PASSWORD) == b"+OK\r\n"
        assert wire.call("PING") == b"+PONG\r\n"


def test_commands_behind_the_login_in_one_packet_are_run(served: Served) -> None:
    big = b"x" * 100_000  # more than a stranger may send
    with served.wire(login=False) as wire:
        wire.send(command("AUTH", PASSWORD) + command("SET", "k", big) + command("STRLEN", "k"))
        assert [wire.reply(), wire.reply(), wire.reply()] == [b"+OK\r\n", b"+OK\r\n", b":100000\r\n"]


def test_a_second_try_in_the_same_packet_counts(served: Served) -> None:
    """The wrong password is told late; what was sent behind it waits for that, and has the limits of a client then."""
    big = b"x" * 100_000
    with served.wire(login=False) as wire:
        wire.send(command("AUTH", "wrong") + command("AUTH", PASSWORD) + command("SET", "k", big))
        assert wire.reply().startswith(b"-WRONGPASS ")
        assert [wire.reply(), wire.reply()] == [b"+OK\r\n", b"+OK\r\n"]
        assert wire.call("STRLEN", "k") == b":100000\r\n"


def test_who_gives_a_wrong_password_and_leaves_is_told(served: Served) -> None:
    with served.wire(login=False) as wire:
        wire.send(command("AUTH", "wrong"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.read_all().startswith(b"-WRONGPASS ")


def test_beyond_its_share_of_failed_logins_an_address_is_refused(tmp_path: Path) -> None:
    """On both ports together; who has logged in goes on."""
    with Served(tmp_path, config(failed_logins_per_minute=2)) as served, served.wire() as known, served.http() as http:
        client = Client(http)
        assert client.get("/ping") == (200, {"result": "PONG"})
        assert client.get("/ping", authorization="Bearer wrong")[0] == 401
        with served.wire(login=False) as wire:
            assert wire.call("AUTH", "wrong").startswith(b"-WRONGPASS ")
            assert wire.call("AUTH", PASSWORD) == b"-ERR max failed logins per minute exceeded. Limit: 2; not tried\r\n"
        assert known.call("PING") == b"+PONG\r\n"
        assert client.get("/ping") == (200, {"result": "PONG"})
        for token in (READ_TOKEN, "wrong"):  # another user on a known connection: nobody is told whether it was right
            assert client.get("/ping", authorization=f"Bearer {token}")[0] == 429
        with served.http() as stranger:
            refused = Client(stranger).ask("GET", "/ping")
            assert refused.status == 429 and 50 <= int(refused.headers[b"retry-after"]) <= 60
            assert json.loads(refused.body) == {
                "error": "ERR max failed logins per minute exceeded. Limit: 2; not tried"
            }


def test_inline_commands(served: Served) -> None:
    with served.wire() as wire:
        wire.send(b'SET k "a b\\x21"\r\n\r\n  \nGET k\n')
        assert wire.reply() == b"+OK\r\n"
        assert wire.reply() == b"$4\r\na b!\r\n"


def test_hello_chooses_the_protocol_and_logs_in(served: Served) -> None:
    with served.wire(login=False) as wire:
        assert wire.call("HELLO", "3").startswith(b"-NOAUTH HELLO must be called")
        assert wire.call("HELLO", "4").startswith(b"-NOPROTO ")
        hello = wire.call("HELLO", "3", "AUTH", "default", PASSWORD, "SETNAME", "me")
        assert hello.startswith(b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n")
        assert b"$5\r\nproto\r\n:3\r\n" in hello
        assert wire.call("CLIENT", "GETNAME") == b"$2\r\nme\r\n"
        assert wire.call("GET", "missing") == b"_\r\n"
        assert wire.call("HELLO", "2").startswith(b"*14\r\n")
        assert wire.call("GET", "missing") == b"$-1\r\n"
        assert wire.call("HELLO", "2", "NONSENSE") == b"-ERR Syntax error in HELLO option 'NONSENSE'\r\n"


def test_reset_makes_the_connection_a_stranger_again(served: Served) -> None:
    with served.wire() as wire:
        wire.call("HELLO", "3", "SETNAME", "me")
        wire.call("SUBSCRIBE", "news")
        wire.call("MULTI")
        assert wire.call("RESET") == b"+RESET\r\n"
        assert wire.call("GET", "k").startswith(b"-NOAUTH ")
        assert wire.call("AUTH", PASSWORD) == b"+OK\r\n"
        assert wire.call("CLIENT", "GETNAME") == b"$-1\r\n"
        assert wire.call("PUBSUB", "NUMSUB", "news") == b"*2\r\n$4\r\nnews\r\n:0\r\n"


def test_quit_answers_everything_before_it_and_closes(served: Served) -> None:
    with served.wire() as wire:
        wire.send(command("ECHO", "a") + command("QUIT") + command("ECHO", "never"))
        assert wire.read_all() == b"$1\r\na\r\n+OK\r\n"


def test_client_reply_off_and_skip(served: Served) -> None:
    with served.wire() as wire:
        wire.send(command("CLIENT", "REPLY", "SKIP") + command("SET", "k", "1") + command("GET", "k"))
        assert wire.reply() == b"$1\r\n1\r\n"
        wire.send(command("CLIENT", "REPLY", "OFF") + command("INCR", "k") * 3 + command("CLIENT", "REPLY", "ON"))
        assert wire.reply() == b"+OK\r\n"
        assert wire.call("GET", "k") == b"$1\r\n4\r\n"


def test_client_list_and_kill(served: Served) -> None:
    with served.wire() as wire, served.wire() as victim:
        number = re.fullmatch(rb":(\d+)\r\n", victim.call("CLIENT", "ID"))
        assert number is not None
        victim.call("CLIENT", "SETNAME", "victim")
        listed = wire.call("CLIENT", "LIST", "ID", number[1])
        assert b"id=%b " % number[1] in listed and b" name=victim " in listed and b" user=default " in listed
        assert wire.call("CLIENT", "KILL", "ID", number[1]) == b":1\r\n"
        assert victim.read_all() == b""
        assert wire.call("CLIENT", "KILL", "127.0.0.1:1") == b"-ERR No such client\r\n"
        assert wire.call("CLIENT", "NO-EVICT", "on") == b"+OK\r\n"
        assert wire.call("CLIENT", "NO-EVICT", "maybe") == b"-ERR syntax error\r\n"


def test_a_client_that_kills_itself_gets_its_answer(served: Served) -> None:
    with served.wire() as wire:
        wire.send(command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"))
        assert re.fullmatch(rb":\d+\r\n", wire.read_all())


def test_a_killed_client_runs_nothing_more(served: Served) -> None:
    with served.wire() as wire, served.wire() as victim:
        address = victim.call("CLIENT", "INFO").split(b"addr=")[1].split(b" ")[0]
        victim.send(command("DEBUG", "SLEEP", "1000") + command("SET", "k", "1"))
        wait_for(lambda: b"cmd=debug" in wire.call("CLIENT", "LIST"))
        assert wire.call("CLIENT", "KILL", address) == b"+OK\r\n"
        assert victim.read_all() == b""
        assert wire.call("EXISTS", "k") == b":0\r\n"


def test_mistakes_in_a_transaction(served: Served) -> None:
    with served.wire() as wire:
        assert wire.call("EXEC") == b"-ERR EXEC without MULTI\r\n"
        assert wire.call("DISCARD") == b"-ERR DISCARD without MULTI\r\n"
        assert wire.call("MULTI") == b"+OK\r\n"
        assert wire.call("MULTI") == b"-ERR MULTI calls can not be nested\r\n"
        assert wire.call("WATCH", "k").startswith(b"-ERR ")
        assert wire.call("SET", "k", "v") == b"+QUEUED\r\n"
        assert wire.call("DISCARD") == b"+OK\r\n"
        wire.call("MULTI")
        assert wire.call("NONSENSE").startswith(b"-ERR unknown command 'NONSENSE'")
        assert wire.call("SET", "k", "v") == b"+QUEUED\r\n"
        assert wire.call("EXEC") == b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        wire.call("MULTI")
        wire.call("SET", "k", "v")
        wire.call("INCR", "k")
        wire.call("APPEND", "k", "w")
        assert wire.call("EXEC") == b"*3\r\n+OK\r\n-ERR value is not an integer or out of range\r\n:2\r\n"


def test_a_resp2_subscriber_may_only_subscribe(served: Served) -> None:
    with served.wire() as wire, served.wire() as other:
        assert wire.call("SUBSCRIBE", "a", "b") == b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
        assert wire.reply() == b"*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
        assert wire.call("PSUBSCRIBE", "n*") == b"*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:3\r\n"
        assert wire.call("GET", "k").startswith(b"-ERR Can't execute 'get': only (P|S)SUBSCRIBE")
        assert wire.call("PING") == b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
        assert other.call("PUBLISH", "news", "hello") == b":1\r\n"
        assert wire.reply() == b"*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$5\r\nhello\r\n"
        assert wire.call("PUNSUBSCRIBE") == b"*3\r\n$12\r\npunsubscribe\r\n$2\r\nn*\r\n:2\r\n"
        wire.send(command("UNSUBSCRIBE"))
        assert wire.reply().endswith(b":1\r\n") and wire.reply().endswith(b":0\r\n")
        assert wire.call("UNSUBSCRIBE") == b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"
        assert wire.call("PING") == b"+PONG\r\n"


def test_a_resp3_subscriber_may_do_anything(served: Served) -> None:
    with served.wire() as wire:
        wire.call("HELLO", "3")
        assert wire.call("SUBSCRIBE", "news") == b">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
        wire.send(command("PUBLISH", "news", "hi") + command("GET", "k"))
        arrived = sorted([wire.reply(), wire.reply(), wire.reply()])
        assert arrived == [b":1\r\n", b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n", b"_\r\n"]


def test_a_slow_client_that_sends_byte_by_byte_is_understood(served: Served) -> None:
    with served.wire() as wire:
        for byte in command("SET", "k", "v") + b"GET k\r\n":
            wire.send(bytes([byte]))
        assert wire.reply() == b"+OK\r\n"
        assert wire.reply() == b"$1\r\nv\r\n"


@pytest.mark.parametrize("n", [1, 10_000])
def test_a_pipeline_is_answered_in_order(served: Served, n: int) -> None:
    with served.wire() as wire:
        wire.send(b"".join(command("INCR", "n") for _ in range(n)))
        assert [wire.reply() for _ in range(n)] == [b":%d\r\n" % (i + 1) for i in range(n)]
