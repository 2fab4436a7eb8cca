"""The edge over HTTP: a real node, a real edge, the real link between them."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import aiohttp
import pytest

from tests.edge.serving import ServedEdge, request_bytes, with_edge
from tests.server.serving import ADMIN_TOKEN, READ_TOKEN, TOKEN, config, wait_for
from upstash_global.edge.upstream import Answer, whole

_opener = build_opener(ProxyHandler({}))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedEdge]:
    with ServedEdge(tmp_path_factory.mktemp("node"), with_edge()) as served:
        yield served


@pytest.fixture
def served(shared: ServedEdge) -> ServedEdge:
    """No keys, an empty cache, and an edge that is level with its node."""
    with shared.node.redis() as client:
        client.flushall()
        client.set("k", "old")
        client.rpush("l", "a")
    shared.level()
    shared.ask(lambda edge: edge.cache.drop_all())
    return shared


def result(body: bytes) -> Any:
    return json.loads(body)["result"]


# -- hits and misses --------------------------------------------------------------------------------------------------


def test_the_first_read_is_a_miss_and_the_next_a_hit(served: ServedEdge) -> None:
    first = served.request("GET", "/get/k")
    second = served.request("GET", "/get/k")
    assert first.body == second.body == b'{"result":"old"}'
    assert first.headers[b"x-cache"] == b"Miss from edge"
    assert second.headers[b"x-cache"] == b"Hit from edge"
    assert b"age" not in first.headers and second.headers[b"age"] == b"0"
    assert second.headers[b"cache-control"] == b"no-cache", "caches behind this one do not hear of writes"
    assert second.headers[b"content-type"] == first.headers[b"content-type"]
    assert b"upstash-edge" not in first.headers


def test_a_write_anywhere_ends_a_reply(served: ServedEdge) -> None:
    served.get("/strlen/k")
    assert served.get("/strlen/k") == ("hit", b'{"result":3}')
    with served.node.redis() as client:
        client.set("k", "longer")
    served.level()
    assert served.get("/strlen/k") == ("miss", b'{"result":6}')


FORMS = [
    {},
    {"upstash_encoding": "base64"},
    {"upstash_response_format": "resp2"},
    {"authorization": f"Bearer {READ_TOKEN}"},
]


@pytest.mark.parametrize("form", FORMS, ids=["plain", "base64", "resp2", "another token"])
@pytest.mark.parametrize("value", [b"new", b'"\\\n', "ü".encode(), b"\xff\x00", b"", None])
def test_a_value_that_the_log_says_is_answered_as_the_node_would(
    served: ServedEdge, form: dict[str, str], value: bytes | None
) -> None:
    before = served.request("GET", "/get/k", None, **form)
    with served.node.redis() as client:
        if value is None:
            client.delete("k")
        else:
            client.set("k", value)
    head = served.level()
    renewed = served.request("GET", "/get/k", None, **form)
    with served.node.http() as wire:
        fresh = wire.send(request_bytes("GET", "/get/k", None, **form)).answer()
    assert renewed.headers[b"upstash-edge-cache"] == b"hit"
    assert (renewed.status, renewed.body) == (fresh.status, fresh.body)
    for name in (b"content-type", b"etag", b"upstash-region", b"upstash-position", b"upstash-sync-token"):
        assert renewed.headers[name] == fresh.headers[name]
    assert renewed.headers[b"upstash-position"] == b"%d-%d" % (head.epoch, head.lsn)
    assert renewed.headers[b"etag"] != before.headers[b"etag"]
    assert served.request("GET", "/get/k", None, **form).body == fresh.body


@pytest.mark.parametrize("path", ["/exists/k", "/mget/k/other", "/strlen/k", "/keys/*", "/dbsize", "/scan/0"])
def test_flushall_ends_every_reply(served: ServedEdge, path: str) -> None:
    before = served.get(path)[1]
    assert served.get(path) == ("hit", before)
    with served.node.redis() as client:
        client.flushall()
    served.level()
    state, after = served.get(path)
    assert state == "miss" and after != before


def test_renames_and_scripts_end_replies(served: ServedEdge) -> None:
    served.get("/get/k")
    served.get("/get/other")
    with served.node.redis() as client:
        client.rename("k", "other")
    served.level()
    assert served.get("/get/k") == ("miss", b'{"result":null}')
    assert served.get("/get/other") == ("miss", b'{"result":"old"}')
    with served.node.redis() as client:
        client.eval("redis.call('APPEND', 'other', ' and scripted')", 0)
    served.level()
    assert served.get("/get/other") == ("miss", b'{"result":"old and scripted"}')


def test_a_reply_ends_when_its_key_expires(served: ServedEdge) -> None:
    with served.node.redis() as client:
        client.set("k", "short", px=300)
    served.level()
    wait_for(lambda: served.get("/get/k") == ("hit", b'{"result":null}'))


# -- what is not kept, or not for everybody ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ttl/k", "/randomkey", "/set/a/b", "/incr/n", "/ping", "/echo/a", "/time"])
def test_what_is_no_plain_read_is_passed_on(served: ServedEdge, path: str) -> None:
    assert [served.get(path)[0] for _ in range(2)] == ["bypass", "bypass"]
    assert served.ask(lambda edge: len(edge.cache.replies)) == 0


def test_errors_are_not_kept(served: ServedEdge) -> None:
    for _ in range(2):
        answer = served.request("GET", "/get/l")
        assert answer.status == 400 and b"WRONGTYPE" in answer.body
        assert answer.headers[b"x-cache"] == b"Miss from edge"
    assert served.request("GET", "/nosuch/k").status == 400
    assert served.request("GET", "/get").status == 400


def test_a_hit_is_only_for_whom_the_node_has_answered(served: ServedEdge) -> None:
    assert served.get("/get/k")[0] == "miss"
    assert served.get("/get/k", authorization=f"Bearer {READ_TOKEN}")[0] == "miss"
    assert served.get("/get/k", authorization=f"Bearer {READ_TOKEN}")[0] == "hit"
    for wrong in ("Bearer wrong", ""):
        for _ in range(2):
            assert served.request("GET", "/get/k", authorization=wrong).status == 401
    assert served.request("GET", "/keys/*").status == 200
    assert served.request("GET", "/keys/*", authorization=f"Bearer {READ_TOKEN}").status == 400


def test_a_user_that_is_no_more_gets_no_hit(served: ServedEdge) -> None:
    with served.node.redis() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~k", "+@read")
        token = client.execute_command("ACL", "RESTTOKEN", "reader", "secret").decode()
        served.level()
        assert [served.get("/get/k", authorization=f"Bearer {token}")[0] for _ in range(2)] == ["miss", "hit"]
        client.execute_command("ACL", "DELUSER", "reader")
    served.level()
    assert served.request("GET", "/get/k", authorization=f"Bearer {token}").status == 401


def test_a_token_in_the_query_is_the_same_token(served: ServedEdge) -> None:
    assert served.get(f"/get/k?_token={TOKEN}", authorization="")[0] == "miss"
    assert served.get(f"/get/k?_token={TOKEN}", authorization="")[0] == "hit"
    assert served.get("/get/k")[0] == "hit"
    assert served.request("GET", "/get/k?_token=wrong", authorization="").status == 401


def test_each_form_of_a_reply_is_kept_for_itself(served: ServedEdge) -> None:
    forms: list[Any] = [{}, {"upstash_encoding": "base64"}, {"upstash_response_format": "resp2"}]
    bodies = [served.get("/get/k", **form) for form in forms]
    assert [state for state, _ in bodies] == ["miss"] * 3
    assert [body for _, body in bodies] == [b'{"result":"old"}', b'{"result":"b2xk"}', b"$3\r\nold\r\n"]
    assert [served.get("/get/k", **form) for form in forms] == [("hit", body) for _, body in bodies]


def test_posts_and_pipelines_are_passed_on(served: ServedEdge) -> None:
    answer = served.request("POST", "/pipeline", b'[["SET","p","1"],["GET","p"]]')
    assert json.loads(answer.body) == [{"result": "OK"}, {"result": "1"}]
    assert answer.headers[b"x-cache"] == b"Miss from edge"
    assert json.loads(served.request("POST", "/", b'["GET","p"]').body) == {"result": "1"}
    assert result(served.request("POST", "/set/p", b"a body").body) == "OK"
    assert served.request("POST", "/multi-exec", b'[["GET","p"]]').body == b'[{"result":"a body"}]'
    assert served.request("HEAD", "/get/p").status == 200
    assert served.request("DELETE", "/get/p").status == 405
    assert served.request("OPTIONS", "/get/p", authorization="").headers[b"access-control-allow-methods"]


@pytest.mark.parametrize("key", ["a%20b", "a%2Fb", "%C3%A9", "a+b", "%23", "a%2523"])
def test_keys_of_all_kinds_mean_the_same_as_at_the_node(served: ServedEdge, key: str) -> None:
    assert served.get(f"/set/{key}/through-the-edge")[0] == "bypass"
    with served.node.http() as wire:
        direct = wire.send(request_bytes("GET", f"/get/{key}")).answer()
    assert result(direct.body) == "through-the-edge"
    assert [served.get(f"/get/{key}")[1] for _ in range(2)] == [direct.body] * 2


def test_a_raw_sign_in_the_path_reaches_the_node_as_it_is(served: ServedEdge) -> None:
    for path in ("/echo/a#b", "/echo/a%23#b", "/echo//x", "/echo/a?b=c"):
        with served.node.http() as wire:
            direct = wire.send(request_bytes("GET", path)).answer()
        assert served.request("GET", path).body == direct.body, path


def test_strangers_of_one_address_are_bounded_at_the_edge_and_are_not_counted_at_the_node(tmp_path: Path) -> None:
    with ServedEdge(tmp_path, with_edge(settings=config(max_clients_per_address=2))) as served, ExitStack() as stack:
        wrong = request_bytes("GET", "/get/k", authorization="Bearer wrong")
        strangers = [stack.enter_context(served.http()) for _ in range(2)]
        assert [wire.send(wrong).answer().status for wire in strangers] == [401, 401]
        assert served.request("GET", "/get/k").status == 429
        assert strangers[0].send(request_bytes("GET", "/get/k")).answer().status == 200
        for _ in range(3):
            assert served.request("GET", "/get/k").status == 200
        assert served.node.ask(lambda node: node.metrics.n_rejected_connections) == 0


def test_failed_logins_through_an_edge_are_counted_there_and_its_other_clients_go_on(tmp_path: Path) -> None:
    settings = with_edge(settings=config(failed_logins_per_minute=3))
    with ServedEdge(tmp_path, settings) as served, served.http() as known, served.http() as guessing:
        right = request_bytes("GET", "/get/k")
        wrong = request_bytes("GET", "/get/k", authorization="Bearer wrong")
        assert known.send(right).answer().status == guessing.send(right).answer().status == 200
        assert [guessing.send(wrong).answer().status for _ in range(3)] == [401] * 3
        assert guessing.read_all() == b""  # cut off, although it had shown a token that is right
        assert served.request("GET", "/get/k").status == 429
        assert known.send(right).answer().status == 200
        assert served.node.ask(lambda node: node.permissions.logins.of_address) == {}


def test_wrong_admin_tokens_are_bounded(tmp_path: Path) -> None:
    with ServedEdge(tmp_path, with_edge(settings=config(failed_logins_per_minute=2))) as served:
        assert [admin(served, "/v1/status", token="wrong")[0] for _ in range(3)] == [401, 401, 429]
        assert admin(served, "/v1/status")[0] == 429
        assert admin(served, "/readyz", token="wrong")[0] == 200  # a probe on loopback needs none


# -- Cache-Control ----------------------------------------------------------------------------------------------------


def test_no_cache_is_for_one_request(served: ServedEdge) -> None:
    served.get("/get/k")
    assert served.get("/get/k", cache_control="no-cache")[0] == "bypass"
    assert served.get("/get/k")[0] == "hit"
    served.get("/strlen/k", cache_control="no-cache")
    assert served.get("/strlen/k")[0] == "miss"


def test_a_reply_outlives_its_time_only_where_the_request_allows_that(served: ServedEdge) -> None:
    served.get("/get/k", cache_control="max-age=20")
    served.ask(lambda edge: age_all(edge.cache, 21_000))
    assert served.get("/get/k", cache_control="stale-while-revalidate=5") == ("stale", b'{"result":"old"}')
    wait_for(lambda: served.get("/get/k")[0] == "hit")  # the new one was fetched meanwhile
    served.ask(lambda edge: age_all(edge.cache, 31_000))
    assert served.get("/get/k")[0] == "miss"


def age_all(cache: Any, ms: int) -> None:
    for kept in cache.replies.values():
        kept.stored_ms -= ms


# -- consistency ------------------------------------------------------------------------------------------------------


def test_what_was_written_through_the_edge_is_read_there_at_once(served: ServedEdge) -> None:
    """Whether the edge has heard of it or not, and without a token."""
    for n in range(30):
        served.get("/get/k")
        assert served.get(f"/set/k/{n}")[0] == "bypass"
        assert served.get("/get/k")[1] == b'{"result":"%d"}' % n


def test_the_answer_of_an_earlier_write_takes_nothing_back(served: ServedEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writes of one token are answered in the other order: what is owed is the later one."""
    gate = served.ask(lambda edge: asyncio.Event())

    async def hold_the_first(response: aiohttp.ClientResponse) -> Answer:
        answer = await whole(response)
        if response.url.path == "/set/k/first":
            await gate.wait()
        return answer

    monkeypatch.setattr("upstash_global.edge.app.whole", hold_the_first)
    with unfollowed(served), served.http() as earlier, served.http() as later:
        earlier.send(request_bytes("GET", "/set/k/first"))
        wait_for(lambda: served.node.ask(lambda node: node.engine.keyspace.values.get(b"k")) == b"first")
        head = later.send(request_bytes("GET", "/set/k/second")).answer().headers[b"upstash-position"]
        served.ask(lambda edge: gate.set())
        assert earlier.answer().status == 200
        owed = served.ask(lambda edge: list(edge.listener.owed.values()))
    assert [b"%d-%d" % (position.epoch, position.lsn) for position in owed] == [head]


