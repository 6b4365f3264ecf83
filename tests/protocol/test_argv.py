"""Go's way of writing flags, made click's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.argv import normalise

SWITCHES, VALUED = ["open"], ["log", "domain"]


def go(*words: str) -> list[str]:
    return normalise(words, switches=SWITCHES, valued=VALUED)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-log", "x"], ["--log=x"]),
        (["--log", "x"], ["--log=x"]),
        (["-log=x"], ["--log=x"]),
        (["-log="], ["--log="]),
        (["-log", ""], ["--log="]),
        (["-log", "-domain"], ["--log=-domain"]),  # whatever follows is the value
        (["-log"], ["--log"]),
        (["-open"], ["--open=true"]),
        (["-open=false"], ["--open=false"]),
        (["-open", "token"], ["--open=true", "token"]),
        (["-h"], ["--help"]),
        (["-strange", "x"], ["--strange", "x"]),
        (["token", "-deep", "x", "-log", "y"], ["token", "--deep", "x", "--log=y"]),
        (["--", "-log"], ["--", "-log"]),
        (["-", "-5"], ["-", "-5"]),
        ([], []),
    ],
)
def test_table(words: list[str], expected: list[str]) -> None:
    assert go(*words) == expected


@given(st.lists(st.text(max_size=8), max_size=6))
def test_it_never_fails_and_words_without_dashes_stay(words: list[str]) -> None:
    result = go(*words)
    if not any(word.startswith("-") for word in words):
        assert result == words
