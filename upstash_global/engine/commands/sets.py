"""Sets: members without order, and what sets have in common.

OBJECT ENCODING says intset while all members are integers and few, listpack while the set is small, then hashtable; it
never goes back. Set algebra walks its operands in the order of their histories, so that what is stored is the same on
every node.
"""

from upstash_global.engine.arguments import Arguments
from upstash_global.engine.commands.picking import pick_count
from upstash_global.engine.commands.scanning import ScanOptions, scan_cursor
from upstash_global.engine.context import EVENT_GENERIC, EVENT_SET, Context
from upstash_global.engine.encodings import HASHTABLE, INTSET, LISTPACK, Limits
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import (
    ALL,
    COUNTED,
    DENYOOM,
    FAST,
    FIRST,
    FIRST_TWO,
    MOVABLEKEYS,
    READONLY,
    VOLATILE,
    WRITE,
    Family,
)
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.errors import error, syntax_error
from upstash_global.reply import Reply, Set

command = Family("set").command


# -- reads ----------------------------------------------------------------------------------------------------------


@command("SCARD", arity=2, flags=READONLY | FAST, keys=FIRST)
def scard(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the number of members."""
    members = ctx.find_set(argv[1])
    return 0 if members is None else len(members)


@command("SDIFF", arity=-2, flags=READONLY, keys=ALL)
def sdiff(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the members of the first set that are in no other."""
    return Set(_difference(_operands(ctx, argv[1:])))


@command("SINTER", arity=-2, flags=READONLY, keys=ALL)
def sinter(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the members that are in all sets."""
    return Set(_intersection(_operands(ctx, argv[1:])))


@command("SINTERCARD", arity=-3, flags=READONLY | MOVABLEKEYS, keys=COUNTED(1))
def sintercard(ctx: Context, argv: list[bytes]) -> Reply:
    """Count the members that are in all sets; with LIMIT at most that many."""
    n_keys = parse_integer(argv[1])
    if n_keys is None or n_keys < 1:
        raise error("numkeys should be greater than 0")
    if n_keys > len(argv) - 2:
        raise error("Number of keys can't be greater than number of args")
    limit = 0
    args = Arguments(argv, 2 + n_keys)
    while args.more():
        if args.left() > 1 and args.flag(b"LIMIT"):
            limit = args.integer()
            if args.is_mistaken() or limit < 0:
                raise error("LIMIT can't be negative")
        else:
            args.unknown()
    args.done()
    operands = _operands(ctx, argv[2 : 2 + n_keys])
    return _count_common(operands, limit) if limit else len(_intersection(operands))


@command("SISMEMBER", arity=3, flags=READONLY | FAST, keys=FIRST)
def sismember(ctx: Context, argv: list[bytes]) -> Reply:
    """Whether a set has a member: 1 or 0."""
    members = ctx.find_set(argv[1])
    return 1 if members is not None and argv[2] in members.slots else 0


@command("SMEMBERS", arity=2, flags=READONLY, keys=FIRST)
def smembers(ctx: Context, argv: list[bytes]) -> Reply:
    """Get all members."""
    members = ctx.find_set(argv[1])
    return Set([] if members is None else list(members.members))


@command("SMISMEMBER", arity=-3, flags=READONLY | FAST, keys=FIRST)
def smismember(ctx: Context, argv: list[bytes]) -> Reply:
    """Which of several members a set has: 1 or 0 for each."""
    members = ctx.find_set(argv[1])
    if members is None:
        return [0] * (len(argv) - 2)
    slots = members.slots
    return [1 if member in slots else 0 for member in argv[2:]]


@command("SRANDMEMBER", arity=-2, flags=READONLY | VOLATILE, keys=FIRST)
def srandmember(ctx: Context, argv: list[bytes]) -> Reply:
    """Get one member by chance, or `count` of them: distinct ones, or with a negative count any."""
    if len(argv) == 2:
        members = ctx.find_set(argv[1])
        return None if members is None else members.random(ctx.random)
    if len(argv) > 3:
        raise syntax_error()
    count = pick_count(argv[2])
    members = ctx.find_set(argv[1])
    return [] if members is None else members.pick(ctx.random, count)


@command("SSCAN", arity=-3, flags=READONLY | VOLATILE, keys=FIRST)
def sscan(ctx: Context, argv: list[bytes]) -> Reply:
    """Walk through members a few at a time; what stays in the set throughout is seen at least once.

    A small set (a listpack or an intset) comes in one page, as in Redis.
    """
    cursor = scan_cursor(argv[2])
    members = ctx.find_set(argv[1])
    if members is None:
        return [b"0", []]
    options = ScanOptions(argv, 3)
    if members.encoding == HASHTABLE:
        next_cursor, page = members.scan(cursor, options.count)
    else:
        next_cursor, page = 0, list(members.members)
    glob = options.glob
    if glob is not None:
        page = [member for member in page if glob.matches(member)]
    return [b"%d" % next_cursor, page]


@command("SUNION", arity=-2, flags=READONLY, keys=ALL)
def sunion(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the members that are in any of the sets."""
    return Set(_union(_operands(ctx, argv[1:])))


# -- writes ---------------------------------------------------------------------------------------------------------


@command("SADD", arity=-3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def sadd(ctx: Context, argv: list[bytes]) -> Reply:
    """Add members; reply with how many are new."""
    key = argv[1]
    members = ctx.edit_set(key)
    n_before = len(members.members)
    if len(argv) == 3:
        members.add(argv[2])
    else:
        members.extend(argv[2:])
    added = len(members.members) - n_before
    if added:
        if members.encoding != HASHTABLE:
            _settle_encoding(members, n_before, argv[2:], ctx.limits)
        ctx.save(key, members)
        ctx.notify(EVENT_SET, b"sadd", key)
    return added


@command("SDIFFSTORE", arity=-3, flags=WRITE | DENYOOM, keys=ALL)
def sdiffstore(ctx: Context, argv: list[bytes]) -> Reply:
    """Store what SDIFF finds; reply with the number of members."""
    return _store(ctx, argv[1], _difference(_operands(ctx, argv[2:])), b"sdiffstore")


@command("SINTERSTORE", arity=-3, flags=WRITE | DENYOOM, keys=ALL)
def sinterstore(ctx: Context, argv: list[bytes]) -> Reply:
    """Store what SINTER finds; reply with the number of members."""
    return _store(ctx, argv[1], _intersection(_operands(ctx, argv[2:])), b"sinterstore")


@command("SMOVE", arity=4, flags=WRITE | FAST, keys=FIRST_TWO)
def smove(ctx: Context, argv: list[bytes]) -> Reply:
    """Move a member from one set to another; 1 if it was there."""
    source, target, member = argv[1], argv[2], argv[3]
    found = ctx.find_set(source)
    if found is None:
        return 0
    ctx.find_set(target)  # raises WRONGTYPE before anything changes
    if member not in found.slots:
        return 0
    if source == target:
        return 1
    _remove(ctx, source, [member])
    members = ctx.edit_set(target)
    n_before = len(members)
    if members.add(member):
        if members.encoding != HASHTABLE:
            _settle_encoding(members, n_before, [member], ctx.limits)
        ctx.save(target, members)
        ctx.notify(EVENT_SET, b"sadd", target)
    return 1


@command("SPOP", arity=-2, flags=WRITE | FAST, keys=FIRST)
def spop(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove and return one member by chance, or `count` of them.

    Chance stays on the leader: the log carries the SREM that it led to, or DEL when nothing was left to chance.
    """
    key = argv[1]
    if len(argv) > 2:
        return _pop_some(ctx, argv)
    members = ctx.edit_set(key)
    if not members.members:
        return None
    member = members.random(ctx.random)
    members.remove(member)
    ctx.save(key, members)
    ctx.log_as(b"SREM", key, member)
    ctx.notify(EVENT_SET, b"spop", key)
    if not members.members:
        ctx.notify(EVENT_GENERIC, b"del", key)
    return member


def _pop_some(ctx: Context, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise syntax_error()
    key = argv[1]
    count = parse_integer(argv[2])
    if count is None or count < 0:
        raise error("value is out of range, must be positive")
    members = ctx.find_set(key)
    if members is None or count == 0:
        return Set([])
    popped = members.pick(ctx.random, count)
    ctx.notify(EVENT_SET, b"spop", key)
    if len(popped) == len(members):
        ctx.remove(key)
        ctx.log_as(b"DEL", key)
        ctx.notify(EVENT_GENERIC, b"del", key)
        return Set(popped)
    edited = ctx.edit_set(key)
    for member in popped:
        edited.remove(member)
    ctx.save(key, edited)
    ctx.log_as(b"SREM", key, *popped)
    return Set(popped)


@command("SREM", arity=-3, flags=WRITE | FAST, keys=FIRST)
def srem(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove members; reply with how many there were."""
    return _remove(ctx, argv[1], argv[2:])


@command("SUNIONSTORE", arity=-3, flags=WRITE | DENYOOM, keys=ALL)
def sunionstore(ctx: Context, argv: list[bytes]) -> Reply:
    """Store what SUNION finds; reply with the number of members."""
    return _store(ctx, argv[1], _union(_operands(ctx, argv[2:])), b"sunionstore")


def _remove(ctx: Context, key: bytes, gone: list[bytes]) -> int:
    """Remove members; how many there were."""
    members = ctx.edit_set(key)
    removed = 0
    for member in gone:
        if members.remove(member):
            removed += 1
    if removed:
        ctx.save(key, members)
        ctx.notify(EVENT_SET, b"srem", key)
        if not members.members:
            ctx.notify(EVENT_GENERIC, b"del", key)
    return removed


# -- algebra --------------------------------------------------------------------------------------------------------


def _operands(ctx: Context, keys: list[bytes]) -> list[IndexedSet]:
    """The sets of all keys, an empty one for a missing key. Raises WRONGTYPE.

    What walks them walks `members`: a snapshot keeps that order, but not the one of the dict `slots`.
    """
    operands: list[IndexedSet] = []
    for key in keys:
        members = ctx.find_set(key)
        operands.append(IndexedSet() if members is None else members)
    return operands


def _difference(operands: list[IndexedSet]) -> list[bytes]:
    """The members of the first operand that are in no other; asks the others, or walks them where that is less work."""
    first, others = operands[0], operands[1:]
    if sum([len(other) for other in others]) < len(first) * len(others):
        left = dict.fromkeys(first.members)
        for other in others:
            for member in other.members:
                left.pop(member, None)
        return list(left)
    found = list(first.members)
    for other in others:
        slots = other.slots
        found = [member for member in found if member not in slots]
    return found


def _intersection(operands: list[IndexedSet]) -> list[bytes]:
    """The members that are in all operands, in the order of the smallest."""
    smallest_first = sorted(operands, key=len)
    found = list(smallest_first[0].members)
    for other in smallest_first[1:]:
        slots = other.slots
        found = [member for member in found if member in slots]
    return found


def _count_common(operands: list[IndexedSet], limit: int) -> int:
    """The number of members that are in all operands, at most `limit`."""
    smallest_first = sorted(operands, key=len)
    count = 0
    for member in smallest_first[0].members:
        for other in smallest_first[1:]:
            if member not in other.slots:
                break
        else:
            count += 1
            if count == limit:
                break
    return count


def _union(operands: list[IndexedSet]) -> list[bytes]:
    """The members of all operands, in the order of the operands."""
    found: dict[bytes, None] = {}
    for operand in operands:
        found.update(dict.fromkeys(operand.members))
    return list(found)


def _store(ctx: Context, key: bytes, found: list[bytes], event: bytes) -> int:
    """Put the set of these members, or no key without members; their number."""
    if found:
        members = IndexedSet()
        members.extend(found)
        members.encoding = INTSET
        _move_encoding(members, found, ctx.limits)
        ctx.put(key, members)
        ctx.notify(EVENT_SET, event, key)
    elif ctx.remove(key):
        ctx.notify(EVENT_GENERIC, b"del", key)
    return len(found)


# -- encodings ------------------------------------------------------------------------------------------------------


def _settle_encoding(members: IndexedSet, n_before: int, added: list[bytes], limits: Limits) -> None:
    """The encoding of a set of `n_before` members to which SADD has added some, repeats included.

    As Redis 7.2: it chooses by the number of words before it looks at them, so many repeats make a hashtable, too.
    """
    if n_before == 0:
        is_intset = len(added) <= limits.set_max_intset_entries and parse_integer(added[0]) is not None
        members.encoding = INTSET if is_intset else LISTPACK
    most = limits.set_max_intset_entries if members.encoding == INTSET else limits.set_max_listpack_entries
    if len(added) > most:
        members.encoding = HASHTABLE
    else:
        _move_encoding(members, added, limits)


def _move_encoding(members: IndexedSet, added: list[bytes], limits: Limits) -> None:
    """The encoding of a set after its old one, which was no hashtable, and what was added."""
    n = len(members)
    if members.encoding == INTSET and all([parse_integer(member) is not None for member in added]):
        if n > limits.set_max_intset_entries:
            members.encoding = HASHTABLE
    elif n > limits.set_max_listpack_entries or max(map(len, added)) > limits.set_max_listpack_value:
        members.encoding = HASHTABLE
    else:
        members.encoding = LISTPACK
