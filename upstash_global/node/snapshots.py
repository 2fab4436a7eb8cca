"""Snapshots and recovery: how a node's whole state is written while it goes on working, and taken over again."""

from typing import TYPE_CHECKING, Final

from upstash_global.node.tables import load_system_tables, system_tables
from upstash_global.replication.snapshot import Loaded, SnapshotWriter
from upstash_global.replication.storage import Corruption, Recovered, StorageError

if TYPE_CHECKING:
    from upstash_global.node.node import Node

STEP_KEYS: Final = 256
BUDGET_US: Final = 5_000  # of a tick; a collection under the cursor may make a step longer
MAX_STEPS: Final = 64
RETRY_MS: Final = 10_000  # after one that failed


class Snapshots:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.writer: SnapshotWriter | None = None
        self.is_finishing = False  # the shell makes the file durable, off the loop
        self.is_wanted = False  # an operator asked for one
        self.begun_bytes = 0  # History.head_bytes when the last one began
        self.written_bytes = 0  # its size; 0 before this process has written one
        self.written_lsn = 0  # the position of the one being finished
        self.last_lsn = 0
        self.last_ms = 0
        self.n_written = 0
        self.n_failed = 0
        self.has_failed = False  # the last one did
        self.began_ms = 0  # the last one, by this node's own clock
        self.took_ms = -1  # the last one that was finished

    @property
    def is_being_written(self) -> bool:
        return self.writer is not None or self.is_finishing

    @property
    def is_under_way(self) -> bool:
        return self.is_being_written or self.is_wanted

    def begin(self) -> None:
        """Start to write a snapshot of this moment, unless one is being written."""
        node = self.node
        if self.is_being_written or not node.log.head.lsn:
            return
        self.is_wanted = False
        self.began_ms = node.local_ms
        head = node.log.head
        self.flush_records()
        try:
            node.storage.begin_snapshot(head)
        except StorageError as failure:
            self.failed(str(failure))
            return
        self.writer = SnapshotWriter(
            node.engine.keyspace, system_tables(node), head, node.log.head_crc, node.log.history.copy(), node.now_ms
        )
        self.begun_bytes = node.log.head_bytes

    def tick(self) -> None:
        """Go on with the running snapshot for a bounded while, or begin one when it is time."""
        node = self.node
        if self.writer is None:
            grown = node.log.head_bytes - self.begun_bytes >= max(node.settings.snapshot_bytes, self.written_bytes)
            is_needed = grown or any(feed.wants_snapshot for feed in node.roles.feeds.values())
            is_too_soon = self.has_failed and node.local_ms - self.began_ms < RETRY_MS
            if self.is_wanted or (is_needed and not is_too_soon):
                self.begin()
            return
        begun_us = node.clock_us()
        for _ in range(MAX_STEPS):
            data = self.writer.step(STEP_KEYS)
            if data is None:
                self.written_lsn = self.writer.position.lsn
                self.written_bytes = self.writer.size
                self.writer = None
                self.is_finishing = True
                node.wants_snapshot_finished = True
                return
            try:
                node.storage.write_snapshot(data)
            except StorageError as failure:
                self.failed(str(failure))
                return
            if node.clock_us() - begun_us >= BUDGET_US:
                return

    def finished(self, name: str) -> None:
        """The shell has called `finish_snapshot`; the snapshot of this name counts, if there is a name."""
        node = self.node
        self.is_finishing = False
        if not name:
            return
        self.last_lsn = self.written_lsn
        self.last_ms = node.now_ms
        self.n_written += 1
        self.has_failed = False
        self.took_ms = node.local_ms - self.began_ms
        node.events.note(node.now_ms, "snapshot-written", name)

    def failed(self, reason: str) -> None:
        """It could not be written. The log goes on growing behind the one before; another is begun after a while."""
        self._abort()
        self.is_finishing = False
        self.n_failed += 1
        self.has_failed = True
        self.node.events.note(self.node.now_ms, "snapshot-failed", reason, "error")

    def _abort(self) -> None:
        if self.writer is not None:
            self.writer.abort()
            self.writer = None
            self.node.storage.abort_snapshot()

    def restore(self, recovered: Recovered) -> None:
        """Take over what storage holds: the newest snapshot, then the log behind it."""
        node = self.node
        loaded = recovered.snapshot
        if loaded is not None:
            node.log.reset(loaded.position, loaded.crc, loaded.history, loaded.time_ms)
            self._take(loaded)
        node.is_replaying = True
        for entry in recovered.entries:
            node.log.accept(entry)
            node.apply(entry)
            node.records.clear()
        node.is_replaying = False
        node.durable_lsn = node.log.head.lsn
        node.metrics.torn_bytes += recovered.torn_bytes
        if recovered.torn_bytes:
            node.events.note(
                node.now_ms,
                "torn-tail",
                f"{recovered.torn_bytes} bytes were cut off behind the last good record",
                "warning",
            )

    def install(self, loaded: Loaded | None) -> None:
        """A full resync is complete and on disk, and the log was reset to it: its state replaces this node's at once."""
        node = self.node
        assert loaded is not None  # only followers without data jump
        self._take(loaded)
        node.spoil_reads()
        node.records.clear()
        node.durable_lsn = loaded.position.lsn
        node.metrics.n_full_resyncs += 1
        follower = node.roles.follower
        text = f"loaded {follower.resync_bytes} bytes at {loaded.position}: {follower.resync_reason or 'it was not told why'}"
        node.events.note(node.now_ms, "full-resync", text, "warning")
        node.touched.extend(node.parking.by_key)
        node.woken = bool(node.touched)

    def _take(self, loaded: Loaded) -> None:
        """The keyspace and the tables of a snapshot; the log is at its position."""
        node = self.node
        self._abort()
        node.engine.take_keyspace(loaded.keyspace)
        load_system_tables(node, loaded.system_tables)
        node.changes.reset(loaded.position.lsn)
        self.begun_bytes = node.log.head_bytes
        self.last_lsn = loaded.position.lsn

    def rewind(self, fork_lsn: int) -> None:
        """Put aside what lies above the fork point and go back to it, by an own snapshot and log.

        Without such a snapshot only a full resync helps; what is in memory is served until it is complete.
        """
        node = self.node
        self.flush_records()
        self._abort()
        count, name = node.storage.set_aside(fork_lsn + 1)
        node.metrics.n_divergent_entries += count
        node.events.note(
            node.now_ms, "rewound", f"{count} entries above LSN {fork_lsn} were put aside in {name}", "warning"
        )
        try:
            recovered = node.storage.recover(fork_lsn)
        except Corruption:
            node.durable_lsn = node.storage.durable_lsn
            node.roles.follower.broken = True
            return
        node.spoil_reads()
        node.reset()
        self.restore(recovered)

    def flush_records(self) -> None:
        """What this turn has logged goes to the log first."""
        node = self.node
        if node.records:
            node.storage.append(node.records)
            node.records = []
