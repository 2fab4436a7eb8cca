"""Host: what all feeds of a node share — for whom they speak, who may have a full resync, and what became of it all.

Feeds come and go with their streams. What an operator wants to know of them must not go with them, so it is counted here,
and what is notable is said through `tell`.
"""

from collections.abc import Callable


class FullSyncs:
    """Who may have a full resync now: few at a time, and none for a while after repeated failures."""

    def __init__(self, max_running: int = 1, max_failures: int = 3, within_ms: int = 600_000, pause_ms: int = 300_000):
        self.max_running = max_running
        self.max_failures = max_failures
        self.within_ms = within_ms
        self.pause_ms = pause_ms
        self.running: set[str] = set()  # streams
        self.failures: dict[str, list[int]] = {}  # follower, however it comes → when its last ones failed

    def begin(self, stream: str, follower: str, now_ms: int) -> bool:
        failed = self.failures.get(follower, [])
        if len(failed) >= self.max_failures and now_ms - failed[-1] < self.pause_ms:
            return False
        if stream not in self.running and len(self.running) >= self.max_running:
            return False
        self.running.add(stream)
        return True

    def end(self, stream: str) -> bool:
        """Whether one was running."""
        was_running = stream in self.running
        self.running.discard(stream)
        return was_running

    def note_success(self, follower: str) -> None:
        self.failures.pop(follower, None)

    def note_failure(self, follower: str, now_ms: int) -> None:
        recent = [at for at in self.failures.get(follower, []) if now_ms - at < self.within_ms]
        self.failures[follower] = [*recent, now_ms]


class Resyncs:
    """What replicas were given when they subscribed, of all feeds there ever were."""

    def __init__(self) -> None:
        self.n_partial = 0
        self.n_full = 0
        self.n_denied = 0  # asked to go on from a position, and could not
        self.n_divergences = 0  # had another entry at a position of ours
        self.snapshot_bytes = 0  # sent
        self.reason = ""  # of the last full resync

    def reset(self) -> None:
        """CONFIG RESETSTAT; what was found to be wrong stays."""
        self.n_partial = 0
        self.n_full = 0
        self.n_denied = 0


class Host:
    """The node keeps it up to date."""

    def __init__(self, cluster: str, leader: str = "", epoch: int = 0) -> None:
        self.cluster = cluster
        self.leader = leader
        self.epoch = epoch  # of the reign that the node serves: its own, or that of the leader it follows
        self.complete_ms: int | None = None  # leader time up to which the head is everything; None at the leader: now
        self.full_syncs = FullSyncs()
        self.resyncs = Resyncs()
        self.tell: Callable[[str, str, str], None] = untold  # name, text and level of what is notable


def untold(name: str, text: str, level: str) -> None:
    """Nobody listens."""
