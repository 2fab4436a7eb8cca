"""RESP, the protocol of Redis: requests in (`Parser`), replies out (`encode`).

A request is an array of bulk strings (`*2 $3 GET $1 k`, each line ended by CR LF) or an inline line that a human typed
(`GET k`); the first byte decides. Error texts and leniencies are those of Redis 7.2: the two bytes behind an argument
are not looked at.

The parser has two readers. `_read_whole` takes commands that lie completely in the bytes at hand and are plain in every
way: a tight loop, nearly all traffic. Whatever it does not like, it leaves to the careful reader, which keeps its state
between two feeds and knows every error. The second alone would be correct.
"""

from typing import TYPE_CHECKING, Final

from librt.strings import BytesWriter

from upstash_global.bytestrings import write_decimal
from upstash_global.errors import CommandError, ProtocolError, ReplyTooLong
from upstash_global.floats import format_double
from upstash_global.reply import (
    MAX_REPLY_BYTES,
    NO_REPLY,
    NULL_ARRAY,
    OK,
    Attributed,
    BigNumber,
    ByProtocol,
    Double,
    Named,
    Pairs,
    Push,
    Reply,
    Set,
    Simple,
    Verbatim,
)

if TYPE_CHECKING:
    from mypy_extensions import i64

MAX_BULK: Final = 64 * 1024 * 1024
MAX_ARGUMENTS: Final = 2**31 - 1  # as Redis 7 allows; what they take is bounded by MAX_REQUEST
MAX_INLINE: Final = 64 * 1024
MAX_REQUEST: Final = 64 * 1024 * 1024
ARGUMENT_BYTES: Final = 41  # of an argument beside its own bytes: a place in a list, the head of a bytes object

# Reply lines that are short enough to be made once.
_N_PREPARED: Final = 1024
_BULK_HEADS: Final = [b"$%d\r\n" % length for length in range(_N_PREPARED)]
_ARRAY_HEADS: Final = [b"*%d\r\n" % length for length in range(_N_PREPARED)]
_INTEGERS: Final = [b":%d\r\n" % number for number in range(_N_PREPARED)]
_ARRAY: Final = b"*"

# Before AUTH: what a stranger may make us hold (the same numbers as Redis).
UNAUTHENTICATED_ARGUMENTS: Final = 10
UNAUTHENTICATED_BULK: Final = 16 * 1024
UNAUTHENTICATED_BUFFER: Final = 1024 * 1024

_STAR: Final = 42
_DOLLAR: Final = 36
_COLON: Final = 58
_CR: Final = 13
_LONGEST_NAME: Final = 32  # of a command, that is worth keeping
_MOST_DIGITS: Final = 10  # of a length worth reading quickly
_CRLF: Final = b"\r\n"
_ZERO: Final = 48
_NINE: Final = 57
_DOUBLE_QUOTE: Final = 34
_SINGLE_QUOTE: Final = 39
_BACKSLASH: Final = 92
_LOWER_X: Final = 120
_SPACES: Final = b" \t\n\v\f\r"
_WORD_ENDS: Final = b" \t\n\r"  # Redis ends a word at fewer bytes than it skips between words
_ESCAPES: Final = {110: 10, 114: 13, 116: 9, 98: 8, 97: 7}  # n r t b a
_HEX_DIGITS: Final = frozenset(b"0123456789abcdefABCDEF")


def _spellings(word: str) -> list[bytes]:
    """Every mix of upper and lower case of `word`."""
    words = [""]
    for letter in word:
        words = [start + form for start in words for form in sorted({letter.upper(), letter.lower()})]
    return [spelling.encode() for spelling in words]


# Commands that only a browser tricked into posting to our port sends; looked up as they come, so in every spelling.
_CROSS_PROTOCOL: Final = frozenset(_spellings("post") + _spellings("host:"))


# The names of commands that came lately, by their first byte and length. A name that comes again is the object of the
# last time, which costs neither memory nor a hash.
_names: Final = [b""] * 64


def _read_name(data: bytes, at: "i64", length: "i64") -> bytes | None:
    """The name of a command; None for one that the careful reader has to see."""
    if length == 0 or length > _LONGEST_NAME:
        return data[at : at + length]
    slot: i64 = (data[at] * 4 + length) & 63
    name = _names[slot]
    if len(name) == length:
        same: i64 = 0
        while same < length and data[at + same] == name[same]:
            same += 1
        if same == length:
            return name
    name = data[at : at + length]
    if name in _CROSS_PROTOCOL:
        return None
    _names[slot] = name
    return name


