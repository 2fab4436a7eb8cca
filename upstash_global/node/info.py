"""INFO: sections of `name:value` lines, with Redis's names where they fit and ours for replication."""

from collections.abc import Callable
from hashlib import sha1
from typing import TYPE_CHECKING, Any, Final

from upstash_global.engine.memory import tables_bytes
from upstash_global.engine.table import INTERNAL, READONLY, Row, all_rows
from upstash_global.node.clientmemory import held_bytes
from upstash_global.node.latency import percentile_us
from upstash_global.replication.lag import STREAMING

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
    "modules",
    "errorstats",
    "cluster",
    "keyspace",
]
_PRYING: Final = ("OBJECT", "MEMORY", "DEBUG")  # reads that look without being counted as hits or misses


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


def info_fields(node: "Node") -> dict[str, object]:
    """The usual sections as one table."""
    fields: dict[str, object] = {}
    for name in _DEFAULT:
        fields.update(_SECTIONS[name](node))
    return fields


def human(n_bytes: int) -> str:
    """`1.50M`, as Redis shows sizes."""
    if n_bytes < 1 << 10:
        return f"{n_bytes}B"
    for unit, shift in (("K", 10), ("M", 20), ("G", 30)):
        if n_bytes < 1 << (shift + 10):
            return f"{n_bytes / (1 << shift):.2f}{unit}"
    return f"{n_bytes / (1 << 40):.2f}T"


