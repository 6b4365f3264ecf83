"""Pairs of connected ports for tests: each kind of port with a far end, on either reactor."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import trio
import trustme

from protocol.link.epoll import EpollReactor
from protocol.link.leg import Leg, LegShared
from protocol.link.leg_stream import StreamPort
from protocol.link.plain import PlainPort
from protocol.link.port import Port, PortBroken, ignore
from protocol.link.reactor import Reactor
from protocol.link.tasks import TaskReactor
from protocol.link.tls import TlsPort
from protocol.link.tls_socket import TlsSocketPort
from protocol.mux import Role

REACTORS: dict[str, type[Reactor]] = {"epoll": EpollReactor, "tasks": TaskReactor}
SERVER_NAME = "port.test"

Pair = tuple[Port, Port]
MakePair = Callable[[], Awaitable[Pair]]


@contextlib.asynccontextmanager
async def running(kind: str) -> AsyncIterator[Reactor]:
    """A reactor that runs until the block ends."""
    reactor = REACTORS[kind]()
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        yield reactor
        nursery.cancel_scope.cancel()


def tcp_sockets() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return client, server


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's and a server's TLS context that trust each other."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(SERVER_NAME).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return client, server


async def plain_pair() -> Pair:
    near, far = tcp_sockets()
    return PlainPort(near), PlainPort(far)


async def unix_pair() -> Pair:
    near, far = socket.socketpair()
    return PlainPort(near), PlainPort(far)


async def _tls(kind: type[TlsPort | TlsSocketPort], server_is_near: bool) -> Pair:
    client_context, server_context = contexts()
    one, other = tcp_sockets()
    client = kind(one, client_context, server_name=SERVER_NAME)
    server = kind(other, server_context, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        nursery.start_soon(server.handshake)
    return (server, client) if server_is_near else (client, server)


PAIRS: dict[str, MakePair] = {
    "plain": plain_pair,
    "unix": unix_pair,
    "tls-client": functools.partial(_tls, TlsPort, False),
    "tls-server": functools.partial(_tls, TlsPort, True),
    "tls-socket": functools.partial(_tls, TlsSocketPort, False),
}
EVERY = [*PAIRS, "stream"]
HALF_CLOSING = [name for name in EVERY if name != "tls-socket"]


@contextlib.asynccontextmanager
async def joined(kind: str, reactor_kind: str, *, attached: bool = True) -> AsyncIterator[tuple[Reactor, Port, Port]]:
    """A reactor and two joined ports of a kind of EVERY, attached to it or task-owned. The caller closes the ports."""
    if kind == "stream":
        async with running(reactor_kind) as reactor, _streams(reactor) as (near, far):
            if not attached:
                near.detach()
                far.detach()
            yield reactor, near, far
        return
    near, far = await PAIRS[kind]()
    async with running(reactor_kind) as reactor:
        if attached:
            near.attach(reactor)
            far.attach(reactor)
        yield reactor, near, far


@contextlib.asynccontextmanager
async def _streams(reactor: Reactor) -> AsyncIterator[Pair]:
    """Both ends of a stream; its first byte, which makes the far one, is read already."""
    agents, servers = await PAIRS["tls-socket"]()
    accepted: list[Port] = []
    arrived = trio.Event()

    def accept(stream: StreamPort) -> None:
        accepted.append(stream)
        stream.on_readable = arrived.set

    shared = LegShared()
    agent = Leg(reactor, agents, role=Role.CLIENT, on_stream=accept, on_end=_unheard, shared=shared)
    server = Leg(reactor, servers, role=Role.SERVER, on_stream=None, on_end=_unheard, shared=shared)
    near = server.open()
    near.write(b"!")
    with trio.fail_after(5):
        await arrived.wait()
    far = accepted[0]
    assert far.take() == b"!"
    assert far.take() is None
    far.on_readable = ignore
    try:
        yield near, far
    finally:
        agent.abort()
        server.abort()


def _unheard(_reason: str) -> None:
    """The end of a leg that nobody waits for."""


class Collector:
    """An owner for a port in a reactor: reads everything it is told of, and remembers."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.data = bytearray()
        self.ended = False
        self.broken: str | None = None
        self.changed = trio.Event()
        port.on_readable = self.read

    def read(self) -> None:
        try:
            while (view := self.port.read()) is not None:
                if not view:
                    self.ended = True
                    break
                self.data += view
        except PortBroken as error:
            self.broken = str(error)
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, done: Callable[[Collector], bool]) -> None:
        with trio.fail_after(10):
            while not done(self):
                await self.changed.wait()
