"""The text of a double, the same wherever one is shown: in ZSCORE, in RESP3, in a log entry.

Redis 7.2 prints whole numbers of moderate size as integers and the rest with the fewest digits that read back as the
same double, laid out by the rules of its fpconv library. Python's `repr` finds the same digits, so only the layout is
done here. (fpconv's Grisu2 gives one digit more than needed for about one double in a thousand; we give the shortest.)
"""

from typing import Final

_INFINITY: Final = float("inf")
_LARGEST_WHOLE: Final = 2.0**62  # d2string casts |value| <= LLONG_MAX / 2 to an integer


def format_double(value: float) -> bytes:
    """The shortest decimal text of `value`, as Redis 7.2's d2string lays it out: `3`, `0.0001`, `1e+21`, `-inf`."""
    if value != value:
        return b"nan"
    if -_LARGEST_WHOLE <= value <= _LARGEST_WHOLE:
        whole = int(value)
        if whole == value:
            return b"-0" if whole == 0 and repr(value)[0] == "-" else b"%d" % whole
    elif value == _INFINITY:
        return b"inf"
    elif value == -_INFINITY:
        return b"-inf"
    return _lay_out(repr(value)).encode()


def _lay_out(shortest: str) -> str:
    """Python's shortest text of a double, moved into fpconv's layout."""
    sign = "-" if shortest[0] == "-" else ""
    mantissa, _, written_exponent = shortest.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    padded = (whole + fraction).lstrip("0")
    digits = padded.rstrip("0")
    # value = digits * 10**exponent, with digits a whole number that neither begins nor ends with 0
    exponent = int(written_exponent or 0) - len(fraction) + len(padded) - len(digits)
    n_digits = len(digits)
    scale = exponent + n_digits - 1  # of the first digit
    if exponent >= 0 and abs(scale) < n_digits + 7:
        return sign + digits + "0" * exponent
    if exponent < 0 and (exponent > -7 or abs(scale) < 4):
        n_whole = n_digits + exponent
        if n_whole <= 0:
            return sign + "0." + "0" * -n_whole + digits
        return sign + digits[:n_whole] + "." + digits[n_whole:]
    point = "." + digits[1:] if n_digits > 1 else ""
    return f"{sign}{digits[0]}{point}e{'-' if scale < 0 else '+'}{abs(scale)}"
