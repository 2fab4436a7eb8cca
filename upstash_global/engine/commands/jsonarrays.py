"""JSON arrays: append, insert, find, pop and trim inside a document. Paths as jsontargets.py has them."""

from upstash_global.engine.arguments import integer_argument
from upstash_global.engine.commands.jsontargets import (
    changed,
    check_depth,
    document,
    last_or_all,
    missing_key,
    no_such_path,
    not_a,
    one_or_all,
    path_at,
    refuse,
    wrong_value,
)
from upstash_global.engine.context import Context
from upstash_global.engine.table import DENYOOM, FIRST, READONLY, WRITE, Family
from upstash_global.engine.types.json import Value, copy, encode, equal, parse
from upstash_global.engine.types.jsonpath import Path, Place, compile_path
from upstash_global.errors import error, wrong_arity
from upstash_global.reply import Reply

command = Family("json").command

# -- reads ----------------------------------------------------------------------------------------------------------


@command("JSON.ARRINDEX", arity=-4, flags=READONLY, keys=FIRST)
def json_arrindex(ctx: Context, argv: list[bytes]) -> Reply:
    """Find the first element that equals a value, from `start` (0) up to before `stop` (0: the end); -1 without one."""
    if len(argv) > 6:
        raise wrong_arity("json.arrindex")
    path = compile_path(argv[2])
    wanted = parse(argv[3])
    start = integer_argument(argv[4]) if len(argv) > 4 else 0
    stop = integer_argument(argv[5]) if len(argv) > 5 else 0
    json = ctx.find_json(argv[1])
    if json is None:
        raise no_such_path(path)
    values = path.values(json)
    if not path.is_legacy:
        return [_index_of(value, wanted, start, stop) if type(value) is list else None for value in values]
    if not values:
        raise no_such_path(path)
    if type(values[0]) is not list:
        raise wrong_value("array", values[0])
    return _index_of(values[0], wanted, start, stop)


def _index_of(array: list[Value], wanted: Value, start: int, stop: int) -> int:
    n = len(array)
    first = start if start >= 0 else max(0, start + n)
    end = min(stop, n) if stop > 0 else stop + n
    for i in range(first, end):
        if equal(array[i], wanted):
            return i
    return -1


@command("JSON.ARRLEN", arity=-2, flags=READONLY, keys=FIRST)
def json_arrlen(ctx: Context, argv: list[bytes]) -> Reply:
    """Count the elements of an array."""
    path = path_at(argv, 2)
    json = ctx.find_json(argv[1])
    if json is None:
        return None if path.is_legacy else refuse(missing_key())
    places = path.find(json)
    _arrays(path, places[:1])
    return one_or_all(path, _lengths(places))


def _lengths(places: list[Place]) -> list[Reply]:
    return [len(place.value) if type(place.value) is list else None for place in places]


# -- writes ---------------------------------------------------------------------------------------------------------


@command("JSON.ARRAPPEND", arity=-3, flags=WRITE | DENYOOM, keys=FIRST)
def json_arrappend(ctx: Context, argv: list[bytes]) -> Reply:
    """Append values to arrays; reply with their lengths."""
    return _insert(ctx, argv, argv[3:], None, b"json.arrappend")


@command("JSON.ARRINSERT", arity=-4, flags=WRITE | DENYOOM, keys=FIRST)
def json_arrinsert(ctx: Context, argv: list[bytes]) -> Reply:
    """Insert values into arrays before an index; reply with their lengths."""
    return _insert(ctx, argv, argv[4:], integer_argument(argv[3]), b"json.arrinsert")


def _insert(ctx: Context, argv: list[bytes], texts: list[bytes], index: int | None, event: bytes) -> Reply:
    """Insert the values of `texts` before `index`, or with None at the end."""
    if not texts:
        raise wrong_arity(event.decode())
    path = compile_path(argv[2])
    values = [parse(text) for text in texts]
    json = document(ctx, argv[1])
    places = path.find(json)
    arrays = _arrays(path, places)
    for place in arrays:
        n = len(place.value)
        if index is not None and not -n <= index <= n:
            raise error("index out of bounds")
    if arrays:
        check_depth(arrays, values)  # as if they were all of the array
        ctx.edit_json(argv[1])
        for place in arrays:
            own = [copy(value) for value in values]
            if index is None:
                place.value.extend(own)
            else:
                place.value[index:index] = own
        changed(ctx, argv[1], json, event)
    return last_or_all(path, _lengths(places))


@command("JSON.ARRPOP", arity=-2, flags=WRITE, keys=FIRST)
def json_arrpop(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove the element at an index (-1: the last) of arrays; reply with it as JSON text, nil from an empty one.

    An index outside of an array means its nearer end.
    """
    path = path_at(argv, 2)
    index = integer_argument(argv[3]) if len(argv) > 3 else -1
    json = document(ctx, argv[1])
    places = path.find(json)
    if [place for place in _arrays(path, places) if place.value]:
        ctx.edit_json(argv[1])
        popped = [_popped(place.value, index) for place in places]
        changed(ctx, argv[1], json, b"json.arrpop")
    else:
        popped = [None for _ in places]
    if not path.is_legacy:
        return popped
    return [popped[i] for i in range(len(places)) if type(places[i].value) is list][-1]


def _popped(value: Value, index: int) -> bytes | None:
    if type(value) is not list or not value:
        return None
    n = len(value)
    return encode(value.pop(max(0, index + n) if index < 0 else min(index, n - 1)))


@command("JSON.ARRTRIM", arity=5, flags=WRITE, keys=FIRST)
def json_arrtrim(ctx: Context, argv: list[bytes]) -> Reply:
    """Keep only the elements from `start` to `stop` of arrays; reply with their lengths."""
    path = compile_path(argv[2])
    start, stop = integer_argument(argv[3]), integer_argument(argv[4])
    json = document(ctx, argv[1])
    places = path.find(json)
    arrays = _arrays(path, places)
    if arrays:
        ctx.edit_json(argv[1])
        for place in arrays:
            n = len(place.value)
            first = start if start >= 0 else max(0, start + n)
            end = (stop if stop >= 0 else stop + n) + 1
            place.value[:] = place.value[first : max(first, end)]
        changed(ctx, argv[1], json, b"json.arrtrim")
    return last_or_all(path, _lengths(places))


def _arrays(path: Path, places: list[Place]) -> list[Place]:
    """Those of the places that hold arrays. Raises CommandError if a legacy path has none."""
    arrays = [place for place in places if type(place.value) is list]
    if path.is_legacy and not arrays:
        raise not_a(path, "not an array")
    return arrays
