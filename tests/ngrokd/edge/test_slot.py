"""The slot: one stream at a time, counted once, cancelled while it is opening."""

from __future__ import annotations

from ngrokd.edge.slot import StreamSlot
from protocol.errors import Fault
from protocol.messages import StartProxy
from tests.kit.edgeworld import edge_world

START = StartProxy("http://one.test", "192.0.2.7:1")


async def test_it_opens_counts_and_closes() -> None:
    async with edge_world() as world:
        tunnel = world.tunnel("one.test")
        outcomes: list[Fault | None] = []
        slot = StreamSlot(outcomes.append)
        slot.open(tunnel, START)
        assert outcomes == [None]
        assert slot.fits(tunnel)
        assert slot.native
        assert slot.counted is tunnel
        assert tunnel.traffic.live == 1
        slot.add_traffic(3, 4)
        assert (tunnel.traffic.up, tunnel.traffic.down) == (3, 4)
        slot.poisoned = True
        assert not slot.fits(tunnel)
        slot.close()
        slot.close()
        assert slot.port is None
        assert tunnel.traffic.live == 1  # the visitor is still one of this tunnel's
        slot.uncount()
        slot.uncount()
        slot.add_traffic(1, 1)
        assert (tunnel.traffic.live, tunnel.traffic.up) == (0, 3)


async def test_another_tunnel_is_another_count() -> None:
    async with edge_world() as world:
        one, two = world.tunnel("one.test"), world.tunnel("two.test")
        slot = StreamSlot(lambda _fault: None)
        slot.open(one, START)
        assert not slot.fits(two)
        slot.close()
        slot.open(two, START)
        assert (one.traffic.live, two.traffic.live) == (0, 1)
        slot.abort()
        slot.uncount()


async def test_a_fault_is_passed_on_and_a_wait_can_be_given_up() -> None:
    async with edge_world() as world:
        tunnel = world.tunnel("one.test")
        outcomes: list[Fault | None] = []
        slot = StreamSlot(outcomes.append)
        world.opener.refuse = True
        slot.open(tunnel, START)
        assert isinstance(outcomes[0], Fault)
        assert slot.tunnel is None
        world.opener.refuse, world.opener.silent = False, True
        slot.open(tunnel, START)
        assert len(outcomes) == 1
        assert slot.take() is None
        assert world.opener.cancelled == 1
