"""The cache of an edge: replies of a node, each with the keys it depends on, dropped or renewed by the log as it is applied.

An edge follows its node's log without a keyspace. It looks at each entry once, at its own pace: what it has applied, E, is
behind the node where replies are read, or, while a reply is on its way, ahead of where that was read, P. So:

    an entry at n arrives       drops the replies that depend on a key it changes and were read before n, but renews
                                those that are the string at a key whose new value it says: from here on as if read at n
    a reply read at P arrives   is kept if P ≥ E, or if the change index shows none of its keys changed in (P, E]

Together: a reply in the cache is what a read at E, or at its own P if that is later, would give. Nothing is ever served
that is older than what this edge has applied. LSNs are compared within one epoch only; at its end everything is dropped.

What can end a reply beside a change of its keys: a deadline among them (by leader time), and the bound of the memory, where
the reply that was not asked for longest goes first. In the mode `ttl` (no log, as Upstash's edge of 2021) only these
two end it, and its age.
"""

from typing import Any, Final

import upstash_global.engine.commands  # noqa: F401  (fills the table)
from upstash_global.engine.footprint import Left, keys_changed, strings_left
from upstash_global.replication.changes import Changes
from upstash_global.replication.codec import EPOCH, Entry
from upstash_global.replication.position import START, Position

OVERHEAD_BYTES: Final = 600  # about what a kept reply takes beside its texts
KEY_OVERHEAD_BYTES: Final = 200  # and each key it depends on


class Tag:
    """What the node said of a reply."""

    def __init__(
        self, position: Position, keys: list[bytes], until_ms: int = -1, value_of: bytes | None = None
    ) -> None:
        self.position = position  # where it was read
        self.keys = keys  # on which it depends; [] for the whole keyspace
        self.until_ms = until_ms  # leader time at which it ends in any case; -1 for none
        self.value_of = value_of  # the key whose string it is, if it is no more and no less


class Kept:
    """A reply in the cache; `content` is the shell's, who renews it from `left` when it is next asked for."""

    def __init__(self, name: bytes, content: Any, size: int, tag: Tag, stored_ms: int, lifetime_ms: int) -> None:
        self.name = name
        self.content = content
        self.size = size
        self.tag = tag
        self.stored_ms = stored_ms
        self.lifetime_ms = lifetime_ms  # how old it may become and be called fresh
        self.left: Left | None = None  # by an entry since `content` was made; None if there was none

    def age_ms(self, now_ms: int) -> int:
        return max(0, now_ms - self.stored_ms)


