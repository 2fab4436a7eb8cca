"""The disk of a node: what survives, what is cut off, what is refused."""

import random
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from upstash_global.engine.keyspace import Keyspace
from upstash_global.replication.log import DATA, Entry, ReplicationLog
from upstash_global.replication.position import History
from upstash_global.replication.snapshot import SnapshotWriter
from upstash_global.replication.storage import Corruption, MemoryStorage, Recovered, Storage, StorageError
from upstash_global.server.disk import DiskStorage, read, verify

NOW_MS = 1_700_000_000_000


class Node:
    """As much of a node as a disk needs: a log that is appended to, and one key per entry."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.log = ReplicationLog()
        self.recovered: Recovered | None = None

    def recover(self, limit_lsn: int | None = None) -> "Node":
        recovered = self.recovered = self.storage.recover(limit_lsn)
        snapshot = recovered.snapshot
        self.log = ReplicationLog()
        if snapshot is not None:
            self.log.reset(snapshot.position, snapshot.crc, snapshot.history)
        for entry in recovered.entries:
            self.log.accept(entry)
        return self

    def begin_epoch(self, epoch: int) -> "Node":
        self.storage.append([self.log.begin_epoch(epoch, NOW_MS, "n").record])
        return self

    def write(self, n: int, size: int = 10) -> "Node":
        for _ in range(n):
            entry = self.log.append(NOW_MS, DATA, [[b"SET", b"k%d" % (self.log.head.lsn + 1), b"v" * size]], {})
            self.storage.append([entry.record])
        return self

    def sync(self) -> "Node":
        self.storage.sync()
        return self

    def snapshot_bytes(self) -> bytes:
        keyspace = Keyspace()
        keyspace.store(b"at", b"%d" % self.log.head.lsn)
        log = self.log
        writer = SnapshotWriter(keyspace, {}, log.head, log.head_crc, log.history, NOW_MS)
        data = b""
        while (more := writer.step(10)) is not None:
            data += more
        return data

    def snapshot(self) -> "Node":
        self.storage.begin_snapshot(self.log.head)
        self.storage.write_snapshot(self.snapshot_bytes())
        self.storage.finish_snapshot()
        return self


def disk(directory: Path, **arguments: Any) -> DiskStorage:
    return DiskStorage(directory, "test", lambda: NOW_MS, **arguments)


def new(directory: Path, **arguments: Any) -> Node:
    storage = disk(directory, **arguments)
    try:
        return Node(storage).recover()
    except StorageError:
        storage.close()
        raise


def again(node: Node) -> Node:
    """The process ends and another starts."""
    storage = node.storage
    assert isinstance(storage, DiskStorage)
    storage.close()
    return new(storage.directory, segment_bytes=storage.segment_bytes)


def segments(directory: Path) -> list[Path]:
    return sorted((directory / "log").glob("*.log"))


def lsns(entries: list[Entry] | None) -> list[int]:
    assert entries is not None
    return [entry.position.lsn for entry in entries]


# -- the log ----------------------------------------------------------------------------------------------------------


def test_what_was_appended_is_there_after_a_restart(tmp_path: Path) -> None:
    node = new(tmp_path).begin_epoch(10).write(20).sync()
    assert node.storage.durable_lsn == 21
    other = again(node)
    assert other.log.head == node.log.head and other.log.head_crc == node.log.head_crc
    assert again(other.write(3)).log.head.lsn == 24


def test_durable_is_what_stood_there_when_the_sync_began(tmp_path: Path) -> None:
    node = new(tmp_path).begin_epoch(10).write(4)
    assert node.storage.durable_lsn == 0
    assert node.storage.sync() == 5
    assert node.write(2).storage.durable_lsn == 5


def test_the_log_goes_on_in_new_segments_and_is_read_across_them(tmp_path: Path) -> None:
    node = new(tmp_path, segment_bytes=1000).begin_epoch(10).write(60).sync()
    assert len(segments(tmp_path)) > 4
    assert again(node).log.head.lsn == 61
    assert [entry.position.lsn for entry in read(tmp_path)] == list(range(1, 62))
    assert verify(tmp_path) == []


@pytest.mark.parametrize("max_bytes", [1, 300, 100_000])
def test_reading_from_anywhere_gives_what_follows(tmp_path: Path, max_bytes: int) -> None:
    node = new(tmp_path, segment_bytes=3000).begin_epoch(10)
    for _ in range(100):
        node.write(1, size=random.Random(1).randrange(200))
    for start in range(0, 101, 7):
        got: list[int] = []
        while entries := node.storage.read_log(start + len(got), max_bytes):
            assert sum(len(entry.record) for entry in entries) <= max_bytes or len(entries) == 1
            got += lsns(entries)
        assert got == list(range(start + 1, 102))


def test_a_record_larger_than_any_buffer_is_read(tmp_path: Path) -> None:
    node = new(tmp_path).begin_epoch(10).write(1, size=5 << 20).write(2)
    assert lsns(node.storage.read_log(1, 100)) == [2]
    assert lsns(node.storage.read_log(2, 1 << 20)) == [3, 4]


def test_a_long_segment_is_read_from_its_middle(tmp_path: Path) -> None:
    node = again(new(tmp_path).begin_epoch(10).write(5000, size=100).sync())
    for start in (4999, 2500, 3, 2501):
        assert lsns(node.storage.read_log(start, 500))[0] == start + 1


def test_entries_must_follow_each_other(tmp_path: Path) -> None:
    node = new(tmp_path).begin_epoch(10).write(1)
    node.log.append(0, DATA, [], {})
    skipped = node.log.append(0, DATA, [], {})
    with pytest.raises(StorageError, match="LSN 4 cannot be written behind LSN 2"):
        node.storage.append([skipped.record])


# -- torn tails and damage --------------------------------------------------------------------------------------------


def test_a_tail_torn_at_any_byte_is_cut_off_and_kept(tmp_path: Path) -> None:
    node = new(tmp_path).begin_epoch(10).write(2).sync().write(1)
    (segment,) = segments(tmp_path)
    whole = segment.read_bytes()
    last = len(node.log.backlog[-1])
    for missing in range(1, last):
        for filler in (b"", b"\0" * missing, b"\xff" * 1000):
            torn = whole[:-missing] + filler
            segment.write_bytes(torn)
            other = again(node)
            assert other.log.head.lsn == 3, f"{missing} bytes are missing"
            kept = tmp_path / f"torn-{NOW_MS}.bin"
            assert kept.read_bytes() == torn[len(whole) - last :]
            assert other.recovered is not None and other.recovered.torn_bytes == len(torn) - len(whole) + last
            assert segment.read_bytes() == whole[:-last]
            node = other


def test_after_a_cut_the_log_goes_on(tmp_path: Path) -> None:
    node = new(tmp_path).begin_epoch(10).write(2).sync()
    with open(segments(tmp_path)[0], "ab") as file:
        file.write(b"garbage")
    node = again(again(node).write(2).sync())
    assert node.log.head.lsn == 5 and verify(tmp_path) == []


def test_every_damaged_byte_before_the_last_record_is_refused_with_its_place(tmp_path: Path) -> None:
    node = new(tmp_path).begin_epoch(10).write(3)
    (segment,) = segments(tmp_path)
    whole = segment.read_bytes()
    last = len(node.log.backlog[-1])
    assert isinstance(node.storage, DiskStorage)
    node.storage.close()
    for i in range(len(whole) - last):
        segment.write_bytes(whole[:i] + bytes([whole[i] ^ 0x20]) + whole[i + 1 :])
        with pytest.raises(StorageError, match=rf"log corrupt: segment {segment.name}, byte \d+, LSN [1-4]"):
            new(tmp_path)
        assert verify(tmp_path), i


def test_damage_in_what_was_durable_is_no_torn_tail(tmp_path: Path) -> None:
    node = new(tmp_path).begin_epoch(10).write(3).sync()
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-1])
    with pytest.raises(Corruption, match="LSN 4: .* durable"):
        again(node)


def test_damage_in_a_sealed_segment_and_a_missing_segment_are_refused(tmp_path: Path) -> None:
    node = new(tmp_path, segment_bytes=500).begin_epoch(10).write(20)
    files = segments(tmp_path)
    whole = files[1].read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        files[1].write_bytes(damaged)
        with pytest.raises(Corruption, match=files[1].name):
            node = again(node)
    files[1].unlink()
    with pytest.raises(Corruption, match="does not continue"):
        again(node)


def test_a_log_of_another_cluster_or_in_use_is_refused(tmp_path: Path) -> None:
    node = new(tmp_path).begin_epoch(10)
    with pytest.raises(StorageError, match="in use"):
        disk(tmp_path)
    assert isinstance(node.storage, DiskStorage)
    node.storage.close()
    with pytest.raises(StorageError, match="belongs to cluster test"):
        DiskStorage(tmp_path, "other", lambda: 0)


def test_a_failed_write_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = new(tmp_path).begin_epoch(10).sync()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            node.write(1).sync()
    for _ in range(2):
        with pytest.raises(StorageError, match="No space left"):
            node.sync()
        with pytest.raises(StorageError, match="No space left"):
            node.write(1)
    assert node.storage.durable_lsn == 1


# -- snapshots --------------------------------------------------------------------------------------------------------


def test_recovery_is_the_newest_snapshot_and_the_log_behind_it(tmp_path: Path) -> None:
    node = again(new(tmp_path).begin_epoch(10).write(5).snapshot().write(4).sync())
    assert node.recovered is not None and node.recovered.snapshot is not None
    assert node.recovered.snapshot.keyspace.values == {b"at": b"6"}
    assert node.log.head.lsn == 10 and lsns(node.log.entries_after(6, 9, 1 << 20)) == [7, 8, 9, 10]
    assert node.log.history.starts == [(10, 1)]


def test_a_bad_snapshot_falls_back_to_the_older_one(tmp_path: Path) -> None:
    node = new(tmp_path, segment_bytes=300).begin_epoch(10).write(5).snapshot().write(5).snapshot().write(5).sync()
    newest = sorted((tmp_path / "snapshots").glob("*.snapshot"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    head = node.log.head
    for _ in range(2):
        node = again(node)
        assert node.recovered is not None and node.recovered.snapshot is not None
        assert node.recovered.snapshot.position.lsn == 6 and node.log.head == head
    assert "snapshot" in verify(tmp_path)[0]


def test_without_any_good_snapshot_it_refuses_again_and_again(tmp_path: Path) -> None:
    node = new(tmp_path, segment_bytes=300).begin_epoch(10)
    for _ in range(3):
        node.write(5).snapshot()
    for path in (tmp_path / "snapshots").glob("*.snapshot"):
        path.write_bytes(b"x" + path.read_bytes()[1:])
    for _ in range(2):
        with pytest.raises(Corruption, match="no good snapshot"):
            again(node)


def test_two_snapshots_are_kept_with_the_log_behind_the_older_and_pinned_ones(tmp_path: Path) -> None:
    node = new(tmp_path, segment_bytes=300).begin_epoch(10).write(5).snapshot()
    pinned = node.storage.snapshots()[0].name
    node.storage.pin(pinned)
    for _ in range(3):
        node.write(5).snapshot()
    assert [info.position.lsn for info in node.storage.snapshots()] == [21, 16, 6]
    assert lsns(node.storage.read_log(6, 1))[0] == 7
    node.storage.unpin(pinned)
    node.write(5).snapshot()
    assert [info.position.lsn for info in node.storage.snapshots()] == [26, 21]
    assert node.storage.read_log(6, 1) is None and lsns(node.storage.read_log(21, 1)) == [22]
    assert again(node).log.head.lsn == 26


def test_an_unfinished_snapshot_does_not_count(tmp_path: Path) -> None:
    node = new(tmp_path).begin_epoch(10).write(2)
    node.storage.begin_snapshot(node.log.head)
    node.storage.write_snapshot(b"half")
    node = again(node)
    assert node.storage.snapshots() == [] and list((tmp_path / "snapshots").iterdir()) == []
    node.storage.begin_snapshot(node.log.head)
    node.storage.write_snapshot(b"half")
    with pytest.raises(StorageError, match="cannot be read back"):
        node.storage.finish_snapshot()


# -- rewind and full resync, alike on both storages -------------------------------------------------------------------


@pytest.fixture(params=["disk", "memory"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    storage: Storage = disk(tmp_path, segment_bytes=400) if request.param == "disk" else MemoryStorage()
    return Node(storage).recover()


@pytest.mark.parametrize("fork_lsn", [4, 7, 8, 12, 13])
def test_a_divergent_tail_is_set_aside_and_the_rest_goes_another_way(node: Node, fork_lsn: int) -> None:
    node.begin_epoch(10).write(3).snapshot().write(4).snapshot().write(6).sync()  # LSN 14, snapshots at 4 and 8
    count, name = node.storage.set_aside(fork_lsn + 1)
    assert count == 14 - fork_lsn and name == f"divergent/10-{fork_lsn + 1}-14.log"
    assert node.storage.durable_lsn == fork_lsn
    node.recover()
    assert node.log.head.lsn == fork_lsn
    assert [info.position.lsn for info in node.storage.snapshots()] == [lsn for lsn in (8, 4) if lsn <= fork_lsn]
    node.begin_epoch(20).write(2).sync()
    assert lsns(node.storage.read_log(fork_lsn, 10_000))[0] == fork_lsn + 1
    if isinstance(node.storage, DiskStorage):
        assert [entry.position.lsn for entry in read(node.storage.directory / name)] == list(range(fork_lsn + 1, 15))
        node = again(node)
        assert node.log.head.lsn == fork_lsn + 3 and node.log.history.fork_point(10) == fork_lsn


def test_a_snapshot_that_was_begun_before_a_rewind_does_not_count(node: Node) -> None:
    node.begin_epoch(10).write(10).sync()
    node.storage.begin_snapshot(node.log.head)
    node.storage.write_snapshot(node.snapshot_bytes())
    node.storage.set_aside(6)
    assert node.storage.finish_snapshot() == "" and node.storage.snapshots() == []
    node.recover()
    assert node.log.head.lsn == 5


def test_a_fork_below_all_that_is_kept_leaves_nothing_to_start_from(node: Node) -> None:
    node.begin_epoch(10).write(20).snapshot().write(20).snapshot().write(2).sync()
    count, _ = node.storage.set_aside(20)
    assert count == 24, "also those that are in the snapshot alone"
    if isinstance(node.storage, DiskStorage):
        assert (node.storage.directory / "divergent" / "10-20-41.snapshot").exists()
    with pytest.raises(Corruption, match="no .*snapshot"):
        node.recover()
    if isinstance(node.storage, DiskStorage):
        assert again(node).log.head.lsn == 0, "an empty node, which gets everything anew"


def test_a_log_that_ends_below_what_was_durable_is_refused(tmp_path: Path) -> None:
    node = new(tmp_path, segment_bytes=300).begin_epoch(10).write(20).sync()
    segments(tmp_path)[-1].unlink()
    with pytest.raises(Corruption, match="was durable up to 21"):
        again(node)


def test_nothing_to_set_aside_is_nothing(node: Node) -> None:
    node.begin_epoch(10).write(3)
    assert node.storage.set_aside(5) == (0, "")
    assert node.recover().log.head.lsn == 4


def test_a_received_snapshot_replaces_everything(node: Node) -> None:
    node.begin_epoch(10).write(9).snapshot().write(3).sync()
    other = ReplicationLog()
    other.begin_epoch(20, NOW_MS, "other")
    other.append(NOW_MS, DATA, [[b"SET", b"a", b"b"]], {})
    node.log.reset(other.head, other.head_crc, other.history)
    node.storage.receive_snapshot_begin(other.head)
    node.storage.receive_snapshot_write(node.snapshot_bytes())
    node.storage.receive_snapshot_finish()
    node.storage.reset_log(other.head)
    assert node.storage.durable_lsn == 2
    node.write(2).sync()
    assert node.storage.read_log(0, 100) is None and lsns(node.storage.read_log(2, 10_000)) == [3, 4]
    node = again(node) if isinstance(node.storage, DiskStorage) else node.recover()
    assert node.log.head.lsn == 4 and node.log.head.epoch == 20 and len(node.storage.snapshots()) == 1


def test_recovery_up_to_an_lsn_shows_the_state_there(node: Node) -> None:
    node.begin_epoch(10).write(3).snapshot().write(4).snapshot().write(6).sync()
    for limit, snapshot_lsn in [(14, 8), (9, 8), (8, 8), (7, 4), (4, 4)]:
        recovered = node.storage.recover(limit)
        assert (recovered.snapshot.position.lsn if recovered.snapshot else 0) == snapshot_lsn
        assert lsns(list(recovered.entries)) == list(range(snapshot_lsn + 1, limit + 1))


def test_the_state_is_replaced_as_a_whole(node: Node) -> None:
    assert node.storage.load_state() == {}
    node.storage.save_state({"epoch": 1 << 60, "leader": "a"})
    node.storage.save_state({"epoch": 2})
    assert node.storage.load_state() == {"epoch": 2}
    assert node.storage.free_bytes() > 0


# -- crashes ----------------------------------------------------------------------------------------------------------


class Crash(Exception):
    pass


POINTS = [
    "before_append",
    "segment_before_rename",
    "segment_after_rename",
    "after_append_before_fsync",
    "after_fsync_before_ack",
    "snapshot_before_rename",
    "snapshot_after_rename",
    "snapshot_after_cleanup",
    "after_set_aside_before_cut",
    "state_before_rename",
    "state_after_rename",
    "after_reset_log",
]


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_loses_nothing_durable(tmp_path: Path, point: str) -> None:
    """The same course of life, each time ended one occurrence of the crash point later; then a restart."""
    for occurrence in range(1, 40):
        directory = tmp_path / str(occurrence)
        left = occurrence

        def crash(name: str) -> None:
            nonlocal left
            left -= name == point
            if left == 0 and name == point:
                raise Crash

        node = new(directory, segment_bytes=300, crashpoint=crash)
        certain = 0  # LSN that must survive
        received = History()
        try:
            node.begin_epoch(10).sync()
            for _ in range(3):
                certain = node.write(5).sync().storage.durable_lsn
                node.storage.save_state({"at": certain})
                node.snapshot()
            certain = 12
            node.storage.set_aside(13)
            node.recover()
            node.begin_epoch(20).write(3).sync()
            certain = node.storage.durable_lsn
            received = node.log.history.copy()
            node.storage.receive_snapshot_begin(node.log.head)
            node.storage.receive_snapshot_write(node.snapshot_bytes())
            node.storage.receive_snapshot_finish()
            node.storage.reset_log(node.log.head)
            node.write(2).sync()
        except Crash:
            storage = node.storage
            assert isinstance(storage, DiskStorage)
            storage.close()
            node = new(directory, segment_bytes=300)
            assert node.log.head.lsn >= certain, f"occurrence {occurrence}"
            assert node.storage.load_state().get("at", 0) <= 16
            again(node.begin_epoch(30).write(10).snapshot()).write(1)
            assert verify(directory) == []
            continue
        assert occurrence > 1 and received.head_lsn == 16, f"{point} was never reached"
        return


@pytest.mark.parametrize("seed", range(50))
def test_a_simulated_crash_keeps_a_prefix_and_all_that_was_synced(seed: int) -> None:
    chance = random.Random(seed)
    node = Node(MemoryStorage()).recover().begin_epoch(10).sync()
    storage = node.storage
    assert isinstance(storage, MemoryStorage)
    for _ in range(10):
        durable = node.write(chance.randrange(5)).sync().storage.durable_lsn
        head = node.write(chance.randrange(5)).log.head.lsn
        lost = storage.crash(chance)
        node.recover()
        assert durable <= node.log.head.lsn == head - lost
        node.begin_epoch(node.log.epoch + 1)


def test_syncs_and_snapshots_on_a_thread_do_not_disturb_appends(tmp_path: Path) -> None:
    """The shell syncs on a worker thread while the loop appends, reads, and begins new segments."""
    node = new(tmp_path, segment_bytes=2000).begin_epoch(10)
    is_over = Event()
    durable: list[int] = []

    def work() -> None:
        while not is_over.is_set():
            durable.append(node.storage.sync())

    worker = Thread(target=work)
    worker.start()
    try:
        for n in range(400):
            node.write(1)
            assert lsns(node.storage.read_log(n + 1, 1)) == [n + 2]
            if n % 100 == 50:
                node.snapshot()
    finally:
        is_over.set()
        worker.join()
    assert durable == sorted(durable)
    node.sync()
    assert again(node).log.head.lsn == node.log.head.lsn
