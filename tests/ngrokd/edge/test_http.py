"""What visitor connections share: ids, frames, added lines, refusals, observers, ending."""

from __future__ import annotations

import socket

import trio
import trio.testing

from ngrokd.edge.visitor import VisitorConnection
from ngrokd.tunnel import Tunnel
from protocol.head import parse_request
from tests.kit.edgeworld import ADDRESS, edge_world, read_exactly, read_to_end, read_until
from tests.kit.ports import PAIRS

GET = b"GET / HTTP/1.1\r\nHost: one.test:8080\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_ids_are_unique_and_start_proxy_fits_the_dialect() -> None:
    async with edge_world() as world:
        native, classic = world.tunnel("one.test"), world.tunnel("two.test", caps=frozenset())
        ids = {world.edge.next_conn_id() for _ in range(100)}
        assert len(ids) == 100
        start = world.edge.start_proxy(native, "c1", ("2001:db8::1", 80))
        assert (start.client_addr, start.conn_id, start.tunnel_id) == ("[2001:db8::1]:80", "c1", native.id)
        start = world.edge.start_proxy(classic, "c1", ADDRESS)
        assert (start.conn_id, start.tunnel_id, start.proto) == (None, None, None)


async def test_the_visitors_own_forwarding_fields_are_gone() -> None:
    async with edge_world("https") as world:
        tunnel = world.tunnel("one.test", protocol="https")
        head = world.edge.rewrite(tunnel, parse_request(GET), "192.0.2.7")
        assert b"6.6.6.6" not in head
        assert b"X-Forwarded-Proto: https\r\n" in head
        assert b"X-Forwarded-Host: one.test:8080\r\n" in head


async def test_refusals_are_counted_by_code() -> None:
    async with edge_world() as world:
        for _ in range(2):
            visitor = world.visitor()
            await visitor.send_all(GET)
            await read_to_end(visitor)
        assert world.edge.refusals == {"tunnel_not_found": 2}


async def test_a_refused_visitor_counts_until_its_socket_is_gone() -> None:
    """Else a hostile crowd holds as many as it likes while each lingers."""
    async with edge_world() as world:
        for _ in range(2):
            visitor = world.visitor()
            await visitor.send_all(GET)
            await read_to_end(visitor)  # it stays, though it has all it will get
        assert not world.edge.visitors
        assert world.edge.crowd.live == 2
        await visitor.aclose()
        with trio.fail_after(5):
            while world.edge.crowd.live != 1:
                await trio.testing.wait_all_tasks_blocked()


async def test_a_tls_visitor_that_does_not_take_its_answer_counts_until_its_socket_is_gone() -> None:
    async with edge_world("https") as world:
        near, far = await PAIRS["tls-server"]()
        world.tunnel("one.test", protocol="https")
        with world.reactor.turn():
            near.attach(world.reactor)
            world.edge.crowd.enter(None, 0)
            world.edge.serve(near, ADDRESS)
        await far.stream().send_all(b"GET / HTTP/1.0\r\nHost: one.test\r\n\r\n")
        service = await world.stream()
        await read_until(service, b"\r\n\r\n")
        near.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # type: ignore[attr-defined]
        far.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # type: ignore[attr-defined]
        await service.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000))
        with trio.fail_after(5):
            while world.edge.visitors:
                await trio.testing.wait_all_tasks_blocked()
        assert not near.closed  # type: ignore[attr-defined]
        assert world.edge.crowd.live == 1
        far.abort()
        with trio.fail_after(5):
            while world.edge.crowd.live:
                await trio.testing.wait_all_tasks_blocked()


async def test_the_observer_is_told_of_each_exchange() -> None:
    seen: list[tuple[str, str, int]] = []

    def observe(visitor: VisitorConnection, tunnel: Tunnel | None, status: int) -> None:
        seen.append((visitor.request_id.rpartition(".")[2], tunnel.url if tunnel else "", status))

    async with edge_world() as world:
        tunnel = world.tunnel("one.test")
        world.edge.observer = observe
        visitor = world.visitor()
        for number in range(2):
            await visitor.send_all(GET)
            if not number:
                service = await world.stream()
            await read_until(service, b"\r\n\r\n")
            await service.send_all(OK)
            await read_exactly(visitor, len(OK))
        assert seen == [("1", tunnel.url, 200), ("2", tunnel.url, 200)]
        assert tunnel.traffic.down == 2 * len(OK)
        assert tunnel.traffic.up > 2 * len(GET) / 2


async def test_idle_visitors_are_ended_and_busy_ones_are_not() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        idle, busy = world.visitor(), world.visitor()
        await busy.send_all(GET)
        service = await world.stream()
        await read_until(service, b"\r\n\r\n")
        world.edge.end_idle()
        assert await idle.receive_some() == b""
        await service.send_all(OK)
        assert await read_exactly(busy, len(OK)) == OK
        await trio.testing.wait_all_tasks_blocked()
        world.edge.abort()
        assert not world.edge.visitors
