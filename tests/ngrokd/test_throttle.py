"""Throttled streams: the bytes are the same, only later; slots and credit are given back however a stream ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from ngrokd.grants import Grant, Scope
from ngrokd.opener import Cancel, Ready, agent_gone
from ngrokd.throttle import ThrottledOpener, ThrottledPort
from ngrokd.usage import Usage
from protocol.errors import Fault
from protocol.link.port import Port
from protocol.link.reactor import Reactor
from protocol.link.relay import Relay, RelayEnd
from protocol.link.tasks import TaskReactor
from protocol.messages import StartProxy
from tests.kit.memory_port import MemoryPort, memory_pair

START = StartProxy("http://x")


class Streams:
    """An opener whose streams end in `far`; nothing comes while `silent`."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.far: list[MemoryPort] = []
        self.waiting: list[Ready] = []
        self.silent = False
        self.cancelled = 0
        self.closed = False

    def open(self, start: StartProxy, ready: Ready) -> Cancel:
        if self.silent:
            self.waiting.append(ready)
            return self._cancel
        near, far = memory_pair()
        near.attach(self.reactor)
        self.far.append(far)
        ready(near)
        return self._cancel

    def _cancel(self) -> None:
        self.cancelled += 1

    def close(self) -> None:
        self.closed = True


class Bench:
    def __init__(self, reactor: Reactor, **limits: object) -> None:
        self.reactor = reactor
        self.usage = Usage(Grant("k", "alice", Scope(**limits)))  # type: ignore[arg-type]
        self.streams = Streams(reactor)
        self.told: list[str] = []
        self.opener = ThrottledOpener(reactor, self.streams, self.usage, lambda fault: self.told.append(fault.code))
        self.got: list[Port | Fault] = []

    def open(self) -> Cancel:
        return self.opener.open(START, self.got.append)

    def relay(self) -> tuple[MemoryPort, MemoryPort, list[RelayEnd]]:
        """A visitor joined with a throttled stream: the visitor's end, the agent's end."""
        self.open()
        stream = self.got[-1]
        assert isinstance(stream, ThrottledPort)
        near, visitor = memory_pair()
        near.attach(self.reactor)
        ends: list[RelayEnd] = []
        Relay(self.reactor, near, stream, on_end=ends.append).start()
        return visitor, self.streams.far[-1], ends


@contextlib.asynccontextmanager
async def bench(**limits: object) -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        reactor = TaskReactor()
        await nursery.start(reactor.run)
        with trio.fail_after(10_000):
            yield Bench(reactor, **limits)
        nursery.cancel_scope.cancel()


async def receive_all(port: MemoryPort) -> bytes:
    stream, found = port.stream(), bytearray()
    async for data in stream:
        found += data
    return bytes(found)


async def test_over_the_limit_a_visitor_is_told_at_once(autojump_clock: MockClock) -> None:
    async with bench(max_connections=2) as b:
        for _ in range(3):
            b.open()
        assert [getattr(found, "code", "") for found in b.got] == ["", "", "limit_reached"]
        assert b.told == ["limit_reached"]
        first = b.got[0]
        assert isinstance(first, Port)
        first.close()
        first.abort()
        assert b.usage.connections == 1
        b.open()
        assert isinstance(b.got[-1], ThrottledPort)
        b.opener.close()
        assert b.streams.closed


async def test_a_slot_comes_back_when_nothing_is_opened(autojump_clock: MockClock) -> None:
    async with bench(max_connections=1) as b:
        b.streams.silent = True
        leave = b.open()
        assert b.usage.connections == 1
        leave()
        assert (b.usage.connections, b.streams.cancelled) == (0, 1)
        b.open()
        b.streams.waiting[-1](agent_gone())
        assert b.usage.connections == 0
        assert isinstance(b.got[-1], Fault)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_bytes_pass_whole_and_at_the_rate(autojump_clock: MockClock, direction: str) -> None:
    payload = bytes(range(256)) * 2000  # 512 000 bytes at 100 000 a second
    async with bench(max_bandwidth=100_000) as b:
        visitor, agent, ends = b.relay()
        source, sink = (visitor, agent) if direction == "up" else (agent, visitor)
        began = trio.current_time()

        async def send() -> None:
            await source.stream().send_all(payload)
            await source.stream().send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await receive_all(sink) == payload
        took = trio.current_time() - began
        assert 4.9 <= took <= 5.3, took
        sink.end_writing()
        await trio.sleep(1)  # the end of file waits for credit, too
        assert [end.failure for end in ends] == [None]
        assert b.usage.connections == 0


async def test_a_bulk_stream_does_not_stall_a_small_one(autojump_clock: MockClock) -> None:
    async with bench(max_bandwidth=100_000) as b:
        bulk_visitor, bulk_agent, _ = b.relay()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bulk_agent.stream().send_all, bytes(10_000_000))
            nursery.start_soon(receive_all, bulk_visitor)
            await trio.sleep(3)
            visitor, agent, _ = b.relay()
            waits = []
            for _ in range(10):
                began = trio.current_time()
                await agent.stream().send_all(b"hello")
                assert await visitor.stream().receive_some() == b"hello"
                waits.append(trio.current_time() - began)
            assert max(waits) <= 0.1, waits
            nursery.cancel_scope.cancel()


async def test_bulk_streams_share_alike(autojump_clock: MockClock) -> None:
    async with bench(max_bandwidth=200_000) as b:
        got = [0, 0, 0]

        async def count(index: int, port: MemoryPort) -> None:
            async for data in port.stream():
                got[index] += len(data)

        with trio.move_on_after(10):
            async with trio.open_nursery() as nursery:
                for index in range(3):
                    visitor, agent, _ = b.relay()
                    nursery.start_soon(agent.stream().send_all, bytes(10_000_000))
                    nursery.start_soon(count, index, visitor)
        assert sum(got) == pytest.approx(2_000_000, rel=0.1)
        assert max(got) - min(got) < 40_000, got


async def test_a_stream_that_dies_waiting_leaves_the_line(autojump_clock: MockClock) -> None:
    async with bench(max_bandwidth=10_000) as b:
        visitor, agent, ends = b.relay()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.stream().send_all, bytes(1_000_000))
            await trio.sleep(1)
            visitor.abort()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(ends) == 1
        bucket = b.usage.bucket
        assert bucket is not None
        assert (bucket.waiting, b.usage.connections) == (0, 0)


async def test_that_a_link_is_lost_is_passed_on(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(max_connections=2) as b:
        b.open()
        stream = b.got[-1]
        assert isinstance(stream, ThrottledPort)
        found = [stream.carrier_gone]
        monkeypatch.setattr(MemoryPort, "carrier_gone", True)
        found.append(stream.carrier_gone)
        assert found == [False, True]
        stream.abort()
