"""Consumer groups: delivery, pending lists, claims, and what XINFO tells of them."""

from typing import Any

from tests.engine.bench import Bench
from upstash_global.reply import NULL_ARRAY, Named


def grouped(n_entries: int, seed: int = 1) -> Bench:
    """A stream `s` of entries 1-0, 2-0, … and a group `g` that has read nothing."""
    bench = Bench(seed)
    for n in range(1, n_entries + 1):
        bench.run(f"XADD s {n} f {n}")
    bench.run("XGROUP CREATE s g 0 MKSTREAM")
    return bench


def read(bench: Bench, consumer: str, count: int = 99, options: str = "", after: str = ">") -> Any:
    """The ids that the consumer got, or None."""
    reply = bench.run(f"XREADGROUP GROUP g {consumer} COUNT {count} {options} STREAMS s {after}")
    if reply is NULL_ARRAY:
        return None
    assert isinstance(reply, Named)
    return [id.decode() for id, _ in reply.items[0][1]]


def group(bench: Bench) -> dict[str, Any]:
    found: dict[str, Any] = bench.run("XINFO GROUPS s")[0]
    return found


def consumers(bench: Bench) -> dict[bytes, dict[str, Any]]:
    return {each["name"]: each for each in bench.run("XINFO CONSUMERS s g")}


# -- reading --------------------------------------------------------------------------------------------------------


def test_an_entry_goes_to_one_consumer_of_a_group() -> None:
    bench = grouped(3)
    assert [read(bench, "a", 2), read(bench, "b"), read(bench, "a")] == [["1-0", "2-0"], ["3-0"], None]
    assert bench.run("XPENDING s g") == [3, b"1-0", b"3-0", [[b"a", b"2"], [b"b", b"1"]]]


def test_history_is_what_is_pending_with_the_consumer_itself() -> None:
    bench = grouped(3)
    read(bench, "a", 2)
    read(bench, "b")
    bench.later(10)
    assert [read(bench, "a", after="0"), read(bench, "a", after="1-0"), read(bench, "c", after="0")] == [
        ["1-0", "2-0"],
        ["2-0"],
        [],
    ]
    assert bench.run("XPENDING s g 1-0 1-0 9") == [[b"1-0", b"a", 0, 2]]


def test_history_shows_a_deleted_entry_without_fields() -> None:
    bench = grouped(1)
    read(bench, "a")
    bench.run("XDEL s 1-0")
    assert bench.run("XREADGROUP GROUP g a STREAMS s 0") == Named([(b"s", [[b"1-0", NULL_ARRAY]])])


def test_reading_without_acknowledging_leaves_neither_pending_entries_nor_a_consumer() -> None:
    """Upstash: Redis keeps the consumer."""
    bench = grouped(2)
    assert read(bench, "a", 1, "NOACK") == ["1-0"]
    assert bench.run("XINFO CONSUMERS s g") == []
    assert group(bench) | {"name": b"g"} == {
        "name": b"g", "consumers": 0, "pending": 0, "last-delivered-id": b"1-0", "entries-read": 1, "lag": 1,
    }  # fmt: skip


def test_a_noack_read_that_finds_nothing_is_no_entry() -> None:
    bench = grouped(0)
    n_before = len(bench.entries)
    assert read(bench, "a", options="NOACK") is None
    assert len(bench.entries) == n_before


def test_a_consumer_is_seen_when_it_asks_and_active_when_it_gets() -> None:
    bench = grouped(1)
    read(bench, "a")
    bench.later(10)
    read(bench, "a")
    bench.later(5)
    assert consumers(bench)[b"a"] == {"name": b"a", "pending": 1, "idle": 5, "inactive": 15}


def test_a_consumer_that_got_nothing_yet_was_never_active() -> None:
    bench = grouped(0)
    bench.run("XGROUP CREATECONSUMER s g a")
    assert consumers(bench)[b"a"]["inactive"] == -1


def test_an_empty_read_is_logged_because_the_consumer_was_seen() -> None:
    leader, replica = grouped(0), Bench(2)
    read(leader, "a")
    leader.later(50)
    assert read(leader, "a") is None
    replica.apply(leader.entries)
    replica.now_ms = leader.now_ms
    assert consumers(replica) == consumers(leader)
    assert consumers(leader)[b"a"]["idle"] == 0


