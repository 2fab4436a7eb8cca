"""Sorted sets combined: difference, intersection and union, read, stored and counted. Plain sets take part with score 1."""

from typing import Final

from upstash_global.engine.arguments import Arguments, integer_argument
from upstash_global.engine.commands.sortedsetranges import store
from upstash_global.engine.commands.sortedsets import put_member
from upstash_global.engine.context import Context
from upstash_global.engine.encodings import SKIPLIST, Limits
from upstash_global.engine.numbers import parse_float
from upstash_global.engine.table import COUNTED, DENYOOM, MOVABLEKEYS, READONLY, WRITE, Family, Keys
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.errors import error, syntax_error, wrong_type
from upstash_global.reply import Pairs, Reply

command = Family("sorted-set").command

STORED: Final = Keys(1, 1, 1, counted=2)  # destination numkeys key…

SUM: Final = 0
MIN: Final = 1
MAX: Final = 2


# -- reads ----------------------------------------------------------------------------------------------------------


@command("ZDIFF", arity=-3, flags=READONLY | MOVABLEKEYS, keys=COUNTED(1))
def zdiff(ctx: Context, argv: list[bytes]) -> Reply:
    """The members of the first set that are in no other."""
    operands = Operands(ctx, argv, 1, "zdiff", may_weigh=False)
    return operands.reply(operands.difference())


@command("ZINTER", arity=-3, flags=READONLY | MOVABLEKEYS, keys=COUNTED(1))
def zinter(ctx: Context, argv: list[bytes]) -> Reply:
    """The members that are in all sets, their scores summed or otherwise combined."""
    operands = Operands(ctx, argv, 1, "zinter")
    return operands.reply(operands.intersection())


@command("ZINTERCARD", arity=-3, flags=READONLY | MOVABLEKEYS, keys=COUNTED(1))
def zintercard(ctx: Context, argv: list[bytes]) -> Reply:
    """The number of members that are in all sets; with LIMIT at most that many."""
    operands = Operands(ctx, argv, 1, "zintercard", may_weigh=False, may_limit=True)
    return len(operands.intersection())


@command("ZUNION", arity=-3, flags=READONLY | MOVABLEKEYS, keys=COUNTED(1))
def zunion(ctx: Context, argv: list[bytes]) -> Reply:
    """The members of all sets, their scores summed or otherwise combined."""
    operands = Operands(ctx, argv, 1, "zunion")
    return operands.reply(operands.union())


# -- writes ---------------------------------------------------------------------------------------------------------


@command("ZDIFFSTORE", arity=-4, flags=WRITE | DENYOOM | MOVABLEKEYS, keys=STORED)
def zdiffstore(ctx: Context, argv: list[bytes]) -> Reply:
    """Store what ZDIFF finds: the number of members."""
    operands = Operands(ctx, argv, 2, "zdiffstore", may_weigh=False)
    return store(ctx, argv[1], _as_zset(operands.difference(), ctx.limits), b"zdiffstore")


@command("ZINTERSTORE", arity=-4, flags=WRITE | DENYOOM | MOVABLEKEYS, keys=STORED)
def zinterstore(ctx: Context, argv: list[bytes]) -> Reply:
    """Store what ZINTER finds: the number of members."""
    operands = Operands(ctx, argv, 2, "zinterstore")
    return store(ctx, argv[1], _as_zset(operands.intersection(), ctx.limits), b"zinterstore")


@command("ZUNIONSTORE", arity=-4, flags=WRITE | DENYOOM | MOVABLEKEYS, keys=STORED)
def zunionstore(ctx: Context, argv: list[bytes]) -> Reply:
    """Store what ZUNION finds: the number of members."""
    operands = Operands(ctx, argv, 2, "zunionstore")
    return store(ctx, argv[1], _as_zset(operands.union(), ctx.limits), b"zunionstore")


class Operand:
    """One set of an operation: scores by member, and a weight."""

    def __init__(self, scores: dict[bytes, float]) -> None:
        self.scores = scores
        self.weight = 1.0


