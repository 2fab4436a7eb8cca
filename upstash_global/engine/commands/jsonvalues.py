"""JSON strings, numbers, booleans and objects: measure them, count, append, toggle. Paths as jsontargets.py has them."""

from collections.abc import Callable
from typing import Any, Final

from upstash_global.engine.commands.jsontargets import (
    ROOT,
    changed,
    document,
    last_or_all,
    measured,
    not_a,
    wrong_value,
)
from upstash_global.engine.context import Context
from upstash_global.engine.numbers import INT64_MAX, INT64_MIN
from upstash_global.engine.table import DENYOOM, FIRST, READONLY, WRITE, Family
from upstash_global.engine.types.json import (
    Value,
    encode,
    number_of,
    number_value,
    parse,
    parse_number,
    scalar_text,
)
from upstash_global.engine.types.jsonpath import Place, compile_path
from upstash_global.errors import error, wrong_arity
from upstash_global.reply import ByProtocol, Reply

command = Family("json").command


# -- reads -----------------------------------------------------------------------------------------------------------


@command("JSON.OBJKEYS", arity=-2, flags=READONLY, keys=FIRST)
def json_objkeys(ctx: Context, argv: list[bytes]) -> Reply:
    """Get the names of an object's members."""
    return measured(ctx, argv, _names, "object", True)


def _names(value: Value) -> Reply:
    return list(value) if type(value) is dict else None


@command("JSON.OBJLEN", arity=-2, flags=READONLY, keys=FIRST)
def json_objlen(ctx: Context, argv: list[bytes]) -> Reply:
    """Count the members of an object."""
    return measured(ctx, argv, _n_members, "object", True)


def _n_members(value: Value) -> Reply:
    return len(value) if type(value) is dict else None


@command("JSON.STRLEN", arity=-2, flags=READONLY, keys=FIRST)
def json_strlen(ctx: Context, argv: list[bytes]) -> Reply:
    """Count the bytes of a string."""
    return measured(ctx, argv, _n_bytes, "string", False)


def _n_bytes(value: Value) -> Reply:
    return _utf8_length(value) if type(value) is str else None


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


# -- writes ----------------------------------------------------------------------------------------------------------


@command("JSON.NUMINCRBY", arity=4, flags=WRITE, keys=FIRST)
def json_numincrby(ctx: Context, argv: list[bytes]) -> Reply:
    """Add a number to numbers; reply with the results as JSON text (RESP3: as numbers)."""
    return _counted(ctx, argv, _sum, b"json.numincrby")


@command("JSON.NUMMULTBY", arity=4, flags=WRITE, keys=FIRST)
def json_nummultby(ctx: Context, argv: list[bytes]) -> Reply:
    """Multiply numbers by a number; reply with the results as JSON text (RESP3: as numbers)."""
    return _counted(ctx, argv, _product, b"json.nummultby")


def _sum(one: Any, other: Any) -> Any:
    return one + other


def _product(one: Any, other: Any) -> Any:
    return one * other


def _counted(ctx: Context, argv: list[bytes], operation: Callable[[Any, Any], Any], event: bytes) -> Reply:
    path = compile_path(argv[2])
    operand = parse_number(argv[3])
    if operand is None:
        raise error("bad input number")
    json = document(ctx, argv[1])
    places: list[Place] = []
    results: list[Value] = []
    answers: list[Value] = []
    for place in path.find(json):
        number = number_of(place.value)
        if number is None:
            answers.append(None)
            continue
        result = _in_range(operation, number, operand)
        places.append(place)
        results.append(result)
        answers.append(result)
    if path.is_legacy and not places:
        raise not_a(path, "does not contains a number")
    if places:
        ctx.edit_json(argv[1])
        for i in range(len(places)):
            places[i].put(results[i])
        changed(ctx, argv[1], json, event)
    if path.is_legacy:
        return ByProtocol(encode(results[-1]), [_in_resp3(results[-1])])
    return ByProtocol(encode(answers), [_in_resp3(answer) for answer in answers])


def _in_range(operation: Callable[[Any, Any], Any], one: int | float, other: int | float) -> Value:
    """The result; integers stay exact. Raises CommandError beyond the range of a double."""
    try:
        result = operation(one, other)
    except OverflowError:
        raise error("result is not a number") from None
    if result != result or not -_LARGEST <= result <= _LARGEST:
        raise error("result is not a number")
    return number_value(result)


_LARGEST: Final = 1.7976931348623157e308


def _in_resp3(number: Value) -> Reply:
    """A number as RESP3 has it; an integer that no reply can hold is text."""
    if type(number) is int and not INT64_MIN <= number <= INT64_MAX:
        return scalar_text(number)
    return number if number is None else number_of(number)


@command("JSON.STRAPPEND", arity=-3, flags=WRITE | DENYOOM, keys=FIRST)
def json_strappend(ctx: Context, argv: list[bytes]) -> Reply:
    """Append to strings; reply with their lengths in bytes."""
    if len(argv) > 4:
        raise wrong_arity("json.strappend")
    path = compile_path(argv[2] if len(argv) == 4 else ROOT)
    suffix = parse(argv[-1])
    if type(suffix) is not str:
        raise wrong_value("string", suffix)
    json = document(ctx, argv[1])
    places: list[Place] = []
    lengths: list[Reply] = []
    for place in path.find(json):
        if type(place.value) is not str:
            lengths.append(None)
            continue
        length = _utf8_length(place.value) + _utf8_length(suffix)
        if length > ctx.limits.proto_max_bulk_len:
            raise error("string exceeds maximum allowed size (proto-max-bulk-len)")
        places.append(place)
        lengths.append(length)
    if path.is_legacy and not places:
        raise not_a(path, "not a string")
    if places:
        ctx.edit_json(argv[1])
        for place in places:
            place.put(place.value + suffix)
        changed(ctx, argv[1], json, b"json.strappend")
    return last_or_all(path, lengths)


@command("JSON.TOGGLE", arity=3, flags=WRITE | DENYOOM, keys=FIRST)
def json_toggle(ctx: Context, argv: list[bytes]) -> Reply:
    """Turn true into false and false into true; reply with 1 for true and 0 for false."""
    path = compile_path(argv[2])
    json = document(ctx, argv[1])
    places = path.find(json)
    booleans = [place for place in places if type(place.value) is bool]
    if path.is_legacy and not booleans:
        raise not_a(path, "not a bool")
    if booleans:
        ctx.edit_json(argv[1])
        for place in booleans:
            place.put(not place.value)
        changed(ctx, argv[1], json, b"json.toggle")
    if path.is_legacy:
        return b"true" if booleans[-1].value else b"false"
    return [int(place.value) if type(place.value) is bool else None for place in places]
