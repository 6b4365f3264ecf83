"""LegSet: streams on the least loaded leg, StartProxy first, waiting bounded, a dead leg ends its own streams only."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from ngrokd.legs import ASK_LIFE, MAX_LEGS, LegHouse, LegSet
from ngrokd.opener import OPEN_TIMEOUT
from protocol.errors import Fault
from protocol.frames import take
from protocol.link.leg import Leg, LegShared
from protocol.link.leg_stream import StreamPort
from protocol.link.port import Port, PortBroken
from protocol.link.tasks import TaskReactor
from protocol.messages import Message, StartProxy
from protocol.mux import Role
from tests.kit.memory_port import MemoryPort, memory_pair

START = StartProxy("http://x.localhost", "192.0.2.7:1234", "t1", "c1", "http")


class FarLeg:
    """The agent's end of one leg: keeps the streams that the server opened and what came on them."""

    def __init__(self, reactor: TaskReactor, port: MemoryPort) -> None:
        self.data: dict[StreamPort, bytearray] = {}
        self.ended: str | None = None
        self.leg = Leg(reactor, port, role=Role.CLIENT, on_stream=self._accept, on_end=self._end, shared=LegShared())

    def _accept(self, stream: StreamPort) -> None:
        self.data[stream] = bytearray()
        stream.on_readable = lambda: self._read(stream)

    def _read(self, stream: StreamPort) -> None:
        with contextlib.suppress(PortBroken):
            while view := stream.read():
                self.data[stream] += view

    def _end(self, reason: str) -> None:
        self.ended = reason

    def first_frames(self) -> list[Message]:
        found = [take(bytes(data)) for data in self.data.values()]
        return [message[0] for message in found if message is not None]


class Bench:
    def __init__(self) -> None:
        self.reactor = TaskReactor()
        self.house = LegHouse(self.reactor)
        self.asked = 0
        self.set = LegSet(self.house, self._ask)
        self.got: list[Port | Fault] = []

    def _ask(self) -> None:
        self.asked += 1

    def dial(self, room: int = 1 << 20) -> FarLeg:
        """One more leg, as the agent dials it."""
        near, far = memory_pair(room)
        with self.reactor.turn():
            self.set.join(near)
            return FarLeg(self.reactor, far)

    def open(self, count: int = 1) -> None:
        with self.reactor.turn():
            for _ in range(count):
                self.set.open(START, self.got.append)


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    found = Bench()
    async with trio.open_nursery() as nursery:
        await nursery.start(found.reactor.run)
        yield found
        found.set.close()
        found.house.close()
        await trio.testing.wait_all_tasks_blocked()
        assert found.house.live == set()
        nursery.cancel_scope.cancel()


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_a_stream_begins_with_start_proxy_and_needs_no_round_trip(autojump_clock: MockClock) -> None:
    async with bench() as b:
        far = b.dial()
        b.open()
        (stream,) = b.got
        assert isinstance(stream, StreamPort)
        with b.reactor.turn():
            stream.write(b"GET / HTTP/1.1\r\n")
        await settle()
        assert far.first_frames() == [START]
        assert bytes(next(iter(far.data.values()))).endswith(b"GET / HTTP/1.1\r\n")


async def test_the_least_loaded_leg_gets_the_next_stream(autojump_clock: MockClock) -> None:
    async with bench() as b:
        one, other = b.dial(), b.dial()
        b.open(6)
        await settle()
        assert (len(one.data), len(other.data)) == (3, 3)
        assert repr(b.set) == "<LegSet legs=2 streams=6 waiting=0>"


async def test_who_comes_before_the_first_leg_waits_for_it(autojump_clock: MockClock) -> None:
    async with bench() as b:
        b.open(3)
        assert b.got == []
        assert b.asked == 1
        far = b.dial()
        assert len(b.got) == 3
        await settle()
        assert far.first_frames() == [START] * 3


async def test_without_a_leg_waiting_ends_after_10_s(autojump_clock: MockClock) -> None:
    async with bench() as b:
        begin = trio.current_time()
        done = trio.Event()

        def ready(found: Port | Fault) -> None:
            assert isinstance(found, Fault)
            assert found.code == "agent_silent"
            done.set()

        b.set.open(START, ready)
        await done.wait()
        assert trio.current_time() - begin == pytest.approx(OPEN_TIMEOUT, abs=0.01)


async def test_who_leaves_is_not_called(autojump_clock: MockClock) -> None:
    async with bench() as b:
        cancel = b.set.open(START, b.got.append)
        cancel()
        far = b.dial()
        await settle()
        assert b.got == []
        assert far.data == {}


async def test_a_question_is_put_once_in_a_while(autojump_clock: MockClock) -> None:
    async with bench() as b:
        b.open(5)
        assert b.asked == 1
        await trio.sleep(ASK_LIFE + 1)
        b.open()
        assert b.asked == 2


async def test_a_dead_leg_ends_only_its_own_streams(autojump_clock: MockClock) -> None:
    async with bench() as b:
        one, other = b.dial(), b.dial()
        b.open(2)
        await settle()
        one.leg.abort()
        await settle()
        assert b.set.legs == 1
        alive = [stream for stream in b.got if isinstance(stream, StreamPort) and not stream.leg.over]
        assert len(alive) == 1
        assert len(other.data) == 1
        b.open()
        await settle()
        assert len(other.data) == 2


async def test_closing_lets_streams_finish_and_takes_no_new_ones(autojump_clock: MockClock) -> None:
    async with bench() as b:
        far = b.dial()
        b.open()
        b.set.close()
        await settle()
        (stream,) = b.got
        assert isinstance(stream, StreamPort)
        with b.reactor.turn():
            stream.write(b"late")
        await settle()
        assert bytes(next(iter(far.data.values()))).endswith(b"late")
        b.open()
        assert isinstance(b.got[1], Fault)


async def test_closing_fails_who_waits(autojump_clock: MockClock) -> None:
    async with bench() as b:
        b.open()
        b.set.close()
        b.set.close()
        (fault,) = b.got
        assert isinstance(fault, Fault)
        assert fault.code == "agent_gone"
        assert not b.set.has_room
        near, _ = memory_pair()
        b.set.join(near)
        assert near.closed


async def test_a_leg_without_room_makes_the_visitor_wait_for_it(autojump_clock: MockClock) -> None:
    async with bench() as b:
        far = b.dial(room=64)  # the leg's first frames hardly fit
        b.open(400)
        served = len(b.got)
        await settle()
        assert len(b.got) == 400
        assert served <= 400
        assert far.first_frames() == [START] * 400


async def test_there_is_room_for_a_few_legs(autojump_clock: MockClock) -> None:
    async with bench() as b:
        assert b.set.heard == float("-inf")
        for _ in range(MAX_LEGS):
            assert b.set.has_room
            b.dial()
        assert not b.set.has_room
        assert b.set.heard == trio.current_time()
        assert b.asked == 0
