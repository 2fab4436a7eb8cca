"""Who asks and who is asked: client places, what they compare, and the distances between them.

A place is a region of the database or a city without one. The distances between regions are those of `up`
(config.DEFAULT_RTT_MS); those of the cities are below: round trips of the order that public measurements between the
regions of a large cloud show, rounded. All are assumptions, shown with every result.
"""

from dataclasses import dataclass
from typing import Final

from upstash_global.config import Wan

LEADER_REGION: Final = "us-east-1"


@dataclass(frozen=True)
class Place:
    name: str
    label: str


PLACES: Final = (
    Place("us-east-1", "Virginia"),
    Place("us-west-2", "Oregon"),
    Place("eu-central-1", "Frankfurt"),
    Place("ap-southeast-1", "Singapore"),
    Place("sa-east-1", "São Paulo"),
    Place("tokyo", "Tokyo"),
    Place("mumbai", "Mumbai"),
    Place("sydney", "Sydney"),
    Place("cape-town", "Cape Town"),
)
REGIONS: Final = tuple(place.name for place in PLACES[:5])

CITY_RTT_MS: Final[dict[str, dict[str, float]]] = {
    "tokyo": {"us-east-1": 150, "us-west-2": 98, "eu-central-1": 226, "ap-southeast-1": 70, "sa-east-1": 258},
    "mumbai": {"us-east-1": 190, "us-west-2": 218, "eu-central-1": 122, "ap-southeast-1": 60, "sa-east-1": 302},
    "sydney": {"us-east-1": 200, "us-west-2": 140, "eu-central-1": 252, "ap-southeast-1": 94, "sa-east-1": 312},
    "cape-town": {"us-east-1": 226, "us-west-2": 278, "eu-central-1": 156, "ap-southeast-1": 224, "sa-east-1": 340},
}


@dataclass(frozen=True)
class Target:
    """One set-up that clients read from."""

    name: str
    label: str
    has_edge: bool  # an edge cache stands at each place
    is_global: bool  # a replica answers in each region; otherwise the leader answers everybody
    follows_log: bool = False  # of the edge

    def invalidation(self) -> str:
        """As an edge's `invalidate` has it."""
        return "log" if self.follows_log else "ttl"


TARGETS: Final = (
    Target("single", "single region", has_edge=False, is_global=False),
    Target("edge-ttl", "edge cache (TTL)", has_edge=True, is_global=False),
    Target("edge-log", "edge cache (log)", has_edge=True, is_global=False, follows_log=True),
    Target("global", "global database", has_edge=False, is_global=True),
    Target("global-edge", "global + edge", has_edge=True, is_global=True, follows_log=True),
)


def rtt_ms(place: str, region: str) -> float:
    """Round trip between a client place and a region; 0 at one place, where no delay is simulated."""
    if place == region:
        return 0.0
    known = Wan(rtt_ms=CITY_RTT_MS).rtt(place, region)
    assert known is not None
    return known


def nearest_region(place: str) -> str:
    return min(REGIONS, key=lambda region: rtt_ms(place, region))


def source_region(target: Target, place: str) -> str:
    """The region whose node answers a place at a target, or its edge's misses."""
    return nearest_region(place) if target.is_global else LEADER_REGION


def one_way_ms(target: Target, place: str) -> float:
    """How long a write travels from the leader to what answers the place: the way of the log, without any work on it."""
    region = source_region(target, place)
    to_region = rtt_ms(LEADER_REGION, region) / 2
    return to_region + (rtt_ms(place, region) / 2 if target.has_edge else 0.0)
