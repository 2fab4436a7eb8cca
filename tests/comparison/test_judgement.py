"""What the comparison says of its samples: percentiles, staleness, distances, and what a cache can reach at all."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstash_global.comparison.percentiles import curve, nines, percentile, percentiles
from upstash_global.comparison.places import (
    CITY_RTT_MS,
    PLACES,
    REGIONS,
    TARGETS,
    nearest_region,
    one_way_ms,
    rtt_ms,
    source_region,
)
from upstash_global.comparison.results import dropping_hit_share
from upstash_global.comparison.staleness import FRESH, History

TARGET = {target.name: target for target in TARGETS}


# -- percentiles


def test_a_percentile_is_the_smallest_sample_that_so_many_do_not_exceed() -> None:
    ordered = [float(n) for n in range(1, 1001)]
    assert percentiles(ordered[::-1]) == {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999}


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.floats(0, 0.9999))
def test_at_least_its_share_lies_at_or_below_a_percentile_and_less_lies_below(
    samples: list[float], share: float
) -> None:
    ordered = sorted(samples)
    found = percentile(ordered, share)
    if found is None:
        assert len(ordered) * (1 - share) < 1
        return
    n = len(ordered)
    assert sum(sample <= found for sample in ordered) >= share * n - 1e-6
    assert sum(sample < found for sample in ordered) <= share * n + 1e-6


def test_no_percentile_is_claimed_that_has_no_sample_above_it() -> None:
    assert percentiles([1.0] * 99) == {"p50": 1, "p90": 1, "p99": None, "p99.9": None}
    assert percentiles([1.0] * 100)["p99"] == 1
    assert percentiles([]) == {"p50": None, "p90": None, "p99": None, "p99.9": None}


def test_a_curve_never_falls_and_ends_where_samples_are_too_few() -> None:
    random = Random(1)
    points = curve([random.expovariate(1) for _ in range(200)], nines(3, 10))
    known = [point for point in points if point is not None]
    assert len(points) == 31 and len(known) == 24  # 1 - 10^-2.3 is 99.5 %: one of 200 is above it
    assert known == sorted(known)


# -- staleness


def written(*acked_ms: float) -> History:
    """A key whose values 1, 2, 3 … were each sent 1 ms before they were acknowledged."""
    history = History()
    for time_ms in acked_ms:
        history.next_value(time_ms - 1)
        history.acknowledge(time_ms)
    return history


def test_the_newest_value_is_fresh_however_long_ago_it_was_written() -> None:
    assert written(10, 20).staleness_ms(2, 1_000_000) == FRESH


def test_a_read_is_stale_since_the_first_newer_value_was_acknowledged() -> None:
    history = written(10, 20, 30)
    assert history.staleness_ms(1, 35) == 15  # since 2 was there, not since 3
    assert history.staleness_ms(2, 35) == 5
    assert history.most_ms(2, 35) == 6


def test_a_read_that_began_before_the_acknowledgement_could_not_know_better() -> None:
    assert written(10, 20).staleness_ms(1, 19.9) == FRESH
    assert written(10, 20).staleness_ms(1, 20) == 0


def test_a_value_that_is_on_its_way_makes_nothing_stale_and_may_be_read() -> None:
    history = written(10)
    assert history.next_value(20) == 2
    assert history.staleness_ms(1, 25) == FRESH
    assert history.staleness_ms(2, 25) == FRESH


# -- places


def test_each_city_has_a_distance_to_each_region() -> None:
    cities = {place.name for place in PLACES} - set(REGIONS)
    assert set(CITY_RTT_MS) == cities
    assert all(rtt_ms(place.name, region) > 0 for place in PLACES for region in REGIONS if place.name != region)
    assert all(rtt_ms(region, region) == 0 for region in REGIONS)


def test_a_city_is_served_by_the_region_it_is_nearest_to() -> None:
    nearest = {place.name: nearest_region(place.name) for place in PLACES}
    assert all(nearest[region] == region for region in REGIONS)
    assert [nearest[city] for city in ("tokyo", "mumbai", "sydney", "cape-town")] == [
        *["ap-southeast-1"] * 3,
        "eu-central-1",
    ]
    assert source_region(TARGET["edge-log"], "tokyo") == "us-east-1"


def test_one_way_is_the_way_of_the_log() -> None:
    assert one_way_ms(TARGET["edge-log"], "tokyo") == rtt_ms("tokyo", "us-east-1") / 2
    assert one_way_ms(TARGET["global"], "tokyo") == rtt_ms("us-east-1", "ap-southeast-1") / 2
    to_singapore, to_tokyo = rtt_ms("us-east-1", "ap-southeast-1") / 2, rtt_ms("ap-southeast-1", "tokyo") / 2
    assert one_way_ms(TARGET["global-edge"], "tokyo") == to_singapore + to_tokyo
    assert one_way_ms(TARGET["global-edge"], "us-east-1") == 0


# -- what a cache can reach


@pytest.mark.parametrize(
    ("read_rate", "write_rate", "fill_ms"), [(25, 1, 0), (25, 1, 200), (5, 2, 100), (100, 0.1, 50)]
)
def test_the_dropping_hit_share_is_that_of_a_perfect_cache_that_drops(
    read_rate: float, write_rate: float, fill_ms: float
) -> None:
    """Played by chance: every write ends the reply at once, a read without one fetches it, others that come meanwhile wait."""
    random = Random(1)
    now_ms = next_write_ms = filled_at_ms = 0.0
    is_kept = False
    hits, reads = 0, 200_000
    for _ in range(reads):
        now_ms += random.expovariate(read_rate / 1e3)
        while next_write_ms <= now_ms:
            is_kept = is_kept and filled_at_ms > next_write_ms  # what is read after a write is not ended by it
            next_write_ms += random.expovariate(write_rate / 1e3)
        if not is_kept:
            is_kept, filled_at_ms = True, now_ms + fill_ms
        elif now_ms >= filled_at_ms:
            hits += 1
    assert hits / reads == pytest.approx(dropping_hit_share(read_rate, write_rate, fill_ms), abs=0.01)
