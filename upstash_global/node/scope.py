"""Scope: what a client has seen key by key, so that a read waits for its own keys and for no others.

A client that asks for `session; scope=key` is given a token with a base, which every read waits for, and up to 16 pairs of a
key (its hash) and the LSN of the change that the client wrote or saw of it, for which only those wait who name that key.
What names no key, or may touch others than it names (SCAN, scripts), waits for everything, and raises the base to where it
was answered; a plain read or write never does. So one who writes all the time, and reads other keys at another node,
finds them there. It is read-your-writes and monotonic reads for each key, not causality between keys.

All LSNs of a token count along the history that led to its epoch. On a history that knows the epoch they mean the same as
far as that reign lasted; beyond it the writes are lost, and the leader has to say what is true, as for any token.

The last change of a key comes from the change index. Below what that knows a pair would say no more than the base: then the
base is raised to there, which is a minute old or the position of a full resync, and does not move with every write.
"""

from typing import TYPE_CHECKING

from upstash_global.engine.footprint import keys_named
from upstash_global.protocol.tokens import MAX_KEYS, SyncToken, key_hash
from upstash_global.replication.position import History, Position

if TYPE_CHECKING:
    from upstash_global.node.node import Node

Commands = list[list[bytes]]


def is_met(scope: SyncToken, history: History, commands: Commands) -> bool:
    """Whether a state at the head of `history` is as new as these commands may be shown to a client with this scope."""
    end_lsn = history.fork_point(scope.epoch)
    if end_lsn is None or scope.lsn > end_lsn:
        return False
    if scope.epoch != history.epoch and scope.newest_lsn > end_lsn:
        return False  # some of it is lost
    missing = {hashed for hashed, lsn in scope.keys if lsn > end_lsn}
    for argv in commands:
        keys = keys_named(argv)
        if keys is None:
            if missing:
                return False
        elif any([key_hash(key) in missing for key in keys]):
            return False
    return True


def after(scope: SyncToken, node: "Node", commands: Commands, served: Position) -> SyncToken:
    """What a client has seen once these commands are answered, all from states up to `served`, by this node or the leader."""
    is_here = node.covers(served)
    epoch = served.epoch
    if scope.epoch != epoch and scope.newest_lsn:
        end_lsn = node.log.history.fork_point(scope.epoch) if is_here else None
        if scope.epoch > epoch:
            if end_lsn is None:
                return scope  # it was no answer from the data: that would have had to be newer
            epoch = scope.epoch
        elif end_lsn is None or scope.newest_lsn > end_lsn:
            return SyncToken(epoch, served.lsn)  # lost, or nobody here knows: the leader's state is all there is
    base = scope.lsn
    seen = dict(scope.keys)
    changes = node.changes
    for argv in commands:
        keys = keys_named(argv)
        if keys is None:
            base = max(base, served.lsn)
            continue
        for key in keys:
            lsn = changes.last_change(key) if is_here else served.lsn
            if is_here and lsn <= changes.known_after:
                base = max(base, min(changes.known_after, served.lsn))
            else:
                hashed = key_hash(key)
                seen[hashed] = max(seen.get(hashed, 0), min(lsn, served.lsn))
    return _bounded(epoch, base, seen)


def _bounded(epoch: int, base: int, seen: dict[int, int]) -> SyncToken:
    """A token with the newest pairs; the base makes up for those that are left out."""
    pairs = sorted(seen.items(), key=_lsn_of, reverse=True)
    if len(pairs) > MAX_KEYS:
        base = max(base, pairs[MAX_KEYS][1])
    return SyncToken(epoch, base, 0, tuple([pair for pair in pairs[:MAX_KEYS] if pair[1] > base]))


def _lsn_of(pair: tuple[int, int]) -> int:
    return pair[1]