class Parser:
    """Turns the bytes of one client connection into commands, each a list of its arguments, name first.

    After a mistake `error` is set and everything later is ignored: answer the commands returned so far, then the error
    (unless `cross_protocol`, where nothing is said), then close.

    A client that has not authenticated may be about to do so: when a command too large for it stands behind others,
    `paused` is set. Run those others, set `authenticated` if they earned it, and call `feed(b"")`.
    """

    def __init__(
        self,
        max_bulk: int = MAX_BULK,
        max_arguments: int = MAX_ARGUMENTS,
        max_inline: int = MAX_INLINE,
        max_request: int = MAX_REQUEST,
        authenticated: bool = True,
    ) -> None:
        self.max_bulk = max_bulk
        self.max_arguments = max_arguments
        self.max_inline = max_inline
        # Bytes of all arguments of one command, and likewise ARGUMENT_BYTES for each; may change while one is read.
        self.max_request = max_request
        self.authenticated = authenticated
        self.error: ProtocolError | None = None
        self.cross_protocol = False
        self.is_too_large = False  # the mistake was a command of more than `max_request`
        self.paused = False
        self._rest = b""  # the beginning of a line, or what follows a pause; never long
        self._argv: list[bytes] = []  # the arguments so far of the command that is being read
        self._argv_bytes = 0
        self._missing = 0  # how many more arguments it has; 0 between commands
        self._bulk_bytes = -1  # length of the argument that is being read, -1 before it is known
        self._bulk = bytearray()  # what has come of it, when it came in pieces

    @property
    def buffered_bytes(self) -> int:
        """How much of an unfinished command is held."""
        return len(self._rest) + self._argv_bytes + ARGUMENT_BYTES * len(self._argv) + len(self._bulk)

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The commands that `data` completes, in order."""
        commands: list[list[bytes]] = []
        if self.error is not None:
            return commands
        try:
            self._read(data, commands)
        except ProtocolError as mistake:
            self.error = mistake
            self._rest = b""
            self._argv = []
            self._argv_bytes = 0
            self._bulk = bytearray()
        return commands

    def _read(self, data: bytes, commands: list[list[bytes]]) -> None:
        self.paused = False
        at = 0
        if self._rest:
            data = self._rest + data
            self._rest = b""
        size = len(data)
        is_plain = self.authenticated and size <= self.max_request
        while at < size:
            if self._missing > 0:
                at = self._read_arguments(data, at, commands)
            elif data[at] != _STAR:
                at = self._read_inline(data, at, commands)
            elif is_plain:
                at = self._read_whole(data, at, commands)
                is_plain = False  # whatever stopped it is for the careful reader
            else:
                at = self._read_count(data, at, commands)
                is_plain = self.authenticated and size <= self.max_request

    def _read_whole(self, data: bytes, begin: int, commands: list[list[bytes]]) -> int:
        """Read plain commands as long as they lie whole in `data`; answers where the first other one begins."""
        size: i64 = len(data)
        max_bulk: i64 = self.max_bulk
        max_arguments: i64 = self.max_arguments
        at: i64 = begin
        start: i64 = begin
        first: i64
        stop: i64
        count: i64
        length: i64
        end: i64
        while at < size and data[at] == _STAR:
            at += 1
            first = at
            stop = min(size, at + _MOST_DIGITS)
            count = 0
            while at < stop and _ZERO <= data[at] <= _NINE:
                count = count * 10 + data[at] - _ZERO
                at += 1
            if at == first or at >= size or data[at] != _CR or data[first] == _ZERO:
                return start
            if count > max_arguments:
                return start
            at += 2
            argv: list[bytes] = []
            while count > 0:
                if at >= size or data[at] != _DOLLAR:
                    return start
                at += 1
                first = at
                stop = min(size, at + _MOST_DIGITS)
                length = 0
                while at < stop and _ZERO <= data[at] <= _NINE:
                    length = length * 10 + data[at] - _ZERO
                    at += 1
                if at == first or at >= size or data[at] != _CR:
                    return start
                if (data[first] == _ZERO and at - first > 1) or length > max_bulk:
                    return start
                at += 2
                end = at + length
                if end + 2 > size:
                    return start
                if argv:
                    argv.append(data[at:end])
                else:
                    name = _read_name(data, at, length)
                    if name is None:
                        return start
                    argv.append(name)
                at = end + 2
                count -= 1
            commands.append(argv)
            start = at
        return start

    def _read_count(self, data: bytes, at: int, commands: list[list[bytes]]) -> int:
        end = self._line_end(data, at, "mbulk")
        if end < 0:
            return len(data)
        count = _read_number(data[at + 1 : end])
        if count is None or count > self.max_arguments:
            raise ProtocolError("Protocol error: invalid multibulk length")
        if count > UNAUTHENTICATED_ARGUMENTS and not self.authenticated:
            return self._pause(data, at, commands, "Protocol error: unauthenticated multibulk length")
        if count * ARGUMENT_BYTES > self.max_request:
            self._refuse_large()
        self._missing = max(0, count)
        return end + 2

    def _read_arguments(self, data: bytes, at: int, commands: list[list[bytes]]) -> int:
        """Read what has come of the current command; its end, or all of `data`."""
        size = len(data)
        n_arguments = len(self._argv) + self._missing
        if max(self._argv_bytes + max(0, self._bulk_bytes), n_arguments * ARGUMENT_BYTES) > self.max_request:
            self._refuse_large()
        while self._missing > 0:
            if self._bulk_bytes < 0:
                end = self._line_end(data, at, "bulk")
                if end < 0:
                    return size
                if data[at] != _DOLLAR:
                    raise ProtocolError(f"Protocol error: expected '$', got '{_text(data[at : at + 1])}'")
                length = _read_number(data[at + 1 : end])
                if length is not None and length > UNAUTHENTICATED_BULK and not self.authenticated:
                    return self._pause(data, at, commands, "Protocol error: unauthenticated bulk length")
                if length is None or length < 0 or length > self.max_bulk:
                    raise ProtocolError("Protocol error: invalid bulk length")
                if self._argv_bytes + length > self.max_request:
                    self._refuse_large()
                self._bulk_bytes = length
                at = end + 2
            at = self._read_bulk(data, at)
            if self._bulk_bytes >= 0:
                return size
        self._finish(self._argv, commands)
        self._argv = []
        self._argv_bytes = 0
        return at

    def _read_bulk(self, data: bytes, at: int) -> int:
        """Read the current argument, or what has come of it: each byte is copied once, however many pieces."""
        n_held = len(self._bulk)
        end = max(at, at + self._bulk_bytes - n_held)
        after = at + self._bulk_bytes + 2 - n_held
        if after > len(data):
            self._bulk += data[at:]
            return len(data)
        if n_held == 0:
            argument = data[at:end]
        else:
            self._bulk += data[at:end]
            del self._bulk[self._bulk_bytes :]  # half of the line end may have been held
            argument = bytes(self._bulk)
            self._bulk = bytearray()
        self._argv.append(argument)
        self._argv_bytes += self._bulk_bytes
        self._bulk_bytes = -1
        self._missing -= 1
        return after

    def _read_inline(self, data: bytes, at: int, commands: list[list[bytes]]) -> int:
        end = data.find(b"\n", at)
        if (end if end >= 0 else len(data)) - at > self.max_inline:
            raise ProtocolError("Protocol error: too big inline request")
        if end < 0:
            self._rest = data[at:]
            return len(data)
        line = data[at:end]
        if line.endswith(b"\r"):
            line = line[:-1]
        if line[-8:-1] == b"HTTP/1.":
            self._refuse_cross_protocol()
        argv = split_arguments(line)
        if argv is None:
            raise ProtocolError("Protocol error: unbalanced quotes in request")
        if not self.authenticated and len(argv) > UNAUTHENTICATED_ARGUMENTS:
            return self._pause(data, at, commands, "Protocol error: unauthenticated multibulk length")
        if not self.authenticated and max([len(argument) for argument in argv], default=0) > UNAUTHENTICATED_BULK:
            return self._pause(data, at, commands, "Protocol error: unauthenticated bulk length")
        if argv:
            self._finish(argv, commands)
        return end + 1

    def _line_end(self, data: bytes, at: int, what: str) -> int:
        """Where the line of a length ends, -1 (and the line is kept) if it is not complete yet."""
        end = data.find(b"\r", at)
        if (end if end >= 0 else len(data)) - at > self.max_inline:
            raise ProtocolError(f"Protocol error: too big {what} count string")
        if end < 0 or end + 2 > len(data):
            self._rest = data[at:]
            return -1
        return end

    def _finish(self, argv: list[bytes], commands: list[list[bytes]]) -> None:
        if argv[0] in _CROSS_PROTOCOL:
            self._refuse_cross_protocol()
        commands.append(argv)

    def _refuse_large(self) -> None:
        self.is_too_large = True
        raise ProtocolError("Protocol error: too big request")

    def _refuse_cross_protocol(self) -> None:
        self.cross_protocol = True
        raise ProtocolError("Possible SECURITY ATTACK: HTTP was sent to the RESP port")

    def _pause(self, data: bytes, at: int, commands: list[list[bytes]], refusal: str) -> int:
        """Stop before what only an authenticated client may send, if a command before it may be its AUTH."""
        if not commands or len(data) - at > UNAUTHENTICATED_BUFFER:
            raise ProtocolError(refusal)
        self.paused = True
        self._rest = data[at:]
        return len(data)


def split_arguments(line: bytes) -> list[bytes] | None:
    """The words of an inline command, or None if its quotes are not balanced (Redis's sdssplitargs).

    `"..."` knows \\n \\r \\t \\b \\a, \\xHH and \\ before any other byte; `'...'` knows only \\'. A closing quote ends
    its word.
    """
    words: list[bytes] = []
    at = 0
    size = len(line)
    while True:
        while at < size and line[at] in _SPACES:
            at += 1
        if at == size:
            return words
        word = bytearray()
        while at < size and line[at] not in _WORD_ENDS:
            quote = line[at]
            at += 1
            if quote != _DOUBLE_QUOTE and quote != _SINGLE_QUOTE:
                word.append(quote)
                continue
            at = _read_quoted(line, at, quote, word)
            if at < 0 or (at < size and line[at] not in _SPACES):
                return None
            break
        words.append(bytes(word))


def _read_quoted(line: bytes, at: int, quote: int, word: bytearray) -> int:
    """Append the quoted text that begins at `at`; answers what follows its closing quote, -1 if there is none."""
    size = len(line)
    while at < size:
        byte = line[at]
        at += 1
        if byte == quote:
            return at
        if byte == _BACKSLASH and at < size:
            if quote == _SINGLE_QUOTE:
                if line[at] == _SINGLE_QUOTE:
                    byte = _SINGLE_QUOTE
                    at += 1
            elif line[at] == _LOWER_X and at + 2 < size and _HEX_DIGITS.issuperset(line[at + 1 : at + 3]):
                byte = int(line[at + 1 : at + 3], 16)
                at += 3
            else:
                byte = _ESCAPES.get(line[at], line[at])
                at += 1
        word.append(byte)
    return -1


def _read_number(text: bytes) -> int | None:
    """A length as Redis's string2ll reads it: no sign but `-`, no leading zero, no space, within 64 bits."""
    digits = text[1:] if text.startswith(b"-") else text
    if not digits.isdigit() or len(digits) > 19 or (digits.startswith(b"0") and text != b"0"):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def encode(out: BytesWriter, reply: Reply, version: int) -> None:
    """Append `reply` as RESP2 or RESP3 bytes, as the table in reply.py says; the commonest kinds come first.

    Raises ReplyTooLong where a part of a reply would begin beyond MAX_REPLY_BYTES; what was appended by then is still there.
    """
    if isinstance(reply, bytes):
        _encode_bulk(out, reply)
    elif reply is OK:
        out.write(b"+OK\r\n")
    elif reply is None:
        out.write(b"$-1\r\n" if version == 2 else b"_\r\n")
    elif isinstance(reply, bool):
        if version == 2:
            out.write(b":1\r\n" if reply else b":0\r\n")
        else:
            out.write(b"#t\r\n" if reply else b"#f\r\n")
    elif isinstance(reply, int):
        if 0 <= reply < _N_PREPARED:
            out.write(_INTEGERS[reply])
        else:
            out.append(_COLON)
            write_decimal(out, reply)
            out.write(_CRLF)
    elif isinstance(reply, list):
        _encode_array(out, _ARRAY, reply, version)
    else:
        _encode_rare(out, reply, version)


def _encode_bulk(out: BytesWriter, data: bytes) -> None:
    length = len(data)
    if length < _N_PREPARED:
        out.write(_BULK_HEADS[length])
    else:
        out.append(_DOLLAR)
        write_decimal(out, length)
        out.write(_CRLF)
    out.write(data)
    out.write(_CRLF)


def _encode_array(out: BytesWriter, kind: bytes, items: list[Reply], version: int) -> None:
    length = len(items)
    if kind is _ARRAY and length < _N_PREPARED:
        out.write(_ARRAY_HEADS[length])
    else:
        out.write(kind)
        write_decimal(out, length)
        out.write(_CRLF)
    for item in items:
        if len(out) > MAX_REPLY_BYTES:
            raise ReplyTooLong
        encode(out, item, version)


def _encode_rare(out: BytesWriter, reply: Reply, version: int) -> None:
    if isinstance(reply, CommandError):
        out.write(b"-%b\r\n" % _line(reply.text))
    elif isinstance(reply, ProtocolError):
        out.write(b"-ERR %b\r\n" % _line(str(reply)))
    elif isinstance(reply, Simple):
        out.write(b"+%b\r\n" % _line(reply.text))
    elif isinstance(reply, float):
        if version == 2:
            _encode_bulk(out, format_double(reply))
        else:
            out.write(b",%b\r\n" % format_double(reply))
    elif isinstance(reply, Double):
        if version == 2:
            _encode_bulk(out, reply.text)
        else:
            out.write(b",%b\r\n" % reply.text)
    elif isinstance(reply, BigNumber):
        if version == 2:
            _encode_bulk(out, reply.text)
        else:
            out.write(b"(%b\r\n" % reply.text)
    elif isinstance(reply, bytearray):
        _encode_bulk(out, bytes(reply))
    elif isinstance(reply, str):
        _encode_bulk(out, _utf8(reply))
    elif isinstance(reply, tuple):
        _encode_array(out, _ARRAY, list(reply), version)
    elif isinstance(reply, dict):
        out.write(b"*%d\r\n" % (2 * len(reply)) if version == 2 else b"%%%d\r\n" % len(reply))
        for key, value in reply.items():
            if len(out) > MAX_REPLY_BYTES:
                raise ReplyTooLong
            encode(out, key, version)
            encode(out, value, version)
    elif isinstance(reply, Pairs):
        pairs = reply.items
        _encode_array(out, _ARRAY, pairs if version == 3 else [part for pair in pairs for part in pair], version)
    elif isinstance(reply, Named):
        if version == 2:
            _encode_array(out, _ARRAY, reply.items, version)
        else:
            out.write(b"%%%d\r\n" % len(reply.items))
            for name, value in reply.items:
                if len(out) > MAX_REPLY_BYTES:
                    raise ReplyTooLong
                encode(out, name, version)
                encode(out, value, version)
    elif isinstance(reply, Set):
        _encode_array(out, _ARRAY if version == 2 else b"~", reply.items, version)
    elif isinstance(reply, Push):
        _encode_array(out, _ARRAY if version == 2 else b">", reply.items, version)
    elif isinstance(reply, Verbatim):
        if version == 2:
            _encode_bulk(out, reply.text)
        else:
            out.write(b"=%d\r\n%b:%b\r\n" % (len(reply.text) + 4, _format(reply.format), reply.text))
    elif isinstance(reply, Attributed):
        if version == 3:
            out.write(b"|%d\r\n" % len(reply.attributes))
            for key, value in reply.attributes.items():
                encode(out, key, version)
                encode(out, value, version)
        encode(out, reply.reply, version)
    elif isinstance(reply, ByProtocol):
        encode(out, reply.resp2 if version == 2 else reply.resp3, version)
    elif reply is NULL_ARRAY:
        out.write(b"*-1\r\n" if version == 2 else b"_\r\n")
    elif reply is not NO_REPLY:
        raise TypeError(f"{reply!r} is no reply")


def _line(text: str) -> bytes:
    """Text for a reply that ends at the line's end; Redis too blanks line ends inside one."""
    return _utf8(text).replace(b"\r", b" ").replace(b"\n", b" ")


def _format(name: str) -> bytes:
    """The name of a verbatim text's format, which has three bytes, whatever a script called it."""
    return name.encode("latin-1", "replace").partition(b"\0")[0][:3].ljust(3)


def _utf8(text: str) -> bytes:
    """The bytes of `text`; what a client sent and we decoded with surrogateescape comes out as it was."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
