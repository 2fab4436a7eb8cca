"""Percentiles that are not claimed from too few samples: sans-io."""

from collections.abc import Sequence
from math import ceil, floor

SHOWN: dict[str, float] = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest sample that at least `share` of all do not exceed. `ordered` is ascending.

    None if no sample is expected above it: p99.9 of 500 samples would be their maximum under another name.
    """
    n = len(ordered)
    if n * (1 - share) < 1 - 1e-9:
        return None
    return ordered[min(n - 1, max(0, ceil(share * n - 1e-9) - 1))]


def percentiles(samples: Sequence[float]) -> dict[str, float | None]:
    """Those that are shown, by name."""
    ordered = sorted(samples)
    return {name: percentile(ordered, share) for name, share in SHOWN.items()}


def curve(samples: Sequence[float], shares: Sequence[float]) -> list[float | None]:
    """Percentiles at many shares, for a chart."""
    ordered = sorted(samples)
    return [percentile(ordered, share) for share in shares]


def nines(n_nines: float, points_per_nine: int) -> list[float]:
    """Shares from 0 to 1 - 10^-n_nines, each nine as wide as the one before."""
    return [1 - 10 ** -(step / points_per_nine) for step in range(floor(n_nines * points_per_nine) + 1)]
