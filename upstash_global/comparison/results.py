"""Samples to figures: one plain structure that the table, the page and the programs read.

Failed reads are counted and are in no latency. Hit share and miss share are of the reads that an edge answered. Staleness figures
are of the stale reads only, so a fresh read never makes them look better; the stale share is of all.
"""

import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from upstash_global import __version__
from upstash_global.comparison.load import FAILED, HIT, HOT, MISS, PHASES, STATES, WRITES, Load, Samples
from upstash_global.comparison.percentiles import curve, nines, percentile, percentiles
from upstash_global.comparison.places import (
    LEADER_REGION,
    TARGETS,
    Target,
    nearest_region,
    one_way_ms,
    rtt_ms,
    source_region,
)
from upstash_global.comparison.staleness import FRESH

CURVE_SHARES: Final = nines(3, 24)  # 0 to 99.9 %
ALLOWANCE_MS: Final = 5.0  # on top of one way, for what the log may be late
BUSY_MS: Final = 5.0  # a process that often sends its reads so late has no machine of its own

Row = dict[str, Any]


def summarise(load: Load, started: datetime) -> Row:
    """Everything but the samples."""
    places = load.world.places
    regions = [node.region for node in load.world.config.nodes]
    return {
        "title": "One region, edge caches, a global database",
        "version": __version__,
        "engine": engine(),
        "python": platform.python_version(),
        "started": started.astimezone(UTC).isoformat(timespec="seconds"),
        "settings": {
            "keys": load.settings.keys,
            "reads_per_s_per_key": load.settings.read_rate,
            "writes_per_s_per_key": load.settings.write_rate,
            "probe_writes_per_s": load.settings.probe_rate,
            "hot_s": load.settings.hot_s,
            "writes_s": load.settings.seconds,
            "seed": load.settings.seed,
        },
        "places": [
            {
                "name": place.name,
                "label": place.label,
                "nearest": nearest_region(place.name),
                "rtt_ms": {region: rtt_ms(place.name, region) for region in regions},
            }
            for place in places
        ],
        "leader_region": LEADER_REGION,
        "targets": [{"name": target.name, "label": target.label} for target in TARGETS],
        "reads": [row for phase in PHASES for target in TARGETS for row in read_rows(load, phase, target)],
        "writes": [row for target in TARGETS for row in write_rows(load, target)],
        "bounds": [
            bound_row(load, target, place.name)
            for target in TARGETS
            if target.follows_log or target.is_global
            for place in places
        ],
        "staleness_by_second": {target.name: worst_by_second(load, target.name) for target in TARGETS},
        "curve_shares": CURVE_SHARES,
        "curves": [row for phase in (HOT, WRITES) for target in TARGETS for row in curve_rows(load, phase, target)],
        "itself": itself(load),
    }


def itself(load: Load) -> Row:
    """What this process did with its time, and what it cannot answer for."""
    lateness = rounded(percentiles(load.lateness_ms))
    return {
        "cpu_share": round(load.cpu_s / load.wall_s, 3),
        "lateness_ms": lateness,
        "is_busy": (lateness["p90"] or 0.0) > BUSY_MS,
        "leader_write_ms": rounded(percentiles(load.leader_write_ms)),
        "leader_writes": len(load.leader_write_ms),
        "failed_writes": load.n_failed_writes,
    }


def engine() -> str:
    from upstash_global.engine import engine

    return "pure Python" if (engine.__file__ or "").endswith(".py") else "compiled"


def read_rows(load: Load, phase: str, target: Target) -> list[Row]:
    """One for all places together, and one for each."""
    names = [place.name for place in load.world.places]
    rows = [read_row(phase, target.name, name, [load.samples[phase, target.name, name]]) for name in names]
    whole = read_row(phase, target.name, None, [load.samples[phase, target.name, name] for name in names])
    if phase == WRITES and target.follows_log:
        for row, name in zip(rows, names, strict=True):
            fill_ms = rtt_ms(name, source_region(target, name))
            row["dropping_hit_share"] = dropping_hit_share(load.settings.read_rate, load.settings.write_rate, fill_ms)
        whole["dropping_hit_share"] = round(sum(row["dropping_hit_share"] for row in rows) / len(rows), 5)
    return [whole, *rows]


def dropping_hit_share(read_rate: float, write_rate: float, fill_ms: float) -> float:
    """What a cache can reach that only drops a reply, at once when its key is written, and never serves an old one.

    A reply lives until the next write: read_rate / write_rate hits on average. The read after that misses, and so does every
    one that comes while the new reply is on its way. Rates are of one key at one place.
    """
    hits = read_rate / write_rate
    misses = 1 + read_rate * fill_ms / 1e3
    return round(hits / (hits + misses), 5)


