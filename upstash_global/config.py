"""Configuration: one YAML file describes the cluster, the environment may correct it, a process is told which node it is.

    YAML ──${VAR} expanded──▶ tree ◀──UPSTASH_GLOBAL_<SECTION>__<KEY>── environment
                               │
                               ▼  every value through the reader of its field
                    frozen dataclasses ──▶ the rules that bind several values ──▶ Config

The dataclasses below are the documentation of the file: a section is a class, a key is a field, and a field says how its
value is read and what it is when left out. Reading never stops at the first mistake; a ConfigError lists all of them,
each with its path. Values are expanded after parsing, so a secret may hold any character. Secrets are in no repr and in
no message.
"""

import difflib
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from upstash_global.errors import ConfigError
from upstash_global.protocol.consistency import FORMS, read_consistency

OVERRIDE_PREFIX: Final = "UPSTASH_GLOBAL_"
LISTENERS: Final = ("resp", "rest", "grpc", "admin")
MAX_NODES: Final = 256  # the node's index is the last byte of an epoch
SAME_REGION_RTT_MS: Final = 0.5

DEFAULT_RTT_MS: Final[dict[str, dict[str, float]]] = {
    "us-east-1": {"us-west-2": 66.0, "eu-central-1": 92.0, "ap-southeast-1": 214.0, "sa-east-1": 114.0},
    "us-west-2": {"eu-central-1": 146.0, "ap-southeast-1": 168.0, "sa-east-1": 176.0},
    "eu-central-1": {"ap-southeast-1": 162.0, "sa-east-1": 204.0},
    "ap-southeast-1": {"sa-east-1": 322.0},
}
_DEFAULT_CANDIDATES: Final = {  # by default Singapore and São Paulo never lead
    "us-east-1": True,
    "us-west-2": True,
    "eu-central-1": True,
    "ap-southeast-1": False,
    "sa-east-1": False,
}

S = TypeVar("S")
Reader = Callable[["_Reading", object, str], Any]  # (reading, raw value, path); raises ValueError with what is wrong


class Address(str):
    """`host:port` as written; `[::1]:7000` for IPv6."""

    @property
    def host(self) -> str:
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or _ip_says(self.host, "is_loopback")

    @property
    def is_unspecified(self) -> bool:
        """Whether it means every interface (0.0.0.0, ::): a place to listen, but none to dial."""
        return _ip_says(self.host, "is_unspecified")


def _ip_says(host: str, question: str) -> bool:
    try:
        return bool(getattr(ip_address(host), question))
    except ValueError:  # a name
        return False


# -- readers of one value -------------------------------------------------------------------------------------------


def text(_: "_Reading", raw: object, path: str) -> str:
    if not isinstance(raw, str):
        raise ValueError("is not text; put it in quotes")
    if not raw:
        raise ValueError("is empty")
    return raw


def boolean(_: "_Reading", raw: object, path: str) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.lower() in ("true", "false"):
        return raw.lower() == "true"
    raise ValueError(f"{raw!r} is neither true nor false")


def integer(at_least: int) -> Reader:
    def read(_: "_Reading", raw: object, path: str) -> int:
        if isinstance(raw, str) and re.fullmatch(r"-?[0-9]+", raw):
            raw = int(raw)
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise ValueError(f"{raw!r} is not a whole number")
        if raw < at_least:
            raise ValueError(f"{raw} is less than {at_least}")
        return raw

    return read


_UNITS: Final = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def size(at_least: int) -> Reader:
    """Bytes, as a number or with a unit: 67108864, 64MiB."""
    whole_number = integer(at_least)

    def read(reading: "_Reading", raw: object, path: str) -> Any:
        written = re.fullmatch(r"([0-9]+) ?([A-Za-z]*)", raw) if isinstance(raw, str) else None
        if written is not None:
            unit = _UNITS.get(written[2].upper())
            if unit is None:
                raise ValueError(f"{raw!r} has no unit of B, KiB, MiB or GiB")
            raw = int(written[1]) * unit
        return whole_number(reading, raw, path)

    return read


