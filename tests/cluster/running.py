"""A whole cluster as a user starts it: `upstash-global up`, real processes, found through its endpoints.json."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import redis

from tests.ports import base_port

ROOT: Final = Path(__file__).parents[2]
LIMIT_S: Final = 120.0  # what hangs fails after this; nothing waits for it otherwise
_COMMAND: Final = [sys.executable, "-m", "upstash_global"]
no_proxy: Final = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Place:
    """A node as its clients find it."""

    name: str
    region: str
    host: str
    port: int
    rest: str
    admin: str
    pid: int  # of its first process


@dataclass(frozen=True)
class EdgePlace:
    """An edge cache as its clients find it."""

    name: str
    url: str
    admin: str


class Running:
    """`upstash-global up` and its nodes; `with` ends all of it."""

    def __init__(self, directory: Path, *arguments: str, **settings: str) -> None:
        self.directory = directory / "data"
        self.output = directory / "up.log"
        self.arguments = arguments
        self.environment = os.environ | {"PYTHONPATH": str(ROOT)} | settings
        self.restarted: dict[str, subprocess.Popen[bytes]] = {}  # nodes that the test itself started again

    def __enter__(self) -> "Running":
        command = [*_COMMAND, "up", "--data-dir", str(self.directory)]
        if "--config" not in self.arguments:
            command += ["--base-port", str(base_port())]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *self.arguments], stdout=output, stderr=output, env=self.environment
            )
        try:
            file = self.directory / "endpoints.json"
            wait_for(lambda: file.exists() or self.process.poll() is not None)
            assert file.exists(), self.output.read_text()
            endpoints = json.loads(file.read_text())
        except BaseException:
            self.__exit__()
            raise
        self.password: str = endpoints["password"]
        self.token: str = endpoints["tokens"]["standard"]
        self.read_token: str = endpoints["tokens"]["read_only"]
        self.admin_token = (self.directory / "admin.token").read_text().strip()
        self.places = {
            node["name"]: Place(
                node["name"],
                node["region"],
                node["resp"].rpartition(":")[0],
                int(node["resp"].rpartition(":")[2]),
                node["rest"],
                node["admin"],
                node["pid"],
            )
            for node in endpoints["nodes"]
        }
        self.edges = {
            edge["region"]: EdgePlace(edge["name"], edge["url"], edge["admin"]) for edge in endpoints["edges"]
        }
        return self

    def __exit__(self, *failure: object) -> None:
        for process in self.restarted.values():
            if process.poll() is None:
                process.terminate()
        self.process.terminate()
        for process in (*self.restarted.values(), self.process):
            try:
                process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(LIMIT_S)

    # -- clients

    def redis(self, name: str, **options: Any) -> "redis.Redis":
        place = self.places[name]
        settings: dict[str, Any] = {
            "password": self.password,
            "decode_responses": True,
            "socket_timeout": LIMIT_S,
        } | options
        return redis.Redis(host=place.host, port=place.port, **settings)

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`upstash-global` with these arguments."""
        return subprocess.run(
            [*_COMMAND, *arguments, "--data-dir", str(self.directory)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env=self.environment,
        )

    def ask(self, name: str, path: str) -> tuple[int, Any]:
        """GET from the admin port: (status, JSON or text); status 0 if nobody answers."""
        headers = {"Authorization": f"Bearer {self.admin_token}"} if path.startswith("/v1/") else {}
        return fetch(Request(self.places[name].admin + path, headers=headers))

    def rest(self, name: str, *words: object, token: str | None = None) -> tuple[int, Any, dict[str, str]]:
        """One command over REST: (status, answer, headers)."""
        request = Request(self.places[name].rest, json.dumps(words).encode(), method="POST")
        request.add_header("Authorization", f"Bearer {token or self.token}")
        try:
            with no_proxy.open(request, timeout=LIMIT_S) as response:
                return response.status, json.loads(response.read()), dict(response.headers)
        except HTTPError as refusal:
            return refusal.code, json.loads(refusal.read()), dict(refusal.headers)

    def edge_get(self, region: str, path: str) -> tuple[int, str, Any]:
        """GET at the edge of a region: (status, how its cache took part, answer); status 0 if nobody answers."""
        request = Request(self.edges[region].url + path, headers={"Authorization": f"Bearer {self.token}"})
        try:
            with no_proxy.open(request, timeout=LIMIT_S) as response:
                return response.status, response.headers["upstash-edge-cache"], json.loads(response.read())
        except HTTPError as refusal:
            return refusal.code, refusal.headers["upstash-edge-cache"], json.loads(refusal.read())

    def edge_status(self, region: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        answer: dict[str, Any] = fetch(Request(self.edges[region].admin + "/v1/status", headers=headers))[1]
        return answer

    # -- states to wait for

    def status(self, name: str) -> dict[str, Any]:
        """What the node says of itself; {} if it does not answer."""
        code, answer = self.ask(name, "/v1/status")
        return answer if code == 200 else {}

    def leader(self) -> str:
        """The node that leads and is followed by all others."""
        found: list[str] = []

        def is_whole() -> bool:
            statuses = [self.status(name) for name in self.places]
            found[:] = [status["node"] for status in statuses if status.get("role") == "leader"]
            return len(found) == 1 and all(
                status.get("state") == "streaming" and status["leader"] == found[0] and status["reaches_leader"]
                for status in statuses
            )

        wait_for(is_whole, self.report)
        return found[0]

    def settle(self) -> dict[str, Any]:
        """Wait until all nodes are at one position, and answer it."""
        self.leader()
        seen: list[Any] = []

        def is_level() -> bool:
            seen[:] = [self.status(name).get("position") for name in self.places]
            return seen[0] is not None and all(position == seen[0] for position in seen)

        wait_for(is_level, self.report)
        position: dict[str, Any] = seen[0]
        return position

    def digests(self) -> dict[str, str]:
        """Every node's digest, at one position of all."""
        self.settle()
        digests = {}
        for name in self.places:
            with self.redis(name) as client:
                digests[name] = str(client.execute_command("DEBUG", "DIGEST"))
        return digests

    def report(self) -> str:
        return "\n".join(f"{name}: {self.status(name) or 'no answer'}" for name in self.places)

    # -- processes

    def end(self, name: str, signum: int) -> None:
        """Send a signal to a node's process and wait until it is gone."""
        process = self.restarted.pop(name, None)
        if process is not None:
            process.send_signal(signum)
            process.wait(LIMIT_S)
            return
        os.kill(self.places[name].pid, signum)
        wait_for(lambda: self._is_lost(name))

    def _is_lost(self, name: str) -> bool:
        """Whether `up` has seen the node's process end."""
        lines = self.output.read_text().splitlines()
        return any(line.startswith(f"{name} ") and "the others go on" in line for line in lines)

    def start(self, name: str) -> None:
        """Start a node again that was ended, as `up` starts it."""
        directory = self.directory / name
        where = ["--config", str(self.directory / "cluster.yaml"), "--name", name, "--data-dir", str(directory)]
        with (directory / "node.log").open("ab") as log:
            self.restarted[name] = subprocess.Popen(
                [*_COMMAND, "node", *where], stdout=log, stderr=log, env=self.environment
            )


def fetch(request: Request) -> tuple[int, Any]:
    try:
        with no_proxy.open(request, timeout=LIMIT_S) as response:
            code, text = response.status, response.read().decode()
    except HTTPError as refusal:
        code, text = refusal.code, refusal.read().decode()
    except OSError as failure:
        return 0, str(failure)
    try:
        return code, json.loads(text)
    except ValueError:
        return code, text


def wait_for(holds: Callable[[], Any], report: Callable[[], str] | None = None) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError("it never came to hold\n" + (report() if report is not None else ""))
        time.sleep(0.05)
