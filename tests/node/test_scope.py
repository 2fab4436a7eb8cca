"""`session; scope=key`: what a client has seen of a key holds back the reads of that key, and of no other."""

import pytest

from tests.node.stage import Client, Machine, Stage, argv_of
from upstash_global.errors import CommandError
from upstash_global.node.scope import after, is_met
from upstash_global.protocol.consistency import SESSION, Consistency
from upstash_global.protocol.tokens import MAX_KEYS, SyncToken, decode_token, encode_token, key_hash
from upstash_global.replication.position import History, Position
from upstash_global.reply import OK

NOTHING = SyncToken(0, 0)


class Traveller:
    """A REST client: each request brings the token that the last one was answered with."""

    def __init__(self) -> None:
        self.token = NOTHING
        self.n_waited = 0  # requests that were not answered at once

    def ask(self, machine: Machine, *commands: str) -> list[object]:
        client = self.begin(machine, *commands)
        self.n_waited += client.waiting > 0
        while client.waiting:  # for `sync_wait_ms`: then the leader is asked
            machine.stage.pass_ms(100)
        self.token = self.seen(client, *commands)
        return client.take()

    def begin(self, machine: Machine, *commands: str) -> Client:
        client = machine.client()
        seen = machine.node.log.history.locate(self.token.epoch, self.token.newest_lsn)
        client.ask(Consistency(SESSION, is_scoped=True), seen, self.token)
        return client.say(*commands)

    def seen(self, client: Client, *commands: str) -> SyncToken:
        assert client.scope is not None
        return after(client.scope, client.machine.node, [argv_of(command) for command in commands], client.served)


@pytest.fixture
def stage() -> Stage:
    """Both have `a` and `b`, long ago for all the replica knows; from then on it hears of nothing new."""
    stage = Stage(replica=True)
    stage.leader.client().run("MSET a old b old c old")
    stage.pass_ms(100)
    stage.hold_entries()
    return stage


def lsns(stage: Stage, token: SyncToken) -> dict[str, int]:
    """The pairs of a token by key, counted from the position of the replica."""
    names = {key_hash(name.encode()): name for name in "abcdef"}
    base = stage.replica.node.log.head.lsn
    return {names[hashed]: lsn - base for hashed, lsn in token.keys}


def test_a_read_waits_for_what_was_written_to_its_key_and_for_nothing_else(stage: Stage) -> None:
    client = Traveller()
    n_forwarded = stage.replica.node.forwarding.n_forwarded
    for n in range(20):
        assert client.ask(stage.leader, f"SET a {n}") == [OK]
        assert client.ask(stage.replica, "GET b") == [b"old"]
    assert (client.n_waited, stage.replica.node.forwarding.n_forwarded - n_forwarded) == (0, 0)
    assert client.ask(stage.replica, "GET a") == [b"19"]
    assert (client.n_waited, stage.replica.node.forwarding.n_forwarded - n_forwarded) == (1, 1)


def test_a_read_that_waits_is_answered_here_once_its_key_has_come(stage: Stage) -> None:
    client = Traveller()
    client.ask(stage.leader, "SET a new")
    waiting = client.begin(stage.replica, "GET a")
    assert waiting.take() == []
    n_forwarded = stage.replica.node.forwarding.n_forwarded
    stage.is_following = True
    stage.link()
    assert waiting.take() == [b"new"]
    assert stage.replica.node.forwarding.n_forwarded == n_forwarded


def test_what_was_read_is_not_read_older_elsewhere(stage: Stage) -> None:
    client = Traveller()
    stage.leader.client().run("SET a new")
    assert client.ask(stage.leader, "GET a") == [b"new"]
    assert lsns(stage, client.token) == {"a": 1}
    assert client.ask(stage.replica, "GET b") == [b"old"]
    assert client.ask(stage.replica, "GET a") == [b"new"]
    assert client.n_waited == 1


def test_reads_and_writes_leave_the_base_alone(stage: Stage) -> None:
    client = Traveller()
    client.ask(stage.leader, "SET a 1")
    base = client.token.lsn
    assert base < stage.replica.node.log.head.lsn
    for commands in (["SET a 2", "GET b"], ["MULTI", "SET c 1", "GET a", "EXEC"], ["DEL d"], ["PUBLISH x y"], ["PING"]):
        client.ask(stage.leader, *commands)
    assert client.token.lsn == base
    assert lsns(stage, client.token) == {"a": 2, "c": 3, "b": 0}


