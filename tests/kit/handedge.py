"""The http edge in memory on a reactor turned by hand: what a visitor sends in any cut, and what reaches the services.

Nothing here waits, so thousands of connections cost seconds. Used by the probes and by `tests.fuzz.edge`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import structlog

from ngrokd.edge.http import EdgeWorld, HttpEdge
from ngrokd.edge.pages import Pages
from ngrokd.opener import Cancel, Links, Ready
from ngrokd.policy import Policy
from ngrokd.registry import Registry, Want
from ngrokd.session import AgentInfo, Identity, Session, SessionKey
from protocol.link.logs import Log
from protocol.messages import StartProxy
from tests.kit.edgeworld import Control
from tests.kit.hand_reactor import HandReactor
from tests.kit.memory_port import MemoryPort, memory_pair

ADDRESS = ("192.0.2.1", 1)


def _silent() -> Log:
    def drop(*_: object) -> dict[str, object]:
        raise structlog.DropEvent

    found: Log = structlog.wrap_logger(structlog.PrintLogger(), processors=[drop])
    return found


SILENT = _silent()
PAGES = Pages()


class HandOpener:
    """Every stream is a pair in memory."""

    def __init__(self, reactor: HandReactor) -> None:
        self._reactor = reactor
        self.streams: list[MemoryPort] = []
        """The services' ends, in the order they were opened."""

    def open(self, start: StartProxy, ready: Ready) -> Cancel:
        near, far = memory_pair()
        near.attach(self._reactor)
        self.streams.append(far)
        ready(near)
        return lambda: None

    def close(self) -> None: ...


class HandEdge:
    """One edge; `tunnels`: hosts with the capabilities of the sessions that serve them."""

    def __init__(self, tunnels: Sequence[tuple[str, frozenset[str]]]) -> None:
        self.reactor = HandReactor()
        self.opener = HandOpener(self.reactor)
        ids = (f"t{number}" for number in itertools.count())
        self.registry = Registry(lambda: next(ids))
        for number, (host, caps) in enumerate(tunnels):
            identity = Identity(SessionKey(f"{number:032x}", number + 1), f"s{number}")
            session = Session(identity, AgentInfo(), caps, Control(), cast(Links, self.opener))
            self.registry.replace(session)
            self.registry.declare(session, [Want("http", f"http://{host}", host, policy=Policy.compile("", {}))])
        world = EdgeWorld(self.reactor, self.registry, PAGES, lambda _scheme, _host: False, log=SILENT)
        self.edge = HttpEdge(world, "http")

    def visitor(self, room: int = 1 << 20) -> MemoryPort:
        """A new visitor's end; `room` is how much each direction takes."""
        near, far = memory_pair(room)
        near.attach(self.reactor)
        self.edge.crowd.enter(None, 0)
        with self.reactor.turn():
            self.edge.serve(near, ADDRESS)
        self.reactor.settle()
        return far

    def send(self, visitor: MemoryPort, data: bytes) -> None:
        """All that still finds an open ear."""
        if not visitor.far.closed:
            visitor.write(data)
            self.reactor.settle()

    def pass_time(self, seconds: float, step: float = 5.0) -> None:
        """So many seconds of the reactor's clock."""
        for _ in range(int(seconds / step)):
            self.reactor.pass_time(step)

    def over(self) -> None:
        """End everything; nothing may be left."""
        self.edge.abort()
        self.pass_time(10)
        assert not self.edge.visitors, "a visitor is left"
        assert self.edge.crowd.live == 0
        assert all(tunnel.traffic.live == 0 for tunnel in self.registry.tunnels()), "a count is left"
        assert all(stream.far.closed for stream in self.opener.streams), "a stream is left"
