"""LinkPool: who waits gets a link, links are kept fresh, and no more are asked for than needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from ngrokd.opener import OPEN_TIMEOUT
from ngrokd.parked import ASK_LIFE, LINK_LIFE, MAX_ASKED, MAX_PARKED, RENEW_AHEAD
from ngrokd.pool import READ_BY, LinkPool
from ngrokd.tunnel import Tunnel
from protocol.errors import Fault
from protocol.frames import take
from protocol.link.port import Port
from protocol.link.tasks import TaskReactor
from protocol.messages import Message, StartProxy
from tests.kit.memory_port import MemoryPort, memory_pair

START = StartProxy("http://x.localhost", "192.0.2.7:1234")


class Bench:
    """A pool with a fake agent: counts what is asked for, keeps what visitors got."""

    def __init__(self) -> None:
        self.reactor = TaskReactor()
        self.asked = 0
        self.got: list[Port | Fault] = []
        self.pool = LinkPool(self.reactor, self._ask)

    def _ask(self) -> None:
        self.asked += 1

    def open(self) -> None:
        self.pool.open(START, self.got.append)

    def announce(self, url: str) -> None:
        self.pool.announced(cast(Tunnel, SimpleNamespace(url=url)))

    def offer(self, room: int = 1 << 20) -> MemoryPort:
        """A fresh link from the agent; gives the agent's end."""
        near, far = memory_pair(room)
        near.attach(self.reactor)
        with self.reactor.turn():
            self.pool.offer(near)
        return far


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.reactor.run)
        yield bench
        bench.pool.close()
        nursery.cancel_scope.cancel()


def frame_at(port: MemoryPort) -> Message:
    found = take(bytes(port.incoming))
    assert found is not None
    return found[0]


async def test_a_visitor_gets_a_parked_link_with_start_proxy_on_it(bench: Bench, autojump_clock: MockClock) -> None:
    agent = bench.offer()
    bench.open()
    (port,) = bench.got
    assert port is agent.far
    assert frame_at(agent) == START