@pytest.mark.parametrize(
    "command", ["SCAN 0", "KEYS *", "DBSIZE", "EVAL_RO 'return 1' 1 b", "SORT_RO b BY w_*", "MGET b a", "EXISTS a"]
)
def test_what_may_touch_the_key_waits_for_it(stage: Stage, command: str) -> None:
    client = Traveller()
    client.ask(stage.leader, "SET a new")
    client.ask(stage.replica, command)
    assert client.n_waited == 1


@pytest.mark.parametrize("command", ["SCAN 0", "EVAL 'return 1' 1 b", "FLUSHALL", "FUNCTION LIST"])
def test_what_may_touch_any_key_raises_the_base_to_where_it_was_answered(stage: Stage, command: str) -> None:
    client = Traveller()
    client.ask(stage.leader, "SET a new", command)
    assert client.token == SyncToken(stage.leader.node.log.epoch, stage.leader.node.log.head.lsn)
    client.ask(stage.replica, "GET b")
    assert client.n_waited == 1


def test_a_transaction_of_reads_waits_for_its_keys_only(stage: Stage) -> None:
    client = Traveller()
    client.ask(stage.leader, "SET a new")
    assert client.ask(stage.replica, "MULTI", "GET b", "GET c", "EXEC")[-1] == [b"old", b"old"]
    assert client.ask(stage.replica, "MULTI", "GET b", "GET a", "EXEC")[-1] == [b"old", b"new"]


def test_one_token_covers_a_pipeline(stage: Stage) -> None:
    client = Traveller()
    client.ask(stage.leader, "SET a new", "SET b new", "GET c")
    assert lsns(stage, client.token) == {"a": 1, "b": 2, "c": 0}
    assert client.ask(stage.replica, "GET c", "GET a", "GET b", "GET c") == [b"old", b"new", b"new", b"old"]


def test_the_oldest_pair_gives_way_to_the_base(stage: Stage) -> None:
    client = Traveller()
    head = stage.leader.node.log.head.lsn
    for n in range(MAX_KEYS + 3):
        client.ask(stage.leader, f"SET key:{n} v")
    assert len(client.token.keys) == MAX_KEYS
    assert client.token.lsn == head + 3
    assert sorted(lsn - head for _, lsn in client.token.keys) == list(range(4, MAX_KEYS + 4))
    text = encode_token(client.token, "demo", b"k" * 32)
    assert len(text) <= 512 and decode_token(text, "demo", b"k" * 32) == client.token


def test_a_large_read_keeps_the_newest_of_its_keys(stage: Stage) -> None:
    client = Traveller()
    names = [f"key:{n}" for n in range(100)]
    for name in names:
        stage.leader.client().run(f"SET {name} v")
    client.ask(stage.leader, "MGET " + " ".join(names))
    newest = stage.leader.node.log.head.lsn
    assert [lsn for _, lsn in client.token.keys] == list(range(newest, newest - MAX_KEYS, -1))
    assert client.token.lsn == newest - MAX_KEYS


def test_below_what_the_change_index_knows_the_base_rises(stage: Stage) -> None:
    """A full resync leaves nothing known; the flush changed every key that it did not leave alone."""
    client = Traveller()
    node = stage.replica.node
    node.changes.reset(node.log.head.lsn - 1)
    client.ask(stage.replica, "GET b")
    assert client.token == SyncToken(node.log.epoch, node.log.head.lsn - 1)
    stage.leader.client().run("FLUSHALL", "SET a new")
    client.ask(stage.leader, "MGET a b")
    assert client.token == SyncToken(
        node.log.epoch, node.log.head.lsn + 1, 0, ((key_hash(b"a"), node.log.head.lsn + 2),)
    )


