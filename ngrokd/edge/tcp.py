"""TCP tunnels: one public port each. Ports are given out, bound, handed on; visitors are let in and handed to `tcp_visitor`.

In callbacks of the reactor, no task per visitor. It must not know control links or HTTP.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import trio

from ngrokd.edge.crowd import Crowd
from ngrokd.edge.tcp_header import HeaderWait
from ngrokd.edge.tcp_visitor import TcpVisitor
from ngrokd.policy.addresses import AddressList, parse_address
from ngrokd.settings import PortRange
from protocol.errors import Blame, Fault
from protocol.link.listener import OUT_OF, Listener, bind
from protocol.link.logs import Log
from protocol.link.plain import PlainPort
from protocol.link.reactor import Reactor
from protocol.proxy_header import ProxyHeader

if TYPE_CHECKING:
    from ngrokd.tunnel import Tunnel

QUIET: Final = range(10_000, 32_768)  # above the well-known services, below Linux's ephemeral ports
RANDOM_TRIES: Final = 50  # of ports in a range; fails only when it is nearly full
COMPLAIN_EVERY: Final = 1.0  # seconds between two lines about visitors that were not taken


class BoundTcp:
    """A port that is bound and listens, so that nobody else gets it, but whose visitors wait."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.port: int = sock.getsockname()[1]

    def close(self) -> None:
        self.sock.close()


