"""The change index: key → LSN of its last change. WATCH and the edge's fills ask it.

Two generations bound it: when the newer one is full or old, it becomes the older, and what the former older one knew is
forgotten. Below the floor nothing is known, and everything counts as changed. Changes are many and questions few: a
change is only put down, and a question first enters what was put down since the last one.
"""


class Generation:
    """The changes of a span of LSNs."""

    def __init__(self, after_lsn: int, since_ms: int) -> None:
        self.after_lsn = after_lsn  # it begins here, without this one
        self.since_ms = since_ms
        self.n_changes = 0
        self.keys: list[bytes] = []  # put down, not entered yet,
        self.lsns: list[int] = []  # and when each changed
        self.last: dict[bytes, int] = {}

    def last_change(self, key: bytes) -> int:
        """The LSN of the last change of `key`; 0 if there was none."""
        if self.keys:
            for i, changed in enumerate(self.keys):
                self.last[changed] = self.lsns[i]
            self.keys = []
            self.lsns = []
        return self.last.get(key, 0)


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

    def note(self, keys: list[bytes], lsn: int, time_ms: int) -> None:
        """The entry at `lsn` changed `keys`."""
        newer = self.newer
        if newer.n_changes >= self.generation_changes or time_ms - newer.since_ms >= self.min_age_ms:
            newer = self._turn(lsn - 1, time_ms)
        for key in keys:
            newer.keys.append(key)
            newer.lsns.append(lsn)
            newer.n_changes += 1

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
