"""Commands about a running cluster: how it is, how far its replicas lag, who leads it."""

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from upstash_global.cli.client import Cluster, Member, Status, cluster_options
from upstash_global.cli.failures import Failed, Unhealthy
from upstash_global.cli.output import bytes_text, console, duration_text, epoch_text, output_option, show, table

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.tree import Tree

UNREACHABLE: Final = "unreachable"
_WELL: Final = ("streaming", "ttl")  # states of what needs no care; an edge in the mode `ttl` follows nothing

# -- status and topology ----------------------------------------------------------------------------------------------


@click.command()
@click.argument("node", required=False)
@output_option
@cluster_options
def status(cluster: Cluster, node: str | None, output: str) -> None:
    """Show every node and edge, or one. Exit code 4 if something is wrong, 6 if nothing answers."""
    if node is not None:
        member = cluster.member(node)
        statuses = [cluster.get(member, "/v1/status")]
        is_whole = False
    else:
        statuses = _answers(cluster)
        is_whole = cluster.is_whole
    show(output, statuses, lambda: _status_tables(statuses))
    wrong = _what_is_wrong(statuses, is_whole)
    if wrong:
        raise Unhealthy("; ".join(wrong))


def _answers(cluster: Cluster) -> list[Status]:
    """Each node's status; one that did not answer has the state "unreachable". Raises what failed if all did."""
    answers = cluster.statuses()
    failures = [answer for _, answer in answers if isinstance(answer, Failed)]
    if len(failures) == len(answers):
        raise failures[0]
    return [_absent(member, answer) if isinstance(answer, Failed) else answer for member, answer in answers]


def _absent(member: Member, failure: Failed) -> Status:
    return {
        "node": member.name,
        "region": member.region,
        "role": None,
        "state": UNREACHABLE,
        "error": failure.message,
    }


def _what_is_wrong(statuses: list[Status], is_whole: bool) -> list[str]:
    wrong = [
        f"{each['node']} is {each['state']}"
        for each in statuses
        if each["role"] != "leader" and each["state"] not in _WELL
    ]
    wrong += [
        f"{each['node']} streams, but has no way to forward a write"
        for each in statuses
        if each["state"] == "streaming" and not each.get("reaches_leader", True)
    ]
    leaders = [each["node"] for each in statuses if each["role"] == "leader"]
    if is_whole and not leaders:
        wrong.append("no node leads")
    if len(leaders) > 1:
        wrong.append(f"{' and '.join(leaders)} lead at the same time")
    return wrong


def _status_tables(statuses: list[Status]) -> "Group":
    from rich.console import Group

    edges = [each for each in statuses if each["role"] == "edge"]
    return Group(_status_table(statuses), *([_edge_table(edges)] if edges else []))


def _edge_table(edges: list[Status]) -> "Table":
    """What the caches of edges do, beside what they have in common with nodes."""
    headings = [
        "edge",
        "upstream",
        ">hits",
        ">misses",
        ">passed on",
        ">hit ratio",
        ">replies",
        ">memory",
        ">invalidated",
    ]
    rows = []
    for each in edges:
        hits = each["hits"] + each["stale_hits"]
        asked = hits + each["misses"]
        ratio = f"{hits / asked:.0%}" if asked else None
        numbers = (hits, each["misses"], each["bypassed"], ratio, each["replies"], bytes_text(each["bytes"]))
        rows.append((each["node"], each["upstream"], *numbers, each["invalidated"]))
    return table(headings, rows)


def _status_table(statuses: list[Status]) -> "Table":
    headings = [
        "node",
        "region",
        "role",
        "state",
        "epoch",
        ">LSN",
        ">durable",
        ">lag",
        ">lag time",
        ">staleness",
        ">keys",
        ">clients",
        ">up",
    ]
    rows = [
        [
            each["node"],
            each["region"],
            each["role"],
            each["state"],
            epoch_text(each.get("epoch")),
            each.get("position", {}).get("lsn"),
            each.get("durable_lsn"),
            each.get("lag_entries"),
            duration_text(each.get("lag_ms")),
            duration_text(each.get("staleness_ms")),
            each.get("keys"),
            each.get("clients"),
            duration_text(each.get("uptime_ms")),
        ]
        for each in statuses
    ]
    happened = [_what_happened(each) for each in statuses]
    if any(happened):
        headings.append("since its start")
        for row, text in zip(rows, happened, strict=True):
            row.append(text or None)
    return table(headings, rows)


