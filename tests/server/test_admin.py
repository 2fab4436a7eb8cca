"""The admin port of a real node: what it answers when a snapshot fails, and the page that Prometheus reads."""

import json
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

from prometheus_client.parser import text_string_to_metric_families

from tests.server.serving import ADMIN_TOKEN, Served, config, wait_for


def ask(served: Served, path: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{served.admin}{path}", method=method, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def test_a_snapshot_that_the_disk_refuses_is_answered_with_500_and_the_node_goes_on(tmp_path: Path) -> None:
    """The directory of snapshots is away for a while."""
    with Served(tmp_path) as served, served.redis() as client:
        client.set("k", "v")
        snapshots = tmp_path / "snapshots"
        snapshots.rename(tmp_path / "away")
        status, text = ask(served, "/v1/snapshot", "POST")
        assert (status, json.loads(text)["error"][:31]) == (500, "the snapshot could not be writt")
        assert client.info("persistence")["rdb_last_bgsave_status"] == "err"
        assert client.set("k", "w")
        (tmp_path / "away").rename(snapshots)
        assert ask(served, "/v1/snapshot", "POST")[0] == 200
        assert client.info("persistence")["rdb_last_bgsave_status"] == "ok"


def test_two_nodes_with_real_links_compare_and_count_their_bytes(tmp_path: Path) -> None:
    settings = config(names=("one", "two"))
    with Served(tmp_path / "one", settings) as one, Served(tmp_path / "two", settings, "two") as two:
        with two.redis() as client:
            client.set("k", "v")
        wait_for(lambda: two.ask(lambda node: node.roles.follower.n_checks) >= 2)
        status, text = ask(two, "/metrics")
        assert status == 200
        found = {
            sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples
        }
        assert found["upstash_global_digest_checks_total"] >= 2
        assert found["upstash_global_digest_mismatches_total"] == 0
        assert found["redis_net_repl_input_bytes_total"] > 0 < found["redis_net_repl_output_bytes_total"]
        assert found["upstash_global_forward_duration_seconds_count"] == 1
        (follower,) = json.loads(ask(one, "/v1/status")[1])["followers"]
        assert follower["name"] == "two" and follower["lag_entries"] == 0 and follower["staleness_ms"] is not None
