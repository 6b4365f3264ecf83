"""One visitor of a tcp tunnel: relayed byte for byte, in callbacks of the reactor.

A stream to the agent is opened, and the relay joins the two; half-close and resets pass through. The bytes a visitor sends go
out as soon as there is a stream. With the `verdict` capability the agent's first bytes say whether it reached its upstream;
they are taken off here, and a visitor whose upstream failed is reset, which is all that can be said in plain TCP. It must not
know listeners.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final

from ngrokd.edge.verdict import take_verdict
from protocol.address import client_addr
from protocol.errors import Fault, WireError
from protocol.link.logs import Log, log_fault
from protocol.link.plain import PlainPort
from protocol.link.port import Port, PortBroken, ignore
from protocol.link.reactor import Reactor
from protocol.link.relay import Relay, RelayEnd
from protocol.messages import StartProxy
from protocol.secret import new_request_id

if TYPE_CHECKING:
    from ngrokd.tunnel import Tunnel

VERDICT_TIMEOUT: Final = 10.0  # seconds; an agent gives its own dial 5


class TcpVisitor:
    """Owns `port` (attached) until the relay has ended. `left` is called once, at the end; `source` is whom the visitor counts
    for in the crowd."""

    def __init__(
        self, reactor: Reactor, port: PlainPort, tunnel: Tunnel, log: Log, left: Callable[[TcpVisitor], None]
    ) -> None:
        self._reactor = reactor
        self._port = port
        self._tunnel = tunnel
        self._log = log
        self._left = left
        self._stream: Port | None = None
        self._relay: Relay | None = None
        self._verdict: bytes | None = None  # what has come of it, while it is waited for
        self._early = 0  # bytes sent up before the verdict
        self._ended_early = False
        self._cancel = ignore
        self._too_late = reactor.timer(self._no_verdict)
        self.peer = ("", 0)
        self.source: Hashable = None
        """Whom it counts for in the crowd."""
        tunnel.traffic.connections += 1
        tunnel.traffic.live += 1

    @property
    def tunnel(self) -> Tunnel:
        return self._tunnel

    @property
    def moved(self) -> tuple[int, int]:
        up, down = self._relay.counts if self._relay is not None else (0, 0)
        return up + self._early, down

    def open(self, peer: tuple[str, int]) -> None:
        tunnel = self._tunnel
        self.peer = peer
        native = bool(tunnel.session.caps)
        start = StartProxy(
            tunnel.url,
            client_addr(*peer),
            tunnel_id=tunnel.id if native else None,
            conn_id=new_request_id() if native else None,
            proto="tcp" if native else None,
        )
        self._cancel = tunnel.session.opener.open(start, self._opened)

    def abort(self, reason: str) -> None:
        if self._relay is not None:
            self._relay.abort(reason)
            return
        self._cancel()
        self._finish(reason)

    def _opened(self, found: Port | Fault) -> None:
        if isinstance(found, Fault):
            log_fault(self._log, found, "a tcp visitor was turned away", url=self._tunnel.url)
            self._finish(found.message)
            return
        self._stream = found
        if "verdict" in self._tunnel.session.caps:
            self._await_verdict(found)
        else:
            self._join(found)

    # -- the verdict
    def _await_verdict(self, stream: Port) -> None:
        self._verdict = b""
        self._too_late.set(VERDICT_TIMEOUT)
        stream.on_readable = self._read_verdict
        stream.on_writable = self._send_early
        self._port.on_readable = self._send_early
        self._send_early()
        if self._verdict is not None:
            self._read_verdict()

    def _no_verdict(self) -> None:
        self._finish(f"no verdict within {VERDICT_TIMEOUT:g} s")

    def _send_early(self) -> None:
        """The visitor's bytes and its end need not wait for the verdict: a service may say nothing before it has all."""
        stream = self._stream
        if stream is None or self._verdict is None or self._ended_early:
            return
        try:
            while view := self._port.read():
                size = len(view)
                taken = stream.write(view)
                self._early += taken
                if taken < size:
                    self._port.unread(view[taken:])
                    return
            if view is not None:
                stream.end_writing()
                self._ended_early = True
        except PortBroken as error:
            self._finish(str(error))

    def _read_verdict(self) -> None:
        stream = self._stream
        if stream is None or self._verdict is None:
            return
        try:
            while True:
                view = stream.read()
                if view is None:
                    return
                if not view:
                    raise WireError("out_of_order", "the stream ended before its verdict")
                self._verdict += view
                found = take_verdict(self._verdict)
                if found is not None:
                    break
        except (PortBroken, WireError) as error:
            self._finish(str(error))
            return
        verdict, rest = found
        self._verdict = None
        self._too_late.end()
        if verdict.code:
            self._log.warning("the upstream of a tcp tunnel failed", url=self._tunnel.url, code=verdict.code)
            self._finish(verdict.code)
            return
        stream.unread(rest)
        self._join(stream)

    # -- the relay
    def _join(self, stream: Port) -> None:
        relay = self._relay = Relay(self._reactor, self._port, stream, on_end=self._ended)
        relay.expect_goodbye()
        if self._ended_early:
            relay.visitor_has_ended()
        elif not self._tunnel.session.caps:
            relay.hold_visitors_end()
        relay.start()

    def _ended(self, end: RelayEnd) -> None:
        self._count(end.up + self._early, end.down)

    def _finish(self, reason: str) -> None:
        """Over before there was a relay."""
        self._verdict = None
        self._too_late.end()
        if self._stream is not None:
            self._stream.abort()
        self._port.abort()
        self._log.debug("a tcp visitor left early", url=self._tunnel.url, reason=reason)
        self._count(self._early, 0)

    def _count(self, up: int, down: int) -> None:
        traffic = self._tunnel.traffic
        traffic.live -= 1
        traffic.up += up
        traffic.down += down
        self._left(self)
