"""The release gate: what the leader may answer before its log is on disk."""

import pytest

from tests.node.stage import Stage
from upstash_global.errors import CommandError
from upstash_global.reply import OK, PONG


def stage_whose_disk_waits(fsync: str) -> Stage:
    stage = Stage(fsync=fsync)
    stage.leader.holds_syncs = True
    return stage


def test_always_answers_a_write_when_it_is_on_disk() -> None:
    stage = stage_whose_disk_waits("always")
    client = stage.leader.client()
    assert client.say("SET k v").take() == []
    stage.leader.sync()
    assert client.take() == [OK]


def test_always_answers_a_read_of_what_is_not_on_disk_later_too() -> None:
    stage = stage_whose_disk_waits("always")
    writer, reader = stage.leader.client(), stage.leader.client()
    writer.say("SET k v")
    assert reader.say("GET k").take() == []
    stage.leader.sync()
    assert reader.take() == [b"v"]


def test_a_message_waits_like_an_answer() -> None:
    stage = stage_whose_disk_waits("always")
    listener = stage.leader.client()
    listener.say("SUBSCRIBE c").take()
    stage.leader.client().say("PUBLISH c hi")
    assert listener.take() == []
    stage.leader.sync()
    assert len(listener.take()) == 1


@pytest.mark.parametrize("fsync", ["everysec", "no"])
def test_the_other_policies_answer_at_once(fsync: str) -> None:
    stage = stage_whose_disk_waits(fsync)
    assert stage.leader.client().say("SET k v").take() == [OK]


def test_reads_of_what_is_on_disk_wait_for_nothing() -> None:
    stage = stage_whose_disk_waits("always")
    assert stage.leader.client().say("PING", "GET k").take() == [PONG, None]


def test_answers_leave_in_the_order_of_the_log() -> None:
    stage = stage_whose_disk_waits("always")
    first, second = stage.leader.client(), stage.leader.client()
    first.say("SET a 1")
    lsn = stage.leader.node.log.head.lsn
    second.say("SET b 2")
    stage.leader.storage.durable_lsn = lsn  # a sync that began before the second write
    stage.leader.node.persisted(lsn)
    stage.settle()
    assert (first.take(), second.take()) == ([OK], [])


def test_a_failed_disk_refuses_writes_and_answers_none_of_those_under_way() -> None:
    stage = stage_whose_disk_waits("always")
    client = stage.leader.client()
    client.say("SET k v")
    stage.leader.node.storage_failed("no space")
    stage.leader.sync()
    assert client.take() == []
    assert stage.leader.client().run("SET k v").code == "MISCONF"


def test_a_full_disk_refuses_writes_and_takes_them_again() -> None:
    stage = Stage()
    client = stage.leader.client()
    stage.leader.node.note_free_disk(False)
    assert client.run("SET k v").code == "MISCONF"
    assert client.run("MULTI", "SET k v", "EXEC") == CommandError(
        "EXECABORT", f"Transaction discarded because of: {client.run('SET k v').text}"
    )
    assert client.run("GET k") is None
    stage.leader.node.note_free_disk(True)
    assert client.run("SET k v") == OK
