"""HyperLogLog: an estimate of how many different elements were seen, kept in a string in Redis's own bytes.

An element's hash picks one of 16,384 registers, which keeps the longest run of zero bits seen in the rest of such hashes.
From how often each run length occurs follows an estimate with an error of 0.81 % (Otmar Ertl, arXiv:1702.01284).

    bytes 0-3   HYLL
    byte  4     0 dense, 1 sparse
    bytes 8-15  the last estimate, little-endian; the highest bit says that it is out of date
    dense       16,384 registers of 6 bits, lowest bits first
    sparse      runs of registers: 00nnnnnn           n + 1 empty ones
                                   01nnnnnn nnnnnnnn  n + 1 empty ones
                                   1vvvvvnn           n + 1 registers that hold v + 1

A sparse one becomes dense for good when a register exceeds 32, or the string `hll-sparse-max-bytes`. Which runs are split
and merged is visible to whoever reads the string, so it is done exactly as Redis 7.2 does it.
"""

from bisect import bisect_right
from math import inf, sqrt
from typing import TYPE_CHECKING, Final

from upstash_global.errors import CommandError

if TYPE_CHECKING:
    from mypy_extensions import i64

REGISTERS: Final = 16384
DENSE: Final = 0
SPARSE: Final = 1

_INDEX_BITS: Final = 14
_LONGEST_RUN: Final = 64 - _INDEX_BITS
_HEADER_BYTES: Final = 16
_DENSE_BYTES: Final = _HEADER_BYTES + REGISTERS * 6 // 8
_LARGEST_SPARSE_VALUE: Final = 32
_LONGEST_SHORT_ZEROS: Final = 64
_LONGEST_VALUE_RUN: Final = 4
_MERGE_OPCODES: Final = 5  # how many runs Redis looks at after a change
_OUT_OF_DATE: Final = 0x80


def new() -> bytearray:
    """An empty one: sparse, its estimate of 0 up to date."""
    value = bytearray(b"HYLL")
    value.append(SPARSE)
    value.extend(bytes(_HEADER_BYTES - len(value)))
    value.extend(_zeros(REGISTERS))
    return value


def is_valid(value: bytes | bytearray) -> bool:
    """Whether a string looks like a HyperLogLog; a sparse one may still turn out to be damaged."""
    if len(value) < _HEADER_BYTES or value[:4] != b"HYLL" or value[4] > SPARSE:
        return False
    return value[4] == SPARSE or len(value) == _DENSE_BYTES


def encoding(value: bytes | bytearray) -> int:
    return value[4]


def corrupted() -> CommandError:
    return CommandError("INVALIDOBJ", "Corrupted HLL object detected")


# -- estimates ------------------------------------------------------------------------------------------------------


def cached_estimate(value: bytes | bytearray) -> int:
    """The estimate that the string carries; -1 if it is out of date."""
    if value[15] & _OUT_OF_DATE:
        return -1
    return int.from_bytes(value[8:16], "little")


def cache_estimate(value: bytearray, estimate: int) -> None:
    value[8:16] = estimate.to_bytes(8, "little")


def forget_estimate(value: bytearray) -> None:
    value[15] |= _OUT_OF_DATE


def estimate(registers: bytearray) -> int:
    """How many different elements these registers have probably seen."""
    m = float(REGISTERS)
    counts = [0] * (_LONGEST_RUN + 2)
    left = REGISTERS
    for run in range(len(counts)):
        if not left:
            break  # as a rule after some twenty
        counts[run] = registers.count(run)
        left -= counts[run]
    z = m * _tau((m - counts[_LONGEST_RUN + 1]) / m)
    for run in range(_LONGEST_RUN, 0, -1):
        z += counts[run]
        z *= 0.5
    z += m * _sigma(counts[0] / m)
    if z == 0.0:
        return 1 << 63  # no hash fills all registers beyond what a hash can have: somebody wrote them
    exact = _ALPHA * m * m / z
    whole = int(exact)
    return whole + 1 if exact - whole >= 0.5 else whole


_ALPHA: Final = 0.721347520444481703680  # 1 / (2 ln 2)


def _sigma(x: float) -> float:
    """x + 1 x**2 + 2 x**4 + 4 x**8 + …"""
    if x == 1.0:
        return inf
    y, z, before = 1.0, x, -1.0
    while before != z:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while before != z:
        x = sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) * (1 - x) * y
    return z / 3


# -- elements -------------------------------------------------------------------------------------------------------


