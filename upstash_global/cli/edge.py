"""`upstash-global edge`: run an edge cache, drop what running ones keep, or keep a standard cache up to date."""

import logging
import os
import sys
from pathlib import Path

import click

from upstash_global.cli.client import Cluster, cluster_options
from upstash_global.cli.failures import Failed, NotFound, reporting_mistakes
from upstash_global.cli.output import output_option, show, table


@click.group(invoke_without_command=True)
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration of the cluster.")
@click.option("--name", "names", multiple=True, help="Which of its edges this process is; repeatable.")
@click.option(
    "--end-with-parent", is_flag=True, hidden=True, help="Stop when the process that started this one has ended."
)
@click.pass_context
@reporting_mistakes
def edge(ctx: click.Context, file: Path | None, names: tuple[str, ...], end_with_parent: bool) -> None:
    """Run an edge cache of a cluster, or several, until SIGTERM or Ctrl-C."""
    if ctx.invoked_subcommand is not None:
        return
    if file is None or not names:
        raise click.UsageError("an edge needs --config and --name")
    from upstash_global.cli.main import end_with_this_parent
    from upstash_global.config import load

    if end_with_parent:
        end_with_this_parent()
    config = load(file, os.environ)
    for name in names:
        config.edge(name)
    from upstash_global.edge.run import run_edges

    code = run_edges(config, names)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # as `node` does: threads of gRPC have been seen to keep an interpreter from ending


@edge.command()
@click.option("--key", help="Drop the replies that depend on this key.")
@click.option("--prefix", help="Drop the replies that depend on a key that begins so.")
@click.option("--all", "everything", is_flag=True, help="Drop every reply.")
@click.option("--edge", "name", help="At this edge only.")
@output_option
@cluster_options
def purge(
    cluster: Cluster, key: str | None, prefix: str | None, everything: bool, name: str | None, output: str
) -> None:
    """Drop what the edges of a cluster keep. Writes do that by themselves; this is for the mode `ttl`, and for doubt."""
    wishes = {"key": key, "prefix": prefix, "all": everything or None}
    body = {wish: value for wish, value in wishes.items() if value is not None}
    if len(body) != 1:
        raise click.UsageError("one of --key, --prefix and --all says what to drop")
    edges = [member for member in cluster.members if member.is_edge or not cluster.is_whole]
    if name is not None:
        edges = [cluster.member(name)]
    if not edges:
        raise NotFound("the cluster has no edges with an admin port")
    rows = []
    failures = []
    for member in edges:  # the others are purged although one does not answer
        try:
            rows.append({"edge": member.name, "dropped": cluster.post(member, "/v1/purge", body)["dropped"]})
        except Failed as failure:
            failures.append(failure)
    show(output, rows, lambda: table(["edge", ">dropped"], ((row["edge"], row["dropped"]) for row in rows)))
    if failures:
        raise failures[0]


@edge.command()
@click.option("--config", "file", required=True, type=click.Path(path_type=Path), help="Configuration of the cluster.")
@click.option("--upstream", required=True, help="The node whose REST port the cache stands in front of.")
@click.option("--varnish", "urls", required=True, multiple=True, metavar="URL", help="Where to send BAN; repeatable.")
@reporting_mistakes
def purger(file: Path, upstream: str, urls: tuple[str, ...]) -> None:
    """Have a Varnish drop what writes change, until SIGTERM or Ctrl-C. See deploy/varnish.vcl."""
    from upstash_global.config import load

    config = load(file, os.environ)
    config.node(upstream)
    if not config.surrogate:
        raise Failed("the configuration does not say `surrogate: true`, so no cache knows what its replies depend on")
    from upstash_global.edge.purger import run_purger

    code = run_purger(config, upstream, urls)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # as above
