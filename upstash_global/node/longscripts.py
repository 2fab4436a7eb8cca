"""Long scripts: how a node goes on living while one of its scripts runs.

A script, or a transaction with one, runs as a task. When it has run for SLICE_US it pauses; the node then is *busy*: the
engine stands in the middle of a unit, and nobody else may use it. Heartbeats and acks, the admin port and what needs no
engine go on between the slices. What does need it waits:

- commands of clients, except the few that Redis allows; past `busy-reply-threshold` they are refused with BUSY
- entries and snapshots from the leader; timeouts of parked sessions; the sweep; snapshots of this node

SCRIPT KILL and FUNCTION KILL end a script that has not written. A node that changes its role ends any: what was written so far
stays, as always, and is an entry.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from upstash_global.engine.table import ALLOW_BUSY, TABLE, Row, find_row
from upstash_global.engine.tasks import Stack, pause
from upstash_global.errors import CommandError
from upstash_global.node.dispatch import dispatch, refuse, run_data
from upstash_global.node.freshness import FORWARD
from upstash_global.node.session import RemoteSession, Session, Watch
from upstash_global.replication.messages import (
    Check,
    Entries,
    FetchReply,
    Forward,
    Message,
    Resume,
    SnapshotBegin,
    SnapshotChunk,
)
from upstash_global.reply import OK, PENDING, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node

SLICE_US: Final = 5_000
HELD: Final = (
    Check,
    Entries,
    FetchReply,
    Resume,
    SnapshotBegin,
    SnapshotChunk,
)  # what changes, or looks at, what it sees
SCRIPT_ROWS: Final = ("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO")

_BUSY: Final = "Redis is busy running a script. You can only call {} KILL or SHUTDOWN NOSAVE."
NOT_BUSY: Final = CommandError("NOTBUSY", "No scripts in execution right now.")
UNKILLABLE: Final = CommandError(
    "UNKILLABLE",
    "Sorry the script already executed write commands against the dataset. You can either wait the script termination or "
    "kill the server in a hard way using the SHUTDOWN NOSAVE command.",
)


class LongScripts:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.stack = Stack()  # of the one that runs
        self.session: Session | None = None  # whose it is
        self.row: Row | None = None
        self.argv: list[bytes] = []
        self.began_ms = 0  # on this node's clock
        self.began_us = 0
        self.slice_ends_us = 0
        self.unit_ms = 0  # the time of its unit
        self.waiting: list[Session] = []  # those who have said something meanwhile
        self.waiting_exec: list[Callable[[], None]] = []  # transactions of other nodes' sessions
        self.held: list[tuple[str, Message]] = []

    # -- running ------------------------------------------------------------------------------------------------

    @property
    def is_started(self) -> bool:
        """Whether a script has begun and not ended."""
        return not self.stack.is_idle

    def start(self, session: Session, argv: list[bytes], function: Callable[[], Reply]) -> Reply:
        """Run what may be long: its reply, or PENDING when it goes on in later turns and the session is answered then."""
        node = self.node
        assert not self.is_started
        self.session = session
        self.row = session.row
        self.argv = argv
        self.began_ms = node.local_ms
        self.began_us = node.clock_us()
        reply = self._slice(function)
        if self.is_started:
            node.is_busy = True
            self.unit_ms = node.engine.context.now_ms
        return reply

    def pause(self) -> bool:
        """Called while a script runs, every few hundred microseconds: give way if its slice is over."""
        return self.node.clock_us() < self.slice_ends_us or pause()

    def go_on(self) -> None:
        """Another slice of the running script; when that was the last, whoever waited has his turn."""
        node, session = self.node, self.session
        if not node.is_busy or session is None:
            return
        context = node.engine.context
        context.now_ms = self.unit_ms
        context.may_block = False
        reply = self._slice()
        if not self.is_started:
            self._finish(session, reply)
        elif self.is_late:
            self._let_speak()

    def end(self) -> None:
        """Stop the running script here and now, whatever it has done."""
        if self.node.is_busy:
            interpreter = self.node.engine.context.interpreter
            interpreter.is_closing = True
            self.go_on()
            interpreter.is_closing = False

    def _slice(self, function: Callable[[], Reply] | None = None) -> Reply:
        """Begin with a script, or go on with the one that has paused, for as long as it may."""
        context = self.node.engine.context
        self.slice_ends_us = self.node.clock_us() + SLICE_US
        context.pause = self.pause
        try:
            return self.stack.go_on() if function is None else self.stack.run(function)
        finally:
            context.pause = None

    def _finish(self, session: Session, reply: Reply) -> None:
        node = self.node
        node.is_busy = False
        self.session = None
        node.note_duration(session, self.row, [self.argv], self.began_us)
        if type(reply) is CommandError:
            node.metrics.note_failure(self.row, reply)
        if session.tracking is not None and self.row is not None and self.row.handler is not None:
            node.tracking.note_read(session, self.row, self.argv, node.engine.context.take_script_reads())
        if not session.killed:
            node.answer(session, [reply])
        if node.woken:
            node.wake()
        held, self.held = self.held, []
        for peer, message in held:
            node.receive(peer, message, node.local_ms)
        self._let_speak()

    def _let_speak(self) -> None:
        waiting, self.waiting = self.waiting, []
        for session in waiting:
            if not session.waiting:
                self.node.run_input(session)
        waiting_exec, self.waiting_exec = self.waiting_exec, []
        for run in waiting_exec:
            run()

    # -- what others say meanwhile --------------------------------------------------------------------------------

    @property
    def is_late(self) -> bool:
        """Whether the script has run for longer than others have to wait for it."""
        threshold_ms = self.node.parameters.integer("busy-reply-threshold")
        return 0 < threshold_ms <= self.node.local_ms - self.began_ms

    def run(self, session: Session, commands: list[list[bytes]]) -> None:
        """What a client says while the node is busy: a few commands are served, the others wait or are refused."""
        node = self.node
        for i, argv in enumerate(commands):
            if session.closing or session.killed:
                break
            if session.is_full:
                session.input.extendleft(reversed(commands[i:]))
                break
            row = find_row(argv)
            if row is not None and not (row.flags & ALLOW_BUSY and row.handler is None):
                if not self.is_late:
                    session.input.extendleft(reversed(commands[i:]))
                    self.waiting.append(session)
                    break
                session.row = row
                reply: Reply = refuse(node, session, argv, row, self.refusal)
            else:
                reply = dispatch(node, session, argv)
            if reply is FORWARD or reply is PENDING:
                session.input.extendleft(reversed(commands[i if reply is FORWARD else i + 1 :]))
                if reply is PENDING:
                    session.waiting = 1
                else:
                    self.waiting.append(session)
                break
            session.reply(reply)
            session.n_commands += 1
            node.metrics.n_commands += 1
        session.served = node.log.head
        node.mark_dirty(session)

    def wait(self, session: Session, argv: list[bytes]) -> Reply:
        """A command that was parked would have its turn now: it is the first that its session says when it may."""
        session.waiting = 0
        session.input.appendleft(argv)
        self.waiting.append(session)
        return PENDING

    def wait_with_exec(self, remote: RemoteSession, commands: list[list[bytes]], watches: list[Watch]) -> None:
        """A transaction of another node's session: it runs when the script has ended, or is refused when that takes long."""
        node, sequence = self.node, remote.sequence
        remote.waiting = 1

        def run() -> None:
            if remote.sequence != sequence or remote.killed:
                return
            if node.is_busy and self.is_late:
                refusal = f"Transaction discarded because of: {self.refusal.text}"
                node.answer(remote, [CommandError("EXECABORT", refusal)])
            else:
                remote.waiting = 0
                node.run_remote_exec(remote, commands, watches)

        if self.is_late:
            run()
        else:
            self.waiting_exec.append(run)

    def holds(self, peer: str, message: Message) -> bool:
        """Whether a message has to wait for the end of the script."""
        if isinstance(message, Forward):
            session = self.session
            is_its_own = (
                isinstance(session, RemoteSession)
                and (session.origin, session.boot_id) == (message.origin, message.boot_id)
                and session.remote_id == message.session
                and session.sequence != message.sequence
            )
        else:
            is_its_own = isinstance(message, HELD)
        if is_its_own:
            self.held.append((peer, message))
        return is_its_own

    # -- the running script ---------------------------------------------------------------------------------------

    @property
    def running(self) -> Any:
        """The lua.Run of the script that is paused, or None."""
        interpreter = self.node.engine.context.interpreter
        return interpreter.running if self.node.is_busy and interpreter is not None else None

    @property
    def refusal(self) -> CommandError:
        run = self.running
        return CommandError("BUSY", _BUSY.format("FUNCTION" if run is not None and run.function else "SCRIPT"))

    def kill(self, is_function: bool) -> Reply:
        """SCRIPT KILL and FUNCTION KILL: the script ends when it runs next."""
        run = self.running
        if run is None:
            raise NOT_BUSY
        if run.has_written:
            raise UNKILLABLE
        if is_function != bool(run.function):
            raise self.refusal
        self.node.engine.context.interpreter.kill()
        return OK


def declare() -> None:
    """Let the commands that run scripts run them as tasks; call it when all commands are declared."""
    for name in SCRIPT_ROWS:
        TABLE[name.encode()].session_handler = run_script


def run_script(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    row = TABLE[argv[0].upper()]
    return node.scripts.start(session, argv, lambda: run_data(node, session, row, argv))


def is_script(row: Row) -> bool:
    return row.handler is not None and row.session_handler is not None
