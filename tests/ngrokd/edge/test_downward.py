"""The response half: a service that is slow, streams, lies, says too much, or dies."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from protocol.frames import frame
from protocol.link.reactor import TURN_BYTES
from protocol.messages import Ping, StartProxyResp
from tests.kit.edgeworld import asked, edge_world, read_exactly, read_to_end, read_until
from tests.kit.handedge import HandEdge

GET = b"GET / HTTP/1.1\r\nHost: one.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BIG = random.Random(5).randbytes(3_000_000)
VERDICT = frozenset({"ticket", "verdict"})


@pytest.mark.parametrize("reactor", ["epoll", "tasks"])
async def test_a_big_answer_with_back_pressure(reactor: str) -> None:
    async with asked(GET, reactor=reactor) as (_, visitor, service):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.send_all, head + BIG)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert await read_exactly(visitor, len(head) + len(BIG)) == head + BIG
        await visitor.send_all(GET)
        await read_until(service, b"\r\n\r\n")
        await service.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK


async def test_each_write_of_the_service_reaches_the_visitor_at_once() -> None:
    async with asked(GET) as (_, visitor, service):
        await service.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await read_until(visitor, b"\r\n\r\n")
        for number in range(5):
            event = b"data: %d\n\n" % number
            await service.send_all(b"%x\r\n%b\r\n" % (len(event), event))
            assert event in await read_until(visitor, event + b"\r\n")


async def test_a_chunked_answer_in_single_bytes_with_trailers() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
    async with asked(GET) as (_, visitor, service):
        for number in range(len(answer)):
            await service.send_all(answer[number : number + 1])
        got = await read_until(visitor, b"X-Sum: 1\r\n\r\n")
        assert got.endswith(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        await visitor.send_all(GET)
        await read_until(service, b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (GET.replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (GET.replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n"),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (GET, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK),
    ],
)
async def test_answers_without_a_body_and_interim_ones(request_bytes: bytes, answer: bytes) -> None:
    async with asked(request_bytes) as (_, visitor, service):
        await service.send_all(answer)
        assert await read_exactly(visitor, len(answer)) == answer
        await visitor.send_all(GET)
        await read_until(service, b"\r\n\r\n")
        await service.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK


async def test_a_body_until_close() -> None:
    async with asked(GET) as (_, visitor, service):
        await service.send_all(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nall")
        await service.send_all(b" of it")
        await service.aclose()
        got = await read_to_end(visitor)
        assert got.startswith(b"HTTP/1.1 200 OK\r\nX: y\r\n")
        assert b"Connection: close\r\n" in got
        assert got.endswith(b"\r\n\r\nall of it")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,
    ],
)
async def test_a_service_that_breaks_http_is_502_and_used_no_more(answer: bytes) -> None:
    async with asked(GET) as (_, visitor, service):
        await service.send_all(answer)
        got = (await read_to_end(visitor)).replace(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"")
        assert got.startswith(b"HTTP/1.1 502 ")
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(service)


async def test_a_second_answer_reaches_nobody() -> None:
    async with asked(GET) as (world, visitor, service):
        await service.send_all(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        assert await read_exactly(visitor, len(OK)) == OK
        await visitor.send_all(GET)
        second = await world.stream()
        await read_until(second, b"\r\n\r\n")
        await second.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK


async def test_bytes_between_exchanges_end_their_stream_alone() -> None:
    async with asked(GET) as (world, visitor, service):
        await service.send_all(OK)
        await read_exactly(visitor, len(OK))
        await service.send_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(service)
        await visitor.send_all(GET)
        second = await world.stream()
        await read_until(second, b"\r\n\r\n")
        await second.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_answer_is_a_reset_never_a_short_body(answer: bytes, reset: bool) -> None:
    async with asked(GET) as (_, visitor, service):
        await service.send_all(answer)
        await read_until(visitor, b"abc")
        if reset:
            service.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")
        await service.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(visitor)


async def test_no_answer_at_all_is_502() -> None:
    async with asked(GET) as (_, visitor, service):
        await service.aclose()
        assert (await read_to_end(visitor)).startswith(b"HTTP/1.1 502 ")


async def test_a_stuck_visitor_is_reset_and_holds_no_more_than_a_read(autojump_clock: trio.testing.MockClock) -> None:
    async with asked(GET) as (_, _, service):
        with pytest.raises(trio.BrokenResourceError):
            await service.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n")
            while True:
                await service.send_all(bytes(1_000_000))


@pytest.mark.parametrize("cut", [1, 8, 20, 10_000])
async def test_a_good_verdict_and_the_answer_in_any_cut(cut: int) -> None:
    data = frame(StartProxyResp()) + OK
    async with asked(GET, caps=VERDICT) as (_, visitor, service):
        for at in range(0, len(data), cut):
            await service.send_all(data[at : at + cut])
            await trio.testing.wait_all_tasks_blocked()
        assert await read_exactly(visitor, len(OK)) == OK
        await visitor.send_all(GET)  # only the first bytes of a stream are a verdict
        await read_until(service, b"\r\n\r\n")
        await service.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (frame(StartProxyResp("upstream_refused", "nobody listens on 127.0.0.1:8080")), b"502"),
        (frame(StartProxyResp("upstream_timeout", "")), b"504"),
        (frame(StartProxyResp("something_new", "")), b"502"),
        (frame(Ping()), b"502"),
        (b"\xff" * 50, b"502"),
        (b"\x03\0\0\0\0\0\0\0{}}", b"502"),
    ],
)
async def test_a_bad_verdict_becomes_a_page_of_ours(verdict: bytes, status: bytes) -> None:
    async with asked(GET, caps=VERDICT) as (_, visitor, service):
        await service.send_all(verdict)
        got = await read_to_end(visitor)
        assert got.startswith(b"HTTP/1.1 " + status)
        assert b"8080" not in got


async def test_answers_that_repeat_their_head_are_still_told_apart() -> None:
    """The short way for repeated heads must see every difference: body, length, method, tunnel, leftovers."""
    head = GET.replace(b"GET", b"HEAD")
    same = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with edge_world() as world:
        world.tunnel("one.test")
        world.tunnel("two.test", options={"response_headers": {"set": {"X-Tunnel": "two"}}})
        visitor = world.visitor()
        await visitor.send_all(GET)
        service = await world.stream()
        await read_until(service, b"\r\n\r\n")
        for body in (b"first", b"again", b"third"):
            await service.send_all(same + body)
            assert await read_exactly(visitor, len(same) + 5) == same + body
            await visitor.send_all(GET)
            await read_until(service, b"\r\n\r\n")
        await service.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK
        await visitor.send_all(head)
        await read_until(service, b"\r\n\r\n")
        await service.send_all(same)
        assert await read_exactly(visitor, len(same)) == same
        await visitor.send_all(GET)
        await read_until(service, b"\r\n\r\n")
        await service.send_all(same[:-2])
        await trio.testing.wait_all_tasks_blocked()
        await service.send_all(b"\r\nab")
        await service.send_all(b"cde")
        assert await read_exactly(visitor, len(same) + 5) == same + b"abcde"
        await visitor.send_all(GET.replace(b"one", b"two"))
        other = await world.stream()
        await read_until(other, b"\r\n\r\n")
        await other.send_all(same + b"other")
        got = await read_until(visitor, b"other")
        assert b"X-Tunnel: two\r\n" in got
        await visitor.send_all(GET.replace(b"one", b"two"))
        await read_until(other, b"\r\n\r\n")
        await other.send_all(same + b"other" + b"and an answer to nobody")
        got = await read_until(visitor, b"other")
        assert b"X-Tunnel: two\r\n" in got
        assert await read_to_end(other) == b""  # that stream is let go: it said too much


async def test_a_chunked_answer_to_http_1_0_is_502() -> None:
    """Nobody could read it: the service was told which version it speaks to."""
    async with asked(b"GET / HTTP/1.0\r\nHost: one.test\r\n\r\n") as (_, visitor, service):
        await service.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        got = await read_to_end(visitor)
        assert got.startswith(b"HTTP/1.1 502 ")
        assert b"upstream_bad_response" in got


async def test_an_http_1_0_visitor_that_stays_is_told_so() -> None:
    request = b"GET / HTTP/1.0\r\nHost: one.test\r\nConnection: keep-alive\r\n\r\n"
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(GET)
        service = await world.stream()
        for line, following in ((GET, GET), (GET, request), (request, request), (request, GET), (GET, GET)):
            await read_until(service, b"\r\n\r\n")
            await service.send_all(OK)
            head = await read_until(visitor, b"\r\n\r\n")
            assert (b"\r\nConnection: keep-alive\r\n" in head) is (line is request)
            assert await read_exactly(visitor, 2) == b"ok"
            await visitor.send_all(following)


async def test_every_answer_has_its_time() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(GET)
        service = await world.stream()
        connection = next(iter(world.edge.visitors))
        for _ in range(3):  # the second and third are sent on without being taken apart
            await read_until(service, b"\r\n\r\n")
            connection.answered = 0.0
            await service.send_all(OK)
            assert await read_exactly(visitor, len(OK)) == OK
            assert connection.answered >= connection.began > 0.0
            await visitor.send_all(GET)


def test_a_download_lets_the_others_have_their_turn() -> None:
    world = HandEdge([("a.test", frozenset({"ticket"}))])
    size = 4 * TURN_BYTES  # all of it waits in the stream
    visitor = world.visitor(2 * size)
    world.send(visitor, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    (stream,) = world.opener.streams
    stream.take()
    stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    with world.reactor.turn():
        pass
    assert 0 < len(visitor.incoming) <= 3 * TURN_BYTES
    world.reactor.settle()
    assert len(visitor.incoming) > 3 * TURN_BYTES
    world.over()
