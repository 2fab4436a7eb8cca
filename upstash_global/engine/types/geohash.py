"""Geohash: places on earth as scores of a sorted set, and the ranges of scores that cover an area.

A place is two cell numbers, longitude and latitude each cut into 2**26 equal steps. Their bits alternate in one number of
52 bits, the score: longitude first. Places that share leading bits lie in one rectangle, so a rectangle is one range of
scores, and an area to search is covered by the rectangle around its centre and that rectangle's eight neighbours.

Cells, radius, distances and the choice of rectangles are those of Redis 7.2, whose scores a client may read and write as
plain numbers. Latitudes end where the map projection of the web does.
"""

from math import asin, cos, isinf, nan, pi, sin, sqrt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import i64

LONGITUDE_MAX: Final = 180.0
LATITUDE_MAX: Final = 85.05112878
STEPS: Final = 26

_EARTH_RADIUS_M: Final = 6372797.560856
_HALF_MAP_M: Final = 20037726.37  # half of the equator in the web's map projection
_RADIANS: Final = pi / 180.0
_ALPHABET: Final = b"0123456789bcdefghjkmnpqrstuvwxyz"


# -- places ---------------------------------------------------------------------------------------------------------


def encode(longitude: float, latitude: float) -> int:
    """The score of a place within the limits above."""
    return _Cell(longitude, latitude, STEPS).bits()


def decode(score: float) -> tuple[float, float]:
    """Longitude and latitude of the middle of a cell; any score is taken for one."""
    bits: i64 = _as_signed(score)
    x, y = float(_every_other_bit(bits >> 1)), float(_every_other_bit(bits))
    n = float(1 << STEPS)
    west, east = _edge(x, n, LONGITUDE_MAX), _edge(x + 1.0, n, LONGITUDE_MAX)
    south, north = _edge(y, n, LATITUDE_MAX), _edge(y + 1.0, n, LATITUDE_MAX)
    longitude, latitude = (west + east) / 2, (south + north) / 2
    return min(longitude, LONGITUDE_MAX), min(latitude, LATITUDE_MAX)


def geohash_text(score: float) -> bytes:
    """The standard geohash of 11 letters, whose latitudes reach to the poles. The last letter is always 0."""
    longitude, latitude = decode(score)
    bits = _interleave(_step(longitude, STEPS, LONGITUDE_MAX), _step(latitude, STEPS, 90.0))
    return bytes([_ALPHABET[(bits >> shift) & 31] for shift in range(47, 0, -5)]) + b"0"


def distance(longitude: float, latitude: float, other_longitude: float, other_latitude: float) -> float:
    """Metres along the great circle, on a sphere."""
    v = sin((other_longitude * _RADIANS - longitude * _RADIANS) / 2)
    if v == 0.0:
        return _distance_on_meridian(latitude, other_latitude)
    radians, other_radians = latitude * _RADIANS, other_latitude * _RADIANS
    u = sin((other_radians - radians) / 2)
    haversine = u * u + cos(radians) * cos(other_radians) * v * v
    return 2.0 * _EARTH_RADIUS_M * asin(sqrt(min(haversine, 1.0)))


def _distance_on_meridian(latitude: float, other_latitude: float) -> float:
    return _EARTH_RADIUS_M * abs(other_latitude * _RADIANS - latitude * _RADIANS)


def _as_signed(score: float) -> int:
    """A score as an integer of 64 bits, as a cast on x86-64 has it: what is too large wraps, infinite ones are corners."""
    if isinf(score):
        return 0 if score > 0 else -(1 << 63)
    whole = int(score)
    if whole < -(1 << 63):
        return -(1 << 63)
    if whole >= 1 << 64:
        return 0
    return whole if whole < 1 << 63 else whole - (1 << 64)


def _every_other_bit(bits: "i64") -> "i64":
    """The bits 0, 2, 4 … 62 as a number of 32 bits: neighbours are joined in pairs, then fours, and so on."""
    bits &= 0x5555_5555_5555_5555
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333
    bits = (bits | bits >> 2) & 0x0F0F_0F0F_0F0F_0F0F
    bits = (bits | bits >> 4) & 0x00FF_00FF_00FF_00FF
    bits = (bits | bits >> 8) & 0x0000_FFFF_0000_FFFF
    return (bits | bits >> 16) & 0xFFFF_FFFF


# -- areas ----------------------------------------------------------------------------------------------------------


