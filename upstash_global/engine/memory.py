"""Memory: an estimate of the bytes that keys and values take in this process.

Python says what a table or a list takes (`sys.getsizeof`, in constant time), so only the elements are estimated: by the mean
of the first few. What a keyspace takes is the sum over its keys and the tables that hold them. The sum is kept up to date by
the keys that each unit touched, while a limit is set; without one nothing is counted, and whoever asks gets the mean of
some keys.

Keys that were there when counting began are counted in steps; until that is done those that are counted stand for the rest.
"""

from collections.abc import Iterable
from itertools import islice
from sys import getsizeof
from typing import Any, Final

from upstash_global.engine.keyspace import Keyspace
from upstash_global.engine.types.deadlines import Deadlines
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.engine.types.json import Json, memory_bytes
from upstash_global.engine.types.list import List
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.engine.types.stream import Stream

DEFAULT_SAMPLES: Final = 5  # elements of a collection
_SAMPLED_KEYS: Final = 500  # of the oldest, and of the newest, where nothing is counted

_INTEGER_BYTES: Final = 32
_SHARED_INTEGERS: Final = 257  # small ones, of which Python has one each
_FLOAT_BYTES: Final = 24
_ID_BYTES: Final = 48  # of a stream: an integer of 128 bits
_PLACE_BYTES: Final = 9  # in a list that grows
_DEADLINE_BYTES: Final = 32 + 72 + 9  # the integer, and its pair in a heap
_GROUP_BYTES: Final = 500
_PENDING_BYTES: Final = 150
_OBJECT_BYTES: Final = 96
_CHUNKS_BYTES: Final = 600  # the lists of an ordered index, before anything is in them
_EMPTY_DICT_BYTES: Final = 64
_MOST_ENTRY_BYTES: Final = 110  # of a table that has just grown
_TABLE_BYTES: Final = 100  # a key's place in the tables of a keyspace


def string_bytes(length: int) -> int:
    """What a bytes object of this length takes, as the allocator rounds it."""
    return (length + 48) & ~15


def key_bytes(key: bytes, value: Any, n_samples: int = DEFAULT_SAMPLES) -> int:
    """An estimate of a key and its value, from the first `n_samples` elements of a collection, 0 for all of them."""
    return string_bytes(len(key)) + value_bytes(value, n_samples)


def usage(key: bytes, value: Any, n_samples: int) -> int:
    """What MEMORY USAGE answers: a key, its value, and about what its place takes."""
    return _TABLE_BYTES + key_bytes(key, value, n_samples)


def value_bytes(value: Any, n_samples: int) -> int:
    if type(value) is bytes:
        return string_bytes(len(value))
    if type(value) is Hash:
        return _OBJECT_BYTES + _hash_bytes(value, n_samples)
    if type(value) is List:
        return (
            _OBJECT_BYTES
            + getsizeof(value.front)
            + getsizeof(value.back)
            + _elements_bytes(value, len(value), n_samples)
        )
    if type(value) is IndexedSet:
        return _OBJECT_BYTES + _indexed_bytes(value) + _elements_bytes(value.members, len(value), n_samples)
    if type(value) is SortedSet:
        return _OBJECT_BYTES + _CHUNKS_BYTES + _zset_bytes(value, n_samples)
    if type(value) is Stream:
        return _OBJECT_BYTES + _CHUNKS_BYTES + _stream_bytes(value, n_samples)
    if type(value) is Json:
        return _OBJECT_BYTES + memory_bytes(value.root)
    return getsizeof(value)  # a string that was edited, or that INCRBYFLOAT wrote


def _hash_bytes(value: Hash, n_samples: int) -> int:
    n = len(value.fields)
    total = getsizeof(value.fields) + _elements_bytes(value.fields, n, n_samples)
    total += _elements_bytes(value.fields.values(), n, n_samples)
    if value.deadlines is not None:
        total += _deadlines_bytes(value.deadlines)
    if value.index is not None:
        total += _indexed_bytes(value.index)
    return total


def _zset_bytes(value: SortedSet, n_samples: int) -> int:
    n = len(value)
    places = n * (_FLOAT_BYTES + 2 * _PLACE_BYTES)
    total = getsizeof(value.scores) + places + _elements_bytes(value.scores, n, n_samples)
    return total if value.scan_index is None else total + _indexed_bytes(value.scan_index)


