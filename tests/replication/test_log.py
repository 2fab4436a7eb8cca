"""Positions, histories, records, the log and the change index."""

import zlib
from random import Random

import msgpack
import pytest
from librt.strings import BytesWriter

from upstash_global.replication.changes import Changes
from upstash_global.replication.codec import (
    BAD_PAYLOAD,
    HEADER_BYTES,
    INCOMPLETE,
    decode_records,
    encode_record,
    next_valid_record,
    record_position,
)
from upstash_global.replication.log import (
    DATA,
    EPOCH,
    START,
    Divergence,
    Gap,
    History,
    Position,
    ReplicationLog,
    epoch_parts,
    make_epoch,
)
from upstash_global.replication.position import later

SET = [[b"SET", b"k", b"v"]]


def log_with(*epochs: tuple[int, int], max_entries: int = 1000) -> ReplicationLog:
    """A log of reigns: (epoch, how many entries after its first)."""
    log = ReplicationLog(max_entries)
    for epoch, n in epochs:
        log.begin_epoch(epoch, 1, "n")
        for _ in range(n):
            log.append(1, DATA, SET, {})
    return log


def test_an_epoch_compares_by_term_then_start_then_node() -> None:
    assert epoch_parts(make_epoch(7, 3, 2)) == (7, 3, 2)
    assert make_epoch(1, 2, 0) > make_epoch(1, 1, 255) and make_epoch(2, 0, 0) > make_epoch(1, (1 << 24) - 1, 255)


def test_positions_have_no_order() -> None:
    assert Position(1, 2) == Position(1, 2) and hash(Position(1, 2)) == hash(Position(1, 2))
    assert repr(Position(1, 2)) == "(1, 2)"
    with pytest.raises(TypeError):
        assert Position(1, 2) < Position(1, 3)  # type: ignore[operator]


def test_a_history_contains_what_it_went_through_up_to_its_head() -> None:
    history = log_with((10, 4), (20, 2)).history  # LSNs 1-5 of epoch 10, 6-8 of epoch 20
    for position, inside in [
        (START, True),
        (Position(10, 1), True),
        (Position(10, 5), True),
        (Position(10, 6), False),
        (Position(20, 5), False),
        (Position(20, 8), True),
        (Position(20, 9), False),
        (Position(0, 1), False),
        (Position(15, 3), False),
    ]:
        assert history.contains(position) is inside, position
    assert [history.fork_point(epoch) for epoch in (0, 10, 20, 15)] == [0, 5, 8, None]
    assert [history.epoch_at(lsn) for lsn in (0, 1, 5, 6, 99)] == [0, 10, 10, 20, 20]


def test_an_lsn_is_located_along_the_history_that_led_to_an_epoch() -> None:
    history = log_with((10, 4), (20, 2)).history
    for epoch, lsn, position in [
        (10, 5, Position(10, 5)),
        (20, 5, Position(10, 5)),
        (20, 8, Position(20, 8)),
        (10, 6, Position(10, 6)),
        (20, 9, Position(20, 9)),
        (30, 5, Position(30, 5)),
        (0, 0, START),
    ]:
        assert history.locate(epoch, lsn) == position


def test_two_histories_know_where_they_parted() -> None:
    base, mine, theirs = (
        log_with((10, 4)).history,
        log_with((10, 4), (20, 2)).history,
        log_with((10, 2), (30, 9)).history,
    )
    assert mine.common_lsn(theirs) == theirs.common_lsn(mine) == 3
    assert mine.fork_from(theirs) == 3
    assert mine.fork_from(base) is None and base.fork_from(mine) is None, "one is merely behind"
    assert mine.fork_from(History()) is None
    copy = History.from_plain(mine.to_plain())
    assert copy.starts == mine.starts and copy.head_lsn == 8 and copy.head_bytes == mine.head_bytes


def test_a_record_comes_back_as_it_was() -> None:
    attributes = {"o": "sa", "s": 7, "a": b"\x00\xff"}
    record, crc = encode_record(
        BytesWriter(), DATA, 1 << 40, 1 << 50, 1_700_000_000_000, 0xFFFFFFFF, [[b"SET", b"", b"\x00" * 300]], attributes
    )
    (entry,), end, problem = decode_records(record)
    assert end == len(record) and problem is None
    assert entry.position == Position(1 << 40, 1 << 50) and entry.kind == DATA and entry.time_ms == 1_700_000_000_000
    assert entry.commands == [[b"SET", b"", b"\x00" * 300]] and entry.attributes == attributes
    assert entry.record == record and entry.crc == crc and entry.previous_crc == 0xFFFFFFFF


