"""How long to wait before the next attempt. Pure: it knows neither a clock nor what is being attempted.

Full jitter: each wait is drawn evenly between nothing and the bound, and the bound grows by what was waited, so it doubles
at most. A restarted server sees its thousand agents come back spread out, not as a wave that falls on it again and again in
step; and a few short waits in a row make nobody wait much longer than the server was away.
"""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST = 0.5  # seconds: a dropped link is mostly back at once
LONGEST = 30.0  # as 1.7; longer would let people wait in front of a server that works again

Draw = Callable[[float, float], float]


class Backoff:
    """Waits that grow with the failures in a row. `next()` draws one, `reset()` starts over after a success."""

    def __init__(self, first: float = FIRST, longest: float = LONGEST, *, draw: Draw | None = None) -> None:
        """`draw(low, high)` gives a number between the two; by default from the system's random source."""
        self._first = first
        self._longest = longest
        self._draw: Draw = draw if draw is not None else random.SystemRandom().uniform
        self._bound = first

    @property
    def bound(self) -> float:
        """The longest that the next wait can be, in seconds."""
        return self._bound

    def next(self) -> float:
        """The seconds to wait now; the bound grows by them for the time after."""
        wait = self._draw(0.0, self._bound)
        self._bound = min(self._bound + wait, self._longest)
        return wait

    def reset(self) -> None:
        self._bound = self._first
