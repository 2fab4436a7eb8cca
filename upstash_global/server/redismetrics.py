"""What INFO tells, under the names that redis_exporter gives it, so that dashboards and alarms made for Redis fit.

The numbers are those of INFO, taken from it: the two cannot contradict each other. What would be always 0 here (forks,
defragmentation) is left out.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from upstash_global.engine.table import INTERNAL, all_rows
from upstash_global.node.info import info_fields, replica_state

if TYPE_CHECKING:
    from upstash_global.node.node import Node

GAUGES: Final = {  # field of INFO → metric and what it says
    "uptime_in_seconds": ("redis_uptime_in_seconds", "Since the process started."),
    "process_id": ("redis_process_id", "Of the node."),
    "connected_clients": ("redis_connected_clients", "Client sessions, RESP and REST."),
    "blocked_clients": ("redis_blocked_clients", "Sessions that wait."),
    "tracking_clients": ("redis_tracking_clients", "Sessions with CLIENT TRACKING."),
    "pubsub_clients": ("redis_pubsub_clients", "Sessions that subscribe."),
    "watching_clients": ("redis_watching_clients", "Sessions that watch keys."),
    "clients_in_timeout_table": ("redis_clients_in_timeout_table", "Sessions that wait no longer than for a while."),
    "total_blocking_keys": ("redis_total_blocking_keys", "Keys that sessions wait for."),
    "total_watched_keys": ("redis_total_watched_keys", "Keys that sessions watch."),
    "maxclients": ("redis_max_clients", "Connections that are let in."),
    "used_memory": ("redis_memory_used_bytes", "An estimate of what the data takes."),
    "used_memory_rss": ("redis_memory_used_rss_bytes", "Resident memory of the process."),
    "used_memory_peak": ("redis_memory_used_peak_bytes", "The most of it that was seen."),
    "used_memory_overhead": ("redis_memory_used_overhead_bytes", "Of the used memory, the tables of keys."),
    "used_memory_dataset": ("redis_memory_used_dataset_bytes", "Of the used memory, keys and values."),
    "used_memory_scripts": ("redis_memory_used_scripts_bytes", "Sources of cached scripts."),
    "number_of_cached_scripts": ("redis_number_of_cached_scripts", "Scripts."),
    "number_of_functions": ("redis_number_of_functions", "Functions."),
    "number_of_libraries": ("redis_number_of_libraries", "Libraries of functions."),
    "maxmemory": ("redis_memory_max_bytes", "Limit of what the data may take; 0 for none."),
    "mem_fragmentation_ratio": ("redis_mem_fragmentation_ratio", "Resident by used memory."),
    "total_system_memory": ("redis_total_system_memory_bytes", "Of the machine."),
    "loading": ("redis_loading_dump_file", "Whether this node has no complete data yet."),
    "rdb_changes_since_last_save": ("redis_rdb_changes_since_last_save", "Entries behind the newest snapshot."),
    "rdb_bgsave_in_progress": ("redis_rdb_bgsave_in_progress", "Whether a snapshot is being written."),
    "rdb_last_save_time": ("redis_rdb_last_save_timestamp_seconds", "When the newest snapshot was finished."),
    "rdb_last_bgsave_status": ("redis_rdb_last_bgsave_status", "1: the last snapshot succeeded."),
    "rdb_last_bgsave_time_sec": ("redis_rdb_last_bgsave_duration_sec", "Of the newest snapshot; -1 before the first."),
    "rdb_current_bgsave_time_sec": (
        "redis_rdb_current_bgsave_duration_sec",
        "Of the one being written; -1 if none is.",
    ),
    "aof_enabled": ("redis_aof_enabled", "The log is always written."),
    "aof_current_size": ("redis_aof_current_size_bytes", "Of all entries of the log."),
    "aof_last_write_status": ("redis_aof_last_write_status", "1: the log can be written."),
    "aof_delayed_fsync": ("redis_aof_delayed_fsync", "Whether an fsync takes so long that writes wait."),
    "instantaneous_ops_per_sec": ("redis_instantaneous_ops_per_sec", "Commands per second."),
    "pubsub_channels": ("redis_pubsub_channels", "Channels with subscribers."),
    "pubsub_patterns": ("redis_pubsub_patterns", "Patterns with subscribers."),
    "pubsubshard_channels": ("redis_pubsubshard_channels", "Sharded channels with subscribers."),
    "connected_slaves": ("redis_connected_slaves", "Replicas that follow this node."),
    "master_repl_offset": ("redis_master_repl_offset", "LSN of the newest entry here."),
    "repl_backlog_size": ("redis_replication_backlog_bytes", "Log that may be kept in memory."),
    "repl_backlog_histlen": ("redis_repl_backlog_history_bytes", "Log that is kept in memory."),
    "repl_backlog_active": ("redis_repl_backlog_is_active", "Always."),
    "repl_backlog_first_byte_offset": ("redis_repl_backlog_first_byte_offset", "The oldest LSN in memory."),
    "sync_full": ("redis_replica_resyncs_full", "Full resyncs of replicas."),
    "sync_partial_ok": ("redis_replica_partial_resync_accepted", "Partial resyncs of replicas."),
    "sync_partial_err": ("redis_replica_partial_resync_denied", "Partial resyncs that could not be."),
}
COUNTERS: Final = {  # likewise; the name without the _total that the format adds
    "total_connections_received": ("redis_connections_received", "Sessions ever."),
    "rejected_connections": ("redis_rejected_connections", "Connections refused because there were too many."),
    "total_commands_processed": ("redis_commands_processed", "Commands run."),
    "total_net_input_bytes": ("redis_net_input_bytes", "From RESP clients."),
    "total_net_output_bytes": ("redis_net_output_bytes", "To RESP clients."),
    "total_net_repl_input_bytes": ("redis_net_repl_input_bytes", "From other nodes, forwarded commands too."),
    "total_net_repl_output_bytes": ("redis_net_repl_output_bytes", "To other nodes, forwarded commands too."),
    "expired_keys": ("redis_expired_keys", "Keys removed because their time was over."),
    "evicted_keys": ("redis_evicted_keys", "Keys removed for room."),
    "keyspace_hits": ("redis_keyspace_hits", "Reads that found their key."),
    "keyspace_misses": ("redis_keyspace_misses", "Reads that found none."),
    "used_cpu_sys": ("redis_cpu_sys_seconds", "Of the process, in the kernel."),
    "used_cpu_user": ("redis_cpu_user_seconds", "Of the process, outside the kernel."),
    "total_error_replies": ("redis_total_error_replies", "Errors that clients were answered."),
    "acl_access_denied_auth": ("redis_acl_access_denied_auth", "Wrong passwords and tokens."),
    "acl_access_denied_cmd": ("redis_acl_access_denied_cmd", "Commands that a user may not run."),
    "acl_access_denied_key": ("redis_acl_access_denied_key", "Keys that a user may not touch."),
    "acl_access_denied_channel": ("redis_acl_access_denied_channel", "Channels that a user may not use."),
}

_WORDS: Final = {"ok": 1.0, "err": 0.0}
_INSTANCE: Final = ("role", "redis_version", "redis_mode", "os", "maxmemory_policy", "tcp_port", "run_id", "process_id")


def redis_metrics(node: "Node") -> Iterable[Metric]:
    fields = info_fields(node)
    yield GaugeMetricFamily("redis_up", "Whether the node runs.", value=1)
    for field, (name, text) in GAUGES.items():
        yield GaugeMetricFamily(name, text, value=_number(fields[field]))
    for field, (name, text) in COUNTERS.items():
        yield CounterMetricFamily(name, text, value=_number(fields[field]))
    instance = GaugeMetricFamily("redis_instance_info", "What this node is.", labels=_INSTANCE)
    instance.add_metric([str(fields[name]) for name in _INSTANCE], 1)
    yield instance
    start_s = max(0, node.local_ms // 1000 - int(_number(fields["uptime_in_seconds"])))
    yield GaugeMetricFamily("redis_start_time_seconds", "When the process started.", value=start_s)
    yield from _keys(fields)
    yield from _slowlog(node)
    yield from _commands(node)
    yield from _links(node, fields)


def _number(value: object) -> float:
    return _WORDS[str(value)] if value in _WORDS else float(str(value))


def _keys(fields: dict[str, object]) -> Iterable[Metric]:
    counts = dict(part.split("=") for part in str(fields.get("db0", "keys=0,expires=0,avg_ttl=0")).split(","))
    for name, text, count in (
        ("redis_db_keys", "Visible keys.", counts["keys"]),
        ("redis_db_keys_expiring", "Visible keys with a deadline.", counts["expires"]),
    ):
        gauge = GaugeMetricFamily(name, text, labels=["db"])
        gauge.add_metric(["db0"], float(count))
        yield gauge


def _slowlog(node: "Node") -> Iterable[Metric]:
    slowlog = node.slowlog
    last_s = slowlog.entries[0].microseconds / 1e6 if slowlog.entries else 0
    yield GaugeMetricFamily("redis_slowlog_length", "Commands in the slow log.", value=len(slowlog.entries))
    yield GaugeMetricFamily("redis_slowlog_last_id", "Of the newest one.", value=max(0, slowlog.next_id - 1))
    yield GaugeMetricFamily("redis_last_slow_execution_duration_seconds", "Of the newest one.", value=last_s)


def _commands(node: "Node") -> Iterable[Metric]:
    calls = CounterMetricFamily("redis_commands", "Calls by command.", labels=["cmd"])
    took = CounterMetricFamily("redis_commands_duration_seconds", "Time in commands.", labels=["cmd"])
    failed = CounterMetricFamily("redis_commands_failed_calls", "Calls that failed.", labels=["cmd"])
    rejected = CounterMetricFamily("redis_commands_rejected_calls", "Calls that were refused.", labels=["cmd"])
    for row in all_rows():
        if not row.flags & INTERNAL and (row.calls or row.rejected_calls):
            calls.add_metric([row.display_name], row.calls)
            took.add_metric([row.display_name], row.microseconds / 1e6)
            failed.add_metric([row.display_name], row.failed_calls)
            rejected.add_metric([row.display_name], row.rejected_calls)
    errors = CounterMetricFamily("redis_errors", "Error replies by code.", labels=["err"])
    for code, n in node.metrics.errors_by_code.items():
        errors.add_metric([code], n)
    yield from (calls, took, failed, rejected, errors)


def _links(node: "Node", fields: dict[str, object]) -> Iterable[Metric]:
    """Of a replica, its link to the leader; of a leader, those of its replicas."""
    if not node.is_leader:
        names = ["master_host", "master_port"]
        labels = [str(fields[name]) for name in names]
        for name, text, value in (
            ("redis_master_link_up", "Whether this node follows.", float(fields["master_link_status"] == "up")),
            ("redis_master_sync_in_progress", "Whether it loads all data.", _number(fields["master_sync_in_progress"])),
            ("redis_master_last_io_seconds_ago", "Last progress.", _number(fields["master_last_io_seconds_ago"])),
            ("redis_slave_repl_offset", "LSN of the newest entry here.", _number(fields["slave_repl_offset"])),
        ):
            gauge = GaugeMetricFamily(name, text, labels=names)
            gauge.add_metric(labels, value)
            yield gauge
        return
    names = ["slave_ip", "slave_port", "slave_state"]
    offset = GaugeMetricFamily("redis_connected_slave_offset_bytes", "LSN that a replica has applied.", labels=names)
    lag = GaugeMetricFamily("redis_connected_slave_lag_seconds", "Since a replica's last ack.", labels=names)
    for each in newest_of_each(node.status()["followers"]):
        peer = node.settings.peers.get(each["name"])
        if each["purpose"] == "replica":
            host, _, port = (peer.resp if peer is not None else "").rpartition(":")
            labels = [host, port, replica_state(each)]
            offset.add_metric(labels, each["acked_lsn"])
            lag.add_metric(labels, (each["silence_ms"] or 0) / 1000)
    yield from (offset, lag)


def newest_of_each(followers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One that has just reconnected is there twice for a while, and labels must be so only once."""
    return list({each["name"]: each for each in followers}.values())
