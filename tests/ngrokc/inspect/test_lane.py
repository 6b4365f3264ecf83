from __future__ import annotations

from ngrokc.inspect.lane import Lane


def take(lane: Lane, count: int) -> None:
    """What taps do at the beginning of exchanges."""
    for _ in range(count):
        if lane.full:
            lane.missed += 1
            continue
        lane.left -= 1
        if lane.left < 1:
            lane.full = True


def test_it_fills_fast_while_nothing_is_missed() -> None:
    lane = Lane(10)
    assert not lane.moving
    take(lane, 10)
    assert (lane.full, lane.missed, lane.moving) == (True, 0, True)
    lane.refill(4, 2, crowded=False)
    assert (lane.full, lane.left, lane.moving) == (False, 4, False)
    lane.refill(100, 2, crowded=False)
    assert lane.left == 10


def test_it_fills_slowly_while_something_is() -> None:
    lane = Lane(10)
    take(lane, 12)
    lane.refill(4, 2, crowded=False)
    assert (lane.left, lane.missed) == (2, 2)
    take(lane, 3)
    lane.refill(4, 0.25, crowded=False)
    assert (lane.left, lane.full) == (0.25, True)
    lane.refill(4, 0.25, crowded=False)  # nobody came meanwhile
    assert not lane.full


def test_a_crowded_queue_ends_all_beginnings() -> None:
    lane = Lane(10)
    lane.refill(4, 2, crowded=True)
    assert lane.full


def test_a_lane_rests_when_nobody_is_there_and_nothing_is_owed() -> None:
    lane, held, spent = Lane(10), Lane(10), Lane(10)
    held.taps += 1
    take(spent, 1)
    assert [it.rested for it in (lane, held, spent)] == [True, False, False]
    spent.refill(1, 0, crowded=False)
    assert spent.rested
