"""GET /v1/nearest on REST and on the admin port: who is asked, in which order nodes stand, what is known of each."""

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.server.serving import ADMIN_TOKEN, READ_TOKEN, TOKEN, Answer, Served, config, wait_for
from upstash_global.node.freshness import TOO_STALE

_opener = build_opener(ProxyHandler({}))


def get(served: Served, path: str, token: str = TOKEN, method: str = "GET") -> Answer:
    with served.http() as wire:
        lines = [f"{method} {path} HTTP/1.1", "host: x", f"authorization: Bearer {token}", "origin: http://a", "", ""]
        return wire.send("\r\n".join(lines).encode()).answer(has_body=method != "HEAD")


def nodes(served: Served, query: str = "") -> list[dict[str, Any]]:
    answer = get(served, f"/v1/nearest{query}")
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = json.loads(answer.body)["nodes"]
    return rows


def know_each_other(leader: Served, replica: Served) -> None:
    """Wait until each has pinged the other since that serves."""
    for served in (leader, replica):
        wait_for(lambda: all(is_known(row) for row in nodes(served)))  # noqa: B023


def is_known(row: dict[str, Any]) -> bool:
    """Whether a node was asked since it serves."""
    return row["rtt_ms"] is not None and row["state"] == "streaming"


def test_a_node_tells_of_itself_and_of_the_others(leader: Served, replica: Served) -> None:
    know_each_other(leader, replica)
    for served, other in ((leader, replica), (replica, leader)):
        answer = json.loads(get(served, "/v1/nearest").body)
        assert (answer["node"], answer["region"], answer["leader"]) == (served.name, "us-east-1", "one")
        assert {row["name"]: row["role"] for row in answer["nodes"]} == {"one": "leader", "two": "replica"}
        rows = {row["name"]: row for row in answer["nodes"]}
        assert rows[served.name]["rtt_ms"] == rows[served.name]["heard_ms"] == 0
        assert rows[other.name]["rtt_ms"] > 0
        assert rows[other.name]["url"] == f"http://127.0.0.1:{other.rest}"
        assert rows[other.name]["resp"] == f"127.0.0.1:{other.resp}"
        assert all(row["state"] == "streaming" and row["fits"] for row in answer["nodes"])


def test_the_leader_is_preferred_when_the_replica_is_over_the_budget(leader: Served, replica: Served) -> None:
    know_each_other(leader, replica)

    async def answer() -> list[dict[str, Any]]:
        neighbours = replica.running.neighbours
        replica.running.node.roles.follower.complete_ms = 0  # until the next heartbeat
        rows: list[dict[str, Any]] = neighbours.answer("500", "")["nodes"]
        return rows

    assert [(row["name"], row["fits"]) for row in replica.await_(answer())] == [("one", True), ("two", False)]


def test_a_node_that_has_gone_comes_last_and_one_that_is_back_is_known_again(tmp_path: Path) -> None:
    settings = config(names=("one", "two"))
    with Served(tmp_path / "one", settings) as one:

        def state_of_two() -> str:
            return str(next(row["state"] for row in nodes(one) if row["name"] == "two"))

        for _ in range(2):
            with Served(tmp_path / "two", settings, "two"):
                wait_for(lambda: state_of_two() == "streaming")
            wait_for(lambda: state_of_two() == "unreachable")
            last = nodes(one)[-1]
            assert (last["name"], last["rtt_ms"]) == ("two", None)


def test_a_region_can_be_asked_for(leader: Served) -> None:
    assert [row["region"] for row in nodes(leader, "?region=us-east-1")] == ["us-east-1"] * 2
    assert nodes(leader, "?region=elsewhere") == []


@pytest.mark.parametrize("lag", ["-1", "soon", "1e3", "%C2%B2"])
def test_a_budget_is_a_number(leader: Served, lag: str) -> None:
    answer = get(leader, f"/v1/nearest?lag={lag}")
    assert answer.status == 400
    assert json.loads(answer.body) == {"error": "ERR lag is a number of milliseconds"}


def test_it_is_asked_as_any_read_and_never_kept(leader: Served) -> None:
    answer = get(leader, "/v1/nearest", READ_TOKEN)
    assert answer.status == 200
    assert answer.headers[b"cache-control"] == b"no-store"
    assert answer.headers[b"access-control-allow-origin"] == b"http://a"
    assert get(leader, "/v1/nearest", "wrong").status == 401
    head = get(leader, "/v1/nearest", method="HEAD")
    assert head.status == 200 and int(head.headers[b"content-length"]) > 0
    assert get(leader, "/v1/else").status == 400, "any other path is a command"


def test_the_admin_port_answers_the_same(leader: Served, replica: Served) -> None:
    know_each_other(leader, replica)

    def ask(path: str, token: str) -> tuple[int, Any]:
        request = Request(f"http://127.0.0.1:{replica.admin}{path}", headers={"Authorization": f"Bearer {token}"})
        try:
            with _opener.open(request, timeout=60) as response:
                return response.status, json.load(response)
        except HTTPError as refusal:
            return refusal.code, json.load(refusal)

    status, answer = ask("/v1/nearest?lag=100000", ADMIN_TOKEN)
    assert status == 200 and answer["node"] == "two"
    assert {row["name"] for row in answer["nodes"]} == {"one", "two"}
    assert ask("/v1/nearest", "wrong")[0] == 401
    assert ask("/v1/nearest?lag=x", ADMIN_TOKEN) == (400, {"error": "lag is a number of milliseconds"})


def test_a_node_that_refuses_reads_is_not_offered_as_a_place_to_read(leader: Served, replica: Served) -> None:
    know_each_other(leader, replica)

    async def answer() -> list[dict[str, Any]]:
        replica.running.node.read_refusal = TOO_STALE  # until the next message of the leader
        rows: list[dict[str, Any]] = replica.running.neighbours.answer("", "")["nodes"]
        return rows

    assert [(row["name"], row["state"]) for row in replica.await_(answer())] == [
        ("one", "streaming"),
        ("two", "disconnected"),
    ]
