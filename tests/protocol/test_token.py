"""Token text: what is made is read back, what is not ours is nobody's token, and nothing shows the secret."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.token import SECRET_LENGTH, Token, new_token, parse_token

PIN = "sha256:" + "0f" * 32


@given(st.binary(min_size=32, max_size=32))
def test_what_is_made_is_read_back(key: bytes) -> None:
    token = new_token(f"sha256:{key.hex()}")
    text = token.text().reveal()
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    assert parse_token(f" {text}\n") == token
    assert parse_token(text) == token


def test_a_pin_may_be_left_out() -> None:
    token = new_token()
    assert parse_token(token.text().reveal()) == token
    assert token.pin == ""


def test_no_two_are_alike_and_the_secret_is_long_enough() -> None:
    tokens = [new_token() for _ in range(200)]
    assert len({token.id for token in tokens}) == len({token.secret.reveal() for token in tokens}) == 200
    assert 62**SECRET_LENGTH > 2**128


def test_rotation_keeps_the_id() -> None:
    old = new_token(PIN)
    new = new_token(PIN, token_id=old.id)
    assert new.id == old.id
    assert new.secret != old.secret


@pytest.mark.parametrize(("pin", "token_id"), [("abc", ""), ("sha256:00", ""), ("", "UPPER"), ("", "a_b")])
def test_nonsense_makes_no_token(pin: str, token_id: str) -> None:
    with pytest.raises(ValueError):
        new_token(pin, token_id=token_id)


def test_printing_shows_no_secret() -> None:
    token = new_token(PIN)
    for shown in (repr(token), str(token), f"{token.text()}"):
        assert token.secret.reveal() not in shown


@given(st.text())
@example("")
@example("nt_")
@example("2fakeTokenOf17abcdef")
def test_other_text_is_no_token_of_ours(text: str) -> None:
    assert parse_token(text) is None


@given(st.data())
def test_a_damaged_token_is_no_token_or_another_one(data: st.DataObject) -> None:
    """Cut short, grown or with a letter changed: never read as the same token."""
    token = new_token(PIN)
    text = token.text().reveal()
    cut = data.draw(st.integers(0, len(text) - 1))
    read: list[Token | None] = [parse_token(text[:cut]), parse_token(text + "A")]
    letter = data.draw(st.sampled_from("Ab0_-~é"))
    if text[cut] != letter:
        read.append(parse_token(text[:cut] + letter + text[cut + 1 :]))
    assert token not in read
