"""Forwarding: how a replica lets the leader run what only the leader may run, and how the leader does it.

At the replica, from the first command that needs the leader to the end of what was read in that turn, all data commands go
in one Forward and run in order there. The replica answers once it has applied the leader's head of that moment, so that
the client reads its own writes (unless it has asked for reads that see to it anyway); if that takes longer than `sync_wait_ms`, or the node is not streaming, the true reply is
sent anyway and the session's reads go to the leader until the node has caught up.

Every Forward carries (origin, boot id, session, sequence). It is sent again after a reconnect; the leader answers a repeat
from what it remembers. A node that does not lead any more refuses it: the next leader is asked. A Forward that was not
answered within `forward_timeout_ms` ends with -UNKNOWN, or with -READONLY if every node that got it has refused it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from upstash_global.engine.table import BLOCKING, LASTING, TABLE, Row, find_row
from upstash_global.errors import INTERNAL_ERROR, CommandError
from upstash_global.node.answers import MAX_ANSWER_BYTES, TOO_LONG
from upstash_global.node.metrics import Durations
from upstash_global.node.retries import Once
from upstash_global.node.scope import after
from upstash_global.node.session import RemoteSession, Session, Watch
from upstash_global.node.tracking import Reads, keys_read
from upstash_global.protocol.consistency import SESSION
from upstash_global.replication.messages import Cancel, Forward, Forwarded
from upstash_global.replication.position import START
from upstash_global.reply import Push, Reply, pack, unpack

if TYPE_CHECKING:
    from upstash_global.node.node import Node

NOLEADER: Final = CommandError("NOLEADER", "no leader is reachable; the write was not executed")
UNKNOWN: Final = CommandError("UNKNOWN", "write may or may not have been applied")
UNBLOCKED: Final = CommandError("UNBLOCKED", "client unblocked via CLIENT UNBLOCK")
NOT_LEADER: Final = CommandError("READONLY", "this node is not the leader; the write was not executed")

NOBODY: Final = " "  # the user of one who has not logged in: no name has a space

RUN: Final = "run"
EXEC: Final = "exec"
OWN: Final = "own"  # the stream on which a node that was promoted serves what it had forwarded itself

REFUSED: Final = "refused"  # status of a Forwarded: this node does not lead, or not for long, and has not run it


class Outstanding:
    """One Forward under way, or answered and waiting until this node has applied the leader's head."""

    __slots__ = (
        "session",
        "message",
        "blocks",
        "unblocked",
        "deadline_ms",
        "began_ms",
        "n_replies",
        "n_open",
        "answer",
        "local_counts",
        "finish",
        "behind",
        "reads",
    )

    def __init__(
        self, session: Session, message: Forward, blocks: bool, deadline_ms: int, began_ms: int, n_replies: int
    ) -> None:
        self.session = session
        self.message = message
        self.blocks = blocks
        self.unblocked = ""  # how its wait is to end before its time: `timeout` or `error`
        self.deadline_ms = deadline_ms  # 0: a blocking command, which has no timeout here
        self.began_ms = began_ms
        self.n_replies = n_replies
        self.n_open = 1  # how often it was sent and not refused: none of these may have run, or one
        self.answer: Forwarded | None = None
        self.local_counts: dict[int, int] = {}  # index of a PUBLISH → deliveries on this node
        self.finish: Callable[[Reply], Reply] | None = None  # what this node does with the one answer
        self.behind: dict[int, list[Push]] = {}  # index of a reply → what the session hears of its own command after it

        self.reads: Reads | None = None  # what a session that tracks reads with it

    def note_publish(self, index: int, count: int) -> None:
        """A PUBLISH of this Forward was delivered here to `count` subscribers."""
        if self.message.kind == RUN:
            self.local_counts[index] = count


