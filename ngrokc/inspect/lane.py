"""How many exchanges of one tunnel may be looked at: a bucket that fills fast while everything is seen, slowly while not.

A person who can't see everything is served by a sample as well as by half of it, and the sample costs the traffic a
fraction. Each tunnel has a lane of its own, so that a flood on one does not blind the others. Pure: time is handed in.
"""

from __future__ import annotations


class Lane:
    """`full` tells taps to begin nothing new; a tap that begins takes one of `left`; one that must not counts in `missed`."""

    __slots__ = ("_burst", "_left_before", "_missed_before", "full", "left", "missed", "taps")

    def __init__(self, burst: int) -> None:
        self._burst = float(burst)
        self._missed_before = 0
        self._left_before = float(burst)
        self.left = float(burst)
        self.missed = 0
        self.full = False
        self.taps = 0
        """Open connections."""

    def __repr__(self) -> str:
        return f"<Lane {self.left:.0f} left, {self.missed} missed{' full' if self.full else ''}>"

    @property
    def moving(self) -> bool:
        """Whether an exchange began since the last `refill`, seen or not."""
        return self.missed != self._missed_before or self.left != self._left_before

    @property
    def rested(self) -> bool:
        """Nothing is owed and nobody is connected: a new lane would be the same."""
        return not self.taps and self.left >= self._burst and not self.full

    def refill(self, follow: float, sample: float, *, crowded: bool) -> None:
        """Give back what time has earned: `follow` exchanges when all were seen since the last time, else `sample`.
        `crowded`: nothing new may begin, however much is left."""
        earned = follow if self.missed == self._missed_before else sample
        self._missed_before = self.missed
        self.left = self._left_before = min(self._burst, max(self.left, 0.0) + earned)
        self.full = crowded or self.left < 1
