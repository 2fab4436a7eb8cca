"""A cluster without distances that loses nodes: what was acknowledged stays, and every client is told the truth.

Each test leaves the cluster whole, whoever leads it then.
"""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.cluster import stories
from tests.cluster.running import Running, wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("faults")
    with Running(directory, "--no-wan", "--no-edges", UPSTASH_GLOBAL_DURABILITY__FSYNC="always") as running:
        yield running


class Writer(threading.Thread):
    """A client that sets one key after the other, and remembers which were acknowledged."""

    def __init__(self, cluster: Running, name: str, prefix: str) -> None:
        super().__init__(daemon=True)
        self.client = cluster.redis(name, retry=None)
        self.prefix = f"{prefix}:{name}"
        self.acked: list[str] = []
        self.refused: list[str] = []  # not executed, the node said
        self.unclear = 0  # -UNKNOWN, or the connection was lost
        self.is_stopping = threading.Event()

    def run(self) -> None:
        n = 0
        while not self.is_stopping.is_set():
            key = f"{self.prefix}:{n}"
            n += 1
            try:
                self.client.set(key, n)
                self.acked.append(key)
            except redis.ResponseError as refusal:
                if str(refusal).startswith("UNKNOWN"):
                    self.unclear += 1
                else:
                    self.refused.append(str(refusal))
            except redis.ConnectionError:
                self.unclear += 1
                self.is_stopping.wait(0.05)

    def stop(self) -> None:
        self.is_stopping.set()
        self.join(120)
        self.client.close()


@contextmanager
def writers(cluster: Running, prefix: str, *names: str) -> Iterator[list[Writer]]:
    """Clients at these nodes that write as long as the block runs; each has been acknowledged before it begins."""
    started = [Writer(cluster, name, prefix) for name in names]
    for writer in started:
        writer.start()
    try:
        wait_for(lambda: all(len(writer.acked) > 20 for writer in started))
        yield started
    finally:
        for writer in started:
            writer.stop()


def assert_nothing_is_lost(cluster: Running, started: list[Writer]) -> None:
    cluster.settle()
    keys = [key for writer in started for key in writer.acked]
    for name in cluster.places:
        with cluster.redis(name) as client:
            missing = [key for key, value in zip(keys, client.mget(keys), strict=True) if value is None]
            assert missing == [], f"{name} lost {len(missing)} of {len(keys)}"
    digests = cluster.digests()
    assert len(set(digests.values())) == 1, digests


def test_every_client_in_every_region(cluster: Running) -> None:
    stories.redis_cli(cluster)
    stories.redis_py(cluster, 3)
    stories.upstash_sync(cluster)
    stories.curl(cluster)
    stories.all_are_equal_and_idle(cluster)


def test_the_javascript_client(cluster: Running) -> None:
    stories.upstash_javascript(cluster)


def test_probes(cluster: Running) -> None:
    leader = cluster.leader()
    for name in cluster.places:
        assert cluster.ask(name, "/healthz") == (200, "ok\n")
        assert cluster.ask(name, "/readyz") == (200, "ready\n")
        code, answer = cluster.ask(name, "/leader")
        assert (code, answer["leader"]) == (200 if name == leader else 503, leader)
        assert cluster.ask(name, "/replica?lag=60000")[0] == 200
        assert cluster.ask(name, "/replica?lag=soon")[0] == 400
        code, metrics = cluster.ask(name, "/metrics")
        assert code == 200 and "upstash_global_" in metrics
    with cluster.redis(leader) as client:
        assert client.role()[0] == "master"
        assert client.wait(5, 60_000) == 5


def test_a_restarted_replica_resumes_where_it_was(cluster: Running) -> None:
    cluster.leader()
    cluster.end("sa-east-1", signal.SIGTERM)
    with cluster.redis("us-west-2") as client:
        for n in range(100):
            client.set(f"away:{n}", n)
    cluster.start("sa-east-1")
    cluster.settle()
    status = json.loads(cluster.cli("status", "sa-east-1", "-o", "json").stdout)[0]
    assert (status["partial_resyncs"], status["full_resyncs"]) == (1, 0)
    with cluster.redis("sa-east-1") as client:
        assert client.get("away:99") == "99"


