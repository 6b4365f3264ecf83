"""Memory in bounds, pure. yamux has no window for the whole connection, so two things stand in its place:

- `Growth`: windows start at 256 KiB and grow with the measured bandwidth-delay product, out of nested allowances
  (a leg's, its session's, the server's);
- `QueueBudget`: what slow readers leave unread counts against one budget of the server. Over it, the stream that has been
  stuck longest with the most bytes is reset.
"""

from __future__ import annotations

from typing import Final, Protocol

STREAM_WINDOW_CAP: Final = 16 * 1024 * 1024  # 80 ms at 1 Gbit/s is 10 MB in flight
LEG_GROWTH: Final = 64 * 1024 * 1024  # promises past 256 KiB; memory in use is what QueueBudget bounds
SERVER_QUEUED: Final = 256 * 1024 * 1024
TURN_SECONDS: Final = 0.002
"""What the programs' own turns add to a path when the machine is busy."""
SHORT_PATH_WINDOW: Final = 1024 * 1024
"""Up to here TURN_SECONDS count as path, so that loopback and LANs end at 1 MiB: 256 KiB cost a quarter of the rate there, and
more only adds to what small requests wait behind in the kernel. Past it the measured round trip alone decides."""
JUDGE_SECONDS: Final = (
    0.001  # rates are judged over a round trip, and over this at least: a burst says nothing of the path
)


class Growth:
    """An allowance, part of a larger one or not: `take` says whether it is granted, all levels together or none."""

    __slots__ = ("_parent", "limit", "used")

    def __init__(self, limit: int = LEG_GROWTH, parent: Growth | None = None) -> None:
        self.limit = limit
        self.used = 0
        self._parent = parent

    def take(self, count: int) -> bool:
        if self.used + count > self.limit or (self._parent is not None and not self._parent.take(count)):
            return False
        self.used += count
        return True

    def give_back(self, count: int) -> None:
        self.used -= count
        if self._parent is not None:
            self._parent.give_back(count)


def wanted_window(window: int, count: int, seconds: float, rtt: float, cap: int = STREAM_WINDOW_CAP) -> int:
    """The window a stream should have whose reader took `count` bytes in `seconds`, on a path of `rtt` seconds.

    A sender that the window holds back sends one window per round trip. From half that rate up we double, so the window
    ends at twice the bandwidth-delay product and is out of the way.
    """
    path = rtt if window >= SHORT_PATH_WINDOW else max(rtt, TURN_SECONDS)
    if window * seconds >= 2 * count * path:
        return window
    return min(window * 2, max(cap, window))


class Held(Protocol):
    """A stream as the budget sees it."""

    queued: int
    """Bytes its owner has not read."""
    stuck_since: float
    """When its owner last took any of them (or when the first was queued), seconds."""

    def overrun(self) -> None:
        """Reset it: its bytes are needed. Must bring its `queued` to 0 through `QueueBudget.change`."""


class QueueBudget:
    """Queued bytes of all streams of all legs of a server."""

    __slots__ = ("_holders", "limit", "resets", "used")

    def __init__(self, limit: int = SERVER_QUEUED) -> None:
        self.limit = limit
        self.used = 0
        self.resets = 0
        self._holders: set[Held] = set()

    def change(self, stream: Held, queued: int, now: float) -> None:
        """`stream.queued` becomes `queued`. May reset streams (`stream` too) until the budget holds again."""
        before = stream.queued
        stream.queued = queued
        self.used += queued - before
        if not queued:
            self._holders.discard(stream)
        elif not before:
            self._holders.add(stream)
        while self.used > self.limit and self._holders:
            self.resets += 1
            self._worst(now).overrun()

    def _worst(self, now: float) -> Held:
        # the 1: among streams that all got stuck just now the largest goes
        return max(self._holders, key=lambda stream: stream.queued * (now - stream.stuck_since + 1.0))
