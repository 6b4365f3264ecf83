"""The relay's contract, on both reactors: half-close, reset, back-pressure, idle, tap, counts."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from protocol.link.port import Buffer, Port
from protocol.link.reactor import READS_PER_TURN, TURN_BYTES, Reactor
from protocol.link.relay import HELD_SECONDS, Relay, RelayEnd
from protocol.link.stream import PortStream
from tests.kit.hand_reactor import HandReactor
from tests.kit.memory_port import MemoryPort, memory_pair
from tests.kit.ports import PAIRS, REACTORS, running

on_both = pytest.mark.parametrize("kind", list(REACTORS))
over = pytest.mark.parametrize("ports", ["plain", "tls-client", "tls-server"])
BIG = random.Random(11).randbytes(5_000_000)


class Recorder:
    """A tap that remembers."""

    def __init__(self) -> None:
        self.upward = bytearray()
        self.downward = bytearray()
        self.ends: list[str | None] = []

    def up(self, data: memoryview) -> None:
        self.upward += data

    def down(self, data: memoryview) -> None:
        self.downward += data

    def up_ended(self) -> None:
        self.ends.append("up")

    def down_ended(self) -> None:
        self.ends.append("down")

    def closed(self, reason: str | None) -> None:
        self.ends.append(reason)


class BrokenTap(Recorder):
    def up(self, data: memoryview) -> None:
        raise RuntimeError("a defect of the inspector")


class Joined:
    """A relay between two pairs of ports, with a task's streams at the outer ends."""

    def __init__(self, reactor: Reactor, visitor: PortStream, upstream: PortStream, relay: Relay) -> None:
        self.reactor = reactor
        self.visitor = visitor
        self.upstream = upstream
        self.relay = relay
        self.far: Port
        """The visitor's own end."""
        self.ends: list[RelayEnd] = []
        self.ended = trio.Event()

    def on_end(self, end: RelayEnd) -> None:
        self.ends.append(end)
        self.ended.set()

    async def end(self) -> RelayEnd:
        with trio.fail_after(5):
            await self.ended.wait()
        assert len(self.ends) == 1
        return self.ends[0]


@contextlib.asynccontextmanager
async def joined(
    kind: str,
    ports: str = "plain",
    *,
    tap: Recorder | None = None,
    idle: float | None = None,
    first: Callable[[memoryview], bool] | None = None,
) -> AsyncIterator[Joined]:
    near: tuple[Port, Port] = await PAIRS[ports]()
    far: tuple[Port, Port] = await PAIRS["plain"]()
    async with running(kind) as reactor:
        near[0].attach(reactor)
        far[0].attach(reactor)
        ends: list[Joined] = []
        relay = Relay(reactor, near[0], far[0], on_end=lambda end: ends[0].on_end(end), idle=idle, tap=tap)
        both = Joined(reactor, near[1].stream(), far[1].stream(), relay)
        both.far = near[1]
        ends.append(both)
        if first is not None:
            relay.show_first(first)
        relay.start()
        yield both
        relay.abort("the test is over")
        await both.visitor.aclose()
        await both.upstream.aclose()


async def receive_all(stream: PortStream) -> bytes:
    data = b""
    with trio.fail_after(20):
        while piece := await stream.receive_some(1 << 18):
            data += piece
    return data


async def send_and_end(stream: PortStream, data: bytes) -> None:
    await stream.send_all(data)
    await stream.send_eof()


@on_both
@over
async def test_both_directions_whole_and_an_orderly_end(kind: str, ports: str) -> None:
    tap = Recorder()
    async with joined(kind, ports, tap=tap) as both:
        got: dict[str, bytes] = {}

        async def collect(name: str, stream: PortStream) -> None:
            got[name] = await receive_all(stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_and_end, both.visitor, BIG)
            nursery.start_soon(send_and_end, both.upstream, BIG[::-1])
            nursery.start_soon(collect, "up", both.upstream)
            nursery.start_soon(collect, "down", both.visitor)
        assert got["up"] == BIG
        assert got["down"] == BIG[::-1]
        end = await both.end()
        assert (end.up, end.down, end.failure) == (len(BIG), len(BIG), None)
        assert tap.upward == BIG
        assert tap.downward == BIG[::-1]
        assert sorted(tap.ends[:2], key=str) == ["down", "up"]
        assert tap.ends[2:] == [None]


