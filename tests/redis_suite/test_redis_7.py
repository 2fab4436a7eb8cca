"""Redis 7.0's own tests, as far as they can be run against a server that is there already."""

from pathlib import Path

import pytest

from tests.redis_suite.running import Unit, faults, parameters, run

pytestmark = pytest.mark.cluster  # a real process for each unit


@pytest.mark.parametrize("unit", parameters("7.0"))
def test_a_unit_fails_only_where_it_is_known_to(unit: Unit, tmp_path: Path) -> None:
    found = faults(unit, run(unit, tmp_path))
    assert not found, found
