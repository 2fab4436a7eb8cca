"""The cache and its fills, face to face with entries and replies; no socket, no clock."""

from collections.abc import Iterable

import pytest

from upstash_global.edge.cache import OVERHEAD_BYTES, EdgeCache, Tag
from upstash_global.edge.fills import Fills
from upstash_global.edge.wishes import wish_of
from upstash_global.replication.codec import Entry
from upstash_global.replication.log import ReplicationLog
from upstash_global.replication.position import Position, make_epoch

NOW = 1_700_000_000_000
MINUTE = 60_000


class Edge:
    """A cache that follows a log, which the test writes: `write` at the leader, `deliver` to the edge."""

    def __init__(self, capacity_bytes: int = 1 << 20, follows_log: bool = True) -> None:
        self.cache = EdgeCache(capacity_bytes, follows_log)
        self.fills = Fills(self.cache)
        self.log = ReplicationLog()
        self.undelivered: list[Entry] = []
        self.begin_epoch(1)
        self.deliver()

    def begin_epoch(self, start: int) -> None:
        self.undelivered.append(self.log.begin_epoch(make_epoch(1, start, 0), NOW, "leader"))

    def write(self, *lines: str) -> Position:
        """One entry of these commands; its position, where a read sees it."""
        commands = [[word.encode() for word in line.split()] for line in lines]
        entry = self.log.append(NOW, 0, commands, {})
        self.undelivered.append(entry)
        return entry.position

    def deliver(self) -> None:
        """The edge applies everything that was written."""
        for entry in self.undelivered:
            self.cache.apply(entry)
        self.undelivered.clear()

    def fill(
        self, name: str, read_at: Position, keys: Iterable[str] = ("k",), until_ms: int = -1, size: int = 10
    ) -> bool:
        tag = Tag(read_at, [key.encode() for key in keys], until_ms)
        return self.cache.store(name.encode(), f"{name}@{read_at.lsn}", size, tag, MINUTE, NOW, self.cache.n_purges)

    def fill_value(self, key: str, value: str, lifetime_ms: int = MINUTE) -> bool:
        """GET of a key, as it is read now."""
        tag = Tag(self.log.head, [key.encode()], -1, key.encode())
        name = f"get {key}".encode()
        return self.cache.store(name, value, len(value), tag, lifetime_ms, NOW, self.cache.n_purges)

    def value(self, key: str, now_ms: int = NOW) -> str | None:
        """What GET finds in the cache, renewed where an entry has said more; None if it is not there."""
        kept = self.cache.find(f"get {key}".encode(), now_ms)
        if kept is not None and kept.left is not None:
            value = "nil" if kept.left.value is None else kept.left.value.decode()
            self.cache.renew(kept, value, len(value) - len(kept.content))
        return None if kept is None else kept.content

    def get(self, name: str, now_ms: int = NOW) -> str | None:
        kept = self.cache.find(name.encode(), now_ms)
        return None if kept is None else kept.content


def test_a_reply_is_served_until_an_entry_touches_its_key() -> None:
    edge = Edge()
    edge.fill("get k", edge.log.head)
    edge.write("SET other 1")
    edge.deliver()
    assert edge.get("get k") is not None
    edge.write("SET k 1")
    edge.deliver()
    assert edge.get("get k") is None
    assert (edge.cache.bytes, edge.cache.by_key) == (0, {})


@pytest.mark.parametrize(
    ("line", "value"),
    [("SET k new", "new"), ("SET k new PX 1000 NX GET", "new"), ("MSET a 1 k 2", "2"), ("SETEX k 1 new", "new")]
    + [
        ("GETSET k new", "new"),
        ("SETNX k new", "new"),
        ("DEL other k", "nil"),
        ("UNLINK k", "nil"),
        ("GETDEL k", "nil"),
    ]
    + [("_EXPIRED k", "nil"), ("_EVICTED k", "nil"), ("SET other 1", "old")],
)
def test_a_value_is_renewed_by_an_entry_that_says_it(line: str, value: str) -> None:
    edge = Edge()
    edge.fill_value("k", "old")
    written = edge.write("SET unrelated 1", line)
    edge.deliver()
    assert edge.value("k") == value
    kept = edge.cache.find(b"get k", NOW)
    assert kept is not None and edge.cache.served_at(kept.tag) == written
    edge.write("INCR k")
    edge.deliver()
    assert edge.value("k") is None
    assert (edge.cache.bytes, edge.cache.by_key) == (0, {})


