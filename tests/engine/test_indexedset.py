"""IndexedSet: order by history, picks by chance, and the guarantee of a scan under changes."""

import random

import pytest

from upstash_global.engine.types.indexedset import IndexedSet


def indexed(members: list[bytes]) -> IndexedSet:
    made = IndexedSet()
    made.extend(members)
    return made


def numbered(n: int) -> list[bytes]:
    return [b"%d" % i for i in range(n)]


def test_slots_and_members_agree_after_any_history() -> None:
    chance = random.Random(1)
    members = IndexedSet()
    model: set[bytes] = set()
    for _ in range(2000):
        member = b"%d" % chance.randrange(50)
        if chance.random() < 0.5:
            assert members.add(member) == (member not in model)
            model.add(member)
        else:
            assert members.remove(member) == (member in model)
            model.discard(member)
        assert members.slots == {each: slot for slot, each in enumerate(members.members)}
        assert set(members) == model and len(members) == len(model)


def test_extend_keeps_the_first_of_repeats() -> None:
    members = indexed([b"a", b"b"])
    members.extend([b"c", b"a", b"c", b"d"])
    assert list(members) == [b"a", b"b", b"c", b"d"]


def test_a_removal_moves_the_last_member_into_the_gap() -> None:
    members = indexed([b"a", b"b", b"c", b"d"])
    members.remove(b"b")
    assert list(members) == [b"a", b"d", b"c"]


@pytest.mark.parametrize("seed", range(20))
def test_a_scan_meets_every_member_that_stays(seed: int) -> None:
    """Between the pages others are added and removed; the pages have any size."""
    chance = random.Random(seed)
    members = indexed(numbered(300))
    staying = set(numbered(300)[::3])
    seen: set[bytes] = set()
    cursor = 0
    while True:
        cursor, page = members.scan(cursor, chance.randrange(1, 12))
        seen.update(page)
        if cursor == 0:
            break
        for _ in range(chance.randrange(6)):
            member = b"%d" % chance.randrange(600)
            if member in staying:
                continue
            if not members.remove(member):
                members.add(member)
    assert staying <= seen


def test_a_scan_of_an_unchanging_set_meets_every_member_once() -> None:
    members = indexed(numbered(100))
    cursor, pages = members.scan(0, 7)
    while cursor:
        cursor, page = members.scan(cursor, 7)
        pages = pages + page
    assert sorted(pages) == sorted(numbered(100))


def test_a_cursor_beyond_the_end_starts_at_the_top() -> None:
    assert indexed(numbered(3)).scan(1 << 63, 2) == (1, [b"2", b"1"])


def test_chance_picks_every_member_about_equally_often() -> None:
    members = indexed(numbered(4))
    chance = random.Random(1)
    counts = dict.fromkeys(members, 0)
    for _ in range(4000):
        counts[members.random(chance)] += 1
    assert min(counts.values()) > 850


@pytest.mark.parametrize(("count", "n"), [(0, 0), (1, 1), (3, 3), (4, 4), (9, 4), (-3, 3), (-9, 9)])
def test_a_pick_has_as_many_members_as_asked_for(count: int, n: int) -> None:
    members = indexed(numbered(4))
    picked = members.pick(random.Random(1), count)
    assert len(picked) == n and set(picked) <= set(members)
    assert count < 0 or len(set(picked)) == n
