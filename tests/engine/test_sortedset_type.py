"""The ordered index of SortedSet agrees with a plain sorted list, through chunks that split, shrink and vanish."""

from bisect import bisect_left, bisect_right
from random import Random

from upstash_global.engine.types.sortedset import CHUNK, SortedSet

INFINITY = float("inf")


class Model:
    """A sorted set as a dict that is sorted again for every question."""

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}

    def pairs(self) -> list[tuple[float, bytes]]:
        return sorted((score, member) for member, score in self.scores.items())


def agree(zset: SortedSet, model: Model, random: Random) -> None:
    pairs = model.pairs()
    scores = [score for score, _ in pairs]
    assert list(zset.items()) == [(member, score) for score, member in pairs]
    assert len(zset) == len(pairs)
    for _ in range(20):
        start, stop = sorted(random.randrange(len(pairs) + 2) for _ in range(2))
        assert zset.members(start, stop) == [member for _, member in pairs[start:stop]]
        assert zset.pairs(start, stop) == [(member, score) for score, member in pairs[start:stop]]
        score = random.choice([*scores[:: len(scores) // 10 + 1], -INFINITY, INFINITY, 0.5])
        assert zset.rank_by_score(score, False) == bisect_left(scores, score)
        assert zset.rank_by_score(score, True) == bisect_right(scores, score)
        if pairs:
            rank = random.randrange(len(pairs))
            assert zset.rank(pairs[rank][1]) == rank
    assert zset.rank(b"never added") == -1


def change_at_random(seed: int, score_of: list[float]) -> None:
    random = Random(seed)
    zset, model = SortedSet(), Model()
    for _ in range(12):
        growth = random.choice([0.2, 0.5, 0.9])
        for _ in range(CHUNK):
            member = b"%d" % random.randrange(5 * CHUNK)
            if random.random() < growth:
                score = random.choice(score_of)
                assert zset.add(member, score) == (member not in model.scores)
                model.scores[member] = score
            else:
                assert zset.remove(member) == (model.scores.pop(member, None) is not None)
        agree(zset, model, random)
        start = random.randrange(len(zset) + 1)
        stop = start + random.choice([1, 10, CHUNK, 3 * CHUNK])
        gone = [member for _, member in model.pairs()[start:stop]]
        assert zset.remove_ranks(start, stop) == len(gone)
        for member in gone:
            del model.scores[member]
        agree(zset, model, random)
    assert zset.remove_ranks(0, len(zset)) == len(model.scores)
    assert list(zset.items()) == []


def test_any_changes_keep_the_index_right(seed: int) -> None:
    change_at_random(seed, [Random(seed).uniform(-100, 100) for _ in range(3000)])


def test_equal_scores_are_ordered_by_member(seed: int) -> None:
    change_at_random(seed, [0.0])


def test_few_scores_mix_ties_and_order(seed: int) -> None:
    change_at_random(seed, [-INFINITY, -1.0, 0.0, 2.0, INFINITY])


def test_ranks_by_member_split_a_set_of_equal_scores(seed: int) -> None:
    zset = SortedSet()
    members = sorted(b"%06d" % number for number in Random(seed).sample(range(10**6), 3 * CHUNK))
    for member in members:
        zset.add(member, 1.0)
    for asked in [members[0], members[CHUNK], members[-1], b"", b"5", b"x"]:
        assert zset.rank_by_member(asked, False) == bisect_left(members, asked)
        assert zset.rank_by_member(asked, True) == bisect_right(members, asked)


def test_ranks_by_member_among_different_scores_depend_on_the_pairs_alone() -> None:
    """ZREMRANGEBYLEX must remove the same on a node whose chunks are cut elsewhere."""
    grown, loaded = SortedSet(), SortedSet()
    random = Random(1)
    for _ in range(3 * CHUNK):
        grown.add(b"%d" % random.randrange(10**6), float(random.randrange(5)))
    for member, score in list(grown.items()):
        loaded.add(member, score)
    assert [len(chunk) for chunk in grown.member_chunks] != [len(chunk) for chunk in loaded.member_chunks]
    for asked in [b"1", b"4", b"77777", b"999999"]:
        assert grown.rank_by_member(asked, True) == loaded.rank_by_member(asked, True)


def test_what_stays_throughout_a_scan_is_seen(seed: int) -> None:
    random = Random(seed)
    zset = SortedSet()
    for number in range(2000):
        zset.add(b"stays %d" % number, random.random())
        zset.add(b"goes %d" % number, random.random())
    seen: set[bytes] = set()
    cursor = 0
    while True:
        cursor, page = zset.scan(cursor, 37)
        seen.update(page)
        if cursor == 0:
            break
        for _ in range(20):
            zset.remove(b"goes %d" % random.randrange(2000))
            zset.add(b"comes %d" % random.randrange(2000), random.random())
            zset.add(b"stays %d" % random.randrange(2000), random.random())  # moves in the order, not in the scan
    assert seen >= {b"stays %d" % number for number in range(2000)}


def test_a_zero_is_not_replaced_by_minus_zero() -> None:
    zset = SortedSet()
    zset.add(b"a", 0.0)
    zset.add(b"a", -0.0)
    assert repr(zset.scores[b"a"]) == "0.0"
