"""Two legs over real connections: streams carry bytes both ways, drain, break and die as the contract says."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.link.leg import Leg, LegShared
from protocol.link.leg_stream import StreamPort
from protocol.link.port import Port, PortBroken
from protocol.link.reactor import Reactor
from protocol.mux import GO_AWAY, HEADER, PING, Role
from tests.kit.legpair import LegPair, Reader
from tests.kit.muxpair import pattern
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


def echo(stream: StreamPort) -> None:
    Echo(stream)


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


def test_a_dead_leg_breaks_its_streams_once_and_gives_everything_back() -> None:
    pair = LegPair()
    stream, there = pair.open()
    finished, finished_there = pair.open(b"whole")
    finished.end_writing()
    pair.settle()
    here = Reader(stream)
    far = Reader(there)
    far.read()
    pair.server.abort()
    pair.settle()
    assert pair.ends == {"server": "the leg was aborted", "agent": "reset"}
    assert here.broken == "the leg ended: the leg was aborted"
    assert far.broken == "the leg ended: reset"
    late = Reader(finished_there)
    late.read()
    assert (bytes(late.data), late.ended) == (b"whole", True)  # it had come whole before the leg died
    for port in (stream, there, finished_there):
        with pytest.raises(PortBroken):
            port.write(b"x")
    with pytest.raises(PortBroken):
        pair.server.open()
    assert pair.shared.pool.lent == 0
    assert pair.shared.queues.used == 0


def test_a_leg_may_die_within_its_owners_callback() -> None:
    pair = LegPair()
    pair.server.open().write(b"x")
    pair.agent._on_stream = lambda stream: pair.agent.abort()
    pair.settle()
    assert pair.ends["agent"] == "the leg was aborted"
    assert pair.ends["server"] == "reset"


def test_silence_is_asked_after_and_then_ends_the_leg() -> None:
    pair = LegPair()
    pair.settle()
    pair.near.pieces.clear()
    for _ in range(20):  # pings are answered: it lives
        pair.reactor.go(4.0)
        pair.settle()
    assert not pair.ends
    assert pair.server.rtt == 0.0
    start = pair.reactor.now
    while not pair.ends:
        pair.reactor.go(1.0)
        pair.reactor.settle()  # nothing is delivered any more
    assert pair.ends["server"] == "no byte for 10 s"
    assert 10.0 <= pair.reactor.now - start <= 14.0


def test_only_one_side_of_an_idle_leg_pings() -> None:
    pair = LegPair()
    pair.reactor.go(0.5)
    pair.settle()
    sent = len(pair.near.pieces) + len(pair.far.pieces)
    for _ in range(100):
        pair.reactor.go(1.0)
        pair.settle()
    assert len(pair.near.pieces) + len(pair.far.pieces) - sent <= 2 * 26


def test_go_away_lets_streams_finish_and_refuses_new_ones() -> None:
    pair = LegPair(echo)
    stream, _ = pair.open(b"request")
    reader = Reader(stream)
    reader.read()
    pair.agent.go_away()
    pair.settle()
    assert pair.server.draining
    assert not pair.server.can_open
    with pytest.raises(PortBroken):
        pair.server.open()
    assert not pair.ends
    stream.write(b" more")
    stream.end_writing()
    pair.settle()
    assert bytes(reader.data) == b"request more"
    assert pair.ends == {"server": "drained", "agent": "drained"}


def test_a_broken_rule_is_told_and_ends_the_leg() -> None:
    pair = LegPair()
    pair.far.pieces.clear()
    pair.far.arriving += HEADER.pack(77, 0, 0, 0)
    pair.settle()
    assert pair.ends["agent"].startswith("mux_type")
    assert pair.far.pieces[-1] == HEADER.pack(GO_AWAY, 0, 0, 1)
    assert pair.ends["server"].startswith("mux_left")


def test_a_flood_of_pings_that_reads_no_answers_stops_being_read() -> None:
    pair = LegPair()
    pair.far.make_room(0)
    flood = HEADER.pack(PING, 1, 0, 5) * 200_000
    pair.far.arriving += flood
    with pair.reactor.turn():
        pair.far.deliver()
    assert pair.agent.out.backlog < 600_000
    assert len(pair.far.incoming) > 1_000_000
    before = len(pair.near.arriving)
    with pair.reactor.turn():
        pair.far.make_room(None)
    pair.settle()
    assert not pair.far.incoming
    assert pair.agent.out.backlog == 0
    assert before == 0
    assert not pair.ends


def test_the_server_refuses_streams_of_the_agents() -> None:
    pair = LegPair()
    stream = pair.agent.open()
    reader = Reader(stream)
    stream.write(b"hello")
    pair.settle()
    assert reader.broken == "reset by the other side"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_byte_is_lost_doubled_or_moved_on_a_wire_that_cuts_and_stalls(data: st.DataObject) -> None:
    pair = LegPair(echo)
    count = data.draw(st.integers(1, 4))
    writers, readers, wanted = [], [], []
    with pair.reactor.turn():
        for number in range(count):
            stream = pair.server.open()
            wanted.append(pattern(number, 0, data.draw(st.sampled_from([1, 5000, 70_000, 400_000]))))
            readers.append(Reader(stream))
            writers.append(Writer(stream, wanted[-1]))
    for _ in range(data.draw(st.integers(0, 40))):
        port = pair.near if data.draw(st.booleans()) else pair.far
        with pair.reactor.turn():
            if data.draw(st.booleans()):
                port.deliver(data.draw(st.integers(0, 40_000)))
            else:
                port.make_room(data.draw(st.integers(0, 40_000)))
    with pair.reactor.turn():
        pair.near.make_room(None)
        pair.far.make_room(None)
    pair.settle()
    for reader, part in zip(readers, wanted, strict=True):
        assert reader.ended
        assert bytes(reader.data) == part
    assert pair.server.streams == pair.agent.streams == 0
    assert pair.shared.queues.used == pair.shared.pool.lent == 0


def test_a_leg_that_is_drained_lets_its_last_bytes_go_first() -> None:
    pair = LegPair()
    stream, there = pair.open(b"request")
    stream.end_writing()
    pair.settle()
    reader = Reader(stream)
    far = Reader(there)
    far.read()
    pair.server.go_away()
    pair.settle()
    pair.far.make_room(1000)
    with pair.reactor.turn():
        assert there.write(bytes(20_000)) == 20_000
        there.end_writing()
    pair.settle()
    assert not pair.ends
    pair.far.make_room(None)
    pair.settle()
    assert (len(reader.data), reader.ended, reader.broken) == (20_000, True, None)
    assert pair.ends == {"server": "drained", "agent": "drained"}


def test_a_leg_that_went_away_does_not_wait_for_the_other_side_to_end_it() -> None:
    pair = LegPair()
    pair.agent._drained = lambda: None  # type: ignore[method-assign]
    pair.agent.machine.on_drained = lambda: None
    stream, _ = pair.open()
    pair.server.go_away()
    pair.settle()
    stream.abort()
    pair.settle()
    assert not pair.ends
    for _ in range(5):
        pair.reactor.go(1.0)
        pair.settle()
    assert pair.ends["server"] == "drained"


def test_a_leg_whose_program_slept_is_asked_before_it_is_given_up() -> None:
    pair = LegPair()
    pair.settle()
    pair.reactor.go(60.0)
    assert not pair.ends
    pair.settle()
    pair.reactor.go(3.0)
    pair.settle()
    assert not pair.ends
    pair.reactor.go(60.0)
    pair.reactor.settle()
    pair.reactor.go(2.0)  # nothing is delivered: nobody answers
    pair.reactor.settle()
    assert pair.ends["server"] == "no byte for 10 s"
