"""Lists: elements in order, cheap to reach and to change at both ends.

What a list is made of, and which of this is cheap, says types/list.py.
"""

from itertools import islice

from upstash_global.engine.arguments import Arguments, integer_argument
from upstash_global.engine.context import EVENT_GENERIC, EVENT_LIST, Context
from upstash_global.engine.numbers import INT64_MAX, parse_integer
from upstash_global.engine.table import COUNTED, DENYOOM, FAST, FIRST, FIRST_TWO, MOVABLEKEYS, READONLY, WRITE, Family
from upstash_global.engine.types.list import List
from upstash_global.errors import error, syntax_error, wrong_arity
from upstash_global.reply import NULL_ARRAY, OK, Reply

command = Family("list").command


# -- reads ----------------------------------------------------------------------------------------------------------


@command("LINDEX", arity=3, flags=READONLY, keys=FIRST)
def lindex(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the element at an index, counted from the end if it is negative; nil outside the list."""
    values = ctx.find_list(argv[1])
    if values is None:
        return None
    index = integer_argument(argv[2])
    n = len(values)
    return values.get(index % n) if -n <= index < n else None


@command("LLEN", arity=2, flags=READONLY | FAST, keys=FIRST)
def llen(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the number of elements."""
    values = ctx.find_list(argv[1])
    return 0 if values is None else len(values)


@command("LPOS", arity=-3, flags=READONLY, keys=FIRST)
def lpos(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the index of the first element that equals, or with COUNT of that many, 0 for all.

    RANK starts at a later match, or with a negative one at the end; MAXLEN bounds how many elements are compared.
    """
    rank, count, most_compared = 1, -1, 0
    args = Arguments(argv, 3)
    while args.more():
        if args.left() < 2:
            args.unknown()
        elif args.flag(b"RANK"):
            rank = _rank(args)
        elif args.flag(b"COUNT"):
            count = _positive(args, "COUNT can't be negative")
        elif args.flag(b"MAXLEN"):
            most_compared = _positive(args, "MAXLEN can't be negative")
        else:
            args.unknown()
    args.done()
    values = ctx.find_list(argv[1])
    found = [] if values is None else _positions(values, argv[2], rank, 1 if count < 0 else count, most_compared)
    if count < 0:
        return found[0] if found else None
    return found


def _rank(args: Arguments) -> int:
    rank = args.integer()
    if not args.is_mistaken() and rank == 0:
        raise error(
            "RANK can't be zero: use 1 to start from the first match, "
            "2 from the second ... or use negative to start from the end of the list"
        )
    if rank < -INT64_MAX:
        raise error(f"value is out of range, value must between {-INT64_MAX} and {INT64_MAX}")
    return rank


def _positive(args: Arguments, refusal: str) -> int:
    number = args.integer()
    if args.is_mistaken() or number < 0:
        raise error(refusal)
    return number


def _positions(values: List, sought: bytes, rank: int, count: int, most_compared: int) -> list[int]:
    """The indices of up to `count` matches (0: all) from the rank-th on, of the first `most_compared` elements (0: all)."""
    n = len(values)
    from_end = rank < 0
    walk = values.from_end() if from_end else iter(values)
    if most_compared:
        walk = islice(walk, most_compared)
    to_skip = abs(rank) - 1
    found: list[int] = []
    for at, value in enumerate(walk):
        if value != sought:
            continue
        if to_skip:
            to_skip -= 1
            continue
        found.append(n - 1 - at if from_end else at)
        if len(found) == count:
            break
    return found


@command("LRANGE", arity=4, flags=READONLY, keys=FIRST)
def lrange(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the elements from one index to another, both included; negative ones count from the end."""
    start = integer_argument(argv[2])
    end = integer_argument(argv[3])
    values = ctx.find_list(argv[1])
    if values is None:
        return []
    start, stop = _bounds(start, end, len(values))
    return values.slice(start, stop)


def _bounds(start: int, end: int, n: int) -> tuple[int, int]:
    """The indices of a range of `n` elements as 0 ≤ start ≤ stop ≤ n, the stop excluded."""
    start = max(start + n, 0) if start < 0 else start
    stop = (end + n if end < 0 else min(end, n - 1)) + 1
    return (start, stop) if start < stop else (0, 0)


# -- writes ---------------------------------------------------------------------------------------------------------


@command("LINSERT", arity=5, flags=WRITE | DENYOOM, keys=FIRST)
def linsert(ctx: Context, argv: list[bytes]) -> Reply:
    """Insert an element BEFORE or AFTER the first that equals; reply with the new length, -1 if none equals."""
    where = argv[2].upper()
    if where != b"BEFORE" and where != b"AFTER":
        raise syntax_error()
    values = ctx.edit_list(argv[1])
    if not values:
        return 0
    at = values.find(argv[3])
    if at < 0:
        return -1
    values.insert(at if where == b"BEFORE" else at + 1, argv[4])
    ctx.save(argv[1], values)
    ctx.notify(EVENT_LIST, b"linsert", argv[1])
    return len(values)


@command("LMOVE", arity=5, flags=WRITE | DENYOOM, keys=FIRST_TWO)
def lmove(ctx: Context, argv: list[bytes]) -> Reply:
    """Move an element from the LEFT or RIGHT end of a list to an end of another, or of the same; reply with it."""
    from_left = _is_left(argv[3])
    to_left = _is_left(argv[4])
    return move(ctx, argv[1], argv[2], from_left, to_left)


@command("LMPOP", arity=-4, flags=WRITE | MOVABLEKEYS, keys=COUNTED(1))
def lmpop(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove up to COUNT elements from an end of the first list that has any: its key and the elements, or nil."""
    n_keys = parse_integer(argv[1])
    if n_keys is None or n_keys < 1:
        raise error("numkeys should be greater than 0")
    if n_keys + 2 >= len(argv):
        raise syntax_error()
    from_left = _is_left(argv[n_keys + 2])
    count = 1
    args = Arguments(argv, n_keys + 3)
    if args.left() >= 2 and args.flag(b"COUNT"):
        count = args.integer()
        if args.is_mistaken() or count < 1:
            raise error("count should be greater than 0")
    args.done()
    for key in argv[2 : n_keys + 2]:
        if ctx.find_list(key) is not None:
            return [key, pop(ctx, key, count, from_left)]
    return NULL_ARRAY


@command("LPOP", arity=-2, flags=WRITE | FAST, keys=FIRST)
def lpop(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove and return the first element, or the first `count` of them."""
    return _pop_one(ctx, argv[1], True) if len(argv) == 2 else _pop_some(ctx, argv, True)


@command("LPUSH", arity=-3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def lpush(ctx: Context, argv: list[bytes]) -> Reply:
    """Prepend elements, each before the one before; reply with the new length."""
    return _push(ctx, argv, ctx.edit_list(argv[1]), True)


@command("LPUSHX", arity=-3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def lpushx(ctx: Context, argv: list[bytes]) -> Reply:
    """Prepend elements to a list that is there; reply with the new length, 0 without a list."""
    values = ctx.edit_list(argv[1])
    return _push(ctx, argv, values, True) if values else 0


@command("LREM", arity=4, flags=WRITE, keys=FIRST)
def lrem(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove `count` elements that equal, from the end if it is negative, all if it is 0; reply with how many."""
    count = integer_argument(argv[2])
    key = argv[1]
    values = ctx.edit_list(key)
    n_equal = values.count(argv[3])
    if n_equal == 0:
        return 0
    removed = n_equal if count == 0 else min(abs(count), n_equal)
    if removed == n_equal:
        left = List([value for value in values if value != argv[3]])
    else:
        left = _without(values, argv[3], removed, count < 0)
    _save_shorter(ctx, key, left, b"lrem")
    return removed


def _without(values: List, unwanted: bytes, count: int, from_end: bool) -> List:
    """The list without `count` of the unwanted elements, of which it has more."""
    left: list[bytes] = []
    walk = values.from_end() if from_end else iter(values)
    for value in walk:
        if value != unwanted:
            left.append(value)
            continue
        count -= 1
        if count == 0:
            break
    left.extend(walk)
    if from_end:
        left.reverse()
    return List(left)


@command("LSET", arity=4, flags=WRITE | DENYOOM, keys=FIRST)
def lset(ctx: Context, argv: list[bytes]) -> Reply:
    """Replace the element at an index."""
    values = ctx.edit_list(argv[1])
    if not values:
        raise error("no such key")
    index = integer_argument(argv[2])
    if not -len(values) <= index < len(values):
        raise error("index out of range")
    values.set(index % len(values), argv[3])
    ctx.save(argv[1], values)
    ctx.notify(EVENT_LIST, b"lset", argv[1])
    return OK


@command("LTRIM", arity=4, flags=WRITE, keys=FIRST)
def ltrim(ctx: Context, argv: list[bytes]) -> Reply:
    """Keep only the elements from one index to another, both included."""
    start = integer_argument(argv[2])
    end = integer_argument(argv[3])
    key = argv[1]
    values = ctx.edit_list(key)
    n = len(values)
    start, stop = _bounds(start, end, n)
    kept = stop - start
    if kept == n:
        return OK
    if kept < n // 2:
        values = List(values.slice(start, stop))
    else:
        for _ in range(start):
            values.pop_left()
        for _ in range(n - stop):
            values.pop()
    _save_shorter(ctx, key, values, b"ltrim")
    return OK


@command("RPOP", arity=-2, flags=WRITE | FAST, keys=FIRST)
def rpop(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove and return the last element, or the last `count` of them, from the end on."""
    return _pop_one(ctx, argv[1], False) if len(argv) == 2 else _pop_some(ctx, argv, False)


@command("RPOPLPUSH", arity=3, flags=WRITE | DENYOOM, keys=FIRST_TWO)
def rpoplpush(ctx: Context, argv: list[bytes]) -> Reply:
    """Move the last element of a list to the front of another; the old name of LMOVE … RIGHT LEFT."""
    return move(ctx, argv[1], argv[2], False, True)


@command("RPUSH", arity=-3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def rpush(ctx: Context, argv: list[bytes]) -> Reply:
    """Append elements; reply with the new length."""
    return _push(ctx, argv, ctx.edit_list(argv[1]), False)


@command("RPUSHX", arity=-3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
def rpushx(ctx: Context, argv: list[bytes]) -> Reply:
    """Append elements to a list that is there; reply with the new length, 0 without a list."""
    values = ctx.edit_list(argv[1])
    return _push(ctx, argv, values, False) if values else 0


# -- what the commands share ----------------------------------------------------------------------------------------


def move(ctx: Context, source: bytes, target: bytes, from_left: bool, to_left: bool) -> bytes | None:
    """Move an element between ends of lists and return it; None without a source."""
    values = ctx.edit_list(source)
    if not values:
        return None
    receiver = values if source == target else ctx.edit_list(target)
    value = values.pop_left() if from_left else values.pop()
    if to_left:
        receiver.append_left(value)
    else:
        receiver.append(value)
    ctx.save(target, receiver)
    ctx.notify(EVENT_LIST, b"lpush" if to_left else b"rpush", target)
    _save_shorter(ctx, source, values, b"lpop" if from_left else b"rpop")
    return value


def pop(ctx: Context, key: bytes, count: int, from_left: bool) -> list[bytes]:
    """Remove and return up to `count` (1 or more) elements from an end of a list that is there, the outermost first."""
    values = ctx.edit_list(key)
    n = min(count, len(values))
    popped = [values.pop_left() for _ in range(n)] if from_left else [values.pop() for _ in range(n)]
    _save_shorter(ctx, key, values, b"lpop" if from_left else b"rpop")
    return popped


def _pop_one(ctx: Context, key: bytes, from_left: bool) -> bytes | None:
    values = ctx.edit_list(key)
    if not values:
        return None
    value = values.pop_left() if from_left else values.pop()
    _save_shorter(ctx, key, values, b"lpop" if from_left else b"rpop")
    return value


def _pop_some(ctx: Context, argv: list[bytes], from_left: bool) -> Reply:
    """LPOP or RPOP with a count."""
    if len(argv) > 3:
        raise wrong_arity("lpop" if from_left else "rpop")
    count = parse_integer(argv[2])
    if count is None or count < 0:
        raise error("value is out of range, must be positive")
    if ctx.find_list(argv[1]) is None:
        return NULL_ARRAY
    return pop(ctx, argv[1], count, from_left) if count else []


def _save_shorter(ctx: Context, key: bytes, values: List, event: bytes) -> None:
    """Note that elements were removed; a list without elements is no key any more."""
    ctx.save(key, values)
    ctx.notify(EVENT_LIST, event, key)
    if not values:
        ctx.notify(EVENT_GENERIC, b"del", key)


def _push(ctx: Context, argv: list[bytes], values: List, to_left: bool) -> int:
    """Push `argv[2:]` to a list that is being edited; its new length."""
    if len(argv) == 3:
        if to_left:
            values.append_left(argv[2])
        else:
            values.append(argv[2])
    elif to_left:
        values.extend_left(argv[2:])
    else:
        values.extend(argv[2:])
    ctx.save(argv[1], values)
    ctx.notify(EVENT_LIST, b"lpush" if to_left else b"rpush", argv[1])
    return len(values)


def _is_left(word: bytes) -> bool:
    """LEFT or RIGHT, in any letter case; anything else is a syntax error."""
    upper = word.upper()
    if upper == b"LEFT":
        return True
    if upper == b"RIGHT":
        return False
    raise syntax_error()