@pytest.mark.parametrize(
    "line", ["INCR k", "APPEND k x", "RENAME other k", "SET k 1 KEEPTTL", "SET k 1 IFEQ 2", "PERSIST k", "SADD k 1"]
)
def test_a_value_is_dropped_by_an_entry_that_does_not_say_it(line: str) -> None:
    edge = Edge()
    edge.fill_value("k", "old")
    edge.write("SET k new", line)
    edge.deliver()
    assert edge.value("k") is None


def test_a_renewed_value_ends_at_its_new_deadline_and_with_the_lifetime_of_its_fill() -> None:
    edge = Edge()
    edge.fill_value("k", "old", MINUTE)
    edge.write("SET k new PX 1000")
    edge.deliver()
    assert edge.value("k", NOW + 999) == "new"
    kept = edge.cache.find(b"get k", NOW + 999)
    assert kept is not None and kept.age_ms(NOW + 999) == 999
    assert edge.value("k", NOW + 1000) is None


def test_an_entry_that_was_read_already_does_not_renew() -> None:
    edge = Edge()
    edge.write("SET k old")
    edge.write("SET k new")
    edge.fill_value("k", "new")
    edge.deliver()
    assert edge.value("k") == "new"
    assert edge.cache.n_renewed == 0


def test_renewed_values_count_towards_the_memory() -> None:
    edge = Edge(capacity_bytes=4_000)
    edge.fill_value("a", "old")
    edge.fill_value("b", "old")
    edge.write("SET b " + "x" * 2_500)
    edge.deliver()
    assert edge.cache.bytes <= 4_000
    assert (edge.value("a"), edge.value("b")) == (None, "x" * 2_500)
    edge.write("SET b " + "y" * 5_000)
    edge.deliver()
    assert (edge.value("b"), edge.cache.bytes) == (None, 0)


@pytest.mark.parametrize(
    "line",
    ["DEL k", "RENAME other k", "RENAME k other", "_EXPIRED k", "_EVICTED k", "MSET a 1 k 2", "SORT l STORE k"]
    + ["FLUSHALL", "FLUSHDB", "_FUTURE something", "EXPIRE k 10", "SINTERSTORE k a b", "LMOVE k other LEFT LEFT"],
)
def test_every_kind_of_change_drops_what_it_touches(line: str) -> None:
    edge = Edge()
    edge.fill("get k", edge.log.head)
    edge.write("SET unrelated 1", line)
    edge.deliver()
    assert edge.get("get k") is None


def test_a_message_drops_nothing() -> None:
    edge = Edge()
    edge.fill("get k", edge.log.head)
    edge.fill("dbsize", edge.log.head, keys=())
    edge.write("PUBLISH channel text")
    edge.deliver()
    assert edge.get("get k") and edge.get("dbsize")


def test_a_reply_that_depends_on_all_keys_is_dropped_by_any_change() -> None:
    edge = Edge()
    edge.fill("keys *", edge.log.head, keys=())
    edge.write("SET anything 1")
    edge.deliver()
    assert edge.get("keys *") is None


# -- fills and entries that overtake each other -----------------------------------------------------------------------


def test_a_reply_that_an_entry_has_overtaken_is_not_kept() -> None:
    """Read at P, then the edge applies a change of its key, then the reply arrives."""
    edge = Edge()
    read_at = edge.log.head
    edge.write("SET k new")
    edge.deliver()
    assert not edge.fill("get k", read_at)
    assert edge.get("get k") is None and edge.cache.n_refused == 1


def test_a_reply_that_only_other_entries_have_overtaken_is_kept() -> None:
    edge = Edge()
    read_at = edge.log.head
    edge.write("SET other new")
    edge.deliver()
    assert edge.fill("get k", read_at)
    assert not edge.fill("dbsize", read_at, keys=())
    assert edge.fill("dbsize", edge.log.head, keys=())