def test_a_token_that_the_edge_has_not_reached_goes_to_the_node(served: ServedEdge) -> None:
    served.get("/get/k")
    with unfollowed(served):
        with served.node.http() as wire:
            written = wire.send(request_bytes("GET", "/set/k/new")).answer()
        token = written.headers[b"upstash-sync-token"].decode()
        assert served.get("/get/k") == ("hit", b'{"result":"old"}'), "it cannot know better"
        assert served.get("/get/k", upstash_sync_token=token) == ("bypass", b'{"result":"new"}')
        assert served.get("/get/k", upstash_sync_token="made up") == ("bypass", b'{"result":"new"}')
    served.level()
    assert served.get("/get/k", upstash_sync_token=token) == ("hit", b'{"result":"new"}')


def test_a_scoped_token_counts_at_the_edge_by_the_newest_of_its_keys(served: ServedEdge) -> None:
    scope = "session; scope=key"
    served.request("GET", "/set/k/old")
    served.level()
    assert [served.get("/get/k", upstash_consistency=scope)[0] for _ in range(2)] == ["miss", "hit"]
    with unfollowed(served):
        with served.node.http() as wire:
            written = wire.send(request_bytes("GET", "/set/other/new", upstash_consistency=scope)).answer()
        token = written.headers[b"upstash-sync-token"].decode()
        assert served.get("/get/k", upstash_sync_token=token, upstash_consistency=scope)[0] == "bypass"
    served.level()
    assert served.get("/get/k", upstash_sync_token=token, upstash_consistency=scope)[1] == b'{"result":"old"}'


