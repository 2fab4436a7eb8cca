"""`upstash-global bench`: set-ups beside one another, in a cluster of their own that ends with the command."""

import asyncio
import resource
import secrets
import signal
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import click

from upstash_global.cli import files
from upstash_global.cli.client import Cluster
from upstash_global.cli.failures import Failed, reporting_mistakes
from upstash_global.cli.output import output_option, show, table
from upstash_global.cli.processes import Child, check_ports, start_all
from upstash_global.cli.wan import run_loop
from upstash_global.comparison.load import COLD, HOT, PHASES, WRITES, Load, Settings
from upstash_global.comparison.places import PLACES, Place
from upstash_global.comparison.report import write_page
from upstash_global.comparison.results import summarise
from upstash_global.comparison.world import World, n_ports
from upstash_global.config import Credentials, Tokens, to_yaml

if TYPE_CHECKING:  # see output.py
    from rich.console import RenderableType
    from rich.progress import Progress, TaskID

FIRST_PORT: Final = 12_000  # below the ports of outgoing connections
LAST_PORT: Final = 31_000
PORT_TRIES: Final = 50
STOP_GRACE_S: Final = 10.0
HOT_SHARE: Final = 1 / 6  # of --seconds
PROBE_RATE: Final = 0.2  # writes a second from each place through each target
QUICK_S: Final = 4.0
QUICK_PLACES: Final = ("us-east-1", "tokyo")
SECRET_BYTES: Final = 24


@click.group()
def bench() -> None:
    """Measure what a set-up gives its clients."""


@bench.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=3600),
    default=120.0,
    show_default=True,
    help="Of reads while keys are written; a sixth of it before that, while nothing is.",
)
@click.option("--keys", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many keys are read.")
@click.option(
    "--write-rate",
    type=click.FloatRange(min=0.01, max=1000),
    default=1.0,
    show_default=True,
    help="Writes a second of each key, at random.",
)
@click.option(
    "--read-rate",
    type=click.FloatRange(min=0.01, max=1000),
    default=25.0,
    show_default=True,
    help="Reads a second of each key from each place at each target, at random.",
)
@click.option(
    "--place",
    "names",
    multiple=True,
    type=click.Choice([place.name for place in PLACES]),
    help="Where clients are; repeatable.  [default: all nine]",
)
@click.option("--quick", is_flag=True, help="A few seconds, two places: to see that it works, not to believe it.")
@click.option("--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with charts here.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the random times at which clients ask.")
@click.option(
    "--base-port", type=click.IntRange(1024, 65_000), help="Ports follow one another from here.  [default: free ones]"
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), default=180.0, show_default=True, help="To be ready, in s."
)
@output_option
@reporting_mistakes
def edge(
    seconds: float,
    keys: int,
    write_rate: float,
    read_rate: float,
    names: tuple[str, ...],
    quick: bool,
    page: Path | None,
    seed: int,
    base_port: int | None,
    timeout_s: float,
    output: str,
) -> None:
    """Compare one region, edge caches (TTL, log), a global database, and both, from places all over the world.

    Starts a cluster of its own with simulated distances and takes it down again; under three minutes with the defaults.
    """
    if quick:
        seconds, names = min(seconds, QUICK_S), names or QUICK_PLACES
    settings = Settings(keys, read_rate, write_rate, PROBE_RATE, seconds * HOT_SHARE, seconds, seed)
    places = [place for place in PLACES if not names or place.name in names]
    if page is not None and not page.absolute().parent.is_dir():
        raise Failed(f"there is no directory {page.absolute().parent}")
    _allow_many_files()
    started = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="upstash-global-bench-") as directory:
        load = run_loop(_Comparison(places, settings, Path(directory), base_port, timeout_s).run())
    results = summarise(load, started)
    if page is not None:
        write_page(page, results, load)
    show(output, results, lambda: _shown(results))
    if page is not None:
        click.echo(f"the page is {page}", err=True)


