"""A standard HTTP cache in front of a node: what it is told, and a real Varnish whose replies the purger has banned."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.edge.serving import request_bytes
from tests.ports import free_port
from tests.server.serving import READ_TOKEN, Answer, Served, Wire, config, wait_for
from upstash_global.edge.purger import MAX_PENDING, Purger, Target
from upstash_global.node.edges import surrogate_of

VCL = Path(__file__).parents[2] / "deploy" / "varnish.vcl"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("surrogate"), replace(config(), surrogate=True)) as served:
        yield served


def get(port: int, path: str, **headers: str) -> Answer:
    with Wire(port) as wire:
        return wire.send(request_bytes("GET", path, None, **headers)).answer()


# -- what caches are told ---------------------------------------------------------------------------------------------


def test_a_plain_read_names_the_keys_it_depends_on(node: Served) -> None:
    headers = get(node.rest, "/mget/a/b").headers
    assert headers[b"surrogate-key"].split() == [surrogate_of(b"a"), surrogate_of(b"b")]
    assert headers[b"cache-control"] == b"s-maxage=30, max-age=0"
    assert get(node.rest, "/dbsize").headers[b"surrogate-key"] == b"all-keys"


def test_nothing_is_kept_beyond_the_deadline_of_its_keys(node: Served) -> None:
    with node.redis() as client:
        client.set("short", "v", ex=10)
    lifetime = get(node.rest, "/get/short").headers[b"cache-control"].split(b",")[0]
    assert lifetime in [b"s-maxage=%d" % seconds for seconds in range(11)] or lifetime == b"no-store"


@pytest.mark.parametrize("path", ["/set/k/v", "/ttl/k", "/randomkey", "/nosuch", "/llen"])
def test_all_else_is_not_to_be_kept(node: Served, path: str) -> None:
    headers = get(node.rest, path).headers
    assert headers[b"cache-control"] == b"no-store" and b"surrogate-key" not in headers


def test_without_the_setting_nobody_is_told_anything(tmp_path: Path) -> None:
    with Served(tmp_path, config()) as served:
        headers = get(served.rest, "/get/k").headers
    assert b"cache-control" not in headers and b"surrogate-key" not in headers


# -- what a purger keeps for a cache that does not answer -------------------------------------------------------------


def test_what_is_pending_is_bounded() -> None:
    target = Target("http://127.0.0.1:1")
    target.everything = False
    for n in range(MAX_PENDING):
        target.ban([b"%d" % n])
    assert len(target.tags) == MAX_PENDING and not target.everything
    target.ban([b"one more"])
    assert target.everything and not target.tags


# -- a real Varnish ---------------------------------------------------------------------------------------------------


class Varnish:
    """varnishd with the file of deploy/, in front of a node; `with` ends it."""

    def __init__(self, node: Served) -> None:
        self.port = free_port()
        self.node = node

    def __enter__(self) -> "Varnish":
        varnishd = shutil.which("varnishd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if varnishd is None or shutil.which("cc") is None:
            pytest.skip("there is no varnishd, or no C compiler for its VCL")
        self.directory = tempfile.TemporaryDirectory()
        vcl = Path(self.directory.name) / "node.vcl"
        vcl.write_text(VCL.read_text().replace('"8005"', f'"{self.node.rest}"'))
        arguments = ["-F", "-j", "none", "-n", self.directory.name, "-a", f"127.0.0.1:{self.port}", "-T", "none"]
        self.log = (Path(self.directory.name) / "log").open("wb")
        self.process = subprocess.Popen(
            [varnishd, *arguments, "-f", str(vcl), "-s", "malloc,16m"], stdout=self.log, stderr=self.log
        )
        wait_for(self._is_up)
        return self

    def _is_up(self) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()
        try:
            return get(self.port, "/ping").status == 200
        except (ConnectionError, EOFError):
            return False

    def __exit__(self, *failure: object) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        self.directory.cleanup()

    def get(self, path: str, **headers: str) -> tuple[str, bytes]:
        """(hit or miss, body)"""
        answer = get(self.port, path, **headers)
        return answer.headers[b"x-cache"].split()[0].decode().lower(), answer.body


@pytest.fixture(scope="module")
def varnish(node: Served) -> Iterator[Varnish]:
    with Varnish(node) as running:
        yield running


@pytest.fixture
def purged(node: Served, varnish: Varnish) -> Iterator[Varnish]:
    """Varnish with a purger beside it that has found its place in the log."""

    async def start() -> Purger:
        purger = Purger(node.config, "one", [f"http://127.0.0.1:{varnish.port}/"], again_s=0.05)
        purger.start()
        return purger

    async def look(purger: Purger) -> bool:
        target = purger.targets[0]
        return purger.following.is_near() and not purger.said and not target.everything and target.n_bans > 0

    with ExitStack() as stack:
        purger = node.await_(start())
        stack.callback(lambda: node.await_(purger.stop()))
        wait_for(lambda: node.await_(look(purger)))
        yield varnish


def result(value: Any) -> bytes:
    return b'{"result":"%s"}' % str(value).encode()


def test_varnish_keeps_reads_for_each_token_and_form(varnish: Varnish, node: Served) -> None:
    with node.redis() as client:
        client.set("kept", "v")
    assert [varnish.get("/get/kept") for _ in range(2)] == [("miss", result("v")), ("hit", result("v"))]
    reader = f"Bearer {READ_TOKEN}"
    assert varnish.get("/get/kept", authorization=reader)[0] == "miss"
    assert varnish.get("/get/kept", upstash_encoding="base64") == ("miss", b'{"result":"dg=="}')
    assert get(varnish.port, "/get/kept", authorization="Bearer wrong").status == 401
    assert varnish.get("/get/kept", cache_control="no-cache")[0] == "miss"
    assert [varnish.get(f"/incr/count{n}")[0] for n in (1, 1)] == ["miss", "miss"]


def test_what_is_written_is_banned(purged: Varnish, node: Served) -> None:
    with node.redis() as client:
        for value in ("one", "two", "three"):
            client.set("written", value)
            wait_for(lambda: purged.get("/get/written") == ("hit", result(value)))  # noqa: B023
            wait_for(lambda: purged.get("/dbsize")[0] == "hit")
        client.flushall()
    wait_for(lambda: purged.get("/get/written") == ("hit", b'{"result":null}'))
    wait_for(lambda: purged.get("/dbsize") == ("hit", b'{"result":0}'))


def test_what_nobody_wrote_stays(purged: Varnish, node: Served) -> None:
    with node.redis() as client:
        client.set("stays", "v")
        wait_for(lambda: purged.get("/get/stays") == ("hit", result("v")))
        client.set("other", "1")
        wait_for(lambda: purged.get("/get/other") == ("hit", result("1")))
    assert purged.get("/get/stays") == ("hit", result("v"))


def test_nobody_else_may_ban(varnish: Varnish, node: Served) -> None:
    """The file lets this machine alone do it; a command of that name is refused by the node."""
    with node.http() as wire:
        assert wire.send(request_bytes("BAN", "/")).answer().status == 405