def _server(node: "Node") -> Lines:
    uptime_s = max(0, node.local_ms - node.started_ms) // 1000 if node.started_ms else 0
    process = node.process
    return [
        ("redis_version", REDIS_VERSION),
        ("redis_git_sha1", "00000000"),
        ("redis_git_dirty", 0),
        ("redis_build_id", "0"),
        ("upstash_global_version", node.settings.version),
        ("redis_mode", "standalone"),
        ("os", process.get("os", "")),
        ("arch_bits", 64),
        ("monotonic_clock", "POSIX clock_gettime"),
        ("multiplexing_api", process.get("loop", "")),
        ("process_id", process.get("id", 0)),
        ("process_supervised", "no"),
        ("run_id", (node.boot_id.replace("-", "") * 2)[:40].ljust(40, "0")),
        ("node_name", node.settings.name),
        ("region", node.settings.me.region),
        ("tcp_port", node.settings.me.resp.rpartition(":")[2] or 0),
        ("server_time_usec", node.now_ms * 1000),
        ("uptime_in_seconds", uptime_s),
        ("uptime_in_days", uptime_s // 86400),
        ("hz", 50),
        ("configured_hz", node.parameters.values["hz"]),
        ("lru_clock", node.now_ms // 1000 & 0xFFFFFF),
        ("executable", process.get("executable", "")),
        ("config_file", ""),
        ("io_threads_active", 0),
    ]


def _clients(node: "Node") -> Lines:
    sessions = node.sessions.values()
    blocked = node.parking.by_cause.get("blocked", {})
    return [
        ("connected_clients", len(node.sessions)),
        ("cluster_connections", 0),
        ("maxclients", node.parameters.values["maxclients"]),
        ("client_recent_max_input_buffer", 0),
        ("client_recent_max_output_buffer", 0),
        ("blocked_clients", len(node.parking.by_session)),
        ("pubsub_clients", sum(1 for session in sessions if session.is_subscribed)),
        ("tracking_clients", len(node.tracking.sessions)),
        ("watching_clients", sum(1 for session in sessions if session.watches)),
        ("clients_in_timeout_table", sum(1 for parked in blocked.values() if parked.deadline_ms)),
        ("total_watched_keys", len({key for session in sessions for key in session.watches})),
        ("total_blocking_keys", len(node.parking.by_key)),
        ("total_blocking_keys_on_nokey", node.parking.needed_keys()),
    ]


def _memory(node: "Node") -> Lines:
    resident = node.resident_bytes()
    used = node.eviction.used_bytes()
    highest = node.metrics.highest_used_bytes = max(used, node.metrics.highest_used_bytes)
    tables = tables_bytes(node.engine.keyspace)
    total = int(str(node.process.get("memory", 0)))
    limit = node.parameters.integer("maxmemory")
    scripts = node.engine.context.scripts
    script_bytes = sum([len(source) for source in [*scripts.loaded.values(), *scripts.evaluated.values()]])
    function_bytes = sum([len(library.code) for library in node.engine.context.functions.libraries.values()])
    interpreter = node.engine.context.interpreter
    vm_bytes = 0 if interpreter is None else interpreter.used_bytes  # one for scripts and functions
    n_scripts = len(scripts.loaded) + len(scripts.evaluated)
    ratio = resident / used if used else 1.0
    return [
        ("used_memory", used),
        ("used_memory_human", human(used)),
        ("used_memory_rss", resident),
        ("used_memory_rss_human", human(resident)),
        ("used_memory_peak", highest),
        ("used_memory_peak_human", human(highest)),
        ("used_memory_peak_perc", f"{100 * used / max(1, highest):.2f}%"),
        ("used_memory_overhead", tables),
        ("used_memory_startup", 0),
        ("used_memory_dataset", used - tables),
        ("used_memory_dataset_perc", f"{100 * (used - tables) / max(1, used):.2f}%"),
        ("allocator_allocated", used),
        ("allocator_active", resident),
        ("allocator_resident", resident),
        ("total_system_memory", total),
        ("total_system_memory_human", human(total)),
        ("used_memory_vm_eval", vm_bytes),
        ("used_memory_lua", vm_bytes),
        ("used_memory_lua_human", human(vm_bytes)),
        ("used_memory_scripts_eval", script_bytes),
        ("used_memory_vm_functions", 0),
        ("used_memory_vm_total", vm_bytes),
        ("used_memory_vm_total_human", human(vm_bytes)),
        ("used_memory_functions", function_bytes),
        ("used_memory_scripts", script_bytes + function_bytes),
        ("used_memory_scripts_human", human(script_bytes + function_bytes)),
        ("number_of_cached_scripts", n_scripts),
        ("number_of_functions", len(node.engine.context.functions.by_name)),
        ("number_of_libraries", len(node.engine.context.functions.libraries)),
        ("maxmemory", limit),
        ("maxmemory_human", human(limit)),
        ("maxmemory_policy", node.parameters.values["maxmemory-policy"]),
        ("mem_fragmentation_ratio", f"{ratio:.2f}"),
        ("mem_fragmentation_bytes", resident - used),
        ("mem_not_counted_for_evict", 0),
        ("mem_replication_backlog", node.log.backlog_bytes),
        ("mem_total_replication_buffers", node.log.backlog_bytes),
        ("mem_clients_slaves", 0),
        ("mem_clients_normal", sum([held_bytes(session) for session in node.sessions.values()])),
        ("mem_cluster_links", 0),
        ("mem_aof_buffer", 0),
        ("mem_allocator", "libc"),
        ("active_defrag_running", 0),
        ("lazyfree_pending_objects", 0),
        ("lazyfreed_objects", 0),
    ]


def _persistence(node: "Node") -> Lines:
    snapshots = node.snapshots
    return [
        ("loading", int(node.read_refusal is not None and node.log.head.lsn == 0)),
        ("async_loading", 0),
        ("fsync", node.settings.fsync),
        ("rdb_changes_since_last_save", node.log.head.lsn - snapshots.last_lsn),
        ("rdb_bgsave_in_progress", int(snapshots.is_under_way)),
        ("rdb_last_save_time", snapshots.last_ms // 1000),
        ("rdb_last_bgsave_status", "err" if snapshots.has_failed else "ok"),
        ("rdb_last_bgsave_time_sec", snapshots.took_ms // 1000),
        (
            "rdb_current_bgsave_time_sec",
            (node.local_ms - snapshots.began_ms) // 1000 if snapshots.is_being_written else -1,
        ),
        ("rdb_saves", snapshots.n_written),
        ("aof_enabled", 1),
        ("aof_rewrite_in_progress", 0),
        ("aof_rewrite_scheduled", 0),
        ("aof_last_rewrite_time_sec", -1),
        ("aof_current_rewrite_time_sec", -1),
        ("aof_last_bgrewrite_status", "ok"),
        ("aof_last_write_status", "ok" if node.write_refusal is None else "err"),
        ("aof_current_size", node.log.head_bytes),
        ("aof_base_size", snapshots.begun_bytes),
        ("aof_pending_rewrite", 0),
        ("aof_delayed_fsync", int(node.sync_is_slow)),
        ("last_snapshot_lsn", snapshots.last_lsn),
        ("appended_lsn", node.log.head.lsn),
        ("durable_lsn", node.durable_lsn),
        ("torn_bytes", node.metrics.torn_bytes),
        ("storage_ok", int(node.write_refusal is None)),
    ]


def _stats(node: "Node") -> Lines:
    metrics = node.metrics
    rates = metrics.rates
    resyncs = node.roles.host.resyncs
    n_misses = node.engine.context.n_misses
    n_reads = sum(
        [
            row.calls
            for row in all_rows()
            if row.flags & READONLY and _has_keys(row) and not row.name.startswith(_PRYING)
        ]
    )
    return [
        ("total_connections_received", metrics.n_connections),
        ("total_commands_processed", metrics.n_commands),
        ("instantaneous_ops_per_sec", rates.per_second(0)),
        ("total_net_input_bytes", metrics.bytes_in),
        ("total_net_output_bytes", metrics.bytes_out),
        ("total_net_repl_input_bytes", metrics.links.bytes_in),
        ("total_net_repl_output_bytes", metrics.links.bytes_out),
        ("instantaneous_input_kbps", f"{rates.per_second(1) / 1024:.2f}"),
        ("instantaneous_output_kbps", f"{rates.per_second(2) / 1024:.2f}"),
        ("instantaneous_input_repl_kbps", f"{rates.per_second(3) / 1024:.2f}"),
        ("instantaneous_output_repl_kbps", f"{rates.per_second(4) / 1024:.2f}"),
        ("rejected_connections", metrics.n_rejected_connections),
        ("sync_full", resyncs.n_full),
        ("sync_partial_ok", resyncs.n_partial),
        ("sync_partial_err", resyncs.n_denied),
        ("expired_subkeys", metrics.n_expired_fields),
        ("expired_keys", metrics.n_expired),
        ("expired_stale_perc", "0.00"),
        ("expired_time_cap_reached_count", 0),
        ("expire_cycle_cpu_milliseconds", 0),
        ("evicted_keys", node.eviction.n_evicted),
        ("evicted_clients", node.client_memory.n_evicted),
        ("total_eviction_exceeded_time", 0),
        ("current_eviction_exceeded_time", 0),
        ("keyspace_hits", max(0, n_reads - n_misses)),
        ("keyspace_misses", n_misses),
        ("pubsub_channels", len(node.pubsub.channels)),
        ("pubsub_patterns", len(node.pubsub.patterns)),
        ("pubsubshard_channels", len(node.pubsub.shard_channels)),
        ("tracking_total_keys", len(node.tracking.readers)),
        ("tracking_total_items", node.tracking.n_items),
        ("tracking_total_prefixes", len(node.tracking.followers)),
        ("latest_fork_usec", 0),
        ("total_forks", 0),
        ("migrate_cached_sockets", 0),
        ("slave_expires_tracked_keys", 0),
        ("active_defrag_hits", 0),
        ("active_defrag_misses", 0),
        ("active_defrag_key_hits", 0),
        ("active_defrag_key_misses", 0),
        ("total_active_defrag_time", 0),
        ("current_active_defrag_time", 0),
        ("client_query_buffer_limit_disconnections", metrics.n_verbose_clients),
        ("client_output_buffer_limit_disconnections", metrics.n_slow_clients),
        ("unexpected_error_replies", 0),
        ("total_error_replies", metrics.n_errors),
        ("dump_payload_sanitizations", 0),
        ("total_reads_processed", metrics.n_commands),
        ("total_writes_processed", metrics.n_commands),
        ("io_threaded_reads_processed", 0),
        ("io_threaded_writes_processed", 0),
        ("reply_buffer_shrinks", 0),
        ("reply_buffer_expands", 0),
        ("acl_access_denied_auth", metrics.n_failed_logins),
        ("acl_access_denied_cmd", metrics.n_denied["command"]),
        ("acl_access_denied_key", metrics.n_denied["key"]),
        ("acl_access_denied_channel", metrics.n_denied["channel"]),
        ("eventloop_cycles", metrics.n_turns),
        ("eventloop_duration_sum", metrics.turns_us),
        ("eventloop_duration_cmd_sum", sum([row.microseconds for row in all_rows()])),
        ("instantaneous_eventloop_cycles_per_sec", rates.per_second(5)),
        ("instantaneous_eventloop_duration_usec", rates.per_second(6) // max(1, rates.per_second(5))),
        ("forwarded_commands", node.forwarding.n_forwarded),
        ("served_forwards", node.forwarding.n_served),
    ]


def _has_keys(row: Row) -> bool:
    return bool(row.keys.first or row.keys.counted)


def _replication(node: "Node") -> Lines:
    head = node.log.head
    status = node.status()
    lines: Lines = [("role", "master" if node.is_leader else "slave")]
    if node.is_leader:
        replicas = [each for each in status["followers"] if each["purpose"] == "replica"]
        lines.append(("connected_slaves", len(replicas)))
        lines.extend(_good_replicas(node))
        lines.extend([(f"slave{i}", _replica(node, each)) for i, each in enumerate(replicas)])
    else:
        leader = node.settings.peers.get(node.leader_name)
        host, _, port = (leader.resp if leader is not None else "").rpartition(":")
        lines.extend(
            [
                ("master_host", host),
                ("master_port", port or 0),
                ("master_link_status", "up" if node.state_name == "streaming" else "down"),
                ("master_sync_in_progress", int(node.state_name == "syncing")),
                ("master_last_io_seconds_ago", max(0, node.local_ms - node.roles.follower.progress_ms) // 1000),
                ("slave_read_repl_offset", head.lsn),
                ("slave_repl_offset", head.lsn),
                ("slave_priority", node.parameters.values["replica-priority"]),
                ("slave_read_only", 0),
                ("replica_announced", 1),
                ("connected_slaves", 0),
                *_good_replicas(node),
            ]
        )
    lines.extend(
        [
            ("leader", node.leader_name),
            ("state", node.state_name),
            ("epoch", node.roles.epoch),
            ("lsn", head.lsn),
            ("position", f"{head.epoch}:{head.lsn}"),
            ("sync_token", node.sync_tokens.of(head).decode()),
            ("lag_entries", status["lag_entries"]),
            ("lag_bytes", status["lag_bytes"]),
            ("lag_ms", status["lag_ms"]),
            ("staleness_ms", status["staleness_ms"]),
            ("partial_resyncs", status["partial_resyncs"]),
            ("full_resyncs", status["full_resyncs"]),
            ("last_resync_reason", status["resync_reason"]),
            ("last_resync_bytes", status["resync_bytes"]),
            ("divergences", status["divergences"]),
            ("digest_checks", status["digest_checks"]),
            ("digest_mismatches", status["digest_mismatches"]),
            ("divergent_entries", status["divergent_entries"]),
            ("master_failover_state", "no-failover"),
            ("master_replid", sha1(f"{node.settings.cluster_id} {node.roles.epoch}".encode()).hexdigest()),
            ("master_replid2", "0" * 40),
            ("master_repl_offset", head.lsn),
            ("second_repl_offset", -1),
            ("repl_backlog_active", 1),
            ("repl_backlog_size", node.settings.backlog_bytes),
            ("repl_backlog_first_byte_offset", node.log.first_lsn),
            ("repl_backlog_histlen", node.log.backlog_bytes),
            ("repl_backlog_first_lsn", node.log.first_lsn),
        ]
    )
    return lines


def _replica(node: "Node", follower: dict[str, Any]) -> str:
    """Redis's fields, with the seconds since the last ack as `lag`, then ours; a number that is not known yet is empty."""
    peer = node.settings.peers.get(follower["name"])
    host, _, port = (peer.resp if peer is not None else "").rpartition(":")
    silence_ms = follower["silence_ms"]
    fields = {
        "ip": host,
        "port": port,
        "state": replica_state(follower),
        "offset": follower["acked_lsn"],
        "lag": silence_ms // 1000 if silence_ms is not None else 0,
        "name": follower["name"],
        "region": follower["region"],
        "link": follower["state"],
        "durable_lsn": follower["durable_lsn"],
    }
    for name in ("lag_entries", "lag_bytes", "lag_ms", "staleness_ms", "rtt_ms"):
        fields[name] = "" if follower[name] is None else follower[name]
    return ",".join([f"{name}={value}" for name, value in fields.items()])


def replica_state(follower: dict[str, Any]) -> str:
    """Redis's word for the state of a follower's link."""
    if follower["state"] == STREAMING:
        return "online"
    return "send_bulk" if follower["is_sent_snapshot"] else "wait_bgsave"


def _good_replicas(node: "Node") -> Lines:
    return [] if node.redundancy is None else [("min_slaves_good_slaves", node.redundancy.n_good)]


def _cpu(node: "Node") -> Lines:
    system_s, user_s = node.cpu_seconds()
    return [
        ("used_cpu_sys", f"{system_s:.6f}"),
        ("used_cpu_user", f"{user_s:.6f}"),
        ("used_cpu_sys_children", "0.000000"),
        ("used_cpu_user_children", "0.000000"),
        ("used_cpu_sys_main_thread", f"{system_s:.6f}"),
        ("used_cpu_user_main_thread", f"{user_s:.6f}"),
    ]


def _modules(node: "Node") -> Lines:
    return []


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


def _latencystats(node: "Node") -> Lines:
    percentiles = node.latency.percentiles
    if not node.latency.is_tracking or not percentiles:
        return []
    return [
        (
            f"latency_percentiles_usec_{row.display_name}",
            ",".join([f"p{each}={percentile_us(row.histogram, float(each)):.3f}" for each in percentiles]),
        )
        for row in all_rows()
        if row.histogram and not row.flags & INTERNAL
    ]


def _cluster(node: "Node") -> Lines:
    return [("cluster_enabled", 0)]


def _keyspace(node: "Node") -> Lines:
    keyspace = node.engine.keyspace
    n_keys = keyspace.size(node.now_ms)
    if not n_keys:
        return []
    n_expires = len(keyspace.deadlines) - len(keyspace.hidden)
    return [("db0", f"keys={n_keys},expires={n_expires},avg_ttl=0,subexpiry={len(keyspace.hashes)}")]


_SECTIONS: Final[dict[str, Callable[["Node"], Lines]]] = {
    "server": _server,
    "clients": _clients,
    "memory": _memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "modules": _modules,
    "commandstats": _commandstats,
    "errorstats": _errorstats,
    "latencystats": _latencystats,
    "cluster": _cluster,
    "keyspace": _keyspace,
}
