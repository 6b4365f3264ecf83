"""Turns, timers and the ready list: the same on both reactors."""

from __future__ import annotations

import gc
import socket
import weakref

import pytest
import trio
import trio.testing

from protocol.link.reactor import ROUNDS, Reactor
from tests.kit.ports import REACTORS, running

on_both = pytest.mark.parametrize("kind", list(REACTORS))


@on_both
async def test_soon_runs_at_the_end_of_the_turn_and_in_order(kind: str) -> None:
    async with running(kind) as reactor:
        seen: list[str] = []

        def second() -> None:
            seen.append("second")
            reactor.soon(lambda: seen.append("third"))

        with reactor.turn():
            reactor.soon(lambda: seen.append("first"))
            reactor.soon(second)
            assert seen == []
        assert seen == ["first", "second", "third"]


@on_both
async def test_soon_outside_a_turn_makes_one(kind: str) -> None:
    async with running(kind) as reactor:
        done = trio.Event()
        reactor.soon(lambda: done.set() if reactor.in_turn else None)
        with trio.fail_after(5):
            await done.wait()


@on_both
async def test_a_callback_that_asks_again_and_again_starves_nobody(kind: str) -> None:
    async with running(kind) as reactor:
        count = 0

        def again() -> None:
            nonlocal count
            count += 1
            reactor.soon(again)

        with reactor.turn():
            reactor.soon(again)
        assert count == ROUNDS
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert count > ROUNDS


@on_both
async def test_a_turn_within_a_turn_is_the_same_turn(kind: str) -> None:
    async with running(kind) as reactor:
        seen: list[str] = []
        with reactor.turn():
            with reactor.turn():
                reactor.soon(lambda: seen.append("done"))
            assert seen == []
        assert seen == ["done"]


@on_both
async def test_timers_fire_once_in_order_and_can_be_moved(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with running(kind) as reactor:
        fired: list[tuple[str, float]] = []
        start = trio.current_time()

        def note(name: str) -> None:
            fired.append((name, round(trio.current_time() - start, 3)))

        early, late, moved, cleared, sooner = (
            reactor.timer(lambda name=name: note(name))  # type: ignore[misc]
            for name in ("early", "late", "moved", "cleared", "sooner")
        )
        late.set(20)
        early.set(10)
        moved.set(5)
        moved.set(15)
        cleared.set(1)
        cleared.clear()
        sooner.set(30)
        sooner.set(2)
        assert early.armed
        assert not cleared.armed
        await trio.sleep(100)
        assert fired == [("sooner", 2), ("early", 10), ("moved", 15), ("late", 20)]
        assert not any(timer.armed for timer in (early, late))
        early.set(1)
        await trio.sleep(5)
        assert fired[-1] == ("early", 101)


@on_both
async def test_a_timer_may_arm_itself_again(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    async with running(kind) as reactor:
        count = 0

        def tick() -> None:
            nonlocal count
            count += 1
            if count < 5:
                timer.set(1)

        timer = reactor.timer(tick)
        timer.set(1)
        await trio.sleep(60)
        assert count == 5


@on_both
async def test_a_defect_in_a_callback_ends_run_with_it(kind: str) -> None:
    reactor = REACTORS[kind]()

    def defect() -> None:
        raise ZeroDivisionError("a defect")

    async def run() -> None:
        with pytest.raises(ZeroDivisionError):
            await reactor.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        reactor.soon(defect)


@on_both
async def test_with_a_crash_handler_the_others_go_on(kind: str) -> None:
    crashes: list[Exception] = []
    reactor = REACTORS[kind](lambda _callback, error: crashes.append(error))
    near, far = socket.socketpair()
    near.setblocking(False)
    reached = trio.Event()

    def defect(_mask: int = 0) -> None:
        raise ZeroDivisionError

    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        reactor.register(near, defect)
        far.send(b"x")
        timer = reactor.timer(defect)
        timer.set(0)
        with reactor.turn():
            reactor.soon(defect)
            reactor.soon(reached.set)
        with trio.fail_after(5):
            await reached.wait()
            while len(crashes) < 3:
                await trio.sleep(0)
        reactor.forget(near)
        nursery.cancel_scope.cancel()
    near.close()
    far.close()


@on_both
async def test_a_forgotten_socket_is_silent_and_closing_waits_for_the_end_of_the_turn(kind: str) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    async with running(kind) as reactor:
        events: list[int] = []
        reactor.register(near, events.append)
        await trio.testing.wait_all_tasks_blocked()
        events.clear()
        with reactor.turn():
            reactor.forget(near)
            reactor.close_later(near)
            assert near.fileno() >= 0
        assert near.fileno() < 0
        far.close()
        await trio.testing.wait_all_tasks_blocked()
        assert events == []


@on_both
async def test_a_reactor_that_ends_leaves_sockets_open_and_forgets_them(kind: str) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    async with running(kind) as reactor:
        reactor.register(near, lambda _mask: None)
        assert len(reactor) == 1  # type: ignore[arg-type]
    assert near.fileno() >= 0
    assert len(reactor) == 0  # type: ignore[arg-type]
    near.close()
    far.close()


def test_a_reactor_is_abstract() -> None:
    with pytest.raises(TypeError):
        Reactor()  # type: ignore[abstract]


@on_both
async def test_an_ended_timer_holds_nobody_and_calls_nobody(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    class Owner:
        def late(self) -> None:
            raise AssertionError("it was ended")

    async with running(kind) as reactor:
        owner = Owner()
        timer = reactor.timer(owner.late)
        timer.set(60)
        timer.end()
        gone = weakref.ref(owner)
        del owner
        gc.collect()
        assert gone() is None
        assert reactor.deadlines == 1
        await trio.sleep(61)
        assert reactor.deadlines == 0
