"""JSON commands: what RedisJSON 2 and the tests of the Upstash SDKs expect, and where a failing command must change nothing."""

import json
from typing import Any

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.context import EVENT_MODULE
from upstash_global.engine.dump import digest
from upstash_global.engine.table import TABLE
from upstash_global.errors import CommandError
from upstash_global.replication.position import History, Position
from upstash_global.replication.snapshot import SnapshotLoader, SnapshotWriter
from upstash_global.reply import OK, ByProtocol, Reply, Simple, pack, unpack

WRONGTYPE = CommandError("WRONGTYPE", "Operation against a key holding the wrong kind of value")
NO_KEY = CommandError("ERR", "could not perform this operation on a key that doesn't exist")


def holding(document: Any, key: str = "doc") -> Bench:
    """A bench with one document; text is taken as it is."""
    bench = Bench()
    assert bench.run("JSON.SET", key, "$", document if isinstance(document, str) else json.dumps(document)) == OK
    return bench


def text(bench: Bench, *path: str) -> str:
    reply = bench.run("JSON.GET", "doc", *path)
    assert isinstance(reply, bytes), reply
    return reply.decode()


def resp2(reply: Reply) -> Reply:
    return reply.resp2 if isinstance(reply, ByProtocol) else reply


# -- numbers and texts stay as they were written --------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "13.361389",
        "1.0",
        "1.50",
        "-0",
        "1e5",
        "1E+2",
        "123456789012345678901234567890",
        "-" + "9" * 400,
        "1e+21",
        "0.1",
        "5.960464477539062e16",
        "1e-7",
        "0.00001",
        '"a\\n\\u0001\\"é/😀"',
        '{"b":1,"a":[true,false,null,{}],"":[]}',
    ],
)
def test_what_was_set_is_got_as_it_was_written(written: str) -> None:
    bench = holding(written)
    assert text(bench) == written
    assert text(bench, "$") == f"[{written}]"


def test_spaces_go_and_the_last_of_two_equal_members_counts() -> None:
    assert text(holding(' { "a" : 1 , "b":2, "a" : [ ] } ')) == '{"a":[],"b":2}'


def test_escapes_are_read_as_the_characters_they_stand_for() -> None:
    assert text(holding('"\\u00e9\\/\\ud83d\\ude00"')) == '"é/😀"'


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("", "EOF while parsing a value"),
        ("{", "EOF while parsing a value"),
        ("nul", "expected value at line 1 column 1"),
        ("{a:1}", "key must be a string"),
        ('{"a" 1}', "expected `:`"),
        ("[1 2]", "expected `,`"),
        ("1 2", "trailing characters"),
        ("01", "trailing characters"),
        ('"a', "EOF while parsing a string"),
        ('"\x01"', "control character"),
        ('"\\x"', "invalid escape"),
        ('"\\ud800"', "surrogate"),
        ("NaN", "expected value"),
        ("-Infinity", "expected value"),
        ("1e999", "number out of range"),
        ("[" + "9" * 5000 + "]", "number out of range"),
        (b"\x80abc", "Couldn't parse as UTF-8 string"),
    ],
)
def test_what_is_no_json_is_refused(broken: str | bytes, says: str) -> None:
    bench = Bench()
    refusal = bench.run("JSON.SET", "doc", "$", broken)
    assert isinstance(refusal, CommandError) and says in refusal.text
    assert bench.entries == []


