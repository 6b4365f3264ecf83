"""Where visitors wait whose tunnel is known but not here yet: for some seconds after a hot restart, until its agent is back.

Callbacks of the reactor; nothing here decides. When a tunnel has come, everybody is told to look again; who is left when the
time is over looks again too, and finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ngrokd.edge.visitor import VisitorConnection
    from protocol.link.reactor import Reactor

PATIENCE: Final = 10.0  # seconds after the restart
MOST: Final = 4_096  # visitors that wait


class WaitingRoom:
    """`names`: (scheme, host) of the tunnels that the server had before it was replaced."""

    def __init__(self, reactor: Reactor, names: Iterable[tuple[str, str]]) -> None:
        self._names = frozenset(names)
        self._visitors: dict[VisitorConnection, None] = {}
        self._reactor = reactor
        self._timer = reactor.timer(self._close)
        self._open = bool(self._names)
        if self._open:
            self._timer.set(PATIENCE)

    def __len__(self) -> int:
        return len(self._visitors)

    def takes(self, visitor: VisitorConnection, scheme: str, host: str) -> bool:
        """Whether `visitor` may wait for this name; then `look_again` is called on it later."""
        if not self._open or (scheme, host) not in self._names or len(self._visitors) >= MOST:
            return False
        self._visitors[visitor] = None
        return True

    def leave(self, visitor: VisitorConnection) -> None:
        """It is gone, waiting or not."""
        self._visitors.pop(visitor, None)

    def tunnel_came(self) -> None:
        """Some tunnel is online that was not before."""
        if self._visitors:
            self._reactor.soon(self._call_all)

    def _call_all(self) -> None:
        visitors, self._visitors = self._visitors, {}
        for visitor in visitors:
            visitor.look_again()

    def _close(self) -> None:
        self._open = False
        self._call_all()
