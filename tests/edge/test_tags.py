"""What a node tells an edge with a reply: where it was read and until when it stays true, and to nobody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.serving import READ_TOKEN, TOKEN, Served
from upstash_global.node.edges import read_tag
from upstash_global.protocol.tokens import edge_proof

PROOF = edge_proof("peers").decode()  # of the secret that the nodes of `serving` share


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory: Path = tmp_path_factory.mktemp("tagged")
    with Served(directory) as served, served.redis() as client:
        client.set("k", "v")
        client.set("short", "v", pxat=4_000_000_000_000)
        client.rpush("l", "a")
        yield served


def tag(served: Served, path: str, proof: str = PROOF, token: str = TOKEN) -> bytes | None:
    head = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nupstash-edge: {proof}\r\n\r\n"
    with served.http() as wire:
        return wire.send(head.encode()).answer().headers.get(b"upstash-edge")


def test_a_read_is_tagged_with_the_position_it_was_read_at(served: Served) -> None:
    head = served.ask(lambda node: node.log.head)
    assert tag(served, "/get/k") == b"%d %d -1" % (head.epoch, head.lsn)
    assert tag(served, "/get/k", token=READ_TOKEN) == b"%d %d -1" % (head.epoch, head.lsn)


def test_a_reply_ends_with_the_earliest_deadline_of_its_keys(served: Served) -> None:
    for path in ("/mget/k/short", "/dbsize"):
        text = tag(served, path)
        assert text is not None
        told = read_tag(text)
        assert told is not None and told[1] == 4_000_000_000_000


@pytest.mark.parametrize("path", ["/ttl/k", "/randomkey", "/set/a/b", "/llen/k", "/ping", "/nosuch", "/echo/a"])
def test_what_must_not_be_kept_is_not_tagged(served: Served, path: str) -> None:
    assert tag(served, path) is None


def test_nobody_is_told_without_the_proof_of_the_cluster(served: Served) -> None:
    assert tag(served, "/get/k", proof="") is None
    assert tag(served, "/get/k", proof=edge_proof("another secret").decode()) is None


def test_a_text_that_is_no_tag_is_none() -> None:
    for text in (b"", b"1 2", b"1 2 x", b"1 2 3 4"):
        assert read_tag(text) is None