def test_a_document_is_at_most_128_deep() -> None:
    bench = holding("[" * 128 + "]" * 128)
    too_deep = CommandError("ERR", "recursion limit exceeded")
    assert bench.run("JSON.SET", "doc", "$", "[" * 129 + "]" * 129) == too_deep
    assert bench.run("JSON.SET", "doc", "$", "[" * 100_000) == too_deep
    assert bench.run("JSON.ARRAPPEND", "doc", "$", "[" * 128 + "]" * 128) == too_deep
    innermost = "$" + "[0]" * 127
    before = bench.digest()
    assert bench.run("JSON.ARRAPPEND", "doc", innermost, "1") == [1]
    assert bench.run("JSON.SET", "doc", innermost + "[0]", "[]") == too_deep
    assert bench.run("JSON.ARRAPPEND", "doc", innermost, "1", "{}") == too_deep
    assert bench.run("JSON.ARRINSERT", "doc", innermost, "0", "{}") == too_deep
    assert bench.run("JSON.MERGE", "doc", innermost, '{"a":[]}') == too_deep
    assert bench.run("JSON.MSET", "new", "$", "1", "doc", innermost + "[0]", "[]") == too_deep
    bench.run("JSON.ARRPOP", "doc", innermost)
    assert bench.digest() == before
    assert bench.run("JSON.GET", "doc", "$..*") is not None


def test_brackets_in_strings_are_no_depth() -> None:
    assert text(holding(json.dumps(["[" * 500, '\\"{{']))) == json.dumps(["[" * 500, '\\"{{'], separators=(",", ":"))


# -- GET and MGET ---------------------------------------------------------------------------------------------------


def test_descent_answers_the_deepest_first() -> None:
    bench = holding({"a": 2, "b": 3, "nested": {"a": 4, "b": None}})
    assert text(bench, "$..b") == "[null,3]"
    assert text(bench, "$..a", "$..b") == '{"$..a":[4,2],"$..b":[null,3]}'


def test_a_path_without_match_is_empty_and_a_legacy_one_is_refused() -> None:
    bench = holding({"a": 1})
    assert text(bench, "$.x") == "[]"
    assert bench.run("JSON.GET", "doc", ".x") == CommandError("ERR", "Path '$.x' does not exist")
    assert bench.run("JSON.GET", "doc", ".a", "x") == CommandError("ERR", "Path '$.x' does not exist")
    assert bench.run("JSON.GET", "none", ".x") is None


def test_several_paths_answer_an_object_of_lists_or_for_legacy_paths_of_values() -> None:
    bench = holding({"a": {"x": 1}, "b": {"x": 2}})
    assert text(bench, ".a", "b.x") == '{".a":{"x":1},"b.x":2}'
    assert text(bench, ".*.x") == "1"
    assert text(bench, ".a.x", "$.b.x", "$.c") == '{".a.x":[1],"$.b.x":[2],"$.c":[]}'


def test_get_lays_out_lines() -> None:
    bench = holding({"a": [1, {}], "b": {"c": "d"}, "e": []})
    reply = bench.run("JSON.GET", "doc", "indent", "\t", "NEWLINE", "\n", "SPACE", " ")
    assert reply == b'{\n\t"a": [\n\t\t1,\n\t\t{}\n\t],\n\t"b": {\n\t\t"c": "d"\n\t},\n\t"e": []\n}'
    assert bench.run("JSON.GET", "doc", "SPACE", " ", "NOESCAPE", "$.b", "$.e") == b'{"$.b": [{"c": "d"}],"$.e": [[]]}'
    assert isinstance(bench.run("JSON.GET", "doc", "INDENT"), CommandError)


def test_mget_gets_the_same_path_from_each_document_and_nil_where_there_is_none() -> None:
    bench = holding({"a": 1, "nested": {"a": 3}})
    bench.run("SET", "text", "x")
    bench.run("JSON.SET", "other", "$", '{"b":1}')
    assert bench.run("JSON.MGET", "doc", "text", "none", "other", "$..a") == [b"[3,1]", None, None, b"[]"]
    assert bench.run("JSON.MGET", "doc", "other", ".a") == [b"1", None]


# -- SET, MSET, MERGE -----------------------------------------------------------------------------------------------


