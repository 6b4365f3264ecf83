"""The native opener: visitors of web tunnels ride on streams of legs, those of tcp tunnels on a proxy link of their own if one
is parked.

A link of its own carries a fifth more bulk than a stream of a leg, and costs a handshake and 45 KiB (docs/performance.md).
So a session with tcp tunnels keeps a few parked, no more are asked for than LINK_PACE allows, and only the first OWN_LINKS
visitors have one. Nobody waits for a link: who finds none goes onto a leg at once.

Knows the reactor and ports, not control links or TLS: asking is a callback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ngrokd.opener import Cancel, Ready
from ngrokd.parked import ParkedLinks
from protocol.link.plain import SocketPort
from protocol.link.port import Port, ignore
from protocol.messages import StartProxy

if TYPE_CHECKING:
    from ngrokd.legs import LegSet
    from ngrokd.tunnel import Tunnel
    from protocol.link.link_watch import LinkWatch

OWN_LINKS = 64  # visitors of one session that have their own at the same time
REST = 2  # parked at rest: programs that open a connection for control and one for data begin with both
LINK_PACE = 0.1  # seconds between two questions: visitors that come and go all the time are for legs
# Seconds a parked link is kept. Both ends send TCP keepalives each half minute, so no NAT box forgets it; a session
# that nobody visits costs a handshake every five minutes.
LIFE = 600.0


class NativeLinks:
    """What carries the visitors of one native session. `ask` sends one ReqProxy; `watch` finds dead
    ones among the links in use; `tunnels` are the session's, by id, as they
    come and go.

    Owns the legs and parked links; `close` lets streams and links in use finish.
    """

    __slots__ = ("_ask", "_closed", "_parked", "_tunnels", "_used", "_watch", "legs")

    def __init__(self, watch: LinkWatch, legs: LegSet, ask: Callable[[], None], tunnels: Mapping[str, Tunnel]) -> None:
        self.legs = legs
        self._watch = watch
        self._ask = ask
        self._tunnels = tunnels
        self._parked: ParkedLinks | None = None  # from the first tcp tunnel on: most sessions have none
        self._used = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<NativeLinks {self.legs!r} parked={self.parked} used={self._used}>"

    @property
    def parked(self) -> int:
        return len(self._parked) if self._parked is not None else 0

    @property
    def used(self) -> int:
        """Visitors that have a link of their own."""
        return self._used

    @property
    def heard(self) -> float:
        """See Links."""
        return self.legs.heard

    # -- tunnels
    def warm_up(self) -> None:
        """Nothing to ask for: the agent dials the first leg by itself, and there is no tunnel yet."""

    def announced(self, tunnel: Tunnel) -> None:
        """See Links."""
        if tunnel.protocol == "tcp" and not self._closed:
            if self._parked is None:
                self._parked = ParkedLinks(
                    self._watch.reactor, self._ask, self._keep, rest=REST, life=LIFE, pace=LINK_PACE
                )
            self._keep()

    def _keep(self) -> None:
        """Ask for what should be parked, while there is a tunnel for it; else what is there grows old and goes."""
        if self._parked is not None and any(tunnel.protocol == "tcp" for tunnel in self._tunnels.values()):
            self._parked.want()

    # -- visitors
    def open(self, start: StartProxy, ready: Ready) -> Cancel:
        """See Opener."""
        port = self._own_link(start) if start.proto == "tcp" else None
        if port is None:
            return self.legs.open(start, ready)
        ready(port)
        return ignore

    def _own_link(self, start: StartProxy) -> Port | None:
        links = self._parked
        if links is None or self._closed or self._used >= OWN_LINKS:
            return None
        port = links.hand_out(start)
        if port is None:
            links.missed()
        else:
            assert isinstance(port, SocketPort)  # a link is a connection of its own
            self._used += 1
            self._watch.add(port, self._returned)
        links.want()
        return port

    def _returned(self) -> None:
        self._used -= 1

    # -- links
    def offer(self, port: Port) -> None:
        """See Links."""
        if self._parked is None:
            port.close()
            return
        self._parked.arrived()
        self._parked.park(port)

    # -- the end
    def close(self) -> None:
        """See Opener."""
        self._closed = True
        if self._parked is not None:
            self._parked.close()
        self.legs.close()
