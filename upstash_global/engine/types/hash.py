"""Hash: fields and values, and the deadlines of fields that have one.

Fields stand in the order in which they were first set. A dict has no place numbers, so a hash that is asked for random
fields, or is scanned by cursor, gets an index of its fields, which follows every change from then on. The index is not
part of the value: it shows only in what a cursor means, and in what chance picks.

A field whose deadline is at or before the present is hidden, and a hash whose fields are all hidden is no key. Hidden
fields leave only by an entry of the log. What is written follows from the exact deadlines and the time of the entry
(`get`, `hides`, `is_gone`); readers, whose time never goes back, may take what `hidden` has found already.
"""

from typing import Final

from upstash_global.engine.types.deadlines import Deadlines
from upstash_global.engine.types.indexedset import IndexedSet


class Hash:
    __slots__ = ("fields", "deadlines", "encoding", "index")

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}  # changed by `set` and `remove` only, once there is an index
        self.deadlines: Deadlines | None = None  # of fields; None while no field has one
        self.encoding = 0  # what OBJECT ENCODING says; see commands/hashes.py
        self.index: IndexedSet | None = None  # all fields, once somebody needed their places

    def set(self, field: bytes, value: bytes, keeps_deadline: bool = False) -> bool:
        """True if the field is new; a deadline that it had is cleared, unless said otherwise."""
        fields = self.fields
        is_new = field not in fields
        fields[field] = value
        if is_new:
            if self.index is not None:
                self.index.add(field)
        elif self.deadlines is not None and not keeps_deadline:
            self.clear_deadline(field)
        return is_new

    def remove(self, field: bytes) -> bool:
        """True if the field was there."""
        if self.fields.pop(field, None) is None:
            return False
        if self.index is not None:
            self.index.remove(field)
        if self.deadlines is not None:
            self.clear_deadline(field)
        return True

    def field_index(self) -> IndexedSet:
        """All fields with their places, hidden ones too. The first call costs a walk over them."""
        if self.index is None:
            self.index = IndexedSet()
            self.index.extend(list(self.fields))
        return self.index

    # -- deadlines of fields ----------------------------------------------------------------------------------------

    def set_deadline(self, field: bytes, at_ms: int) -> None:
        """Give a field that is there a deadline, in milliseconds since 1970."""
        if self.deadlines is None:
            self.deadlines = Deadlines()
        self.deadlines.set(field, at_ms)

    def clear_deadline(self, field: bytes) -> None:
        deadlines = self.deadlines
        if deadlines is not None:
            deadlines.clear(field)
            if not len(deadlines):
                self.deadlines = None

    def deadline(self, field: bytes) -> int:
        """In milliseconds since 1970; -1 if the field has none."""
        return -1 if self.deadlines is None else self.deadlines.times.get(field, -1)

    def hides(self, field: bytes, now_ms: int) -> bool:
        return self.deadlines is not None and 0 <= self.deadlines.times.get(field, -1) <= now_ms

    def get(self, field: bytes, now_ms: int) -> bytes | None:
        """The value of a field that is there and not hidden."""
        if self.deadlines is not None and self.hides(field, now_ms):
            return None
        return self.fields.get(field)

    def hidden(self, now_ms: int) -> dict[bytes, None]:
        """The hidden fields, longest hidden first; not to be changed. For readers."""
        return _NONE if self.deadlines is None else self.deadlines.due(now_ms)

    def some_hidden(self, now_ms: int, limit: int) -> list[bytes]:
        """Up to `limit` of the hidden fields, at the cost of as many. For readers."""
        return [] if self.deadlines is None else self.deadlines.some_due(now_ms, limit)

    def visible(self, now_ms: int) -> dict[bytes, bytes]:
        """The fields that are not hidden with their values; not to be changed. For readers."""
        hidden = self.hidden(now_ms)
        if not hidden:
            return self.fields
        return {field: value for field, value in self.fields.items() if field not in hidden}

    def is_gone(self, now_ms: int) -> bool:
        """Whether no field is left that is not hidden.

        What `hidden` knows may be from a later time than `now_ms`, while a replica applies an entry: then the deadlines
        themselves decide.
        """
        if self.deadlines is None:
            return not self.fields
        n = len(self.fields)
        if len(self.deadlines) < n or len(self.deadlines.due(now_ms)) < n:
            return False
        return now_ms >= self.deadlines.asked_ms or max(self.deadlines.times.values()) <= now_ms

    def __len__(self) -> int:
        return len(self.fields)


_NONE: Final[dict[bytes, None]] = {}
