"""Free ports of the loopback interface, for what tests start.

They lie below the ports that the system gives to outgoing connections, and each test worker has a span of its own: nobody
takes a port between the look and the start.
"""

import os
import socket
from typing import Final

from upstash_global.cli.failures import Failed
from upstash_global.cli.processes import check_ports
from upstash_global.config import Credentials, default_config

_FIRST: Final = 10_000
_SPAN: Final = 5_500  # of one worker
_CLUSTER_SPAN: Final = 2_500  # of the ports of a default cluster; a worker has two such places
_WORKERS: Final = 4

_worker: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_own: Final = _FIRST + _worker * _SPAN
_single: Final = list(range(_own + 2 * _CLUSTER_SPAN, _own + _SPAN))


def free_port() -> int:
    """Another one each time, as long as they last."""
    for _ in _single:
        port = _single.pop(0)
        _single.append(port)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def base_port() -> int:
    """A `--base-port` such that the ports of the default cluster are free."""
    for place in (_own, _own + _CLUSTER_SPAN):
        for candidate in range(place, place + 100, 20):
            try:
                check_ports(default_config(candidate, Credentials()))
            except Failed:
                continue
            return candidate
    raise AssertionError("the ports of a cluster are not free where they are needed")
