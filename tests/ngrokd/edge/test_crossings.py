"""What crosses on the wire: visitors, streams and tunnels that go at the worst moment. Ports in memory cut writes where told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest
import trio
import trio.testing

from ngrokd.opener import Links, Ready
from ngrokd.registry import Want
from ngrokd.session import AgentInfo, Identity, Session, SessionKey
from tests.kit.edgeworld import ADDRESS, Control, World, edge_world, read_exactly, read_until
from tests.kit.memory_port import MemoryPort, memory_pair
from tests.kit.ports import PAIRS

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NATIVE = frozenset({"ticket"})


def get(path: bytes = b"/") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: one.test\r\n\r\n" % path


@dataclass
class Streams:
    """Streams in memory, for `world.opener`. `rooms`: how much each takes, in turn; then without limit."""

    world: World
    rooms: list[int] = field(default_factory=list)
    far: list[MemoryPort] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world.opener.give = self.give  # type: ignore[method-assign]

    def give(self, ready: Ready) -> None:
        near, far = memory_pair(self.rooms.pop(0) if self.rooms else 1 << 24)
        near.attach(self.world.reactor)
        self.far.append(far)
        ready(near)


def visit(world: World, data: bytes, *, room: int = 1 << 24, leaves: bool = False) -> MemoryPort:
    """A visitor that has sent `data` (and left) and takes `room` bytes before it reads; its own end."""
    near, far = memory_pair(1 << 24)
    near._room = room
    far.write(data)
    if leaves:
        far.close()
    with world.reactor.turn():
        near.attach(world.reactor)
        world.edge.crowd.enter(None, 0)
        world.edge.serve(near, ADDRESS)
    return far


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a_request_that_is_sent_again_leaves_nothing_of_its_first_try() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        streams = Streams(world, [300])
        visitor = visit(world, get(b"/first"))
        await settled()
        streams.far[0].write(OK)
        await settled()
        visitor.write(get(b"/" + bytes(200).replace(b"\0", b"x")))
        await settled()
        assert len(streams.far[0].incoming) == 300  # the head was cut
        streams.far[0].close()
        await settled()
        second = bytes(streams.far[1].incoming)
        assert second.count(b"\r\n\r\n") == 1
        streams.far[1].incoming.clear()
        streams.far[1].write(OK)
        await settled()
        visitor.write(get(b"/third"))
        await settled()
        assert bytes(streams.far[1].incoming).startswith(b"GET /third ")
        streams.far[1].write(OK)
        await settled()
        assert bytes(visitor.incoming) == OK * 3


async def test_a_request_is_not_sent_again_to_a_tunnel_that_has_lost_its_name() -> None:
    async with edge_world() as world:
        tunnel = world.tunnel("one.test", caps=NATIVE)
        visitor = world.visitor()
        await visitor.send_all(get(b"/1"))
        stream = await world.stream()
        await read_until(stream, b"\r\n\r\n")
        await stream.send_all(OK)
        await read_exactly(visitor, len(OK))
        await visitor.send_all(get(b"/2"))
        await read_until(stream, b"\r\n\r\n")
        world.registry.withdraw(tunnel.session.key, tunnel.id)
        heir = Session(
            Identity(SessionKey("f" * 32, 99), "heir"), AgentInfo(), NATIVE, Control(), cast(Links, world.opener)
        )
        world.registry.replace(heir)
        declared = world.registry.declare(heir, [Want("http", "http://one.test", "one.test")])
        assert isinstance(declared, list)
        await stream.aclose()
        other = await world.stream()
        assert world.opener.starts[-1].tunnel_id == declared[0].id
        await read_until(other, b"\r\n\r\n")
        await other.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK


async def test_a_visitor_that_left_before_its_100_ends_quietly() -> None:
    async with edge_world() as world:
        world.tunnel("one.test", caps=frozenset())
        Streams(world)
        head = b"POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        visit(world, head, leaves=True)
        await settled()
        assert not world.edge.visitors


async def test_a_100_that_is_taken_in_pieces_is_whole() -> None:
    async with edge_world() as world:
        world.tunnel("one.test", caps=frozenset())
        streams = Streams(world)
        head = b"POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        visitor = visit(world, head, room=10)
        await settled()
        streams.far[0].write(OK)
        seen = b""
        for _ in range(20):
            seen += visitor._take(100)
            await settled()
        assert seen.startswith(CONTINUE)
        assert seen[len(CONTINUE) :] == OK


async def test_interim_answers_wait_with_the_service_for_a_visitor_that_does_not_read() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: <%b>\r\n\r\n" % bytes(16_000).replace(b"\0", b"x")
    async with edge_world() as world:
        world.tunnel("one.test")
        streams = Streams(world)
        visitor = visit(world, get(), room=1000)
        await settled()
        streams.far[0].write(hint * 20 + OK)
        await settled()
        connection = next(iter(world.edge.visitors))
        assert len(connection.down._out) < 2 * len(hint)
        seen = b""
        for _ in range(500):
            seen += visitor._take(1000)
            await trio.testing.wait_all_tasks_blocked()
        assert seen == hint * 20 + OK


async def test_a_visitor_that_does_not_read_is_ended_also_when_its_stream_came_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        streams = Streams(world)
        world.opener.silent = True
        visit(world, get(), room=10)
        await trio.sleep(11)  # past the time for a head
        with world.reactor.turn():
            streams.give(world.opener.waiting.pop())
        streams.far[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + bytes(5000))
        await trio.sleep(60)
        assert not world.edge.visitors


async def test_bytes_of_an_exchange_that_was_cut_are_counted() -> None:
    async with edge_world() as world:
        tunnel = world.tunnel("one.test")
        streams = Streams(world)
        visitor = visit(world, get())
        await settled()
        streams.far[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + bytes(1000))
        await settled()
        visitor.abort()
        await settled()
        assert not world.edge.visitors
        assert tunnel.traffic.down > 1000
        assert tunnel.traffic.up > 0


@pytest.mark.parametrize("reactor", ["epoll", "tasks"])
async def test_a_visitor_may_be_ended_in_the_turn_of_its_first_bytes(reactor: str) -> None:
    async with edge_world("https", reactor=reactor) as world:
        near, far = await PAIRS["tls-server"]()
        await far.stream().send_all(b"GET / HT")
        await settled()
        with world.reactor.turn():
            near.attach(world.reactor)
            world.edge.crowd.enter(None, 0)
            world.edge.serve(near, ADDRESS)
            world.edge.abort()
        await settled()
        far.close()
