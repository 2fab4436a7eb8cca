"""INFO has every field of redis-server, in the same sections."""

from pathlib import Path

import pytest

from tests.differential.sides import NodeSide, Oracle, Side

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(Oracle.binary() is None, reason="there is no redis-server to compare with"),
]

OF_ITS_OWN = {"commandstats", "errorstats", "latencystats", "keyspace"}  # whose fields follow from what was run
NOT_OURS = {  # how its C program was built, its allocator, its forks and its two Lua machines
    "atomicvar_api", "gcc_version", "allocator_frag_ratio", "allocator_frag_bytes", "allocator_rss_ratio",
    "allocator_rss_bytes", "rss_overhead_ratio", "rss_overhead_bytes", "current_cow_peak", "current_cow_size",
    "current_cow_size_age", "current_fork_perc", "current_save_keys_processed", "current_save_keys_total",
    "rdb_last_cow_size", "aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size",
    "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded", "aof_rewrites", "aof_rewrites_consecutive_failures",
    "used_memory_vm_eval", "used_memory_vm_functions", "used_memory_vm_total", "used_memory_vm_total_human",
    "used_memory_scripts_eval", "used_memory_functions", "used_memory_scripts_human",
}  # fmt: skip


def sections(side: Side) -> dict[str, set[str]]:
    side.run([[b"SET", b"k", b"v"], [b"NOSUCH"]])
    reply = side.run([[b"INFO", b"everything"]])[0]
    assert isinstance(reply, bytes)
    found: dict[str, set[str]] = {}
    for part in reply.decode().split("# ")[1:]:
        title, *lines = part.strip().split("\r\n")
        found[title.lower()] = {line.partition(":")[0] for line in lines}
    return found


def test_every_section_and_field_is_there(tmp_path: Path) -> None:
    with Oracle(tmp_path) as running:
        theirs = running.connect(2)
        ours, redis = sections(NodeSide(2)), sections(theirs)
        theirs.close()
    assert list(ours) == list(redis)
    missing = {name for title in redis if title not in OF_ITS_OWN for name in redis[title] - ours[title]}
    assert missing - NOT_OURS == set()
    assert {"errorstat_ERR"} <= ours["errorstats"] and {"cmdstat_set"} <= ours["commandstats"]
    assert "latency_percentiles_usec_set" in ours["latencystats"] and ours["keyspace"] == {"db0"}
