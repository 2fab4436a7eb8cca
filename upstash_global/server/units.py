"""Units: requests that run as one transaction although they are none, and what their validators say.

A request with an Idempotency-Key must run once, with one entry that holds its answer; one with If-Match runs only if no key
that it names has changed since a position. Both are EXEC with what MULTI and WATCH would have set, decided at the leader.
If-None-Match asks the same of a read that was answered.
"""

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from upstash_global.engine.footprint import keys_read
from upstash_global.engine.table import READONLY, TABLE, Row, lookup
from upstash_global.errors import CommandError, HttpError
from upstash_global.node.clients import RestSession
from upstash_global.node.retries import Once
from upstash_global.node.session import Watch
from upstash_global.node.transactions import is_dirty
from upstash_global.protocol.rest import SINGLE, Call, Mode, as_rest_error, status_of
from upstash_global.replication.position import Position

if TYPE_CHECKING:
    from upstash_global.node.node import Node

FINGERPRINT_BYTES: Final = 16
CHANGED: Final = "ERR precondition failed: a key has changed since; not executed"


def make_unit(node: "Node", session: RestSession, call: Call) -> None:
    """Prepare a request with an Idempotency-Key or If-Match to run as one. Raises HttpError.

    What a pipeline would answer for a command without running it stays that item's error.
    """
    rows = _runnable(node, session, call)
    is_write = any(row.needs_leader for row, _ in rows)
    if call.once is not None and is_write:
        _demand_data(rows, "an Idempotency-Key")
        session.once = Once(call.once, _fingerprint(call))
        call.is_unit = True
    if call.if_match is not None:
        if call.mode is Mode.PIPELINE:
            raise HttpError(400, "ERR If-Match is for one command or a transaction")
        _demand_data(rows, "If-Match")
        keys = [key for row, argv in rows for key in row.keys.find(argv)]
        if not keys:
            raise HttpError(400, "ERR If-Match asks about the keys of a command, and there are none")
        position = Position(*call.if_match)
        session.watches = {key: Watch(key, position, None) for key in keys}
        call.is_unit = True


def refuse_unit(node: "Node", session: RestSession) -> None:
    """Its commands must not run one by one because MULTI is refused. Raises HttpError."""
    refused = node.permissions.refusal(session, TABLE[b"MULTI"], [b"MULTI"])
    if refused is not None:
        session.end_transaction()
        raise HttpError(400, refused.text)


def _runnable(node: "Node", session: RestSession, call: Call) -> list[tuple[Row, list[bytes]]]:
    """The commands of a call that will be run, with their rows; refuses the others as its mode has it."""
    runnable: list[tuple[Row, list[bytes]]] = []
    for index, argv in enumerate(call.commands):
        if isinstance(argv, CommandError):
            continue
        try:
            row = lookup(argv)
            refusal = node.permissions.refusal(session, row, argv)
        except CommandError as mistake:
            refusal = mistake
        if refusal is None:
            runnable.append((row, argv))
        elif call.mode is Mode.PIPELINE:
            call.commands[index] = refusal
        elif call.mode is Mode.SINGLE:
            raise HttpError(status_of(refusal), as_rest_error(refusal).text)
    return runnable  # a transaction tells its refusal itself


def _demand_data(rows: list[tuple[Row, list[bytes]]], header: str) -> None:
    for row, _ in rows:
        if row.handler is None and not row.needs_leader:
            raise HttpError(400, f"ERR '{row.display_name}' is about no data, and cannot be sent with {header}")


def _fingerprint(call: Call) -> bytes:
    """What was asked, in a few bytes: the mode and every argument."""
    asked = sha256(call.mode.value.encode())
    for argv in call.commands:
        words = [argv.text.encode()] if isinstance(argv, CommandError) else argv
        asked.update(b"|%d" % len(words))
        for word in words:
            asked.update(b":%d:" % len(word))
            asked.update(word)
    return asked.digest()[:FINGERPRINT_BYTES]


# -- validators of reads


def validator(session: RestSession, call: Call) -> Position | None:
    """What the ETag of an answer names: the position that all its reads were served from; None if more than reads was asked."""
    if len(session.receipt.regions) != 1 or not call.commands:
        return None
    if call.mode is SINGLE and not call.is_unit:
        is_read = session.row is not None and _only_reads(session.row)
    else:
        is_read = all([_is_read(argv) for argv in call.commands])
    return session.receipt.position if is_read else None


def is_unchanged(node: "Node", session: RestSession, call: Call) -> bool:
    """Whether nothing that an answered request read has changed since the position of its If-None-Match."""
    if call.if_none_match is None or not node.covers(session.receipt.position):
        return False
    watches: list[Watch] = []
    position = Position(*call.if_none_match)
    for argv in call.commands:
        keys = None if isinstance(argv, CommandError) else keys_read(argv)
        if not keys:
            return False
        watches.extend(Watch(key, position, None) for key in keys)
    return not is_dirty(node, watches, position)


def _is_read(argv: list[bytes] | CommandError) -> bool:
    if isinstance(argv, CommandError):
        return False
    try:
        return _only_reads(lookup(argv))
    except CommandError:
        return False


def _only_reads(row: Row) -> bool:
    return bool(row.flags & READONLY) and not row.needs_leader
