"""The ports of a replica: what the leader has to do comes back in its place, and never late or twice."""

import json
import threading

import pytest

from tests.server.serving import TOKEN, Served, command, position, rest, wait_for
from upstash_global.protocol.tokens import SyncToken, decode_token, encode_token, key_hash, sync_token_key

MIB = 1 << 20


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


@pytest.mark.parametrize("before", [[], ["INCR n", "PING"]])
def test_a_client_that_leaves_takes_nothing_from_a_list(leader: Served, replica: Served, before: list[str]) -> None:
    n_served = leader.ask(lambda node: node.forwarding.n_served)
    with replica.wire() as wire:
        wire.send(b"".join(command(*line.split()) for line in before) + command("BLPOP", "l", "0"))
        wait_for(lambda: leader.ask(lambda node: node.forwarding.n_served) > n_served)
    wait_for(lambda: not leader.ask(lambda node: node.forwarding.remotes))
    with leader.redis() as client:
        assert client.rpush("l", "a") == client.llen("l") == 1


def test_a_rest_client_that_leaves_ends_its_wait_at_the_leader(leader: Served, replica: Served) -> None:
    body = b'["WAIT", "9", "3600000"]'
    with replica.http() as wire:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
        wire.send(head.encode() + body)
        wait_for(lambda: leader.ask(lambda node: node.parking.by_session))
    wait_for(lambda: not leader.ask(lambda node: node.parking.by_session))


def test_who_goes_while_the_leader_waits_for_him_takes_nothing(leader: Served, replica: Served) -> None:
    """A worker that died is given no job: neither by what it waited for, nor by what it had said behind that."""
    for sent in (command("BLPOP", "l", "0"), command("BLPOP", "l", "0") + command("BLPOP", "l", "0")):
        with replica.wire() as wire:
            wire.send(sent)
            wait_for(lambda: leader.ask(lambda node: len(node.parking.by_session)) == 1)
        wait_for(lambda: leader.ask(lambda node: len(node.parking.by_session)) == 0)
        wait_for(lambda: replica.ask(lambda node: len(node.forwarding.outstanding)) == 0)
    with leader.wire() as wire:
        assert wire.call("RPUSH", "l", "job") == b":1\r\n"
        assert wire.call("LLEN", "l") == b":1\r\n"


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


def test_a_reply_too_long_to_be_sent_is_left_out_by_the_leader(leader: Served, replica: Served) -> None:
    """The message to the replica would have a gigabyte."""
    with replica.wire() as wire:
        wire.call("SETRANGE", "big", str(16 * MIB - 1), "x")
        wire.send(command("INCR", "n") + command("MGET", *["big"] * 64) + command("INCR", "n"))
        replies = [wire.reply() for _ in range(3)]
    assert replies == [b":1\r\n", b"-UNKNOWN it ran, but its reply is too long to be sent\r\n", b":2\r\n"]


def test_a_blocking_command_over_rest_is_answered_at_once(replica: Served) -> None:
    with replica.http() as wire:
        body = b'[["set","k","v"],["blpop","l",0],["get","k"],["rpush","l","a"],["blpop","l",0]]'
        wire.send(
            b"POST /pipeline HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%b"
            % (TOKEN.encode(), len(body), body)
        )
        assert [item["result"] for item in json.loads(wire.answer().body)] == ["OK", None, "v", 1, ["l", "a"]]


# -- consistency and receipts


def test_a_receipt_names_the_entry_of_the_write(leader: Served, replica: Served) -> None:
    for served in (leader, replica):
        for n in range(5):
            _, _, headers = rest(served, ["set", "k", f"{served.name} {n}"])
            epoch, lsn = position(headers)
            entry = leader.ask(lambda node, lsn=lsn: node.log.entries_after(lsn - 1, 1, MIB)[0])  # type: ignore[misc]
            assert (entry.position.epoch, entry.position.lsn) == (epoch, lsn)
            assert entry.commands == [[b"set", b"k", f"{served.name} {n}".encode()]]
            assert headers[b"upstash-region"] == b"us-east-1"
            assert headers[b"upstash-staleness-ms"] == b"0"


def test_the_receipt_of_a_read_says_what_it_saw(leader: Served, replica: Served) -> None:
    """While somebody counts at the leader: at the position of the receipt the counter stood at what was read."""
    _, _, headers = rest(replica, ["del", "nothing"])  # answered once the replica is level
    base = position(headers)[1]
    stop = threading.Event()

    def count() -> None:
        with leader.redis() as client:
            while not stop.is_set():
                client.incr("n")

    thread = threading.Thread(target=count)
    thread.start()
    try:
        read = [
            (answer["result"], *position(headers))
            for consistency in ("eventual", "session", "leader", "bounded; max-staleness-ms=0") * 20
            for _, answer, headers in [rest(replica, ["get", "n"], upstash_consistency=consistency)]
            if isinstance(answer, dict)
        ]
    finally:
        stop.set()
        thread.join()
    entries = leader.ask(lambda node: node.log.entries_after(base, 1 << 20, 64 * MIB))
    assert entries is not None and all(entry.commands == [[b"INCRBY", b"n", b"1"]] for entry in entries)
    assert [value for value, _, _ in read] == [str(lsn - base) if lsn > base else None for _, _, lsn in read]
    assert {epoch for _, epoch, _ in read} == {entries[0].position.epoch}