def add(value: bytearray, elements: list[bytes], most_sparse_bytes: int) -> bool:
    """Count elements; True if a register grew. A sparse value above so many bytes turns dense.

    Raises CommandError if the value is damaged.
    """
    runs: Runs | None = None
    has_grown = False
    for element in elements:
        index, run = _place_of(element)
        if value[4] == DENSE:
            grows = _raise_dense(value, index, run)
        else:
            if runs is None:
                runs = Runs(value, most_sparse_bytes)
            grows = runs.raise_register(index, run)
        has_grown = has_grown or grows
    return has_grown


def knows(value: bytes | bytearray, elements: list[bytes]) -> bool:
    """Whether to count elements would change nothing. What is damaged knows none."""
    for element in elements:
        index, run = _place_of(element)
        if value[4] == DENSE:
            at, shift = _HEADER_BYTES + (index * 6 >> 3), index * 6 & 7
            register = int.from_bytes(value[at : at + 2], "little") >> shift & 63
        else:
            register = _sparse_register(value, index)
        if register < run:
            return False
    return True


def _place_of(element: bytes) -> tuple[int, int]:
    """The index of an element's register, and what that has to hold at least."""
    hash_ = _murmur(element)
    rest = hash_ >> _INDEX_BITS | 1 << _LONGEST_RUN
    return hash_ & (REGISTERS - 1), (rest & -rest).bit_length()


def raise_registers(value: bytearray, wanted: bytearray, most_sparse_bytes: int) -> None:
    """Raise each register to what is wanted, where that is more."""
    runs = Runs(value, most_sparse_bytes)
    for index in range(len(wanted)):  # mypyc cannot enumerate a bytearray
        if value[4] == DENSE:
            value[_HEADER_BYTES:] = _pack_dense(merge(_unpack_dense(value), wanted))
            return
        register = wanted[index]
        if register:
            runs.raise_register(index, register)


_SEED: Final = 0xADC83B19
_MASK: Final = (1 << 64) - 1
_FACTOR: Final = 0xC6A4A7935BD1E995


