from random import Random

import pytest

from tests.engine.bench import Bench


def bits_of(value: bytes) -> list[int]:
    return [(byte >> shift) & 1 for byte in value for shift in range(7, -1, -1)]


def test_a_bit_is_set_from_the_left_and_the_string_grows() -> None:
    bench = Bench()
    assert bench.run("SETBIT k 9 1") == 0
    assert bench.run("GET k") == b"\x00\x40"
    assert bench.run("SETBIT k 9 0") == 1
    assert bench.run("GETBIT k 9") == 0
    assert bench.run("GETBIT k 100000") == 0
    assert bench.run("OBJECT ENCODING k") == "raw"


def test_setting_a_bit_to_what_it_is_changes_nothing() -> None:
    bench = Bench()
    bench.run("SETBIT k 3 1")
    bench.run("SETBIT k 3 1")
    assert len(bench.entries) == 1


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("SETBIT k -1 1", "ERR bit offset is not an integer or out of range"),
        ("SETBIT k 4294967296 1", "ERR bit offset is not an integer or out of range"),
        ("SETBIT k 0 2", "ERR bit is not an integer or out of range"),
        ("GETBIT k x", "ERR bit offset is not an integer or out of range"),
        ("BITCOUNT k 0", "ERR syntax error"),
        ("BITCOUNT missing 0", "ERR syntax error"),
        ("BITCOUNT missing 0 a", "ERR value is not an integer or out of range"),
        ("BITPOS missing 0 0 a", "ERR value is not an integer or out of range"),
        ("BITPOS missing 0 0 1 FOO", "ERR syntax error"),
        ("BITCOUNT k 0 1 FOO", "ERR syntax error"),
        ("BITPOS k 2", "ERR The bit argument must be 1 or 0."),
        ("BITOP FOO t k", "ERR syntax error"),
        ("BITOP NOT t k k", "ERR BITOP NOT must be called with a single source key."),
        ("BITFIELD k GET u64 0", "ERR Invalid bitfield type. Use something like i16 u8. "
         "Note that u64 is not supported but i64 is."),
        ("BITFIELD k OVERFLOW FOO", "ERR Invalid OVERFLOW type specified"),
        ("BITFIELD k SET u8 0", "ERR syntax error"),
        ("BITFIELD k GET u8 #4294967296", "ERR bit offset is not an integer or out of range"),
        ("BITFIELD_RO k SET u8 0 1", "ERR BITFIELD_RO only supports the GET subcommand"),
    ],
)  # fmt: skip
def test_refusals_are_worded_as_by_redis(line: str, text: str) -> None:
    bench = Bench()
    bench.run("SET k v")
    assert bench.run(line).text == text
    assert len(bench.entries) == 1


@pytest.mark.parametrize("line", ["SETBIT z 0 1", "GETBIT z 0", "BITCOUNT z", "BITPOS z 1", "BITOP OR t z",
                                  "BITFIELD z GET u8 0", "BITFIELD z SET u8 0 1", "BITFIELD_RO z GET u8 0"])  # fmt: skip
def test_only_strings_have_bits(line: str) -> None:
    bench = Bench()
    bench.run("ZADD z 1 a")
    assert bench.run(line).code == "WRONGTYPE"


@pytest.mark.parametrize("seed", range(10))
def test_counts_and_positions_agree_with_a_list_of_bits(seed: int) -> None:
    random = Random(seed)
    bench = Bench()
    filler = random.choice([b"\x00", b"\xff", b"\x5a"])
    value = filler * random.randrange(200) + random.randbytes(random.randrange(1, 9)) + filler * random.randrange(200)
    bench.run("SET", "k", value)
    bits = bits_of(value)
    for _ in range(100):
        start, end = random.randrange(-len(bits), len(bits)), random.randrange(-len(bits), len(bits))
        first, last = start % len(bits), end % len(bits)
        assert bench.run(f"BITCOUNT k {start} {end} BIT") == sum(bits[first : last + 1])
        for bit in (0, 1):
            expected = bits.index(bit, first, last + 1) if bit in bits[first : last + 1] else -1
            assert bench.run(f"BITPOS k {bit} {start} {end} BIT") == expected


def test_without_an_end_zeros_follow_the_string() -> None:
    bench = Bench()
    bench.run("SET", "k", b"\xff\xff")
    assert bench.run("BITPOS k 0") == 16
    assert bench.run("BITPOS k 0 0 -1") == -1
    assert bench.run("BITPOS missing 0") == 0
    assert bench.run("BITPOS missing 1") == -1


@pytest.mark.parametrize("name", ["AND", "OR", "XOR"])
def test_strings_of_any_length_are_combined(name: str) -> None:
    """Longer than a block, with ends in different blocks."""
    random = Random(5)
    bench = Bench()
    sources = [random.randbytes(n) for n in (150_000, 70_001, 3)]
    for at, source in enumerate(sources):
        bench.run("SET", f"s{at}", source)
    numbers = [int.from_bytes(source.ljust(150_000, b"\0"), "big") for source in sources]
    expected = numbers[0]
    for number in numbers[1:]:
        expected = expected & number if name == "AND" else expected | number if name == "OR" else expected ^ number
    assert bench.run(f"BITOP {name} t s0 s1 s2") == 150_000
    assert bench.run("GET t") == expected.to_bytes(150_000, "big")


def test_not_turns_every_bit() -> None:
    bench = Bench()
    bench.run("SET", "k", b"\x0f\x00")
    assert bench.run("BITOP NOT k k") == 2
    assert bench.run("GET k") == b"\xf0\xff"


def test_an_empty_result_removes_the_target() -> None:
    bench = Bench()
    bench.run("SET t old")
    assert bench.run("BITOP AND t a b") == 0
    assert bench.run("EXISTS t") == 0


def test_fields_are_read_and_written_at_any_bit() -> None:
    bench = Bench()
    assert bench.run("BITFIELD k SET i5 3 -7 GET i5 3 GET u5 3 INCRBY u63 #2 9 GET u63 126") == [0, -7, 25, 9, 9]
    assert bench.run("BITFIELD_RO k GET i5 3 GET u8 100000") == [-7, 0]


@pytest.mark.parametrize(
    ("overflow", "up", "down"), [("WRAP", [-128, 1], [127, 255]), ("SAT", [127, 255], [-128, 0]), ("FAIL", [None, None], [None, None])]
)  # fmt: skip
def test_overflow_wraps_saturates_or_fails(overflow: str, up: list[int | None], down: list[int | None]) -> None:
    bench = Bench()
    bench.run("BITFIELD k SET i8 0 127 SET u8 8 255")
    assert bench.run(f"BITFIELD k OVERFLOW {overflow} INCRBY i8 0 1 INCRBY u8 8 2") == up
    bench.run("BITFIELD k SET i8 0 -128 SET u8 8 0")
    assert bench.run(f"BITFIELD k OVERFLOW {overflow} INCRBY i8 0 -1 INCRBY u8 8 -1") == down


def test_a_field_that_fails_to_overflow_still_makes_room() -> None:
    """As Redis 7.2: the string has grown before the first field is looked at."""
    bench = Bench()
    assert bench.run("BITFIELD k OVERFLOW FAIL SET u8 8 256") == [None]
    assert bench.run("STRLEN k") == 2
