"""Visitors of names that are known wait for their agent after a restart; others don't."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock

from ngrokd.edge.guard import GuardRules
from ngrokd.edge.waiting import PATIENCE, WaitingRoom
from ngrokd.policy.addresses import AddressList
from protocol.link.tasks import TaskReactor
from tests.kit.edgeworld import edge_world, read_until


class Visitor:
    def __init__(self) -> None:
        self.looked = 0

    def look_again(self) -> None:
        self.looked += 1


async def test_who_may_wait_and_for_how_long(autojump_clock: MockClock) -> None:
    reactor = TaskReactor()
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        room = WaitingRoom(reactor, [("http", "a.example")])
        first, second, third = Visitor(), Visitor(), Visitor()
        visitors: list[Any] = [first, second, third]
        assert room.takes(visitors[0], "http", "a.example")
        assert room.takes(visitors[1], "http", "a.example")
        assert not room.takes(visitors[2], "https", "a.example")
        assert not room.takes(visitors[2], "http", "b.example")
        room.leave(visitors[1])
        room.tunnel_came()
        await trio.sleep(0)
        await trio.sleep(0.1)
        assert (first.looked, second.looked, len(room)) == (1, 0, 0)
        assert room.takes(visitors[2], "http", "a.example")
        await trio.sleep(PATIENCE)
        assert third.looked == 1
        assert not room.takes(visitors[2], "http", "a.example")
        nursery.cancel_scope.cancel()


async def test_a_visitor_of_the_edge_gets_its_answer_when_the_agent_is_back() -> None:
    async with edge_world() as world:
        world.edge.room = WaitingRoom(world.edge.reactor, [("http", "late.example")])
        visitor = world.visitor()
        await visitor.send_all(b"GET / HTTP/1.1\r\nHost: late.example\r\n\r\n")
        with trio.fail_after(5):
            while not len(world.edge.room):
                await trio.sleep(0.01)
            world.tunnel("late.example")
            world.edge.room.tunnel_came()
            stream = await world.stream()
            assert (await stream.receive_some()).startswith(b"GET / HTTP/1.1\r\n")
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert (await visitor.receive_some()).startswith(b"HTTP/1.1 200 OK")


async def test_a_visitor_that_leaves_waits_no_more() -> None:
    async with edge_world() as world:
        room = world.edge.room = WaitingRoom(world.edge.reactor, [("http", "late.example")])
        visitor = world.visitor()
        await visitor.send_all(b"GET / HTTP/1.1\r\nHost: late.example\r\n\r\n")
        with trio.fail_after(5):
            while not len(room):
                await trio.sleep(0.01)
            for connection in list(world.edge.visitors):
                connection.abort()
            assert len(room) == 0
            room.tunnel_came()


async def test_a_request_that_waited_counts_once_for_its_address() -> None:
    async with edge_world(rules=GuardRules(AddressList(()), rate=1.0)) as world:  # two at once
        room = world.edge.room = WaitingRoom(world.edge.reactor, [("http", "late.example")])
        visitor = world.visitor()
        with trio.fail_after(5):
            await visitor.send_all(b"GET / HTTP/1.1\r\nHost: late.example\r\n\r\n")
            while not len(room):
                await trio.sleep(0.01)
            world.tunnel("late.example")
            room.tunnel_came()
            stream = await world.stream()
            for _ in range(2):
                await read_until(stream, b"\r\n\r\n")
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                assert (await visitor.receive_some()).startswith(b"HTTP/1.1 200 OK")
                await visitor.send_all(b"GET / HTTP/1.1\r\nHost: late.example\r\n\r\n")
            assert (await visitor.receive_some()).startswith(b"HTTP/1.1 429 ")
