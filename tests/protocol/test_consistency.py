"""What clients and the configuration may ask of reads."""

import pytest

from upstash_global.protocol.consistency import Consistency, read_consistency


@pytest.mark.parametrize(
    "text, read",
    [
        ("eventual", Consistency("eventual")),
        (" Session ", Consistency("session")),
        ("session; scope=key", Consistency("session", is_scoped=True)),
        ("SESSION ;Scope = Key", Consistency("session", is_scoped=True)),
        ("LEADER", Consistency("leader")),
        ("bounded; max-staleness-ms=250", Consistency("bounded", 250)),
        ("bounded;max-staleness-ms = 0", Consistency("bounded", 0)),
    ],
)
def test_what_is_read(text: str, read: Consistency) -> None:
    assert read_consistency(text) == read
    assert read_consistency(str(read)) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "strong",
        "bounded",
        "bounded;",
        "bounded; max-staleness-ms=",
        "bounded; max-staleness-ms=-1",
        "bounded; max-staleness-ms=+1",
        "bounded; max-staleness-ms=1_0",
        "bounded; max-staleness-ms=٣",
        "bounded; max-staleness-ms=99999999999",
        "bounded; staleness=1",
        "leader; x=1",
        "session;",
        "session; scope",
        "session; scope=all",
        "session; max-staleness-ms=5",
        "leader; scope=key",
        "bounded; scope=key",
        "bounded; max-staleness-ms=5; scope=key",
    ],
)
def test_what_is_refused(text: str) -> None:
    assert read_consistency(text) is None