def test_records_that_share_nothing_with_the_one_before_have_headers_of_their_own() -> None:
    fields = [
        (DATA, 5, 255, 9, 1),
        (DATA, 5, 256, 9, 2),
        (EPOCH, 6, 257, 9, 3),
        (DATA, 6, 1, 10, 3),
        (DATA, 5, 1, 9, 0),
    ]
    for kind, epoch, lsn, time_ms, previous_crc in fields * 2:
        record, crc = encode_record(BytesWriter(), kind, epoch, lsn, time_ms, previous_crc, SET, {})
        ((entry,), _, _) = decode_records(record)
        assert (entry.kind, entry.position, entry.time_ms) == (kind, Position(epoch, lsn), time_ms)
        assert (entry.previous_crc, entry.crc) == (previous_crc, crc)
        following, _ = encode_record(BytesWriter(), kind, epoch, lsn + 1, time_ms, crc, SET, {})
        assert decode_records(following)[0][0].previous_crc == crc


def test_every_damaged_byte_and_every_cut_of_a_record_is_noticed() -> None:
    record, _ = encode_record(BytesWriter(), DATA, 1, 1, 1, 0, SET, {})
    for i in range(len(record)):
        damaged = record[:i] + bytes([record[i] ^ 0x10]) + record[i + 1 :]
        assert decode_records(damaged)[0] == [] and decode_records(damaged)[2] is not None, i
        assert decode_records(record + damaged)[1] == len(record)
        assert next_valid_record(damaged + record, 0) == len(damaged)
        if i:
            assert decode_records(record[:i])[2] == INCOMPLETE


def test_a_follower_accepts_what_a_leader_appended() -> None:
    leader = log_with((10, 4), (20, 2))
    follower = ReplicationLog()
    entries = leader.entries_after(0, 100, 1 << 20)
    assert entries is not None and [entry.kind for entry in entries] == [EPOCH, 0, 0, 0, 0, EPOCH, 0, 0]
    assert entries[5].commands == [[b"_EPOCH", b"10", b"5", b"n"]], "an epoch begins by naming its fork point"
    for entry in entries:
        follower.accept(entry)
    assert follower.head == leader.head and follower.head_crc == leader.head_crc
    assert follower.history.starts == leader.history.starts and follower.head_bytes == leader.head_bytes


def test_gaps_and_other_pasts_are_not_accepted() -> None:
    entries = log_with((10, 3)).entries_after(0, 9, 1 << 20)
    others = log_with((10, 0), (20, 3)).entries_after(0, 9, 1 << 20)
    assert entries is not None and others is not None
    follower = ReplicationLog()
    follower.accept(entries[0])
    for wrong, error in [(entries[0], Gap), (entries[2], Gap), (others[2], Gap)]:
        with pytest.raises(error):
            follower.accept(wrong)
    follower.accept(entries[1])
    with pytest.raises(Divergence):
        follower.accept(others[2])
    assert follower.head == Position(10, 2)


def test_the_backlog_is_bounded_by_count_and_by_bytes() -> None:
    log = log_with((10, 99), max_entries=16)
    assert 14 <= len(log.backlog) <= 16 and log.first_lsn == 101 - len(log.backlog)
    assert log.entries_after(log.first_lsn - 2, 9, 9999) is None
    assert [entry.position.lsn for entry in log.entries_after(98, 9, 9999) or []] == [99, 100]
    assert log.entries_after(100, 9, 9999) == []
    assert log.crc_at(log.first_lsn - 1) == record_position(log.backlog[0])[1] and log.crc_at(log.first_lsn - 2) is None
    assert log.crc_at(100) == log.head_crc and log.crc_at(101) is None
    small = ReplicationLog(1000, max_bytes=1000)
    small.begin_epoch(10, 1, "n")
    for _ in range(100):
        small.append(1, DATA, SET, {})
        assert small.backlog_bytes == sum(map(len, small.backlog)) <= 1000


def test_at_least_one_entry_comes_whatever_its_size() -> None:
    log = log_with((10, 3))
    assert len(log.entries_after(0, 9, 1) or []) == 1
    assert len(log.entries_after(0, 2, 1 << 20) or []) == 2


def test_a_truncated_log_can_take_another_course() -> None:
    log, other = log_with((10, 4), (20, 2)), log_with((10, 2), (30, 2))
    log.truncate_to(3)
    assert log.head == Position(10, 3) and log.history.starts == [(10, 1)]
    for entry in other.entries_after(3, 9, 1 << 20) or []:
        log.accept(entry)
    assert log.head == other.head and log.head_bytes == other.head_bytes


def test_the_change_index_says_what_changed_after_an_lsn() -> None:
    changes = Changes(max_changes=4, min_age_ms=1000)
    changes.note([b"a", b"b"], 1, 0)
    changes.note([b"a"], 5, 10)
    assert changes.changed_after(b"a", 4) and not changes.changed_after(b"a", 5)
    assert changes.changed_after(b"b", 0) and not changes.changed_after(b"b", 1)
    assert not changes.changed_after(b"never", 0)


def test_the_change_index_is_bounded_and_below_its_floor_everything_changed() -> None:
    changes = Changes(max_changes=4, min_age_ms=1000)
    for lsn in range(1, 50):
        changes.note([b"%d" % lsn], lsn, 0)
        assert len(changes) <= 4 and lsn - changes.floor <= 4
        for asked in range(changes.floor, lsn + 1):
            for key in range(changes.floor + 1, lsn + 1):
                assert changes.changed_after(b"%d" % key, asked) is (key > asked)
        assert changes.floor == 0 or changes.changed_after(b"never", changes.floor - 1)


