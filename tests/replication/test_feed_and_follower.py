"""Feed and follower face to face: resume, loss, divergence, time."""

from typing import Any

import pytest

from tests.replication.pair import FollowerSide, LeaderSide, Pair, level_pair
from upstash_global.replication.feed import FeedLimits, FeedState
from upstash_global.replication.follower import FollowerState
from upstash_global.replication.host import FullSyncs
from upstash_global.replication.log import DATA, START, Divergence, Entry, Position, ReplicationLog, make_epoch
from upstash_global.replication.messages import (
    AHEAD,
    DIVERGED,
    OLD_EPOCH,
    WRONG_CLUSTER,
    WRONG_VERSION,
    Ack,
    Entries,
    Heartbeat,
    Refused,
    Resume,
    SnapshotBegin,
    SnapshotChunk,
    Subscribe,
)


def subscribe(position: Position = START, crc: int = 0, **changed: Any) -> Subscribe:
    fields: dict[str, Any] = {"cluster": "test", "version": 1, "stream": 0, "epoch": 0}
    fields.update(changed)
    return Subscribe(node="n", region="r", boot_id="b", position=position, crc=crc, **fields)


def leader_with(n: int, backlog_entries: int = 1000) -> LeaderSide:
    leader = LeaderSide(backlog_entries=backlog_entries)
    leader.begin_epoch(1)
    leader.write(n)
    leader.new_feed(0)
    return leader


def pair_beyond_the_log() -> tuple[LeaderSide, Pair]:
    """A leader whose log no longer reaches back, and a follower that has loaded its newest snapshot and gone on, three entries."""
    leader = leader_with(50, backlog_entries=4)
    leader.take_snapshot()
    leader.write(20)
    leader.take_snapshot()
    leader.write(3)
    pair = Pair(leader, FollowerSide())
    pair.settle()
    return leader, pair


# -- resuming -------------------------------------------------------------------------------------------------------


def test_a_new_follower_gets_the_whole_log_if_it_reaches_back() -> None:
    pair = level_pair()
    follower = pair.replica.follower
    assert [entry.position.lsn for entry in pair.replica.applied] == [1, 2, 3, 4, 5, 6]
    assert follower.n_partial == 1 and follower.n_full == 0 and follower.shown_state == "streaming"
    assert pair.leader.feed is not None and pair.leader.feed.acked == pair.leader.log.head


def test_a_follower_that_was_cut_resumes_where_it_was() -> None:
    pair = level_pair()
    pair.is_cut = True
    pair.leader.write(20)
    pair.run(8000)
    assert pair.replica.follower.shown_state == "disconnected"
    pair.is_cut = False
    pair.settle()
    assert pair.replica.follower.n_full == 0
    assert [entry.position.lsn for entry in pair.replica.applied] == list(range(1, 27))


def test_entries_that_left_the_backlog_are_read_from_the_log_files() -> None:
    leader = leader_with(50, backlog_entries=4)
    pair = Pair(leader, FollowerSide())
    assert leader.log.first_lsn > 40
    pair.settle()
    assert pair.replica.follower.n_full == 0


def test_a_follower_whom_no_log_reaches_gets_a_snapshot_and_goes_on() -> None:
    leader, pair = pair_beyond_the_log()
    follower = pair.replica.follower
    assert follower.n_full == 1 and len(pair.replica.applied) == 74 - 71
    assert leader.feed is not None and leader.feed.resync_reason == "the log does not reach back"
    pair.run(300)
    leader.write(5)
    pair.settle()
    assert follower.n_full == 1 and leader.storage.pins == {}


def test_a_snapshot_is_asked_for_when_there_is_none() -> None:
    leader = leader_with(5)
    pair = Pair(leader, FollowerSide())
    pair.replica.follower.broken = True
    pair.settle()
    assert pair.replica.follower.n_full == 1 and not pair.replica.follower.broken


def test_an_interrupted_transfer_goes_on_where_it_stopped() -> None:
    leader = leader_with(200)
    leader.take_snapshot()
    pair = Pair(leader, FollowerSide(), limits=FeedLimits(chunk_bytes=100, chunks_unacked_bytes=300))
    follower = pair.replica.follower
    follower.broken = True
    while follower.received_bytes < 1000:
        pair.step()
    pair.is_cut = True
    pair.run(7000)
    had = follower.received_bytes
    assert follower.state is FollowerState.SEEKING and not pair.replica.installed
    pair.is_cut = False
    pair.settle()
    begins = [each for each in pair.log_of_messages if isinstance(each, SnapshotBegin)]
    assert [begin.offset for begin in begins] == [0, had] and follower.n_full == 1


