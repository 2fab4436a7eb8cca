"""Stream: entries in the order of their ids, and the groups of consumers that share them.

An id is one integer of 128 bits, see IdMap. The fields of an entry are one packed bytes object: a million entries of two
short fields take little more than their text.

A group remembers the last id that it has delivered, and its pending list: what was delivered and not yet acknowledged,
by id. Each consumer has the part of the list that is its own; both hold the same Pending objects.

How far a group lags behind is known only as long as no entry was deleted in between (`lag`); `entries_read` counts what the
group has read, out of all that were ever added, and -1 is "not known". Both as in Redis 8.0, which mended 7.0's: what was
deleted or trimmed before the first entry that is left counts no more.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgpack
from librt.strings import BytesWriter

from upstash_global.bytestrings import read_strings, write_decimal, write_strings
from upstash_global.engine.encodings import STREAM
from upstash_global.engine.types.idmap import IdMap

MAX_SEQUENCE: Final = (1 << 64) - 1
MAX_ID: Final = (1 << 128) - 1
UNKNOWN: Final = -1
_MINUS: Final = 45
ID_BYTES: Final = 16  # of an id in a dump

_writer: Final = BytesWriter()


def pack_fields(fields: list[bytes]) -> bytes:
    """Alternating names and values as one bytes object, an array in msgpack."""
    writer = BytesWriter()
    write_strings(writer, fields)
    return writer.getvalue()


def unpack_fields(packed: bytes) -> list[bytes]:
    fields, end = read_strings(packed, 0)
    if end == 0:
        fields = msgpack.unpackb(packed)
    return fields


def id_text(id: int) -> bytes:
    """`1526919030474-55`."""
    _writer.truncate(0)
    write_decimal(_writer, id >> 64)
    _writer.append(_MINUS)
    write_decimal(_writer, id & MAX_SEQUENCE)
    return _writer.getvalue()


class Pending:
    """One entry that was delivered to a consumer and not acknowledged."""

    __slots__ = ("consumer", "delivered_ms", "n_deliveries")

    def __init__(self, consumer: "Consumer", delivered_ms: int, n_deliveries: int) -> None:
        self.consumer = consumer
        self.delivered_ms = delivered_ms
        self.n_deliveries = n_deliveries


class Consumer:
    __slots__ = ("name", "seen_ms", "active_ms", "pending")

    def __init__(self, name: bytes, now_ms: int) -> None:
        self.name = name
        self.seen_ms = now_ms  # when it last tried anything
        self.active_ms = -1  # when something was last delivered to it; -1 for never
        self.pending = IdMap()  # id → Pending, its part of the group's list


class Group:
    __slots__ = ("last_id", "entries_read", "pending", "consumers")

    def __init__(self, last_id: int, entries_read: int) -> None:
        self.last_id = last_id  # the last one delivered
        self.entries_read = entries_read
        self.pending = IdMap()  # id → Pending, of all consumers
        self.consumers: dict[bytes, Consumer] = {}

    def deliver(self, id: int, consumer: Consumer, now_ms: int) -> None:
        """An entry goes to a consumer for the first time, or again after the group was set back: it is pending there."""
        pending = self.pending.get(id)
        if pending is None:
            pending = Pending(consumer, now_ms, 1)
            self.pending.put(id, pending)
            consumer.pending.put(id, pending)
        else:
            self.hand_over(id, pending, consumer)
            pending.delivered_ms = now_ms
            pending.n_deliveries = 1

    def hand_over(self, id: int, pending: Pending, consumer: Consumer) -> None:
        """Make what is pending the affair of another consumer, or of the same."""
        if pending.consumer is not consumer:
            pending.consumer.pending.pop(id)
            consumer.pending.put(id, pending)
            pending.consumer = consumer

    def acknowledge(self, id: int) -> bool:
        """True if the entry was pending."""
        pending = self.pending.pop(id)
        if pending is None:
            return False
        pending.consumer.pending.pop(id)
        return True

    def remove_consumer(self, name: bytes) -> int:
        """Remove a consumer that is there; what was pending with it is so no more. How much that was."""
        consumer = self.consumers.pop(name)
        for id, _ in consumer.pending.walk(0):
            self.pending.pop(id)
        return len(consumer.pending)


class Stream:
    __slots__ = ("entries", "last_id", "max_deleted_id", "entries_added", "groups", "encoding")

    def __init__(self) -> None:
        self.entries = IdMap()  # id → packed fields
        self.last_id = 0  # of the last entry ever added; only XSETID moves it otherwise
        self.max_deleted_id = 0  # the highest id that XDEL removed
        self.entries_added = 0  # ever
        self.groups: dict[bytes, Group] = {}
        self.encoding = STREAM

    def __len__(self) -> int:
        return self.entries.size

    def __bool__(self) -> bool:
        """An empty stream stays a key, for the sake of its last id and its groups."""
        return True

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """(id, packed fields) as a dump holds them."""
        for id, packed in self.entries.walk(0):
            yield id.to_bytes(ID_BYTES, "big"), packed

    # -- changes ------------------------------------------------------------------------------------------------

    def add(self, id: int, fields: list[bytes]) -> None:
        """Append an entry; its id must be above the last one."""
        self.entries.put(id, pack_fields(fields))
        self.last_id = id
        self.entries_added += 1

    def delete(self, id: int) -> bool:
        """True if the entry was there. It stays pending where it is."""
        if self.entries.pop(id) is None:
            return False
        self.max_deleted_id = max(self.max_deleted_id, id)
        return True

    # -- what groups have read ----------------------------------------------------------------------------------

    def read_by(self, group: Group, id: int) -> None:
        """A group moves on to an entry."""
        is_inside = group.last_id >= self.entries.first_id()
        if group.entries_read != UNKNOWN and is_inside and not self.has_deleted_from(group.last_id):
            group.entries_read += 1
        elif self.entries_added:
            group.entries_read = self.entries_until(id)
        group.last_id = id

    def lag(self, group: Group) -> int | None:
        """How many entries a group has still to read; None if entries were deleted among them."""
        if not self.entries.size:
            return 0
        first_id = self.entries.first_id()
        if group.last_id < first_id and self.max_deleted_id < first_id:
            return self.entries.size
        if group.entries_read != UNKNOWN and not self.has_deleted_from(group.last_id):
            return self.entries_added - group.entries_read
        entries_read = self.entries_until(group.last_id)
        return None if entries_read == UNKNOWN else self.entries_added - entries_read

    def has_deleted_from(self, id: int) -> bool:
        """Whether an entry of this id or a later one was deleted."""
        return bool(self.entries.size and self.max_deleted_id) and id <= self.max_deleted_id

    def entries_until(self, id: int) -> int:
        """How many entries were ever added up to an id, as far as that follows from the ends of the stream; else UNKNOWN."""
        if not self.entries_added:
            return 0
        if not self.entries.size and id <= self.last_id:
            return self.entries_added
        if 0 < id < self.max_deleted_id:
            return UNKNOWN
        if id >= self.last_id:
            return self.entries_added if id == self.last_id else UNKNOWN
        first_id = self.entries.first_id()
        if not self.max_deleted_id or self.max_deleted_id < first_id:
            if id < first_id:
                return self.entries_added - self.entries.size
            if id == first_id:
                return self.entries_added - self.entries.size + 1
        return UNKNOWN

    # -- dumps --------------------------------------------------------------------------------------------------

    def without_entries(self) -> "Stream":
        """A stream that shares everything else with this one: what a dump says before the first entry."""
        frame = Stream()
        frame.last_id = self.last_id
        frame.max_deleted_id = self.max_deleted_id
        frame.entries_added = self.entries_added
        frame.groups = self.groups
        return frame

    def dump(self) -> list[Any]:
        """[last id, highest deleted id, entries added], [id, fields, …], groups: plain structures for `load_stream`."""
        entries: list[bytes] = []
        for id, packed in self.items():
            entries.append(id)
            entries.append(packed)
        groups = [_dump_group(name, group) for name, group in self.groups.items()]
        return [[_id_bytes(self.last_id), _id_bytes(self.max_deleted_id), self.entries_added], entries, groups]


def load_stream(counters: list[Any], entries: list[bytes], groups: list[Any]) -> Stream:
    """The stream that `dump` was asked for."""
    stream = Stream()
    stream.last_id = int.from_bytes(counters[0], "big")
    stream.max_deleted_id = int.from_bytes(counters[1], "big")
    stream.entries_added = counters[2]
    for i in range(0, len(entries), 2):
        stream.entries.put(int.from_bytes(entries[i], "big"), entries[i + 1])
    for structure in groups:
        stream.groups[structure[0]] = _load_group(structure)
    return stream


def _dump_group(name: bytes, group: Group) -> list[Any]:
    """[name, last id, entries read, [[consumer, seen, active], …], [id, number of consumer, delivered, deliveries, …]]."""
    numbers: dict[bytes, int] = {}
    consumers: list[Any] = []
    for consumer in group.consumers.values():
        numbers[consumer.name] = len(consumers)
        consumers.append([consumer.name, consumer.seen_ms, consumer.active_ms])
    flat: list[Any] = []
    for id, pending in group.pending.walk(0):
        flat += [_id_bytes(id), numbers[pending.consumer.name], pending.delivered_ms, pending.n_deliveries]
    return [name, _id_bytes(group.last_id), group.entries_read, consumers, flat]


def _load_group(structure: list[Any]) -> Group:
    group = Group(int.from_bytes(structure[1], "big"), structure[2])
    consumers: list[Consumer] = []
    for name, seen_ms, active_ms in structure[3]:
        consumer = Consumer(name, seen_ms)
        consumer.active_ms = active_ms
        consumers.append(consumer)
        group.consumers[name] = consumer
    flat = structure[4]
    for i in range(0, len(flat), 4):
        id = int.from_bytes(flat[i], "big")
        pending = Pending(consumers[flat[i + 1]], flat[i + 2], flat[i + 3])
        group.pending.put(id, pending)
        pending.consumer.pending.put(id, pending)
    return group


def _id_bytes(id: int) -> bytes:
    return id.to_bytes(ID_BYTES, "big")
