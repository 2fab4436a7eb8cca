"""SORT: the elements of a list, set or sorted set in order of their own value or of what other keys say about them.

Patterns name other values: `weight_*` is a string key with the element in place of the star, `object_*->field` a field of
a hash, and `#` the element itself.
"""

from typing import Any, Final

from upstash_global.engine.arguments import Arguments
from upstash_global.engine.context import EVENT_GENERIC, EVENT_LIST, Context
from upstash_global.engine.dump import type_name
from upstash_global.engine.numbers import parse_sort_weight
from upstash_global.engine.table import (
    DANGEROUS,
    DENYOOM,
    MOVABLEKEYS,
    READONLY,
    TABLE,
    VOLATILE,
    WRITE,
    Family,
    Keys,
)
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.engine.types.list import List
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.errors import error, reply_too_long, wrong_type
from upstash_global.reply import Reply

command = Family("generic").command

MOST_ROWS: Final = 1 << 25  # that GET makes; Redis would answer any number


def sort_keys(argv: list[bytes]) -> list[bytes]:
    """The key to sort and the key to store to; what BY and GET name cannot be known beforehand."""
    keys = argv[1:2]
    store: bytes | None = None
    at = 2
    while at < len(argv):
        word = argv[at].upper()
        if word == b"STORE" and at + 1 < len(argv):
            store = argv[at + 1]
        at += _WORDS.get(word, 1)
    return keys if store is None else [*keys, store]


_WORDS: Final = {b"LIMIT": 3, b"BY": 2, b"GET": 2, b"STORE": 2}

_SORT_KEYS: Final = Keys(1, 1, 1, finder=sort_keys)
_SORT_RO_KEYS: Final = Keys(1, 1, 1)


@command("SORT", arity=-2, flags=WRITE | DENYOOM | MOVABLEKEYS | DANGEROUS, keys=_SORT_KEYS)
def sort(ctx: Context, argv: list[bytes]) -> Reply:
    """Sort the elements of a list, set or sorted set, and reply with them or store them as a list."""
    options = _Options(argv, may_store=True, reads_every_key=_reads_every_key(ctx, argv))
    rows = _sorted_rows(ctx, argv[1], options)
    target = options.store
    if target is None:
        return rows
    if rows:
        ctx.put(target, List([row or b"" for row in rows]))
        ctx.notify(EVENT_LIST, b"sortstore", target)
    elif ctx.remove(target):
        ctx.notify(EVENT_GENERIC, b"del", target)
    return len(rows)


@command("SORT_RO", arity=-2, flags=READONLY | MOVABLEKEYS | DANGEROUS | VOLATILE, keys=_SORT_RO_KEYS)
def sort_ro(ctx: Context, argv: list[bytes]) -> Reply:
    """Sort the elements of a list, set or sorted set."""
    options = _Options(argv, may_store=False, reads_every_key=_reads_every_key(ctx, argv))
    return _sorted_rows(ctx, argv[1], options)


def _reads_every_key(ctx: Context, argv: list[bytes]) -> bool:
    """Whether the caller may use BY and GET, which read keys that the command line does not name."""
    user = None if ctx.caller is None else ctx.caller.user
    return user is None or user.reads_every_key(TABLE[argv[0].upper()], argv)


class _Options:
    def __init__(self, argv: list[bytes], may_store: bool, reads_every_key: bool) -> None:
        self.reads_every_key = reads_every_key
        self.by: bytes | None = None
        self.gets: list[bytes] = []
        self.start = 0
        self.count = -1
        self.descending = False
        self.alpha = False
        self.store: bytes | None = None
        args = Arguments(argv, 2)
        while args.more():
            self._read(args, may_store)
        args.done()

    def _read(self, args: Arguments, may_store: bool) -> None:
        if args.flag(b"ASC"):
            self.descending = False
        elif args.flag(b"DESC"):
            self.descending = True
        elif args.flag(b"ALPHA"):
            self.alpha = True
        elif args.left() > 2 and args.flag(b"LIMIT"):
            self.start = args.integer()
            self.count = args.integer()
        elif args.left() > 1 and may_store and args.flag(b"STORE"):
            self.store = args.next()
        elif args.left() > 1 and args.flag(b"BY"):
            pattern = args.next()
            if not self.reads_every_key and b"*" in pattern:
                raise error("BY option of SORT denied due to insufficient ACL permissions.")
            if self.by is None or b"*" in self.by:  # as Redis: once told not to sort, no later BY changes it
                self.by = pattern
        elif args.left() > 1 and args.flag(b"GET"):
            if not self.reads_every_key:
                raise error("GET option of SORT denied due to insufficient ACL permissions.")
            self.gets.append(args.next())
        else:
            args.unknown()


