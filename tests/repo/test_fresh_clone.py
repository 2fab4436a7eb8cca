"""What a new user does: clone, `make up`, write, read in all regions, end it; and the same again on what is there.

The HEAD of this repository is cloned, and `make` makes its own .venv there, from PyPI. Times are printed (`pytest -s`), and
judged by `make bench` alone.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from bench.servers import Unavailable
from bench.start import NoRegistry, cloned, made_up

LIMIT_S: Final = 120.0  # of an answer; nothing waits for it otherwise

pytestmark = pytest.mark.cluster


def client(endpoints: dict[str, Any], node: dict[str, Any]) -> "redis.Redis":
    host, _, port = node["resp"].rpartition(":")
    return redis.Redis(
        host, int(port), password=endpoints["password"], decode_responses=True, socket_timeout=2 * LIMIT_S
    )


@pytest.mark.parametrize("build", ["pure", pytest.param("compiled", marks=pytest.mark.long)])
def test_make_up_in_a_fresh_clone(tmp_path: Path, build: str) -> None:
    try:
        clone, data = cloned(tmp_path), tmp_path / "data"
    except Unavailable as reason:
        pytest.skip(str(reason))
    for run in ("first", "second"):
        try:
            with made_up(clone, build == "pure", data) as (endpoints, seconds):
                print(f"make up, {build}, {run} start: ready after {seconds:.1f} s", file=sys.stderr)
                nodes = endpoints["nodes"]
                assert len(nodes) == 6
                with client(endpoints, nodes[-1]) as writer:
                    writer.set(run, f"from {nodes[-1]['name']}")
                    assert writer.wait(5, int(LIMIT_S * 1000)) == 5
                for node in nodes:
                    with client(endpoints, node) as reader:
                        assert reader.get(run) == f"from {nodes[-1]['name']}"
                        assert reader.get("first") is not None  # in the second run, too: the data is still there
        except NoRegistry as reason:
            pytest.skip(f"PyPI cannot be reached from here: {reason}")
        assert not (data / "endpoints.json").exists(), "it has not ended cleanly"
    version = subprocess.run([clone / ".venv/bin/upstash-global", "version"], capture_output=True, text=True, cwd="/")
    reason_to_stay_pure = clone / "build" / "uncompiled.txt"
    expected = "pure Python" if build == "pure" or reason_to_stay_pure.exists() else "compiled"
    assert expected in version.stdout
