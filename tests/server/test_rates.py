"""Allowances and strangers, told what time it is."""

from upstash_global.server.rates import Allowances, Strangers


def test_what_is_used_up_comes_back_with_time() -> None:
    allowances = Allowances(10)
    assert [allowances.take(b"u", 1, 0.0) for _ in range(10)] == [0.0] * 10
    assert allowances.take(b"u", 1, 0.0) == 0.1
    assert allowances.take(b"u", 1, 0.25) == 0.0
    assert allowances.take(b"u", 5, 0.25) == 0.35
    assert allowances.take(b"v", 10, 0.25) == 0.0


def test_a_pipeline_longer_than_the_allowance_is_owed() -> None:
    allowances = Allowances(10)
    assert allowances.take(b"u", 30, 0.0) == 0.0
    assert allowances.take(b"u", 1, 1.0) == 1.1
    assert allowances.take(b"u", 1, 2.2) == 0.0


def test_no_limit() -> None:
    assert Allowances(0).take(b"u", 1_000_000, 0.0) == 0.0


def test_a_stranger_who_has_left_makes_room() -> None:
    strangers = Strangers(2)
    assert [strangers.admit("a") for _ in range(3)] == [True, True, False]
    assert strangers.admit("b")
    strangers.leave("a")
    assert strangers.admit("a")
    for _ in range(2):
        strangers.leave("a")
    strangers.leave("b")
    assert strangers.of_address == {}
