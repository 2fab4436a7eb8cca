"""`upstash-global nearest`: which node a client of some place should use."""

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from upstash_global.cli.client import Cluster, Member, cluster_options
from upstash_global.cli.failures import Failed, Unhealthy
from upstash_global.cli.output import duration_text, output_option, show, table

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@click.argument("node", required=False)
@click.option("--lag-ms", type=click.IntRange(min=0), help="Budget: what is older than this comes later.")
@click.option("--region", help="Only the nodes of this region.")
@output_option
@cluster_options
def nearest(cluster: Cluster, node: str | None, lag_ms: int | None, region: str | None, output: str) -> None:
    """Rank the nodes by round trip, lag and role, as NODE sees them; without NODE, as the one nearest to here does.

    Exit code 4 if no node is well and within the budget.
    """
    asked = {"lag": lag_ms, "region": region}
    path = "/v1/nearest?" + urlencode({key: value for key, value in asked.items() if value is not None})
    answer = cluster.get(cluster.member(node), path) if node is not None else _first_answer(cluster, path)
    show(output, answer, lambda: _table(answer))
    if not any(row["fits"] and row["state"] == "streaming" for row in answer["nodes"]):
        raise Unhealthy("no node is well" if lag_ms is None else f"no node is well and at most {lag_ms} ms behind")


def _first_answer(cluster: Cluster, path: str) -> dict[str, Any]:
    """Ask all nodes at the same time; whoever answers first is the nearest to here. Raises what failed if all did."""

    def ask(member: Member) -> dict[str, Any]:
        return cluster.get(member, path)

    members = [member for member in cluster.members if not member.is_edge]
    threads = ThreadPoolExecutor(max(1, len(members)))
    answers = [threads.submit(ask, member) for member in members]
    threads.shutdown(wait=False)  # nobody waits for those that come later
    for answer in as_completed(answers):
        if answer.exception() is None:
            return answer.result()
    for answer in answers:
        answer.result()
    raise Failed("the cluster has no nodes")


def _table(answer: dict[str, Any]) -> "Table":
    made = table(
        ["node", "region", "role", "state", ">round trip", ">lag", ">staleness", "REST", "RESP", "edges"],
        (
            (
                row["name"],
                row["region"],
                row["role"],
                row["state"] if row["fits"] or row["state"] != "streaming" else "over the budget",
                duration_text(row["rtt_ms"]),
                duration_text(row["lag_ms"]),
                duration_text(row["staleness_ms"]),
                row["url"],
                row["resp"],
                " ".join(row["edges"]) or None,
            )
            for row in answer["nodes"]
        ),
    )
    made.title = f"as {answer['node']} in {answer['region']} sees them"
    made.title_justify = "left"
    return made