def test_a_killed_replica_resumes_where_it_was(cluster: Running) -> None:
    cluster.leader()
    with writers(cluster, "replica-killed", "us-east-1", "ap-southeast-1") as started:
        cluster.end("ap-southeast-1", signal.SIGKILL)
        n_acked = len(started[0].acked)
        wait_for(lambda: len(started[0].acked) > n_acked + 20)
        cluster.start("ap-southeast-1")
        cluster.leader()
    assert_nothing_is_lost(cluster, started)
    status = cluster.status("ap-southeast-1")
    assert (status["partial_resyncs"], status["full_resyncs"]) == (1, 0)


def test_a_killed_leader_that_returns_has_lost_nothing(cluster: Running) -> None:
    leader = cluster.leader()
    with writers(cluster, "leader-killed", leader, "us-east-1", "us-west-2") as started:
        cluster.end(leader, signal.SIGKILL)
        cluster.start(leader)
        assert cluster.leader() == leader
    assert_nothing_is_lost(cluster, started)


def test_a_switchover_loses_nothing(cluster: Running) -> None:
    leader = cluster.leader()
    target = "eu-central-1" if leader != "eu-central-1" else "us-west-2"
    with writers(cluster, "switchover", leader, target, "sa-east-1") as started:
        done = cluster.cli("switchover", "--to", target, "-o", "json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["leader"] == target
        assert cluster.leader() == target
        counts = [len(writer.acked) for writer in started]
        wait_for(lambda: all(len(w.acked) > n + 20 for w, n in zip(started, counts, strict=True)), cluster.report)
    told = {refusal.split(" ")[0] for writer in started for refusal in writer.refused}
    assert told <= {"NOLEADER"}  # while the way to the new leader opens; not executed, so safe to send again
    assert_nothing_is_lost(cluster, started)


def test_without_a_leader_reads_go_on_and_a_forced_promotion_ends_it(cluster: Running) -> None:
    leader = cluster.leader()
    replicas = [name for name in cluster.places if name != leader]
    with cluster.redis(replicas[0]) as client:
        client.set("kept", "yes")
    cluster.settle()
    cluster.end(leader, signal.SIGKILL)
    wait_for(lambda: not any(cluster.status(name).get("reaches_leader") for name in replicas), cluster.report)

    for name in replicas:
        with cluster.redis(name, retry=None) as client:
            assert client.get("kept") == "yes"
            with pytest.raises(redis.ResponseError, match="^NOLEADER "):
                client.set("kept", "no")
        assert cluster.rest(name, "get", "kept")[:2] == (200, {"result": "yes"})
        code, answer, headers = cluster.rest(name, "set", "kept", "no")
        assert (code, headers["retry-after"]) == (503, "1")
        assert answer["error"].startswith("NOLEADER ")
        assert cluster.ask(name, "/readyz")[0] == 503
        assert cluster.ask(name, "/leader")[0] == 503
        assert cluster.ask(name, "/healthz") == (200, "ok\n")
    assert cluster.cli("status").returncode == 4

    chosen = next(name for name in replicas if name != "leader")
    refused = cluster.cli("promote", chosen)
    assert refused.returncode != 0
    done = cluster.cli("promote", chosen, "--force", "-o", "json")
    assert json.loads(done.stdout)["leader"] == chosen
    wait_for(
        lambda: all(
            cluster.status(name).get("leader") == chosen and cluster.ask(name, "/readyz")[0] == 200 for name in replicas
        ),
        cluster.report,
    )
    for name in replicas:
        with cluster.redis(name) as client:
            assert client.set(f"after:{name}", "yes") is True

    cluster.start(leader)
    assert cluster.leader() == chosen
    assert_nothing_is_lost(cluster, [])
    with cluster.redis(leader) as client:
        assert client.get("kept") == "yes"
