"""Outbox: what one turn of a node produced, for the shell around it to carry out."""

from typing import Any

from upstash_global.node.migrating import Migration
from upstash_global.node.session import Session
from upstash_global.replication.messages import Message


class Outbox:
    """What one turn produced. Persist `records`, then send `messages` and `asks`, then write `released`."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.must_sync = False  # an fsync has to be started after the records are written
        self.messages: list[tuple[str, Message]] = []  # (stream, message)
        self.asks: list[tuple[str, Message]] = []  # (node, message): sent once, on a stream of its own
        self.migrations: list[Migration] = []  # talk to their targets, then call node.migrations.ended
        self.hang_ups: list[str] = []  # streams to end
        self.finish_snapshot = False  # call storage.finish_snapshot off the loop, then node.snapshots.finished
        self.has_more = False  # another turn would send more at once
        self.is_busy = False  # a script wants to go on: call node.go_on soon
        self.has_expired = False  # the sweep wants to go on: call node.go_on when others have had their turn
        self.released: list[tuple[Session, Any]] = []  # (session, what its take_output gave)
