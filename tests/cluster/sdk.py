"""The official JavaScript client, installed once into a cache outside the repository."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CACHE = Path.home() / ".cache" / "upstash-global-tests" / "npm"
HERE = Path(__file__).parent
LIMIT_S = 300.0


def javascript_report(token: str, urls: list[str]) -> dict[str, Any]:
    """What sdk.mjs saw; skips if the client cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    _install()
    done = subprocess.run(
        ["node", "sdk.mjs", json.dumps({"token": token, "urls": urls})],
        cwd=CACHE,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _install() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (HERE / "package.json").read_text()
        installed = CACHE / "installed.json"  # what package.json said when npm last succeeded
        if not installed.exists() or installed.read_text() != wanted:
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
                pytest.skip("npm could not install @upstash/redis in time")
            if done.returncode != 0:
                pytest.skip(f"npm could not install @upstash/redis: {done.stderr.strip()[-300:]}")
            installed.write_text(wanted)
        shutil.copy(HERE / "sdk.mjs", CACHE / "sdk.mjs")
