"""The one place that reads clocks.

`now_ms` is this node's own time: it runs with the monotonic clock and is drawn towards the wall clock by at most
MAX_SLEW, so that it never goes back and never jumps, whatever happens to the wall clock.
"""

from time import monotonic, thread_time_ns, time
from typing import Final

MAX_SLEW: Final = 0.005  # seconds per second
_monotonic: Final = monotonic  # compiled code finds it here without a dictionary
STEP_MS: Final = 10_000  # a wall clock further off than this is an event worth noting


class Clock:
    def __init__(self) -> None:
        self.wall_start = time()
        self.monotonic_start = monotonic()
        self.offset = 0.0  # seconds added so far to follow the wall clock
        self.adjusted_at = self.monotonic_start

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return int((self.wall_start + self.offset + _monotonic() - self.monotonic_start) * 1000)

    def follow_wall(self) -> int:
        """Draw the clock a little towards the wall clock; call it about once a second. How far off it was, in ms."""
        now = monotonic()
        off = time() - (self.wall_start + self.offset + now - self.monotonic_start)
        allowed = MAX_SLEW * (now - self.adjusted_at)
        self.offset += max(-allowed, min(allowed, off))
        self.adjusted_at = now
        return int(off * 1000)


def microseconds() -> int:
    """Monotonic, for durations."""
    return int(_monotonic() * 1_000_000)


def thread_microseconds() -> int:
    """CPU time of the calling thread since it began."""
    return thread_time_ns() // 1000
