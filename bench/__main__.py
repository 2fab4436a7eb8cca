"""The words of the benchmark: which parts to run, and where the results go."""

import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from bench import against_redis, crowd, growth, lag, memory, rest, scale, scoped, start, wide
from bench.report import Table, missing, summary
from bench.servers import REPOSITORY, Unavailable, is_compiled

RESULTS: Final = Path(__file__).parent / "RESULTS.md"
PARTS: Final[dict[str, Callable[[Path], list[Table]]]] = {
    "redis": against_redis.measure,
    "scale": scale.measure,
    "growth": growth.measure,
    "rest": rest.measure,
    "crowd": crowd.measure,
    "lag": lag.measure,
    "memory": memory.measure,
    "wan": wide.measure,
    "scoped": scoped.measure,
    "start": start.measure,
}


@click.command()
@click.option("--only", default=",".join(PARTS), show_default=True, help="The parts to measure.")
@click.option("--write/--no-write", default=True, help="Whether a whole run replaces bench/RESULTS.md.")
def main(only: str, write: bool) -> None:
    """Measure the installed build against redis-server on this machine; some minutes for all of it."""
    names = only.split(",")
    for name in names:
        if name not in PARTS:
            raise click.UsageError(f"there is no part {name}; the parts are {', '.join(PARTS)}")
    if shutil.which("redis-server") is None or shutil.which("redis-benchmark") is None:
        raise click.ClickException(
            "redis-server and redis-benchmark are needed (apt-get install redis-server redis-tools)"
        )
    if not is_compiled():
        click.echo("The installed build is pure Python: these are not the figures to compare.", err=True)
    console = Console(width=160)
    tables: list[Table] = []
    for name in names:
        began = time.monotonic()
        console.print(f"measuring {name} …")
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            try:
                measured = PARTS[name](Path(directory))
            except Unavailable as reason:  # the other parts are worth as much without it
                measured = [missing(name, str(reason))]
        for table in measured:
            table.show(console)
        tables += measured
        console.print(f"{name}: {time.monotonic() - began:.0f} s\n")
    console.print(summary(tables))
    if write and set(names) == set(PARTS):
        RESULTS.write_text(
            "\n".join([_heading(), summary(tables)]) + "\n" + "\n".join(table.markdown() for table in tables)
        )
        console.print(f"written to {RESULTS.relative_to(REPOSITORY)}")


def _heading() -> str:
    """When, of which commit, on what."""
    commit = _output("git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD") or "unknown commit"
    changed = " with uncommitted changes" if _output("git", "-C", str(REPOSITORY), "status", "--short") else ""
    build = "compiled" if is_compiled() else "pure Python"
    redis = _output("redis-server", "--version").partition("v=")[2].split(" ")[0]
    cpus = len(Path("/proc/cpuinfo").read_text().split("processor\t:")) - 1
    load = Path("/proc/loadavg").read_text().split()[0]
    return (
        f"# Measured\n\n{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit}{changed}, {build} build, "
        f"Python {platform.python_version()}, redis-server {redis}, {cpus} CPUs, load average {load} at the end. "
        "Made by `make bench`.\n"
    )


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
