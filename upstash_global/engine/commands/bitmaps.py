"""Bitmaps: a string as a row of bits, the first bit of a byte being its highest.

Long strings are worked on in blocks of bytes read as one integer, never bit by bit. A command that may write leaves a
`bytearray`, so that the next bit is set in place; its encoding is `raw`.
"""

import re
from typing import Final

from upstash_global.engine.arguments import integer_argument
from upstash_global.engine.commands.strings import check_length
from upstash_global.engine.context import EVENT_GENERIC, EVENT_STRING, Context
from upstash_global.engine.encodings import Limits
from upstash_global.engine.numbers import INT64_MAX, parse_integer
from upstash_global.engine.table import DENYOOM, FAST, FIRST, READONLY, WRITE, Family, Keys
from upstash_global.errors import CommandError, error, syntax_error
from upstash_global.reply import Reply

command = Family("bitmap").command

_BLOCK_BYTES: Final = 64 * 1024


# -- reads ------------------------------------------------------------------------------------------------------


@command("BITCOUNT", arity=-2, flags=READONLY, keys=FIRST)
def bitcount(ctx: Context, argv: list[bytes]) -> Reply:
    """Count the bits that are 1, in the whole string or in a range of bytes or bits."""
    n = len(argv)
    if n == 2:
        value = ctx.view_string(argv[1])
        return 0 if value is None else _count(value, 0, len(value))
    if n > 5 or n == 3:
        raise syntax_error()
    start, end = integer_argument(argv[2]), integer_argument(argv[3])
    in_bits = _in_bits(argv[4]) if n == 5 else False
    value = ctx.view_string(argv[1])
    if value is None:
        return 0
    if start < 0 and end < 0 and start > end:
        return 0
    first, last = _bit_range(len(value), start, end, in_bits)
    if first > last:
        return 0
    total = _count(value, first >> 3, (last >> 3) + 1)
    before = value[first >> 3] >> (8 - (first & 7))
    after = value[last >> 3] & ((1 << (7 - (last & 7))) - 1)
    return total - before.bit_count() - after.bit_count()


@command("BITFIELD_RO", arity=-2, flags=READONLY | FAST, keys=FIRST)
def bitfield_ro(ctx: Context, argv: list[bytes]) -> Reply:
    """Read integers of any width at any bit of a string."""
    operations = _operations(argv, ctx.limits)
    for operation in operations:
        if operation.name != b"GET":
            raise error("BITFIELD_RO only supports the GET subcommand")
    return _read_fields(ctx.view_string(argv[1]), operations)


@command("BITPOS", arity=-3, flags=READONLY, keys=FIRST)
def bitpos(ctx: Context, argv: list[bytes]) -> Reply:
    """Find the first bit that is 0 or 1, in the whole string or in a range of bytes or bits; -1 if there is none.

    Without an end, the string counts as followed by zeros.
    """
    bit = integer_argument(argv[2])
    if bit not in (0, 1):
        raise error("The bit argument must be 1 or 0.")
    n = len(argv)
    if n > 6:
        raise syntax_error()
    start = integer_argument(argv[3]) if n > 3 else 0
    in_bits = _in_bits(argv[5]) if n == 6 else False
    end = integer_argument(argv[4]) if n > 4 else -1
    value = ctx.view_string(argv[1])
    if value is None:
        return -1 if bit else 0
    first, last = _bit_range(len(value), start, end, in_bits)
    if first > last:
        return -1
    found = _find(value, bit, first, last)
    if found < 0 and bit == 0 and n < 5:
        return len(value) * 8
    return found


@command("GETBIT", arity=3, flags=READONLY | FAST, keys=FIRST)
def getbit(ctx: Context, argv: list[bytes]) -> Reply:
    """Get one bit; those beyond the string are 0."""
    offset = _offset(argv[2], ctx.limits)
    value = ctx.view_string(argv[1])
    if value is None or offset >> 3 >= len(value):
        return 0
    return (value[offset >> 3] >> (7 - (offset & 7))) & 1


# -- writes -----------------------------------------------------------------------------------------------------