async def test_one_link_is_asked_for_at_rest_and_one_after_each_visitor(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.pool.warm_up()
    assert bench.asked == 1
    bench.offer()
    assert bench.asked == 1
    bench.open()
    assert bench.asked == 2


async def test_waiting_visitors_are_served_in_order_and_ask_for_one_link_each(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.pool.warm_up()
    order: list[int] = []
    for number in range(5):
        bench.pool.open(START, lambda _found, number=number: order.append(number))  # type: ignore[misc]
    assert bench.asked == 5 + 6  # five who wait; the spare grew by one with each
    for _ in range(5):
        bench.offer()
    assert order == [0, 1, 2, 3, 4]


async def test_asking_is_never_doubled_while_answers_are_on_their_way(bench: Bench, autojump_clock: MockClock) -> None:
    bench.pool.warm_up()
    bench.open()
    asked = bench.asked
    for _ in range(asked):
        bench.offer()
    assert bench.asked == asked
    assert bench.pool.parked == asked - 1


async def test_a_silent_agent_is_a_fault_after_the_deadline(bench: Bench, autojump_clock: MockClock) -> None:
    begin = trio.current_time()
    done = trio.Event()

    def ready(found: Port | Fault) -> None:
        bench.got.append(found)
        done.set()

    bench.pool.open(START, ready)
    await done.wait()
    (fault,) = bench.got
    assert isinstance(fault, Fault)
    assert fault.code == "agent_silent"
    assert trio.current_time() - begin == pytest.approx(OPEN_TIMEOUT, abs=0.01)
    assert bench.pool.waiting == 0


async def test_an_unanswered_question_is_put_again(bench: Bench, autojump_clock: MockClock) -> None:
    bench.pool.warm_up()
    await trio.sleep(ASK_LIFE + 0.1)
    assert bench.asked == 2
    await trio.sleep(ASK_LIFE)
    assert bench.asked == 3


async def test_a_visitor_who_leaves_is_not_called(bench: Bench, autojump_clock: MockClock) -> None:
    cancel = bench.pool.open(START, bench.got.append)
    cancel()
    cancel()
    bench.offer()
    await trio.sleep(OPEN_TIMEOUT * 2)
    assert bench.got == []


async def test_a_parked_link_is_dropped_at_its_end_and_replaced(bench: Bench, autojump_clock: MockClock) -> None:
    bench.pool.warm_up()
    agent = bench.offer()
    agent.close()
    await trio.sleep(0)
    await trio.testing.wait_all_tasks_blocked()
    assert bench.pool.parked == 0
    assert agent.far.closed
    assert bench.asked == 2


async def test_a_parked_link_that_speaks_is_reset(bench: Bench, autojump_clock: MockClock) -> None:
    agent = bench.offer()
    agent.write(b"hello")
    await trio.testing.wait_all_tasks_blocked()
    assert bench.pool.parked == 0
    assert agent.far.closed


async def test_old_links_are_replaced_before_they_go(bench: Bench, autojump_clock: MockClock) -> None:
    bench.pool.warm_up()
    old = bench.offer()
    await trio.sleep(LINK_LIFE - RENEW_AHEAD + 0.1)
    assert bench.asked == 2
    assert bench.pool.parked == 1  # the old one is still there for a visitor until the new one has come
    new = bench.offer()
    assert bench.pool.parked == 2
    await trio.sleep(RENEW_AHEAD)
    assert old.far.closed
    assert bench.pool.parked == 1
    bench.open()
    assert bench.got == [new.far]


async def test_the_freshest_link_is_used_first(bench: Bench, autojump_clock: MockClock) -> None:
    bench.offer()
    await trio.sleep(5)
    young = bench.offer()
    bench.open()
    assert bench.got == [young.far]


async def test_a_dead_link_is_passed_over(bench: Bench, autojump_clock: MockClock) -> None:
    good, dead = bench.offer(), bench.offer()
    dead.closed = True  # without a word: no end of file has arrived
    bench.open()
    assert bench.got == [good.far]


async def test_a_link_that_does_not_take_the_frame_whole_is_no_good(bench: Bench, autojump_clock: MockClock) -> None:
    bench.open()
    narrow = bench.offer(room=10)
    assert narrow.far.closed
    assert bench.pool.waiting == 1
    good = bench.offer()
    assert bench.got == [good.far]


async def test_surplus_links_are_closed(bench: Bench, autojump_clock: MockClock) -> None:
    for _ in range(MAX_PARKED):
        bench.offer()
    surplus = bench.offer()
    assert surplus.far.closed
    assert bench.pool.parked == MAX_PARKED


async def test_unused_spares_are_unlearnt(bench: Bench, autojump_clock: MockClock) -> None:
    for _ in range(4):
        bench.open()
    for _ in range(bench.asked):
        bench.offer()
    assert bench.pool.parked == 5
    for _ in range(20):
        await trio.sleep(LINK_LIFE / 2)
        missing = bench.asked - len(bench.got) - bench.pool.parked
        if missing > 0 and bench.pool.parked < 2:
            bench.offer()
    assert "spare=1" in repr(bench.pool)


async def test_closing_fails_who_waits_and_closes_what_is_parked(bench: Bench, autojump_clock: MockClock) -> None:
    parked = bench.offer()
    bench.open()
    bench.open()
    bench.pool.close()
    bench.pool.close()
    assert bench.got[0] is parked.far
    fault = bench.got[1]
    assert isinstance(fault, Fault)
    assert fault.code == "agent_gone"
    late = bench.offer()
    assert late.far.closed
    bench.open()
    assert isinstance(bench.got[2], Fault)


async def test_the_repr_is_a_summary(bench: Bench, autojump_clock: MockClock) -> None:
    bench.offer()
    assert repr(bench.pool) == "<LinkPool parked=1 waiting=0 asked=0 spare=1>"


async def test_a_crowd_of_visitors_does_not_fill_the_control_link(bench: Bench, autojump_clock: MockClock) -> None:
    for _ in range(3000):
        bench.open()
    assert bench.asked == MAX_ASKED
    for _ in range(3000):
        bench.offer()
    assert len(bench.got) == 3000
    assert not any(isinstance(found, Fault) for found in bench.got)


# -- tunnels that the agent may not have read of
async def test_a_visitor_of_a_tunnel_just_announced_waits_for_a_link_asked_for_after_it(
    bench: Bench, autojump_clock: MockClock
) -> None:
    """A 1.7 agent closes what it gets for a tunnel that it does not know yet."""
    bench.pool.warm_up()
    early = bench.offer()
    bench.announce(START.url)
    bench.open()
    assert bench.got == []
    assert not early.incoming
    assert bench.asked == 2
    late = bench.offer()
    assert bench.got == [late.far]  # the freshest
    bench.open()
    assert bench.got == [late.far, early.far]
    assert bench.pool.waiting == 0


async def test_links_asked_for_before_the_news_prove_nothing(bench: Bench, autojump_clock: MockClock) -> None:
    bench.pool.warm_up()
    bench.announce(START.url)
    bench.open()
    assert bench.asked == 2  # one for before, one for after
    bench.offer()
    assert bench.got == []
    bench.offer()
    assert len(bench.got) == 1


async def test_other_tunnels_of_the_session_are_served_meanwhile(bench: Bench, autojump_clock: MockClock) -> None:
    bench.offer()
    bench.announce(START.url)
    bench.open()
    bench.pool.open(StartProxy("http://other.localhost", "192.0.2.7:1"), bench.got.append)
    assert len(bench.got) == 1
    assert bench.pool.waiting == 1


async def test_news_are_taken_for_read_after_a_while(bench: Bench, autojump_clock: MockClock) -> None:
    bench.offer()
    bench.announce(START.url)
    begin = trio.current_time()
    done = trio.Event()
    bench.pool.open(START, lambda _found: done.set())
    await done.wait()
    assert trio.current_time() - begin == pytest.approx(READ_BY, abs=0.01)
    bench.offer()
    bench.open()
    assert len(bench.got) == 1  # once and for all


async def test_without_a_link_who_was_held_waits_like_anybody(bench: Bench, autojump_clock: MockClock) -> None:
    bench.announce(START.url)
    begin = trio.current_time()
    done = trio.Event()

    def ready(found: Port | Fault) -> None:
        bench.got.append(found)
        done.set()

    bench.pool.open(START, ready)
    await done.wait()
    assert isinstance(bench.got[0], Fault)
    assert trio.current_time() - begin == pytest.approx(READ_BY + OPEN_TIMEOUT, abs=0.01)


async def test_who_is_held_may_leave_and_is_told_of_the_end(bench: Bench, autojump_clock: MockClock) -> None:
    bench.announce(START.url)
    leave = bench.pool.open(START, bench.got.append)
    bench.open()
    leave()
    assert bench.pool.waiting == 1
    bench.pool.close()
    (fault,) = bench.got
    assert isinstance(fault, Fault)
    assert fault.code == "agent_gone"


async def test_news_that_no_visitor_came_for_are_forgotten(bench: Bench, autojump_clock: MockClock) -> None:
    """An agent may open and close tunnels for ever."""
    for number in range(5):
        bench.announce(f"http://t{number}.test")
        await trio.sleep(READ_BY)
    assert len(bench.pool._news) == 1
