"""Streams: ids, ranges, trimming and reads. What needs a group is in test_streamgroups."""

import pytest
from librt.strings import BytesWriter

from tests.engine.bench import Bench, Logged, argv_of
from upstash_global.engine.table import lookup
from upstash_global.protocol.resp import encode
from upstash_global.reply import NULL_ARRAY, Named, pack, unpack

LAST = "18446744073709551615"


def streams_on(bench: Bench, *ids: str, key: str = "s") -> Bench:
    for id in ids:
        assert bench.run(f"XADD {key} {id} f v") == id.encode()
    return bench


def ids_of(entries: list[list[object]]) -> list[object]:
    return [entry[0] for entry in entries]


# -- adding ---------------------------------------------------------------------------------------------------------


def test_an_id_of_the_clock_starts_at_sequence_0_and_counts_up_within_a_millisecond() -> None:
    bench = Bench(now_ms=5)
    assert [bench.run("XADD s * f v") for _ in range(3)] == [b"5-0", b"5-1", b"5-2"]
    bench.later(1)
    assert bench.run("XADD s * f v") == b"6-0"


def test_an_id_of_the_clock_follows_the_last_one_even_if_that_is_in_the_future() -> None:
    bench = streams_on(Bench(now_ms=5), "9-3")
    assert bench.run("XADD s * f v") == b"9-4"


def test_an_id_carries_over_into_the_next_millisecond() -> None:
    bench = streams_on(Bench(now_ms=5), f"9-{LAST}")
    assert bench.run("XADD s * f v") == b"10-0"


def test_a_replica_gives_the_same_id_however_late_it_applies_the_entry() -> None:
    leader, replica = Bench(seed=1), Bench(seed=2)
    id = leader.run("XADD s * f v")
    assert leader.entries[-1].commands == [argv_of("XADD s * f v")]
    replica.later(60_000)
    replica.apply(leader.entries)
    assert replica.run("XRANGE s - +") == [[id, [b"f", b"v"]]]


def test_a_sequence_alone_may_be_left_open() -> None:
    bench = Bench()
    assert [bench.run("XADD s 0-* f v"), bench.run("XADD s 7-* f v"), bench.run("XADD s 7-* f v")] == [
        b"0-1",
        b"7-0",
        b"7-1",
    ]
    assert "equal or smaller" in bench.run("XADD s 6-* f v").text
    streams_on(bench, f"8-{LAST}")
    assert "equal or smaller" in bench.run("XADD s 8-* f v").text


def test_ids_only_grow_and_come_to_an_end() -> None:
    bench = streams_on(Bench(), "5-1")
    assert "equal or smaller" in bench.run("XADD s 5-1 f v").text
    assert "greater than 0-0" in bench.run("XADD s 0-0 f v").text
    streams_on(bench, f"{LAST}-{LAST}")
    assert "exhausted" in bench.run("XADD s * f v").text


def test_nomkstream_adds_to_nothing() -> None:
    bench = Bench()
    assert bench.run("XADD s NOMKSTREAM * f v") is None
    assert bench.entries == []


def test_a_name_needs_a_value() -> None:
    assert Bench().run("XADD s * f v g").text == "ERR wrong number of arguments for 'xadd' command"


def test_an_empty_stream_stays_a_key_with_its_last_id() -> None:
    bench = streams_on(Bench(), "5-1")
    assert bench.run("XDEL s 5-1") == 1
    assert [bench.run("EXISTS s"), bench.run("XLEN s")] == [1, 0]
    assert "equal or smaller" in bench.run("XADD s 5-1 f v").text


# -- ranges ---------------------------------------------------------------------------------------------------------


def test_ranges_are_closed_or_open_and_run_both_ways() -> None:
    bench = streams_on(Bench(), "1-1", "1-2", "2-0", "3-9")
    assert ids_of(bench.run("XRANGE s 1 2")) == [b"1-1", b"1-2", b"2-0"]
    assert ids_of(bench.run("XRANGE s (1-1 (3-9")) == [b"1-2", b"2-0"]
    assert ids_of(bench.run("XRANGE s - + COUNT 2")) == [b"1-1", b"1-2"]
    assert ids_of(bench.run("XREVRANGE s + - COUNT 2")) == [b"3-9", b"2-0"]
    assert ids_of(bench.run("XREVRANGE s 2 1-2")) == [b"2-0", b"1-2"]
    assert bench.run("XRANGE s - + COUNT 0") is NULL_ARRAY


def test_a_range_cannot_start_behind_the_last_id() -> None:
    assert Bench().run(f"XRANGE s ({LAST}-{LAST} +").text == "ERR invalid start ID for the interval"
    assert Bench().run("XRANGE s - (0-0").text == "ERR invalid end ID for the interval"


