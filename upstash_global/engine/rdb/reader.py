"""Reader: a cursor over a payload that somebody else made.

Every step is checked against the end of the bytes, and what a payload makes of itself is paid from a budget before it is
made: a few bytes may stand for much (a compressed string, a listpack of numbers), and nobody's payload may fill the memory.
"""

from struct import Struct
from typing import Final

from upstash_global.engine.rdb.lzf import LARGEST_RATIO, expand
from upstash_global.errors import DumpError

LENGTH_6_BITS: Final = 0
LENGTH_14_BITS: Final = 1
LENGTH_32_BITS: Final = 0x80
LENGTH_64_BITS: Final = 0x81
ENCODED: Final = 3  # in the upper two bits: a string in another form
INTEGER_8: Final = 0
INTEGER_16: Final = 1
INTEGER_32: Final = 2
COMPRESSED: Final = 3

ITEM_BYTES: Final = 64  # about what an element, a field or an id takes beside its bytes

_MILLISECONDS: Final = Struct("<q")
_DOUBLE: Final = Struct("<d")


class Reader:
    def __init__(self, data: bytes, end: int, budget_bytes: int) -> None:
        self.data = data
        self.at = 0
        self.end = end  # of what may be read
        self.left_bytes = budget_bytes  # that may still be made of it

    def spend(self, n_items: int, n_bytes: int) -> None:
        """Pay for what is about to be made. Raises DumpError when that is too much."""
        self.left_bytes -= n_items * ITEM_BYTES + n_bytes
        if self.left_bytes < 0:
            raise DumpError("the value would be too large")

    def take(self, n: int) -> bytes:
        """The next `n` bytes."""
        at = self.at
        if n < 0 or n > self.end - at:
            raise DumpError("the payload ends too early")
        self.at = at + n
        return self.data[at : at + n]

    def byte(self) -> int:
        at = self.at
        if at >= self.end:
            raise DumpError("the payload ends too early")
        self.at = at + 1
        return self.data[at]

    def length(self) -> int:
        """A number of 0 to 2**64 - 1: a length, or any other in that form."""
        first = self.byte()
        kind = first >> 6
        if kind == ENCODED:
            raise DumpError("a length is no number")
        return self._length(first, kind)

    def _length(self, first: int, kind: int) -> int:
        if kind == LENGTH_6_BITS:
            return first & 0x3F
        if kind == LENGTH_14_BITS:
            return (first & 0x3F) << 8 | self.byte()
        if first == LENGTH_32_BITS:
            return int.from_bytes(self.take(4), "big")
        if first == LENGTH_64_BITS:
            return int.from_bytes(self.take(8), "big")
        raise DumpError("a length of no known form")

    def count(self, least_bytes: int) -> int:
        """How many items follow, each of at least so many bytes; at least one."""
        n = self.length()
        if n == 0:
            raise DumpError("an empty value")
        if n > (self.end - self.at) // least_bytes:
            raise DumpError("more items are promised than there are bytes")
        self.spend(n, 0)
        return n

    def string(self) -> bytes:
        """A string in any of its forms."""
        first = self.byte()
        kind = first >> 6
        if kind != ENCODED:
            n = self._length(first, kind)
            if n > self.end - self.at:
                raise DumpError("the payload ends too early")
            self.spend(0, n)
            return self.take(n)
        form = first & 0x3F
        if form <= INTEGER_32:
            return b"%d" % int.from_bytes(self.take(1 << form), "little", signed=True)
        if form != COMPRESSED:
            raise DumpError("a string of no known form")
        n_compressed = self.length()
        n = self.length()
        if n == 0 or n > n_compressed * LARGEST_RATIO or n_compressed > self.end - self.at:
            raise DumpError("a compressed string of impossible length")
        self.spend(0, n)
        return expand(self.take(n_compressed), n)

    def milliseconds(self) -> int:
        """A signed 64-bit time."""
        time_ms: int = _MILLISECONDS.unpack(self.take(8))[0]
        return time_ms

    def double(self) -> float:
        value: float = _DOUBLE.unpack(self.take(8))[0]
        return value