class unfollowed:
    """The edge hears nothing of the log meanwhile."""

    def __init__(self, served: ServedEdge) -> None:
        self.served = served

    def __enter__(self) -> None:
        self.served.ask(lambda edge: edge.following.links.unfollow())
        self.served.wait(lambda edge: edge.state_name == "disconnected")

    def __exit__(self, *failure: object) -> None:
        grpc = str(self.served.node.config.node("one").grpc)
        self.served.ask(lambda edge: edge.following.links.follow("one", grpc))
        self.served.wait(lambda edge: edge.state_name == "streaming")


def test_a_hit_brings_a_token_of_what_the_edge_has_applied(served: ServedEdge) -> None:
    """With it, no other node may answer from before what this client has seen."""
    served.get("/get/k")
    with served.node.redis() as client:
        client.set("other", "1")
    served.level()
    hit = served.request("GET", "/get/k")
    assert hit.headers[b"upstash-edge-cache"] == b"hit"
    with served.node.http() as wire:
        read = wire.send(request_bytes("GET", "/get/other")).answer()
    assert hit.headers[b"upstash-sync-token"] == read.headers[b"upstash-sync-token"]
    assert hit.headers[b"upstash-position"] == read.headers[b"upstash-position"]
    assert hit.headers[b"upstash-region"] == b"us-east-1"
    assert 0 <= int(hit.headers[b"upstash-staleness-ms"]) < 60_000


