"""Feed: one node's view of one follower, and what to send it next.

    SILENT ──Subscribe──▶ STREAMING ◀──snapshot applied── SNAPSHOT
                 └──────────the log does not reach───────────▲

A follower resumes if its position lies on our history with the same CRC and every later entry is still there: in the
backlog, or in the log's files. Otherwise it gets a snapshot, or is told to rewind to the fork point. A feed sends nothing
above the limit it is given (under fsync=always the durable head) and keeps a bounded number of bytes unacknowledged, so a
slow follower costs the node neither memory nor time.
"""

from collections import deque
from enum import Enum
from typing import Final

from upstash_global.replication.codec import STREAM
from upstash_global.replication.host import Host
from upstash_global.replication.log import ReplicationLog
from upstash_global.replication.messages import (
    AHEAD,
    BUSY,
    DIVERGED,
    OLD_EPOCH,
    PROTOCOL_VERSION,
    REPLICA,
    WRONG_CLUSTER,
    WRONG_VERSION,
    Ack,
    Entries,
    Heartbeat,
    Message,
    Refused,
    Resume,
    SnapshotBegin,
    SnapshotChunk,
    Subscribe,
)
from upstash_global.replication.position import START, Position
from upstash_global.replication.storage import SnapshotInfo, Storage, StorageError

ANOTHER_ENTRY: Final = "another entry at the same position"


class FeedState(Enum):
    SILENT = "silent"  # waits for a Subscribe
    SNAPSHOT = "snapshot"  # sends a snapshot, or waits until there is one
    STREAMING = "streaming"


class FeedLimits:
    def __init__(
        self,
        heartbeat_ms: int = 100,
        silence_ms: int = 5000,
        unacked_bytes: int = 8 << 20,
        frame_bytes: int = 256 << 10,
        frame_entries: int = 4096,
        chunk_bytes: int = 256 << 10,
        chunks_unacked_bytes: int = 4 << 20,
    ) -> None:
        self.heartbeat_ms = heartbeat_ms
        self.silence_ms = silence_ms
        self.unacked_bytes = unacked_bytes
        self.frame_bytes = frame_bytes
        self.frame_entries = frame_entries
        self.chunk_bytes = chunk_bytes
        self.chunks_unacked_bytes = chunks_unacked_bytes


