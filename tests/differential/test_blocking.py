"""Blocking programs of several clients get the same answers from a node and from a real redis-server.

Goal: who is served, with what and in which order, is as in Redis. Method: four clients issue random commands, blocking ones
among them; after each the answers that came on every connection are compared. A client that waits says nothing until it is
answered, or told to wait no longer by CLIENT UNBLOCK. Where a wait has a time limit nobody else speaks until that is over, so
the two clocks need not agree. The seed is in the failure.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from select import select

import pytest

from tests.differential.sides import Oracle
from tests.differential.wire import Connection, Incomplete, Reply, Tagged, decode, request
from upstash_global.node.clients import RespSession
from upstash_global.node.node import Node
from upstash_global.node.settings import Peer, Settings
from upstash_global.replication.storage import MemoryStorage

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]

N_CLIENTS = 4
N_ROUNDS = 20
PATIENCE_S = 30
# Without commands that overwrite a key (SORT STORE, ZUNIONSTORE): Redis 7.0 wakes nobody then, ours does.
COMMANDS = [
    "BLPOP l 0", "BLPOP l m 0", "BRPOP m l 0", "BLMOVE l m LEFT RIGHT 0", "BLMOVE l l RIGHT LEFT 0", "BRPOPLPUSH l m 0",
    "BLMPOP 0 2 l m LEFT", "BLMPOP 0 1 l RIGHT COUNT 2", "BZPOPMIN z 0", "BZPOPMAX y z 0", "BZMPOP 0 2 y z MIN COUNT 2",
    "LPUSH l a", "RPUSH l b c d", "RPUSH m e f", "LPUSH m g", "ZADD z 1 a 2 b 3 c", "ZADD y 5 q", "DEL l", "DEL z", "SET l v",
    "SADD m x", "LRANGE l 0 -1", "LRANGE m 0 -1", "ZRANGE z 0 -1", "RENAME m l", "COPY m l",
    "ZINCRBY z 1 a", "LMOVE m l LEFT LEFT", "BLPOP l -1", "BLPOP l x", "BLMPOP 0 0 l LEFT", "FLUSHALL",
    "XADD x 1-<n> f <n>", "XADD x 1-<n> f <n>", "XADD y2 1-<n> f v g w", "XADD x 1-<n> f v", "XREAD BLOCK 0 STREAMS x $",
    "XREAD BLOCK 0 STREAMS x y2 $ 0", "XREAD COUNT 1 BLOCK 0 STREAMS y2 1-<n>", "XGROUP CREATE x g $ MKSTREAM",
    "XGROUP CREATE y2 g 0 MKSTREAM", "XREADGROUP GROUP g me BLOCK 0 STREAMS x >", "XREADGROUP GROUP g me COUNT 1 BLOCK 0 STREAMS x >",
    "XREADGROUP GROUP g you BLOCK 0 NOACK STREAMS x y2 > >", "XREADGROUP GROUP g you BLOCK 0 STREAMS x 0", "XLEN x", "XTRIM x MAXLEN 2",
    "XPENDING x g", "XGROUP DESTROY x g", "XREAD BLOCK -1 STREAMS x $", "XREADGROUP GROUP g me BLOCK x STREAMS x >", "ZADD y 2 r",
    "CLIENT UNBLOCK <id 0>", "CLIENT UNBLOCK <id 1> TIMEOUT", "CLIENT UNBLOCK <id 2> ERROR", "CLIENT UNBLOCK <id 3> ERROR",
    "CLIENT UNBLOCK <id 3>", "CLIENT UNBLOCK x", "CLIENT UNBLOCK <id 0> nosuch", "CLIENT UNBLOCK 999999",
]  # fmt: skip
# Waits that end by themselves, unless they are served at once; XREAD counts in milliseconds.
BRIEF = [
    "BLPOP l m 0.001", "BRPOP m 0.002", "BLMOVE l m LEFT RIGHT 0.001", "BRPOPLPUSH m l 0.001", "BLMPOP 0.001 2 l m LEFT",
    "BZPOPMIN z y 0.001", "BZPOPMAX y 0.002", "BZMPOP 0.001 1 z MAX", "XREAD BLOCK 1 STREAMS x $", "XREAD BLOCK 2 STREAMS x y2 $ $",
    "XREADGROUP GROUP g me BLOCK 1 STREAMS x >", "XREADGROUP GROUP g you BLOCK 1 STREAMS x y2 > >",
]  # fmt: skip
BRIEF_MS = 10  # longer than any of them
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


def until_blocked(control: Connection, n: int) -> None:
    """Return once `n` clients of redis-server are blocked."""
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        (info,) = control.pipeline([[b"INFO", b"clients"]])
        if b"blocked_clients:%d\r\n" % n in info:
            return
        assert time.monotonic() < give_up_s, f"{n} clients ought to be blocked: {info!r}"


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


def worded_as_7_2(reply: Reply) -> Reply:
    """A consumer whose group goes is told by 7.0 in words of its own, by 7.2 as if it had asked only now."""
    if reply == Tagged("error", "NOGROUP the consumer group this client was blocked on no longer exists"):
        return Tagged("error", "NOGROUP No such key 'x' or consumer group 'g' in XREADGROUP with GROUP option")
    return reply


def waits(line: str) -> bool:
    return line.startswith("B") or " BLOCK " in line


def argv_of(line: str, ids: list[int]) -> list[bytes]:
    for number, client_id in enumerate(ids):
        line = line.replace(f"<id {number}>", str(client_id))
    return line.encode().split()


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    directory: Path = tmp_path_factory.mktemp("oracle")
    with Oracle(directory) as running:
        yield running


@pytest.mark.parametrize("round_number", range(N_ROUNDS))
def test_blocked_clients_are_served_as_in_redis(
    oracle: Oracle, seed: int, round_number: int, commands_per_family: int
) -> None:
    chance = random.Random(seed * 1000 + round_number)
    node = leading_node()
    ours = [Ours(node) for _ in range(N_CLIENTS)]
    theirs = [Connection("127.0.0.1", oracle.port) for _ in range(N_CLIENTS)]
    control = Connection("127.0.0.1", oracle.port)
    for connection in theirs:
        connection.socket.settimeout(PATIENCE_S)
    theirs[0].pipeline([[b"FLUSHALL"]])
    ids = [client.session.id for client in ours]
    their_ids = [connection.pipeline([[b"CLIENT", b"ID"]])[0] for connection in theirs]
    waits_for = [""] * N_CLIENTS
    story: list[str] = []
    try:
        for step in range(commands_per_family // N_ROUNDS):
            free = [i for i in range(N_CLIENTS) if not ours[i].session.waiting]
            if len(free) == 1:  # somebody must be left to push
                words = [chance.choice([line for line in [*COMMANDS, *BRIEF] if line in BRIEF or not waits(line)])]
            else:
                luck = chance.random()
                words = (
                    chance.choice(TRANSACTIONS) if luck < 0.12 else [chance.choice(BRIEF if luck < 0.2 else COMMANDS)]
                )
            if words == ["FLUSHALL"] and any(line.startswith("XREADGROUP") for line in waits_for):
                continue  # as of 7.2 that ends their wait
            words = [line.replace("<n>", str(step)) for line in words]
            i = chance.choice(free)
            story.append(f"{i}: {' ; '.join(words)}")
            node.handle(ours[i].session, [argv_of(line, ids) for line in words], node.local_ms)
            turn(node)
            theirs[i].socket.sendall(b"".join([request(argv_of(line, their_ids)) for line in words]))
            if ours[i].session.waiting and words[-1] in BRIEF:
                node.tick(node.local_ms + BRIEF_MS)
                turn(node)
            waits_for = [line if ours[j].session.waiting else "" for j, line in enumerate(waits_for)]
            if ours[i].session.waiting:
                waits_for[i] = words[-1]
            for j in range(N_CLIENTS):
                mine = answered(ours[j])
                try:
                    got = take(theirs[j], len(mine))
                except TimeoutError:
                    got = ["nothing"]
                assert mine == list(map(worded_as_7_2, got)), (
                    f"client {j} after {story[-12:]}: {mine} instead of {got} (seed {seed})"
                )
            if ours[i].session.waiting:  # it is to wait there too before anybody else speaks
                until_blocked(control, sum(client.session.waiting > 0 for client in ours))
            else:
                assert theirs[i].pipeline([[b"PING"]])[0].content == b"PONG", f"{story[-12:]} (seed {seed})"
                for connection in theirs:
                    assert not more(connection), f"{story[-12:]} (seed {seed}): {connection.buffer!r} came as well"
    finally:
        for connection in [*theirs, control]:
            connection.close()
