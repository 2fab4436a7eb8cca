"""Blocking programs of several clients get the same answers from a node and from a real redis-server.

Goal: who is served, with what and in which order, is as in Redis. Method: three clients issue random commands, blocking ones
without a time limit among them; after each the answers that came on every connection are compared. A client that waits
says nothing until it is answered. The seed is in the failure.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from select import select

import pytest

from tests.differential.sides import Oracle
from tests.differential.wire import Connection, Incomplete, Reply, decode, request
from upstash_global.node.clients import RespSession
from upstash_global.node.node import Node
from upstash_global.node.settings import Peer, Settings
from upstash_global.replication.storage import MemoryStorage

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]

N_CLIENTS = 3
# Without commands that overwrite a key (SORT STORE, ZUNIONSTORE): Redis 7.0 wakes nobody then, ours does.
COMMANDS = [
    "BLPOP l 0", "BLPOP l m 0", "BRPOP m l 0", "BLMOVE l m LEFT RIGHT 0", "BLMOVE l l RIGHT LEFT 0", "BRPOPLPUSH l m 0",
    "BLMPOP 0 2 l m LEFT", "BLMPOP 0 1 l RIGHT COUNT 2", "BZPOPMIN z 0", "BZPOPMAX y z 0", "BZMPOP 0 2 y z MIN COUNT 2",
    "LPUSH l a", "RPUSH l b c d", "RPUSH m e f", "LPUSH m g", "ZADD z 1 a 2 b 3 c", "ZADD y 5 q", "DEL l", "DEL z", "SET l v",
    "SADD m x", "LRANGE l 0 -1", "LRANGE m 0 -1", "ZRANGE z 0 -1", "RENAME m l", "COPY m l",
    "ZINCRBY z 1 a", "LMOVE m l LEFT LEFT", "BLPOP l -1", "BLPOP l x", "BLMPOP 0 0 l LEFT", "FLUSHALL",
]  # fmt: skip
TRANSACTIONS = [
    ["MULTI", "RPUSH l 1 2", "LPOP l", "EXEC"],
    ["MULTI", "RPUSH l 1", "BLPOP l 0", "BLPOP l 0", "EXEC"],
    ["MULTI", "RPUSH m 7", "ZADD z 4 d", "EXEC"],
]


class Ours:
    """One client of the node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.session = RespSession(node.next_session_id(), "", 0, self)
        node.open(self.session)
        self.received = bytearray()

    def send(self, output: bytearray) -> None:
        self.received += output


def leading_node() -> Node:
    settings = Settings("leader", [Peer("leader", "us-east-1", 0)], "duel", "leader")
    node = Node(settings, MemoryStorage(), random.Random(0), "boot", lambda: 0)
    node.set_clock(1_700_000_000_000)
    node.roles.start([])
    turn(node)
    return node


def turn(node: Node) -> None:
    for _ in range(2):
        outbox = node.take_outbox()
        node.storage.append(outbox.records)
        if outbox.must_sync:
            node.persisted(node.storage.sync())
        for session, output in outbox.released:
            session.send(output)


def take(connection: Connection, n: int) -> list[Reply]:
    """The next `n` replies; reading more than there are fails by the socket's time-out."""
    replies: list[Reply] = []
    while len(replies) < n:
        try:
            reply, at = decode(connection.buffer, 0)
            del connection.buffer[:at]
            replies.append(reply)
        except Incomplete:
            received = connection.socket.recv(1 << 16)
            assert received, "the server closed the connection"
            connection.buffer += received
    return replies


def more(connection: Connection) -> bool:
    """Whether anything came that nobody waits for."""
    if select([connection.socket], [], [], 0)[0]:
        connection.buffer += connection.socket.recv(1 << 16)
    return bool(connection.buffer)


def answered(client: Ours) -> list[Reply]:
    replies: list[Reply] = []
    at = 0
    while at < len(client.received):
        reply, at = decode(client.received, at)
        replies.append(reply)
    client.received.clear()
    return replies


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    directory: Path = tmp_path_factory.mktemp("oracle")
    with Oracle(directory) as running:
        yield running


@pytest.mark.parametrize("round_number", range(20))
def test_blocked_clients_are_served_as_in_redis(oracle: Oracle, seed: int, round_number: int) -> None:
    chance = random.Random(seed * 1000 + round_number)
    node = leading_node()
    ours = [Ours(node) for _ in range(N_CLIENTS)]
    theirs = [Connection("127.0.0.1", oracle.port) for _ in range(N_CLIENTS)]
    for connection in theirs:
        connection.socket.settimeout(3)
    theirs[0].pipeline([[b"FLUSHALL"]])
    story: list[str] = []
    try:
        for _ in range(150):
            free = [i for i in range(N_CLIENTS) if not ours[i].session.waiting]
            if len(free) == 1:  # somebody must be left to push
                words = [chance.choice([line for line in COMMANDS if not line.startswith("B")])]
            else:
                words = chance.choice(TRANSACTIONS) if chance.random() < 0.15 else [chance.choice(COMMANDS)]
            i = chance.choice(free)
            lines = [[word.encode() for word in line.split()] for line in words]
            story.append(f"{i}: {' ; '.join(words)}")
            node.handle(ours[i].session, lines, node.local_ms)
            turn(node)
            theirs[i].socket.sendall(b"".join([request(line) for line in lines]))
            for j in range(N_CLIENTS):
                mine = answered(ours[j])
                try:
                    got = take(theirs[j], len(mine))
                except TimeoutError:
                    got = ["nothing"]
                assert mine == got, f"client {j} after {story[-12:]}: {mine} instead of {got} (seed {seed})"
            if not ours[i].session.waiting:
                assert theirs[i].pipeline([[b"PING"]])[0].content == b"PONG", f"{story[-12:]} (seed {seed})"
                for connection in theirs:
                    assert not more(connection), f"{story[-12:]} (seed {seed}): {connection.buffer!r} came as well"
    finally:
        for connection in theirs:
            connection.close()
