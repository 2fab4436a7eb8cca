"""Sorted sets by range: by rank, by score and by the bytes of the member, read, stored and removed.

Every range becomes a pair of ranks (start, stop), so that reading, counting and removing are the same for all three.
"""

import re
from typing import Final

from upstash_global.engine.arguments import Arguments, integer_argument
from upstash_global.engine.commands.sortedsets import put_member, save_smaller
from upstash_global.engine.context import EVENT_GENERIC, EVENT_ZSET, Context
from upstash_global.engine.encodings import SKIPLIST
from upstash_global.engine.numbers import parse_sort_weight
from upstash_global.engine.table import DENYOOM, FAST, FIRST, FIRST_TWO, READONLY, WRITE, Family
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.errors import error
from upstash_global.reply import Pairs, Reply

command = Family("sorted-set").command

# What a range's two bounds are. ANY: ranks, unless an option says otherwise.
ANY: Final = 0
BY_RANK: Final = 1
BY_SCORE: Final = 2
BY_LEX: Final = 3


# -- reads ----------------------------------------------------------------------------------------------------------


@command("ZCOUNT", arity=4, flags=READONLY | FAST, keys=FIRST)
def zcount(ctx: Context, argv: list[bytes]) -> Reply:
    """The number of members with scores in a range."""
    return _count(ctx, argv[1], Bounds(BY_SCORE, argv[2], argv[3]))


@command("ZLEXCOUNT", arity=4, flags=READONLY | FAST, keys=FIRST)
def zlexcount(ctx: Context, argv: list[bytes]) -> Reply:
    """The number of members between two members."""
    return _count(ctx, argv[1], Bounds(BY_LEX, argv[2], argv[3]))


@command("ZRANGE", arity=-4, flags=READONLY, keys=FIRST)
def zrange(ctx: Context, argv: list[bytes]) -> Reply:
    """Members in a range of ranks, scores or members, forwards or backwards."""
    if len(argv) == 4:
        start = integer_argument(argv[2])
        end = integer_argument(argv[3])
        zset = ctx.find_zset(argv[1])
        if zset is None:
            return []
        first, stop = _clip(start, end, len(zset))
        return zset.members(first, stop)
    return Query(argv, 1).read(ctx)


@command("ZRANGEBYLEX", arity=-4, flags=READONLY, keys=FIRST)
def zrangebylex(ctx: Context, argv: list[bytes]) -> Reply:
    """Members between two members, ascending."""
    return Query(argv, 1, by=BY_LEX, reverse=False).read(ctx)


@command("ZRANGEBYSCORE", arity=-4, flags=READONLY, keys=FIRST)
def zrangebyscore(ctx: Context, argv: list[bytes]) -> Reply:
    """Members with scores in a range, ascending."""
    return Query(argv, 1, by=BY_SCORE, reverse=False).read(ctx)


@command("ZREVRANGE", arity=-4, flags=READONLY, keys=FIRST)
def zrevrange(ctx: Context, argv: list[bytes]) -> Reply:
    """Members in a range of ranks that count from the highest score."""
    return Query(argv, 1, by=BY_RANK, reverse=True).read(ctx)


@command("ZREVRANGEBYLEX", arity=-4, flags=READONLY, keys=FIRST)
def zrevrangebylex(ctx: Context, argv: list[bytes]) -> Reply:
    """Members between two members, descending; the higher bound comes first."""
    return Query(argv, 1, by=BY_LEX, reverse=True).read(ctx)


@command("ZREVRANGEBYSCORE", arity=-4, flags=READONLY, keys=FIRST)
def zrevrangebyscore(ctx: Context, argv: list[bytes]) -> Reply:
    """Members with scores in a range, descending; the higher bound comes first."""
    return Query(argv, 1, by=BY_SCORE, reverse=True).read(ctx)


# -- writes ---------------------------------------------------------------------------------------------------------