def test_set_adds_a_member_and_replaces_all_matches() -> None:
    bench = holding({"f1": {"a": 1}, "f2": {"a": 2}})
    assert bench.run("JSON.SET", "doc", "$..a", "[3]") == OK
    assert bench.run("JSON.SET", "doc", "$.f1.b", "8") == OK
    assert bench.run("JSON.SET", "doc", "new", "null") == OK
    assert bench.run("JSON.ARRAPPEND", "doc", "$.f1.a", "4") == [2]
    assert text(bench) == '{"f1":{"a":[3,4],"b":8},"f2":{"a":[3]},"new":null}'


def test_set_with_nx_and_xx() -> None:
    bench = Bench()
    assert bench.run("JSON.SET", "doc", "$", "{}", "XX") is None
    assert bench.run("JSON.SET", "doc", "$", "{}", "nx") == OK
    assert bench.run("JSON.SET", "doc", "$", "1", "NX") is None
    assert bench.run("JSON.SET", "doc", "$.a", "1", "XX") is None
    assert bench.run("JSON.SET", "doc", "$.a.b.c", "1", "XX") is None
    assert bench.run("JSON.SET", "doc", "$.a", "1", "NX") == OK
    assert bench.run("JSON.SET", "doc", "$.a", "2", "NX") is None
    assert bench.run("JSON.SET", "doc", "$.a", "3", "XX") == OK
    assert text(bench) == '{"a":3}'
    assert len(bench.entries) == 3
    for options in (["XX", "NX"], ["NN"], [""], ["NX", ""]):
        assert bench.run("JSON.SET", "doc", "$.a", "3", *options) == CommandError("ERR", "syntax error")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("$.missing.b", "missing key at non-terminal path level"),
        ("$.n.b", "missing key at non-terminal path level"),
        ("$..x", "wrong static path"),
        ("$.*.x", "wrong static path"),
        ("$.arr[2]", "array index out of range"),
        ("$[0]", "array index out of range"),
        ("arr[2]", "array index out of range"),
        ("$a", "Search path error at or near 2"),
    ],
)
def test_set_refuses_a_place_that_cannot_be_made(path: str, says: str) -> None:
    bench = holding({"n": 1, "arr": [0, 1]})
    before = bench.digest()
    for words in (["JSON.SET"], ["JSON.MERGE"], ["JSON.MSET", "other", "$", "1"]):
        assert bench.run(*words, "doc", path, "5") == CommandError("ERR", says)
    assert bench.digest() == before and len(bench.entries) == 1


def test_a_new_document_begins_at_the_root() -> None:
    bench = Bench()
    for name in ("JSON.SET", "JSON.MSET", "JSON.MERGE"):
        assert bench.run(name, "doc", "$.a", "1") == CommandError("ERR", "new objects must be created at the root")
    assert bench.run("JSON.SET", "doc", ".", '"x"') == OK


def test_set_keeps_the_deadline_but_not_that_of_an_expired_document() -> None:
    bench = holding({})
    bench.run("PEXPIRE doc 1000")
    bench.run("JSON.SET", "doc", "$", "[1]")
    assert bench.run("PTTL doc") == 1000
    bench.later(2000)
    assert bench.run("JSON.GET doc") is None
    assert bench.run("JSON.SET", "doc", "$", "[2]") == OK
    assert bench.run("PTTL doc") == -1


def test_mset_sets_all_or_nothing_and_a_later_triplet_sees_an_earlier_one() -> None:
    bench = holding({"a": {"x": 1}})
    assert bench.run("JSON.MSET", "doc", "$.a", '{"b":1}', "two", "$", "[]", "doc", "$.a.b", "2", "two", "$", "3") == OK
    assert text(bench) == '{"a":{"b":2}}'
    assert bench.run("JSON.GET two") == b"3"
    before = bench.digest()
    assert bench.run("JSON.MSET", "doc", "$.a", "1", "doc", "$.a.b", "2") == CommandError(
        "ERR", "missing key at non-terminal path level"
    )
    assert isinstance(bench.run("JSON.MSET", "three", "$", "1", "doc", "$", "{"), CommandError)
    assert bench.run("JSON.MSET", "doc", "$", "1", "two") == CommandError(
        "ERR", "wrong number of arguments for 'json.mset' command"
    )
    assert bench.digest() == before


