"""What DEBUG answers, byte for byte, is what a real redis-server answers."""

import pytest

from tests.differential.sides import Oracle
from tests.differential.test_blocking import Ours, leading_node, oracle, turn  # noqa: F401  # a fixture among them
from tests.differential.wire import Connection, request

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]

END = b"$3\r\nend\r\n"
KINDS = [
    "string",
    "integer",
    "double",
    "bignum",
    "null",
    "array",
    "set",
    "map",
    "attrib",
    "push",
    "verbatim",
    "true",
    "false",
    "nosuch",
]
LINES = [f"DEBUG PROTOCOL {kind}" for kind in KINDS] + [
    "DEBUG DIGEST", "DEBUG DIGEST-VALUE a b", "DEBUG PAUSE-CRON 0", "DEBUG PAUSE-CRON", "DEBUG REPLYBUFFER x y", "DEBUG LISTPACK a",
    "DEBUG REPLYBUFFER PEAK-RESET-TIME reset", "DEBUG HTSTATS-KEY a", "DEBUG POPULATE x", "DEBUG POPULATE 3", "GET key:2",
    "DEBUG POPULATE 2 k 10", "GET k:1", "DEBUG POPULATE 2 k 3", "GET k:1", "DEBUG POPULATE 2 s 3", "GET s:1", "DEBUG POPULATE 1 k 1 1",
    "DEBUG LISTPACK k:1", "DEBUG HTSTATS-KEY k:1", "DBSIZE", "SCRIPT DEBUG NO", "SCRIPT DEBUG x", "SCRIPT DEBUG",
]  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
def test_debug_answers_as_in_redis(oracle: Oracle, version: int) -> None:  # noqa: F811
    node = leading_node()
    ours = Ours(node)
    theirs = Connection("127.0.0.1", oracle.port)
    try:
        for line in [f"HELLO {version}", "FLUSHALL", *LINES]:
            argv = line.encode().split()
            node.handle(ours.session, [argv, [b"ECHO", b"end"]], node.local_ms)
            turn(node)
            theirs.socket.sendall(request(argv) + request([b"ECHO", b"end"]))
            received = bytearray()
            while not received.endswith(END):
                received += theirs.socket.recv(1 << 16)
            if line in LINES:
                assert bytes(ours.received) == bytes(received), line
            ours.received.clear()
    finally:
        theirs.close()
