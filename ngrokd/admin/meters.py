"""Counting on the hot path: plain attributes, nothing else. What is made of the numbers is `metrics` and `operator`'s business.

One exchange costs three additions to lists and one look-up. Names of tunnels become labels of metrics, so how many are told
apart is capped; those that come later are counted together under OTHER. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ngrokd.edge.visitor import VisitorConnection
    from ngrokd.tunnel import Tunnel

MAX_LABELS: Final = 200  # tunnels told apart in metrics: each makes about ten series
OTHER: Final = "other"
STATUS_CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
LOWEST: Final = 7  # of the powers of two, in microseconds, that buckets end at: 128 us
HIGHEST: Final = 26  # 67 s


class Histogram:
    """How often something took how long, in buckets that end at powers of two of microseconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (HIGHEST + 2)  # the last: longer than all
        self.total = 0.0

    def add(self, seconds: float) -> None:
        place = int(seconds * 1e6).bit_length() if seconds > 0 else 0
        self.counts[place if place <= HIGHEST else HIGHEST + 1] += 1
        self.total += seconds

    def buckets(self) -> Iterator[tuple[float, int]]:
        """(upper bound in seconds, how many took at most that), cumulative; the last bound is infinity."""
        found = sum(self.counts[:LOWEST])
        for place in range(LOWEST, HIGHEST + 1):
            found += self.counts[place]
            yield (1 << place) / 1e6, found
        yield float("inf"), found + self.counts[HIGHEST + 1]

    def __len__(self) -> int:
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """The upper bound of the bucket in which `share` (0..1) of all is reached; None without any."""
        wanted = len(self) * share
        return next((bound for bound, count in self.buckets() if count and count >= wanted), None)


class Tally:
    """What happened under one label, for as long as the server lives."""

    __slots__ = ("connections", "down", "label", "protocol", "statuses", "up")

    def __init__(self, label: str, protocol: str) -> None:
        self.label = label
        self.protocol = protocol
        self.statuses = [0] * len(STATUS_CLASSES)
        self.connections = 0
        self.up = 0
        self.down = 0


class _Tracked:
    """A tunnel and how much of its traffic its tally has already."""

    __slots__ = ("connections", "down", "tally", "up")

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.connections = self.up = self.down = 0

    def follow(self, tunnel: Tunnel) -> None:
        traffic, tally = tunnel.traffic, self.tally
        tally.connections += traffic.connections - self.connections
        tally.up += traffic.up - self.up
        tally.down += traffic.down - self.down
        self.connections, self.up, self.down = traffic.connections, traffic.up, traffic.down


class Meters:
    """All of a server's counters. It is the edge's Observer: calling it never waits and never raises.

    `now` is the reactor's clock; `also` is told of each exchange too (the access log), None for nobody.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._tracked: dict[Tunnel, _Tracked] = {}
        self.also: Callable[[VisitorConnection, Tunnel | None, int], None] | None = None
        self.opening = Histogram()
        """From a request's head to its stream."""
        self.answering = Histogram()
        """From a request's head to the head of its answer."""
        self.exchanges = Histogram()
        """From a request's head to the end of the exchange; an upgrade ends with its 101."""
        self.lag = Histogram()
        """How late the loop serves what is due."""
        self.refused_logins: Counter[str] = Counter()
        self.logins = 0
        self.changes: Counter[str] = Counter()
        """Administrative changes, by kind."""
        self.stalls = 0

    def __call__(self, visitor: VisitorConnection, tunnel: Tunnel | None, status: int) -> None:
        if tunnel is not None:
            tracked = self._tracked.get(tunnel) or self._track(tunnel)
            tracked.tally.statuses[status // 100 if status < 600 else 5] += 1
        began = visitor.began
        if visitor.opened > began:
            self.opening.add(visitor.opened - began)
        if visitor.answered >= began:
            self.answering.add(visitor.answered - began)
        self.exchanges.add(self._now() - began)
        if self.also is not None:
            self.also(visitor, tunnel, status)

    def _track(self, tunnel: Tunnel) -> _Tracked:
        key = (tunnel.protocol, tunnel.host or f"port {tunnel.port}")
        tally = self._tallies.get(key)
        if tally is None:
            if len(self._tallies) >= MAX_LABELS:
                key = (tunnel.protocol, OTHER)
                tally = self._tallies.get(key)
            if tally is None:
                tally = self._tallies[key] = Tally(key[1], key[0])
        tracked = self._tracked[tunnel] = _Tracked(tally)
        return tracked

    def collect(self, tunnels: Iterable[Tunnel]) -> list[Tally]:
        """Bring the tallies up to date with the tunnels that are online and those that were; all tallies.

        Call it now and then (each few seconds): what a tunnel did between two calls is not lost when it ends, as the
        tunnel is held until it has no visitors any more."""
        online = set(tunnels)
        for tunnel in online:
            if tunnel not in self._tracked:
                self._track(tunnel)
        for tunnel, tracked in list(self._tracked.items()):
            tracked.follow(tunnel)
            if tunnel not in online and tunnel.traffic.live <= 0:
                del self._tracked[tunnel]
        return list(self._tallies.values())
