"""The cluster that is compared, and the distances around it.

One cluster serves all set-ups at once, so that all of them see the same writes in the same seconds: a node in each region, and
at each client place an edge for each set-up that has one. Whoever is not at the same place is reached through a delay proxy
(server/wan.py), half the round trip each way:

    client ──▶ the leader's REST            single region
    client, its edge ──▶ the leader         edge cache: misses and, in the mode `log`, the log
    client ──▶ REST of the nearest node     global database
    client, its edge ──▶ the nearest node   global + edge
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from random import Random
from typing import Final

from upstash_global.comparison.places import (
    CITY_RTT_MS,
    LEADER_REGION,
    TARGETS,
    Place,
    Target,
    nearest_region,
    rtt_ms,
    source_region,
)
from upstash_global.config import (
    Address,
    Cluster,
    Config,
    Credentials,
    EdgeConfig,
    EdgeDial,
    NodeConfig,
    Region,
    Wan,
)
from upstash_global.server.wan import Link, Network

HOST: Final = "127.0.0.1"


class World:
    """A configuration, its network (not open yet), and where each place finds each target."""

    def __init__(self, places: Sequence[Place], base_port: int, credentials: Credentials, random: Random) -> None:
        """To be made on a running loop. The cluster's ports follow one another from `base_port`."""
        self.places = places
        self.random = random
        self.links: dict[tuple[str, str, str], Link] = {}  # (place, region, listener)
        self.config = self._cluster(_ports(base_port), credentials)
        self.network = Network(self.config, random)
        self.config = self.network.add_missing(self.config)
        self.config = replace(self.config, edges=tuple([self._led(edge) for edge in self.config.edges]))
        self.urls = {(target.name, place.name): self._url(target, place.name) for target in TARGETS for place in places}

    def _cluster(self, ports: Iterator[Address], credentials: Credentials) -> Config:
        regions = list(dict.fromkeys([LEADER_REGION, *[nearest_region(place.name) for place in self.places]]))
        nodes = [NodeConfig(region, region, next(ports), next(ports), next(ports), next(ports)) for region in regions]
        edges = []
        for place in self.places:
            for target in TARGETS:
                if target.has_edge:
                    upstream = source_region(target, place.name)
                    name, mode = edge_name(target, place.name), target.invalidation()
                    edges.append(EdgeConfig(name, place.name, next(ports), upstream, next(ports), mode))
        return Config(
            cluster=Cluster("comparison", LEADER_REGION),
            credentials=credentials,
            regions={name: Region() for name in dict.fromkeys([*regions, *[place.name for place in self.places]])},
            nodes=tuple(nodes),
            edges=tuple(edges),
            wan=Wan(rtt_ms=CITY_RTT_MS),
        )

    def _led(self, edge: EdgeConfig) -> EdgeConfig:
        """The edge with its node at its distance."""
        rest, grpc = (self._way(edge.region, edge.upstream, listener) for listener in ("rest", "grpc"))
        return replace(edge, dial=EdgeDial(rest, grpc))

    def _way(self, place: str, region: str, listener: str) -> Address:
        """Where a place finds a listener of a region's node: a proxy, unless it is in the region itself."""
        direct = self.config.node(region).advertised(listener)
        if place == region:
            return direct
        way = (place, region, listener)
        if way not in self.links:
            link = Link(place, region, region, Address(f"{HOST}:0"), direct, self.random)
            link.set_distance(rtt_ms(place, region), 0.0, 0)
            self.links[way] = link
            self.network.links.append(link)
        return self.links[way].listen

    def _url(self, target: Target, place: str) -> str:
        """Where the clients of a place call a target. All ways are made before the network is opened."""
        if target.has_edge:
            return f"http://{self.config.edge(edge_name(target, place)).listen}"
        return f"http://{self._way(place, source_region(target, place), 'rest')}"

    def leader_url(self) -> str:
        return f"http://{self.config.node(LEADER_REGION).rest}"

    def edges_at(self, place: str) -> list[EdgeConfig]:
        return [edge for edge in self.config.edges if edge.region == place]


def edge_name(target: Target, place: str) -> str:
    return f"{target.name}-{place}"


def _ports(base_port: int) -> Iterator[Address]:
    return (Address(f"{HOST}:{port}") for port in count(base_port))


def n_ports(n_places: int) -> int:
    """How many ports a world of so many places takes at most."""
    return 4 * 5 + 2 * n_places * sum(target.has_edge for target in TARGETS)
