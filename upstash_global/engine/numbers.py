"""Integers and floats as Redis reads and writes them.

Never bare `int()` or `float()` on what a client sent: Python accepts spaces, underscores, signs and digits of other
scripts that Redis refuses.
"""

from typing import Final

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1


def parse_integer(text: bytes) -> int | None:
    """A signed 64-bit integer: ASCII digits, optional minus, no leading zero. None if it is none."""
    n = len(text)
    if n == 0 or n > 20:
        return None
    if text.isdigit():
        if n > 1 and text[0] == 48:
            return None
        value = int(text)
        return value if value <= INT64_MAX else None
    if text[0] != 45 or n == 1 or text[1] == 48 or not text[1:].isdigit():
        return None
    value = int(text)
    return value if value >= INT64_MIN else None


def parse_float(text: bytes) -> float | None:
    """A double as Redis's string2d reads it: decimal or `inf`, no spaces, no underscores, no nan. None if it is none."""
    if not text or text[0] in b" \t\n\r\v\f" or text[-1] in b" \t\n\r\v\f\0" or b"_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    if value != value:
        return None
    return value
