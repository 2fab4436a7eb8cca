"""Json: a document, and how JSON is read, written, copied and compared.

A document is a tree of dict, list, str, bool, None and numbers. A number stays as it was written: it is an int or a float
where Python would write it the same way, and a Number, which keeps the text, elsewhere (`1.50`, `2E3`, `-0`). So what is
read back is what was sent, and integers are exact. No float of a tree is written with an exponent, so that the standard
library's encoder may write any tree without Numbers.

Reading is strict (RFC 8259): no NaN, no half of a surrogate pair, no control characters in strings; of a member given
twice the last counts. No document is deeper than MAX_DEPTH, also after a change, which is why all walkers here and in
jsonpath.py may recurse.
"""

import re
from json import JSONDecodeError, JSONDecoder, JSONEncoder
from json.encoder import encode_basestring
from sys import getsizeof
from typing import Any, Final

from upstash_global.errors import CommandError, error

MAX_DEPTH: Final = 128  # of arrays and objects inside each other; as RedisJSON

Value = Any  # dict[str, Value] | list[Value] | str | int | float | Number | bool | None


class Json:
    """A document as the keyspace holds it."""

    __slots__ = ("root",)

    def __init__(self, root: Value) -> None:
        self.root = root


class Number:
    """A number whose text Python would not write the same way."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


# -- reading --------------------------------------------------------------------------------------------------------


def parse(data: bytes) -> Value:
    """The value that a JSON text stands for. Raises CommandError, worded as RedisJSON's parser does."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise error("Couldn't parse as UTF-8 string") from None
    decoder = _careful_decoder if b"-0" in data else _decoder
    try:
        value = decoder.decode(text)
    except JSONDecodeError as problem:
        raise _refusal(problem) from None
    except RecursionError:  # its scanner counts its depth, and stops far below what the stack holds
        raise too_deep() from None
    except ValueError:
        raise error("number out of range") from None  # an integer of more digits than Python converts
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and height(value) > MAX_DEPTH:
        raise too_deep()
    if _SURROGATE.search(data) is not None:
        try:
            encode(value)
        except UnicodeEncodeError:
            raise error("lone leading surrogate in hex escape") from None
    return value


_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def height(value: Value) -> int:
    """How many arrays and objects are inside each other; 0 for a value that is neither."""
    highest = 0
    kind = type(value)
    if kind is dict:
        for member in value.values():
            if type(member) is dict or type(member) is list:
                highest = max(highest, height(member))
    elif kind is list:
        for element in value:
            if type(element) is dict or type(element) is list:
                highest = max(highest, height(element))
    else:
        return 0
    return highest + 1


def parse_number(data: bytes) -> int | float | None:
    """A JSON number as a number to count with, or None if the text is another JSON value. Raises CommandError."""
    return number_of(parse(data))


def number_of(value: Value) -> int | float | None:
    """What to count with, or None for a value that is no number."""
    kind = type(value)
    if kind is int or kind is float:
        number: int | float = value
        return number
    if kind is Number:
        text: str = value.text
        return int(text) if is_integer(value) else float(text)
    return None


def is_integer(value: Value) -> bool:
    """Whether a number is written without fraction and exponent."""
    return type(value) is int or (type(value) is Number and value.text == "-0")


def number_value(number: int | float) -> Value:
    """The value that a document holds for a finite number that was computed."""
    if type(number) is float and "e" in repr(number):
        return Number(float_text(number))
    return number


def _read_integer(text: str) -> Value:
    return Number(text) if text == "-0" else int(text)


def _read_float(text: str) -> Value:
    value = float(text)
    written = repr(value)
    if written == text and "e" not in written:
        return value
    if written.endswith("inf"):
        raise ValueError
    return Number(text)


def _read_constant(text: str) -> Value:
    raise error(f"expected value, not {text}")


_decoder: Final = JSONDecoder(parse_float=_read_float, parse_constant=_read_constant)
_careful_decoder: Final = JSONDecoder(parse_int=_read_integer, parse_float=_read_float, parse_constant=_read_constant)

_REFUSALS: Final = {
    "Expecting value": "expected value",
    "Extra data": "trailing characters",
    "Expecting property name enclosed in double quotes": "key must be a string",
    "Expecting ':' delimiter": "expected `:`",
    "Expecting ',' delimiter": "expected `,` or the end",
    "Unterminated string starting at": "EOF while parsing a string",
    "Invalid control character at": "control character (\\u0000-\\u001F) found while parsing a string",
    "Invalid \\escape": "invalid escape",
    "Invalid \\uXXXX escape": "invalid escape",
}