@pytest.mark.parametrize("n_entries", [1, 511, 512, 513, 1025, 3000])
def test_long_streams_are_read_as_short_ones(n_entries: int) -> None:
    """Around the size of a chunk, with holes: the same as filtering a list."""
    bench = Bench()
    expected = []
    for n in range(1, n_entries + 1):
        bench.run(f"XADD s {n} f v")
        expected.append(b"%d-0" % n)
    for n in range(3, n_entries + 1, 7):
        bench.run(f"XDEL s {n}")
        expected.remove(b"%d-0" % n)
    assert ids_of(bench.run("XRANGE s - +")) == expected
    assert ids_of(bench.run("XREVRANGE s + -")) == expected[::-1]
    middle = n_entries // 2
    assert ids_of(bench.run(f"XRANGE s {middle} + COUNT 9")) == [id for id in expected if int(id[:-2]) >= middle][:9]
    assert (
        ids_of(bench.run(f"XREVRANGE s {middle} - COUNT 9"))
        == [id for id in expected if int(id[:-2]) <= middle][:-10:-1]
    )


# -- trimming -------------------------------------------------------------------------------------------------------


def test_trimming_keeps_the_newest() -> None:
    bench = streams_on(Bench(), *[f"{n}-0" for n in range(1, 1301)])
    assert bench.run("XTRIM s MAXLEN ~ 30") == 1270
    assert bench.run("XTRIM s MINID 1290") == 19
    assert bench.run("XLEN s") == 11
    bench.run("XADD s MAXLEN = 5 2000 f v")
    assert ids_of(bench.run("XRANGE s - +")) == [b"1297-0", b"1298-0", b"1299-0", b"1300-0", b"2000-0"]


def test_limit_bounds_what_is_trimmed_at_once() -> None:
    bench = streams_on(Bench(), *[f"{n}-0" for n in range(1, 11)])
    assert bench.run("XTRIM s MAXLEN ~ 0 LIMIT 3") == 3
    assert bench.run("XTRIM s MINID ~ 9 LIMIT 4") == 4
    assert ids_of(bench.run("XRANGE s - +")) == [b"8-0", b"9-0", b"10-0"]


def test_whole_nodes_are_trimmed_where_their_size_was_set() -> None:
    """As Redis: what stays begins a node, and a node of which LIMIT would leave something stays."""
    bench, replica = Bench(), Bench()
    bench.apply([Logged([[b"_CONFIG", b"stream-node-max-entries", b"10"]], bench.now_ms)])
    streams_on(bench, *[f"{n}-0" for n in range(1, 101)])
    assert [bench.run(f"XTRIM s MAXLEN ~ {most} LIMIT 30") for most in (95, 85, 81, 45, 45)] == [0, 10, 0, 30, 10]
    bench.run("XADD s MINID ~ 78 * f v")
    assert ids_of(bench.run("XRANGE s - + COUNT 1")) == [b"71-0"]
    assert bench.run("XTRIM s MAXLEN ~ 0 LIMIT 0") == 31
    replica.apply(bench.entries)
    assert replica.digest() == bench.digest()


def test_trimming_nothing_is_no_entry() -> None:
    bench = streams_on(Bench(), "1-0")
    n_before = len(bench.entries)
    assert [bench.run("XTRIM s MAXLEN 5"), bench.run("XTRIM none MINID 5"), bench.run("XDEL s 7")] == [0, 0, 0]
    assert len(bench.entries) == n_before


# -- reading several ------------------------------------------------------------------------------------------------


def test_xread_answers_what_is_behind_each_id() -> None:
    bench = streams_on(streams_on(Bench(), "1-0", "2-0"), "5-0", key="t")
    reply = bench.run("XREAD COUNT 1 STREAMS s t none 0 5-0 0")
    assert reply == Named([(b"s", [[b"1-0", [b"f", b"v"]]])])
    assert bench.run("XREAD STREAMS s t $ 5") is NULL_ARRAY
    bench.engine.context.may_block = False  # as inside MULTI
    assert bench.run("XREAD BLOCK 100 STREAMS s $") is NULL_ARRAY


def test_xread_knows_the_last_entry() -> None:
    bench = streams_on(Bench(), "1-0", "2-0", "3-0")
    assert bench.run("XREAD COUNT 2 STREAMS s none + +") == Named([(b"s", [[b"3-0", [b"f", b"v"]]])])
    bench.run("XDEL s 3-0")
    assert bench.run("XREAD STREAMS s +") == Named([(b"s", [[b"2-0", [b"f", b"v"]]])])
    bench.run("XTRIM s MAXLEN 0")
    assert bench.run("XREAD STREAMS s +") is NULL_ARRAY
    bench.run("XREAD BLOCK 0 STREAMS s none + +")
    blocked = bench.engine.context.blocked
    assert blocked is not None and blocked.argv is not None
    assert blocked.argv[-2:] == [b"3-0", b"0-0"]  # what it waits behind


def test_xread_is_a_map_in_resp3_and_pairs_in_resp2_and_survives_forwarding() -> None:
    reply = streams_on(Bench(), "1-0").run("XREAD STREAMS s s 0 0")
    entry = b"*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
    for version, head, pair in ((2, b"*2\r\n", b"*2\r\n"), (3, b"%2\r\n", b"")):
        out = BytesWriter()
        encode(out, unpack(pack(reply)), version)
        assert out.getvalue() == head + (pair + b"$1\r\ns\r\n" + entry) * 2


