"""Prometheus metrics of a node: redis_exporter's names where they fit, `upstash_global_…` for what Redis has not.

Everything is read from the node when Prometheus asks, so counting costs nothing between two scrapes.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from upstash_global.engine.table import INTERNAL, all_rows

if TYPE_CHECKING:
    from upstash_global.node.node import Node


def registry_of(node: "Node") -> CollectorRegistry:
    """A registry whose metrics are those of `node`."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(node))
    return registry


class NodeCollector(Collector):
    def __init__(self, node: "Node") -> None:
        self.node = node

    def collect(self) -> Iterable[Metric]:
        yield from self._redis()
        yield from self._commands()
        yield from self._replication()

    def _redis(self) -> Iterable[Metric]:
        node = self.node
        metrics, keyspace = node.metrics, node.engine.keyspace
        uptime_s = max(0, node.local_ms - node.started_ms) / 1000 if node.started_ms else 0
        yield GaugeMetricFamily("redis_up", "Whether the node runs.", value=1)
        yield GaugeMetricFamily("redis_uptime_in_seconds", "Since the process started.", value=uptime_s)
        yield GaugeMetricFamily("redis_connected_clients", "Client sessions, RESP and REST.", value=len(node.sessions))
        yield GaugeMetricFamily("redis_blocked_clients", "Sessions that wait.", value=len(node.parking.by_session))
        yield GaugeMetricFamily("redis_memory_used_bytes", "Resident memory.", value=node.resident_bytes())
        keys = GaugeMetricFamily("redis_db_keys", "Visible keys.", labels=["db"])
        keys.add_metric(["db0"], keyspace.size(node.now_ms))
        yield keys
        expiring = GaugeMetricFamily("redis_db_keys_expiring", "Keys with a deadline.", labels=["db"])
        expiring.add_metric(["db0"], len(keyspace.deadlines))
        yield expiring
        yield CounterMetricFamily("redis_connections_received", "Sessions ever.", value=metrics.n_connections)
        yield CounterMetricFamily("redis_rejected_connections", "Refused.", value=metrics.n_rejected_connections)
        yield CounterMetricFamily("redis_commands_processed", "Commands run.", value=metrics.n_commands)
        yield CounterMetricFamily("redis_net_input_bytes", "From RESP clients.", value=metrics.bytes_in)
        yield CounterMetricFamily("redis_net_output_bytes", "To RESP clients.", value=metrics.bytes_out)
        errors = CounterMetricFamily("redis_errors", "Error replies by code.", labels=["err"])
        for code, n in metrics.errors_by_code.items():
            errors.add_metric([code], n)
        yield errors
        yield GaugeMetricFamily("redis_connected_slaves", "Followers.", value=len(node.roles.feeds))
        yield GaugeMetricFamily(
            "redis_master_link_up", "Whether this node follows.", value=node.state_name == "streaming"
        )

    def _commands(self) -> Iterable[Metric]:
        calls = CounterMetricFamily("redis_commands", "Calls by command.", labels=["cmd"])
        failed = CounterMetricFamily("redis_commands_failed_calls", "Calls that failed.", labels=["cmd"])
        rejected = CounterMetricFamily("redis_commands_rejected_calls", "Calls that were refused.", labels=["cmd"])
        for row in all_rows():
            if not row.flags & INTERNAL and (row.calls or row.rejected_calls):
                calls.add_metric([row.display_name], row.calls)
                failed.add_metric([row.display_name], row.failed_calls)
                rejected.add_metric([row.display_name], row.rejected_calls)
        yield from (calls, failed, rejected)

    def _replication(self) -> Iterable[Metric]:
        node = self.node
        status = node.status()
        gauges = {
            "leader": ("Whether this node leads.", int(node.is_leader)),
            "epoch": ("The highest epoch seen.", status["epoch"]),
            "lsn": ("The newest entry applied here.", node.log.head.lsn),
            "durable_lsn": ("The newest entry on this node's disk.", node.durable_lsn),
            "lag_entries": ("Entries behind the known head.", status["lag_entries"]),
            "lag_bytes": ("Bytes behind the known head.", status["lag_bytes"]),
            "lag_ms": ("Largest delay of an applied entry in the last second.", status["lag_ms"]),
            "staleness_ms": ("Age of the newest complete state.", status["staleness_ms"]),
            "backlog_bytes": ("Log kept in memory.", node.log.backlog_bytes),
            "divergent_entries": ("Entries put aside because another history won.", status["divergent_entries"]),
            "torn_bytes": ("Bytes cut off the log at starts.", node.metrics.torn_bytes),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"upstash_global_{name}", text, value=value)
        state = GaugeMetricFamily("upstash_global_replication_state", "1 for the present state.", labels=["state"])
        for each in ("streaming", "syncing", "disconnected"):
            state.add_metric([each], int(node.state_name == each))
        yield state
        counters = {
            "forwarded_commands": ("Commands sent to the leader.", node.forwarding.n_forwarded),
            "served_forwards": ("Forwards of other nodes run here.", node.forwarding.n_served),
            "partial_resyncs": ("Partial resyncs of this node.", status["partial_resyncs"]),
            "full_resyncs": ("Full resyncs of this node.", status["full_resyncs"]),
            "http_requests": ("REST requests.", node.metrics.n_http_requests),
            "failed_logins": ("Wrong passwords and tokens.", node.metrics.n_failed_logins),
            "snapshots": ("Snapshots written.", node.snapshots.n_written),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"upstash_global_{name}", text, value=value)
        lag = GaugeMetricFamily(
            "upstash_global_follower_lag_entries", "Entries not yet acked.", labels=["node", "region"]
        )
        rtt = GaugeMetricFamily(
            "upstash_global_follower_rtt_ms", "Round trip to a follower.", labels=["node", "region"]
        )
        for each in status["followers"]:
            lag.add_metric([each["name"], each["region"]], each["lag_entries"])
            if each["rtt_ms"] is not None:
                rtt.add_metric([each["name"], each["region"]], each["rtt_ms"])
        yield from (lag, rtt)
        events = CounterMetricFamily("upstash_global_events", "Notable happenings by name.", labels=["event"])
        for name, n in node.events.counts.items():
            events.add_metric([name], n)
        yield events
