"""Positions, epochs and histories: how two nodes say where in the log they are.

A position is (epoch, LSN). The LSN counts entries and goes on across epochs; the epoch says under which leader's reign
the entry was written. LSNs are compared within one history only: above a fork point the same LSN recurs under a higher
epoch, the same position never does. A Position therefore has no order, and whoever needs one asks the History.
"""

from bisect import bisect_right
from typing import Any, Final


class Position:
    """Where an entry stands; immutable by convention."""

    __slots__ = ("epoch", "lsn")

    def __init__(self, epoch: int, lsn: int) -> None:
        self.epoch = epoch
        self.lsn = lsn

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Position) and other.lsn == self.lsn and other.epoch == self.epoch

    def __hash__(self) -> int:
        return hash((self.epoch, self.lsn))

    def __repr__(self) -> str:
        return f"({self.epoch}, {self.lsn})"


START: Final = Position(0, 0)  # before the first entry; on every history
NEVER: Final = Position((1 << 64) - 1, (1 << 64) - 1)  # on no history


def later(one: Position, other: Position) -> Position:
    """The one that whoever has been told of both has to wait for: of a later epoch, or further on in the same."""
    if one.epoch != other.epoch:
        return one if one.epoch > other.epoch else other
    return one if one.lsn > other.lsn else other


_START_BITS: Final = 24
_NODE_BITS: Final = 8


def make_epoch(term: int, start: int, node: int) -> int:
    """An epoch as one number: term (32 bits) · start count (24) · node index (8).

    Only a promotion raises the term, a leader's start raises the start count; so a restarted leader never equals or
    outranks a promotion.
    """
    assert 0 <= term < 1 << 32 and 0 <= start < 1 << _START_BITS and 0 <= node < 1 << _NODE_BITS
    return (term << (_START_BITS + _NODE_BITS)) | (start << _NODE_BITS) | node


def epoch_parts(epoch: int) -> tuple[int, int, int]:
    """(term, start count, node index) of an epoch."""
    return (
        epoch >> (_START_BITS + _NODE_BITS),
        (epoch >> _NODE_BITS) & ((1 << _START_BITS) - 1),
        epoch & ((1 << _NODE_BITS) - 1),
    )


class History:
    """Which epoch wrote which LSNs, up to a head.

    `head_bytes` counts the record bytes of all entries up to the head. Records are the same bytes on every node, so it is
    a function of the position, and two nodes may subtract theirs to learn how many bytes they are apart.
    """

    def __init__(self) -> None:
        self.starts: list[tuple[int, int]] = []  # (epoch, first LSN), both strictly ascending
        self.head_lsn = 0
        self.head_bytes = 0

    def begin(self, epoch: int, first_lsn: int) -> None:
        """Note that `epoch` starts at `first_lsn`, the LSN after the head."""
        assert first_lsn == self.head_lsn + 1, f"epoch {epoch} starts at {first_lsn}, the head is {self.head_lsn}"
        assert epoch > self.epoch, f"epoch {epoch} does not follow epoch {self.epoch}"
        self.starts.append((epoch, first_lsn))

    @property
    def epoch(self) -> int:
        """The newest epoch; 0 before the first."""
        return self.starts[-1][0] if self.starts else 0

    def epoch_at(self, lsn: int) -> int:
        """The epoch that wrote `lsn`, or would write it above the head; 0 before the first entry."""
        starts = self.starts
        if starts and lsn >= starts[-1][1]:
            return starts[-1][0]
        i = bisect_right(starts, lsn, key=_first_lsn)
        return starts[i - 1][0] if i else 0

    def position_at(self, lsn: int) -> Position:
        return Position(self.epoch_at(lsn), lsn)

    def contains(self, position: Position) -> bool:
        """Whether this history, which ends at its head, went through `position`."""
        return position.lsn <= self.head_lsn and self.epoch_at(position.lsn) == position.epoch

    def fork_point(self, epoch: int) -> int | None:
        """The last LSN of `epoch` on this history; None for an epoch that it does not know."""
        starts = self.starts
        if epoch == 0:
            return starts[0][1] - 1 if starts else self.head_lsn
        for i in range(len(starts) - 1, -1, -1):
            if starts[i][0] == epoch:
                return starts[i + 1][1] - 1 if i + 1 < len(starts) else self.head_lsn
        return None

    def locate(self, epoch: int, lsn: int) -> Position:
        """Where `lsn` stands here, counted along the history that led to `epoch`.

        (epoch, lsn) as it is when this history has not come there, or went another way.
        """
        end_lsn = self.fork_point(epoch)
        return Position(epoch, lsn) if end_lsn is None or lsn > end_lsn else self.position_at(lsn)

    def common_lsn(self, other: "History") -> int:
        """The last LSN up to which both histories are the same; 0 when they share nothing.

        An epoch has one leader, so where both know it they agree up to the earlier end.
        """
        mine = dict(self.starts)
        for epoch, first_lsn in reversed(other.starts):
            if mine.get(epoch) == first_lsn:
                my_end, other_end = self.fork_point(epoch), other.fork_point(epoch)
                assert my_end is not None and other_end is not None
                return min(my_end, other_end)
        return 0

    def fork_from(self, other: "History") -> int | None:
        """The last LSN before the two went different ways; None while one is merely behind the other."""
        lsn = self.common_lsn(other)
        return lsn if lsn < min(self.head_lsn, other.head_lsn) else None

    def truncate(self, lsn: int, head_bytes: int = 0) -> None:
        """Forget what lies above `lsn`; `head_bytes` is the count up to there."""
        self.starts = [start for start in self.starts if start[1] <= lsn]
        self.head_lsn = lsn
        self.head_bytes = head_bytes

    def copy(self) -> "History":
        return History.from_plain(self.to_plain())

    def to_plain(self) -> list[Any]:
        """[head LSN, head bytes, [[epoch, first LSN], …]], for messages and snapshots."""
        return [self.head_lsn, self.head_bytes, [[epoch, first_lsn] for epoch, first_lsn in self.starts]]

    @staticmethod
    def from_plain(plain: list[Any]) -> "History":
        history = History()
        history.head_lsn = plain[0]
        history.head_bytes = plain[1]
        history.starts = [(epoch, first_lsn) for epoch, first_lsn in plain[2]]
        return history


def _first_lsn(start: tuple[int, int]) -> int:
    return start[1]
