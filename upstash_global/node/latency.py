"""Latency: how long commands take on this node, and which events took too long.

Durations come in stretches of calls (see slowlog.py). With `latency-tracking` each row of the table has a histogram of them
in powers of two; the calls of a stretch count as equally long. With `latency-monitor-threshold` (milliseconds, 0: off) what took
longer is kept as a spike, the longest of each second, for LATENCY LATEST and its kin.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from upstash_global.engine.table import Row

if TYPE_CHECKING:
    from mypy_extensions import i64

MAX_SPIKES: Final = 160  # of one event
BUCKETS: Final = 32  # bucket n: up to 2**n microseconds
GRAPH_WIDTH: Final = 80


class Event:
    """What took too long, again and again."""

    def __init__(self) -> None:
        self.spikes: deque[tuple[int, int]] = deque(maxlen=MAX_SPIKES)  # (second, milliseconds), oldest first
        self.longest_ms = 0


class Latency:
    def __init__(self) -> None:
        self.threshold_us = 0  # latency-monitor-threshold; 0: nothing is kept
        self.is_tracking = True  # latency-tracking
        self.percentiles = ["50", "99", "99.9"]  # what INFO tells of each command
        self.events: dict[str, Event] = {}

    def note(self, name: str, time_ms: int, took_us: int) -> None:
        """Something took at least as long as the threshold."""
        event = self.events.get(name)
        if event is None:
            event = self.events[name] = Event()
        took_ms = took_us // 1000
        event.longest_ms = max(event.longest_ms, took_ms)
        second = time_ms // 1000
        if event.spikes and event.spikes[-1][0] == second:
            event.spikes[-1] = (second, max(took_ms, event.spikes[-1][1]))
        else:
            event.spikes.append((second, took_ms))


def note_calls(row: Row, took_us: int, n_calls: int) -> None:
    """Count `n_calls` calls of a command that took so long together."""
    if not row.histogram:
        row.histogram = [0] * BUCKETS
    rest: i64 = took_us // n_calls - 1
    bucket: i64 = 0
    while rest > 0 and bucket < BUCKETS - 1:
        rest >>= 1
        bucket += 1
    row.histogram[bucket] += n_calls


def percentile_us(histogram: list[int], percentile: float) -> int:
    """The upper bound of the bucket that holds this percentile; the histogram is not empty."""
    wanted = max(1.0, sum(histogram) * percentile / 100)
    seen = 0
    last = 0
    for at, count in enumerate(histogram):
        seen += count
        if count:
            last = at
        if seen >= wanted:
            break
    return 1 << last


def cumulative(histogram: list[int]) -> list[tuple[int, int]]:
    """(upper bound in microseconds, calls up to it) for each bucket that has some."""
    seen = 0
    pairs: list[tuple[int, int]] = []
    for at, count in enumerate(histogram):
        seen += count
        if count:
            pairs.append((1 << at, seen))
    return pairs


# -- what a human reads -------------------------------------------------------------------------------------------


def graph(name: str, event: Event, now_s: int) -> str:
    """The course of an event as Redis draws it: a line for each level, and below how long ago each spike was."""
    spikes = list(event.spikes)[-GRAPH_WIDTH:]
    highest = max([took_ms for _, took_ms in spikes])
    lowest = min([took_ms for _, took_ms in spikes])
    lines = [
        f"{name} - high {highest} ms, low {lowest} ms (all time high {event.longest_ms} ms)",
        "-" * GRAPH_WIDTH,
    ]
    spread = max(1, highest - lowest)
    levels = [3 * (took_ms - lowest) // spread for _, took_ms in spikes]
    for line in range(3, -1, -1):
        drawn = ["#" if level > line else "_" if level == line else " " for level in levels]
        lines.append("".join(drawn).rstrip() or " ")
    ages = [_age(max(0, now_s - second)) for second, _ in spikes]
    lines.append("")
    lines.extend(["".join(row).rstrip() for row in zip(*[age.ljust(4) for age in ages], strict=True)])
    return "\n".join(line for line in lines if line) + "\n"


def _age(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{min(999, seconds // length)}{unit}"
    return f"{seconds}s"


def report(latency: Latency, slowlog_us: int) -> str:
    """What LATENCY DOCTOR says: the events with their figures, and what to look at."""
    if not latency.threshold_us:
        return (
            "Latency monitoring is off on this node: CONFIG SET latency-monitor-threshold <milliseconds> turns it on. "
            "A value that your application would feel is a good one to begin with.\n"
        )
    if not latency.events:
        return f"Nothing has taken {latency.threshold_us // 1000} ms or longer on this node since monitoring began.\n"
    lines = ["What has taken too long on this node:", ""]
    for number, (name, event) in enumerate(sorted(latency.events.items()), 1):
        took = [took_ms for _, took_ms in event.spikes]
        mean = sum(took) // len(took)
        deviation = sum([abs(took_ms - mean) for took_ms in took]) // len(took)
        span_s = max(1, event.spikes[-1][0] - event.spikes[0][0])
        lines.append(
            f"{number}. {name}: {len(took)} latency spikes (average {mean}ms, mean deviation {deviation}ms, "
            f"period {span_s / len(took):.2f} sec). Worst all time event {event.longest_ms}ms."
        )
    lines.append("")
    if any(name in latency.events for name in ("command", "fast-command")):
        if slowlog_us < 0 or slowlog_us > latency.threshold_us:
            lines.append(
                f"- The slow log misses some of them: CONFIG SET slowlog-log-slower-than {latency.threshold_us}."
            )
        lines.append("- SLOWLOG GET shows which commands they were; KEYS, SORT and large ranges are the usual ones.")
    if "eviction-cycle" in latency.events:
        lines.append(
            "- Keys are evicted while clients wait: large values take long to free, so split them or raise maxmemory."
        )
    if "expire-cycle" in latency.events:
        lines.append("- Many keys expire at once: spread their times to live.")
    return "\n".join(lines) + "\n"