class Feed:
    def __init__(
        self, peer: str, log: ReplicationLog, storage: Storage, now_ms: int, limits: FeedLimits, host: Host
    ) -> None:
        self.peer = peer
        self.log = log
        self.storage = storage
        self.limits = limits
        self.host = host
        self.state = FeedState.SILENT
        self.closed = False  # the shell ends the stream
        self.purpose = REPLICA
        self.name = peer  # of the node that follows, once it has said so
        self.region = ""
        self.boot_id = ""
        self.software = ""
        self.epoch_seen = 0  # the highest one the follower named; above ours we are superseded
        self.heard_ms = now_ms
        self.heartbeat_ms = 0  # when the last one was sent

        self.limit_lsn = min(log.head.lsn, storage.durable_lsn)  # nothing above it is sent
        self.sent_lsn = 0
        self.frames: deque[tuple[int, int]] = deque()  # (last LSN, bytes) of frames not yet acknowledged
        self.unacked_bytes = 0

        self.acked = START  # applied by the follower, and on our history
        self.acked_bytes = 0
        self.received_lsn = 0
        self.durable_lsn = 0
        self.peer_lag_ms = 0  # as the follower measures it
        self.peer_staleness_ms = 0
        self.read_keys: list[bytes] = []  # sampled by the follower since the node last took them
        self.rtt_ms: int | None = None
        self.peer_sent_ms = 0  # the follower's clock in its last message,
        self.peer_heard_ms = 0  # and when that arrived here

        self.transfer: SnapshotInfo | None = None
        self.transfer_start = 0
        self.transfer_sent = 0
        self.transfer_acked = 0
        self.asked_lsn = 0  # what the follower had of our history when it asked for what became the transfer
        self.wants_snapshot = False  # the node should take one

        self.n_partial = 0
        self.n_full = 0
        self.n_divergences = 0  # positions on our history with another CRC
        self.resync_reason = ""  # of the last full resync

    # -- what the node reads ------------------------------------------------------------------------------------

    @property
    def is_replica(self) -> bool:
        return self.purpose == REPLICA

    @property
    def lag_entries(self) -> int:
        return max(0, self.log.head.lsn - self.acked.lsn)

    @property
    def lag_bytes(self) -> int:
        return max(0, self.log.head_bytes - self.acked_bytes) if self.lag_entries else 0

    def silence_ms(self, now_ms: int) -> int | None:
        """The time since the last ack; None before the first."""
        return max(0, now_ms - self.peer_heard_ms) if self.peer_heard_ms else None

    def staleness_ms(self, now_ms: int) -> int | None:
        """What the follower said, and the time since: the most it can be. None before the first ack."""
        return self.peer_staleness_ms + max(0, now_ms - self.peer_heard_ms) if self.peer_heard_ms else None

    @property
    def has_more(self) -> bool:
        """Whether `advance` would send something at once."""
        if self.state is FeedState.SNAPSHOT:
            transfer = self.transfer
            return transfer is not None and self.transfer_sent < transfer.size and self._transfer_may_go_on()
        return (
            self.state is FeedState.STREAMING
            and self.sent_lsn < self.limit_lsn
            and self.unacked_bytes < self.limits.unacked_bytes
        )

    # -- what happens -------------------------------------------------------------------------------------------

    def receive(self, message: Message, now_ms: int) -> list[Message]:
        if self.closed:
            return []
        self.heard_ms = now_ms
        if isinstance(message, Ack):
            return self._receive_ack(message, now_ms)
        if isinstance(message, Subscribe):
            return self._receive_subscribe(message, now_ms)
        if isinstance(message, Refused):
            self.epoch_seen = max(self.epoch_seen, message.epoch)
        return []

    def advance(self, limit_lsn: int, now_ms: int) -> list[Message]:
        """What may be sent now: one frame of entries, or chunks of a snapshot up to the window. [] when there is none."""
        self.limit_lsn = limit_lsn
        if self.state is FeedState.STREAMING:
            return self._send_entries(now_ms)
        if self.state is FeedState.SNAPSHOT:
            if self.transfer is None:
                return self._begin_transfer("", 0, now_ms)
            return self._send_chunks(now_ms)
        return []

    def tick(self, now_ms: int) -> list[Message]:
        if self.closed:
            return []
        if now_ms - self.heard_ms > self.limits.silence_ms:
            self.close(now_ms)
            return []
        if self.state is FeedState.SILENT or now_ms - self.heartbeat_ms < self.limits.heartbeat_ms:
            return []
        self.heartbeat_ms = now_ms
        return [self._heartbeat(now_ms)]

    def close(self, now_ms: int) -> None:
        """The stream has ended, or shall."""
        self._end_transfer(False, now_ms)
        self.state = FeedState.SILENT
        self.closed = True

    # -- subscribing --------------------------------------------------------------------------------------------

    def _receive_subscribe(self, message: Subscribe, now_ms: int) -> list[Message]:
        self.epoch_seen = max(self.epoch_seen, message.epoch)
        self.purpose = message.purpose
        self.name = message.node
        self.region = message.region
        self.boot_id = message.boot_id
        self.software = message.software
        refusal = self._refusal(message)
        if refusal is not None:
            self._fall_silent(now_ms)
            return [refusal]
        position = message.position
        if message.full:
            return self._resync(message.reason or "the follower asked for it", message, now_ms)
        if self.log.contains(position):
            crc = self._crc_at(position.lsn)
            if crc is None:
                return self._resync("the log does not reach back", message, now_ms)
            if crc != message.crc:
                return self._resync(ANOTHER_ENTRY, message, now_ms)
            return self._resume(position, crc, now_ms)
        fork_lsn = self.log.history.fork_point(position.epoch)
        if position.epoch > self.log.epoch or (position.epoch == self.log.epoch and position.lsn > self.log.head.lsn):
            self._fall_silent(now_ms)
            return [self._refused("the position is ahead of this node", AHEAD)]
        if fork_lsn is not None and position.lsn > fork_lsn and self.is_replica:
            self._fall_silent(now_ms)
            self.host.resyncs.n_denied += 1
            return [self._refused("the position is above the fork point", DIVERGED, fork_lsn)]
        return self._resync("the position is on another history", message, now_ms)

    def _refusal(self, message: Subscribe) -> Refused | None:
        host = self.host
        if message.cluster != host.cluster:
            return self._refused(f"this is cluster {host.cluster}, not {message.cluster}", WRONG_CLUSTER)
        if message.version != PROTOCOL_VERSION or message.stream != STREAM:
            return self._refused(f"protocol {PROTOCOL_VERSION}, stream {STREAM} are spoken here", WRONG_VERSION)
        if message.epoch > host.epoch:
            return self._refused("this node's epoch is over", OLD_EPOCH)
        return None

    def _refused(self, reason: str, code: str, lsn: int = -1) -> Refused:
        epoch = max(self.host.epoch, self.epoch_seen)
        return Refused(reason, code, lsn, epoch, self.log.history.to_plain(), self.host.leader)

    def _resume(self, position: Position, crc: int, now_ms: int, reset: bool = False) -> list[Message]:
        self._stream_from(position.lsn, now_ms)
        self.n_partial += 1
        if self.is_replica:
            self.host.resyncs.n_partial += 1
            n_missed = self.log.head.lsn - position.lsn
            self.host.tell("partial-resync", f"{self.name} goes on from {position}: {n_missed} entries", "info")
        return [Resume(self.host.epoch, position, self.log.history.to_plain(), crc, reset)]

    def _resync(self, reason: str, message: Subscribe, now_ms: int) -> list[Message]:
        """The follower cannot go on from where it is: a snapshot, or for one that keeps no data a new start."""
        if not self.is_replica:
            return self._start_anew(now_ms)
        if not self.host.full_syncs.begin(self.peer, self.name, now_ms):
            self._fall_silent(now_ms)
            return [self._refused("no full resync can be given now", BUSY)]
        self._release_pin()
        resyncs = self.host.resyncs
        if message.position.lsn and not message.full:
            resyncs.n_denied += 1
        if reason == ANOTHER_ENTRY:
            self.n_divergences += 1
            resyncs.n_divergences += 1
            self.host.tell("divergence", f"{self.name} has another entry at {message.position}", "error")
        self.state = FeedState.SNAPSHOT
        self.asked_lsn = message.position.lsn if self.log.contains(message.position) else 0
        self.resync_reason = reason
        return self._begin_transfer(message.snapshot, message.offset, now_ms)

    def _start_anew(self, now_ms: int) -> list[Message]:
        """For one that keeps no data: it drops what it has made of the log so far, and goes on at the head."""
        lsn = min(self.limit_lsn, self.log.head.lsn)
        crc = self._crc_at(lsn)
        if crc is None:
            self._fall_silent(now_ms)
            return [self._refused("the head cannot be read", BUSY)]
        return self._resume(self.log.history.position_at(lsn), crc, now_ms, reset=True)

    def _stream_from(self, lsn: int, now_ms: int) -> None:
        self._end_transfer(True, now_ms)
        self.state = FeedState.STREAMING
        self.sent_lsn = lsn
        self.frames.clear()
        self.unacked_bytes = 0

    def _fall_silent(self, now_ms: int) -> None:
        self._end_transfer(False, now_ms)
        self.state = FeedState.SILENT

    def _crc_at(self, lsn: int) -> int | None:
        """The CRC at `lsn` if every entry above it can still be sent, else None."""
        crc = self.log.crc_at(lsn)
        if crc is not None:
            return crc
        entries = self.storage.read_log(lsn, 1)
        return entries[0].previous_crc if entries else None

    # -- streaming ----------------------------------------------------------------------------------------------

    def _send_entries(self, now_ms: int) -> list[Message]:
        limits = self.limits
        if self.sent_lsn >= self.limit_lsn or self.unacked_bytes >= limits.unacked_bytes:
            return []
        room = min(limits.frame_entries, self.limit_lsn - self.sent_lsn)
        records = self.log.records_after(self.sent_lsn, room, limits.frame_bytes)
        if records is None:
            records = self._records_on_disk(room)
        if records is None:
            if not self.is_replica:
                return self._start_anew(now_ms)
            self.state = FeedState.SNAPSHOT
            self.asked_lsn = self.sent_lsn
            self.resync_reason = "the log no longer reaches back"
            return []
        if not records:
            return []
        joined = b"".join(records)
        first_lsn, last_lsn = self.sent_lsn + 1, self.sent_lsn + len(records)
        self.sent_lsn = last_lsn
        self.frames.append((last_lsn, len(joined)))
        self.unacked_bytes += len(joined)
        return [Entries(self.host.epoch, joined, len(records), first_lsn, last_lsn)]

    def _records_on_disk(self, room: int) -> list[bytes] | None:
        entries = self.storage.read_log(self.sent_lsn, self.limits.frame_bytes)
        return None if entries is None else [entry.record for entry in entries[:room]]

    def _receive_ack(self, ack: Ack, now_ms: int) -> list[Message]:
        self.peer_sent_ms = ack.sent_ms
        self.peer_heard_ms = now_ms
        if ack.echo_ms:
            self.rtt_ms = max(0, now_ms - ack.echo_ms)
        if ack.epoch > self.host.epoch:
            self.epoch_seen = max(self.epoch_seen, ack.epoch)
            self._fall_silent(now_ms)
            return []
        self.peer_lag_ms = ack.lag_ms
        self.peer_staleness_ms = ack.staleness_ms
        self.read_keys.extend(ack.read_keys)
        if self.state is FeedState.SNAPSHOT:
            self.transfer_acked = max(self.transfer_acked, min(ack.snapshot_offset, self.transfer_sent))
            transfer = self.transfer
            if transfer is not None and self._has_loaded(transfer, ack.applied):
                text = f"{self.name} has loaded {transfer.size} bytes at {transfer.position}"
                self.host.tell("full-resync-ended", text, "info")
                self._stream_from(ack.applied.lsn, now_ms)
        if self.state is not FeedState.STREAMING or not self.log.contains(ack.applied):
            return []
        self.acked = ack.applied
        self.acked_bytes = ack.applied_bytes
        self.received_lsn = ack.received_lsn
        self.durable_lsn = ack.durable_lsn
        while self.frames and self.frames[0][0] <= ack.received_lsn:
            self.unacked_bytes -= self.frames.popleft()[1]
        return []

    def _has_loaded(self, transfer: SnapshotInfo, applied: Position) -> bool:
        """Whether a follower is at the snapshot's position, or beyond it and beyond where it was when it asked.

        It is beyond when it had asked twice: the second transfer began when it had loaded the first.
        """
        if applied == transfer.position:
            return True
        return applied.lsn > max(transfer.position.lsn, self.asked_lsn) and self.log.contains(applied)

    def _heartbeat(self, now_ms: int) -> Heartbeat:
        lsn = min(self.limit_lsn, self.log.head.lsn)
        complete_ms = self.host.complete_ms
        return Heartbeat(
            self.host.epoch,
            self.host.leader,
            self.log.history.position_at(lsn),
            self.log.head_bytes,
            now_ms,
            now_ms if complete_ms is None else complete_ms,
            self.peer_sent_ms + now_ms - self.peer_heard_ms if self.peer_sent_ms else 0,
            now_ms,
        )

    # -- snapshots ----------------------------------------------------------------------------------------------

    def _begin_transfer(self, name: str, offset: int, now_ms: int) -> list[Message]:
        """Send the snapshot `name` from `offset` on, if it still serves; else the newest that does."""
        chosen: SnapshotInfo | None = None
        for info in self.storage.snapshots():
            is_ours = info.position.lsn <= self.limit_lsn and self.log.contains(info.position)
            if is_ours and self._crc_at(info.position.lsn) == info.crc:
                if chosen is None or info.name == name:
                    chosen = info
        self.wants_snapshot = chosen is None
        if chosen is None or not self.host.full_syncs.begin(self.peer, self.name, now_ms):
            return []
        self.storage.pin(chosen.name)
        self.transfer = chosen
        start = offset if chosen.name == name and 0 <= offset <= chosen.size else 0
        self.transfer_start = start
        self.transfer_sent = start
        self.transfer_acked = start
        self.n_full += 1
        resyncs = self.host.resyncs
        resyncs.n_full += 1
        resyncs.reason = self.resync_reason
        text = f"{self.name} gets {chosen.size - start} bytes at {chosen.position}: {self.resync_reason}"
        self.host.tell("full-resync-begun", text, "warning")
        return [
            SnapshotBegin(
                self.host.epoch,
                chosen.position,
                chosen.crc,
                self.log.history.to_plain(),
                chosen.size,
                chosen.name,
                start,
                self.resync_reason,
            )
        ]

    def _transfer_may_go_on(self) -> bool:
        return self.transfer_sent - self.transfer_acked < self.limits.chunks_unacked_bytes

    def _send_chunks(self, now_ms: int) -> list[Message]:
        transfer = self.transfer
        assert transfer is not None
        messages: list[Message] = []
        while self.transfer_sent < transfer.size and self._transfer_may_go_on():
            offset = self.transfer_sent
            try:
                data = self.storage.read_snapshot(transfer.name, offset, self.limits.chunk_bytes)
            except StorageError:
                data = b""
            if not data:  # it is gone or cut short: choose another
                self._end_transfer(False, now_ms)
                return messages
            self.transfer_sent += len(data)
            self.host.resyncs.snapshot_bytes += len(data)
            messages.append(SnapshotChunk(self.host.epoch, offset, data, self.transfer_sent >= transfer.size))
        return messages

    def _end_transfer(self, succeeded: bool, now_ms: int) -> None:
        self.wants_snapshot = False
        gates = self.host.full_syncs
        if gates.end(self.peer):
            if succeeded:
                gates.note_success(self.name)
            elif self.transfer_start == 0 or self.transfer_acked == self.transfer_start:
                gates.note_failure(self.name, now_ms)  # it did not bring on what an earlier one had begun
        self._release_pin()

    def _release_pin(self) -> None:
        if self.transfer is not None:
            self.storage.unpin(self.transfer.name)
            self.transfer = None
