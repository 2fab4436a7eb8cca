"""Integers and floats as Redis reads and writes them.

Never bare `int()` or `float()` on what a client sent: Python accepts spaces, underscores, signs and digits of other
scripts that Redis refuses.

Three kinds of numbers. Integers are signed 64-bit. Doubles (scores) are Python floats; their text is
`upstash_global.floats.format_double`. INCRBYFLOAT and HINCRBYFLOAT count in x86 long doubles, which have a mantissa of
64 bits: here a LongDouble is exact integers, rounded where the processor would round.
"""

import re
from typing import Final

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1

_SPACES: Final = b" \t\n\r\v\f"
_UNDERSCORE: Final = ord("_")  # a number is found in bytes at once, bytes only behind an exception


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
    """A double as Redis's string2d reads it: decimal, hexadecimal or `inf`; no spaces, no nan. None if it is none.

    What would be rounded to infinity or to zero is refused, too.
    """
    if text.isdigit() and len(text) < 300:
        return float(text)  # by far the most frequent, and nothing can be wrong with it
    if not text or text[0] in _SPACES or text[-1] in _SPACES or _UNDERSCORE in text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = _hexadecimal_double(text)
    if value != value:
        return None
    if value == 0.0:
        return value if _is_zero(text) else None
    if value in (_INFINITY, -_INFINITY) and text.lower().lstrip(b"+-")[:3] != b"inf":
        return None
    return value


def parse_sort_weight(text: bytes) -> float | None:
    """A double as SORT reads an element, a C string for strtod: leading spaces are skipped and no text at all is 0."""
    if text.isdigit():
        return parse_float(text)
    text = text.partition(b"\0")[0]
    if not text:
        return 0.0
    stripped = text.lstrip(_SPACES)
    return parse_float(stripped) if stripped else None


_INFINITY: Final = float("inf")
_HEXADECIMAL: Final = re.compile(rb"([+-]?)0[xX]([0-9a-fA-F]*)(?:\.([0-9a-fA-F]*))?(?:[pP]([+-]?[0-9]+))?\Z")
_DECIMAL: Final = re.compile(rb"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?\Z")


def _hexadecimal_double(text: bytes) -> float:
    """The value of `0x1.8p3`, or nan if it is none."""
    if _HEXADECIMAL.match(text) is None:
        return float("nan")
    try:
        return float.fromhex(text.decode())
    except (ValueError, OverflowError):
        return float("nan")


def _is_zero(text: bytes) -> bool:
    """Whether a text that was read as 0.0 says zero, rather than something too small for a double."""
    lower = text.lower()
    mantissa = lower.split(b"p")[0] if b"x" in lower else lower.split(b"e")[0]
    return not mantissa.strip(b"+-x0.")


class LongDouble:
    """mantissa × 2**exponent, the mantissa a signed integer of at most 64 bits; or an infinity."""

    __slots__ = ("mantissa", "exponent", "infinite")

    def __init__(self, mantissa: int, exponent: int, infinite: bool = False) -> None:
        self.mantissa = mantissa
        self.exponent = exponent
        self.infinite = infinite  # the sign is the mantissa's


_MANTISSA_BITS: Final = 64
_SMALLEST_EXPONENT: Final = -16445  # of the last bit of a denormal
_LARGEST_BITS: Final = 16384  # a finite value is below 2**16384
_LONGEST_TEXT: Final = 5 * 1024 - 1  # Redis reads it into a buffer of 5 KiB


def parse_long_double(text: bytes) -> LongDouble | None:
    """A long double as Redis's string2ld reads it: no spaces, no nan, nothing too large or too small. None if it is none."""
    if not text or len(text) > _LONGEST_TEXT:
        return None
    match = _DECIMAL.match(text)
    if match is not None:
        sign, whole, fraction, exponent = match.group(1), match.group(2), match.group(3) or b"", match.group(4)
        digits = (whole + fraction).lstrip(b"0")
        if not whole and not fraction:
            return None
        if not digits:
            return LongDouble(0, 0)
        scale = _bounded_exponent(exponent) - len(fraction)
        if not -5_000 < scale + len(digits) < 5_000:
            return None
        magnitude = _integer_of_digits(digits)
        value = _rounded(magnitude * 10**scale, 1) if scale >= 0 else _rounded(magnitude, 10**-scale)
    else:
        match = _HEXADECIMAL.match(text)
        if match is None:
            return _infinity(text)
        sign, whole, fraction, exponent = match.group(1), match.group(2), match.group(3) or b"", match.group(4)
        if not whole and not fraction:
            return None
        magnitude = int(whole + fraction, 16)
        scale = _bounded_exponent(exponent) - 4 * len(fraction)
        if magnitude == 0:
            return LongDouble(0, 0)
        if not -20_000 < scale + magnitude.bit_length() < 20_000:
            return None
        value = _rounded(magnitude << scale, 1) if scale >= 0 else _rounded(magnitude, 1 << -scale)
    if value.mantissa == 0 or value.infinite:
        return None
    if sign == b"-":
        value.mantissa = -value.mantissa
    return value