class Shape:
    """The area of a search around a centre: a circle, or a box that is upright and that wide and high at its centre."""

    def __init__(self, longitude: float, latitude: float, radius: float, width: float, height: float) -> None:
        self.longitude = longitude
        self.latitude = latitude
        self.radius = radius  # in metres, as all lengths here; negative: a box
        self.width = width
        self.height = height

    def distance_if_inside(self, longitude: float, latitude: float) -> float:
        """Metres from the centre; negative if the place lies outside."""
        if self.radius >= 0:
            metres = distance(self.longitude, self.latitude, longitude, latitude)
            return metres if metres <= self.radius else -1.0
        if _distance_on_meridian(self.latitude, latitude) > self.height / 2:
            return -1.0
        if distance(longitude, latitude, self.longitude, latitude) > self.width / 2:
            return -1.0
        return distance(self.longitude, self.latitude, longitude, latitude)

    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north; a box is as wide as at its wider end, towards the pole."""
        half_width = self.radius if self.radius >= 0 else self.width / 2
        half_height = self.radius if self.radius >= 0 else self.height / 2
        d_latitude = half_height / _EARTH_RADIUS_M / _RADIANS
        widest = self.latitude - d_latitude if self.latitude < 0 else self.latitude + d_latitude
        narrowing = cos(widest * _RADIANS) if not isinf(widest) else nan
        d_longitude = half_width / _EARTH_RADIUS_M / narrowing / _RADIANS
        return (
            self.longitude - d_longitude,
            self.latitude - d_latitude,
            self.longitude + d_longitude,
            self.latitude + d_latitude,
        )

    def reach(self) -> float:
        """Metres from the centre to the farthest place inside."""
        if self.radius >= 0:
            return self.radius
        return sqrt((self.width / 2) * (self.width / 2) + (self.height / 2) * (self.height / 2))


def covering_ranges(shape: Shape) -> list[tuple[float, float]]:
    """Ranges of scores, lowest included and highest not, that hold all places of a shape, and others.

    In the order in which Redis 7.2 searches them: the middle, then N, S, E, W, NE, NW, SE, SW. Around the whole earth a
    neighbour may be another one too; like Redis we leave out only a repetition of the one before.
    """
    west, south, east, north = shape.bounds()
    n_steps = _steps_for(shape.reach(), shape.latitude)
    middle = _Cell(shape.longitude, shape.latitude, n_steps)
    if n_steps > 1 and not middle.neighbours_reach(west, south, east, north):
        n_steps -= 1
        middle = _Cell(shape.longitude, shape.latitude, n_steps)
    left, right = _edges(middle.x, n_steps, LONGITUDE_MAX)
    bottom, top = _edges(middle.y, n_steps, LATITUDE_MAX)
    ranges = [middle.scores()]
    previous: _Cell | None = None
    for dx, dy in _DIRECTIONS:
        if n_steps >= 2 and (
            (dy < 0 and bottom < south)
            or (dy > 0 and top > north)
            or (dx < 0 and left < west)
            or (dx > 0 and right > east)
        ):
            continue  # the middle alone reaches beyond the area on this side
        cell = middle.moved(dx, dy)
        if previous is None or cell.x != previous.x or cell.y != previous.y:
            ranges.append(cell.scores())
            previous = cell
    return ranges


_DIRECTIONS: Final = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]


class _Cell:
    """A rectangle: the x-th of 2**n_steps columns and the y-th of as many rows."""

    def __init__(self, longitude: float, latitude: float, n_steps: int) -> None:
        self.n_steps = n_steps
        self.x = _step(longitude, n_steps, LONGITUDE_MAX)
        self.y = _step(latitude, n_steps, LATITUDE_MAX)

    def moved(self, dx: int, dy: int) -> "_Cell":
        """A neighbour; beyond an edge of the map comes the opposite one."""
        mask = (1 << self.n_steps) - 1
        cell = _Cell(0.0, 0.0, self.n_steps)
        cell.x = (self.x + dx) & mask if dx else self.x
        cell.y = (self.y + dy) & mask if dy else self.y
        return cell

    def bits(self) -> int:
        return _interleave(self.x, self.y)

    def scores(self) -> tuple[float, float]:
        shift = 2 * (STEPS - self.n_steps)
        bits = self.bits()
        return float(bits << shift), float((bits + 1) << shift)

    def neighbours_reach(self, west: float, south: float, east: float, north: float) -> bool:
        """Whether this cell and those around it hold all between these bounds, as far as Redis 7.2 looks.

        A bound that is no number counts as held.
        """
        _, top = _edges(self.moved(0, 1).y, self.n_steps, LATITUDE_MAX)
        bottom, _ = _edges(self.moved(0, -1).y, self.n_steps, LATITUDE_MAX)
        _, right = _edges(self.moved(1, 0).x, self.n_steps, LONGITUDE_MAX)
        left, _ = _edges(self.moved(-1, 0).x, self.n_steps, LONGITUDE_MAX)
        return not (top < north or bottom > south or right < east or left > west)


def _steps_for(reach_m: float, latitude: float) -> int:
    """How finely to cut the map so that a rectangle and its neighbours hold a circle of that radius."""
    if reach_m == 0:
        return STEPS
    n_steps = -1
    while reach_m < _HALF_MAP_M:
        reach_m *= 2
        n_steps += 1
    if abs(latitude) > 66:  # meridians draw together
        n_steps -= 1
        if abs(latitude) > 80:
            n_steps -= 1
    return min(max(n_steps, 1), STEPS)


def _step(degrees: float, n_steps: int, limit: float) -> int:
    """In which of 2**n_steps equal parts from -limit to limit a number lies; the limit itself is one beyond the last."""
    return int((degrees + limit) / (limit + limit) * (1 << n_steps))


def _edges(step: int, n_steps: int, limit: float) -> tuple[float, float]:
    n = float(1 << n_steps)
    return _edge(float(step), n, limit), _edge(float(step + 1), n, limit)


def _edge(step: float, n: float, limit: float) -> float:
    """Where the part number `step` of `n` from -limit to limit begins."""
    return -limit + (step / n) * (limit + limit)


def _interleave(x: int, y: int) -> int:
    """One number of the bits of two: a binary text that is read in base 4 has a 0 before each digit."""
    return int(f"{x:b}", 4) << 1 | int(f"{y:b}", 4)
