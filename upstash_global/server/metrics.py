"""Prometheus metrics of a node: redis_exporter's names where they fit, `upstash_global_…` for what Redis has not.

Everything is read from the node when Prometheus asks, so counting costs nothing between two scrapes.
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from upstash_global.node.metrics import BOUNDS_MS
from upstash_global.replication.lag import DISCONNECTED, STREAMING, SYNCING
from upstash_global.server.redismetrics import newest_of_each, redis_metrics

if TYPE_CHECKING:
    from upstash_global.node.node import Node

STATES: Final = (STREAMING, SYNCING, DISCONNECTED)


def registry_of(node: "Node") -> CollectorRegistry:
    """A registry whose metrics are those of `node`."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(node))
    return registry


class NodeCollector(Collector):
    def __init__(self, node: "Node") -> None:
        self.node = node

    def collect(self) -> Iterable[Metric]:
        yield from redis_metrics(self.node)
        yield from self._replication()
        yield from self._forwarding()
        yield from self._followers()
        events = CounterMetricFamily("upstash_global_events", "Notable happenings by name.", labels=["event"])
        for name, n in self.node.events.counts.items():
            events.add_metric([name], n)
        yield events

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
            "last_resync_bytes": ("What the last full resync of this node took.", status["resync_bytes"]),
            "writable": ("Whether this node's disk lets it accept writes.", int(node.write_refusal is None)),
            "reaches_leader": ("Whether writes here find their way.", int(status["reaches_leader"])),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"upstash_global_{name}", text, value=value)
        state = GaugeMetricFamily("upstash_global_replication_state", "1 for the present state.", labels=["state"])
        for each in STATES:
            state.add_metric([each], int(node.state_name == each))
        yield state
        resyncs = node.roles.host.resyncs
        counters = {
            "partial_resyncs": ("Partial resyncs of this node.", status["partial_resyncs"]),
            "full_resyncs": ("Full resyncs of this node.", status["full_resyncs"]),
            "snapshot_sent_bytes": ("Snapshots sent to replicas.", resyncs.snapshot_bytes),
            "divergences": ("How often another state was found than had to be.", status["divergences"]),
            "digest_checks": ("Checks made, or at a replica compared.", status["digest_checks"]),
            "digest_mismatches": ("Checks that found a difference.", status["digest_mismatches"]),
            "http_requests": ("REST requests.", node.metrics.n_http_requests),
            "failed_logins": ("Wrong passwords and tokens.", node.metrics.n_failed_logins),
            "snapshots": ("Snapshots written.", node.snapshots.n_written),
            "failed_snapshots": ("Snapshots that could not be written.", node.snapshots.n_failed),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"upstash_global_{name}", text, value=value)

    def _forwarding(self) -> Iterable[Metric]:
        forwarding = self.node.forwarding
        counters = {
            "forwarded_commands": ("Commands sent to the leader.", forwarding.n_forwarded),
            "served_forwards": ("Forwards of other nodes run here.", forwarding.n_served),
            "unknown_forwards": ("Forwards whose outcome nobody knows.", forwarding.n_unknown),
            "noleader_refusals": ("Commands refused because no leader was in reach.", forwarding.n_noleader),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"upstash_global_{name}", text, value=value)
        n_outstanding = len(forwarding.outstanding)
        yield GaugeMetricFamily("upstash_global_outstanding_forwards", "Not answered yet.", value=n_outstanding)
        durations = forwarding.durations
        bounds = [*[str(bound_ms / 1000) for bound_ms in BOUNDS_MS], "+Inf"]
        yield HistogramMetricFamily(
            "upstash_global_forward_duration_seconds",
            "From a forwarded command to its answer; blocking ones are left out.",
            buckets=list(zip(bounds, accumulate(durations.counts), strict=True)),
            sum_value=durations.sum_ms / 1000,
        )

    def _followers(self) -> Iterable[Metric]:
        """Each follower as this node sees it; what it has not said yet is left out."""
        gauges = {
            "lag_entries": "Entries not yet acked.",
            "lag_bytes": "Bytes not yet acked.",
            "lag_ms": "Largest delay of an applied entry in the last second, as the follower says.",
            "staleness_ms": "Age of the newest complete state of the follower.",
            "rtt_ms": "Round trip to the follower.",
        }
        followers = newest_of_each(self.node.status()["followers"])
        for field, text in gauges.items():
            gauge = GaugeMetricFamily(f"upstash_global_follower_{field}", text, labels=["node", "region"])
            for each in followers:
                if each[field] is not None:
                    gauge.add_metric([each["name"], each["region"]], each[field])
            yield gauge
        state = GaugeMetricFamily(
            "upstash_global_follower_state", "1 for the present state.", labels=["node", "region", "state"]
        )
        for each in followers:
            for word in STATES:
                state.add_metric([each["name"], each["region"], word], int(each["state"] == word))
        yield state
