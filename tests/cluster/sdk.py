"""The official JavaScript packages and the Workers runtime, installed once into a cache outside the repository."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

VERSIONS: Final = ["redis-1.34.4", "redis-1.37", "@upstash/redis"]  # of the client; names of package.json

CACHE = Path.home() / ".cache" / "upstash-global-tests" / "npm"
HERE = Path(__file__).parent
LIMIT_S = 300.0


def run_script(name: str, **given: Any) -> dict[str, Any]:
    """What a script of this directory reports when it is run with `given`; skips if the packages cannot be had."""
    return _run(prepare(name), given)


def prepare(name: str) -> Path:
    """A script of this directory, beside the packages that it needs; skips if they cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    _install()
    script = CACHE / name
    if not script.exists() or script.read_text() != (HERE / name).read_text():
        shutil.copy(HERE / name, script)
    return script


def run_alone(script: Path, **given: Any) -> dict[str, Any]:
    """The same for a script that needs no packages."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    return _run(script, given)


def _run(script: Path, given: dict[str, Any]) -> dict[str, Any]:
    command = ["node", script.name, json.dumps(given)]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _install() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (HERE / "package.json").read_text()
        installed = CACHE / "installed.json"  # what package.json said when npm last succeeded
        if installed.exists() and installed.read_text() == wanted:
            return
        (CACHE / "package.json").write_text(wanted)
        try:
            done = subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"],
                cwd=CACHE,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm could not install the packages in time")
        if done.returncode != 0:
            pytest.skip(f"npm could not install the packages: {done.stderr.strip()[-300:]}")
        installed.write_text(wanted)
