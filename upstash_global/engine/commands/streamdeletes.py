"""XDELEX and XACKDEL: removing entries with regard to the groups that still refer to them. Redis 8.2, and Upstash.

KEEPREF leaves what is pending as it is, DELREF removes it from all groups, ACKED removes only entries that every group
has read and acknowledged.
"""

from typing import Final

from upstash_global.engine.commands.streamids import numbered_id
from upstash_global.engine.context import EVENT_STREAM, Context
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import FAST, FIRST, WRITE, Family
from upstash_global.engine.types.stream import Stream
from upstash_global.errors import error, syntax_error
from upstash_global.reply import Reply

command = Family("stream").command

_ABSENT: Final = -1
_DELETED: Final = 1
_REFERRED_TO: Final = 2

_RULES: Final = (b"KEEPREF", b"DELREF", b"ACKED")


@command("XACKDEL", arity=-6, flags=WRITE | FAST, keys=FIRST)
def xackdel(ctx: Context, argv: list[bytes]) -> Reply:
    """Acknowledge entries and delete them from the stream; for each -1 not pending, 1 deleted, 2 still referred to."""
    rule, ids = _rule_and_ids(argv, 3)
    stream = ctx.find_stream(argv[1])
    group = None if stream is None else stream.groups.get(argv[2])
    if group is None or not any([group.pending.get(id) is not None for id in ids]):
        return [_ABSENT] * len(ids)
    stream = ctx.edit_stream(argv[1])
    n_before = len(stream)
    results: list[int] = []
    for id in ids:
        if not group.acknowledge(id):
            results.append(_ABSENT)
        elif rule == b"ACKED" and _is_referred_to(stream, id):
            results.append(_REFERRED_TO)
        else:
            _delete(stream, id, rule)
            results.append(_DELETED)
    if len(stream) < n_before:
        ctx.notify(EVENT_STREAM, b"xdel", argv[1])
    ctx.save(argv[1], stream)
    return results


@command("XDELEX", arity=-5, flags=WRITE | FAST, keys=FIRST)
def xdelex(ctx: Context, argv: list[bytes]) -> Reply:
    """Delete entries; for each -1 not there, 1 deleted, 2 still referred to."""
    rule, ids = _rule_and_ids(argv, 2)
    stream = ctx.find_stream(argv[1])
    if stream is None or not any([stream.entries.get(id) is not None for id in ids]):
        return [_ABSENT] * len(ids)
    stream = ctx.edit_stream(argv[1])
    n_before = len(stream)
    results: list[int] = []
    for id in ids:
        if stream.entries.get(id) is None:
            results.append(_ABSENT)
        elif rule == b"ACKED" and _is_referred_to(stream, id):
            results.append(_REFERRED_TO)
        else:
            _delete(stream, id, rule)
            results.append(_DELETED)
    if len(stream) < n_before:
        ctx.notify(EVENT_STREAM, b"xdel", argv[1])
        ctx.save(argv[1], stream)
    return results


def _delete(stream: Stream, id: int, rule: bytes) -> None:
    stream.delete(id)
    if rule == b"DELREF":
        for group in stream.groups.values():
            group.acknowledge(id)


def _is_referred_to(stream: Stream, id: int) -> bool:
    """Whether a group has not read the entry yet, or has it pending."""
    return any([id > group.last_id or group.pending.get(id) is not None for group in stream.groups.values()])


def _rule_and_ids(argv: list[bytes], at: int) -> tuple[bytes, list[int]]:
    """[KEEPREF | DELREF | ACKED] IDS numids id …, in either order, as Redis 8.2."""
    rule = b""
    texts: list[bytes] = []
    while at < len(argv):
        word = argv[at].upper()
        if word in _RULES and not rule:
            rule = word
            at += 1
        elif word == b"IDS" and at + 1 < len(argv):
            count = parse_integer(argv[at + 1])
            if count is None or count < 1:
                raise error("Number of IDs must be a positive integer")
            if count > len(argv) - at - 2:
                raise error("The `numids` parameter must match the number of arguments")
            texts = argv[at + 2 : at + 2 + count]
            at += 2 + count
        else:
            raise syntax_error()
    if not texts:
        raise syntax_error()
    return rule or b"KEEPREF", [numbered_id(text) for text in texts]
