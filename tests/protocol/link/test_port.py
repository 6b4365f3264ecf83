"""The conformance test of ports: every kind, on both reactors, keeps the contract of `protocol.link.port`."""

from __future__ import annotations

import contextlib
import random

import pytest
import trio
import trio.testing

from protocol.link.port import WOULD_BLOCK, Port, PortBroken
from tests.kit.ports import EVERY, HALF_CLOSING, REACTORS, Collector, joined

every_port = pytest.mark.parametrize("kind", EVERY)
half_closing = pytest.mark.parametrize("kind", HALF_CLOSING)
on_both = pytest.mark.parametrize("reactor_kind", list(REACTORS))
BIG = random.Random(7).randbytes(3_000_000)


async def write_all(port: Port, data: bytes) -> None:
    """Push `data` through a reactor's port, as an owner would: again whenever there is room."""
    sent = 0
    room = trio.Event()

    def push() -> None:
        nonlocal sent
        while sent < len(data):
            taken = port.write(memoryview(data)[sent:])
            sent += taken
            if not taken:
                return
        room.set()

    port.on_writable = push
    push()
    with trio.fail_after(20):
        await room.wait()


@on_both
@every_port
async def test_bytes_pass_whole_in_both_directions(kind: str, reactor_kind: str) -> None:
    async with joined(kind, reactor_kind) as (_, near, far):
        at_near, at_far = Collector(near), Collector(far)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_all, near, BIG)
            nursery.start_soon(write_all, far, BIG[::-1])
        await at_far.until(lambda it: len(it.data) == len(BIG))
        await at_near.until(lambda it: len(it.data) == len(BIG))
        assert at_far.data == BIG
        assert at_near.data == BIG[::-1]
        near.close()
        far.close()


@on_both
@half_closing
async def test_half_close_passes_and_reading_goes_on(kind: str, reactor_kind: str) -> None:
    async with joined(kind, reactor_kind) as (_, near, far):
        at_near, at_far = Collector(near), Collector(far)
        near.write(b"question")
        near.end_writing()
        near.end_writing() if kind.startswith("tls") else None
        await at_far.until(lambda it: it.ended)
        assert at_far.data == b"question"
        assert far.clean_end
        await write_all(far, BIG)
        far.end_writing()
        await at_near.until(lambda it: it.ended)
        assert at_near.data == BIG
        empty = near.read()
        assert empty is not None
        assert not empty  # the end of file again, at each later call
        near.close()
        far.close()


@on_both
@half_closing
async def test_half_close_loses_nothing_that_the_peer_has_in_flight(kind: str, reactor_kind: str) -> None:
    """SSLSocket fails here, which is why TlsPort keeps its own buffers (decisions.md)."""
    async with joined(kind, reactor_kind) as (_, near, far):
        taken = 0
        while taken < 1_000_000 and (more := far.write(BIG[taken : taken + 50_000])):
            taken += more  # in flight before the other side ends
        far.on_writable = lambda: None
        near_room = bytearray(1000)
        with trio.fail_after(5):
            while near.read_into(memoryview(near_room)) == WOULD_BLOCK:
                await trio.testing.wait_all_tasks_blocked()
        near.end_writing()
        at_near, at_far = Collector(near), Collector(far)
        at_near.data += near_room
        at_near.read()
        at_far.read()
        await at_far.until(lambda it: it.ended)
        await write_all(far, BIG[taken:])
        far.end_writing()
        await at_near.until(lambda it: it.ended)
        assert at_near.data == BIG
        near.close()
        far.close()


@on_both
@every_port
async def test_abort_is_seen_as_a_reset(kind: str, reactor_kind: str) -> None:
    async with joined(kind, reactor_kind) as (_, near, far):
        at_far = Collector(far)
        near.abort()
        near.abort()
        await at_far.until(lambda it: it.broken is not None or it.ended)
        if kind != "unix":  # a unix socket knows no reset
            assert at_far.broken is not None
            assert not at_far.ended
        far.close()
        far.close()


@on_both
@every_port
async def test_back_pressure_stops_the_writer_and_reading_frees_it(kind: str, reactor_kind: str) -> None:
    async with joined(kind, reactor_kind) as (_, near, far):
        freed = trio.Event()
        near.on_writable = freed.set
        block = bytes(64 * 1024)
        taken = 0
        with trio.fail_after(10):
            while count := near.write(block):
                taken += count
                assert taken < 64 * 1024 * 1024
        assert near.write(block) == 0
        assert not freed.is_set()
        at_far = Collector(far)
        at_far.read()
        await at_far.until(lambda it: len(it.data) >= taken)
        with trio.fail_after(10):
            await freed.wait()
        near.close()
        far.close()


@on_both
@every_port
async def test_a_short_write_is_followed_by_on_writable(kind: str, reactor_kind: str) -> None:
    """Owners stop at the first one, however large a piece they offered and however much room the other side has."""
    async with joined(kind, reactor_kind) as (reactor, near, far):
        at_far = Collector(far)
        data = BIG[:700_000]
        sent = 0

        def go_on() -> None:
            nonlocal sent
            sent += near.write(memoryview(data)[sent:])

        near.on_writable = go_on
        with reactor.turn():
            go_on()
        await at_far.until(lambda it: len(it.data) >= len(data))
        assert at_far.data == data
        near.close()
        far.close()


