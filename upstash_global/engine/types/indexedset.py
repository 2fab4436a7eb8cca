"""IndexedSet: members with O(1) add, remove and random pick, and a cursor that survives changes.

A dict from member to slot and a list of members. Removal moves the last member into the gap. Order follows the history
of changes alone, never a hash seed, so every node that applied the same entries has the same order.

A scan counts its cursor *down*: it visits slot cursor-1, cursor-2, … 0. A removal only moves the last member to a lower
slot, so a member that stays throughout may be seen twice and is never missed.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


class IndexedSet:
    __slots__ = ("slots", "members", "encoding")

    def __init__(self) -> None:
        self.slots: dict[bytes, int] = {}
        self.members: list[bytes] = []
        self.encoding = 0  # for sets of the keyspace: what OBJECT ENCODING says; see commands/sets.py

    def add(self, member: bytes) -> bool:
        """True if the member is new."""
        slots = self.slots
        if member in slots:
            return False
        slots[member] = len(self.members)
        self.members.append(member)
        return True

    def extend(self, members: list[bytes]) -> None:
        """Add many; those that are there already stay where they are."""
        slots = self.slots
        for member in members:
            if member not in slots:
                slots[member] = len(self.members)
                self.members.append(member)

    def remove(self, member: bytes) -> bool:
        """True if the member was there."""
        slot = self.slots.pop(member, -1)
        if slot < 0:
            return False
        last = self.members.pop()
        if slot < len(self.members):
            self.members[slot] = last
            self.slots[last] = slot
        return True

    def random(self, random: "Random") -> bytes:
        """One member; the set must not be empty."""
        return self.members[int(random.random() * len(self.members))]

    def pick(self, random: "Random", count: int) -> list[bytes]:
        """Up to `count` distinct members, or with a negative count that many, repeats allowed. The set must not be empty."""
        members = self.members
        n = len(members)
        if count >= n:
            return list(members)
        if count >= 0:
            picked: list[bytes] = random.sample(members, count)
            return picked
        return [members[int(random.random() * n)] for _ in range(-count)]

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Up to `count` members below `cursor` (0 starts at the top) and the next cursor, 0 at the end."""
        top = len(self.members) if cursor == 0 else min(cursor, len(self.members))
        bottom = max(0, top - count)
        return bottom, self.members[bottom:top][::-1]

    def __contains__(self, member: object) -> bool:
        return member in self.slots

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.members)
