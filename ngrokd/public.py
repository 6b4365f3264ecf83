"""The public http and https listeners of a server, as its composition root sees them: listen, drain, abort.

Holds what belongs to all of them; what happens on a connection is `edge/`'s. TLS handshakes run in tasks with a deadline,
so that a slow one holds up nobody else; after it the connection belongs to the reactor.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from functools import partial

import trio

from ngrokd.arrivals import Arrivals
from ngrokd.certdir import CertificateDirectory
from ngrokd.edge.guard import Guard
from ngrokd.edge.http import EdgeWorld, Heir, HttpEdge
from ngrokd.edge.pages import Pages
from ngrokd.tunnel import Tunnel
from protocol.link.listener import Listener
from protocol.link.logs import Log
from protocol.link.plain import PlainPort

COMPLAIN_EVERY = 1.0  # seconds between two lines about missing descriptors


class PublicEdges:
    """All visitors of http and https tunnels. `handshakes` is the nursery that TLS handshakes run in."""

    def __init__(
        self, world: EdgeWorld, context: ssl.SSLContext, log: Log, certificates: CertificateDirectory | None = None
    ) -> None:
        """`certificates`: those that are chosen by SNI; names that they don't cover get that of `context`."""
        self._world = world
        self._arrivals = Arrivals(world, log, certificates)
        self._context = context
        self._log = log
        self._pages, self._guard = world.pages, world.guard
        self._edges: dict[str, HttpEdge] = {}
        self._listeners: list[Listener] = []
        self._complained = float("-inf")

    @property
    def live(self) -> int:
        """Visitors that are connected."""
        return sum(len(edge.visitors) for edge in self._edges.values())

    def use(
        self, context: ssl.SSLContext, pages: Pages, guard: Guard | None, certificates: CertificateDirectory | None
    ) -> None:
        """Other certificates from the next handshake on, other rules and error pages from the next request on. Whether a
        proxy is trusted is settled when it connects."""
        self._context = context
        self._arrivals.use(guard, certificates)
        self._pages, self._guard = pages, guard
        for edge in self._edges.values():
            edge.use(pages, guard)

    @property
    def edges(self) -> list[HttpEdge]:
        return list(self._edges.values())

    def listen(self, scheme: str, sock: socket.socket, handshakes: trio.Nursery) -> None:
        """Serve visitors from `sock` (owned from now on)."""
        edge = self._edges.setdefault(scheme, HttpEdge(self._world, scheme))
        reactor = self._world.reactor

        arrivals = self._arrivals

        def plain(port: PlainPort, address: tuple[str, int]) -> None:
            source = arrivals.source(address)
            if not arrivals.enter(port.sock, source, edge):
                return
            if arrivals.trusted(address):
                handshakes.start_soon(partial(arrivals.receive, source=source, context=None), port.sock, address, edge)
                return
            port.attach(reactor)
            edge.serve(port, address, source=source)

        def secure(port: PlainPort, address: tuple[str, int]) -> None:
            source = arrivals.source(address)
            if arrivals.enter(port.sock, source, edge):
                receive = partial(arrivals.receive, source=source, context=self._context)
                handshakes.start_soon(receive, port.sock, address, edge)

        listener = Listener(reactor, sock, secure if scheme == "https" else plain, self._exhausted)
        self._listeners.append(listener)
        listener.start()

    def _exhausted(self, number: int) -> None:
        now = trio.current_time()
        if now - self._complained >= COMPLAIN_EVERY:
            self._complained = now
            self._log.error("can't accept visitors", reason=os.strerror(number))

    # -- hot restart
    def passed_edge(self, scheme: str) -> HttpEdge | None:
        """The edge for visitors that a predecessor passes on: they leave after their answer. None for other schemes than
        http and https."""
        key = f"{scheme}, passed on"
        if key not in self._edges and scheme in ("http", "https"):
            edge = self._edges[key] = HttpEdge(self._world, scheme)
            edge.use(self._pages, self._guard)
            edge.draining = True
        return self._edges.get(key)

    def pass_on(self, heir: Heir) -> None:
        """Visitors of tunnels that are not here are `heir`'s from now on."""
        for edge in self._edges.values():
            edge.heir = heir

    # -- ending
    def drain(self) -> None:
        """No new visitors; those who are here leave after their next answer."""
        for listener in self._listeners:
            listener.close()
        for edge in self._edges.values():
            edge.drain()

    def end_idle(self) -> None:
        """Close who is between exchanges."""
        for edge in self._edges.values():
            edge.end_idle()

    def abort_visitors(self, tunnels: Sequence[Tunnel]) -> None:
        """Reset those who are being served by one of `tunnels`."""
        gone = {tunnel.id for tunnel in tunnels}
        with self._world.reactor.turn():
            for edge in self._edges.values():
                for visitor in list(edge.visitors):
                    served_by = visitor.slot.counted
                    if served_by is not None and served_by.id in gone:
                        visitor.abort()

    def abort(self) -> None:
        """End all visitors, with resets."""
        for edge in self._edges.values():
            edge.abort()
