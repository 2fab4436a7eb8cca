"""One node for all tests that leave it as they found it; others start their own."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.server.serving import Served, config


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


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    """A leader and a replica that wait for each other as long as a busy machine takes."""
    settings = config(names=("one", "two"))
    settings = replace(
        settings,
        consistency=replace(settings.consistency, forward_timeout_ms=600_000),
        replication=replace(settings.replication, silence_ms=600_000),
    )
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