def _what_happened(status: Status) -> str:
    """What a node has been through that an operator should know of; nothing for most."""
    counted = {
        "partial_resyncs": ("partial resync", "partial resyncs"),
        "full_resyncs": ("full resync", "full resyncs"),
        "divergences": ("divergence", "divergences"),
        "digest_mismatches": ("digest mismatch", "digest mismatches"),
        "divergent_entries": ("divergent entry", "divergent entries"),
    }
    parts = [f"{status[key]} {words[status[key] > 1]}" for key, words in counted.items() if status.get(key)]
    if status.get("torn_bytes"):
        parts.append(f"{bytes_text(status['torn_bytes'])} torn")
    return ", ".join(parts)


@click.command()
@output_option
@cluster_options
def topology(cluster: Cluster, output: str) -> None:
    """Show who follows whom."""
    statuses = _answers(cluster)
    leaders = [each for each in statuses if each["role"] == "leader"]
    data = {
        "cluster": next((each["cluster"] for each in statuses if "cluster" in each), None),
        "leaders": [
            {key: each[key] for key in ("node", "region", "epoch", "followers")}
            for each in sorted(leaders, key=lambda each: -int(each["epoch"]))
        ],
        "followers_of_replicas": {
            each["node"]: each["followers"] for each in statuses if each["role"] == "replica" and each["followers"]
        },
        "without_leader": [
            {key: each[key] for key in ("node", "region", "state")}
            for each in statuses
            if each["role"] != "leader" and each["state"] not in _WELL
        ],
    }
    show(output, data, lambda: _tree(data))


def _tree(data: dict[str, Any]) -> "Tree":
    from rich.tree import Tree

    root = Tree(f"cluster {data['cluster']}")
    for leader in data["leaders"]:
        branch = root.add(f"{leader['node']} ({leader['region']}) leads, epoch {epoch_text(leader['epoch'])}")
        for each in leader["followers"]:
            below = branch.add(_follower_text(each))
            for further in data["followers_of_replicas"].get(each["name"], ()):
                below.add(_follower_text(further))
    for each in data["without_leader"]:
        root.add(f"{each['node']} ({each['region']}) {each['state']}")
    return root


def _follower_text(each: dict[str, Any]) -> str:
    lag = f"{each['lag_entries']} entries behind, round trip {duration_text(each['rtt_ms']) or 'unknown'}"
    if each.get("staleness_ms") is not None:
        lag += f", {duration_text(each['staleness_ms'])} stale"
    return f"{each['name']} ({each['region']}) {each['state']}, {lag}"


# -- lag --------------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--interval", "interval_s", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Seconds between."
)
@click.option("--count", type=click.IntRange(min=1), help="Stop watching after so many rounds.")
@click.option(
    "--budget-ms", type=click.FloatRange(min=0), help="Exit with 4 if a replica lags more, or does not stream."
)
@output_option
@cluster_options
def lag(
    cluster: Cluster, watch: bool, interval_s: float, count: int | None, budget_ms: float | None, output: str
) -> None:
    """Show how far every replica is behind the leader.

    Lag is in entries and bytes of the log, and in milliseconds of leader time (the largest of the last second);
    staleness is the age of the newest state that a replica is known to hold completely. Of a replica that cannot be
    reached it is what the leader last heard.
    """
    rows: list[dict[str, Any]] = []
    if not watch:
        rows = _lags(cluster)
        show(output, rows, lambda: _lag_table(rows))
    else:
        try:
            for rows in _rounds(cluster, interval_s, count):
                if output == "table":
                    screen = console()
                    screen.clear()
                    screen.print(_lag_table(rows))
                elif output == "json":  # one line per round, so that a program can read it as it comes
                    click.echo(json.dumps(rows))
                else:
                    click.echo("---")
                    show(output, rows, str)
        except KeyboardInterrupt:
            pass
    if budget_ms is not None:
        _check_budget(rows, budget_ms)