@on_both
@over
async def test_half_close_passes_and_the_answer_still_flows(kind: str, ports: str) -> None:
    async with joined(kind, ports) as both:
        await send_and_end(both.visitor, b"question")
        assert await receive_all(both.upstream) == b"question"
        assert not both.ended.is_set()
        await send_and_end(both.upstream, BIG)
        assert await receive_all(both.visitor) == BIG
        assert (await both.end()).failure is None


@on_both
async def test_the_service_may_speak_and_end_first(kind: str) -> None:
    async with joined(kind) as both:
        await send_and_end(both.upstream, b"220 ready\r\n")
        assert await receive_all(both.visitor) == b"220 ready\r\n"
        await send_and_end(both.visitor, b"quit")
        assert await receive_all(both.upstream) == b"quit"
        assert (await both.end()).failure is None


@on_both
@pytest.mark.parametrize("side", ["visitor", "upstream"])
async def test_a_reset_reaches_the_other_side_as_a_reset(kind: str, side: str) -> None:
    async with joined(kind) as both:
        await both.visitor.send_all(b"hello")
        assert await both.upstream.receive_some() == b"hello"
        breaking, other = (both.visitor, both.upstream) if side == "visitor" else (both.upstream, both.visitor)
        breaking.port.abort()
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await other.receive_some()
        end = await both.end()
        assert end.failure is not None
        assert end.side == side


@on_both
async def test_a_peer_that_does_not_read_stops_the_other(kind: str) -> None:
    async with joined(kind) as both:
        with trio.move_on_after(0.3) as waited:
            while True:
                await both.visitor.send_all(bytes(100_000))
        assert waited.cancelled_caught
        up, _ = both.relay.counts
        assert up < 64 * 1024 * 1024
        assert not both.ended.is_set()


async def test_idle_ends_a_silent_relay_and_bytes_keep_it(autojump_clock: trio.testing.MockClock) -> None:
    async with joined("epoll", idle=60) as both:
        start = trio.current_time()
        for _ in range(3):
            await trio.sleep(50)
            await both.upstream.send_all(b".")
            assert await both.visitor.receive_some() == b"."
        with trio.fail_after(200):
            await both.ended.wait()
        assert trio.current_time() - start == pytest.approx(210, abs=1)
        assert "60 s" in str(both.ends[0].failure)


@on_both
async def test_a_broken_tap_is_left_alone_and_traffic_goes_on(kind: str) -> None:
    async with joined(kind, tap=BrokenTap()) as both:
        await send_and_end(both.visitor, BIG[:100_000])
        assert await receive_all(both.upstream) == BIG[:100_000]


@on_both
@pytest.mark.parametrize("broken", [False, True])
async def test_what_comes_first_is_shown_until_it_is_enough(kind: str, broken: bool) -> None:
    tap, seen = Recorder(), bytearray()

    def look(data: memoryview) -> bool:
        seen.extend(data)
        if broken:
            raise RuntimeError("a defect of who looks")
        return len(seen) < 4

    async with joined(kind, tap=tap, first=look) as j:
        for piece in (b"ab", b"cd", b"ef"):
            await j.upstream.send_all(piece)
            assert await j.visitor.receive_some() == piece
        await j.visitor.send_all(b"up")
        assert await j.upstream.receive_some() == b"up"
        assert bytes(seen) == (b"ab" if broken else b"abcd")
        if not broken:
            assert bytes(tap.downward) == b"abcdef"


