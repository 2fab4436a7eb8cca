"""Commands about the simulated network: change it while it runs, or run it by itself.

PLACES are regions or nodes. One place means everything between it and the rest, two mean what is between them; a node
stands for the links that lead to it.
"""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from random import Random
from typing import Any

import click

from upstash_global.cli import files
from upstash_global.cli.client import data_dir_option
from upstash_global.cli.failures import Denied, Failed, NotFound, Unreachable, reporting_mistakes
from upstash_global.cli.output import bytes_text, output_option, show, table

TIMEOUT_S = 5.0


@click.group()
def wan() -> None:
    """Change the simulated distances between regions."""


one_argument = click.argument("one", metavar="PLACE")
any_argument = click.argument("one", metavar="[PLACE]", required=False)
other_argument = click.argument("other", metavar="[PLACE]", required=False)


@wan.command()
@one_argument
@other_argument
@click.option(
    "--mode",
    type=click.Choice(["refuse", "drop"]),
    default="refuse",
    show_default=True,
    help="refuse: connections are reset, new ones refused. drop: nothing passes and nobody is told.",
)
@data_dir_option
@output_option
def cut(one: str, other: str | None, mode: str, data_dir: Path, output: str) -> None:
    """Cut a region off, or two from each other."""
    _change(data_dir, output, {"do": "cut", "from": one, "to": other, "mode": mode})


@wan.command()
@any_argument
@other_argument
@data_dir_option
@output_option
def heal(one: str | None, other: str | None, data_dir: Path, output: str) -> None:
    """Undo cuts: all, those of one place, or those between two."""
    _change(data_dir, output, {"do": "heal", "from": one, "to": other})


@wan.command()
@one_argument
@other_argument
@click.option("--rtt-ms", type=click.FloatRange(min=0), help="Round trip.")
@click.option("--jitter-ms", type=click.FloatRange(min=0), help="Each way, at random up to this, on top.")
@click.option("--bandwidth", type=click.IntRange(min=0), metavar="BYTES_PER_S", help="Of each direction; 0: unlimited.")
@data_dir_option
@output_option
def delay(
    one: str,
    other: str | None,
    rtt_ms: float | None,
    jitter_ms: float | None,
    bandwidth: int | None,
    data_dir: Path,
    output: str,
) -> None:
    """Change distances; what is not given stays as it is."""
    given = {"rtt_ms": rtt_ms, "jitter_ms": jitter_ms, "bandwidth_bytes_per_s": bandwidth}
    if all(value is None for value in given.values()):
        raise click.UsageError("give at least one of --rtt-ms, --jitter-ms, --bandwidth")
    request = {"do": "delay", "from": one, "to": other}
    _change(data_dir, output, request | {key: value for key, value in given.items() if value is not None})


@wan.command("show")
@any_argument
@other_argument
@data_dir_option
@output_option
def show_links(one: str | None, other: str | None, data_dir: Path, output: str) -> None:
    """Show the links, their distances and what passed through them."""
    _change(data_dir, output, {"do": "show", "from": one, "to": other})


@wan.command()
@click.option("--config", "file", required=True, type=click.Path(path_type=Path), help="Configuration of the cluster.")
@click.option("--listen-host", default="127.0.0.1", show_default=True, help="Interface that the proxies listen on.")
@data_dir_option
@reporting_mistakes
def run(file: Path, listen_host: str, data_dir: Path) -> None:
    """Run the delay proxies alone: one on the port of each `dial` address of the configuration.

    For clusters whose processes `up` does not start, such as containers; `up` runs its own.
    """
    from upstash_global.config import load
    from upstash_global.server.wan import Network

    config = load(file, os.environ)

    async def serve() -> None:
        network = Network(config, Random())
        network.add_configured(config, listen_host)
        stop = asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        async with Controlled(network, data_dir):
            click.echo(f"{len(network.links)} links")
            await stop.wait()

    try:
        run_loop(serve())
    except OSError as failure:
        raise Failed(f"a proxy cannot listen: {failure}") from None


class Controlled:
    """An open network with its control port, whose address and token are in DIR/wan.json while it runs."""

    def __init__(self, network: Any, data_dir: Path) -> None:
        from upstash_global.server.wan import Control

        self.network = network
        self.control = Control(network)
        self.file = data_dir / files.WAN

    async def __aenter__(self) -> None:
        await self.network.open()
        place = await self.control.open()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(self.file, {"address": str(place), "token": self.control.token})

    async def __aexit__(self, *_: object) -> None:
        self.file.unlink(missing_ok=True)
        self.control.close()
        await self.network.close()


def run_loop(main: Any) -> Any:
    """Run a coroutine on uvloop, which moves twice as many bytes, or on the standard loop where there is none."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def _change(data_dir: Path, output: str, request: dict[str, Any]) -> None:
    links = ask_network(data_dir, request)
    show(
        output,
        links,
        lambda: table(
            ["from", "to", "state", ">round trip", ">jitter", ">bandwidth", ">connections", ">sent", ">received"],
            (
                (
                    link["from"],
                    link["to"],
                    link["state"],
                    f"{link['rtt_ms']:g} ms",
                    f"{link['jitter_ms']:g} ms",
                    f"{bytes_text(link['bandwidth_bytes_per_s'])}/s" if link["bandwidth_bytes_per_s"] else None,
                    link["connections"],
                    bytes_text(link["sent_bytes"]),
                    bytes_text(link["received_bytes"]),
                )
                for link in links
            ),
        ),
    )


def ask_network(data_dir: Path, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Send one request to the network that runs in a data directory; the links that it was about."""
    place = files.read_json(data_dir / files.WAN)
    if place is None:
        raise NotFound(f"no simulated network runs here, since there is no {data_dir / files.WAN}")
    host, _, port = place["address"].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), TIMEOUT_S) as connection:
            connection.sendall(json.dumps(request | {"token": place["token"]}).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline())
    except (OSError, ValueError) as failure:
        raise Unreachable(f"the simulated network does not answer: {failure}") from None
    if "error" in answer:
        raise (Denied if answer.get("denied") else Failed)(answer["error"])
    links: list[dict[str, Any]] = answer["links"]
    return links
