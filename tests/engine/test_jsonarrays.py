"""JSON arrays: lengths, indexes from both ends, and nothing changed where one of several arrays refuses."""

import json
from typing import Any

import pytest

from tests.engine.bench import Bench
from tests.engine.test_json import holding, text
from upstash_global.errors import CommandError

NOT_AN_ARRAY = CommandError("ERR", "Path '$.s' does not exist or not an array")


def nested() -> Bench:
    return holding({"a": ["foo"], "n1": {"a": ["hello", None, "world"]}, "n2": {"a": 31}})


def test_append_extends_every_array_and_answers_their_lengths_deepest_first() -> None:
    bench = nested()
    assert bench.run("JSON.ARRAPPEND", "doc", "$..a", '"bar"', '{"x":1.50}') == [5, None, 3]
    assert text(bench, "$.a", "$.n1.a") == (
        '{"$.a":[["foo","bar",{"x":1.50}]],"$.n1.a":[["hello",null,"world","bar",{"x":1.50}]]}'
    )
    bench.run("JSON.SET", "doc", "$.a[2].x", "2")
    assert text(bench, "$.n1.a[4].x") == "[1.50]"
    assert bench.run("JSON.ARRAPPEND", "doc", "..a", "1") == 4  # of the last match
    assert bench.run("JSON.ARRAPPEND", "doc", "$.n2.a", "1") == [None]
    assert bench.run("JSON.ARRAPPEND", "doc", "$.none", "1") == []


def test_append_and_insert_need_a_value() -> None:
    bench = nested()
    for words in (["JSON.ARRAPPEND", "doc", "$.a"], ["JSON.ARRINSERT", "doc", "$.a", "0"]):
        assert bench.run(*words) == CommandError("ERR", f"wrong number of arguments for '{words[0].lower()}' command")


def test_insert_goes_before_an_index_from_either_end() -> None:
    bench = holding([])
    for index, value, length in [(0, 1, 1), (-1, 2, 2), (-2, 3, 3), (3, 4, 4), (1, 5, 5), (-2, 6, 6)]:
        assert bench.run("JSON.ARRINSERT", "doc", ".", index, value) == length
    assert text(bench) == "[3,5,2,6,1,4]"
    assert bench.run("JSON.ARRINSERT", "doc", "$", -3, "7", "[8]") == [8]
    assert text(bench) == "[3,5,2,7,[8],6,1,4]"


def test_an_index_outside_of_one_array_changes_none() -> None:
    bench = nested()
    before = bench.digest()
    for index in (2, -2, 10, -10):
        assert bench.run("JSON.ARRINSERT", "doc", "$..a", index, "1") == CommandError("ERR", "index out of bounds")
    assert bench.run("JSON.ARRINSERT", "doc", "$..a", "x", "1") == CommandError(
        "ERR", "value is not an integer or out of range"
    )
    assert bench.digest() == before


@pytest.mark.parametrize(
    ("arguments", "index"),
    [
        (["0"], 0),
        (["4"], -1),
        (["0", "1"], 6),
        (["0", "-1"], 6),
        (["0", "4", "0"], 6),
        (["0", "5", "-1"], -1),
        (["2", "-2", "6"], -1),
        (["2", "-100", "100"], 2),
        (["0", "7"], -1),
        (["0", "100"], -1),
        (['"foo"'], -1),
    ],
)
def test_arrindex_finds_the_first_from_start_to_before_stop(arguments: list[str], index: int) -> None:
    bench = holding({"arr": [0, 1, 2, 3, 2, 1, 0]})
    assert bench.run("JSON.ARRINDEX", "doc", "$.arr", *arguments) == [index]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ("1", 0),
        ("1.0", 1),
        ("1.00", 1),
        ("true", 2),
        ("null", 3),
        ('"1"', 4),
        ('{"b":[1],"a":{}}', 5),
        ("[1,2]", 6),
        ("[1,2.0]", -1),
    ],
)
def test_arrindex_compares_whole_values_and_tells_integers_from_numbers(wanted: str, index: int) -> None:
    bench = holding('[1,1.0,true,null,"1",{"a":{},"b":[1]},[1,2]]')
    assert bench.run("JSON.ARRINDEX", "doc", ".", wanted) == index


