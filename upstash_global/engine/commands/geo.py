"""Places on earth: members of a sorted set whose scores are geohashes. Searches are in geosearch.py.

A place is added by GEOADD and is a plain sorted set member from then on: ZREM removes it, ZRANGE lists it.
"""

from typing import Final

from upstash_global.engine.commands.sortedsets import Addition
from upstash_global.engine.context import Context
from upstash_global.engine.numbers import parse_float
from upstash_global.engine.table import DENYOOM, FIRST, READONLY, WRITE, Family
from upstash_global.engine.types.geohash import (
    LATITUDE_MAX,
    LONGITUDE_MAX,
    decode,
    distance,
    encode,
    geohash_text,
)
from upstash_global.errors import error, not_a_float, syntax_error
from upstash_global.reply import NULL_ARRAY, Double, Reply

command = Family("geo").command


# -- reads ----------------------------------------------------------------------------------------------------------


@command("GEODIST", arity=-4, flags=READONLY, keys=FIRST)
def geodist(ctx: Context, argv: list[bytes]) -> Reply:
    """The distance of two members with 4 decimals, in metres or another unit; nil if one is missing."""
    if len(argv) > 5:
        raise syntax_error()
    metres_per_unit = unit(argv[4]) if len(argv) == 5 else 1.0
    zset = ctx.find_zset(argv[1])
    if zset is None or argv[2] not in zset.scores or argv[3] not in zset.scores:
        return None
    longitude, latitude = decode(zset.scores[argv[2]])
    other_longitude, other_latitude = decode(zset.scores[argv[3]])
    return distance_text(distance(longitude, latitude, other_longitude, other_latitude) / metres_per_unit)


@command("GEOHASH", arity=-2, flags=READONLY, keys=FIRST)
def geohash(ctx: Context, argv: list[bytes]) -> Reply:
    """The standard geohash of each member, nil where there is none."""
    zset = ctx.find_zset(argv[1])
    if zset is None:
        return [None] * (len(argv) - 2)
    return [geohash_text(zset.scores[member]) if member in zset.scores else None for member in argv[2:]]


@command("GEOPOS", arity=-2, flags=READONLY, keys=FIRST)
def geopos(ctx: Context, argv: list[bytes]) -> Reply:
    """Longitude and latitude of each member, nil where there is none."""
    zset = ctx.find_zset(argv[1])
    if zset is None:
        return [NULL_ARRAY] * (len(argv) - 2)
    places: list[Reply] = []
    for member in argv[2:]:
        if member in zset.scores:
            longitude, latitude = decode(zset.scores[member])
            places.append([coordinate(longitude), coordinate(latitude)])
        else:
            places.append(NULL_ARRAY)
    return places


# -- writes ---------------------------------------------------------------------------------------------------------


@command("GEOADD", arity=-5, flags=WRITE | DENYOOM, keys=FIRST)
def geoadd(ctx: Context, argv: list[bytes]) -> Reply:
    """Add members at places, or move them: the number of new members, with CH of all that moved.

    NX adds only, XX moves only.
    """
    at = 2
    options: list[bytes] = []
    while at < len(argv) and argv[at].upper() in _OPTIONS:
        options.append(argv[at].upper())
        at += 1
    if (len(argv) - at) % 3 or (b"NX" in options and b"XX" in options):
        raise syntax_error()
    scored: list[bytes] = []
    for place in range(at, len(argv), 3):
        longitude, latitude = coordinates(argv[place], argv[place + 1])
        scored += [b"%d" % encode(longitude, latitude), argv[place + 2]]
    return Addition([b"ZADD", argv[1], *options, *scored]).run(ctx)


_OPTIONS: Final = (b"NX", b"XX", b"CH")


# -- numbers and units, for the searches too ------------------------------------------------------------------------


def coordinates(longitude_text: bytes, latitude_text: bytes) -> tuple[float, float]:
    """Longitude and latitude; raises CommandError if they are none, or lie outside the map."""
    longitude, latitude = parse_float(longitude_text), parse_float(latitude_text)
    if longitude is None or latitude is None:
        raise not_a_float()
    if abs(longitude) > LONGITUDE_MAX or abs(latitude) > LATITUDE_MAX:
        raise error(f"invalid longitude,latitude pair {longitude:f},{latitude:f}")
    return longitude, latitude


def unit(text: bytes) -> float:
    """How many metres a unit has."""
    metres = _METRES.get(text.lower())
    if metres is None:
        raise error("unsupported unit provided. please use M, KM, FT, MI")
    return metres


_METRES: Final[dict[bytes, float]] = {b"m": 1.0, b"km": 1000.0, b"ft": 0.3048, b"mi": 1609.34}


def distance_text(length: float) -> bytes:
    return b"%.4f" % length


def coordinate(degrees: float) -> Double:
    """As Redis prints a long double: at most 17 decimals, no zeros at the end."""
    text = (b"%.17f" % degrees).rstrip(b"0").rstrip(b".")
    return Double(b"0" if text == b"-0" else text)
