"""JSONPath, its filters and its regular expressions."""

import json
import random
import re

import pytest

from upstash_global.engine.types.json import Json, encode, parse
from upstash_global.engine.types.jsonpath import compile_path
from upstash_global.engine.types.regex import compile_regex
from upstash_global.errors import CommandError

STORE = Json(
    parse(
        json.dumps(
            {
                "book": [
                    {"title": "Sayings", "price": 8.95, "tags": ["a", "b"], "sold": False},
                    {"title": "Sword", "price": 12.99, "tags": []},
                    {"title": "Moby Dick", "price": 8.99, "isbn": "0-553", "sold": True, "like": "^mob"},
                ],
                "bicycle": {"color": "red", "price": 20},
                "limit": 9,
                "": {"a.b": {"'": 1}},
                "free-shipping": True,
                "größe": 1,
            }
        ).encode()
    )
)


def found(path: str, json: Json = STORE) -> str:
    return encode(compile_path(path.encode()).values(json)).decode()


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$.bicycle.color", '["red"]'),
        ("$['bicycle'][\"color\"]", '["red"]'),
        ("$.bicycle.['color']", '["red"]'),
        ("$[ 'bicycle' ].price", "[20]"),
        ("$.bicycle.*", '["red",20]'),
        ("$.bicycle[*]", '["red",20]'),
        ("$.bicycle['price','color','price']", '[20,"red"]'),
        ("$.book[0].title", '["Sayings"]'),
        ("$.book[-1].title", '["Moby Dick"]'),
        ("$.book[3].title", "[]"),
        ("$.book[-4].title", "[]"),
        ("$.book[0,2,-1].title", '["Sayings","Moby Dick"]'),
        ("$.book[0:2].title", '["Sayings","Sword"]'),
        ("$.book[:-1].title", '["Sayings","Sword"]'),
        ("$.book[-2:].title", '["Sword","Moby Dick"]'),
        ("$.book[::2].title", '["Sayings","Moby Dick"]'),
        ("$.book[ 0 : 99999999999999999999 : 1 ].title", '["Sayings","Sword","Moby Dick"]'),
        ("$.book[1:,0].title", '["Sword","Moby Dick","Sayings"]'),
        ("$.book.title", "[]"),
        ("$.bicycle[0]", "[]"),
        ("$.limit.x[0]..*", "[]"),
        ("$..price", "[8.95,12.99,8.99,20]"),
        ("$..tags[0]", '["a"]'),
        ("$..[1]", '["b",{"title":"Sword","price":12.99,"tags":[]}]'),
        ("$..['title','isbn']", '["Sayings","Sword","Moby Dick","0-553"]'),
        ("$['']['a.b']['\\'']", "[1]"),
        ('$[""]["a.b"]["\'"]', "[1]"),
        ("$.free-shipping", "[true]"),
        ("$.größe", "[1]"),
        ("$['gr\\u00f6ße']", "[1]"),
        ("bicycle.color", '["red"]'),
        (".bicycle.color", '["red"]'),
        ("book[1].title", '["Sword"]'),
        ('["bicycle"].color', '["red"]'),
        ("..color", '["red"]'),
        (".book[*].title", '["Sayings","Sword","Moby Dick"]'),
    ],
)
def test_paths(path: str, values: str) -> None:
    assert found(path) == values


def titles(condition: str) -> str:
    return " ".join(json.loads(found(f"$.book[?({condition})].title")))


@pytest.mark.parametrize(
    ("condition", "which"),
    [
        ("@.price < 9", "Sayings Moby Dick"),
        ("@.price<=8.95", "Sayings"),
        ("@.price > 8.95", "Sword Moby Dick"),
        ("@.price >= $.limit", "Sword"),
        ("8.95 == @.price", "Sayings"),
        ("@.price != 8.95", "Sword Moby Dick"),
        ('@.title == "Sword"', "Sword"),
        ("@.title > 'Sb'", "Sword"),
        ("@.title == @.title", "Sayings Sword Moby Dick"),
        ("@.isbn", "Moby Dick"),
        ("!@.isbn", "Sayings Sword"),
        ("@.isbn != 1", "Sayings Sword Moby Dick"),
        ("@.isbn == @.none", ""),
        ("@.sold == true", "Moby Dick"),
        ("@.sold == false || @.isbn", "Sayings Moby Dick"),
        ("@.sold", "Sayings Moby Dick"),
        ("@.isbn || @.price < 9 && @.sold == false", "Sayings Moby Dick"),
        ("(@.isbn || @.price < 9) && !(@.sold == false)", "Moby Dick"),
        ("@.tags[0] == 'a'", "Sayings"),
        ("@['tags'][-1] == 'b'", "Sayings"),
        ("@.tags == $.book[1].tags", "Sword"),
        ("@.price == null", ""),
        ("@.price < '9'", ""),
        ("@.title < 9", ""),
        ("@.title =~ 'S.*g'", "Sayings"),
        ("@.title =~ '(?i)^s'", "Sayings Sword"),
        ('@.title =~ "\\bDick\\b"', "Moby Dick"),
        ("@.title =~ '('", ""),
        ("@.price =~ '8'", ""),
        ("@.title =~ @.like", ""),
        ("@.isbn =~ '^[\\d-]+$'", "Moby Dick"),
    ],
)
def test_filters(condition: str, which: str) -> None:
    assert titles(condition) == which


