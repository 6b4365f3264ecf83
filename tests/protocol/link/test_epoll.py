"""The epoll reactor alone: what `test_reactor` and `test_port` can't see from outside."""

from __future__ import annotations

import socket

import trio
import trio.testing

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
