"""Counters of a node. INFO and the metrics port read them; nothing here decides anything."""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import Final

from upstash_global.engine.table import Row
from upstash_global.errors import CommandError

SAMPLE_MS: Final = 100
N_SAMPLES: Final = 16
MAX_CODES: Final = 128  # of errors that are told apart; scripts make up their own
TOO_MANY_CODES: Final = "ERRORSTATS_DISABLED"  # Redis's word in place of all of them
BOUNDS_MS: Final = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000]


class Rates:
    """Commands and bytes per second, as the mean over the last samples."""

    def __init__(self) -> None:
        self.sampled_ms = 0
        self.totals = [0] * 7  # commands; bytes in and out, of clients and of links; turns and their µs; at that time
        self.samples: deque[list[int]] = deque(maxlen=N_SAMPLES)  # per second

    def note(self, local_ms: int, totals: list[int]) -> None:
        took_ms = local_ms - self.sampled_ms
        if self.sampled_ms:
            pairs = zip(totals, self.totals, strict=True)
            self.samples.append([max(0, now - before) * 1000 // took_ms for now, before in pairs])
        self.sampled_ms = local_ms
        self.totals = totals

    def per_second(self, which: int) -> int:
        """0: commands, 1: bytes in, 2: bytes out, 3 and 4: the same on links between nodes, 5: turns, 6: their µs."""
        return sum([sample[which] for sample in self.samples]) // max(1, len(self.samples))


class Durations:
    """How long something took: a count for each bound, the sum of all, and how many there were."""

    def __init__(self) -> None:
        self.counts = [0] * (
            len(BOUNDS_MS) + 1
        )  # of those up to each bound and above the one before; then of the longer
        self.sum_ms = 0
        self.n = 0

    def note(self, took_ms: int) -> None:
        self.counts[bisect_left(BOUNDS_MS, took_ms)] += 1
        self.sum_ms += took_ms
        self.n += 1


class Traffic:
    """Bytes of messages on the links between nodes: the log, snapshots, heartbeats, forwarded commands."""

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0


class Metrics:
    def __init__(self) -> None:
        self.n_connections = 0  # ever
        self.n_rejected_connections = 0
        self.n_slow_clients = 0  # cut off because they left too much unread
        self.n_verbose_clients = 0  # cut off because of a command that was too large
        self.n_commands = 0
        self.n_turns = 0  # passes of the event loop in which anything happened
        self.loop_us: Callable[[], int] = _none  # CPU time of the loop's thread since it began; a shell knows it
        self.loop_us_before = 0  # of that, what does not count any more
        self.n_errors = 0
        self.errors_by_code: dict[str, int] = {}
        self.bytes_in = 0
        self.bytes_out = 0
        self.links = Traffic()  # the shell's links count in it
        self.n_http_requests = 0
        self.n_full_resyncs = 0
        self.n_divergent_entries = 0
        self.torn_bytes = 0
        self.n_slow = 0
        self.n_failed_logins = 0
        self.n_expired = 0  # keys that the sweep removed
        self.n_expired_fields = 0  # of hashes, that it removed
        self.highest_used_bytes = 0  # of the data, as far as anybody asked
        self.rates = Rates()
        self.n_denied = {"command": 0, "key": 0, "channel": 0}

    @property
    def turns_us(self) -> int:
        """What all turns took."""
        return self.loop_us() - self.loop_us_before

    def note_refusal(self, refusal: CommandError) -> None:
        if refusal.is_counted:
            return
        self.n_errors += 1
        by_code = self.errors_by_code
        if refusal.code in by_code:
            by_code[refusal.code] += 1
        elif len(by_code) < MAX_CODES and TOO_MANY_CODES not in by_code:
            by_code[refusal.code] = 1
        elif TOO_MANY_CODES not in by_code:
            by_code.clear()
            by_code[TOO_MANY_CODES] = 1

    def note_failure(self, row: Row | None, failure: CommandError, was_blocked: bool = False) -> None:
        """A command that had to wait has failed in the end; one that was blocked counts only now."""
        if row is not None:
            row.failed_calls += 1
            row.calls += was_blocked
        self.note_refusal(failure)

    def tick(self, local_ms: int) -> None:
        if local_ms - self.rates.sampled_ms >= SAMPLE_MS:
            links = self.links
            traffic = [self.bytes_in, self.bytes_out, links.bytes_in, links.bytes_out]
            self.rates.note(local_ms, [self.n_commands, *traffic, self.n_turns, self.turns_us])

    def reset(self) -> None:
        """CONFIG RESETSTAT."""
        self.n_connections = 0
        self.n_rejected_connections = 0
        self.n_slow_clients = 0
        self.n_verbose_clients = 0
        self.n_commands = 0
        self.n_turns = 0
        self.loop_us_before = self.loop_us()
        self.n_errors = 0
        self.errors_by_code.clear()
        self.bytes_in = 0
        self.bytes_out = 0
        self.links.bytes_in = 0
        self.links.bytes_out = 0
        self.n_expired = 0
        self.n_expired_fields = 0
        self.highest_used_bytes = 0
        self.rates = Rates()


def _none() -> int:
    return 0