def test_an_unknown_consistency_is_refused(leader: Served) -> None:
    status, answer, _ = rest(leader, ["get", "k"], upstash_consistency="strong")
    assert (status, answer) == (
        400,
        {
            "error": "ERR Upstash-Consistency is eventual, session, session; scope=key, leader, or bounded; max-staleness-ms=N"
        },
    )


def signed(epoch: int, base: int, **keys: int) -> str:
    """A token of this cluster for a client that has seen these keys at these LSNs."""
    pairs = tuple((key_hash(key.encode()), lsn) for key, lsn in keys.items())
    return encode_token(SyncToken(epoch, base, 0, pairs), "test", sync_token_key("peers"))


def seen(headers: dict[bytes, bytes]) -> SyncToken:
    token = decode_token(headers[b"upstash-sync-token"].decode(), "test", sync_token_key("peers"))
    assert token is not None
    return token


def test_a_scoped_token_holds_back_the_reads_of_its_keys_only(leader: Served, replica: Served) -> None:
    def forwards() -> int:
        return replica.ask(lambda node: node.forwarding.n_forwarded)

    epoch, base = position(rest(replica, ["mset", "a", "1", "b", "2"])[2])
    before = forwards()
    token = signed(epoch, base, a=base + 1_000_000)
    asked = {"upstash_consistency": "session; scope=key", "upstash_sync_token": token}
    for value, path in ((["get", "b"], "/"), ([["get", "b"], ["ping"]], "/pipeline"), ([["get", "b"]], "/multi-exec")):
        status, _, headers = rest(replica, value, path, **asked)
        assert (status, forwards()) == (200, before)
        told = seen(headers)
        assert (told.epoch, told.lsn, dict(told.keys)[key_hash(b"a")]) == (epoch, base, base + 1_000_000)
    assert rest(replica, ["get", "a"], **asked)[:2] == (200, {"result": "1"})
    assert forwards() == before + 1
    assert rest(replica, ["get", "b"], upstash_sync_token=token)[:2] == (200, {"result": "2"})
    assert forwards() == before + 2, "without the scope all of the token counts"


def test_a_scoped_write_leaves_its_key_and_its_entry_in_the_token(leader: Served, replica: Served) -> None:
    def write(served: Served, value: object, path: str = "/") -> SyncToken:
        answer = rest(served, value, path, upstash_consistency="session; scope=key", upstash_sync_token=tokens[-1])
        tokens.append(answer[2][b"upstash-sync-token"].decode())
        return seen(answer[2])

    tokens = [""]
    for served in (leader, replica):
        token = write(served, ["set", "mine", "1"])
        head = leader.ask(lambda node: node.log.head)
        assert dict(token.keys)[key_hash(b"mine")] == head.lsn > token.lsn and token.epoch == head.epoch
        assert write(served, [["incr", "mine"], ["incr", "other"], ["get", "mine"]], "/pipeline").keys == (
            (key_hash(b"other"), head.lsn + 2),
            (key_hash(b"mine"), head.lsn + 1),
        )
        assert write(served, ["keys", "*"]).keys == ()
    assert len(set(tokens)) == len(tokens)
    assert all(len(token) <= 512 for token in tokens)


def test_what_the_leader_is_asked_for_is_forwarded_and_only_that(replica: Served) -> None:
    def forwards() -> int:
        return replica.ask(lambda node: node.forwarding.n_forwarded)

    before = forwards()
    for consistency in ("eventual", "session", "bounded; max-staleness-ms=60000"):
        assert rest(replica, ["get", "k"], upstash_consistency=consistency)[0] == 200
    assert forwards() == before
    assert rest(replica, ["get", "k"], upstash_consistency="leader")[0] == 200
    assert forwards() == before + 1


def test_a_bound_that_nobody_can_meet_is_told(replica: Served) -> None:
    replica.ask(lambda node: setattr(node.roles, "forward_is_open", False))
    try:
        for consistency in ("leader", "bounded; max-staleness-ms=0"):
            replica.ask(lambda node: setattr(node, "local_ms", node.local_ms + 5))
            status, answer, headers = rest(replica, ["get", "k"], upstash_consistency=consistency)
            assert status == 503, (answer, headers)
            assert isinstance(answer, dict) and answer["error"].startswith("STALE ")
            assert headers[b"retry-after"] == b"1"
    finally:
        replica.ask(lambda node: setattr(node.roles, "forward_is_open", True))
