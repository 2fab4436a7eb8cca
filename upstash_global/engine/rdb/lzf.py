"""LZF: how Redis compresses strings of a dump (`rdbcompression`). We only expand; what we write is not compressed.

A stream of commands. Below 32: that many bytes + 1 follow as they are. Else: three bits of a length (7: another byte adds to
it) and thirteen bits of a distance back, from where length + 2 bytes are repeated; source and target may overlap.
"""

from typing import Final

from upstash_global.errors import DumpError

LARGEST_RATIO: Final = 88  # three bytes repeat at most 264


def expand(data: bytes, size: int) -> bytes:
    """The `size` bytes that were compressed. Raises DumpError; never makes more than `size` bytes and one repetition."""
    out = bytearray()
    n = len(data)
    at = 0
    while at < n and len(out) <= size:
        control = data[at]
        at += 1
        if control < 32:
            if at + control + 1 > n:
                raise DumpError("compressed data ends too early")
            out += data[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7 and at < n:
            length += data[at]
            at += 1
        if at >= n:
            raise DumpError("compressed data ends too early")
        start = len(out) - ((control & 31) << 8 | data[at]) - 1
        at += 1
        if start < 0:
            raise DumpError("compressed data points before its beginning")
        _repeat(out, start, length + 2)
    if len(out) != size:
        raise DumpError("compressed data has another length than it says")
    return bytes(out)


def _repeat(out: bytearray, start: int, length: int) -> None:
    """Append `length` bytes that stand from `start` on, those that this appends included."""
    period = len(out) - start
    if period >= length:
        out += out[start : start + length]
    else:
        out += (out[start:] * (length // period + 1))[:length]
