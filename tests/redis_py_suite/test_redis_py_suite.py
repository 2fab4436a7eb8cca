"""redis-py's own tests against a node: what its source package on PyPI has, fetched once, kept in a cache, never in the project.

Run are the files that talk to a single server. Those that need a cluster, a sentinel, TLS or a server of their own making are not.
"""

import fcntl
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as xml
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest

from tests.compose.engine import cache_directory
from tests.server.serving import OwnProcess
from upstash_global.engine import engine

pytestmark = pytest.mark.cluster  # a real process for each part

VERSION: Final = version("redis")  # the tests of what our own tests use
LIMIT_S: Final = 400  # of one part
TEST_LIMIT_S: Final = 60
FETCH_LIMIT_S: Final = 240
RUNNER: Final = (
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "pybreaker",
    "ujson",
)  # what the tests and their set-up import

PARTS: Final = {
    "commands": ("test_commands", "test_hash", "test_function", "test_json"),
    "connections": (
        "test_pubsub",
        "test_pipeline",
        "test_lock",
        "test_scripting",
        "test_monitor",
        "test_connection_pool",
    )
    + ("test_cache", "test_encoding"),
    "asyncio": ("test_asyncio/test_commands", "test_asyncio/test_hash"),
    "asyncio connections": tuple(
        f"test_asyncio/test_{name}"
        for name in ("pubsub", "pipeline", "lock", "scripting", "monitor", "connection_pool", "cwe_404")
    ),
}
_IS_PURE: Final = (engine.__file__ or "").endswith(".py")  # the compiled build is the one that users run
IN_MAKE_TEST: Final = () if _IS_PURE else ("commands", "connections")

# They fail, and why.
ONE_DATABASE: Final = "there is one database"
ORDER: Final = "paths with `$..` give their values in Upstash's order"
EXACT: Final = "`~` trims exactly, as at Upstash"
DIFFERS: Final = {
    "test_commands::test_select": ONE_DATABASE,
    "test_commands::test_copy_to_another_database": ONE_DATABASE,
    "test_asyncio.test_commands::test_bitfield_operations[single]": ONE_DATABASE,
    "test_asyncio.test_commands::test_bitfield_operations[pool]": ONE_DATABASE,
    "test_commands::test_xtrim_minlen_and_length_args": EXACT,
    "test_commands::test_module": "there are no modules",
    "test_commands::test_module_loadex": "there are no modules",
    "test_json::test_json_mget_dollar": ORDER,
    "test_json::test_numby_commands_dollar": ORDER,
    "test_json::test_strappend_dollar": ORDER,
    "test_json::test_strlen_dollar": ORDER,
    "test_json::test_arrappend_dollar": ORDER,
    "test_json::test_arrinsert_dollar": ORDER,
    "test_json::test_arrlen_dollar": ORDER,
    "test_json::test_arrpop_dollar": ORDER,
    "test_json::test_arrtrim_dollar": ORDER,
    "test_json::test_objlen_dollar": ORDER,
    "test_json::test_toggle_dollar": ORDER,
}
# They ask a server at a port of their own choice.
ELSEWHERE: Final = "test_client_setinfo or test_psync or test_multiple_connections or test_max_connections or test_reuse_previously_released"


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=() if part in IN_MAKE_TEST else pytest.mark.long) for part in PARTS]
)
def test_what_redis_py_expects_of_a_server(part: str, tmp_path: Path) -> None:
    place = _runner()
    report = tmp_path / "report.xml"
    with OwnProcess(tmp_path, insecure=True) as node:
        url = f"redis://127.0.0.1:{node.resp}/0"
        words = ["-q", "-p", "no:cacheprovider", f"--timeout={TEST_LIMIT_S}", f"--junitxml={report}"]
        words += ["-m", "not onlycluster", "-k", f"not ({ELSEWHERE})", f"--redis-url={url}", f"--redis-mod-url={url}"]
        words += [f"tests/{name}.py" for name in PARTS[part]]
        said = subprocess.run(
            [place / "bin" / "python", "-m", "pytest", *words],
            cwd=place / "suite", capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip
        bugs = [line for line in node.log.read_text(errors="replace").splitlines() if " bug: " in line]
    assert report.exists(), said.stdout[-2000:] + said.stderr[-2000:]
    passed, failed = _outcomes(report)
    known = {name for name in DIFFERS if name.partition("::")[0] in {file.replace("/", ".") for file in PARTS[part]}}
    assert failed == known, said.stdout[-6000:]
    assert len(passed) > 10 * len(PARTS[part]), "most were skipped"
    assert not bugs


def _outcomes(report: Path) -> tuple[set[str], set[str]]:
    """The tests that passed, and those that failed, as `test_json::test_toggle_dollar`."""
    passed, failed = set(), set()
    for case in xml.parse(report).iter("testcase"):
        module = case.attrib["classname"].removeprefix("tests.").split(".Test")[0]
        name = f"{module}::{case.attrib['name']}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
        elif case.find("skipped") is None:
            passed.add(name)
    return passed, failed - passed


def _runner() -> Path:
    """A virtual environment with redis-py and what runs its tests, which lie in its folder `suite`; skips without it."""
    directory = cache_directory() / "redis-py-suite"
    directory.mkdir(parents=True, exist_ok=True)
    place = directory / VERSION
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "suite").exists():
            try:
                _install(place)
            except (subprocess.SubprocessError, OSError, tarfile.TarError) as failure:
                shutil.rmtree(place, ignore_errors=True)
                pytest.skip(f"redis-py's source package cannot be had: {failure}")
    return place


def _install(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(place))
    python, quiet = str(place / "bin" / "python"), ("--quiet", "--disable-pip-version-check")
    _run(python, "-m", "pip", "install", *quiet, f"redis=={VERSION}", *RUNNER)
    fetched = place / "fetched"
    source = ("--no-deps", "--no-binary", "redis", "--dest", str(fetched), f"redis=={VERSION}")
    _run(python, "-m", "pip", "download", *quiet, *source)
    [archive] = fetched.glob("redis-*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(fetched, filter="data")
    unpacked = fetched / archive.name.removesuffix(".tar.gz")
    (unpacked / "suite").mkdir()
    shutil.move(unpacked / "tests", unpacked / "suite")
    shutil.copy(unpacked / "pyproject.toml", unpacked / "suite")  # its marks
    shutil.move(unpacked / "suite", place)  # last: what is there is whole
    shutil.rmtree(fetched)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=FETCH_LIMIT_S)
