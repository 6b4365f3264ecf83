"""Proxy links: one TLS connection for a visitor, dialled when the server asks (ReqProxy), parked until StartProxy. All visitors
of a classic session have one, and some tcp visitors of a native one.

Knows how to register a link and how many to hold; the visitor on it is `proxy`'s business.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from ngrokc.events import EventBus, Notice
from ngrokc.proxy import Visit, Visitors
from ngrokc.routes import Routes
from protocol.errors import Fault
from protocol.link.dial import ServerDialer
from protocol.link.framed import FramedLink
from protocol.link.link_watch import LinkWatch
from protocol.link.plain import SocketPort
from protocol.link.port import Port, PortBroken, ignore
from protocol.messages import RegProxy

MAX_IDLE = 64  # links dialled or parked and not yet used; 1.7's server keeps 10, and asks one per waiting visitor
MAX_OWED = 4096  # requests beyond that cap are made good as links are used: a crowd of visitors asks for all at once
AT_ONCE = 16  # handshakes at the same time: they are CPU work, more of them only make each slower
DIAL_TIMEOUT = 10.0  # the server waits 10 s (1.7: 30 s) for a link


class ProxyLinks:
    """Answers ReqProxy for one session. `nursery` runs the dials; parked links live in the reactor."""

    def __init__(
        self,
        dialer: ServerDialer,
        visitors: Visitors,
        routes: Routes,
        register: Callable[[], RegProxy],
        *,
        verdict: bool,
        watch: LinkWatch | None = None,
    ) -> None:
        """`watch`: finds dead links among those that visitors have; None: as 1.7, which leaves that to TCP."""
        self._dialer = dialer
        self._visitors = visitors
        self._routes = routes
        self._register = register
        self._verdict = verdict
        self._idle = 0
        self._owed = 0
        self._nursery: trio.Nursery | None = None
        self._parked: set[Visit] = set()
        self._watch = watch
        self._slots = trio.CapacityLimiter(AT_ONCE)
        self._complained = False

    def __repr__(self) -> str:
        return f"<ProxyLinks idle={self._idle} parked={len(self._parked)}>"

    @property
    def bus(self) -> EventBus:
        return self._visitors.bus

    def ask(self, nursery: trio.Nursery) -> None:
        """The server wants one more link: now, or as soon as one of those it has is used. `nursery` is the session's."""
        self._nursery = nursery
        if self._idle < MAX_IDLE:
            self._idle += 1
            nursery.start_soon(self._dial)
        else:
            self._owed = min(self._owed + 1, MAX_OWED)

    def _one_less(self) -> None:
        self._idle -= 1
        if self._owed and self._nursery is not None:
            self._owed -= 1
            self.ask(self._nursery)

    async def _dial(self) -> None:
        try:
            async with self._slots:
                port = await self._dialer.dial(timeout=DIAL_TIMEOUT)
                link = FramedLink(port.stream())
                try:
                    await link.send(self._register())
                except BaseException:
                    port.close()
                    raise
                link.release().attach(self._visitors.reactor)
        except (Fault, PortBroken) as fault:
            self._one_less()
            if not self._complained:  # one line for a server that can't be reached; the control link says the rest
                self._complained = True
                self.bus.publish(Notice("warning", f"a proxy link could not be made: {fault}"))
            return
        except BaseException:
            self._idle -= 1
            raise
        self._complained = False
        self._park(port)

    def _park(self, port: Port) -> None:
        visit: Visit | None = None

        def started(came: bool) -> None:
            self._one_less()
            if visit is not None:
                self._parked.discard(visit)
            if came and self._watch is not None:
                assert isinstance(port, SocketPort)  # a link is a connection of its own
                self._watch.add(port, ignore)

        visit = self._visitors.serve(port, self._routes, verdict=self._verdict, started=started)
        self._parked.add(visit)

    def close(self) -> None:
        """Drop the parked links and dial no more; visitors that run go on."""
        self._nursery = None
        with self._visitors.reactor.turn():
            for visit in list(self._parked):
                visit.abort("the session ended")
            self._parked.clear()
