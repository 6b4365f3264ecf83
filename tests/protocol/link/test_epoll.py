"""The epoll reactor alone: what `test_reactor` and `test_port` can't see from outside."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from protocol.link import epoll
from protocol.link.epoll import EpollReactor, available
from protocol.link.reactor import READABLE


async def test_edges_come_once_per_arrival() -> None:
    assert available
    reactor = EpollReactor()
    assert reactor.edge_triggered
    near, far = socket.socketpair()
    near.setblocking(False)
    masks: list[int] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        reactor.register(near, masks.append)
        far.send(b"one")
        await trio.testing.wait_all_tasks_blocked(0.01)
        count = len([mask for mask in masks if mask & READABLE])
        assert count == 1  # not read, and not told again
        far.send(b"two")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len([mask for mask in masks if mask & READABLE]) == 2
        reactor.arm(near, READABLE)
        nursery.cancel_scope.cancel()
    near.close()
    far.close()


class Passes(trio.abc.Instrument):
    """Counts how often trio's loop went round."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@contextmanager
def ball(reactor: EpollReactor, on_bounce: Callable[[int], bool]) -> Iterator[socket.socket]:
    """A socket pair that throws a byte from side to side as long as `on_bounce(count)` says so."""
    count = 0
    near, far = socket.socketpair()

    def thrower(here: socket.socket) -> Callable[[int], None]:
        def bounce(mask: int) -> None:
            nonlocal count
            if mask & READABLE:
                here.recv(1)
                count += 1
                if on_bounce(count):
                    here.send(b".")

        return bounce

    for side in (near, far):
        side.setblocking(False)
        reactor.register(side, thrower(side))
    try:
        yield near
    finally:
        for side in (near, far):
            reactor.forget(side)
            side.close()


async def test_a_dialogue_is_served_without_going_round_in_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoll, "STAY_SECONDS", 60.0)
    reactor, passes, over = EpollReactor(), Passes(), trio.Event()
    at_first: list[int] = []

    def on_bounce(count: int) -> bool:
        if count == 1:
            at_first.append(passes.count)
        if count == 500:
            at_first.append(passes.count)
            over.set()
        return count < 500

    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        trio.lowlevel.add_instrument(passes)
        with ball(reactor, on_bounce) as side:
            side.send(b".")
            await over.wait()
        trio.lowlevel.remove_instrument(passes)
        nursery.cancel_scope.cancel()
    assert at_first[0] == at_first[1]


async def test_trio_has_its_turn_however_much_comes() -> None:
    reactor = EpollReactor()
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        with ball(reactor, lambda _: True) as side:  # never ends
            side.send(b".")
            for _ in range(20):
                await trio.sleep(0.0001)
        nursery.cancel_scope.cancel()


async def test_nobody_is_waited_for_while_a_task_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler wakes a task: it runs at once, not after the time that the reactor would wait for more events."""
    monkeypatch.setattr(epoll, "LINGER_SECONDS", 5.0)
    monkeypatch.setattr(epoll, "STAY_SECONDS", 60.0)
    reactor, called = EpollReactor(), trio.Event()

    def on_bounce(count: int) -> bool:
        called.set()
        return False

    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        with ball(reactor, on_bounce) as side:
            side.send(b".")
            await called.wait()
        nursery.cancel_scope.cancel()
    assert time.monotonic() - began < 5


async def test_several_reactors_do_not_keep_each_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may run many agents, each with a reactor of its own."""
    monkeypatch.setattr(epoll, "LINGER_SECONDS", 2.0)
    monkeypatch.setattr(epoll, "STAY_SECONDS", 60.0)
    first, second, called = EpollReactor(), EpollReactor(), trio.Event()

    def on_bounce(count: int) -> bool:
        called.set()
        return False

    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        await nursery.start(first.run)
        await nursery.start(second.run)
        with ball(first, lambda _: False) as one, ball(second, on_bounce) as other:
            one.send(b".")
            other.send(b".")
            await called.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert time.monotonic() - began < 2


async def test_however_many_reactors_there_is_one_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would cost every switch of tasks a call."""
    changes: list[str] = []
    for name in ("add_instrument", "remove_instrument"):
        real = getattr(trio.lowlevel, name)

        def told(instrument: trio.abc.Instrument, name: str = name, real: Callable[..., None] = real) -> None:
            changes.append(name)
            real(instrument)

        monkeypatch.setattr(trio.lowlevel, name, told)
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                await nursery.start(EpollReactor().run)
            nursery.cancel_scope.cancel()
    assert changes == ["add_instrument", "remove_instrument"] * 2


class ScriptedSet:
    """In place of the epoll set: an event comes only to those who wait, and says nothing in between."""

    def __init__(self) -> None:
        self.looks = 0

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        assert most
        self.looks += 1
        return [(-1, READABLE)] if timeout else []


def test_it_spins_only_in_a_dialogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking again and again costs a core: only after several pauses in a row were short, and not after a long one."""
    now = 0.0
    yields = 0

    def clock() -> float:
        nonlocal now
        now += 0.00001
        return now

    def sched_yield() -> None:
        nonlocal yields
        yields += 1

    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(os, "sched_yield", sched_yield)
    reactor = EpollReactor()
    reactor._epoll.close()
    scripted = ScriptedSet()
    monkeypatch.setattr(reactor, "_epoll", scripted)
    for _ in range(epoll.SPIN_AFTER):  # the pauses are short by this clock
        assert reactor._look() == [(-1, READABLE)]
    assert yields == 0
    assert scripted.looks == 2 * epoll.SPIN_AFTER
    reactor._look()  # in vain: the event comes only to those who wait, so that pause was long
    spun = yields
    assert 0 < spun <= epoll.SPIN_SECONDS / 0.00001
    reactor._look()
    assert yields == spun


async def test_in_a_crowd_trio_has_its_turn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting inside is for few visitors: after a turn of many events nothing is waited for."""
    reactor = EpollReactor()
    reactor._epoll.close()
    scripted = ScriptedSet()
    monkeypatch.setattr(reactor, "_epoll", scripted)
    for count, waits in ((1, True), (epoll.CROWD, False), (epoll.CROWD - 1, True)):
        reactor._turn([(-1, READABLE)] * count)
        assert bool(reactor._look()) is waits
