"""Redis's own tests, as Debian's source packages have them: fetched by apt-get once, kept in a cache, never in the project.

Only the upstream archive of a package is fetched, and of that only what its tests read is unpacked. No private place of
apt's is shared with the system, so this needs no root and changes nothing there.
"""

import fcntl
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.compose.engine import cache_directory
from tests.compose.images import MIRROR

SUITES: Final = {"7.0": "bookworm", "8.0": "trixie"}  # version of Redis -> Debian's release that ships it
NEEDED: Final = ("runtest", "tests", "redis.conf", "src/commands", "src/help.h")  # below the archive's own directory
TOOLS: Final = ("redis-cli", "redis-benchmark", "redis-server", "redis-check-aof", "redis-check-rdb")  # tests call some
LIMIT_S: Final = 240


def unpack(version: str, place: Path) -> Path:
    """A fresh tree of the tests of this Redis below `place`, with Debian's tools in its src; skips if it cannot be had."""
    for tool in ("tclsh", "redis-cli", "redis-benchmark"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    archive = _archive(version)
    if archive is None or not re.search(rf"_{re.escape(version)}\.", archive.name):
        pytest.skip(f"Debian's source package of Redis {version} cannot be had")
    with tarfile.open(archive) as opened:
        opened.extractall(place, members=_needed(opened), filter="data")
    [tree] = place.iterdir()
    (tree / "src").mkdir(exist_ok=True)
    for tool in TOOLS:
        binary = shutil.which(tool)
        if binary is not None:
            (tree / "src" / tool).symlink_to(binary)
    (tree / "tests" / "tmp").mkdir(exist_ok=True)
    return tree


def _needed(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        below = member.name.partition("/")[2]
        if any(below == name or below.startswith(name + "/") for name in NEEDED):
            yield member


@cache
def _archive(version: str) -> Path | None:
    """From the cache, or else fetched into it; tried once, for a network that is not there may take its time to say so."""
    directory = cache_directory() / "redis-suite" / version
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _fetched(directory) is None:
            _fetch(SUITES[version], directory)
        return _fetched(directory)


def _fetched(directory: Path) -> Path | None:
    return next(iter(sorted(directory.glob("redis_*.orig.tar.*"))), None)


def _fetch(suite: str, directory: Path) -> None:
    """Leave the archive in the directory, or nothing."""
    if shutil.which("apt-get") is None:
        return
    own = directory / "apt"
    for name in ("lists/partial", "cache/archives/partial", "parts"):
        (own / name).mkdir(parents=True, exist_ok=True)
    (own / "sources.list").write_text(f"deb-src {MIRROR} {suite} main\n")
    options = [
        f"Dir::Etc::SourceList={own / 'sources.list'}",
        f"Dir::Etc::SourceParts={own / 'parts'}",
        f"Dir::State::Lists={own / 'lists'}",
        f"Dir::Cache={own / 'cache'}",
        "Acquire::Languages=none",
        "APT::Get::List-Cleanup=false",
    ]
    apt_get = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    try:
        for words in (["update"], ["source", "--download-only", "--tar-only", "redis"]):
            subprocess.run([*apt_get, *words], cwd=directory, capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return
    finally:
        shutil.rmtree(own)  # the lists of a whole release, for one file
