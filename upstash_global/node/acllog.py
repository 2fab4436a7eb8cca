"""The ACL log: what was denied on this node, newest first. What is denied again within a minute counts up its entry.

Source: Redis 7.2, ACL LOG.
"""

from collections import deque
from typing import Final

GROUPING_MS: Final = 60_000
N_COMPARED: Final = 10  # of the newest entries


class Denied:
    __slots__ = ("id", "reason", "context", "object", "user", "client", "count", "created_ms", "updated_ms")

    def __init__(
        self, id: int, reason: str, context: str, object: bytes, user: bytes, client: str, created_ms: int
    ) -> None:
        self.id = id
        self.reason = reason  # auth, command, key or channel
        self.context = context  # toplevel, multi or lua
        self.object = object  # the command, key or channel; for auth the command that said the password
        self.user = user
        self.client = client  # as CLIENT LIST shows it
        self.count = 1
        self.created_ms = created_ms
        self.updated_ms = created_ms


class AclLog:
    def __init__(self) -> None:
        self.entries: deque[Denied] = deque()  # newest first
        self.max_entries = 128  # acllog-max-len
        self.next_id = 0

    def note(self, reason: str, context: str, object: bytes, user: bytes, client: str, now_ms: int) -> None:
        for at in range(min(N_COMPARED, len(self.entries))):
            known = self.entries[at]
            if (
                now_ms - known.updated_ms <= GROUPING_MS
                and (known.reason, known.context) == (reason, context)
                and (known.user, known.object) == (user, object)
            ):
                del self.entries[at]
                known.count += 1
                known.client = client
                known.updated_ms = now_ms
                self.entries.appendleft(known)
                return
        self.entries.appendleft(Denied(self.next_id, reason, context, object, user, client, now_ms))
        self.next_id += 1
        while len(self.entries) > self.max_entries:
            self.entries.pop()
