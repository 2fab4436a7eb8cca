"""docker-compose.yml and deploy/compose.yaml describe one cluster: read here, run by test_compose.py."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from upstash_global.config import Address, Config, load

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
LOOPBACK: Final = "${PUBLISH_ON:-127.0.0.1}"


def example_environment() -> dict[str, str]:
    """deploy/.env.example as docker-compose reads it."""
    lines = (ROOT / "deploy" / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def cluster() -> Config:
    return load(ROOT / "deploy" / "compose.yaml", example_environment())


def test_every_node_and_edge_is_a_service_and_there_is_nothing_else_but_the_wan() -> None:
    kinds = {node.name: "node" for node in cluster().nodes} | {edge.name: "edge" for edge in cluster().edges}
    assert set(SERVICES) == {*kinds, "wan"}
    for name, kind in kinds.items():
        command = SERVICES[name]["command"]
        assert command[0] == kind
        assert command[command.index("--name") + 1] == name


def test_every_replica_has_an_edge_in_its_network_alone() -> None:
    config = cluster()
    assert [edge.upstream for edge in config.edges] == [node.name for node in config.nodes[1:]]
    for edge in config.edges:
        assert SERVICES[edge.name]["networks"] == [edge.region] == [config.node(edge.upstream).region]
        assert config.upstream_of(edge, "rest") == f"{edge.upstream}:{config.node(edge.upstream).rest.port}"
        listeners = {name: getattr(edge, name).port for name in ("listen", "admin")}
        advertised = {name: edge.advertised(name) for name in listeners}
        told = [f"{LOOPBACK}:{place.port}:{listeners[name]}" for name, place in advertised.items() if place]
        assert SERVICES[edge.name]["ports"] == told


def test_a_node_is_in_the_network_of_its_region_alone() -> None:
    for node in cluster().nodes:
        assert SERVICES[node.name]["networks"] == [node.region]
    assert set(SERVICES["wan"]["networks"]) == set(COMPOSE["networks"]) == set(cluster().regions)


def test_a_peer_elsewhere_is_dialled_through_the_wan_on_the_port_of_that_way() -> None:
    config = cluster()
    ways: dict[Address, set[tuple[str, str]]] = {}
    for source in config.nodes:
        for target in config.nodes:
            if source.region != target.region:
                dialled = config.address_of(target.name, source.name)
                assert dialled.host == "wan"
                ways.setdefault(dialled, set()).add((source.region, target.name))
    assert all(len(way) == 1 for way in ways.values()), "two ways share a port"


def test_ports_are_published_on_loopback_where_the_node_says_they_are() -> None:
    for node in cluster().nodes:
        listeners = {name: getattr(node, name).port for name in ("resp", "rest", "admin")}
        told = [f"{LOOPBACK}:{node.advertised(name).port}:{port}" for name, port in listeners.items()]
        assert SERVICES[node.name]["ports"] == told
    assert "ports" not in SERVICES["wan"]


def test_the_containers_get_the_variables_that_the_cluster_file_names() -> None:
    named = set(re.findall(r"\$\{(\w+)", (ROOT / "deploy" / "compose.yaml").read_text()))
    for service in SERVICES.values():
        assert set(service["environment"]) == named


def test_every_container_is_checked_by_our_own_command_line() -> None:
    """By the check of the image, which asks the admin port of a node or an edge, or by one of its own."""
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    (image,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", dockerfile, re.M)
    assert image == '["upstash-global", "status", "--admin", "http://127.0.0.1:9100"]'
    admins = [node.admin.port for node in cluster().nodes] + [edge.admin.port for edge in cluster().edges if edge.admin]
    assert set(admins) == {9100}
    own = {name: service["healthcheck"]["test"] for name, service in SERVICES.items() if "healthcheck" in service}
    assert own == {"wan": ["CMD", "upstash-global", "wan", "show"]}
    assert len(admins) + len(own) == len(SERVICES)


def test_no_container_runs_as_root_or_can_become_it() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert "\nUSER 10001\n" in dockerfile[dockerfile.rindex("FROM ") :]
    for service in SERVICES.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert "user" not in service and "privileged" not in service
