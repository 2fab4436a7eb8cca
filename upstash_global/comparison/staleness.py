"""How old an answer was: sans-io, so that the judgement can be tested without a cluster.

Values are written one after the other: 1, 2, 3 … to each key, by one writer. A read that began at time t and brought
value v was stale if v + 1 had been acknowledged before t; its staleness is t minus the time of that acknowledgement. Writer
and readers are in one process, so all times are of one clock.
"""

FRESH: float = -1.0  # no newer value had been acknowledged


class History:
    """The values of one key: when each was sent and acknowledged, in ms of any one clock."""

    def __init__(self) -> None:
        self.sent_ms: list[float] = []
        self.acked_ms: list[
            float
        ] = []  # no longer than `sent_ms`: a value is sent after the one before is acknowledged

    def next_value(self, now_ms: float) -> int:
        """The value to send now."""
        assert len(self.sent_ms) == len(self.acked_ms)
        self.sent_ms.append(now_ms)
        return len(self.sent_ms)

    def acknowledge(self, now_ms: float) -> None:
        """The last value sent is written."""
        self.acked_ms.append(now_ms)

    def staleness_ms(self, value: int, started_ms: float) -> float:
        """How long a newer value than the one read had been acknowledged when the read began; FRESH if none had."""
        return _since(self.acked_ms, value, started_ms)

    def most_ms(self, value: int, started_ms: float) -> float:
        """The same since the newer value was sent to the leader, which executed it after that: an upper bound."""
        return _since(self.sent_ms, value, started_ms)


def _since(times_ms: list[float], value: int, started_ms: float) -> float:
    newer = value  # values count from 1, so this is the index of value + 1
    if newer < len(times_ms) and times_ms[newer] <= started_ms:
        return started_ms - times_ms[newer]
    return FRESH
