"""Scripts: the cached sources of EVAL and SCRIPT LOAD, by their SHA-1.

A system table: it changes only by applied entries, so every node has it and EVALSHA works after a failover. What EVAL cached
is bounded, the oldest leaves first (as Redis 7.4 does); what SCRIPT LOAD cached stays until SCRIPT FLUSH.
"""

from hashlib import sha1
from typing import Any, Final

MAX_EVALUATED: Final = 500  # scripts that only EVAL brought


def sha_of(source: bytes) -> bytes:
    return sha1(source).hexdigest().encode()


class Scripts:
    def __init__(self) -> None:
        self.loaded: dict[bytes, bytes] = {}  # by SCRIPT LOAD
        self.evaluated: dict[bytes, bytes] = {}  # by EVAL
        self.seen: dict[bytes, bytes] = {}  # by EVAL_RO, on this node alone: nothing is logged for a read

    def find(self, sha: bytes) -> bytes | None:
        """The source of a script, or None."""
        source = self.loaded.get(sha)
        if source is None:
            source = self.evaluated.get(sha)
        return self.seen.get(sha) if source is None else source

    def load(self, sha: bytes, source: bytes) -> bool:
        """Keep what SCRIPT LOAD brought; False if it was kept already."""
        if sha in self.loaded:
            return False
        self.evaluated.pop(sha, None)
        self.loaded[sha] = source
        return True

    def evaluate(self, sha: bytes, source: bytes) -> bool:
        """Keep what EVAL brought; False if it was kept already."""
        if sha in self.loaded or sha in self.evaluated:
            return False
        self.evaluated[sha] = source
        if len(self.evaluated) > MAX_EVALUATED:
            del self.evaluated[next(iter(self.evaluated))]
        return True

    def note(self, sha: bytes, source: bytes) -> None:
        """Keep what EVAL_RO brought, here only."""
        if self.find(sha) is None:
            self.seen[sha] = source
            if len(self.seen) > MAX_EVALUATED:
                del self.seen[next(iter(self.seen))]

    def flush(self) -> bool:
        """Forget all; False if the table was empty."""
        had_any = bool(self.loaded or self.evaluated)
        self.loaded.clear()
        self.evaluated.clear()
        self.seen.clear()
        return had_any

    def dump(self) -> Any:
        """Plain structures for a snapshot: sources, in the order in which they came."""
        return [list(self.loaded.values()), list(self.evaluated.values())]

    def restore(self, plain: Any) -> None:
        """Take over what `dump` gave; None stands for an empty table."""
        loaded, evaluated = plain or ([], [])
        self.loaded = {sha_of(source): source for source in loaded}
        self.evaluated = {sha_of(source): source for source in evaluated}
        self.seen = {}
