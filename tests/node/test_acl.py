"""Users, what they may do, and what becomes of their connections; on a leader, on a replica, in transactions and scripts."""

import pytest

from tests.node.stage import Client, Machine, Stage
from upstash_global.engine.acl import accesses_of
from upstash_global.engine.table import lookup
from upstash_global.errors import CommandError, error
from upstash_global.node.redaction import redacted
from upstash_global.node.tables import load_system_tables, system_tables
from upstash_global.reply import OK, Push, Simple

NO_KEY = CommandError("NOPERM", "No permissions to access a key")
NO_CHANNEL = CommandError("NOPERM", "No permissions to access a channel")
QUEUED = Simple("QUEUED")


def no_command(user: str, command: str) -> CommandError:
    return CommandError("NOPERM", f"User {user} has no permissions to run the '{command}' command")


def logged_in(machine: Machine, user: str = "alice", password: str = "pw") -> Client:
    client = machine.client()
    assert client.run(f"AUTH {user} {password}") == OK
    return client


@pytest.fixture
def stage() -> Stage:
    return Stage(replica=True)


@pytest.fixture
def admin(stage: Stage) -> Client:
    return stage.leader.client()


# -- what a user may do


@pytest.mark.parametrize(
    ("rules", "command", "refusal"),
    [
        ("+get ~*", "GET k", None),
        ("+get ~*", "SET k v", no_command("alice", "set")),
        ("+@read ~*", "MGET a b", None),
        ("+@all -config ~*", "CONFIG GET x", no_command("alice", "config|get")),
        ("+config|get", "CONFIG GET x", None),
        ("+config|get", "CONFIG SET timeout 1", no_command("alice", "config|set")),
        ("+@all -config|set ~*", "CONFIG SET timeout 1", no_command("alice", "config|set")),
        ("+select|0", "SELECT 0", None),
        ("+select|1", "SELECT 0", no_command("alice", "select")),
        ("-@all", "PING", no_command("alice", "ping")),
        ("-@all", "AUTH alice pw", None),
        ("+@all ~a*", "MSET a1 1 a2 2", None),
        ("+@all ~a*", "MSET a1 1 b 2", NO_KEY),
        ("+@all %R~a* %W~b*", "COPY a1 b1", None),
        ("+@all %R~a* %W~b*", "COPY b1 a1", NO_KEY),
        ("+@all %R~a*", "GET a", None),
        ("+@all %R~a*", "SET a 1", NO_KEY),
        ("+@all %W~a*", "SET a 1", None),
        ("+@all %W~a*", "SET a 1 GET", NO_KEY),
        ("+@all %W~a*", "EXISTS a", None),
        ("+@all ~a*", "EVAL 'return 1' 1 b", NO_KEY),
        ("+@all ~a*", "WATCH a b", NO_KEY),
        ("+@all ~a* (+get ~b*)", "GET b1", None),
        ("+@all ~a* (+get ~b*)", "SET b1 1", NO_KEY),
        ("+get ~a* (+set ~b*)", "DEL a", no_command("alice", "del")),
        ("+@all ~a* (%R~b* +@all)", "SORT b1 STORE a1", NO_KEY),
        ("+@all ~*", "PUBLISH c m", NO_CHANNEL),
        ("+@all &c*", "PUBLISH c m", None),
        ("+@all &c*", "SUBSCRIBE c d", NO_CHANNEL),
        ("+@all &c*", "SSUBSCRIBE c", None),
        ("+@all &c*", "SSUBSCRIBE d", NO_CHANNEL),
        ("+@all &c*", "SPUBLISH c m", None),
        ("+@all ~d &c*", "SPUBLISH d m", NO_CHANNEL),
        ("+@all &c*", "PSUBSCRIBE c*", None),
        ("+@all &c*", "PSUBSCRIBE c1", NO_CHANNEL),
        ("+@all ~l", "SORT l BY w*", error("BY option of SORT denied due to insufficient ACL permissions.")),
        ("+@all ~l", "SORT l GET #", error("GET option of SORT denied due to insufficient ACL permissions.")),
        ("+@all ~l", "SORT l BY nosort", None),
        ("+@all %R~*", "SORT_RO l BY w* GET #", None),
    ],
)
def test_a_user_may_do_what_one_selector_allows(
    admin: Client, rules: str, command: str, refusal: CommandError | None
) -> None:
    admin.run(f"ACL SETUSER alice on >pw {rules}".replace("(", "'(").replace(")", ")'"))
    reply = logged_in(admin.machine).run(command)
    assert reply == refusal if refusal is not None else not isinstance(reply, CommandError)