@on_both
async def test_let_go_leaves_both_ports_open(kind: str) -> None:
    recorder = Recorder()
    async with joined(kind, tap=recorder) as both:
        both.relay.let_go()
        both.relay.abort("too late")
        assert (await both.end()).failure is None
        assert recorder.ends == [None]
        await both.visitor.send_all(b"x")
        with trio.move_on_after(0.05) as scope:
            await both.visitor.receive_some()
        assert scope.cancelled_caught
        for port in (both.relay._visitor, both.relay._upstream):
            port.close()


@on_both
async def test_abort_tells_once_and_resets_both(kind: str) -> None:
    async with joined(kind) as both:
        both.relay.abort("enough")
        both.relay.abort("again")
        assert (await both.end()).failure == "enough"
        for stream in (both.visitor, both.upstream):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


async def test_a_held_end_waits_for_the_answer() -> None:
    async with running("epoll") as reactor:
        visitor, visitor_far = await PAIRS["plain"]()
        upstream, upstream_far = await PAIRS["plain"]()
        ended = trio.Event()
        for port in (visitor, upstream):
            port.attach(reactor)
        relay = Relay(reactor, visitor, upstream, on_end=lambda _end: ended.set())
        relay.hold_visitors_end()
        relay.start()
        client, service = visitor_far.stream(), upstream_far.stream()
        with trio.fail_after(5):
            await client.send_all(b"question")
            await client.send_eof()
            assert await service.receive_some() == b"question"
            await trio.testing.wait_all_tasks_blocked(0.01)  # no end of file has come: the service may still answer
            await service.send_all(b"answer")
            await service.send_eof()
            assert await client.receive_some() == b"answer"
            assert await client.receive_some() == b""
            await ended.wait()
        await client.aclose()
        await service.aclose()


async def test_a_held_end_is_passed_on_when_the_answer_falls_silent(autojump_clock: trio.testing.MockClock) -> None:
    async with running("tasks") as reactor:
        (visitor, visitor_far), (upstream, upstream_far) = memory_pair(), memory_pair()
        for port in (visitor, upstream):
            port.attach(reactor)
        relay = Relay(reactor, visitor, upstream, on_end=lambda _end: None)
        relay.hold_visitors_end()
        relay.start()
        client, service = visitor_far.stream(), upstream_far.stream()
        await client.send_eof()
        began = trio.current_time()
        await trio.sleep(HELD_SECONDS * 0.9)
        await service.send_all(b"still at it")
        assert await service.receive_some() == b""  # a visitor that is gone must not keep its service for ever
        assert HELD_SECONDS * 1.9 < trio.current_time() - began <= HELD_SECONDS * 2.1
        relay.abort("the test is over")


@on_both
@pytest.mark.parametrize("ports", ["plain", "tls-client"])
async def test_a_relay_that_ended_within_a_turn_does_no_more_in_it(kind: str, ports: str) -> None:
    async with joined(kind, ports) as both:
        await both.upstream.send_all(b"x")
        assert await both.visitor.receive_some() == b"x"
        with both.reactor.turn():
            both.reactor.soon(both.relay._down.pump)  # as after many reads: the others have their turn first
            both.relay.abort("the other direction failed")
        await both.end()
        await trio.testing.wait_all_tasks_blocked()


@on_both
async def test_a_visitor_that_resets_while_its_download_is_stuck_ends_the_relay_with_a_reset(kind: str) -> None:
    async with joined(kind, "tls-server") as both, trio.open_nursery() as nursery:

        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                await both.upstream.send_all(BIG * 4)

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.1)
        both.visitor.port.abort()
        end = await both.end()
        assert end.failure is not None
        assert end.side == "visitor"


class RudeTap(Recorder):
    def up_ended(self) -> None:
        raise RuntimeError("a defect of the inspector")

    def closed(self, reason: str | None) -> None:
        raise RuntimeError("another one")


