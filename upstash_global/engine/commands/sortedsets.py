"""Sorted sets by member: scores, counts, ranks and both ends. Ranges are in sortedsetranges, algebra in sortedsetalgebra.

OBJECT ENCODING says listpack until a set has seen too many members or too long a one, then skiplist for good.
"""

from typing import Final

from upstash_global.engine.arguments import Arguments, integer_argument
from upstash_global.engine.commands.scanning import ScanOptions, scan_cursor
from upstash_global.engine.context import EVENT_GENERIC, EVENT_ZSET, Context
from upstash_global.engine.encodings import LISTPACK, SKIPLIST, Limits
from upstash_global.engine.numbers import INT64_MAX, parse_float, parse_integer
from upstash_global.engine.table import (
    COUNTED,
    DENYOOM,
    FAST,
    FIRST,
    MOVABLEKEYS,
    READONLY,
    VOLATILE,
    WRITE,
    Family,
)
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.errors import error, not_a_float, syntax_error, wrong_arity
from upstash_global.floats import format_double
from upstash_global.reply import NULL_ARRAY, Pairs, Reply

command = Family("sorted-set").command

MOST_PICKS: Final = 10_000_000  # of one ZRANDMEMBER with repeats; Redis would answer any number


# -- reads ----------------------------------------------------------------------------------------------------------


@command("ZCARD", arity=2, flags=READONLY | FAST, keys=FIRST)
def zcard(ctx: Context, argv: list[bytes]) -> Reply:
    """The number of members."""
    zset = ctx.find_zset(argv[1])
    return 0 if zset is None else len(zset)


@command("ZMSCORE", arity=-3, flags=READONLY | FAST, keys=FIRST)
def zmscore(ctx: Context, argv: list[bytes]) -> Reply:
    """The score of each given member, nil where there is none."""
    zset = ctx.find_zset(argv[1])
    if zset is None:
        return [None] * (len(argv) - 2)
    return [zset.scores.get(member) for member in argv[2:]]