def test_a_transfer_for_a_question_that_came_twice_ends_when_the_follower_is_beyond_it() -> None:
    leader, pair = pair_beyond_the_log()
    feed, head = leader.feed, leader.log.head
    assert feed is not None and pair.replica.follower.n_full == 1
    feed.receive(subscribe(), pair.now_ms)
    assert feed.transfer is not None and not leader.host.full_syncs.begin("another", "another", pair.now_ms)
    pair.settle()
    pair.run(300)
    assert feed.acked == head and feed.state is FeedState.STREAMING and leader.storage.pins == {}
    assert leader.host.full_syncs.begin("another", "another", pair.now_ms)


def test_both_sides_tell_why_a_full_resync_came_and_how_many_bytes_it_took() -> None:
    leader = leader_with(50, backlog_entries=4)
    leader.take_snapshot()
    leader.write(20)
    leader.take_snapshot()
    pair = Pair(leader, FollowerSide())
    told: list[tuple[str, str, str]] = []
    leader.host.tell = lambda *said: told.append(said)
    pair.settle()
    pair.run(100)
    size = leader.storage.snapshots()[0].size
    head = pair.replica.log.head
    assert told == [
        ("full-resync-begun", f"follower gets {size} bytes at {head}: the log does not reach back", "warning"),
        ("full-resync-ended", f"follower has loaded {size} bytes at {head}", "info"),
    ]
    follower = pair.replica.follower
    assert (follower.resync_reason, follower.resync_bytes) == ("the log does not reach back", size)
    assert leader.host.resyncs.snapshot_bytes == size


def test_what_feeds_did_is_counted_when_they_are_gone() -> None:
    pair = level_pair()
    for _ in range(3):
        pair.leader.new_feed(pair.now_ms + pair.ahead_ms)
        pair.send("leader", pair.replica.follower.connected(pair.now_ms))
        pair.run(200)
    resyncs = pair.leader.host.resyncs
    assert (resyncs.n_partial, resyncs.n_full, resyncs.n_denied) == (4, 0, 0)
    pair.replica.follower.broken = True
    pair.send("leader", pair.replica.follower.connected(pair.now_ms))
    pair.run(500)
    assert (resyncs.n_partial, resyncs.n_full, resyncs.n_denied) == (4, 1, 0), "it did not ask to go on"
    resyncs.reset()
    assert (resyncs.n_partial, resyncs.n_full) == (0, 0)


def test_the_position_must_have_the_same_crc() -> None:
    leader = leader_with(5)
    feed = leader.feed
    assert feed is not None
    at = Position(leader.log.epoch, 3)
    crc = leader.log.crc_at(3)
    assert crc is not None
    assert isinstance(feed.receive(subscribe(at, crc), 0)[0], Resume)
    assert feed.receive(subscribe(at, crc ^ 1), 0) == [] and feed.state is FeedState.SNAPSHOT
    assert feed.wants_snapshot and feed.n_divergences == 1
    assert (leader.host.resyncs.n_divergences, leader.host.resyncs.n_denied) == (1, 1)


def test_a_position_above_the_fork_point_is_told_to_rewind() -> None:
    leader = leader_with(5)
    old = leader.log.epoch
    leader.begin_epoch(2)
    feed = leader.new_feed(0)
    answer = feed.receive(subscribe(Position(old, 9)), 0)[0]
    assert isinstance(answer, Refused) and answer.code == DIVERGED and answer.lsn == 6
    assert feed.receive(subscribe(Position(make_epoch(1, 7, 3), 6)), 0) == [], "an unknown epoch gets a snapshot"
    assert feed.state is FeedState.SNAPSHOT
    answer = feed.receive(subscribe(Position(leader.log.epoch, 99)), 0)[0]
    assert isinstance(answer, Refused) and answer.code == AHEAD


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"cluster": "other"}, WRONG_CLUSTER),
        ({"version": 2}, WRONG_VERSION),
        ({"stream": 1}, WRONG_VERSION),
        ({"epoch": make_epoch(9, 0, 0)}, OLD_EPOCH),
    ],
)
def test_strangers_and_the_future_are_refused_with_a_reason(changed: dict[str, Any], code: str) -> None:
    feed = leader_with(1).feed
    assert feed is not None
    answer = feed.receive(subscribe(**changed), 0)[0]
    assert isinstance(answer, Refused) and answer.code == code and answer.reason
    assert feed.state is FeedState.SILENT and feed.advance(2, 0) == []


