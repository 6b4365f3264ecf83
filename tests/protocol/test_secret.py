"""Secrets never show themselves, and what is random has the size it promises."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from protocol.secret import MASK, NAME_LENGTH, Secret, new_client_id, new_request_id, new_ticket, random_name

CANARY = "canary-5f3a"


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{:>20}".format, "{!r}".format, lambda s: f"{s}", ascii])
def test_no_way_of_printing_shows_it(show: object) -> None:
    assert callable(show)
    shown = show(Secret(CANARY))
    assert CANARY not in shown
    assert MASK in shown


def test_in_a_container_and_a_percent_format_it_stays_masked() -> None:
    assert CANARY not in repr([Secret(CANARY)]) + "%s" % Secret(CANARY)  # noqa: UP031


def test_reveal_gives_it_back() -> None:
    assert Secret(CANARY).reveal() == CANARY


def test_it_is_not_pickled_or_copied_by_accident() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY))
    with pytest.raises(TypeError):
        copy.copy(Secret(CANARY))


def test_matches_compares_text_and_secrets() -> None:
    secret = Secret(CANARY)
    assert secret.matches(CANARY)
    assert secret.matches(Secret(CANARY))
    assert not secret.matches(CANARY + "x")
    assert not secret.matches("")
    assert not secret.matches(None)
    assert not secret.matches("\ud800")
    assert not secret.matches("käse")


@pytest.mark.parametrize("nothing", ["", None, Secret("")])
def test_an_empty_secret_matches_nothing(nothing: str | Secret | None) -> None:
    assert not Secret("").matches(nothing)
    assert not Secret("")
    assert str(Secret("")) == ""


def test_equality_is_between_secrets_only() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret("other")
    assert Secret(CANARY) != CANARY
    assert len({Secret(CANARY), Secret(CANARY)}) == 1


def test_digest_is_sha256() -> None:
    assert Secret("abc").digest() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_random_values_have_their_form_and_differ() -> None:
    assert re.fullmatch("[0-9a-f]{64}", new_ticket().reveal())
    assert re.fullmatch("[0-9a-f]{32}", new_client_id())
    assert re.fullmatch("[0-9a-f]{16}", new_request_id())
    names = {random_name() for _ in range(200)}
    assert len(names) == 200
    assert all(re.fullmatch(f"[a-z][a-z2-9]{{{NAME_LENGTH - 1}}}", name) for name in names)