def test_what_a_request_must_not_ask_the_node_says(served: ServedEdge) -> None:
    answer = served.request("GET", "/get/k", upstash_consistency="nonsense")
    assert answer.status == 400 and answer.headers[b"upstash-edge-cache"] == b"bypass"


def test_who_asks_for_eventual_does_not_wait_for_a_token(served: ServedEdge) -> None:
    served.get("/get/k")
    assert served.get("/get/k", upstash_consistency="eventual", upstash_sync_token="made up")[0] == "hit"


def test_the_default_of_a_token_counts_at_the_edge_too(tmp_path: Path) -> None:
    settings = with_edge()
    reads = replace(settings.consistency, default="leader", read_only="eventual")
    with ServedEdge(tmp_path, replace(settings, consistency=reads)) as served:
        assert [served.get("/get/k")[0] for _ in range(2)] == ["bypass", "bypass"]
        reader = f"Bearer {READ_TOKEN}"
        assert [served.get("/get/k", authorization=reader)[0] for _ in range(2)] == ["miss", "hit"]
        assert served.get("/get/k", upstash_consistency="session")[0] == "miss"


@pytest.mark.parametrize(
    ("consistency", "state"),
    [("eventual", "hit"), ("session", "hit"), ("leader", "bypass"), ("bounded; max-staleness-ms=60000", "hit")]
    + [("bounded; max-staleness-ms=0", "bypass")],
)
def test_a_request_says_how_fresh_it_has_to_be(served: ServedEdge, consistency: str, state: str) -> None:
    served.get("/get/k")
    assert (
        served.request("GET", "/get/k", upstash_consistency=consistency).headers[b"upstash-edge-cache"]
        == state.encode()
    )


