"""Regular expressions whose cost is bounded: the time to search a text grows with its length, never exponentially.

Patterns come from clients, and one thread serves all of them, so an engine that backtracks is out of the question. A
pattern becomes a small nondeterministic machine; the search walks over the text once, with the set of states that the machine
may be in. It answers only whether there is a match, anywhere in the text, which needs neither groups nor greediness.

Syntax, of what Rust's `regex` (RedisJSON) has: `.` `|` `( )` `(?: )` `* + ? {2} {2,} {2,5}` and their lazy forms,
classes `[a-z]` `[^…]`, `\\d \\w \\s \\D \\W \\S`, anchors `^ $ \\b \\B \\A \\z`, flags `(?i)` `(?s)` `(?m)`, also `(?i: )`. No references and no look-around. A pattern that is none, or too large, is found nowhere.
"""

from typing import Final

MAX_STATES: Final = 2_000  # of a machine: a bound for {1000}{1000}
_MAX_NESTED: Final = 64  # groups inside each other, and repetitions of the same piece

# What a state does.
_CHARACTER: Final = 0  # step over one character of `ranges`
_SPLIT: Final = 1  # go on at `next` and at `other`
_ASSERT: Final = 2  # go on at `next` if the place is right
_MATCH: Final = 3

_TEXT_START: Final = 0
_TEXT_END: Final = 1
_LINE_START: Final = 2
_LINE_END: Final = 3
_WORD_EDGE: Final = 4
_NO_WORD_EDGE: Final = 5

Ranges = list[tuple[int, int]]  # of code points, both ends included

_DIGITS: Final[Ranges] = [(48, 57)]
_LETTERS: Final[Ranges] = [(48, 57), (65, 90), (95, 95), (97, 122)]
_SPACES: Final[Ranges] = [(9, 13), (32, 32)]
_LAST: Final = 0x10FFFF
_ANY: Final[Ranges] = [(0, _LAST)]
_ANY_BUT_LINE_END: Final[Ranges] = [(0, 9), (11, _LAST)]
_UNLIMITED: Final = -1


class _State:
    __slots__ = ("kind", "ranges", "is_negated", "ignores_case", "next", "other")

    def __init__(self, kind: int, next: int) -> None:
        self.kind = kind
        self.ranges: Ranges = []
        self.is_negated = False  # takes what is not in `ranges`
        self.ignores_case = False
        self.next = next
        self.other = 0  # a second `next`, or which assertion it is

    def takes(self, character: str) -> bool:
        return self._is_in_ranges(character) != self.is_negated

    def _is_in_ranges(self, character: str) -> bool:
        if _within(self.ranges, ord(character)):
            return True
        if not self.ignores_case:
            return False
        lower, upper = character.lower(), character.upper()
        return (len(lower) == 1 and _within(self.ranges, ord(lower))) or (
            len(upper) == 1 and _within(self.ranges, ord(upper))
        )


def _within(ranges: Ranges, point: int) -> bool:
    return any(first <= point <= last for first, last in ranges)


class Regex:
    """A compiled pattern."""

    def __init__(self, states: list[_State], start: int) -> None:
        self.states = states
        self.start = start

    def is_found(self, text: str) -> bool:
        """Whether it matches anywhere in `text`."""
        if not self.states:
            return False
        current: list[int] = []
        n = len(text)
        for at in range(n + 1):
            active: list[int] = []
            entered = bytearray(len(self.states))
            for index in current:
                if self._enter(index, text, at, active, entered):
                    return True
            if self._enter(self.start, text, at, active, entered):
                return True
            if at == n:
                return False
            character = text[at]
            current = [self.states[index].next for index in active if self.states[index].takes(character)]
        return False

    def _enter(self, first: int, text: str, at: int, active: list[int], entered: bytearray) -> bool:
        """Follow the steps that take no character; True when they lead to a match."""
        pending = [first]
        while pending:
            index = pending.pop()
            if entered[index]:
                continue
            entered[index] = 1
            state = self.states[index]
            kind = state.kind
            if kind == _CHARACTER:
                active.append(index)
            elif kind == _SPLIT:
                pending.append(state.next)
                pending.append(state.other)
            elif kind == _MATCH:
                return True
            elif _holds(state.other, text, at):
                pending.append(state.next)
        return False


def _holds(assertion: int, text: str, at: int) -> bool:
    if assertion == _TEXT_START:
        return at == 0
    if assertion == _TEXT_END:
        return at == len(text)
    if assertion == _LINE_START:
        return at == 0 or text[at - 1] == "\n"
    if assertion == _LINE_END:
        return at == len(text) or text[at] == "\n"
    before = at > 0 and _is_letter(text[at - 1])
    after = at < len(text) and _is_letter(text[at])
    return (before != after) == (assertion == _WORD_EDGE)


