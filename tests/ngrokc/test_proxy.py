"""One visitor on a plain port: verdicts, the greeting's single write, taps, PROXY headers, resets and ends."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from ngrokc.events import ConnectionClosed, ConnectionOpened, EventBus, Notice
from ngrokc.options import TunnelOptions
from ngrokc.proxy import GOOD, ROUTE_WAIT, Visit, Visitors
from ngrokc.routes import Route, Routes
from ngrokc.visitor_stream import VisitorStream
from protocol.address import Upstream
from protocol.frames import frame
from protocol.link.epoll import EpollReactor
from protocol.link.plain import PlainPort
from protocol.link.relay import Tap
from protocol.messages import Ping, StartProxy, StartProxyResp
from protocol.proxy_header import decode
from tests.kit.memory_port import MemoryPort, memory_pair

START = frame(StartProxy("http://t", "192.0.2.7:99", conn_id="c1"))


@dataclass
class Recorder:
    """A tap that keeps everything."""

    seen: list[tuple[str, bytes]] = field(default_factory=list)

    def open(self, tunnel: Route, connection: Visit) -> Tap:
        self.seen.append(("open", f"{tunnel.name} {connection.conn_id} {connection.client_addr}".encode()))
        return self

    def up(self, data: memoryview) -> None:
        self.seen.append(("up", bytes(data)))

    def down(self, data: memoryview) -> None:
        self.seen.append(("down", bytes(data)))

    def up_ended(self) -> None:
        self.seen.append(("up_ended", b""))

    def down_ended(self) -> None:
        self.seen.append(("down_ended", b""))

    def closed(self, reason: str | None) -> None:
        self.seen.append(("closed", (reason or "").encode()))


@dataclass
class Bench:
    visitors: Visitors
    routes: Routes
    service: trio.SocketListener
    recorder: Recorder
    open_sockets: list[socket.socket] = field(default_factory=list)

    def route(self, url: str = "http://t", *, proxy_protocol: int = 0, upstream: Upstream | None = None) -> Route:
        found = upstream or Upstream("tcp", "127.0.0.1", self.service.socket.getsockname()[1])
        route = Route("t", url, url.partition(":")[0], "", found, TunnelOptions(proxy_protocol=proxy_protocol))
        self.routes.add(route)
        return route

    def visit(self, data: bytes, *, verdict: bool = True, started: list[bool] | None = None) -> trio.SocketStream:
        near, far = socket.socketpair()
        port = PlainPort(near)
        with self.visitors.reactor.turn():
            port.attach(self.visitors.reactor)
            told = started if started is not None else []
            self.visitors.serve(port, self.routes, verdict=verdict, started=told.append)
        far.sendall(data)
        return trio.SocketStream(trio.socket.from_stdlib_socket(far))


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        reactor, recorder = EpollReactor(), Recorder()
        await nursery.start(reactor.run)
        (service,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        visitors = Visitors(reactor, EventBus(), nursery.start_soon, recorder)
        yield Bench(visitors, Routes(), service, recorder)
        visitors.close()
        await service.aclose()
        nursery.cancel_scope.cancel()


async def test_an_observer_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_tunnel: Route, _connection: Visit) -> Tap:
        raise RuntimeError("a defect")

    async with bench() as b:
        monkeypatch.setattr(b.recorder, "open", fail)
        b.route()
        with b.visitors.bus.subscribe() as events, trio.fail_after(5):
            async with b.visit(START + b"hi") as visitor, await b.service.accept() as service:
                assert await service.receive_some() == b"hi"
                await service.send_all(b"answer")
                assert await visitor.receive_some() == GOOD + b"answer"
            assert isinstance(await events.__anext__(), ConnectionOpened)
            notice = await events.__anext__()
        assert isinstance(notice, Notice)
        assert (notice.level, "a defect" in notice.message) == ("error", True)


async def test_the_verdict_leaves_with_the_first_bytes() -> None:
    async with bench() as b:
        b.route()
        with b.visitors.bus.subscribe() as events, trio.fail_after(5):
            async with b.visit(START + b"hi") as visitor:
                async with await b.service.accept() as service:
                    assert await service.receive_some() == b"hi"
                    await service.send_all(b"answer")
                    assert await visitor.receive_some() == GOOD + b"answer"
                    assert await events.__anext__() == ConnectionOpened("t", "http://t", "c1", "192.0.2.7:99")
                assert await visitor.receive_some() == b""
            closed = await events.__anext__()
        assert isinstance(closed, ConnectionClosed)
        assert (closed.up, closed.down, closed.failure) == (2, 6, None)
        assert b.recorder.seen[0] == ("open", b"t c1 192.0.2.7:99")
        assert ("down", b"answer") in b.recorder.seen
        assert b.recorder.seen[-1] == ("closed", b"")
        assert (b.visitors.active, b.visitors.total, b.visitors.up, b.visitors.down) == (0, 1, 2, 6)


async def test_the_verdict_of_a_service_that_ends_or_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngrokc.proxy.VERDICT_WAIT", 0.01)
    async with bench() as b:
        b.route()
        with trio.fail_after(5):
            async with b.visit(START) as visitor, await b.service.accept():
                assert await visitor.receive_some() == GOOD
            async with b.visit(START) as visitor:
                await (await b.service.accept()).aclose()
                assert await visitor.receive_some() == GOOD
                assert await visitor.receive_some() == b""


async def test_start_proxy_byte_by_byte() -> None:
    async with bench() as b:
        b.route()
        with trio.fail_after(5):
            async with b.visit(START[:1]) as visitor:
                for index in range(1, len(START)):
                    await visitor.send_all(START[index : index + 1])
                    await trio.lowlevel.checkpoint()
                async with await b.service.accept() as service:
                    await visitor.send_all(b"x")
                    assert await service.receive_some() == b"x"


@pytest.mark.parametrize("version", [1, 2])
async def test_the_service_learns_who_comes(version: int) -> None:
    async with bench() as b:
        b.route(proxy_protocol=version)
        with trio.fail_after(5):
            async with b.visit(START + b"x"), await b.service.accept() as service:
                data = b""
                while not data.endswith(b"x"):
                    data += await service.receive_some()
                found = decode(data)
        assert found is not None
        assert (found[0].source, data[found[1] :]) == (("192.0.2.7", 99), b"x")


async def test_a_reset_of_the_service_is_a_reset_for_the_visitor() -> None:
    async with bench() as b:
        b.route()
        with trio.fail_after(5), b.visitors.bus.subscribe() as events:
            async with b.visit(START + b"x") as visitor:
                service = await b.service.accept()
                await service.receive_some()
                service.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                await service.aclose()
                await events.__anext__()
                closed = await events.__anext__()
                assert isinstance(closed, ConnectionClosed)
                assert str(closed.failure).startswith("upstream: ")
                assert await visitor.receive_some() == b""  # a socket pair knows no reset


async def test_names_are_dialled_in_a_task() -> None:
    async with bench() as b:
        port = b.service.socket.getsockname()[1]
        route = b.route(upstream=Upstream("tcp", "localhost.localdomain.invalid", port))
        assert not route.choices
        with trio.fail_after(20):
            async with b.visit(START) as visitor:
                data = await visitor.receive_some()
                assert b'"upstream_unreachable"' in data


@pytest.mark.parametrize(("url", "answer"), [("http://t", b"HTTP/1.1 502 "), ("tcp://t:1", b"")])
async def test_classic_refusals(url: str, answer: bytes) -> None:
    async with bench() as b:
        b.route(url, upstream=Upstream("unix", path="/nonexistent/socket"))
        with trio.fail_after(5):
            async with b.visit(
                frame(StartProxy(url, "192.0.2.7:99")) + b"HEAD / HTTP/1.1\r\n\r\n", verdict=False
            ) as visitor:
                data = b""
                while more := await visitor.receive_some():
                    data += more
        assert data.startswith(answer)
        assert b"<html" not in data  # a HEAD request


async def test_a_parked_link_that_ends_or_lies() -> None:
    async with bench() as b:
        for data, notice in ((b"", False), (b"\xff" * 20, True), (frame(Ping()), True), (START[:30], False)):
            started: list[bool] = []
            with b.visitors.bus.subscribe() as events, trio.fail_after(5):
                visitor = b.visit(data, started=started)
                await visitor.send_eof()
                assert await visitor.receive_some() == b""
                await visitor.aclose()
                assert started == [False]
                assert isinstance(events.take(), Notice) is notice
        assert b.visitors.total == 0


async def test_visitors_of_a_listening_program() -> None:
    async with bench() as b:
        taken: list[VisitorStream] = []
        route = Route("t", "http://t", "http", "", None, TunnelOptions())

        def offer(stream: VisitorStream) -> bool:
            taken.append(stream)
            return len(taken) == 1

        route.offer = offer
        b.routes.add(route)
        with trio.fail_after(5), b.visitors.bus.subscribe() as events:
            async with b.visit(START + b"hi") as visitor:
                await events.__anext__()
                stream = taken[0]
                assert (stream.client_addr, stream.url) == ("192.0.2.7:99", "http://t")
                assert await stream.receive_some() == b"hi"
                await stream.send_all(b"answer")
                assert await visitor.receive_some() == GOOD + b"answer"
                await stream.send_eof()
                assert await visitor.receive_some() == b""
                await stream.aclose()
                closed = await events.__anext__()
                assert isinstance(closed, ConnectionClosed)
                assert (closed.up, closed.down) == (2, 6)
            async with b.visit(START) as visitor:  # its queue is full
                with pytest.raises((trio.BrokenResourceError, AssertionError)):
                    assert not await visitor.receive_some()
        assert b.visitors.active == 0


async def test_the_end_of_the_agent_ends_every_visit() -> None:
    async with bench() as b:
        b.route()
        with trio.fail_after(5):
            async with b.visit(START + b"x") as visitor, await b.service.accept() as service:
                await service.receive_some()
                assert b.visitors.active == 1
                b.visitors.close()
                assert b.visitors.active == 0
                with pytest.raises(trio.BrokenResourceError):
                    while await service.receive_some():
                        pass
                await visitor.receive_some()


def test_good_is_one_frame() -> None:
    assert frame(StartProxyResp()) == GOOD


@asynccontextmanager
async def narrow(b: Bench, room: int) -> AsyncIterator[MemoryPort]:
    """A visit on a port that takes `room` bytes at a time, as a busy leg does; the visitor's end."""
    near, far = memory_pair(1 << 20)
    near._room = room
    far.write(START)
    with b.visitors.reactor.turn():
        near.attach(b.visitors.reactor)
        b.visitors.serve(near, b.routes, verdict=True)
    yield far
    far.close()


