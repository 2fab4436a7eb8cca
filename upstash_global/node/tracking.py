"""Client-side caching: which clients hold which keys, and who is told that a key has changed.

A node remembers what its own clients read (or, for those in broadcast mode, which prefixes they follow) and tells them when an
entry changes it, logged here or applied from the leader; so a client may cache what the nearest replica answered. Keys that
expire or are evicted change by entries as well.

A session is told behind the reply to its own command. What broadcasts collect goes out at the end of the turn, one message for
each prefix. Whoever was told of a key is told no more until it reads the key again; sessions that have gone are found
out when their keys change.

The hard case is a read that the leader ran for a session of this node: its answer is as old as the leader was when it ran,
and entries may have been applied here between. `Reads` says how old it is at the most; a key that has changed since
is given out as changed at once, behind the answer.

As Redis 7.2; see https://redis.io/docs/manual/client-side-caching/.
"""

from collections.abc import Callable
from typing import Final

from upstash_global.engine.table import PUBSUB, READONLY, Row, find_row
from upstash_global.node.session import Session, TrackingState
from upstash_global.replication.changes import Changes
from upstash_global.reply import Push

INVALIDATED_CHANNEL: Final = b"__redis__:invalidate"  # where a RESP2 connection hears of it
_SCRIPTS: Final = frozenset(["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"])
_SEVERAL: Final = 0  # in place of an author: no session id


class Reads:
    """The reads of one Forward that are to be tracked once they are answered."""

    def __init__(self, epoch: int, lsn: int) -> None:
        self.epoch = epoch
        self.lsn = lsn  # the node's own position when it forwarded them
        self.keys: list[
            tuple[int, bytes, bool]
        ] = []  # (index of the reply, key, whether its unit may write it after that)
        self.own: list[tuple[int, int]] = []  # (index, LSN) of entries that the same Forward led to

    def age(self, index: int, is_written: bool) -> int:
        """The LSN which what was read for the answer at `index` is not older than; `is_written`: before its own unit wrote."""
        own = [lsn - 1 if is_written and at == index else lsn for at, lsn in self.own if at <= index]
        return max([self.lsn, *own])

    def own_lsn(self, index: int) -> int:
        """The LSN of what the unit with the answer at `index` has written; 0 if that is nothing, or not here yet."""
        return max([0, *[lsn for at, lsn in self.own if at == index]])


