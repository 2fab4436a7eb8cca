"""Follower: a node's own side of replication, from asking for the log to applying it.

    SEEKING ──Resume or a fitting entry──▶ STREAMING ──gap, silence, refusal──▶ SEEKING
       └──SnapshotBegin──▶ LOADING ──last chunk──▶ STREAMING

Rules that make loss, repeat and reorder harmless: an entry at or below the head of our history is skipped if its CRC is the
same; a gap, an unknown epoch or a broken chain makes the follower subscribe again from what it has; and only progress
counts as life: a heartbeat that names a head beyond ours keeps nothing alive, or a lost Subscribe would go unnoticed for ever.

Time: the leader's clock is learned from heartbeats (their time + half the smallest round trip), so a replica judges
deadlines and staleness by leader time, and goes on counting when the link is cut.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final

from upstash_global.errors import Gap, SnapshotError
from upstash_global.replication.codec import STREAM, Entry, decode_records
from upstash_global.replication.host import untold
from upstash_global.replication.lag import DISCONNECTED, STREAMING, SYNCING, Lag, staleness_ms
from upstash_global.replication.log import Divergence, ReplicationLog
from upstash_global.replication.messages import (
    DIVERGED,
    OLD_EPOCH,
    PROTOCOL_VERSION,
    REPLICA,
    Ack,
    Check,
    Entries,
    Heartbeat,
    Message,
    Refused,
    Resume,
    SnapshotBegin,
    SnapshotChunk,
    Subscribe,
)
from upstash_global.replication.position import START, History, Position
from upstash_global.replication.snapshot import Loaded, SnapshotLoader
from upstash_global.replication.storage import Storage

if TYPE_CHECKING:
    from random import Random


MISMATCH_PAUSE_MS: Final = 600_000
ANOTHER_STATE: Final = "another state at the same position"


class FollowerState(Enum):
    SEEKING = "seeking"  # asks, and asks again
    LOADING = "loading"  # receives a snapshot
    STREAMING = "streaming"


_SHOWN = {
    FollowerState.SEEKING: DISCONNECTED,
    FollowerState.LOADING: SYNCING,
    FollowerState.STREAMING: STREAMING,
}


class Identity:
    """Who subscribes, and what for."""

    def __init__(
        self, cluster: str, node: str, region: str, boot_id: str, purpose: str = REPLICA, software: str = ""
    ) -> None:
        self.cluster = cluster
        self.node = node
        self.region = region
        self.boot_id = boot_id
        self.purpose = purpose
        self.software = software


class FollowerLimits:
    def __init__(
        self, silence_ms: int = 5000, ack_ms: int = 100, backoff_min_ms: int = 100, backoff_max_ms: int = 5000
    ) -> None:
        self.silence_ms = silence_ms
        self.ack_ms = ack_ms
        self.backoff_min_ms = backoff_min_ms
        self.backoff_max_ms = backoff_max_ms


class LeaderClock:
    """Leader time, estimated from heartbeats: of the last samples the one with the shortest round trip counts."""

    def __init__(self) -> None:
        self.samples: deque[tuple[int, int]] = deque(maxlen=64)  # (round trip, leader time − our time)
        self.difference = 0
        self.shown_ms = 0  # never goes back
        self.rtt_ms: int | None = None

    def note(self, leader_ms: int, rtt_ms: int | None, now_ms: int) -> None:
        """A heartbeat that was sent at `leader_ms` has arrived; the round trip is None if it is not known."""
        if rtt_ms is not None:
            self.rtt_ms = rtt_ms
            self.samples.append((rtt_ms, leader_ms + rtt_ms // 2 - now_ms))
            self.difference = min(self.samples, key=_round_trip)[1]
        elif not self.samples:
            self.difference = leader_ms - now_ms

    def now(self, now_ms: int) -> int:
        self.shown_ms = max(self.shown_ms, now_ms + self.difference)
        return self.shown_ms


def _not_compared(check: Check) -> str:
    """Whoever keeps no data has nothing to compare."""
    return ""


def _round_trip(sample: tuple[int, int]) -> int:
    return sample[0]


class Follower:
    def __init__(
        self,
        log: ReplicationLog,
        apply: Callable[[Entry], None],
        install: Callable[[Loaded | None], None],
        identity: Identity,
        storage: Storage | None,
        random: "Random",
        now_ms: int,
        limits: FollowerLimits,
    ) -> None:
        """`apply` replays one entry and may raise Divergence. `install` swaps the keyspace for a loaded snapshot, after
        the log was reset to it; None tells a follower without data that its position jumped. A follower that keeps no
        data has no storage.
        """
        self.log = log  # its head is what is applied
        self.apply = apply
        self.install = install
        self.identity = identity
        self.storage = storage
        self.random = random
        self.limits = limits
        self.tell: Callable[[str, str, str], None] = untold  # name, text and level of what is notable
        self.compare: Callable[[Check], str] = _not_compared  # how the state differs from what a Check says, or ""
        self.state = FollowerState.SEEKING
        self.epoch_seen = log.epoch  # messages of a lower epoch are refused; the node keeps it durable
        self.leader = ""  # as the last heartbeat said
        self.leader_history: History | None = None  # as of the last Resume or snapshot
        self.refusal = ""  # why the last Subscribe was refused
        self.broken = False  # the state is not the leader's: nothing but a full resync helps
        self.broken_by = ""  # what was found, the last time
        self.rewind_to: int | None = None  # the node must go back to this LSN, then say `rewound`

        self.progress_ms = now_ms  # the last progress: only that counts as life
        self.next_try_ms = now_ms  # of the next Subscribe, while seeking
        self.backoff_ms = limits.backoff_min_ms
        self.acked_ms = 0
        self.acked_lsn = -1
        self.acked_durable_lsn = -1
        self.durable_lsn = 0  # set by the node
        self.read_keys: list[bytes] = []  # set by the node: a sample that goes with the next Ack

        self.clock = LeaderClock()
        self.peer_sent_ms = 0  # the leader's clock in its last heartbeat
        self.known_head = log.head
        self.known_bytes = log.head_bytes
        self.complete_ms = log.head_time_ms  # leader time up to which everything is applied; only grows
        self.completes: tuple[Position, int] | None = None  # this position, once applied, is complete up to that time
        self.lag = Lag()

        self.check: Check | None = None  # of a position that is still to come
        self.n_checks = 0  # compared
        self.n_mismatches = 0
        self.mismatch_ms = 0  # when one last led to a full resync

        self.begun: SnapshotBegin | None = None  # the transfer that runs or was interrupted
        self.loader = SnapshotLoader()
        self.received_bytes = 0

        self.n_partial = 0
        self.n_full = 0
        self.n_failed_loads = 0
        self.n_divergences = 0
        self.resync_reason = ""  # of the last full resync, as the leader told it
        self.resync_bytes = 0  # that it took
        self.n_set_aside = 0  # entries moved to a file because a snapshot of another history came
        self.set_aside_in = ""

    # -- what the node reads ------------------------------------------------------------------------------------

    @property
    def shown_state(self) -> str:
        """`streaming`, `syncing` or `disconnected`."""
        return _SHOWN[self.state]

    @property
    def rtt_ms(self) -> int | None:
        return self.clock.rtt_ms

    @property
    def lag_entries(self) -> int:
        return max(0, self.known_head.lsn - self.log.head.lsn)

    @property
    def lag_bytes(self) -> int:
        return max(0, self.known_bytes - self.log.head_bytes) if self.lag_entries else 0

    def lag_ms(self, now_ms: int) -> int:
        return self.lag.ms(now_ms)

    def leader_now(self, now_ms: int) -> int:
        return self.clock.now(now_ms)

    def staleness_ms(self, now_ms: int) -> int:
        return staleness_ms(self.clock.now(now_ms), self.complete_ms)

    # -- what happens -------------------------------------------------------------------------------------------

    def receive(self, message: Message, now_ms: int) -> list[Message]:
        if isinstance(message, Refused):
            return self._receive_refused(message, now_ms)
        if not isinstance(message, (Entries, Heartbeat, Check, Resume, SnapshotBegin, SnapshotChunk)):
            return []
        if message.epoch < self.epoch_seen:
            return [Refused("a higher epoch has begun", OLD_EPOCH, epoch=self.epoch_seen)]
        self.epoch_seen = message.epoch
        if isinstance(message, Entries):
            return self._receive_entries(message, now_ms)
        if isinstance(message, Heartbeat):
            return self._receive_heartbeat(message, now_ms)
        if isinstance(message, Check):
            return self._receive_check(message, now_ms)
        if isinstance(message, SnapshotChunk):
            return self._receive_chunk(message, now_ms)
        if isinstance(message, SnapshotBegin):
            return self._receive_begin(message, now_ms)
        return self._receive_resume(message, now_ms)

    def tick(self, now_ms: int) -> list[Message]:
        lag = self.lag
        lag.sample(now_ms, self.lag_entries, self.lag_bytes, self.staleness_ms(now_ms), self.shown_state)
        if self.state is not FollowerState.SEEKING:
            if now_ms - self.progress_ms > self.limits.silence_ms:
                return self._seek(now_ms)
            has_news = self.acked_lsn != self.log.head.lsn or self.acked_durable_lsn != self.durable_lsn
            if has_news and now_ms - self.acked_ms >= self.limits.ack_ms:
                return [self.ack(now_ms)]
            return []
        if self.rewind_to is None and now_ms >= self.next_try_ms:
            return [self._subscribe(now_ms)]
        return []

    def connected(self, now_ms: int) -> list[Message]:
        """There is a new stream to a node: ask at once."""
        self.state = FollowerState.SEEKING
        self.backoff_ms = self.limits.backoff_min_ms
        self.refusal = ""
        self.peer_sent_ms = 0
        return [self._subscribe(now_ms)] if self.rewind_to is None else []

    def disconnected(self, now_ms: int) -> None:
        """The stream has ended; `connected` follows when there is another."""
        self.state = FollowerState.SEEKING

    def rewound(self, now_ms: int) -> list[Message]:
        """The node has gone back (or could not, and is `broken`): ask again."""
        self.rewind_to = None
        self.backoff_ms = self.limits.backoff_min_ms
        return [self._subscribe(now_ms)]

    def ack(self, now_ms: int, echo_ms: int = 0) -> Ack:
        """Where this follower is; the node also calls it when its disk has become durable further on."""
        head = self.log.head
        self.acked_ms = now_ms
        self.acked_lsn = head.lsn
        self.acked_durable_lsn = self.durable_lsn
        read_keys, self.read_keys = self.read_keys, []
        return Ack(
            self.epoch_seen,
            head.lsn,
            START if self.broken else head,
            0 if self.broken else min(self.durable_lsn, head.lsn),
            echo_ms,
            now_ms,
            self.log.head_bytes,
            self.lag.ms(now_ms),
            self.staleness_ms(now_ms),
            self.received_bytes,
            read_keys,
        )

    # -- asking -------------------------------------------------------------------------------------------------

    def _subscribe(self, now_ms: int) -> Subscribe:
        """Ask from what we have, and again after a while that doubles up to its bound."""
        self.next_try_ms = now_ms + int(self.backoff_ms * (0.5 + self.random.random()))
        self.backoff_ms = min(2 * self.backoff_ms, self.limits.backoff_max_ms)
        me = self.identity
        begun = self.begun
        return Subscribe(
            me.cluster,
            me.node,
            me.region,
            me.boot_id,
            PROTOCOL_VERSION,
            STREAM,
            self.log.head,
            self.log.head_crc,
            me.purpose,
            self.epoch_seen,
            self.broken,
            begun.name if begun is not None else "",
            self.received_bytes if begun is not None else 0,
            self.broken_by if self.broken else "",
            me.software,
        )

    def _seek(self, now_ms: int) -> list[Message]:
        """What came does not fit what we have. Asks at once, but not more often than the backoff allows."""
        self.state = FollowerState.SEEKING
        if now_ms < self.next_try_ms or self.rewind_to is not None:
            return []
        return [self._subscribe(now_ms)]

    def _progress(self, now_ms: int) -> None:
        self.progress_ms = now_ms
        self.backoff_ms = self.limits.backoff_min_ms
        self.refusal = ""

    def _receive_refused(self, message: Refused, now_ms: int) -> list[Message]:
        self.refusal = message.reason
        self.state = FollowerState.SEEKING
        if message.code == OLD_EPOCH:
            self.epoch_seen = max(self.epoch_seen, message.epoch)
        elif message.code == DIVERGED and message.epoch >= self.epoch_seen and not self.broken:
            self.rewind_to = self.log.history.fork_from(History.from_plain(message.history))
        return []

    def _receive_resume(self, message: Resume, now_ms: int) -> list[Message]:
        if self.state is not FollowerState.SEEKING or self.broken and not message.reset:
            return []
        history = History.from_plain(message.history)
        if message.reset:
            self._abort_transfer()
            self.log.reset(message.position, message.crc, history.copy())
            self.log.history.truncate(message.position.lsn, history.head_bytes)
            self.broken = False
            self.install(None)
        elif message.position != self.log.head:
            return []  # an answer to an earlier question
        self.leader_history = history
        self.n_partial += 1
        self._abort_transfer()
        self.state = FollowerState.STREAMING
        self._progress(now_ms)
        return [self.ack(now_ms)]

    # -- streaming ----------------------------------------------------------------------------------------------

    def _receive_entries(self, message: Entries, now_ms: int) -> list[Message]:
        if self.broken or self.state is FollowerState.LOADING or self.rewind_to is not None:
            return []
        entries, _, problem = decode_records(message.records)
        if problem is not None:
            return self._seek(now_ms)
        log = self.log
        oldest_ms = -1
        for entry in entries:
            position = entry.position
            if position.lsn <= log.head.lsn:
                if not log.contains(position):
                    return self._seek(now_ms)  # of another history: the answer to Subscribe says where it forks
                known_crc = log.crc_at(position.lsn)
                if known_crc is not None and known_crc != entry.crc:
                    return self._break("another entry at the same position", position, now_ms)
                continue
            try:
                log.accept(entry)
            except (Gap, Divergence):
                return self._seek(now_ms)  # if the pasts differ, the CRC in Subscribe will show it
            try:
                self.apply(entry)
            except Divergence as failure:
                return self._break(f"an entry could not be applied: {failure}", position, now_ms)
            if oldest_ms < 0:
                oldest_ms = entry.time_ms
            self.complete_ms = max(self.complete_ms, entry.time_ms)
            check = self.check
            if check is not None and position.lsn >= check.position.lsn:
                self.check = None
                if position == check.position and not self._holds(check, now_ms):
                    return self._break(ANOTHER_STATE, position, now_ms)
        if oldest_ms >= 0:
            self.lag.note(self.leader_now(now_ms) - oldest_ms, now_ms)
            self._note_complete()
            self._abort_transfer()
            self.state = FollowerState.STREAMING
            self._progress(now_ms)
        if log.head.lsn >= self.known_head.lsn:
            self.known_head = log.head
            self.known_bytes = log.head_bytes
        return [self.ack(now_ms)]

    def _break(self, why: str, position: Position, now_ms: int) -> list[Message]:
        """Our state is not the leader's: never skip, ask for all of it. What we have is served meanwhile."""
        self.broken = True
        self.broken_by = why
        self.n_divergences += 1
        self.tell("divergence", f"at {position}: {why}", "error")
        return self._seek(now_ms)

    def _receive_check(self, message: Check, now_ms: int) -> list[Message]:
        if self.broken or self.state is not FollowerState.STREAMING:
            return []
        if message.position.lsn > self.log.head.lsn:
            self.check = message
        elif message.position == self.log.head and not self._holds(message, now_ms):
            return self._break(ANOTHER_STATE, message.position, now_ms)
        return []  # one that comes too late is not missed: others follow

    def _holds(self, check: Check, now_ms: int) -> bool:
        """Whether our state is the leader's, as far as the check goes, or is to be kept although it is not.

        If it is not, that is an alarm each time. But a full resync which has not helped is not tried again for a while.
        """
        self.n_checks += 1
        difference = self.compare(check)
        if not difference:
            return True
        self.n_mismatches += 1
        self.tell("digest-mismatch", f"at {check.position}: {difference}", "error")
        if self.mismatch_ms and now_ms - self.mismatch_ms < MISMATCH_PAUSE_MS:
            return True
        self.mismatch_ms = now_ms
        return False

    def _receive_heartbeat(self, message: Heartbeat, now_ms: int) -> list[Message]:
        rtt_ms = max(0, now_ms - message.echo_ms) if message.echo_ms else None
        self.clock.note(message.time_ms, rtt_ms, now_ms)
        self.peer_sent_ms = message.sent_ms
        self.leader = message.leader
        head = message.head
        if self.log.contains(head):
            self.complete_ms = max(self.complete_ms, message.complete_ms)
            if self.state is FollowerState.STREAMING:
                self.progress_ms = now_ms
        elif self.completes is None and head.lsn > self.log.head.lsn:
            self.completes = (head, message.complete_ms)
        if head.lsn >= self.known_head.lsn or head.epoch > self.known_head.epoch:
            self.known_head = head
            self.known_bytes = message.head_bytes
        return [self.ack(now_ms, message.sent_ms)]

    def _note_complete(self) -> None:
        """If what a heartbeat named is applied by now, everything up to its time is here."""
        if self.completes is None:
            return
        position, complete_ms = self.completes
        if position.lsn <= self.log.head.lsn:
            if self.log.contains(position):
                self.complete_ms = max(self.complete_ms, complete_ms)
            self.completes = None

    # -- snapshots ----------------------------------------------------------------------------------------------

    def _receive_begin(self, message: SnapshotBegin, now_ms: int) -> list[Message]:
        if self.state is FollowerState.STREAMING and not self.broken:
            return self._seek(now_ms)  # the answer to an earlier question: what it offers may be here by now
        begun = self.begun
        goes_on = begun is not None and begun.name == message.name and begun.position == message.position
        if not goes_on or message.offset > self.received_bytes:
            if message.offset:
                self._abort_transfer()
                return self._seek(now_ms)
            self._abort_transfer()
            self.begun = message
            if self.storage is not None:
                self.storage.receive_snapshot_begin(message.position)
        self.state = FollowerState.LOADING
        self._progress(now_ms)
        return []

    def _receive_chunk(self, message: SnapshotChunk, now_ms: int) -> list[Message]:
        if self.begun is None or message.offset > self.received_bytes:
            return self._seek(now_ms) if self.state is FollowerState.LOADING else []
        data = message.data[self.received_bytes - message.offset :]
        if not data:
            return [self.ack(now_ms)]  # a repeat
        try:
            self.loader.feed(data)
            if self.storage is not None:
                self.storage.receive_snapshot_write(data)
            self.received_bytes += len(data)
            self.state = FollowerState.LOADING
            self._progress(now_ms)
            if message.last:
                self._install(self.loader.finish(), now_ms)
        except SnapshotError:
            self.n_failed_loads += 1
            self._abort_transfer()
            return self._seek(now_ms)
        return [self.ack(now_ms)]

    def _install(self, loaded: Loaded, now_ms: int) -> None:
        """The snapshot is whole: from here on it is our state, on disk and in memory."""
        log, storage = self.log, self.storage
        if storage is not None:
            assert self.begun is not None
            fork_lsn = log.history.fork_from(History.from_plain(self.begun.history))
            if self.broken:  # where it went wrong is not known: keep all that the snapshot does not cover
                fork_lsn = loaded.position.lsn
            if fork_lsn is not None and fork_lsn < log.head.lsn:
                count, name = storage.set_aside(fork_lsn + 1)
                self.n_set_aside += count
                self.set_aside_in = name or self.set_aside_in
            storage.receive_snapshot_finish()
            storage.reset_log(loaded.position)
            self.resync_reason = self.begun.reason
            self.resync_bytes = self.received_bytes
        log.reset(loaded.position, loaded.crc, loaded.history, loaded.time_ms)
        self.begun = None
        self._abort_transfer()
        self.broken = False
        self.rewind_to = None
        self.install(loaded)
        self.n_full += 1
        self.leader_history = loaded.history
        self.durable_lsn = loaded.position.lsn
        self.complete_ms = max(self.complete_ms, loaded.time_ms)
        self.state = FollowerState.STREAMING
        self._progress(now_ms)

    def _abort_transfer(self) -> None:
        if self.begun is not None and self.storage is not None:
            self.storage.receive_snapshot_abort()
        self.begun = None
        self.received_bytes = 0
        self.loader = SnapshotLoader()