@command("BITFIELD", arity=-2, flags=WRITE | DENYOOM, keys=FIRST)
def bitfield(ctx: Context, argv: list[bytes]) -> Reply:
    """Read, set and increment integers of any width at any bit of a string, with a choice of what overflow means."""
    key = argv[1]
    operations = _operations(argv, ctx.limits)
    n_bits = max(
        [operation.offset + operation.width for operation in operations if operation.name != b"GET"], default=0
    )
    if n_bits == 0:
        return _read_fields(ctx.view_string(key), operations)
    was_edited = isinstance(ctx.view_string(key), bytearray)
    check_length(ctx, (n_bits + 7) >> 3)
    edited = ctx.edit_string(key)
    has_grown = _grow(edited, n_bits)
    changed = False
    replies: list[Reply] = []
    for operation in operations:
        old = operation.read(edited)
        if operation.name == b"GET":
            replies.append(old)
            continue
        new = operation.result(old)
        if new is None:
            replies.append(None)
            continue
        if new != old:
            operation.write(edited, new)
        changed = changed or new != old or has_grown
        replies.append(new if operation.name == b"INCRBY" else old)
    _save_bits(ctx, key, edited, changed, has_grown or not was_edited)
    return replies


def _save_bits(ctx: Context, key: bytes, edited: bytearray, changed: bool, has_other_form: bool) -> None:
    """Save what was edited. A string of another form alone (raw, or longer after what overflowed) is no event, as in Redis."""
    if changed:
        ctx.save(key, edited)
        ctx.notify(EVENT_STRING, b"setbit", key)
    elif has_other_form:
        ctx.save_unwatched(key, edited)


@command("BITOP", arity=-4, flags=WRITE | DENYOOM, keys=Keys(2, -1, 1))
def bitop(ctx: Context, argv: list[bytes]) -> Reply:
    """Combine strings bit by bit and store the result; reply with its length in bytes.

    AND, OR, XOR and NOT; DIFF: in the first and in no other; DIFF1: in another, not in the first; ANDOR: in the first and
    in another; ONE: in exactly one. Shorter strings count as followed by zeros. An empty result removes the target.
    """
    name, target = argv[1].upper(), argv[2]
    if name not in (b"AND", b"OR", b"XOR", b"NOT", b"ONE") and name not in _FIRST_AND_OTHERS:
        raise syntax_error()
    if name in _FIRST_AND_OTHERS and len(argv) < 5:
        raise error(f"BITOP {name.decode()} must be called with at least two source keys.")
    if name == b"NOT" and len(argv) != 4:
        raise error("BITOP NOT must be called with a single source key.")
    sources = [ctx.view_string(key) or b"" for key in argv[3:]]
    result = _combine(name, sources)
    if result:
        ctx.put(target, result)
        ctx.notify(EVENT_STRING, b"set", target)
    elif ctx.remove(target):
        ctx.notify(EVENT_GENERIC, b"del", target)
    return len(result)


_FIRST_AND_OTHERS: Final = (b"DIFF", b"DIFF1", b"ANDOR")  # as Redis 8.2


@command("SETBIT", arity=4, flags=WRITE | DENYOOM, keys=FIRST)
def setbit(ctx: Context, argv: list[bytes]) -> Reply:
    """Set one bit, the string growing as needed; reply with the bit that was there."""
    key = argv[1]
    offset = _offset(argv[2], ctx.limits)
    bit = parse_integer(argv[3])
    if bit is None or bit not in (0, 1):
        raise error("bit is not an integer or out of range")
    was_edited = isinstance(ctx.view_string(key), bytearray)
    edited = ctx.edit_string(key)
    has_grown = _grow(edited, offset + 1)
    at, shift = offset >> 3, 7 - (offset & 7)
    old = (edited[at] >> shift) & 1
    if old != bit:
        edited[at] ^= 1 << shift
    _save_bits(ctx, key, edited, old != bit or has_grown, not was_edited)
    return old


# -- arguments --------------------------------------------------------------------------------------------------