@command("ZRANDMEMBER", arity=-2, flags=READONLY | VOLATILE, keys=FIRST)
def zrandmember(ctx: Context, argv: list[bytes]) -> Reply:
    """One random member, or `count` of them: distinct ones, or with a negative count any."""
    if len(argv) == 2:
        zset = ctx.find_zset(argv[1])
        return None if zset is None else _member_at(zset, ctx.random.randrange(len(zset)))
    count = integer_argument(argv[2])
    if count == -INT64_MAX - 1:
        raise error(f"value is out of range, value must between {-INT64_MAX} and {INT64_MAX}")
    if len(argv) > 4 or (len(argv) == 4 and argv[3].upper() != b"WITHSCORES"):
        raise syntax_error()
    with_scores = len(argv) == 4
    if count < -MOST_PICKS or (with_scores and abs(count) > INT64_MAX // 2):
        raise error("value is out of range")
    zset = ctx.find_zset(argv[1])
    if zset is None or count == 0:
        return []
    if count >= len(zset):
        picked = zset.members(0, len(zset))
    elif count > 0:
        picked = [_member_at(zset, rank) for rank in ctx.random.sample(range(len(zset)), count)]
    else:
        picked = [_member_at(zset, ctx.random.randrange(len(zset))) for _ in range(-count)]
    if with_scores:
        return Pairs([(member, zset.scores[member]) for member in picked])
    return picked


@command("ZRANK", arity=-3, flags=READONLY | FAST, keys=FIRST)
def zrank(ctx: Context, argv: list[bytes]) -> Reply:
    """The rank of a member from the lowest score, WITHSCORE beside its score; nil without it."""
    return _rank(ctx, argv, "zrank", False)


@command("ZREVRANK", arity=-3, flags=READONLY | FAST, keys=FIRST)
def zrevrank(ctx: Context, argv: list[bytes]) -> Reply:
    """The rank of a member from the highest score, WITHSCORE beside its score; nil without it."""
    return _rank(ctx, argv, "zrevrank", True)


@command("ZSCAN", arity=-3, flags=READONLY | VOLATILE, keys=FIRST)
def zscan(ctx: Context, argv: list[bytes]) -> Reply:
    """Walk through members and scores a few at a time; what stays in the set throughout is seen at least once."""
    cursor = scan_cursor(argv[2])
    zset = ctx.find_zset(argv[1])
    if zset is None:
        return [b"0", []]
    options = ScanOptions(argv, 3)
    if zset.encoding == LISTPACK:
        next_cursor = 0
        page = zset.members(0, len(zset))
    else:
        next_cursor, page = zset.scan(cursor, options.count)
    found: list[bytes] = []
    for member in page:
        if options.glob is None or options.glob.matches(member):
            found.append(member)
            found.append(format_double(zset.scores[member]))
    return [b"%d" % next_cursor, found]


@command("ZSCORE", arity=3, flags=READONLY | FAST, keys=FIRST)
def zscore(ctx: Context, argv: list[bytes]) -> Reply:
    """The score of a member, nil without it."""
    zset = ctx.find_zset(argv[1])
    return None if zset is None else zset.scores.get(argv[2])


# -- writes ---------------------------------------------------------------------------------------------------------


@command("ZADD", arity=-4, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def zadd(ctx: Context, argv: list[bytes]) -> Reply:
    """Add members with scores, or set theirs: the number of new members, with CH of all changed ones.

    NX adds only, XX changes only, GT and LT move scores one way only; INCR is ZINCRBY with these conditions.
    """
    if len(argv) == 4:
        score = parse_float(argv[2])
        if score is not None:
            key = argv[1]
            zset = ctx.edit_zset(key)
            old = zset.scores.get(argv[3])
            if old != score:
                put_member(zset, argv[3], score, ctx.limits)
                ctx.save(key, zset)
                ctx.notify(EVENT_ZSET, b"zadd", key)
            return 1 if old is None else 0
    return Addition(argv).run(ctx)


@command("ZINCRBY", arity=4, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def zincrby(ctx: Context, argv: list[bytes]) -> Reply:
    """Add to the score of a member, 0 for a new one: the new score."""
    return Addition([argv[0], argv[1], b"INCR", argv[2], argv[3]]).run(ctx)


@command("ZMPOP", arity=-4, flags=WRITE | MOVABLEKEYS, keys=COUNTED(1))
def zmpop(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove the lowest or highest members of the first set that has any: its key and the pairs, or nil."""
    args = Arguments(argv, 1)
    n_keys = args.integer()
    if args.is_mistaken() or n_keys < 1:
        raise error("numkeys should be greater than 0")
    args.at = n_keys + 2
    if args.at > len(argv):
        raise syntax_error()
    is_highest = args.flag(b"MAX")
    if not is_highest and not args.flag(b"MIN"):
        raise syntax_error()
    count = 1
    if args.left() >= 2 and args.flag(b"COUNT"):
        count = args.integer()
        if args.is_mistaken() or count < 1:
            raise error("count should be greater than 0")
    args.done()
    for key in argv[2 : 2 + n_keys]:
        if ctx.find_zset(key) is not None:
            return [key, [[member, score] for member, score in pop(ctx, key, count, is_highest)]]
    return NULL_ARRAY


@command("ZPOPMAX", arity=-2, flags=WRITE | FAST, keys=FIRST)
def zpopmax(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove the member with the highest score, or `count` of them: members and scores."""
    return _pop_with_count(ctx, argv, True)


@command("ZPOPMIN", arity=-2, flags=WRITE | FAST, keys=FIRST)
def zpopmin(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove the member with the lowest score, or `count` of them: members and scores."""
    return _pop_with_count(ctx, argv, False)


@command("ZREM", arity=-3, flags=WRITE | FAST, keys=FIRST)
def zrem(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove members: how many there were."""
    key = argv[1]
    if ctx.find_zset(key) is None:
        return 0
    zset = ctx.edit_zset(key)
    removed = 0
    for member in argv[2:]:
        if zset.remove(member):
            removed += 1
    if removed:
        save_smaller(ctx, key, zset, b"zrem")
    return removed


# -- what the commands share ----------------------------------------------------------------------------------------


def put_member(zset: SortedSet, member: bytes, score: float, limits: Limits) -> bool:
    """Set the score of a member; True if it is new. The encoding follows, as in Redis 7.2."""
    if zset.encoding == LISTPACK:
        is_full = len(zset) >= limits.zset_max_listpack_entries
        if len(member) > limits.zset_max_listpack_value or (is_full and member not in zset.scores):
            zset.encoding = SKIPLIST
        elif score == 0.0:
            score = 0.0  # a listpack forgets the sign of -0
    return zset.add(member, score)


def save_smaller(ctx: Context, key: bytes, zset: SortedSet, event: bytes) -> None:
    """Note that members were removed; a set without members is no key any more."""
    ctx.save(key, zset)
    ctx.notify(EVENT_ZSET, event, key)
    if not len(zset):
        ctx.notify(EVENT_GENERIC, b"del", key)


def pop(ctx: Context, key: bytes, count: int, is_highest: bool) -> list[tuple[bytes, float]]:
    """Remove and return up to `count` (1 or more) pairs from an end of a set that is there, the outermost first."""
    zset = ctx.edit_zset(key)
    size = len(zset)
    start = max(0, size - count) if is_highest else 0
    stop = size if is_highest else min(count, size)
    popped = zset.pairs(start, stop)
    if is_highest:
        popped.reverse()
    zset.remove_ranks(start, stop)
    save_smaller(ctx, key, zset, b"zpopmax" if is_highest else b"zpopmin")
    return popped


def _pop_with_count(ctx: Context, argv: list[bytes], is_highest: bool) -> Reply:
    if len(argv) > 3:
        raise syntax_error()
    count = 1
    if len(argv) == 3:
        given = parse_integer(argv[2])
        if given is None or given < 0:
            raise error("value is out of range, must be positive")
        count = given
    if ctx.find_zset(argv[1]) is None or count == 0:
        return []
    popped = pop(ctx, argv[1], count, is_highest)
    return [popped[0][0], popped[0][1]] if len(argv) == 2 else Pairs(popped)


def _rank(ctx: Context, argv: list[bytes], name: str, from_highest: bool) -> Reply:
    if len(argv) > 4:
        raise wrong_arity(name)
    with_score = len(argv) == 4
    if with_score and argv[3].upper() != b"WITHSCORE":
        raise syntax_error()
    zset = ctx.find_zset(argv[1])
    rank = -1 if zset is None else zset.rank(argv[2])
    if zset is None or rank < 0:
        return NULL_ARRAY if with_score else None
    if from_highest:
        rank = len(zset) - 1 - rank
    return [rank, zset.scores[argv[2]]] if with_score else rank


def _member_at(zset: SortedSet, rank: int) -> bytes:
    return zset.members(rank, rank + 1)[0]


class Addition:
    """ZADD with options. Raises CommandError, in Redis's order of checks."""

    def __init__(self, argv: list[bytes]) -> None:
        self.key = argv[1]
        self.only_new = False
        self.only_present = False
        self.only_greater = False
        self.only_less = False
        self.counts_changed = False
        self.increments = False
        args = Arguments(argv, 2)
        while self._take_option(args):
            pass
        n_words = args.left()
        if n_words == 0 or n_words % 2:
            raise syntax_error()
        if self.only_new and self.only_present:
            raise error("XX and NX options at the same time are not compatible")
        if self.only_new + self.only_greater + self.only_less > 1:
            raise error("GT, LT, and/or NX options at the same time are not compatible")
        if self.increments and n_words > 2:
            raise error("INCR option supports a single increment-element pair")
        self.pairs: list[tuple[bytes, float]] = []
        for at in range(args.at, len(argv), 2):
            score = parse_float(argv[at])
            if score is None:
                raise not_a_float()
            self.pairs.append((argv[at + 1], score))

    def _take_option(self, args: Arguments) -> bool:
        if args.flag(b"NX"):
            self.only_new = True
        elif args.flag(b"XX"):
            self.only_present = True
        elif args.flag(b"GT"):
            self.only_greater = True
        elif args.flag(b"LT"):
            self.only_less = True
        elif args.flag(b"CH"):
            self.counts_changed = True
        elif args.flag(b"INCR"):
            self.increments = True
        else:
            return False
        return True

    def run(self, ctx: Context) -> Reply:
        zset = ctx.edit_zset(self.key)
        added = 0
        updated = 0
        reply: Reply = None  # of INCR: nil if the conditions forbid it
        for member, given in self.pairs:
            old = zset.scores.get(member)
            score = given
            if old is not None and self.increments:
                score += old
                if score != score:
                    raise error("resulting score is not a number (NaN)")
            if not self._allows(old, score):
                continue
            reply = score
            if old != score:
                put_member(zset, member, score, ctx.limits)
                if old is None:
                    added += 1
                else:
                    updated += 1
        if added or updated:
            ctx.save(self.key, zset)
            ctx.notify(EVENT_ZSET, b"zincr" if self.increments else b"zadd", self.key)
        if self.increments:
            return reply
        return added + updated if self.counts_changed else added

    def _allows(self, old: float | None, score: float) -> bool:
        if old is None:
            return not self.only_present
        if self.only_new:
            return False
        return not (self.only_greater and score <= old) and not (self.only_less and score >= old)
