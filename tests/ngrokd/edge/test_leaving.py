"""What a visitor who has left leaves in memory: nothing, at once. The programs' cycle collector looks rarely
(`protocol.link.garbage`), so a connection that hangs in a circle stays for long, and by https its TLS state with it."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
import trio.testing

from ngrokd.edge.visitor import VisitorConnection
from tests.kit.edgeworld import World, edge_world, read_to_end, read_until

GET = b"GET / HTTP/1.1\r\nHost: one.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def connections() -> int:
    return sum(isinstance(found, VisitorConnection) for found in gc.get_objects())


async def between_exchanges(world: World) -> None:
    visitor = world.visitor()
    await visitor.send_all(GET)
    service = await world.stream()
    await read_until(service, b"\r\n\r\n")
    await service.send_all(OK)
    await read_until(visitor, b"\r\n\r\nok")
    await visitor.aclose()


async def within_an_exchange(world: World) -> None:
    visitor = world.visitor()
    await visitor.send_all(GET)
    service = await world.stream()
    await read_until(service, b"\r\n\r\n")
    await visitor.aclose()
    await service.send_all(OK * 100)


async def refused(world: World) -> None:
    visitor = world.visitor()
    await visitor.send_all(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
    assert b" 404 " in await read_to_end(visitor)
    await visitor.aclose()


async def upgraded(world: World) -> None:
    visitor = world.visitor()
    await visitor.send_all(b"GET / HTTP/1.1\r\nHost: one.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    service = await world.stream()
    await read_until(service, b"\r\n\r\n")
    await service.send_all(SWITCH)
    await read_until(visitor, b"\r\n\r\n")
    await visitor.aclose()
    await service.aclose()


@pytest.mark.parametrize("leave", [between_exchanges, within_an_exchange, refused, upgraded])
async def test_nothing_of_a_visitor_stays_without_the_collector(leave: Callable[[World], Awaitable[None]]) -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        await leave(world)
        with trio.fail_after(5):
            while world.edge.visitors or world.edge.crowd.live:
                await trio.sleep(0)
        await trio.testing.wait_all_tasks_blocked()
        assert connections() == 0