def _offset(text: bytes, limits: Limits) -> int:
    """A bit offset; raises CommandError if it is none or lies beyond the longest string."""
    offset = parse_integer(text)
    if offset is None or offset < 0 or offset >> 3 >= limits.proto_max_bulk_len:
        raise _bad_offset()
    return offset


def _bad_offset() -> CommandError:
    return error("bit offset is not an integer or out of range")


def _in_bits(unit: bytes) -> bool:
    word = unit.upper()
    if word not in (b"BIT", b"BYTE"):
        raise syntax_error()
    return word == b"BIT"


def _bit_range(n_bytes: int, start: int, end: int, in_bits: bool) -> tuple[int, int]:
    """The first and the last bit of a range whose ends may count from the end; it is empty if first > last."""
    n = n_bytes * 8 if in_bits else n_bytes
    start = max(0, start + n) if start < 0 else start
    end = min(max(0, end + n) if end < 0 else end, n - 1)
    return (start, end) if in_bits else (start * 8, end * 8 + 7)


class _Operation:
    """One subcommand of BITFIELD: a field of `width` bits at a bit offset, and what to do with it."""

    def __init__(self, name: bytes, signed: bool, width: int, offset: int, operand: int, overflow: bytes) -> None:
        self.name = name  # GET, SET or INCRBY
        self.signed = signed
        self.width = width
        self.offset = offset
        self.operand = operand
        self.overflow = overflow  # WRAP, SAT or FAIL

    def read(self, value: bytes | bytearray) -> int:
        first, last = self.offset >> 3, (self.offset + self.width + 7) >> 3
        window = int.from_bytes(bytes(value[first:last]).ljust(last - first, b"\0"), "big")
        return self._wrapped(window >> (last * 8 - self.offset - self.width))

    def write(self, value: bytearray, number: int) -> None:
        """Put the field into a value that is long enough."""
        first, last = self.offset >> 3, (self.offset + self.width + 7) >> 3
        shift = last * 8 - self.offset - self.width
        mask = ((1 << self.width) - 1) << shift
        window = int.from_bytes(value[first:last], "big")
        window = (window & ~mask) | ((number << shift) & mask)
        value[first:last] = window.to_bytes(last - first, "big")

    def result(self, old: int) -> int | None:
        """What the field shall hold; None if that overflows and the command shall fail."""
        wanted = self.operand + old if self.name == b"INCRBY" else self.operand
        if self.signed:
            low, high = -(1 << (self.width - 1)), (1 << (self.width - 1)) - 1
        else:
            low, high = 0, (1 << self.width) - 1
            if self.name == b"SET":
                wanted &= (1 << 64) - 1  # as Redis 7.2: a negative number is a large unsigned one here
        if low <= wanted <= high:
            return wanted
        if self.overflow == b"FAIL":
            return None
        if self.overflow == b"SAT":
            # As Redis 7.2: what a narrow signed field is set to counts as too high where high - number exceeds 64 bits.
            is_too_high = wanted > high or (self.name == b"SET" and self.width < 64 and high - wanted > INT64_MAX)
            return high if is_too_high else low
        return self._wrapped(wanted)

    def _wrapped(self, number: int) -> int:
        number &= (1 << self.width) - 1
        if self.signed and number >> (self.width - 1):
            number -= 1 << self.width
        return number


def _operations(argv: list[bytes], limits: Limits) -> list[_Operation]:
    """The subcommands of BITFIELD; raises CommandError for the first that is wrong."""
    operations: list[_Operation] = []
    overflow = b"WRAP"
    at = 2
    n = len(argv)
    while at < n:
        name = argv[at].upper()
        if name == b"OVERFLOW" and at + 1 < n:
            overflow = argv[at + 1].upper()
            if overflow not in (b"WRAP", b"SAT", b"FAIL"):
                raise error("Invalid OVERFLOW type specified")
            at += 2
            continue
        n_arguments = 2 if name == b"GET" else 3
        if name not in (b"GET", b"SET", b"INCRBY") or at + n_arguments >= n:
            raise syntax_error()
        signed, width = _field_type(argv[at + 1])
        offset = _field_offset(argv[at + 2], width, limits)
        operand = integer_argument(argv[at + 3]) if n_arguments == 3 else 0
        operations.append(_Operation(name, signed, width, offset, operand, overflow))
        at += 1 + n_arguments
    return operations


