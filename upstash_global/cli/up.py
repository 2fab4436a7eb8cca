"""`upstash-global up`: a whole cluster as processes of this machine, with simulated distances between its regions.

    lock the directory → read or make the configuration → check the ports → open the delay proxies
    → write cluster.yaml → start a process per node → wait until all are ready → likewise the edges → tell where they are
    → wait for Ctrl-C → end them

Whatever fails on the way, everything that was started is ended.
"""

import asyncio
import fcntl
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import click
from rich.console import Console

from upstash_global.cli import files
from upstash_global.cli.client import DATA_DIR_VARIABLE, Cluster, Member
from upstash_global.cli.failures import Failed, reporting_mistakes
from upstash_global.cli.output import console, table
from upstash_global.cli.processes import Child, check_ports, start_all
from upstash_global.cli.wan import Controlled, run_loop
from upstash_global.config import Config, Credentials, Tokens, default_config, load, to_yaml, with_overrides

STOP_GRACE_S: Final = 15.0  # a node gives running commands and its replicas at most 10 s
SECRET_BYTES: Final = 32
LAST_BASE_PORT: Final = 63_000


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), help="Cluster to start instead of the five regions.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path("data"),
    envvar=DATA_DIR_VARIABLE,
    show_default=True,
    show_envvar=True,
    help="Where the data, secrets and logs of all nodes are kept.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1024, LAST_BASE_PORT),
    help="RESP ports begin here, REST 1000, edges 1100, gRPC 2000, admin 2100, of edges 2200 above.  [default: 7000]",
)
@click.option(
    "--wan/--no-wan", default=None, help="Simulate the distances between regions.  [default: --wan, or as in FILE]"
)
@click.option("--edges/--no-edges", default=True, show_default=True, help="Start the edge caches too.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), default=180.0, show_default=True, help="To be ready, in s."
)
@reporting_mistakes
def up(
    file: Path | None, data_dir: Path, base_port: int | None, wan: bool | None, edges: bool, timeout_s: float
) -> None:
    """Start a cluster on this machine and run it until Ctrl-C.

    Without a configuration: a leader in us-east-1, and a read replica and an edge cache in each of five regions.
    """
    if file is not None and base_port is not None:
        raise click.UsageError("--base-port is for the cluster without --config; the file has its own ports")
    directory = data_dir.resolve()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone_in(directory):
        if file is not None:
            config = load(file, os.environ)
        else:
            config = with_overrides(default_config(base_port or 7000, _kept_credentials(directory)), os.environ)
        if not edges:
            config = replace(config, edges=())
        is_wan = config.wan.enabled if wan is None else wan
        sys.exit(run_loop(_Up(config, directory, is_wan, timeout_s).run()))


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Hold the directory's lock, which ends with this process however it ends."""
    with (directory / files.LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise Failed(
                f"a cluster runs in {directory} already (process {lock.read().strip() or 'unknown'})"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _kept_credentials(directory: Path) -> Credentials:
    """The secrets that the first start generated, so that clients need no change after a restart."""
    kept = files.read_json(directory / files.SECRETS)
    names = ("password", "standard", "read_only", "cluster", "admin")
    if kept is None:
        kept = {name: secrets.token_urlsafe(SECRET_BYTES) for name in names}
        files.write_json(directory / files.SECRETS, kept)
    if not all(isinstance(kept.get(name), str) for name in names):
        raise Failed(f"{directory / files.SECRETS} is damaged; remove it, and clients need new secrets")
    return Credentials(kept["password"], Tokens(kept["standard"], kept["read_only"]), kept["cluster"], kept["admin"])


class _Up:
    """One run of a cluster."""

    def __init__(self, config: Config, directory: Path, is_wan: bool, timeout_s: float) -> None:
        self.config = config
        self.directory = directory
        self.is_wan = is_wan
        self.timeout_s = timeout_s
        self.nodes = [Child(node, directory) for node in config.nodes]
        self.edges = [Child(edge, directory) for edge in config.edges]
        self.children = [*self.nodes, *self.edges]
        members = [Member(node.name, node.region, f"http://{node.admin}") for node in config.nodes]
        self.cluster = Cluster(members, config.credentials.admin)
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()  # a second Ctrl-C: do not wait for anybody
        self.watchers: list[asyncio.Task[None]] = []
        self.n_lost = 0  # children that ended though nobody had asked them to

    async def run(self) -> int:
        """The exit code: 0, or 1 if a node was lost. Raises Failed if the cluster cannot be started."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, self._ask_to_stop)
        for warning in self.config.warnings:
            click.echo(f"Warning: {warning}", err=True)
        endpoints = self.directory / files.ENDPOINTS
        endpoints.unlink(missing_ok=True)  # of a run that could not clean up
        check_ports(self.config)
        async with AsyncExitStack() as stack:
            config = await self._open_network(stack)
            stack.push_async_callback(self._end_children)
            await self._start(config)
            if not self.stop.is_set():
                stack.callback(endpoints.unlink, missing_ok=True)
                roles = await asyncio.to_thread(self._roles)
                files.write_json(endpoints, self._endpoints(roles))
                self._announce(roles)
                self.watchers = [asyncio.create_task(self._watch(child)) for child in self.children]
                await self.stop.wait()
                click.echo("stopping")
        return 1 if self.n_lost else 0

    def _ask_to_stop(self) -> None:
        if self.stop.is_set():
            self.hurry.set()
        self.stop.set()

    async def _open_network(self, stack: AsyncExitStack) -> Config:
        """Open the delay proxies, if wished; the configuration that leads through them."""
        if not self.is_wan:
            return self.config
        from upstash_global.server.wan import Network

        network = Network(self.config, Random())
        config = network.add_missing(self.config)
        await stack.enter_async_context(Controlled(network, self.directory))
        return config

    # -- starting ---------------------------------------------------------------------------------------------------

    async def _start(self, config: Config) -> None:
        """Start every node, then every edge, and wait until all are ready, or until somebody asks to stop."""
        cluster_file = self.directory / files.CLUSTER
        files.write_private(cluster_file, to_yaml(config, reveal_secrets=True))
        if config.credentials.admin is not None:
            files.write_private(self.directory / files.ADMIN_TOKEN, config.credentials.admin + "\n")
        else:
            (self.directory / files.ADMIN_TOKEN).unlink(missing_ok=True)
        await self._start_all(self.nodes, "nodes", cluster_file)
        if self.edges and not self.stop.is_set():
            await self._start_all(self.edges, "edges", cluster_file)

    async def _start_all(self, children: list[Child], what: str, cluster_file: Path) -> None:
        started = time.monotonic()

        def tell(child: Child) -> None:
            click.echo(f"{child.name} is ready after {time.monotonic() - started:.1f} s")

        with Console().status(f"starting {len(children)} {what}"):
            await start_all(children, cluster_file, self.cluster, self.timeout_s, self.stop, tell)

    # -- running and ending -------------------------------------------------------------------------------------------

    async def _watch(self, child: Child) -> None:
        how = await child.ended()
        if child.was_asked_to_stop:
            return
        self.n_lost += 1
        click.echo(
            f"{child.name} {how}; the others go on. Its last lines in {child.log}:\n{child.last_lines()}", err=True
        )
        if all(child.has_ended for child in self.nodes):
            click.echo("no node is left", err=True)
            self.stop.set()

    async def _end_children(self) -> None:
        ends = await asyncio.gather(*(child.stop(STOP_GRACE_S, self.hurry) for child in self.children))
        for child, is_clean in zip(self.children, ends, strict=True):
            if not is_clean:
                click.echo(f"{child.name} did not end when asked to, and was killed", err=True)
        for watcher in self.watchers:
            watcher.cancel()

    # -- telling ------------------------------------------------------------------------------------------------------

    def _roles(self) -> dict[str, str]:
        """Who leads, as the nodes themselves say; after a promotion that is not who leads in the file."""
        return {
            member.name: "unknown" if isinstance(status, Failed) else str(status["role"])
            for member, status in self.cluster.statuses()
        }

    def _endpoints(self, roles: dict[str, str]) -> dict[str, Any]:
        credentials = self.config.credentials
        return {
            "password": credentials.password,
            "tokens": {"standard": credentials.tokens.standard, "read_only": credentials.tokens.read_only},
            "nodes": [
                {
                    "name": node.name,
                    "region": node.region,
                    "role": roles[node.name],
                    "resp": str(node.advertised("resp")),
                    "rest": f"http://{node.advertised('rest')}",
                    "admin": f"http://{node.admin}",
                    "pid": child.pid,
                }
                for node, child in zip(self.config.nodes, self.nodes, strict=True)
            ],
            "edges": [
                {
                    "name": edge.name,
                    "region": edge.region,
                    "url": f"http://{edge.advertised('listen')}",
                    "admin": f"http://{edge.admin}" if edge.admin is not None else None,
                    "pid": child.pid,
                }
                for edge, child in zip(self.config.edges, self.edges, strict=True)
            ],
        }

    def _announce(self, roles: dict[str, str]) -> None:
        """Print where everything is, and the environment for the clients of each region."""
        credentials = self.config.credentials
        endpoints = self._endpoints(roles)
        nodes, edges = endpoints["nodes"], endpoints["edges"]
        keys = ("name", "region", "role", "resp", "rest", "admin")
        rows = ([node[key] for key in keys] for node in nodes)
        click.echo()
        console().print(table(["node", "region", "role", "RESP", "REST", "admin"], rows))
        if edges:
            click.echo()
            words = ("name", "region", "url", "admin")
            console().print(
                table(["edge cache", "region", "REST", "admin"], ([edge[word] for word in words] for edge in edges))
            )
        click.echo("\n# .env: take the block of the region nearest to your application")
        first_of = {node["region"]: node for node in reversed(nodes)}
        for region, node in sorted(first_of.items(), key=lambda each: nodes.index(each[1])):
            click.echo(f"\n# {region}")
            click.echo(f'UPSTASH_REDIS_REST_URL="{node["rest"]}"')
            click.echo(f'UPSTASH_REDIS_REST_TOKEN="{credentials.tokens.standard or ""}"')
        host, _, port = nodes[-1]["resp"].rpartition(":")
        asks = f" -a {credentials.password}" if credentials.password else ""
        click.echo(f"\nredis-cli -h {host} -p {port}{asks}")
        click.echo("\nReady. Ctrl-C stops everything; the data stays.")
        sys.stdout.flush()
