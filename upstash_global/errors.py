"""The errors of the system: three kinds, three answers.

A CommandError tells the client, and so does an HttpError that refuses a whole request; a ProtocolError cuts the peer off; a ConfigError stops the start. A ClusterError says
why a peer's request cannot be served; Gap and SnapshotError say what is wrong with what a peer or the disk gave. Anything
else that is raised is a bug of ours.
"""

from typing import Final


class CommandError(Exception):
    """A command was refused or failed; the client reads `CODE message`, as Redis words it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.is_counted = False  # a script passes on what a command failed with, which the statistics have already

    @property
    def text(self) -> str:
        """The line a client sees, without the leading dash of RESP."""
        return f"{self.code} {self.message}" if self.message else self.code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CommandError) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"CommandError({self.text!r})"


class ProtocolError(Exception):
    """The bytes of a peer do not form a message; it is told why and its connection is closed."""


class ReplyTooLong(Exception):
    """A reply takes more bytes on the wire than a client is sent at once."""


class HttpError(Exception):
    """The request is refused as a whole, with this status and text; 405 has no body at all."""

    def __init__(self, status: int, text: str, retry_after_s: int = 1, delay_ms: int = 0) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text
        self.retry_after_s = retry_after_s  # told with 429 and 503
        self.delay_ms = delay_ms  # how late it is told


class ClusterError(Exception):
    """A peer's request cannot be served: another cluster, an old epoch, an unknown node."""


class Gap(Exception):
    """An entry does not follow the log's head: something between was missed, or its epoch has not begun here."""


class SnapshotError(Exception):
    """The bytes are no whole, undamaged snapshot."""


class DumpError(Exception):
    """The bytes are no value in Redis's format, or one that is too large."""


class Divergence(Exception):
    """An entry of the log failed on this node: its keyspace is not what the leader's was."""


class ConfigError(Exception):
    """The configuration has mistakes; `problems` lists all of them, each with its path."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems: Final = problems


def shown(word: bytes) -> str:
    """A client's word as an error shows it: up to its first zero byte, as a C string; other bytes come back unchanged."""
    return word.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def error(message: str) -> CommandError:
    """A plain `ERR message`, by far the most common refusal."""
    return CommandError("ERR", message)


def wrong_type() -> CommandError:
    return CommandError("WRONGTYPE", "Operation against a key holding the wrong kind of value")


def wrong_arity(name: str) -> CommandError:
    """`name` as the client should read it: lower case, a subcommand as `client|kill`."""
    return CommandError("ERR", f"wrong number of arguments for '{name}' command")


INTERNAL_ERROR: Final = CommandError("ERR", "internal error")  # a bug of ours; the process log says what it was


def reply_too_long() -> CommandError:
    return CommandError("ERR", "the reply would be too long")


def syntax_error() -> CommandError:
    return CommandError("ERR", "syntax error")


def not_an_integer() -> CommandError:
    return CommandError("ERR", "value is not an integer or out of range")


def not_a_float() -> CommandError:
    return CommandError("ERR", "value is not a valid float")
