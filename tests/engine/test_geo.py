"""Places: what is exact about them, and what of a search reaches the log. Replies at large: tests/differential."""

from random import Random

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.context import EVENT_GENERIC, EVENT_ZSET
from upstash_global.engine.table import TABLE
from upstash_global.engine.types.geohash import Shape, covering_ranges, decode, distance, encode
from upstash_global.errors import CommandError, error
from upstash_global.reply import NULL_ARRAY, Double


def sicily() -> Bench:
    bench = Bench()
    bench.run("GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania")
    return bench


# -- numbers ------------------------------------------------------------------------------------------------------


def test_a_place_is_a_score_of_52_bits() -> None:
    bench = sicily()
    assert bench.run("ZSCORE g Palermo") == 3479099956230698.0
    assert bench.run("GEOHASH g Palermo none Catania") == [b"sqc8b49rny0", None, b"sqdtr74hyu0"]


def test_places_are_answered_with_17_decimals() -> None:
    assert sicily().run("GEOPOS g Palermo none") == [
        [Double(b"13.36138933897018433"), Double(b"38.11555639549629859")],
        NULL_ARRAY,
    ]


@pytest.mark.parametrize(
    ("line", "distance_in_unit"),
    [
        ("GEODIST g Palermo Catania", b"166274.1516"),
        ("GEODIST g Palermo Catania km", b"166.2742"),
        ("GEODIST g Palermo Catania MI", b"103.3182"),
        ("GEODIST g Palermo Palermo ft", b"0.0000"),
        ("GEODIST g Palermo none", None),
        ("GEODIST none Palermo Catania", None),
    ],
)
def test_distances_have_four_decimals(line: str, distance_in_unit: bytes | None) -> None:
    assert sicily().run(line) == distance_in_unit


def test_any_score_is_some_place() -> None:
    bench = Bench()
    bench.run("ZADD g inf a -inf b -1 c 1e300 d 0 e")
    for member in "abcde":
        assert len(bench.run(f"GEOPOS g {member}")[0]) == 2
    assert len(bench.run("GEOSEARCH g FROMLONLAT 0 0 BYRADIUS inf m WITHHASH")) > 0


def test_antipodes_are_half_the_world_apart() -> None:
    assert 20_015_000 < distance(0.0, 45.0, 180.0, -45.0) < 20_021_000


def test_decoding_gives_the_place_back() -> None:
    random = Random(1)
    for _ in range(300):
        place = random.uniform(-180, 180), random.uniform(-85, 85)
        assert distance(*place, *decode(encode(*place))) < 1.0


@pytest.mark.parametrize("seed", range(20))
def test_the_covering_ranges_miss_no_place_near_the_centre(seed: int) -> None:
    """Between the polar circles and below 3,000 km, where Redis's choice of rectangles is known to suffice."""
    random = Random(seed)
    longitude, latitude = random.uniform(-150, 150), random.uniform(-50, 50)
    shape = Shape(longitude, latitude, 10 ** random.uniform(0, 6), 0.0, 0.0)
    ranges = covering_ranges(shape)
    spread = shape.radius / 111_000
    for _ in range(300):
        place = longitude + random.gauss(0, spread), latitude + random.gauss(0, spread)
        if abs(place[0]) < 180 and abs(place[1]) < 85 and shape.distance_if_inside(*decode(encode(*place))) >= 0:
            assert any(low <= encode(*place) < high for low, high in ranges), place


# -- refusals -----------------------------------------------------------------------------------------------------

SEARCH = "GEOSEARCH g FROMLONLAT 0 0 BYRADIUS 1 km"


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("GEOADD g 181 0 x", "invalid longitude,latitude pair 181.000000,0.000000"),
        ("GEOADD g 0 0 a 0 86 x", "invalid longitude,latitude pair 0.000000,86.000000"),
        ("GEOADD g NX XX 0 0 a", "syntax error"),
        ("GEOADD g 0 0 a 1 1", "syntax error"),
        ("GEOADD g x 0 a", "value is not a valid float"),
        ("GEODIST g a b miles", "unsupported unit provided. please use M, KM, FT, MI"),
        ("GEORADIUS g 0 0 -1 m", "radius cannot be negative"),
        ("GEORADIUS_RO g 0 0 1 m STORE t", "syntax error"),
        ("GEORADIUSBYMEMBER g none 1 m", "could not decode requested zset member"),
        ("GEORADIUS g 0 0 1 m WITHDIST STORE t",
         "STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"),
        (f"{SEARCH} ANY", "the ANY argument requires COUNT argument"),
        (f"{SEARCH} COUNT 0", "COUNT must be > 0"),
        (f"{SEARCH} FROMMEMBER Palermo", "syntax error"),
        ("geoSearch g BYRADIUS 1 km ASC DESC", "exactly one of FROMMEMBER or FROMLONLAT can be specified for geoSearch"),
        ("GEOSEARCH g FROMLONLAT 0 0 ASC WITHDIST",
         "exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH"),
        ("GEOSEARCH g FROMLONLAT 0 0 BYBOX 1 -1 m", "height or width cannot be negative"),
    ],
)  # fmt: skip
def test_refusals_change_nothing(line: str, refusal: str) -> None:
    bench = sicily()
    before = bench.digest()
    assert bench.run(line) == error(refusal)
    assert bench.digest() == before


