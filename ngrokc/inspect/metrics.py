"""Counts, rates and percentiles of one tunnel, in the shape that 1.x and ngrok's agent API give them. Pure but for the clock
that is handed in: rates are exponentially weighted over 1, 5 and 15 minutes, percentiles are those of the last thousand."""

from __future__ import annotations

import math
from collections import deque

WINDOW = 1024
TICK = 5.0
PERCENTILES = (0.5, 0.9, 0.95, 0.99)


class Meter:
    """`mark` at each event with its seconds."""

    def __init__(self, now: float) -> None:
        self.count = 0
        self._seconds: deque[float] = deque(maxlen=WINDOW)
        self._fresh = 0
        self._rates = [0.0, 0.0, 0.0]
        self._ticked = now

    def mark(self, now: float, seconds: float) -> None:
        self._advance(now)
        self.count += 1
        self._fresh += 1
        self._seconds.append(seconds)

    def rates(self, now: float) -> tuple[float, float, float]:
        """Events per second, over 1, 5 and 15 minutes."""
        self._advance(now)
        one, five, fifteen = self._rates
        return one, five, fifteen

    def percentiles(self) -> tuple[float, float, float, float]:
        """p50, p90, p95 and p99 in seconds; zeroes when nothing happened."""
        ordered = sorted(self._seconds)
        if not ordered:
            return 0.0, 0.0, 0.0, 0.0
        p50, p90, p95, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in PERCENTILES)
        return p50, p90, p95, p99

    def plain(self, now: float) -> dict[str, float]:
        """As ngrok's API names them: durations in nanoseconds."""
        one, five, fifteen = self.rates(now)
        p50, p90, p95, p99 = (value * 1e9 for value in self.percentiles())
        return {
            "count": self.count,
            "rate1": round(one, 4),
            "rate5": round(five, 4),
            "rate15": round(fifteen, 4),
            "p50": round(p50),
            "p90": round(p90),
            "p95": round(p95),
            "p99": round(p99),
        }

    def _advance(self, now: float) -> None:
        ticks = int((now - self._ticked) / TICK)
        if ticks <= 0:
            return
        self._ticked += ticks * TICK
        rate, self._fresh = self._fresh / TICK, 0
        for number, minutes in enumerate((1, 5, 15)):
            alpha = 1 - math.exp(-TICK / (60 * minutes))
            value = self._rates[number] + alpha * (rate - self._rates[number])
            self._rates[number] = value * (1 - alpha) ** (ticks - 1)


class TunnelMeters:
    """Connections and exchanges of one tunnel. `gauge`: open connections."""

    def __init__(self, now: float) -> None:
        self.connections = Meter(now)
        self.exchanges = Meter(now)
        self.gauge = 0

    def plain(self, now: float) -> dict[str, dict[str, float]]:
        return {
            "conns": {**self.connections.plain(now), "gauge": self.gauge},
            "http": self.exchanges.plain(now),
        }
