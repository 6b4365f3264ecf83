"""What the sessions of one token use together, against its limits. Pure: the caller brings the clock.

`Usages` keeps one `Usage` per token while any of its sessions lives. The edge asks `admit_request`, openers take
connections' slots and share `bucket`; `refused` counts, by reason, what was turned away. The operator reads it; the owner's
agents are told with a Notice, seldom enough that a flood of visitors is no flood for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from ngrokd.grants import Grant
from ngrokd.limits import FairBucket, Rate, Slot, Slots
from protocol.errors import Fault
from protocol.messages import Notice

if TYPE_CHECKING:
    from ngrokd.throttle import ThrottledPort

TELL_EVERY: Final = 60.0  # seconds between two Notices of one code

Tell = Callable[[Notice], None]  # must not wait or raise


def tell_nobody(_notice: Notice) -> None:
    """For sessions without a control link: tests, embedding."""


class Usage:
    """One token's. `grant` is that of its newest session."""

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self.listeners: list[Tell] = []
        """One for each session of the token."""
        self.refused: Counter[str] = Counter()
        self._told: dict[str, float] = {}
        scope = grant.scope
        self._requests = _rate(grant)
        self._connections = Slots("connections at a time for this token")
        self.bucket: FairBucket[ThrottledPort] | None = None
        if scope.max_bandwidth is not None:
            self.bucket = FairBucket(scope.max_bandwidth)

    def use(self, grant: Grant) -> None:
        """Other limits from now on. Connections stay counted; those that run keep the bandwidth that they had."""
        before, self.grant = self.grant.scope, grant
        scope = grant.scope
        if scope.max_requests != before.max_requests:
            self._requests = _rate(grant)
        if scope.max_bandwidth != before.max_bandwidth:
            self.bucket = FairBucket(scope.max_bandwidth) if scope.max_bandwidth is not None else None

    def __repr__(self) -> str:
        return f"<Usage {self.grant.name} sessions={self.sessions} connections={self.connections}>"

    @property
    def sessions(self) -> int:
        return len(self.listeners)

    @property
    def connections(self) -> int:
        return self._connections.used(self.grant.account)

    @property
    def counts_connections(self) -> bool:
        """Whether each stream has to be looked at: there is a limit on their number or their bytes."""
        return self.bucket is not None or self.grant.scope.max_connections is not None

    def admit_request(self, now: float) -> bool:
        """Whether one more request may be served now; counted when not."""
        if self._requests is None or self._requests.admit(now):
            return True
        self.refused["requests"] += 1
        allowed = f"{self.grant.scope.max_requests:g} requests a second (--max-requests)"
        self._tell("tunnel_rate_limited", f"visitors are turned away: {self._may_have(allowed, 'requests')}", now)
        return False

    def connection(self, now: float) -> Slot:
        """A slot for one visitor's stream. Raises Fault `limit_reached`; counted."""
        try:
            return self._connections.slot(self.grant.account, self.grant.scope.max_connections)
        except Fault:
            self.refused["connections"] += 1
            allowed = f"{self.grant.scope.max_connections} visitors at a time (--max-connections)"
            self._tell("limit_reached", f"visitors are turned away: {self._may_have(allowed, 'connections')}", now)
            raise

    def _may_have(self, allowed: str, refused: str) -> str:
        return f"the token {self.grant.name} may have {allowed}; {self.refused[refused]} refused so far"

    def _tell(self, code: str, message: str, now: float) -> None:
        if now - self._told.get(code, float("-inf")) < TELL_EVERY:
            return
        self._told[code] = now
        for tell in self.listeners:
            tell(Notice(code, message))


def _rate(grant: Grant) -> Rate | None:
    most = grant.scope.max_requests
    return Rate(most) if most is not None else None


class Usages:
    """By token id."""

    def __init__(self) -> None:
        self._found: dict[str, Usage] = {}

    def __iter__(self) -> Iterator[Usage]:
        return iter(list(self._found.values()))

    def get(self, account: str) -> Usage | None:
        return self._found.get(account)

    def join(self, grant: Grant, tell: Tell = tell_nobody) -> Usage:
        """The usage that a new session of this token shares; `tell` reaches its agent. `leave` with the same at its end."""
        usage = self._found.get(grant.account)
        if usage is None:
            usage = self._found[grant.account] = Usage(grant)
        usage.listeners.append(tell)
        return usage

    def leave(self, usage: Usage, tell: Tell = tell_nobody) -> None:
        usage.listeners.remove(tell)
        if not usage.listeners:
            self._found.pop(usage.grant.account, None)
