"""The task reactor alone: an edge only after it was armed."""

from __future__ import annotations

import socket

import trio
import trio.testing

from protocol.link.reactor import READABLE
from protocol.link.tasks import TaskReactor


async def test_an_edge_needs_arming() -> None:
    reactor = TaskReactor()
    near, far = socket.socketpair()
    near.setblocking(False)
    masks: list[int] = []
    reactor.register(near, masks.append)  # before it runs
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        far.send(b"one")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert masks.count(READABLE) == 1
        far.send(b"two")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert masks.count(READABLE) == 1
        reactor.arm(near, READABLE)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert masks.count(READABLE) == 2
        reactor.forget(near)
        reactor.arm(near, READABLE)  # of no effect, and no error
        nursery.cancel_scope.cancel()
    near.close()
    far.close()