def test_a_reply_that_is_ahead_of_the_edge_survives_the_entries_that_it_contains() -> None:
    edge = Edge()
    read_at = edge.write("SET k new")
    assert edge.fill("get k", read_at)
    edge.deliver()
    assert edge.get("get k") is not None
    edge.write("SET k newer")
    edge.deliver()
    assert edge.get("get k") is None


def test_a_flush_overtakes_like_any_change() -> None:
    edge = Edge()
    read_at = edge.log.head
    edge.write("FLUSHALL")
    edge.deliver()
    assert not edge.fill("get k", read_at)


def test_what_lies_below_the_floor_of_the_change_index_counts_as_changed() -> None:
    edge = Edge()
    read_at = edge.log.head
    edge.write("SET other 1")
    edge.deliver()
    edge.cache.restart(edge.log.head)
    assert not edge.fill("get k", read_at)


def test_an_epoch_drops_everything_and_replies_of_another_epoch_are_not_kept() -> None:
    edge = Edge()
    before = edge.log.head
    edge.fill("get k", before)
    edge.begin_epoch(2)
    after = edge.undelivered[-1].position
    assert not edge.fill("mget", after), "the edge has not heard of that epoch"
    edge.deliver()
    assert edge.get("get k") is None
    assert not edge.fill("get k", before)
    assert edge.fill("get k", after)


def test_a_reply_that_was_under_way_during_a_purge_is_not_kept() -> None:
    edge = Edge()
    fill = edge.fills.begin(b"get k")
    edge.cache.purge_key(b"k")
    edge.fills.end(fill, "old", 3, Tag(edge.log.head, [b"k"]), MINUTE, NOW)
    assert edge.get("get k") is None


# -- joining ----------------------------------------------------------------------------------------------------------


def test_who_joins_a_fill_gets_its_reply() -> None:
    edge = Edge()
    fill = edge.fills.begin(b"get k")
    assert edge.fills.join(b"get k", "second")
    assert not edge.fills.join(b"get other", "third")
    assert edge.fills.end(fill, "v", 1, Tag(edge.log.head, [b"k"]), MINUTE, NOW) == (["second"], [])
    assert not edge.fills.join(b"get k", "late")


def test_who_came_after_a_change_does_not_get_a_reply_from_before_it() -> None:
    """Read at P; then the edge applies a change; then somebody asks, who has to ask again."""
    edge = Edge()
    fill = edge.fills.begin(b"get k")
    edge.fills.join(b"get k", "early")
    read_at = edge.log.head
    edge.write("SET k new")
    edge.deliver()
    edge.fills.join(b"get k", "late")
    served, others = edge.fills.end(fill, "old", 3, Tag(read_at, [b"k"]), MINUTE, NOW)
    assert (served, others) == (["early"], ["late"])
    assert edge.get("get k") is None


def test_nobody_joins_a_fill_from_before_a_purge() -> None:
    edge = Edge()
    edge.fills.begin(b"get k")
    edge.cache.drop_all()
    assert not edge.fills.join(b"get k", "late")


# -- what ends a reply beside the log ---------------------------------------------------------------------------------


def test_a_reply_ends_with_the_deadline_of_its_key() -> None:
    edge = Edge()
    edge.fill("get k", edge.log.head, until_ms=NOW + 500)
    assert edge.get("get k", NOW + 499) is not None
    assert edge.get("get k", NOW + 500) is None
    assert not edge.fill("get k", edge.log.head, until_ms=NOW)


def test_the_reply_not_asked_for_longest_makes_room() -> None:
    each = 100 + OVERHEAD_BYTES + 300
    edge = Edge(capacity_bytes=3 * each)
    for name in ("a", "b", "c"):
        edge.fill(name, edge.log.head, size=100)
    edge.get("a")
    edge.fill("d", edge.log.head, size=100)
    assert [name for name in "abcd" if edge.get(name)] == ["a", "c", "d"]
    assert edge.cache.bytes <= edge.cache.capacity_bytes and edge.cache.n_evicted == 1


def test_a_reply_larger_than_the_cache_is_not_kept() -> None:
    edge = Edge(capacity_bytes=1000)
    assert not edge.fill("get k", edge.log.head, size=1000)