def milliseconds(_: "_Reading", raw: object, path: str) -> float:
    """A simulated time; fractions are fine."""
    try:
        number = float(raw) if isinstance(raw, (int, float, str)) and not isinstance(raw, bool) else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e6:
        raise ValueError(f"{raw!r} is not a time in milliseconds")
    return number


def choice(*values: str) -> Reader:
    def read(_: "_Reading", raw: object, path: str) -> str:
        word = "no" if raw is False else raw  # YAML 1.1 reads a bare `no` as false
        if word not in values:
            raise ValueError(f"{word!r} is not one of {', '.join(values)}")
        return str(word)

    return read


def reads(_: "_Reading", raw: object, path: str) -> str:
    consistency = read_consistency(raw) if isinstance(raw, str) else None
    if consistency is None:
        raise ValueError(f"{raw!r} is not one of {FORMS}")
    return str(consistency)


def identifier(_: "_Reading", raw: object, path: str) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", raw):
        raise ValueError(f"{raw!r} is not a name (letters, digits, dots, dashes; it is also a directory)")
    return raw


def address(_: "_Reading", raw: object, path: str) -> Address:
    written = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/@]+):([0-9]+)", raw) if isinstance(raw, str) else None
    if written is None:
        raise ValueError(f"{raw!r} is not host:port")
    if not 1 <= int(written[2]) <= 65535:
        raise ValueError(f"{written[2]} is not a port")
    return Address(raw)


def section(cls: type[S]) -> Reader:
    return lambda reading, raw, path: reading.section(cls, raw, path)


def list_of(cls: type[S]) -> Reader:
    def read(reading: "_Reading", raw: object, path: str) -> tuple[S, ...]:
        if not isinstance(raw, list):
            raise ValueError("is not a list")
        return tuple(reading.section(cls, item, f"{path}[{index}]") for index, item in enumerate(raw))

    return read


def list_of_text(reading: "_Reading", raw: object, path: str) -> tuple[str, ...]:
    if not isinstance(raw, list):
        raise ValueError("is not a list")
    return tuple(text(reading, item, path) for item in raw)


