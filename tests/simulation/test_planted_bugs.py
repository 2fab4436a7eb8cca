"""What the checks are worth: bugs that are planted here, and nowhere else, are found within a few seeds."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.simulation.program import run_program
from tests.simulation.simcluster import Broken, SimCluster
from upstash_global.engine.context import Context, Effects
from upstash_global.engine.sweep import expired_keys
from upstash_global.engine.table import TABLE
from upstash_global.node import roles, scope
from upstash_global.node.answers import Answers
from upstash_global.node.node import Node
from upstash_global.node.outbox import Outbox
from upstash_global.node.sweeping import Sweeping
from upstash_global.node.tracking import Reads
from upstash_global.protocol.tokens import SyncToken
from upstash_global.replication.codec import EPOCH, Entry
from upstash_global.replication.feed import Feed
from upstash_global.replication.log import Gap, ReplicationLog
from upstash_global.replication.messages import Message, Subscribe
from upstash_global.replication.position import Position, make_epoch
from upstash_global.replication.snapshot import SnapshotWriter
from upstash_global.reply import Reply

SEEDS = 12  # that must be clean where nothing is planted
MOST_SEEDS = 120  # within which a planted bug is found; mostly the first few will do


def what_is_found(n_seeds: int = SEEDS) -> str:
    """What the first of the seeds that fails says."""
    for seed in range(1, n_seeds + 1):
        try:
            run_program(seed)
        except Broken as failure:
            return str(failure).splitlines()[0]
    return f"nothing in {n_seeds} seeds"


def assert_found(*texts: str) -> None:
    """One of the seeds fails, in one of these ways."""
    found = what_is_found(MOST_SEEDS)
    assert any(text in found for text in texts), found


def test_nothing_is_found_where_nothing_is_planted() -> None:
    assert what_is_found() == f"nothing in {SEEDS} seeds"


def test_lsns_compared_without_their_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeat is told by its LSN alone, and what follows it is taken whatever it was chained to."""

    def contains(log: ReplicationLog, position: Position) -> bool:
        return position.lsn <= log.head.lsn

    def accept(log: ReplicationLog, entry: Entry) -> None:
        if entry.position.lsn != log.head.lsn + 1:
            raise Gap("another LSN")
        if entry.kind == EPOCH:
            log.history.begin(entry.position.epoch, entry.position.lsn)
            log.epoch = entry.position.epoch
        log._extend(entry.record, entry.crc, entry.time_ms)

    receive_subscribe = Feed._receive_subscribe

    def trusting(feed: Feed, message: Subscribe, now_ms: int) -> list[Message]:
        crc = feed._crc_at(message.position.lsn)
        return receive_subscribe(feed, message if crc is None else replace(message, crc=crc), now_ms)

    monkeypatch.setattr(ReplicationLog, "contains", contains)
    monkeypatch.setattr(ReplicationLog, "accept", accept)
    monkeypatch.setattr(ReplicationLog, "crc_at", lambda log, lsn: None if lsn < log.head.lsn else log.head_crc)
    monkeypatch.setattr(Feed, "_receive_subscribe", trusting)
    assert_found("without a rewind", "another entry at", "another one at", "another state at")


def test_an_ack_before_the_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    release = Node._release

    def release_all(node: Node, outbox: Outbox) -> None:
        node.gate = deque((0, session, output) for _, session, output in node.gate)
        release(node, outbox)

    monkeypatch.setattr(Node, "_release", release_all)
    assert_found("was acked before it was on its leader's disk")


def test_a_command_that_logs_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    spop = TABLE[b"SPOP"].handler
    assert spop is not None

    def spop_as_typed(ctx: Context, argv: list[bytes]) -> Reply:
        n_logged = len(ctx.commands)
        reply = spop(ctx, argv)
        del ctx.commands[n_logged:]
        ctx.logged = False
        return reply

    monkeypatch.setattr(TABLE[b"SPOP"], "handler", spop_as_typed)
    assert_found("another state at", "could not be applied", "disk holds")


def test_an_expiry_that_is_logged_as_a_plain_del(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica hides the key by then and has nothing to delete."""

    def sweep(sweeping: Sweeping) -> None:
        node = sweeping.node
        for key in expired_keys(node.engine.keyspace, node.now_ms, 200) if sweeping.may_run else []:
            node.engine.begin(node.now_ms)
            node.engine.execute(TABLE[b"_EXPIRED"], [b"_EXPIRED", key])
            node.commit(None, Effects([[b"DEL", key]], [key], False, []), None)

    monkeypatch.setattr(Sweeping, "run", sweep)
    assert_found("an entry could not be applied")


def test_a_snapshot_with_a_key_that_was_born_after_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    step = SnapshotWriter.step

    def step_on(writer: SnapshotWriter, max_keys: int) -> bytes | None:
        if not writer.finished:
            born = [key for key in writer.values if key in writer.touched and key not in writer.known]  # type: ignore[attr-defined]
            for key in born:
                writer.touched.discard(key)
            writer.keys = born + writer.keys
        return step(writer, max_keys)

    init: Callable[..., None] = SnapshotWriter.__init__

    def init_and_note(writer: SnapshotWriter, *arguments: object) -> None:
        init(writer, *arguments)
        writer.known = set(writer.keys)  # type: ignore[attr-defined]

    monkeypatch.setattr(SnapshotWriter, "__init__", init_and_note)
    monkeypatch.setattr(SnapshotWriter, "step", step_on)
    assert_found("another state at", "could not be applied", "disk holds")


def test_an_answer_that_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Forward that is repeated runs twice."""
    monkeypatch.setattr(Answers, "find", lambda *arguments: None)
    assert_found("and again at")


def test_a_read_that_does_not_wait_for_what_its_session_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Node, "covers", lambda node, position: True)
    assert_found("a session saw")


def test_a_scope_without_what_was_seen_of_each_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "_bounded", lambda epoch, base, seen: SyncToken(epoch, base))
    assert_found("a session saw")


def test_a_scope_that_is_no_matter_to_what_names_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script reads a key that it does not name, as old as it is here."""
    monkeypatch.setattr(scope, "keys_named", lambda argv: [] if argv[0] == b"EVAL_RO" else argv[1:2])
    assert_found("a session saw")


def test_two_leaders_with_one_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The epoch leaves out who leads: two replicas that are promoted at the same time get the same one."""

    def promote_two() -> None:
        cluster = SimCluster(seed=1)
        cluster.settle()
        for name in ("us-east-1", "sa-east-1"):
            cluster.cut(name)
        for name in ("us-east-1", "sa-east-1"):
            cluster[name].up().roles.promote(True)
            cluster[name].turn()

    promote_two()
    monkeypatch.setattr(roles, "make_epoch", lambda term, start, node: make_epoch(term, start, 0))
    with pytest.raises(Broken, match="both lead epoch"):
        promote_two()


def test_a_forwarded_read_that_is_taken_for_new_when_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key has changed between the leader's answer and its delivery, and the client is never told."""
    monkeypatch.setattr(Reads, "age", lambda reads, index, is_written: 1 << 60)
    assert_found("still keeps")
