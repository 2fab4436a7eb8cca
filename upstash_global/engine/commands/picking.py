"""Picking by chance: the count that SRANDMEMBER and HRANDFIELD take."""

from typing import Final

from upstash_global.engine.arguments import integer_argument
from upstash_global.engine.numbers import INT64_MAX
from upstash_global.errors import error

MOST_PICKS: Final = 10_000_000  # with repeats; Redis would answer any number


def pick_count(text: bytes) -> int:
    """How many elements to pick: negative for that many with repeats. Raises CommandError, as Redis 7.2."""
    count = integer_argument(text)
    if count < -INT64_MAX:
        raise error(f"value is out of range, value must between {-INT64_MAX} and {INT64_MAX}")
    if count < -MOST_PICKS:
        raise error("value is out of range")
    return count
