"""What the JSON commands share: the document, the places in it that a path means, and how they answer.

A command with a JSONPath (`$…`) works on every match and answers a list, with None where a value is of another type. One
with a legacy path answers a single value, that of the first match for a read and of the last for a write, and refuses
where the list would hold None. All checks come before the first change, so a command that fails has changed nothing.
"""

from collections.abc import Callable
from typing import Any, Final

from upstash_global.engine.context import EVENT_MODULE, Context
from upstash_global.engine.types.json import (
    MAX_DEPTH,
    Json,
    Value,
    height,
    too_deep,
    type_name,
)
from upstash_global.engine.types.jsonpath import Path, Place, compile_path
from upstash_global.errors import CommandError, error
from upstash_global.reply import Reply

ROOT: Final = b"."  # the path where none is given


def path_at(argv: list[bytes], at: int) -> Path:
    """The path at `at`, or the root if there is none."""
    return compile_path(argv[at] if at < len(argv) else ROOT)


def document(ctx: Context, key: bytes) -> Json:
    """The document, which must exist. Raises CommandError."""
    json = ctx.find_json(key)
    return refuse(missing_key()) if json is None else json


def measured(
    ctx: Context, argv: list[bytes], measure: Callable[[Value], Reply], kind: str, absent_is_nil: bool
) -> Reply:
    """What `measure` says of each value, None for a value that is not of `kind`.

    A legacy path answers for its first match and refuses one of another kind; without a match it is nil or refused.
    """
    path = path_at(argv, 2)
    json = ctx.find_json(argv[1])
    if json is None:
        return None if path.is_legacy else refuse(missing_key())
    values = path.values(json)
    if not path.is_legacy:
        return [measure(value) for value in values]
    if not values:
        return None if absent_is_nil else refuse(no_such_path(path))
    answer = measure(values[0])
    return refuse(wrong_value(kind, values[0])) if answer is None else answer


def check_depth(places: list[Place], value: Value) -> None:
    """Raises CommandError if the value would make the document too deep in one of the places."""
    if max([place.depth for place in places]) + height(value) > MAX_DEPTH:
        raise too_deep()


def changed(ctx: Context, key: bytes, json: Json, event: bytes) -> None:
    ctx.save(key, json)
    ctx.notify(EVENT_MODULE, event, key)


def one_or_all(path: Path, replies: list[Reply]) -> Reply:
    return replies[0] if path.is_legacy else replies


def last_or_all(path: Path, replies: list[Reply]) -> Reply:
    """For a legacy path the last reply that is not None."""
    if not path.is_legacy:
        return replies
    return [reply for reply in replies if reply is not None][-1]


def refuse(refusal: CommandError) -> Any:
    raise refusal


def missing_key() -> CommandError:
    return error("could not perform this operation on a key that doesn't exist")


def no_such_path(path: Path) -> CommandError:
    return error(f"Path '{path.text}' does not exist")


def not_a(path: Path, what: str) -> CommandError:
    return error(f"Path '{path.text}' does not exist or {what}")


def wrong_value(kind: str, value: Value) -> CommandError:
    return CommandError("WRONGTYPE", f"wrong type of path value - expected {kind} but found {type_name(value)}")
