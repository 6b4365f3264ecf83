"""Names whose agent was here a moment ago, and will most likely be back. Pure: given a clock.

When a control link ends, its names are free at once, whoever asks for them; but a visitor who comes before the agent has
dialled again is better told "try again" (503) than "no such thing" (404): senders of webhooks come back after the one and
give up at the other. Nothing is told that a stranger could not have seen: only names that anybody could reach until
RETURN_SECONDS ago count, not reservations and not holds. What was closed on purpose, by the agent or an operator, is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from ngrokd.tunnel import Tunnel
from protocol.names import wildcards_for

RETURN_SECONDS: Final = 30.0  # agents dial again after half a second, one, two ... thirty at most
MOST: Final = 8_192  # names; beyond, the longest gone are forgotten. About 2 MiB

Name = tuple[str, str]


class Absences:
    """Of one server. `clock` gives seconds; `one_listener`: the http listener serves https tunnels too (`-publicUrl`)."""

    def __init__(self, clock: Callable[[], float], *, one_listener: bool = False) -> None:
        self._clock = clock
        self._one_listener = one_listener
        self._until: dict[Name, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def left(self, tunnels: Iterable[Tunnel]) -> None:
        """The agent of `tunnels` is gone without having closed them. Ports are no names: nobody listens there now."""
        until = self._clock() + RETURN_SECONDS
        for tunnel in tunnels:
            if tunnel.host:
                self._until.pop((tunnel.protocol, tunnel.host), None)
                self._until[tunnel.protocol, tunnel.host] = until
        self._forget_old()

    def settled(self, tunnels: Iterable[Tunnel]) -> None:
        """`tunnels` are here (again), or were closed on purpose."""
        if self._until:
            for tunnel in tunnels:
                self._until.pop((tunnel.protocol, tunnel.host), None)

    def away(self, scheme: str, host: str) -> bool:
        """Whether an agent that served this name is expected back. For names that the registry does not know now."""
        if not self._until:
            return False
        schemes = (scheme, "https") if self._one_listener and scheme == "http" else (scheme,)
        now = self._clock()
        return any(
            self._until.get((kind, name), now) > now for name in (host, *wildcards_for(host)) for kind in schemes
        )

    def _forget_old(self) -> None:
        """In the order of leaving, so those whose time is over come first."""
        now = self._clock()
        while self._until:
            first = next(iter(self._until))
            if self._until[first] > now and len(self._until) <= MOST:
                return
            del self._until[first]