def test_an_edge_starts_at_the_head_and_never_gets_a_snapshot() -> None:
    leader = leader_with(50, backlog_entries=4)
    leader.take_snapshot()
    leader.write(4)
    leader.take_snapshot()
    pair = Pair(leader, FollowerSide(purpose="edge"))
    while not pair.replica.installed:
        pair.step()
    assert pair.replica.installed == [None] and pair.replica.log.head == leader.log.head
    leader.write(3)
    pair.settle()
    assert [entry.position.lsn for entry in pair.replica.applied] == [56, 57, 58]


@pytest.mark.parametrize("purpose", ["edge", "changes"])
def test_who_keeps_no_data_and_reads_too_slowly_is_sent_to_the_head(purpose: str) -> None:
    """It was streaming from the beginning; meanwhile the log behind two snapshots was dropped."""
    leader = leader_with(50, backlog_entries=4)
    feed = leader.feed
    assert feed is not None
    (resumed,) = feed.receive(subscribe(purpose=purpose), 0)
    assert isinstance(resumed, Resume) and not resumed.reset
    for _ in range(2):
        leader.write(20)
        leader.take_snapshot()
    (answer,) = feed.advance(leader.log.head.lsn, 0)
    assert isinstance(answer, Resume) and answer.reset and answer.position == leader.log.head
    leader.write()
    (entries,) = feed.advance(leader.log.head.lsn, 0)
    assert isinstance(entries, Entries) and entries.first_lsn == leader.log.head.lsn


# -- divergence -----------------------------------------------------------------------------------------------------


def test_a_follower_above_the_fork_point_learns_where_to_rewind_to() -> None:
    pair = level_pair()
    pair.is_cut = True
    own = pair.replica.log
    lost = ReplicationLog()
    lost.reset(own.head, own.head_crc, own.history)
    for _ in range(3):
        entry = lost.append(0, DATA, [[b"SET", b"lost", b"1"]], {})
        own.accept(entry)
        pair.replica.apply(entry)
    pair.leader.begin_epoch(2)
    pair.leader.write(2)
    pair.is_cut = False
    pair.run(8000)
    follower = pair.replica.follower
    assert follower.rewind_to == 6 and follower.state is FollowerState.SEEKING
    count, name = pair.replica.storage.set_aside(7)
    assert count == 3 and pair.replica.storage.set_aside_logs[name][0] == lost.entries_after(6, 1, 1)[0].record  # type: ignore[index]
    own.truncate_to(6)
    del pair.replica.state[b"lost"]
    pair.send("leader", follower.rewound(pair.now_ms))
    pair.settle()
    assert follower.n_full == 0 and follower.rewind_to is None


def test_a_stale_refusal_of_a_history_that_is_merely_behind_rewinds_nothing() -> None:
    pair = level_pair()
    behind = pair.leader.log.history.to_plain()
    pair.leader.write(5)
    pair.settle()
    pair.replica.follower.receive(Refused("", DIVERGED, 6, pair.leader.log.epoch, behind), pair.now_ms)
    assert pair.replica.follower.rewind_to is None


def test_the_tail_of_an_unknown_epoch_is_set_aside_when_a_snapshot_replaces_it() -> None:
    pair = level_pair()
    pair.is_cut = True
    own = pair.replica.log
    stranger = ReplicationLog()
    stranger.reset(own.head, own.head_crc, own.history)
    for entry in (
        stranger.begin_epoch(make_epoch(1, 5, 3), 0, "x"),
        stranger.append(0, DATA, [[b"SET", b"a", b"b"]], {}),
    ):
        own.accept(entry)
        pair.replica.apply(entry)
    pair.replica.follower.epoch_seen = own.epoch
    pair.leader.begin_epoch(2)
    pair.leader.write(10)
    pair.is_cut = False
    pair.settle()
    assert pair.replica.follower.n_full == 1 and pair.replica.follower.n_set_aside == 2
    assert b"a" not in pair.replica.state


