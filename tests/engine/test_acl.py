"""Rules as words, and that no key escapes the check of a command line."""

from random import Random

import pytest

import upstash_global.node.node  # noqa: F401  (fills the table)
from tests.differential.families import FAMILIES, lines_of
from tests.differential.grammar import Maker, parse
from tests.engine.bench import Bench
from upstash_global.engine.acl import READ, WRITE, User, accesses_of
from upstash_global.engine.table import lookup
from upstash_global.errors import CommandError, error
from upstash_global.reply import OK

LINES = 250  # of each family
READERS_THAT_WRITE = ("PFCOUNT", "PFDEBUG", "XREADGROUP")  # in Redis too, READ is enough for them


@pytest.mark.parametrize("family", FAMILIES)
def test_every_key_that_a_command_touches_is_checked(family: str) -> None:
    """What a line that succeeds has changed, it was to be allowed to write; whatever it names, it was checked for."""
    bench, maker = Bench(), Maker(Random(family))
    syntaxes = [parse(line) for line in lines_of(FAMILIES[family])]
    n_changed = 0
    for _ in range(LINES):
        argv = maker.line(maker.random.choice(syntaxes))
        reply = bench.run(*argv)
        if isinstance(reply, CommandError):
            continue
        row = lookup(argv)
        accesses = accesses_of(row, argv)
        assert {key for key, _ in accesses} >= {*row.keys.find(argv)}, argv
        if bench.effects is not None and not bench.effects.flushed:
            n_changed += 1
            if row.name in READERS_THAT_WRITE:
                continue
            assert {key for key, access in accesses if access & WRITE} >= {*bench.effects.touched}, argv
    assert n_changed > 0


@pytest.mark.parametrize(
    ("line", "accesses"),
    [
        ("GET k", [(b"k", READ)]),
        ("SET k v", [(b"k", WRITE)]),
        ("SET k v GET", [(b"k", READ | WRITE)]),
        ("EXISTS a b", [(b"a", 0), (b"b", 0)]),
        ("COPY a b", [(b"a", READ), (b"b", WRITE)]),
        ("SORT a STORE b", [(b"a", READ), (b"b", WRITE)]),
        ("ZUNIONSTORE z 2 a b", [(b"z", WRITE), (b"a", READ), (b"b", READ)]),
        ("XREAD COUNT 1 STREAMS a b 0 0", [(b"a", READ), (b"b", READ)]),
        ("EVAL s 2 a b c", [(b"a", READ | WRITE), (b"b", READ | WRITE)]),
        ("PFMERGE a", [(b"a", READ | WRITE)]),
        (
            "GEORADIUSBYMEMBER a m 1 km STORE b STORE c",
            [(b"a", READ), (b"b", WRITE), (b"c", READ | WRITE)],
        ),
        ("BITFIELD a GET u8 0", [(b"a", READ)]),
        ("JSON.GET a $", [(b"a", READ)]),
        ("SPUBLISH c m", []),
        ("PING", []),
    ],
)
def test_what_is_done_to_the_keys_of_a_line(line: str, accesses: list[tuple[bytes, int]]) -> None:
    argv = [word.encode() for word in line.split()]
    assert accesses_of(lookup(argv), argv) == accesses


# -- rules


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("", "off sanitize-payload resetchannels -@all"),
        ("on nopass", "on nopass sanitize-payload resetchannels -@all"),
        ("allkeys allchannels allcommands", "off sanitize-payload ~* &* +@all"),
        ("+GET +@READ -get", "off sanitize-payload resetchannels -@all +@read -get"),
        ("+get +set +get", "off sanitize-payload resetchannels -@all +set +get"),
        ("+config|get +config", "off sanitize-payload resetchannels -@all +config"),
        ("+config -config|get", "off sanitize-payload resetchannels -@all +config -config|get"),
        ("+get -@all", "off sanitize-payload resetchannels -@all"),
        ("+@all -@write", "off sanitize-payload resetchannels +@all -@write"),
        ("~a %R~a %W~b %R~b %r~c", "off sanitize-payload ~a ~b %R~c resetchannels -@all"),
        ("&a &b &a", "off sanitize-payload resetchannels &a &b -@all"),
        ("(+get ~x) (&y) on", "on sanitize-payload resetchannels -@all (~x resetchannels -@all +get) (resetchannels &y -@all)"),
        ("(+get ~x) clearselectors", "off sanitize-payload resetchannels -@all"),
        ("on +get ~a reset", "off sanitize-payload resetchannels -@all"),
        ("skip-sanitize-payload", "off skip-sanitize-payload resetchannels -@all"),
    ],
)  # fmt: skip
def test_rules_are_told_in_one_form_which_makes_the_same_user(rules: str, told: str) -> None:
    bench = Bench()
    assert bench.run("ACL", "SETUSER", "alice", *rules.split()) == OK
    alice = bench.engine.context.users.named[b"alice"]
    assert alice.describe().decode() == told
    again = User(b"alice")
    again.take_rules(alice.rules())
    assert again.rules() == alice.rules() and again.describe() == alice.describe()


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("nosuch", "Syntax error"),
        ("+nosuch", "Unknown command or category name in ACL"),
        ("-@nosuch", "Unknown command or category name in ACL"),
        ("+_user", "Unknown command or category name in ACL"),
        ("+config|get|x", "Allowing first-arg of a subcommand is not supported"),
        ("+select|", "Syntax error"),
        ("%X~a", "Syntax error"),
        ("~a b", "Syntax error"),
        ("#abc", "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"),
        ("<nosuch", "The password you are trying to remove from the user does not exist"),
        ("(on)", "Syntax error"),
    ],
)
def test_a_wrong_rule_changes_nothing(rule: str, reason: str) -> None:
    bench = Bench()
    refusal = error(f"Error in ACL SETUSER modifier '{rule}': {reason}")
    assert bench.run("ACL", "SETUSER", "alice", "on", rule) == refusal
    assert bench.run("ACL USERS") == [b"default", b"default_ro"] and bench.entries == []


@pytest.mark.parametrize("name", ["default", "default_ro"])
def test_the_built_in_users_stay(name: str) -> None:
    assert Bench().run(f"ACL DELUSER {name}") == error(f"The '{name}' user cannot be removed")


def test_users_are_replayed() -> None:
    leader, replica = Bench(), Bench()
    leader.run("ACL SETUSER alice on >pw +@all ~a* '(+get ~b)'")
    leader.run("ACL SETUSER bob nopass")
    leader.run("ACL DELUSER alice")
    leader.run("ACL SETUSER default >secret")
    replica.apply(leader.entries)
    assert replica.engine.context.users.dump() == leader.engine.context.users.dump()
    assert [name for name, _ in replica.engine.context.users.dump()] == [b"bob", b"default"]
