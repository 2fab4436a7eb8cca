"""The two forms of which everything else is made: lengths and strings."""

from typing import Final

from upstash_global.engine.numbers import parse_integer

_LONGEST_INTEGER: Final = 11  # characters; a string that reads as an integer of 32 bits is written as one


def write_length(out: bytearray, n: int) -> None:
    """A number of 0 to 2**64 - 1, in as few bytes as it needs."""
    if n < 1 << 6:
        out.append(n)
    elif n < 1 << 14:
        out += bytes([0x40 | n >> 8, n & 0xFF])
    elif n < 1 << 32:
        out.append(0x80)
        out += n.to_bytes(4, "big")
    else:
        out.append(0x81)
        out += n.to_bytes(8, "big")


def write_string(out: bytearray, text: bytes) -> None:
    if 0 < len(text) <= _LONGEST_INTEGER:
        number = parse_integer(text)
        if number is not None and -(1 << 31) <= number < 1 << 31:
            n_bits = (number if number >= 0 else ~number).bit_length() + 1
            form = 0 if n_bits <= 8 else 1 if n_bits <= 16 else 2
            out.append(0xC0 | form)
            out += number.to_bytes(1 << form, "little", signed=True)
            return
    write_length(out, len(text))
    out += text
