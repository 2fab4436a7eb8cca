"""Node: engine, role and sessions, without a socket, a file or a clock of its own.

    handle(session, commands)   a client speaks
    receive(peer, message)      another node speaks
    tick(now)                   time passes
    take_outbox()               what to do about it: persist, then send, then let answers out — in that order

The leader and the replicas are the same object in two roles. Every reply and push, reads too, leaves through one release
gate: at the leader nothing computed at head n goes out before n is on disk, when the fsync policy asks for that, and in
any case before the entry that opened its epoch is.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import upstash_global.engine.commands
import upstash_global.node.commands  # noqa: F401
from upstash_global.engine.context import MESSAGE, Effects
from upstash_global.engine.dump import digest
from upstash_global.engine.engine import Engine
from upstash_global.engine.keyspace import Keyspace
from upstash_global.engine.memory import Memory
from upstash_global.engine.table import FAST, SKIP_SLOWLOG, TABLE, Row
from upstash_global.errors import CommandError
from upstash_global.node.answers import Answers
from upstash_global.node.attention import attend
from upstash_global.node.audience import Audience
from upstash_global.node.blocking import Blocking
from upstash_global.node.checks import Checks
from upstash_global.node.clientmemory import ClientMemory
from upstash_global.node.clients import OutputLimit
from upstash_global.node.dispatch import dispatch
from upstash_global.node.events import Events
from upstash_global.node.eviction import Eviction
from upstash_global.node.forwarding import OWN, Forwarding
from upstash_global.node.freshness import FORWARD, TOO_STALE
from upstash_global.node.idleness import Idleness
from upstash_global.node.latency import Latency, note_calls
from upstash_global.node.longscripts import LongScripts
from upstash_global.node.metrics import Metrics
from upstash_global.node.migrating import Migrations
from upstash_global.node.outbox import Outbox
from upstash_global.node.parameters import Parameters
from upstash_global.node.parking import Parked, Parking
from upstash_global.node.pausing import Pause
from upstash_global.node.permissions import Permissions
from upstash_global.node.redundancy import Redundancy
from upstash_global.node.retries import Retries
from upstash_global.node.roles import Roles
from upstash_global.node.session import RemoteSession, Session, Watch
from upstash_global.node.settings import Settings
from upstash_global.node.slowlog import SlowLog, heaviest
from upstash_global.node.snapshots import Snapshots
from upstash_global.node.sweeping import Sweeping
from upstash_global.node.synctokens import SyncTokens
from upstash_global.node.tables import load_system_tables, system_tables
from upstash_global.node.transactions import execute_queue
from upstash_global.replication.changes import Changes
from upstash_global.replication.codec import DATA, EPOCH, Entry
from upstash_global.replication.log import ReplicationLog
from upstash_global.replication.messages import Cancel, Forward, Forwarded, Message
from upstash_global.replication.position import NEVER, START, History, Position
from upstash_global.replication.storage import Recovered, Storage
from upstash_global.reply import PENDING, Push, Reply

if TYPE_CHECKING:
    from random import Random

NO_ATTRIBUTES: Final[dict[str, Any]] = {}
NOTHING_BEHIND: Final[dict[int, list[Push]]] = {}

LOADING: Final = CommandError("LOADING", "the node has no complete data yet; it is being synchronized")
MISCONF: Final = CommandError("MISCONF", "the log cannot be written; writes are refused until that is repaired")

DISK_FULL: Final = CommandError("MISCONF", "the disk is nearly full; writes are refused until there is room again")


class Node:
    def __init__(
        self, settings: Settings, storage: Storage, random: "Random", boot_id: str, clock_us: Callable[[], int]
    ) -> None:
        self.settings = settings
        self.storage = storage
        self.random = random
        self.boot_id = boot_id  # new at every start of the process
        self.clock_us = clock_us  # monotonic microseconds, only for statistics
        self.local_ms = 0  # this node's own clock, milliseconds since 1970
        self.now_ms = 0  # leader time; never goes back
        self.started_ms = 0
        self.lead_offset_ms = 0  # how far the leader time seen before this node led was ahead of its own clock

        self.engine = Engine(random)
        self.log = ReplicationLog(settings.backlog_entries, settings.backlog_bytes)
        self.changes = Changes()
        self.answers = Answers()
        self.retries = Retries()
        self.users = self.engine.context.users
        self.metrics = Metrics()
        self.events = Events()
        self.client_memory = ClientMemory(self)
        self.audience = Audience(self)
        self.pause = Pause(self)
        self.pubsub = self.audience.pubsub
        self.tracking = self.audience.tracking
        self.parking = Parking()
        self.blocking = Blocking(self)
        self.parameters = Parameters(self)
        self.memory: Memory | None = None  # what the data takes, counted while `maxmemory` is set
        self.eviction = Eviction(self)
        self.redundancy: Redundancy | None = None  # how many replicas must follow before anything is written
        self.idleness = Idleness(self)
        self.sweeping = Sweeping(self)
        self.query_buffer_bytes = self.parameters.integer("client-query-buffer-limit")  # of one command
        self.output_limits: dict[str, OutputLimit] = {}  # by kind of client, as CONFIG has set them
        self.bounds_answers = False  # there is one for clients that are not subscribed
        self.slowlog = SlowLog()
        self.latency = Latency()
        self.process: dict[str, object] = {}  # facts about the process that INFO tells; a shell knows them
        self.resident_bytes: Callable[[], int] = _none  # what the process uses; a shell knows it
        self.secret_bytes: Callable[[int], bytes] = random.randbytes  # a shell has better ones
        self.cpu_seconds: Callable[[], tuple[float, float]] = _no_cpu  # (system, user)
        self.stop: Callable[[bool], None] = _cannot_stop  # SHUTDOWN: end the process, at once if True
        self.link_is_busy: Callable[[str], bool] = _never  # whether a stream still writes what it was given before
        self.sync_tokens = SyncTokens(settings.cluster_id, settings.token_key)
        self.permissions = Permissions(self)
        self.forwarding = Forwarding(self)
        self.snapshots = Snapshots(self)
        self.migrations = Migrations(self)
        self.scripts = LongScripts(self)
        self.checks = Checks(self)
        self.roles = Roles(self)

        self.is_leader = False
        self.is_busy = False  # a script has paused in the middle of a unit
        self.is_replaying = False  # entries come from this node's own disk: nobody is to hear of them again
        self.is_sealed = False  # a switchover is draining: writes wait
        self.read_refusal: CommandError | None = LOADING
        self.write_refusal: CommandError | None = None
        self.sessions: dict[int, Session] = {}
        self.last_session_id = 0
        self.is_stopping = False  # clients are refused: see `stop_serving`
        self.is_attended = False  # somebody follows what sessions do: commands run through `attend`

        self.records: list[bytes] = []
        self.messages: list[tuple[str, Message]] = []
        self.asks: list[tuple[str, Message]] = []
        self.hang_ups: list[str] = []
        self.wants_snapshot_finished = False
        self.dirty: list[Session] = []
        self.woken = False  # an entry touched keys somebody is parked for
        self.touched: list[bytes] = []
        self.gate: deque[tuple[int, Session, Any]] = deque()  # (LSN that must be durable, session, output)
        self.dropped: list[Session] = []  # to be cut off
        self.durable_lsn = 0
        self.must_be_durable = 0  # the entry that opened the present epoch
        self.sync_is_slow = False  # everysec: one takes more than 2 s, and answers wait for it
        self.sync_wanted = 0  # highest LSN for which a sync was asked
        self.engine.context.receivers = self.pubsub.count
        self.engine.context.configured = self.parameters.take_shared
        self.engine.context.tell_failure = self.metrics.note_refusal
        self.engine.context.tell_miss = self.audience.tell_miss
        self.script_session = Session(0, None)  # for what a script asks about the node
        self.engine.context.serve = self.serve_script

    # -- sessions -----------------------------------------------------------------------------------------------

    def open(self, session: Session) -> None:
        """Take a new client in. Its id comes from `next_session_id`."""
        if session.user is None and self.users.default_is_open:
            session.user = self.users.default
        session.ask(self.settings.consistency)
        self.sessions[session.id] = session
        self.metrics.n_connections += 1

    def next_session_id(self) -> int:
        self.last_session_id += 1
        return self.last_session_id

    def close(self, session: Session) -> None:
        """The client has gone."""
        session.killed = True
        session.input.clear()
        self.client_memory.leave(session)
        self.sessions.pop(session.id, None)
        self.parking.release(session)
        self.audience.leave(session)
        if not session.is_remote:
            self.forwarding.client_gone(session)

    def handle(self, session: Session, commands: list[list[bytes]], now_ms: int) -> None:
        """Run what a client sent, in order; what has to wait is kept."""
        self.set_clock(now_ms)
        session.active_ms = self.local_ms
        if session.waiting or session.input or session.is_full:
            session.input.extend(commands)
        else:
            self.run(session, commands)

    def run(self, session: Session, commands: list[list[bytes]]) -> None:
        """Run commands until one has to wait or the client has to read first; the rest stays in the session's input."""
        if self.is_busy:
            self.scripts.run(session, commands)
            return
        n = len(commands)
        i = 0
        first = 0  # of the calls of one command that began at `started_us`
        n_noted = -1  # calls whose duration is known now, if not all
        session.ran = True
        started_us = self.clock_us()
        while i < n:
            if session.closing or session.killed:
                break
            if session.is_full:
                session.input.extendleft(reversed(commands[i:]))
                break
            argv = commands[i]
            if i > first and (i - first == self.slowlog.stretch or argv[0] != commands[first][0]):
                started_us = self.note_duration(session, session.row_run, commands, started_us, first, i)
                first = i
                session.ran = True
            reply = attend(self, session, argv) if self.is_attended else dispatch(self, session, argv)
            i += 1
            if reply is FORWARD and not self.can_forward:
                reply = self.forwarding.no_leader()
            if reply is FORWARD:
                end = self.forwarding.run_end(commands, i - 1)
                if end < n:
                    session.input.extendleft(reversed(commands[end:]))
                self.forwarding.start(session, commands[i - 1 : end], TABLE.get(commands[end - 1][0].upper()))
                break
            if reply is PENDING:
                session.waiting = 1
                if i < n:
                    session.input.extendleft(reversed(commands[i:]))
                n_noted = i - 1 if self.is_busy or self.parking.is_noted_later(session) else i
                break
            session.reply(reply)
            if self.woken:
                self.wake()
                if self.is_busy:  # by a script of one that was woken
                    self.scripts.run(session, commands[i:])
                    break
        self.note_duration(session, session.row_run, commands, started_us, first, i if n_noted < 0 else n_noted)
        session.n_commands += i
        self.metrics.n_commands += i
        session.served = self.log.head
        if not session.is_dirty:
            self.mark_dirty(session)

    def note_duration(
        self,
        session: Session,
        row: Row | None,
        commands: list[list[bytes]],
        started_us: int,
        first: int = 0,
        end: int = 1,
    ) -> int:
        """Count the time since `started_us` for the calls from `first` to `end`, all of one command; what time it is now."""
        now_us = self.clock_us()
        took_us = now_us - started_us
        if row is not None and first < end:
            row.microseconds += took_us
            if self.latency.is_tracking:
                note_calls(row, took_us, end - first)
            if 0 < self.latency.threshold_us <= took_us:
                self.latency.note("fast-command" if row.flags & FAST else "command", self.now_ms, took_us)
            if 0 <= self.slowlog.threshold_us <= took_us and not row.flags & SKIP_SLOWLOG:
                self.metrics.n_slow += 1
                self.slowlog.note(self.now_ms, took_us, heaviest(commands[first:end]), session.address, session.name)
        return now_us

    def note_script_call(self, row: Row | None, argv: list[bytes], started_us: int) -> int:
        """Count the time of a command that a script has called, on behalf of who runs the script; what time it is now."""
        caller = self.engine.context.caller
        session = caller if isinstance(caller, Session) else self.script_session
        return self.note_duration(session, row, [argv], started_us)

    def answer(
        self,
        session: Session,
        replies: list[Reply],
        served: Position | None = None,
        behind: dict[int, list[Push]] = NOTHING_BEHIND,
    ) -> None:
        """Give a waiting session its answers, computed at `served` or else here and now; run what it sent meanwhile.

        `behind` holds, by the index of a reply, what the session hears after it.
        """
        session.waiting = 0
        session.served = self.log.head if served is None else served
        session.is_served_here = served is None
        for index, reply in enumerate(replies):
            session.reply(reply)
            for push in behind.get(index, ()):
                session.push(push)
        session.is_served_here = True
        self.mark_dirty(session)
        self.run_input(session)

    def drained(self, session: Session, now_ms: int) -> None:
        """The client has read what was written to it: run what it sent meanwhile."""
        self.set_clock(now_ms)
        session.is_full = False
        if not session.waiting:
            self.run_input(session)

    def run_input(self, session: Session) -> None:
        """Run what a client has sent and what had to wait."""
        if session.input and not session.killed:
            commands = list(session.input)
            session.input.clear()
            self.run(session, commands)

    def retry(self, session: Session, argv: list[bytes]) -> Reply:
        """Dispatch a parked command once more: its reply, or PENDING when it was forwarded or parked again."""
        self.parking.release(session)
        if self.is_busy:
            return self.scripts.wait(session, argv)
        reply = attend(self, session, argv) if self.is_attended else dispatch(self, session, argv)
        if reply is FORWARD:
            if not self.can_forward:
                return self.forwarding.no_leader()
            self.forwarding.start(session, [argv], TABLE.get(argv[0].upper()))
            return PENDING
        return reply

    def mark_dirty(self, session: Session) -> None:
        if not session.is_dirty:
            session.is_dirty = True
            self.dirty.append(session)

    def waits(self, session: Session) -> bool:
        """Whether a session waits for something to happen, here or at the leader, and is let go when its client leaves."""
        return session.id in self.parking.by_session or self.forwarding.blocks(session.id)

    def abandon(self, session: Session) -> None:
        """Stop what a session waits for, without an answer."""
        self.parking.release(session)
        session.waiting = 0
        session.input.clear()

    def cut_off(self, session: Session) -> None:
        """End a session's connection at once, whatever it waits for."""
        self.abandon(session)
        session.killed = True
        self.dropped.append(session)

    def serve_script(self, row: Row, argv: list[bytes]) -> Reply:
        """Run a session command that a script called (TIME, PING, INFO…)."""
        assert row.session_handler is not None
        caller = self.engine.context.caller
        self.script_session.user = None if caller is None else caller.user
        return row.session_handler(self, self.script_session, argv)

    # -- writing ------------------------------------------------------------------------------------------------

    def commit(
        self,
        session: Session | None,
        effects: Effects,
        reply: Reply,
        attributes: dict[str, Any] = NO_ATTRIBUTES,
    ) -> None:
        """Log what a unit changed, at the leader."""
        assert self.is_leader
        if session is not None and session.is_remote and reply is not PENDING:
            assert isinstance(session, RemoteSession)
            attributes = self.forwarding.attributes(session, reply) | attributes
        log = self.log
        if attributes:
            entry = log.append(self.now_ms, DATA, effects.commands, attributes)
            self.records.append(entry.record)
            self._remember(entry)
        else:
            self.records.append(log.write(self.now_ms, DATA, effects.commands, attributes))
        if session is not None:
            self.audience.begin(session)
        self._after(log.head_lsn, effects)
        self.audience.end()

    def apply(self, entry: Entry) -> None:
        """Replay an entry that the leader logged; the log has accepted it. Raises Divergence."""
        self.records.append(entry.record)
        if entry.time_ms > self.now_ms:
            self.now_ms = entry.time_ms
        if entry.kind == EPOCH:
            self.roles.note_epoch(entry.position.epoch)
            return
        if entry.commands:
            effects = self.engine.apply(entry.commands, entry.time_ms)
            outstanding = None
            if entry.attributes and self.forwarding.is_own(entry.attributes):
                self.audience.author = entry.attributes["s"]
                outstanding = self.forwarding.origin_of(entry.attributes)
            if outstanding is not None:
                index = entry.attributes["i"]
                self.audience.begin_answer(outstanding, index)
                if len(entry.commands) == 1 and effects.said and effects.said[0][0] <= MESSAGE:
                    kind, _, channel = effects.said[0]
                    outstanding.note_publish(index, self.pubsub.count(kind, channel))
                if outstanding.reads is not None:
                    outstanding.reads.own.append((index, entry.position.lsn))
            self._after(entry.position.lsn, effects)
            self.audience.end()
        if entry.attributes:
            self._remember(entry)

    def _remember(self, entry: Entry) -> None:
        self.answers.note(entry)
        self.retries.note(entry)

    def _after(self, lsn: int, effects: Effects) -> None:
        """What follows from a change, on every node alike."""
        if effects.flushed:
            self.changes.note_flush(lsn)
        if self.memory is not None:
            self.eviction.note(self.memory, effects)
        self.changes.note(effects.touched, lsn, self.now_ms, effects.unwatched)
        if self.tracking.readers or self.tracking.sessions:
            self.audience.tell_changes(effects)
        if effects.said:
            self.audience.tell_said(effects.said, lsn)
        if self.parking.by_key:
            if effects.flushed:
                self.touched.extend(self.parking.by_key)  # the group that a consumer waits for is gone
            self.touched.extend(effects.touched)
            self.woken = True

    def wake(self) -> None:
        """Try the sessions that are parked for keys which were touched."""
        while self.woken and not self.is_busy:
            self.woken = False
            touched, self.touched = self.touched, []
            for session, reply in self.parking.wake_keys(touched):
                self.answer(session, [reply])

    def covers(self, position: Position) -> bool:
        """Whether this node's state includes everything up to `position`."""
        head = self.log.head
        if position.epoch == head.epoch:
            return position.lsn <= head.lsn
        return position.lsn <= head.lsn and self.log.history.contains(position)

    def park_until_unsealed(self, session: Session, again: Callable[[], Reply]) -> Reply:
        """A write during a switchover: it runs here if that fails, at the new leader if it succeeds."""
        parked = Parked(
            session,
            lambda _: self._after_seal(session, again),
            self.local_ms + self.settings.forward_timeout_ms + self.settings.switchover_ms,
            lambda: CommandError("READONLY", "the leader is being changed; the write was not executed"),
            [],
            "seal",
        )
        self.parking.park(parked)
        return PENDING

    def _after_seal(self, session: Session, again: Callable[[], Reply]) -> Reply:
        if self.is_sealed or self.is_busy or not (self.is_leader or self.can_forward):
            return PENDING
        self.parking.release(session)
        return again()

    def run_remote_exec(self, remote: RemoteSession, commands: list[list[bytes]], watches: list[Watch]) -> None:
        """A transaction that another node's session queued."""
        if self.is_busy:
            self.scripts.wait_with_exec(remote, commands, watches)
            return
        reply = execute_queue(self, remote, commands, watches)
        if reply is PENDING:
            remote.waiting = 1
            return
        remote.served = self.log.head
        remote.reply(reply)
        if self.woken:
            self.wake()
        self.mark_dirty(remote)

    # -- peers --------------------------------------------------------------------------------------------------

    @property
    def leader_name(self) -> str:
        return self.roles.leader_name

    @property
    def can_forward(self) -> bool:
        return not self.is_leader and self.roles.forward_is_open

    @property
    def state_name(self) -> str:
        """streaming, syncing or disconnected; the leader is always streaming."""
        return "streaming" if self.is_leader else self.roles.follower.shown_state

    def send(self, peer: str, message: Message) -> None:
        self.messages.append((peer, message))

    def receive(self, peer: str, message: Message, now_ms: int) -> None:
        """A message of another node; `peer` names the stream it came on (a node we dialled, or an inbound stream)."""
        self.set_clock(now_ms)
        if self.is_busy and self.scripts.holds(peer, message):
            return
        if isinstance(message, Forward):
            self.forwarding.serve(peer, message)
        elif isinstance(message, Forwarded):
            self.forwarding.answered(message)
        elif isinstance(message, Cancel):
            self.forwarding.cancel(peer, message)
        else:
            self.roles.receive(peer, message)
            if self.is_busy:
                return
            if not self.is_leader:
                if self.read_refusal is not None:
                    self.read_refusal = self._read_refusal()
                self.forwarding.applied()
                self.wake_cause("position")
                if self.woken:
                    self.wake()
            else:
                self.wake_cause("acks")

    def follow_connected(self, peer: str, now_ms: int) -> None:
        """The stream on which this node follows `peer` is open."""
        self.set_clock(now_ms)
        self.roles.follow_connected(peer)

    def forward_connected(self, peer: str, now_ms: int) -> None:
        """The stream on which this node forwards to `peer` is open."""
        self.set_clock(now_ms)
        if peer == self.leader_name:
            self.roles.forward_is_open = True
            self.forwarding.connected()

    def forward_disconnected(self, peer: str, now_ms: int) -> None:
        self.set_clock(now_ms)
        if peer == self.leader_name:
            self.roles.forward_is_open = False

    def disconnected(self, peer: str, now_ms: int) -> None:
        """A follow stream, ours or another's, or an inbound forward stream has ended."""
        self.set_clock(now_ms)
        self.roles.disconnected(peer)
        self.forwarding.silent_peer(peer)

    def wake_cause(self, cause: str) -> None:
        if self.parking.by_cause.get(cause) and not self.is_busy:
            for session, reply in self.parking.wake_all(cause):
                self.answer(session, [reply])

    # -- time ---------------------------------------------------------------------------------------------------

    def set_clock(self, now_ms: int) -> None:
        """Learn this node's own time and derive leader time from it; neither ever goes back."""
        if now_ms > self.local_ms:
            self.local_ms = now_ms
        leader_ms = (
            self.local_ms + self.lead_offset_ms if self.is_leader else self.roles.follower.leader_now(self.local_ms)
        )
        if leader_ms > self.now_ms:
            self.now_ms = leader_ms

    def tick(self, now_ms: int) -> None:
        """Everything that happens because time passes; call it every 10 to 50 ms."""
        self.set_clock(now_ms)
        if not self.started_ms:
            self.started_ms = self.local_ms
        self.roles.tick()
        self.forwarding.tick()
        self.metrics.tick(self.local_ms)
        self.forwarding.drop_silent()
        self.scripts.go_on()
        if self.is_busy:
            return
        self.checks.tick()
        self.snapshots.tick()
        self.pause.tick()
        self.idleness.tick()
        self.client_memory.tick()
        if not self.pause.until_ms:
            self.eviction.tick()
        self.sweeping.run()
        for session, reply in self.parking.expire(self.local_ms):
            if reply is not PENDING:
                self.answer(session, [reply])
        for cause in ("seal", "snapshot", "pause", "populate"):
            self.wake_cause(cause)
        self.migrations.settle()
        self.read_refusal = self._read_refusal()

    def go_on(self, now_ms: int) -> None:
        """Let what gave way to others run for another while: the script that has paused, the sweep."""
        self.set_clock(now_ms)
        self.scripts.go_on()
        if self.sweeping.has_more and not self.is_busy:
            self.sweeping.run()

    def _read_refusal(self) -> CommandError | None:
        if self.is_leader:
            return None
        if not self.roles.has_data:
            return LOADING
        limit = self.settings.max_staleness_ms
        if limit and self.staleness_ms > limit:
            return TOO_STALE
        return None

    @property
    def staleness_ms(self) -> int:
        """Age of the newest state this node is known to hold completely; 0 on the leader."""
        return 0 if self.is_leader else self.roles.follower.staleness_ms(self.local_ms)

    # -- the outbox and the release gate ------------------------------------------------------------------------

    def take_outbox(self) -> Outbox:
        """What this turn produced; empty fields when nothing did."""
        if self.forwarding.own_answers:
            self.forwarding.deliver_own()
        if self.pause.is_over:
            self.pause.wake()
        if self.tracking.pending:
            self.tracking.tell_followers()
        self.metrics.n_turns += 1
        outbox = Outbox()
        outbox.records = self.records
        if self.records:
            self.records = []
        head_lsn = self.log.head.lsn
        always = self.settings.fsync == "always" or self.sync_is_slow
        required = 0
        if self.is_leader:
            required = head_lsn if always else self.must_be_durable
            for peer, message in self.roles.advance_feeds(self.durable_lsn if always else head_lsn):
                self.messages.append((peer, message))
        else:
            for peer, message in self.roles.advance_feeds(head_lsn):
                self.messages.append((peer, message))
        if self.dirty:
            is_open = required <= self.durable_lsn and not self.gate  # what would go in would come out at once
            dirty, self.dirty = self.dirty, []
            for session in dirty:
                session.is_dirty = False
                output: Any
                if session.is_remote:
                    assert isinstance(session, RemoteSession)
                    output = self.forwarding.take_answer(session)
                else:
                    output = session.take_output()
                if output is None:
                    continue
                if is_open and not session.is_remote:
                    outbox.released.append((session, output))
                else:
                    self.gate.append((required, session, output))
        self._release(outbox)
        if self.dropped:
            outbox.released.extend((session, None) for session in self.dropped)
            self.dropped = []
        if self.messages:
            outbox.messages = self.messages
            self.messages = []
        if self.asks:
            outbox.asks = self.asks
            self.asks = []
        if self.migrations.wanted:
            outbox.migrations = self.migrations.take()
        if self.hang_ups:
            outbox.hang_ups = self.hang_ups
            self.hang_ups = []
        if self.wants_snapshot_finished:
            outbox.finish_snapshot = True
            self.wants_snapshot_finished = False
        outbox.is_busy = self.is_busy
        outbox.has_expired = self.sweeping.has_more
        outbox.has_more = self.roles.have_more() or bool(self.forwarding.own_answers)
        wanted = head_lsn if always else required
        if wanted > self.durable_lsn and wanted > self.sync_wanted:
            self.sync_wanted = wanted
            outbox.must_sync = True
        return outbox

    def persisted(self, lsn: int) -> None:
        """A sync up to `lsn` has ended; call `take_outbox` afterwards.

        What it covered may be gone by now: after a rewind other entries stand at its LSNs.
        """
        lsn = min(lsn, self.storage.durable_lsn)
        if lsn > self.durable_lsn:
            self.durable_lsn = lsn
            self.roles.durable(lsn)
            self.wake_cause("acks")

    def storage_failed(self, reason: str) -> None:
        """The log could not be written: writes are refused. What is not on disk has not been answered."""
        self.write_refusal = MISCONF
        self.gate.clear()
        self.events.note(self.now_ms, "storage-failed", reason, "error")

    def note_free_disk(self, is_enough: bool) -> None:
        """Refuse writes while the disk is nearly full, and take them again by itself."""
        if not is_enough and self.write_refusal is None:
            self.write_refusal = DISK_FULL
            self.events.note(self.now_ms, "disk-full", "writes are refused until there is room again", "error")
        elif is_enough and self.write_refusal is DISK_FULL:
            self.write_refusal = None
            self.events.note(self.now_ms, "disk-free", "writes are accepted again")

    def _release(self, outbox: Outbox) -> None:
        gate = self.gate
        while gate and gate[0][0] <= self.durable_lsn:
            _, session, output = gate.popleft()
            if session.is_remote:
                assert isinstance(session, RemoteSession)
                if session.peer == OWN:
                    self.forwarding.own_answers.append((session, output))
                else:
                    self.messages.append((session.peer, output))
            else:
                outbox.released.append((session, output))

    # -- whole state --------------------------------------------------------------------------------------------

    def restore(self, recovered: Recovered) -> None:
        """Take over what storage holds: the newest snapshot, then the log behind it."""
        self.parameters.restore_own(self.storage.load_state().get("parameters", {}))
        self.snapshots.restore(recovered)

    def remember(self, changes: dict[str, Any]) -> None:
        """Keep something on this node's own disk, durably and at once, beside what is kept there already."""
        state = dict(self.storage.load_state())
        state.update(changes)
        self.storage.save_state(state)

    def reset(self) -> None:
        """Forget all data, before a restore."""
        assert not self.is_busy
        self.engine.take_keyspace(Keyspace())
        self.log.reset(START, 0, History())
        self.changes.reset(0)
        load_system_tables(self, {})
        self.durable_lsn = 0

    def spoil_reads(self) -> None:
        """The state went another way: no session's transaction or cache may rest on what it read before."""
        self.tracking.note_flush()
        for session in self.sessions.values():
            for watch in session.watches.values():
                watch.position = NEVER

    def drop_gate(self) -> None:
        """Answers that are not out yet never go out: their clients lose the connection, the only honest answer."""
        for _, session, _ in self.gate:
            session.killed = True
            if not session.is_remote:
                self.dropped.append(session)
        self.gate.clear()

    def digest(self) -> str:
        """Equal positions mean equal digests: keyspace (hidden keys included) and system tables."""
        return digest(self.engine.keyspace, system_tables(self))

    def status(self) -> dict[str, Any]:
        """What the admin port, the CLI and other nodes are told."""
        return self.roles.status()


def _none() -> int:
    return 0


def _cannot_stop(at_once: bool) -> None:
    pass


def _never(stream: str) -> bool:
    return False


def _no_cpu() -> tuple[float, float]:
    return 0.0, 0.0
