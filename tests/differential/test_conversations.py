"""Commands about sessions and nodes get the same replies from ours and from a real redis-server, in RESP2 and RESP3.

Goal: transactions, connections, channels and the commands about a server are Redis's to the letter: replies, pushes, their
order, errors, what aborts what, who is cut off. Method: see conversations.py; allowed differences stand in normalise.py.
`pytest tests/differential/test_conversations.py --seed N --commands 20000` replays a failure.
"""

from collections.abc import Iterator

import pytest

from tests.differential.conversations import NodeParty, OracleParty, converse
from tests.differential.families import CONVERSATIONS
from tests.differential.sides import Oracle

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    with Oracle(tmp_path_factory.mktemp("oracle")) as running:
        yield running


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("family", CONVERSATIONS)
def test_clients_hear_what_they_hear_from_redis(
    oracle: Oracle, family: str, version: int, seed: int, commands_per_family: int
) -> None:
    ours, theirs = NodeParty(version), OracleParty(oracle, version)
    try:
        difference = converse(ours, theirs, family, seed, version, commands_per_family // 2)
    finally:
        theirs.close()
    assert difference is None, difference
