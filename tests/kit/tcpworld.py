"""A world around the tcp edge for tests: real sockets, an agent that is only an opener."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import structlog
import trio

from ngrokd.edge.crowd import Crowd, CrowdLimits
from ngrokd.edge.tcp import TcpEdge
from ngrokd.opener import Cancel, Ready
from ngrokd.policy import Policy
from ngrokd.policy.addresses import AddressList
from ngrokd.settings import PortRange
from ngrokd.tunnel import Tunnel
from protocol.errors import Fault
from protocol.link.plain import PlainPort
from protocol.link.port import ignore
from protocol.link.reactor import Reactor
from protocol.messages import StartProxy
from tests.kit.ports import running, tcp_sockets

ANY = PortRange(1024, 65535)
NATIVE = frozenset({"verdict"})


class Agent:
    """An opener that gives plain ports and keeps their far ends."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.starts: list[StartProxy] = []
        self.arrived = trio.Event()
        self.refuse: Fault | None = None
        self.streams: list[trio.SocketStream] = []

    def open(self, start: StartProxy, ready: Ready) -> Cancel:
        self.starts.append(start)
        if self.refuse is not None:
            ready(self.refuse)
            return ignore
        near, far = tcp_sockets()
        port = PlainPort(near)
        port.attach(self.reactor)
        far.setblocking(False)
        self.streams.append(trio.SocketStream(trio.socket.from_stdlib_socket(far)))
        self.arrived.set()
        ready(port)
        return ignore

    def close(self) -> None: ...


class TcpWorld:
    """A tcp edge with one tunnel. Made by `tcp_world`."""

    def __init__(self, reactor: Reactor, caps: frozenset[str], policy: Policy | None) -> None:
        self.crowd = Crowd()
        self.edge = TcpEdge(reactor, ANY, structlog.get_logger(), self.crowd)
        self.agent = Agent(reactor)
        session: Any = SimpleNamespace(caps=caps, opener=self.agent, client_id="a")
        bound = self.edge.bind(0)
        self.port = bound.port
        self.tunnel = Tunnel("t1", f"tcp://me:{self.port}", "tcp", "", self.port, session, policy)
        self.edge.serve(bound, self.tunnel)

    async def visit(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def stream(self) -> trio.SocketStream:
        await self.agent.arrived.wait()
        return self.agent.streams[-1]


@contextlib.asynccontextmanager
async def tcp_world(
    kind: str = "epoll",
    *,
    caps: frozenset[str] = frozenset(),
    policy: Policy | None = None,
    proxies: str = "",
    limits: CrowdLimits | None = None,
) -> AsyncIterator[TcpWorld]:
    async with running(kind) as reactor:
        found = TcpWorld(reactor, caps, policy)
        found.edge.proxies = AddressList(proxies.split())
        found.crowd.limits = limits or CrowdLimits()
        with trio.fail_after(10):
            yield found
        found.edge.stop(found.tunnel)
        found.edge.abort()
        for stream in found.agent.streams:
            await stream.aclose()
        assert found.edge.live == 0
        assert found.crowd.live == 0
        assert found.tunnel.traffic.live == 0


async def until_left(found: TcpWorld) -> None:
    while found.edge.live:
        await trio.sleep(0.001)


async def is_reset(w: TcpWorld) -> bool:
    """Visit; whether all one gets is a reset, which may come before the client has seen its own connect succeed."""
    try:
        async with await w.visit() as visitor:
            await visitor.receive_some()
    except (OSError, trio.BrokenResourceError):
        return True
    return False
