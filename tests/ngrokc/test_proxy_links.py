"""Classic proxy links: how many there are, and what becomes of them. The way of a visitor is in test_agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ngrokc.events import EventBus, Notice
from ngrokc.proxy import Visitors
from ngrokc.proxy_links import MAX_IDLE, ProxyLinks
from ngrokc.routes import Routes
from protocol.address import HostPort
from protocol.link.dial import ServerDialer
from protocol.link.epoll import EpollReactor
from protocol.link.trust import ClientTls
from protocol.messages import RegProxy
from tests.kit.classic_server import ClassicServer
from tests.kit.go_wire import server_context


@asynccontextmanager
async def links(port: int | None = None) -> AsyncIterator[tuple[ClassicServer, ProxyLinks, EventBus, trio.Nursery]]:
    async with trio.open_nursery() as nursery:
        server = ClassicServer(server_context())
        await nursery.start(server.serve)
        reactor, bus = EpollReactor(), EventBus()
        await nursery.start(reactor.run)
        address = HostPort("127.0.0.1", port or server.tunnel_port)
        dialer = ServerDialer(address, ClientTls(loopback=True), None, reactor)
        visitors = Visitors(reactor, bus, nursery.start_soon)
        found = ProxyLinks(dialer, visitors, Routes(), lambda: RegProxy("ab" * 16), verdict=False)
        yield server, found, bus, nursery
        found.close()
        nursery.cancel_scope.cancel()


async def test_a_server_that_knows_nothing_of_us_closes_them() -> None:
    async with links() as (server, found, _, nursery):
        found.ask(nursery)
        await server.journal.seen("proxy", "unknown")
        with trio.fail_after(5):
            while "idle=0 parked=0" not in repr(found):
                await trio.lowlevel.checkpoint()


async def test_there_is_a_cap() -> None:
    async with links() as (_, found, _, nursery):
        for _ in range(MAX_IDLE * 2):
            found.ask(nursery)
        assert f"idle={MAX_IDLE} " in repr(found)


async def test_what_is_owed_is_made_good_as_links_are_used() -> None:
    async with links() as (server, found, _, nursery):
        for _ in range(MAX_IDLE + 20):  # each is closed by the server at once, which makes room for the next
            found.ask(nursery)
        await server.journal.seen("proxy", "unknown", MAX_IDLE + 20)


async def test_a_lost_server_is_told_once() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with links(port) as (_, found, bus, nursery):
        with bus.subscribe() as events, trio.fail_after(5):
            found.ask(nursery)
            found.ask(nursery)
            assert isinstance(await events.__anext__(), Notice)
            while "idle=0" not in repr(found):
                await trio.lowlevel.checkpoint()
            assert events.take() is None