def table_of(read_value: Reader) -> Reader:
    """A mapping whose keys are names of the user's own (regions, peers)."""

    def read(reading: "_Reading", raw: object, path: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise ValueError("is not a mapping")
        table = {}
        for key, value in raw.items():
            try:
                table[identifier(reading, key, path)] = read_value(reading, value, _join(path, key))
            except ValueError as mistake:
                reading.wrong(_join(path, key), str(mistake))
        return table

    return read


def setting(read: Reader, default: object = MISSING, *, secret: bool = False, required: bool = False) -> Any:
    """A field read from the file. A required one has an empty default too, so that reading can go on without it."""
    metadata = {"read": read, "secret": secret, "required": required}
    if callable(default):
        return field(default_factory=default, repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


# -- the sections of the file -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    id: str = setting(identifier, "", required=True)
    leader: str = setting(identifier, "", required=True)  # leads an empty cluster; later the nodes' own state decides


@dataclass(frozen=True)
class Tokens:
    """Bearer tokens of the REST listeners."""

    standard: str | None = setting(text, None, secret=True)
    read_only: str | None = setting(text, None, secret=True)  # optional: without it nobody is read-only


@dataclass(frozen=True)
class Credentials:
    password: str | None = setting(text, None, secret=True)  # of RESP
    tokens: Tokens = setting(section(Tokens), Tokens)
    cluster: str | None = setting(text, None, secret=True)  # what peers show each other on gRPC
    admin: str | None = setting(text, None, secret=True)  # bearer token of the admin listeners
    insecure: bool = setting(boolean, False)  # true: no credentials at all, on loopback only


@dataclass(frozen=True)
class Security:
    plaintext: bool = setting(boolean, False)  # true: listen beyond loopback without TLS
    cors_origins: tuple[str, ...] = setting(list_of_text, ())  # pages that may read REST answers; none named: all
    migrate: bool = setting(boolean, False)  # true: MIGRATE may make the leader dial any address


@dataclass(frozen=True)
class Durability:
    fsync: str = setting(choice("always", "everysec", "no"), "everysec")
    segment_bytes: int = setting(size(1 << 12), 64 << 20)  # of one file of the log
    min_free_bytes: int = setting(size(0), 64 << 20)  # with less disk left, writes are refused
    snapshot_bytes: int = setting(size(1), 256 << 20)  # of log, or what the last one took: then a new one is begun


@dataclass(frozen=True)
class Replication:
    backlog_entries: int = setting(integer(1), 50_000)  # kept in memory for partial resync
    backlog_bytes: int = setting(size(1), 16 << 20)
    heartbeat_ms: int = setting(integer(1), 100)
    silence_ms: int = setting(integer(1), 5_000)  # a peer unheard for so long is given up
    repl_buffer_bytes: int = setting(size(1 << 10), 8 << 20)  # on the way to one follower, not yet acknowledged
    max_full_syncs: int = setting(integer(1), 1)  # snapshots sent at one time
    check_keys: int = setting(integer(0), 200)  # compared with the leader's by every replica each second; 0: none
    switchover_ms: int = setting(integer(1), 10_000)  # a switchover that takes longer is called off


@dataclass(frozen=True)
class Consistency:
    default: str = setting(reads, "session")  # what clients get that do not say: see docs/guarantees.md
    read_only: str = setting(reads, "session")  # what requests with the read-only token get
    sync_wait_ms: int = setting(integer(0), 1_000)  # how long a read waits for its token's position
    forward_timeout_ms: int = setting(integer(1), 5_000)
    max_staleness_ms: int = setting(integer(0), 60_000)  # 0: serve however stale


@dataclass(frozen=True)
class Limits:
    """What one client, request or value may take at most."""

    max_clients: int = setting(integer(1), 10_000)  # of RESP, of HTTP, and of event streams, each for itself
    max_clients_per_address: int = setting(integer(1), 1_000)
    authenticate_ms: int = setting(integer(1), 10_000)
    failed_logins_per_minute: int = setting(integer(0), 20)  # of one address; 0: no limit
    failed_login_delay_ms: int = setting(integer(0), 100)  # how late a wrong password or token is told
    resp_bulk_bytes: int = setting(size(1), 64 << 20)
    resp_arguments: int = setting(integer(1), 2**31 - 1)
    inline_bytes: int = setting(size(1), 64 << 10)
    query_buffer_bytes: int = setting(size(1), 64 << 20)  # of one command's arguments; and 41 for each of them
    output_buffer_bytes: int = setting(size(1), 64 << 20)
    entry_bytes: int = setting(size(1), 64 << 20)
    http_body_bytes: int = setting(size(1), 16 << 20)
    http_header_bytes: int = setting(size(1), 32 << 10)
    http_headers: int = setting(integer(1), 100)
    http_uri_bytes: int = setting(size(1), 16 << 10)
    http_header_ms: int = setting(integer(1), 10_000)
    http_body_bytes_per_s: int = setting(size(0), 1 << 10)
    http_idle_ms: int = setting(integer(1), 60_000)
    pipeline_commands: int = setting(integer(1), 10_000)
    rest_commands_per_s: int = setting(integer(0), 0)  # of one token; 0: unlimited


@dataclass(frozen=True)
class Region:
    candidate: bool = setting(boolean, True)  # whether its nodes may lead


@dataclass(frozen=True)
class Advertise:
    """The addresses others are told, where they differ from those we listen on."""

    resp: Address | None = setting(address, None)
    rest: Address | None = setting(address, None)
    grpc: Address | None = setting(address, None)
    admin: Address | None = setting(address, None)


@dataclass(frozen=True)
class NodeConfig:
    name: str = setting(identifier, "", required=True)
    region: str = setting(identifier, "", required=True)
    resp: Address = setting(address, Address(""), required=True)
    rest: Address = setting(address, Address(""), required=True)
    grpc: Address = setting(address, Address(""), required=True)
    admin: Address = setting(address, Address(""), required=True)
    dial: dict[str, Address] = setting(table_of(address), dict)  # where this node finds a peer, if not where it listens
    advertise: Advertise = setting(section(Advertise), Advertise)

    def advertised(self, listener: str) -> Address:
        """Where others find a listener: "resp", "rest", "grpc" or "admin"."""
        told: Address = getattr(self.advertise, listener) or getattr(self, listener)
        return told


@dataclass(frozen=True)
class EdgeAdvertise:
    """As Advertise, of an edge."""

    listen: Address | None = setting(address, None)
    admin: Address | None = setting(address, None)


@dataclass(frozen=True)
class EdgeDial:
    """Where an edge finds its node, if not where that says it is."""

    rest: Address | None = setting(address, None)
    grpc: Address | None = setting(address, None)


@dataclass(frozen=True)
class EdgeConfig:
    name: str = setting(identifier, "", required=True)
    region: str = setting(identifier, "", required=True)
    listen: Address = setting(address, Address(""), required=True)
    upstream: str = setting(identifier, "", required=True)  # the node it reads from and follows
    admin: Address | None = setting(address, None)  # health, metrics, purging; without it there is no such listener
    invalidate: str = setting(choice("log", "ttl"), "log")  # ttl: replies only age, as at Upstash in 2021
    cache_bytes: int = setting(size(1 << 10), 64 << 20)
    dial: EdgeDial = setting(section(EdgeDial), EdgeDial)
    advertise: EdgeAdvertise = setting(section(EdgeAdvertise), EdgeAdvertise)

    def advertised(self, listener: str) -> Address | None:
        """Where others find a listener: "listen" or "admin", which there may not be."""
        told: Address | None = getattr(self.advertise, listener) or getattr(self, listener)
        return told


@dataclass(frozen=True)
class Wan:
    """Distances between regions, simulated by delay proxies; nothing of it touches a cluster on real networks."""

    enabled: bool = setting(boolean, False)
    rtt_ms: dict[str, dict[str, float]] = setting(table_of(table_of(milliseconds)), dict)  # on top of DEFAULT_RTT_MS
    jitter_ms: float = setting(milliseconds, 0.0)  # each way, at random up to this, on top of the delay
    bandwidth_bytes_per_s: int = setting(size(0), 0)  # of each link and direction; 0: unlimited

    def rtt(self, source: str, target: str) -> float | None:
        """Round trip between two regions in ms, whichever way round it is written; None if nobody knows it."""
        if source == target:
            return SAME_REGION_RTT_MS
        for known in (self.rtt_ms, DEFAULT_RTT_MS):
            for one, other in ((source, target), (target, source)):
                if other in known.get(one, {}):
                    return known[one][other]
        return None


@dataclass(frozen=True)
class Config:
    cluster: Cluster = setting(section(Cluster), Cluster, required=True)
    credentials: Credentials = setting(section(Credentials), Credentials)
    security: Security = setting(section(Security), Security)
    durability: Durability = setting(section(Durability), Durability)
    replication: Replication = setting(section(Replication), Replication)
    consistency: Consistency = setting(section(Consistency), Consistency)
    limits: Limits = setting(section(Limits), Limits)
    regions: dict[str, Region] = setting(table_of(section(Region)), dict, required=True)
    nodes: tuple[NodeConfig, ...] = setting(list_of(NodeConfig), (), required=True)
    edges: tuple[EdgeConfig, ...] = setting(list_of(EdgeConfig), ())
    surrogate: bool = setting(boolean, False)  # REST tells standard HTTP caches what they may keep
    wan: Wan = setting(section(Wan), Wan)

    def node(self, name: str) -> NodeConfig:
        """Raises ConfigError if there is none of this name."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise ConfigError([f"nodes: none is named {name}; there are {', '.join(node.name for node in self.nodes)}"])

    def edge(self, name: str) -> EdgeConfig:
        """Raises ConfigError if there is none of this name."""
        for edge in self.edges:
            if edge.name == name:
                return edge
        known = ", ".join(edge.name for edge in self.edges) or "none"
        raise ConfigError([f"edges: none is named {name}; there are {known}"])

    def upstream_of(self, edge: EdgeConfig, listener: str) -> Address:
        """The address that an edge must dial for its node's "rest" or "grpc"."""
        told: Address | None = getattr(edge.dial, listener)
        return told or self.node(edge.upstream).advertised(listener)

    def address_of(self, peer: str, seen_from: str) -> Address:
        """The gRPC address that one node must dial to reach another, for every connection between them."""
        return self.node(seen_from).dial.get(peer) or self.node(peer).advertised("grpc")

    @property
    def warnings(self) -> list[str]:
        """What has been allowed by explicit wish and should be said at every start."""
        said = []
        if self.credentials.insecure:
            said.append("credentials.insecure is true: anyone on this machine may read, write and administer")
        exposed = [path for path, place in _listeners(self) if place and not place.is_loopback]
        if exposed:
            said.append(f"security.plaintext is true: {', '.join(exposed)} listen beyond loopback without TLS")
        return said


# -- from the file and the environment to a Config --------------------------------------------------------------------


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read a file, or without one the default cluster, and what the environment says. Raises ConfigError with every mistake."""
    if path is None:
        return with_overrides(default_config(7000, Credentials()), environ)
    try:
        tree = yaml.load(path.read_text("utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "is not UTF-8"
        raise ConfigError([f"{path}: {reason}"]) from None
    except yaml.MarkedYAMLError as mistake:  # its own text quotes the file, and that may hold a secret
        mark = mistake.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        problem = re.sub(r"'[^']{2,}'", "...", mistake.problem or "is not YAML")
        raise ConfigError([f"{path}: {where}{problem}"]) from None
    except yaml.YAMLError:
        raise ConfigError([f"{path}: is not YAML"]) from None
    return parse(tree, environ)


def with_overrides(config: Config, environ: Mapping[str, str]) -> Config:
    """The same configuration with what the environment says instead."""
    return parse(to_tree(config, reveal_secrets=True), environ)


def parse(tree: object, environ: Mapping[str, str]) -> Config:
    """Read a parsed file. Raises ConfigError with every mistake."""
    reading = _Reading()
    if not isinstance(tree, dict):
        raise ConfigError(["the file is not a mapping of sections"])
    expanded = reading.expanded(tree, environ, "")
    reading.override(expanded, environ)
    config = reading.section(Config, expanded, "")
    _check(config, reading.wrong)
    if reading.problems:
        raise ConfigError(reading.problems)
    return config


class _Loader(yaml.SafeLoader):
    """YAML without repeated keys: the second of two `nodes:` would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key_node.value} is there twice", key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


class _Reading:
    """One pass over the tree; notes each mistake with its path and goes on."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.overridden: dict[str, str] = {}  # path → the variable that its value came from

    def wrong(self, path: str, what: str) -> None:
        variable = self.overridden.get(path)
        self.problems.append(f"{path}: {what}" + (f" (from {variable})" if variable else ""))

    def section(self, cls: type[S], raw: object, path: str) -> S:
        """Read a mapping into its dataclass; what is wrong keeps its default."""
        if raw is None:  # a heading with nothing below it
            raw = {}
        if not isinstance(raw, dict):
            self.wrong(path, "is not a mapping")
            return cls()
        known = {each.name: each for each in fields(cls)}  # type: ignore[arg-type]
        for key in raw:
            if key not in known:
                nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
                self.wrong(_join(path, key), f"unknown key; the nearest valid one is {nearest}")
        values = {}
        for key, each in known.items():
            if raw.get(key) is None:
                if each.metadata["required"]:
                    self.wrong(_join(path, key), "is missing")
                continue
            try:
                values[key] = each.metadata["read"](self, raw[key], _join(path, key))
            except ValueError as mistake:
                self.wrong(_join(path, key), str(mistake))
        return cls(**values)

    def expanded(self, value: Any, environ: Mapping[str, str], path: str) -> Any:
        """A copy of the tree with ${VAR} and ${VAR:-default} replaced; $${ stands for ${ itself."""
        if isinstance(value, dict):
            return {key: self.expanded(item, environ, _join(path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.expanded(item, environ, f"{path}[{index}]") for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value

        def replace(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            found = environ.get(match[1], "")
            if not found and match[2] is None:
                self.wrong(path, f"the environment has no {match[1]}")
            return found or match[2] or ""

        return re.sub(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}", replace, value)

    def override(self, tree: dict[Any, Any], environ: Mapping[str, str]) -> None:
        """Put the values of UPSTASH_GLOBAL_<SECTION>__<KEY> into the tree; deeper keys follow after more underscores."""
        for variable, value in sorted(environ.items()):
            if not variable.startswith(OVERRIDE_PREFIX) or "__" not in variable:
                continue
            *parents, key = variable.removeprefix(OVERRIDE_PREFIX).lower().split("__")
            path = ".".join([*parents, key])
            self.overridden[path] = variable
            place: Any = tree
            for parent in parents:
                if place.get(parent) is None:
                    place[parent] = {}
                place = place[parent]
                if not isinstance(place, dict):
                    self.wrong(path, f"cannot be set, since {parent} is no section")
                    break
            else:
                place[key] = value


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


# -- the rules that bind several values -------------------------------------------------------------------------------


def _check(config: Config, wrong: Callable[[str, str], None]) -> None:
    _check_names(config, wrong)
    _check_listeners(config, wrong)
    _check_credentials(config, wrong)
    if config.wan.enabled:
        regions = list(config.regions)
        for index, source in enumerate(regions):
            for target in regions[index + 1 :]:
                if config.wan.rtt(source, target) is None:
                    wrong("wan.rtt_ms", f"says nothing about {source} and {target}")
    if config.replication.silence_ms <= config.replication.heartbeat_ms:
        wrong("replication.silence_ms", "must be longer than heartbeat_ms, or every pause looks like silence")


def _check_names(config: Config, wrong: Callable[[str, str], None]) -> None:
    names = [node.name for node in config.nodes]
    by_name = {node.name: node for node in config.nodes}
    leader = by_name.get(config.cluster.leader)
    if config.cluster.leader and leader is None:
        wrong("cluster.leader", f"there is no node {config.cluster.leader}")
    if leader is not None and not config.regions.get(leader.region, Region()).candidate:
        wrong("cluster.leader", f"{leader.region} is no candidate region")
    if len(names) > MAX_NODES:
        wrong("nodes", f"{len(names)} are more than {MAX_NODES}")
    for index, node in enumerate(config.nodes):
        path = f"nodes[{index}]"
        if node.name and node.name in names[:index]:
            wrong(f"{path}.name", f"{node.name} is there twice")
        if node.region and node.region not in config.regions:
            wrong(f"{path}.region", f"there is no region {node.region}")
        for peer in node.dial:
            if peer == node.name:
                wrong(f"{path}.dial.{peer}", "a node does not dial itself")
            elif peer not in by_name:
                wrong(f"{path}.dial.{peer}", f"there is no node {peer}")
    for index, edge in enumerate(config.edges):
        if edge.name and edge.name in names + [other.name for other in config.edges[:index]]:
            wrong(f"edges[{index}].name", f"{edge.name} is there twice")
        if edge.region and edge.region not in config.regions:
            wrong(f"edges[{index}].region", f"there is no region {edge.region}")
        if edge.upstream and edge.upstream not in by_name:
            wrong(f"edges[{index}].upstream", f"there is no node {edge.upstream}")


def _listeners(config: Config) -> Iterator[tuple[str, Address]]:
    for index, node in enumerate(config.nodes):
        for listener in LISTENERS:
            yield f"nodes[{index}].{listener}", getattr(node, listener)
    for index, edge in enumerate(config.edges):
        yield f"edges[{index}].listen", edge.listen
        if edge.admin is not None:
            yield f"edges[{index}].admin", edge.admin


def _check_listeners(config: Config, wrong: Callable[[str, str], None]) -> None:
    for path, place in _listeners(config):
        if not place or place.is_loopback:
            continue
        if config.credentials.insecure:
            wrong(path, f"{place.host} is not loopback, as credentials.insecure demands")
        elif not config.security.plaintext:
            wrong(path, f"{place.host} is not loopback; without TLS that needs security.plaintext: true")
    for index, node in enumerate(config.nodes):
        places = [getattr(node, listener) for listener in LISTENERS]
        for listener, place in zip(LISTENERS, places, strict=True):
            if place and places.index(place) != LISTENERS.index(listener):
                wrong(
                    f"nodes[{index}].{listener}", f"{place} is the address of {LISTENERS[places.index(place)]} as well"
                )
            if listener != "admin" and place and node.advertised(listener).is_unspecified:
                wrong(f"nodes[{index}].advertise.{listener}", f"is needed, since nobody can dial {place}")


def _check_credentials(config: Config, wrong: Callable[[str, str], None]) -> None:
    given = config.credentials
    secrets = {
        "password": given.password,
        "tokens.standard": given.tokens.standard,
        "cluster": given.cluster,
        "admin": given.admin,
    }
    for key, secret in secrets.items():
        if given.insecure and secret is not None:
            wrong(
                f"credentials.{key}",
                "would not be asked for, since credentials.insecure is true; leave one of them out",
            )
        if not given.insecure and secret is None:
            wrong(f"credentials.{key}", "is missing (or write insecure: true, on loopback only)")
    tokens = given.tokens
    if tokens.read_only is not None and tokens.read_only in (tokens.standard, given.admin):
        wrong("credentials.tokens.read_only", "is another token as well, and would not be read-only")


# -- and back ---------------------------------------------------------------------------------------------------------


def default_config(base_port: int, credentials: Credentials, *, wan: bool = True) -> Config:
    """What `up` starts without a file, on loopback: a leader in us-east-1, a replica and an edge in each of five regions."""
    placed = [("leader", "us-east-1"), *((region, region) for region in _DEFAULT_CANDIDATES)]
    nodes = []
    for index, (node, region) in enumerate(placed):
        resp, rest, grpc, admin = (
            Address(f"127.0.0.1:{base_port + offset + index}") for offset in (0, 1000, 2000, 2100)
        )
        nodes.append(NodeConfig(node, region, resp, rest, grpc, admin))
    edges = []
    for index, region in enumerate(_DEFAULT_CANDIDATES, start=1):
        listen, admin = (Address(f"127.0.0.1:{base_port + offset + index}") for offset in (1100, 2200))
        edges.append(EdgeConfig(f"edge-{region}", region, listen, region, admin))
    return Config(
        cluster=Cluster("local", "leader"),
        credentials=credentials,
        regions={region: Region(candidate) for region, candidate in _DEFAULT_CANDIDATES.items()},
        nodes=tuple(nodes),
        edges=tuple(edges),
        wan=Wan(enabled=wan),
    )


def to_yaml(config: Config, reveal_secrets: bool = False) -> str:
    """The whole configuration, defaults included. With its secrets it can be loaded again and gives the same."""
    return yaml.safe_dump(to_tree(config, reveal_secrets), sort_keys=False, allow_unicode=True, width=120)


def to_tree(config: Config, reveal_secrets: bool = False) -> dict[str, Any]:
    """The same as plain values, for other formats."""
    tree: dict[str, Any] = _tree(config, reveal_secrets)
    return tree


def _tree(value: Any, reveal_secrets: bool) -> Any:
    if is_dataclass(value):
        tree = {}
        for each in fields(value):
            item = getattr(value, each.name)
            if item is None or item == {}:
                continue
            masked = each.metadata["secret"] and not reveal_secrets
            plain = "***" if masked else _tree(item, reveal_secrets)
            if plain != {}:
                tree[each.name] = plain
        return tree
    if isinstance(value, dict):
        return {key: _tree(item, reveal_secrets) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_tree(item, reveal_secrets) for item in value]
    if isinstance(value, str):
        return str(value).replace("${", "$${")
    return value