def add_long_doubles(one: LongDouble, other: LongDouble) -> bytes | None:
    """The text of the sum, as Redis prints it; None if the sum is no finite number."""
    if one.infinite or other.infinite:
        return None
    exponent = min(one.exponent, other.exponent)
    total = (one.mantissa << (one.exponent - exponent)) + (other.mantissa << (other.exponent - exponent))
    magnitude = abs(total)
    value = _rounded(magnitude << exponent, 1) if exponent >= 0 else _rounded(magnitude, 1 << -exponent)
    if value.infinite:
        return None
    if total < 0:
        value.mantissa = -value.mantissa
    return format_long_double(value)


def format_long_double(value: LongDouble) -> bytes:
    """As C's `%.17Lf` without trailing zeros: `0.3`, `5000`, `-1.5`. The value must be finite."""
    magnitude = abs(value.mantissa)
    unit = 10**17
    if value.exponent >= 0:
        scaled = (magnitude << value.exponent) * unit
    else:
        scaled = _divide_to_nearest(magnitude * unit, 1 << -value.exponent)
    whole, fraction = divmod(scaled, unit)
    text = _digits_of_integer(whole)
    if fraction:
        text += b"." + (b"%017d" % fraction).rstrip(b"0")
    return b"-" + text if value.mantissa < 0 and scaled else text


def _infinity(text: bytes) -> LongDouble | None:
    if text.lower().lstrip(b"+-") not in (b"inf", b"infinity") or text[1:2] in (b"+", b"-"):
        return None
    return LongDouble(-1 if text[:1] == b"-" else 1, 0, infinite=True)


def _rounded(numerator: int, denominator: int) -> LongDouble:
    """The long double nearest to a non-negative fraction, ties to even; infinite when it is too large."""
    if numerator == 0:
        return LongDouble(0, 0)
    exponent = numerator.bit_length() - denominator.bit_length() - _MANTISSA_BITS
    exponent = max(exponent, _SMALLEST_EXPONENT)
    mantissa = _scaled_quotient(numerator, denominator, exponent)
    if mantissa.bit_length() > _MANTISSA_BITS:  # the first estimate is at most one bit short
        exponent += 1
        mantissa = _scaled_quotient(numerator, denominator, exponent)
        if mantissa.bit_length() > _MANTISSA_BITS:  # rounded up to 2**64
            mantissa >>= 1
            exponent += 1
    return LongDouble(mantissa, exponent, infinite=mantissa.bit_length() + exponent > _LARGEST_BITS)


def _scaled_quotient(numerator: int, denominator: int, exponent: int) -> int:
    """numerator / denominator / 2**exponent, to the nearest integer."""
    if exponent >= 0:
        return _divide_to_nearest(numerator, denominator << exponent)
    return _divide_to_nearest(numerator << -exponent, denominator)


def _divide_to_nearest(numerator: int, denominator: int) -> int:
    quotient, remainder = divmod(numerator, denominator)
    twice = remainder * 2
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def _bounded_exponent(text: bytes | None) -> int:
    """A written exponent; beyond a million it is as good as a million."""
    if text is None:
        return 0
    digits = text.lstrip(b"+-").lstrip(b"0")
    value = 1_000_000 if len(digits) > 6 else int(digits or b"0")
    return -value if text[:1] == b"-" else value


_CHUNK: Final = 4_000  # Python refuses to convert more than 4,300 digits at once


def _integer_of_digits(digits: bytes) -> int:
    value = 0
    for at in range(0, len(digits), _CHUNK):
        chunk = digits[at : at + _CHUNK]
        value = value * 10 ** len(chunk) + int(chunk)
    return value


def _digits_of_integer(value: int) -> bytes:
    text = b""
    unit = 10**_CHUNK
    while value >= unit:
        value, low = divmod(value, unit)
        text = b"%0*d" % (_CHUNK, low) + text
    return b"%d" % value + text
