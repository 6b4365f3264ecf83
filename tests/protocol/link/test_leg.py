"""Two legs over real connections: streams carry bytes both ways, drain, break and die as the contract says."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio

from protocol.link.leg import Leg, LegShared
from protocol.link.leg_stream import StreamPort
from protocol.link.port import Port, PortBroken
from protocol.link.reactor import Reactor
from protocol.mux import Role
from tests.kit.ports import PAIRS, Collector, running

BIG = bytes(range(251)) * 12_000

every_port = pytest.mark.parametrize("kind", ["plain", "unix", "tls-client", "tls-socket"])


class Legs:
    """A server's and an agent's leg joined by a connection; what happened to them."""

    def __init__(self, reactor: Reactor, near: Port, far: Port) -> None:
        self.reactor = reactor
        self.shared = LegShared()
        self.accepted: list[StreamPort] = []
        self.ends: dict[str, str] = {}
        self.ended = trio.Event()
        self.server = Leg(
            reactor,
            near,
            role=Role.SERVER,
            on_stream=None,
            on_end=lambda why: self.end("server", why),
            shared=self.shared,
        )
        self.agent = Leg(
            reactor, far, role=Role.CLIENT, on_stream=self.accept, on_end=lambda why: self.end("agent", why),
            shared=self.shared,
        )  # fmt: skip

    def accept(self, stream: StreamPort) -> None:
        self.accepted.append(stream)
        Echo(stream)

    def end(self, who: str, why: str) -> None:
        assert who not in self.ends
        self.ends[who] = why
        if len(self.ends) == 2:
            self.ended.set()


class Echo:
    """An owner that sends back what it reads."""

    def __init__(self, port: Port) -> None:
        self.port = port
        port.on_readable = port.on_writable = self.pump

    def pump(self) -> None:
        with contextlib.suppress(PortBroken):
            while (view := self.port.read()) is not None:
                if not view:
                    self.port.end_writing()
                    return
                taken = self.port.write(view)
                if taken < len(view):
                    self.port.unread(view[taken:])
                    return


class Writer:
    """An owner's other half: pushes `data`, then ends."""

    def __init__(self, port: Port, data: bytes) -> None:
        self.port = port
        self.rest = memoryview(data)
        port.on_writable = self.push
        self.push()

    def push(self) -> None:
        while self.rest:
            taken = self.port.write(self.rest)
            if not taken:
                return
            self.rest = self.rest[taken:]
        self.port.end_writing()


@contextlib.asynccontextmanager
async def legs(kind: str = "plain", reactor_kind: str = "epoll") -> AsyncIterator[Legs]:
    near, far = await PAIRS[kind]()
    async with running(reactor_kind) as reactor:
        both = Legs(reactor, near, far)
        yield both
        both.server.abort()
        both.agent.abort()
        with trio.fail_after(5):
            await both.ended.wait()
        assert both.shared.pool.lent == 0
        assert both.shared.queues.used == 0
        assert both.server.growth.used == both.agent.growth.used == 0


@pytest.mark.parametrize("reactor_kind", ["epoll", "tasks"])
@every_port
async def test_streams_carry_bytes_both_ways_and_end(kind: str, reactor_kind: str) -> None:
    async with legs(kind, reactor_kind) as both:
        streams = [both.server.open() for _ in range(5)]
        collectors = [Collector(stream) for stream in streams]
        data = [BIG[number : len(BIG) // (number + 1)] for number in range(5)]
        for stream, part in zip(streams, data, strict=True):
            Writer(stream, part)
        for collector, part in zip(collectors, data, strict=True):
            await collector.until(lambda it: it.ended)
            assert collector.data == part
        assert both.server.streams == both.agent.streams == 0
        assert both.server.rtt is not None
        both.server.go_away()
        with trio.fail_after(5):
            await both.ended.wait()
        assert both.ends == {"server": "drained", "agent": "drained"}
