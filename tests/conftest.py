"""Options of the tests that make things up: `--seed` replays what a failure printed, `--commands` sets the volume."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=1, help="seed of the randomised tests")
    parser.addoption("--commands", type=int, default=20_000, help="random commands per family in tests/differential")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    chosen: int = request.config.getoption("--seed")
    return chosen


@pytest.fixture
def commands_per_family(request: pytest.FixtureRequest) -> int:
    chosen: int = request.config.getoption("--commands")
    return chosen
