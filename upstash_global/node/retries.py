"""Remembered requests: what a request with an Idempotency-Key was answered, so that it runs once however often it is sent.

Such a request runs as one unit and gives one entry that carries its answer, also when it changed nothing or failed by its
own error; so any node, also after a restart or a failover, answers a retry with the first answer. A system table: it changes
only by applied entries, and is bounded by them on every node alike: in count, in bytes, and in age by the entries' times.

A key belongs to a user. The fingerprint says what was asked: the same key with another request is refused. An answer over
MAX_ANSWER_BYTES is not kept, and a retry is told that. What did not run (no leader, too busy, a precondition) is not kept.
"""

from typing import Any, Final

from upstash_global.errors import CommandError
from upstash_global.node.answers import MAX_ANSWER_BYTES, TOO_LONG
from upstash_global.replication.codec import Entry
from upstash_global.reply import PENDING, Reply, pack, unpack

MAX_REQUESTS: Final = 10_000
MAX_BYTES: Final = 64 << 20  # of all answers
MAX_AGE_MS: Final = 24 * 3600 * 1000

KEY_REUSED: Final = CommandError("KEYREUSED", "this Idempotency-Key belongs to another request; not executed")
ANSWER_LOST: Final = CommandError(
    "ANSWERLOST", "this request ran before, but its answer was too long to be remembered; not executed again"
)


class Once:
    """A request that is to run once: its client's key, and a fingerprint of what it asks."""

    __slots__ = ("key", "fingerprint")

    def __init__(self, key: bytes, fingerprint: bytes) -> None:
        self.key = key
        self.fingerprint = fingerprint


class Ran:
    """A request that ran."""

    __slots__ = ("time_ms", "fingerprint", "answer")

    def __init__(self, time_ms: int, fingerprint: bytes, answer: bytes) -> None:
        self.time_ms = time_ms  # of its entry
        self.fingerprint = fingerprint
        self.answer = answer  # packed; TOO_LONG when it was


class Retries:
    def __init__(self) -> None:
        self.requests: dict[tuple[bytes, bytes], Ran] = {}  # (user, key), the oldest first
        self.n_bytes = 0

    def attributes(self, user: bytes, once: Once, reply: Reply) -> dict[str, Any]:
        """What the entry of a request carries so that every node remembers its answer."""
        packed = pack(reply)
        return {"r": [user, once.key, once.fingerprint], "a": packed if len(packed) <= MAX_ANSWER_BYTES else TOO_LONG}

    def note(self, entry: Entry) -> None:
        """Remember the request that an applied entry answers, if it does, and forget what is too old or too much."""
        if "r" not in entry.attributes:
            return
        user, key, fingerprint = entry.attributes["r"]
        self._forget((user, key))
        self._put((user, key), Ran(entry.time_ms, fingerprint, entry.attributes["a"]))
        while self.requests:
            oldest = next(iter(self.requests))
            is_old = self.requests[oldest].time_ms < entry.time_ms - MAX_AGE_MS
            if not is_old and len(self.requests) <= MAX_REQUESTS and self.n_bytes <= MAX_BYTES:
                return
            self._forget(oldest)

    def answer(self, user: bytes, once: Once, now_ms: int) -> Reply:
        """What a request was answered when it ran; PENDING if it has not run, an error if it cannot be told."""
        ran = self.requests.get((user, once.key))
        if ran is None or ran.time_ms < now_ms - MAX_AGE_MS:
            return PENDING
        if ran.fingerprint != once.fingerprint:
            return KEY_REUSED
        return ANSWER_LOST if ran.answer == TOO_LONG else unpack(ran.answer)

    def dump(self) -> Any:
        return [[user, key, ran.time_ms, ran.fingerprint, ran.answer] for (user, key), ran in self.requests.items()]

    def load(self, plain: Any) -> None:
        self.requests = {}
        self.n_bytes = 0
        for user, key, time_ms, fingerprint, answer in plain or []:
            self._put((user, key), Ran(time_ms, fingerprint, answer))

    def _put(self, name: tuple[bytes, bytes], ran: Ran) -> None:
        self.requests[name] = ran
        self.n_bytes += len(ran.answer)

    def _forget(self, name: tuple[bytes, bytes]) -> None:
        ran = self.requests.pop(name, None)
        if ran is not None:
            self.n_bytes -= len(ran.answer)