def test_a_filter_tests_the_members_of_an_object_too() -> None:
    assert found("$.bicycle[?(@ == 'red')]") == '["red"]'
    assert found("$[?(@.price > 1)].color") == '["red"]'
    assert found("$..[?(@.price == 20)]") == '[{"color":"red","price":20}]'
    assert found("$[?@.color]") == '[{"color":"red","price":20}]'


def test_numbers_compare_by_value_however_they_are_written() -> None:
    numbers = Json(parse(b'[1,1.0,1.00,10e-1,2,9007199254740993,9007199254740992.0,"1",true]'))
    assert found("$[?(@==1)]", numbers) == "[1,1.0,1.00,10e-1]"
    assert found("$[?(@==9007199254740993)]", numbers) == "[9007199254740993]"


@pytest.mark.parametrize(
    ("path", "at"),
    [
        ("$a", 2),
        ("$.", 3),
        ("$..", 4),
        ("$[", 3),
        ("$[]", 3),
        ("$[0", 4),
        ("$['a", 5),
        ("$['a'", 6),
        ("$.a b", 4),
        ("$.a + 1", 4),
        ("$[0:1:0]", 8),
        ("$[0:1:-1]", 9),
        ("$[?(@.a]", 8),
        ("$[?(@.a==)]", 10),
        ("$[?(@.a==1]", 11),
        ("$[?(1)]", 6),
        ("$[?(@..a)]", 7),
        ("$[(@.length-1)]", 3),
        (".arr[-inf]", 7),
        ("", 3),
        (" ", 3),
    ],
)
def test_what_is_no_path_is_refused_at_its_place(path: str, at: int) -> None:
    with pytest.raises(CommandError) as refusal:
        compile_path(path.encode())
    assert refusal.value.text == f"ERR Search path error at or near {at}"


@pytest.mark.parametrize("path", ["$[?" + "(" * 100_000, "$[?" + "!" * 100_000 + "@.a]", "$" + "[" * 100_000])
def test_a_deeply_nested_path_is_refused(path: str) -> None:
    with pytest.raises(CommandError):
        compile_path(path.encode())


def test_no_value_is_matched_twice_so_descents_do_not_multiply() -> None:
    deep = Json(parse(b'{"a":' * 127 + b"1" + b"}" * 127))
    path = compile_path(b"$" + b"..*" * 60)
    assert len(path.values(deep)) == 127 - 59
    wide = compile_path(b"$" + b"['a','a','a']" * 100)
    assert len(wide.values(deep)) == 1


def test_a_long_path_is_compiled_and_found() -> None:
    assert compile_path(b"$" + b".x" * 100_000).values(STORE) == []


def test_a_random_pattern_is_found_where_python_finds_it() -> None:
    """Both are given patterns and texts over a small alphabet, so that matches are frequent."""
    chance = random.Random(7)
    n_compared = 0
    for _ in range(3_000):
        flags = chance.choice(["", "(?i)", "(?s)"])
        pattern = flags + random_pattern(chance, 4)
        text = "".join(chance.choice("abAB1 \n") for _ in range(chance.randrange(7)))
        try:
            expected = re.search(pattern.replace("$", "\\Z"), text, re.ASCII) is not None
        except re.error:
            continue
        assert compile_regex(pattern).is_found(text) == expected, (pattern, text)
        n_compared += 1
    assert n_compared > 2_000


def random_pattern(chance: random.Random, depth: int) -> str:
    kind = chance.random()
    if depth == 0 or kind < 0.4:
        return chance.choice(["a", "b", ".", "[ab]", "[^a]", "[^a-z]", "\\w", "\\D", "\\s", "\\n", "\\b", "^", "$"])
    first = random_pattern(chance, depth - 1)
    if kind < 0.6:
        return first + random_pattern(chance, depth - 1)
    if kind < 0.75:
        return f"(?:{first}|{random_pattern(chance, depth - 1)})"
    return f"({first})" + chance.choice(["*", "+", "?", "{2}", "{1,2}", "{0,}", "*?", "+?"])


@pytest.mark.parametrize(
    ("pattern", "text", "is_found"),
    [
        ("(?m)^b$", "a\nb\nc", True),
        ("^b$", "a\nb\nc", False),
        ("a(?i)B", "ab", True),
        ("(a(?i))B", "ab", False),
        ("(?i:É)x", "éx", True),
        ("(?P<name>a+)b", "xaab", True),
        ("\\x41\\.", "A.", True),
        ("[]a]", "]", True),
        ("[^]a]", "]", False),
        ("[a-]", "-", True),
        ("a{3}", "aa", False),
        ("", "", True),
    ],
)
def test_patterns(pattern: str, text: str, is_found: bool) -> None:
    assert compile_regex(pattern).is_found(text) == is_found


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "[",
        "[b-a]",
        "*",
        "a{2,1}",
        "a{x}",
        "\\",
        "\\q",
        "(?=a)",
        "(?x)a",
        "a{1000}{1000}",
        "a" + "*" * 9999,
        "(" * 9999,
    ],
)
def test_what_is_no_pattern_or_too_large_is_found_nowhere(pattern: str) -> None:
    assert not compile_regex(pattern).is_found("aab(")


def test_nested_repetitions_cost_no_more_than_the_length_of_the_text() -> None:
    """A backtracking engine would take longer than the age of the universe."""
    assert not compile_regex("^(a*)*(a|a)*(a|a?)+b$").is_found("a" * 2_000)
