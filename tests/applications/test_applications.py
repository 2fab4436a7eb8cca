"""Applications that others wrote for Redis, unchanged, pointed at the replica in São Paulo of a whole cluster.

RQ, Celery and BullMQ queue and run jobs, Django caches and keeps sessions, ioredis and redis-cli do what they do. Nothing
here knows that writes are forwarded.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.applications import tasks
from tests.cluster.running import ROOT, Running
from tests.cluster.sdk import run_script

pytestmark = pytest.mark.cluster

HERE = "sa-east-1"
LIMIT_S = 120


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("applications"), "--no-wan", "--no-edges") as running:
        yield running


@pytest.fixture
def url(cluster: Running) -> str:
    cluster.redis("leader").flushall()
    cluster.settle()
    place = cluster.places[HERE]
    return f"redis://:{cluster.password}@{place.host}:{place.port}/0"


def test_rq_runs_jobs(cluster: Running, url: str) -> None:
    rq = pytest.importorskip("rq")
    with cluster.redis(HERE, decode_responses=False) as connection:
        queue = rq.Queue("numbers", connection=connection)
        good = [queue.enqueue(tasks.double, n) for n in range(10)]
        bad = queue.enqueue(tasks.fail)
        later = queue.enqueue(tasks.double, 100, depends_on=good[-1])
        assert queue.count == 11
        rq.SimpleWorker([queue], connection=connection).work(burst=True)
        assert [job.return_value() for job in good] == [2 * n for n in range(10)]
        assert later.get_status(refresh=True) == "finished" and later.return_value() == 200
        assert bad.get_status(refresh=True) == "failed" and "ValueError: on purpose" in bad.latest_result().exc_string
        assert queue.count == 0 and len(queue.failed_job_registry) == 1


def test_a_celery_worker_runs_tasks(cluster: Running, url: str, tmp_path: Path) -> None:
    pytest.importorskip("celery")
    from tests.applications import celery_app

    environment = os.environ | {"PYTHONPATH": str(ROOT), "CELERY_URL": url}
    command = [sys.executable, "-m", "celery", "--app", "tests.applications.celery_app", "worker", "--pool", "solo"]
    log = (tmp_path / "celery.log").open("wb")
    worker = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        app = celery_app.make(url)
        results = [app.send_task("double", [n]) for n in range(10)]
        chained = app.signature("double", [1]) | app.signature("double") | app.signature("double")
        assert [result.get(timeout=LIMIT_S) for result in results] == [2 * n for n in range(10)]
        assert chained.apply_async().get(timeout=LIMIT_S) == 8
        failed = app.send_task("fail")
        with pytest.raises(Exception, match="on purpose"):
            failed.get(timeout=LIMIT_S)
        assert app.control.inspect(timeout=5).ping(), "a worker hears what is broadcast"
    finally:
        worker.terminate()
        worker.wait(LIMIT_S)
        log.close()


def test_bullmq_and_ioredis(cluster: Running, url: str) -> None:
    place = cluster.places[HERE]
    report = run_script("applications.mjs", host=place.host, port=place.port, password=cluster.password)
    assert report["bullmq"] == {
        "completed": 20,
        "failed": 1,
        "delayed_in_order": True,
        "results": [2 * n for n in range(20)],
    }
    assert report["ioredis"] == {
        "pipeline": ["OK", "1", 2],
        "transaction": ["OK", "7"],
        "script": 42,
        "message": ["news", "hello"],
        "scanned": 100,
        "blocked": ["list", "element"],
        "watched": None,
        "jobs": [["n", "1"], ["n", "2"]],
        "sum": sum(range(50)),
    }


def test_django_caches_and_keeps_sessions(cluster: Running, url: str) -> None:
    pytest.importorskip("django")
    done = subprocess.run(
        [sys.executable, "-m", "tests.applications.django_site", url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "get": {"a": [1, 2]},
        "many": {"x": 1, "y": 2},
        "added": [True, False],
        "counter": 6,
        "expired": None,
        "touched": True,
        "session": "carol",
        "gone": None,
    }


def redis_cli(cluster: Running, *words: str, given: str | bytes = b"", limit_s: float = 60) -> str:
    place = cluster.places[HERE]
    command = ["redis-cli", "-h", place.host, "-p", str(place.port), *words]
    data = given.encode() if isinstance(given, str) else given
    environment = os.environ | {"REDISCLI_AUTH": cluster.password}
    done = subprocess.run(command, input=data, capture_output=True, timeout=limit_s, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.decode()


def test_redis_cli_finds_big_keys_scans_and_pipes(cluster: Running, url: str) -> None:
    protocol = b"".join(
        b"*3\r\n$3\r\nSET\r\n$%d\r\nkey:%d\r\n$5\r\nvalue\r\n" % (len(f"key:{n}"), n) for n in range(1000)
    )
    assert "errors: 0, replies: 1000" in redis_cli(cluster, "--pipe", given=protocol)
    redis_cli(cluster, "RPUSH", "list", *map(str, range(300)))
    assert sorted(redis_cli(cluster, "--scan", "--pattern", "key:99*").split()) == sorted(
        ["key:99", *(f"key:99{n}" for n in range(10))]
    )
    big = redis_cli(cluster, "--bigkeys")
    assert '"list"\' has 300 items' in big
    assert "Sampled 1001 keys in the keyspace!" in big
    heavy = redis_cli(cluster, "--memkeys")
    assert "Sampled 1001 keys in the keyspace!" in heavy and '"list"' in heavy
    assert redis_cli(cluster, "--latency", "-i", "1", "--raw").split()


def follow(cluster: Running, *words: str) -> "subprocess.Popen[str]":
    """redis-cli with words that let it go on for ever."""
    place = cluster.places[HERE]
    return subprocess.Popen(
        ["redis-cli", "-h", place.host, "-p", str(place.port), *words],
        stdout=subprocess.PIPE,
        env=os.environ | {"REDISCLI_AUTH": cluster.password},
        text=True,
    )


def end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    process.communicate(timeout=LIMIT_S)


def test_redis_cli_shows_figures(cluster: Running, url: str) -> None:
    redis_cli(cluster, "SET", "only", "key")
    shown = follow(cluster, "--stat", "-i", "0.1")
    assert shown.stdout is not None
    try:
        assert "data" in shown.stdout.readline() and shown.stdout.readline().split()[:2] == ["keys", "mem"]
        assert shown.stdout.readline().split()[0] == "1"
    finally:
        end(shown)


def test_redis_cli_monitors(cluster: Running, url: str) -> None:
    monitor = follow(cluster, "MONITOR")
    assert monitor.stdout is not None
    try:
        assert monitor.stdout.readline().strip() == "OK"
        redis_cli(cluster, "SET", "seen", "by all")
        for line in monitor.stdout:
            if '"SET" "seen" "by all"' in line:
                break
        else:
            raise AssertionError("the monitor ended without having seen it")
    finally:
        end(monitor)
