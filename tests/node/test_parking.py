"""Who is woken, in which order, and who is forgotten."""

from collections.abc import Callable

from tests.node.stage import Client, Stage
from upstash_global.errors import CommandError
from upstash_global.node.parking import Parked, Parking
from upstash_global.reply import NULL_ARRAY, OK, PENDING, Named, Reply, Verbatim


class Waiting:
    """A parking lot with sessions that take from `store` when they are tried."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.parking = Parking()
        self.store: list[bytes] = []

    def park(self, keys: list[bytes], deadline_ms: int = 0, cause: str = "") -> Client:
        client = self.stage.leader.client()
        self.parking.park(Parked(client, self.attempt(), deadline_ms, lambda: None, keys, cause))
        return client

    def attempt(self) -> Callable[[bytes], Reply]:
        return lambda key: self.store.pop(0) if self.store else PENDING


def test_who_came_first_is_served_first() -> None:
    lot = Waiting()
    first, second = lot.park([b"k"]), lot.park([b"k"])
    lot.store = [b"a"]
    assert lot.parking.wake_keys([b"k"]) == [(first, b"a")]
    lot.store = [b"b"]
    assert lot.parking.wake_keys([b"k"]) == [(second, b"b")]


def test_who_is_not_served_goes_on_waiting() -> None:
    lot = Waiting()
    client = lot.park([b"k"])
    assert lot.parking.wake_keys([b"k"]) == []
    assert client.id in lot.parking.by_session


def test_a_key_nobody_waits_for_wakes_nobody() -> None:
    lot = Waiting()
    lot.park([b"k"])
    lot.store = [b"a"]
    assert lot.parking.wake_keys([b"other"]) == []


def test_who_waits_for_several_keys_is_served_once_and_forgotten() -> None:
    lot = Waiting()
    lot.park([b"a", b"b"])
    lot.store = [b"1", b"2"]
    assert len(lot.parking.wake_keys([b"b", b"a", b"b"])) == 1
    assert lot.parking.by_session == {}
    lot.parking.wake_keys([b"a", b"b"])


def test_deadlines_end_in_their_order_and_equal_ones_as_they_came() -> None:
    lot = Waiting()
    late, first, second = lot.park([], 30), lot.park([], 20), lot.park([], 20)
    assert [session for session, _ in lot.parking.expire(30)] == [first, second, late]


def test_a_deadline_of_one_that_was_served_is_nothing() -> None:
    lot = Waiting()
    lot.park([b"k"], 20)
    lot.store = [b"a"]
    lot.parking.wake_keys([b"k"])
    assert lot.parking.expire(100) == []


def test_a_cause_wakes_its_own() -> None:
    lot = Waiting()
    acks = lot.park([], cause="acks")
    lot.park([], cause="seal")
    lot.store = [b"a", b"b"]
    assert lot.parking.wake_all("acks") == [(acks, b"a")]


def test_blocked_clients_are_served_first_come_first_served() -> None:
    stage = Stage()
    clients = [stage.leader.client().say("BLPOP l 0") for _ in range(3)]
    stage.leader.client().run("RPUSH l a b")
    assert [client.take() for client in clients] == [[[b"l", b"a"]], [[b"l", b"b"]], []]


def test_what_a_waiting_client_sends_is_run_behind_its_answer() -> None:
    stage = Stage()
    client = stage.leader.client().say("BLPOP l 0", "SET k v")
    client.say("GET k")
    assert client.take() == []
    stage.leader.client().run("RPUSH l a")
    assert client.take() == [[b"l", b"a"], OK, b"v"]


def test_a_wait_ends_at_its_time() -> None:
    stage = Stage()
    client = stage.leader.client().say("BLPOP l 0.1")
    stage.pass_ms(80)
    assert client.take() == []
    stage.pass_ms(60)
    assert client.take() == [NULL_ARRAY]


def test_a_client_that_went_takes_nothing() -> None:
    stage = Stage()
    client = stage.leader.client().say("BLPOP l 0")
    stage.leader.node.close(client)
    assert stage.leader.client().run("RPUSH l a", "LLEN l") == 1


def test_debug_sleep_holds_one_client_and_no_other() -> None:
    stage = Stage()
    sleeper = stage.leader.client().say("DEBUG SLEEP 1")
    assert stage.leader.client().run("SET k v") == OK
    assert sleeper.take() == []
    stage.pass_ms(1_100)
    assert sleeper.take() == [OK]


def test_wait_answers_when_enough_replicas_have_it() -> None:
    stage = Stage(replica=True)
    client = stage.leader.client()
    assert client.run("SET k v", "WAIT 1 0") == 1
    stage.cut()
    assert client.say("SET k w", "WAIT 1 500").take() == [OK]
    stage.pass_ms(600)
    assert client.take() == [0]


def test_info_counts_the_keys_whose_end_would_answer_somebody() -> None:
    stage = Stage()
    other = stage.leader.client()
    other.run("XGROUP CREATE x g $ MKSTREAM")
    waiting = [stage.leader.client().say(line) for line in ("BLPOP y z 0", "XREADGROUP GROUP g me BLOCK 0 STREAMS x >")]
    counts = other.run("INFO clients")
    assert isinstance(counts, Verbatim)
    assert b"total_blocking_keys:3" in counts.text and b"total_blocking_keys_on_nokey:1" in counts.text
    stage.leader.node.close(waiting[1])
    counts = other.run("INFO clients")
    assert isinstance(counts, Verbatim) and b"total_blocking_keys_on_nokey:0" in counts.text


def test_a_consumer_does_not_wait_for_a_group_that_was_flushed_away() -> None:
    stage = Stage()
    other = stage.leader.client()
    other.run("XGROUP CREATE x g $ MKSTREAM")
    consumer = stage.leader.client().say("XREADGROUP GROUP g me BLOCK 0 STREAMS x >")
    reader = stage.leader.client().say("XREAD BLOCK 0 STREAMS x $")
    other.run("FLUSHALL")
    (refusal,) = consumer.take()
    assert isinstance(refusal, CommandError) and refusal.code == "NOGROUP"
    assert reader.take() == []
    other.run("XADD x 1-1 f v")
    assert reader.take() == [Named([(b"x", [[b"1-1", [b"f", b"v"]]])])]


def test_of_two_consumers_that_wait_one_is_served_and_the_other_goes_on_waiting() -> None:
    """Being tried changed the stream by when the consumer was seen, which woke it again, for ever."""
    stage = Stage()
    me, you, other = (stage.leader.client() for _ in range(3))
    other.run("XGROUP CREATE x g $ MKSTREAM", "XGROUP CREATECONSUMER x g me", "XGROUP CREATECONSUMER x g you")
    me.say("XREADGROUP GROUP g me BLOCK 0 STREAMS x >")
    you.say("XREADGROUP GROUP g you BLOCK 0 NOACK STREAMS x >")
    head = stage.leader.node.log.head.lsn
    other.run("XADD x 1-1 f v")
    assert me.take() == [Named([(b"x", [[b"1-1", [b"f", b"v"]]])])] and you.take() == []
    assert stage.leader.node.log.head.lsn == head + 2  # what waits on writes nothing
    other.run("XADD x 1-2 f v")
    assert you.take() == [Named([(b"x", [[b"1-2", [b"f", b"v"]]])])]
