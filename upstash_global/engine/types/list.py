"""List: elements in order, cheap to change at both ends and to reach at any index.

    front   [b, a]         the first elements, the very first at the end
    back    [c, d, e]      the others
                           together: a b c d e

A push or a pop is one at the end of a Python list. A pop from an empty half takes over half of the other one, so that each
element is moved at most about twice in its life however the list is used as a queue.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

LOPSIDED: Final = 4  # so many times more elements to move than the other half has: halve them first
FEW: Final = 1024  # elements that are moved in no time


class List:
    __slots__ = ("front", "back")

    def __init__(self, elements: list[bytes] | None = None) -> None:
        """The list takes `elements` over: nobody else may go on with them."""
        self.front: list[bytes] = []
        self.back: list[bytes] = [] if elements is None else elements

    def __len__(self) -> int:
        return len(self.front) + len(self.back)

    def __iter__(self) -> Iterator[bytes]:
        return chain(reversed(self.front), self.back)

    def from_end(self) -> Iterator[bytes]:
        """The elements, the last one first."""
        return chain(reversed(self.back), self.front)

    # -- at an index, from 0 to the length - 1 --------------------------------------------------------------------

    def get(self, index: int) -> bytes:
        n_front = len(self.front)
        return self.front[n_front - 1 - index] if index < n_front else self.back[index - n_front]

    def set(self, index: int, element: bytes) -> None:
        n_front = len(self.front)
        if index < n_front:
            self.front[n_front - 1 - index] = element
        else:
            self.back[index - n_front] = element

    def insert(self, index: int, element: bytes) -> None:
        """The element gets this index; those from there on move up.

        What moves is what lies between it and the nearer end of the list, once the halves are not too unequal.
        """
        n_front, n_back = len(self.front), len(self.back)
        if index < n_front and index > LOPSIDED * n_back + FEW:
            self.back = _far_half(self.front) + self.back
        elif n_front <= index and n_back - (index - n_front) > LOPSIDED * n_front + FEW:
            self.front = _far_half(self.back) + self.front
        n_front = len(self.front)
        if index < n_front:
            self.front.insert(n_front - index, element)
        else:
            self.back.insert(index - n_front, element)

    def slice(self, start: int, stop: int) -> list[bytes]:
        """The elements of start to stop - 1 (0 ≤ start ≤ stop ≤ the length)."""
        n_front = len(self.front)
        if start >= n_front:
            return self.back[start - n_front : stop - n_front]
        if stop <= n_front:
            found = self.front[n_front - stop : n_front - start]
            found.reverse()
            return found
        found = self.front[: n_front - start]
        found.reverse()
        found += self.back[: stop - n_front]
        return found

    def elements(self) -> list[bytes]:
        """All of them, as a new list."""
        return self.slice(0, len(self))

    # -- elements that equal --------------------------------------------------------------------------------------

    def count(self, element: bytes) -> int:
        return self.front.count(element) + self.back.count(element)

    def find(self, element: bytes) -> int:
        """The index of the first that equals; -1 if none does."""
        for index, each in enumerate(self):
            if each == element:
                return index
        return -1

    # -- at the ends ----------------------------------------------------------------------------------------------

    def append(self, element: bytes) -> None:
        self.back.append(element)

    def append_left(self, element: bytes) -> None:
        self.front.append(element)

    def extend(self, elements: list[bytes]) -> None:
        self.back += elements

    def extend_left(self, elements: list[bytes]) -> None:
        """Each comes before the one before."""
        self.front += elements

    def pop(self) -> bytes:
        """Remove the last element; there must be one."""
        if not self.back:
            self.back = _far_half(self.front)
        return self.back.pop()

    def pop_left(self) -> bytes:
        """Remove the first element; there must be one."""
        if not self.front:
            self.front = _far_half(self.back)
        return self.front.pop()


def _far_half(elements: list[bytes]) -> list[bytes]:
    """Take the larger half out of the beginning of a list; reversed, as the other side keeps it."""
    n = (len(elements) + 1) // 2
    half = elements[:n]
    half.reverse()
    del elements[:n]
    return half