class TcpEdge:
    """All tcp tunnels of a server. `ports` may be had; the kernel refuses those of our own listeners and other programs."""

    def __init__(
        self,
        reactor: Reactor,
        ports: PortRange,
        log: Log,
        crowd: Crowd | None = None,
        proxies: AddressList | None = None,
    ) -> None:
        self._reactor = reactor
        self.ports = ports
        """May change under way; tunnels that are there stay."""
        self.proxies = proxies or AddressList(())
        """From there, every connection begins with a PROXY protocol header; from elsewhere none does. May change too."""
        self._arriving: dict[HeaderWait, str] = {}  # with the tunnel's id
        self._log = log
        self._listeners: dict[str, Listener] = {}
        self._visitors: set[TcpVisitor] = set()
        self._crowd = crowd or Crowd()
        self._complained = float("-inf")
        self._inherited: dict[int, socket.socket] = {}

    def inherit(self, sockets: Iterable[socket.socket]) -> None:
        """Listening sockets of tunnels that a predecessor had (owned from now on): given to who asks for their ports. What
        nobody has asked for by `forget_inherited` is closed."""
        self._inherited = {sock.getsockname()[1]: sock for sock in sockets}

    async def expire_inherited(self, seconds: float) -> None:
        """Ports that no agent has asked for in that time are free."""
        await trio.sleep(seconds)
        self.forget_inherited()

    def forget_inherited(self) -> None:
        found, self._inherited = self._inherited, {}
        for sock in found.values():
            sock.close()

    def sockets(self) -> list[socket.socket]:
        """The listening sockets of all tunnels, which stay the edge's."""
        return [listener.sock for listener in self._listeners.values()]

    @property
    def live(self) -> int:
        """Visitors that are connected."""
        return len(self._visitors)

    def moving(self) -> Iterator[tuple[Tunnel, tuple[str, int], tuple[int, int]]]:
        """Each visitor's tunnel, address, and bytes up and down so far, which are not in the tunnel's counters yet."""
        return iter([(visitor.tunnel, visitor.peer, visitor.moved) for visitor in self._visitors])

    # -- for declaring tunnels
    def bind(self, port: int, holder: Tunnel | None = None) -> BoundTcp:
        """Bind `port`, or any free one of the range for 0. `holder`: the tunnel that has it now and is about to give way;
        it keeps its listener until `stop`, and what waits in the kernel's queue goes to whoever accepts. Raises Fault."""
        if port and port not in self.ports:
            raise Fault(
                "port_not_allowed",
                f"tcp port {port} is not given out here",
                blame=Blame.OPERATOR,
                hint=f"ask for one from {self.ports.first} to {self.ports.last}, or for none",
            )
        if port:
            inherited = self._inherited.pop(port, None)
            if inherited is not None:
                return BoundTcp(inherited)
            listener = self._listeners.get(holder.id) if holder is not None else None
            try:
                return BoundTcp(bind("", port) if listener is None else listener.sock.dup())
            except OSError as error:
                raise _port_taken(port, error) from error
        return self._bind_any()

    def _bind_any(self) -> BoundTcp:
        first, last = self.ports
        if first < QUIET.start and last > QUIET.stop:
            # Not from where the system takes the ports of outgoing connections: a tunnel that comes back after a restart
            # would find its port in use now and then.
            first, last = QUIET.start, QUIET.stop - 1
        for _ in range(RANDOM_TRIES):
            try:
                return BoundTcp(bind("", first + secrets.randbelow(last - first + 1)))
            except OSError as error:
                if error.errno in OUT_OF:
                    raise _port_taken(0, error) from error
        raise Fault("no_port", "no free tcp port was found", blame=Blame.OPERATOR, retry=True)

    def serve(self, bound: BoundTcp, tunnel: Tunnel) -> None:
        """Accept visitors for `tunnel`; the edge owns the socket from now on."""
        listener = self._listeners[tunnel.id] = Listener(
            self._reactor, bound.sock, lambda port, address: self._arrived(port, address, tunnel), self._exhausted
        )
        listener.start()

    def stop(self, tunnel: Tunnel) -> None:
        """Close the listener of `tunnel`; its visitors go on."""
        listener = self._listeners.pop(tunnel.id, None)
        if listener is not None:
            listener.close()

    # -- for stopping
    def stop_accepting(self) -> None:
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    def abort_visitors(self, tunnels: Sequence[Tunnel]) -> None:
        """Reset the visitors of `tunnels`."""
        gone = {tunnel.id for tunnel in tunnels}
        for wait in [wait for wait, wanted in self._arriving.items() if wanted in gone]:
            wait.cancel()
        for visitor in list(self._visitors):
            if visitor.tunnel.id in gone:
                visitor.abort("the tunnel's right has ended")

    def abort(self) -> None:
        """Reset every visitor."""
        for wait in list(self._arriving):
            wait.cancel()
        for visitor in list(self._visitors):
            visitor.abort("the server stopped")

    def _exhausted(self, number: int) -> None:
        self._complain("can't accept visitors", os.strerror(number))

    def _complain(self, what: str, reason: str, **facts: str) -> None:
        if self._reactor.now - self._complained >= COMPLAIN_EVERY:
            self._complained = self._reactor.now
            self._log.error(what, reason=reason, **facts)

    # -- arriving
    def _arrived(self, port: PlainPort, address: tuple[str, int], tunnel: Tunnel) -> None:
        if self.proxies and self._is_proxy(address[0]):
            self._await_header(port, address, tunnel)
            return
        source = self._crowd.source(address[0])
        if self._admit(port, address, tunnel, source):
            port.attach(self._reactor)
            self._open(port, address, tunnel, source)

    def _is_proxy(self, address: str) -> bool:
        found = parse_address(address)
        return found is not None and found in self.proxies

    def _admit(self, port: PlainPort, address: tuple[str, int], tunnel: Tunnel, source: Hashable) -> bool:
        """Whether the visitor at `address` may come in, as one of `source`; it is reset otherwise."""
        forbidden = tunnel.policy is not None and tunnel.policy.admit_address(address[0]) is not None
        if forbidden or self._crowd.enter(source, port.sock.fileno()) is not None:
            port.abort()
            return False
        return True

    def _open(self, port: PlainPort, address: tuple[str, int], tunnel: Tunnel, source: Hashable) -> None:
        visitor = TcpVisitor(self._reactor, port, tunnel, self._log, self._left)
        visitor.source = source
        self._visitors.add(visitor)
        visitor.open(address)

    def _await_header(self, port: PlainPort, proxy: tuple[str, int], tunnel: Tunnel) -> None:
        """Until it is known who the visitor is the connection counts, but for no address."""
        if self._crowd.enter(None, port.sock.fileno()) is not None:
            port.abort()
            return
        port.attach(self._reactor)

        def done(outcome: ProxyHeader | str) -> None:
            del self._arriving[wait]
            self._crowd.leave(None)
            if isinstance(outcome, str):
                port.abort()
                if outcome:
                    self._complain("a proxy's connection to a tcp tunnel was refused", outcome, proxy=proxy[0])
                return
            address = outcome.source or proxy  # the proxy speaks for itself: a health check
            source = self._crowd.source(address[0]) if outcome.source is not None else None
            if self._admit(port, address, tunnel, source):
                self._open(port, address, tunnel, source)

        wait = HeaderWait(self._reactor, port, done)
        self._arriving[wait] = tunnel.id
        wait.start()

    def _left(self, visitor: TcpVisitor) -> None:
        if visitor in self._visitors:
            self._visitors.discard(visitor)
            self._crowd.leave(visitor.source)


def _port_taken(port: int, error: OSError) -> Fault:
    if error.errno in (errno.EADDRINUSE, errno.EACCES):
        return Fault(
            "port_taken",
            f"tcp port {port} is in use",
            blame=Blame.OPERATOR,
            hint="ask for another, or for none",
            retry=True,
        )
    return Fault("no_port", f"no tcp port can be opened: {error.strerror}", blame=Blame.SERVER, retry=True)