@pytest.mark.parametrize(
    ("document", "path", "patch", "merged"),
    [
        ('{"a":2}', "$.b", "8", '{"a":2,"b":8}'),
        ('{"a":2}', "$.a", "3", '{"a":3}'),
        ('{"a":2}', "$", '{"a":null}', "{}"),
        ('{"a":[2,4]}', "$.a", "[10,12]", '{"a":[10,12]}'),
        (
            '{"f1":{"a":1},"f2":{"a":2}}',
            "$",
            '{"f1":null,"f2":{"a":3,"b":4},"f3":[2]}',
            '{"f2":{"a":3,"b":4},"f3":[2]}',
        ),
        ('{"array":[1],"object":{"array":[2]}}', "$..array", "[2,2]", '{"array":[2,2],"object":{"array":[2,2]}}'),
        ('{"a":{"b":1,"c":2}}', "$.a", '{"b":null}', '{"a":{"c":2}}'),
        ('{"a":{"b":1}}', "$.a", "null", '{"a":null}'),
        ('{"a":[1]}', "$.a", '{"b":{"c":null,"d":1}}', '{"a":{"b":{"d":1}}}'),
        ('{"a":{"a":1}}', "$..a", '{"a":{"x":1}}', '{"a":{"a":{"a":{"x":1},"x":1}}}'),  # the inner match first
    ],
)
def test_merge_follows_rfc_7396(document: str, path: str, patch: str, merged: str) -> None:
    bench = holding(document)
    assert bench.run("JSON.MERGE", "doc", path, patch) == OK
    assert text(bench) == merged


def test_merged_values_share_nothing() -> None:
    bench = holding({"a": {}, "b": {}})
    bench.run("JSON.MERGE", "doc", "$.*", '{"list":[1],"inner":{"n":1}}')
    bench.run("JSON.ARRAPPEND", "doc", "$.a.list", "2")
    bench.run("JSON.NUMINCRBY", "doc", "$.a.inner.n", "2")
    assert text(bench, "$.b") == '[{"list":[1],"inner":{"n":1}}]'


# -- DEL and CLEAR --------------------------------------------------------------------------------------------------


def test_del_counts_what_it_deletes_and_what_is_inside_of_it_once() -> None:
    bench = holding({"a": 1, "nested": {"a": 2, "b": 3}})
    assert bench.run("JSON.DEL", "doc", "$..a") == 2
    assert text(bench) == '{"nested":{"b":3}}'
    bench.run("JSON.SET", "doc", "$", '[[1],[1,2,3,[4,5,[{"a":6},7,8]]]]')
    assert bench.run("JSON.FORGET", "doc", "$..[0]") == 4
    assert text(bench) == "[[2,3,[5,[7,8]]]]"


@pytest.mark.parametrize("path", ["$[*]", "$[2,1,0]", "$[1,2,0,-1]", "$[0:3]"])
def test_del_of_several_elements_does_not_shift_under_itself(path: str) -> None:
    bench = holding([1, 2, 3])
    assert bench.run("JSON.DEL", "doc", path) == 3
    assert text(bench) == "[]"


def test_del_of_the_root_deletes_the_key_and_of_the_last_member_does_not() -> None:
    bench = holding({"a": 1})
    assert bench.run("JSON.DEL", "doc", ".a") == 1
    assert bench.run("JSON.DEL", "doc", ".a") == 0
    assert bench.run("EXISTS doc") == 1
    assert bench.run("JSON.DEL doc") == 1
    assert bench.run("EXISTS doc") == 0
    assert bench.run("JSON.DEL doc") == 0


