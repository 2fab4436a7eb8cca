"""Client memory: what clients make this node hold, and what becomes of them beyond `maxmemory-clients`.

While the limit is set each session is counted: before and after each command (attention.py), when a piece of a command comes,
when it hears something, and else as the ticks come round to it. Before the next command of anybody, or with the
next tick, the largest clients are cut off until the rest is below the limit. CLIENT NO-EVICT spares a client; it is counted
all the same, as in Redis.

Without the limit nothing is counted here; CLIENT LIST and INFO count when they are asked.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.node.session import Session, size_of_request

if TYPE_CHECKING:
    from upstash_global.node.node import Node

CLIENT_BYTES: Final = 4096  # about what a connection takes that has said nothing; 3.9 KB were seen
NAME_BYTES: Final = 200  # about what a watched key takes, a channel or a prefix, beside a long name of its own
LEAST_LIMIT: Final = 128 << 10  # a lower one would leave nobody who could raise it, as Redis has it
ROUND: Final = 100  # sessions that one tick counts,
ROUND_COMMANDS: Final = 10_000  # or as many as have these waiting


def queued_bytes(session: Session) -> int:
    """About what MULTI and WATCH keep for a session."""
    n_bytes = NAME_BYTES * len(session.watches)
    return n_bytes if session.queue is None else n_bytes + session.queue_bytes


def held_bytes(session: Session) -> int:
    """About what a session takes while it runs nothing."""
    n_names = len(session.channels) + len(session.patterns) + len(session.shard_channels)
    tracking = session.tracking
    if tracking is not None:
        n_names += len(tracking.prefixes)
    n_bytes = CLIENT_BYTES + NAME_BYTES * n_names + queued_bytes(session)
    return n_bytes + session.read_bytes() + session.unread_bytes()


class ClientMemory:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.limit = 0  # bytes; 0: none
        self.used_bytes = 0  # of all sessions, each as it was counted last; means nothing without a limit
        self.n_evicted = 0
        self.round: list[Session] = []  # whom the ticks have yet to count

    def configure(self) -> None:
        """Take over what the parameters say, and count everybody. Who is too many goes with the next command or tick."""
        node = self.node
        text = node.parameters.values["maxmemory-clients"]
        limit = node.eviction.limit * int(text[:-1]) // 100 if text.endswith("%") else int(text)
        self.limit = max(limit, LEAST_LIMIT) if limit else 0
        self.used_bytes = 0
        self.round = []
        if self.limit:
            for session in node.sessions.values():
                session.counted_bytes = 0
                self.note(session)
        node.audience.note_attention()

    def note(self, session: Session, argv: list[bytes] | None = None) -> None:
        """Count a session, with the command that it is about to run."""
        if session.killed or session.is_remote:
            return
        n_bytes = held_bytes(session)
        if argv is not None:
            n_bytes += size_of_request(argv)
        self.used_bytes += n_bytes - session.counted_bytes
        session.counted_bytes = n_bytes

    def admits(self, session: Session, argv: list[bytes]) -> bool:
        """Count a session that wants to run this, and make room; False if it has become too large itself."""
        self.note(session, argv)
        self.make_room(session)
        return not session.killed

    def heard(self, session: Session) -> None:
        """A piece of a long command has come."""
        if self.limit:
            self.note(session)
            self.make_room()

    def leave(self, session: Session) -> None:
        """A session has gone."""
        self.used_bytes -= session.counted_bytes
        session.counted_bytes = 0

    def tick(self) -> None:
        """Count some of the sessions, so that all have their turn within a second or two; make room."""
        if not self.limit:
            return
        if not self.round:
            self.round = list(self.node.sessions.values())
        n_commands = 0
        for _ in range(ROUND):
            if not self.round or n_commands > ROUND_COMMANDS:
                break
            session = self.round.pop()
            n_commands += len(session.input)
            self.note(session)
        self.make_room()

    def make_room(self, speaker: Session | None = None) -> None:
        """Cut the largest clients off until the rest takes less than the limit; `speaker` has just been counted."""
        node = self.node
        if self.used_bytes < self.limit or node.is_busy:
            return
        for session in node.sessions.values():
            if session is not speaker:
                self.note(session)  # what was written to it may have left since
        if self.used_bytes < self.limit:
            return
        evictable = [session for session in node.sessions.values() if not session.no_evict and not session.killed]
        for session in sorted(evictable, key=_counted, reverse=True):
            n_bytes = session.counted_bytes
            node.cut_off(session)
            self.leave(session)
            self.n_evicted += 1
            node.events.note(node.now_ms, "client-evicted", f"{session.address} took {n_bytes} bytes", "warning")
            if self.used_bytes < self.limit:
                break


def _counted(session: Session) -> int:
    return session.counted_bytes
