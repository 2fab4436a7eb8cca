"""Options of the tests: `--seed` replays what a failure printed, the others set the volume and the build.

What is not said is what `make test` does; with `--long`, what `make test-long` does: every volume times five to ten.
"""

import importlib

import hypothesis
import pytest

# No test depends on the speed of the machine.
hypothesis.settings.register_profile("usual", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("long", hypothesis.settings.get_profile("usual"), max_examples=1_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=1, help="seed of the randomised tests")
    parser.addoption("--commands", type=int, help="random commands per family in tests/differential: 20,000 or 200,000")
    parser.addoption("--node", help="host:port[:password] of a running node for tests/differential; it is flushed")
    parser.addoption("--seeds", type=int, help="simulated clusters: 200 or 1,000")
    parser.addoption("--mutations", type=int, help="damaged inputs for each fuzzed reader: 2,000 or 20,000")
    parser.addoption("--examples", type=int, help="requests for each operation of the REST API: 2 or 100")
    parser.addoption("--connections", type=int, help="connections that idle at a node: 500 or 10,000")
    parser.addoption("--long", action="store_true", help="run the tests marked long, and larger volumes of the others")
    parser.addoption(
        "--build", choices=["compiled", "pure"], help="fail unless this build of the package is under test"
    )


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("long" if config.getoption("--long") else "usual")
    build = config.getoption("--build")
    if build is None:
        return
    tested = importlib.import_module("upstash_global.engine.engine").__file__ or ""
    if tested.endswith(".py") is (build == "compiled"):
        raise pytest.UsageError(f"--build={build}, but what would be tested is {tested}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--build") == "compiled":
        for item in items:
            if "pure" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs the sources, and runs over them in make test"))
    if config.getoption("--long"):
        return
    for item in items:
        if "long" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="volume: runs with --long, in make test-long"))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    chosen: int = request.config.getoption("--seed")
    return chosen


@pytest.fixture
def commands_per_family(request: pytest.FixtureRequest) -> int:
    return volume(request, "--commands", 20_000, 200_000)


@pytest.fixture
def node_address(request: pytest.FixtureRequest) -> str | None:
    address: str | None = request.config.getoption("--node")
    return address


@pytest.fixture
def n_seeds(request: pytest.FixtureRequest) -> int:
    return volume(request, "--seeds", 200, 1_000)


@pytest.fixture
def mutations(request: pytest.FixtureRequest) -> int:
    return volume(request, "--mutations", 2_000, 20_000)


def volume(request: pytest.FixtureRequest, option: str, usual: int, long: int) -> int:
    """What an option says, or else the usual volume, or the long one."""
    chosen: int | None = request.config.getoption(option)
    if chosen is not None:
        return chosen
    return long if request.config.getoption("--long") else usual
