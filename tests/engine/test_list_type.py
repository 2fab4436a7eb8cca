"""The list type does what a Python list does, wherever an element is and however it got there."""

from random import Random

import pytest

from upstash_global.engine.types.list import List


def test_random_programs_on_a_list_and_on_a_plain_one(seed: int) -> None:
    random = Random(seed)
    for _ in range(300):
        ours, plain = List(), list[bytes]()
        for step in range(random.choice([10, 200])):
            element = b"%d" % random.randrange(20)
            word = random.choice(["append", "append_left", "extend", "extend_left", "pop", "pop_left", "set", "insert"])
            if word == "append":
                ours.append(element)
                plain.append(element)
            elif word == "append_left":
                ours.append_left(element)
                plain.insert(0, element)
            elif word == "extend":
                ours.extend([element, b"x"])
                plain += [element, b"x"]
            elif word == "extend_left":
                ours.extend_left([element, b"x"])
                plain[:0] = [b"x", element]
            elif word == "insert":
                at = random.randint(0, len(plain))
                ours.insert(at, element)
                plain.insert(at, element)
            elif plain and word == "set":
                at = random.randrange(len(plain))
                ours.set(at, element)
                plain[at] = element
            elif plain and word == "pop":
                assert ours.pop() == plain.pop()
            elif plain and word == "pop_left":
                assert ours.pop_left() == plain.pop(0)
            assert ours.elements() == list(ours) == plain and len(ours) == len(plain), step
            assert list(ours.from_end()) == plain[::-1]
            start = random.randint(0, len(plain))
            stop = random.randint(start, len(plain))
            assert ours.slice(start, stop) == plain[start:stop]
            assert [ours.get(at) for at in range(len(plain))] == plain
            assert ours.count(element) == plain.count(element)
            assert ours.find(element) == (plain.index(element) if element in plain else -1)


@pytest.mark.parametrize("grown_at", ["left", "right"])
def test_an_insertion_near_an_end_of_a_long_list_moves_few(grown_at: str) -> None:
    elements = [b"%d" % n for n in range(20_000)]
    long = List()
    if grown_at == "left":
        long.extend_left(elements[::-1])
    else:
        long.extend(elements)
    for index in (10, 19_990, 11, 5, 19_993):
        long.insert(index, b"new")
        elements.insert(index, b"new")
        assert long.elements() == elements
    assert min(len(long.front), len(long.back)) > 4_000  # so each insertion near an end moves less than half
    long = List([b"%d" % n for n in range(1_000)])
    long.insert(1, b"new")
    assert len(long.front) == 0  # a short one is left as it is


def test_a_queue_moves_each_element_about_once() -> None:
    queue = List([b"%d" % n for n in range(1_000)])
    moved = 0
    for n in range(10_000):
        before = len(queue.front)
        queue.pop_left()
        moved += max(0, len(queue.front) - before)
        queue.append(b"%d" % n)
    assert moved < 3 * 10_000
