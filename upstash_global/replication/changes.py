"""The change index: key → LSN of its last change. WATCH and the edge's fills ask it.

WATCH does not see all changes (see `Context.save_unwatched`): where the last one of a key is such a one, the index also
knows the last before it that WATCH does see.

Two generations bound it: when the newer one is full or old, it becomes the older, and what the former older one knew is
forgotten. Below the floor nothing is known, and everything counts as changed. Changes are many and questions few: a
change is only put down, and a question first enters what was put down since the last one.
"""

from typing import Final

_NO_KEYS: Final[list[bytes]] = []


class Generation:
    """The changes of a span of LSNs."""

    def __init__(self, after_lsn: int, since_ms: int) -> None:
        self.after_lsn = after_lsn  # it begins here, without this one
        self.since_ms = since_ms
        self.n_changes = 0
        self.keys: list[bytes] = []  # put down, not entered yet; mostly each in the entry after that of the one before:
        self.runs: list[int] = []  # the indices of keys that begin such a run,
        self.run_lsns: list[int] = []  # and when each of these changed
        self.next_lsn = 0  # of a key that would go on with the last run
        self.last: dict[bytes, int] = {}
        self.unwatched: dict[
            bytes, tuple[int, int]
        ] = {}  # (a change that WATCH does not see, the last before that it sees)

    def note(self, keys: list[bytes], lsn: int) -> None:
        for key in keys:
            if lsn != self.next_lsn:
                self.runs.append(len(self.keys))
                self.run_lsns.append(lsn)
            self.next_lsn = lsn + 1
            self.keys.append(key)
        self.n_changes += len(keys)

    def last_change(self, key: bytes) -> int:
        """The LSN of the last change of `key`; 0 if there was none."""
        if self.keys:
            self._enter()
        return self.last.get(key, 0)

    def _enter(self) -> None:
        """Enter what was put down."""
        keys = self.keys
        begin = 0
        for n, lsn in enumerate(self.run_lsns):
            end = self.runs[n + 1] if n + 1 < len(self.runs) else len(keys)
            for i in range(begin, end):
                self.last[keys[i]] = lsn + i - begin
            begin = end
        self.keys = []
        self.runs = []
        self.run_lsns = []
        self.next_lsn = 0


class Changes:
    def __init__(self, max_changes: int = 262_144, min_age_ms: int = 60_000) -> None:
        self.generation_changes = max(1, max_changes // 2)
        self.min_age_ms = min_age_ms
        self.older = Generation(0, -1)
        self.newer = Generation(0, -1)
        self.flushed_lsn = 0  # of the last flush

    @property
    def floor(self) -> int:
        """The LSN from which on every change is known."""
        return self.older.after_lsn

    def note(self, keys: list[bytes], lsn: int, time_ms: int, unwatched: list[bytes] = _NO_KEYS) -> None:
        """The entry at `lsn` changed `keys`, repeats included; WATCH does not see those changes that are `unwatched`."""
        newer = self.newer
        if newer.n_changes >= self.generation_changes or time_ms - newer.since_ms >= self.min_age_ms:
            newer = self._turn(lsn - 1, time_ms)
        if unwatched:
            self._note_unwatched(keys, lsn, unwatched)
        newer.note(keys, lsn)

    def _note_unwatched(self, keys: list[bytes], lsn: int, unwatched: list[bytes]) -> None:
        n_seen = dict.fromkeys(unwatched, 0)  # changes of the key by this entry that WATCH sees
        for key in keys:
            if key in n_seen:
                n_seen[key] += 1
        for key in unwatched:
            n_seen[key] -= 1
        for key, n in n_seen.items():
            if not n:
                self.newer.unwatched[key] = (lsn, self._last_watched(key))

    def note_flush(self, lsn: int) -> None:
        """The entry at `lsn` removed every key that was there."""
        self.flushed_lsn = lsn

    def reset(self, lsn: int) -> None:
        """Start afresh at `lsn`: what changed up to there is not known."""
        self.older = Generation(lsn, -1)
        self.newer = Generation(lsn, -1)
        self.flushed_lsn = 0

    def changed_after(self, key: bytes, lsn: int, was_there: bool = True) -> bool:
        """Whether an entry above `lsn` changed `key`; True below the floor, where it is not known.

        A flush changes only what `was_there`.
        """
        if lsn < self.floor or (was_there and lsn < self.flushed_lsn):
            return True
        return self.newer.last_change(key) > lsn or self.older.last_change(key) > lsn

    def changed_for_watch(self, key: bytes, lsn: int, was_there: bool) -> bool:
        """As `changed_after`, for a transaction that watches the key since `lsn`."""
        if lsn < self.floor or (was_there and lsn < self.flushed_lsn):
            return True
        return self._last_watched(key) > lsn

    def _last_watched(self, key: bytes) -> int:
        """The LSN of the last change of `key` that WATCH sees."""
        last = self.last_change(key)
        unwatched, before = self.newer.unwatched.get(key) or self.older.unwatched.get(key, (0, 0))
        return before if unwatched == last else last

    @property
    def known_after(self) -> int:
        """The LSN after which the last change of every key is known: the floor, or a flush above it, which changed all."""
        return max(self.floor, self.flushed_lsn)

    def last_change(self, key: bytes) -> int:
        """The LSN of the last change of `key`; what is not above `known_after` stands for anything up to there."""
        return self.newer.last_change(key) or self.older.last_change(key)

    def __len__(self) -> int:
        return self.newer.n_changes + self.older.n_changes

    def _turn(self, lsn: int, time_ms: int) -> Generation:
        """Begin a new generation behind `lsn`; an empty one just goes on."""
        if self.newer.n_changes:
            self.older = self.newer
            self.newer = Generation(lsn, time_ms)
        else:
            self.newer.since_ms = time_ms
        return self.newer
