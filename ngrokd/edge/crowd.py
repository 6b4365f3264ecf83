"""How many visitors there may be: in all, from one address, and by the descriptors that are left for agents.

Counts connections of the http, https and tcp listeners from accept to their end. Pure; what a visitor too many is told is
the listener's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

from ngrokd.policy.addresses import parse_address, source_of

RESERVE_MOST = 256  # descriptors kept for agents, their links and files, where the process may have 1 024 or more


@dataclass(frozen=True, slots=True)
class CrowdLimits:
    """0 means no limit. `descriptors`: from this descriptor number on, sockets are for agents alone. Numbers are given out
    from below, so the number of a fresh socket says how many are in use."""

    in_all: int = 0
    of_one: int = 0
    descriptors: int = 0


def descriptor_ceiling(allowed: int) -> int:
    """Where visitors stop when the process may have `allowed` descriptors: a quarter is kept, 256 at most."""
    return allowed - min(RESERVE_MOST, allowed // 4)


class Crowd:
    """Every visitor that was let in `enter`s once and `leave`s once."""

    __slots__ = ("_counts", "limits", "live", "refused")

    def __init__(self, limits: CrowdLimits | None = None) -> None:
        self.limits = limits or CrowdLimits()
        self.live = 0
        self.refused: Counter[str] = Counter()
        """By code, since the start."""
        self._counts: Counter[Hashable] = Counter()

    def use(self, limits: CrowdLimits) -> None:
        """Other limits from the next visitor on. Who came while nobody counted by address is not counted later either."""
        if not limits.of_one:
            self._counts.clear()  # those who leave from now on are counted for nobody
        self.limits = limits

    def source(self, address: str) -> Hashable:
        """Whom a connection from `address` counts for (IPv6: the /64); None where nobody asks."""
        return source_of(parse_address(address)) if self.limits.of_one else None

    def enter(self, source: Hashable, fileno: int) -> str | None:
        """Count a visitor; or the code of what it is refused for: `no_descriptor` (nothing can be said), `overloaded`,
        `rate_limited`."""
        code = self._too_many(source, fileno)
        if code is None:
            self.live += 1
            if source is not None:
                self._counts[source] += 1
        else:
            self.refused[code] += 1
        return code

    def _too_many(self, source: Hashable, fileno: int) -> str | None:
        limits = self.limits
        if limits.descriptors and fileno >= limits.descriptors:
            return "no_descriptor"
        if limits.in_all and self.live >= limits.in_all:
            return "overloaded"
        if limits.of_one and source is not None and self._counts[source] >= limits.of_one:
            return "rate_limited"
        return None

    def leave(self, source: Hashable) -> None:
        """A visitor that had entered is gone."""
        self.live -= 1
        if source is not None and source in self._counts:
            self._counts[source] -= 1
            if not self._counts[source]:
                del self._counts[source]
