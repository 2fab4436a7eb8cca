"""JSONPath: where in a document a command works.

A path that begins with `$` is a JSONPath and may match many values; any other is a legacy path of RedisJSON 1, which is the
same without the `$` (`.`, `.a.b`, `a[0]`, `["a"]`) and whose commands answer one value. A path is a chain of segments:

    .name  ['name']  ["name"]     a member            [0]  [-1]      an element, negative from the end
    .*  [*]                       all children        [0:4:2]        elements of a slice, as in Python
    ['a',0,1:3]                   a union             [?(@.a > 1)]   children that pass a filter, see jsonfilter.py
    ..name  ..*  ..[0]            the same at every depth

Descending, as Upstash does it (RedisJSON answers in the opposite order): deepest first. Below each node the children are
walked in their order, and then what the node itself has. No value is matched twice, so a path costs at most the
size of the document for each of its segments. There are no scripts.
"""

from typing import Final

from upstash_global.engine.types.json import Json, Value
from upstash_global.engine.types.jsonfilter import Condition, FilterReader, Scanner

NAME: Final = 0
INDEX: Final = 1
SLICE: Final = 2
CHILDREN: Final = 3
FILTER: Final = 4

_LARGEST: Final = 1 << 62  # of an index; nothing has an element there


class Place:
    """A value in a document and where it stands. Good until its parent changes its order."""

    __slots__ = ("parent", "key", "value", "depth")

    def __init__(self, parent: Value, key: Value, value: Value, depth: int) -> None:
        self.parent = parent  # the dict or list that holds it, or for the root the Json
        self.key = key  # its name or index; None for the root
        self.value = value
        self.depth = depth  # how many arrays and objects it is inside of

    def put(self, value: Value) -> None:
        """Put another value in its place."""
        self.value = value
        if type(self.parent) is Json:
            self.parent.root = value
        else:
            self.parent[self.key] = value

    def now(self) -> Value:
        """What stands there after other places were changed; None if it is still to be made."""
        if type(self.parent) is Json:
            return self.parent.root
        return self.parent.get(self.key) if type(self.parent) is dict else self.parent[self.key]


class Selector:
    """One way to pick among the children of a node."""

    __slots__ = ("kind", "name", "index", "slice", "condition")

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.name = ""
        self.index = 0
        self.slice = slice(None)
        self.condition: Condition | None = None

    def is_static(self) -> bool:
        return self.kind == NAME or self.kind == INDEX


class Segment:
    __slots__ = ("descends", "selectors")

    def __init__(self, descends: bool, selectors: list[Selector]) -> None:
        self.descends = descends
        self.selectors = selectors

    def is_static(self) -> bool:
        return not self.descends and len(self.selectors) == 1 and self.selectors[0].is_static()


class Path:
    """A compiled path."""

    __slots__ = ("text", "is_legacy", "segments")

    def __init__(self, text: str, is_legacy: bool, segments: list[Segment]) -> None:
        self.text = text  # as errors show it, with the `$`
        self.is_legacy = is_legacy
        self.segments = segments

    def is_root(self) -> bool:
        return not self.segments

    def is_static(self) -> bool:
        """Whether it can match at most one value, and says which name or index it would have."""
        return all([segment.is_static() for segment in self.segments])

    def find(self, json: Json) -> list[Place]:
        """All matches."""
        return self._find(json, len(self.segments))

    def find_parents(self, json: Json) -> list[Place]:
        """All matches of the path without its last segment."""
        return self._find(json, len(self.segments) - 1)

    def values(self, json: Json) -> list[Value]:
        return [place.value for place in self.find(json)]

    def _find(self, json: Json, n_segments: int) -> list[Place]:
        places = [Place(json, None, json.root, 0)]
        for segment in self.segments[:n_segments]:
            found: list[Place] = []
            if segment.descends:
                entered: set[int] = set()  # ids of the nodes that were walked, for they may be below several places
                for place in places:
                    _descend(segment.selectors, place.value, place.depth, json, found, entered)
            else:
                for place in places:
                    _select(segment.selectors, place.value, place.depth, json, found)
            places = found
        return places


def _descend(
    selectors: list[Selector], node: Value, depth: int, json: Json, found: list[Place], entered: set[int]
) -> None:
    """Select from all nodes below `node`, and then from `node` itself."""
    if type(node) is dict:
        if id(node) in entered:
            return
        entered.add(id(node))
        for child in node.values():
            if type(child) is dict or type(child) is list:
                _descend(selectors, child, depth + 1, json, found, entered)
    elif type(node) is list:
        if id(node) in entered:
            return
        entered.add(id(node))
        for child in node:
            if type(child) is dict or type(child) is list:
                _descend(selectors, child, depth + 1, json, found, entered)
    else:
        return
    _select(selectors, node, depth, json, found)