def read_row(phase: str, target: str, place: str | None, parts: Sequence[Samples]) -> Row:
    """The reads of one place, or of all (None), at one target in one phase."""
    latencies = latencies_of(parts)
    states = b"".join([bytes(part.state) for part in parts])
    n_hits, n_misses = states.count(HIT), states.count(MISS)
    answered = len(latencies)
    stale = sorted([ms for part in parts for ms in part.staleness_ms if ms != FRESH])
    told = [ms for part in parts for ms, state in zip(part.told_ms, part.state, strict=True) if state != FAILED]
    most = sorted([ms for part in parts for ms in part.most_ms if ms != FRESH])
    return {
        "phase": phase,
        "target": target,
        "place": place,
        "reads": answered,
        "failed": states.count(FAILED) + sum(part.n_refused for part in parts),
        "latency_ms": rounded(percentiles(latencies)),
        "hit_share": share(n_hits, n_hits + n_misses),
        "miss_share": share(n_misses, n_hits + n_misses),
        "dropping_hit_share": None,
        "stale_share": share(len(stale), answered),
        "staleness_ms": rounded({"p50": percentile(stale, 0.5), "p99": percentile(stale, 0.99)}),
        "staleness_max_ms": rounded_ms(stale[-1] if stale else None),
        "staleness_since_sent_max_ms": rounded_ms(most[-1] if most else None),
        "receipt_ms": rounded(percentiles(told)),
    }


def write_rows(load: Load, target: Target) -> list[Row]:
    """Likewise of the writes through a target."""
    parts = {place.name: list(load.write_ms[target.name, place.name]) for place in load.world.places}
    whole = [ms for part in parts.values() for ms in part]
    return [
        {"target": target.name, "place": place, "writes": len(part), "latency_ms": rounded(percentiles(part))}
        for place, part in [(None, whole), *parts.items()]
    ]


def bound_row(load: Load, target: Target, place: str) -> Row:
    """Whether 99 of 100 stale reads of a place were at most one way and ALLOWANCE_MS behind; of few, all of them."""
    samples = load.samples[WRITES, target.name, place]
    stale = sorted([ms for ms in samples.staleness_ms if ms != FRESH])
    p99_ms = percentile(stale, 0.99)
    worst_ms = stale[-1] if stale else 0.0
    one_way = one_way_ms(target, place)
    return {
        "target": target.name,
        "place": place,
        "by": source_region(target, place),
        "one_way_ms": one_way,
        "stale_reads": len(stale),
        "staleness_p99_ms": rounded_ms(p99_ms),
        "staleness_max_ms": rounded_ms(worst_ms),
        "is_within": (worst_ms if p99_ms is None else p99_ms) <= one_way + ALLOWANCE_MS,
    }


def curve_rows(load: Load, phase: str, target: Target) -> list[Row]:
    """The latencies of all places together (None), and of each, at CURVE_SHARES."""
    names = [place.name for place in load.world.places]
    parts = {name: load.samples[phase, target.name, name] for name in names}
    rows = []
    for place, samples in [(None, list(parts.values())), *[(name, [part]) for name, part in parts.items()]]:
        points = [rounded_ms(point) for point in curve(latencies_of(samples), CURVE_SHARES)]
        rows.append({"phase": phase, "target": target.name, "place": place, "latency_ms": points})
    return rows


def worst_by_second(load: Load, target: str) -> list[float | None]:
    """For each second since the phase with writes began, the staleness of the stalest read; None if none was stale."""
    parts = [load.samples[WRITES, target, place.name] for place in load.world.places]
    worst: list[float | None] = []
    for part in parts:
        for started_ms, staleness_ms in zip(part.started_ms, part.staleness_ms, strict=True):
            second = int((started_ms - load.writes_began_ms) / 1e3)
            while len(worst) <= second:
                worst.append(None)
            if staleness_ms != FRESH:
                worst[second] = max(worst[second] or 0.0, round(staleness_ms, 2))
    return worst


def latencies_of(parts: Iterable[Samples]) -> list[float]:
    return [ms for part in parts for ms, state in zip(part.latency_ms, part.state, strict=True) if state != FAILED]


def samples_csv(load: Load) -> Iterator[str]:
    """Every read and every write, one a line, in the order of phase, target and place."""
    yield "phase,target,place,started_ms,latency_ms,cache,staleness_ms,receipt_ms\n"
    for (phase, target, place), samples in load.samples.items():
        rows = zip(
            samples.started_ms,
            samples.latency_ms,
            samples.state,
            samples.staleness_ms,
            samples.told_ms,
            strict=True,
        )
        for started_ms, latency_ms, state, staleness_ms, told_ms in rows:
            stale = "" if staleness_ms == FRESH else f"{staleness_ms:.3f}"
            yield f"{phase},{target},{place},{started_ms:.3f},{latency_ms:.3f},{STATES[state]},{stale},{told_ms:.0f}\n"
    for (target, place), latencies in load.write_ms.items():
        for latency_ms in latencies:
            yield f"write,{target},{place},,{latency_ms:.3f},,,\n"


def share(part: int, whole: int) -> float | None:
    """None if there was nothing to have a share of."""
    return round(part / whole, 5) if whole else None


def rounded(figures: dict[str, float | None]) -> dict[str, float | None]:
    return {name: rounded_ms(value) for name, value in figures.items()}


def rounded_ms(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