def test_who_asks_at_the_same_time_shares_one_question(served: ServedEdge) -> None:
    before = served.node.ask(lambda node: node.metrics.n_http_requests)
    with ThreadPoolExecutor(20) as threads:
        bodies = set(threads.map(lambda _: served.get("/get/k")[1], range(200)))
    asked = served.node.ask(lambda node: node.metrics.n_http_requests) - before
    assert bodies == {b'{"result":"old"}'} and asked == 1


def test_no_reader_of_an_edge_goes_back_in_time(served: ServedEdge) -> None:
    """One writer counts up at the node; readers at the edge, each with its own connection, never see a smaller number."""
    n_writes = 300

    def read(_: int) -> list[int]:
        with served.http() as wire:
            seen = [0]
            while seen[-1] < n_writes:
                answer = wire.send(request_bytes("GET", "/get/counter")).answer()
                seen.append(int(result(answer.body) or 0))
            return seen

    with ThreadPoolExecutor(4) as threads, served.node.redis() as client:
        readers = [threads.submit(read, n) for n in range(4)]
        for _ in range(n_writes):
            client.incr("counter")
        for reader in readers:
            seen = reader.result(60)
            assert seen == sorted(seen)


# -- events, and a node that is away ----------------------------------------------------------------------------------


def test_events_are_passed_on_as_they_come(served: ServedEdge) -> None:
    with served.http() as wire, served.node.redis() as client:
        wire.send(request_bytes("GET", "/subscribe/news"))
        head = wire.read_until(b"\r\n\r\n")
        assert b"text/event-stream" in head and b"Miss from edge" in head
        assert wire.chunk() == b"data: subscribe,news,1\n\n"
        client.publish("news", "hello")
        assert wire.chunk() == b"data: message,news,hello\n\n"
    wait_for(lambda: served.node.ask(lambda node: len(node.pubsub.channels.get(b"news", ()))) == 0)


