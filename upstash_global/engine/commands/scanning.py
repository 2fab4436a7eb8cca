"""Scanning: SCAN, and what HSCAN, SSCAN and ZSCAN share with it.

A cursor is a place in an IndexedSet that counts down to 0 (see there why no member is missed). It means nothing to other
nodes: keys stand in the same order wherever the same entries were applied, but the index of a node that loaded a snapshot
may differ.
"""

import re
from typing import Final

from upstash_global.engine.arguments import Arguments
from upstash_global.engine.context import Context
from upstash_global.engine.dump import type_name
from upstash_global.engine.table import READONLY, Family
from upstash_global.engine.types.glob import Glob
from upstash_global.errors import error, syntax_error
from upstash_global.reply import Reply

command = Family("generic").command

DEFAULT_COUNT: Final = 100  # as Upstash, small databases come in one call; Redis 7.2 has 10
_CURSOR: Final = re.compile(rb"(?:[+-]?[0-9]{1,100})?\Z")


@command("SCAN", arity=-2, flags=READONLY)
def scan(ctx: Context, argv: list[bytes]) -> Reply:
    """Walk through the keys a few at a time: the next cursor, 0 at the end, and some keys.

    A page holds COUNT keys less those that are hidden or do not match. WITHTYPE, as Upstash has it, puts the type behind
    each key.
    """
    cursor = scan_cursor(argv[1])
    options = ScanOptions(argv, 2, of_keyspace=True)
    next_cursor, page = ctx.keyspace.key_index().scan(cursor, options.count)
    found: list[Reply] = []
    for key in page:
        value = ctx.peek(key)
        if value is None or (options.glob is not None and not options.glob.matches(key)):
            continue
        if options.type_name is not None and type_name(value).lower() != options.type_name:
            continue
        found.append(key)
        if options.with_types:
            found.append(type_name(value))
    return [b"%d" % next_cursor, found]


def scan_cursor(text: bytes) -> int:
    """The cursor of a SCAN-like command, as C's strtoul reads it; raises CommandError if it is none."""
    digits = text.partition(b"\0")[0]  # a C string ends there
    cursor = int(digits or b"0") if _CURSOR.match(digits) is not None else 1 << 64
    if abs(cursor) >= 1 << 64:
        raise error("invalid cursor")
    return cursor % (1 << 64)


class ScanOptions:
    """MATCH and COUNT; for SCAN also TYPE and WITHTYPE, for HSCAN NOVALUES. Raises CommandError as Redis 7.4."""

    def __init__(self, argv: list[bytes], at: int, of_keyspace: bool = False, of_hash: bool = False) -> None:
        self.glob: Glob | None = None  # None matches everything
        self.count = DEFAULT_COUNT
        self.type_name: str | None = None
        self.with_types = False
        self.with_values = True
        args = Arguments(argv, at)
        while args.more():
            if of_keyspace and args.flag(b"WITHTYPE"):
                self.with_types = True
            elif args.flag(b"NOVALUES"):
                self.with_values = False
                if not of_hash:
                    args.fail(error("NOVALUES option can only be used in HSCAN"))
            elif args.left() < 2:
                args.unknown()
            elif args.flag(b"COUNT"):
                self.count = args.integer()
                if self.count < 1:
                    args.fail(syntax_error())
            elif args.flag(b"MATCH"):
                pattern = args.next()
                self.glob = None if pattern == b"*" else Glob(pattern)
            elif of_keyspace and args.flag(b"TYPE"):
                self.type_name = args.next().lower().decode("latin-1")
            else:
                args.unknown()
        args.done()