def _is_letter(character: str) -> bool:
    return character == "_" or character.isalnum()


def compile_regex(pattern: str) -> Regex:
    """The machine of a pattern; for one that is no regular expression, a machine that finds nothing."""
    try:
        node = _Parser(pattern).pattern()
        builder = _Builder()
        end = builder.add(_MATCH, 0)
        start = builder.build(node, end)
    except ValueError:
        return Regex([], 0)
    return Regex(builder.states, start)


# -- building the machine, from its end to its start ----------------------------------------------------------------


class _Node:
    """A piece of a pattern: `parts` in a row, or as `choices`, or one part repeated, or a single state."""

    def __init__(self) -> None:
        self.parts: list[_Node] = []
        self.is_choice = False
        self.least = 1
        self.most = 1
        self.state: _State | None = None


class _Builder:
    def __init__(self) -> None:
        self.states: list[_State] = []

    def add(self, kind: int, next: int) -> int:
        if len(self.states) >= MAX_STATES:
            raise ValueError("too large")
        self.states.append(_State(kind, next))
        return len(self.states) - 1

    def build(self, node: _Node, next: int) -> int:
        """Add a node's states, which lead to `next`; where they begin."""
        if node.least == 1 and node.most == 1:
            return self._once(node, next)
        if node.most == _UNLIMITED:
            loop = self.add(_SPLIT, 0)
            self.states[loop].other = next
            self.states[loop].next = self._once(node, loop)
            start = loop
        else:
            start = next
            for _ in range(node.most - node.least):
                inner = self._once(node, start)
                start = self.add(_SPLIT, inner)
                self.states[start].other = next
        for _ in range(node.least):
            start = self._once(node, start)
        return start

    def _once(self, node: _Node, next: int) -> int:
        if node.state is not None:
            index = self.add(node.state.kind, next)
            state = self.states[index]
            state.ranges = node.state.ranges
            state.is_negated = node.state.is_negated
            state.ignores_case = node.state.ignores_case
            state.other = node.state.other
            return index
        if node.is_choice:
            start = self.build(node.parts[-1], next)
            for part in reversed(node.parts[:-1]):
                first = self.build(part, next)
                split = self.add(_SPLIT, first)
                self.states[split].other = start
                start = split
            return start
        for part in reversed(node.parts):
            next = self.build(part, next)
        return next


