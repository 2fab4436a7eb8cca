"""SortedSet: members with scores, ordered by (score, member)."""

from collections.abc import Iterator


class SortedSet:
    __slots__ = ("scores", "encoding")

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.encoding = 0

    def __len__(self) -> int:
        return len(self.scores)

    def items(self) -> Iterator[tuple[bytes, float]]:
        """(member, score), ascending by score, then by member."""
        for score, member in sorted((score, member) for member, score in self.scores.items()):
            yield member, score

    def add(self, member: bytes, score: float) -> bool:
        """Set the score of a member; True if it is new."""
        is_new = member not in self.scores
        self.scores[member] = score
        return is_new
