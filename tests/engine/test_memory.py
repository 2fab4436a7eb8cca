"""The estimate of memory is near what the process takes, and follows every change."""

import gc
import subprocess
import sys
from random import Random

import pytest

from tests.engine.bench import Bench
from upstash_global.engine.memory import Memory, estimated_bytes, key_bytes

GROWTH = """
import gc, resource
from random import Random
from tests.engine.test_memory import fill
from tests.engine.bench import Bench
from upstash_global.engine.memory import Memory, estimated_bytes

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

bench, random = Bench(), Random(3)
fill(bench, random, 20)
bench.run("FLUSHALL")
bench.entries.clear()
gc.collect()
before = resident()
fill(bench, random, 4000)
gc.collect()
print(estimated_bytes(bench.engine.keyspace) / (resident() - before))
"""


def fill(bench: Bench, random: Random, n_keys: int) -> None:
    """A mixed data set: short and long strings, deadlines, and collections of a few to hundreds of elements."""
    for i in range(n_keys):
        key = b"key:%d" % i
        words = [random.randbytes(random.randrange(5, 60)) for _ in range(random.choice([2, 10, 60, 200]))]
        kind = i % 8
        if kind == 0:
            bench.run("SET", key, words[0])
        elif kind == 1:
            bench.run("SET", key, random.randbytes(random.randrange(100, 5000)))
        elif kind == 2:
            bench.run("SET", key, words[0], "EX", 1000)
        elif kind == 3:
            bench.run("HSET", key, *words)
        elif kind == 4:
            bench.run("SADD", key, *words)
        elif kind == 5:
            bench.run("ZADD", key, *[word for each in words for word in (random.random(), each)])
        elif kind == 6:
            bench.run("RPUSH", key, *words)
        else:
            for j in range(0, min(len(words), 40), 2):
                bench.run("XADD", key, "*", "field", words[j], "other", words[j + 1])
        bench.entries.clear()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process holds")
def test_a_mixed_data_set_is_estimated_within_15_per_cent_of_the_growth_of_the_process() -> None:
    told = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    assert 0.85 < float(told.stdout) < 1.15


def test_the_count_follows_every_change() -> None:
    bench, random = Bench(), Random(1)
    fill(bench, random, 100)
    memory = Memory(bench.engine.keyspace)
    memory.step(30)
    for line in (
        "DEL key:0",
        "APPEND key:1 more",
        "SADD key:4 a b c",
        "RENAME key:2 key:new",
        "SET other x",
        "LPOP key:6",
    ):
        bench.run(line)
        assert bench.effects is not None
        memory.note(bench.effects.touched)
    memory.step(1000)
    values = bench.engine.keyspace.values
    assert memory.sizes == {key: key_bytes(key, value) for key, value in values.items()}
    assert memory.total == sum(memory.sizes.values())


def test_counting_from_a_part_is_near_the_whole() -> None:
    bench, random = Bench(), Random(1)
    for i in range(4000):
        bench.run("SET", f"k{i}", random.randbytes(random.randrange(50, 100)))
    memory = Memory(bench.engine.keyspace)
    memory.step(400)
    early = memory.used()
    memory.step(4000)
    assert abs(early / memory.used() - 1) < 0.2
    assert abs(estimated_bytes(bench.engine.keyspace) / memory.used() - 1) < 0.4
    gc.collect()


def test_memory_usage_looks_at_as_many_elements_as_it_is_told() -> None:
    bench = Bench()
    bench.run("RPUSH", "l", *["x"] * 5, *["y" * 1000] * 5)
    few, whole = bench.run("MEMORY USAGE l"), bench.run("MEMORY USAGE l SAMPLES 0")
    assert isinstance(few, int) and isinstance(whole, int)
    assert few < 2000 < 5000 < whole
