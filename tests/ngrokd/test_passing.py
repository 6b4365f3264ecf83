"""Visitors that a predecessor passes on: nothing of them is lost, and their answers send them to the successor itself."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing
from structlog.testing import capture_logs

from ngrokd import passing
from ngrokd.handover import HEADER
from ngrokd.opener import agent_gone
from ngrokd.passing import SOCKET, Passer, serve_passed
from tests.kit.edgeworld import World, edge_world, read_to_end, read_until

HEAD = b"POST /a HTTP/1.1\r\nHost: moved.test\r\nContent-Length: 10\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


class Pair:
    """The edges of two servers; the successor has the tunnel of moved.test."""

    def __init__(self, old: World, new: World, state: Path, nursery: trio.Nursery) -> None:
        self.old, self.new, self.path, self._nursery = old, new, state / SOCKET, nursery
        new.edge.draining = old.edge.draining = True
        old.edge.heir = Passer(old.reactor, state)
        new.tunnel("moved.test")

    async def serve(self) -> None:
        await self._nursery.start(
            serve_passed, self.path, lambda scheme: self.new.edge if scheme == "http" else None, structlog.get_logger()
        )


@contextlib.asynccontextmanager
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with trio.open_nursery() as nursery, edge_world() as old, edge_world() as new:
        yield Pair(old, new, tmp_path, nursery)
        nursery.cancel_scope.cancel()


async def test_a_request_is_served_by_the_successor(tmp_path: Path) -> None:
    """Its body came in pieces, before and after; who asks is the visitor, and the answer ends the connection."""
    async with pair(tmp_path) as p:
        await p.serve()
        seen: list[object] = []
        p.old.edge.observer = lambda *what: seen.append(what)
        visitor = p.old.visitor()
        await visitor.send_all(HEAD + b"01234")
        stream = await p.new.stream()
        head = await read_until(stream, b"\r\n\r\n")
        assert b"X-Forwarded-For: 192.0.2.7\r\n" in head
        await visitor.send_all(b"56789")
        assert await read_until(stream, b"56789") == b"0123456789"
        await stream.send_all(OK + b"ok")
        answer = await read_to_end(visitor)
        assert answer.endswith(b"ok")
        assert b"connection: close" in answer.lower()
        await visitor.aclose()
        assert p.old.no_stream()
        assert seen == []  # the exchange is the successor's


async def test_a_successor_that_is_not_there_yet(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        visitor = p.old.visitor()
        await visitor.send_all(HEAD + b"0123456789")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(p.old.edge.visitors) == 1
        await p.serve()
        stream = await p.new.stream()
        await read_until(stream, b"0123456789")
        await stream.send_all(OK + b"ok")
        assert (await read_to_end(visitor)).endswith(b"ok")


async def test_a_successor_that_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "PATIENCE", 0.1)
    async with pair(tmp_path) as p:
        visitor, gone = p.old.visitor(), p.old.visitor()
        for stream in (visitor, gone):
            await stream.send_all(HEAD + b"0123456789")
        await gone.aclose()
        answer = await read_to_end(visitor)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After" in answer


async def test_what_nobody_has_is_404_by_the_successor(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        await p.serve()
        visitor = p.old.visitor()
        await visitor.send_all(HEAD.replace(b"moved", b"other") + b"0123456789")
        assert (await read_to_end(visitor)).startswith(b"HTTP/1.1 404 ")
        assert p.new.edge.refusals["tunnel_not_found"] == 1
        assert not p.old.edge.refusals


@pytest.mark.parametrize(
    "data",
    [
        b"", HEADER.pack(1 << 30), HEADER.pack(3) + b"{}x", HEADER.pack(2) + b"[]", HEADER.pack(2) + b"{}",
        b"GET / HTTP/1.1\r\n\r\n",
        *(
            HEADER.pack(len(body)) + body
            for told in (
                {"scheme": "tcp", "address": ["192.0.2.7", 1], "name": None},
                {"scheme": "http", "address": "x", "name": None},
                {"scheme": "http", "address": ["192.0.2.7", "y"], "name": None},
            )
            for body in [json.dumps(told).encode()]
        ),
    ],
)  # fmt: skip
async def test_nonsense_is_let_go(tmp_path: Path, data: bytes) -> None:
    async with pair(tmp_path) as p:
        await p.serve()
        async with await trio.open_unix_socket(str(p.path)) as stream:
            await stream.send_all(data)
            await stream.send_eof()
            with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
        assert not p.new.edge.visitors


async def test_a_place_without_sockets(tmp_path: Path) -> None:
    with capture_logs() as lines:
        await serve_passed(tmp_path / ("x" * 120), lambda _scheme: None, structlog.get_logger())
    assert [line["log_level"] for line in lines] == ["warning"]


async def test_the_socket_is_for_its_owner(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        p.path.write_text("left over")
        await p.serve()
        assert p.path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(p.path))


async def test_the_stream_of_the_last_exchange_is_closed(tmp_path: Path) -> None:
    """The visitor was kept alive; its tunnel has moved since."""
    async with pair(tmp_path) as p:
        await p.serve()
        p.old.edge.draining = False
        tunnel = p.old.tunnel("moved.test")
        visitor = p.old.visitor()
        await visitor.send_all(b"GET / HTTP/1.1\r\nHost: moved.test\r\n\r\n")
        before = await p.old.stream()
        await read_until(before, b"\r\n\r\n")
        await before.send_all(OK + b"ok")
        await read_until(visitor, b"ok")
        p.old.registry.release(tunnel.session.key)
        p.old.edge.draining = True
        await visitor.send_all(HEAD + b"0123456789")
        stream = await p.new.stream()
        await read_until(stream, b"0123456789")
        with trio.fail_after(5):
            assert await before.receive_some() == b""
        await stream.send_all(OK + b"no")
        assert (await read_to_end(visitor)).endswith(b"no")


async def test_without_descriptors_it_waits_and_does_not_spin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    accept = socket.socket.accept

    def fail(sock: socket.socket) -> tuple[socket.socket, object]:
        calls.append(1)
        if len(calls) < 4:
            raise OSError(errno.EMFILE, "too many open files")
        return accept(sock)

    async with pair(tmp_path) as p:
        await p.serve()
        visitor = p.old.visitor()
        began = trio.current_time()
        monkeypatch.setattr(socket.socket, "accept", fail)
        await visitor.send_all(HEAD + b"0123456789")
        await read_until(await p.new.stream(), b"0123456789")
        assert trio.current_time() - began > 2 * passing.TRY_EVERY


async def test_who_waits_for_an_agent_that_goes_over_is_passed_on(tmp_path: Path) -> None:
    """A 1.7 agent's session ends at once; its visitors may be waiting for a link."""
    async with pair(tmp_path) as p:
        await p.serve()
        tunnel = p.old.tunnel("moved.test", caps=frozenset())
        p.old.opener.silent = True
        visitor = p.old.visitor()
        await visitor.send_all(HEAD + b"01234")
        await trio.testing.wait_all_tasks_blocked(0.01)
        p.old.registry.release(tunnel.session.key)
        with p.old.reactor.turn():
            p.old.opener.waiting.pop()(agent_gone())
        await visitor.send_all(b"56789")
        stream = await p.new.stream()
        await read_until(stream, b"0123456789")
        await stream.send_all(OK + b"ok")
        assert (await read_to_end(visitor)).endswith(b"ok")


async def test_a_defect_costs_one_visitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    async with pair(tmp_path) as p:
        await p.serve()
        with capture_logs() as lines, monkeypatch.context() as patch:
            patch.setattr(p.new.edge, "serve", fail)
            lost = p.old.visitor()
            await lost.send_all(HEAD + b"0123456789")
            with contextlib.suppress(trio.BrokenResourceError):
                assert await read_to_end(lost) == b""
        assert "a visitor was lost to a defect of the server" in [line["event"] for line in lines]
        visitor = p.old.visitor()
        await visitor.send_all(HEAD + b"0123456789")
        await read_until(await p.new.stream(), b"0123456789")
