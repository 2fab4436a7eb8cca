"""Hash: fields and values, and the deadlines of fields that have one.

Fields stand in the order in which they were first set. A dict has no place numbers, so a hash that is asked for random
fields, or is scanned by cursor, gets an index of its fields, which follows every change from then on. The index is not
part of the value: it shows only in what a cursor means, and in what chance picks.
"""

from upstash_global.engine.types.indexedset import IndexedSet


class Hash:
    __slots__ = ("fields", "deadlines", "encoding", "index")

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}  # changed by `set` and `remove` only, once there is an index
        self.deadlines: dict[bytes, int] | None = None  # field → milliseconds since 1970, once a field has one
        self.encoding = 0  # what OBJECT ENCODING says; see commands/hashes.py
        self.index: IndexedSet | None = None  # all fields, once somebody needed their places

    def set(self, field: bytes, value: bytes) -> bool:
        """True if the field is new; a deadline that it had is cleared."""
        fields = self.fields
        is_new = field not in fields
        fields[field] = value
        if is_new:
            if self.index is not None:
                self.index.add(field)
        elif self.deadlines is not None:
            self.deadlines.pop(field, None)
        return is_new

    def remove(self, field: bytes) -> bool:
        """True if the field was there."""
        if self.fields.pop(field, None) is None:
            return False
        if self.index is not None:
            self.index.remove(field)
        if self.deadlines is not None:
            self.deadlines.pop(field, None)
        return True

    def field_index(self) -> IndexedSet:
        """All fields with their places. The first call costs a walk over them."""
        if self.index is None:
            self.index = IndexedSet()
            self.index.extend(list(self.fields))
        return self.index

    def __len__(self) -> int:
        return len(self.fields)