def test_clear_empties_containers_and_zeroes_numbers_once() -> None:
    document = {"obj": {"a": 1}, "arr": [1], "str": "foo", "bool": True, "int": 42, "float": 3.14, "null": None}
    bench = holding(document)
    assert bench.run("JSON.CLEAR", "doc", "$.*") == 4
    assert text(bench) == '{"obj":{},"arr":[],"str":"foo","bool":true,"int":0,"float":0,"null":null}'
    n_entries = len(bench.entries)
    assert bench.run("JSON.CLEAR", "doc", "$.*") == 0
    assert bench.run("JSON.CLEAR", "doc", "$.nowhere") == 0
    assert len(bench.entries) == n_entries
    assert bench.run("JSON.CLEAR doc") == 1
    assert text(bench) == "{}"
    assert bench.run("JSON.CLEAR none") == NO_KEY


def test_clear_counts_own_and_nested_matches() -> None:
    bench = holding({"int": 1, "array": [1, 2], "object": {"array": [1]}})
    assert bench.run("JSON.CLEAR", "doc", "$..array") == 2
    assert text(bench) == '{"int":1,"array":[],"object":{"array":[]}}'


# -- numbers --------------------------------------------------------------------------------------------------------


def test_increments_answer_a_json_text_and_null_for_what_is_no_number() -> None:
    bench = holding({"a": "b", "b": [{"a": 2}, {"a": 5.0}, {"a": "c"}]})
    assert resp2(bench.run("JSON.NUMINCRBY", "doc", "$..a", "2")) == b"[4,7.0,null,null]"
    assert bench.run("JSON.NUMINCRBY", "doc", "$.a", "2") == ByProtocol(b"[null]", [None])
    assert resp2(bench.run("JSON.NUMINCRBY", "doc", "$.none", "2")) == b"[]"
    assert bench.run("JSON.NUMINCRBY", "doc", ".b[0].a", "0.5") == ByProtocol(b"4.5", [4.5])
    assert resp2(bench.run("JSON.NUMMULTBY", "doc", "$..a", "2")) == b"[9.0,14.0,null,null]"
    assert resp2(bench.run("JSON.NUMMULTBY", "doc", ".b[0].a", "2.5")) == b"22.5"


def test_integers_stay_exact_and_beyond_a_double_nothing_changes() -> None:
    bench = holding([9223372036854775807, "1.0", 1.6e308])
    assert bench.run("JSON.NUMINCRBY", "doc", "$[0]", "1") == ByProtocol(
        b"[9223372036854775808]", ["9223372036854775808"]
    )
    assert (
        resp2(bench.run("JSON.NUMMULTBY", "doc", "$[0]", "100000000000000000000"))
        == b"[922337203685477580800000000000000000000]"
    )
    before = bench.digest()
    for name, path, operand in [
        ("JSON.NUMINCRBY", "$.*", "1.6e308"),
        ("JSON.NUMMULTBY", "$[2]", "2"),
        ("JSON.NUMMULTBY", "$[0]", "1" + "0" * 300),
        ("JSON.NUMMULTBY", "$[2]", "1" + "0" * 300),
        ("JSON.NUMINCRBY", "$[2]", "1" + "0" * 400),
        ("JSON.NUMMULTBY", "$[0]", "1" + "0" * 400),
    ]:
        assert bench.run(name, "doc", path, operand) == CommandError("ERR", "result is not a number")
    assert bench.digest() == before


def test_results_are_written_as_redisjson_writes_them() -> None:
    bench = holding("[0.000001,4000.5,2,0.00001]")
    assert resp2(bench.run("JSON.NUMMULTBY", "doc", "$.*", "0.5")) == b"[5e-7,2000.25,1.0,5e-6]"
    assert resp2(bench.run("JSON.NUMMULTBY", "doc", "$[1,2]", "1e20")) == b"[2.00025e23,1e20]"
    assert resp2(bench.run("JSON.NUMINCRBY", "doc", "$[3]", "0.000005")) == b"[0.00001]"
    assert text(bench) == "[5e-7,2.00025e23,1e20,0.00001]"