def test_an_equal_position_with_another_crc_is_divergence_and_ends_in_a_full_resync() -> None:
    pair = level_pair()
    other = LeaderSide()
    other.begin_epoch(1)
    other.now_ms += 1
    other.write(5)
    entries = other.log.entries_after(5, 9, 9999)
    assert entries is not None
    frame = Entries(other.log.epoch, entries[0].record, 1, 6, 6)
    pair.replica.follower.receive(frame, pair.now_ms)
    assert pair.replica.follower.broken and pair.replica.follower.n_divergences == 1
    pair.run(8000)
    assert pair.replica.follower.n_full == 1 and not pair.replica.follower.broken


def test_an_entry_that_fails_to_apply_is_divergence_never_skipped() -> None:
    pair = level_pair()

    def fail(entry: Entry) -> None:
        pair.replica.on_apply = None
        raise Divergence("planted")

    pair.replica.on_apply = fail
    pair.leader.write(3)
    pair.run(8000)
    follower = pair.replica.follower
    assert follower.n_divergences == 1 and follower.n_full == 1 and pair.is_level


def test_messages_of_a_lower_epoch_are_refused_and_tell_the_sender() -> None:
    pair = level_pair()
    follower = pair.replica.follower
    follower.epoch_seen = make_epoch(5, 0, 1)
    pair.leader.write()
    pair.run(300)
    assert not pair.is_level
    assert pair.leader.feed is not None and pair.leader.feed.epoch_seen == make_epoch(5, 0, 1)


# -- a bad network --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_loss_repeat_and_reorder_are_harmless(seed: int) -> None:
    leader = LeaderSide(backlog_entries=20)
    leader.begin_epoch(1)
    pair = Pair(
        leader,
        FollowerSide(seed),
        seed,
        loss=0.1,
        repeat=0.2,
        delay_ms=(1, 200),
        limits=FeedLimits(frame_bytes=500, chunk_bytes=300),
    )
    for turn in range(300):
        leader.now_ms = pair.now_ms + pair.ahead_ms
        if pair.random.random() < 0.5:
            leader.write(pair.random.randrange(1, 4))
        if turn == 150:
            pair.is_cut = True
        if turn == 200:
            pair.is_cut = False
        if pair.random.random() < 0.02:
            leader.take_snapshot()
        pair.step()
    pair.settle()
    lsns = [entry.position.lsn for entry in pair.replica.applied]
    assert lsns == sorted(set(lsns)), "applied once, in order"


def test_a_heartbeat_that_shows_a_head_beyond_ours_keeps_nothing_alive() -> None:
    """The last frame is lost: only the missing progress shows it."""
    pair = level_pair()
    follower, feed = pair.replica.follower, pair.leader.feed
    assert feed is not None
    pair.is_cut = True
    pair.leader.write()
    pair.step()
    pair.is_cut = False
    pair.run(3000)
    assert not pair.is_level and follower.lag_entries == 1
    pair.run(4000)
    assert pair.is_level


def test_nothing_above_the_limit_is_sent() -> None:
    leader = leader_with(10)
    feed = leader.feed
    assert feed is not None
    feed.receive(subscribe(), 0)
    frame = feed.advance(4, 0)[0]
    assert isinstance(frame, Entries) and (frame.first_lsn, frame.last_lsn, frame.count) == (1, 4, 4)
    assert feed.advance(4, 0) == []
    heartbeat = feed.tick(200)[0]
    assert isinstance(heartbeat, Heartbeat) and heartbeat.head.lsn == 4


def test_unacknowledged_bytes_are_bounded() -> None:
    leader = leader_with(200)
    feed = leader.new_feed(0, FeedLimits(unacked_bytes=2000, frame_bytes=500))
    feed.receive(subscribe(), 0)
    sent = 0
    while frames := feed.advance(leader.log.head.lsn, 0):
        assert isinstance(frames[0], Entries) and len(frames[0].records) <= 500
        sent += len(frames[0].records)
    assert 2000 <= sent < 2500 and not feed.has_more
    first = Ack(0, 20, START, 0, 0, 0)
    feed.receive(first, 0)
    assert feed.has_more and feed.advance(leader.log.head.lsn, 0)


