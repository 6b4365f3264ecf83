"""What the sessions of one token use together, against its limits. Pure: the caller brings the clock.

`Usages` keeps one `Usage` per token while any of its sessions lives. The edge asks `admit_request`, openers take
connections' slots and share `bucket`; `refused` counts, by reason, what was turned away, for the operator and the owner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ngrokd.grants import Grant
from ngrokd.limits import FairBucket, Rate, Slot, Slots
from protocol.errors import Fault

if TYPE_CHECKING:
    from ngrokd.throttle import ThrottledPort


class Usage:
    """One token's. `grant` is that of its newest session."""

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self.sessions = 0
        self.refused: Counter[str] = Counter()
        scope = grant.scope
        self._requests = Rate(scope.max_requests) if scope.max_requests is not None else None
        self._connections = Slots("connections at a time for this token")
        self.bucket: FairBucket[ThrottledPort] | None = None
        if scope.max_bandwidth is not None:
            self.bucket = FairBucket(scope.max_bandwidth)

    def __repr__(self) -> str:
        return f"<Usage {self.grant.name} sessions={self.sessions} connections={self.connections}>"

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
        return False

    def connection(self) -> Slot:
        """A slot for one visitor's stream. Raises Fault `limit_reached`; counted."""
        try:
            return self._connections.slot(self.grant.account, self.grant.scope.max_connections)
        except Fault:
            self.refused["connections"] += 1
            raise


class Usages:
    """By token id."""

    def __init__(self) -> None:
        self._found: dict[str, Usage] = {}

    def __iter__(self) -> Iterator[Usage]:
        return iter(list(self._found.values()))

    def get(self, account: str) -> Usage | None:
        return self._found.get(account)

    def join(self, grant: Grant) -> Usage:
        """The usage that a new session of this token shares; `leave` at its end."""
        usage = self._found.get(grant.account)
        if usage is None:
            usage = self._found[grant.account] = Usage(grant)
        usage.sessions += 1
        return usage

    def leave(self, usage: Usage) -> None:
        usage.sessions -= 1
        if usage.sessions <= 0:
            self._found.pop(usage.grant.account, None)
