"""Counters of the hot path: histograms, tallies that outlive their tunnels, labels that are bounded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from ngrokd.admin import meters
from ngrokd.admin.meters import OTHER, Histogram, Meters
from ngrokd.tunnel import Traffic


def tunnel(host: str = "a.example", protocol: str = "http", port: int = 0) -> Any:
    class Tunnel:
        pass

    made = Tunnel()
    made.__dict__.update(protocol=protocol, host=host, port=port, traffic=Traffic())
    return made


def visit(began: float = 1.0, opened: float = 1.0, answered: float = 1.0) -> Any:
    return SimpleNamespace(began=began, opened=opened, answered=answered)


def test_a_histogram_counts_by_powers_of_two() -> None:
    found = Histogram()
    for seconds in (0.0, 0.00005, 0.0002, 0.003, 0.003, 100.0, -1.0):
        found.add(seconds)
    buckets = list(found.buckets())
    assert buckets[-1] == (float("inf"), 7)
    assert len(found) == 7
    assert dict(buckets)[0.000128] == 3
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    assert found.quantile(0.5) == 0.000256
    assert Histogram().quantile(0.5) is None


def test_every_value_lies_below_its_bound() -> None:
    for seconds in (0.000127, 0.000128, 0.000129, 0.5, 1.048575, 60.0):
        found = Histogram()
        found.add(seconds)
        bound = found.quantile(1.0)
        assert bound is not None
        assert seconds < bound


def test_what_a_tunnel_did_stays_when_it_is_gone() -> None:
    counters = Meters(lambda: 2.0)
    first = tunnel()
    first.traffic.up, first.traffic.connections = 10, 1
    counters.collect([first])
    first.traffic.up = 25
    (tally,) = counters.collect([])
    assert (tally.label, tally.up, tally.connections) == ("a.example", 25, 1)
    again = tunnel()
    again.traffic.up = 5
    (tally,) = counters.collect([again])
    assert tally.up == 30
    assert len(counters._tracked) == 1


def test_a_tunnel_is_followed_until_its_last_visitor_left() -> None:
    counters = Meters(lambda: 2.0)
    found = tunnel()
    found.traffic.live = 1
    counters.collect([found])
    counters.collect([])
    found.traffic.live, found.traffic.down = 0, 7
    (tally,) = counters.collect([])
    assert tally.down == 7
    assert not counters._tracked


def test_exchanges_are_counted_by_class() -> None:
    counters = Meters(lambda: 3.0)
    found = tunnel()
    for status in (200, 204, 304, 404, 502, 0, 999, 101):
        counters(visit(), found, status)
    counters(visit(), None, 200)
    (tally,) = counters.collect([found])
    assert tally.statuses == [1, 1, 2, 1, 1, 2]
    assert len(counters.exchanges) == 9


def test_only_a_stream_that_was_waited_for_counts_as_opened() -> None:
    counters = Meters(lambda: 3.0)
    counters(visit(opened=1.5), tunnel(), 200)
    counters(visit(), tunnel(), 200)
    counters(visit(answered=0.5), tunnel(), 200)  # the answer before this one
    assert (len(counters.opening), len(counters.answering)) == (1, 2)


def test_others_are_told_too() -> None:
    counters, seen = Meters(lambda: 3.0), []
    counters.also = lambda visitor, found, status: seen.append(status)
    counters(visit(), None, 200)
    assert seen == [200]


def test_labels_are_bounded() -> None:
    counters = Meters(lambda: 0.0)
    tunnels = [tunnel(f"h{number}") for number in range(meters.MAX_LABELS + 50)]
    found = counters.collect(cast("Any", tunnels))
    assert len(found) == meters.MAX_LABELS + 1
    assert found[-1].label == OTHER