class Tracking:
    """`push` lets a session hear something, `find` finds one by its id."""

    def __init__(self, push: Callable[[Session, Push], None], find: Callable[[int], Session | None]) -> None:
        self.push = push
        self.find = find
        self.sessions: dict[int, Session] = {}  # those that track
        self.readers: dict[
            bytes, dict[int, None]
        ] = {}  # key → ids of sessions that have read it, longest tracked first
        self.n_items = 0  # pairs in `readers`
        self.max_keys = 1_000_000  # of `readers`; 0: no limit
        self.followers: dict[bytes, dict[int, Session]] = {}  # prefix → sessions in broadcast mode
        self.pending: dict[
            bytes, dict[bytes, int]
        ] = {}  # prefix → key changed in this turn → id of who alone changed it

    # -- who tracks ---------------------------------------------------------------------------------------------

    def enable(self, session: Session, state: TrackingState, prefixes: list[bytes]) -> None:
        """Turn tracking on, or change how; prefixes of a session that follows some already are added."""
        if session.tracking is not None:
            state.prefixes = session.tracking.prefixes
        session.tracking = state
        session.is_tracking = True
        self.sessions[session.id] = session
        if state.broadcasts:
            for prefix in prefixes or [b""]:
                state.prefixes[prefix] = None
                self.followers.setdefault(prefix, {})[session.id] = session

    def disable(self, session: Session) -> None:
        state = session.tracking
        if state is None:
            return
        session.tracking = None
        session.is_tracking = False
        del self.sessions[session.id]
        for prefix in state.prefixes:
            followers = self.followers[prefix]
            del followers[session.id]
            if not followers:
                del self.followers[prefix]
                self.pending.pop(prefix, None)

    # -- what they read -----------------------------------------------------------------------------------------

    def note_read(self, session: Session, row: Row, argv: list[bytes], read_in_script: list[bytes]) -> None:
        """A session that tracks has read what this command names, or a script that it ran here has read."""
        state = session.tracking
        if row.name in _SCRIPTS:
            keys = read_in_script if state is not None and state.wants_reads else []
        else:
            keys = keys_read(state, row, argv)
        for key in keys:
            self.remember(session, key)

    def note_forwarded(
        self, session: Session, reads: Reads, changes: Changes, epoch: int
    ) -> dict[int, dict[bytes, None]]:
        """The leader has answered these reads; by index of the reply, the keys that have changed since it read them."""
        changed: dict[int, dict[bytes, None]] = {}
        state = session.tracking
        if state is None:
            return changed
        is_known = epoch == reads.epoch
        for index, key, is_written in reads.keys:
            if is_known and not changes.changed_after(key, reads.age(index, is_written)):
                self.remember(session, key)
                continue
            spares_itself = is_known and is_written and state.is_deaf_to_itself
            if spares_itself and not changes.changed_after(key, reads.own_lsn(index)):
                continue  # nobody has changed it since this very unit did
            changed.setdefault(index, {})[key] = None
        return changed

    def remember(self, session: Session, key: bytes) -> None:
        """A session has read a key: it is to hear of the next change."""
        readers = self.readers.setdefault(key, {})
        if session.id not in readers:
            readers[session.id] = None
            self.n_items += 1
            self.shrink()

    def shrink(self) -> None:
        """Forget the keys that are tracked longest while there are too many; their readers hear that they have changed."""
        while 0 < self.max_keys < len(self.readers):
            self._tell_readers(next(iter(self.readers)), _SEVERAL)

    # -- what has changed ---------------------------------------------------------------------------------------

    def note_changes(self, keys: list[bytes], author: int) -> None:
        """An entry has changed these keys; `author` is the id of the session whose command did it, if it is one of this node.

        As in Redis, what the author itself had read is told last: it may redirect to somebody who hears of the others too.
        """
        read_by_author: list[bytes] = []
        for key in keys:
            if key in self.readers and self._tell_readers(key, author):
                read_by_author.append(key)
            for prefix in self.followers:
                if key.startswith(prefix):
                    changed = self.pending.setdefault(prefix, {})
                    changed[key] = author if changed.get(key, author) == author else _SEVERAL
        for key in read_by_author:
            self.tell(self.sessions[author], [key])

    def note_flush(self) -> None:
        """Everything has changed."""
        self.readers = {}
        self.n_items = 0
        for session in list(self.sessions.values()):
            self.tell(session, None)

    def tell_followers(self) -> None:
        """End of a turn: one message for each prefix, prefixes and keys in order."""
        pending, self.pending = self.pending, {}
        for prefix, authors in sorted(pending.items()):
            keys = sorted(authors)
            for session in list(self.followers[prefix].values()):
                state = session.tracking
                assert state is not None
                told = [key for key in keys if authors[key] != session.id] if state.is_deaf_to_itself else keys
                if told:
                    self.tell(session, told)

    def _tell_readers(self, key: bytes, author: int) -> bool:
        """Tell who has read a key but its author; True if that one is still to be told."""
        is_author_left = False
        readers = self.readers.pop(key)
        self.n_items -= len(readers)
        for session_id in readers:
            session = self.sessions.get(session_id)
            if session is None:
                continue
            state = session.tracking
            assert state is not None
            if state.broadcasts:
                continue
            if session_id != author:
                self.tell(session, [key])
            elif not state.is_deaf_to_itself:
                is_author_left = True
        return is_author_left

    def tell(self, session: Session, keys: list[bytes] | None) -> None:
        """Tell a session that tracks, or the one it redirects to, which keys are no longer what they were; None: all."""
        state = session.tracking
        assert state is not None
        listener: Session | None = session
        if state.redirect:
            listener = self.find(state.redirect)
            if listener is None:
                state.is_broken = True
                if session.protocol == 3:
                    self.push(session, Push([b"tracking-redir-broken", state.redirect]))
                return
        assert listener is not None
        if listener.protocol == 3:
            self.push(listener, Push([b"invalidate", keys]))
        elif state.redirect and listener.is_subscribed:
            self.push(listener, Push([b"message", INVALIDATED_CHANNEL, keys]))


def keys_read(state: TrackingState | None, row: Row, argv: list[bytes]) -> list[bytes]:
    """The keys that a command of a tracking session reads; none if the session does not want that command tracked.

    A script counts as having read the keys it was given: what it did at the leader is not known elsewhere. Of one that ran
    here by itself it is: see `note_read`.
    """
    if state is None or not state.wants_reads:
        return []
    reads = row.flags & READONLY or row.name in _SCRIPTS
    return row.keys.find(argv) if reads and not row.flags & PUBSUB else []


def reads_of_unit(state: TrackingState, was_caching: bool, queue: list[list[bytes]]) -> list[tuple[bytes, bool]]:
    """The keys that a transaction reads, and for each whether a later command of it may write it.

    `was_caching`: CLIENT CACHING was said before it. One within it counts from there on.
    """
    reads: list[tuple[bytes, int]] = []  # (key, number of the command)
    last_write: dict[bytes, int] = {}
    last_of_any = -1  # of commands that write without saying what: FLUSHALL, scripts
    is_caching = state.is_caching
    state.is_caching = was_caching
    for number, argv in enumerate(queue):
        row = find_row(argv)
        if row is None:
            continue
        if row.name == "CLIENT CACHING" and len(argv) == 3:
            state.is_caching = state.is_caching or argv[2].upper() == (b"YES" if state.is_opt_in else b"NO")
        if row.needs_leader:
            keys = row.keys.find(argv)
            last_write.update(dict.fromkeys(keys, number))
            if not keys or row.name in _SCRIPTS:
                last_of_any = number
        reads.extend([(key, number) for key in keys_read(state, row, argv)])
    state.is_caching = is_caching
    return [(key, max(last_of_any, last_write.get(key, -1)) > number) for key, number in reads]
