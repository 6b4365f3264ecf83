"""The one stream that a visitor connection may hold: opening it, counting it, letting it go.

A stream serves one visitor connection and one tunnel. Knows no HTTP: what an ended stream means is the exchange's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from protocol.errors import Fault
from protocol.link.port import Port
from protocol.messages import StartProxy

if TYPE_CHECKING:
    from ngrokd.opener import Cancel
    from ngrokd.tunnel import Tunnel


class StreamSlot:
    """Empty, opening or holding. `opened` gets the fault when there is no stream to be had, None when there is."""

    __slots__ = ("_cancel", "_counted", "_opened", "poisoned", "port", "tunnel", "used")

    def __init__(self, opened: Callable[[Fault | None], None]) -> None:
        self._opened = opened
        self._cancel: Cancel | None = None
        self._counted: Tunnel | None = None
        self.port: Port | None = None
        self.tunnel: Tunnel | None = None
        """Whose the stream is, or will be."""
        self.used = False
        """An answer came over it: the service may have closed it between exchanges."""
        self.poisoned = False
        """It said more than it was asked, or said it too early: not to be used again."""

    def open(self, tunnel: Tunnel, start: StartProxy) -> None:
        """Ask for a stream; `opened` is called once, maybe at once."""
        self.tunnel = tunnel
        self.used = self.poisoned = False
        answered = False

        def ready(outcome: Port | Fault) -> None:
            nonlocal answered
            answered = True
            self._cancel = None
            if isinstance(outcome, Fault):
                self.tunnel = None
                self._opened(outcome)
            else:
                self.port = outcome
                self._count(tunnel)
                self._opened(None)

        cancel = tunnel.session.opener.open(start, ready)
        if not answered:
            self._cancel = cancel

    def fits(self, tunnel: Tunnel) -> bool:
        """Whether the next request for `tunnel` may go over this stream."""
        return self.port is not None and self.tunnel is tunnel and not self.poisoned

    @property
    def native(self) -> bool:
        return self.tunnel is not None and bool(self.tunnel.session.caps)

    # -- letting go
    def close(self) -> None:
        """In an orderly way: between exchanges, or when the stream ended by itself."""
        port = self.take()
        if port is not None:
            port.close()

    def abort(self) -> None:
        """With a reset: the service must not take a request for complete, nor go on with an answer."""
        port = self.take()
        if port is not None:
            port.abort()

    def take(self) -> Port | None:
        """The port, for another owner; the slot is empty then. A stream that was not there yet is not waited for."""
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        port, self.port = self.port, None
        return port

    # -- counting
    def _count(self, tunnel: Tunnel) -> None:
        if self._counted is not tunnel:
            self.uncount()
            self._counted = tunnel
            tunnel.traffic.connections += 1
            tunnel.traffic.live += 1

    def uncount(self) -> None:
        """The visitor is no longer one of this tunnel's."""
        tunnel, self._counted = self._counted, None
        if tunnel is not None:
            tunnel.traffic.live -= 1

    def add_traffic(self, up: int, down: int) -> None:
        """Bytes that went through, as the visitor sees them."""
        tunnel = self._counted
        if tunnel is not None:
            tunnel.traffic.up += up
            tunnel.traffic.down += down

    @property
    def counted(self) -> Tunnel | None:
        """The tunnel that this visitor is counted for."""
        return self._counted
