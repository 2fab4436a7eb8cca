"""CONFIG parameters: what clients may read and set, and what each does here.

A parameter with a meaning here has a setter that acts on the node; the others are accepted and stored, because clients set
them and expect to read them back. All are this node's own and last until it stops.
"""

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from upstash_global.engine.encodings import LIMITS
from upstash_global.engine.numbers import parse_integer
from upstash_global.errors import CommandError, error

if TYPE_CHECKING:
    from upstash_global.node.node import Node


_IMMUTABLE: Final = frozenset(
    [
        "requirepass",
        "appendfsync",
        "databases",
        "port",
        "bind",
        "dir",
        "dbfilename",
        "cluster-enabled",
        "daemonize",
        "io-threads",
    ]
)
ENCODING_THRESHOLDS: Final = (
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "hll-sparse-max-bytes",
    "list-max-listpack-size",
    "set-max-intset-entries",
    "set-max-listpack-entries",
    "set-max-listpack-value",
    "zset-max-listpack-entries",
    "zset-max-listpack-value",
)
_INT: Final = (1 << 31) - 1
_LONG: Final = (1 << 63) - 1
_RANGES: Final = {  # of the numbers that may be set: lowest and highest
    "busy-reply-threshold": (0, _LONG),
    "hz": (0, _INT),
    "latency-monitor-threshold": (0, _LONG),
    "lua-time-limit": (0, _LONG),
    "maxclients": (1, (1 << 32) - 1),
    "maxmemory-samples": (1, _INT),
    "min-replicas-max-lag": (0, _INT),
    "min-replicas-to-write": (0, _INT),
    "slowlog-log-slower-than": (-1, _LONG),
    "slowlog-max-len": (0, _LONG),
    "tcp-keepalive": (0, _INT),
    "timeout": (0, _INT),
    "tracking-table-max-keys": (0, _LONG),
}
_UNITS: Final = {"b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}


class Parameters:
    def __init__(self) -> None:
        self.values: dict[str, str] = {
            "maxmemory": "0",
            "maxmemory-policy": "noeviction",
            "maxmemory-samples": "5",
            "maxclients": "10000",
            "timeout": "0",
            "tcp-keepalive": "300",
            "databases": "1",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "dir": "",
            "dbfilename": "",
            "port": "0",
            "bind": "",
            "requirepass": "",
            "notify-keyspace-events": "",
            "slowlog-log-slower-than": "10000",
            "slowlog-max-len": "128",
            "latency-monitor-threshold": "0",
            "lua-time-limit": "5000",
            "busy-reply-threshold": "5000",
            "proto-max-bulk-len": "536870912",
            "client-query-buffer-limit": "1073741824",
            "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
            "hz": "10",
            "lazyfree-lazy-user-del": "no",
            "lazyfree-lazy-user-flush": "no",
            "cluster-enabled": "no",
            "daemonize": "no",
            "io-threads": "1",
            "activedefrag": "no",
            "tracking-table-max-keys": "1000000",
            "min-replicas-to-write": "0",
            "min-replicas-max-lag": "10",
        }
        for name in _encoding_names():
            self.values[name] = str(getattr(LIMITS, name.replace("-", "_")))

    def find(self, pattern: str) -> list[tuple[str, str]]:
        """(name, value) of the parameters that match a glob pattern, by name.

        A name without wildcards comes back as it was spelled, as Redis 7.0 does.
        """
        wanted = pattern.lower()
        if not any(letter in "[*?" for letter in pattern):
            return [(pattern, self.values[wanted])] if wanted in self.values else []
        return [(name, self.values[name]) for name in sorted(self.values) if fnmatchcase(name, wanted)]

    def set(self, node: "Node", pairs: list[tuple[str, str]]) -> None:
        """Set all or none. Raises CommandError as Redis words it."""
        names: list[str] = []
        for given, _ in pairs:
            name = given.lower()
            if name not in self.values:
                raise error(f"Unknown option or number of arguments for CONFIG SET - '{_cut(given)}'")
            if name in _IMMUTABLE or name in _encoding_names():
                raise _failed(given, "can't set immutable config")
            if name in names:
                raise _failed(given, "duplicate parameter")
            names.append(name)
        checked = [_checked(name, value, self.values[name]) for name, (_, value) in zip(names, pairs, strict=True)]
        for name, value in zip(names, checked, strict=True):
            self.values[name] = value
            _act(node, name, value)


def _encoding_names() -> list[str]:
    """Thresholds that decide a visible state: equal on every node, and therefore not one node's to set."""
    return [name for name in ENCODING_THRESHOLDS if hasattr(LIMITS, name.replace("-", "_"))]


def _checked(name: str, value: str, present: str) -> str:
    """The value in the form in which CONFIG GET shows it."""
    if name == "maxmemory" or name == "proto-max-bulk-len" or name == "client-query-buffer-limit":
        size = memory_size(value)
        if size is None:
            raise _failed(name, "argument must be a memory value")
        return str(size)
    if name == "maxmemory-policy":
        if value not in POLICIES:
            raise _failed(name, "argument(s) must be one of the following: " + ", ".join(POLICIES))
        return value
    if name == "notify-keyspace-events":
        if any(letter not in "KEAg$lshzxetdmn" for letter in value):
            raise _failed(name, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
        return value
    if present in ("yes", "no"):
        if value.lower() not in ("yes", "no"):
            raise _failed(name, "argument must be 'yes' or 'no'")
        return value.lower()
    if name in _RANGES:
        lowest, highest = _RANGES[name]
        number = parse_integer(value.encode("utf-8", "surrogateescape"))
        if number is None:
            raise _failed(name, "argument couldn't be parsed into an integer")
        if not lowest <= number <= highest:
            raise _failed(name, f"argument must be between {lowest} and {highest} inclusive")
    return value


def _failed(name: str, reason: str) -> CommandError:
    return error(f"CONFIG SET failed (possibly related to argument '{_cut(name)}') - {reason}")


def _cut(name: str) -> str:
    """Redis prints what it was given as a C string."""
    return name.partition("\0")[0]


POLICIES: Final = (
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
)


def memory_size(text: str) -> int | None:
    """`64mb` → 67108864, as Redis reads it; None if it is no size."""
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = text[len(digits) :].lower()
    number = parse_integer(digits.encode("utf-8", "surrogateescape")) if digits else 0  # as Redis: nothing is 0
    if number is None or number < 0 or (unit and unit not in _UNITS):
        return None
    return number * _UNITS.get(unit, 1)


def _act(node: "Node", name: str, value: str) -> None:
    """What a changed parameter does here."""
    if name == "slowlog-log-slower-than":
        node.slowlog.set_threshold(int(value))
    elif name == "slowlog-max-len":
        node.slowlog.max_entries = int(value)
        node.slowlog.trim()
