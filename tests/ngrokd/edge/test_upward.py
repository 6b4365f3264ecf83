"""The request half: bodies of every framing, byte for byte, with back-pressure; faults within them."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from protocol.link.reactor import TURN_BYTES
from tests.kit.edgeworld import asked, edge_world, read_exactly, read_to_end, read_until
from tests.kit.handedge import HandEdge

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BIG = random.Random(3).randbytes(2_000_000)


def chunked(data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX-Sum: 9\r\n\r\n"


def post(framing: bytes, body: bytes = b"") -> bytes:
    return b"POST /up HTTP/1.1\r\nHost: one.test\r\n" + framing + b"\r\n\r\n" + body


@pytest.mark.parametrize("reactor", ["epoll", "tasks"])
async def test_a_big_body_by_length(reactor: str) -> None:
    async with edge_world(reactor=reactor) as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(visitor.send_all, post(b"Content-Length: %d" % len(BIG), BIG))
            service = await world.stream()
            await read_until(service, b"\r\n\r\n")
            assert (await read_exactly(service, len(BIG))) == BIG
        await service.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK


@pytest.mark.parametrize("size", [1, 7, 1000, 70_000])
async def test_chunks_and_trailers_pass_as_they_are(size: int) -> None:
    body = chunked(BIG[: size * 50], size)
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(visitor.send_all, post(b"Transfer-Encoding: chunked", body))
            service = await world.stream()
            await read_until(service, b"\r\n\r\n")
            assert await read_exactly(service, len(body)) == body
        await service.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK


async def test_a_body_in_single_bytes_then_a_pipelined_request() -> None:
    body = chunked(b"hello", 2)
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        data = post(b"Transfer-Encoding: chunked", body) + b"GET /next HTTP/1.1\r\nHost: one.test\r\n\r\n"
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                for number in range(len(data)):
                    await visitor.send_all(data[number : number + 1])
                    await trio.testing.wait_all_tasks_blocked()

            nursery.start_soon(trickle)
            service = await world.stream()
            got = await read_until(service, b"0\r\nX-Sum: 9\r\n\r\n")
            assert got.endswith(body)
        await service.send_all(OK)
        assert (await read_until(service, b"\r\n\r\n")).startswith(b"GET /next ")
        await service.send_all(OK)
        assert await read_exactly(visitor, 2 * len(OK)) == OK * 2


async def test_two_pipelined_posts_in_one_write() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(post(b"Content-Length: 3", b"one") + post(b"Content-Length: 3", b"two"))
        service = await world.stream()
        assert (await read_until(service, b"one")).count(b"POST") == 1
        await service.send_all(OK)
        assert (await read_until(service, b"two")).count(b"POST") == 1
        await service.send_all(OK)
        assert await read_exactly(visitor, 2 * len(OK)) == OK * 2


async def test_back_pressure_reaches_the_visitor_and_nothing_is_lost() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        body = BIG * 10
        sent = 0

        async def send() -> None:
            nonlocal sent
            await visitor.send_all(post(b"Content-Length: %d" % len(body)))
            for at in range(0, len(body), 100_000):
                await visitor.send_all(body[at : at + 100_000])
                sent = at

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            service = await world.stream()
            await read_until(service, b"\r\n\r\n")
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert sent < len(body) - 1_000_000  # the kernel's buffers, not ours, hold what is on its way
            assert await read_exactly(service, len(body)) == body


async def test_a_bad_chunk_within_the_body_resets_the_stream() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(post(b"Transfer-Encoding: chunked", b"3\r\nabc\r\n"))
        service = await world.stream()
        await read_until(service, b"abc\r\n")
        await visitor.send_all(b"0x3\r\nabc\r\n")
        assert (await read_to_end(visitor)).startswith(b"HTTP/1.1 400 ")
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(service)


async def test_a_body_cut_short_is_never_taken_for_complete() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(post(b"Content-Length: 10", b"abc"))
        service = await world.stream()
        await read_until(service, b"abc")
        await visitor.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(service)


async def test_an_early_answer_reaches_an_uploading_visitor() -> None:
    answer = b"HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"
    async with asked(post(b"Content-Length: 100000000", BIG[:50_000])) as (_, visitor, service):
        await service.send_all(answer)
        await service.aclose()
        got = await read_until(visitor, b"no\n")
        assert got.startswith(b"HTTP/1.1 413 ")


async def test_an_answer_before_the_end_of_the_body_keeps_the_connection() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(post(b"Content-Length: 6", b"abc"))
        service = await world.stream()
        await read_until(service, b"abc")
        await service.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK
        await visitor.send_all(b"def" + b"GET /next HTTP/1.1\r\nHost: one.test\r\n\r\n")
        assert await read_to_end(service) == b"def"
        fresh = await world.stream()  # who answers early might take the rest of the body for a request
        assert (await read_until(fresh, b"\r\n\r\n")).startswith(b"GET /next")
        await fresh.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK


async def test_continue_comes_from_the_service() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(post(b"Content-Length: 3\r\nExpect: 100-continue"))
        service = await world.stream()
        assert b"Expect: 100-continue" in await read_until(service, b"\r\n\r\n")
        await service.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        await read_until(visitor, b"100 Continue\r\n\r\n")
        await visitor.send_all(b"abc")
        await read_until(service, b"abc")
        await service.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK


async def test_a_refusal_without_continue_closes() -> None:
    async with asked(post(b"Content-Length: 3\r\nExpect: 100-continue")) as (_, visitor, service):
        await service.send_all(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in await read_to_end(visitor)


async def test_the_edge_says_continue_for_a_classic_agent() -> None:
    async with edge_world() as world:
        world.tunnel("one.test", caps=frozenset())
        visitor = world.visitor()
        await visitor.send_all(post(b"Content-Length: 3\r\nExpect: 100-continue"))
        await read_until(visitor, b"HTTP/1.1 100 Continue\r\n\r\n")
        service = await world.stream()
        assert b"Expect" not in await read_until(service, b"\r\n\r\n")
        await visitor.send_all(b"abc")
        await read_until(service, b"abc")
        await service.send_all(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
        assert await read_exactly(visitor, len(OK)) == OK


def test_an_upload_lets_the_others_have_their_turn() -> None:
    world = HandEdge([("a.test", frozenset({"ticket"}))])
    size = 12 * TURN_BYTES
    visitor = world.visitor(2 * size)
    visitor.write(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    came = 0
    for _ in range(3):
        with world.reactor.turn():
            pass
        (stream,) = world.opener.streams
        assert 0 < len(stream.incoming) - came <= 2 * TURN_BYTES
        came = len(stream.incoming)
    world.over()
