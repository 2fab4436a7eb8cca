"""The configuration: what it means when right, and that each mistake is told by its path."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from upstash_global.config import (
    DEFAULT_RTT_MS,
    Address,
    Config,
    Credentials,
    Tokens,
    default_config,
    load,
    parse,
    to_yaml,
    with_overrides,
)
from upstash_global.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "deploy" / "example.yaml"
SECRETS = {
    "PASSWORD": "pass-word",
    "TOKEN": "standard-token",
    "READ_ONLY_TOKEN": "read-only-token",
    "CLUSTER_SECRET": "cluster-secret",
    "ADMIN_TOKEN": "admin-token",
}
CREDENTIALS = Credentials("pass-word", Tokens("standard-token", "read-only-token"), "cluster-secret", "admin-token")


def tree() -> dict[str, Any]:
    """A small right configuration, to be spoiled by the tests."""
    return {
        "cluster": {"id": "test", "leader": "a"},
        "credentials": {"password": "p", "tokens": {"standard": "s", "read_only": "r"}, "cluster": "c", "admin": "d"},
        "regions": {"east": {"candidate": True}, "west": {"candidate": False}},
        "nodes": [node("a", "east", 7000), node("b", "west", 7010)],
    }


def node(name: str, region: str, port: int) -> dict[str, Any]:
    places = {kind: f"127.0.0.1:{port + i}" for i, kind in enumerate(("resp", "rest", "grpc", "admin"))}
    return {"name": name, "region": region, **places}


def problems(raw: object, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse(raw, environ or {})
    return raised.value.problems


# -- what is right ----------------------------------------------------------------------------------------------------


def test_example_is_valid_and_shows_every_key_with_its_default() -> None:
    example = load(EXAMPLE, SECRETS)
    written = yaml.safe_load(EXAMPLE.read_text())
    plain = yaml.safe_load(to_yaml(example))
    for section in plain:
        if isinstance(plain[section], dict):
            assert set(written[section]) >= set(plain[section]), section
    for section in ("security", "durability", "replication", "consistency", "limits"):
        assert getattr(example, section) == getattr(parse(tree(), {}), section), section
    assert example.wan.rtt_ms == DEFAULT_RTT_MS


def test_what_is_left_out_has_its_default() -> None:
    config = parse(tree(), {})
    assert config.durability.fsync == "everysec"
    assert config.replication.heartbeat_ms == 100
    assert config.consistency.max_staleness_ms == 60_000
    assert config.limits.max_clients == 10_000
    assert not config.wan.enabled


def test_an_empty_section_has_its_defaults() -> None:
    assert parse(tree() | {"durability": None}, {}) == parse(tree(), {})


def test_default_cluster_has_a_leader_and_a_replica_in_each_of_the_five_regions() -> None:
    config = default_config(7000, CREDENTIALS)
    assert [(each.name, each.region) for each in config.nodes] == [
        ("leader", "us-east-1"),
        ("us-east-1", "us-east-1"),
        ("us-west-2", "us-west-2"),
        ("eu-central-1", "eu-central-1"),
        ("ap-southeast-1", "ap-southeast-1"),
        ("sa-east-1", "sa-east-1"),
    ]
    last = config.node("sa-east-1")
    assert (last.resp.port, last.rest.port, last.grpc.port, last.admin.port) == (7005, 8005, 9005, 9105)
    assert with_overrides(config, {}) == config


def test_every_pair_of_the_five_regions_has_a_round_trip() -> None:
    config = default_config(7000, CREDENTIALS)
    for source in config.regions:
        for target in config.regions:
            assert config.wan.rtt(source, target) == config.wan.rtt(target, source) is not None
    assert config.wan.rtt("sa-east-1", "ap-southeast-1") == 322
    assert config.wan.rtt("sa-east-1", "sa-east-1") == 0.5


def test_a_written_round_trip_wins_over_the_built_in_one() -> None:
    config = parse(tree() | {"wan": {"rtt_ms": {"us-west-2": {"us-east-1": "7.5"}}}}, {})
    assert config.wan.rtt("us-east-1", "us-west-2") == 7.5
    assert config.wan.rtt("us-east-1", "sa-east-1") == 114


def test_yaml_and_back_is_the_same_configuration(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    odd = Credentials("no", Tokens("${TOKEN} $${", None), "1234", "a: b # c\n")
    config = default_config(7000, odd)
    file.write_text(to_yaml(config, reveal_secrets=True))
    assert load(file, {}) == config


def test_secrets_are_in_no_repr_and_masked_in_yaml() -> None:
    config = load(EXAMPLE, SECRETS)
    for secret in SECRETS.values():
        assert secret not in repr(config)
        assert secret not in to_yaml(config)
    assert "password: '***'" in to_yaml(config)


def test_a_peer_is_dialled_at_its_dial_address_then_its_advertised_one_then_where_it_listens() -> None:
    raw = tree()
    assert parse(raw, {}).address_of("a", seen_from="b") == "127.0.0.1:7002"
    raw["nodes"][0]["advertise"] = {"grpc": "a.example:1"}
    assert parse(raw, {}).address_of("a", seen_from="b") == "a.example:1"
    raw["nodes"][1]["dial"] = {"a": "127.0.0.1:9505"}
    assert parse(raw, {}).address_of("a", seen_from="b") == "127.0.0.1:9505"


def test_an_address_knows_its_host_and_port() -> None:
    assert (Address("[::1]:70").host, Address("[::1]:70").port) == ("::1", 70)
    assert Address("localhost:1").is_loopback and Address("127.8.0.1:1").is_loopback and Address("[::1]:1").is_loopback
    assert not Address("10.0.0.1:1").is_loopback and not Address("localhost.example:1").is_loopback
    assert Address("0.0.0.0:1").is_unspecified and not Address("127.0.0.1:1").is_unspecified


@pytest.mark.parametrize(("written", "bytes_"), [("64MiB", 64 << 20), ("8 KiB", 8192), ("1gib", 1 << 30), (5000, 5000)])
def test_sizes_may_have_a_unit(written: object, bytes_: int) -> None:
    assert parse(tree() | {"durability": {"segment_bytes": written}}, {}).durability.segment_bytes == bytes_


@pytest.mark.parametrize("written", [False, "no"])
def test_fsync_no_is_a_word_though_yaml_reads_it_as_false(written: object) -> None:
    assert parse(tree() | {"durability": {"fsync": written}}, {}).durability.fsync == "no"


# -- the environment --------------------------------------------------------------------------------------------------


def test_variables_are_expanded_after_parsing() -> None:
    raw = tree()
    raw["credentials"]["password"] = "${SECRET}"
    raw["cluster"]["id"] = "${ID:-fallback}"
    raw["credentials"]["admin"] = "$${x}"
    config = parse(raw, {"SECRET": "a: [b} # ${NOT_AGAIN}"})
    assert config.credentials.password == "a: [b} # ${NOT_AGAIN}"
    assert config.cluster.id == "fallback"
    assert config.credentials.admin == "${x}"


def test_a_default_stands_in_for_an_empty_variable_too() -> None:
    raw = tree() | {"durability": {"fsync": "${FSYNC:-always}"}}
    assert parse(raw, {"FSYNC": ""}).durability.fsync == "always"


def test_a_missing_variable_is_told() -> None:
    raw = tree()
    raw["nodes"][1]["resp"] = "${HOST}:7000"
    assert "nodes[1].resp: the environment has no HOST" in problems(raw)


def test_the_environment_overrides_the_file() -> None:
    environ = {
        "UPSTASH_GLOBAL_DURABILITY__FSYNC": "always",
        "UPSTASH_GLOBAL_REPLICATION__HEARTBEAT_MS": "50",
        "UPSTASH_GLOBAL_CREDENTIALS__TOKENS__STANDARD": "other",
        "UPSTASH_GLOBAL_WAN__ENABLED": "TRUE",
        "UPSTASH_GLOBAL_DATA_DIR": "no override: it has no double underscore",
    }
    config = with_overrides(default_config(7000, CREDENTIALS, wan=False), environ)
    assert config.durability.fsync == "always"
    assert config.replication.heartbeat_ms == 50
    assert config.credentials.tokens.standard == "other"
    assert config.wan.enabled


def test_a_wrong_override_is_told_with_its_variable() -> None:
    environ = {"UPSTASH_GLOBAL_DURABILITY__FSYNK": "always", "UPSTASH_GLOBAL_LIMITS__MAX_CLIENTS": "many"}
    assert problems(tree(), environ) == [
        "durability.fsynk: unknown key; the nearest valid one is fsync (from UPSTASH_GLOBAL_DURABILITY__FSYNK)",
        "limits.max_clients: 'many' is not a whole number (from UPSTASH_GLOBAL_LIMITS__MAX_CLIENTS)",
    ]


def test_nodes_cannot_be_overridden() -> None:
    assert problems(tree(), {"UPSTASH_GLOBAL_NODES__0__RESP": "127.0.0.1:1"}) == [
        "nodes.0.resp: cannot be set, since nodes is no section (from UPSTASH_GLOBAL_NODES__0__RESP)"
    ]


def test_without_a_file_the_default_cluster_is_completed_by_the_environment() -> None:
    keys = ("PASSWORD", "TOKENS__STANDARD", "CLUSTER", "ADMIN")
    config = load(None, {f"UPSTASH_GLOBAL_CREDENTIALS__{key}": key for key in keys})
    assert len(config.nodes) == 6
    assert config.credentials.admin == "ADMIN"


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("cluster.id", "", "'' is not a name (letters, digits, dots, dashes; it is also a directory)"),
        ("cluster.leader", "z", "there is no node z"),
        ("cluster.leader", "b", "west is no candidate region"),
        ("credentials.password", 12345, "is not text; put it in quotes"),
        ("credentials.tokens.read_only", "s", "is another token as well, and would not be read-only"),
        ("durability.fsync", "sometimes", "'sometimes' is not one of always, everysec, no"),
        ("durability.segment_bytes", "64 MB", "'64 MB' has no unit of B, KiB, MiB or GiB"),
        ("durability.segment_bytes", 1, "1 is less than 4096"),
        ("replication.heartbeat_ms", "fast", "'fast' is not a whole number"),
        ("replication.heartbeat_ms", True, "True is not a whole number"),
        ("replication.heartbeat_ms", 0, "0 is less than 1"),
        ("replication.silence_ms", 100, "must be longer than heartbeat_ms, or every pause looks like silence"),
        ("security.plaintext", "maybe", "'maybe' is neither true nor false"),
        ("limits.max_client", 5, "unknown key; the nearest valid one is max_clients"),
        ("regions.east", 5, "is not a mapping"),
        ("regions.east.candidat", True, "unknown key; the nearest valid one is candidate"),
        ("nodes.0.name", "../up", "'../up' is not a name (letters, digits, dots, dashes; it is also a directory)"),
        ("nodes.1.name", "a", "a is there twice"),
        ("nodes.1.region", "north", "there is no region north"),
        ("nodes.1.resp", "127.0.0.1:70000", "70000 is not a port"),
        ("nodes.1.resp", "127.0.0.1", "'127.0.0.1' is not host:port"),
        ("nodes.1.rest", "127.0.0.1:7010", "127.0.0.1:7010 is the address of resp as well"),
        ("nodes.1.resp", "0.0.0.0:7010", "0.0.0.0 is not loopback; without TLS that needs security.plaintext: true"),
        ("nodes.1.grp", "127.0.0.1:1", "unknown key; the nearest valid one is grpc"),
        ("nodes.1.dial", {"z": "127.0.0.1:1"}, None),
        ("edges", {}, "is not a list"),
        ("wan.jitter_ms", -1, "-1 is not a time in milliseconds"),
        ("wan.rtt_ms", 5, "is not a mapping"),
        ("wan.enabled", True, None),
        ("wann", {}, "unknown key; the nearest valid one is wan"),
    ],
)
def test_a_mistake_is_told_by_its_path(path: str, value: object, problem: str | None) -> None:
    raw = tree()
    place: Any = raw
    *parents, key = path.split(".")
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
    place[key] = value
    shown = path.replace(".0", "[0]").replace(".1", "[1]")
    expected = {
        "nodes.1.dial": "nodes[1].dial.z: there is no node z",
        "wan.enabled": "wan.rtt_ms: says nothing about east and west",
    }
    assert (f"{shown}: {problem}" if problem else expected[path]) in problems(raw)


@pytest.mark.parametrize("key", ["cluster", "regions", "nodes"])
def test_what_cannot_be_guessed_must_be_there(key: str) -> None:
    raw = tree()
    del raw[key]
    assert f"{key}: is missing" in problems(raw)


@pytest.mark.parametrize("key", ["name", "region", "resp", "rest", "grpc", "admin"])
def test_a_node_is_told_apart_by_all_its_addresses(key: str) -> None:
    raw = tree()
    del raw["nodes"][1][key]
    assert f"nodes[1].{key}: is missing" in problems(raw)


def test_all_mistakes_are_told_at_once() -> None:
    raw = tree() | {"durability": {"fsync": "x", "segmentbytes": 1}, "nodes": [{"name": "a", "region": "nowhere"}]}
    assert len(problems(raw)) == 7  # two of durability, four addresses, one region


def test_a_node_does_not_dial_itself() -> None:
    raw = tree()
    raw["nodes"][0]["dial"] = {"a": "127.0.0.1:1"}
    assert problems(raw) == ["nodes[0].dial.a: a node does not dial itself"]


def test_an_edge_dials_its_node_where_the_file_says() -> None:
    edge = {"name": "e", "region": "east", "listen": "127.0.0.1:1", "upstream": "a", "dial": {"rest": "far:2"}}
    config = parse(tree() | {"edges": [edge]}, {})
    (read,) = config.edges
    assert config.upstream_of(read, "rest") == "far:2"
    assert config.upstream_of(read, "grpc") == config.node("a").advertised("grpc")


def test_an_edge_follows_a_node_that_exists() -> None:
    edge = {"name": "a", "region": "north", "listen": "127.0.0.1:1", "upstream": "z"}
    assert problems(tree() | {"edges": [edge]}) == [
        "edges[0].name: a is there twice",
        "edges[0].region: there is no region north",
        "edges[0].upstream: there is no node z",
    ]


def test_asking_for_a_node_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match="none is named z; there are a, b"):
        parse(tree(), {}).node("z")


# -- credentials and binds ----------------------------------------------------------------------------------------------


def test_credentials_are_needed() -> None:
    raw = tree()
    del raw["credentials"]
    told = problems(raw)
    assert [problem.partition(":")[0] for problem in told] == [
        "credentials.password",
        "credentials.tokens.standard",
        "credentials.cluster",
        "credentials.admin",
    ]


def test_insecure_needs_none_and_warns() -> None:
    config = parse(tree() | {"credentials": {"insecure": True}}, {})
    assert config.credentials.password is None
    assert "anyone on this machine" in config.warnings[0]


def test_insecure_and_a_password_contradict_each_other() -> None:
    told = problems(tree() | {"credentials": {"insecure": True, "password": "p"}})
    assert told == [
        "credentials.password: would not be asked for, since credentials.insecure is true; leave one of them out"
    ]


def exposed() -> dict[str, Any]:
    raw = tree() | {"security": {"plaintext": True}}
    raw["nodes"][1] |= {"resp": "0.0.0.0:7010", "advertise": {"resp": "b.example:7010"}}
    return raw


def test_plaintext_allows_binds_beyond_loopback_and_warns() -> None:
    assert parse(tree(), {}).warnings == []
    assert "nodes[1].resp" in parse(exposed(), {}).warnings[0]


def test_plaintext_is_not_enough_without_credentials() -> None:
    raw = exposed() | {"credentials": {"insecure": True}}
    assert problems(raw) == ["nodes[1].resp: 0.0.0.0 is not loopback, as credentials.insecure demands"]


def test_who_listens_everywhere_must_say_where_to_be_found() -> None:
    raw = exposed()
    del raw["nodes"][1]["advertise"]
    assert problems(raw) == ["nodes[1].advertise.resp: is needed, since nobody can dial 0.0.0.0:7010"]


# -- files --------------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.yaml", {})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("cluster: {id: a\nnodes: [", "line"),
        ("nodes: []\nnodes: []\n", "nodes is there twice"),
        ("- a\n", "the file is not a mapping of sections"),
        ("", "the file is not a mapping of sections"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_told(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=told):
        load(file, {})


@pytest.mark.parametrize(
    "line", ["password: *hunter2", "password: !hunter2 x", "password: {hunter2", "password: @hunter2"]
)
def test_no_message_quotes_a_secret(tmp_path: Path, line: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"credentials:\n  {line}\n")
    with pytest.raises(ConfigError) as raised:
        load(file, {})
    assert "hunter2" not in str(raised.value)


def test_the_type_of_a_loaded_configuration_is_frozen() -> None:
    config: Config = parse(tree(), {})
    with pytest.raises(AttributeError):
        config.durability.fsync = "no"  # type: ignore[misc]