class Operands:
    """`numkeys key… [WEIGHTS …] [AGGREGATE …] [WITHSCORES] [LIMIT …]`, and the three operations on them.

    Raises CommandError in Redis's order of checks: a key of a wrong type wins over a mistake in the options.
    """

    def __init__(
        self, ctx: Context, argv: list[bytes], at: int, name: str, may_weigh: bool = True, may_limit: bool = False
    ) -> None:
        n_keys = integer_argument(argv[at])
        if n_keys < 1:
            raise error(f"at least 1 input key is needed for '{name}' command")
        if n_keys > len(argv) - at - 1:
            raise syntax_error()
        keys = argv[at + 1 : at + 1 + n_keys]
        scores = {key: _scores(ctx, key) for key in dict.fromkeys(keys)}  # each key once, however often it is named
        self.operands = [Operand(scores[key]) for key in keys]
        self.aggregate = SUM
        self.with_scores = False
        self.limit = 0  # 0: without
        args = Arguments(argv, at + 1 + n_keys)
        while args.more():
            if may_weigh and args.left() > n_keys and args.flag(b"WEIGHTS"):
                self._read_weights(args)
            elif may_weigh and args.left() >= 2 and args.flag(b"AGGREGATE"):
                self._read_aggregate(args)
            elif at == 1 and not may_limit and args.flag(b"WITHSCORES"):
                self.with_scores = True
            elif may_limit and args.left() >= 2 and args.flag(b"LIMIT"):
                self.limit = args.integer()
                if args.is_mistaken() or self.limit < 0:
                    raise error("LIMIT can't be negative")
            else:
                args.unknown()
        args.done()

    def _read_weights(self, args: Arguments) -> None:
        for operand in self.operands:
            weight = parse_float(args.next())
            if weight is None:
                raise error("weight value is not a float")
            operand.weight = weight

    def _read_aggregate(self, args: Arguments) -> None:
        if args.flag(b"SUM"):
            self.aggregate = SUM
        elif args.flag(b"MIN"):
            self.aggregate = MIN
        elif args.flag(b"MAX"):
            self.aggregate = MAX
        else:
            args.unknown()

    def difference(self) -> dict[bytes, float]:
        first = self.operands[0].scores
        found = dict(first)
        for other in self.operands[1:]:
            if other.scores is first:
                return {}
            smaller, larger = (found, other.scores) if len(found) <= len(other.scores) else (other.scores, found)
            for member in [member for member in smaller if member in larger]:
                del found[member]
        return found

    def intersection(self) -> dict[bytes, float]:
        operands = self._smallest_first()
        found: dict[bytes, float] = {}
        for member, score in operands[0].scores.items():
            combined = _number(score * operands[0].weight)
            for other in operands[1:]:
                other_score = other.scores.get(member)
                if other_score is None:
                    break
                combined = self._combine(combined, other_score * other.weight)
            else:
                found[member] = combined
                if len(found) == self.limit:
                    break
        return found

    def union(self) -> dict[bytes, float]:
        found: dict[bytes, float] = {}
        for operand in self._smallest_first():
            weight = operand.weight
            for member, score in operand.scores.items():
                weighted = _number(score * weight)
                present = found.get(member)
                found[member] = weighted if present is None else self._combine(present, weighted)
        return found

    def reply(self, found: dict[bytes, float]) -> Reply:
        pairs = _ascending(found)
        return Pairs(pairs) if self.with_scores else [member for member, _ in pairs]

    def _smallest_first(self) -> list[Operand]:
        """The order in which Redis combines scores, which shows in the last bit of a sum."""
        return sorted(self.operands, key=_size)

    def _combine(self, one: float, other: float) -> float:
        if self.aggregate == SUM:
            return _number(one + other)
        if self.aggregate == MIN:
            return other if other < one else one
        return other if other > one else one


def _size(operand: Operand) -> int:
    return len(operand.scores)


def _number(score: float) -> float:
    """0 * inf and inf - inf count as 0."""
    return score if score == score else 0.0


def _scores(ctx: Context, key: bytes) -> dict[bytes, float]:
    value = ctx.find(key)
    if value is None:
        return {}
    if type(value) is SortedSet:
        return value.scores
    if type(value) is IndexedSet:
        return dict.fromkeys(value.members, 1.0)
    raise wrong_type()


def _ascending(found: dict[bytes, float]) -> list[tuple[bytes, float]]:
    return [(member, score) for score, member in sorted([(score, member) for member, score in found.items()])]


def _as_zset(found: dict[bytes, float], limits: Limits) -> SortedSet:
    """A set whose encoding follows from all members at once: in a skiplist every score keeps the sign of -0."""
    zset = SortedSet()
    longest = max([len(member) for member in found], default=0)
    if len(found) > limits.zset_max_listpack_entries or longest > limits.zset_max_listpack_value:
        zset.encoding = SKIPLIST
    for member, score in _ascending(found):
        put_member(zset, member, score, limits)
    return zset
