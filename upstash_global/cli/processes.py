"""The processes of a cluster on this machine: one Child per node and per edge, with its log, its readiness and its end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import upstash_global
from upstash_global.cli import files
from upstash_global.cli.client import Cluster, Member
from upstash_global.cli.failures import Failed
from upstash_global.config import LISTENERS, Address, Config, EdgeConfig, NodeConfig

NODE_COMMAND: tuple[str, ...] = (sys.executable, "-m", "upstash_global", "node", "--end-with-parent")
EDGE_COMMAND: tuple[str, ...] = (sys.executable, "-m", "upstash_global", "edge", "--end-with-parent")
# `-m` looks in the working directory first. With this one the nodes run the package that this process runs, compiled or
# not, and not the sources that the user may happen to stand in.
PACKAGE_DIRECTORY: Final = Path(upstash_global.__file__).resolve().parent.parent
POLL_S: Final = 0.1
LOG_LINES: Final = 20
LOG_BYTES: Final = 64 << 10


class Child:
    """A node or an edge as a process of its own session, so that Ctrl-C reaches `up` alone, which then ends it in order.

    Edges may share one: the first gives it its name.
    """

    def __init__(self, place: NodeConfig | EdgeConfig, directory: Path, others: Sequence[EdgeConfig] = ()) -> None:
        self.place = place
        self.places = [place, *others]
        self.name = place.name
        self.directory = directory / place.name
        self.log = self.directory / files.NODE_LOG
        self.log_start = 0  # where this run begins in the log
        self.process: asyncio.subprocess.Process | None = None
        self.is_ready = False
        self.was_asked_to_stop = False

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.returncode is not None

    async def start(self, cluster_file: Path) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.log_start = log.tell()
            is_node = isinstance(self.place, NodeConfig)
            self.process = await asyncio.create_subprocess_exec(
                *(NODE_COMMAND if is_node else EDGE_COMMAND),
                *("--config", str(cluster_file)),
                *(word for place in self.places for word in ("--name", place.name)),
                *(("--data-dir", str(self.directory)) if is_node else ()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=PACKAGE_DIRECTORY,
            )

    async def ended(self) -> str:
        """Wait for the process to end; how it did, in words."""
        assert self.process is not None
        code = await self.process.wait()
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was ended by {signal.Signals(-code).name}"

    async def ready(self, cluster: Cluster) -> None:
        """Wait until it says that it is ready; an edge without an admin port has no word for that."""
        for place in self.places:
            member = Member(place.name, place.region, f"http://{place.admin}")
            while place.admin is not None and not await asyncio.to_thread(cluster.is_ready, member):
                await asyncio.sleep(POLL_S)
        self.is_ready = True

    async def stop(self, grace_s: float, hurry: asyncio.Event) -> bool:
        """Ask it to end, and make it end when the time is over or there is no time. Whether asking was enough."""
        self.was_asked_to_stop = True
        if self.process is None:
            return True
        if self.process.returncode is None:
            self.process.terminate()
        waiting = [asyncio.create_task(self.process.wait()), asyncio.create_task(hurry.wait())]
        await asyncio.wait(waiting, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if self.process.returncode is not None:
            return True
        self.process.kill()
        await self.process.wait()
        return False

    def last_lines(self) -> str:
        """The end of what this run has logged, indented."""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self.log_start, size - LOG_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()[-LOG_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (nothing was logged)"


async def start_all(
    children: Sequence[Child],
    cluster_file: Path,
    cluster: Cluster,
    timeout_s: float,
    stop: asyncio.Event,
    on_ready: Callable[[Child], None],
) -> None:
    """Start them and wait until all are ready, or until somebody asks to stop. Raises Failed if one ends or is late."""
    for child in children:
        await child.start(cluster_file)
    waiting = {asyncio.create_task(_ready(child, cluster, stop, on_ready)) for child in children}
    stopped = asyncio.create_task(stop.wait())
    try:
        async with asyncio.timeout(timeout_s):
            while waiting and not stop.is_set():
                done, _ = await asyncio.wait({*waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
                for task in done & waiting:
                    waiting.discard(task)
                    task.result()
    except TimeoutError:
        late = [child for child in children if not child.is_ready]
        told = "\n".join(f"  {child.name}:\n{child.last_lines()}" for child in late)
        raise Failed(f"not ready after {timeout_s:g} s:\n{told}") from None
    finally:
        for task in (*waiting, stopped):
            task.cancel()


async def _ready(child: Child, cluster: Cluster, stop: asyncio.Event, on_ready: Callable[[Child], None]) -> None:
    """Wait for one of them. Raises Failed if it ends instead."""
    ready = asyncio.create_task(child.ready(cluster))
    ended = asyncio.create_task(child.ended())
    try:
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done() and not stop.is_set():
            raise Failed(f"{child.name} {ended.result()}; its last lines in {child.log}:\n{child.last_lines()}")
        on_ready(child)
    finally:
        ready.cancel()
        ended.cancel()


def check_ports(config: Config) -> None:
    """Raises Failed with every address that is taken, by another program or twice in the configuration."""
    taken = []
    held: list[socket.socket] = []
    try:
        for listener, name, place in _wanted(config):
            probe = socket.socket(socket.AF_INET6 if ":" in place.host else socket.AF_INET, socket.SOCK_STREAM)
            held.append(probe)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((place.host, place.port))
            except OSError as failure:
                taken.append(f"  {place} ({listener} of {name}): {failure.strerror or failure}")
    finally:
        for probe in held:
            probe.close()
    if taken:
        raise Failed("cannot listen at\n" + "\n".join(taken) + "\nAnother --base-port may be free.")


def _wanted(config: Config) -> Iterator[tuple[str, str, Address]]:
    """(listener, who listens, where) of everything that a cluster on this machine listens at."""
    for node in config.nodes:
        for listener in LISTENERS:
            yield listener, node.name, getattr(node, listener)
    for edge in config.edges:
        yield "listen", edge.name, edge.listen
        if edge.admin is not None:
            yield "admin", edge.name, edge.admin
