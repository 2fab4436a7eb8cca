from tests.engine.bench import Bench


def test_an_unknown_command_is_refused_with_redis_text() -> None:
    assert Bench().run("FOO a b").text == "ERR unknown command 'FOO', with args beginning with: 'a' 'b' "


def test_internal_rows_are_unknown_to_clients() -> None:
    assert Bench().run("_EXPIRED k").text.startswith("ERR unknown command '_EXPIRED'")
