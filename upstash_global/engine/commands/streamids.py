"""Stream ids and trimming options as Redis reads them from arguments.

An id is written `ms-seq`; `ms` alone leaves the sequence to the place where it stands. Numbers are read as C's strtoull
does, which takes leading spaces, zeros and signs. All functions raise CommandError for what is no id.
"""

import re
from typing import Final

from upstash_global.engine.arguments import integer_argument
from upstash_global.engine.encodings import Limits
from upstash_global.engine.types.stream import MAX_ID, MAX_SEQUENCE, Stream
from upstash_global.errors import CommandError, error, syntax_error

_MOST_BYTES: Final = 127
_C_NUMBER: Final = re.compile(rb"[ \t\n\v\f\r]*([+-]?)([0-9]+)\Z")


def numbered_id(text: bytes, missing: int = 0) -> int:
    """An id of numbers; `missing` is the sequence of one that says none."""
    id = _parse(text, missing)
    if id is None:
        raise invalid_id()
    return id


def edge_id(text: bytes, missing: int = 0) -> int:
    """An id, or `-` and `+` for the lowest and the highest that there can be."""
    if text == b"-":
        return 0
    if text == b"+":
        return MAX_ID
    return numbered_id(text, missing)


def first_of_range(text: bytes) -> int:
    """Where a range starts; behind `(` the id itself is left out."""
    if len(text) < 2 or text[0] != 40:
        return edge_id(text, 0)
    id = numbered_id(text[1:], 0)
    if id == MAX_ID:
        raise error("invalid start ID for the interval")
    return id + 1


def last_of_range(text: bytes) -> int:
    """Where a range ends; behind `(` the id itself is left out."""
    if len(text) < 2 or text[0] != 40:
        return edge_id(text, MAX_SEQUENCE)
    id = numbered_id(text[1:], MAX_SEQUENCE)
    if id == 0:
        raise error("invalid end ID for the interval")
    return id - 1


def leads_sequence(text: bytes) -> bool:
    """Whether an id leaves its sequence to XADD: `1526919030474-*`."""
    return text[-2:] == b"-*" and text.count(b"-") == 1


def invalid_id() -> CommandError:
    return error("Invalid stream ID specified as stream command argument")


def _parse(text: bytes, missing: int) -> int | None:
    if len(text) > _MOST_BYTES:
        return None
    if b"\0" in text:
        text = text.partition(b"\0")[0]
    milliseconds, dash, sequence = text.partition(b"-")
    high = _unsigned(milliseconds)
    low = _unsigned(sequence) if dash else missing
    return None if high is None or low is None else high << 64 | low


def _unsigned(text: bytes) -> int | None:
    """An unsigned 64-bit integer as strtoull reads it: what is negative wraps, if Redis's own parser did not see it first."""
    if text.isdigit():
        value = int(text)
        return value if value <= MAX_SEQUENCE else None
    match = _C_NUMBER.match(text)
    if match is None:
        return None
    value = int(match.group(2))
    if value > MAX_SEQUENCE:
        return None
    if match.group(1) == b"-" and value:
        is_plain = text[:1] == b"-" and text[1:2] != b"0" and value <= 1 << 63
        return None if is_plain else (1 << 64) - value
    return value


# -- trimming -----------------------------------------------------------------------------------------------------

_MOST_DEFAULT_LIMIT: Final = 1_000_000


class Trimming:
    """The options of XADD up to its id, or those of XTRIM.

    `~` removes at most LIMIT entries: as in Redis by default those of a hundred nodes, 0 means any number. It trims as
    exactly as `=` otherwise, as Upstash does; but where stream-node-max-entries was set, it removes whole nodes of so many
    entries only, as Redis. Our streams have no nodes: entry number n of all that were ever added counts as one of node
    n // size, which is where Redis has it as long as the fields are short and nothing was deleted on the way.
    """

    def __init__(self) -> None:
        self.by = b""  # MAXLEN, MINID, or b"" for no trimming
        self.threshold = 0  # a length or an id
        self.limit = 0  # entries to remove at most; 0 for any number
        self.node_size = 0  # entries that are removed together; 0 for no such thing
        self.makes_stream = True
        self.next = 2  # where in argv the id stands

    def trim(self, stream: Stream) -> int:
        """Remove entries from the front; how many."""
        if not self.by:
            return 0
        entries = stream.entries
        if self.by == b"MAXLEN":
            excess = max(0, len(entries) - self.threshold)
        else:
            excess = entries.count_below(self.threshold)
        if self.limit:
            excess = min(excess, self.limit)
        if self.node_size and excess < len(entries):
            first = stream.entries_added - len(entries)
            excess = max(0, (first + excess) // self.node_size * self.node_size - first)
        entries.drop_first(excess)
        return excess


def read_trimming(argv: list[bytes], is_add: bool, limits: Limits) -> Trimming:
    """Read the options in Redis's order of checks. Raises CommandError."""
    options = Trimming()
    limit = -1
    is_approximate = False
    i = 2
    n = len(argv)
    while i < n:
        word = argv[i].upper()
        more = n - 1 - i
        if is_add and word == b"*":
            break
        if word in (b"MAXLEN", b"MINID") and more:
            if options.by:
                raise error("syntax error, MAXLEN and MINID options at the same time are not compatible")
            is_approximate = more >= 2 and argv[i + 1] == b"~"
            if more >= 2 and argv[i + 1] in (b"~", b"="):
                i += 1
            if word == b"MAXLEN":
                options.threshold = integer_argument(argv[i + 1])
                if options.threshold < 0:
                    raise error("The MAXLEN argument must be >= 0.")
            else:
                options.threshold = numbered_id(argv[i + 1])
            options.by = word
            i += 1
        elif word == b"LIMIT" and more:
            limit = integer_argument(argv[i + 1])
            if limit < 0:
                raise error("The LIMIT argument must be >= 0.")
            i += 1
        elif is_add and word == b"NOMKSTREAM":
            options.makes_stream = False
        elif is_add:
            if not leads_sequence(argv[i]):
                numbered_id(argv[i])
            elif _unsigned(argv[i][:-2]) is None:
                raise invalid_id()
            break
        else:
            raise syntax_error()
        i += 1
    options.next = i
    if limit > 0 and not options.by:
        raise error("syntax error, LIMIT cannot be used without specifying a trimming strategy")
    if not is_add and not options.by:
        raise error("syntax error, XTRIM must be called with a trimming strategy")
    if limit >= 0 and not is_approximate:
        raise error("syntax error, LIMIT cannot be used without the special ~ option")
    if is_approximate:
        if limits.trims_whole_nodes:
            options.node_size = limits.stream_node_max_entries
        options.limit = (
            limit if limit >= 0 else min(100 * limits.stream_node_max_entries or 10_000, _MOST_DEFAULT_LIMIT)
        )
    return options
