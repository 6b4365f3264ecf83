"""One visitor on the agent's side: StartProxy, the upstream, the verdict, then the relay.

The same code serves a proxy link and a stream of a leg: both are ports. It runs in callbacks of the reactor; a task
is made only for an upstream that needs one (a name to look up, TLS). Nothing here knows sessions, frames of the control link
or how a port came to be.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from ngrokc.events import ConnectionClosed, ConnectionOpened, EventBus, Notice
from ngrokc.host_watch import HostWatch
from ngrokc.pages import error_page
from ngrokc.routes import Route, Routes
from ngrokc.visitor_stream import VisitorStream
from protocol import proxy_header
from protocol.address import parse_client_addr
from protocol.errors import Fault, LinkError, WireError
from protocol.frames import FIRST_FRAME_CAP, frame, take
from protocol.link.connect_now import Connecting, connect_now
from protocol.link.dial import dial_upstream
from protocol.link.linger import linger
from protocol.link.link_watch import LinkWatch
from protocol.link.port import Port, PortBroken, ignore
from protocol.link.reactor import Reactor, Timer
from protocol.link.relay import Relay, RelayEnd, Tap
from protocol.messages import StartProxy, StartProxyResp

DIAL_TIMEOUT = 5.0  # seconds for the private service to accept; it is near, and a visitor waits
ROUTE_WAIT = 1.0  # seconds that a visitor of a tunnel we don't know (yet) waits for its NewTunnel
VERDICT_WAIT = 1.0  # seconds the good verdict waits for the service's first bytes, to leave with them

GOOD = frame(StartProxyResp())
_CODES = {"refused": "upstream_refused", "dial_timeout": "upstream_timeout", "tls": "upstream_tls"}

Spawn = Callable[[Callable[[], Awaitable[None]]], None]


class Observer(Protocol):
    """Who may look at traffic (the inspector). Called in callbacks: it never waits."""

    def open(self, tunnel: Route, connection: Visit) -> Tap | None:
        """A tap for one visitor connection, or None for none. If it raises, nobody looks."""


class Visitors:
    """All visitors of an agent. `spawn` starts a task in the agent's nursery; `observer` may be None."""

    def __init__(self, reactor: Reactor, bus: EventBus, spawn: Spawn, observer: Observer | None = None) -> None:
        self.reactor = reactor
        self.bus = bus
        self.spawn = spawn
        self.observer = observer
        self.hosts = HostWatch(bus)
        self.own_links = LinkWatch(reactor)
        """Of tcp visitors of native sessions that have one instead of a stream."""
        self.total = 0
        self.up = 0
        self.down = 0
        self._active: set[Visit] = set()
        self._parting: set[Port] = set()  # an error page is on its way out
        self._ids = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Visitors active={len(self._active)} total={self.total}>"

    @property
    def active(self) -> int:
        return len(self._active)

    def serve(
        self, port: Port, routes: Routes, *, verdict: bool, started: Callable[[bool], None] | None = None
    ) -> Visit:
        """Wait for StartProxy on `port` (attached to the reactor) and serve the visitor; the port is owned from here on.
        `verdict`: whether the server wants one. `started` is told once: True when a visitor came, False when the port
        ended before."""
        return Visit(self, port, routes, verdict, started)

    def close(self) -> None:
        """Abort every visitor."""
        with self.reactor.turn():
            for visit in list(self._active):
                visit.abort("the agent stopped")
            for port in self._parting:
                port.abort()
            self._parting.clear()

    # -- for visits
    def opened(self, visit: Visit) -> str:
        self._active.add(visit)
        self.total += 1
        return f"{next(self._ids):x}"

    def part(self, port: Port) -> None:
        """Close a port on which a last answer was written, once it is read."""
        self._parting.add(port)
        linger(self.reactor, port, done=partial(self._parting.discard, port))

    def closed(self, visit: Visit, up: int, down: int) -> None:
        self._active.discard(visit)
        self.up += up
        self.down += down


