"""The limit of open files, without a system that has one."""

import resource

import pytest

from upstash_global.server.descriptors import RESERVE, allow_connections


class Limits:
    """What the system says, and what it is asked for."""

    def __init__(self, soft: int, hard: int) -> None:
        self.now = (soft, hard)

    def getrlimit(self, what: int) -> tuple[int, int]:
        return self.now

    def setrlimit(self, what: int, limits: tuple[int, int]) -> None:
        self.now = limits


@pytest.mark.parametrize("n, warns", [(20_000 - RESERVE, False), (20_000, True)])
def test_the_limit_of_open_files_is_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, n: int, warns: bool
) -> None:
    limits = Limits(1_024, 20_000)
    monkeypatch.setattr(resource, "getrlimit", limits.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", limits.setrlimit)
    assert allow_connections(n) == 20_000
    assert limits.now == (20_000, 20_000)
    assert bool(caplog.records) is warns
