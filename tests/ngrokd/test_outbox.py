"""What waits on a control link: in order, bounded, and the end after what is queued."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from ngrokd.outbox import LIMIT, SEND_TIMEOUT, Outbox
from protocol.frames import frame
from protocol.link.framed import FramedLink
from protocol.link.reactor import Reactor
from protocol.messages import Auth, AuthResp, GoAway, Ping, Pong, ReqProxy
from protocol.session import ControlOrder, Side
from tests.kit.memory_port import memory_pair
from tests.kit.ports import running


class Link:
    """An outbox on one end, and what it said about the end."""

    def __init__(self, reactor: Reactor, room: int = 1 << 20) -> None:
        self.near, self.far = memory_pair(room)
        order = ControlOrder(Side.SERVER)
        order.received(Auth())
        self.box = Outbox(reactor, order)
        self.box.send(AuthResp(client_id="a"))
        self.reasons: list[str] = []
        self._reactor = reactor

    def start(self) -> None:
        self.near.attach(self._reactor)
        self.box.start(self.near, self.reasons.append)

    async def heard(self, count: int) -> list[str]:
        link = FramedLink(self.far.stream())
        return [type(await link.receive()).__name__ for _ in range(count)]


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_messages_leave_in_order_and_the_end_after_them() -> None:
    async with running("tasks") as reactor:
        link = Link(reactor)
        link.box.send(ReqProxy())
        link.box.send(Pong())
        assert not link.far.incoming, "nothing leaves before the start"
        link.start()
        link.box.end("enough")
        link.box.send(Pong())  # too late
        link.box.end("another reason")
        await settled()
        assert link.reasons == ["enough"]
        assert await link.heard(3) == ["AuthResp", "ReqProxy", "Pong"]
        assert not link.far.incoming


async def test_what_a_classic_agent_would_die_of_is_kept_away() -> None:
    async with running("tasks") as reactor:
        link = Link(reactor)
        link.box.send(Ping())
        link.box.send(GoAway(1, "x"))
        assert len(link.box) == 1


async def test_a_queue_that_is_full_ends_the_link() -> None:
    async with running("tasks") as reactor:
        link = Link(reactor)
        for _ in range(LIMIT):
            link.box.send(ReqProxy())
        assert link.box.reason is not None
        assert len(link.box) == 0
        link.start()
        await settled()
        assert link.reasons == ["the agent does not read its control link"]


async def test_a_stuck_link_is_given_up(autojump_clock: MockClock) -> None:
    async with running("tasks") as reactor:
        link = Link(reactor, room=10)
        link.start()
        await trio.sleep(SEND_TIMEOUT - 0.1)
        assert link.reasons == []
        await trio.sleep(0.2)
        assert len(link.reasons) == 1
        assert "could not be sent" in link.reasons[0]


async def test_a_slow_link_is_not_a_stuck_one(autojump_clock: MockClock) -> None:
    """It goes on where the port stopped, byte by byte if need be."""
    async with running("tasks") as reactor:
        link = Link(reactor, room=10)
        link.box.send(Pong())
        link.start()
        whole = frame(AuthResp(client_id="a")) + frame(Pong())
        got = bytearray()
        while len(got) < len(whole):
            await trio.sleep(SEND_TIMEOUT - 1)
            got += link.far.incoming
            room = memoryview(bytearray(10))
            link.far.read_into(room)
        assert bytes(got) == whole
        await trio.sleep(2 * SEND_TIMEOUT)
        assert link.reasons == []


async def test_a_dismissed_agent_can_not_stay_by_reading_slowly(autojump_clock: MockClock) -> None:
    async with running("tasks") as reactor:
        link = Link(reactor, room=8)
        link.start()
        link.box.end("revoked")
        began = trio.current_time()
        stream = link.far.stream()
        while not link.reasons:
            assert trio.current_time() - began <= SEND_TIMEOUT
            await trio.sleep(1)
            await stream.receive_some(1)
        assert len(link.reasons) == 1


async def test_it_waits_for_messages() -> None:
    async with running("tasks") as reactor:
        link = Link(reactor)
        link.start()
        await settled()
        link.box.send(Pong())
        await settled()
        assert await link.heard(2) == ["AuthResp", "Pong"]
        link.box.end("done")
        await settled()
        assert link.reasons == ["done"]


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_lost_link_is_told_once_and_a_stopped_one_never(stopped: bool) -> None:
    async with running("tasks") as reactor:
        link = Link(reactor)
        link.start()
        await settled()
        link.far.close()
        if stopped:
            link.box.stop()
        link.box.send(Pong())
        link.box.send(Pong())
        await settled()
        link.box.send(Pong())
        link.box.end("late")
        await settled()
        assert len(link.reasons) == (0 if stopped else 1)
        assert link.box.reason is not None
