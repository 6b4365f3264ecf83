"""The http and https edges: what all visitor connections of one public listener share.

A `VisitorConnection` asks this object for everything that is not its own: routes, pages, ids, the lines to add. So the
exchange loop reads as a loop, and tests can put another world around it.
"""

from __future__ import annotations

import dataclasses
import itertools
import secrets
from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from ngrokd.edge.crowd import Crowd
from ngrokd.edge.visitor import VisitorConnection
from protocol.address import client_addr
from protocol.link.plain import SocketPort
from protocol.messages import StartProxy

if TYPE_CHECKING:
    from ngrokd.edge.guard import Guard
    from ngrokd.edge.pages import Pages
    from ngrokd.edge.waiting import WaitingRoom
    from ngrokd.registry import Registry
    from ngrokd.tunnel import Tunnel
    from protocol.head import RequestHead, ResponseHead
    from protocol.link.logs import Log
    from protocol.link.port import Port
    from protocol.link.reactor import Reactor


class Observer(Protocol):
    """Told of each exchange when it is over; never waits, never raises."""

    def __call__(self, visitor: VisitorConnection, tunnel: Tunnel | None, status: int) -> None: ...


Heir = Callable[[VisitorConnection, "RequestHead"], bool]


@dataclasses.dataclass(frozen=True, slots=True)
class EdgeWorld:
    """What both edges are given by the server. `away(scheme, host)`: whether that name has an owner whose agent is not
    here now."""

    reactor: Reactor
    registry: Registry
    pages: Pages
    away: Callable[[str, str], bool]
    observer: Observer | None = None
    on_refused: Callable[[VisitorConnection, str, str], None] | None = None  # visitor, code, detail
    log: Log | None = None  # None: structlog's own, for tests
    guard: Guard | None = None  # None: nobody is trusted, nothing limited
    crowd: Crowd = dataclasses.field(default_factory=Crowd)
    room: WaitingRoom | None = None  # after a hot restart


class HttpEdge:
    """One public listener's worth of visitors; `scheme` is http or https. `serve` takes a connection in; `drain` and
    `abort` end them."""

    def __init__(self, world: EdgeWorld, scheme: str) -> None:
        self.reactor = world.reactor
        self.registry = world.registry
        self.observer = world.observer
        self.guard = world.guard
        self.max_body = world.guard.rules.max_body if world.guard is not None else 0
        self._on_refused = world.on_refused
        self.crowd = world.crowd
        self.scheme = scheme
        self.secure = scheme == "https"
        self.room = world.room
        self.heir: Heir | None = None
        """Takes the visitors of tunnels that are not here, after a successor has taken over."""
        self.draining = False
        self.refusals: Counter[str] = Counter()
        self.pages = world.pages
        self._away = world.away
        self._ids = itertools.count(1)
        self._id_prefix = secrets.token_hex(4)
        self._log = (world.log or structlog.get_logger("edge")).bind(edge=scheme)
        self.visitors: dict[VisitorConnection, Hashable] = {}
        """Who is connected, and whom each counts for."""

    def serve(
        self, port: Port, address: tuple[str, int], server_name: str | None = None, *, source: Hashable = None
    ) -> None:
        """Take in a visitor: `port` is attached to the reactor and owned by its connection from here on. It has entered
        the crowd as `source` and leaves it at its end."""
        visitor = VisitorConnection(self, port, address, server_name)
        self.visitors[visitor] = source
        visitor.start()

    def forget(self, visitor: VisitorConnection) -> None:
        """The connection is over. Its socket may stay for a moment, until the last answer was read: it counts till then."""
        if visitor in self.visitors:
            source, port = self.visitors.pop(visitor), visitor.port
            if isinstance(port, SocketPort) and not port.closed:
                port.gone = partial(self.crowd.leave, source)
            else:
                self.crowd.leave(source)
        if self.room is not None:
            self.room.leave(visitor)
        self.reactor.later(visitor.untie)

    def use(self, pages: Pages, guard: Guard | None) -> None:
        """Other error pages and rules from the next request on."""
        self.pages = pages
        self.guard = guard
        self.max_body = guard.rules.max_body if guard is not None else 0

    # -- ending
    def drain(self) -> None:
        """Answers say `Connection: close` from now on; a kept-alive visitor stays until its next answer."""
        self.draining = True

    def end_idle(self) -> None:
        """Close who is between exchanges, and WebSockets with a word: the grace is over, or nearly."""
        with self.reactor.turn():
            for visitor in list(self.visitors):
                visitor.end_if_idle()

    def abort(self) -> None:
        """End all that is left, with resets."""
        for visitor in list(self.visitors):
            visitor.abort()

    # -- for the connections
    def next_conn_id(self) -> str:
        """Unique within the server's life; stands in logs of both sides and on error pages."""
        return f"{self._id_prefix}{next(self._ids):06x}"

    def start_proxy(self, tunnel: Tunnel, conn_id: str, address: tuple[str, int]) -> StartProxy:
        """The frame that opens this visitor's stream; 1.7 agents get 1.7's fields alone."""
        client = client_addr(*address)
        if not tunnel.session.caps:
            return StartProxy(tunnel.url, client)
        return StartProxy(tunnel.url, client, tunnel.id, conn_id, tunnel.protocol)

    def rewrite(self, tunnel: Tunnel, request: RequestHead, address: str, secure: bool | None = None) -> bytes:
        """The head as the agent gets it: the visitor's own forwarding fields are gone, ours are written. `secure`: what a
        trusted proxy said of the visitor's scheme; None: this edge's own."""
        policy = tunnel.policy
        if policy is not None and not policy.trivial:
            request = policy.edit_request(request)
        added = b"X-Forwarded-For: %b\r\n%bX-Forwarded-Host: %b\r\n" % (
            address.encode(),
            _HTTPS_LINE if (self.secure if secure is None else secure) else _HTTP_LINE,
            request.authority,
        )
        if not request.keep_alive and request.upgrade is None:
            added += b"Connection: close\r\n"
        if request.expect_continue and not tunnel.session.caps:
            return request.forward(added, _EXPECT)
        return request.forward(added)

    def edit_response(self, tunnel: Tunnel | None, head: ResponseHead, added: bytes) -> bytes:
        """The response head as the visitor gets it."""
        policy = tunnel.policy if tunnel is not None else None
        if policy is not None and not policy.trivial:
            head = policy.edit_response(head)
        return head.forward(added)

    def why_unknown(self, host: str) -> str:
        """The code for a host that no tunnel has now."""
        return "agent_offline" if self._away(self.scheme, host) else "tunnel_not_found"

    def page(self, visitor: VisitorConnection, code: str, fields: bytes = b"") -> bytes:
        return self.pages.render(code, visitor.request_id, visitor.request, fields)

    def refused(self, visitor: VisitorConnection, code: str, detail: str = "") -> None:
        """Count and log a request that was not served, with the id that its page shows."""
        self.refusals[code] += 1
        if self._on_refused is not None:
            self._on_refused(visitor, code, detail)
        self._log.info(
            "request refused", code=code, request=visitor.request_id, visitor=visitor.address[0], detail=detail
        )

    def visitor_left(self, visitor: VisitorConnection, reason: str) -> None:
        self._log.debug("visitor left", request=visitor.request_id, reason=reason)


_EXPECT = frozenset({b"expect"})
_HTTP_LINE, _HTTPS_LINE = b"X-Forwarded-Proto: http\r\n", b"X-Forwarded-Proto: https\r\n"
