"""Memory in bounds: nested growth, and who is reset when the queues are full."""

from __future__ import annotations

from protocol.mux.budget import SHORT_PATH_WINDOW, TURN_SECONDS, Growth, QueueBudget, wanted_window

KIB = 1024


def test_growth_is_granted_by_all_levels_or_none() -> None:
    server = Growth(100)
    session = Growth(80, server)
    leg, other = Growth(50, session), Growth(50, session)
    assert leg.take(50)
    assert not leg.take(1)
    assert not other.take(31)
    assert other.take(30)
    assert (server.used, session.used, leg.used, other.used) == (80, 80, 50, 30)
    leg.give_back(50)
    assert (server.used, session.used, leg.used) == (30, 30, 0)


def test_windows_double_until_they_are_twice_the_product_of_bandwidth_and_delay() -> None:
    rtt, bandwidth = 0.08, 125_000_000  # 80 ms at 1 Gbit/s
    window = 256 * KIB
    for _ in range(20):
        rate = min(bandwidth, window / rtt)
        window = wanted_window(window, window // 4, window / 4 / rate, rtt)
    assert window == 16 * KIB * KIB  # the product is 10 MB; 16 MiB is also the cap


def test_a_slow_reader_does_not_grow() -> None:
    assert wanted_window(256 * KIB, 64 * KIB, 1.0, 0.08) == 256 * KIB
    assert wanted_window(256 * KIB, 64 * KIB, TURN_SECONDS, 0.0) == 256 * KIB


def test_on_a_short_path_a_fast_reader_gets_a_mebibyte_and_no_more() -> None:
    window = 256 * KIB
    for _ in range(10):
        window = wanted_window(window, 1024 * KIB, 0.001, 0.0001)
    assert window == SHORT_PATH_WINDOW


def test_the_cap_never_shrinks_a_window() -> None:
    assert wanted_window(256 * KIB, 64 * KIB, 0.0, 1.0, cap=10) == 256 * KIB


class Stuck:
    def __init__(self, budget: QueueBudget, since: float) -> None:
        self.budget = budget
        self.queued = 0
        self.stuck_since = since
        self.gone = False

    def overrun(self) -> None:
        self.gone = True
        self.budget.change(self, 0, 100.0)


def test_over_the_budget_the_longest_stuck_with_the_most_bytes_is_reset() -> None:
    budget = QueueBudget(1000)
    old_small, old_large, new_large = Stuck(budget, 10.0), Stuck(budget, 10.0), Stuck(budget, 99.0)
    budget.change(old_small, 50, 100.0)
    budget.change(old_large, 450, 100.0)
    budget.change(new_large, 500, 100.0)
    assert budget.used == 1000
    budget.change(new_large, 600, 100.0)
    assert (old_small.gone, old_large.gone, new_large.gone) == (False, True, False)
    assert budget.used == 650
    assert budget.resets == 1


def test_what_is_read_is_given_back() -> None:
    budget = QueueBudget(1000)
    stream = Stuck(budget, 0.0)
    budget.change(stream, 900, 0.0)
    budget.change(stream, 0, 1.0)
    assert budget.used == 0
    assert not budget._holders
