"""Searches among places: the members of a sorted set that lie in a circle or in a box.

GEOSEARCH is the form of today, GEORADIUS and its variants are older ones; all read their words into one Search. Found
places stand in the order of the searched score ranges unless ASC, DESC or COUNT sorts them by distance.

What is stored follows from sines and cosines, whose last bit may differ between two machines. So the log carries what was
stored, not the search.
"""

from typing import Final

from upstash_global.engine.arguments import Arguments
from upstash_global.engine.commands.geo import coordinate, coordinates, distance_text, unit
from upstash_global.engine.commands.sortedsetranges import store
from upstash_global.engine.commands.sortedsets import put_member
from upstash_global.engine.context import Context
from upstash_global.engine.numbers import INT64_MIN, parse_float
from upstash_global.engine.table import (
    DENYOOM,
    FIRST,
    FIRST_TWO,
    MOVABLEKEYS,
    READONLY,
    WRITE,
    Family,
    Keys,
)
from upstash_global.engine.types.geohash import Shape, covering_ranges, decode
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.errors import CommandError, error
from upstash_global.floats import format_double
from upstash_global.reply import Reply

command = Family("geo").command


def radius_keys(argv: list[bytes]) -> list[bytes]:
    """The key to search, and the last one named to store to."""
    target: bytes | None = None
    at = 5
    while at + 1 < len(argv):
        if argv[at].upper() in (b"STORE", b"STOREDIST"):
            at += 1
            target = argv[at]
        at += 1
    return argv[1:2] if target is None else [argv[1], target]


_RADIUS_KEYS: Final = Keys(1, 1, 1, finder=radius_keys)


# -- reads ----------------------------------------------------------------------------------------------------------


@command("GEORADIUS_RO", arity=-6, flags=READONLY, keys=FIRST)
def georadius_ro(ctx: Context, argv: list[bytes]) -> Reply:
    """The members within a circle around a place."""
    return _by_radius(ctx, argv, 6, False)


@command("GEORADIUSBYMEMBER_RO", arity=-5, flags=READONLY, keys=FIRST)
def georadiusbymember_ro(ctx: Context, argv: list[bytes]) -> Reply:
    """The members within a circle around a member."""
    return _by_radius(ctx, argv, 5, False)


@command("GEOSEARCH", arity=-7, flags=READONLY, keys=FIRST)
def geosearch(ctx: Context, argv: list[bytes]) -> Reply:
    """The members within a circle or a box around a place or a member, with distance, hash or place if asked."""
    search = Search(ctx, argv[1])
    search.read_options(argv, 2, is_search=True, may_store=False)
    search.check(argv, is_search=True)
    return search.answer()


# -- writes ---------------------------------------------------------------------------------------------------------


@command("GEORADIUS", arity=-6, flags=WRITE | DENYOOM | MOVABLEKEYS, keys=_RADIUS_KEYS)
def georadius(ctx: Context, argv: list[bytes]) -> Reply:
    """The members within a circle around a place, read or stored."""
    return _by_radius(ctx, argv, 6, True)


@command("GEORADIUSBYMEMBER", arity=-5, flags=WRITE | DENYOOM | MOVABLEKEYS, keys=_RADIUS_KEYS)
def georadiusbymember(ctx: Context, argv: list[bytes]) -> Reply:
    """The members within a circle around a member, read or stored."""
    return _by_radius(ctx, argv, 5, True)


@command("GEOSEARCHSTORE", arity=-8, flags=WRITE | DENYOOM, keys=FIRST_TWO)
def geosearchstore(ctx: Context, argv: list[bytes]) -> Reply:
    """Store what GEOSEARCH finds as a sorted set of places, or with STOREDIST of distances: how many there are."""
    search = Search(ctx, argv[2])
    search.target = argv[1]
    search.read_options(argv, 3, is_search=True, may_store=True)
    search.check(argv, is_search=True)
    return search.answer()


