"""Sync tokens and access tokens: what was written is read, anything else is nobody's."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstash_global.protocol.tokens import (
    AccessTokens,
    PositionTokens,
    SyncToken,
    decode_token,
    encode_token,
    key_hash,
)

KEY = b"k" * 32
numbers = st.integers(0, 2**64 - 1)
tokens = st.builds(
    SyncToken,
    epoch=numbers,
    lsn=numbers,
    stream=st.integers(0, 2**16 - 1),
    keys=st.lists(st.tuples(numbers, numbers), max_size=16).map(tuple),
)


@given(tokens)
def test_a_token_comes_back_as_it_was(token: SyncToken) -> None:
    assert decode_token(encode_token(token, "demo", KEY), "demo", KEY) == token


@given(tokens)
def test_a_token_is_short_and_safe_in_a_url(token: SyncToken) -> None:
    text = encode_token(token, "demo", KEY)
    assert len(text) <= 512
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)


def test_the_longest_token_has_383_characters() -> None:
    longest = SyncToken(2**64 - 1, 2**64 - 1, 2**16 - 1, ((2**64 - 1, 2**64 - 1),) * 16)
    assert len(encode_token(longest, "demo", KEY)) == 383


@given(tokens)
def test_the_newest_of_a_token_is_not_before_any_of_it(token: SyncToken) -> None:
    assert token.newest_lsn in (token.lsn, *[lsn for _, lsn in token.keys])
    assert all(lsn <= token.newest_lsn for lsn in (token.lsn, *[lsn for _, lsn in token.keys]))


def test_each_write_changes_the_text() -> None:
    texts = {encode_token(SyncToken(7, lsn), "demo", KEY) for lsn in range(1000)}
    assert len(texts) == 1000


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)) | st.tuples(numbers, numbers)))
def test_the_tokens_of_positions_are_the_same_in_any_order_of_writing(positions: list[tuple[int, int]]) -> None:
    written = PositionTokens("demo", KEY)
    for epoch, lsn in positions:
        assert written.write(epoch, lsn).decode() == encode_token(SyncToken(epoch, lsn), "demo", KEY)


def test_lsns_that_are_signed_together_have_signatures_of_their_own() -> None:
    signed = [urlsafe_b64decode(encode_token(SyncToken(7, lsn), "demo", KEY) + "==") for lsn in range(64)]
    assert len({data[-8:] for data in signed}) == 64
    for data in signed:
        for other in signed:
            text = urlsafe_b64encode(data[:-8] + other[-8:]).rstrip(b"=").decode()
            assert (decode_token(text, "demo", KEY) is None) == (data is not other)


def test_a_token_of_another_cluster_is_nobodys() -> None:
    assert decode_token(encode_token(SyncToken(1, 2), "other", KEY), "demo", KEY) is None


def test_a_token_signed_with_another_key_is_nobodys() -> None:
    assert decode_token(encode_token(SyncToken(1, 2), "demo", b"x" * 32), "demo", KEY) is None


def test_a_token_with_any_character_changed_is_nobodys() -> None:
    text = encode_token(SyncToken(1, 2, keys=((3, 4),)), "demo", KEY)
    for at in range(len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        assert decode_token(changed, "demo", KEY) is None


@pytest.mark.parametrize("change", ["{} ", "{}=", " {}", "{}\n", "{}A", "\u00e9{}"])
def test_a_token_has_one_text_only(change: str) -> None:
    assert decode_token(change.format(encode_token(SyncToken(1, 2), "demo", KEY)), "demo", KEY) is None


@pytest.mark.parametrize("text", ["", "my-new-sync-token", "A", "A" * 43, "A" * 513, "\ud800", "\x00"])
def test_what_users_make_up_is_nobodys(text: str) -> None:
    assert decode_token(text, "demo", KEY) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert decode_token(text, "demo", KEY) is None


def test_keys_have_the_same_hash_everywhere() -> None:
    assert key_hash(b"user:1") == 15310966450534750738
    assert key_hash(b"user:1") != key_hash(b"user:2")


def test_an_access_token_finds_its_user_only() -> None:
    access = AccessTokens({"full": b"default", "reader": b"default_ro"})
    assert access.find("full") == b"default"
    assert access.find("reader") == b"default_ro"
    assert access.find("Full") is None
    assert access.find("") is None
    assert access.find("\ud800") is None


def test_access_tokens_keep_no_token() -> None:
    access = AccessTokens({"very-secret": b"default"})
    assert "very-secret" not in repr(access._users)
