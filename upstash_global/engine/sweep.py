"""The leader's sweep: which keys have expired and may leave the keyspace.

Nothing leaves by itself: the leader asks here and logs `_EXPIRED key` for each answer, so that every node removes the
same key at the same position and raises the same event.
"""

from itertools import islice

from upstash_global.engine.keyspace import Keyspace


def expired_keys(keyspace: Keyspace, now_ms: int, limit: int) -> list[bytes]:
    """Up to `limit` keys whose deadline is at or before `now_ms`, longest expired first as far as is known.

    Asking changes nothing. The cost is that of the answer: deadlines are kept in a heap.
    """
    return list(islice(keyspace.due(now_ms), limit))