def _allow_many_files() -> None:
    """Each client connection to a far place is three sockets here: the client's, and two of the proxy."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@dataclass
class _Comparison:
    """One run: the cluster up, the load, the cluster down."""

    places: Sequence[Place]
    settings: Settings
    directory: Path
    base_port: int | None
    timeout_s: float

    async def run(self) -> Load:
        """Raises Failed if the cluster cannot be started, a client's connection is lost to the leader, or somebody asks to stop."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        stop, hurry = asyncio.Event(), asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        world = self._world()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        async with AsyncExitStack() as stack:
            progress = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
            await world.network.open()
            stack.push_async_callback(world.network.close)
            await self._start(world, stack, stop, hurry, progress)
            load = Load(world, self.settings, str(world.config.credentials.tokens.standard), _reader(world))
            running = asyncio.create_task(self._measure(load, progress))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not running.done():
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                raise Failed("stopped before the end: there are no results")
            try:
                running.result()
            except OSError as failure:
                raise Failed(f"the comparison broke off: {failure}") from None
            return load

    def _world(self) -> World:
        """On ports that are free. Raises Failed if there are none."""
        names = ("password", "standard", "read_only", "cluster", "admin")
        made = {name: secrets.token_urlsafe(SECRET_BYTES) for name in names}
        tokens = Tokens(made["standard"], made["read_only"])
        credentials = Credentials(made["password"], tokens, made["cluster"], made["admin"])
        random = Random(self.settings.seed)
        if self.base_port is not None:
            world = World(self.places, self.base_port, credentials, random)
            check_ports(world.config)
            return world
        for _ in range(PORT_TRIES):
            base_port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT - n_ports(len(PLACES)))
            world = World(self.places, base_port, credentials, random)
            try:
                check_ports(world.config)
            except Failed:
                continue
            return world
        raise Failed("no ports are free; --base-port says where to look")

    async def _start(
        self, world: World, stack: AsyncExitStack, stop: asyncio.Event, hurry: asyncio.Event, progress: "Progress"
    ) -> None:
        config = world.config
        cluster_file = self.directory / files.CLUSTER
        files.write_private(cluster_file, to_yaml(config, reveal_secrets=True))
        cluster = Cluster([], config.credentials.admin)
        nodes = [Child(node, self.directory) for node in config.nodes]
        edges = [Child(first, self.directory, others) for first, *others in map(world.edges_at, _names(self.places))]
        task = progress.add_task("starting nodes and edges", total=len(nodes) + len(edges))

        async def end() -> None:
            await asyncio.gather(*(child.stop(STOP_GRACE_S, hurry) for child in (*edges, *nodes)))

        stack.push_async_callback(end)
        for children in (nodes, edges):
            await start_all(children, cluster_file, cluster, self.timeout_s, stop, lambda _: progress.advance(task))
        if stop.is_set():
            raise Failed("stopped before the end: there are no results")

    async def _measure(self, load: Load, progress: "Progress") -> None:
        """Run the load, and show how far each phase is."""
        texts = {COLD: "cold: first calls", HOT: "hot: nothing is written", WRITES: "reads while keys are written"}
        totals_s = {COLD: None, HOT: self.settings.hot_s, WRITES: self.settings.seconds}  # of cold calls nobody knows
        tasks: dict[str, TaskID] = {
            phase: progress.add_task(texts[phase], total=totals_s[phase], start=False) for phase in PHASES
        }
        current = PHASES[0]

        def begin(phase: str) -> None:
            nonlocal current
            progress.update(tasks[current], total=totals_s[current] or 1, completed=totals_s[current] or 1)
            current = phase
            progress.reset(tasks[phase], total=totals_s[phase])

        def tell(passed_s: float) -> None:
            progress.update(tasks[current], completed=passed_s)

        await load.run(begin, tell)


def _names(places: Sequence[Place]) -> list[str]:
    return [place.name for place in places]


def _reader(world: World) -> str:
    return str(world.config.credentials.tokens.read_only)


# -- showing ----------------------------------------------------------------------------------------------------------


def _shown(results: dict[str, Any]) -> "RenderableType":
    """The figures over all places, a line for each phase and target."""
    from rich.console import Group
    from rich.text import Text

    labels = {target["name"]: target["label"] for target in results["targets"]}
    writes = {row["target"]: row["latency_ms"] for row in results["writes"] if row["place"] is None}
    headings = ["phase", "target", ">reads", ">p50", ">p90", ">p99", ">p99.9", ">hits", ">dropping", ">stale"]
    headings += [">stale by p50", ">p99", ">max", ">write p50", ">p99"]
    rows = []
    for row in results["reads"]:
        if row["place"] is not None:
            continue
        is_written = row["phase"] == WRITES
        write = writes[row["target"]] if is_written else {}
        rows.append(
            [
                row["phase"],
                labels[row["target"]],
                row["reads"],
                *[_ms(row["latency_ms"][name]) for name in ("p50", "p90", "p99", "p99.9")],
                _percent(row["hit_share"]),
                _percent(row["dropping_hit_share"]),
                _percent(row["stale_share"]) if is_written else None,
                _ms(row["staleness_ms"]["p50"]),
                _ms(row["staleness_ms"]["p99"]),
                _ms(row["staleness_max_ms"]),
                _ms(write.get("p50")),
                _ms(write.get("p99")),
            ]
        )
    failed = sum(row["failed"] for row in results["reads"] if row["place"] is None)
    itself = results["itself"]
    notes = [
        "Milliseconds. Distances are simulated; cold calls are the first of their key, on a new connection.",
        f"This process sent its reads late by {_ms(itself['lateness_ms']['p50'])} (p50), {_ms(itself['lateness_ms']['p99'])} (p99), "
        f"and was busy for {itself['cpu_share']:.0%} of one core."
        + (" The machine was busy: the figures are of it as much as of the distances." if itself["is_busy"] else ""),
    ]
    beyond = [row for row in results["bounds"] if not row["is_within"]]
    for row in beyond:
        notes.append(
            f"{labels[row['target']]} at {row['place']}: stale by {_ms(row['staleness_p99_ms'] or row['staleness_max_ms'])} ms, "
            f"one way is {_ms(row['one_way_ms'])} ms."
        )
    if not beyond:
        notes.append(
            "Where writes are heard of, 99 of 100 stale reads were no more than one way and 5 ms behind, at every place."
        )
    if failed:
        notes.append(f"{failed} reads failed, and are in no latency.")
    return Group(table(headings, rows), Text(""), *[Text(note) for note in notes])


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.1%}"
