"""HyperLogLogs: their bytes and their estimates. Random programs are compared with Redis in tests/differential."""

from random import Random

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.context import EVENT_STRING
from upstash_global.engine.types import hyperloglog
from upstash_global.errors import CommandError, error
from upstash_global.reply import OK, Simple

HEADER = b"HYLL\1" + bytes(10) + b"\x80"
DAMAGED = {
    "too few registers": HEADER + b"\x3f" * 3,
    "too many registers": HEADER + b"\x3f" * 300,
    "no registers": HEADER,
}


def estimated(n: int, seed: int) -> tuple[Bench, int]:
    bench, random = Bench(), Random(seed)
    elements = [b"%d" % random.randrange(10**12) for _ in range(n)]
    for at in range(0, n, 1000):
        bench.run(b"PFADD", b"p", *elements[at : at + 1000])
    return bench, bench.run("PFCOUNT p")


# -- bytes --------------------------------------------------------------------------------------------------------


def test_a_new_one_has_redis_bytes() -> None:
    """As redis-server 7.0 gives them for the same commands."""
    bench = Bench()
    assert bench.run("PFADD p") == 1
    assert bench.run("GET p") == HEADER + b"\x7f\xff"
    bench.run("PFADD p a b c")
    assert bench.run("GET p") == HEADER + b"\x60\xf3\x80\x50\xb1\x84\x4b\xfb\x80\x42\x5a"


def test_an_estimate_is_kept_in_the_string_until_a_register_grows() -> None:
    bench = Bench()
    bench.run("PFADD p a b c")
    assert bench.run("GETRANGE p 8 15") == bytes(7) + b"\x80"
    assert bench.run("PFCOUNT p") == 3
    assert bench.run("GETRANGE p 8 15") == b"\3" + bytes(7)
    assert bench.run("PFADD p a") == 0
    assert bench.run("GETRANGE p 8 15") == b"\3" + bytes(7)
    assert bench.run("PFADD p d") == 1
    assert bench.run("GETRANGE p 15 15") == b"\x80"


def test_it_is_a_raw_string() -> None:
    bench = Bench()
    bench.run("PFADD p a")
    assert bench.run("OBJECT ENCODING p") == "raw"
    assert bench.run("TYPE p") == Simple("string")


def test_a_sparse_one_turns_dense_past_its_limit_and_keeps_its_registers() -> None:
    bench = Bench()
    seen = []
    for n in range(0, 3000, 100):
        bench.run("PFADD p " + " ".join(str(i) for i in range(n, n + 100)))
        seen.append(bench.run("PFDEBUG ENCODING p").text)
        assert len(bench.run("GET p")) <= 3000 or seen[-1] == "dense"
    assert seen[0] == "sparse" and seen[-1] == "dense" and seen == sorted(seen, reverse=True)
    assert len(bench.run("GET p")) == 16 + 12288


MOST_SPARSE = 3000  # bytes


@pytest.mark.parametrize("seed", range(5))
def test_both_forms_hold_the_same_registers(seed: int) -> None:
    random = Random(seed)
    sparse, dense = hyperloglog.new(), hyperloglog.new()
    hyperloglog.make_dense(dense)
    for _ in range(400):
        element = random.randbytes(random.randrange(20))
        assert hyperloglog.add(sparse, [element], MOST_SPARSE) == hyperloglog.add(dense, [element], 0)
    assert sparse[4] == hyperloglog.SPARSE
    assert hyperloglog.unpack(sparse) == hyperloglog.unpack(dense)
    hyperloglog.make_dense(sparse)
    assert sparse[16:] == dense[16:]


