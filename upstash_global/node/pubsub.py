"""Channels and patterns, and who hears them on this node.

A message travels in the log and is delivered on every node as the entry is applied: in order, at most once per node.
"""

from upstash_global.engine.types.glob import Glob
from upstash_global.node.session import Session
from upstash_global.reply import Push


class PubSub:
    def __init__(self) -> None:
        self.channels: dict[bytes, dict[int, Session]] = {}
        self.patterns: dict[bytes, dict[int, Session]] = {}
        self.globs: dict[bytes, Glob] = {}

    def subscribe(self, session: Session, channel: bytes) -> None:
        session.channels[channel] = None
        self.channels.setdefault(channel, {})[session.id] = session

    def psubscribe(self, session: Session, pattern: bytes) -> None:
        session.patterns[pattern] = None
        self.patterns.setdefault(pattern, {})[session.id] = session
        if pattern not in self.globs:
            self.globs[pattern] = Glob(pattern)

    def unsubscribe(self, session: Session, channel: bytes) -> None:
        session.channels.pop(channel, None)
        _drop(self.channels, channel, session)

    def punsubscribe(self, session: Session, pattern: bytes) -> None:
        session.patterns.pop(pattern, None)
        _drop(self.patterns, pattern, session)
        if pattern not in self.patterns:
            self.globs.pop(pattern, None)

    def leave(self, session: Session) -> None:
        """Forget a session that is gone, or was reset."""
        for channel in list(session.channels):
            self.unsubscribe(session, channel)
        for pattern in list(session.patterns):
            self.punsubscribe(session, pattern)

    def count(self, channel: bytes) -> int:
        """How many deliveries a message on this channel makes here: what PUBLISH answers."""
        n = len(self.channels.get(channel, ()))
        for pattern, sessions in self.patterns.items():
            if self.globs[pattern].matches(channel):
                n += len(sessions)
        return n

    def deliver(self, channel: bytes, message: bytes) -> list[tuple[Session, Push]]:
        """What everyone who listens is to hear, channels before patterns as in Redis."""
        heard = [(session, Push([b"message", channel, message])) for session in self.channels.get(channel, {}).values()]
        for pattern, sessions in self.patterns.items():
            if self.globs[pattern].matches(channel):
                push = Push([b"pmessage", pattern, channel, message])
                heard.extend([(session, push) for session in sessions.values()])
        return heard


def _drop(table: dict[bytes, dict[int, Session]], name: bytes, session: Session) -> None:
    sessions = table.get(name)
    if sessions is not None:
        sessions.pop(session.id, None)
        if not sessions:
            del table[name]
