"""Options of the tests: `--seed` replays what a failure printed, the others set the volume and the build."""

import importlib

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=1, help="seed of the randomised tests")
    parser.addoption("--commands", type=int, default=20_000, help="random commands per family in tests/differential")
    parser.addoption("--node", help="host:port[:password] of a running node for tests/differential; it is flushed")
    parser.addoption("--seeds", type=int, default=200, help="simulated clusters")
    parser.addoption("--minutes", type=float, default=1.0, help="how long each fuzz test goes on, with --long")
    parser.addoption("--long", action="store_true", help="also run the tests marked long")
    parser.addoption(
        "--build", choices=["compiled", "pure"], help="fail unless this build of the package is under test"
    )


def pytest_configure(config: pytest.Config) -> None:
    build = config.getoption("--build")
    if build is None:
        return
    tested = importlib.import_module("upstash_global.engine.engine").__file__ or ""
    if tested.endswith(".py") is (build == "compiled"):
        raise pytest.UsageError(f"--build={build}, but what would be tested is {tested}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "cluster" in item.keywords or "compose" in item.keywords:  # a cluster is started once, not by every worker
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
        if "long" in item.keywords and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="volume: runs with --long, in make test-long"))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    chosen: int = request.config.getoption("--seed")
    return chosen


@pytest.fixture
def commands_per_family(request: pytest.FixtureRequest) -> int:
    chosen: int = request.config.getoption("--commands")
    return chosen


@pytest.fixture
def node_address(request: pytest.FixtureRequest) -> str | None:
    address: str | None = request.config.getoption("--node")
    return address


@pytest.fixture
def n_seeds(request: pytest.FixtureRequest) -> int:
    chosen: int = request.config.getoption("--seeds")
    return chosen


@pytest.fixture
def fuzz_seconds(request: pytest.FixtureRequest) -> float:
    minutes: float = request.config.getoption("--minutes")
    return minutes * 60 if request.config.getoption("--long") else 1.0
