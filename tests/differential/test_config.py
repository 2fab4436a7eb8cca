"""Every parameter of CONFIG takes and shows what redis-server's does.

Goal: a client that configures its Redis meets the same names, ranges, canonical texts and errors. Method: each parameter that
`CONFIG GET *` of a real redis-server names is set to sound and unsound values on both sides, and read back.
"""

from collections.abc import Iterator

import pytest

from tests.differential.sides import NodeSide, Oracle, ServerSide
from upstash_global.node.parametertable import FIXED, PROTECTED, TABLE

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]

OTHER_DEFAULT = {  # name → why ours begins with another value
    "appendonly": "a node always keeps its log",
    "bind": "of this node",
    "databases": "one database",
    "dir": "where the data is, is for the administrator to know",
    "dbfilename": "likewise",
    "enable-debug-command": "the oracle is started with it",
    "loglevel": "the oracle is started with it",
    "port": "of this node",
}
NOT_SET = {  # name → why it is not tried
    "appendonly": "redis-server forks",
    "cluster-announce-hostname": "it has no meaning here, and any text is kept",
    "bind": "redis-server binds, a node has its configuration for that",
    "loglevel": "7.2 has one more",
    "maxclients": "redis-server asks its operating system",
    "oom-score-adj": "redis-server may lack the right",
    "port": "redis-server binds",
    "proc-title-template": "it has no meaning here, and any text is kept",
    "requirepass": "the users of a node are its own",
    "tls-cluster": "redis-server loads certificates",
    "tls-port": "redis-server binds",
    "tls-replication": "redis-server loads certificates",
}
MISREAD = [("maxmemory-clients", "99999999999999999999")]  # what redis-server takes for 1%
VALUES = (
    "", "0", "1", "2", "50", "99", "101", "1024", "1mb", "2097152", "5%", "-1", "-99999", "99999999999999999999",
    "5000000000", "1.5", "abc", "yes", "NO", "no yes", "on", "1 2", "60 5", "900 1 300 10", "1 2 3", "50 99.9",
    "AKE", "KEg$", "Kxlm", "normal 1 2 3", "replica 1mb 2kb 3 pubsub 0 0 1", "master 0 0 0", "normal a 0 0",
    "volatile-ttl", "ALLKEYS-lru", "always", "Everysec", "swapdb", "ip", "clients", "now force", "save nosave",
)  # fmt: skip


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerSide]:
    with Oracle(tmp_path_factory.mktemp("oracle")) as running:
        side = running.connect(3)
        yield side
        side.close()


def parameters(side: NodeSide | ServerSide) -> dict[str, str]:
    reply = side.run([[b"CONFIG", b"GET", b"*"]])[0]
    pairs = reply.content if hasattr(reply, "content") else reply
    return {name.decode(): value.decode() for name, value in (pairs.items() if isinstance(pairs, dict) else pairs)}


def test_every_parameter_of_redis_is_here_with_its_value(theirs: ServerSide) -> None:
    ours, redis = parameters(NodeSide(3)), parameters(theirs)
    assert set(redis) - set(ours) == set()
    differing = {name for name, value in redis.items() if ours[name] != value}
    assert differing - set(OTHER_DEFAULT) == set()


def test_values_are_taken_shown_and_refused_as_by_redis(theirs: ServerSide) -> None:
    ours = NodeSide(3)
    differences: list[object] = []
    for name in sorted(parameters(theirs)):
        if name in NOT_SET:
            continue
        values = VALUES[:2] if TABLE[name].owner in (FIXED, PROTECTED) else VALUES
        for value in values:
            lines = [[b"CONFIG", b"SET", name.encode(), value.encode()], [b"CONFIG", b"GET", name.encode()]]
            here, there = ours.run(lines), theirs.run(lines)
            if name in OTHER_DEFAULT:
                here, there = here[:1], there[:1]
            if here != there and (name, value) not in MISREAD:
                differences.append((name, value, here, there))
    assert not differences, "\n".join(map(str, differences))