def _murmur(data: bytes) -> int:
    """MurmurHash64A, little-endian."""
    n = len(data)
    hash_ = _SEED ^ (n * _FACTOR & _MASK)
    whole = n & ~7
    for at in range(0, whole, 8):
        k = int.from_bytes(data[at : at + 8], "little") * _FACTOR & _MASK
        k = (k ^ k >> 47) * _FACTOR & _MASK
        hash_ = (hash_ ^ k) * _FACTOR & _MASK
    if n > whole:
        hash_ = (hash_ ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _MASK
    hash_ = (hash_ ^ hash_ >> 47) * _FACTOR & _MASK
    return hash_ ^ hash_ >> 47


# -- registers ------------------------------------------------------------------------------------------------------


def unpack(value: bytes | bytearray) -> bytearray:
    """All registers, a byte each. Raises CommandError if the value is damaged."""
    if value[4] == DENSE:
        return _unpack_dense(value)
    parts: list[bytes] = []
    n_registers = 0
    at = _HEADER_BYTES
    n = len(value)
    while at < n and n_registers <= REGISTERS:
        byte = value[at]
        if byte & 0xC0 == 0x40:
            run = _Run(value, at)
            part = bytes(run.length)
            at += 1
        else:
            part = _REGISTERS_OF[byte]
        parts.append(part)
        n_registers += len(part)
        at += 1
    if n_registers != REGISTERS:
        raise corrupted()
    return bytearray(b"".join(parts))


def describe_runs(value: bytes | bytearray) -> bytes:
    """The runs of a sparse value as text: `z:` and `Z:` are empty ones, `v:` their value and length."""
    words: list[str] = []
    at = _HEADER_BYTES
    while at < len(value):
        run = _Run(value, at)
        if run.value:
            words.append(f"v:{run.value},{run.length}")
        else:
            words.append(f"{'z' if run.n_bytes == 1 else 'Z'}:{run.length}")
        at += run.n_bytes
    return " ".join(words).encode()


def merge(registers: bytearray, others: bytearray) -> bytearray:
    """The larger of each two registers.

    All at once, as two numbers with a byte for each register, whose highest bit is free: it stays 1 where the first one,
    with that bit set, is not less than the other.
    """
    one, other = int.from_bytes(registers, "little"), int.from_bytes(others, "little")
    is_larger = ((one | _HIGHEST) - other & _HIGHEST) >> 7
    of_one = (is_larger << 8) - is_larger  # 255 where the first is taken
    return bytearray((other ^ (one ^ other) & of_one).to_bytes(REGISTERS, "little"))


_HIGHEST: Final = int.from_bytes(b"\x80" * REGISTERS, "little")


def make_dense(value: bytearray) -> None:
    """Turn a sparse value into a dense one, which keeps its estimate. Raises CommandError if it is damaged."""
    packed = _pack_dense(unpack(value))
    value[4] = DENSE
    value[_HEADER_BYTES:] = packed


def _raise_dense(value: bytearray, index: int, register: int) -> bool:
    at, shift = _HEADER_BYTES + (index * 6 >> 3), index * 6 & 7
    window = int.from_bytes(value[at : at + 2], "little")
    if window >> shift & 63 >= register:
        return False
    window = window & ~(63 << shift) | register << shift
    value[at] = window & 255
    if shift > 2:
        value[at + 1] = window >> 8
    return True


# Four registers stand in three bytes. Every fourth register at once: bytes are moved by a table, joined as one number.


def _moved(shift: int) -> bytes:
    """A table that shifts a byte to the left, or by a negative number to the right."""
    return bytes([(byte << shift if shift >= 0 else byte >> -shift) & 255 for byte in range(256)])


_LEFT_2: Final = bytes([byte << 2 & 63 for byte in range(256)])
_LEFT_4: Final = bytes([byte << 4 & 63 for byte in range(256)])
_LOW: Final = bytes([byte & 63 for byte in range(256)])
_SHIFTS: Final = {shift: _moved(shift) for shift in (-6, -4, -2, 2, 4, 6)}


def _unpack_dense(value: bytes | bytearray) -> bytearray:
    first, second, third = (bytes(value[_HEADER_BYTES + i :: 3]) for i in range(3))
    registers = bytearray(REGISTERS)
    registers[0::4] = first.translate(_LOW)
    registers[1::4] = _either(first.translate(_SHIFTS[-6]), second.translate(_LEFT_2))
    registers[2::4] = _either(second.translate(_SHIFTS[-4]), third.translate(_LEFT_4))
    registers[3::4] = third.translate(_SHIFTS[-2])
    return registers


def _pack_dense(registers: bytearray) -> bytearray:
    r0, r1, r2, r3 = (bytes(registers[i::4]) for i in range(4))
    packed = bytearray(REGISTERS * 6 // 8)
    packed[0::3] = _either(r0, r1.translate(_SHIFTS[6]))
    packed[1::3] = _either(r1.translate(_SHIFTS[-2]), r2.translate(_SHIFTS[4]))
    packed[2::3] = _either(r2.translate(_SHIFTS[-4]), r3.translate(_SHIFTS[2]))
    return packed


def _either(one: bytes, other: bytes) -> bytes:
    """The bits of both."""
    return (int.from_bytes(one, "little") | int.from_bytes(other, "little")).to_bytes(len(one), "little")


# -- sparse ---------------------------------------------------------------------------------------------------------


class _Run:
    """One run of a sparse value: how many registers, what they hold, and how many bytes that takes."""

    __slots__ = ("value", "length", "n_bytes")

    def __init__(self, data: bytes | bytearray, at: int) -> None:
        byte = data[at]
        self.n_bytes = 1
        if byte & 0x80:
            self.value = (byte >> 2 & 31) + 1
            self.length = (byte & 3) + 1
            return
        self.value = 0
        self.length = byte + 1
        if byte & 0x40:
            self.n_bytes = 2
            self.length = ((byte & 63) << 8 | (data[at + 1] if at + 1 < len(data) else 0)) + 1


def _zeros(length: int) -> bytes:
    if length > _LONGEST_SHORT_ZEROS:
        return bytes([0x40 | (length - 1) >> 8, (length - 1) & 255])
    return bytes([length - 1])


def _values(value: int, length: int) -> bytes:
    return bytes([0x80 | (value - 1) << 2 | (length - 1)])


def _sparse_register(value: bytes | bytearray, index: int) -> int:
    """What a register holds; -1 if the runs end before it."""
    data = bytes(value)  # compiled code reads those without a detour
    n: i64 = len(data)
    at: i64 = _HEADER_BYTES
    left: i64 = index
    byte: i64
    while at < n:
        byte = data[at]
        if byte & 0x80:
            left -= (byte & 3) + 1
            if left < 0:
                return (byte >> 2 & 31) + 1
        elif byte & 0x40:
            at += 1
            left -= ((byte & 63) << 8 | (data[at] if at < n else 0)) + 1
        else:
            left -= byte + 1
        if left < 0:
            return 0
        at += 1
    return -1


# What a run of one byte stands for; a longer one is not looked up here.
_REGISTERS_OF: Final = [
    bytes([(byte >> 2 & 31) + 1]) * ((byte & 3) + 1) if byte & 0x80 else bytes((byte & 63) + 1) for byte in range(256)
]
_MARK_BYTES: Final = 48  # between two marks


class Runs:
    """Changes registers of a sparse value.

    Marks, some bytes apart, spare it walking over the same runs again: places where a run begins, and its first register.
    """

    def __init__(self, value: bytearray, most_bytes: int) -> None:
        self.value = value
        self.most_bytes = most_bytes  # a longer one turns dense
        self.places = [_HEADER_BYTES]
        self.firsts = [0]

    def raise_register(self, index: int, register: int) -> bool:
        """True if the register grew. The value may turn dense. Raises CommandError if it is damaged."""
        value = self.value
        if register > _LARGEST_SPARSE_VALUE:
            return self._raise_densely(index, register)
        mark = max(0, bisect_right(self.firsts, index) - 2)  # so that the run before the wanted one is met
        at: i64 = self.places[mark]
        first: i64 = self.firsts[mark]
        before: i64 = -1  # the run before, and its first register
        before_first: i64 = -1
        data = bytes(value)  # compiled code reads those without a detour
        n: i64 = len(data)
        unmarked: i64 = self.places[-1] + _MARK_BYTES
        wanted: i64 = index
        byte: i64
        beyond: i64
        while at < n:
            if at >= unmarked:
                self.places.append(at)
                self.firsts.append(first)
                unmarked = at + _MARK_BYTES
            byte = data[at]
            if byte & 0x80:
                beyond = first + (byte & 3) + 1
            elif byte & 0x40:
                beyond = first + _Run(value, at).length
            else:
                beyond = first + byte + 1
            if wanted < beyond:
                break
            before, before_first = at, first
            at += 2 if byte & 0xC0 == 0x40 else 1
            first = beyond
        if at >= n:
            raise corrupted()
        run = _Run(value, at)
        if run.value >= register:
            return False
        new = self._split(run, index - first, register)
        growth = len(new) - run.n_bytes
        if growth > 0 and n + growth > self.most_bytes:
            return self._raise_densely(index, register)
        value[at : at + run.n_bytes] = new
        if before < 0:
            before, before_first = _HEADER_BYTES, 0
        _merge_runs(value, before)
        self._move_marks(before, before_first, at + run.n_bytes + 2 * _MERGE_OPCODES, len(value) - n)
        forget_estimate(value)
        return True

    def _move_marks(self, start: int, first: int, end: int, growth: int) -> None:
        """Runs from `start` up to `end`, as it was, are others now, and what is behind has moved."""
        places, firsts = self.places, self.firsts
        low = bisect_right(places, start)
        high = bisect_right(places, end)
        if growth:
            for i in range(high, len(places)):
                places[i] += growth
        if high > low or start > places[low - 1] + 2 * _MARK_BYTES:
            if start > places[low - 1]:
                places[low:high] = [start]
                firsts[low:high] = [first]
            else:
                del places[low:high]
                del firsts[low:high]

    def _split(self, run: _Run, offset: int, register: int) -> bytes:
        """The runs that take the place of one, of which the register at `offset` has grown."""
        left, right = offset, run.length - offset - 1
        if run.value:
            head = _values(run.value, left) if left else b""
            tail = _values(run.value, right) if right else b""
        else:
            head = _zeros(left) if left else b""
            tail = _zeros(right) if right else b""
        return head + _values(register, 1) + tail

    def _raise_densely(self, index: int, register: int) -> bool:
        make_dense(self.value)
        return _raise_dense(self.value, index, register)


def _merge_runs(value: bytearray, at: int) -> None:
    """Join neighbours of the same value, among the few runs from `at` on."""
    for _ in range(_MERGE_OPCODES):
        if at >= len(value):
            return
        byte = value[at]
        if not byte & 0x80:
            at += 2 if byte & 0x40 else 1
            continue
        if at + 1 < len(value) and value[at + 1] & 0x80 and value[at + 1] & 0x7C == byte & 0x7C:
            length = (byte & 3) + (value[at + 1] & 3) + 2
            if length <= _LONGEST_VALUE_RUN:
                value[at : at + 2] = bytes([byte & 0xFC | (length - 1)])
                continue
        at += 1