def test_a_group_that_is_set_back_takes_entries_from_their_consumers() -> None:
    bench = grouped(2)
    read(bench, "a")
    bench.run("XGROUP SETID s g 0")
    read(bench, "b", 1)
    assert bench.run("XPENDING s g - + 9") == [[b"1-0", b"b", 0, 1], [b"2-0", b"a", 0, 1]]


# -- pending --------------------------------------------------------------------------------------------------------


def test_what_is_acknowledged_is_pending_no_more() -> None:
    bench = grouped(3)
    read(bench, "a")
    assert bench.run("XACK s g 1-0 3-0 1-0 9-0") == 2
    assert bench.run("XPENDING s g") == [1, b"2-0", b"2-0", [[b"a", b"1"]]]
    assert bench.run("XACK s none 2-0") == 0


def test_pending_entries_are_chosen_by_idle_time_and_consumer() -> None:
    bench = grouped(3)
    read(bench, "a", 1)
    bench.later(100)
    read(bench, "b")
    bench.later(1)
    assert bench.run("XPENDING s g IDLE 50 - + 9") == [[b"1-0", b"a", 101, 1]]
    assert bench.run("XPENDING s g (1-0 + 1 b") == [[b"2-0", b"b", 1, 1]]
    assert bench.run("XPENDING s g - + 9 nobody") == []


def test_nothing_pending_is_a_zero_and_three_nulls() -> None:
    assert grouped(1).run("XPENDING s g") == [0, None, None, NULL_ARRAY]


def test_a_consumer_takes_its_pending_entries_along() -> None:
    bench = grouped(3)
    read(bench, "a", 2)
    read(bench, "b")
    assert bench.run("XGROUP DELCONSUMER s g a") == 2
    assert bench.run("XPENDING s g - + 9") == [[b"3-0", b"b", 0, 1]]


def test_a_long_pending_list_is_kept_in_order() -> None:
    """Delivered to two consumers, acknowledged out of order, claimed back: more than a few chunks."""
    bench = grouped(2000)
    while read(bench, "a", 7) and read(bench, "b", 5):
        pass
    bench.run("XACK", "s", "g", *[f"{n}-0" for n in range(2000, 0, -3)])
    left = [n for n in range(1, 2001) if (2000 - n) % 3]
    bench.later(1)
    claimed = bench.run("XCLAIM", "s", "g", "c", 1, *[f"{n}-0" for n in left[::-2]], "JUSTID")
    assert len(claimed) == len(left[::-2])
    rows = bench.run("XPENDING s g - + 9999")
    assert [id for id, *_ in rows] == [b"%d-0" % n for n in left]
    of_c = bench.run("XPENDING s g - + 9999 c")
    assert of_c == [row for row in rows if row[1] == b"c"]
    assert [id for id, *_ in of_c] == [b"%d-0" % n for n in sorted(left[::-2])]


# -- claims ---------------------------------------------------------------------------------------------------------


def test_xclaim_takes_only_what_has_been_idle_for_long() -> None:
    bench = grouped(2)
    read(bench, "a", 1)
    bench.later(100)
    read(bench, "a")
    assert bench.run("XCLAIM s g b 50 1-0 2-0") == [[b"1-0", [b"f", b"1"]]]
    assert bench.run("XPENDING s g - + 9") == [[b"1-0", b"b", 0, 2], [b"2-0", b"a", 0, 1]]


def test_xclaim_sets_what_it_is_told() -> None:
    bench = grouped(2)
    assert bench.run("XCLAIM s g b 0 2-0 FORCE IDLE 70 RETRYCOUNT 5 LASTID 1-5 JUSTID") == [b"2-0"]
    assert bench.run("XPENDING s g - + 9") == [[b"2-0", b"b", 70, 5]]
    assert group(bench)["last-delivered-id"] == b"1-5"


def test_xclaim_forgets_what_was_deleted() -> None:
    bench = grouped(2)
    read(bench, "a")
    bench.run("XDEL s 1-0")
    assert bench.run("XCLAIM s g b 0 1-0 2-0 JUSTID") == [b"2-0"]
    assert bench.run("XPENDING s g - + 9") == [[b"2-0", b"b", 0, 1]]


def test_xautoclaim_goes_on_where_it_stopped() -> None:
    bench = grouped(5)
    read(bench, "a")
    bench.run("XDEL s 2-0")
    assert bench.run("XAUTOCLAIM s g b 0 - COUNT 3 JUSTID") == [b"4-0", [b"1-0", b"3-0"], [b"2-0"]]
    assert bench.run("XAUTOCLAIM s g b 0 4-0 COUNT 3 JUSTID") == [b"0-0", [b"4-0", b"5-0"], []]


