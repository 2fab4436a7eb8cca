"""Audience: the sessions of this node that hear of what happens, and in which order they do.

Three kinds of news reach them: messages and keyspace events, which an entry carries or leads to; invalidations, see
tracking.py; and what MONITOR shows, see monitoring.py. Who spoke hears what came of it behind the reply to that very command: at the leader the
session keeps it (`Session.held`), at a replica the Forward whose entry comes back (`Outstanding.behind`).
"""

from typing import TYPE_CHECKING

from upstash_global.engine.context import EVENT_MISS, MESSAGE, Effects, Said
from upstash_global.node.monitoring import Monitors
from upstash_global.node.notifications import Notifications
from upstash_global.node.pubsub import PubSub
from upstash_global.node.session import Session
from upstash_global.node.tracking import Tracking
from upstash_global.replication.position import START, Position
from upstash_global.reply import Push

if TYPE_CHECKING:
    from upstash_global.node.forwarding import Outstanding
    from upstash_global.node.node import Node


class Audience:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.pubsub = PubSub()
        self.notifications = Notifications()
        self.tracking = Tracking(self.push, self._session)
        self.monitors = Monitors(node)
        self.heard = START  # the newest entry whose messages were delivered here
        self.author = 0  # id of the session of this node whose command led to the entry at hand; 0: of another
        self.speaker: Session | None = None  # the same, while its reply is not out
        self.behind: list[Push] = []  # where what the speaker is to hear waits for that reply

    # -- who speaks ---------------------------------------------------------------------------------------------

    def begin(self, session: Session) -> None:
        """A command of this session runs here."""
        self.author, self.speaker, self.behind = session.id, session, session.held

    def begin_answer(self, outstanding: "Outstanding", index: int) -> None:
        """What follows came of the command at `index` of a Forward of this node."""
        self.author = outstanding.session.id
        self.speaker, self.behind = outstanding.session, outstanding.behind.setdefault(index, [])

    def end(self) -> None:
        self.author, self.speaker = 0, None

    # -- what they hear -----------------------------------------------------------------------------------------

    def tell_changes(self, effects: Effects) -> None:
        """Tell those that track keys what an entry has changed."""
        if effects.flushed:
            self.tracking.note_flush()
        self.tracking.note_changes(effects.touched, self.author)

    def tell_said(self, said: list[Said], lsn: int) -> None:
        """Deliver the messages and events of the entry at `lsn`, unless they were before: a full resync repeats entries."""
        heard, epoch = self.heard, self.node.log.epoch
        if self.node.is_replaying or (lsn <= heard.lsn and epoch <= heard.epoch):
            return
        self.heard = Position(epoch, lsn)
        for kind, what, subject in said:
            if kind > MESSAGE:
                self._tell_event(what, subject)
            else:
                self._publish(kind, subject, what)

    def tell_miss(self, key: bytes) -> None:
        """A read found no such key."""
        if not self.node.is_replaying:
            self._tell_event(b"keymiss", key)

    def push(self, session: Session, push: Push) -> None:
        """Let a session hear something."""
        if session is self.speaker:
            self.behind.append(push)
        elif not session.killed:
            session.push(push)
            self.node.mark_dirty(session)
            if self.node.client_memory.limit:
                self.node.client_memory.note(session)

    def _tell_event(self, event: bytes, key: bytes) -> None:
        if self.notifications.by_key:
            self._publish(MESSAGE, b"__keyspace@0__:" + key, event)
        if self.notifications.by_event:
            self._publish(MESSAGE, b"__keyevent@0__:" + event, key)

    def _publish(self, kind: int, channel: bytes, message: bytes) -> None:
        for session, push in self.pubsub.deliver(kind, channel, message):
            self.push(session, push)

    def _session(self, session_id: int) -> Session | None:
        session = self.node.sessions.get(session_id)
        return None if session is None or session.closing or session.killed else session

    # -- who listens --------------------------------------------------------------------------------------------

    def leave(self, session: Session) -> None:
        """A session has gone, or was reset."""
        self.pubsub.leave(session)
        self.tracking.disable(session)
        self.monitors.leave(session)
        self.note_attention()

    def note_attention(self) -> None:
        """Somebody has begun or ceased to follow what sessions do, or to hold them back: see attention.py."""
        self.node.is_attended = bool(
            self.tracking.sessions
            or self.monitors.sessions
            or self.node.pause.until_ms
            or self.node.is_stopping
            or self.node.client_memory.limit
            or self.notifications.mask & EVENT_MISS
        )
