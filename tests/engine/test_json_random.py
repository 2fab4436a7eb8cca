"""Random programs of JSON commands, sensible and senseless.

Goal: an exception that is no refusal, a refused command that changed something, a change that replays to another state, or
a document whose text reads back as another. Method: programs over a few keys, small trees and paths of every form.
"""

import random

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.types.json import encode, height, parse
from upstash_global.errors import CommandError

NAMES = ["a", "b", "", "é"]
NUMBERS = ["0", "-0", "1", "2.50", "1e3", "-7", "1e308", "0.1", "99999999999999999999"]


def tree(chance: random.Random, depth: int) -> str:
    kind = chance.randrange(7 if depth else 4)
    if kind == 0:
        return chance.choice(NUMBERS)
    if kind == 1:
        return chance.choice(['"x"', '"\\u00e9\\n"', '""'])
    if kind < 4:
        return chance.choice(["true", "false", "null"])
    inner = [tree(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 4:
        return f"[{','.join(inner)}]"
    return "{" + ",".join(f'"{chance.choice(NAMES)}":{value}' for value in inner) + "}"


def document(chance: random.Random) -> str:
    members = ",".join(f'"{name}":{tree(chance, 3)}' for name in NAMES)
    return chance.choice([f"{{{members}}}", f"[{{{members}}},{tree(chance, 3)}]"])


def path(chance: random.Random) -> str:
    legacy = chance.random() < 0.2
    text = chance.choice(["", "."]) if legacy else "$"
    for _ in range(chance.choice([0, 1, 1, 2, 2, 3])):
        text += chance.choice(
            [".a", "..a", ".*", "[*]", "[0]", "[-1]", "[1:]", "[0,-1,'b']", "['a','b']", "..*", "..[0]", '[""]', ".é"]
            + ["[?(@.a)]", "[?(@>1||@=='x')]", "..[?(@.b!=$.a)]", "[?(@=~'x|.')]", "[::2]"]
        )
    return chance.choice([text] * 30 + [text + "[", text + " ", "$" + text])


def command(chance: random.Random) -> list[str]:
    key = chance.choice(["d"] * 8 + ["e", "text"])
    value = chance.choice([tree(chance, 3)] * 20 + ["{", "nan", "[1,]"])
    index = str(chance.randrange(-4, 5))
    number = chance.choice([*NUMBERS, "x"])
    place = path(chance)
    return chance.choice(
        [
            ["JSON.SET", key, place, value, *chance.choice([[], [], ["NX"], ["XX"], ["ZZ"]])],
            ["JSON.SET", key, "$", document(chance)],
            ["JSON.SET", "d", "$", document(chance)],
            ["JSON.MERGE", key, place, value],
            ["JSON.MSET", key, place, value, "d", path(chance), tree(chance, 2)],
            ["JSON.DEL", key, place],
            ["JSON.CLEAR", key, place],
            ["JSON.NUMINCRBY", key, place, number],
            ["JSON.NUMMULTBY", key, place, number],
            ["JSON.STRAPPEND", key, place, chance.choice(['"y"', '"é"', value])],
            ["JSON.TOGGLE", key, place],
            ["JSON.ARRAPPEND", key, place, value, number],
            ["JSON.ARRINSERT", key, place, index, value],
            ["JSON.ARRPOP", key, place, index],
            ["JSON.ARRTRIM", key, place, index, str(chance.randrange(-4, 5))],
            ["JSON.ARRINDEX", key, place, value, index],
            ["JSON.ARRLEN", key, place],
            ["JSON.OBJKEYS", key, place],
            ["JSON.OBJLEN", key, place],
            ["JSON.STRLEN", key, place],
            ["JSON.TYPE", key, place],
            ["JSON.RESP", key, place],
            ["JSON.GET", key, "INDENT", " ", place, path(chance)],
            ["JSON.MGET", key, "d", place],
            ["JSON.DEBUG", "MEMORY", key, place],
        ]
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_random_program_replays_to_the_same_documents(seed: int) -> None:
    chance = random.Random(seed)
    leader, replica = Bench(seed=1), Bench(seed=2)
    leader.run("SET text x")
    n_refused = 0
    for _ in range(400):
        words = command(chance)
        before = leader.digest()
        n_entries = len(leader.entries)
        if isinstance(leader.run(*words), CommandError):
            n_refused += 1
            assert leader.digest() == before and len(leader.entries) == n_entries, words
        for key in ("d", "e"):
            json = leader.engine.context.find_json(key.encode())
            if json is not None:
                text = encode(json.root)
                assert encode(parse(text)) == text, words
                assert height(json.root) <= 128, words
    replica.apply(leader.entries)
    assert replica.digest() == leader.digest()
    assert 20 < n_refused < 350 and len(leader.entries) > 20
