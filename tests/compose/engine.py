"""A Docker engine for the tests: the one that already answers, or a private dockerd that ends with them.

A private engine needs root and Debian's `docker.io`, nothing else: its socket and state lie in a temporary directory,
its images in a cache directory that the next run finds again (`UPSTASH_GLOBAL_TEST_CACHE`, default
`~/.cache/upstash-global-tests`). Containers, networks and volumes that a killed run left there are removed first.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

START_SECONDS: Final = 60
STOP_SECONDS: Final = 30


class NoEngine(Exception):
    """No Docker engine can be had here; the text says why, for the skip."""


class Engine:
    """One reachable engine: runs docker and docker-compose against it."""

    def __init__(self, host: str | None) -> None:
        self.environment: Final = dict(os.environ) | ({"DOCKER_HOST": host} if host else {})

    def docker(self, *arguments: str, timeout: float = 120) -> str:
        return self.run(["docker", *arguments], timeout=timeout)

    def compose(self, *arguments: str, variables: Mapping[str, str], timeout: float = 120) -> str:
        return self.run([*compose_command(), *arguments], variables=variables, timeout=timeout)

    def run(self, argv: Sequence[str], *, variables: Mapping[str, str] | None = None, timeout: float) -> str:
        """What the program said on stdout. A failure raises AssertionError with all that it said."""
        done = subprocess.run(
            argv, env=self.environment | dict(variables or {}), capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def answers(self) -> bool:
        try:
            self.docker("version", timeout=10)
        except (AssertionError, subprocess.TimeoutExpired):
            return False
        return True

    def has_image(self, tag: str) -> bool:
        return bool(self.docker("image", "ls", "--quiet", tag).strip())


@contextmanager
def docker_engine() -> Iterator[Engine]:
    """Yield an engine. Raises NoEngine when there is none and none can be started."""
    if shutil.which("docker") is None:
        raise NoEngine("docker is not installed (Debian: apt-get install docker.io docker-compose)")
    if not compose_command():
        raise NoEngine("neither `docker compose` nor docker-compose is installed")
    present = Engine(os.environ.get("DOCKER_HOST"))
    if present.answers():
        yield present
        return
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        raise NoEngine("no Docker engine answers, and starting one needs dockerd and root")
    with private_engine(cache_directory() / "docker") as private:
        yield private


@contextmanager
def private_engine(images: Path) -> Iterator[Engine]:
    """Run a dockerd of our own whose images are kept in the given directory."""
    images.mkdir(parents=True, exist_ok=True)
    # A short path: a unix socket's may have 107 bytes.
    state = Path(tempfile.mkdtemp(prefix="upstash-global-docker-"))
    log = state / "dockerd.log"
    engine = Engine(f"unix://{state}/docker.sock")
    with only_user_of(images), log.open("wb") as output:
        dockerd = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "TERM"),  # a killed test run takes its engine along
                "dockerd",
                f"--host=unix://{state}/docker.sock",
                f"--data-root={images}",
                f"--exec-root={state}/exec",
                f"--pidfile={state}/docker.pid",
                "--bridge=none",  # every container of ours names its networks
            ],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            wait_for(engine, dockerd, log)
            remove_leftovers(engine)
            yield engine
        finally:
            dockerd.terminate()
            try:
                dockerd.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                dockerd.kill()
                dockerd.wait()
            remove(state)


@contextmanager
def only_user_of(directory: Path) -> Iterator[None]:
    """Hold the directory's lock: two engines must not share their images."""
    with (directory.parent / f"{directory.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoEngine(f"another test run uses the engine in {directory}") from None
        yield


def wait_for(engine: Engine, dockerd: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the engine answers. Raises NoEngine with the end of its log if it never does."""
    for _ in range(START_SECONDS):
        if engine.answers():
            return
        try:
            dockerd.wait(1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise NoEngine("dockerd did not start: " + log.read_text(errors="replace")[-2000:])


def remove_leftovers(engine: Engine) -> None:
    """Remove what a killed run has left, and layers of yesterday's builds; nobody else uses a private engine."""
    containers = engine.docker("ps", "--all", "--quiet").split()
    if containers:
        engine.docker("rm", "--force", "--volumes", *containers)
    engine.docker("network", "prune", "--force")
    engine.docker("volume", "prune", "--force")
    engine.docker("image", "prune", "--force", "--filter", "until=24h")


def remove(state: Path) -> None:
    """Remove a dockerd's directory; it leaves the network namespace of its host mounted there."""
    for mount in Path("/proc/mounts").read_text().splitlines():
        place = mount.split()[1]
        if place.startswith(f"{state}/"):
            subprocess.run(["umount", place], check=True)
    shutil.rmtree(state)


def compose_command() -> list[str]:
    """`docker compose` where the plugin is installed, else docker-compose 1.29, else empty."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    standalone = shutil.which("docker-compose")
    return [standalone] if standalone else []


def cache_directory() -> Path:
    chosen = os.environ.get("UPSTASH_GLOBAL_TEST_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "upstash-global-tests"
