"""Failed logins: told late, and not more than some per minute and address."""

from tests.node.stage import Client, Stage
from upstash_global.errors import CommandError, error
from upstash_global.node.logins import MOST_ADDRESSES, FailedLogins
from upstash_global.reply import OK

WRONGPASS = CommandError("WRONGPASS", "invalid username-password pair or user is disabled.")
REFUSED = error("max failed logins per minute exceeded. Limit: 3; not tried")
MINUTE = 60_000


def test_an_address_has_its_share_per_minute() -> None:
    logins = FailedLogins(2)
    assert [logins.note("a", 1_000), logins.wait_ms("a", 1_000)] == [False, 0]
    assert [logins.note("a", 21_000), logins.wait_ms("a", 21_000)] == [True, 40_000]
    assert logins.wait_ms("b", 21_000) == 0
    assert logins.wait_ms("a", 61_000) == 0
    assert [logins.note("a", 62_000), logins.wait_ms("a", 62_000)] == [True, 19_000]  # two in the last minute again


def test_0_is_no_limit() -> None:
    logins = FailedLogins(0)
    assert not any(logins.note("a", 0) for _ in range(1000))
    assert logins.wait_ms("a", 0) == 0 and not logins.of_address


def test_many_addresses_take_bounded_room() -> None:
    logins = FailedLogins(20)
    for i in range(MOST_ADDRESSES + 10):
        logins.note(str(i), 0)
    assert len(logins.of_address) == MOST_ADDRESSES and "9" not in logins.of_address
    for i in range(MOST_ADDRESSES):
        logins.note(f"later {i}", MINUTE)
    assert len(logins.of_address) == MOST_ADDRESSES


def guarded() -> Stage:
    return Stage(password="secret", failed_login_delay_ms=100, failed_logins_per_minute=3)


def fail(client: Client, n: int) -> None:
    for _ in range(n):
        client.say("AUTH wrong")
        client.machine.stage.pass_ms(100)
        assert client.take() == [WRONGPASS]


def test_a_wrong_password_is_told_late_and_holds_back_what_follows() -> None:
    stage = guarded()
    client = stage.leader.client().say("AUTH wrong", "AUTH secret", "SET k v")
    stage.pass_ms(80)
    assert client.take() == []
    stage.pass_ms(20)
    assert client.take() == [WRONGPASS, OK, OK]
    assert client.say("HELLO 3 AUTH default wrong", "GET k").take() == []
    stage.pass_ms(100)
    assert client.take() == [WRONGPASS, b"v"]


def test_a_right_password_is_told_at_once_and_others_wait_for_nobody() -> None:
    stage = guarded()
    stage.leader.client().say("AUTH wrong")
    assert stage.leader.client().run("AUTH secret") == OK


def test_beyond_its_share_an_address_is_refused_until_the_minute_is_over() -> None:
    stage = guarded()
    known = stage.leader.client()
    known.run("AUTH secret")
    fail(stage.leader.client(), 3)
    stranger = stage.leader.client()
    for command in ("AUTH secret", "AUTH wrong", "HELLO 3 AUTH default secret"):
        assert stranger.run(command) == REFUSED
    assert stranger.run("GET k").code == "NOAUTH"
    assert known.run("SET k v") == OK
    stage.pass_ms(MINUTE)
    assert stranger.run("AUTH secret") == OK


def test_who_has_logged_in_may_only_stay_who_he_is_beyond_the_share() -> None:
    stage = guarded()
    client = stage.leader.client()
    client.run("AUTH secret")
    client.run("ACL SETUSER alice on >pw +@all ~*")
    fail(stage.leader.client(), 3)
    assert client.run("AUTH secret") == OK
    for command in ("AUTH alice pw", "AUTH alice no", "AUTH default no"):
        assert client.run(command) == REFUSED
    assert client.run("ACL WHOAMI") == b"default"


def test_other_addresses_are_undisturbed() -> None:
    stage = guarded()
    fail(stage.leader.client(), 3)
    other = stage.leader.client()
    other.address = "10.0.0.2:40000"
    assert other.run("AUTH secret") == OK


def test_reaching_the_limit_is_an_event_and_each_failure_is_counted() -> None:
    stage = guarded()
    fail(stage.leader.client(), 3)
    node = stage.leader.node
    assert [event.text for event in node.events.take_unread() if event.name == "logins-refused"] == [
        "10.0.0.1 had 3 failed logins in a minute"
    ]
    assert node.metrics.n_failed_logins == 3


def test_inside_a_transaction_a_wrong_password_is_told_with_the_rest() -> None:
    client = guarded().leader.client()
    client.run("AUTH secret")
    assert client.run("MULTI", "AUTH wrong", "GET k", "EXEC") == [WRONGPASS, None]


def test_a_password_cannot_be_guessed_by_asking_for_its_token() -> None:
    client = guarded().leader.client()
    client.run("AUTH secret")
    client.run("ACL SETUSER alice on >pw")
    told = [client.run(f"ACL RESTTOKEN alice {guess}") for guess in ("a", "b", "c", "pw")]
    assert told == [*[error('Wrong password or user "alice" does not exist')] * 3, REFUSED]
