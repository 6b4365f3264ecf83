"""What waits on a control link: in order, bounded, and the end after what is queued."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from ngrokd.outbox import LIMIT, SEND_TIMEOUT, Outbox
from protocol.errors import LinkError
from protocol.link.framed import FramedLink
from protocol.messages import Auth, AuthResp, GoAway, Ping, Pong, ReqProxy
from protocol.session import ControlOrder, Side
from tests.kit.memory_port import MemoryPort, memory_pair


def make(room: int = 1 << 20) -> tuple[Outbox, MemoryPort]:
    near, far = memory_pair(room)
    order = ControlOrder(Side.SERVER)
    order.received(Auth())
    box = Outbox(FramedLink(near.stream()), order)
    box.send(AuthResp(client_id="a"))
    return box, far


async def test_messages_leave_in_order_and_the_end_after_them() -> None:
    box, far = make()
    box.send(ReqProxy())
    box.send(Pong())
    box.end("enough")
    box.send(Pong())  # too late
    box.end("another reason")
    assert await box.run() == "enough"
    link = FramedLink(far.stream())
    assert [type(await link.receive()) for _ in range(3)] == [AuthResp, ReqProxy, Pong]
    assert not far.incoming


async def test_what_a_classic_agent_would_die_of_is_kept_away() -> None:
    box, _ = make()
    box.send(Ping())
    box.send(GoAway(1, "x"))
    assert len(box) == 1


async def test_a_queue_that_is_full_ends_the_link() -> None:
    box, _ = make()
    for _ in range(LIMIT):
        box.send(ReqProxy())
    assert box.reason is not None
    assert len(box) == 0


async def test_a_stuck_link_is_given_up(autojump_clock: MockClock) -> None:
    box, _ = make(room=10)
    begin = trio.current_time()
    with pytest.raises(LinkError, match="AuthResp"):
        await box.run()
    assert trio.current_time() - begin == pytest.approx(SEND_TIMEOUT)


async def test_it_waits_for_messages() -> None:
    box, far = make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.run)
        await trio.testing.wait_all_tasks_blocked()
        box.send(Pong())
        await trio.testing.wait_all_tasks_blocked()
        link = FramedLink(far.stream())
        assert [type(await link.receive()) for _ in range(2)] == [AuthResp, Pong]
        box.end("done")
