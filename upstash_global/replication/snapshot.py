"""Snapshots: the whole keyspace at exactly one position, taken while it goes on changing.

The writer begins between two units and then walks the keys in small steps. A key that is about to change for the first
time since is dumped just before, so what is written is always its value at the start. It need not know whether the walk
had already passed the key: a second copy is the same value, and the loader takes either. A key that was absent at the
start is only marked as touched, and the walk, which goes over the keys of the start, never meets it. FLUSHALL replaces the
tables of the keyspace; the writer keeps the old ones.

A collection of more than SLICE elements is written in slices, one iterator over it being kept between steps; if it is
about to change meanwhile, the rest of it is written at once.

Format: blocks (see codec) of three kinds. One HEADER: position, CRC, history, time. DATA: a stream of msgpack items that
runs on across blocks: [name, table] for each system table, then [key, deadline, part, more] for the keys; `more` says that
a later item continues the same collection. One TRAILER: the number of items and a CRC over all bytes before it.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgpack
from isal.isal_zlib import crc32

from upstash_global.engine import dump as kinds
from upstash_global.engine.dump import dump, load
from upstash_global.engine.keyspace import Keyspace, Observer
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.engine.types.list import List
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.engine.types.stream import Stream
from upstash_global.errors import SnapshotError
from upstash_global.replication.codec import INCOMPLETE, decode_block, encode_block
from upstash_global.replication.position import History, Position

HEADER: Final = 1
DATA: Final = 2
TRAILER: Final = 3

SLICE: Final = 1000  # elements
BLOCK_BYTES: Final = 1 << 20

# Where the elements stand in the dump of a collection that may be written in slices.
_ELEMENTS_AT: Final = {kinds.LIST: 1, kinds.SET: 2, kinds.ZSET: 2, kinds.HASH: 2, kinds.STREAM: 2}

_packer: Final = msgpack.Packer(use_bin_type=True)


class SnapshotHeader:
    """Which state a snapshot holds."""

    def __init__(self, position: Position, crc: int, history: History, time_ms: int) -> None:
        self.position = position
        self.crc = crc  # of the record at `position`; the log goes on from it
        self.history = history
        self.time_ms = time_ms


class Loaded(SnapshotHeader):
    """A whole snapshot, verified."""

    def __init__(self, header: SnapshotHeader, keyspace: Keyspace, system_tables: dict[str, Any]) -> None:
        super().__init__(header.position, header.crc, header.history, header.time_ms)
        self.keyspace = keyspace
        self.system_tables = system_tables


class SnapshotWriter(Observer):
    """Writes the state at the moment of its creation; `step` until it answers None."""

    def __init__(
        self,
        keyspace: Keyspace,
        system_tables: dict[str, Any],
        position: Position,
        crc: int,
        history: History,
        time_ms: int,
    ) -> None:
        assert keyspace.observer is None, "one snapshot at a time"
        self.keyspace = keyspace
        self.position = position
        self.values = keyspace.values  # stay those of the start's tables when the keyspace is flushed
        self.deadlines = keyspace.deadlines
        self.keys = list(keyspace.values)  # still to be visited, from the end
        self.n_keys = len(self.keys)
        self.touched: set[bytes] = set()  # changed or about to change since the start, present or absent then
        self.items = bytearray()  # packed, not yet framed
        self.n_items = 0
        self.sliced: _Slices | None = None  # the collection that is being written
        self.total_crc = 0
        self.size = 0
        self.finished = False
        self.head = self._frame(HEADER, _pack([position.epoch, position.lsn, crc, history.to_plain(), time_ms]))
        for name, table in system_tables.items():
            self._add([name, table])
        keyspace.observer = self

    def step(self, max_keys: int) -> bytes | None:
        """The next bytes of the snapshot (maybe b""), after visiting about `max_keys` keys or elements; None at the end."""
        if self.finished:
            return None
        budget = max_keys
        while budget > 0 and len(self.items) < 2 * BLOCK_BYTES and (self.sliced is not None or self.keys):
            budget -= self._visit_next()
        out = bytearray(self.head)
        self.head = b""
        at_end = self.sliced is None and not self.keys
        while len(self.items) >= BLOCK_BYTES or (self.items and at_end):
            out += self._frame(DATA, bytes(self.items[:BLOCK_BYTES]))
            del self.items[:BLOCK_BYTES]
        if at_end:
            out += self._frame(TRAILER, _pack([self.n_items, self.total_crc]))
            self.abort()
        return bytes(out)

    def abort(self) -> None:
        """Stop watching the keyspace; what was not written never will be."""
        self.finished = True
        if self.keyspace.observer is self:
            self.keyspace.observer = None
        self.keys = []
        self.touched = set()

    def before_change(self, key: bytes) -> None:
        if key in self.touched:
            return
        self.touched.add(key)
        sliced = self.sliced
        if sliced is not None and sliced.key == key:
            while self.sliced is not None:
                self._write_slice()
            return
        value = self.values.get(key)
        if value is not None:
            self._add([key, self.deadlines.get(key, -1), dump(value), False])

    def before_flush(self) -> None:
        """Nothing to save: the old tables are ours from now on."""

    def _visit_next(self) -> int:
        """Write one key or one slice; the number of elements that took."""
        if self.sliced is not None:
            return self._write_slice()
        key = self.keys.pop()
        if key in self.touched:
            return 1
        value = self.values[key]
        size = 1 if type(value) is bytes or type(value) is bytearray else len(value) if hasattr(value, "__len__") else 1
        if size > SLICE and type(value) in _SLICED_TYPES:
            self.sliced = _Slices(key, self.deadlines.get(key, -1), value)
            return self._write_slice()
        self._add([key, self.deadlines.get(key, -1), dump(value), False])
        return 1 + size // 8

    def _write_slice(self) -> int:
        sliced = self.sliced
        assert sliced is not None
        part, more = sliced.next()
        self._add([sliced.key, sliced.deadline, part, more])
        if not more:
            self.sliced = None
        return SLICE

    def _add(self, item: list[Any]) -> None:
        self.items += _pack(item)
        self.n_items += 1

    def _frame(self, kind: int, payload: bytes) -> bytes:
        block = encode_block(kind, payload)
        self.total_crc = crc32(block, self.total_crc)
        self.size += len(block)
        return block


_SLICED_TYPES: Final = (List, Hash, IndexedSet, SortedSet, Stream)


class _Slices:
    """A large collection and how far it has been written. Its iterator holds as long as nobody changes the collection."""

    def __init__(self, key: bytes, deadline: int, value: Any) -> None:
        self.key = key
        self.deadline = deadline
        self.left = len(value)
        self.elements: Iterator[Any]
        if type(value) is Hash:
            self.elements = iter(value.fields.items())
        elif type(value) is SortedSet or type(value) is Stream:
            self.elements = iter(value.items())
        else:
            self.elements = iter(value)
        self.in_pairs = type(value) is Hash or type(value) is SortedSet or type(value) is Stream
        self.frame = dump(_emptied(value))  # the dump of a collection like it, whose elements are filled in

    def next(self) -> tuple[list[Any], bool]:
        """The next slice as a dump of its own, and whether more follow."""
        elements: list[Any] = []
        if self.in_pairs:
            for first, second in islice(self.elements, SLICE):
                elements.append(first)
                elements.append(second)
            self.left -= len(elements) // 2
        else:
            elements.extend(islice(self.elements, SLICE))
            self.left -= len(elements)
        at = _ELEMENTS_AT[self.frame[0]]
        part = list(self.frame)
        part[at] = elements
        self.frame = [part[0], *[None] * at]  # the loader reads all else from the first slice
        return part, self.left > 0


def _emptied(value: Any) -> Any:
    """A collection of the same type, encoding, field deadlines and groups without elements."""
    if type(value) is Hash:
        fields = Hash()
        fields.encoding = value.encoding
        fields.deadlines = value.deadlines
        return fields
    if type(value) is IndexedSet:
        members = IndexedSet()
        members.encoding = value.encoding
        return members
    if type(value) is SortedSet:
        ranked = SortedSet()
        ranked.encoding = value.encoding
        return ranked
    if type(value) is Stream:
        return value.without_entries()
    return List()


class SnapshotLoader:
    """Takes the bytes of a snapshot in any portions; `finish` hands over the state once all of it was good."""

    def __init__(self) -> None:
        self.blocks = BlockReader()
        self.items = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=0)
        self.n_items = 0
        self.keyspace = Keyspace()
        self.system_tables: dict[str, Any] = {}
        self.part: list[Any] | None = None  # the collection whose slices are arriving,
        self.part_key = b""  # and its key; whole items of others may stand between its slices

    def feed(self, data: bytes) -> None:
        """Raises SnapshotError when the bytes are damaged."""
        for payload in self.blocks.feed(data):
            self.items.feed(payload)
            for item in self.items:
                self.n_items += 1
                self._take(item)

    def finish(self) -> Loaded:
        """Raises SnapshotError unless the whole snapshot has arrived."""
        header = self.blocks.finish()
        if self.blocks.n_items != self.n_items or self.part is not None:
            raise SnapshotError(f"{self.n_items} items instead of {self.blocks.n_items}")
        return Loaded(header, self.keyspace, self.system_tables)

    def _take(self, item: list[Any]) -> None:
        if len(item) == 2:
            self.system_tables[item[0]] = item[1]
            return
        key, deadline, structure, more = item
        part = self.part
        if part is not None and key == self.part_key:
            at = _ELEMENTS_AT[part[0]]
            part[at].extend(structure[at])
            structure = part
            if not more:
                self.part = None
        elif more:
            self.part = structure
            self.part_key = key
        if more:
            return
        self.keyspace.store(key, load(structure))
        if deadline >= 0 and self.keyspace.deadlines.get(key) != deadline:
            self.keyspace.set_deadline(key, deadline)


class BlockReader:
    """The framing alone: checks every block and the total, and passes the payload of data blocks on."""

    def __init__(self) -> None:
        self.buffer = b""  # of a block that has not arrived whole
        self.offset = 0  # of the buffer in the snapshot
        self.total_crc = 0
        self.header: SnapshotHeader | None = None
        self.n_items = -1  # what the trailer said

    def feed(self, data: bytes) -> list[bytes]:
        self.buffer += data
        payloads: list[bytes] = []
        at = 0
        while at < len(self.buffer):
            kind, payload, end, problem = decode_block(self.buffer, at)
            if problem == INCOMPLETE:
                break
            if problem is None:
                problem = self._take(kind, payload, payloads)
            if problem is not None:
                raise SnapshotError(f"byte {self.offset + at}: {problem}")
            self.total_crc = crc32(memoryview(self.buffer)[at:end], self.total_crc)
            at = end
        self.buffer = self.buffer[at:]
        self.offset += at
        return payloads

    def finish(self) -> SnapshotHeader:
        """Raises SnapshotError unless everything up to the trailer has arrived."""
        if self.header is None or self.n_items < 0 or self.buffer:
            raise SnapshotError(f"ends at byte {self.offset + len(self.buffer)}, before its trailer")
        return self.header

    def _take(self, kind: int, payload: bytes, payloads: list[bytes]) -> str | None:
        """What is wrong with the block, if anything."""
        if self.n_items >= 0:
            return "a block behind the trailer"
        if (kind == HEADER) != (self.header is None):
            return "the header is not the first block"
        if kind == DATA:
            payloads.append(payload)
        elif kind == HEADER:
            self.header = _unpack_header(payload)
        elif kind == TRAILER:
            n_items, total_crc = msgpack.unpackb(payload)
            if total_crc != self.total_crc:
                return "the total checksum does not match"
            self.n_items = n_items
        else:
            return f"unknown kind of block {kind}"
        return None


def read_header(data: bytes) -> SnapshotHeader:
    """The header from the first bytes of a snapshot. Raises SnapshotError."""
    kind, payload, _, problem = decode_block(data)
    if problem is not None or kind != HEADER:
        raise SnapshotError(problem or "the header is not the first block")
    return _unpack_header(payload)


def _unpack_header(payload: bytes) -> SnapshotHeader:
    epoch, lsn, crc, history, time_ms = msgpack.unpackb(payload, raw=False)
    return SnapshotHeader(Position(epoch, lsn), crc, History.from_plain(history), time_ms)


def _pack(value: Any) -> bytes:
    packed: bytes = _packer.pack(value)
    return packed