def test_an_operand_that_is_no_number_is_refused() -> None:
    bench = holding({"a": 1})
    assert bench.run("JSON.NUMINCRBY", "doc", "$.a", '"5"') == CommandError("ERR", "bad input number")
    assert isinstance(bench.run("JSON.NUMINCRBY", "doc", "$.a", "abc"), CommandError)
    assert bench.run("JSON.NUMINCRBY", "doc", ".b", "1") == CommandError(
        "ERR", "Path '$.b' does not exist or does not contains a number"
    )
    assert bench.run("JSON.NUMINCRBY", "none", "$.a", "1") == NO_KEY


# -- strings, booleans, objects, types ------------------------------------------------------------------------------


def test_strappend_and_strlen_count_bytes() -> None:
    bench = holding({"a": "foo", "n": {"a": "hé"}, "m": {"a": 31}})
    assert bench.run("JSON.STRLEN", "doc", "$..a") == [3, None, 3]
    assert bench.run("JSON.STRAPPEND", "doc", "$..a", '"é"') == [5, None, 5]
    assert bench.run("JSON.STRAPPEND", "doc", ".*.a", '"b"') == 6
    assert text(bench) == '{"a":"fooé","n":{"a":"hééb"},"m":{"a":31}}'
    assert bench.run("JSON.STRAPPEND", "doc", ".m.a", '"b"') == CommandError(
        "ERR", "Path '$.m.a' does not exist or not a string"
    )
    assert bench.run("JSON.STRAPPEND", "doc", "$.a", "1") == CommandError(
        "WRONGTYPE", "wrong type of path value - expected string but found integer"
    )
    assert bench.run("JSON.STRLEN", "doc", ".m") == CommandError(
        "WRONGTYPE", "wrong type of path value - expected string but found object"
    )


def test_without_a_path_the_root_is_meant() -> None:
    bench = holding('"abcd"')
    assert bench.run("JSON.STRAPPEND", "doc", '"piu"') == 7
    assert bench.run("JSON.STRLEN doc") == 7
    assert resp2(bench.run("JSON.TYPE doc")) == "string"
    bench = holding([1, 2, 3])
    assert bench.run("JSON.ARRLEN doc") == 3
    assert bench.run("JSON.ARRPOP doc") == b"3"
    bench = holding({"a": 1})
    assert bench.run("JSON.OBJKEYS doc") == ["a"]
    assert bench.run("JSON.OBJLEN doc") == 1


def test_toggle_answers_numbers_or_for_a_legacy_path_the_value() -> None:
    bench = holding({"bool": True, "obj": {"bool": False}, "n": {"bool": 1}})
    assert bench.run("JSON.TOGGLE", "doc", "$..bool") == [1, None, 0]
    assert bench.run("JSON.TOGGLE", "doc", ".bool") == b"true"
    assert bench.run("JSON.TOGGLE", "doc", ".n.bool") == CommandError(
        "ERR", "Path '$.n.bool' does not exist or not a bool"
    )


def test_objkeys_and_objlen() -> None:
    bench = holding({"n1": {"a": {"foo": 10, "bar": 20}}, "a": ["foo"], "n2": {"a": {"baz": 50}}})
    assert bench.run("JSON.OBJKEYS", "doc", "$..a") == [["foo", "bar"], ["baz"], None]
    assert bench.run("JSON.OBJLEN", "doc", "$..a") == [2, 1, None]
    assert bench.run("JSON.OBJKEYS", "doc", ".*.a") == ["foo", "bar"]
    assert bench.run("JSON.OBJLEN", "doc", ".nowhere") is None
    assert bench.run("JSON.OBJKEYS", "doc", "$.nowhere") == []
    assert bench.run("JSON.OBJLEN", "doc", ".a") == CommandError(
        "WRONGTYPE", "wrong type of path value - expected object but found array"
    )


