"""The ports of a replica: what the leader has to do comes back in its place, and never late or twice."""

import json
from collections.abc import Iterator

import pytest

from tests.server.serving import TOKEN, Served, command, config, wait_for

MIB = 1 << 20


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    settings = config(names=("one", "two"))
    with (
        Served(tmp_path_factory.mktemp("one"), settings, "one") as leader,
        Served(tmp_path_factory.mktemp("two"), settings, "two") as replica,
    ):
        yield leader, replica


@pytest.fixture
def leader(pair: tuple[Served, Served]) -> Served:
    with pair[0].redis() as client:
        client.flushall()
    return pair[0]


@pytest.fixture
def replica(pair: tuple[Served, Served], leader: Served) -> Served:
    return pair[1]


def test_a_mixed_pipeline_is_answered_in_order(replica: Served) -> None:
    with replica.wire() as wire:
        wire.send(
            command("GET", "n")
            + command("INCR", "n")
            + command("GET", "n")
            + command("PING")
            + command("MULTI")
            + command("INCR", "n")
            + command("GET", "n")
            + command("EXEC")
            + command("CLIENT", "GETNAME")
            + command("GET", "n")
        )
        answers = [wire.reply() for _ in range(10)]
    assert answers == [
        b"$-1\r\n",
        b":1\r\n",
        b"$1\r\n1\r\n",
        b"+PONG\r\n",
        b"+OK\r\n",
        b"+QUEUED\r\n",
        b"+QUEUED\r\n",
        b"*2\r\n:2\r\n$1\r\n2\r\n",
        b"$-1\r\n",
        b"$1\r\n2\r\n",
    ]


def test_many_packets_behind_a_forward_wait_their_turn(replica: Served) -> None:
    n = 30_000
    with replica.wire() as wire:
        wire.send(b"".join(command("INCR", "n") + command("GET", "n") for _ in range(n)))
        for i in range(1, n + 1):
            assert wire.reply() == b":%d\r\n" % i
            assert wire.reply() == b"$%d\r\n%d\r\n" % (len(str(i)), i)


def test_a_client_without_replies_goes_on(replica: Served) -> None:
    """More than what may wait is sent with CLIENT REPLY OFF; nothing is answered, and the connection reads on."""
    with replica.wire() as wire:
        wire.send(command("CLIENT", "REPLY", "OFF") + command("INCR", "n") * 30_000 + command("CLIENT", "REPLY", "ON"))
        assert wire.reply() == b"+OK\r\n"
        assert wire.call("GET", "n") == b"$5\r\n30000\r\n"


def test_a_protocol_error_is_told_behind_forwarded_answers(replica: Served) -> None:
    with replica.wire() as wire:
        wire.send(command("INCR", "n") + command("INCR", "n") + b"*x\r\n")
        assert wire.read_all() == b":1\r\n:2\r\n-ERR Protocol error: invalid multibulk length\r\n"


def test_a_client_that_closes_its_sending_side_gets_forwarded_answers(replica: Served) -> None:
    with replica.wire() as wire:
        wire.send(command("INCR", "n") + command("QUIT"))
        wire.socket.shutdown(1)
        assert wire.read_all() == b":1\r\n+OK\r\n"


def test_a_client_that_does_not_read_is_run_no_further(leader: Served, replica: Served) -> None:
    with leader.redis() as client:
        client.set("big", b"x" * MIB)
    with replica.wire() as wire:
        number = int(wire.call("CLIENT", "ID")[1:])
        wire.send(command("SET", "k", "v") + command("PING") + command("GET", "big") * 300)
        wait_for(lambda: replica.ask(lambda node: node.sessions[number].is_full))
        assert replica.ask(lambda node: len(node.sessions[number].input)) > 200
        assert wire.reply() == b"+OK\r\n"
        assert wire.reply() == b"+PONG\r\n"
        for _ in range(300):
            assert len(wire.reply()) > MIB


def test_wait_counts_the_replica(replica: Served) -> None:
    with replica.redis() as client:
        client.set("k", "v")
        assert client.wait(1, 60_000) == 1


def test_role_info_and_digest(leader: Served, replica: Served) -> None:
    with leader.redis() as one, replica.redis() as two:
        two.set("k", "v")
        assert two.role()[:4] == [b"slave", b"127.0.0.1", leader.resp, b"connected"]
        _, lsn, followers = one.role()
        assert [follower[:2] for follower in followers] == [[b"127.0.0.1", str(replica.resp).encode()]]
        info = two.info("replication")
        assert (info["role"], info["leader"], info["state"], info["master_link_status"]) == (
            "slave",
            "one",
            "streaming",
            "up",
        )
        assert info["lsn"] == lsn
        assert one.execute_command("DEBUG", "DIGEST") == two.execute_command("DEBUG", "DIGEST")


def test_a_message_reaches_both_nodes(leader: Served, replica: Served) -> None:
    with leader.redis() as one, replica.redis() as two, one.pubsub() as near, two.pubsub() as far:
        for listener in (near, far):
            listener.subscribe("news")
            assert listener.get_message(timeout=60)["type"] == "subscribe"
        assert two.publish("news", "hello") == 1  # those on the node that the publisher is connected to
        assert near.get_message(timeout=60)["data"] == far.get_message(timeout=60)["data"] == b"hello"


def test_rest_reads_its_own_writes(replica: Served) -> None:
    with replica.http() as wire:
        for n in range(100):
            body = json.dumps([["set", "k", n], ["get", "k"]]).encode()
            wire.send(
                b"POST /pipeline HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%b"
                % (TOKEN.encode(), len(body), body)
            )
            assert json.loads(wire.answer().body) == [{"result": "OK"}, {"result": str(n)}]
            wire.send(b"GET /get/k HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % TOKEN.encode())
            assert json.loads(wire.answer().body) == {"result": str(n)}


def test_a_rest_transaction_is_forwarded_whole(replica: Served) -> None:
    with replica.http() as wire:
        body = b'[["set","k","v"],["incr","k"],["get","k"]]'
        wire.send(
            b"POST /multi-exec HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%b"
            % (TOKEN.encode(), len(body), body)
        )
        assert json.loads(wire.answer().body) == [
            {"result": "OK"},
            {"error": "ERR value is not an integer or out of range"},
            {"result": "v"},
        ]


def test_more_answers_than_fit_a_message_come_in_several(leader: Served, replica: Served) -> None:
    """A pipeline that begins with a write is forwarded, and asks for 60 MiB; the leader answers a part at a time."""
    with leader.redis() as client:
        client.set("big", b"x" * MIB)
    with replica.wire() as wire:
        wire.send(b"".join(command("INCR", "n") + command("GET", "big") for _ in range(60)))
        for i in range(1, 61):
            assert wire.reply() == b":%d\r\n" % i
            assert len(wire.reply()) > MIB
    served = leader.ask(lambda node: list(node.forwarding.remotes.values()))
    assert all(remote.answer_bytes < 8 * MIB for remote in served)


def test_a_blocking_command_over_rest_is_answered_at_once(replica: Served) -> None:
    with replica.http() as wire:
        body = b'[["set","k","v"],["blpop","l",0],["get","k"],["rpush","l","a"],["blpop","l",0]]'
        wire.send(
            b"POST /pipeline HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%b"
            % (TOKEN.encode(), len(body), body)
        )
        assert [item["result"] for item in json.loads(wire.answer().body)] == ["OK", None, "v", 1, ["l", "a"]]
