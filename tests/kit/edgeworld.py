"""A world around the http edge for tests: visitors and private services are socket pairs, the agent is not there at all.

`world.visitor()` gives a visitor's end, `await world.stream()` the service's end of the next stream that the edge opens.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import trio

from ngrokd.edge.guard import Guard, GuardRules
from ngrokd.edge.http import EdgeWorld, HttpEdge
from ngrokd.edge.pages import Pages
from ngrokd.opener import Cancel, Links, Ready, agent_silent
from ngrokd.policy import Policy
from ngrokd.registry import Registry, Want
from ngrokd.session import AgentInfo, Identity, Session, SessionKey
from ngrokd.tunnel import Protocol, Tunnel
from protocol.link.plain import PlainPort
from protocol.link.reactor import Reactor
from protocol.messages import Message, StartProxy
from tests.kit.ports import running

ADDRESS = ("192.0.2.7", 4711)


class Control:
    """A control link that only remembers."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def end(self, reason: str) -> None:
        self.sent.clear()


@dataclass
class Opener:
    """Opens socket pairs. `silent`: nobody comes; `refuse`: the agent is silent at once."""

    reactor: Reactor
    streams: trio.MemorySendChannel[trio.SocketStream]
    starts: list[StartProxy] = field(default_factory=list)
    waiting: list[Ready] = field(default_factory=list)
    silent: bool = False
    refuse: bool = False
    cancelled: int = 0

    def open(self, start: StartProxy, ready: Ready) -> Cancel:
        self.starts.append(start)
        if self.refuse:
            ready(agent_silent())
        elif self.silent:
            self.waiting.append(ready)
        else:
            self.give(ready)
        return self._cancel

    def give(self, ready: Ready) -> None:
        ours, theirs = socket_pair()
        port = PlainPort(ours)
        port.attach(self.reactor)
        self.streams.send_nowait(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)))
        ready(port)

    def _cancel(self) -> None:
        self.cancelled += 1

    def close(self) -> None: ...


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """TCP, not unix sockets: resets are part of what is tested."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    for sock in (one, other):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, other


class World:
    """One edge with its registry; made by `edge_world`."""

    def __init__(self, reactor: Reactor, scheme: str, rules: GuardRules | None = None) -> None:
        self.reactor = reactor
        self.away: set[str] = set()
        ids = (f"t{number}" for number in itertools.count())
        self.registry = Registry(lambda: next(ids))
        send, self._streams = trio.open_memory_channel[trio.SocketStream](1000)
        self.opener = Opener(reactor, send)
        self._generation = itertools.count(1)
        guard = Guard(rules, trio.current_time) if rules is not None else None
        world = EdgeWorld(reactor, self.registry, Pages(), lambda _scheme, host: host in self.away, guard=guard)
        self.edge = HttpEdge(world, scheme)
        self._ends: list[trio.SocketStream] = []

    def tunnel(
        self,
        host: str,
        *,
        auth: str = "",
        options: Mapping[str, object] | None = None,
        caps: frozenset[str] = frozenset({"ticket"}),
        protocol: Protocol = "http",
    ) -> Tunnel:
        """Declare a tunnel of its own session; with `caps` empty it is a classic one."""
        number = next(self._generation)
        identity = Identity(SessionKey(f"{number:032x}", number), f"s{number}")
        session = Session(identity, AgentInfo(), caps, Control(), cast(Links, self.opener))
        self.registry.replace(session)
        want = Want(protocol, f"{protocol}://{host}", host, policy=Policy.compile(auth, options))
        declared = self.registry.declare(session, [want])
        assert isinstance(declared, list)
        return declared[0]

    def visitor(self, *, server_name: str | None = None) -> trio.SocketStream:
        """A new visitor's end."""
        ours, theirs = socket_pair()
        port = PlainPort(ours)
        with self.reactor.turn():
            port.attach(self.reactor)
            self.edge.crowd.enter(None, 0)
            self.edge.serve(port, ADDRESS, server_name)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        self._ends.append(stream)
        return stream

    async def stream(self) -> trio.SocketStream:
        """The service's end of the next stream."""
        with trio.fail_after(5):
            stream = await self._streams.receive()
        self._ends.append(stream)
        return stream

    def no_stream(self) -> bool:
        """Whether no (further) stream was opened."""
        return not self._streams.statistics().current_buffer_used

    async def close(self) -> None:
        self.edge.abort()
        for stream in self._ends:
            await stream.aclose()
        while self._streams.statistics().current_buffer_used:
            await (await self._streams.receive()).aclose()


@contextlib.asynccontextmanager
async def edge_world(
    scheme: str = "http", reactor: str = "epoll", rules: GuardRules | None = None
) -> AsyncIterator[World]:
    """A running world; at its end nothing of the edge may be left."""
    async with running(reactor) as loop:
        world = World(loop, scheme, rules)
        try:
            yield world
        finally:
            with trio.CancelScope(shield=True):
                await world.close()
        assert not world.edge.visitors
        for tunnel in world.registry.tunnels():
            assert tunnel.traffic.live == 0
    assert world.edge.crowd.live == 0  # those who lingered are gone too


@contextlib.asynccontextmanager
async def asked(
    request: bytes, *, reactor: str = "epoll", **tunnel: Any
) -> AsyncIterator[tuple[World, trio.SocketStream, trio.SocketStream]]:
    """A world with the tunnel one.test (`tunnel`: as `World.tunnel` takes them) in which a visitor has sent `request` and
    the service has read its head: the world, the visitor's end and the service's."""
    async with edge_world(reactor=reactor) as world:
        world.tunnel("one.test", **tunnel)
        visitor = world.visitor()
        await visitor.send_all(request)
        service = await world.stream()
        await read_until(service, b"\r\n\r\n")
        yield world, visitor, service


async def read_until(stream: trio.SocketStream, mark: bytes) -> bytes:
    """Everything up to and with `mark`, and not a byte more."""
    data = b""
    with trio.fail_after(5):
        while not data.endswith(mark):
            piece = await stream.receive_some(1)
            assert piece, f"ended after {data!r}"
            data += piece
    return data


async def read_exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    with trio.fail_after(10):
        while len(data) < count:
            piece = await stream.receive_some(count - len(data))
            assert piece, f"ended after {len(data)} of {count} bytes"
            data += piece
    return data


async def read_to_end(stream: trio.SocketStream) -> bytes:
    """Everything until the end of file; a reset raises trio.BrokenResourceError."""
    data = b""
    with trio.fail_after(5):
        while piece := await stream.receive_some():
            data += piece
    return data