def test_an_own_write_that_is_not_here_yet_holds_back_its_key_only(stage: Stage) -> None:
    """A RESP connection whose write was answered before this replica had it."""
    client = stage.replica.client()
    assert client.run("CLIENT CONSISTENCY SESSION SCOPE KEY") is OK
    assert client.run("CLIENT CONSISTENCY") == b"session; scope=key"
    client.say("SET a mine")
    stage.pass_ms(1_100)
    assert client.take() == [OK]
    n_forwarded = stage.replica.node.forwarding.n_forwarded
    assert client.run("GET b") == b"old"
    assert stage.replica.node.forwarding.n_forwarded == n_forwarded
    client.say("GET a")
    stage.pass_ms(1_100)
    assert client.take() == [b"mine"]


def test_a_token_from_rest_holds_back_its_keys_on_a_connection_too(stage: Stage) -> None:
    traveller = Traveller()
    traveller.ask(stage.leader, "SET a new")
    token = stage.leader.node.sync_tokens.sign(traveller.token)
    for consistency, n_forwarded in (("SESSION SCOPE KEY", 0), ("SESSION", 1)):
        client = stage.replica.client()
        client.run(f"CLIENT CONSISTENCY {consistency}")
        assert client.run([b"SYNCTOKEN", token]) == OK
        before = stage.replica.node.forwarding.n_forwarded
        client.say("GET b")
        stage.pass_ms(2_500)
        assert client.take() == [b"old"]
        assert stage.replica.node.forwarding.n_forwarded == before + n_forwarded


def test_without_a_leader_only_the_keys_that_are_missing_are_stale(stage: Stage) -> None:
    client = Traveller()
    client.ask(stage.leader, "SET a new")
    stage.replica.node.forward_disconnected("leader", stage.now_ms)
    assert client.ask(stage.replica, "GET b") == [b"old"]
    (reply,) = client.ask(stage.replica, "GET a")
    assert isinstance(reply, CommandError) and reply.code == "STALE"
    assert lsns(stage, client.token)["a"] == 1  # and it is still known that there is something newer


# -- histories


def history(head_lsn: int, *starts: tuple[int, int]) -> History:
    return History.from_plain([head_lsn, 0, [list(start) for start in starts]])


def scope_at(epoch: int, base: int, a: int) -> SyncToken:
    return SyncToken(epoch, base, 0, ((key_hash(b"a"), a),))


GET_A, GET_B = [[b"GET", b"a"]], [[b"GET", b"b"]]


def test_a_pair_from_before_the_last_failover_holds_on_the_new_history() -> None:
    after_failover = history(150, (1, 1), (2, 101))
    assert is_met(scope_at(1, 0, 100), after_failover, GET_A)
    assert is_met(scope_at(2, 0, 60), after_failover, GET_A)  # the token was renewed since: it counts along its history
    assert not is_met(scope_at(2, 0, 151), after_failover, GET_A)
    assert is_met(scope_at(2, 0, 151), after_failover, GET_B)


def test_a_token_with_a_lost_write_is_the_leaders_whatever_is_read() -> None:
    after_failover = history(150, (1, 1), (2, 101))
    assert not is_met(scope_at(1, 0, 120), after_failover, GET_A)
    assert not is_met(scope_at(1, 0, 120), after_failover, GET_B)


def test_a_node_that_has_not_heard_of_the_tokens_reign_waits() -> None:
    assert not is_met(scope_at(2, 0, 60), history(100, (1, 1)), GET_B)


def test_a_token_is_carried_over_a_failover_and_given_up_with_what_is_lost(stage: Stage) -> None:
    node = stage.leader.node
    node.log.history.starts = [(node.log.epoch - 1, 1), (node.log.epoch, 3)]
    epoch, head = node.log.epoch, node.log.head
    known, lost = scope_at(epoch - 1, 1, 2), scope_at(epoch - 1, 1, 5)
    assert after(known, node, [], head) == scope_at(epoch, 1, 2)
    assert after(lost, node, [], head) == SyncToken(epoch, head.lsn)
    elsewhere = scope_at(epoch - 7, 1, 2)
    assert after(elsewhere, node, GET_A, head) == SyncToken(epoch, head.lsn)
    later = scope_at(epoch + 1, 1, 9)
    assert after(later, node, GET_A, head) == later
    unknown = Position(epoch + 1, head.lsn + 5)  # the leader of a reign that is not known here has answered
    assert after(known, node, GET_A, unknown) == SyncToken(unknown.epoch, unknown.lsn)