def test_arrindex_on_other_types() -> None:
    bench = holding({"s": "x", "a": [0, 1], "o": {"a": [1]}})
    assert bench.run("JSON.ARRINDEX", "doc", "$..a", "1") == [0, 1]
    assert bench.run("JSON.ARRINDEX", "doc", "$.s", "1") == [None]
    assert bench.run("JSON.ARRINDEX", "doc", ".s", "1") == CommandError(
        "WRONGTYPE", "wrong type of path value - expected array but found string"
    )
    assert bench.run("JSON.ARRINDEX", "doc", ".none", "1") == CommandError("ERR", "Path '$.none' does not exist")


def test_arrlen() -> None:
    bench = nested()
    assert bench.run("JSON.ARRLEN", "doc", "$..a") == [3, None, 1]
    assert bench.run("JSON.ARRLEN", "doc", ".n1.a") == 3
    assert holding({"s": ""}).run("JSON.ARRLEN", "doc", ".s") == NOT_AN_ARRAY
    assert holding({}).run("JSON.ARRLEN", "doc", ".s") == NOT_AN_ARRAY


@pytest.mark.parametrize(("index", "popped"), [(0, 1), (-1, 9), (-2, 8), (2, 3), (99, 9), (-99, 1), (None, 9)])
def test_arrpop_takes_from_either_end_and_rounds_to_it(index: int | None, popped: int) -> None:
    bench = holding([1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert bench.run("JSON.ARRPOP", "doc", ".", *([] if index is None else [index])) == str(popped).encode()
    assert json.loads(text(bench)) == [n for n in range(1, 10) if n != popped]


def test_arrpop_answers_json_text_and_nil_for_an_empty_array() -> None:
    bench = nested()
    assert bench.run("JSON.ARRPOP", "doc", "$..a", "1") == [b"null", None, b'"foo"']
    assert bench.run("JSON.ARRPOP", "doc", "$.a") == [None]
    assert bench.run("JSON.ARRPOP", "doc", ".a") is None
    assert bench.run("JSON.ARRPOP", "doc", ".n2.a") == CommandError(
        "ERR", "Path '$.n2.a' does not exist or not an array"
    )
    assert len(bench.entries) == 2


def test_arrpop_of_an_array_and_of_what_is_inside_of_it() -> None:
    bench = holding([[1, 2], [3]])
    assert bench.run("JSON.ARRPOP", "doc", "$..[0]") == [None, None, b"2"]
    bench = holding({"a": [[7]], "b": 1})
    assert bench.run("JSON.ARRPOP", "doc", "$.a") == [b"[7]"]
    assert text(bench) == '{"a":[],"b":1}'


@pytest.mark.parametrize(
    ("start", "stop", "kept"),
    [
        (1, -2, [1, 2, 3, 2, 1]),
        (0, 99, [0, 1, 2, 3, 2, 1, 0]),
        (0, 2, [0, 1, 2]),
        (99, 2, []),
        (-1, 0, []),
        (-4, 1, []),
        (-2, -1, [1, 0]),
        (-99, 0, [0]),
        (0, -99, []),
        (4, 5, [2, 1]),
    ],
)
def test_arrtrim_keeps_an_inclusive_range(start: int, stop: int, kept: list[int]) -> None:
    bench = holding({"arr": [0, 1, 2, 3, 2, 1, 0], "s": 1})
    assert bench.run("JSON.ARRTRIM", "doc", "$.*", start, stop) == [len(kept), None]
    assert json.loads(text(bench, ".arr")) == kept


def test_commands_that_change_an_array_refuse_another_type_under_a_legacy_path() -> None:
    bench = holding({"s": "x"})
    commands: list[list[Any]] = [
        ["JSON.ARRAPPEND", "doc", ".s", "1"],
        ["JSON.ARRINSERT", "doc", ".s", "0", "1"],
        ["JSON.ARRPOP", "doc", ".s"],
        ["JSON.ARRTRIM", "doc", ".s", "0", "1"],
    ]
    for words in commands:
        assert bench.run(*words) == NOT_AN_ARRAY
        assert bench.run(words[0], "none", *words[2:]) == CommandError(
            "ERR", "could not perform this operation on a key that doesn't exist"
        )
