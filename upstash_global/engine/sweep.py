"""The leader's sweep: which keys and which fields of hashes have expired and may leave the keyspace.

Nothing leaves by itself: the leader asks here and logs `_EXPIRED key`, or `_EXPIRED key field…`, for each answer, so that
every node removes the same at the same position and raises the same event.
"""

from upstash_global.engine.keyspace import Keyspace


def expired_keys(keyspace: Keyspace, now_ms: int, limit: int) -> list[bytes]:
    """Up to `limit` keys whose deadline is at or before `now_ms`, longest expired first as far as is known.

    Asking changes nothing. The cost is that of the answer, however many more have expired.
    """
    return keyspace.some_due(now_ms, limit)


def expired_fields(keyspace: Keyspace, now_ms: int, limit: int) -> list[list[bytes]]:
    """Up to `limit` fields whose deadline is at or before `now_ms`, as `[key, field…]` for each hash that has some.

    Keys that have expired themselves are left to `expired_keys`, and are in the way here until they are gone. Asking changes nothing; the cost is that of the answer.
    """
    found: list[list[bytes]] = []
    for key in keyspace.hashes_due(now_ms, limit):
        if limit <= 0:
            break
        fields = keyspace.values[key].some_hidden(now_ms, limit)
        limit -= len(fields)
        found.append([key, *fields])
    return found
