"""The change index: key → LSN of its last change. WATCH and the edge's fills ask it.

Two generations of a dict bound it: when the newer one is full or old, it becomes the older, and what the former older one
knew is forgotten. Below the floor nothing is known, and everything counts as changed.
"""


class Changes:
    def __init__(self, max_keys: int = 1_000_000, min_age_ms: int = 60_000) -> None:
        self.generation_keys = max(1, max_keys // 2)
        self.min_age_ms = min_age_ms
        self.floor = 0  # LSN from which on every change is known
        self.flushed = 0  # LSN of the last flush
        self.newer: dict[bytes, int] = {}
        self.older: dict[bytes, int] = {}
        self.newer_since_lsn = 0  # the older generation ends here
        self.newer_since_ms = -1

    def note(self, keys: list[bytes], lsn: int, time_ms: int) -> None:
        """The entry at `lsn` changed `keys`."""
        newer = self.newer
        if len(newer) >= self.generation_keys or time_ms - self.newer_since_ms >= self.min_age_ms:
            self._turn(lsn - 1, time_ms)
            newer = self.newer
        for key in keys:
            newer[key] = lsn

    def note_flush(self, lsn: int) -> None:
        """The entry at `lsn` removed every key that was there."""
        self.flushed = lsn

    def reset(self, lsn: int) -> None:
        """Start afresh at `lsn`: what changed up to there is not known."""
        self.floor = lsn
        self.flushed = 0
        self.newer = {}
        self.older = {}
        self.newer_since_lsn = lsn
        self.newer_since_ms = -1

    def changed_after(self, key: bytes, lsn: int, was_there: bool = True) -> bool:
        """Whether an entry above `lsn` changed `key`; True below the floor, where it is not known.

        A flush changes only what `was_there`.
        """
        if lsn < self.floor or (was_there and lsn < self.flushed):
            return True
        changed = self.newer.get(key)
        if changed is None:
            changed = self.older.get(key, 0)
        return changed > lsn

    def __len__(self) -> int:
        return len(self.newer) + len(self.older)

    def _turn(self, lsn: int, time_ms: int) -> None:
        if not self.newer:
            self.newer_since_ms = time_ms
            return
        self.floor = self.newer_since_lsn
        self.older = self.newer
        self.newer = {}
        self.newer_since_lsn = lsn
        self.newer_since_ms = time_ms