def _stream_bytes(value: Stream, n_samples: int) -> int:
    n = len(value)
    total = n * (_ID_BYTES + 2 * _PLACE_BYTES)
    if n:
        packed = value.entries.value_chunks[-1]  # of the newest entries
        total += _elements_bytes(packed, len(packed), n_samples) * n // len(packed)
    for group in value.groups.values():
        total += _GROUP_BYTES * (1 + len(group.consumers)) + _PENDING_BYTES * len(group.pending)
    return total


def _indexed_bytes(members: IndexedSet) -> int:
    """The tables of a set, without its members."""
    n_integers = max(0, len(members) - _SHARED_INTEGERS)
    return _dict_bytes(members.slots) + getsizeof(members.members) + _INTEGER_BYTES * n_integers


def _deadlines_bytes(deadlines: Deadlines) -> int:
    return getsizeof(deadlines.times) + _DEADLINE_BYTES * len(deadlines)


def _elements_bytes(elements: Iterable[bytes], n: int, n_samples: int) -> int:
    """The bytes of all `n` elements if all are like the first ones."""
    total = 0
    n_sampled = 0
    for element in islice(elements, n_samples or n):
        total += string_bytes(len(element))
        n_sampled += 1
    return total * n // n_sampled if n_sampled else 0


def _dict_bytes(table: dict[bytes, Any]) -> int:
    """A table's own bytes. One that has shrunk keeps its size, but what left of it is not counted: it will be used again."""
    return min(getsizeof(table), _EMPTY_DICT_BYTES + _MOST_ENTRY_BYTES * len(table))


def tables_bytes(keyspace: Keyspace) -> int:
    """What a keyspace takes beside its keys and values."""
    total = _dict_bytes(keyspace.values)
    if keyspace.deadlines:
        total += _dict_bytes(keyspace.deadlines) + _DEADLINE_BYTES * len(keyspace.deadlines)
    if keyspace.index is not None:
        total += _indexed_bytes(keyspace.index)
    if keyspace.hashes.times:
        total += _deadlines_bytes(keyspace.hashes)
    if keyspace.accesses is not None:
        accesses = keyspace.accesses
        total += _dict_bytes(accesses.last_ms) + _dict_bytes(accesses.counters) + _INTEGER_BYTES * len(accesses.last_ms)
    return total


def estimated_bytes(keyspace: Keyspace) -> int:
    """What a keyspace takes, where nothing is counted: its oldest and its newest keys stand for all."""
    values = keyspace.values
    n = len(values)
    if n <= 2 * _SAMPLED_KEYS:
        sample = list(values)
    else:
        sample = list(islice(values, _SAMPLED_KEYS)) + list(islice(reversed(values), _SAMPLED_KEYS))
    if not sample:
        return 0
    return sum([key_bytes(key, values[key]) for key in sample]) * n // len(sample) + tables_bytes(keyspace)


class Memory:
    """What the keys of one keyspace take, kept up to date."""

    def __init__(self, keyspace: Keyspace) -> None:
        self.keyspace = keyspace
        self.sizes: dict[bytes, int] = {}  # of the keys that are counted
        self.total = 0  # of them
        self.uncounted = list(keyspace.values)  # that were there at the start, taken from the end

    def note(self, keys: list[bytes]) -> None:
        """These keys may have changed, come or gone."""
        for key in keys:
            self._count(key)

    def flushed(self) -> None:
        """All keys are gone."""
        self.sizes = {}
        self.total = 0
        self.uncounted = []

    def step(self, n_keys: int) -> None:
        """Count some of the keys that were there at the start."""
        uncounted = self.uncounted
        for _ in range(min(n_keys, len(uncounted))):
            key = uncounted.pop()
            if key not in self.sizes:
                self._count(key)

    def used(self) -> int:
        """Bytes of all keys, their values and the tables that hold them."""
        total = self.total
        n, n_counted = len(self.keyspace.values), len(self.sizes)
        if self.uncounted:
            if not n_counted:
                return estimated_bytes(self.keyspace)
            total = total * n // n_counted
        return total + tables_bytes(self.keyspace) + _dict_bytes(self.sizes)

    def _count(self, key: bytes) -> None:
        value = self.keyspace.values.get(key)
        old = self.sizes.get(key, 0)
        if value is None:
            if old:
                del self.sizes[key]
                self.total -= old
            return
        size = key_bytes(key, value)
        self.sizes[key] = size
        self.total += size - old
