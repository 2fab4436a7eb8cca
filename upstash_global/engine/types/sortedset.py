"""SortedSet: members with scores, ordered by score and then by the bytes of the member.

Two views of the same pairs: a dict answers for one member, an ordered index for ranks and ranges. The index is a row of
chunks of at most CHUNK members; a chunk is an array of scores and a list of members beside it, so that a search compares
doubles that lie side by side and looks at members only among equal scores. `last_scores` and `last_members` hold the end of
each chunk and say where to search; a Fenwick tree of chunk lengths turns a place into a rank and back.

    scores          {b: 1.0, a: 2.0, c: 2.0, d: 7.0}
    score_chunks    [[1.0, 2.0], [2.0, 7.0]]
    member_chunks   [[b, a],     [c, d]]

A change costs two bisects and a short memory move. The tree is dropped when chunks split or vanish and built again by the
next question for a rank. Ranks count from 0, ascending. The index is kept from the first member on: built by the first
range, it would stop a million members for a second. Figures are in engine/DESIGN.md.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any, Final

from upstash_global.engine.types.indexedset import IndexedSet

CHUNK: Final = 256  # measured: 128 to 512 are alike for changes and ranks from a hundred to a million members


class SortedSet:
    __slots__ = (
        "scores",
        "score_chunks",
        "member_chunks",
        "last_scores",
        "last_members",
        "tree",
        "scan_index",
        "encoding",
    )

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.score_chunks: list[
            Any
        ] = []  # arrays of doubles, none of them empty; Any keeps compiled code from unboxing
        self.member_chunks: list[list[bytes]] = []
        self.last_scores: Any = array("d")
        self.last_members: list[bytes] = []
        self.tree: list[int] = []  # Fenwick tree over the chunk lengths, from index 1; [] when it is out of date
        self.scan_index: IndexedSet | None = None  # all members, once a scan needed a cursor
        self.encoding = 0  # what OBJECT ENCODING says; see commands/sortedsets.py

    def __len__(self) -> int:
        return len(self.scores)

    def items(self) -> Iterator[tuple[bytes, float]]:
        """(member, score), ascending."""
        for scores, members in zip(self.score_chunks, self.member_chunks, strict=True):
            yield from zip(members, scores, strict=True)

    # -- one member -----------------------------------------------------------------------------------------------

    def add(self, member: bytes, score: Any) -> bool:
        """Set the score (a float, no nan) of a member; True if it is new.

        `score` is typed Any so that compiled code does not unbox it only to box it again for the dict and the bisects.
        """
        scores = self.scores
        old: Any = scores.get(member)
        if old is not None:
            if old != score:  # as in Redis, 0 stays 0 where -0 is set
                self._drop(member, old)
                self._place(member, score)
                scores[member] = score
            return False
        scores[member] = score
        self._place(member, score)
        if self.scan_index is not None:
            self.scan_index.add(member)
        return True

    def remove(self, member: bytes) -> bool:
        """True if the member was there."""
        score: Any = self.scores.pop(member, None)
        if score is None:
            return False
        self._drop(member, score)
        if self.scan_index is not None:
            self.scan_index.remove(member)
        return True

    def remove_ranks(self, start: int, stop: int) -> int:
        """Remove the members of ranks start to stop - 1; how many there were."""
        stop = min(stop, len(self.scores))
        if start >= stop:
            return 0
        chunk, at = self._chunk_at(start)
        left = stop - start
        emptied_from = chunk if at == 0 else chunk + 1
        emptied_to = emptied_from
        while left > 0:
            members = self.member_chunks[chunk]
            gone = members[at : at + left]
            for member in gone:
                del self.scores[member]
            if self.scan_index is not None:
                for member in gone:
                    self.scan_index.remove(member)
            if len(gone) == len(members):
                emptied_to = chunk + 1
            else:
                self._cut(chunk, at, at + len(gone))
            left -= len(gone)
            chunk += 1
            at = 0
        if emptied_to > emptied_from:
            del self.score_chunks[emptied_from:emptied_to]
            del self.member_chunks[emptied_from:emptied_to]
            del self.last_scores[emptied_from:emptied_to]
            del self.last_members[emptied_from:emptied_to]
            self.tree = []
        return stop - start

    def rank(self, member: bytes) -> int:
        """The rank of a member; -1 without it."""
        score: Any = self.scores.get(member)
        if score is None:
            return -1
        chunk = self._chunk_for(member, score)
        return self._rank_of(chunk) + self._place_in(chunk, member, score)

    # -- ranges ---------------------------------------------------------------------------------------------------

    def rank_by_score(self, score: Any, after: bool) -> int:
        """How many members have a lower score, with `after` a lower or equal one."""
        if after:
            chunk = bisect_right(self.last_scores, score)
            if chunk == len(self.last_scores):
                return len(self.scores)
            return self._rank_of(chunk) + bisect_right(self.score_chunks[chunk], score)
        chunk = bisect_left(self.last_scores, score)
        if chunk == len(self.last_scores):
            return len(self.scores)
        return self._rank_of(chunk) + bisect_left(self.score_chunks[chunk], score)

    def rank_by_member(self, member: bytes, after: bool) -> int:
        """How many members are lower, with `after` lower or equal, in a set whose scores are all the same.

        Among different scores Redis leaves it open; ours is the first rank whose member is not lower. That depends on the
        pairs alone, so that ZREMRANGEBYLEX removes the same members on every node.
        """
        if self.last_scores and self.last_scores[-1] != self.score_chunks[0][0]:
            rank = 0
            for other, _ in self.items():
                if other > member or (other == member and not after):
                    break
                rank += 1
            return rank
        if after:
            chunk = bisect_right(self.last_members, member)
            if chunk == len(self.last_members):
                return len(self.scores)
            return self._rank_of(chunk) + bisect_right(self.member_chunks[chunk], member)
        chunk = bisect_left(self.last_members, member)
        if chunk == len(self.last_members):
            return len(self.scores)
        return self._rank_of(chunk) + bisect_left(self.member_chunks[chunk], member)

    def members(self, start: int, stop: int) -> list[bytes]:
        """The members of ranks start to stop - 1."""
        found: list[bytes] = []
        stop = min(stop, len(self.scores))
        if start >= stop:
            return found
        chunk, at = self._chunk_at(start)
        left = stop - start
        while left > 0:
            part = self.member_chunks[chunk][at : at + left]
            found += part
            left -= len(part)
            chunk += 1
            at = 0
        return found

    def pairs(self, start: int, stop: int) -> list[tuple[bytes, float]]:
        """(member, score) of ranks start to stop - 1."""
        found: list[tuple[bytes, float]] = []
        stop = min(stop, len(self.scores))
        if start >= stop:
            return found
        chunk, at = self._chunk_at(start)
        left = stop - start
        while left > 0:
            end = at + left
            part = list(zip(self.member_chunks[chunk][at:end], self.score_chunks[chunk][at:end], strict=True))
            found += part
            left -= len(part)
            chunk += 1
            at = 0
        return found

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Up to `count` members and the next cursor, with IndexedSet's guarantee."""
        index = self.scan_index
        if index is None:
            index = IndexedSet()
            for member in self.scores:
                index.add(member)
            self.scan_index = index
        return index.scan(cursor, count)

    # -- the ordered index ----------------------------------------------------------------------------------------

    def _place(self, member: bytes, score: Any) -> None:
        """Put a pair that is not there into its chunk."""
        chunk = self._chunk_for(member, score)
        if chunk == len(self.last_scores):
            if chunk == 0:
                self.score_chunks.append(array("d", (score,)))
                self.member_chunks.append([member])
                self.last_scores.append(score)
                self.last_members.append(member)
                self.tree = []
                return
            chunk -= 1
            self.score_chunks[chunk].append(score)
            self.member_chunks[chunk].append(member)
            self.last_scores[chunk] = score
            self.last_members[chunk] = member
        else:
            at = self._place_in(chunk, member, score)
            self.score_chunks[chunk].insert(at, score)
            self.member_chunks[chunk].insert(at, member)
        if len(self.member_chunks[chunk]) > CHUNK:
            self._split(chunk)
        elif self.tree:
            self._count(chunk, 1)

    def _drop(self, member: bytes, score: Any) -> None:
        """Take a pair that is there out of its chunk."""
        chunk = self._chunk_for(member, score)
        at = self._place_in(chunk, member, score)
        if len(self.member_chunks[chunk]) > 1:
            self._cut(chunk, at, at + 1)
            return
        del self.score_chunks[chunk]
        del self.member_chunks[chunk]
        del self.last_scores[chunk]
        del self.last_members[chunk]
        self.tree = []

    def _cut(self, chunk: int, start: int, stop: int) -> None:
        """Remove some places of a chunk, but not all."""
        scores = self.score_chunks[chunk]
        members = self.member_chunks[chunk]
        del scores[start:stop]
        del members[start:stop]
        if start == len(members):
            self.last_scores[chunk] = scores[-1]
            self.last_members[chunk] = members[-1]
        if self.tree:
            self._count(chunk, start - stop)

    def _split(self, chunk: int) -> None:
        """Halve a full chunk; the last one keeps nearly all, for sets that grow at their end."""
        scores = self.score_chunks[chunk]
        members = self.member_chunks[chunk]
        half = CHUNK // 2 if chunk + 1 < len(self.last_scores) else CHUNK - CHUNK // 8
        self.score_chunks.insert(chunk + 1, scores[half:])
        self.member_chunks.insert(chunk + 1, members[half:])
        del scores[half:]
        del members[half:]
        self.last_scores.insert(chunk, scores[-1])
        self.last_members.insert(chunk, members[-1])
        self.tree = []

    def _chunk_for(self, member: bytes, score: Any) -> int:
        """The first chunk that does not end before this pair; the number of chunks if all do."""
        last_scores = self.last_scores
        low = bisect_left(last_scores, score)
        n_chunks = len(last_scores)
        if low == n_chunks or last_scores[low] != score or self.last_members[low] >= member:
            return low
        high = n_chunks if last_scores[-1] == score else bisect_right(last_scores, score, low)
        return bisect_left(self.last_members, member, low, high)

    def _place_in(self, chunk: int, member: bytes, score: Any) -> int:
        """Where in its chunk this pair is, or belongs."""
        scores = self.score_chunks[chunk]
        low = 0 if scores[0] == score else bisect_left(scores, score)
        if low == len(scores) or scores[low] != score:
            return low
        members = self.member_chunks[chunk]
        if members[low] >= member:
            return low
        high = len(scores) if scores[-1] == score else bisect_right(scores, score, low)
        return bisect_left(members, member, low + 1, high)

    # -- ranks: a Fenwick tree over the chunk lengths ---------------------------------------------------------------

    def _count(self, chunk: int, change: int) -> None:
        tree = self.tree
        node = chunk + 1
        while node < len(tree):
            tree[node] += change
            node += node & -node

    def _rank_of(self, chunk: int) -> int:
        """How many members stand before a chunk."""
        tree = self._fresh_tree()
        total = 0
        while chunk > 0:
            total += tree[chunk]
            chunk &= chunk - 1
        return total

    def _chunk_at(self, rank: int) -> tuple[int, int]:
        """The chunk that holds a rank (0 ≤ rank < len), and the place in it."""
        if rank < len(self.member_chunks[0]):
            return 0, rank
        from_end = len(self.scores) - rank
        if from_end <= len(self.member_chunks[-1]):
            return len(self.member_chunks) - 1, len(self.member_chunks[-1]) - from_end
        tree = self._fresh_tree()
        node = 0
        step = 1 << (len(tree).bit_length() - 1)
        while step:
            following = node + step
            if following < len(tree) and tree[following] <= rank:
                node = following
                rank -= tree[following]
            step >>= 1
        return node, rank

    def _fresh_tree(self) -> list[int]:
        tree = self.tree
        if not tree:
            tree = [0]
            tree += [len(members) for members in self.member_chunks]
            for node in range(1, len(tree)):
                parent = node + (node & -node)
                if parent < len(tree):
                    tree[parent] += tree[node]
            self.tree = tree
        return tree
