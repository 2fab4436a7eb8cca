"""How long a new user waits: from `make up` in a fresh clone until all six nodes are ready, and the next time."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.report import Aim, Table, at_most
from bench.servers import POLL_S, REPOSITORY, STOP_S, Unavailable
from bench.wide import base_port

READY_S: Final = 1500.0  # compiling included
FIRST: Final[dict[str, Aim]] = {
    "compiled": at_most("first", 180, " s"),
    "pure Python": at_most("first", 60, " s"),
}
AGAIN: Final = at_most("again", 5, " s")

_NO_REGISTRY: Final = re.compile(r"NewConnectionError|ConnectTimeoutError|ProxyError|name resolution")
# What a `make` or a virtual environment around us would pass on.
_OURS: Final = ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "UPSTASH_GLOBAL_PURE")


class NoRegistry(Unavailable):
    """PyPI cannot be reached."""


def measure(directory: Path) -> list[Table]:
    table = Table(
        "Starting",
        "`make up ARGS=--no-wan` in a fresh clone of the HEAD of this repository, until all six nodes are ready, in seconds: "
        "first with making .venv, installing from PyPI through pip's cache and compiling, then again on what is there.",
        ["build", ">first s", ">again s"],
    )
    for name, first_aim in FIRST.items():
        place = directory / name.split()[0]
        place.mkdir(parents=True)
        clone = cloned(place)
        times: list[float] = []
        for _ in range(2):
            with made_up(clone, name != "compiled", place / "data") as (_, seconds):
                times.append(seconds)
        first, again = times
        table.add(name, f"{first:.1f}", f"{again:.1f}", aims=[(first_aim, first), (AGAIN, again)])
    return [table]


def cloned(directory: Path) -> Path:
    """A clone of the HEAD of this repository. Raises Unavailable if this is none."""
    clone = directory / "clone"
    done = subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Unavailable(f"this is no git repository: {done.stderr.strip()}")
    return clone


@contextmanager
def made_up(clone: Path, pure: bool, data: Path) -> Iterator[tuple[dict[str, Any], float]]:
    """`make up --no-wan` there: what endpoints.json says, and after how many seconds it was there.

    Ended by SIGTERM. Raises Unavailable if it does not come up, or does not end with the exit code 0.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    environment["UPSTASH_GLOBAL_PURE"] = "1" if pure else "0"
    endpoints, log = data / "endpoints.json", data.with_suffix(".log")
    command = ["make", "up", f"ARGS=--no-wan --data-dir {data} --base-port {base_port()}"]
    began = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=clone, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, process_group=0
        )
    try:
        while not endpoints.exists():
            if process.poll() is not None or time.monotonic() - began > READY_S:
                told = log.read_text(errors="replace")[-3000:]
                raise (NoRegistry if _NO_REGISTRY.search(told) else Unavailable)(f"`make up` did not come up:\n{told}")
            time.sleep(POLL_S)
        yield json.loads(endpoints.read_text()), time.monotonic() - began
        os.kill(int((data / "up.lock").read_text()), signal.SIGTERM)
        if process.wait(STOP_S) != 0:
            raise Unavailable(f"`make up` ended with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
    finally:
        if process.poll() is None:  # make, pip or a compiler, or `up`, which then ends its nodes
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
