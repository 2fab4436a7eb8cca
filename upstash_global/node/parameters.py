"""CONFIG parameters: what clients may read and set, and what each does here.

`check` reads all pairs of a CONFIG SET before anything is set, so that it takes all or none. A parameter of the cluster
changes only when its `_CONFIG` entry is applied (`take_shared`); one of this node at once, and it is kept on this node's
disk. Whoever gives a parameter a meaning adds a function to ACTIONS: it is called with each new value, and at start.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from upstash_global.errors import CommandError, error
from upstash_global.node.clients import OutputLimit
from upstash_global.node.parametertable import ALIASES, CLUSTER, FIXED, MOVABLE, PROTECTED, TABLE
from upstash_global.node.parametertexts import canonical, cut, failed
from upstash_global.node.redundancy import configured

if TYPE_CHECKING:
    from upstash_global.node.node import Node

Pairs = list[tuple[str, str]]


class Checked:
    """The pairs of a CONFIG SET, in the form in which they are kept."""

    def __init__(self) -> None:
        self.shared: Pairs = []  # the cluster's
        self.own: Pairs = []  # this node's


class Parameters:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.values: dict[str, str] = {}  # by name, aliases aside
        for parameter in TABLE.values():
            if parameter.name not in ALIASES:
                self.values[parameter.name] = parameter.default
        self.values["port"] = node.settings.me.resp.rpartition(":")[2] or "0"
        self.values["bind"] = node.settings.me.resp.rpartition(":")[0]
        self.values["appendfsync"] = node.settings.fsync
        self.values["maxclients"] = str(node.settings.max_clients)
        self.own: dict[str, str] = {}  # what was set on this node and is on its disk

    def integer(self, name: str) -> int:
        """The value of a number or a size."""
        return int(self.values[name])

    def find(self, pattern: str) -> Pairs:
        """(name, value) of the parameters that match a glob pattern, by name.

        A name without wildcards comes back as it was spelled, as Redis 7.0 does.
        """
        wanted = pattern.lower()
        if not any(letter in "[*?" for letter in pattern):
            return [(pattern, self._value(wanted))] if wanted in TABLE else []
        return [(name, self._value(name)) for name in sorted(TABLE) if fnmatchcase(name, wanted)]

    def _value(self, name: str) -> str:
        return self.values[ALIASES.get(name, name)]

    def check(self, pairs: Pairs) -> Checked:
        """Raises CommandError as Redis words it if any name or value is wrong."""
        names: list[str] = []
        for given, text in pairs:
            name = given.lower()
            if name not in TABLE:
                raise error(f"Unknown option or number of arguments for CONFIG SET - '{cut(given)}'")
            if TABLE[name].owner == FIXED and not (name in MOVABLE and text == self._value(name)):
                raise failed(given, "can't set immutable config")
            if TABLE[name].owner == PROTECTED:
                raise failed(given, "can't set protected config")
            if name in names:
                raise failed(given, "duplicate parameter")
            names.append(name)
        checked = Checked()
        for name, (_, text) in zip(names, pairs, strict=True):
            value = canonical(TABLE[name], text, self._value(name))
            pair = (ALIASES.get(name, name), value)
            if TABLE[name].owner == CLUSTER:
                checked.shared.append(pair)
            elif TABLE[name].owner != FIXED:
                checked.own.append(pair)
        return checked

    def take_own(self, pairs: Pairs) -> None:
        """Set parameters of this node, now and when it starts again."""
        if not pairs:
            return
        self.own.update(pairs)
        self.node.remember({"parameters": dict(self.own)})
        for name, value in pairs:
            self._take(name, value)

    def take_shared(self, name: bytes, value: bytes) -> None:
        """A parameter of the cluster has this value from now on; one that only a newer node knows is left alone."""
        if name.decode() in self.values:
            self._take(name.decode(), value.decode("utf-8", "surrogateescape"))

    def reset_shared(self, pairs: dict[bytes, bytes]) -> None:
        """Another state was loaded: the parameters of the cluster are these, the rest as at the beginning."""
        for name in self.values:
            parameter = TABLE[name]
            if parameter.owner == CLUSTER:
                value = pairs.get(name.encode(), parameter.default.encode()).decode("utf-8", "surrogateescape")
                if value != self.values[name]:
                    self._take(name, value)

    def restore_own(self, kept: dict[str, str]) -> None:
        """What was set on this node before it was started again; what this version does not take is left out."""
        for name, text in kept.items():
            parameter = TABLE.get(name)
            if parameter is None or parameter.owner in (CLUSTER, FIXED, PROTECTED):
                continue
            try:
                value = canonical(parameter, text, self.values[name])
            except CommandError:
                continue
            self.own[name] = value
            self._take(name, value)

    def _take(self, name: str, value: str) -> None:
        self.values[name] = value
        action = ACTIONS.get(name)
        if action is not None:
            action(self.node, value)


def _set_acl_log_length(node: "Node", value: str) -> None:
    node.permissions.log.max_entries = int(value)  # as in Redis, it is cut when the next entry comes


def _set_channels_of_new_users(node: "Node", value: str) -> None:
    node.users.channels_are_open = value == "allchannels"


def _configure_client_memory(node: "Node", value: str) -> None:
    node.client_memory.configure()


def _configure_eviction(node: "Node", value: str) -> None:
    node.eviction.configure()


def _set_fsync(node: "Node", value: str) -> None:
    node.settings.fsync = value


def _set_latency_threshold(node: "Node", value: str) -> None:
    node.latency.threshold_us = 1000 * int(value)


def _set_latency_tracking(node: "Node", value: str) -> None:
    node.latency.is_tracking = value == "yes"


def _set_output_limits(node: "Node", value: str) -> None:
    words = value.split()
    limits = [OutputLimit(*[int(word) for word in words[at + 1 : at + 4]]) for at in range(0, len(words), 4)]
    node.output_limits = dict(zip(words[::4], limits, strict=True))
    node.bounds_answers = node.output_limits["normal"].is_set


def _set_idle_limit(node: "Node", value: str) -> None:
    node.idleness.limit_ms = 1000 * int(value)


def _set_percentiles(node: "Node", value: str) -> None:
    node.latency.percentiles = value.split()


def _set_max_clients(node: "Node", value: str) -> None:
    node.settings.max_clients = int(value)


def _set_maxmemory(node: "Node", value: str) -> None:
    node.eviction.configure()
    node.client_memory.configure()  # the limit may be a share of it


def _set_notifications(node: "Node", value: str) -> None:
    notifications = node.audience.notifications
    notifications.set(value)
    node.engine.context.event_mask = notifications.mask
    node.audience.note_attention()


def _set_query_buffer_limit(node: "Node", value: str) -> None:
    node.query_buffer_bytes = int(value)
    for session in node.sessions.values():
        session.bound_input()


def _set_redundancy(node: "Node", value: str) -> None:
    node.redundancy = configured(node)


def _set_slowlog_length(node: "Node", value: str) -> None:
    node.slowlog.max_entries = int(value)
    node.slowlog.trim()


def _set_slowlog_threshold(node: "Node", value: str) -> None:
    node.slowlog.set_threshold(int(value))
    node.engine.context.note_duration = node.note_script_call if node.slowlog.measures_each else None


def _set_tracked_keys(node: "Node", value: str) -> None:
    node.tracking.max_keys = int(value)
    node.tracking.shrink()


ACTIONS: Final[dict[str, Callable[["Node", str], None]]] = {  # what a new value does, by the parameter's name
    "acl-pubsub-default": _set_channels_of_new_users,
    "acllog-max-len": _set_acl_log_length,
    "appendfsync": _set_fsync,
    "client-output-buffer-limit": _set_output_limits,
    "client-query-buffer-limit": _set_query_buffer_limit,
    "latency-monitor-threshold": _set_latency_threshold,
    "latency-tracking": _set_latency_tracking,
    "latency-tracking-info-percentiles": _set_percentiles,
    "lfu-decay-time": _configure_eviction,
    "lfu-log-factor": _configure_eviction,
    "maxclients": _set_max_clients,
    "maxmemory": _set_maxmemory,
    "maxmemory-clients": _configure_client_memory,
    "maxmemory-policy": _configure_eviction,
    "maxmemory-samples": _configure_eviction,
    "min-replicas-max-lag": _set_redundancy,
    "min-replicas-to-write": _set_redundancy,
    "notify-keyspace-events": _set_notifications,
    "slowlog-log-slower-than": _set_slowlog_threshold,
    "slowlog-max-len": _set_slowlog_length,
    "timeout": _set_idle_limit,
    "tracking-table-max-keys": _set_tracked_keys,
}