def test_xautoclaim_looks_at_ten_entries_for_each_that_it_may_claim() -> None:
    bench = grouped(25)
    read(bench, "a")
    assert bench.run("XAUTOCLAIM s g b 1000 0 COUNT 1") == [b"11-0", [], []]


def test_xautoclaim_with_nothing_to_claim_starts_again() -> None:
    assert grouped(0).run("XAUTOCLAIM s g b 0 5") == [b"0-0", [], []]


def test_a_claim_creates_its_consumer_even_if_it_gets_nothing() -> None:
    bench = grouped(0)
    bench.run("XCLAIM s g a 0 1-0")
    bench.run("XAUTOCLAIM s g b 0 0")
    assert [*consumers(bench)] == [b"a", b"b"]


# -- lag and XINFO --------------------------------------------------------------------------------------------------


def test_the_lag_is_unknown_once_entries_were_deleted_ahead() -> None:
    bench = grouped(5)
    assert group(bench)["lag"] == 5
    read(bench, "a", 2)
    assert (group(bench)["entries-read"], group(bench)["lag"]) == (2, 3)
    bench.run("XDEL s 4-0")
    assert group(bench)["lag"] is None
    read(bench, "a")
    assert (group(bench)["entries-read"], group(bench)["lag"]) == (5, 0)


def test_what_is_gone_before_the_first_entry_does_not_count_for_the_lag() -> None:
    """As Redis 8.0: deleted behind the group, it makes the lag unknown only as long as something older is left."""
    bench = grouped(3)
    read(bench, "a", 1)
    bench.run("XDEL s 2-0")
    assert (group(bench)["entries-read"], group(bench)["lag"]) == (1, None)
    bench.run("XDEL s 1-0")
    assert (group(bench)["entries-read"], group(bench)["lag"]) == (1, 1)
    read(bench, "a")
    assert (group(bench)["entries-read"], group(bench)["lag"]) == (3, 0)


def test_what_was_trimmed_ahead_of_the_group_is_no_lag() -> None:
    bench = grouped(5)
    read(bench, "a", 1)
    bench.run("XTRIM s MAXLEN 2")
    assert (group(bench)["entries-read"], group(bench)["lag"]) == (1, 2)
    read(bench, "a", 1)
    assert (group(bench)["entries-read"], group(bench)["lag"]) == (4, 1)
    bench.run("XTRIM s MAXLEN 0")
    assert group(bench)["lag"] == 0


def test_entriesread_says_what_the_stream_cannot() -> None:
    bench = grouped(5)
    bench.run("XGROUP SETID s g 3-0")
    assert (group(bench)["entries-read"], group(bench)["lag"]) == (None, None)
    bench.run("XGROUP SETID s g 3-0 ENTRIESREAD 3")
    assert (group(bench)["entries-read"], group(bench)["lag"]) == (3, 2)


def test_xinfo_stream_tells_its_ends_and_full_all_of_it() -> None:
    bench = grouped(12)
    read(bench, "a", 11)
    short = bench.run("XINFO STREAM s")
    assert (short["length"], short["groups"]) == (12, 1)
    assert (short["first-entry"][0], short["last-entry"][0]) == (b"1-0", b"12-0")
    full = bench.run("XINFO STREAM s FULL")
    assert len(full["entries"]) == 10
    assert (full["groups"][0]["pel-count"], len(full["groups"][0]["pending"])) == (11, 10)
    everything = bench.run("XINFO STREAM s FULL COUNT 0")
    assert len(everything["entries"]) == 12
    assert everything["groups"][0]["consumers"][0]["pending"][-1] == [b"11-0", bench.now_ms, 1]


def test_the_consumers_of_a_missing_group_are_none_but_a_missing_stream_is_an_error() -> None:
    """Upstash: Redis says NOGROUP of the first."""
    bench = grouped(1)
    assert bench.run("XINFO CONSUMERS s none") == []
    assert bench.run("XINFO CONSUMERS none g").text == "ERR no such key"


def test_a_missing_group_is_named() -> None:
    bench = grouped(1)
    assert bench.run("XREADGROUP GROUP h c STREAMS s >").text == (
        "NOGROUP No such key 's' or consumer group 'h' in XREADGROUP with GROUP option"
    )
    assert bench.run("XGROUP SETID s h 0").text == "NOGROUP No such consumer group 'h' for key name 's'"
    assert bench.run("XGROUP CREATE s g 0").text == "BUSYGROUP Consumer Group name already exists"