class EdgeCache:
    def __init__(self, capacity_bytes: int, follows_log: bool = True) -> None:
        self.capacity_bytes = capacity_bytes
        self.follows_log = follows_log
        self.applied = START  # every entry up to here has dropped what it changed
        self.changes = Changes()
        self.changed_lsn = 0  # of the last entry that changed any key
        self.replies: dict[bytes, Kept] = {}  # by name; the one not asked for longest is first
        self.by_key: dict[bytes, set[bytes]] = {}  # key → names of the replies that depend on it
        self.of_whole: set[bytes] = set()  # names of those that depend on every key
        self.bytes = 0
        self.n_purges = 0  # raised by whatever drops without an entry: a reply then under way is not kept

        self.n_stored = 0
        self.n_refused = 0  # replies that came too late to be kept
        self.n_invalidated = 0  # dropped by an entry
        self.n_renewed = 0  # by an entry, which says what they are now
        self.n_ended = 0  # by a deadline
        self.n_evicted = 0  # for room
        self.n_drops = 0  # how often everything was dropped

    # -- replies ------------------------------------------------------------------------------------------------

    def find(self, name: bytes, now_ms: int) -> Kept | None:
        """The reply kept under `name`, however old; None if there is none. Counts as asking for it."""
        kept = self.replies.get(name)
        if kept is None:
            return None
        if 0 <= kept.tag.until_ms <= now_ms:
            self._drop(name)
            self.n_ended += 1
            return None
        del self.replies[name]
        self.replies[name] = kept
        return kept

    def store(
        self, name: bytes, content: Any, size: int, tag: Tag, lifetime_ms: int, now_ms: int, n_purges: int
    ) -> bool:
        """Keep a reply of `size` bytes, if it is not too late for that; `n_purges` as it was when the reply was asked for."""
        size += len(name) + OVERHEAD_BYTES + sum([len(key) + KEY_OVERHEAD_BYTES for key in tag.keys])
        if lifetime_ms <= 0 or size > self.capacity_bytes or 0 <= tag.until_ms <= now_ms:
            return False
        if n_purges != self.n_purges or not self.is_current(tag, self.applied):
            self.n_refused += 1
            return False
        if name in self.replies:
            self._drop(name)
        self.replies[name] = Kept(name, content, size, tag, now_ms, lifetime_ms)
        self.bytes += size
        if not tag.keys:
            self.of_whole.add(name)
        for key in tag.keys:
            names = self.by_key.get(key)
            if names is None:
                self.by_key[key] = {name}
            else:
                names.add(name)
        self._make_room()
        self.n_stored += 1
        return True

    def renew(self, kept: Kept, content: Any, more_bytes: int) -> None:
        """Give a reply the content that follows from what was left; `more_bytes` than the content before."""
        self._grow(kept, more_bytes - _size_of(kept.left))
        kept.content = content
        kept.left = None
        self._make_room()

    def is_current(self, tag: Tag, at: Position) -> bool:
        """Whether a read at `at`, which this edge has applied, would give what was read; False if that is not known."""
        if not self.follows_log:
            return True
        read_at = tag.position
        if read_at.epoch != at.epoch:
            return False
        if read_at.lsn >= at.lsn:
            return True
        if not tag.keys:
            return self.changed_lsn <= read_at.lsn
        return not any([self.changes.changed_after(key, read_at.lsn) for key in tag.keys])

    def served_at(self, tag: Tag) -> Position:
        """The position that a kept reply counts as served at."""
        read_at = tag.position
        if not self.follows_log or (read_at.epoch == self.applied.epoch and read_at.lsn > self.applied.lsn):
            return read_at
        return self.applied

    # -- the log ------------------------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Drop what the next entry of the log changes."""
        position = entry.position
        self.applied = position
        if entry.kind == EPOCH:
            self.restart(position)
            return
        keys = keys_changed(entry.commands)
        if keys is None:
            self.changes.note_flush(position.lsn)
            self.n_invalidated += len(self.replies)
            self._drop_all()
        elif keys:
            self.changes.note(keys, position.lsn, entry.time_ms)
            kept_keys = [key for key in keys if key in self.by_key]
            left = strings_left(entry.commands, entry.time_ms) if kept_keys else {}
            for key in kept_keys:
                self._overtake(self.by_key.get(key), position, key, left.get(key))
            self._overtake(self.of_whole, position)
            self._make_room()
        else:
            return
        self.changed_lsn = position.lsn

    def restart(self, position: Position) -> None:
        """Go on at `position` with nothing kept: what changed up to there is not known."""
        self.applied = position
        self.changes.reset(position.lsn)
        self.changed_lsn = position.lsn
        self.drop_all()

    def _overtake(
        self, names: set[bytes] | None, position: Position, key: bytes | None = None, left: Left | None = None
    ) -> None:
        """Drop or renew those of the named replies that were read before the entry at `position`, which left `left` at `key`."""
        if not names:
            return
        for name in list(names):
            kept = self.replies[name]
            tag = kept.tag
            if tag.position.lsn >= position.lsn:
                continue
            if left is not None and tag.value_of == key:
                kept.tag = Tag(position, tag.keys, left.until_ms, key)
                self._grow(kept, _size_of(left) - _size_of(kept.left))
                kept.left = left
                self.n_renewed += 1
            else:
                self._drop(name)
                self.n_invalidated += 1

    # -- dropping -----------------------------------------------------------------------------------------------

    def purge_key(self, key: bytes) -> int:
        """Drop what depends on a key; how many replies that were."""
        return self._purge(self.by_key.get(key, set()) | self.of_whole)

    def purge_prefix(self, prefix: bytes) -> int:
        """Drop what depends on a key that begins with `prefix`; how many replies that were."""
        names = set(self.of_whole)
        for key, dependent in self.by_key.items():
            if key.startswith(prefix):
                names |= dependent
        return self._purge(names)

    def drop_all(self) -> int:
        """Drop everything; how many replies that were."""
        n_dropped = len(self.replies)
        self.n_purges += 1
        self.n_drops += 1
        self._drop_all()
        return n_dropped

    def _grow(self, kept: Kept, more_bytes: int) -> None:
        kept.size += more_bytes
        self.bytes += more_bytes

    def _make_room(self) -> None:
        while self.bytes > self.capacity_bytes:
            self._drop(next(iter(self.replies)))
            self.n_evicted += 1

    def _purge(self, names: set[bytes]) -> int:
        self.n_purges += 1
        for name in names:
            self._drop(name)
        return len(names)

    def _drop(self, name: bytes) -> None:
        kept = self.replies.pop(name)
        self.bytes -= kept.size
        self.of_whole.discard(name)
        for key in kept.tag.keys:
            names = self.by_key.get(key)
            if names is not None:  # a key that was named twice is gone by now
                names.discard(name)
                if not names:
                    del self.by_key[key]

    def _drop_all(self) -> None:
        self.replies = {}
        self.by_key = {}
        self.of_whole = set()
        self.bytes = 0


def _size_of(left: Left | None) -> int:
    """What is kept until the content is made of it."""
    return 0 if left is None or left.value is None else len(left.value)
