"""Names whose agent was here a moment ago: for how long, which, and how many."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ngrokd.absences import MOST, RETURN_SECONDS, Absences


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tunnel(host: str, protocol: str = "http") -> Any:
    return SimpleNamespace(host=host, protocol=protocol)


def test_a_name_is_expected_back_for_a_while(clock: Clock) -> None:
    absences = Absences(clock)
    assert not absences.away("http", "a.test")
    absences.left([tunnel("a.test"), tunnel("", "tcp")])
    assert absences.away("http", "a.test")
    assert not absences.away("https", "a.test")
    assert not absences.away("http", "b.test")
    clock.now += RETURN_SECONDS
    assert not absences.away("http", "a.test")
    absences.left([])
    assert len(absences) == 0


def test_what_came_back_or_was_closed_on_purpose_is_not_expected(clock: Clock) -> None:
    absences = Absences(clock)
    absences.settled([tunnel("a.test")])
    absences.left([tunnel("a.test"), tunnel("b.test")])
    absences.settled([tunnel("a.test")])
    assert not absences.away("http", "a.test")
    assert absences.away("http", "b.test")


def test_names_below_a_wildcard_are_expected_with_it(clock: Clock) -> None:
    absences = Absences(clock)
    absences.left([tunnel("*.a.test", "https")])
    assert absences.away("https", "deep.a.test")
    assert not absences.away("https", "a.test")


def test_behind_somebody_elses_proxy_one_listener_serves_both(clock: Clock) -> None:
    absences = Absences(clock, one_listener=True)
    absences.left([tunnel("a.test", "https")])
    assert absences.away("http", "a.test")


def test_leaving_twice_counts_from_the_last_time(clock: Clock) -> None:
    absences = Absences(clock)
    absences.left([tunnel("a.test"), tunnel("b.test")])
    clock.now += RETURN_SECONDS - 1
    absences.left([tunnel("a.test")])
    clock.now += 2
    assert absences.away("http", "a.test")
    assert not absences.away("http", "b.test")


def test_the_longest_gone_are_forgotten_first(clock: Clock) -> None:
    absences = Absences(clock)
    absences.left(tunnel(f"n{number}.test") for number in range(MOST + 5))
    assert len(absences) == MOST
    assert not absences.away("http", "n4.test")
    assert absences.away("http", "n5.test")
