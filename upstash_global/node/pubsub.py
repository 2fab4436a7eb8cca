"""Channels and patterns, and who hears them on this node.

A message travels in the log and is delivered on every node as the entry is applied: in order, at most once per node.
Shard channels are a second set of channels, without patterns.
"""

from typing import Final

from upstash_global.engine.context import MESSAGE
from upstash_global.engine.types.glob import Glob
from upstash_global.errors import error
from upstash_global.node.session import Session
from upstash_global.reply import Push

MAX_SUBSCRIPTIONS: Final = 100_000  # of one client


class PubSub:
    def __init__(self) -> None:
        self.channels: dict[bytes, dict[int, Session]] = {}
        self.shard_channels: dict[bytes, dict[int, Session]] = {}
        self.patterns: dict[bytes, dict[int, Session]] = {}
        self.globs: dict[bytes, Glob] = {}

    def subscribe(self, session: Session, channel: bytes) -> None:
        session.channels[channel] = None
        self.channels.setdefault(channel, {})[session.id] = session

    def ssubscribe(self, session: Session, channel: bytes) -> None:
        session.shard_channels[channel] = None
        self.shard_channels.setdefault(channel, {})[session.id] = session

    def psubscribe(self, session: Session, pattern: bytes) -> None:
        session.patterns[pattern] = None
        self.patterns.setdefault(pattern, {})[session.id] = session
        if pattern not in self.globs:
            self.globs[pattern] = Glob(pattern)

    def unsubscribe(self, session: Session, channel: bytes) -> None:
        session.channels.pop(channel, None)
        _drop(self.channels, channel, session)

    def sunsubscribe(self, session: Session, channel: bytes) -> None:
        session.shard_channels.pop(channel, None)
        _drop(self.shard_channels, channel, session)

    def punsubscribe(self, session: Session, pattern: bytes) -> None:
        session.patterns.pop(pattern, None)
        _drop(self.patterns, pattern, session)
        if pattern not in self.patterns:
            self.globs.pop(pattern, None)

    def leave(self, session: Session) -> None:
        """Forget a session that is gone, or was reset."""
        for channel in list(session.channels):
            self.unsubscribe(session, channel)
        for channel in list(session.shard_channels):
            self.sunsubscribe(session, channel)
        for pattern in list(session.patterns):
            self.punsubscribe(session, pattern)

    def count(self, kind: int, channel: bytes) -> int:
        """How many deliveries a message on this channel makes here: what PUBLISH and SPUBLISH answer."""
        if kind != MESSAGE:
            return len(self.shard_channels.get(channel, ()))
        n = len(self.channels.get(channel, ()))
        for pattern, sessions in self.patterns.items():
            if self.globs[pattern].matches(channel):
                n += len(sessions)
        return n

    def deliver(self, kind: int, channel: bytes, message: bytes) -> list[tuple[Session, Push]]:
        """What everyone who listens is to hear, channels before patterns as in Redis."""
        if kind != MESSAGE:
            push = Push([b"smessage", channel, message])
            return [(session, push) for session in self.shard_channels.get(channel, {}).values()]
        push = Push([b"message", channel, message])
        heard = [(session, push) for session in self.channels.get(channel, {}).values()]
        for pattern, sessions in self.patterns.items():
            if self.globs[pattern].matches(channel):
                push = Push([b"pmessage", pattern, channel, message])
                heard.extend([(session, push) for session in sessions.values()])
        return heard


def check_room(session: Session, n_more: int) -> None:
    """Whether a client may subscribe to so many more channels and patterns. Raises CommandError."""
    n = len(session.channels) + len(session.shard_channels) + len(session.patterns)
    if n + n_more > MAX_SUBSCRIPTIONS:
        raise error(f"max number of subscriptions of a client reached. Limit: {MAX_SUBSCRIPTIONS}")


def _drop(table: dict[bytes, dict[int, Session]], name: bytes, session: Session) -> None:
    sessions = table.get(name)
    if sessions is not None:
        sessions.pop(session.id, None)
        if not sessions:
            del table[name]