def _select(selectors: list[Selector], node: Value, depth: int, json: Json, found: list[Place]) -> None:
    """Append the children of `node` that the selectors pick, none twice."""
    if type(node) is not dict and type(node) is not list:
        return
    if len(selectors) == 1:
        _pick(selectors[0], node, depth, json, found)
        return
    picked: list[Place] = []
    for selector in selectors:
        _pick(selector, node, depth, json, picked)
    keys: set[Value] = set()
    for place in picked:
        if place.key not in keys:
            keys.add(place.key)
            found.append(place)


def _pick(selector: Selector, node: Value, depth: int, json: Json, found: list[Place]) -> None:
    kind = selector.kind
    inside = depth + 1
    if type(node) is dict:
        if kind == NAME:
            if selector.name in node:
                found.append(Place(node, selector.name, node[selector.name], inside))
        elif kind in (CHILDREN, FILTER):
            condition = selector.condition
            for name, member in node.items():
                if condition is None or condition.holds(member, json.root):
                    found.append(Place(node, name, member, inside))
        return
    n = len(node)
    if kind == INDEX:
        index = selector.index if selector.index >= 0 else selector.index + n
        if 0 <= index < n:
            found.append(Place(node, index, node[index], inside))
    elif kind == SLICE:
        for i in range(n)[selector.slice]:
            found.append(Place(node, i, node[i], inside))
    elif kind in (CHILDREN, FILTER):
        condition = selector.condition
        for i in range(n):
            if condition is None or condition.holds(node[i], json.root):
                found.append(Place(node, i, node[i], inside))


# -- compiling ------------------------------------------------------------------------------------------------------


def compile_path(data: bytes) -> Path:
    """The path that a client wrote. Raises CommandError for one that is none."""
    path = _compiled.get(data)
    if path is None:
        path = _compile(data)
        if len(data) <= _LONGEST_KEPT:
            if len(_compiled) >= _MOST_KEPT:
                _compiled.clear()
            _compiled[data] = path
    return path


_compiled: Final[dict[bytes, Path]] = {}
_MOST_KEPT: Final = 1_000
_LONGEST_KEPT: Final = 512  # bytes


def _compile(data: bytes) -> Path:
    text = data.decode("utf-8", "replace")
    is_legacy = text[:1] != "$"
    if is_legacy:
        text = _as_jsonpath(text)
    return Path(text, is_legacy, _Reader(text).segments())


def _as_jsonpath(legacy: str) -> str:
    if legacy == ".":
        return "$"
    return "$" + legacy if legacy[:1] in (".", "[") else "$." + legacy


class _Reader(Scanner):
    """Reads the segments of a path, from left to right."""

    def segments(self) -> list[Segment]:
        self.expect("$")
        found: list[Segment] = []
        while self.at < len(self.text):
            found.append(self._segment())
        return found

    def _segment(self) -> Segment:
        if self.takes("["):
            return Segment(False, self._bracket())
        self.expect(".")
        descends = self.takes(".")
        if self.takes("["):  # `.[0]` and `..[0]`
            return Segment(descends, self._bracket())
        if self.takes("*"):
            return Segment(descends, [Selector(CHILDREN)])
        selector = Selector(NAME)
        selector.name = self.name()
        return Segment(descends, [selector])

    def _bracket(self) -> list[Selector]:
        """What stands behind an opening bracket, up to the closing one."""
        selectors: list[Selector] = []
        while True:
            self.skip_spaces()
            selectors.append(self._selector())
            self.skip_spaces()
            if self.takes("]"):
                return selectors
            self.expect(",")

    def _selector(self) -> Selector:
        first = self.peek()
        if first == "*":
            self.at += 1
            return Selector(CHILDREN)
        if first == "'" or first == '"':
            selector = Selector(NAME)
            selector.name = self.string()
            return selector
        if first == "?":
            self.at += 1
            selector = Selector(FILTER)
            reader = FilterReader(self.text, self.at)
            selector.condition = reader.condition()
            self.at = reader.at
            return selector
        return self._index_or_slice()

    def _index_or_slice(self) -> Selector:
        start = self._bound()
        if self.peek() != ":":
            if start is None:
                raise self.mistake()
            selector = Selector(INDEX)
            selector.index = start
            return selector
        self.expect(":")
        stop = self._bound()
        step = self._bound() if self.takes(":") else None
        if step is not None and step < 1:
            raise self.mistake()
        selector = Selector(SLICE)
        selector.slice = slice(start, stop, step)
        return selector

    def _bound(self) -> int | None:
        """An integer, if one comes next."""
        self.skip_spaces()
        value = self.integer()
        self.skip_spaces()
        return None if value is None else max(-_LARGEST, min(value, _LARGEST))