def test_without_its_node_an_edge_says_so(tmp_path: Path) -> None:
    with ServedEdge(tmp_path, with_edge()) as served:
        served.get("/set/k/kept")
        served.level()
        served.get("/get/k", cache_control="max-age=20")
        served.node.ask(lambda node: None)
        served.node.await_(close_rest(served))
        assert served.get("/get/k") == ("hit", b'{"result":"kept"}')
        served.ask(lambda edge: age_all(edge.cache, 21_000))
        answer = served.request("GET", "/get/k")
        assert answer.status == 503 and answer.headers[b"retry-after"] == b"1"
        assert served.get("/get/k", cache_control="stale-if-error=60") == ("stale", b'{"result":"kept"}')
        assert served.request("GET", "/set/a/b").status == 503
        assert served.request("POST", "/", b'["SET","a","b"]').status == 503


async def close_rest(served: ServedEdge) -> None:
    """The node's REST port is gone, and with it every connection to it."""
    rest = served.node.running.rest
    rest.stop_accepting()
    for connection in list(rest.connections):
        connection.cut()


def test_while_the_log_is_away_for_too_long_nothing_is_kept(tmp_path: Path) -> None:
    with ServedEdge(tmp_path, with_edge(max_staleness_ms=1000)) as served:
        served.get("/set/k/v")
        served.level()
        served.get("/get/k")
        with unfollowed(served):
            served.wait(lambda edge: not edge.cache.replies)
            assert [served.get("/get/k")[0] for _ in range(2)] == ["bypass", "bypass"]
        wait_for(lambda: served.get("/get/k")[0] == "hit")


# -- the mode of 2021 -------------------------------------------------------------------------------------------------


def test_without_the_log_a_reply_is_served_until_its_time_is_over(tmp_path: Path) -> None:
    with ServedEdge(tmp_path, with_edge("ttl")) as served:
        written = served.request("GET", "/set/k/old")
        assert [served.get("/get/k")[0] for _ in range(2)] == ["miss", "hit"]
        assert served.request("GET", "/get/k").headers[b"cache-control"].startswith(b"private, max-age=")
        rewritten = served.request("GET", "/set/k/new")
        old, new = (each.headers[b"upstash-sync-token"].decode() for each in (written, rewritten))
        assert served.get("/get/k") == ("hit", b'{"result":"old"}')
        assert served.get("/get/k", upstash_sync_token=old) == ("hit", b'{"result":"old"}')
        assert served.get("/get/k", upstash_sync_token=new) == ("miss", b'{"result":"new"}')
        assert served.get("/get/k", upstash_sync_token=new) == ("hit", b'{"result":"new"}')


# -- the admin port ---------------------------------------------------------------------------------------------------


def admin(served: ServedEdge, path: str, body: Any = None, token: str = ADMIN_TOKEN) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"http://{served.me.admin}{path}", data, {"Authorization": f"Bearer {token}"})
    try:
        with _opener.open(request, timeout=30) as response:
            text = response.read().decode()
            return response.status, json.loads(text) if text[:1] == "{" else text
    except HTTPError as refusal:
        return refusal.code, json.loads(refusal.read())


