"""Lag: how far a follower is behind, in entries, bytes and milliseconds, and its recent course.

lag_ms        the largest (leader time at apply − entry time) of the last second; 0 when level and idle
staleness_ms  leader time now − leader time up to which this node is known to be complete; grows while the link is cut
"""

from collections import deque
from typing import Final

# States of a follower, as INFO, metrics and the console name them.
STREAMING: Final = "streaming"
SYNCING: Final = "syncing"
DISCONNECTED: Final = "disconnected"

WINDOW_MS: Final = 1000


def staleness_ms(leader_now_ms: int, complete_ms: int) -> int:
    """Age of the newest state this node is known to hold completely, in milliseconds of leader time.

    Both times are leader time, so clocks need not agree. 0 on the leader.
    """
    return max(0, leader_now_ms - complete_ms)


class Sample:
    """One moment of the course."""

    __slots__ = ("time_ms", "entries", "bytes", "ms", "staleness_ms", "state")

    def __init__(self, time_ms: int, entries: int, bytes: int, ms: int, staleness_ms: int, state: str) -> None:
        self.time_ms = time_ms
        self.entries = entries
        self.bytes = bytes
        self.ms = ms
        self.staleness_ms = staleness_ms
        self.state = state


class Lag:
    """The delays of the last second, and one sample per second for ten minutes."""

    def __init__(self, max_samples: int = 600) -> None:
        self.delays: deque[tuple[int, int]] = deque()  # (when, delay), delays descending: the first is the maximum
        self.samples: deque[Sample] = deque(maxlen=max_samples)

    def note(self, delay_ms: int, now_ms: int) -> None:
        """An entry was applied `delay_ms` of leader time after it was made."""
        delays = self.delays
        while delays and delays[-1][1] <= delay_ms:
            delays.pop()
        delays.append((now_ms, max(0, delay_ms)))

    def ms(self, now_ms: int) -> int:
        """The largest delay noted within the last second; 0 without any."""
        delays = self.delays
        while delays and delays[0][0] <= now_ms - WINDOW_MS:
            delays.popleft()
        return delays[0][1] if delays else 0

    def sample(self, now_ms: int, entries: int, bytes: int, staleness_ms: int, state: str) -> None:
        """Remember how things stand, at most once a second."""
        if self.samples and now_ms - self.samples[-1].time_ms < WINDOW_MS:
            return
        self.samples.append(Sample(now_ms, entries, bytes, self.ms(now_ms), staleness_ms, state))
