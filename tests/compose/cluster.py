"""docker-compose.yml, running under a project name and on a loopback address of its own."""

import json
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

import redis

from tests.compose.engine import Engine

ROOT: Final = Path(__file__).parents[2]
COMPOSE_FILE: Final = ROOT / "docker-compose.yml"
CLUSTER_FILE: Final = ROOT / "deploy" / "compose.yaml"
NODES: Final = ("leader", "us-east-1", "us-west-2", "eu-central-1", "ap-southeast-1", "sa-east-1")
REPLICAS: Final = NODES[1:]
EDGES: Final = tuple(f"edge-{region}" for region in REPLICAS)
SERVICES: Final = (*NODES, *EDGES, "wan")
SECRETS: Final = (
    "REDIS_PASSWORD",
    "REST_TOKEN",
    "REST_READ_ONLY_TOKEN",
    "CLUSTER_SECRET",
    "UPSTASH_GLOBAL_ADMIN_TOKEN",
)
HEALTHY_SECONDS: Final = 240


class Cluster:
    """The services of one project, and how a client reaches them."""

    def __init__(self, engine: Engine, image: str) -> None:
        self.engine = engine
        self.project = "upstash-global-test-" + secrets.token_hex(4)
        self.host = loopback_address()
        self.variables = {name: secrets.token_hex(16) for name in SECRETS}
        self.variables |= {"UPSTASH_GLOBAL_IMAGE": image, "PUBLISH_ON": self.host}

    def compose(self, *arguments: str) -> str:
        chosen = ("--project-name", self.project, "--file", str(COMPOSE_FILE))
        return self.engine.compose(*chosen, *arguments, variables=self.variables)

    def up(self, *options: str) -> None:
        """Start the services and return when every node is healthy."""
        since = time.time()
        self.compose("up", "--detach", "--no-build", *options)
        self.wait_until_healthy(since)

    def container(self, service: str) -> str:
        labels = {"project": self.project, "service": service}
        chosen = [f"--filter=label=com.docker.compose.{key}={value}" for key, value in labels.items()]
        return self.engine.docker("ps", "--quiet", *chosen).strip()

    def run(self, service: str, *argv: str) -> str:
        """Run a program inside a service's container and return what it printed."""
        return self.engine.docker("exec", self.container(service), *argv)

    def command(self, *arguments: str) -> Any:
        """What `upstash-global` of this machine answers about the cluster, as JSON."""
        argv = [sys.executable, "-m", "upstash_global", *arguments, "--config", str(CLUSTER_FILE), "--output", "json"]
        return json.loads(self.engine.run(argv, variables=self.variables, timeout=60))

    def redis(self, node: str) -> redis.Redis:
        port = 7000 + NODES.index(node)
        return redis.Redis(self.host, port, password=self.variables["REDIS_PASSWORD"], decode_responses=True)

    def rest(self, node: str, *command: str) -> Any:
        """The result of a command sent as a JSON array to the node's REST port."""
        request = urllib.request.Request(
            f"http://{self.host}:{8000 + NODES.index(node)}/",
            data=json.dumps(command).encode(),
            headers={"Authorization": f"Bearer {self.variables['REST_TOKEN']}"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)["result"]

    def edge_get(self, edge: str, path: str) -> tuple[str, Any]:
        """(how its cache took part, result) of a GET at an edge."""
        request = urllib.request.Request(
            f"http://{self.host}:{8101 + EDGES.index(edge)}{path}",
            headers={"Authorization": f"Bearer {self.variables['REST_TOKEN']}"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.headers["upstash-edge-cache"], json.load(response)["result"]

    def wait_until_healthy(self, since: float) -> None:
        """Return when the engine has told of every service that it is healthy.

        AssertionError with the logs when one ends instead, or when it takes too long.
        """
        waiting = set(SERVICES)
        for service, action in self.events(since, since + HEALTHY_SECONDS):
            if action == "die":
                break
            if action == "health_status: healthy":
                waiting.discard(service)
            if not waiting:
                return
        raise AssertionError(f"{sorted(waiting)} did not become healthy\n{self.compose('logs', '--tail=50')}")

    def events(self, since: float, until: float) -> Iterator[tuple[str, str]]:
        """(service, what happened to it) as the engine tells it, from one time to another."""
        argv = [
            *("docker", "events", "--since", f"{since:.6f}", "--until", f"{until:.6f}"),
            *("--filter", f"label=com.docker.compose.project={self.project}"),
            *("--filter", "event=health_status", "--filter", "event=die"),
            *("--format", '{{index .Actor.Attributes "com.docker.compose.service"}} {{.Action}}'),
        ]
        with subprocess.Popen(argv, env=self.engine.environment, stdout=subprocess.PIPE, text=True) as events:
            assert events.stdout is not None
            try:
                for line in events.stdout:
                    service, _, action = line.strip().partition(" ")
                    yield service, action
            finally:
                events.terminate()


@contextmanager
def running_cluster(engine: Engine, image: str) -> Iterator[Cluster]:
    """Bring the services up, yield them healthy, and remove them with their networks and volumes."""
    cluster = Cluster(engine, image)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.compose("down", "--volumes", "--timeout", "15")


def loopback_address() -> str:
    """One of Linux's many loopback addresses, so that the fixed ports are free on it; elsewhere there is one."""
    random = SystemRandom()
    chosen = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
    with socket.socket() as probe:
        try:
            probe.bind((chosen, 0))
        except OSError:
            return "127.0.0.1"
    return chosen