@on_both
async def test_a_tap_that_fails_at_the_end_is_left_alone_too(kind: str) -> None:
    async with joined(kind, tap=RudeTap()) as both:
        await both.visitor.send_eof()
        await both.upstream.send_eof()
        assert (await both.end()).failure is None


@on_both
@pytest.mark.parametrize("polite", [True, False])
async def test_an_upstream_that_must_say_goodbye_and_does_not_has_failed(kind: str, polite: bool) -> None:
    """A 1.7 agent that is killed: its kernel ends the connection, TLS does not."""
    visitor, upstream = await PAIRS["plain"](), await PAIRS["tls-server"]()
    ends: list[RelayEnd] = []
    async with running(kind) as reactor:
        for port in (visitor[0], upstream[0]):
            port.attach(reactor)
        relay = Relay(reactor, visitor[0], upstream[0], on_end=ends.append)
        relay.expect_goodbye()
        relay.start()
        await upstream[1].stream().send_all(b"half of an ans")
        near = visitor[1].stream()
        assert await near.receive_some() == b"half of an ans"
        if polite:
            upstream[1].close()
            assert await near.receive_some() == b""
            await near.send_eof()
        else:
            upstream[1].sock.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(5):
                await near.receive_some()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert [end.failure for end in ends] == [None if polite else "the link ended without a goodbye"]
        visitor[1].close()
        upstream[1].close()


@over
async def test_a_visitor_that_half_closed_and_then_left_is_noticed(ports: str) -> None:
    async with joined("epoll", ports) as both:
        await both.visitor.send_eof()
        assert await both.upstream.receive_some() == b""
        both.far.abort()
        end = await both.end()
        assert (end.side, end.failure) == ("visitor", "reset after its end")


class Endless(MemoryPort):
    """Has always more, and takes all."""

    def __init__(self, piece: bytes) -> None:
        super().__init__(0)
        self.piece = memoryview(piece)
        self.reads = 0

    def read(self) -> memoryview | None:
        self.reads += 1
        return self.piece

    def write(self, data: Buffer) -> int:
        return len(data)


@pytest.mark.parametrize(("size", "reads"), [(4, READS_PER_TURN), (TURN_BYTES, 1)])
@pytest.mark.parametrize("held", [False, True])
def test_a_torrent_lets_the_others_have_their_turn(held: bool, size: int, reads: int) -> None:
    reactor = HandReactor()
    source, sink = Endless(bytes(size)), Endless(bytes(size))
    relay = Relay(reactor, source, sink, on_end=lambda _: None)
    if held:
        relay.hold_answer()
    source.attach(reactor)
    sink.attach(reactor)
    relay.start()
    assert source.reads == reads
    for turn in range(2, 5):
        with reactor.turn():
            pass
        assert source.reads == reads * turn
    relay.abort("enough")


@on_both
async def test_an_answer_that_is_held_begins_behind_its_first_word(kind: str) -> None:
    near, visitor = await PAIRS["plain"]()
    far, upstream = await PAIRS["plain"]()
    async with running(kind) as reactor:
        near.attach(reactor)
        far.attach(reactor)
        ended = trio.Event()
        relay = Relay(reactor, near, far, on_end=lambda _: ended.set())
        relay.hold_answer()
        word = trio.Event()
        far.on_readable = word.set
        relay.start()
        outer, inner = visitor.stream(), upstream.stream()
        with trio.fail_after(5):
            await outer.send_all(b"early")
            await outer.send_eof()
            assert await receive_all(inner) == b"early"
            await inner.send_all(b"word and answer")
            await word.wait()
            taken = far.take()
            assert taken == b"word and answer"
            with reactor.turn():
                relay.take_answer(taken[5:])
            assert await outer.receive_some() == b"and answer"
            await inner.send_eof()
            assert await outer.receive_some() == b""
            await ended.wait()
        assert relay.counts == (5, 10)
        await outer.aclose()
        await inner.aclose()