@on_both
@every_port
async def test_unread_bytes_come_first_and_are_not_announced(kind: str, reactor_kind: str) -> None:
    async with joined(kind, reactor_kind) as (_, near, far):
        at_far = Collector(far)
        near.write(b"abcdef")
        await at_far.until(lambda it: bytes(it.data) == b"abcdef")
        far.unread(b"ef")
        far.unread(b"cd")
        room = memoryview(bytearray(1))
        assert far.read_into(room) == 1
        assert bytes(room) == b"c"
        got = b""
        while view := far.read():
            got += view
        assert got == b"def"
        assert view is None
        near.write(b"next")
        await at_far.until(lambda it: it.data.endswith(b"next"))
        near.close()
        far.close()


@on_both
@every_port
async def test_early_bytes_are_announced_after_attach(kind: str, reactor_kind: str) -> None:
    async with joined(kind, reactor_kind, attached=False) as (reactor, near, far):
        near.write(b"before the reactor")
        first = await far.stream().receive_some(6)
        assert first == b"before"
        far.unread(b"before")
        at_far = Collector(far)
        far.attach(reactor)
        await at_far.until(lambda it: bytes(it.data) == b"before the reactor")
        near.close()
        far.close()


@on_both
@every_port
async def test_one_owner_at_a_time(kind: str, reactor_kind: str) -> None:
    async with joined(kind, reactor_kind, attached=False) as (reactor, near, far):
        near.attach(reactor)
        with pytest.raises(trio.BusyResourceError):
            near.stream()
        if kind != "stream":  # it lives on its leg's reactor always
            with pytest.raises(trio.BusyResourceError):
                near.attach(reactor)
        near.detach()
        stream = near.stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                near.attach(reactor)
            with pytest.raises(trio.BusyResourceError):
                await stream.receive_some()
            nursery.cancel_scope.cancel()
        near.attach(reactor)
        at_near = Collector(near)
        far.write(b"still whole")
        await at_near.until(lambda it: bytes(it.data) == b"still whole")
        near.close()
        with pytest.raises(PortBroken):
            near.attach(reactor)
        far.close()


@on_both
@every_port
async def test_closing_delivers_what_was_taken(kind: str, reactor_kind: str) -> None:
    async with joined(kind, reactor_kind) as (_, near, far):
        taken = near.write(BIG[:200_000])
        near.close()
        at_far = Collector(far)
        at_far.read()
        await at_far.until(lambda it: it.ended or it.broken is not None)
        if kind != "tls-socket":
            assert at_far.ended
        assert at_far.data == BIG[:taken]
        far.close()


@on_both
@every_port
async def test_a_closed_port_calls_nobody_back(kind: str, reactor_kind: str) -> None:
    calls: list[str] = []
    async with joined(kind, reactor_kind) as (_, near, far):
        near.on_readable = lambda: calls.append("readable")
        near.on_writable = lambda: calls.append("writable")
        near.close()
        with contextlib.suppress(PortBroken):
            far.write(b"too late")
        await trio.testing.wait_all_tasks_blocked()
        assert calls == []
        far.close()


@every_port
async def test_the_end_in_the_middle_of_the_async_face(kind: str) -> None:
    async with joined(kind, "epoll", attached=False) as (_, near, far):
        stream = far.stream()
        await near.stream().send_all(b"half a mess")
        near.abort()
        got = b""
        with trio.fail_after(5):
            try:
                while piece := await stream.receive_some(4):
                    got += piece
            except trio.BrokenResourceError:
                pass
        assert b"half a mess".startswith(got)
        await stream.aclose()


def test_ports_without_rooms_say_so(reactor_free_port: Port) -> None:
    with pytest.raises(TypeError):
        reactor_free_port.reserve()
    with pytest.raises(TypeError):
        reactor_free_port.commit(1)


@pytest.fixture
def reactor_free_port() -> Port:
    class Bare(Port):  # only what the base gives
        def __init__(self) -> None:
            super().__init__()

        read = read_into = unread = write = end_writing = close = abort = attach = detach = stream = None  # type: ignore[assignment]
        wait_readable = wait_writable = peer = None  # type: ignore[assignment]

    return Bare()


@on_both
@every_port
async def test_a_settled_port_has_nothing_to_read_and_tells_when_it_has(kind: str, reactor_kind: str) -> None:
    async with joined(kind, reactor_kind) as (_, near, far):
        got = bytearray()
        calls = 0
        changed = trio.Event()

        def read_once() -> None:
            nonlocal calls, changed
            calls += 1
            while not far.settled() and (data := far.take()):
                got.extend(data)
            changed.set()
            changed = trio.Event()

        far.on_readable = read_once
        for number in range(5):
            near.write(b"piece %d;" % number)
            with trio.fail_after(5):
                while not got.endswith(b"piece %d;" % number):
                    await changed.wait()
        assert got == b"piece 0;piece 1;piece 2;piece 3;piece 4;"
        assert calls >= 5
        far.unread(b"again")
        assert not far.settled()
        near.close()
        far.close()
