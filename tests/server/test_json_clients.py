"""JSON documents through the clients that applications use: redis-py in both protocols, and Upstash's own SDK over REST.

Without a protocol redis-py speaks RESP3 and turns RedisJSON's answers into those of RESP2, so both must look the same.
"""

from typing import Any

import pytest
from upstash_redis import Redis as Upstash
from upstash_redis.errors import UpstashError

from tests.server.serving import TOKEN, Served


@pytest.mark.parametrize("protocol", [2, None])
def test_redis_py_sees_the_same_in_both_protocols(served: Served, protocol: int | None) -> None:
    with served.redis(protocol=protocol, decode_responses=True) as client:
        documents: Any = client.json()
        assert documents.set("d", "$", {"n": 1, "f": 2.5, "l": [1, 2, {"n": 3}], "s": "é", "b": True}) is True
        assert documents.get("d") == {"n": 1, "f": 2.5, "l": [1, 2, {"n": 3}], "s": "é", "b": True}
        assert documents.get("d", "$..n") == [3, 1]
        assert documents.set("d", "$.n", 5, nx=True) is None
        assert documents.numincrby("d", "$..n", 1) == [4, 2]
        assert documents.numincrby("d", ".f", 0.5) == 3.0
        assert documents.numincrby("d", "$.*", 2) == [4, 5.0, None, None, None]
        assert documents.arrappend("d", "$.l", 7) == [4]
        assert documents.arrpop("d", "$.l") == ["7"]  # which redis-py leaves as text
        assert documents.arrindex("d", "$.l", 2) == [1]
        assert documents.arrlen("d", ".l") == 3
        assert documents.objkeys("d", "$") == [["n", "f", "l", "s", "b"]]
        assert documents.strlen("d", "$.s") == [2]
        assert documents.toggle("d", "$.b") == [0]
        assert documents.resp("d", "$.l") == [["[", 1, 2, ["{", "n", 4]]]
        assert documents.mset([("d2", "$", [1]), ("d", "$.s", "t")]) is True
        assert documents.merge("d", "$", {"s": None, "m": 1}) is True
        assert documents.mget(["d", "d2", "none"], "$.m") == [[1], [], None]
        assert documents.delete("d", "$.l") == 1
        assert client.type("d") == "ReJSON-RL"


@pytest.mark.parametrize("protocol", [2, None])
def test_the_type_of_a_value_in_both_protocols(served: Served, protocol: int | None) -> None:
    with served.redis(protocol=protocol, decode_responses=True) as client:
        documents: Any = client.json()
        documents.set("d", "$", {"n": 1, "l": [1.5, {"n": "x"}]})
        assert documents.type("d", "$..n") == ["string", "integer"]
        assert documents.type("d", ".n") == "integer"
        assert documents.type("none") is None


@pytest.fixture
def upstash(served: Served) -> Upstash:
    return Upstash(url=f"http://127.0.0.1:{served.rest}", token=TOKEN)


def test_upstash_reads_by_path_and_finds_the_deepest_first(upstash: Upstash) -> None:
    document = upstash.json
    assert document.get("d") is None
    document.set("d", "$", {"int": 1, "array": [1, 2, 3, 4], "object": {"array": [1, 2, 3]}})
    assert document.get("d") == [{"int": 1, "array": [1, 2, 3, 4], "object": {"array": [1, 2, 3]}}]
    assert document.get("d", "$..array") == [[1, 2, 3], [1, 2, 3, 4]]
    assert document.get("d", "$.int", "$.none") == {"$.int": [1], "$.none": []}
    assert document.arrlen("d", "$..array") == [3, 4]
    assert document.type("d", "$..array") == ["array", "array"]
    assert document.mget(["d", "d"], "$.int") == [[1], [1]]
    assert document.resp("d", "$.object") == [["{", "array", ["[", 1, 2, 3]]]


def test_upstash_changes_what_it_means(upstash: Upstash) -> None:
    document = upstash.json
    document.set("d", "$", {"int": 2, "str": "test", "array": [1, 2], "bool": True, "o": {"int": 3, "str": "test_1"}})
    assert document.numincrby("d", "$..int", 1) == [4, 3]
    assert document.numincrby("d", "$.str", 1) == [None]
    assert document.nummultby("d", "$.none", 3) == []
    assert document.strappend("d", "$..str", "_append") == [13, 11]
    assert document.arrappend("d", "$.array", "new", 1.5, True, [1], {"k": "v"}) == [7]
    assert document.arrindex("d", "$.array", {"k": "v"}) == [6]
    assert document.arrpop("d", "$.array", 0) == [1]
    assert document.arrtrim("d", "$.array", 1, 0) == [0]
    assert document.toggle("d", "$.bool") == [False]
    assert document.toggle("d", "$.o") == [None]
    assert document.merge("d", "$.o", {"int": None, "x": 1})
    assert document.clear("d", "$..x") == 1
    assert document.delete("d", "$..str") == 2
    assert document.get("d") == [{"int": 3, "array": [], "bool": False, "o": {"x": 0}}]


def test_upstash_is_told_what_cannot_be_set(upstash: Upstash) -> None:
    document = upstash.json
    assert document.set("d", "$", {"int": 1}, xx=True) is False
    assert document.set("d", "$", {"int": 1}) is True
    assert document.set("d", "$.int", 2, nx=True) is False
    with pytest.raises(UpstashError):
        document.set("d", "$.none.str", "x")
    assert document.mset([("d", "$.int", 2), ("e", "$", [1])]) is True
    assert document.get("d", "$.int") == [2]
