"""D-V3: a poisoned connection can harm only itself. Each bad request and each bad answer on one connection, with a clean
visitor beside it and behind it."""

from __future__ import annotations

import pytest
import trio

from tests.kit.edgeworld import World, edge_world, read_exactly, read_until
from tests.kit.hostile_heads import REFUSED_REQUESTS, REFUSED_RESPONSES

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


# Of the tables: bytes behind a good head, which a parser of heads refuses, are on a connection what follows it.
FOLLOWS = {"more behind the end", "another head behind", "more behind", "two heads"}


async def clean(world: World, number: int) -> None:
    """A visitor of its own gets a stream of its own, on which nothing but its request stands, and its own answer."""
    visitor = world.visitor()
    await visitor.send_all(b"GET /clean/%d HTTP/1.1\r\nHost: one.test\r\n\r\n" % number)
    service = await world.stream()
    head = await read_until(service, b"\r\n\r\n")
    assert head.startswith(b"GET /clean/%d HTTP/1.1\r\nHost: one.test\r\nX-Forwarded-For: " % number)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n%06d" % number
    await service.send_all(answer)
    assert await read_exactly(visitor, len(answer)) == answer
    await visitor.aclose()
    await service.aclose()


async def rest_of(stream: trio.SocketStream) -> bytes:
    data = b""
    try:
        with trio.fail_after(5):
            while piece := await stream.receive_some():
                data += piece
    except trio.BrokenResourceError:
        pass
    return data


async def test_a_bad_request_behind_a_good_one_reaches_nobody() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        for number, (name, (_, raw)) in enumerate(REFUSED_REQUESTS.items()):
            if name in FOLLOWS:
                continue
            poisoned = world.visitor()
            await poisoned.send_all(
                b"GET /good HTTP/1.1\r\nHost: one.test\r\n\r\n" + raw.replace(b"a.test", b"one.test")[:70_000]
            )
            service = await world.stream()
            await read_until(service, b"\r\n\r\n")
            await service.send_all(OK)
            await poisoned.send_eof()
            got = await rest_of(poisoned)
            assert got.startswith(OK)
            assert got[len(OK) :][:12] in (
                b"",
                b"HTTP/1.1 400",
                b"HTTP/1.1 414",
                b"HTTP/1.1 417",
                b"HTTP/1.1 431",
                b"HTTP/1.1 501",
                b"HTTP/1.1 404",
            ), got
            assert await rest_of(service) == b""  # not one byte of it
            await clean(world, number)


@pytest.mark.parametrize("behind", [OK, b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"\x00garbage"])
async def test_what_a_service_says_too_much_reaches_nobody(behind: bytes) -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        for number in range(20):
            visitor = world.visitor()
            await visitor.send_all(b"GET /a HTTP/1.1\r\nHost: one.test\r\n\r\n")
            service = await world.stream()
            await read_until(service, b"\r\n\r\n")
            await service.send_all(OK + behind)
            assert await read_exactly(visitor, len(OK)) == OK
            await visitor.send_all(b"GET /b HTTP/1.1\r\nHost: one.test\r\n\r\n")
            fresh = await world.stream()
            await read_until(fresh, b"\r\n\r\n")
            await fresh.send_all(OK)
            assert await read_exactly(visitor, len(OK)) == OK
            await clean(world, number)


async def test_a_bad_answer_is_502_and_nobody_elses() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        for number, (name, raw) in enumerate(REFUSED_RESPONSES.items()):
            if name in FOLLOWS:
                continue
            visitor = world.visitor()
            await visitor.send_all(b"GET /a HTTP/1.1\r\nHost: one.test\r\n\r\n")
            service = await world.stream()
            await read_until(service, b"\r\n\r\n")
            try:
                await service.send_all(raw[:100_000])
                await service.send_eof()
            except trio.BrokenResourceError:
                pass  # refused before all of it was taken
            got = await rest_of(visitor)
            assert got.startswith(b"HTTP/1.1 502 "), (raw[:200], got[:200])
            await clean(world, number)