def test_another_type_is_refused() -> None:
    bench = Bench()
    bench.run("SET g v")
    for line in ["GEOADD g 0 0 a", "GEOPOS g a", "GEODIST g a b", "GEOHASH g a", SEARCH, "GEORADIUS g 0 0 1 m"]:
        reply = bench.run(line)
        assert isinstance(reply, CommandError) and reply.code == "WRONGTYPE", line


# -- searches -----------------------------------------------------------------------------------------------------


def test_a_search_tells_distance_hash_and_place() -> None:
    assert sicily().run("GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km DESC WITHDIST WITHHASH WITHCOORD COUNT 1") == [
        [b"Palermo", b"190.4424", 3479099956230698,
         [Double(b"13.36138933897018433"), Double(b"38.11555639549629859")]]
    ]  # fmt: skip


def test_without_order_found_places_stand_as_in_the_sorted_set() -> None:
    bench = Bench()
    bench.run("GEOADD g 0.03 0.03 far 0.01 0.01 near 0.02 0.02 middle")
    by_rank = bench.run("ZRANGE g 0 -1")
    assert bench.run("GEOSEARCH g FROMLONLAT 0.001 0.001 BYRADIUS 100 km") == by_rank
    assert bench.run("GEOSEARCH g FROMLONLAT 0.001 0.001 BYRADIUS 100 km ASC") == [b"near", b"middle", b"far"]


def test_any_takes_the_first_found_not_the_nearest() -> None:
    bench = Bench()
    bench.run("GEOADD g 0.01 0.01 first 0.03 0.03 second 0.05 0.05 third")
    assert bench.run("GEOSEARCH g FROMLONLAT 0.051 0.051 BYRADIUS 100 km COUNT 2") == [b"third", b"second"]
    assert bench.run("GEOSEARCH g FROMLONLAT 0.051 0.051 BYRADIUS 100 km COUNT 2 ANY") == [b"first", b"second"]


# -- the log ------------------------------------------------------------------------------------------------------


def test_a_stored_search_is_logged_as_what_it_stored() -> None:
    """A sine may differ in its last bit on another machine; a score in a log entry does not."""
    leader, replica = sicily(), Bench()
    leader.run("SET t old EX 100")
    assert leader.run("GEOSEARCHSTORE t g FROMMEMBER Palermo BYRADIUS 200 km STOREDIST") == 2
    scores = leader.run("ZRANGE t 0 -1 WITHSCORES").items
    logged = leader.entries[-1].commands
    assert [line[:2] for line in logged] == [[b"DEL", b"t"], [b"ZADD", b"t"]]
    assert [(member, float(text)) for text, member in zip(logged[1][2::2], logged[1][3::2], strict=True)] == scores
    replica.apply(leader.entries)
    assert replica.digest() == leader.digest()


def test_a_search_that_finds_nothing_removes_its_target() -> None:
    bench = sicily()
    bench.run("SET t old")
    assert bench.run("GEORADIUS g 100 0 1 m STORE t") == 0
    assert bench.run("EXISTS t") == 0
    assert bench.entries[-1].commands == [[b"DEL", b"t"]]
    n = len(bench.entries)
    assert bench.run("GEORADIUS g 100 0 1 m STORE t") == 0
    assert bench.run("GEORADIUS g 15 38 500 km") == [b"Palermo", b"Catania"]
    assert len(bench.entries) == n


def test_the_key_that_is_stored_to_is_among_the_keys() -> None:
    keys = TABLE[b"GEORADIUS"].keys
    assert keys.find(b"GEORADIUS g 0 0 1 m ASC STORE a STOREDIST b".split()) == [b"g", b"b"]
    assert keys.find(b"GEORADIUS g 0 0 1 m".split()) == [b"g"]


def test_events() -> None:
    bench = sicily()
    bench.engine.context.event_mask = EVENT_ZSET | EVENT_GENERIC
    seen = []
    for line in ["GEOADD g 0 0 x", "GEOSEARCHSTORE t g FROMLONLAT 0 0 BYRADIUS 1 km", "GEORADIUS g 0 0 1 km STORE t",
                 "GEORADIUS g 100 0 1 m STORE t"]:  # fmt: skip
        bench.run(line)
        assert bench.effects is not None
        seen += [name for _, name, _ in bench.effects.events]
    assert seen == [b"zadd", b"geosearchstore", b"georadiusstore", b"del"]
