"""Listpacks: how Redis 7 keeps small collections, and what a dump of one holds.

    total bytes (4) | number of elements (2) | element … | 0xFF

An element is a head that says what it is and how long, its bytes or its number, and its own length backwards, from which one
can walk the other way. Whatever reads as an integer is one. Numbers are little-endian, but for lengths in heads.
"""

from typing import Final

from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.rdb.reader import Reader
from upstash_global.errors import DumpError

HEADER_BYTES: Final = 6
END: Final = 0xFF
UNKNOWN_COUNT: Final = 0xFFFF  # then the elements have to be counted


# -- reading --------------------------------------------------------------------------------------------------------


def read_listpack(reader: Reader, data: bytes) -> list[bytes]:
    """The elements, integers as their text. Raises DumpError unless every byte is as it has to be."""
    end = len(data) - 1
    if end < HEADER_BYTES or int.from_bytes(data[:4], "little") != end + 1 or data[end] != END:
        raise DumpError("a listpack of another length than it says")
    elements: list[bytes] = []
    at = HEADER_BYTES
    while at < end:
        reader.spend(1, 0)
        start = at
        head = data[at]
        if head < 0x80:
            elements.append(b"%d" % head)
            at += 1
        elif head < 0xC0:
            at = _take_string(data, at + 1, head & 0x3F, end, elements)
        elif head < 0xE0:
            _check(at + 2 <= end)
            number = (head & 0x1F) << 8 | data[at + 1]
            elements.append(b"%d" % (number - 0x2000 if number >= 0x1000 else number))
            at += 2
        elif head < 0xF0:
            _check(at + 2 <= end)
            at = _take_string(data, at + 2, (head & 0x0F) << 8 | data[at + 1], end, elements)
        elif head == 0xF0:
            _check(at + 5 <= end)
            at = _take_string(data, at + 5, int.from_bytes(data[at + 1 : at + 5], "little"), end, elements)
        elif head <= 0xF4:
            width = 8 if head == 0xF4 else head - 0xEF
            _check(at + 1 + width <= end)
            number = int.from_bytes(data[at + 1 : at + 1 + width], "little", signed=True)
            elements.append(b"%d" % number)
            at += 1 + width
        else:
            raise DumpError("a listpack with an unknown kind of element")
        back = _length_backwards(at - start)
        if data[at : at + len(back)] != back:
            raise DumpError("a listpack that cannot be walked backwards")
        at += len(back)
    _check(at == end)
    count = int.from_bytes(data[4:6], "little")
    if count not in (UNKNOWN_COUNT, len(elements)):
        raise DumpError("a listpack with another number of elements than it says")
    return elements


def _take_string(data: bytes, at: int, n: int, end: int, elements: list[bytes]) -> int:
    _check(at + n <= end)
    elements.append(data[at : at + n])
    return at + n


def _check(fits: bool) -> None:
    if not fits:
        raise DumpError("a listpack whose elements reach over its end")


# -- writing --------------------------------------------------------------------------------------------------------


class Listpack:
    """A listpack that grows at its end."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.count = 0

    def add(self, element: bytes) -> None:
        n = len(element)
        number = parse_integer(element) if 0 < n <= 20 else None
        if number is not None:
            self.add_integer(number)
        elif n < 0x40:
            self._append(bytes([0x80 | n]) + element)
        elif n < 0x1000:
            self._append(bytes([0xE0 | n >> 8, n & 0xFF]) + element)
        else:
            self._append(b"\xf0" + n.to_bytes(4, "little") + element)

    def add_integer(self, number: int) -> None:
        """A signed 64-bit number."""
        n_bits = (number if number >= 0 else ~number).bit_length() + 1
        if 0 <= number < 0x80:
            self._append(bytes([number]))
        elif n_bits <= 13:
            number &= 0x1FFF
            self._append(bytes([0xC0 | number >> 8, number & 0xFF]))
        elif n_bits <= 32:
            width = (n_bits + 7) // 8
            self._append(bytes([0xEF + width]) + number.to_bytes(width, "little", signed=True))
        else:
            self._append(b"\xf4" + number.to_bytes(8, "little", signed=True))

    def _append(self, element: bytes) -> None:
        self.body += element
        self.body += _length_backwards(len(element))
        self.count += 1

    def size(self) -> int:
        """Bytes of the whole."""
        return HEADER_BYTES + len(self.body) + 1

    def finish(self) -> bytes:
        count = min(self.count, UNKNOWN_COUNT)
        return self.size().to_bytes(4, "little") + count.to_bytes(2, "little") + bytes(self.body) + b"\xff"


def listpack_of(elements: list[bytes]) -> bytes:
    listpack = Listpack()
    for element in elements:
        listpack.add(element)
    return listpack.finish()


def _length_backwards(n: int) -> bytes:
    """An element's length in groups of seven bits; all but the first have their top bit set. As Redis: 16383 takes three."""
    if n < 128:
        return _SHORT_LENGTHS[n]
    n_groups = 2 if n < 16383 else 3 if n < 2097151 else 4 if n < 268435455 else 5
    groups = [n >> 7 * (n_groups - 1)]
    for left in range(n_groups - 2, -1, -1):
        groups.append(n >> 7 * left & 0x7F | 0x80)
    return bytes(groups)


_SHORT_LENGTHS: Final = [bytes([n]) for n in range(128)]
