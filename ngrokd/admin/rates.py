"""Bytes and connections a second, from counters that are looked at every few seconds. Pure: the caller brings the clock."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """Per second, over the time between the last two looks."""

    up: float = 0.0
    down: float = 0.0
    connections: float = 0.0

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.up + other.up, self.down + other.down, self.connections + other.connections)


Counts = tuple[int, int, int]
"""Bytes up, bytes down, connections: totals that never fall while their key lives."""

QUIET = Rate()


class Rates:
    """Rates by key. `look` is called with the totals of all keys; keys that are gone are forgotten."""

    def __init__(self) -> None:
        self._then: float | None = None
        self._seen: dict[Hashable, Counts] = {}
        self._rates: dict[Hashable, Rate] = {}

    def of(self, key: Hashable) -> Rate:
        return self._rates.get(key, QUIET)

    @property
    def total(self) -> Rate:
        return sum(self._rates.values(), QUIET)

    def look(self, now: float, totals: Mapping[Hashable, Counts]) -> None:
        """Take the totals of this moment. Totals that fell (bytes under way that were booked elsewhere) count as no change."""
        seconds = now - self._then if self._then is not None else 0.0
        if seconds > 0:
            self._rates = {
                key: self._rate(counts, self._seen.get(key, (0, 0, 0)), seconds) for key, counts in totals.items()
            }
        self._then = now
        self._seen = dict(totals)

    @staticmethod
    def _rate(now: Counts, before: Counts, seconds: float) -> Rate:
        up, down, connections = (max(0, new - old) / seconds for new, old in zip(now, before, strict=True))
        return Rate(up, down, connections)
