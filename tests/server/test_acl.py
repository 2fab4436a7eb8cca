"""Users over real connections: redis-py's ACL commands, and tokens of ACL users as bearer tokens of REST."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.server.serving import LIMIT_S, TOKEN, Served, config, wait_for
from tests.server.test_rest import Client


@pytest.fixture
def admin(served: Served) -> Iterator["redis.Redis"]:
    with served.redis(decode_responses=True) as client:
        yield client
        for name in client.acl_users():
            if not name.startswith("default"):
                client.acl_deluser(name)
        client.acl_log_reset()


def as_user(served: Served, name: str, password: str, **options: Any) -> "redis.Redis":
    return redis.Redis(
        host="127.0.0.1", port=served.resp, username=name, password=password, socket_timeout=LIMIT_S, **options
    )


def say(client: "redis.Redis", *words: str) -> Any:
    return client.execute_command(*words)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_manages_users(served: Served, admin: "redis.Redis", protocol: int) -> None:
    with served.redis(protocol=protocol, decode_responses=True) as client:
        assert client.acl_whoami() == "default"
        assert client.acl_setuser(
            "alice",
            enabled=True,
            reset=True,
            passwords=["+pw1", "+pw2"],
            categories=["+set", "+@hash", "-geo"],
            commands=["+get", "+mget", "-hset"],
            keys=["cache:*", "objects:*"],
            channels=["message:*"],
            selectors=[("+set", "%W~app*")],
        )
        user = client.acl_getuser("alice")
        assert user["enabled"] is True and len(user["passwords"]) == 2
        assert set(user["categories"]) == {"-@all", "+@set", "+@hash", "-@geo"}
        assert set(user["commands"]) == {"+get", "+mget", "-hset"}
        assert user["keys"] == ["~cache:*", "~objects:*"] and user["channels"] == ["&message:*"]
        assert user["selectors"] == [["commands", "-@all +set", "keys", "%W~app*", "channels", ""]] or user[
            "selectors"
        ] == [{"commands": "-@all +set", "keys": "%W~app*", "channels": ""}]
        assert client.acl_users() == ["alice", "default", "default_ro"]
        assert [line.split()[1] for line in client.acl_list()] == client.acl_users()
        assert "hash" in client.acl_cat() and "hget" in client.acl_cat("hash")
        assert client.acl_dryrun("alice", "get", "cache:1") == "OK"
        assert client.acl_dryrun("alice", "get", "other") == "User alice has no permissions to access the 'other' key"
        assert len(client.acl_genpass()) == 64 and len(client.acl_genpass(555)) == 139
        assert client.acl_save() and client.acl_load()
        assert client.acl_deluser("alice", "nobody") == 1
        assert client.acl_getuser("alice") is None


def test_redis_py_hears_what_it_may_not(served: Served, admin: "redis.Redis") -> None:
    admin.acl_setuser("alice", enabled=True, passwords=["+pw"], keys=["cache:*"], commands=["+get", "+set", "+client"])
    with as_user(served, "alice", "pw") as alice:
        assert alice.set("cache:0", 1) is True
        with pytest.raises(redis.exceptions.NoPermissionError):
            alice.get("violated_cache:0")
        with pytest.raises(redis.exceptions.NoPermissionError):
            alice.hset("cache:0", "a", 1)
        with pytest.raises(redis.exceptions.AuthenticationError):
            say(admin, "AUTH", "alice", "wrong")
        log = admin.acl_log()
        assert [(entry["reason"], entry["object"]) for entry in log] == [
            ("auth", "AUTH"), ("command", "hset"), ("key", "violated_cache:0"),
        ]  # fmt: skip
        info = log[1]["client-info"]
        assert isinstance(info, dict) and (info["cmd"], info["user"]) == ("hset", "alice")
        admin.acl_deluser("alice")
        with pytest.raises(redis.exceptions.ConnectionError):
            alice.get("cache:0")


def test_users_survive_a_restart(tmp_path: Path) -> None:
    settings = config()
    with Served(tmp_path, settings) as served, served.redis() as client:
        client.acl_setuser("alice", enabled=True, passwords=["+pw"], keys=["a*"], commands=["+set"])
    with Served(tmp_path, settings) as served, as_user(served, "alice", "pw") as alice:
        assert alice.set("a", 1) is True
        with pytest.raises(redis.exceptions.NoPermissionError):
            alice.set("b", 1)


# -- REST


@pytest.fixture
def http(served: Served) -> Iterator[Client]:
    with served.http() as wire:
        yield Client(wire)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


UNAUTHORIZED = 401


def test_a_rest_token_has_the_rights_of_its_user(http: Client, admin: "redis.Redis") -> None:
    admin.acl_setuser("alice", enabled=True, passwords=["+pw"], keys=["a*"], commands=["+get", "+set", "+acl|whoami"])
    status, told = http.get("/acl/resttoken/alice/pw")
    alice = bearer(told["result"])
    assert status == 200 and http.get("/acl/whoami", **alice) == (200, {"result": "alice"})
    assert http.get("/set/a/1", **alice) == (200, {"result": "OK"})
    assert http.get("/set/b/1", **alice) == (400, {"error": "NOPERM No permissions to access a key"})
    assert http.get("/del/a", **alice) == (
        400,
        {"error": "NOPERM User alice has no permissions to run the 'del' command"},
    )
    assert http.post("/pipeline", [["GET", "a"], ["GET", "b"]], **alice) == (
        200,
        [{"result": "1"}, {"error": "NOPERM No permissions to access a key"}],
    )


def test_rest_leaves_default_alone_and_resp_may_narrow_it(http: Client, admin: "redis.Redis") -> None:
    status, told = http.get("/acl/setuser/default/off")
    assert status == 400 and "cannot be changed over REST" in told["error"]
    say(admin, "ACL", "SETUSER", "default", "-lolwut")
    assert http.get("/lolwut")[1]["error"].startswith("NOPERM ")
    say(admin, "ACL", "SETUSER", "default", "+lolwut")
    assert http.get("/lolwut")[0] == 200


def test_a_transaction_of_a_token_is_whole_or_nothing(http: Client, admin: "redis.Redis") -> None:
    admin.acl_setuser("alice", enabled=True, passwords=["+pw"], keys=["a*"], commands=["+set"])
    alice = bearer(http.get("/acl/resttoken/alice/pw")[1]["result"])
    transaction = [["SET", "a", "1"]]
    refusal = "NOPERM User alice has no permissions to run the 'multi' command"
    assert http.post("/multi-exec", transaction, **alice) == (400, {"error": refusal})
    assert http.get("/get/a") == (200, {"result": None})
    admin.acl_setuser("alice", enabled=True, commands=["+multi"])
    assert http.post("/multi-exec", transaction, **alice)[0] == 400  # EXEC is missing
    admin.acl_setuser("alice", enabled=True, commands=["+exec"])
    assert http.post("/multi-exec", [*transaction, ["SET", "b", "1"]], **alice)[0] == 400
    assert http.get("/get/a") == (200, {"result": None})
    assert http.post("/multi-exec", transaction, **alice) == (200, [{"result": "OK"}])


def test_a_token_is_narrowed_and_revoked_with_its_user(http: Client, admin: "redis.Redis") -> None:
    admin.acl_setuser("alice", enabled=True, passwords=["+pw"], keys=["*"], commands=["+get", "+set"])
    alice = bearer(http.get("/acl/resttoken/alice/pw")[1]["result"])
    assert http.get("/set/a/1", **alice)[0] == 200
    admin.acl_setuser("alice", enabled=True, commands=["-set"])
    assert http.get("/set/a/1", **alice)[0] == 400
    admin.acl_setuser("alice", enabled=False)
    assert http.get("/get/a", **alice)[0] == UNAUTHORIZED
    admin.acl_setuser("alice", enabled=True, passwords=["-pw"])
    assert http.get("/get/a", **alice)[0] == UNAUTHORIZED


def test_a_removed_user_s_token_is_worth_nothing(served: Served, http: Client, admin: "redis.Redis") -> None:
    admin.acl_setuser("alice", enabled=True, passwords=["+pw"], keys=["*"], commands=["+get"], channels=["*"])
    say(admin, "ACL", "SETUSER", "alice", "+subscribe")
    token = http.get("/acl/resttoken/alice/pw")[1]["result"]
    with served.http() as wire:
        listener = Client(wire)
        listener.send("GET", "/subscribe/news", None, **bearer(token))
        wait_for(lambda: admin.pubsub_numsub("news") == [("news", 1)])
        admin.acl_deluser("alice")
        wait_for(lambda: admin.pubsub_numsub("news") == [("news", 0)])
    assert http.get("/get/a", **bearer(token))[0] == UNAUTHORIZED


def test_a_generated_token_is_a_rest_token_once_it_is_a_password(http: Client, admin: "redis.Redis") -> None:
    token = http.get("/acl/gentoken/bob")[1]["result"]
    assert http.get("/acl/whoami", **bearer(token))[0] == UNAUTHORIZED
    say(admin, "ACL", "SETUSER", "bob", "on", f">{token}", "+acl|whoami")
    assert http.get("/acl/whoami", **bearer(token)) == (200, {"result": "bob"})


def test_a_rest_client_may_remove_its_own_user(http: Client, admin: "redis.Redis") -> None:
    admin.acl_setuser("alice", enabled=True, passwords=["+pw"], categories=["+@all"])
    alice = bearer(http.get("/acl/resttoken/alice/pw")[1]["result"])
    assert http.get("/acl/deluser/alice", **alice) == (200, {"result": 1})
    assert http.get("/ping", **bearer(TOKEN)) == (200, {"result": "PONG"})


@pytest.mark.parametrize("wrong", ["alice/no", "bob/pw"])
def test_a_wrong_password_makes_no_token(http: Client, admin: "redis.Redis", wrong: str) -> None:
    admin.acl_setuser("alice", enabled=True, passwords=["+pw"])
    told = f'ERR Wrong password or user "{wrong.partition("/")[0]}" does not exist'
    assert http.get(f"/acl/resttoken/{wrong}") == (400, {"error": told})