def test_type_tells_integers_from_numbers_and_is_nested_once_more_in_resp3() -> None:
    bench = holding('{"number":1,"o":{"number":3.1415},"l":[-0,1e2,1.0,true,null,"",[],{}]}')
    assert bench.run("JSON.TYPE", "doc", "$..number") == ByProtocol(["number", "integer"], [["number", "integer"]])
    types = ["integer", "number", "number", "boolean", "null", "string", "array", "object"]
    assert resp2(bench.run("JSON.TYPE", "doc", "$.l[*]")) == types
    assert bench.run("JSON.TYPE", "doc", ".number") == ByProtocol("integer", ["integer"])
    assert bench.run("JSON.TYPE", "doc", ".none") == ByProtocol(None, [None])
    assert resp2(bench.run("JSON.TYPE", "doc", "$.none")) == []
    assert bench.run("JSON.TYPE", "none", "$") == ByProtocol(None, [None])


def test_resp_shows_a_document_in_the_forms_of_the_protocol() -> None:
    bench = holding({"object": {"array": [1, -19.5, "x", True, None]}})
    inner = [Simple("{"), "array", [Simple("["), 1, "-19.5", "x", Simple("true"), None]]
    assert bench.run("JSON.RESP", "doc", "$") == [[Simple("{"), "object", inner]]
    assert bench.run("JSON.RESP", "doc", ".object") == inner
    assert bench.run("JSON.RESP", "doc", "$.none") == []
    assert bench.run("JSON.RESP none") is None
    big = holding([2**70])
    assert big.run("JSON.RESP doc") == [Simple("["), str(2**70)]
    seven = holding(dict.fromkeys("abcdefg", 1))
    assert len(seven.run("JSON.RESP doc")) == 15


def test_a_reply_by_protocol_survives_forwarding() -> None:
    reply = ByProtocol(b"[1]", [1, 2.5, None])
    assert unpack(pack(reply)) == reply


# -- the key --------------------------------------------------------------------------------------------------------


def test_a_document_is_a_type_of_its_own() -> None:
    bench = holding({})
    assert bench.run("TYPE doc") == Simple("ReJSON-RL")
    assert bench.run("OBJECT ENCODING doc") == "raw"
    assert bench.run("SCAN 0 TYPE ReJSON-RL")[1] == [b"doc"]
    assert bench.run("GET doc") == WRONGTYPE
    assert bench.run("EXISTS doc") == 1
    bench.run("COPY doc other")
    bench.run("JSON.SET", "other", "$.a", "1")
    assert text(bench) == "{}"


def test_memory_of_a_document_grows_with_it() -> None:
    bench = holding(["x" * 1000, {"a": [1, 2, 3]}])
    whole = bench.run("JSON.DEBUG", "MEMORY", "doc")
    parts = bench.run("JSON.DEBUG", "MEMORY", "doc", "$.*")
    assert whole > sum(parts) > 1000
    assert bench.run("MEMORY USAGE doc") > whole
    assert bench.run("JSON.DEBUG", "MEMORY", "none") == 0
    assert bench.run("JSON.DEBUG", "MEMORY", "none", "$") == []
    assert isinstance(bench.run("JSON.DEBUG", "MEMORY", "doc", ".none"), CommandError)


ARGUMENTS = {
    "JSON.ARRAPPEND": ["$", "1"],
    "JSON.ARRINDEX": ["$", "1"],
    "JSON.ARRINSERT": ["$", "0", "1"],
    "JSON.ARRPOP": ["$"],
    "JSON.ARRTRIM": ["$", "0", "1"],
    "JSON.ARRLEN": ["$"],
    "JSON.CLEAR": [],
    "JSON.DEL": [],
    "JSON.FORGET": [],
    "JSON.GET": [],
    "JSON.MERGE": ["$", "1"],
    "JSON.MSET": ["$", "1"],
    "JSON.NUMINCRBY": ["$", "1"],
    "JSON.NUMMULTBY": ["$", "1"],
    "JSON.OBJKEYS": ["$"],
    "JSON.OBJLEN": ["$"],
    "JSON.RESP": [],
    "JSON.SET": ["$", "1"],
    "JSON.STRAPPEND": ["$", '"x"'],
    "JSON.STRLEN": ["$"],
    "JSON.TOGGLE": ["$"],
    "JSON.TYPE": [],
}


