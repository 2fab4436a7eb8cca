"""What the JavaScript helper does with requests that get lost, on a network that is played."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.sdk import run_alone
from tests.nearest.test_chooser import HELPER


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return run_alone(Path(__file__).with_name("requests.mjs"), helper=HELPER.as_uri())


@pytest.mark.parametrize(
    "request_kind, asked, outcome",
    [
        ("a GET", ["GET http://a/get/k", "GET http://b/get/k"], "b"),
        ("a POST", ["POST http://a/"], "TypeError: fetch failed"),
        ("a POST with a key", ["POST http://a/", "POST http://b/"], "b"),
        ("redis", ["POST http://a", "POST http://b"], "b"),
        ("redis, not once", ["POST http://a"], "TypeError: fetch failed"),
    ],
)
def test_what_may_run_again_is_run_elsewhere(
    report: dict[str, Any], request_kind: str, asked: list[str], outcome: str
) -> None:
    assert report[request_kind] == {"asked": asked, "outcome": outcome, "left": True}


def test_a_repeated_write_carries_the_same_key_and_the_newest_sync_token(report: dict[str, Any]) -> None:
    (first, key, token), again = report["keys"]
    assert key is not None and (first, token) == ("http://a", "token")
    assert again == ["http://b", key, "token"]
    assert report["keysNotOnce"] == [["http://a", None, "token"]]


def test_what_cannot_be_sent_with_a_key_is_sent_without(report: dict[str, Any]) -> None:
    """It was refused as a whole, so nothing has run."""
    assert [key is None for _, key, _ in report["keysRefused"]] == [False, True]
    assert report["a key that is refused"]["outcome"] == "fine"


def test_a_mistake_of_the_caller_is_nobodys_outage(report: dict[str, Any]) -> None:
    assert report["a mistake of the caller"] == {
        "asked": [],
        "outcome": "TypeError: Do not know how to serialize a BigInt",
        "left": False,
    }


def test_when_nobody_is_there_each_has_been_tried(report: dict[str, Any]) -> None:
    told = report["nobody is there"]
    assert {line.split("/")[2] for line in told["asked"]} == {"a", "b"}
    assert told["outcome"] == "TypeError: fetch failed"