def test_a_newer_reply_replaces_the_older() -> None:
    edge = Edge()
    edge.fill("get k", edge.log.head)
    size = edge.cache.bytes
    edge.write("SET other 1")
    edge.deliver()
    edge.fill("get k", edge.log.head)
    assert edge.get("get k") == f"get k@{edge.log.head.lsn}" and edge.cache.bytes == size


def test_purging_by_key_prefix_and_all() -> None:
    edge = Edge()
    for key in ("user:1", "user:2", "page:1"):
        edge.fill(f"get {key}", edge.log.head, keys=[key])
    edge.fill("dbsize", edge.log.head, keys=())
    assert edge.cache.purge_key(b"user:1") == 2  # what depends on every key goes as well
    assert edge.cache.purge_prefix(b"user:") == 1
    assert edge.get("get page:1") is not None
    assert edge.cache.drop_all() == 1
    assert edge.cache.bytes == 0 and not edge.cache.by_key


def test_a_key_that_is_named_twice_is_no_trouble() -> None:
    edge = Edge()
    edge.fill("mget k k", edge.log.head, keys=["k", "k"])
    edge.write("SET k 1")
    edge.deliver()
    assert edge.get("mget k k") is None and edge.cache.bytes == 0


def test_without_the_log_replies_only_age() -> None:
    """The mode `ttl`: Upstash's edge of 2021."""
    edge = Edge(follows_log=False)
    assert edge.fill("get k", Position(5, 1))
    assert edge.get("get k") is not None
    assert edge.cache.served_at(Tag(Position(5, 1), [])) == Position(5, 1)


def test_a_kept_reply_counts_as_served_at_what_the_edge_has_applied() -> None:
    edge = Edge()
    tag = Tag(edge.log.head, [b"k"])
    later = edge.write("SET other 1")
    assert edge.cache.served_at(Tag(later, [b"k"])) == later
    edge.deliver()
    assert edge.cache.served_at(tag) == later


# -- what requests ask ------------------------------------------------------------------------------------------------


def test_a_reply_is_fresh_for_half_a_minute_unless_the_request_says_otherwise() -> None:
    edge = Edge()
    edge.fill("get k", edge.log.head)  # kept for a minute
    kept = edge.cache.find(b"get k", NOW)
    assert kept is not None
    assert wish_of(b"").lifetime_ms == 30_000
    assert wish_of(b"").is_fresh(kept, NOW + MINUTE) and not wish_of(b"").is_fresh(kept, NOW + MINUTE + 1)
    assert wish_of(b"max-age=5").is_fresh(kept, NOW + 5000) and not wish_of(b"max-age=5").is_fresh(kept, NOW + 5001)
    assert not wish_of(b"max-age=900").is_fresh(kept, NOW + MINUTE + 1), "it was not kept for so long"


@pytest.mark.parametrize(
    ("header", "lifetime_ms"),
    [
        (b"max-age=900", 900_000),
        (b"max-age=901", 900_000),
        (b'Max-Age="7"', 7_000),
        (b"max-age=-1", 30_000),
        (b"max-age=x, foo", 30_000),
        (b"max-age=9999999999", 30_000),
    ],
)
def test_a_request_chooses_the_lifetime_up_to_a_quarter_of_an_hour(header: bytes, lifetime_ms: int) -> None:
    wish = wish_of(header)
    assert wish.may_use_cache and wish.lifetime_ms == lifetime_ms


@pytest.mark.parametrize("header", [b"no-cache", b"no-store, max-age=5", b"max-age=0", b"NO-CACHE"])
def test_a_request_can_leave_the_cache_alone(header: bytes) -> None:
    assert not wish_of(header).may_use_cache


def test_a_reply_that_has_aged_will_do_if_the_request_says_so() -> None:
    edge = Edge()
    edge.fill("get k", edge.log.head)
    kept = edge.cache.find(b"get k", NOW)
    assert kept is not None
    aged_ms = NOW + MINUTE + 4000
    assert wish_of(b"stale-while-revalidate=5").will_do(kept, aged_ms)
    assert not wish_of(b"stale-while-revalidate=3").will_do(kept, aged_ms)
    assert wish_of(b"stale-if-error=5").will_do_at_need(kept, aged_ms)
    assert not wish_of(b"").will_do(kept, aged_ms) and not wish_of(b"").will_do_at_need(kept, aged_ms)
