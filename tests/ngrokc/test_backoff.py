"""Delays grow to the bound, stay under it, and start over."""

from hypothesis import given
from hypothesis import strategies as st

from ngrokc.backoff import FIRST, LONGEST, Backoff


def highest(_low: float, high: float) -> float:
    return high


def test_bounds_double_up_to_the_longest() -> None:
    backoff = Backoff(draw=highest)
    assert [backoff.next() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_reset_starts_over() -> None:
    backoff = Backoff(draw=highest)
    for _ in range(5):
        backoff.next()
    backoff.reset()
    assert backoff.bound == FIRST
    assert backoff.next() == FIRST


@given(st.integers(1, 40))
def test_waits_are_drawn_from_nothing_to_the_bound(failures: int) -> None:
    backoff = Backoff()
    for _ in range(failures):
        bound = backoff.bound
        assert 0 <= backoff.next() <= bound <= LONGEST


@given(st.lists(st.floats(0, 1), max_size=40))
def test_nobody_waits_much_longer_than_it_has_waited(draws: list[float]) -> None:
    """However short the waits were: after a restart of a second no agent stays away for ten."""
    shares = iter(draws)
    backoff = Backoff(draw=lambda _low, high: high * next(shares))
    waited = 0.0
    for _ in draws:
        assert backoff.bound <= FIRST + waited + 1e-9
        waited += backoff.next()


def test_a_long_outage_is_asked_after_rarely() -> None:
    backoff = Backoff(draw=lambda low, high: (low + high) / 2)
    waits = [backoff.next() for _ in range(40)]
    assert waits[-1] == LONGEST / 2
    assert sum(waits[:12]) > 30


def test_waits_differ() -> None:
    assert len({Backoff().next() for _ in range(20)}) > 1