class Forwarding:
    """Both sides: `start`, `answered`, `tick` at the replica; `serve`, `finish`, `cancel` at the leader."""

    def __init__(self, node: "Node") -> None:
        self.node = node
        self.outstanding: dict[int, Outstanding] = {}  # by session id
        self.unapplied: dict[int, Outstanding] = {}  # answered, the leader's head not applied here yet
        self.remotes: dict[tuple[str, str, int], RemoteSession] = {}
        self.own_answers: list[tuple[RemoteSession, Forwarded]] = []
        self.n_forwarded = 0
        self.n_served = 0
        self.n_unknown = 0  # Forwards whose clients were told that nobody knows
        self.n_noleader = 0  # commands that could not be forwarded
        self.durations = Durations()  # of Forwards that do not block, until their answers are given out

    # -- at the replica -----------------------------------------------------------------------------------------

    def run_end(self, commands: list[list[bytes]], start: int) -> int:
        """Where the run ends that begins at `start`: before the first session command, behind a blocking one."""
        end = start
        while end < len(commands):
            row = TABLE.get(commands[end][0].upper())
            if end > start and (row is None or row.handler is None or row.flags & BLOCKING):
                break
            end += 1
            if row is not None and row.flags & (BLOCKING | LASTING):
                break
        return end

    def no_leader(self) -> Reply:
        """What is answered where nothing can be forwarded."""
        self.n_noleader += 1
        return NOLEADER

    def start(self, session: Session, commands: list[list[bytes]], row: Row | None = None) -> None:
        """Forward a run of commands; the session waits for all their answers."""
        blocks = row is not None and bool(row.flags & (BLOCKING | LASTING))
        if blocks and row is not None and row.handler is not None and not session.may_block:
            self.start_exec(session, commands, [], [], _only)  # inside a transaction nothing waits
        else:
            if (
                row is not None
                and not session.may_block
                and row.name in ("WAIT", "WAITAOF")
                and commands[0][-1] == b"0"
            ):
                # A request does not wait for ever; WAIT is alone in its run.
                timeout = b"%d" % self.node.settings.forward_timeout_ms
                commands = [commands[0][:-1] + [timeout]]
            self._send(session, RUN, commands, [], len(commands), blocks)

    def start_one(self, session: Session, command: list[bytes], finish: Callable[[Reply], Reply]) -> None:
        """Forward one command; its answer goes through `finish`."""
        self._send(session, RUN, [command], [], 1, False)
        self.outstanding[session.id].finish = finish

    def start_exec(
        self,
        session: Session,
        commands: list[list[bytes]],
        watches: list[Watch],
        reads: list[tuple[bytes, bool]],
        finish: Callable[[Reply], Reply],
    ) -> None:
        """Forward a transaction whole; its answer is one reply, which `finish` completes. `reads` are to be tracked."""
        self._send(session, EXEC, commands, watches, 1, False)
        outstanding = self.outstanding[session.id]
        outstanding.finish = finish
        if outstanding.reads is not None:
            outstanding.reads.keys = [(0, key, is_written) for key, is_written in reads]

    def _send(
        self, session: Session, kind: str, commands: list[list[bytes]], watches: list[Watch], n: int, blocks: bool
    ) -> None:
        node = self.node
        assert node.can_forward
        session.waiting = n
        session.sequence += 1
        message = Forward(
            node.settings.name,
            node.boot_id,
            session.id,
            session.sequence,
            NOBODY if session.user is None else session.user.name.decode("latin-1"),
            kind,
            commands,
            [(watch.key, watch.position, watch.visible) for watch in watches],
            head_needed=session.position,
            attributes={} if session.once is None else {"k": session.once.key, "f": session.once.fingerprint},
        )
        deadline_ms = 0 if blocks else node.local_ms + node.settings.forward_timeout_ms
        outstanding = self.outstanding[session.id] = Outstanding(
            session, message, blocks, deadline_ms, node.local_ms, n
        )
        if session.tracking is not None:
            outstanding.reads = self._reads(session, commands) if kind == RUN else self._reads(session, [])
        if node.audience.monitors.sessions:
            self._show(session, commands)
        self.n_forwarded += n
        node.send(node.leader_name, message)

    def _show(self, session: Session, commands: list[list[bytes]]) -> None:
        for argv in commands:
            row = find_row(argv)
            if row is not None and row.arity_fits(len(argv)):
                self.node.audience.monitors.show(session, row, argv)

    def _reads(self, session: Session, commands: list[list[bytes]]) -> Reads:
        """What these commands read for a session that tracks, each a unit of its own."""
        state = session.tracking
        assert state is not None
        reads = Reads(self.node.log.epoch, self.node.log.head.lsn)
        for index, argv in enumerate(commands):
            row = find_row(argv)
            if row is not None:
                reads.keys.extend([(index, key, False) for key in keys_read(state, row, argv)])
            state.is_caching = False
        return reads

    def _note_reads(self, outstanding: Outstanding, reads: Reads) -> None:
        """They are answered: what has changed since the leader read it is told behind the answer."""
        node, session = self.node, outstanding.session
        changed = node.tracking.note_forwarded(session, reads, node.changes, node.log.epoch)
        for index, keys in changed.items():
            node.audience.begin_answer(outstanding, index)
            for key in keys:
                node.tracking.tell(session, [key])
        node.audience.end()

    def answered(self, message: Forwarded) -> None:
        """The leader's answer came."""
        outstanding = self.outstanding.get(message.session)
        if outstanding is None or outstanding.message.sequence != message.sequence or outstanding.answer is not None:
            return  # a repeat, or the client has gone
        node = self.node
        if message.status == REFUSED:
            outstanding.n_open -= 1
            outstanding.deadline_ms = outstanding.deadline_ms or node.local_ms + node.settings.forward_timeout_ms
            return
        outstanding.answer = message
        if node.covers(message.head):
            self._deliver(outstanding)
        elif node.state_name != "streaming" or outstanding.session.consistency.kind != SESSION:
            self._deliver_unapplied(outstanding)
        else:
            outstanding.deadline_ms = node.local_ms + node.settings.sync_wait_ms
            self.unapplied[message.session] = outstanding

    def applied(self) -> None:
        """This node's position grew: deliver the answers that waited for it."""
        if self.unapplied:
            for outstanding in list(self.unapplied.values()):
                answer = outstanding.answer
                assert answer is not None
                if self.node.covers(answer.head):
                    self._deliver(outstanding)

    def is_own(self, attributes: dict[str, Any]) -> bool:
        """Whether an entry with these attributes stems from a session of this node."""
        return attributes.get("o") == self.node.settings.name and attributes.get("b") == self.node.boot_id

    def origin_of(self, attributes: dict[str, Any]) -> Outstanding | None:
        """The Forward of this node that led to an entry with these attributes, if it is still under way."""
        outstanding = self.outstanding.get(attributes["s"])
        if outstanding is None or outstanding.message.sequence != attributes["q"]:
            return None
        return outstanding

    def connected(self) -> None:
        """The way to the leader is open (again): send what is under way once more."""
        for outstanding in self.outstanding.values():
            if outstanding.answer is None:
                outstanding.n_open += 1
                if outstanding.blocks:
                    outstanding.deadline_ms = 0
                self.node.send(self.node.leader_name, outstanding.message)
                if outstanding.unblocked:
                    self.node.send(self.node.leader_name, self._unblocking(outstanding))

    def blocks(self, session_id: int) -> bool:
        """Whether the leader runs a blocking command for this session, which has not been answered yet."""
        outstanding = self.outstanding.get(session_id)
        return outstanding is not None and outstanding.blocks and outstanding.answer is None

    def unblock(self, session_id: int, how: str) -> bool:
        """End the wait of a session, here or at the leader: as its `timeout` would, or with an `error`. False if it has none."""
        node = self.node
        parked = node.parking.by_session.get(session_id)
        if parked is not None and parked.cause in ("blocked", "acks"):
            node.parking.release(parked.session)
            if how == "error":
                node.metrics.note_failure(parked.session.row, UNBLOCKED, parked.cause == "blocked")
                node.answer(parked.session, [UNBLOCKED])
            else:
                node.answer(parked.session, [parked.timeout_reply()])
            return True
        if not self.blocks(session_id) or not node.can_forward:
            return False
        outstanding = self.outstanding[session_id]
        outstanding.unblocked = how
        node.send(node.leader_name, self._unblocking(outstanding))
        return True

    def _unblocking(self, outstanding: Outstanding) -> Cancel:
        message = outstanding.message
        return Cancel(message.session, message.sequence, outstanding.unblocked)

    def will_answer(self, session: Session) -> bool:
        """Whether the answer to a command that does not block is on its way from the leader."""
        outstanding = self.outstanding.get(session.id)
        return outstanding is not None and not outstanding.blocks

    def tick(self) -> None:
        """End what has waited too long."""
        now_ms = self.node.local_ms
        for outstanding in list(self.outstanding.values()):
            if not outstanding.deadline_ms or outstanding.deadline_ms > now_ms:
                continue
            if outstanding.answer is not None:
                self._deliver_unapplied(outstanding)
            else:
                self._forget(outstanding)
                refusal = UNKNOWN if outstanding.n_open else NOT_LEADER
                self.n_unknown += outstanding.n_open > 0
                refusals: list[Reply] = [refusal] * outstanding.n_replies
                self.node.answer(outstanding.session, refusals, behind=outstanding.behind)

    def drop_silent(self) -> None:
        """At the leader: sessions of a node that has not come back in time wait no longer, and take nothing from a list."""
        node = self.node
        for remote in list(self.remotes.values()):
            if remote.lost_ms and node.local_ms - remote.lost_ms > node.settings.silence_ms:
                self.drop(remote)

    def client_gone(self, session: Session) -> None:
        """Let the leader forget the session, and end what it still runs for it."""
        outstanding = self.outstanding.get(session.id)
        if outstanding is not None:
            self._forget(outstanding)
        if self.node.is_leader:
            remote = self.remotes.get((self.node.settings.name, self.node.boot_id, session.id))
            if remote is not None:
                self.drop(remote)
        elif session.sequence and self.node.can_forward:
            self.node.send(self.node.leader_name, Cancel(session.id))

    def _deliver(self, outstanding: Outstanding) -> None:
        answer = outstanding.answer
        assert answer is not None
        self._forget(outstanding)
        if not outstanding.blocks:
            self.durations.note(self.node.local_ms - outstanding.began_ms)
        replies: list[Reply] = [unpack(packed) for packed in answer.replies]
        for index, count in outstanding.local_counts.items():
            if index < len(replies) and type(replies[index]) is int:
                replies[index] = count
        if outstanding.reads is not None:
            self._note_reads(outstanding, outstanding.reads)
        if outstanding.finish is not None:
            replies = [outstanding.finish(replies[0])]
        if outstanding.message.kind == RUN:  # the leader stopped where the answers filled a message
            outstanding.session.input.extendleft(reversed(outstanding.message.commands[len(replies) :]))
        self.node.answer(outstanding.session, replies, answer.head, outstanding.behind)

    def _deliver_unapplied(self, outstanding: Outstanding) -> None:
        assert outstanding.answer is not None
        session, commands, head = outstanding.session, outstanding.message.commands, outstanding.answer.head
        if session.scope is not None:
            session.scope = after(session.scope, self.node, commands, head)
        session.owe(head, any(_needs_leader(argv) for argv in commands))
        self._deliver(outstanding)

    def _forget(self, outstanding: Outstanding) -> None:
        del self.outstanding[outstanding.session.id]
        self.unapplied.pop(outstanding.session.id, None)

    # -- at the leader ------------------------------------------------------------------------------------------

    def serve(self, peer: str, message: Forward) -> None:
        """Run a Forward of another node's session, unless it ran before."""
        node = self.node
        if not node.is_leader or node.is_stopping:
            node.send(peer, Forwarded(message.session, message.sequence, [], START, REFUSED))
            return
        key = (message.origin, message.boot_id, message.session)
        remote = self.remotes.get(key)
        if remote is None:
            node.last_session_id += 1
            remote = RemoteSession(node.last_session_id, peer, message.origin, message.boot_id, message.session)
            self.remotes[key] = remote
        if message.sequence < remote.sequence:
            return  # it comes late, on a stream that was replaced
        remote.peer = peer
        remote.lost_ms = 0
        if message.sequence == remote.sequence:
            parked = node.parking.by_session.get(remote.id)
            if parked is not None:  # something may have come while its node was away
                node.touched.extend(parked.keys)
                node.woken = True
                node.wake()
            elif not remote.waiting:  # the answer was lost on its way: it leaves once more, through the release gate
                remote.expected = len(remote.answers)
                node.mark_dirty(remote)
            return
        node.abandon(remote)
        remote.sequence = message.sequence
        remote.user = node.users.find(message.user.encode("latin-1"))
        remote.position = message.head_needed
        remote.answers = []
        remote.answer_bytes = 0
        remote.is_full = False
        remote.remembered = node.answers.find(message.origin, message.boot_id, message.session, message.sequence) or {}
        remote.once = Once(message.attributes["k"], message.attributes["f"]) if "k" in message.attributes else None
        remote.waiting = 0
        self.n_served += 1
        if message.kind == EXEC:
            remote.expected = 1
            watches = [Watch(key, position, visible) for key, position, visible in message.watches]
            node.run_remote_exec(remote, message.commands, watches)
        else:
            remote.expected = len(message.commands)
            node.run(remote, message.commands)

    def serve_own(self) -> None:
        """This node leads now: run what it had forwarded to the former leader, unless that ran there and is known here."""
        for outstanding in list(self.outstanding.values()):
            if outstanding.answer is None:
                self.serve(OWN, outstanding.message)
                if outstanding.unblocked:
                    self.cancel(OWN, self._unblocking(outstanding))

    def deliver_own(self) -> None:
        """The answers to what `serve_own` ran, once they have passed the release gate."""
        own_answers, self.own_answers = self.own_answers, []
        for remote, message in own_answers:
            self.drop(remote)
            self.answered(message)

    def attributes(self, remote: RemoteSession, reply: Reply) -> dict[str, object]:
        """What the entry of a forwarded unit carries so that every node remembers its answer."""
        packed = self._packed(remote, reply)
        return {
            "o": remote.origin,
            "b": remote.boot_id,
            "s": remote.remote_id,
            "q": remote.sequence,
            "i": len(remote.answers),
            "a": packed if len(packed) <= MAX_ANSWER_BYTES else TOO_LONG,
        }

    def take_answer(self, remote: RemoteSession) -> Forwarded | None:
        """The answer of a Forward if all its commands are done, or so many that their answers fill a message."""
        if not remote.expected or remote.waiting:
            return None
        if len(remote.answers) == remote.expected or remote.is_full:
            remote.expected = 0
            remote.input.clear()  # its node sends the rest again
            return self._forwarded(remote)
        return None

    def _forwarded(self, remote: RemoteSession) -> Forwarded:
        packed = [self._packed(remote, reply) for reply in remote.answers]
        return Forwarded(remote.remote_id, remote.sequence, packed, remote.served, "done")

    def _packed(self, remote: RemoteSession, reply: Reply) -> bytes:
        """A reply for the way back; one that is none is a bug of ours, which its client is told."""
        try:
            return pack(reply)
        except Exception as bug:
            name = remote.row.name if remote.row is not None else "EXEC"
            self.node.engine.context.tell_bug(name, bug)
            return pack(INTERNAL_ERROR)

    def cancel(self, peer: str, message: Cancel) -> None:
        for remote in list(self.remotes.values()):
            if remote.peer == peer and remote.remote_id == message.session:
                if not message.unblock:
                    self.drop(remote)
                elif remote.sequence == message.sequence:
                    self.unblock(remote.id, message.unblock)

    def silent_peer(self, peer: str) -> None:
        """A node's stream ended: its sessions wait on until it returns or has been silent too long, and take nothing meanwhile."""
        for remote in list(self.remotes.values()):
            if remote.peer == peer:
                if remote.waiting:
                    remote.lost_ms = self.node.local_ms
                else:
                    self.drop(remote)

    def drop(self, remote: RemoteSession) -> None:
        self.remotes.pop((remote.origin, remote.boot_id, remote.remote_id), None)
        self.node.close(remote)


def _needs_leader(argv: list[bytes]) -> bool:
    row = find_row(argv)
    return row is None or row.needs_leader


def _only(answer: Reply) -> Reply:
    """The answer of a transaction of one command, as that command's own."""
    return answer[0] if isinstance(answer, list) else answer
