"""The public listeners: plain and TLS visitors reach their edge, slow handshakes hold up nobody, the end is clean."""

from __future__ import annotations

import contextlib
import gc
import socket
from collections.abc import AsyncIterator

import pytest
import structlog
import trio
import trio.testing

from ngrokd import arrivals
from ngrokd.edge.http import EdgeWorld
from ngrokd.edge.pages import Pages
from ngrokd.public import PublicEdges
from ngrokd.registry import Registry
from protocol.link.listener import bind
from protocol.link.tls import TlsPort
from protocol.secret import new_request_id
from tests.kit.ports import SERVER_NAME, contexts, running

REQUEST = f"GET / HTTP/1.1\r\nHost: {SERVER_NAME}\r\n\r\n".encode()


@contextlib.asynccontextmanager
async def edges(scheme: str) -> AsyncIterator[tuple[PublicEdges, int]]:
    async with running("epoll") as reactor, trio.open_nursery() as handshakes:
        log = structlog.get_logger()
        world = EdgeWorld(reactor, Registry(new_request_id), Pages(), lambda _scheme, _host: False, log=log)
        found = PublicEdges(world, contexts()[1], log)
        sock = bind("127.0.0.1", 0)
        port = sock.getsockname()[1]
        found.listen(scheme, sock, handshakes)
        with trio.fail_after(10):
            yield found, port
        found.drain()
        found.abort()
        assert found.live == 0
        handshakes.cancel_scope.cancel()


async def answer(stream: trio.abc.Stream) -> bytes:
    await stream.send_all(REQUEST)
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    return data


async def test_a_plain_visitor_is_served() -> None:
    async with edges("http") as (found, port), await trio.open_tcp_stream("127.0.0.1", port) as visitor:
        assert (await answer(visitor)).startswith(b"HTTP/1.1 404 ")
        assert found.live <= 1


async def test_a_tls_visitor_is_served_while_another_says_nothing() -> None:
    async with edges("https") as (_, port), await trio.open_tcp_stream("127.0.0.1", port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with trio.SSLStream(stream, contexts()[0], server_hostname=SERVER_NAME) as visitor:
            assert (await answer(visitor)).startswith(b"HTTP/1.1 404 ")


async def test_a_handshake_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "HANDSHAKE_TIMEOUT", 0.02)
    async with edges("https") as (found, port), await trio.open_tcp_stream("127.0.0.1", port) as visitor:
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()
        assert found.live == 0


async def test_who_says_nothing_has_no_tls_state() -> None:
    def states() -> int:
        return sum(isinstance(one, TlsPort) for one in gc.get_objects())

    async with edges("https") as (_, port):
        before = states()
        async with await trio.open_tcp_stream("127.0.0.1", port) as visitor:
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert states() == before
            await visitor.send_all(b"\x16")
            while states() == before:
                await trio.sleep(0.001)


async def test_plain_bytes_on_the_tls_port_harm_nobody() -> None:
    async with edges("https") as (found, port):
        async with await trio.open_tcp_stream("127.0.0.1", port) as visitor:
            await visitor.send_all(REQUEST)
            with contextlib.suppress(trio.BrokenResourceError):
                while await visitor.receive_some():
                    pass
        assert found.live == 0


async def test_draining_closes_the_port_and_ending_idle_the_visitors() -> None:
    async with edges("http") as (found, port), await trio.open_tcp_stream("127.0.0.1", port) as visitor:
        while not found.live:
            await trio.sleep(0.001)
        found.drain()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
        found.end_idle()
        with contextlib.suppress(trio.BrokenResourceError):
            assert await visitor.receive_some() == b""
