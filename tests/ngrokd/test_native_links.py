"""NativeLinks: tcp visitors have a link of their own where one is parked, everybody else a stream, and nobody waits."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from ngrokd.legs import LegHouse, LegSet
from ngrokd.native_links import LIFE, OWN_LINKS, REST, NativeLinks
from ngrokd.opener import agent_gone
from ngrokd.parked import MAX_PARKED
from ngrokd.tunnel import Tunnel
from protocol.errors import Fault
from protocol.frames import take
from protocol.link.leg import Leg, LegShared
from protocol.link.leg_stream import StreamPort
from protocol.link.plain import PlainPort
from protocol.link.port import Port
from protocol.link.reactor import Reactor
from protocol.messages import StartProxy
from protocol.mux import Role
from tests.kit.memory_port import memory_pair
from tests.kit.ports import running

TCP = StartProxy("tcp://localhost:2222", "192.0.2.7:1234", "t1", "c1", "tcp")
WEB = StartProxy("http://x.localhost", "192.0.2.7:1234", "t2", "c2", "http")


def tunnel(protocol: str) -> Tunnel:
    return cast(Tunnel, SimpleNamespace(protocol=protocol))


class Bench:
    """A session with one leg, and an agent that dials when asked to."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.house = LegHouse(self.reactor)
        self.asked = 0
        self.tunnels: dict[str, Tunnel] = {}
        self.ports: list[Port] = []
        legs = LegSet(self.house, lambda: None)
        self.links = NativeLinks(self.house.own_links, legs, self._ask, self.tunnels)
        near, far = memory_pair()
        self.far_leg = Leg(
            self.reactor, far, role=Role.CLIENT, on_stream=lambda _: None, on_end=lambda _: None, shared=LegShared()
        )
        with self.reactor.turn():
            legs.join(near)

    def _ask(self) -> None:
        self.asked += 1

    def declare(self, protocol: str) -> None:
        found = self.tunnels[f"t{len(self.tunnels)}"] = tunnel(protocol)
        with self.reactor.turn():
            self.links.announced(found)

    def offer(self) -> socket.socket:
        near, far = socket.socketpair()
        port = PlainPort(near)
        port.attach(self.reactor)
        with self.reactor.turn():
            self.links.offer(port)
        return far

    def open(self, start: StartProxy) -> Port | Fault:
        got: list[Port | Fault] = []
        with self.reactor.turn():
            self.links.open(start, got.append)
        if isinstance(got[0], Port):
            self.ports.append(got[0])
        return got[0]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with running("tasks") as reactor:
        found = Bench(reactor)
        yield found
        found.links.close()
        found.house.close()
        for port in found.ports:
            port.close()
        await trio.testing.wait_all_tasks_blocked()


async def test_a_session_without_tcp_tunnels_has_no_links(bench: Bench) -> None:
    bench.links.warm_up()
    bench.declare("http")
    assert bench.asked == bench.links.parked == 0
    with contextlib.closing(bench.offer()) as far:
        assert far.recv(1) == b""  # nobody asked for it
    assert isinstance(bench.open(WEB), StreamPort)
    assert bench.links.heard == bench.links.legs.heard > float("-inf")


async def test_a_tcp_visitor_has_a_parked_link_of_its_own(bench: Bench) -> None:
    bench.declare("tcp")
    assert bench.asked == 1
    with contextlib.closing(bench.offer()) as far:
        assert bench.links.parked == 1
        port = bench.open(TCP)
        assert isinstance(port, PlainPort)
        found = take(far.recv(1000))
        assert found is not None
        assert found[0] == TCP
        assert (bench.links.parked, bench.links.used) == (0, 1)
        assert "parked=0 used=1" in repr(bench.links)
        port.close()
        assert bench.links.used == 0


async def test_who_finds_none_goes_onto_a_leg_at_once(bench: Bench) -> None:
    bench.declare("tcp")
    assert isinstance(bench.open(TCP), StreamPort)
    with contextlib.closing(bench.offer()):
        assert isinstance(bench.open(TCP), PlainPort)
        assert isinstance(bench.open(TCP), StreamPort)


async def test_a_web_visitor_leaves_the_parked_links_alone(bench: Bench) -> None:
    bench.declare("tcp")
    bench.declare("http")
    with contextlib.closing(bench.offer()):
        assert isinstance(bench.open(WEB), StreamPort)
        assert bench.links.parked == 1


async def test_a_crowd_has_a_bounded_number_of_links(bench: Bench) -> None:
    bench.declare("tcp")
    with contextlib.ExitStack() as stack:
        for _ in range(OWN_LINKS):
            stack.enter_context(contextlib.closing(bench.offer()))
            assert isinstance(bench.open(TCP), PlainPort)
        stack.enter_context(contextlib.closing(bench.offer()))
        assert isinstance(bench.open(TCP), StreamPort)
        bench.ports[3].abort()
        assert isinstance(bench.open(TCP), PlainPort)


async def test_links_are_asked_for_slowly_and_as_many_as_are_used(bench: Bench, autojump_clock: MockClock) -> None:
    bench.declare("tcp")
    for _ in range(100):
        bench.open(TCP)
    assert bench.asked == 1
    await trio.sleep(5)
    assert bench.asked == MAX_PARKED


async def test_without_a_tcp_tunnel_links_go_in_time(bench: Bench, autojump_clock: MockClock) -> None:
    bench.declare("tcp")
    near, far = memory_pair()
    near.attach(bench.reactor)
    with bench.reactor.turn():
        bench.links.offer(near)
    bench.tunnels.clear()
    await trio.sleep(LIFE + 1)
    assert far.far.closed
    assert bench.asked <= REST


async def test_the_end_closes_what_is_parked_and_leaves_who_has_a_link(bench: Bench) -> None:
    bench.declare("tcp")
    with contextlib.closing(bench.offer()) as used:
        assert isinstance(bench.open(TCP), PlainPort)
        with contextlib.closing(bench.offer()) as parked:
            with bench.reactor.turn():
                bench.links.close()
            assert parked.recv(1) == b""
        used.recv(1000)
        used.setblocking(False)
        with pytest.raises(BlockingIOError):
            used.recv(1)
        bench.declare("tcp")
        fault = bench.open(TCP)
        assert isinstance(fault, Fault)
        assert fault.code == agent_gone().code
