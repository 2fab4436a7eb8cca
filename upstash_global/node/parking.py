"""Parked sessions: those that wait for a condition or a deadline.

A session that cannot be answered yet is parked with an attempt: a function of the key that changed (empty when it is
another cause) that returns its reply, or PENDING to go on waiting. It is tried when one of its keys changes (first come, first served), when `wake_all` is called for its cause, or
ends with `timeout_reply` at its deadline.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from upstash_global.node.session import Session
from upstash_global.reply import PENDING, Reply

NOTED_LATER: Final = ("blocked", "sleep")  # causes of waits at whose end the duration of the command is noted


class Parked:
    __slots__ = ("session", "attempt", "deadline_ms", "timeout_reply", "keys", "cause", "needs_key", "is_over")

    def __init__(
        self,
        session: Session,
        attempt: Callable[[bytes], Reply],
        deadline_ms: int,
        timeout_reply: Callable[[], Reply],
        keys: list[bytes],
        cause: str,
        needs_key: bool = False,
    ) -> None:
        self.session = session
        self.attempt = attempt
        self.deadline_ms = deadline_ms  # leader time in milliseconds; 0 for none
        self.timeout_reply = timeout_reply
        self.keys = keys
        self.cause = cause
        self.needs_key = needs_key  # a consumer: it is answered, too, when its key goes
        self.is_over = False


class Parking:
    def __init__(self) -> None:
        self.by_session: dict[int, Parked] = {}
        self.by_key: dict[bytes, deque[Parked]] = {}
        self.by_cause: dict[str, dict[int, Parked]] = {}
        self.deadlines: list[tuple[int, int, Parked]] = []
        self.n_parked = 0  # ever; orders equal deadlines

    def park(self, parked: Parked) -> None:
        self.by_session[parked.session.id] = parked
        for key in parked.keys:
            self.by_key.setdefault(key, deque()).append(parked)
        if parked.cause:
            self.by_cause.setdefault(parked.cause, {})[parked.session.id] = parked
        if parked.deadline_ms:
            self.n_parked += 1
            heappush(self.deadlines, (parked.deadline_ms, self.n_parked, parked))

    def release(self, session: Session) -> Parked | None:
        """Forget the session's parking, because it was answered or is gone."""
        parked = self.by_session.pop(session.id, None)
        if parked is None:
            return None
        parked.is_over = True
        for key in parked.keys:
            waiting = self.by_key.get(key)
            if waiting is not None:
                while waiting and waiting[0].is_over:
                    waiting.popleft()
                if not waiting:
                    del self.by_key[key]
        if parked.cause:
            self.by_cause[parked.cause].pop(session.id, None)
        return parked

    def needed_keys(self) -> int:
        """How many keys there are whose end would answer somebody."""
        return sum([any([parked.needs_key and not parked.is_over for parked in them]) for them in self.by_key.values()])

    def is_noted_later(self, session: Session) -> bool:
        """Whether this session's command counts for the statistics when it has ended."""
        parked = self.by_session.get(session.id)
        return parked is not None and parked.cause in NOTED_LATER

    def wake_keys(self, keys: list[bytes]) -> list[tuple[Session, Reply]]:
        """Try those who wait for one of the keys, oldest first; those answered are released."""
        answered: list[tuple[Session, Reply]] = []
        for key in keys:
            for parked in list(self.by_key.get(key, ())):
                if not parked.is_over:
                    self._try(parked, key, answered)
        return answered

    def wake_all(self, cause: str) -> list[tuple[Session, Reply]]:
        """Try everyone parked for this cause."""
        answered: list[tuple[Session, Reply]] = []
        for parked in list(self.by_cause.get(cause, {}).values()):
            self._try(parked, b"", answered)
        return answered

    def expire(self, now_ms: int) -> list[tuple[Session, Reply]]:
        """End those whose deadline has come, with their timeout reply."""
        answered: list[tuple[Session, Reply]] = []
        while self.deadlines and self.deadlines[0][0] <= now_ms:
            parked = heappop(self.deadlines)[2]
            if not parked.is_over:
                self.release(parked.session)
                answered.append((parked.session, parked.timeout_reply()))
        return answered

    def _try(self, parked: Parked, key: bytes, answered: list[tuple[Session, Reply]]) -> None:
        reply = parked.attempt(key)
        if reply is not PENDING:
            self.release(parked.session)
            answered.append((parked.session, reply))
