"""Hash: fields and values, and the deadlines of fields that have one.

Fields stand in the order in which they were first set. `encoding` is what OBJECT ENCODING says; see commands/hashes.py.
"""


class Hash:
    __slots__ = ("fields", "deadlines", "encoding")

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.deadlines: dict[bytes, int] | None = None  # field → milliseconds since 1970, once a field has one
        self.encoding = 0

    def __len__(self) -> int:
        return len(self.fields)