def _by_radius(ctx: Context, argv: list[bytes], at: int, may_store: bool) -> Reply:
    """GEORADIUS key longitude latitude radius unit …, or with `at` 5 GEORADIUSBYMEMBER key member radius unit …"""
    search = Search(ctx, argv[1])
    if at == 6:
        search.set_centre(coordinates(argv[2], argv[3]))
    elif search.zset is not None:
        search.set_centre_at(argv[2])
    if at == 6 or search.zset is not None:
        search.set_radius(argv[at - 2], argv[at - 1])
    search.read_options(argv, at, is_search=False, may_store=may_store)
    search.check(argv, is_search=False)
    return search.answer()


class Place:
    """One that was found."""

    def __init__(self, member: bytes, score: float, longitude: float, latitude: float, metres: float) -> None:
        self.member = member
        self.score = score
        self.longitude = longitude
        self.latitude = latitude
        self.metres = metres


class Search:
    """What to look for, where, and what to do with it. Each method raises CommandError in Redis 7.2's order of checks."""

    def __init__(self, ctx: Context, key: bytes) -> None:
        self.ctx = ctx
        self.zset = ctx.find_zset(key)
        self.target: bytes | None = None
        self.stores_distance = False
        self.event = b"georadiusstore"
        self.with_distance = False
        self.with_hash = False
        self.with_place = False
        self.count = 0  # 0: all
        self.takes_any = False
        self.ascending = False
        self.descending = False
        self.from_member = False
        self.from_place = False
        self.longitude = 0.0
        self.latitude = 0.0
        self.by_radius = False
        self.by_box = False
        self.radius = -1.0  # in units, as width and height
        self.width = 0.0
        self.height = 0.0
        self.unit = 1.0  # metres

    # -- words ------------------------------------------------------------------------------------------------------

    def set_centre(self, place: tuple[float, float]) -> None:
        self.longitude, self.latitude = place

    def set_centre_at(self, member: bytes) -> None:
        """Search around a member; without a set, the member is not looked at."""
        if self.zset is None:
            return
        if member not in self.zset.scores:
            raise error("could not decode requested zset member")
        self.set_centre(decode(self.zset.scores[member]))

    def set_radius(self, number: bytes, unit_name: bytes) -> None:
        radius = parse_float(number)
        if radius is None:
            raise error("need numeric radius")
        if radius < 0:
            raise error("radius cannot be negative")
        self.unit = unit(unit_name)
        self.radius = radius

    def set_box(self, width_text: bytes, height_text: bytes, unit_name: bytes) -> None:
        width, height = parse_float(width_text), parse_float(height_text)
        if width is None:
            raise error("need numeric width")
        if height is None:
            raise error("need numeric height")
        if width < 0 or height < 0:
            raise error("height or width cannot be negative")
        self.unit = unit(unit_name)
        self.width, self.height = width, height

    def read_options(self, argv: list[bytes], at: int, is_search: bool, may_store: bool) -> None:
        args = Arguments(argv, at)
        while args.more():
            if self._read_flag(args):
                continue
            if args.left() > 1 and args.flag(b"COUNT"):
                self.count = args.integer()
                if not args.is_mistaken() and self.count <= 0:
                    args.fail(error("COUNT must be > 0"))
            elif is_search and may_store and args.flag(b"STOREDIST"):
                self.stores_distance = True
            elif not is_search and may_store and args.left() > 1 and args.flag(b"STORE"):
                self.target, self.stores_distance = args.next(), False
            elif not is_search and may_store and args.left() > 1 and args.flag(b"STOREDIST"):
                self.target, self.stores_distance = args.next(), True
            elif not is_search or not self._read_area(args):
                args.unknown()
        args.done()
        if is_search:
            self.event = b"geosearchstore"

    def _read_flag(self, args: Arguments) -> bool:
        if args.flag(b"WITHDIST"):
            self.with_distance = True
        elif args.flag(b"WITHHASH"):
            self.with_hash = True
        elif args.flag(b"WITHCOORD"):
            self.with_place = True
        elif args.flag(b"ANY"):
            self.takes_any = True
        elif args.flag(b"ASC"):
            self.ascending, self.descending = True, False
        elif args.flag(b"DESC"):
            self.ascending, self.descending = False, True
        else:
            return False
        return True

    def _read_area(self, args: Arguments) -> bool:
        """FROM… or BY… of GEOSEARCH."""
        if not self.from_place and args.left() > 1 and args.flag(b"FROMMEMBER"):
            self.set_centre_at(args.next())
            self.from_member = True
        elif not self.from_member and args.left() > 2 and args.flag(b"FROMLONLAT"):
            self.set_centre(coordinates(args.next(), args.next()))
            self.from_place = True
        elif not self.by_box and args.left() > 2 and args.flag(b"BYRADIUS"):
            self.set_radius(args.next(), args.next())
            self.by_radius = True
        elif not self.by_radius and args.left() > 3 and args.flag(b"BYBOX"):
            self.set_box(args.next(), args.next(), args.next())
            self.by_box = True
        else:
            return False
        return True

    def check(self, argv: list[bytes], is_search: bool) -> None:
        """Options that do not go together, or are missing."""
        if self.target is not None and (self.with_distance or self.with_hash or self.with_place):
            name = "GEOSEARCHSTORE" if is_search else "STORE option in GEORADIUS"
            raise error(f"{name} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
        if is_search:
            if not self.from_member and not self.from_place:
                raise _needs_one("FROMMEMBER or FROMLONLAT", argv[0])
            if not self.by_radius and not self.by_box:
                raise _needs_one("BYRADIUS and BYBOX", argv[0])
        if self.takes_any and not self.count:
            raise error("the ANY argument requires COUNT argument")

    # -- work -------------------------------------------------------------------------------------------------------

    def answer(self) -> Reply:
        places = self.find()
        if self.target is not None:
            return self.store_all(self.target, places)
        if not self.with_distance and not self.with_hash and not self.with_place:
            return [place.member for place in places]
        return [self._row(place) for place in places]

    def find(self) -> list[Place]:
        if self.zset is None:
            return []
        shape = Shape(
            self.longitude, self.latitude, self.radius * self.unit, self.width * self.unit, self.height * self.unit
        )
        places: list[Place] = []
        for low, high in covering_ranges(shape):
            self._collect(self.zset, shape, low, high, places)
            if self.takes_any and len(places) >= self.count:
                break
        if self.ascending or self.descending or (self.count and not self.takes_any):
            places.sort(key=_metres, reverse=self.descending)
        return places[: self.count] if self.count else places

    def _collect(self, zset: SortedSet, shape: Shape, low: float, high: float, places: list[Place]) -> None:
        """Add the places of one range of scores that lie in the shape; with ANY no more than asked for."""
        at = zset.rank_by_score(low, False)
        stop = zset.rank_by_score(high, False)
        while at < stop:
            for member, score in zset.pairs(at, min(at + _PAGE, stop)):
                longitude, latitude = decode(score)
                metres = shape.distance_if_inside(longitude, latitude)
                if metres >= 0:
                    places.append(Place(member, score, longitude, latitude, metres))
                    if self.takes_any and len(places) >= self.count:
                        return
            at += _PAGE

    def store_all(self, target: bytes, places: list[Place]) -> int:
        """Put the places under a key, and into the log what that needs."""
        zset = SortedSet()
        for place in places:
            score = place.metres / self.unit if self.stores_distance else place.score
            put_member(zset, place.member, score, self.ctx.limits)
        if self.ctx.exists(target):
            self.ctx.log_as(b"DEL", target)
        store(self.ctx, target, zset, self.event)
        if len(zset):
            scored: list[bytes] = []
            for member, score in zset.items():
                scored += [format_double(score), member]
            self.ctx.log_as(b"ZADD", target, *scored)
        return len(zset)

    def _row(self, place: Place) -> list[Reply]:
        row: list[Reply] = [place.member]
        if self.with_distance:
            row.append(distance_text(place.metres / self.unit))
        if self.with_hash:
            row.append(_whole(place.score))
        if self.with_place:
            row.append([coordinate(place.longitude), coordinate(place.latitude)])
        return row


_PAGE: Final = 1024  # members looked at between two questions to the set


def _metres(place: Place) -> float:
    return place.metres


def _whole(score: float) -> int:
    """A score as a signed integer of 64 bits; what is too large for one becomes the lowest, as on x86-64."""
    if -(2.0**63) <= score < 2.0**63:
        return int(score)
    return INT64_MIN


def _needs_one(choice: str, name: bytes) -> CommandError:
    shown = name.decode("utf-8", "surrogateescape")
    return error(f"exactly one of {choice} can be specified for {shown}")