def _sorted_rows(ctx: Context, key: bytes, options: _Options) -> list[bytes | None]:
    """The elements in order, or for each of them what the GET patterns say."""
    value = ctx.find(key)
    elements = _elements(value)
    if options.by is None or b"*" in options.by:
        elements = _in_order(ctx, elements, options)
    elif type(value) is IndexedSet and (options.store is not None or ctx.is_in_script):
        elements.sort(
            reverse=options.descending
        )  # as Redis 7.2: what is stored of a set, or told a script, has an order
    elif options.descending and type(value) is not IndexedSet:
        elements.reverse()

    n = len(elements)
    start = min(max(options.start, 0), n)
    end = n if options.count < 0 else min(start + options.count, n)
    selected = elements[start:end]
    if not options.gets:
        rows: list[bytes | None] = []
        rows.extend(selected)
        return rows
    if len(selected) * len(options.gets) > MOST_ROWS:
        raise reply_too_long()
    return [_look_up(ctx, pattern, element) for element in selected for pattern in options.gets]


def _elements(value: Any) -> list[bytes]:
    if value is None:
        return []
    if type(value) is SortedSet:
        return [member for member, _ in value.items()]
    if type_name(value) not in ("list", "set"):
        raise wrong_type()
    return list(value)


def _in_order(ctx: Context, elements: list[bytes], options: _Options) -> list[bytes]:
    """Sorted by weight; elements of equal weight by themselves, but those of equal texts stay as they stand."""
    by = options.by
    if options.alpha:
        if by is None:
            return sorted(elements, reverse=options.descending)
        texts = [(_look_up(ctx, by, element), element) for element in elements]
        texts.sort(key=_text_or_first, reverse=options.descending)
        return [element for _, element in texts]
    weighed: list[tuple[float, bytes]] = []
    for element in elements:
        text: bytes | None = element if by is None else _look_up(ctx, by, element)
        weight = 0.0 if text is None else parse_sort_weight(text)
        if weight is None:
            raise error("One or more scores can't be converted into double")
        weighed.append((weight, element))
    weighed.sort(key=_weight, reverse=options.descending)  # numbers alone are compared faster than pairs
    if _some_weigh_the_same(weighed):
        weighed.sort(reverse=options.descending)
    return [element for _, element in weighed]


def _weight(pair: tuple[float, bytes]) -> float:
    return pair[0]


def _some_weigh_the_same(weighed: list[tuple[float, bytes]]) -> bool:
    """Whether two neighbours do, once they are in order."""
    before: float | None = None
    for weight, _ in weighed:
        if weight == before:
            return True
        before = weight
    return False


def _text_or_first(pair: tuple[bytes | None, bytes]) -> tuple[bool, bytes]:
    text = pair[0]
    return (text is not None, text or b"")


def _look_up(ctx: Context, pattern: bytes, element: bytes) -> bytes | None:
    """What a pattern says about an element; None where there is nothing of the right type."""
    if pattern == b"#":
        return element
    prefix, star, suffix = pattern.partition(b"*")
    if not star:
        return None
    name, arrow, field = suffix.partition(b"->")
    if not field:
        name, arrow = suffix, b""
    value = ctx.find(prefix + element + name)
    if arrow:
        return value.get(field, ctx.now_ms) if type(value) is Hash else None
    return bytes(value) if isinstance(value, (bytes, bytearray)) else None
