"""Forms of small collections before listpacks: ziplists, zipmaps; and intsets, which are still in use. For reading only."""

from typing import Final

from upstash_global.engine.rdb.reader import Reader
from upstash_global.errors import DumpError

_ZIPLIST_HEADER_BYTES: Final = 10
_LONG: Final = 0xFE  # the length stands in the four bytes behind
_END: Final = 0xFF
_WIDTHS: Final = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}  # of integers, by their head
_UNKNOWN_COUNT: Final = 0xFFFF


def read_ziplist(reader: Reader, data: bytes) -> list[bytes]:
    """The elements, integers as their text.

        total bytes (4) | offset of the last element (4) | number of elements (2) | element … | 0xFF

    An element is the length of the one before it, a head, and its bytes or number.
    """
    end = len(data) - 1
    if end < _ZIPLIST_HEADER_BYTES or int.from_bytes(data[:4], "little") != end + 1 or data[end] != _END:
        raise DumpError("a ziplist of another length than it says")
    elements: list[bytes] = []
    cursor = Reader(data, end, reader.left_bytes)
    cursor.take(_ZIPLIST_HEADER_BYTES)
    before = 0
    while cursor.at < end:
        reader.spend(1, 0)
        start = cursor.at
        length_before = cursor.byte()
        if length_before == _LONG:
            length_before = int.from_bytes(cursor.take(4), "little")
        if length_before != before:
            raise DumpError("a ziplist that cannot be walked backwards")
        elements.append(_ziplist_element(cursor))
        before = cursor.at - start
    last_at = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[8:10], "little")
    if last_at != (end - before if elements else _ZIPLIST_HEADER_BYTES) or count not in (_UNKNOWN_COUNT, len(elements)):
        raise DumpError("a ziplist with another number of elements than it says")
    return elements


def _ziplist_element(cursor: Reader) -> bytes:
    head = cursor.byte()
    kind = head >> 6
    if kind == 0:
        return cursor.take(head)
    if kind == 1:
        return cursor.take((head & 0x3F) << 8 | cursor.byte())
    if head == 0x80:
        return cursor.take(int.from_bytes(cursor.take(4), "big"))
    if head in _WIDTHS:
        return b"%d" % int.from_bytes(cursor.take(_WIDTHS[head]), "little", signed=True)
    if 0xF1 <= head <= 0xFD:
        return b"%d" % (head - 0xF1)
    raise DumpError("a ziplist with an unknown kind of element")


def read_zipmap(reader: Reader, data: bytes) -> list[bytes]:
    """Fields and values in turn: `count (1) | length field | length free value unused… | … | 0xFF`."""
    end = len(data) - 1
    if end < 1 or data[end] != _END:
        raise DumpError("a zipmap without an end")
    elements: list[bytes] = []
    cursor = Reader(data, end, reader.left_bytes)
    count = cursor.byte()
    while cursor.at < end:
        reader.spend(2, 0)
        elements.append(cursor.take(_zipmap_length(cursor)))
        n = _zipmap_length(cursor)
        n_free = cursor.byte()
        elements.append(cursor.take(n))
        cursor.take(n_free)
    if count < _LONG and count != len(elements) // 2:
        raise DumpError("a zipmap with another number of fields than it says")
    return elements


def _zipmap_length(cursor: Reader) -> int:
    n = cursor.byte()
    return int.from_bytes(cursor.take(4), "little") if n == _LONG else n


def read_intset(reader: Reader, data: bytes) -> list[bytes]:
    """The members as text, ascending: `bytes of each (4) | count (4) | number …`."""
    width = int.from_bytes(data[:4], "little")
    count = int.from_bytes(data[4:8], "little")
    if width not in (2, 4, 8) or len(data) != 8 + count * width:
        raise DumpError("an intset of another length than it says")
    reader.spend(count, 0)
    members: list[bytes] = []
    before = -(1 << 63) - 1
    for at in range(8, len(data), width):
        number = int.from_bytes(data[at : at + width], "little", signed=True)
        if number <= before:
            raise DumpError("an intset that is not in order")
        before = number
        members.append(b"%d" % number)
    return members
