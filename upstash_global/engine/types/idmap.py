"""IdMap: values by stream id, in ascending order.

An id is one integer of 128 bits: milliseconds, then a sequence number of 64 bits. The map is a row of chunks of at most
CHUNK values; a chunk is two parallel lists, its ids and its values, and `last_ids` says where to search. What is added at
the end or removed from the front, as streams mostly are, costs a short memory move; anything else two bisects as well.
There is no dict beside it: a million entries cost their ids and their values, and two pointers each.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any, Final

CHUNK: Final = 512


class IdMap:
    __slots__ = ("id_chunks", "value_chunks", "last_ids", "size")

    def __init__(self) -> None:
        self.id_chunks: list[list[int]] = []  # no chunk is empty
        self.value_chunks: list[list[Any]] = []
        self.last_ids: list[int] = []  # the last id of each chunk
        self.size = 0

    def __len__(self) -> int:
        return self.size

    # -- one id -------------------------------------------------------------------------------------------------

    def get(self, id: int) -> Any:
        """The value of an id, or None."""
        chunk = bisect_left(self.last_ids, id)
        if chunk == len(self.last_ids):
            return None
        ids = self.id_chunks[chunk]
        at = bisect_left(ids, id)
        return self.value_chunks[chunk][at] if ids[at] == id else None

    def put(self, id: int, value: Any) -> None:
        """Set the value of an id."""
        last_ids = self.last_ids
        if not last_ids or id > last_ids[-1]:
            self._append(id, value)
            return
        chunk = bisect_left(last_ids, id)
        ids = self.id_chunks[chunk]
        at = bisect_left(ids, id)
        if ids[at] == id:
            self.value_chunks[chunk][at] = value
            return
        ids.insert(at, id)
        self.value_chunks[chunk].insert(at, value)
        self.size += 1
        if len(ids) > CHUNK:
            self._split(chunk)

    def pop(self, id: int) -> Any:
        """Remove an id; its value, or None if it was not there."""
        chunk = bisect_left(self.last_ids, id)
        if chunk == len(self.last_ids):
            return None
        ids = self.id_chunks[chunk]
        at = bisect_left(ids, id)
        if ids[at] != id:
            return None
        value = self.value_chunks[chunk][at]
        if len(ids) == 1:
            self._drop_chunk(chunk)
        else:
            del ids[at]
            del self.value_chunks[chunk][at]
            self.last_ids[chunk] = ids[-1]
        self.size -= 1
        return value

    # -- from the ends ------------------------------------------------------------------------------------------

    def first_id(self) -> int:
        """The lowest id; 0 if there is none."""
        return self.id_chunks[0][0] if self.id_chunks else 0

    def last_id(self) -> int:
        """The highest id; 0 if there is none."""
        return self.last_ids[-1] if self.last_ids else 0

    def drop_first(self, count: int) -> None:
        """Remove the first `count` ids, or all of them."""
        while count > 0 and self.id_chunks:
            ids = self.id_chunks[0]
            if len(ids) <= count:
                count -= len(ids)
                self.size -= len(ids)
                self._drop_chunk(0)
            else:
                del ids[:count]
                del self.value_chunks[0][:count]
                self.size -= count
                count = 0

    def count_below(self, id: int) -> int:
        """How many ids are lower. Costs a step for each chunk that is."""
        count = 0
        for chunk in range(len(self.last_ids)):
            if self.last_ids[chunk] >= id:
                return count + bisect_left(self.id_chunks[chunk], id)
            count += len(self.id_chunks[chunk])
        return count

    # -- ranges -------------------------------------------------------------------------------------------------

    def between(self, start: int, end: int, count: int = -1) -> list[tuple[int, Any]]:
        """(id, value) from `start` to `end`, both included; only the first `count` of them unless that is negative."""
        found: list[tuple[int, Any]] = []
        chunk = bisect_left(self.last_ids, start)
        while chunk < len(self.last_ids):
            ids = self.id_chunks[chunk]
            low = bisect_left(ids, start)
            high = bisect_right(ids, end)
            if count >= 0:
                high = min(high, low + count - len(found))
            if low >= high:
                break
            found.extend(zip(ids[low:high], self.value_chunks[chunk][low:high], strict=True))
            chunk += 1
        return found

    def slice(self, start: int, stop: int) -> list[tuple[int, Any]]:
        """(id, value) of the places start to stop - 1, counted from the lowest id. Costs a step for each chunk before them."""
        found: list[tuple[int, Any]] = []
        for chunk in range(len(self.id_chunks)):
            ids = self.id_chunks[chunk]
            if start < len(ids):
                found.extend(zip(ids[start:stop], self.value_chunks[chunk][start:stop], strict=True))
            start = max(0, start - len(ids))
            stop -= len(ids)
            if stop <= 0:
                break
        return found

    def between_down(self, start: int, end: int, count: int = -1) -> list[tuple[int, Any]]:
        """As `between`, from the highest id down: with a `count` the last ones."""
        found: list[tuple[int, Any]] = []
        chunk = min(bisect_left(self.last_ids, end), len(self.last_ids) - 1)
        while chunk >= 0:
            ids = self.id_chunks[chunk]
            low = bisect_left(ids, start)
            high = bisect_right(ids, end)
            if count >= 0:
                low = max(low, high - count + len(found))
            if low >= high:
                if high > 0:
                    break
            else:
                pairs = list(zip(ids[low:high], self.value_chunks[chunk][low:high], strict=True))
                pairs.reverse()
                found += pairs
            chunk -= 1
        return found

    def walk(self, start: int) -> Iterator[tuple[int, Any]]:
        """(id, value) from `start` on, one by one; the map must not change meanwhile."""
        chunk = bisect_left(self.last_ids, start)
        if chunk == len(self.last_ids):
            return
        at = bisect_left(self.id_chunks[chunk], start)
        while chunk < len(self.last_ids):
            ids = self.id_chunks[chunk]
            values = self.value_chunks[chunk]
            while at < len(ids):
                yield ids[at], values[at]
                at += 1
            chunk += 1
            at = 0

    # -- chunks -------------------------------------------------------------------------------------------------

    def _append(self, id: int, value: Any) -> None:
        if self.id_chunks and len(self.id_chunks[-1]) < CHUNK:
            self.id_chunks[-1].append(id)
            self.value_chunks[-1].append(value)
            self.last_ids[-1] = id
        else:
            self.id_chunks.append([id])
            self.value_chunks.append([value])
            self.last_ids.append(id)
        self.size += 1

    def _split(self, chunk: int) -> None:
        ids = self.id_chunks[chunk]
        values = self.value_chunks[chunk]
        half = len(ids) // 2
        self.id_chunks.insert(chunk + 1, ids[half:])
        self.value_chunks.insert(chunk + 1, values[half:])
        del ids[half:]
        del values[half:]
        self.last_ids.insert(chunk, ids[-1])

    def _drop_chunk(self, chunk: int) -> None:
        del self.id_chunks[chunk]
        del self.value_chunks[chunk]
        del self.last_ids[chunk]