def test_old_changes_are_forgotten_by_age_but_not_within_it() -> None:
    changes = Changes(max_changes=1000, min_age_ms=1000)
    for lsn in range(1, 100):
        changes.note([b"k%d" % lsn], lsn, lsn * 100)
        assert lsn < 10 or lsn - changes.floor >= 10
    assert len(changes) <= 21


def test_a_flush_changes_every_key() -> None:
    changes = Changes()
    changes.note([b"a"], 1, 0)
    changes.note_flush(7)
    assert changes.changed_after(b"never", 6) and not changes.changed_after(b"never", 7)
    changes.note([b"a"], 8, 0)
    assert changes.changed_after(b"a", 7)


def test_a_change_that_watch_does_not_see_is_one_to_all_others_however_old_the_index_gets() -> None:
    changes = Changes(max_changes=4, min_age_ms=1000)
    changes.note([b"a"], 1, 0)
    for lsn in range(2, 50):
        changes.note([b"a"], lsn, 0, [b"a"])
        for since in range(changes.floor, lsn):
            assert changes.changed_after(b"a", since)
            assert changes.changed_for_watch(b"a", since, True) == (since == 0)
    changes.note([b"a", b"a"], 50, 0, [b"a"])  # one of two
    assert changes.changed_for_watch(b"a", 49, True)


def test_the_last_change_of_a_key_is_known_above_the_floor_and_the_last_flush() -> None:
    changes = Changes(max_changes=4, min_age_ms=1000)
    for lsn in range(1, 50):
        changes.note([b"%d" % (lsn % 3)], lsn, 0)
        for known in range(max(changes.floor, lsn - 3) + 1, lsn + 1):
            assert changes.last_change(b"%d" % (known % 3)) == known > changes.known_after
    assert changes.last_change(b"never") <= changes.known_after == changes.floor
    changes.note_flush(50)
    assert changes.last_change(b"1") <= changes.known_after == 50
    changes.note([b"1"], 51, 0)
    assert changes.last_change(b"1") == 51


@pytest.mark.parametrize("n", [0, 1, 15, 16, 255, 256, 65_535, 65_536])
@pytest.mark.parametrize("attributes", [{}, {"o": "sa", "s": 7, "a": b"\xff"}])
def test_a_record_is_packed_and_read_as_msgpack_would(n: int, attributes: dict[str, object]) -> None:
    for commands in ([[b"SET", b"k", b"v" * n]], [[b"DEL", *[b"k"] * n]], [[b"INCR", b"k"]] * n):
        record, crc = encode_record(BytesWriter(), DATA, 10, 7, 1, 2, commands, attributes)
        assert record[HEADER_BYTES:-4] == msgpack.packb([commands, attributes])
        (entry,), end, problem = decode_records(record)
        assert (entry.commands, entry.attributes, entry.crc) == (commands, attributes, crc)
        assert (end, problem) == (len(record), None)


def test_a_damaged_payload_is_read_as_msgpack_would_or_not_at_all() -> None:
    """With a CRC that fits: what another implementation of the format may have written, well or badly."""
    random = Random(1)
    record, _ = encode_record(BytesWriter(), DATA, 10, 7, 1, 2, [[b"SET", b"k", b"v" * 300], [b"DEL", b"k"]], {"s": 1})
    header, payload = record[:HEADER_BYTES], record[HEADER_BYTES:-4]
    n_read = 0
    for _ in range(3000):
        damaged = bytearray(payload if random.random() < 0.5 else payload[: random.randrange(len(payload))])
        for _ in range(random.randrange(3)):
            if damaged:
                damaged[random.choice([0, 1, 2, 3, 8, 9, -1, random.randrange(len(damaged))]) % len(damaged)] = (
                    random.choice([0x80, 0x91, 0x93, 0xC0, 0xC4, 0xC5, 0xC6, 0xDC, random.randrange(256)])
                )
        body = header[:8] + len(damaged).to_bytes(4, "big") + header[12:] + damaged
        entries, _, problem = decode_records(body + zlib.crc32(body).to_bytes(4, "big"))
        try:
            expected = commands, attributes = msgpack.unpackb(bytes(damaged))
            assert type(commands) is list and type(attributes) is dict
            assert all(
                type(argv) is list and argv and {type(argument) for argument in argv} == {bytes} for argv in commands
            )
        except (ValueError, TypeError, AssertionError):
            assert (entries, problem) == ([], BAD_PAYLOAD)
        else:
            assert [[each.commands, each.attributes] for each in entries] == [list(expected)]
            n_read += 1
    assert n_read > 100


def test_the_later_of_two_positions_is_that_of_the_later_epoch() -> None:
    assert later(Position(1, 5), Position(1, 7)) == later(Position(1, 7), Position(1, 5)) == Position(1, 7)
    assert later(Position(2, 5), Position(1, 7)) == later(Position(1, 7), Position(2, 5)) == Position(2, 5)
    assert later(Position(1, 1), START) == Position(1, 1)
