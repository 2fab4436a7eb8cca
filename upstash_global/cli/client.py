"""A cluster as the command line sees it: its nodes and edges, and their admin ports.

A cluster is found by one of: an admin URL, a configuration, an endpoints.json, or the data directory of `up`, which has
one. The admin token comes from a file or the environment, never from the command line, where others could read it.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import wraps
from http.client import HTTPException
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import click

from upstash_global.cli import files
from upstash_global.cli.failures import Denied, Failed, NotFound, Unhealthy, Unreachable, reporting_mistakes

P = ParamSpec("P")
R = TypeVar("R")

DATA_DIR_VARIABLE: Final = "UPSTASH_GLOBAL_DATA_DIR"
TOKEN_VARIABLE: Final = "UPSTASH_GLOBAL_ADMIN_TOKEN"
READ_TIMEOUT_S: Final = 5.0
CHANGE_TIMEOUT_S: Final = 60.0  # a switchover waits for a replica to catch up

Status = dict[str, Any]  # what GET /v1/status answers

_opener: Final = build_opener(ProxyHandler({}))  # admin ports are never behind the proxies of the environment


@dataclass(frozen=True)
class Member:
    name: str
    region: str
    admin: str  # base URL
    is_edge: bool = False


@dataclass(frozen=True)
class Cluster:
    members: list[Member]
    token: str | None
    is_whole: bool = True  # False: one node, found by its URL; nothing can be said about the others

    def member(self, name: str) -> Member:
        for member in self.members:
            if member.name == name:
                return member
        raise NotFound(f"there is no node {name}; there are {', '.join(member.name for member in self.members)}")

    def get(self, member: Member, path: str) -> dict[str, Any]:
        return self._call(member, Request(member.admin + path), READ_TIMEOUT_S)

    def post(self, member: Member, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = Request(member.admin + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        return self._call(member, request, CHANGE_TIMEOUT_S)

    def is_ready(self, member: Member) -> bool:
        try:
            self._open(Request(member.admin + "/readyz"), READ_TIMEOUT_S).close()
        except (OSError, HTTPException):  # not yet there, or 503
            return False
        return True

    def statuses(self) -> list[tuple[Member, Status | Failed]]:
        """Every node's status, or why there is none; asked at the same time."""

        def ask(member: Member) -> tuple[Member, Status | Failed]:
            try:
                return member, self.get(member, "/v1/status")
            except Failed as failure:
                return member, failure

        with ThreadPoolExecutor(max(1, len(self.members))) as threads:
            return list(threads.map(ask, self.members))

    def leader(self) -> Member:
        """The node that leads now: of several that think so, the one of the highest epoch."""
        answers = self.statuses()
        leading = [
            (status["epoch"], member)
            for member, status in answers
            if not isinstance(status, Failed) and status["role"] == "leader"
        ]
        if leading:
            return max(leading, key=lambda each: each[0])[1]
        failures = [answer for _, answer in answers if isinstance(answer, Failed)]
        if len(failures) == len(answers):
            raise failures[0]
        raise Unhealthy("no node leads")

    def _call(self, member: Member, request: Request, timeout_s: float) -> dict[str, Any]:
        who = member.name or member.admin
        try:
            with self._open(request, timeout_s) as response:
                answer = json.loads(response.read())
        except HTTPError as refusal:
            raise _failure(who, refusal) from None
        except (OSError, HTTPException) as failure:  # URLError and timeouts are OSErrors
            raise Unreachable(
                f"{who} does not answer at {member.admin}: {getattr(failure, 'reason', failure)}"
            ) from None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Failed(f"{who} did not answer with a JSON object")
        return answer

    def _open(self, request: Request, timeout_s: float) -> Any:
        if self.token is not None:
            request.add_header("Authorization", f"Bearer {self.token}")
        return _opener.open(request, timeout=timeout_s)


def _failure(who: str, refusal: HTTPError) -> Failed:
    try:
        told = json.loads(refusal.read())["error"]
    except (OSError, ValueError, KeyError, TypeError):
        told = f"HTTP status {refusal.code}"
    kinds: dict[int, type[Failed]] = {401: Denied, 403: Denied, 404: NotFound, 503: Unhealthy}
    return kinds.get(refusal.code, Failed)(f"{who}: {told}")


# -- finding it -------------------------------------------------------------------------------------------------------


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path("data"),
    envvar=DATA_DIR_VARIABLE,
    show_default=True,
    show_envvar=True,
    help="Data directory of a cluster that `up` started.",
)

_OPTIONS: Final = [
    data_dir_option,
    click.option("--endpoints", type=click.Path(path_type=Path), help="The endpoints.json of the cluster."),
    click.option("--config", "config_file", type=click.Path(path_type=Path), help="The cluster's configuration."),
    click.option("--admin", metavar="URL", help="Admin address of a single node."),
    click.option(
        "--token-file", type=click.Path(path_type=Path), help=f"Holds the admin token; or set {TOKEN_VARIABLE}."
    ),
]


def cluster_options(command: Callable[Concatenate[Cluster, P], R]) -> Callable[..., R]:
    """Give a command the options that say which cluster is meant, and the cluster as its first argument."""

    @wraps(command)
    @reporting_mistakes
    def run(*args: Any, **kwargs: Any) -> R:
        places = {key: kwargs.pop(key) for key in ("data_dir", "endpoints", "config_file", "admin", "token_file")}
        return command(find_cluster(**places), *args, **kwargs)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


def find_cluster(
    data_dir: Path,
    endpoints: Path | None = None,
    config_file: Path | None = None,
    admin: str | None = None,
    token_file: Path | None = None,
) -> Cluster:
    """Raises NotFound if there is none at the place that is named."""
    token = os.environ.get(TOKEN_VARIABLE)
    if token_file is not None:
        token = _token_in(token_file)
        if token is None:
            raise NotFound(f"there is no token in {token_file}")
    if admin is not None:
        if urlsplit(admin).scheme not in ("http", "https"):
            raise click.UsageError("--admin needs a URL such as http://127.0.0.1:9100")
        token = token or _token_in(data_dir / files.ADMIN_TOKEN)
        return Cluster([Member("", "", admin.rstrip("/"))], token, is_whole=False)
    if config_file is not None:
        from upstash_global.config import load

        config = load(config_file, os.environ)
        members = [Member(node.name, node.region, f"http://{node.advertised('admin')}") for node in config.nodes]
        members += [
            Member(edge.name, edge.region, f"http://{edge.advertised('admin')}", is_edge=True)
            for edge in config.edges
            if edge.admin is not None
        ]
        return Cluster(members, token or config.credentials.admin)
    place = endpoints or data_dir / files.ENDPOINTS
    known = files.read_json(place)
    if known is None:
        raise NotFound(f"no cluster runs here, since there is no {place}; `upstash-global up` starts one")
    members = [Member(node["name"], node["region"], node["admin"]) for node in known["nodes"]]
    members += [
        Member(edge["name"], edge["region"], edge["admin"], is_edge=True) for edge in known["edges"] if edge["admin"]
    ]
    return Cluster(members, token or _token_in(place.with_name(files.ADMIN_TOKEN)))


def _token_in(file: Path) -> str | None:
    try:
        return file.read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise Denied(f"{file}: {failure.strerror}") from None