def _field_type(text: bytes) -> tuple[bool, int]:
    """Signed or not, and the width in bits: `i1` to `i64`, `u1` to `u63`."""
    signed = text[:1] == b"i"
    width = parse_integer(text[1:]) if text[:1] in (b"i", b"u") else None
    if width is None or width < 1 or width > (64 if signed else 63):
        raise error("Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")
    return signed, width


def _field_offset(text: bytes, width: int, limits: Limits) -> int:
    """A bit offset, or with `#` a number of fields of that width."""
    if text[:1] != b"#":
        return _offset(text, limits)
    number = parse_integer(text[1:])
    if number is None or number < 0 or number * width >> 3 >= limits.proto_max_bulk_len:
        raise _bad_offset()
    return number * width


# -- bits -------------------------------------------------------------------------------------------------------


def _count(value: bytes | bytearray, start: int, end: int) -> int:
    total = 0
    for at in range(start, end, _BLOCK_BYTES):
        total += int.from_bytes(value[at : min(at + _BLOCK_BYTES, end)], "little").bit_count()
    return total


_NOT_ALL_ZEROS: Final = re.compile(b"[^\\x00]")
_NOT_ALL_ONES: Final = re.compile(b"[^\\xff]")


def _find(value: bytes | bytearray, bit: int, first: int, last: int) -> int:
    """The first bit from `first` to `last`, both included, that is as wanted; -1 if there is none."""
    at, end = first >> 3, last >> 3
    found = _find_in_byte(value[at], bit, first & 7)
    if found < 0 and at < end:
        match = (_NOT_ALL_ZEROS if bit else _NOT_ALL_ONES).search(value, at + 1, end + 1)
        if match is None:
            return -1
        at = match.start()
        found = _find_in_byte(value[at], bit, 0)
    position = at * 8 + found
    return position if found >= 0 and position <= last else -1


def _find_in_byte(byte: int, bit: int, first: int) -> int:
    """The first of the bits `first` to 7 that is as wanted, or -1."""
    wanted = (byte if bit else ~byte) & (0xFF >> first)
    return 8 - wanted.bit_length() if wanted else -1


def _combine(name: bytes, sources: list[bytes | bytearray]) -> bytearray:
    n_bytes = max([len(source) for source in sources])
    result = bytearray()
    for at in range(0, n_bytes, _BLOCK_BYTES):
        n_block = min(_BLOCK_BYTES, n_bytes - at)
        combined = _combine_blocks(name, [_block(source, at) for source in sources], n_block)
        result += combined.to_bytes(n_block, "little")
    return result


def _combine_blocks(name: bytes, blocks: list[int], n_bytes: int) -> int:
    first = blocks[0]
    if name == b"NOT":
        return first ^ (1 << (n_bytes * 8)) - 1
    if name == b"AND":
        for block in blocks[1:]:
            first &= block
        return first
    if name == b"XOR":
        for block in blocks[1:]:
            first ^= block
        return first
    others = 0
    if name == b"ONE":
        several = 0
        for block in blocks:
            several |= others & block
            others |= block
        return others & ~several
    for block in blocks[1:]:
        others |= block
    if name == b"OR":
        return first | others
    if name == b"DIFF":
        return first & ~others
    return others & ~first if name == b"DIFF1" else first & others


def _block(source: bytes | bytearray, at: int) -> int:
    """Bytes beyond the source count as zeros, which a little-endian number has for free."""
    return int.from_bytes(source[at : at + _BLOCK_BYTES], "little")


def _grow(value: bytearray, n_bits: int) -> bool:
    """Append zeros until the bits fit; True if any were needed."""
    missing = ((n_bits + 7) >> 3) - len(value)
    if missing <= 0:
        return False
    value.extend(bytes(missing))
    return True


def _read_fields(value: bytes | bytearray | None, operations: list[_Operation]) -> list[int]:
    return [operation.read(value or b"") for operation in operations]