def test_the_keys_of_a_read_stand_behind_streams() -> None:
    for line in ["XREAD COUNT 2 STREAMS a b 0 0", "XREADGROUP GROUP streams c BLOCK 5 STREAMS a b > >"]:
        argv = argv_of(line)
        assert lookup(argv).keys.find(argv) == [b"a", b"b"]


# -- deleting with regard to groups ---------------------------------------------------------------------------------


def test_xdelex_acked_spares_what_a_group_has_not_read_or_not_acknowledged() -> None:
    bench = streams_on(Bench(), "1-0", "2-0", "3-0")
    bench.run("XGROUP CREATE s g 0")
    bench.run("XREADGROUP GROUP g c COUNT 2 STREAMS s >")
    bench.run("XACK s g 1-0")
    assert bench.run("xdelex s acked ids 4 1-0 2-0 3-0 9-0") == [1, 2, 2, -1]


def test_xdelex_delref_takes_the_pending_entries_along() -> None:
    bench = streams_on(Bench(), "1-0", "2-0")
    bench.run("XGROUP CREATE s g 0")
    bench.run("XREADGROUP GROUP g c STREAMS s >")
    assert bench.run("XDELEX s DELREF IDS 1 1-0") == [1]
    assert bench.run("XDELEX s KEEPREF IDS 1 2-0") == [1]
    assert bench.run("XPENDING s g - + 9") == [[b"2-0", b"c", 0, 1]]


@pytest.mark.parametrize("acknowledges", [False, True])
@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("IDS abc 1-1", "ERR Number of IDs must be a positive integer"),
        ("IDS 0 1-1", "ERR Number of IDs must be a positive integer"),
        ("IDS 3 1-1 2-2", "ERR The `numids` parameter must match the number of arguments"),
        ("IDS 1 1-1 2-2", "ERR syntax error"),
        ("KEEPREF DELREF IDS 1 1-1", "ERR syntax error"),
        ("IDS 1 abc", "ERR Invalid stream ID specified as stream command argument"),
    ],
)
def test_the_ids_of_xdelex_are_counted(acknowledges: bool, rest: str, text: str) -> None:
    bench = streams_on(Bench(), "1-1")
    bench.run("XGROUP CREATE s g 0")
    assert bench.run(f"XACKDEL s g {rest}" if acknowledges else f"XDELEX s {rest}").text == text


# -- seen as a key ---------------------------------------------------------------------------------------------------


def test_a_stream_says_what_it_is() -> None:
    bench = streams_on(Bench(), "1-0")
    bench.run("SET string v")
    assert bench.run("TYPE s").text == "stream"
    assert bench.run("OBJECT ENCODING s") == "stream"
    assert bench.run("XADD string * f v").text.startswith("WRONGTYPE")
    assert bench.run("GET s").text.startswith("WRONGTYPE")


def test_memory_usage_grows_with_entries_and_with_what_is_pending() -> None:
    bench = streams_on(Bench(), "1-0")
    sizes = [bench.run("MEMORY USAGE s")]
    for n in range(100):
        bench.run(f"XADD s {n + 2} name value")
    sizes.append(bench.run("MEMORY USAGE s"))
    bench.run("XGROUP CREATE s g 0")
    bench.run("XREADGROUP GROUP g c STREAMS s >")
    sizes.append(bench.run("MEMORY USAGE s"))
    assert sizes[0] + 100 * 60 < sizes[1] < sizes[2] - 100 * 60


def test_a_copy_is_whole_and_apart() -> None:
    bench = streams_on(Bench(), "1-0", "2-0")
    bench.run("XGROUP CREATE s g 0")
    bench.run("XREADGROUP GROUP g c STREAMS s >")
    bench.run("XDEL s 1-0")
    assert bench.run("COPY s t") == 1
    assert bench.run("XINFO STREAM t FULL") == bench.run("XINFO STREAM s FULL")
    bench.run("XACK t g 2-0")
    assert len(bench.run("XPENDING s g - + 9")) == 2


def test_events_are_those_of_redis() -> None:
    bench = Bench()
    bench.engine.context.event_mask = -1
    heard = []
    for line in [
        "XADD s 1-0 f v", "XADD s MAXLEN 1 2-0 f v", "XTRIM s MAXLEN 1", "XSETID s 5-0", "XDEL s 2-0", "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g c STREAMS s >", "XGROUP SETID s g $", "XGROUP DELCONSUMER s g c", "XGROUP DESTROY s g",
    ]:  # fmt: skip
        bench.run(line)
        heard.append([event.decode() for _, event, _ in (bench.effects.events if bench.effects is not None else [])])
    assert heard == [
        ["new", "xadd"], ["xadd", "xtrim"], [], ["xsetid"], ["xdel"], ["xgroup-create"],
        ["xgroup-createconsumer"], ["xgroup-setid"], ["xgroup-delconsumer"], ["xgroup-destroy"],
    ]  # fmt: skip
