"""Who may run what, and what a forward was answered."""

import pytest

from tests.node.stage import Client, Stage
from upstash_global.engine.table import ADMIN, INTERNAL, WRITE, all_rows
from upstash_global.engine.users import DEFAULT, READ_ONLY, Users
from upstash_global.errors import CommandError
from upstash_global.node.answers import MAX_SESSIONS, Answers
from upstash_global.replication.codec import DATA, Entry
from upstash_global.replication.position import Position


@pytest.fixture
def client() -> Client:
    return Stage().leader.client()


@pytest.fixture
def reader(client: Client) -> Client:
    client.run("SET k v")
    client.user = client.machine.node.users.find(READ_ONLY)
    return client


# -- users


@pytest.mark.parametrize("command", ["GET k", "PING", "MULTI", "SUBSCRIBE c", "CLIENT ID", "ECHO x", "TTL k"])
def test_a_reader_may(reader: Client, command: str) -> None:
    assert not isinstance(reader.run(command), CommandError)


@pytest.mark.parametrize(
    "command",
    ["SET k 2", "DEL k", "PUBLISH c m", "FLUSHALL", "KEYS *", "SCAN 0", "CONFIG GET *", "CLIENT KILL 1.2.3.4:5",
     "DEBUG DIGEST", "SLOWLOG GET", "INFO", "WAIT 0 0", "ROLE"],
)  # fmt: skip
def test_a_reader_may_not(reader: Client, command: str) -> None:
    refusal = reader.run(command)
    assert isinstance(refusal, CommandError) and refusal.code == "NOPERM"


def test_a_refusal_names_the_command(reader: Client) -> None:
    assert reader.run("CLIENT KILL a") == CommandError(
        "NOPERM", "this user has no permissions to run the 'client|kill' command or its subcommand"
    )


def test_a_reader_s_write_spoils_its_transaction(reader: Client) -> None:
    assert reader.run("MULTI", "SET k 2", "EXEC") == CommandError(
        "EXECABORT", "Transaction discarded because of previous errors."
    )


def test_no_command_that_writes_or_administers_is_open_to_a_reader() -> None:
    reader = Users().named[READ_ONLY]
    closed = [row for row in all_rows() if row.flags & (WRITE | ADMIN | INTERNAL)]
    assert [row.name for row in closed if reader.denial(row, [row.name.encode()]) is None] == []


@pytest.mark.parametrize(
    ("name", "password", "user"),
    [(b"default", b"secret", DEFAULT), (b"default", b"Secret", None), (b"default", b"", None), (b"nobody", b"secret", None),
     (b"default_ro", b"secret", None), (b"default_ro", b"", None)],
)  # fmt: skip
def test_only_the_right_name_and_password_log_in(name: bytes, password: bytes, user: bytes | None) -> None:
    users = Users()
    users.configure("secret")
    found = users.authenticate(name, password)
    assert (None if found is None else found.name) == user


# -- counters


def test_resetstat_starts_the_counters_afresh(client: Client) -> None:
    client.run("NOSUCH", "CONFIG RESETSTAT")
    assert b"errorstat_ERR" not in client.run("INFO errorstats").text


# -- the table of remembered answers


def noted(answers: Answers, session: int, sequence: int, index: int, answer: bytes) -> None:
    attributes = {"o": "tokyo", "b": "boot", "s": session, "q": sequence, "i": index, "a": answer}
    answers.note(Entry(Position(1, 1), 0, DATA, [], attributes, b"", 0, 0))


def test_the_answers_of_the_last_forward_of_a_session_are_remembered() -> None:
    answers = Answers()
    noted(answers, 7, 1, 0, b"old")
    noted(answers, 7, 2, 0, b"first")
    noted(answers, 7, 2, 3, b"second")
    assert answers.find("tokyo", "boot", 7, 2) == {0: b"first", 3: b"second"}
    assert answers.find("tokyo", "boot", 7, 1) is None
    assert answers.find("tokyo", "other boot", 7, 2) is None


def test_the_table_is_bounded_and_forgets_who_was_silent_longest() -> None:
    answers = Answers()
    for session in range(MAX_SESSIONS):
        noted(answers, session, 1, 0, b"x")
    noted(answers, 0, 2, 0, b"again")
    noted(answers, MAX_SESSIONS, 1, 0, b"one more")
    assert answers.find("tokyo", "boot", 0, 2) is not None
    assert answers.find("tokyo", "boot", 1, 1) is None


def test_the_table_survives_a_snapshot() -> None:
    answers, copy = Answers(), Answers()
    noted(answers, 7, 2, 1, b"x")
    copy.load(answers.dump())
    assert copy.dump() == answers.dump() and copy.find("tokyo", "boot", 7, 2) == {1: b"x"}


def test_every_node_remembers_what_a_forward_was_answered() -> None:
    stage = Stage(replica=True)
    stage.replica.client().run("INCR n")
    assert stage.leader.node.answers.dump() == stage.replica.node.answers.dump() != []
    assert stage.leader.node.digest() == stage.replica.node.digest()
