"""Filters of a JSONPath: `?(@.price < 10 && (@.kind == "book" || !@.sold))`.

An operand is a literal (number, string, true, false, null), or a path of names and indexes from the value that is
tested (`@.a['b'][0]`) or from the root (`$.limit`). A path alone asks whether it exists. Numbers compare by value, texts by code
points; whatever cannot be compared is not equal and neither less nor greater. `=~` searches a text for a regular
expression (regex.py), given as a string or found under a path.
"""

import re
from typing import Final

from upstash_global.engine.types.json import Value, equal, number_of
from upstash_global.engine.types.regex import Regex, compile_regex
from upstash_global.errors import CommandError, error

# What a condition is.
_OR: Final = 0
_AND: Final = 1
_NOT: Final = 2
_EXISTS: Final = 3
_EQUAL: Final = 4
_DIFFERENT: Final = 5
_LESS: Final = 6
_AT_MOST: Final = 7
_GREATER: Final = 8
_AT_LEAST: Final = 9
_MATCHES: Final = 10

_COMPARISONS: Final = {
    "==": _EQUAL,
    "!=": _DIFFERENT,
    "<": _LESS,
    "<=": _AT_MOST,
    ">": _GREATER,
    ">=": _AT_LEAST,
    "=~": _MATCHES,
}

_MOST_NESTED: Final = 64  # parentheses and negations inside each other


class _Missing:
    """What a path leads to when there is nothing."""


_MISSING: Final = _Missing()


class Operand:
    """A literal, or a path from the tested value or the root."""

    __slots__ = ("literal", "is_path", "from_root", "steps")

    def __init__(self, literal: Value) -> None:
        self.literal = literal
        self.is_path = False
        self.from_root = False
        self.steps: list[str | int] = []

    def value(self, current: Value, root: Value) -> Value:
        """What it stands for; _MISSING when its path leads nowhere."""
        if not self.is_path:
            return self.literal
        node = root if self.from_root else current
        for step in self.steps:
            if isinstance(step, str):
                if type(node) is not dict or step not in node:
                    return _MISSING
            elif type(node) is not list or not -len(node) <= step < len(node):
                return _MISSING
            node = node[step]
        return node


class Condition:
    """A node of the filter's tree: `parts` for the logical ones, `left` and `right` for the others."""

    __slots__ = ("kind", "parts", "left", "right")

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.parts: list[Condition] = []
        self.left: Operand | None = None
        self.right: Operand | None = None

    def holds(self, current: Value, root: Value) -> bool:
        """Whether it holds for the value `current` of the document `root`."""
        kind = self.kind
        if kind == _OR:
            return any(part.holds(current, root) for part in self.parts)
        if kind == _AND:
            return all(part.holds(current, root) for part in self.parts)
        if kind == _NOT:
            return not self.parts[0].holds(current, root)
        assert self.left is not None
        left = self.left.value(current, root)
        if kind == _EXISTS:
            return left is not _MISSING
        assert self.right is not None
        return _compares(kind, left, self.right.value(current, root))


def _compares(kind: int, left: Value, right: Value) -> bool:
    if kind == _EQUAL:
        return _same(left, right)
    if kind == _DIFFERENT:
        return not _same(left, right)
    if kind == _MATCHES:
        return type(left) is str and type(right) is str and _regex(right).is_found(left)
    if type(left) is str and type(right) is str:
        return _ordered(kind, (left > right) - (left < right))
    one, other = number_of(left), number_of(right)
    if one is None or other is None:
        return False
    return _ordered(kind, (one > other) - (one < other))


def _same(left: Value, right: Value) -> bool:
    one = number_of(left)
    if one is not None:
        return one == number_of(right)
    return left is not _MISSING and equal(left, right)


def _ordered(kind: int, sign: int) -> bool:
    if kind == _LESS:
        return sign < 0
    if kind == _AT_MOST:
        return sign <= 0
    return sign > 0 if kind == _GREATER else sign >= 0


def _regex(pattern: str) -> Regex:
    """The compiled pattern; one that is no regular expression is found nowhere."""
    regex = _regexes.get(pattern)
    if regex is None:
        regex = compile_regex(pattern)
        if len(pattern) <= _LONGEST_KEPT:
            if len(_regexes) >= _MOST_KEPT:
                _regexes.clear()
            _regexes[pattern] = regex
    return regex


_regexes: Final[dict[str, Regex]] = {}
_MOST_KEPT: Final = 100
_LONGEST_KEPT: Final = 512  # characters


# -- reading --------------------------------------------------------------------------------------------------------


