"""ParkedLinks: kept few and fresh, asked for when missing and not too often, learnt and unlearnt."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from ngrokd.parked import ASK_LIFE, MAX_PARKED, ParkedLinks, hand_over
from protocol.frames import take
from protocol.link.reactor import Reactor
from protocol.messages import StartProxy
from tests.kit.memory_port import MemoryPort, memory_pair
from tests.kit.ports import running

START = StartProxy("tcp://x.localhost:2222", "192.0.2.7:1234", proto="tcp")
PACE = 0.5
LIFE = 100.0


class Bench:
    """Links with a pace, two at rest, and nobody who waits."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.asked_at: list[float] = []
        self.links = ParkedLinks(self.reactor, self._ask, self._changed, rest=2, life=LIFE, pace=PACE)
        self.wanted = True

    def _ask(self) -> None:
        self.asked_at.append(trio.current_time())

    def _changed(self) -> None:
        if self.wanted:
            self.links.want()

    def park(self, room: int = 1 << 20) -> MemoryPort:
        near, far = memory_pair(room)
        near.attach(self.reactor)
        with self.reactor.turn():
            self.links.arrived()
            self.links.park(near)
        return far


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with running("tasks") as reactor:
        found = Bench(reactor)
        yield found
        found.links.close()


async def test_what_is_missing_is_asked_for_one_by_one(bench: Bench, autojump_clock: MockClock) -> None:
    begin = trio.current_time()
    bench.links.want()
    assert bench.asked_at == [begin]
    await trio.sleep(PACE * 3)
    assert bench.asked_at == pytest.approx([begin, begin + PACE], abs=0.01)
    assert bench.links.asked == 2
    assert repr(bench.links) == "<ParkedLinks 0 asked=2 spare=2>"


async def test_a_question_that_was_not_answered_is_put_again(bench: Bench, autojump_clock: MockClock) -> None:
    bench.links.want()
    await trio.sleep(ASK_LIFE + PACE * 4)
    assert len(bench.asked_at) == 4
    assert (bench.links.sent, bench.links.answered) == (4, 2)


async def test_a_link_is_handed_out_with_start_proxy_on_it(bench: Bench, autojump_clock: MockClock) -> None:
    agent = bench.park()
    assert len(bench.links) == 1
    assert bench.links.hand_out(START) is agent.far
    found = take(bytes(agent.incoming))
    assert found is not None
    assert found[0] == START
    assert bench.links.hand_out(START) is None


async def test_it_learns_how_many_are_used_at_once(bench: Bench, autojump_clock: MockClock) -> None:
    for _ in range(MAX_PARKED):
        bench.links.missed()
    assert bench.links.spare == MAX_PARKED
    agents = [bench.park() for _ in range(MAX_PARKED + 1)]
    assert len(bench.links) == MAX_PARKED
    assert agents[-1].far.closed


async def test_links_that_grow_old_unused_are_unlearnt_down_to_rest(bench: Bench, autojump_clock: MockClock) -> None:
    for _ in range(3):
        bench.links.missed()
    agents = [bench.park() for _ in range(5)]
    await trio.sleep(LIFE + 1)
    assert all(agent.far.closed for agent in agents)
    assert bench.links.spare == 2


async def test_links_that_nobody_wants_any_more_go_and_the_clock_stands_still(
    bench: Bench, autojump_clock: MockClock
) -> None:
    agent = bench.park()
    bench.links.want()
    assert len(bench.asked_at) == 1
    bench.wanted = False
    await trio.sleep(LIFE + 1)
    assert agent.far.closed
    assert len(bench.asked_at) == 1
    assert len(bench.links) == bench.links.asked == 0
    assert bench.reactor.deadlines == 0


async def test_closing_lets_go_of_all_and_asks_for_nothing(bench: Bench, autojump_clock: MockClock) -> None:
    agent = bench.park()
    bench.links.close()
    bench.links.close()
    assert agent.far.closed
    assert bench.park().far.closed
    bench.links.want()
    await trio.sleep(ASK_LIFE)
    assert bench.asked_at == []


async def test_a_port_that_does_not_take_all_is_no_good(bench: Bench, autojump_clock: MockClock) -> None:
    near, _ = memory_pair(3)
    near.attach(bench.reactor)
    assert not hand_over(near, b"too long")
    assert near.closed
