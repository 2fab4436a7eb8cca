"""Stands in for `upstash-global node` and `edge` where `up` is tested: an admin port that is ready at once, and a few ways to fail.

A node named `broken` ends at once, one named `slow` never becomes ready, one named `stubborn` ignores SIGTERM.
"""

import json
import os
import signal
import sys
from argparse import ArgumentParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

from upstash_global.cli.main import end_with_this_parent
from upstash_global.config import EdgeConfig, NodeConfig, load


def main() -> None:
    parser = ArgumentParser()
    for option in ("--config", "--name", "--data-dir"):
        parser.add_argument(option)
    given = parser.parse_args()
    end_with_this_parent()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if given.name == "stubborn" else leave)
    if given.name == "broken":
        print("this node is broken", file=sys.stderr)
        sys.exit(3)
    config = load(Path(given.config), os.environ)
    places: list[NodeConfig | EdgeConfig] = [*config.nodes, *config.edges]
    node = next(place for place in places if place.name == given.name)
    roles = {config.cluster.leader: "leader"} | {edge.name: "edge" for edge in config.edges}

    class Admin(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_allowed = self.headers["Authorization"] == f"Bearer {config.credentials.admin}"
            self.send_response(503 if node.name == "slow" else 200 if is_allowed else 401)
            self.end_headers()
            role = roles.get(node.name, "replica")
            self.wfile.write(json.dumps({"node": node.name, "role": role, "epoch": 1, "state": "streaming"}).encode())

    assert node.admin is not None
    ThreadingHTTPServer((node.admin.host, node.admin.port), Admin).serve_forever()


def leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
