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
        return self._relay.counts if self._relay is not None else (0, 0)

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
        self._turn_away(reason)

    def _opened(self, found: Port | Fault) -> None:
        if isinstance(found, Fault):
            log_fault(self._log, found, "a tcp visitor was turned away", url=self._tunnel.url)
            self._turn_away(found.message)
            return
        caps = self._tunnel.session.caps
        relay = self._relay = Relay(self._reactor, self._port, found, on_end=self._ended)
        relay.expect_goodbye()
        if not caps:
            relay.hold_visitors_end()
        if "verdict" in caps:
            self._stream, self._verdict = found, b""
            self._too_late.set(VERDICT_TIMEOUT)
            relay.hold_answer()  # the visitor's bytes flow: a service may say nothing before it has all
            found.on_readable = self._read_verdict
        relay.start()
        if self._verdict is not None:
            self._read_verdict()

    # -- the verdict
    def _no_verdict(self) -> None:
        self.abort(f"no verdict within {VERDICT_TIMEOUT:g} s")

    def _read_verdict(self) -> None:
        """Take it off, then the answer flows."""
        stream, relay = self._stream, self._relay
        if stream is None or relay is None or self._verdict is None:
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
            relay.abort(str(error))
            return
        verdict, rest = found
        if verdict.code:
            self._log.warning("the upstream of a tcp tunnel failed", url=self._tunnel.url, code=verdict.code)
            relay.abort(verdict.code)
            return
        self._no_more_verdict()
        relay.take_answer(rest)

    def _no_more_verdict(self) -> None:
        self._stream = self._verdict = None
        self._too_late.end()

    # -- the end
    def _ended(self, end: RelayEnd) -> None:
        if self._verdict is not None:
            self._no_more_verdict()
            self._left_early(end.failure or "it left")
        self._count(end.up, end.down)

    def _turn_away(self, reason: str) -> None:
        """Over before there was a stream."""
        self._port.abort()
        self._left_early(reason)
        self._count(0, 0)

    def _left_early(self, reason: str) -> None:
        self._log.debug("a tcp visitor left early", url=self._tunnel.url, reason=reason)

    def _count(self, up: int, down: int) -> None:
        traffic = self._tunnel.traffic
        traffic.live -= 1
        traffic.up += up
        traffic.down += down
        self._left(self)
