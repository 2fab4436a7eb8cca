"""Numbers and lists of byte strings as bytes: what replies, the log and streams consist of.

Nothing here that `%d` and msgpack could not do. But to compiled code a read or a write of these functions is a copy of
bytes, where they take a detour by objects: a third of the instructions or less. Forms that are not common are left to
them.
"""

from typing import TYPE_CHECKING, Final

from librt.strings import BytesWriter, write_i16_be, write_i32_be
from mypy_extensions import i16, i32, u8

if TYPE_CHECKING:
    from mypy_extensions import i64

_MOST: Final = (1 << 62) - 1  # what a number of compiled code holds without an object
_THOUSAND: Final = [b"%d" % number for number in range(1000)]  # the first digits of a number,
_THREE_DIGITS: Final = [b"%03d" % number for number in range(1000)]  # and those that follow

# The first byte of arrays and byte strings in msgpack.
_ARRAY: Final = 0x90
_ARRAY16: Final = 0xDC
_ARRAY32: Final = 0xDD
_BIN8: Final = 0xC4
_BIN16: Final = 0xC5
_BIN32: Final = 0xC6


def write_decimal(writer: BytesWriter, number: int) -> None:
    """Append the digits of a whole number of any size."""
    if 0 <= number <= _MOST:
        _write_digits(writer, number)
    else:
        writer.write(b"%d" % number)


def _write_digits(writer: BytesWriter, number: "i64") -> None:
    if number < 1000:
        writer.write(_THOUSAND[number])
    else:
        _write_digits(writer, number // 1000)
        writer.write(_THREE_DIGITS[number % 1000])


def write_word(writer: BytesWriter, number: "i64") -> None:
    """Append an unsigned number of 32 bits, the high byte first."""
    write_i32_be(writer, i32(number - (1 << 32) if number >= 1 << 31 else number))


def write_array_head(writer: BytesWriter, n: "i64") -> None:
    """Append what begins an array of `n` elements in msgpack."""
    if n < 16:
        writer.append(u8(_ARRAY | n))
    elif n < 1 << 16:
        writer.append(_ARRAY16)
        write_i16_be(writer, i16(n - (1 << 16) if n >= 1 << 15 else n))
    else:
        writer.append(_ARRAY32)
        write_word(writer, n)


def write_strings(writer: BytesWriter, strings: list[bytes]) -> None:
    """Append an array of byte strings in msgpack."""
    write_array_head(writer, len(strings))
    for string in strings:
        n: i64 = len(string)
        if n < 1 << 8:
            writer.append(_BIN8)
            writer.append(u8(n))
        elif n < 1 << 16:
            writer.append(_BIN16)
            write_i16_be(writer, i16(n - (1 << 16) if n >= 1 << 15 else n))
        else:
            writer.append(_BIN32)
            write_word(writer, n)
        writer.write(string)


def read_strings(data: bytes, start: "i64") -> tuple[list[bytes], "i64"]:
    """The array of byte strings at `start`, and the offset behind it: 0 if msgpack has to read it.

    It has to if there are more than 15 strings, or one above 65,535 bytes, or if it is something else altogether.
    """
    strings: list[bytes] = []
    size: i64 = len(data)
    at: i64 = start
    if at >= size or data[at] & 0xF0 != _ARRAY:
        return strings, 0
    n: i64 = data[at] & 0x0F
    at += 1
    while n > 0:
        if at + 2 > size:
            return strings, 0
        length: i64 = data[at + 1]
        if data[at] == _BIN8:
            at += 2
        elif data[at] == _BIN16 and at + 3 <= size:
            length = length << 8 | data[at + 2]
            at += 3
        else:
            return strings, 0
        if at + length > size:
            return strings, 0
        strings.append(data[at : at + length])
        at += length
        n -= 1
    return strings, at
