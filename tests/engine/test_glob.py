import fnmatch
from random import Random

import pytest

from upstash_global.engine.types.glob import LONGEST_PATTERN, Glob
from upstash_global.errors import CommandError


@pytest.mark.parametrize(
    ("pattern", "text"),
    [(b"a", b"a"), (b"*", b"x"), (b"user:*", b"user:"), (b"user:*", b"user:1"), (b"*:1", b"user:1"), (b"h?llo", b"hello"),
     (b"h[ae]llo", b"hallo"), (b"h[^e]llo", b"hallo"), (b"h[a-c]llo", b"hbllo"), (b"h[c-a]llo", b"hbllo"),
     (b"a\\*b", b"a*b"), (b"a\\", b"a\\"), (b"[a\\]b]", b"]"), (b"[a", b"a"), (b"[^", b"z"), (b"a**b", b"ab"),
     (b"*a*b*", b"xxaxxbxx"), (b"*a?c", b"abcaxc"), (b"[a-]", b"a"), (b"", b""), (b"?", b"\n"), (b"a*", b"a")],
)  # fmt: skip
def test_patterns_that_match(pattern: bytes, text: bytes) -> None:
    assert Glob(pattern).matches(text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [(b"a", b"b"), (b"a", b"ab"), (b"a*b", b"a"), (b"a*a", b"a"), (b"h?llo", b"hllo"), (b"h[^e]llo", b"hello"), (b"[]", b"x"),
     (b"[", b"["), (b"*", b""), (b"**", b""), (b"", b"a"), (b"*ab*", b"a"), (b"a?*", b"a"), (b"A", b"a")],
)  # fmt: skip
def test_patterns_that_do_not_match(pattern: bytes, text: bytes) -> None:
    """The empty text matches the empty pattern only, as in Redis 7.0."""
    assert not Glob(pattern).matches(text)


def test_letter_case_can_be_ignored() -> None:
    assert Glob(b"MaxMemory*[A-C]", ignores_case=True).matches(b"maxmemory-B")


def test_ranges_compare_signed_bytes() -> None:
    """As C's char on x86: 0xff is -1, so a range from it to 'a' covers the bytes from 0 to 'a'."""
    assert Glob(b"[\xff-a]").matches(b"A")
    assert not Glob(b"[\xff-a]").matches(b"b")


@pytest.mark.parametrize("seed", range(5))
def test_random_patterns_match_as_a_naive_matcher_says(seed: int) -> None:
    random = Random(seed)
    for _ in range(300):
        pattern = "".join(random.choices("ab*?", k=random.randrange(9)))
        text = "".join(random.choices("ab", k=random.randrange(1, 12)))
        assert Glob(pattern.encode()).matches(text.encode()) == fnmatch.fnmatchcase(text, pattern), (pattern, text)


def test_many_stars_cost_no_recursion() -> None:
    """A matcher that goes back would try every way to share the text among the stars."""
    assert not Glob(b"a*" * 500 + b"b").matches(b"a" * 20_000)


def test_long_patterns_are_refused_but_names_and_prefixes_are_not() -> None:
    with pytest.raises(CommandError, match="pattern is too long"):
        Glob(b"?" * (LONGEST_PATTERN + 1))
    name = b"x" * 100_000
    assert Glob(name).matches(name)
    assert Glob(name + b"*").matches(name + b"y")
