"""Random commands of every family get the same replies from ours and from a real redis-server, in RESP2 and RESP3.

Goal: whatever a client can see of a data command is Redis's: reply, shape, error text, order of checks, encoding, effect.
Method: both sides run the same lines (grammar.py, families.py) in pipelines; normalise.py is the one table of allowed
differences; every 500 lines the whole keyspace is compared by commands too. Ours is also replayed, entry by entry, on a
second engine. A failure prints the shortest story found and the seed: `pytest tests/differential --seed N` replays it.

`--node HOST:PORT[:PASSWORD]` compares a node that is running instead of an engine in this process; its data is flushed.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.duel import SCRIPTS, duel
from tests.differential.families import FAMILIES, command_of, lines_of
from tests.differential.normalise import ROWS_OF_7_2, float_text
from tests.differential.sides import EngineSide, Oracle, SmallLimits, server_side
from upstash_global.engine.table import BLOCKING, FLAG_NAMES, all_rows

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]

GROUPS = {"string", "generic", "hash", "list", "set", "sorted-set", "bitmap", "geo", "hyperloglog", "stream"}
ROWS_THAT_DIFFER = {
    "ZRANK",  # takes WITHSCORE from 7.2 on
    "ZREVRANK",
    "SORT",  # its ACL categories are the types that it sorts, ours is its group's
    "SORT_RO",
}


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    directory: Path = tmp_path_factory.mktemp("oracle")
    with Oracle(directory) as running:
        yield running


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("family", [*FAMILIES, SCRIPTS])
def test_replies_are_those_of_redis(
    oracle: Oracle, node_address: str | None, family: str, version: int, seed: int, commands_per_family: int
) -> None:
    ours = server_side(node_address, version) if node_address else EngineSide(version)
    if family in FAMILIES and not any(ours.has(command_of(line)) for line in lines_of(FAMILIES[family])):
        pytest.skip("not built")
    theirs = oracle.connect(version)
    try:
        difference = duel(ours, theirs, family, seed, version, commands_per_family // 2)
        if difference is None:
            with SmallLimits(ours, theirs):
                difference = duel(ours, theirs, family, seed + 1_000_000, version, commands_per_family // 2)
    finally:
        ours.close()
        theirs.close()
    assert difference is None, difference


NOT_FUZZED = {
    "DELEX",  # came with Redis 8.4: see tests/engine/test_strings_beyond_redis7.py
    "DIGEST",
    "HEXPIRE",  # deadlines of fields came with Redis 7.4 and 8.0: see tests/engine/test_hashdeadlines.py
    "HEXPIREAT",
    "HEXPIRETIME",
    "HGETDEL",
    "HGETEX",
    "HPERSIST",
    "HPEXPIRE",
    "HPEXPIREAT",
    "HPEXPIRETIME",
    "HPTTL",
    "HSETEX",
    "HTTL",
    "PFSELFTEST",  # takes Redis seconds
}


def test_every_data_command_is_fuzzed() -> None:
    fuzzed = {" ".join(command_of(line)) for table in FAMILIES.values() for line in lines_of(table)}
    # blocking ones need several clients: test_blocking.py
    rows = [row for row in all_rows() if not row.flags & BLOCKING]
    built = {row.name for row in rows if row.handler is not None and row.group in GROUPS}
    assert {name for name in built - fuzzed - NOT_FUZZED if not name.endswith(" HELP")} == set()


def test_rows_say_what_command_info_says(oracle: Oracle) -> None:
    """Arity, flags, key positions and ACL categories of every data command that Redis 7.0 has, too."""
    connection = oracle.connect(2)
    different = []
    for row in all_rows():
        if row.handler is None or row.group not in GROUPS:
            continue
        name, _, subcommand = row.name.encode().partition(b" ")
        info = connection.run([[b"COMMAND", b"INFO", name]])[0][0]
        if info is not None and subcommand:
            info = next((each for each in info[9] if each[0].upper() == name + b"|" + subcommand), None)
        if info is None or row.name in ROWS_THAT_DIFFER:
            continue
        flags = {flag.content.decode() for flag in info[2]}
        if "flags" in ROWS_OF_7_2.get(row.name, ""):
            flags.discard("noscript")
        theirs = (info[1], flags, *info[3:6], {category.content.decode()[1:] for category in info[6]})
        ours = (row.arity, {text for flag, text in FLAG_NAMES if row.flags & flag},
                row.keys.first, row.keys.last, row.keys.step, set(row.categories()))  # fmt: skip
        if ours != theirs:
            different.append(f"{row.name}: ours {ours}, redis {theirs}")
    connection.close()
    assert different == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, b"3"), (-0.0, b"-0"), (0.1, b"0.1"), (1e17, b"100000000000000000"), (3e-7, b"3e-7"), (1e21, b"1e+21"),
     (1.5e300, b"1.5e+300"), (1e-5, b"0.00001"), (123456789.125, b"123456789.125"), (float("-inf"), b"-inf")],
)  # fmt: skip
def test_the_normaliser_prints_floats_as_redis_7_2(value: float, text: bytes) -> None:
    assert float_text(value) == text
