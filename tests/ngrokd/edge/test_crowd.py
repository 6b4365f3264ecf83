"""Counting visitors: each limit at its figure and one past it, and nothing stays behind."""

from __future__ import annotations

import pytest

from ngrokd.edge.crowd import Crowd, CrowdLimits, descriptor_ceiling


def test_in_all() -> None:
    crowd = Crowd(CrowdLimits(in_all=2))
    assert [crowd.enter(None, 9) for _ in range(3)] == [None, None, "overloaded"]
    crowd.leave(None)
    assert crowd.enter(None, 9) is None
    assert crowd.live == 2
    assert crowd.refused == {"overloaded": 1}


def test_of_one_address() -> None:
    crowd = Crowd(CrowdLimits(of_one=2))
    one, other = crowd.source("192.0.2.1"), crowd.source("192.0.2.2")
    assert [crowd.enter(one, 9) for _ in range(3)] == [None, None, "rate_limited"]
    assert crowd.enter(other, 9) is None
    for _ in range(2):
        crowd.leave(one)
    crowd.leave(other)
    assert (crowd.live, len(crowd._counts)) == (0, 0)


def test_an_ipv6_visitor_counts_by_its_network() -> None:
    crowd = Crowd(CrowdLimits(of_one=1))
    assert crowd.source("2001:db8::1") == crowd.source("2001:db8::2") != crowd.source("2001:db8:0:1::1")
    assert Crowd().source("192.0.2.1") is None  # nobody asks, so nothing is parsed


def test_descriptors_are_kept_for_agents() -> None:
    crowd = Crowd(CrowdLimits(descriptors=100))
    assert crowd.enter(None, 99) is None
    assert crowd.enter(None, 100) == "no_descriptor"


@pytest.mark.parametrize(("allowed", "ceiling"), [(256, 192), (1024, 768), (65536, 65280)])
def test_what_is_kept(allowed: int, ceiling: int) -> None:
    assert descriptor_ceiling(allowed) == ceiling


def test_limits_that_change_under_way() -> None:
    """Nobody is counted twice or for ever, whichever limit there was when they came."""
    crowd = Crowd(CrowdLimits(of_one=2))
    one = crowd.source("192.0.2.1")
    assert crowd.enter(one, 5) is None
    crowd.use(CrowdLimits())
    uncounted = crowd.source("192.0.2.1")
    assert crowd.enter(uncounted, 6) is None
    crowd.leave(one)
    crowd.use(CrowdLimits(of_one=1))
    assert crowd.enter(one, 7) is None
    assert crowd.enter(one, 8) == "rate_limited"
    crowd.leave(uncounted)
    crowd.leave(one)
    assert crowd.live == 0
    assert crowd.enter(one, 8) is None