def test_the_admin_port_tells_how_the_cache_does(served: ServedEdge) -> None:
    before = admin(served, "/v1/status")[1]
    served.get("/get/k")
    served.get("/get/k")
    status = admin(served, "/v1/status")[1]
    assert (status["role"], status["state"], status["upstream"]) == ("edge", "streaming", "one")
    assert (status["hits"] - before["hits"], status["misses"] - before["misses"], status["replies"]) == (1, 1, 1)
    assert 0 < status["bytes"] < status["capacity_bytes"] and status["lag_entries"] == 0
    assert admin(served, "/readyz") == (200, "ready\n")
    metrics = admin(served, "/metrics")[1]
    assert f"upstash_global_edge_hits_total {status['hits']}.0" in metrics
    assert "upstash_global_edge_following 1.0" in metrics
    assert admin(served, "/v1/status", token="wrong")[0] == 401


def test_replies_can_be_purged(served: ServedEdge) -> None:
    def fill() -> None:
        for key in ("user:1", "user:2", "page:1"):
            served.get(f"/get/{key}")

    fill()
    assert admin(served, "/v1/purge", {"key": "user:1"}) == (200, {"dropped": 1})
    assert admin(served, "/v1/purge", {"prefix": "user:"}) == (200, {"dropped": 1})
    assert served.get("/get/page:1")[0] == "hit"
    fill()
    assert admin(served, "/v1/purge", {"all": True}) == (200, {"dropped": 3})
    assert admin(served, "/v1/purge", {})[0] == 400
    assert admin(served, "/v1/purge", {"all": True}, token="wrong")[0] == 401


def test_the_node_counts_the_edge_as_a_follower_but_not_as_a_replica(served: ServedEdge) -> None:
    followers = served.node.ask(lambda node: node.status()["followers"])
    assert [(each["name"], each["purpose"], each["state"]) for each in followers] == [("edge", "edge", "streaming")]
    assert served.node.ask(lambda node: node.roles.n_replicas_at(0)) == 0


def test_the_list_of_nodes_is_passed_on_and_never_kept(served: ServedEdge) -> None:
    """The edge's own place counts for nothing there: its node answers, each time."""
    for _ in range(2):
        answer = served.request("GET", "/v1/nearest")
        assert answer.status == 200
        assert answer.headers[b"upstash-edge-cache"] == b"bypass"
        told = json.loads(answer.body)
        assert [(row["name"], row["edges"]) for row in told["nodes"]] == [
            ("one", [f"http://127.0.0.1:{served.me.listen.port}"])
        ]


def test_a_bug_of_the_edge_answers_500_and_closes(served: ServedEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(served.edge.listener.upstream, "pass_on", fail)
    with served.http() as wire:
        wire.send(request_bytes("GET", "/set/k/v"))
        answer = wire.answer()
        assert (answer.status, json.loads(answer.body)) == (500, {"error": "ERR internal error"})
        assert wire.read_all() == b""


def test_connect_gets_one_answer(served: ServedEdge) -> None:
    with served.http() as wire:
        wire.send(request_bytes("CONNECT", "example.com:443"))
        assert wire.answer().status == 405
        assert wire.read_all() == b""


@pytest.mark.parametrize("path", ["/get/k", "/get", "/get/k?_token=wrong"])
def test_head_says_how_long_the_answer_to_get_is(served: ServedEdge, path: str) -> None:
    told, answer = served.request("GET", path), served.request("HEAD", path)
    assert (answer.status, answer.body) == (told.status, b"")
    assert answer.headers[b"content-length"] == b"%d" % len(told.body)


def test_hits_do_not_count_towards_the_allowance_of_a_token(tmp_path: Path) -> None:
    with ServedEdge(tmp_path, with_edge(settings=config(rest_commands_per_s=1000))) as served:
        allowances = served.node.running.rest.allowances
        assert served.get("/get/k")[0] == "miss"
        counted = dict(allowances.left)
        assert len(counted) == 1
        assert {served.get("/get/k")[0] for _ in range(30)} == {"hit"}
        assert allowances.left == counted
        assert served.get("/set/k/v")[0] == "bypass"
        assert allowances.left != counted and allowances.left.keys() == counted.keys()