def test_a_user_who_may_do_everything_is_not_checked(admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw ~* &* +@all")
    alice = admin.machine.node.users.find(b"alice")
    assert alice is not None and not alice.is_restricted
    admin.run("ACL SETUSER alice -get")
    assert alice.is_restricted


def test_the_default_user_can_be_restricted_too(admin: Client) -> None:
    admin.run("ACL SETUSER boss on >pw ~* &* +@all")
    admin.run("ACL SETUSER default -flushall")
    assert admin.run("FLUSHALL") == no_command("default", "flushall")


def test_commands_without_keys_in_their_line_have_none_to_check() -> None:
    assert accesses_of(lookup([b"PING"]), [b"PING"]) == []


# -- logging in


@pytest.mark.parametrize(
    ("rules", "password", "may"),
    [(">a >b on", "b", True), (">a on", "b", False), (">a off", "a", False), ("nopass on", "whatever", True),
     (">a <a on", "a", False), (">a resetpass on", "a", False), ("nopass >a on", "b", False)],
)  # fmt: skip
def test_a_password_of_a_user_who_is_on_logs_in(admin: Client, rules: str, password: str, may: bool) -> None:
    admin.run(f"ACL SETUSER alice {rules}")
    assert (admin.machine.client().run(f"AUTH alice {password}") == OK) == may


def test_hello_logs_in_as_any_user(admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw +@connection +acl|whoami")
    client = admin.machine.client()
    client.run("HELLO 3 AUTH alice pw")
    assert client.run("ACL WHOAMI") == b"alice"
    assert b"user=alice" in admin.run("CLIENT LIST").text


def test_a_password_is_neither_in_the_log_nor_in_the_slow_log(admin: Client) -> None:
    admin.run("CONFIG SET slowlog-log-slower-than 0")
    admin.run("ACL SETUSER alice on >very-secret")
    admin.run("ACL RESTTOKEN alice very-secret")
    assert b"very-secret" not in b"".join(admin.machine.storage.log) != b""
    node = admin.machine.node
    assert all(b"very-secret" not in word for entry in node.slowlog.entries for word in entry.argv)


# -- requirepass


@pytest.mark.parametrize("where", ["leader", "replica"])
def test_requirepass_is_the_password_of_default_in_every_region(stage: Stage, where: str) -> None:
    before, other = stage.machines[where].client(), stage.replica.client()
    assert before.run("CONFIG SET requirepass secret-word maxmemory 1mb") == OK
    assert before.run("CONFIG GET requirepass maxmemory") == {b"requirepass": b"", b"maxmemory": b"1048576"}
    for machine in stage.machines.values():
        client = machine.client()
        assert client.run("PING") == CommandError("NOAUTH", "Authentication required.")
        assert client.run("AUTH secret-word") == OK
    assert b"secret-word" not in b"".join(stage.leader.storage.log)
    assert other.run("CONFIG SET requirepass ''") == OK
    assert stage.leader.client().run("PING") == Simple("PONG")
    assert stage.leader.node.digest() == stage.replica.node.digest()


def test_a_secret_in_config_set_is_not_in_the_slow_log(admin: Client) -> None:
    admin.run("CONFIG SET slowlog-log-slower-than 0")
    admin.run("CONFIG SET timeout 1 RequirePass secret-word hz 20")
    (argv,) = [entry.argv for entry in admin.machine.node.slowlog.entries if b"RequirePass" in entry.argv]
    assert argv == [b"CONFIG", b"SET", b"timeout", b"1", b"RequirePass", b"(redacted)", b"hz", b"20"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("AUTH secret", "AUTH (redacted)"),
        ("auth alice secret", "auth (redacted) (redacted)"),
        ("HELLO 3 AUTH alice secret SETNAME a", "HELLO 3 AUTH (redacted) (redacted) SETNAME a"),
        ("ACL SETUSER alice >secret on", "ACL SETUSER alice (redacted) (redacted)"),
        ("acl resttoken alice secret", "acl resttoken alice (redacted)"),
        ("ACL GENTOKEN alice secret", "ACL GENTOKEN alice (redacted)"),
        ("ACL GETUSER alice", "ACL GETUSER alice"),
        ("ACL", "ACL"),
        (
            "CONFIG SET masterauth secret hz 20 tls-key-file-pass word",
            "CONFIG SET masterauth (redacted) hz 20 tls-key-file-pass (redacted)",
        ),
        ("migrate h 1 k 0 9 COPY auth secret REPLACE", "migrate h 1 k 0 9 COPY auth (redacted) REPLACE"),
        (
            "MIGRATE h 1 e 0 9 AUTH2 alice secret KEYS AUTH k",
            "MIGRATE h 1 e 0 9 AUTH2 (redacted) (redacted) KEYS AUTH k",
        ),
        ("MIGRATE h 1 k 0 9 AUTH", "MIGRATE h 1 k 0 9 AUTH"),
        ("MIGRATE", "MIGRATE"),
        ("SET k v", "SET k v"),
    ],
)
def test_secrets_are_not_shown(line: str, shown: str) -> None:
    assert redacted(line.encode().split()) == shown.encode().split()


# -- regions


def test_users_are_the_same_on_every_node(stage: Stage, admin: Client) -> None:
    stage.replica.client().run("ACL SETUSER alice on >pw +get '(+set ~x)'")
    assert stage.replica.node.users.dump() == stage.leader.node.users.dump() != []
    assert stage.replica.node.digest() == stage.leader.node.digest()
    assert logged_in(stage.replica).run("SET y 1") == NO_KEY
    stage.replica.client().run("ACL DELUSER alice")
    assert stage.leader.node.users.find(b"alice") is None


def test_a_rule_that_changes_nothing_is_not_logged(admin: Client) -> None:
    admin.run("ACL SETUSER alice on")
    head = admin.machine.node.log.head
    admin.run("ACL SETUSER alice on")
    assert admin.machine.node.log.head == head


def test_a_forwarded_command_is_checked_by_the_newest_rules(stage: Stage, admin: Client) -> None:
    """The replica has not heard of the revocation yet; the leader has."""
    admin.run("ACL SETUSER alice on >pw ~* +@all")
    alice = logged_in(stage.replica)
    stage.leader.node.users.put(b"alice", [b"on", b"~*", b"+get"])
    assert alice.run("SET k v") == no_command("alice", "set")


def test_what_follows_in_a_forwarded_pipeline_is_checked_too(stage: Stage, admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw ~a* +set +get")
    alice = logged_in(stage.replica)
    assert alice.say("SET a 1", "GET a", "SET b 1", "GET b", "DEL a").take() == [
        OK, b"1", NO_KEY, NO_KEY, no_command("alice", "del"),
    ]  # fmt: skip


def test_a_user_may_have_no_name(stage: Stage, admin: Client) -> None:
    admin.run([b"ACL", b"SETUSER", b"", b"on", b">pw", b"~*", b"+set"])
    assert logged_in(stage.replica, "''").run("SET k v") == OK


def test_users_survive_a_snapshot(stage: Stage, admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw +@all -get ~a* %R~b &c '(+get ~d)'", "ACL SETUSER default -debug")
    other = Stage().leader.node
    load_system_tables(other, system_tables(stage.leader.node))
    assert other.users.dump() == stage.leader.node.users.dump()
    load_system_tables(other, {})
    assert other.users.names() == [b"default", b"default_ro"] and not other.users.default.is_restricted


def test_a_command_of_a_later_version_stays_in_the_rules_and_is_allowed_to_nobody() -> None:
    users = Stage().leader.node.users
    users.put(b"alice", [b"on", b"+@later", b"+later", b"+get"])
    assert users.named[b"alice"].rules()[-3:] == [b"+@later", b"+later", b"+get"]


# -- transactions, scripts, blocked commands


def test_a_command_that_is_not_allowed_spoils_the_transaction(admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw ~a +@all -get")
    alice = logged_in(admin.machine)
    assert alice.say("MULTI", "SET a 1", "SET b 1", "EXEC").take()[2:] == [
        NO_KEY,
        CommandError("EXECABORT", "Transaction discarded because of previous errors."),
    ]


@pytest.mark.parametrize("where", ["leader", "replica"])
def test_exec_checks_again(stage: Stage, admin: Client, where: str) -> None:
    admin.run("ACL SETUSER alice on >pw ~* +@all")
    alice = logged_in(stage.machines[where])
    alice.run("MULTI", "SET a 1", "SET b 2", "CLIENT ID")
    admin.run("ACL SETUSER alice resetkeys ~b -client")
    refused, stored, unnamed = alice.run("EXEC")
    assert refused.code == unnamed.code == "NOPERM" and stored == OK
    assert refused.text.endswith("for the following reason: no permission to touch the specified keys")
    assert unnamed.text.endswith("for the following reason: no permission to execute the command or subcommand")


@pytest.mark.parametrize("where", ["leader", "replica"])
def test_a_script_may_do_what_its_caller_may(stage: Stage, admin: Client, where: str) -> None:
    admin.run("ACL SETUSER alice on >pw ~a +@all -get")
    alice = logged_in(stage.machines[where])
    assert alice.run([b"EVAL", b"return redis.call('set', 'a', 1)", b"0"]) == OK
    denied = alice.run([b"EVAL", b"return redis.pcall('get', 'a')", b"0"])
    assert denied == error("ACL failure in script: User alice has no permissions to run the 'get' command")
    denied = alice.run([b"EVAL", b"return redis.pcall('set', 'b', 1)", b"0"])
    assert denied == error("ACL failure in script: No permissions to access a key")
    asked = b"return {redis.acl_check_cmd('get', 'a'), redis.acl_check_cmd('set', 'a', 1)}"
    assert alice.run([b"EVAL", asked, b"0"]) == [None, 1]
    assert stage.machines[where].client().run([b"EVAL", b"return redis.call('get', 'a')", b"0"]) == b"1"


@pytest.mark.parametrize("where", ["leader", "replica"])
def test_a_function_may_do_what_its_caller_may(stage: Stage, admin: Client, where: str) -> None:
    library = (
        b"#!lua name=l\nredis.register_function('put', function(keys) return redis.pcall('set', keys[1] or 'b', 1) end)"
    )
    admin.run([b"FUNCTION", b"LOAD", library])
    admin.run("ACL SETUSER alice on >pw ~a +@all")
    alice = logged_in(stage.machines[where])
    assert alice.run("FCALL put 1 a") == OK
    assert alice.run("FCALL put 1 b") == NO_KEY
    assert alice.run("FCALL put 0") == error("ACL failure in script: No permissions to access a key")


def test_a_script_in_a_transaction_runs_as_its_caller(admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw ~a +@all")
    alice = logged_in(admin.machine)
    *_, (denied,) = alice.say("MULTI", [b"EVAL", b"return redis.pcall('get', 'b')", b"0"], "EXEC").take()
    assert denied == error("ACL failure in script: No permissions to access a key")


def test_a_blocked_command_is_checked_again_when_there_is_something(admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw ~a +@all")
    alice = logged_in(admin.machine).say("BLPOP a 0")
    admin.run("ACL SETUSER alice resetkeys", "RPUSH a 1")
    assert alice.take() == [NO_KEY]
    assert admin.run("LLEN a") == 1


# -- what a change does to connections


@pytest.mark.parametrize("where", ["leader", "replica"])
def test_the_connections_of_a_removed_user_are_closed(stage: Stage, admin: Client, where: str) -> None:
    admin.run("ACL SETUSER alice on >pw ~* +@all")
    alice, other = logged_in(stage.machines[where]), stage.machines[where].client()
    admin.run("ACL DELUSER alice")
    assert alice.is_cut and not other.is_cut


@pytest.mark.parametrize("where", ["leader", "replica"])
def test_who_removes_its_own_user_hears_the_answer_first(stage: Stage, admin: Client, where: str) -> None:
    admin.run("ACL SETUSER alice on >pw ~* +@all")
    alice = logged_in(stage.machines[where])
    assert alice.run("ACL DELUSER alice") == 1
    assert alice.closing and alice.user is None


def test_who_is_blocked_when_its_user_is_removed_is_cut_off(stage: Stage, admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw ~* +@all")
    alice = logged_in(stage.replica).say("BLPOP l 0")
    admin.run("ACL DELUSER alice", "RPUSH l 1")
    assert alice.is_cut and admin.run("LLEN l") == 1


def test_a_user_of_the_same_name_is_another_one(admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw ~* +@all")
    alice = logged_in(admin.machine)
    admin.run("ACL DELUSER alice", "ACL SETUSER alice on >pw ~* +@all")
    assert alice.user is None


def test_what_one_subscribed_to_as_somebody_else_goes_on(admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw +@all")
    client = admin.machine.client()
    client.run("HELLO 3")
    client.run("SUBSCRIBE a", "AUTH alice pw")
    admin.run("ACL SETUSER alice ~k*")  # takes no channel away
    assert not client.is_cut


def test_subscriptions_that_are_not_allowed_any_more_end_their_connection(stage: Stage, admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw &a &b* +@all")
    hears_a = logged_in(stage.replica).say("SUBSCRIBE a")
    hears_b = logged_in(stage.replica).say("PSUBSCRIBE b*")
    hears_shard = logged_in(stage.replica).say("SSUBSCRIBE b1")
    admin.run("ACL SETUSER alice resetchannels &a &b")
    assert (hears_a.is_cut, hears_b.is_cut, hears_shard.is_cut) == (False, True, True)
    admin.run("PUBLISH a m")
    assert hears_a.take()[-1] == Push([b"message", b"a", b"m"])


def test_a_user_who_is_switched_off_stays_connected(admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw ~* +@all")
    alice = logged_in(admin.machine)
    admin.run("ACL SETUSER alice off")
    assert alice.run("PING") == Simple("PONG")


def test_client_kill_by_user(admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw +@all")
    alice = logged_in(admin.machine)
    assert admin.run("CLIENT KILL USER alice") == 1 and alice.is_cut
    assert admin.run("CLIENT KILL USER bob") == error("No such user 'bob'")


# -- ACL LOG, secrets, tokens


def denied(client: Client) -> list[tuple[object, ...]]:
    fields = (b"reason", b"context", b"object", b"username", b"count")
    return [tuple(entry[field] for field in fields) for entry in client.run("ACL LOG")]


def test_what_was_denied_is_told_newest_first_and_counted(admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw ~a +@all -get")
    alice = logged_in(admin.machine)
    alice.say("GET a", "SET b 1", "GET a", "PUBLISH c m", "MULTI", "GET a", "DISCARD", "AUTH alice no")
    alice.run([b"EVAL", b"return redis.pcall('set', 'b', 1)", b"0"])
    assert denied(admin) == [
        (b"key", b"lua", b"b", b"alice", 1),
        (b"auth", b"toplevel", b"AUTH", b"alice", 1),
        (b"command", b"multi", b"get", b"alice", 1),
        (b"channel", b"toplevel", b"c", b"alice", 1),
        (b"command", b"toplevel", b"get", b"alice", 2),
        (b"key", b"toplevel", b"b", b"alice", 1),
    ]
    counters = admin.run("INFO stats").text
    for line in (b"auth:1", b"cmd:3", b"key:2", b"channel:1"):
        assert b"acl_access_denied_" + line in counters


def test_after_a_minute_a_new_entry_begins(admin: Client) -> None:
    bad = "AUTH alice no"
    admin.run(bad, bad)
    admin.machine.stage.pass_ms(61_000)
    admin.run(bad)
    assert [entry[-1] for entry in denied(admin)] == [1, 2]
    assert [entry[b"age-seconds"] for entry in admin.run("ACL LOG")] == [0.0, 61.0]


def test_the_log_is_as_long_as_it_may_be_and_can_be_forgotten(admin: Client) -> None:
    assert admin.run("CONFIG SET acllog-max-len 2") == OK
    admin.run("AUTH a no", "AUTH b no", "AUTH c no")
    assert [entry[3] for entry in denied(admin)] == [b"c", b"b"]
    assert len(admin.run("ACL LOG 1")) == 1 and admin.run("ACL LOG -1") == []
    assert admin.run("ACL LOG RESET") == OK and admin.run("ACL LOG") == []


def test_new_users_may_hear_what_the_configuration_says(admin: Client) -> None:
    assert admin.run("CONFIG SET acl-pubsub-default allchannels") == OK
    admin.run("ACL SETUSER alice on", "ACL SETUSER bob resetchannels", "ACL SETUSER bob reset")
    assert [admin.run(f"ACL GETUSER {name}")[b"channels"] for name in ("alice", "bob")] == [b"&*", b"&*"]


@pytest.mark.parametrize(("bits", "digits"), [("", 64), ("1", 1), ("5", 2), ("4096", 1024)])
def test_genpass(admin: Client, bits: str, digits: int) -> None:
    first, second = admin.run(f"ACL GENPASS {bits}"), admin.run(f"ACL GENPASS {bits}")
    assert len(first) == len(second) == digits and int(first, 16) >= 0
    assert digits < 64 or first != second


def test_a_generated_token_becomes_a_password(admin: Client) -> None:
    token = admin.run("ACL GENTOKEN alice")
    admin.run([b"ACL", b"SETUSER", b"alice", b"on", b">" + token, b"+acl|whoami"])
    client = admin.machine.client()
    assert client.run([b"AUTH", b"alice", token]) == OK and client.run("ACL WHOAMI") == b"alice"


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaaaaaaaaaaaaa"])
def test_a_weak_password_makes_no_token(admin: Client, password: str) -> None:
    assert isinstance(admin.run(f"ACL GENTOKEN alice {password}"), CommandError)


def test_a_rest_token_needs_the_password(admin: Client) -> None:
    admin.run("ACL SETUSER alice on >pw")
    assert isinstance(admin.run("ACL RESTTOKEN alice pw"), bytes)
    for wrong in ("alice no", "bob pw"):
        name = wrong.split()[0]
        assert admin.run(f"ACL RESTTOKEN {wrong}") == error(f'Wrong password or user "{name}" does not exist')
