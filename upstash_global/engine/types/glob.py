"""Glob patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^abc]` and a backslash before a byte that is meant literally.

A pattern is read once, into pieces between its stars. Each piece has a fixed length, so the leftmost place where it fits
is always as good as any: matching never goes back, and a text costs one search per piece (Redis recurses instead).
Most patterns need no piece at all: a plain name, `*`, or `prefix*`.

Source: Redis 7.2, stringmatchlen; its corners are kept: a set without its `]` ends with the pattern, a range may be
written from high to low and compares signed bytes, and the empty text matches the empty pattern only.
"""

import re
from typing import Final

from upstash_global.errors import error

LONGEST_PATTERN: Final = 1024  # in bytes; plain names and `prefix*` may have any length


class Glob:
    """One pattern, ready to match many texts. Raises CommandError for one that would cost too much to match."""

    __slots__ = ("ignores_case", "prefix", "tail", "middles", "has_star", "ends_open", "is_all")

    def __init__(self, pattern: bytes, ignores_case: bool = False) -> None:
        self.ignores_case = ignores_case
        pieces = _pieces(pattern.lower() if ignores_case else pattern)
        self.has_star = len(pieces) > 1
        self.prefix = pieces[0]  # must begin the text
        self.tail = pieces[-1]  # must end it
        self.middles = [piece for piece in pieces[1:-1] if piece.length]
        self.ends_open = self.has_star and not self.middles and not self.tail.length  # `prefix*`
        self.is_all = self.ends_open and not self.prefix.length  # `*`

    def matches(self, text: bytes) -> bool:
        if self.is_all and text:
            return True
        if self.ignores_case:
            text = text.lower()
        if not self.has_star:
            return len(text) == self.prefix.length and self.prefix.fits(text, 0)
        if not self.prefix.fits(text, 0):
            return False
        if self.ends_open:
            return bool(text)
        at = self.prefix.length
        for piece in self.middles:
            at = piece.find(text, at)
            if at < 0:
                return False
            at += piece.length
        end = len(text) - self.tail.length
        return bool(text) and end >= at and self.tail.fits(text, end)


class Piece:
    """A part of a pattern without stars: plain bytes, or an expression of fixed length."""

    __slots__ = ("plain", "expression", "length")

    def __init__(self, plain: bytes, expression: re.Pattern[bytes] | None, length: int) -> None:
        self.plain = plain
        self.expression = expression
        self.length = length

    def fits(self, text: bytes, at: int) -> bool:
        if self.expression is None:
            return text.startswith(self.plain, at)
        return self.expression.match(text, at) is not None

    def find(self, text: bytes, at: int) -> int:
        """The first place from `at` on where the piece fits, or -1."""
        if self.expression is None:
            return text.find(self.plain, at)
        found = self.expression.search(text, at)
        return -1 if found is None else found.start()


_SPECIAL: Final = re.compile(rb"[*?\[\\]")


def _pieces(pattern: bytes) -> list[Piece]:
    """The pieces before, between and after the stars."""
    ends_open = pattern.endswith(b"*")
    plain = pattern[:-1] if ends_open else pattern
    if _SPECIAL.search(plain) is None:
        piece = Piece(plain, None, len(plain))
        return [piece, Piece(b"", None, 0)] if ends_open else [piece]
    if len(pattern) > LONGEST_PATTERN:
        raise error("pattern is too long")
    return _split(pattern)


def _split(pattern: bytes) -> list[Piece]:
    pieces: list[Piece] = []
    plain = bytearray()
    source = bytearray()  # the same piece as a regular expression
    length = 0
    is_plain = True
    at = 0
    while at < len(pattern):
        byte = pattern[at]
        at += 1
        if byte == _STAR:
            pieces.append(_piece(plain, source, length, is_plain))
            plain, source, length, is_plain = bytearray(), bytearray(), 0, True
            continue
        length += 1
        if byte == _QUESTION_MARK:
            source += b"."
            is_plain = False
        elif byte == _BRACKET:
            matched, at = _read_set(pattern, at)
            source += _set_source(matched)
            is_plain = False
        else:
            if byte == _BACKSLASH and at < len(pattern):
                byte = pattern[at]
                at += 1
            plain.append(byte)
            source += re.escape(bytes((byte,)))
    pieces.append(_piece(plain, source, length, is_plain))
    return pieces


_STAR: Final = 42
_QUESTION_MARK: Final = 63
_BRACKET: Final = 91
_BACKSLASH: Final = 92
_CLOSING_BRACKET: Final = 93
_CARET: Final = 94
_DASH: Final = 45


def _piece(plain: bytearray, source: bytearray, length: int, is_plain: bool) -> Piece:
    if is_plain:
        return Piece(bytes(plain), None, length)
    return Piece(b"", re.compile(bytes(source), re.DOTALL), length)


def _read_set(pattern: bytes, at: int) -> tuple[list[bool], int]:
    """Which bytes the set that begins behind the bracket matches, and where the pattern goes on."""
    matched = [False] * 256
    negated = pattern[at : at + 1] == b"^"
    if negated:
        at += 1
    n = len(pattern)
    while at < n and pattern[at] != _CLOSING_BRACKET:
        if pattern[at] == _BACKSLASH and at + 1 < n:
            matched[pattern[at + 1]] = True
            at += 2
        elif at + 2 < n and pattern[at + 1] == _DASH:
            first, last = sorted((_signed(pattern[at]), _signed(pattern[at + 2])))
            for value in range(first, last + 1):
                matched[value & 255] = True
            at += 3
        else:
            matched[pattern[at]] = True
            at += 1
    if negated:
        matched = [not is_matched for is_matched in matched]
    return matched, min(at + 1, n)


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _set_source(matched: list[bool]) -> bytes:
    """A regular expression for the set; `[^\\x00-\\xff]` for the empty one."""
    listed = b"".join(b"\\x%02x" % value for value in range(256) if matched[value])
    return b"[" + listed + b"]" if listed else b"[^\\x00-\\xff]"
