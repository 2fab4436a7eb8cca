"""Values of CONFIG parameters: from what a client typed to the form in which CONFIG GET shows it.

Each form raises CommandError with the reason as Redis words it.
"""

from typing import Final

from upstash_global.engine.numbers import parse_float, parse_integer
from upstash_global.errors import CommandError, error
from upstash_global.node.parametertable import (
    BUFFERS,
    CHOICE,
    EVENTS,
    FLAG,
    NUMBER,
    PERCENTILES,
    SAVE_POINTS,
    SCORES,
    SHARE,
    SHUTDOWN,
    SIZE,
    UNSIGNED_LONG,
    Parameter,
)

_UNITS: Final = {"b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
_EVENT_CLASSES: Final = "g$lshzxetd"  # what `A` stands for, in the order in which they are shown
_HIGHEST_HZ: Final = 500
_LOWEST_BACKLOG: Final = 16384


def canonical(parameter: Parameter, text: str, present: str) -> str:
    """The value in the form in which CONFIG GET shows it; `present` is the value until now."""
    form = parameter.form
    if form == NUMBER:
        return _number(parameter, text)
    if form == SIZE:
        size = memory_size(text)
        if size is None:
            raise _failed(parameter, "argument must be a memory value")
        size = _in_range(parameter, size)
        return str(max(size, _LOWEST_BACKLOG) if parameter.name == "repl-backlog-size" else size)
    if form == FLAG:
        if text.lower() not in ("yes", "no"):
            raise _failed(parameter, "argument must be 'yes' or 'no'")
        if parameter.name == "activedefrag" and text.lower() == "yes":
            raise _failed(parameter, _NO_DEFRAGMENTATION)
        return text.lower()
    if form == CHOICE:
        if text.lower() not in parameter.choices:
            raise _no_choice(parameter)
        return text.lower()
    if form == EVENTS:
        return _events(parameter, text)
    if form == BUFFERS:
        return _buffers(parameter, text, present)
    if form == PERCENTILES:
        return _percentiles(parameter, text)
    if form == SAVE_POINTS:
        return _save_points(parameter, text)
    if form == SHARE:
        return _share(parameter, text)
    if form == SHUTDOWN:
        return _shutdown(parameter, text)
    if form == SCORES:
        return _scores(parameter, text)
    return text


_NO_DEFRAGMENTATION: Final = (
    "Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified Jemalloc like the one "
    "shipped by default with the Redis source distribution"
)


def memory_size(text: str) -> int | None:
    """`64mb` → 67108864, as Redis reads it; None if it is no size. More than 64 bits hold is as much as they hold."""
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = text[len(digits) :].lower()
    if digits.strip("0123456789") or (unit and unit not in _UNITS):
        return None
    return min(int(digits[:30] or "0") * _UNITS.get(unit, 1), UNSIGNED_LONG)  # as Redis: nothing is 0


def _number(parameter: Parameter, text: str) -> str:
    number = parse_integer(text.encode("utf-8", "surrogateescape"))
    if number is None:
        raise _failed(parameter, "argument couldn't be parsed into an integer")
    number = _in_range(parameter, number)
    if parameter.name == "hz":
        number = max(1, min(number, _HIGHEST_HZ))
    return str(number)


def _in_range(parameter: Parameter, number: int) -> int:
    if not parameter.lowest <= number <= parameter.highest:
        raise _failed(parameter, f"argument must be between {parameter.lowest} and {parameter.highest} inclusive")
    return number


def _events(parameter: Parameter, text: str) -> str:
    """The classes in Redis's order, `A` for all that it stands for."""
    if text.strip("KEAnm" + _EVENT_CLASSES):
        raise _failed(parameter, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    wanted = text.replace("A", _EVENT_CLASSES)
    classes = "".join([letter for letter in _EVENT_CLASSES if letter in wanted])
    if classes == _EVENT_CLASSES:
        classes = "A"
    if "n" in wanted:  # Redis heeds it beside A as well, but does not show it there
        classes += "n"
    return classes + "".join([letter for letter in "KEm" if letter in wanted])


def _buffers(parameter: Parameter, text: str, present: str) -> str:
    """`class hard soft seconds …`; classes that are not named keep what they have."""
    words = text.split()
    if len(words) % 4:
        raise _failed(parameter, "Wrong number of arguments in buffer limit configuration.")
    shown = present.split()
    limits = {shown[at]: shown[at + 1 : at + 4] for at in range(0, len(shown), 4)}
    for at in range(0, len(words), 4):
        kind = words[at].lower()
        kind = "slave" if kind == "replica" else kind
        if kind not in limits:
            raise _failed(parameter, "Invalid client class specified in buffer limit configuration.")
        hard, soft = memory_size(words[at + 1]), memory_size(words[at + 2])
        seconds = parse_integer(words[at + 3].encode("utf-8", "surrogateescape"))
        if hard is None or soft is None or seconds is None or seconds < 0:
            raise _failed(parameter, "Error in hard, soft or soft_seconds setting in buffer limit configuration.")
        limits[kind] = [str(hard), str(soft), str(seconds)]
    return " ".join([" ".join([kind, *limit]) for kind, limit in limits.items()])


def _percentiles(parameter: Parameter, text: str) -> str:
    shown: list[str] = []
    for word in text.split():
        percentile = parse_float(word.encode("utf-8", "surrogateescape"))
        if percentile is None:
            raise _failed(parameter, f"Invalid {parameter.name} parameters")
        if not 0.0 <= percentile <= 100.0:
            raise _failed(parameter, f"{parameter.name} parameters should sit between [0.0,100.0]")
        shown.append(f"{percentile:.17g}" if percentile != round(percentile, 6) else f"{percentile:g}")
    return " ".join(shown)


def _save_points(parameter: Parameter, text: str) -> str:
    """`seconds changes …`; nothing is no save points."""
    words = text.split(" ") if text else []
    numbers = [parse_integer(word.encode("utf-8", "surrogateescape")) for word in words]
    for at, number in enumerate(numbers):
        if len(numbers) % 2 or number is None or number < (0 if at % 2 else 1):
            raise _failed(parameter, "Invalid save parameters")
    return " ".join(words)


def _share(parameter: Parameter, text: str) -> str:
    size: int | None
    if text.endswith("%"):
        size = parse_integer(text[:-1].encode("utf-8", "surrogateescape"))
        if size is not None and size > 100:
            raise _failed(parameter, "percentage argument must be less or equal to 100")
        if size is not None and size >= 0:
            return f"{size}%"
    size = memory_size(text)
    if size is None:
        raise _failed(parameter, "argument must be a memory or percent value")
    return str(size)


def _shutdown(parameter: Parameter, text: str) -> str:
    words = text.lower().split()
    if not words or any([word not in parameter.choices for word in words]):
        raise _no_choice(parameter)
    if "save" in words and "nosave" in words:
        raise _failed(parameter, "shutdown options SAVE and NOSAVE can't be used simultaneously")
    chosen = [choice for choice in parameter.choices if choice in words and choice != "default"]
    return " ".join(chosen) or "default"


def _scores(parameter: Parameter, text: str) -> str:
    words = text.split(" ")
    if len(words) != 3:
        raise _failed(parameter, "wrong number of arguments")
    for word in words:
        score = parse_integer(word.encode("utf-8", "surrogateescape"))
        if score is None or not -2000 <= score <= 2000:
            raise _failed(parameter, "Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
    return text


def _no_choice(parameter: Parameter) -> CommandError:
    return _failed(parameter, "argument(s) must be one of the following: " + ", ".join(parameter.choices))


def _failed(parameter: Parameter, reason: str) -> CommandError:
    return failed(parameter.name, reason)


def failed(name: str, reason: str) -> CommandError:
    """What CONFIG SET answers when a parameter does not take a value."""
    return error(f"CONFIG SET failed (possibly related to argument '{cut(name)}') - {reason}")


def cut(name: str) -> str:
    """Redis prints what it was given as a C string."""
    return name.partition("\0")[0]
