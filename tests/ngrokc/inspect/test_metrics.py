from __future__ import annotations

from ngrokc.inspect.metrics import WINDOW, Meter, TunnelMeters


def test_percentiles_of_the_last_ones() -> None:
    meter = Meter(0)
    assert meter.percentiles() == (0, 0, 0, 0)
    for number in range(WINDOW * 2):
        meter.mark(0, number)
    assert meter.count == WINDOW * 2
    assert [round(value / WINDOW, 2) for value in meter.percentiles()] == [1.5, 1.9, 1.95, 1.99]


def test_rates_rise_and_fade() -> None:
    meter = Meter(0)
    for second in range(600):
        for _ in range(10):
            meter.mark(second, 0.001)
    one, five, fifteen = meter.rates(600)
    assert 9.9 < one <= 10
    assert five > fifteen
    assert meter.rates(600 + 3600)[0] < 0.01


def test_the_shape() -> None:
    meters = TunnelMeters(0)
    meters.exchanges.mark(0, 0.5)
    plain = meters.plain(0)
    assert set(plain["conns"]) == {"count", "gauge", "rate1", "rate5", "rate15", "p50", "p90", "p95", "p99"}
    assert plain["http"]["p50"] == 500_000_000