async def take_all(port: MemoryPort) -> bytes:
    seen = b""
    for _ in range(200):
        await trio.testing.wait_all_tasks_blocked()
        seen += port._take(100)
    return seen


def offered(taken: list[VisitorStream]) -> Route:
    """The route of a program that takes every visitor."""

    def offer(stream: VisitorStream) -> bool:
        taken.append(stream)
        return True

    return Route("t", "http://t", "http", "", None, TunnelOptions(), offer=offer)


async def test_a_program_is_offered_a_visitor_when_the_verdict_has_gone_out_whole() -> None:
    async with bench() as b:
        taken: list[VisitorStream] = []
        b.routes.add(offered(taken))
        async with narrow(b, 3) as visitor:
            assert await take_all(visitor) == GOOD
            (stream,) = taken
            await stream.aclose()


async def test_a_refusal_goes_out_whole(autojump_clock: MockClock) -> None:
    async with bench() as b, narrow(b, 3) as visitor:
        await trio.sleep(ROUTE_WAIT)
        assert await take_all(visitor) == frame(StartProxyResp("unknown_tunnel", "the agent has no such tunnel"))
        visitor.end_writing()


async def test_a_visitor_that_is_faster_than_its_tunnels_answer_waits_for_it(autojump_clock: MockClock) -> None:
    """NewTunnel and the first visitor come on different connections."""
    async with bench() as b:
        taken: list[VisitorStream] = []
        async with narrow(b, 100):
            await trio.sleep(ROUTE_WAIT / 2)
            b.routes.add(Route("other", "http://other", "http", "", None, TunnelOptions()))
            await trio.testing.wait_all_tasks_blocked()
            assert not taken
            b.routes.add(offered(taken))
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(ROUTE_WAIT)
            assert len(taken) == 1


