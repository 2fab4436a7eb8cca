"""Commands about the replication log: of a running node, and of a data directory whose node is at rest."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from upstash_global.cli.client import Cluster, cluster_options
from upstash_global.cli.failures import Failed, NotFound, reporting_mistakes
from upstash_global.cli.output import epoch_text, output_option, show

if TYPE_CHECKING:
    from upstash_global.replication.codec import Entry

POLL_S: Final = 0.5
PAGE: Final = 1000

lines_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="One line per entry: for people, or a JSON object.",
)


@click.group()
def log() -> None:
    """Read the replication log."""


@log.command()
@click.argument("node", required=False)
@click.option(
    "-n", "n_entries", type=click.IntRange(min=0), default=10, show_default=True, help="How many to begin with."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with new entries, until Ctrl-C.")
@lines_option
@cluster_options
def tail(cluster: Cluster, node: str | None, n_entries: int, follow: bool, output: str) -> None:
    """Show the newest entries of a node's log; the leader's, if none is named."""
    member = cluster.member(node) if node is not None else cluster.leader()
    head = int(cluster.get(member, "/v1/status")["position"]["lsn"])
    start = max(1, head - n_entries + 1)
    try:
        while True:
            page = cluster.get(member, f"/v1/log?from={start}&limit={PAGE}")
            for entry in page["entries"]:
                _print(entry, output)
            start = int(page["next"])
            if page["entries"]:
                continue
            if not follow:
                return
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        pass


@log.command()
@click.argument("directory", type=click.Path(path_type=Path))
@lines_option
@reporting_mistakes
def dump(directory: Path, output: str) -> None:
    """Print every entry in a node's data directory, such as data/leader, or in one file of its log."""
    from upstash_global.replication.storage import StorageError
    from upstash_global.server import disk

    try:
        for entry in disk.read(_existing(directory)):
            _print(_plain(entry), output)
    except StorageError as damage:
        raise Failed(str(damage)) from None


@log.command()
@click.argument("directory", type=click.Path(path_type=Path))
@output_option
@reporting_mistakes
def verify(directory: Path, output: str) -> None:
    """Check every checksum and the chain of a node's data directory. Exit code 1 if something is not whole."""
    from upstash_global.server import disk

    problems = [str(problem) for problem in disk.verify(_existing(directory))]
    show(output, {"problems": problems}, lambda: "\n".join(problems) or "every entry is whole and in its place")
    if problems:
        raise Failed(f"{len(problems)} problems in {directory}")


def _existing(directory: Path) -> Path:
    if not directory.exists():
        raise NotFound(f"there is no {directory}")
    return directory


def _plain(entry: "Entry") -> dict[str, Any]:
    """An entry of the files as the admin port shows it."""
    from upstash_global.replication.codec import DATA, EPOCH, SYSTEM

    return {
        "epoch": entry.position.epoch,
        "lsn": entry.position.lsn,
        "time_ms": entry.time_ms,
        "kind": {DATA: "data", EPOCH: "epoch", SYSTEM: "system"}[entry.kind],
        "commands": [[word.decode("utf-8", "backslashreplace") for word in command] for command in entry.commands],
    }


def _print(entry: dict[str, Any], output: str) -> None:
    if output == "json":
        click.echo(json.dumps(entry, ensure_ascii=False))
        return
    at = datetime.fromtimestamp(entry["time_ms"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    said = "; ".join(" ".join(_quoted(word) for word in command) for command in entry["commands"])
    click.echo(f"{epoch_text(entry['epoch'])} {entry['lsn']:>8} {at} {entry['kind']:<6} {said}")


def _quoted(word: str) -> str:
    """A word as redis-cli would take it: in quotes if it is empty or has blanks, quotes or control characters."""
    plain = word.isprintable() and word and not set(word) & set(" \"'\\;")
    return word if plain else json.dumps(word, ensure_ascii=False)
