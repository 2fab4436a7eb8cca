"""Idempotency-Key, ETag, If-Match and If-None-Match over REST, at the leader and at a replica."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.server.serving import READ_TOKEN, TOKEN, Served, config, position, rest
from upstash_global.protocol.tokens import SyncToken, decode_token, encode_token, sync_token_key

INCR = ["incr", "n"]


def get(served: Served, path: str, **headers: str) -> tuple[int, Any, dict[bytes, bytes]]:
    named = {"host": "x", "authorization": f"Bearer {TOKEN}"} | headers
    lines = [f"{name.replace('_', '-')}: {text}" for name, text in named.items()]
    with served.http() as wire:
        wire.send("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
        answer = wire.answer(has_body=True)
    return answer.status, json.loads(answer.body) if answer.body else None, answer.headers


# -- a request that runs once


@pytest.mark.parametrize(
    "path, value",
    [
        ("/", INCR),
        ("/pipeline", [INCR, ["get", "n"], ["nonsense"], ["get"], ["incr", "text"]]),
        ("/multi-exec", [INCR, ["get", "n"], ["incr", "text"]]),
    ],
)
def test_a_retry_gets_the_first_answer_at_any_node(leader: Served, replica: Served, path: str, value: object) -> None:
    rest(leader, ["set", "text", "x"])
    key = f"retry {path}".replace(" ", "-").replace("/", "_")
    status, first, headers = rest(replica, value, path, idempotency_key=key)
    assert status == 200
    head = leader.ask(lambda node: node.log.head)
    for served in (leader, replica, leader):
        assert rest(served, value, path, idempotency_key=key)[:2] == (200, first)
    assert leader.ask(lambda node: node.log.head) == head
    assert rest(leader, ["get", "n"])[1] == {"result": "1"}


def test_the_answer_of_a_pipeline_has_its_usual_form(replica: Served) -> None:
    rows = [["set", "k", "v"], ["nonsense"], ["get"], ["incr", "k"], ["get", "k"], ["blpop", "l", 0]]
    plain = rest(replica, rows, "/pipeline")[1]
    assert rest(replica, rows, "/pipeline", idempotency_key="usual")[1] == plain
    assert rest(replica, ["incr", "k"], idempotency_key="usual-error")[:2] == rest(replica, ["incr", "k"])[:2]
    encoded = rest(replica, ["set", "k", "w", "GET"], idempotency_key="usual-base64", upstash_encoding="base64")
    assert encoded[1] == {"result": "dg=="}


def test_another_request_with_the_same_key_is_refused(leader: Served, replica: Served) -> None:
    rest(leader, INCR, idempotency_key="mine")
    for served, value, path in ((leader, ["incr", "m"], "/"), (replica, [INCR], "/pipeline")):
        status, answer, _ = rest(served, value, path, idempotency_key="mine")
        assert status == 422 and answer["error"].startswith("KEYREUSED ")
    assert rest(leader, ["exists", "m"])[1] == {"result": 0}


def test_a_long_answer_is_not_given_twice(leader: Served) -> None:
    rest(leader, ["set", "big", "x" * 100_000])
    assert len(rest(leader, ["getdel", "big"], idempotency_key="long")[1]["result"]) == 100_000
    status, answer, _ = rest(leader, ["getdel", "big"], idempotency_key="long")
    assert status == 409 and answer["error"].startswith("ANSWERLOST ")


def test_a_request_that_did_not_run_may_run_later(leader: Served, replica: Served) -> None:
    replica.ask(lambda node: setattr(node.roles, "forward_is_open", False))
    status, answer, _ = rest(replica, INCR, idempotency_key="later")
    replica.ask(lambda node: setattr(node.roles, "forward_is_open", True))
    assert status == 503 and answer["error"].startswith("NOLEADER ")
    assert rest(replica, INCR, idempotency_key="later")[:2] == (200, {"result": 1})


def test_a_read_needs_no_memory(leader: Served) -> None:
    head = leader.ask(lambda node: node.log.head)
    assert rest(leader, ["get", "n"], idempotency_key="read")[:2] == (200, {"result": None})
    assert leader.ask(lambda node: node.log.head) == head


@pytest.mark.parametrize("key", ["x" * 256, "two words", "ä"])
def test_keys_that_are_none(leader: Served, key: str) -> None:
    assert rest(leader, INCR, idempotency_key=key)[0] == 400


def test_what_is_about_no_data_cannot_run_once(leader: Served) -> None:
    status, answer, _ = rest(leader, [INCR, ["ping"]], "/pipeline", idempotency_key="ping")
    assert (status, answer["error"][:11]) == (400, "ERR 'ping' ")
    assert rest(leader, ["exists", "n"])[1] == {"result": 0}


def test_the_read_only_token_is_refused_as_ever(leader: Served) -> None:
    reader = f"Bearer {READ_TOKEN}"
    status, answer, _ = rest(leader, INCR, idempotency_key="ro", authorization=reader)
    assert status == 400 and answer["error"].startswith("NOPERM ")


def test_a_request_is_remembered_after_a_restart(tmp_path: Path) -> None:
    settings = config()
    with Served(tmp_path, settings) as served:
        assert rest(served, INCR, idempotency_key="kept")[:2] == (200, {"result": 1})
    with Served(tmp_path, settings) as served:
        assert rest(served, INCR, idempotency_key="kept")[:2] == (200, {"result": 1})
        assert rest(served, INCR)[1] == {"result": 2}


# -- whether something has changed


def named_by(tag: bytes) -> tuple[int, int]:
    token = decode_token(tag.strip(b'"').decode(), "test", sync_token_key("peers"))
    assert token is not None
    return token.epoch, token.lsn


@pytest.mark.parametrize("lsn", ["0", "1", "5000000", str(2**64 - 1)])
def test_a_made_up_position_is_no_validator_and_becomes_no_token(leader: Served, replica: Served, lsn: str) -> None:
    _, _, headers = rest(leader, ["set", "k", "v"])
    head = position(headers)
    forged = encode_token(SyncToken(head[0], int(lsn)), "test", sync_token_key("not the secret of this cluster"))
    for tag in (f'"{head[0]}-{lsn}"', f'"{forged}"'):
        for served in (leader, replica):
            status, answer, headers = get(served, "/get/k", if_none_match=tag, upstash_consistency="leader")
            assert (status, answer) == (200, {"result": "v"})
            assert named_by(headers[b"upstash-sync-token"]) == position(headers) == head
            status, _, headers = rest(served, ["set", "k", "w"], if_match=tag)
            assert status == 412
            assert named_by(headers[b"upstash-sync-token"]) == head


def test_the_etag_of_a_read_is_the_position_of_its_receipt(leader: Served, replica: Served) -> None:
    rest(leader, ["set", "k", "v"])
    for served in (leader, replica):
        for consistency in ("session", "leader"):
            _, _, headers = get(served, "/get/k", upstash_consistency=consistency)
            assert named_by(headers[b"etag"]) == position(headers)
    assert b"etag" not in rest(leader, ["set", "k", "v"])[2]
    assert b"etag" not in rest(leader, [["get", "k"], ["set", "k", "v"]], "/pipeline")[2]
    assert b"etag" in rest(leader, [["get", "k"], ["exists", "k"]], "/multi-exec")[2]


def test_an_unchanged_read_is_not_sent_again(leader: Served, replica: Served) -> None:
    rest(leader, ["set", "k", "v"])
    tag = get(leader, "/get/k")[2][b"etag"].decode()
    rest(leader, ["set", "other", "x"])
    for served in (leader, replica):
        status, answer, headers = get(served, "/get/k", if_none_match=tag)
        assert (status, answer) == (304, None)
        assert position(headers)[1] >= named_by(tag.encode())[1]
        assert get(served, "/get/k", if_none_match=f"W/{tag}")[0] == 304
        assert get(served, "/get/k", if_none_match='"unknown"')[0] == 200
        assert get(served, "/keys/k", if_none_match=tag)[0] == 200
        assert get(served, "/incr/n", if_none_match=tag)[0] == 200
    _, _, headers = rest(leader, ["append", "k", "w"])
    for served in (leader, replica):
        newest = headers[b"upstash-sync-token"].decode()
        status, answer, _ = get(served, "/get/k", if_none_match=tag, upstash_sync_token=newest)
        assert (status, answer) == (200, {"result": "vw"})


def test_a_read_with_an_etag_is_never_older(leader: Served, replica: Served) -> None:
    """The tag comes from the leader; the replica serves it once it is there, or asks the leader."""
    for n in range(50):
        rest(leader, ["set", "k", n])
        tag = get(leader, "/get/k")[2][b"etag"].decode()
        status, answer, _ = get(replica, "/get/k", if_none_match=tag)
        assert status == 304 or answer == {"result": str(n)}


def test_expiry_counts_as_a_change(leader: Served) -> None:
    rest(leader, ["set", "k", "v", "PX", 60_000])
    tag = get(leader, "/get/k")[2][b"etag"].decode()
    assert get(leader, "/get/k", if_none_match=tag)[0] == 304
    leader.ask(lambda node: node.engine.keyspace.deadlines.update({b"k": node.now_ms - 1}))
    assert get(leader, "/get/k", if_none_match=tag)[:2] == (200, {"result": None})


@pytest.mark.parametrize("path, value", [("/", ["set", "k", "w"]), ("/multi-exec", [["set", "k", "w"], ["get", "k"]])])
def test_a_write_happens_only_if_nothing_changed(leader: Served, replica: Served, path: str, value: object) -> None:
    for served in (leader, replica):
        rest(leader, ["set", "k", "v"])
        stale = get(leader, "/get/k")[2][b"etag"].decode()
        rest(leader, ["set", "k", "v2"])
        status, answer, _ = rest(served, value, path, if_match=stale)
        assert (status, answer) == (412, {"error": "ERR precondition failed: a key has changed since; not executed"})
        assert rest(leader, ["get", "k"])[1] == {"result": "v2"}
        fresh = get(leader, "/get/k")[2][b"etag"].decode()
        rest(leader, ["set", "other", "x"])
        assert rest(served, value, path, if_match=fresh)[0] == 200
        assert rest(leader, ["get", "k"])[1]["result"].startswith("w")
        assert rest(served, value, path, if_match=fresh)[0] == 412


def test_a_key_may_be_made_only_if_nobody_made_it(leader: Served, replica: Served) -> None:
    tag = get(replica, "/get/new", upstash_consistency="leader")[2][b"etag"].decode()
    assert rest(replica, ["set", "new", "mine"], if_match=tag)[0] == 200
    assert rest(replica, ["set", "new", "theirs"], if_match=tag)[0] == 412


@pytest.mark.parametrize("tag", ['"1-1"', '"99999999999999999999-1"', "anything", '"18446744073709551615-5"'])
def test_tags_of_no_history_match_nothing(leader: Served, replica: Served, tag: str) -> None:
    for served in (leader, replica):
        assert rest(served, ["set", "k", "v"], if_match=tag)[0] == 412


def test_where_if_match_has_no_meaning(leader: Served) -> None:
    assert rest(leader, [["set", "k", "v"]], "/pipeline", if_match='"1-1"')[0] == 400
    assert rest(leader, ["flushall"], if_match='"1-1"')[0] == 400
    assert rest(leader, ["ping"], if_match='"1-1"')[0] == 400


def test_a_retry_is_answered_before_its_precondition_is_asked(leader: Served, replica: Served) -> None:
    tag = get(replica, "/get/k", upstash_consistency="leader")[2][b"etag"].decode()
    for served in (replica, leader, replica):
        answer = rest(served, ["incr", "k"], if_match=tag, idempotency_key="both")
        assert answer[:2] == (200, {"result": 1})


def test_counting_with_preconditions_loses_nothing(leader: Served, replica: Served) -> None:
    """Two clients read, add one and write if nothing changed, at both nodes; each tries until it has added 20."""
    added = {"leader": 0, "replica": 0}
    while min(added.values()) < 20:
        for name, served in (("leader", leader), ("replica", replica)):
            _, answer, headers = get(served, "/get/n")
            following = int(answer["result"] or 0) + 1
            status, _, _ = rest(served, ["set", "n", following], if_match=headers[b"etag"].decode())
            added[name] += status == 200
    assert int(rest(leader, ["get", "n"])[1]["result"]) == sum(added.values())
