from fractions import Fraction
from random import Random

import pytest

from upstash_global.engine.numbers import (
    add_long_doubles,
    format_long_double,
    parse_float,
    parse_integer,
    parse_long_double,
    parse_sort_weight,
)


@pytest.mark.parametrize("text", [b"0", b"-1", b"9223372036854775807", b"-9223372036854775808"])
def test_integers_of_64_bits_are_read(text: bytes) -> None:
    assert parse_integer(text) == int(text)


@pytest.mark.parametrize(
    "text",
    [b"", b"-", b"-0", b"+1", b"01", b"1 ", b" 1", b"1_0", b"1.0", b"9223372036854775808", b"-9223372036854775809",
     "\u0661".encode(), b"0x1", b"1" * 30],
)  # fmt: skip
def test_what_redis_takes_for_no_integer_is_refused(text: bytes) -> None:
    assert parse_integer(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"1.5", 1.5), (b"-0", 0.0), (b".5", 0.5), (b"5.", 5.0), (b"1e3", 1000.0), (b"+1", 1.0), (b"0x10", 16.0),
     (b"0x1.8p1", 3.0), (b"inf", float("inf")), (b"-Infinity", float("-inf")), (b"0e999999", 0.0), (b"5e-324", 5e-324)],
)  # fmt: skip
def test_floats_are_read_as_c_reads_them(text: bytes, value: float) -> None:
    assert parse_float(text) == value


@pytest.mark.parametrize(
    "text", [b"", b" 1", b"1 ", b"1_0", b"nan", b"1e", b"e1", b"0x", b"1e400", b"1e-400", b"1\0", b"--1"]
)
def test_what_redis_takes_for_no_float_is_refused(text: bytes) -> None:
    assert parse_float(text) is None


def test_sort_takes_no_text_for_zero_and_skips_leading_spaces() -> None:
    assert [parse_sort_weight(text) for text in (b"", b" 7", b"7 ", b"7\0x", b"a")] == [0.0, 7.0, None, 7.0, None]


def summed(one: bytes, other: bytes) -> bytes | None:
    a, b = parse_long_double(one), parse_long_double(other)
    assert a is not None
    assert b is not None
    return add_long_doubles(a, b)


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [(b"0.1", b"0.2", b"0.3"), (b"3.0", b"0", b"3"), (b"5.0e3", b"0", b"5000"), (b"10.50", b"0.1", b"10.6"),
     (b"-1.1", b"1.1", b"0"), (b"-1e-19", b"0", b"0"), (b"1", b"1e-17", b"1.00000000000000001"),
     (b"9223372036854775807", b"1", b"9223372036854775808"), (b"1e20", b"0.001", b"100000000000000000000"),
     (b"18446744073709551615", b"0.75", b"18446744073709551616"), (b"0x10", b"0x.8", b"16.5")],
)  # fmt: skip
def test_sums_are_those_of_long_doubles(one: bytes, other: bytes, text: bytes) -> None:
    """Texts as redis-server 7.0 on x86-64 answers INCRBYFLOAT."""
    assert summed(one, other) == text


def test_the_largest_long_double_has_4932_digits() -> None:
    text = summed(b"1e4931", b"0")
    assert text is not None
    assert len(text) == 4932


@pytest.mark.parametrize(
    "text", [b"", b"nan", b"1 ", b" 1", b"1_0", b"1e4933", b"1e-5000", b"9" * 5000, b"1" * 5120, b"."]
)
def test_what_fits_no_long_double_is_refused(text: bytes) -> None:
    assert parse_long_double(text) is None


def test_a_sum_that_is_no_finite_number_has_no_text() -> None:
    assert summed(b"inf", b"1") is None
    assert summed(b"1.1e4932", b"1.1e4932") is None


@pytest.mark.parametrize("seed", range(5))
def test_reading_rounds_to_the_nearest_of_64_bits(seed: int) -> None:
    """No other long double lies nearer to the text than the one that was read."""
    random = Random(seed)
    for _ in range(200):
        text = b"%d.%de%d" % (random.randrange(10**9), random.randrange(10**18), random.randrange(-40, 40))
        value = parse_long_double(text)
        assert value is not None
        exact = Fraction(text.decode())
        error = abs(value.mantissa * Fraction(2) ** value.exponent - exact)
        assert value.mantissa.bit_length() <= 64
        for neighbour in (value.mantissa - 1, value.mantissa + 1):
            assert abs(neighbour * Fraction(2) ** value.exponent - exact) >= error


@pytest.mark.parametrize("seed", range(5))
def test_a_printed_value_lies_within_half_a_unit_of_the_last_digit(seed: int) -> None:
    random = Random(seed)
    for _ in range(200):
        value = parse_long_double(b"%d.%d" % (random.randrange(10**12), random.randrange(10**25)))
        assert value is not None
        exact = value.mantissa * Fraction(2) ** value.exponent
        assert abs(Fraction(format_long_double(value).decode()) - exact) <= Fraction(1, 2 * 10**17)
