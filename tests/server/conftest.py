"""One node for all tests that leave it as they found it; others start their own."""

from collections.abc import Iterator

import pytest

from tests.server.serving import Served


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("one")) as served:
        yield served


@pytest.fixture
def served(shared: Served) -> Served:
    """A node without keys."""
    with shared.redis() as client:
        client.flushall()
    return shared
