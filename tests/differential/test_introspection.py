"""COMMAND INFO, DOCS and GETKEYSANDFLAGS say of every shared command what a real redis-server says."""

from collections.abc import Iterator
from random import Random
from typing import Final

import pytest

from tests.differential.facts import ORACLE_VERSION, PATH, facts_of, text_of
from tests.differential.families import FAMILIES, lines_of
from tests.differential.grammar import Maker, parse
from tests.differential.normalise import ROWS_OF_7_2, same, sorted_deeply
from tests.differential.sides import NodeSide, Oracle, ServerSide
from upstash_global.engine.table import INTERNAL, Row, all_rows

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]

INFO_FIELDS: Final = ["name", "arity", "flags", "first key", "last key", "step", "categories", "tips", "specifications"]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    with Oracle(tmp_path_factory.mktemp("oracle")) as running:
        yield running


@pytest.fixture(scope="module")
def redis(oracle: Oracle) -> Iterator[ServerSide]:
    connection = oracle.connect(3)
    yield connection
    connection.close()


def rows() -> list[Row]:
    return [row for row in all_rows() if not row.flags & INTERNAL]


def test_the_file_of_facts_is_current(oracle: Oracle, redis: ServerSide) -> None:
    text = redis.run([[b"INFO", b"server"]])[0].content.decode()
    if f"redis_version:{ORACLE_VERSION}" not in text:
        pytest.skip(f"the facts are those of Redis {ORACLE_VERSION}, and another one is installed")
    assert PATH.read_text() == text_of(facts_of(oracle)), "python -m tests.differential.facts"


def test_command_info_is_that_of_redis(redis: ServerSide) -> None:
    ours = NodeSide(3)
    different = []
    for row in rows():
        line = [b"COMMAND", b"INFO", row.display_name.encode()]
        mine, theirs = ours.run([line])[0][0], redis.run([line])[0][0]
        if theirs is None:
            continue  # of 7.2, of a later version or of our own
        for field, own, other in zip(INFO_FIELDS, mine, theirs, strict=False):
            if sorted_deeply(own) != sorted_deeply(other) and field not in ROWS_OF_7_2.get(row.name, ""):
                different.append(f"{row.name}, {field}: ours {own}, redis {other}")
    assert different == []


@pytest.mark.parametrize("version", [2, 3])
def test_the_shape_of_command_info_is_that_of_redis(oracle: Oracle, version: int) -> None:
    ours, redis = NodeSide(version), oracle.connect(version)
    line = [b"COMMAND", b"INFO", b"get", b"no-such-command", b"client|id", b"client|no-such-subcommand"]
    mine, theirs = ours.run([line])[0], redis.run([line])[0]
    redis.close()
    assert sorted_deeply(mine) == sorted_deeply(theirs)


def test_command_docs_are_those_of_redis(redis: ServerSide) -> None:
    """All but the summary: 7.2 wrote all of Redis's anew, and ours are our own."""
    ours = NodeSide(3)
    different = []
    for row in rows():
        line = [b"COMMAND", b"DOCS", row.display_name.encode()]
        theirs = redis.run([line])[0].content
        if not theirs:
            continue
        mine = {name: sorted_deeply(value) for name, value in ours.run([line])[0].content[0][1].content}
        other = {name: sorted_deeply(value) for name, value in theirs[0][1].content}
        assert mine.pop(b"summary") and other.pop(b"summary")
        mine.pop(b"subcommands", None), other.pop(b"subcommands", None)  # each is compared on its own
        if mine != other and "docs" not in ROWS_OF_7_2.get(row.name, ""):
            different.append(f"{row.name}: ours {mine}, redis {other}")
    assert different == []


def test_the_keys_of_random_lines_are_those_that_redis_finds(redis: ServerSide, seed: int) -> None:
    """Names, places and flags, of valid lines and of spoilt ones."""
    random = Random(seed)
    maker = Maker(random)
    ours = NodeSide(3)
    syntaxes = [parse(line) for table in FAMILIES.values() for line in lines_of(table)]
    asked = []
    for _ in range(5000):
        words = maker.line(random.choice(syntaxes))
        asked.append([b"COMMAND", random.choice([b"GETKEYS", b"GETKEYSANDFLAGS"]), *words])
    different = []
    for line, mine, theirs in zip(asked, ours.run(asked), redis.run(asked), strict=True):
        of_7_2 = "arity" in ROWS_OF_7_2.get(line[2].upper().decode("latin-1"), "")
        if not of_7_2 and not same(line, mine, [theirs]):
            different.append(f"{b' '.join(line)!r}: ours {mine}, redis {theirs}")
    assert different == []


@pytest.mark.parametrize(
    "line",
    [
        b"h 1 k 0 0",
        b"h 1 k 0 0 COPY REPLACE AUTH KEYS",
        b"h 1 k 0 0 KEYS a",
        b"h 1 '' 0 0",
        b"h 1 '' 0 0 COPY KEYS a b KEYS c",
        b"h 1 '' 0 0 AUTH KEYS KEYS c",
        b"h 1 '' 0 0 auth2 KEYS KEYS keys c d",
        b"h 1 '' 0 0 NOPE KEYS c",
        b"h 1 '' 0 0 KEYS",
        b"h 1 k 0 0 KEYS",
        b"h 1 k 0 KEYS a",
    ],
)
def test_the_keys_of_migrate_are_those_that_redis_finds(redis: ServerSide, line: bytes) -> None:
    words = [word.strip(b"'") for word in line.split()]
    asked = [[b"COMMAND", form, b"MIGRATE", *words] for form in (b"GETKEYS", b"GETKEYSANDFLAGS")]
    for mine, theirs in zip(NodeSide(3).run(asked), redis.run(asked), strict=True):
        assert sorted_deeply(mine) == sorted_deeply(theirs)
