"""The ports of a node that stops."""

import json
from pathlib import Path

from tests.server.serving import TOKEN, Served, command, config, wait_for

REQUEST = (
    b"POST /pipeline HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 13\r\n\r\n" % TOKEN.encode()
)


def test_what_runs_is_finished_and_what_comes_is_refused(tmp_path: Path) -> None:
    """A write that a replica has forwarded is held back at the leader, and the replica is told to stop."""
    settings = config(names=("one", "two"))
    with Served(tmp_path / "one", settings, "one") as leader, leader.wire() as admin:
        with Served(tmp_path / "two", settings, "two") as replica, replica.wire() as writer, replica.wire() as late:
            http = replica.http()
            admin.call("CLIENT", "PAUSE", "60000", "WRITE")
            writer.send(command("SET", "k", "v"))
            wait_for(lambda: replica.ask(lambda node: len(node.forwarding.outstanding) == 1))
            replica.begin_to_stop()
            wait_for(lambda: replica.ask(lambda node: node.is_stopping))
            assert late.call("GET", "k") == b"-SHUTTINGDOWN The server is shutting down\r\n"
            refused = http.send(REQUEST + b'[["get","k"]]').answer()
            assert (refused.status, refused.headers[b"retry-after"]) == (503, b"1")
            assert json.loads(refused.body) == {"error": "SHUTTINGDOWN The server is shutting down"}
            assert http.read_all() == b""
            admin.call("CLIENT", "UNPAUSE")
            assert writer.reply() == b"+OK\r\n"
            assert writer.read_all() == late.read_all() == b""
        assert admin.call("GET", "k") == b"$1\r\nv\r\n"


def test_under_fsync_always_what_the_last_sync_covers_is_answered(tmp_path: Path) -> None:
    """The sync of the disk thread is held back; the one at the end covers the write."""
    with Served(tmp_path) as served, served.wire() as wire:
        served.ask(lambda node: setattr(node.settings, "fsync", "always"))
        served.ask(lambda node: setattr(served.running.shell, "is_syncing", True))  # so that no other begins
        wire.send(command("SET", "k", "v"))
        wait_for(lambda: served.ask(lambda node: len(node.gate) == 1))
        served.begin_to_stop()
        assert wire.reply() == b"+OK\r\n"
