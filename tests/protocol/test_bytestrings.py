"""Numbers and byte strings as bytes: the same as the library's, whatever the size."""

from random import Random

import msgpack
import pytest
from librt.strings import BytesWriter

from upstash_global.bytestrings import read_strings, write_decimal, write_strings

SIZES = [0, 1, 15, 16, 17, 255, 256, 257, 65_535, 65_536]


def test_a_decimal_is_what_percent_d_gives() -> None:
    random = Random(1)
    edges = [edge + step for power in range(66) for edge in (1 << power, 10 ** (power % 20)) for step in (-1, 0, 1)]
    for number in [*edges, *[-edge for edge in edges], *[random.randrange(1 << 62) for _ in range(500)]]:
        writer = BytesWriter()
        write_decimal(writer, number)
        assert writer.getvalue() == b"%d" % number


@pytest.mark.parametrize("n", SIZES)
def test_strings_are_written_as_msgpack_does_and_read_again_where_they_are_common(n: int) -> None:
    for strings in ([b"a", b"v" * n, b""], [b"k"] * n):
        writer = BytesWriter()
        write_strings(writer, strings)
        packed = writer.getvalue()
        assert packed == msgpack.packb(strings)
        is_common = len(strings) < 16 and max(map(len, strings), default=0) < 1 << 16
        assert read_strings(packed, 0) == (strings, len(packed)) if is_common else read_strings(packed, 0)[1] == 0
        assert not is_common or read_strings(b"??" + packed + b"?", 2) == (strings, len(packed) + 2)


def test_strings_that_are_cut_or_are_none_are_left_to_msgpack() -> None:
    packed = msgpack.packb([b"a", b"v" * 300, b""])
    assert all(read_strings(packed[:end], 0)[1] == 0 for end in range(len(packed)))
    others: list[object] = [None, 1, b"x", "x", {}, [1], ["x"], [[b"x"]], [b"x", None]]
    for other in others:
        assert read_strings(msgpack.packb(other), 0)[1] == 0