def _refusal(problem: JSONDecodeError) -> CommandError:
    text = _REFUSALS.get(problem.msg.rstrip(": "), "invalid JSON")
    if problem.pos >= len(problem.doc) and "EOF" not in text:
        text = "EOF while parsing a value"
    return error(f"{text} at line {problem.lineno} column {problem.colno}")


def too_deep() -> CommandError:
    return error("recursion limit exceeded")


# -- writing --------------------------------------------------------------------------------------------------------


class Layout:
    """What JSON.GET puts between the parts of what it writes."""

    def __init__(self) -> None:
        self.indent = ""  # repeated, before each line
        self.newline = ""  # after each line
        self.space = ""  # after a colon


_COMPACT: Final = Layout()


def encode(value: Value) -> bytes:
    """The compact JSON text."""
    try:
        return _encoder.encode(value).encode()
    except TypeError:  # there is a Number in it
        return format(value, _COMPACT)


_encoder: Final = JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def format(value: Value, layout: Layout) -> bytes:
    """The JSON text laid out in lines; empty arrays and objects stay in one piece."""
    parts: list[str] = []
    _write_lines(value, parts, layout, layout.newline)
    return "".join(parts).encode("utf-8", "surrogateescape")


def _write_lines(value: Value, parts: list[str], layout: Layout, line: str) -> None:
    """`line` is the newline with the indentation of the value itself."""
    kind = type(value)
    inner = line + layout.indent
    if kind is dict and value:
        before = "{" + inner
        for name, member in value.items():
            parts.append(before)
            parts.append(encode_basestring(name))
            parts.append(":" + layout.space)
            _write_lines(member, parts, layout, inner)
            before = "," + inner
        parts.append(line + "}")
    elif kind is list and value:
        before = "[" + inner
        for element in value:
            parts.append(before)
            _write_lines(element, parts, layout, inner)
            before = "," + inner
        parts.append(line + "]")
    else:
        parts.append("{}" if kind is dict else "[]" if kind is list else scalar_text(value))


def scalar_text(value: Value) -> str:
    """The JSON text of a value that is neither array nor object."""
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is int:
        return str(value)
    if kind is float:
        return repr(value)
    if kind is Number:
        text: str = value.text
        return text
    if value is None:
        return "null"
    return "true" if value else "false"


def float_text(value: float) -> str:
    """The shortest text of a finite double, always with a point or an exponent: `1.0`, `0.00001`, `1e21`, `2.5e-7`.

    RedisJSON's layout: as Python's, but for the exponent, which has neither plus nor leading zero and begins at -6.
    """
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text
    if exponent == "-05":
        sign = "-" if mantissa[0] == "-" else ""
        return sign + "0.0000" + mantissa.lstrip("-").replace(".", "")
    return f"{mantissa}e{int(exponent)}"


# -- comparing, copying, measuring ----------------------------------------------------------------------------------


def type_name(value: Value) -> str:
    """The name that JSON.TYPE answers."""
    kind = type(value)
    if kind is dict:
        return "object"
    if kind is list:
        return "array"
    if kind is str:
        return "string"
    if kind is bool:
        return "boolean"
    if value is None:
        return "null"
    return "integer" if is_integer(value) else "number"


def copy(value: Value) -> Value:
    """An equal value that shares nothing which can change."""
    kind = type(value)
    if kind is dict:
        return {name: copy(member) for name, member in value.items()}
    if kind is list:
        return [copy(element) for element in value]
    return value


def equal(one: Value, other: Value) -> bool:
    """Whether two values are the same; an integer is not the same as a number with a fraction or an exponent."""
    kind = type(one)
    if kind is dict:
        if type(other) is not dict or len(one) != len(other):
            return False
        return all(name in other and equal(member, other[name]) for name, member in one.items())
    if kind is list:
        if type(other) is not list or len(one) != len(other):
            return False
        return all(equal(one[i], other[i]) for i in range(len(one)))
    number = number_of(one)
    if number is not None:
        return number == number_of(other) and is_integer(one) == is_integer(other)
    return type(other) is kind and bool(one == other)


def memory_bytes(value: Value) -> int:
    """An estimate of the memory that a value takes in this implementation."""
    kind = type(value)
    if kind is dict:
        total = getsizeof(value)
        for name, member in value.items():
            total += memory_bytes(name) + memory_bytes(member)
        return total
    if kind is list:
        total = getsizeof(value)
        for element in value:
            total += memory_bytes(element)
        return total
    if kind is str:
        return getsizeof(value) if len(value) > 1 else 0  # Python has one of each letter, and of small integers
    if kind is int:
        return _NUMBER_BYTES if value > 256 or value < -5 else 0
    return 0 if kind is bool or value is None else _NUMBER_BYTES


_NUMBER_BYTES: Final = 28
