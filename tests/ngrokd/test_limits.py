"""Slots, rates and the fair bucket: never more than allowed over time, nobody waits for ever, everything is given back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokd.limits import FairBucket, Rate, Slots
from protocol.errors import Fault


def test_slots_are_counted_for_each_key_and_given_back_once() -> None:
    slots = Slots("connections")
    first, _second = slots.slot("a", 2), slots.slot("a", 2)
    with pytest.raises(Fault, match="too many connections"):
        slots.slot("a", 2)
    with slots.slot("b", 1):
        assert slots.used("b") == 1
    assert slots.used("b") == 0
    first.release()
    first.release()
    assert slots.used("a") == 1
    slots.slot("a", 2)


def test_a_slot_is_given_back_on_a_failure() -> None:
    slots = Slots("connections")
    with pytest.raises(ZeroDivisionError), slots.slot("a", 1):
        1 / 0  # noqa: B018 - the failure
    assert slots.used("a") == 0
    assert "used=0" in repr(slots)


def test_no_limit_still_counts() -> None:
    slots = Slots("sessions")
    taken = [slots.slot("a", None) for _ in range(50)]
    assert slots.used("a") == 50
    for slot in taken:
        slot.release()
    assert slots.used("a") == 0


@given(st.floats(0.1, 100), st.lists(st.floats(0, 3), max_size=200))
def test_a_rate_is_kept_over_time(per_second: float, pauses: list[float]) -> None:
    rate, now, admitted = Rate(per_second), 1000.0, 0
    for pause in pauses:
        now += pause
        admitted += rate.admit(now)
    assert admitted <= max(per_second, 1.0) + per_second * (now - 1000.0) + 1e-6


def test_a_rate_lets_a_second_of_events_come_at_once_and_recovers() -> None:
    rate = Rate(5)
    assert [rate.admit(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert rate.admit(0.2)
    assert not rate.admit(0.2)
    assert not rate.admit(-50.0)  # a clock that goes back gives nothing


@given(st.floats(1024, 1e9), st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 3)), max_size=100))
def test_no_more_bytes_than_the_rate_allows(per_second: float, steps: list[tuple[float, int]]) -> None:
    bucket: FairBucket[int] = FairBucket(per_second)
    now, given_out = 0.0, 0
    for pause, user in steps:
        now += pause
        given_out += len(bucket.hand_out(now)) * bucket.credit
        got = bucket.take(now)
        given_out += got
        if not got:
            bucket.wait(user)
    assert given_out <= max(per_second * 0.1, bucket.credit) + per_second * now + 1


def test_who_waits_is_served_in_turn() -> None:
    """One that always wants more gets no more than those beside it."""
    bucket: FairBucket[str] = FairBucket(100_000)
    now, got = 0.0, dict.fromkeys("abc", 0)
    for user in "abc":
        bucket.wait(user)
    for _ in range(3000):
        now += (bucket.next_due() or 0.0) + 1e-6
        for user in bucket.hand_out(now):
            got[user] += bucket.credit
            bucket.wait(user)
    assert max(got.values()) - min(got.values()) <= bucket.credit
    assert sum(got.values()) == pytest.approx(100_000 * now, rel=0.05)


def test_a_newcomer_does_not_pass_the_line() -> None:
    bucket: FairBucket[str] = FairBucket(50_000)
    while bucket.take(0.0):
        pass
    bucket.wait("first")
    assert bucket.take(10.0) == 0
    assert bucket.hand_out(10.0) == ["first"]
    assert bucket.next_due() is None
    assert bucket.take(10.0) == bucket.credit


def test_unused_credit_comes_back() -> None:
    bucket: FairBucket[str] = FairBucket(2048)
    got = bucket.take(0.0)
    assert not bucket.take(0.0)
    bucket.leave("a", got)
    assert bucket.take(0.0) == got
    bucket.wait("b")
    bucket.leave("b", 0)
    assert bucket.waiting == 0
    assert "waiting=0" in repr(bucket)
