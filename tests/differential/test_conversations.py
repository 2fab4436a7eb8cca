"""Commands about sessions and nodes get the same replies from ours and from a real redis-server, in RESP2 and RESP3.

Goal: transactions, connections, channels and the commands about a server are Redis's to the letter: replies, pushes, their
order, errors, what aborts what, who is cut off; at a replica as at the leader. Method: see conversations.py; allowed differences stand in normalise.py.
`pytest tests/differential/test_conversations.py --seed N --commands 20000` replays a failure.
"""

from collections.abc import Iterator

import pytest

from tests.differential.conversations import NodeParty, OracleParty, converse
from tests.differential.duel import duel
from tests.differential.families import CONVERSATIONS, FAMILIES
from tests.differential.sides import NodeSide, Oracle

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]


SLOW = {"hyperloglogs"}  # thousands of registers for each command, and twice here; forwarding is no different for them


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    with Oracle(tmp_path_factory.mktemp("oracle")) as running:
        yield running


@pytest.mark.parametrize("at", ["leader", "replica"])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("family", CONVERSATIONS)
def test_clients_hear_what_they_hear_from_redis(
    oracle: Oracle, family: str, version: int, at: str, seed: int, commands_per_family: int
) -> None:
    ours, theirs = NodeParty(version, at == "replica"), OracleParty(oracle, version)
    try:
        difference = converse(ours, theirs, family, seed, version, commands_per_family // 4)
    finally:
        theirs.close()
    assert difference is None, difference


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in SLOW])
def test_data_commands_at_a_replica_answer_as_at_the_leader(
    oracle: Oracle, family: str, version: int, seed: int, commands_per_family: int
) -> None:
    """Pipelines of reads and writes, valid and not: each turn's run goes in one Forward, and errors come back as they are."""
    ours, theirs = NodeSide(version, at_replica=True), oracle.connect(version)
    try:
        difference = duel(ours, theirs, family, seed, version, commands_per_family // 8)
    finally:
        theirs.close()
    assert difference is None, difference