# -- reading a pattern; ValueError for what is none -----------------------------------------------------------------


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.depth = 0
        self.ignores_case = False
        self.dot_takes_all = False
        self.has_lines = False

    def pattern(self) -> _Node:
        node = self._choice()
        if self.at < len(self.text):
            raise ValueError("a closing parenthesis too many")
        return node

    def _choice(self) -> _Node:
        node = _Node()
        node.is_choice = True
        node.parts.append(self._row())
        while self._takes("|"):
            node.parts.append(self._row())
        return node

    def _row(self) -> _Node:
        row = _Node()
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            part = self._atom()
            if part is not None:
                row.parts.append(self._repeated(part))
        return row

    def _repeated(self, part: _Node) -> _Node:
        n_times = 0
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == "*":
                least, most = 0, _UNLIMITED
            elif character == "+":
                least, most = 1, _UNLIMITED
            elif character == "?":
                least, most = 0, 1
            elif character == "{":
                least, most = self._counts()
            else:
                break
            n_times += 1
            if n_times > _MAX_NESTED:
                raise ValueError("repeated too many times")
            self.at += 1
            self._takes("?")  # lazy or not, a match is a match
            repeated = _Node()
            repeated.parts = [part]
            repeated.least = least
            repeated.most = most
            part = repeated
        return part

    def _counts(self) -> tuple[int, int]:
        """The numbers of `{2,5}`; stops at the closing brace."""
        end = self.text.find("}", self.at)
        if end < 0:
            raise ValueError("an open brace")
        least, comma, most = self.text[self.at + 1 : end].partition(",")
        self.at = end
        if not least.isdecimal() or (most and not most.isdecimal()) or len(least) > 4 or len(most) > 4:
            raise ValueError("no counts in the braces")
        low = int(least)
        high = int(most) if most else _UNLIMITED if comma else low
        if high != _UNLIMITED and high < low:
            raise ValueError("counts the wrong way round")
        return low, high

    def _atom(self) -> _Node | None:
        """One character, class, assertion or group; None for flags, which are no part of the pattern."""
        character = self.text[self.at]
        self.at += 1
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        if character == ".":
            return self._one_of(_ANY if self.dot_takes_all else _ANY_BUT_LINE_END)
        if character == "^":
            return _assertion(_LINE_START if self.has_lines else _TEXT_START)
        if character == "$":
            return _assertion(_LINE_END if self.has_lines else _TEXT_END)
        if character == "\\":
            if self.at == len(self.text):
                raise ValueError("a backslash at the end")
            if self.text[self.at] in _ASSERTIONS:
                self.at += 1
                return _assertion(_ASSERTIONS[self.text[self.at - 1]])
            return self._one_of(self._escaped())
        if character in "*+?{":
            raise ValueError("nothing to repeat")
        return self._one_of([(ord(character), ord(character))])

    def _one_of(self, ranges: Ranges) -> _Node:
        node = _Node()
        node.state = _State(_CHARACTER, 0)
        node.state.ranges = ranges
        node.state.ignores_case = self.ignores_case
        return node

    def _group(self) -> _Node | None:
        flags = self.ignores_case, self.dot_takes_all, self.has_lines
        if self._takes("?") and not self._flags():
            return None  # `(?i)`: from here to the end of the group around it
        self.depth += 1
        if self.depth > _MAX_NESTED:
            raise ValueError("too many groups inside each other")
        node = self._choice()
        self.depth -= 1
        if not self._takes(")"):
            raise ValueError("an open parenthesis")
        self.ignores_case, self.dot_takes_all, self.has_lines = flags
        return node

    def _flags(self) -> bool:
        """Read the flags of `(?i-s:`, or the name of `(?P<name>`; False if the group ends with them."""
        if self._takes("P<") or self._takes("<"):
            end = self.text.find(">", self.at)
            if end < 0 or not self.text[self.at : end].isidentifier():
                raise ValueError("no name of a group")
            self.at = end + 1
            return True
        turns_on = True
        while self.at < len(self.text):
            character = self.text[self.at]
            self.at += 1
            if character == ":":
                return True
            if character == ")":
                return False
            if character == "-":
                turns_on = False
            elif character == "i":
                self.ignores_case = turns_on
            elif character == "s":
                self.dot_takes_all = turns_on
            elif character == "m":
                self.has_lines = turns_on
            elif character != "u" and character != "U":
                break
        raise ValueError("unknown flag")

    def _class(self) -> _Node:
        """What stands behind an opening bracket, up to the closing one."""
        negated = self._takes("^")
        ranges: Ranges = []
        while ranges == [] or not self._takes("]"):
            if self.at >= len(self.text):
                raise ValueError("an open bracket")
            first = self._class_item()
            is_range = len(first) == 1 and first[0][0] == first[0][1]
            if is_range and self.text[self.at : self.at + 1] == "-" and self.text[self.at + 1 : self.at + 2] != "]":
                self.at += 1
                last = self._class_item() if self.at < len(self.text) else []
                if len(last) != 1 or last[0][0] != last[0][1] or last[0][0] < first[0][0]:
                    raise ValueError("no range")
                first = [(first[0][0], last[0][0])]
            ranges = ranges + first
        node = self._one_of(ranges)
        assert node.state is not None
        node.state.is_negated = negated
        return node

    def _class_item(self) -> Ranges:
        character = self.text[self.at]
        self.at += 1
        return self._escaped() if character == "\\" else [(ord(character), ord(character))]

    def _escaped(self) -> Ranges:
        """What a backslash and the characters behind it stand for."""
        character = self.text[self.at : self.at + 1]
        self.at += 1
        if character in _CLASSES:
            return _CLASSES[character]
        if character in _CONTROLS:
            point = _CONTROLS[character]
        elif character == "x":
            point = int(self.text[self.at : self.at + 2], 16)
            self.at += 2
        elif not character or character.isalnum():
            raise ValueError("unknown escape")
        else:
            point = ord(character)
        return [(point, point)]

    def _takes(self, word: str) -> bool:
        if self.text.startswith(word, self.at):
            self.at += len(word)
            return True
        return False


def _assertion(assertion: int) -> _Node:
    node = _Node()
    node.state = _State(_ASSERT, 0)
    node.state.other = assertion
    return node


def _all_but(ranges: Ranges) -> Ranges:
    found: Ranges = []
    at = 0
    for first, last in sorted(ranges):
        if first > at:
            found.append((at, first - 1))
        at = max(at, last + 1)
    if at <= _LAST:
        found.append((at, _LAST))
    return found


_ASSERTIONS: Final = {"b": _WORD_EDGE, "B": _NO_WORD_EDGE, "A": _TEXT_START, "z": _TEXT_END}
_CONTROLS: Final = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11}
_CLASSES: Final = {
    "d": _DIGITS,
    "w": _LETTERS,
    "s": _SPACES,
    "D": _all_but(_DIGITS),
    "W": _all_but(_LETTERS),
    "S": _all_but(_SPACES),
}
