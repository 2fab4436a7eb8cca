"""INFO: sections of `name:value` lines, with Redis's names where they fit and ours for replication."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from upstash_global.engine.table import INTERNAL, all_rows

if TYPE_CHECKING:
    from upstash_global.node.node import Node

Lines = list[tuple[str, object]]

REDIS_VERSION: Final = "7.2.4"  # the Redis whose behaviour we follow; clients choose features by it

_TITLES: Final = {"cpu": "CPU"}
_DEFAULT: Final = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "errorstats",
    "cluster",
    "keyspace",
]


def info_text(node: "Node", wanted: list[str]) -> str:
    """The named sections in Redis's order; without names or with `default` the usual ones, with `all` every one."""
    names: list[str] = []
    if not wanted or "default" in wanted:
        names.extend(_DEFAULT)
    if "all" in wanted or "everything" in wanted:
        names.extend(_SECTIONS)
    names.extend(wanted)
    parts: list[str] = []
    for name, section in _SECTIONS.items():
        if name in names:
            lines = "".join(f"{key}:{value}\r\n" for key, value in section(node))
            parts.append(f"# {_TITLES.get(name, name.capitalize())}\r\n{lines}")
    return "\r\n".join(parts)


def _server(node: "Node") -> Lines:
    uptime_s = max(0, node.local_ms - node.started_ms) // 1000 if node.started_ms else 0
    return [
        ("redis_version", REDIS_VERSION),
        ("upstash_global_version", node.settings.version),
        ("redis_mode", "standalone"),
        ("run_id", (node.boot_id.replace("-", "") * 2)[:40].ljust(40, "0")),
        ("node_name", node.settings.name),
        ("region", node.settings.me.region),
        ("tcp_port", node.settings.me.resp.rpartition(":")[2] or 0),
        ("server_time_usec", node.now_ms * 1000),
        ("uptime_in_seconds", uptime_s),
        ("uptime_in_days", uptime_s // 86400),
        ("hz", 50),
    ]


def _clients(node: "Node") -> Lines:
    sessions = node.sessions.values()
    return [
        ("connected_clients", len(node.sessions)),
        ("maxclients", node.parameters.values["maxclients"]),
        ("blocked_clients", len(node.parking.by_session)),
        ("pubsub_clients", sum(1 for session in sessions if session.is_subscribed)),
        ("tracking_clients", len(node.tracking.sessions)),
        ("watching_clients", sum(1 for session in sessions if session.watches)),
    ]


def _memory(node: "Node") -> Lines:
    resident = node.resident_bytes()
    used = node.eviction.used_bytes()
    return [
        ("used_memory", used),
        ("used_memory_human", f"{used / (1 << 20):.2f}M"),
        ("used_memory_rss", resident),
        ("maxmemory", node.parameters.values["maxmemory"]),
        ("maxmemory_policy", node.parameters.values["maxmemory-policy"]),
        ("mem_replication_backlog", node.log.backlog_bytes),
        ("mem_fragmentation_ratio", "1.00"),
    ]


def _persistence(node: "Node") -> Lines:
    snapshots = node.snapshots
    return [
        ("loading", int(node.read_refusal is not None and node.log.head.lsn == 0)),
        ("fsync", node.settings.fsync),
        ("aof_enabled", 1),
        ("rdb_bgsave_in_progress", int(snapshots.writer is not None)),
        ("rdb_last_save_time", snapshots.last_ms // 1000),
        ("last_snapshot_lsn", snapshots.last_lsn),
        ("appended_lsn", node.log.head.lsn),
        ("durable_lsn", node.durable_lsn),
        ("torn_bytes", node.metrics.torn_bytes),
        ("storage_ok", int(node.write_refusal is None)),
    ]


def _stats(node: "Node") -> Lines:
    metrics = node.metrics
    return [
        ("total_connections_received", metrics.n_connections),
        ("total_commands_processed", metrics.n_commands),
        ("total_net_input_bytes", metrics.bytes_in),
        ("total_net_output_bytes", metrics.bytes_out),
        ("rejected_connections", metrics.n_rejected_connections),
        ("sync_full", sum(feed.n_full for feed in node.roles.feeds.values())),
        ("sync_partial_ok", sum(feed.n_partial for feed in node.roles.feeds.values())),
        ("evicted_keys", node.eviction.n_evicted),
        ("pubsub_channels", len(node.pubsub.channels)),
        ("pubsub_patterns", len(node.pubsub.patterns)),
        ("tracking_total_keys", len(node.tracking.readers)),
        ("tracking_total_items", node.tracking.n_items),
        ("tracking_total_prefixes", len(node.tracking.followers)),
        ("total_error_replies", metrics.n_errors),
        ("acl_access_denied_auth", metrics.n_failed_logins),
        ("acl_access_denied_cmd", metrics.n_denied["command"]),
        ("acl_access_denied_key", metrics.n_denied["key"]),
        ("acl_access_denied_channel", metrics.n_denied["channel"]),
        ("forwarded_commands", node.forwarding.n_forwarded),
        ("served_forwards", node.forwarding.n_served),
    ]


def _replication(node: "Node") -> Lines:
    head = node.log.head
    status = node.status()
    lines: Lines = [("role", "master" if node.is_leader else "slave")]
    if node.is_leader:
        replicas = [each for each in status["followers"] if each["purpose"] == "replica"]
        lines.append(("connected_slaves", len(replicas)))
        for i, each in enumerate(replicas):
            peer = node.settings.peers.get(each["name"])
            host, _, port = (peer.resp if peer is not None else "").rpartition(":")
            lines.append(
                (
                    f"slave{i}",
                    f"ip={host},port={port},state={'online' if each['state'] == 'streaming' else 'wait_bgsave'},"
                    f"offset={each['acked_lsn']},lag={each['lag_entries']},name={each['name']},rtt_ms={each['rtt_ms']}",
                )
            )
    else:
        leader = node.settings.peers.get(node.leader_name)
        host, _, port = (leader.resp if leader is not None else "").rpartition(":")
        lines.extend(
            [
                ("master_host", host),
                ("master_port", port or 0),
                ("master_link_status", "up" if node.state_name == "streaming" else "down"),
                ("master_sync_in_progress", int(node.state_name == "syncing")),
                ("slave_repl_offset", head.lsn),
                ("slave_read_only", 0),
            ]
        )
    lines.extend(
        [
            ("leader", node.leader_name),
            ("state", node.state_name),
            ("epoch", node.roles.epoch),
            ("lsn", head.lsn),
            ("position", f"{head.epoch}:{head.lsn}"),
            ("lag_entries", status["lag_entries"]),
            ("lag_bytes", status["lag_bytes"]),
            ("lag_ms", status["lag_ms"]),
            ("staleness_ms", status["staleness_ms"]),
            ("partial_resyncs", status["partial_resyncs"]),
            ("full_resyncs", status["full_resyncs"]),
            ("divergent_entries", status["divergent_entries"]),
            ("master_repl_offset", head.lsn),
            ("repl_backlog_active", 1),
            ("repl_backlog_size", node.settings.backlog_bytes),
            ("repl_backlog_first_lsn", node.log.first_lsn),
        ]
    )
    return lines


def _cpu(node: "Node") -> Lines:
    return [
        (f"used_cpu_{name}", f"{seconds:.6f}")
        for name, seconds in zip(("sys", "user"), node.cpu_seconds(), strict=True)
    ]


def _commandstats(node: "Node") -> Lines:
    return [
        (
            f"cmdstat_{row.display_name}",
            f"calls={row.calls},usec={row.microseconds},usec_per_call={row.microseconds / max(1, row.calls):.2f},"
            f"rejected_calls={row.rejected_calls},failed_calls={row.failed_calls}",
        )
        for row in all_rows()
        if (row.calls or row.rejected_calls) and not row.flags & INTERNAL
    ]


def _errorstats(node: "Node") -> Lines:
    return [(f"errorstat_{code}", f"count={n}") for code, n in sorted(node.metrics.errors_by_code.items())]


def _cluster(node: "Node") -> Lines:
    return [("cluster_enabled", 0)]


def _keyspace(node: "Node") -> Lines:
    keyspace = node.engine.keyspace
    n_keys = keyspace.size(node.now_ms)
    if not n_keys:
        return []
    n_expires = len(keyspace.deadlines) - len(keyspace.hidden)
    return [("db0", f"keys={n_keys},expires={n_expires},avg_ttl=0")]


_SECTIONS: Final[dict[str, Callable[["Node"], Lines]]] = {
    "server": _server,
    "clients": _clients,
    "memory": _memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "commandstats": _commandstats,
    "errorstats": _errorstats,
    "cluster": _cluster,
    "keyspace": _keyspace,
}