class Visit:
    """One visitor connection. `conn_id` and `client_addr` are known once StartProxy has come."""

    __slots__ = ("_buffer", "_dial", "_relay", "_routes", "_started", "_timer", "_verdict", "_visitors", "began", "client_addr",
                 "conn_id", "port", "route")  # fmt: skip

    def __init__(
        self, visitors: Visitors, port: Port, routes: Routes, verdict: bool, started: Callable[[bool], None] | None
    ) -> None:
        self.port = port
        self.route: Route | None = None
        self.conn_id = ""
        self.client_addr = ""
        self.began = 0.0
        self._visitors = visitors
        self._routes = routes
        self._verdict = verdict
        self._started = started
        self._buffer = b""
        self._dial: Connecting | None = None
        self._relay: Relay | None = None
        self._timer: Timer | None = None
        port.on_readable = self._first_frame

    def __repr__(self) -> str:
        return f"<Visit {self.conn_id or 'parked'} {self.client_addr}>"

    # -- StartProxy
    def _first_frame(self) -> None:
        try:
            start = self._read_frame()
        except WireError as error:
            self._visitors.bus.publish(Notice("warning", f"a bad frame instead of StartProxy: {error.message}"))
            self._never()
        except PortBroken:
            self._never()
        else:
            if start is not None:
                self._begin(start)

    def _read_frame(self) -> StartProxy | None:
        """StartProxy, once it is here whole (a 1.7 server sends it in two records); what follows stays in the port."""
        while True:
            view = self.port.read()
            if view is None:
                return None
            if not view:
                raise PortBroken("the port ended")
            data = self._buffer + bytes(view) if self._buffer else bytes(view)
            found = take(data, cap=FIRST_FRAME_CAP)
            if found is None:
                self._buffer = data
                continue
            self._buffer = b""
            message, end = found
            if not isinstance(message, StartProxy):
                raise WireError("out_of_order", f"{type(message).__name__} instead of StartProxy")
            if end < len(data):
                self.port.unread(data[end:])
            return message

    def _never(self) -> None:
        """The port ended, or broke the protocol, before a visitor came."""
        self.port.close()
        self._tell_started(False)

    def _tell_started(self, came: bool) -> None:
        started, self._started = self._started, None
        if started is not None:
            started(came)

    def _begin(self, start: StartProxy) -> None:
        visitors = self._visitors
        self.port.on_readable = ignore
        self._tell_started(True)
        self.client_addr = start.client_addr
        self.began = visitors.reactor.now
        own_id = visitors.opened(self)
        self.conn_id = start.conn_id or own_id
        route = self._routes.find(start)
        if route is None:
            # NewTunnel comes on another connection and may be slower than the first visitor
            self._timer = visitors.reactor.timer(partial(self._routed, start))
            self._timer.set(ROUTE_WAIT)
            self._routes.when_added(partial(visitors.reactor.soon, partial(self._routed, start, wait=True)))
            return
        self._serve(route)

    def _routed(self, start: StartProxy, *, wait: bool = False) -> None:
        """A route was added, or the time is over."""
        timer = self._timer
        if self.route is not None or timer is None or self not in self._visitors._active:  # noqa: SLF001 - one piece
            return
        route = self._routes.find(start)
        if route is None and wait:
            self._routes.when_added(partial(self._visitors.reactor.soon, partial(self._routed, start, wait=True)))
            return
        timer.clear()
        self._timer = None
        if route is None:
            self._refuse("unknown_tunnel", "the agent has no such tunnel")
        else:
            self._serve(route)

    def _serve(self, route: Route) -> None:
        visitors = self._visitors
        self.route = route
        if visitors.bus.heard:
            visitors.bus.publish(ConnectionOpened(route.name, route.url, self.conn_id, self.client_addr))
        if route.guard and not route.options.admits(self.client_addr):
            self._refuse("denied", "the visitor's address is not allowed")
        elif route.upstream is None:
            self._offer(route)
        elif route.choices:
            self._dial = connect_now(visitors.reactor, route.choices, self._dialled, DIAL_TIMEOUT)
        else:
            visitors.spawn(self._dial_in_task)

    async def _dial_in_task(self) -> None:
        assert self.route is not None
        assert self.route.upstream is not None
        try:
            port = await dial_upstream(self.route.upstream, timeout=DIAL_TIMEOUT)
        except LinkError as error:
            with self._visitors.reactor.turn():
                self._dialled(error)
            return
        port.attach(self._visitors.reactor)
        with self._visitors.reactor.turn():
            self._dialled(port)

    # -- the upstream
    def _dialled(self, result: Port | LinkError) -> None:
        self._dial = None
        route = self.route
        assert route is not None
        if isinstance(result, LinkError):
            if self in self._visitors._active:  # noqa: SLF001 - one piece
                self._refuse(_CODES.get(result.code, "upstream_unreachable"), result.message)
            return
        if self not in self._visitors._active:  # noqa: SLF001 - the visitor left while a task was dialling
            result.abort()
            return
        if route.options.proxy_protocol:
            with contextlib.suppress(PortBroken):  # the relay meets the same error
                result.write(self._proxy_header(route.options.proxy_protocol))
        reactor = self._visitors.reactor
        relay = self._relay = Relay(reactor, self.port, result, on_end=self._ended, tap=self._tap(route))
        if reactor.now >= route.look_at:
            self._visitors.hosts.watch(route, relay, reactor.now)
        if self._verdict:
            relay.greet(GOOD)
            self._timer = reactor.timer(relay.greet_now)
            self._timer.set(VERDICT_WAIT)
        relay.start()

    def _proxy_header(self, version: int) -> bytes:
        try:
            visitor = parse_client_addr(self.client_addr)
        except Fault:
            return proxy_header.encode(version, None)
        return proxy_header.encode(version, (visitor.host, visitor.port))

    def _tap(self, route: Route) -> Tap | None:
        visitors = self._visitors
        if visitors.observer is None or not route.options.inspect:
            return None
        try:
            return visitors.observer.open(route, self)
        except Exception as error:  # noqa: BLE001 - an observer's defect must not touch traffic: this visitor goes unseen
            visitors.bus.publish(Notice("error", f"the inspector failed: {error!r}"))
            return None

    def _ended(self, end: RelayEnd) -> None:
        self._relay = None
        if self._timer is not None:
            self._timer.clear()
        failure = None if end.failure is None else f"{end.side or 'tunnel'}: {end.failure}"
        self._over(end.up, end.down, failure, relayed=True)

    def _over(self, up: int, down: int, failure: str | None, *, relayed: bool = False) -> None:
        visitors, route = self._visitors, self.route
        if self not in visitors._active:  # noqa: SLF001 - a program's stream that the agent's end had ended already
            return
        visitors.closed(self, up, down)
        if (visitors.bus.heard or failure is not None) and route is not None:
            seconds = visitors.reactor.now - self.began
            closed = ConnectionClosed(
                route.name, self.conn_id, up, down, seconds, failure, route.url, self.client_addr, relayed
            )
            visitors.bus.publish(closed)

    # -- a program instead of an upstream
    def _offer(self, route: Route) -> None:
        if self._verdict:
            self._say(GOOD, partial(self._hand_over, route))
        else:
            self._hand_over(route)

    def _hand_over(self, route: Route) -> None:
        port = self.port
        port.detach()
        stream = VisitorStream(port.stream(), url=route.url, client_addr=self.client_addr, counted=self._counted)
        if route.offer is None or not route.offer(stream):
            stream.abort()

    def _counted(self, up: int, down: int) -> None:
        self._visitors.reactor.refresh()
        self._over(up, down, None, relayed=True)

    # -- no
    def _refuse(self, code: str, message: str) -> None:
        """Say no in the way this server understands: a verdict, else a page; a tcp visitor is just closed."""
        route = self.route
        answer = b""
        if self._verdict:
            answer = frame(StartProxyResp(code, message))
        elif route is not None and route.web:
            answer = error_page(code, route.url, head_only=self._asked_head())
        failure = f"{code}: {message}"
        if answer:
            self._say(answer, partial(self._part, len(answer), failure))
        else:
            self.port.abort()
            self._over(0, 0, failure)

    def _part(self, size: int, failure: str) -> None:
        self._visitors.part(self.port)
        self._over(0, size, failure)

    def _say(self, words: bytes, then: Callable[[], None]) -> None:
        """Send words of our own, in as many pieces as a busy leg takes them, and go on. Who goes on meets the error of a
        broken port."""
        try:
            taken = self.port.write(words)
        except PortBroken:
            taken = len(words)
        if taken < len(words):
            self.port.on_writable = partial(self._say, words[taken:], then)
        else:
            self.port.on_writable = ignore
            then()

    def _asked_head(self) -> bool:
        """Whether the request that lies unread asks for a head alone. Its bytes are dropped: the answer is ours."""
        try:
            view = self.port.read()
        except PortBroken:
            return False
        return view is not None and bytes(view[:5]) == b"HEAD "

    def abort(self, reason: str) -> None:
        """End now, with a reset."""
        if self._relay is not None:
            self._relay.abort(reason)
            return
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self.conn_id:
            self.port.abort()
            self._over(0, 0, reason)
        else:  # parked: nobody waits for anything
            self._never()
