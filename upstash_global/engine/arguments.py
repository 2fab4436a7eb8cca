"""Arguments: a cursor over the options of a command, for handlers that have more than one form.

Each method looks at the next argument and moves on when it fits. The first mistake is kept and raised by `done`, so that
a handler reads like its syntax:

    args = Arguments(argv, 3)
    while args.more():
        if args.flag(b"NX"): nx = True
        elif args.flag(b"PX"): px = args.integer()
        else: args.unknown()
    args.done()
"""

from typing import Final

from upstash_global.engine.numbers import parse_float, parse_integer
from upstash_global.errors import CommandError, error, not_a_float, not_an_integer, syntax_error

_LAST_MS: Final = (1 << 63) - 1  # the last time that 64 bits can say


def integer_argument(text: bytes) -> int:
    """A signed 64-bit integer; raises CommandError if it is none."""
    value = parse_integer(text)
    if value is None:
        raise not_an_integer()
    return value


def timeout_argument(text: bytes, now_ms: int) -> int:
    """A timeout in milliseconds, 0 or more; it must not end after the last time there is, as in Redis 7.2."""
    timeout_ms = parse_integer(text)
    if timeout_ms is None:
        raise error("timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise error("timeout is negative")
    if timeout_ms > _LAST_MS - now_ms:
        raise error("timeout is out of range")
    return timeout_ms


class Arguments:
    def __init__(self, argv: list[bytes], at: int) -> None:
        self.argv = argv
        self.at = at
        self.mistake: CommandError | None = None

    def more(self) -> bool:
        """Whether an argument is left and no mistake was made yet."""
        return self.at < len(self.argv) and self.mistake is None

    def is_mistaken(self) -> bool:
        """Whether a mistake was made.

        Asked after each argument that matters: `mistake` itself, once found to be None, counts as None for good where this
        is compiled, and `integer` may have set it since.
        """
        return self.mistake is not None

    def left(self) -> int:
        return len(self.argv) - self.at

    def flag(self, word: bytes) -> bool:
        """Take the next argument if it is `word` (upper case), in any letter case."""
        if self.at < len(self.argv) and self.argv[self.at].upper() == word:
            self.at += 1
            return True
        return False

    def next(self) -> bytes:
        """Take any argument; a missing one is a syntax error."""
        if self.at >= len(self.argv):
            self.fail(syntax_error())
            return b""
        self.at += 1
        return self.argv[self.at - 1]

    def integer(self) -> int:
        """Take a signed 64-bit integer."""
        if self.at >= len(self.argv):
            self.fail(syntax_error())
            return 0
        self.at += 1
        value = parse_integer(self.argv[self.at - 1])
        if value is None:
            self.fail(not_an_integer())
            return 0
        return value

    def float(self) -> float:
        """Take a float as Redis reads it: no nan, inf allowed."""
        if self.at >= len(self.argv):
            self.fail(syntax_error())
            return 0.0
        self.at += 1
        value = parse_float(self.argv[self.at - 1])
        if value is None:
            self.fail(not_a_float())
            return 0.0
        return value

    def unknown(self) -> None:
        """The next argument fits nothing."""
        self.fail(syntax_error())

    def fail(self, mistake: CommandError) -> None:
        """Keep the first mistake."""
        if self.mistake is None:
            self.mistake = mistake

    def done(self) -> None:
        """Raise the first mistake, or a syntax error if something is left over."""
        if self.mistake is not None:
            raise self.mistake
        if self.at < len(self.argv):
            raise syntax_error()