@command("ZRANGESTORE", arity=-5, flags=WRITE | DENYOOM, keys=FIRST_TWO)
def zrangestore(ctx: Context, argv: list[bytes]) -> Reply:
    """Store what ZRANGE finds under another key: the number of members."""
    query = Query(argv, 2, stores=True)
    source = ctx.find_zset(query.key)
    found = SortedSet()
    if source is not None:
        pairs = query.pairs(source)
        if query.bounds.by == BY_RANK and len(pairs) > ctx.limits.zset_max_listpack_entries:
            found.encoding = SKIPLIST  # how many come is known from ranks alone: none of them loses the sign of -0
        for member, score in pairs:
            put_member(found, member, score, ctx.limits)
    return store(ctx, argv[1], found, b"zrangestore")


@command("ZREMRANGEBYLEX", arity=4, flags=WRITE, keys=FIRST)
def zremrangebylex(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove the members between two members: how many there were."""
    return _remove(ctx, argv[1], Bounds(BY_LEX, argv[2], argv[3]), b"zremrangebylex")


@command("ZREMRANGEBYRANK", arity=4, flags=WRITE, keys=FIRST)
def zremrangebyrank(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove the members in a range of ranks: how many there were."""
    return _remove(ctx, argv[1], Bounds(BY_RANK, argv[2], argv[3]), b"zremrangebyrank")


@command("ZREMRANGEBYSCORE", arity=4, flags=WRITE, keys=FIRST)
def zremrangebyscore(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove the members with scores in a range: how many there were."""
    return _remove(ctx, argv[1], Bounds(BY_SCORE, argv[2], argv[3]), b"zremrangebyscore")


# -- ranges ---------------------------------------------------------------------------------------------------------


class Bounds:
    """Two bounds as a client writes them, and the ranks between them."""

    def __init__(self, by: int, low: bytes, high: bytes) -> None:
        """Raises CommandError for a bound that is none of its kind."""
        self.by = by
        self.start = 0  # ranks as written: negative ones count from the end, `end` is included
        self.end = 0
        self.low = ScoreBound(0.0, False)
        self.high = self.low
        self.lex_low = LexBound(b"-")
        self.lex_high = self.lex_low
        if by == BY_SCORE:
            self.low = read_score_bound(low)
            self.high = read_score_bound(high)
        elif by == BY_LEX:
            self.lex_low = LexBound(low)
            self.lex_high = LexBound(high)
        else:
            self.start = integer_argument(low)
            self.end = integer_argument(high)

    def ranks(self, zset: SortedSet, reverse: bool) -> tuple[int, int]:
        """The range as ascending ranks start to stop - 1; empty when stop is not above start."""
        if self.by == BY_SCORE:
            start = zset.rank_by_score(self.low.score, self.low.is_exclusive)
            return start, zset.rank_by_score(self.high.score, not self.high.is_exclusive)
        if self.by == BY_LEX:
            return self.lex_low.rank(zset, True), self.lex_high.rank(zset, False)
        start, stop = _clip(self.start, self.end, len(zset))
        return (len(zset) - stop, len(zset) - start) if reverse else (start, stop)


class ScoreBound:
    def __init__(self, score: float, is_exclusive: bool) -> None:
        self.score = score
        self.is_exclusive = is_exclusive


_OVERFLOWING: Final = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+\Z")


def read_score_bound(text: bytes) -> ScoreBound:
    """`1.5`, `(1.5` (without 1.5 itself), `-inf`; as C's strtod reads it: 1e400 is inf, no text is 0."""
    is_exclusive = text[:1] == b"("
    number = (text[1:] if is_exclusive else text).partition(b"\0")[0]
    score = parse_sort_weight(number)
    if score is None:
        if _OVERFLOWING.match(number) is None:
            raise error("min or max is not a float")
        score = float(number)
    return ScoreBound(score, is_exclusive)


class LexBound:
    """`[member`, `(member` (without the member itself), or `-` and `+`, below and above all members."""

    def __init__(self, text: bytes) -> None:
        kind = text[:1]
        if kind not in (b"-", b"+", b"[", b"(") or (kind in (b"-", b"+") and len(text) > 1):
            raise error("min or max not valid string range item")
        self.kind = kind
        self.member = text[1:]

    def rank(self, zset: SortedSet, is_low: bool) -> int:
        """Where the range starts (`is_low`) or stops."""
        if self.kind == b"-":
            return 0
        if self.kind == b"+":
            return len(zset)
        return zset.rank_by_member(self.member, is_low == (self.kind == b"("))


class Query:
    """A range with its options, as all of ZRANGE's relatives have them. Raises CommandError in Redis's order of checks.

    Upstash allows LIMIT with ranks in ZRANGE and ZRANGESTORE, which Redis refuses.
    """

    def __init__(
        self, argv: list[bytes], at: int, by: int = ANY, reverse: bool | None = None, stores: bool = False
    ) -> None:
        self.key = argv[at]
        self.with_scores = False
        self.offset = 0
        self.limit = -1  # without a limit
        limits_ranks = by == ANY
        args = Arguments(argv, at + 3)
        while args.more():
            if not stores and args.flag(b"WITHSCORES"):
                self.with_scores = True
            elif args.left() >= 3 and args.flag(b"LIMIT"):
                self.offset = args.integer()
                self.limit = args.integer()
            elif reverse is None and args.flag(b"REV"):
                reverse = True
            elif by == ANY and args.flag(b"BYLEX"):
                by = BY_LEX
            elif by == ANY and args.flag(b"BYSCORE"):
                by = BY_SCORE
            else:
                args.unknown()
        args.done()
        self.reverse = reverse is True
        if by == ANY:
            by = BY_RANK
        if by == BY_RANK and self.limit != -1 and not limits_ranks:
            raise error("syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
        if by == BY_LEX and self.with_scores:
            raise error("syntax error, WITHSCORES not supported in combination with BYLEX")
        if self.reverse and by != BY_RANK:
            self.bounds = Bounds(by, argv[at + 2], argv[at + 1])
        else:
            self.bounds = Bounds(by, argv[at + 1], argv[at + 2])

    def ranks(self, zset: SortedSet) -> tuple[int, int]:
        start, stop = self.bounds.ranks(zset, self.reverse)
        if self.offset < 0:
            return 0, 0
        if self.reverse:
            stop -= self.offset
            return (start if self.limit < 0 else max(start, stop - self.limit)), stop
        start += self.offset
        return start, (stop if self.limit < 0 else min(stop, start + self.limit))

    def pairs(self, zset: SortedSet) -> list[tuple[bytes, float]]:
        """(member, score) in the order that is asked for."""
        start, stop = self.ranks(zset)
        pairs = zset.pairs(start, stop)
        if self.reverse:
            pairs.reverse()
        return pairs

    def read(self, ctx: Context) -> Reply:
        zset = ctx.find_zset(self.key)
        if zset is None:
            return []
        start, stop = self.ranks(zset)
        if self.with_scores:
            return Pairs(self.pairs(zset))
        members = zset.members(start, stop)
        if self.reverse:
            members.reverse()
        return members


def store(ctx: Context, key: bytes, zset: SortedSet, event: bytes) -> int:
    """Put a new set under a key, whatever was there; an empty one makes the key vanish. The number of members."""
    if len(zset):
        ctx.put(key, zset)
        ctx.notify(EVENT_ZSET, event, key)
    elif ctx.remove(key):
        ctx.notify(EVENT_GENERIC, b"del", key)
    return len(zset)


def _clip(start: int, end: int, size: int) -> tuple[int, int]:
    """Ranks as written, negative ones from the end and `end` included, as ranks start to stop - 1 of `size`."""
    if start < 0:
        start = max(0, start + size)
    if end < 0:
        end += size
    if start > end or start >= size:
        return 0, 0
    return start, min(end, size - 1) + 1


def _count(ctx: Context, key: bytes, bounds: Bounds) -> int:
    zset = ctx.find_zset(key)
    if zset is None:
        return 0
    start, stop = bounds.ranks(zset, False)
    return max(0, stop - start)


def _remove(ctx: Context, key: bytes, bounds: Bounds, event: bytes) -> int:
    zset = ctx.find_zset(key)
    if zset is None:
        return 0
    start, stop = bounds.ranks(zset, False)
    if start >= stop:
        return 0
    zset = ctx.edit_zset(key)
    removed = zset.remove_ranks(start, stop)
    save_smaller(ctx, key, zset, event)
    return removed