@pytest.mark.parametrize("seed", range(5))
def test_raising_registers_in_order_gives_the_bytes_of_raising_each_from_the_start(seed: int) -> None:
    """The cursor that spares a merge the rescanning must not show."""
    random = Random(seed)
    wanted = bytearray(hyperloglog.REGISTERS)
    for _ in range(random.choice([10, 200, 600])):
        at = min(random.randrange(hyperloglog.REGISTERS), random.randrange(hyperloglog.REGISTERS))
        wanted[at] = random.choice([1, 1, 1, 2, 3])
        wanted[min(at + 1, hyperloglog.REGISTERS - 1)] = random.choice([0, 1, 2])
    at_once, one_by_one = hyperloglog.new(), hyperloglog.new()
    for part in (wanted, bytearray(reversed(wanted))):
        hyperloglog.raise_registers(at_once, part, MOST_SPARSE)
        for index, register in enumerate(part):
            if register:
                hyperloglog.Runs(one_by_one, MOST_SPARSE).raise_register(index, register)
        assert at_once == one_by_one


@pytest.mark.parametrize("seed", range(5))
def test_many_elements_at_once_give_the_bytes_of_one_by_one(seed: int) -> None:
    """The marks that spare walking over the same runs again must not show, where runs are joined and moved neither."""
    random = Random(seed)
    elements = [random.randbytes(random.randrange(1, 12)) for _ in range(random.choice([50, 800, 1600]))]
    at_once, one_by_one = hyperloglog.new(), hyperloglog.new()
    assert hyperloglog.add(at_once, elements, MOST_SPARSE)
    for element in elements:
        hyperloglog.add(one_by_one, [element], MOST_SPARSE)
    assert at_once == one_by_one


def test_a_damaged_value_is_refused_however_many_elements_come() -> None:
    value = hyperloglog.new()
    hyperloglog.add(value, [b"%d" % n for n in range(300)], MOST_SPARSE)
    del value[-20:]
    with pytest.raises(CommandError, match="Corrupted HLL object"):
        hyperloglog.add(value, [b"%d" % n for n in range(1000)], MOST_SPARSE)


@pytest.mark.parametrize("n", [1, 40, 700, 3000])
def test_elements_that_were_counted_are_known(n: int) -> None:
    value = hyperloglog.new()
    elements = [b"element %d" % i for i in range(n)]
    for i in range(0, n, 3):
        hyperloglog.add(value, elements[i : i + 3], MOST_SPARSE)
        assert hyperloglog.knows(value, elements[: i + 3])
    before = bytes(value)
    for i in range(n, n + 300):
        element = b"element %d" % i
        copy = bytearray(before)
        assert hyperloglog.knows(before, [element]) != hyperloglog.add(copy, [element], MOST_SPARSE)
    if value[4] == hyperloglog.SPARSE:
        assert not hyperloglog.knows(before[:17], elements)


@pytest.mark.parametrize("seed", range(3))
def test_a_merge_takes_the_larger_of_each_two_registers(seed: int) -> None:
    random = Random(seed)
    one, other = (bytearray(random.choices(range(64), k=hyperloglog.REGISTERS)) for _ in range(2))
    assert hyperloglog.merge(one, other) == bytearray(map(max, one, other))
    assert hyperloglog.merge(one, bytearray(hyperloglog.REGISTERS)) == one


# -- estimates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 10, 100, 1000, 5000, 50_000])
def test_estimates_are_within_four_standard_errors(n: int) -> None:
    _, count = estimated(n, seed=n)
    assert abs(count - n) <= max(1, 4 * 0.0081 * n)


def test_several_keys_are_counted_as_their_union_and_none_is_changed() -> None:
    bench = Bench()
    bench.run("PFADD a 1 2 3")
    bench.run("PFADD b 3 4")
    n = len(bench.entries)
    assert bench.run("PFCOUNT a b none") == 4
    assert bench.run("PFCOUNT none") == 0
    assert len(bench.entries) == n


def test_a_merge_counts_what_its_parts_have_seen() -> None:
    bench = Bench()
    bench.run("PFADD a 1 2 3")
    bench.run("PFADD b 3 4")
    bench.run("PFADD t 9")
    assert bench.run("PFMERGE t a b none") == OK
    assert bench.run("PFCOUNT t") == 5
    assert bench.run("PFDEBUG ENCODING t") == Simple("sparse")


