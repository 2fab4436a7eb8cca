"""Whatever a command answers, a script can take and return, in both protocols."""

import pytest

from tests.node.stage import Stage
from upstash_global.engine.table import INTERNAL, all_rows
from upstash_global.errors import CommandError

SCRIPT = b"redis.setresp(%d) return redis.pcall(unpack(ARGV))"
LINES = """
COMMAND INFO get
COMMAND GETKEYSANDFLAGS set a b
XINFO STREAM x FULL
XINFO GROUPS x
XINFO CONSUMERS x g
XREAD STREAMS x 0
XPENDING x g - + 10
XAUTOCLAIM x g me 0 0
GEOSEARCH g FROMMEMBER m BYRADIUS 10 km WITHCOORD WITHDIST
ZRANGE z 0 -1 WITHSCORES
JSON.GET j $..a
JSON.TYPE j $
JSON.RESP j
JSON.NUMINCRBY j $..b 1
JSON.ARRPOP j $.a
JSON.MGET j k $
""".strip().splitlines()


@pytest.mark.parametrize("resp", [2, 3])
def test_a_script_takes_every_reply(resp: int) -> None:
    """A reply that it cannot take is a bug of ours, and raises here."""
    client = Stage().leader.client()
    client.run(
        "XADD x 1-1 a b", "XGROUP CREATE x g 0", "XREADGROUP GROUP g me STREAMS x >", "ZADD z 1 a", "GEOADD g 13 38 m"
    )
    client.run([b"JSON.SET", b"j", b"$", b'{"a":[1,{"b":2.5}]}'])
    for line in LINES:
        assert not isinstance(client.run([b"EVAL", SCRIPT % resp, b"0", *line.encode().split()]), CommandError), line
    for row in all_rows():
        if not row.flags & INTERNAL:
            words = row.name.split()
            for extra in range(3):
                words_said = [*words, *["x"] * (abs(row.arity) - len(words) + extra)]
                client.run([b"EVAL", SCRIPT % resp, b"0", *[word.encode() for word in words_said]])