class Scanner:
    """A text and how far it was read: what the readers of paths and of filters share."""

    def __init__(self, text: str, at: int = 0) -> None:
        self.text = text
        self.at = at

    def peek(self) -> str:
        """The next character, or nothing at the end."""
        return self.text[self.at : self.at + 1]

    def takes(self, word: str) -> bool:
        """Step over `word` if it comes next."""
        if self.text.startswith(word, self.at):
            self.at += len(word)
            return True
        return False

    def expect(self, word: str) -> None:
        if not self.takes(word):
            raise self.mistake()

    def skip_spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
            self.at += 1

    def name(self) -> str:
        """A name without quotes: letters, digits, `_`, `-`, `$`, and whatever is not ASCII."""
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise self.mistake()
        self.at = match.end()
        return match.group()

    def integer(self) -> int | None:
        match = _INTEGER.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return int(match.group()[:_LONGEST_INTEGER])

    def string(self) -> str:
        """A string in single or double quotes. A backslash makes the escapes of JSON and takes quotes; before another
        character it stays, so that regular expressions need not be escaped twice."""
        quote = self.peek()
        self.at += 1
        parts: list[str] = []
        while True:
            match = _PLAIN.match(self.text, self.at)
            assert match is not None
            parts.append(match.group())
            self.at = match.end()
            character = self.peek()
            self.at += 1
            if character == quote:
                return "".join(parts)
            if character == "\\":
                parts.append(self._escaped())
            elif character:
                parts.append(character)
            else:
                self.at -= 1
                raise self.mistake()

    def _escaped(self) -> str:
        match = _HEXADECIMAL.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
            return chr(int(match.group()[1:], 16))
        character = self.peek()
        self.at += 1
        return _ESCAPES.get(character, "\\" + character)

    def mistake(self) -> CommandError:
        return error(f"Search path error at or near {self.at + 1}")


_NAME: Final = re.compile(r"(?:[A-Za-z0-9_$-]|[^\x00-\x7f])+")
_INTEGER: Final = re.compile(r"-?[0-9]+")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_PLAIN: Final = re.compile(r"[^'\"\\]*")
_HEXADECIMAL: Final = re.compile(r"u[0-9a-fA-F]{4}")
_ESCAPES: Final = {
    "\\": "\\",
    "'": "'",
    '"': '"',
    "/": "/",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "f": "\f",
}  # no `\b`, which regular expressions need for the edge of a word
_LONGEST_INTEGER: Final = 20  # digits: more change nothing
_WORDS: Final[dict[str, Value]] = {"true": True, "false": False, "null": None}


class FilterReader(Scanner):
    """Reads a filter: `||` binds least, then `&&`, then `!` and comparisons."""

    def __init__(self, text: str, at: int) -> None:
        super().__init__(text, at)
        self.depth = 0

    def condition(self) -> Condition:
        """The condition behind the question mark; stops where it ends."""
        return self._chain(_OR)

    def _chain(self, kind: int) -> Condition:
        """Parts joined by `||` or by `&&`."""
        word = "||" if kind == _OR else "&&"
        parts: list[Condition] = []
        while True:
            parts.append(self._chain(_AND) if kind == _OR else self._part())
            self.skip_spaces()
            if not self.takes(word):
                break
        if len(parts) == 1:
            return parts[0]
        joined = Condition(kind)
        joined.parts = parts
        return joined

    def _part(self) -> Condition:
        self.skip_spaces()
        self.depth += 1
        if self.depth > _MOST_NESTED:
            raise self.mistake()
        if self.takes("("):
            part = self.condition()
            self.skip_spaces()
            self.expect(")")
        elif self.peek() == "!":
            self.at += 1
            part = Condition(_NOT)
            part.parts = [self._part()]
        else:
            part = self._comparison()
        self.depth -= 1
        return part

    def _comparison(self) -> Condition:
        left = self._operand()
        self.skip_spaces()
        for n in (2, 1):
            kind = _COMPARISONS.get(self.text[self.at : self.at + n])
            if kind is not None:
                self.at += n
                self.skip_spaces()
                comparison = Condition(kind)
                comparison.left = left
                comparison.right = self._operand()
                return comparison
        if not left.is_path:
            raise self.mistake()
        exists = Condition(_EXISTS)
        exists.left = left
        return exists

    def _operand(self) -> Operand:
        first = self.peek()
        if first == "@" or first == "$":
            self.at += 1
            return self._path(first == "$")
        if first == "'" or first == '"':
            return Operand(self.string())
        match = _NUMBER.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
            text = match.group()
            is_whole = match.group(1) is None and match.group(2) is None and len(text) < _LONGEST_INTEGER
            return Operand(int(text) if is_whole else float(text))
        for word, value in _WORDS.items():
            if self.takes(word):
                return Operand(value)
        raise self.mistake()

    def _path(self, from_root: bool) -> Operand:
        operand = Operand(None)
        operand.is_path = True
        operand.from_root = from_root
        while True:
            if self.takes("."):
                if self.peek() != "[":
                    operand.steps.append(self.name())
                    continue
            if not self.takes("["):
                return operand
            self.skip_spaces()
            if self.peek() == "'" or self.peek() == '"':
                operand.steps.append(self.string())
            else:
                index = self.integer()
                if index is None:
                    raise self.mistake()
                operand.steps.append(index)
            self.skip_spaces()
            self.expect("]")
