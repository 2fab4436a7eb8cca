"""MONITOR: sessions that are shown what the clients of this node let run.

A line per command, as Redis 7 writes it: `1721284005.242090 [0 10.0.0.1:4711] "GET" "k"`. Commands are shown when they run: not
when they are queued, and not if they are refused. What a script calls follows it as `[0 lua]`, what a transaction runs stands
before its EXEC. What a replica forwards is shown at the replica. Administration is not shown, nor are passwords.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.table import ADMIN, Row
from upstash_global.node.redaction import redacted
from upstash_global.node.session import Session
from upstash_global.reply import Simple

if TYPE_CHECKING:
    from upstash_global.node.node import Node

_ESCAPES: Final = {10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b", 34: '\\"', 92: "\\\\"}
_SHOWN: Final = [_ESCAPES.get(byte, chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in range(256)]


class Monitors:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.sessions: dict[int, Session] = {}
        self.inner: list[str] | None = None  # lines of what the running command runs in its turn; None: none is running

    def join(self, session: Session) -> None:
        session.is_monitor = True
        self.sessions[session.id] = session
        self.node.engine.context.overhear = self.note_call

    def leave(self, session: Session) -> None:
        session.is_monitor = False
        self.sessions.pop(session.id, None)
        if not self.sessions:
            self.node.engine.context.overhear = None

    def show(self, session: Session, row: Row, argv: list[bytes]) -> None:
        """Show a command of this session that runs now, or has just run."""
        if not row.flags & ADMIN and not session.is_remote:
            self._tell(self._line(session.address, redacted(argv)))

    def note_call(self, argv: list[bytes]) -> None:
        """A script calls a command."""
        caller = self.node.engine.context.caller
        if not isinstance(caller, Session) or not caller.is_remote:
            self._tell(self._line("lua", argv))

    def begin(self) -> None:
        """A command begins; what it runs in its turn is shown when it is known whether it ran itself."""
        self.inner = []

    def end(self, session: Session, row: Row | None, argv: list[bytes]) -> None:
        """The command has run; if it was refused or is to run later, `row` is None."""
        inner, self.inner = self.inner or [], None
        if row is None:
            return
        if row.name != "EXEC":
            self.show(session, row, argv)
        for line in inner:
            self._tell(line)
        if row.name == "EXEC":
            self.show(session, row, argv)

    def _line(self, speaker: str, argv: list[bytes]) -> str:
        now_ms = self.node.now_ms
        words = " ".join(['"' + "".join([_SHOWN[byte] for byte in word]) + '"' for word in argv])
        return f"{now_ms // 1000}.{now_ms % 1000 * 1000:06d} [0 {speaker}] {words}"

    def _tell(self, line: str) -> None:
        if self.inner is not None:
            self.inner.append(line)
            return
        for session in self.sessions.values():
            session.write(Simple(line))
            self.node.mark_dirty(session)
