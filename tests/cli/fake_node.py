"""Stands in for `upstash-global node` where `up` is tested: an admin port that is ready at once, and a few ways to fail.

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

from upstash_global.cli.main import _end_with_parent
from upstash_global.config import load


def main() -> None:
    parser = ArgumentParser()
    for option in ("--config", "--name", "--data-dir"):
        parser.add_argument(option)
    given = parser.parse_args()
    _end_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if given.name == "stubborn" else leave)
    if given.name == "broken":
        print("this node is broken", file=sys.stderr)
        sys.exit(3)
    config = load(Path(given.config), os.environ)
    node = config.node(given.name)

    class Admin(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_allowed = self.headers["Authorization"] == f"Bearer {config.credentials.admin}"
            self.send_response(503 if node.name == "slow" else 200 if is_allowed else 401)
            self.end_headers()
            role = "leader" if node.name == config.cluster.leader else "replica"
            self.wfile.write(json.dumps({"node": node.name, "role": role, "epoch": 1, "state": "streaming"}).encode())

    ThreadingHTTPServer((node.admin.host, node.admin.port), Admin).serve_forever()


def leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
