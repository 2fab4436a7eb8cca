"""A bug of ours: whoever met it is told that there was one, nobody hangs, and everybody else is served on.

The bugs are planted as rows of the command table that raise what no handler should.
"""

import json
from collections.abc import Iterator

import pytest

from tests.server.serving import TOKEN, Served, command, rest
from upstash_global.engine.context import Context
from upstash_global.engine.table import FAST, FIRST, READONLY, TABLE, WRITE, Family
from upstash_global.node.node import Node
from upstash_global.node.session import Session
from upstash_global.reply import Reply

TOLD = {"error": "ERR internal error"}  # and nothing of what went wrong
FAILING = ["breakread", "breakwrite", "breaksession"]


class _NoReply:
    """What no protocol can write."""


@pytest.fixture(autouse=True)
def planted() -> Iterator[None]:
    family = Family("generic")

    @family.command("BREAKREAD", arity=2, flags=READONLY | FAST, keys=FIRST)
    def break_read(ctx: Context, argv: list[bytes]) -> Reply:
        """Fail at a read."""
        raise RuntimeError("a secret")

    @family.command("BREAKWRITE", arity=2, flags=WRITE | FAST, keys=FIRST)
    def break_write(ctx: Context, argv: list[bytes]) -> Reply:
        """Fail at a write."""
        raise AssertionError("a secret")

    @family.session_command("BREAKSESSION", arity=2, flags=FAST)
    def break_session(node: Node, session: Session, argv: list[bytes]) -> Reply:
        """Fail at what is about the session."""
        raise KeyError("a secret")

    @family.command("BREAKANSWER", arity=2, flags=READONLY | FAST, keys=FIRST)
    def break_answer(ctx: Context, argv: list[bytes]) -> Reply:
        """Reply what is none."""
        return _NoReply()

    yield
    for name in [name for name in TABLE if name.upper().startswith(b"BREAK")]:
        del TABLE[name]


@pytest.mark.parametrize("name", [*FAILING, "breakanswer"])
@pytest.mark.parametrize("form", ["single", "pipeline", "transaction"])
def test_a_failing_command_answers_500_and_closes(leader: Served, replica: Served, name: str, form: str) -> None:
    rows = [["set", "k", "v"], [name, "k"], ["get", "k"]]
    path, value = {"single": ("/", rows[1]), "pipeline": ("/pipeline", rows), "transaction": ("/multi-exec", rows)}[
        form
    ]
    body = json.dumps(value).encode()
    for served in (leader, replica):
        with served.http() as wire:
            wire.send(
                b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%b"
                % (path.encode(), TOKEN.encode(), len(body), body)
            )
            answer = wire.answer()
            assert (answer.status, json.loads(answer.body)) == (500, TOLD)
            assert answer.headers[b"connection"] == b"close"
            assert wire.read_all() == b""
        assert rest(served, ["set", "k", "w"])[:2] == (200, {"result": "OK"})
        assert rest(served, ["get", "k"])[:2] == (200, {"result": "w"})


@pytest.mark.parametrize("name", FAILING)
def test_a_failing_command_does_not_break_the_link_to_the_leader(leader: Served, replica: Served, name: str) -> None:
    closed = replica.ask(lambda node: node.forwarding.n_forwarded)
    with replica.wire() as wire:
        wire.send(command("SET", "k", "v") + command(name, "k") + command("GET", "k"))
        assert [wire.reply() for _ in range(3)] == [b"+OK\r\n", b"-ERR internal error\r\n", b"$1\r\nv\r\n"]
    assert replica.ask(lambda node: node.forwarding.n_forwarded) > closed
    assert replica.ask(lambda node: node.can_forward and not node.forwarding.outstanding)
    assert leader.ask(lambda node: node.events.counts["bug"]) + replica.ask(lambda node: node.events.counts["bug"]) > 0


def test_what_ran_beside_a_failing_command_is_in_the_log(leader: Served, replica: Served) -> None:
    """A transaction is one unit: the items that ran are applied everywhere, although its client reads 500."""
    rows = [["set", "k", "v"], ["breakwrite", "k"], ["set", "l", "v"]]
    assert rest(replica, rows, "/multi-exec")[0] == 500
    for served in (leader, replica):
        assert rest(served, ["mget", "k", "l"], upstash_consistency="leader")[1] == {"result": ["v", "v"]}
    assert rest(replica, ["set", "m", "v"])[0] == 200
    with leader.redis() as one, replica.redis() as two:
        assert one.execute_command("DEBUG", "DIGEST") == two.execute_command("DEBUG", "DIGEST")


@pytest.mark.pure
def test_a_failure_outside_of_a_command_answers_500_too(leader: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(leader.running.rest, "_ask", fail)
    assert rest(leader, ["ping"])[:2] == (500, TOLD)
    monkeypatch.undo()
    assert rest(leader, ["ping"])[0] == 200