def test_silence_closes_the_feed_and_unpins_its_snapshot() -> None:
    leader = leader_with(5)
    leader.take_snapshot()
    feed = leader.feed
    assert feed is not None
    assert isinstance(feed.receive(subscribe(full=True), 0)[0], SnapshotBegin) and leader.storage.pins
    assert isinstance(feed.advance(6, 0)[0], SnapshotChunk)
    feed.tick(5001)
    assert feed.closed and not leader.storage.pins and not leader.host.full_syncs.running


def test_full_resyncs_are_few_at_a_time_and_pause_after_failures() -> None:
    gate = FullSyncs()
    assert gate.begin("in:1", "a", 0) and gate.begin("in:1", "a", 0) and not gate.begin("in:2", "b", 0)
    assert gate.end("in:1") and not gate.end("in:1")
    for stream, at in (("in:2", 0), ("in:3", 1000), ("in:4", 2000)):
        assert gate.begin(stream, "b", at)
        gate.end(stream)
        gate.note_failure("b", at)
    assert not gate.begin("in:5", "b", 3000), "a new stream is no new follower"
    assert gate.begin("in:6", "a", 3000) and gate.end("in:6")
    assert gate.begin("in:7", "b", 2000 + 300_000)
    gate.note_success("b")
    gate.end("in:7")
    assert gate.begin("in:8", "b", 2000 + 300_001)


def test_a_full_resync_that_is_cut_off_counts_as_failed_unless_it_brought_an_earlier_one_on() -> None:
    leader = leader_with(500)
    leader.take_snapshot()
    name = leader.storage.snapshots()[0].name

    def cut_off(start: int, acked: int) -> int:
        """Failures noted after a transfer from `start` that got to `acked`."""
        feed = leader.new_feed(0)
        begun = feed.receive(subscribe(full=True, snapshot=name, offset=start), 0)[0]
        assert isinstance(begun, SnapshotBegin) and begun.offset == start
        feed.advance(leader.log.head.lsn, 0)
        if acked > start:
            feed.receive(Ack(0, 0, START, 0, 0, 0, snapshot_offset=acked), 0)
        feed.close(0)
        return len(leader.host.full_syncs.failures.get("n", []))

    assert cut_off(0, 100) == 1
    assert cut_off(100, 200) == 1, "further than before"
    assert cut_off(200, 200) == 2


# -- time and lag ---------------------------------------------------------------------------------------------------


def test_leader_time_is_learned_whatever_the_own_clock_says() -> None:
    pair = level_pair(delay_ms=(100, 100))
    pair.run(2000)
    follower = pair.replica.follower
    there = pair.now_ms + pair.ahead_ms
    assert abs(follower.leader_now(pair.now_ms) - there) <= 10
    assert follower.rtt_ms is not None and 200 <= follower.rtt_ms <= 220
    assert pair.leader.feed is not None and 200 <= (pair.leader.feed.rtt_ms or 0) <= 220
    assert follower.leader_now(pair.now_ms - 500) >= there - 20, "never goes back"


def test_lag_counts_entries_bytes_and_the_delay_of_the_last_second() -> None:
    pair = level_pair(delay_ms=(100, 100))
    pair.run(1000)
    leader, follower = pair.leader, pair.replica.follower
    leader.now_ms = pair.now_ms + pair.ahead_ms
    leader.write(3)
    pair.settle()
    assert 90 <= follower.lag_ms(pair.now_ms) <= 130
    pair.run(300)
    assert leader.feed is not None and leader.feed.lag_entries == leader.feed.lag_bytes == 0
    pair.run(1000)
    assert follower.lag_ms(pair.now_ms) == 0
    pair.is_cut = True
    leader.write(3)
    assert leader.feed.lag_entries == 3 and leader.feed.lag_bytes == sum(map(len, leader.log.backlog[-3:]))


def test_staleness_grows_while_the_link_is_cut_and_shrinks_after() -> None:
    pair = level_pair()
    follower = pair.replica.follower
    pair.run(1000)
    assert follower.staleness_ms(pair.now_ms) <= 250
    pair.is_cut = True
    pair.run(3000)
    assert follower.staleness_ms(pair.now_ms) >= 3000
    pair.is_cut = False
    pair.run(8000)
    assert follower.staleness_ms(pair.now_ms) <= 250
