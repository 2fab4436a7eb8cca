"""LCS: the longest common subsequence of two strings.

Redis fills a table of lengths, one cell for each pair of bytes. Here a row of the table is one integer: between two
neighbours of a row the length grows by 0 or 1, so one bit per byte of the second string says it all, and a row follows
from the one above it by an addition (Hyyrö's bit-parallel recurrence). Rows are kept, and the walk back from the last
cell turns as Redis turns, so that among equally long subsequences the same one is found.
"""

from typing import Final

from upstash_global.engine.arguments import Arguments
from upstash_global.engine.context import Context
from upstash_global.engine.table import FIRST_TWO, READONLY, Family
from upstash_global.errors import CommandError, error
from upstash_global.reply import Reply

command = Family("string").command

_ROWS_BYTES: Final = 128 * 1024 * 1024  # what the rows of one LCS may take
_ROW_OVERHEAD_BYTES: Final = 40


@command("LCS", arity=-3, flags=READONLY, keys=FIRST_TWO)
def lcs(ctx: Context, argv: list[bytes]) -> Reply:
    """Find the longest common subsequence of two strings."""
    first, second = _text(ctx, argv[1]), _text(ctx, argv[2])
    wants_ranges = wants_length = with_lengths = False
    shortest = 0
    args = Arguments(argv, 3)
    while args.more():
        if args.flag(b"IDX"):
            wants_ranges = True
        elif args.flag(b"LEN"):
            wants_length = True
        elif args.flag(b"WITHMATCHLEN"):
            with_lengths = True
        elif args.left() > 1 and args.flag(b"MINMATCHLEN"):
            shortest = args.integer()
        else:
            args.unknown()
    args.done()
    if wants_ranges and wants_length:
        raise error("If you want both the length and indexes, please just use IDX.")

    _check_room(len(first), len(second), ctx.limits.proto_max_bulk_len)
    one, other = bytes(first), bytes(second)
    rows = _rows(one, other)
    if wants_length:
        return rows[-1].bit_count()
    ranges = _ranges(one, other, rows)
    if not wants_ranges:
        return b"".join([one[start : start + length] for start, _, length in reversed(ranges)])
    matches: list[Reply] = []
    for start, other_start, length in ranges:
        if length >= shortest:
            match: list[Reply] = [[start, start + length - 1], [other_start, other_start + length - 1]]
            if with_lengths:
                match.append(length)
            matches.append(match)
    return {b"matches": matches, b"len": rows[-1].bit_count()}


def _text(ctx: Context, key: bytes) -> bytes | bytearray:
    """The live string: it may be far too long to be copied."""
    try:
        return ctx.view_string(key) or b""
    except CommandError:
        raise error("The specified keys must contain string values") from None


def _check_room(n_one: int, n_other: int, most_bytes: int) -> None:
    """Raises CommandError where Redis would want more memory than it allows itself, or we than we do."""
    table_bytes = (n_one + 1) * (n_other + 1) * 4
    rows_bytes = n_one * (n_other // 8 + _ROW_OVERHEAD_BYTES)
    if table_bytes > most_bytes or rows_bytes > _ROWS_BYTES:
        raise error("Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")


def _rows(one: bytes, other: bytes) -> list[int]:
    """A row for each prefix of `one`, the empty one first: bit j is set where the length grows with byte j of `other`."""
    places = _places(other, one)
    ones = (1 << len(other)) - 1
    flat = ones  # the complement of the row: where the length stays
    rows = [0]
    for byte in one:
        kept = flat & places[byte]
        flat = ((flat + kept) | (flat - kept)) & ones
        rows.append(flat ^ ones)
    return rows


def _places(text: bytes, wanted: bytes) -> list[int]:
    """For each byte of `wanted` a mask: bit j is set where `text` has that byte at j."""
    places = [0] * 256
    for value in set(wanted):
        digits = text[::-1].translate(b"0" * value + b"1" + b"0" * (255 - value))
        places[value] = int(digits or b"0", 2)
    return places


def _ranges(one: bytes, other: bytes, rows: list[int]) -> list[tuple[int, int, int]]:
    """The common subsequence as runs (start in `one`, start in `other`, length), the last one first.

    The walk starts at the last cell. It goes diagonally where the bytes are equal, else up if only the cell above has
    the full length, else left. A row's bit is 0 exactly where left is right, so runs of left steps are one look-up.
    """
    places = _places(other, one)
    ranges: list[tuple[int, int, int]] = []
    i, j = len(one), len(other)
    length = 0  # of the run that began at (i, j)
    while i > 0 and j > 0:
        equal = places[one[i - 1]]
        if (equal >> (j - 1)) & 1:
            i -= 1
            j -= 1
            length += 1
            continue
        if length:
            ranges.append((i, j, length))
            length = 0
        j = ((rows[i] | equal) & ((1 << j) - 1)).bit_length()
        if j and not (equal >> (j - 1)) & 1:
            i -= 1
    if length:
        ranges.append((i, j, length))
    return ranges
