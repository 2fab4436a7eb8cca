"""LATENCY: how long commands and events take on this node."""

from typing import TYPE_CHECKING, Any

from upstash_global.engine.table import ADMIN, INTERNAL, LOADING, NOSCRIPT, STALE, Family, Row, all_rows
from upstash_global.errors import error, shown
from upstash_global.node.latency import cumulative, graph, report
from upstash_global.node.session import Session
from upstash_global.reply import Reply, Verbatim

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("server").session_command


@command("LATENCY DOCTOR", arity=2, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def latency_doctor(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """What took too long, in words, and what to look at."""
    return Verbatim(report(node.latency, node.slowlog.threshold_us).encode())


@command("LATENCY GRAPH", arity=3, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def latency_graph(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The spikes of an event as a drawing."""
    name = shown(argv[2])
    event = node.latency.events.get(name)
    if event is None:
        raise error(f"No samples available for event '{name}'")
    return Verbatim(graph(name, event, node.now_ms // 1000).encode("utf-8", "surrogateescape"))


@command("LATENCY HISTOGRAM", arity=-2, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def latency_histogram(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """For each command, or for those named, its calls and their cumulative distribution over powers of two."""
    rows = all_rows()
    if len(argv) > 2:
        wanted = {word.decode("latin-1").lower() for word in argv[2:]}
        rows = [row for row in rows if row.display_name in wanted or row.display_name.partition("|")[0] in wanted]
    return {row.display_name.encode(): _histogram(row) for row in rows if row.histogram and not row.flags & INTERNAL}


def _histogram(row: Row) -> dict[bytes, Any]:
    return {b"calls": sum(row.histogram), b"histogram_usec": dict(cumulative(row.histogram))}


@command("LATENCY HISTORY", arity=3, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def latency_history(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The spikes of an event: second and milliseconds each, oldest first."""
    event = node.latency.events.get(shown(argv[2]))
    return [] if event is None else [[second, took_ms] for second, took_ms in event.spikes]


@command("LATENCY LATEST", arity=2, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def latency_latest(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """For each event its latest spike, and the longest ever."""
    return [
        [name.encode(), event.spikes[-1][0], event.spikes[-1][1], event.longest_ms]
        for name, event in node.latency.events.items()
    ]


@command("LATENCY RESET", arity=-2, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def latency_reset(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Forget the spikes of these events, or of all; how many events had some."""
    events = node.latency.events
    names = [shown(name) for name in argv[2:]] or list(events)
    return len([name for name in names if events.pop(name, None) is not None])