def _rounds(cluster: Cluster, interval_s: float, count: int | None) -> Iterator[list[dict[str, Any]]]:
    n_done = 0
    while True:
        yield _lags(cluster)
        n_done += 1
        if n_done == count:
            return
        time.sleep(interval_s)


def _lags(cluster: Cluster) -> list[dict[str, Any]]:
    """One row per replica. Of one that did not answer it says what its leader knows; null where that is nothing."""
    keys = ("node", "region", "state", "lag_entries", "lag_bytes", "lag_ms", "staleness_ms")
    answers = _answers(cluster)
    known = {
        follower["name"]: follower
        for each in answers
        if each["role"] == "leader"
        for follower in each["followers"]
        if follower.get("purpose", "replica") == "replica"
    }
    return [
        {key: each.get(key, known.get(each["node"], {}).get(key)) for key in keys}
        for each in answers
        if each["role"] not in ("leader", "edge")
    ]


def _lag_table(rows: list[dict[str, Any]]) -> "Table":
    return table(
        ["node", "region", "state", ">entries", ">bytes", ">lag", ">staleness"],
        (
            (
                row["node"],
                row["region"],
                row["state"],
                row["lag_entries"],
                bytes_text(row["lag_bytes"]),
                duration_text(row["lag_ms"]),
                duration_text(row["staleness_ms"]),
            )
            for row in rows
        ),
    )


def _check_budget(rows: list[dict[str, Any]], budget_ms: float) -> None:
    over = []
    for row in rows:
        if row["state"] != "streaming":
            over.append(f"{row['node']} is {row['state']}")
        elif row["lag_ms"] > budget_ms:
            over.append(f"{row['node']} lags {duration_text(row['lag_ms'])}")
    if over:
        raise Unhealthy(f"over the budget of {budget_ms:g} ms: {'; '.join(over)}")


# -- changes ----------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--to", "node", required=True, metavar="NODE", help="The node that shall lead.")
@output_option
@cluster_options
def switchover(cluster: Cluster, node: str, output: str) -> None:
    """Hand leadership over to a replica, losing nothing.

    The leader stops taking writes, the replica catches up and takes over; if that takes too long, all stays as it was.
    """
    if cluster.is_whole:
        cluster.member(node)
    answer = cluster.post(cluster.leader(), "/v1/switchover", {"to": node})
    show(output, answer, lambda: f"{node} leads now")


@click.command()
@click.argument("node")
@click.option("--force", is_flag=True, help="Also if the old leader cannot be asked to step down.")
@output_option
@cluster_options
def promote(cluster: Cluster, node: str, force: bool, output: str) -> None:
    """Make a node the leader when the old one is lost.

    With --force you vouch that the old leader is gone or cut off: acknowledged writes that NODE has not received are
    put aside when the old leader returns, and until then it may acknowledge more of them. Prefer `switchover`.
    """
    member = cluster.member(node) if cluster.is_whole else cluster.members[0]
    if force:
        click.echo("Forced: that only one node acknowledges writes now rests on you, not on the cluster.", err=True)
    answer = cluster.post(member, "/v1/promote", {"force": force})
    show(output, answer, lambda: f"{node} leads now")


@click.command()
@click.argument("node", required=False)
@output_option
@cluster_options
def snapshot(cluster: Cluster, node: str | None, output: str) -> None:
    """Write a snapshot on a node; on the leader, if none is named."""
    member = cluster.member(node) if node is not None else cluster.leader()
    answer = cluster.post(member, "/v1/snapshot", {})
    show(output, answer, lambda: f"{member.name or member.admin} is writing a snapshot")
