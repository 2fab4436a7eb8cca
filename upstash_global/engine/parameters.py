"""Cluster parameters: what CONFIG SET has set for all nodes alike.

A system table: it changes only by applied `_CONFIG` entries and stands in snapshots, so that every node has the same values
at the same position. Those that commands read while they run stand in `limits` as numbers; which parameters there are, and
what their values may be, the node knows (node/parameters.py).
"""

from typing import Any, Final

from upstash_global.engine.encodings import LIMIT_NAMES, Limits

PASSWORD: Final = b"requirepass"  # stands among the users, as the hash of the password of `default`


class ClusterParameters:
    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}  # name → text, of those that were ever set
        self.limits = Limits()

    def set(self, name: bytes, text: bytes) -> bool:
        """Set a parameter to a text that the leader has checked; False if it has that value already."""
        if self.values.get(name) == text:
            return False
        self.values[name] = text
        if name in LIMIT_NAMES:
            setattr(self.limits, LIMIT_NAMES[name], int(text))
        if name == b"stream-node-max-entries":
            self.limits.trims_whole_nodes = True
        return True

    def dump(self) -> list[list[bytes]]:
        """Plain structures for a snapshot."""
        return [[name, self.values[name]] for name in sorted(self.values)]


def load_parameters(plain: Any) -> ClusterParameters:
    """The table that `dump` was called on; None stands for an empty one."""
    parameters = ClusterParameters()
    for name, text in plain or []:
        parameters.set(name, text)
    return parameters