def test_every_command_but_mget_refuses_a_key_of_another_type() -> None:
    bench = Bench()
    bench.run("RPUSH l a")
    names = {name.decode() for name in TABLE if name.startswith(b"JSON.")} - {"JSON.MGET", "JSON.DEBUG"}
    assert names == set(ARGUMENTS)
    for name, arguments in ARGUMENTS.items():
        assert bench.run(name, "l", *arguments) == WRONGTYPE, name
    assert bench.run("JSON.DEBUG", "MEMORY", "l") == WRONGTYPE


NIL_WITHOUT_KEY = {"JSON.GET": None, "JSON.RESP": None, "JSON.TYPE": None, "JSON.DEL": 0, "JSON.FORGET": 0}


def test_a_missing_key_is_refused_nil_or_nothing_deleted() -> None:
    bench = Bench()
    for name, arguments in ARGUMENTS.items():
        if name in ("JSON.SET", "JSON.MSET", "JSON.MERGE"):
            continue
        reply = resp2(bench.run(name, "none", *arguments))
        if name == "JSON.ARRINDEX":
            assert reply == CommandError("ERR", "Path '$' does not exist")
        else:
            assert reply == NIL_WITHOUT_KEY.get(name, NO_KEY), name
    for name in ("JSON.ARRLEN", "JSON.STRLEN", "JSON.OBJLEN", "JSON.OBJKEYS"):
        assert bench.run(name, "none", ".a") is None
    assert bench.entries == []


def test_changes_raise_events_of_modules() -> None:
    bench = holding({"foo": [], "n": 1, "s": "x"})
    bench.engine.context.event_mask = EVENT_MODULE
    for line, event in [
        ("JSON.ARRAPPEND doc $.foo 1 2", b"json.arrappend"),
        ("JSON.ARRINSERT doc $.foo 0 3", b"json.arrinsert"),
        ("JSON.ARRPOP doc $.foo", b"json.arrpop"),
        ("JSON.ARRTRIM doc $.foo 0 0", b"json.arrtrim"),
        ("JSON.CLEAR doc $.foo", b"json.clear"),
        ("JSON.ARRPOP doc $.foo", None),
        ("JSON.ARRAPPEND doc $.n 1", None),
        ("JSON.NUMINCRBY doc $.n 1", b"json.numincrby"),
        ("JSON.NUMMULTBY doc $.s 1", None),
        ("JSON.STRAPPEND doc $.s '\"y\"'", b"json.strappend"),
        ("JSON.FORGET doc $.n", b"json.del"),
        ("JSON.GET doc", None),
    ]:
        bench.run(line)
        events = bench.effects.events if bench.effects is not None else []
        assert events == ([(EVENT_MODULE, event, b"doc")] if event else []), line


def test_keys_are_found_among_paths_and_values() -> None:
    assert TABLE[b"JSON.MSET"].keys.find([b"JSON.MSET", b"a", b"$", b"1", b"b", b"$", b"2"]) == [b"a", b"b"]
    assert TABLE[b"JSON.MGET"].keys.find([b"JSON.MGET", b"a", b"b", b"$"]) == [b"a", b"b"]
    assert TABLE[b"JSON.GET"].categories() == ["read", "json", "slow"]
    assert TABLE[b"JSON.SET"].categories() == ["write", "json", "slow"]


def test_a_snapshot_holds_a_document_as_it_was_when_it_began() -> None:
    bench = holding('{"a":[1.50,2],"b":{"c":-0}}')
    before = bench.digest()
    writer = SnapshotWriter(bench.engine.keyspace, {}, Position(1, 1), 0, History(), 0)
    bench.run("JSON.ARRAPPEND", "doc", "$.a", "3")
    bench.run("JSON.DEL", "doc", "$.b")
    loader = SnapshotLoader()
    while (data := writer.step(10)) is not None:
        loader.feed(data)
    assert digest(loader.finish().keyspace) == before