async def test_a_program_that_closes_its_visitor_after_the_agents_end_is_not_counted_twice() -> None:
    async with bench() as b:
        taken: list[VisitorStream] = []
        b.routes.add(offered(taken))
        with b.visitors.bus.subscribe() as events:
            async with b.visit(START + b"hi"):
                assert isinstance(await events.__anext__(), ConnectionOpened)
                b.visitors.close()
                await taken[0].aclose()
            assert isinstance(events.take(), ConnectionClosed)
            assert events.take() is None
        assert b.visitors.active == 0


BLOCKED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 19\r\n\r\nInvalid Host header"


@pytest.mark.parametrize("inspect", [True, False])
@pytest.mark.parametrize("verdict", [True, False])
async def test_a_service_that_does_not_know_the_host_name_is_noticed_once(verdict: bool, inspect: bool) -> None:
    async with bench() as b:
        b.route().options = TunnelOptions(inspect=inspect)
        with b.visitors.bus.subscribe(visitors=False) as events, trio.fail_after(5):
            for _ in range(2):
                async with b.visit(START, verdict=verdict) as visitor, await b.service.accept() as service:
                    await service.send_all(BLOCKED[:20])
                    await trio.testing.wait_all_tasks_blocked()
                    await service.send_all(BLOCKED[20:])
                    answer = b""
                    while not answer.endswith(BLOCKED):
                        answer += await visitor.receive_some()
                    assert answer == (GOOD if verdict else b"") + BLOCKED
            await trio.testing.wait_all_tasks_blocked()
            notice = events.take()
            assert isinstance(notice, Notice)
            assert notice.message.startswith(
                "t: webpack-dev-server refuses the host name t; add `host_header: rewrite`"
            )
            assert events.take() is None
        seen = b"".join(data for kind, data in b.recorder.seen if kind == "down")
        assert seen == (BLOCKED * 2 if inspect else b"")