def test_a_merge_with_a_dense_one_is_dense() -> None:
    bench = Bench()
    bench.run("PFADD a 1 2 3")
    bench.run("PFDEBUG TODENSE a")
    bench.run("PFMERGE t a")
    assert bench.run("PFDEBUG ENCODING t") == Simple("dense")
    assert bench.run("PFCOUNT t") == 3


# -- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["PFADD p a", "PFCOUNT p", "PFCOUNT p q", "PFMERGE t p", "PFDEBUG ENCODING p"])
def test_another_string_is_refused(line: str) -> None:
    bench = Bench()
    for value in [b"text", b"HYLL\2" + bytes(40), b"HYLL\0" + bytes(40)]:
        bench.run(b"SET", b"p", value)
        assert bench.run(line) == CommandError("WRONGTYPE", "Key is not a valid HyperLogLog string value.")
    bench.run("DEL p")
    bench.run("LPUSH p x")
    assert bench.run(line).text == "WRONGTYPE Operation against a key holding the wrong kind of value"


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("line", ["PFCOUNT p", "PFCOUNT p q", "PFMERGE t p", "PFDEBUG TODENSE p"])
def test_a_damaged_one_is_refused_and_left_alone(line: str, name: str) -> None:
    bench = Bench()
    bench.run(b"SET", b"p", DAMAGED[name])
    assert bench.run(line) == CommandError("INVALIDOBJ", "Corrupted HLL object detected")
    assert bench.run("GET p") == DAMAGED[name]
    assert bench.run("EXISTS t") == 0


def test_pfadd_to_a_damaged_one_changes_nothing() -> None:
    bench = Bench()
    bench.run(b"SET", b"p", DAMAGED["too few registers"])
    elements = " ".join(map(str, range(300)))  # some of them find their register
    assert bench.run(f"PFADD p {elements}") == CommandError("INVALIDOBJ", "Corrupted HLL object detected")
    assert bench.run("GET p") == DAMAGED["too few registers"]


def test_registers_that_no_hash_can_fill_do_no_harm() -> None:
    bench = Bench()
    bench.run(b"SET", b"p", b"HYLL\0" + bytes(10) + b"\x80" + b"\xff" * 12288)
    assert bench.run("PFCOUNT p") == -(1 << 63)


def test_pfdebug() -> None:
    bench = Bench()
    assert bench.run("PFDEBUG ENCODING none") == error("The specified key does not exist")
    bench.run("PFADD p a b c")
    assert bench.run("PFDEBUG xyz p") == error("Unknown PFDEBUG subcommand 'xyz'")
    runs = bench.run("PFDEBUG DECODE p").decode().split()
    assert sum(int(run.rpartition("," if run[0] == "v" else ":")[2]) for run in runs) == 16384
    registers = bench.run("PFDEBUG GETREG p")
    assert sum(register > 0 for register in registers) == 3
    assert bench.run("PFDEBUG DECODE p") == error("HLL encoding is not sparse")
    assert bench.run("PFDEBUG TODENSE p") == 0


def test_the_self_test_passes() -> None:
    assert Bench().run("PFSELFTEST") == OK


# -- the log ------------------------------------------------------------------------------------------------------


def test_keeping_an_estimate_is_an_entry_and_reading_it_is_none() -> None:
    leader, replica = estimated(300, seed=1)[0], Bench()
    assert leader.entries[-1].commands == [[b"PFCOUNT", b"p"]]
    n = len(leader.entries)
    leader.run("PFCOUNT p")
    assert len(leader.entries) == n
    replica.apply(leader.entries)
    assert replica.digest() == leader.digest()


def test_events() -> None:
    bench = Bench()
    bench.engine.context.event_mask = EVENT_STRING
    seen = []
    for line in ["PFADD p a", "PFCOUNT p", "PFMERGE p"]:
        bench.run(line)
        assert bench.effects is not None
        seen.append([name for _, name, _ in bench.effects.events])
    assert seen == [[b"pfadd"], [], [b"pfadd"]]
