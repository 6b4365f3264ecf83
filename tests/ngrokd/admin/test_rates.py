"""Rates between two looks."""

from __future__ import annotations

from ngrokd.admin.rates import QUIET, Rate, Rates


def test_rates_are_what_changed_by_the_seconds_between() -> None:
    rates = Rates()
    rates.look(10.0, {"a": (0, 0, 0), "b": (100, 0, 1)})
    assert rates.of("a") == QUIET
    rates.look(12.0, {"a": (10, 20, 2), "b": (100, 0, 1), "new": (4, 0, 0)})
    assert rates.of("a") == Rate(5.0, 10.0, 1.0)
    assert rates.of("new") == Rate(2.0, 0.0, 0.0)
    assert rates.total == Rate(7.0, 10.0, 1.0)
    rates.look(13.0, {"a": (5, 20, 2)})
    assert rates.of("a") == QUIET
    assert rates.of("b") == QUIET


def test_two_looks_at_one_moment_change_nothing() -> None:
    rates = Rates()
    rates.look(1.0, {"a": (0, 0, 0)})
    rates.look(2.0, {"a": (8, 0, 0)})
    rates.look(2.0, {"a": (9, 0, 0)})
    assert rates.of("a").up == 8.0
