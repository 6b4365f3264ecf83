"""The callback dial: what it takes, how it falls through its addresses, and its ends."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from protocol.address import Upstream, parse_upstream
from protocol.errors import LinkError
from protocol.link.connect_now import Address, addresses, can_connect_now, connect_now
from protocol.link.epoll import EpollReactor
from protocol.link.port import Port
from protocol.link.reactor import Reactor
from protocol.link.tasks import TaskReactor


@asynccontextmanager
async def running(kind: type[Reactor]) -> AsyncIterator[Reactor]:
    async with trio.open_nursery() as nursery:
        reactor = kind()
        await nursery.start(reactor.run)
        yield reactor
        nursery.cancel_scope.cancel()


async def dial(reactor: Reactor, choices: list[Address], timeout: float = 5.0) -> Port | LinkError:
    results: list[Port | LinkError] = []
    done = trio.Event()

    def ready(result: Port | LinkError) -> None:
        results.append(result)
        done.set()

    with reactor.turn():
        connect_now(reactor, choices, ready, timeout)
    with trio.fail_after(5):
        await done.wait()
    assert len(results) == 1
    return results[0]


def listener(family: int = socket.AF_INET, host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(family)
    sock.bind((host, 0))
    sock.listen()
    return sock


KINDS = pytest.mark.parametrize("kind", [EpollReactor, TaskReactor])


def test_what_it_takes() -> None:
    for text in ("80", "localhost:80", "[::1]:80", "unix:/x"):
        assert can_connect_now(parse_upstream(text))
    for text in ("example.me:80", "https://127.0.0.1"):
        assert not can_connect_now(parse_upstream(text))
    assert [address for _, address in addresses(parse_upstream("localhost:80"))] == [("127.0.0.1", 80), ("::1", 80)]
    assert addresses(Upstream("unix", path="/x")) == [(socket.AF_UNIX, "/x")]


@KINDS
async def test_connects(kind: type[Reactor]) -> None:
    with listener() as sock:
        async with running(kind) as reactor:
            port = await dial(reactor, [(socket.AF_INET, sock.getsockname())])
            assert isinstance(port, Port)
            with sock.accept()[0] as there:
                there.sendall(b"x")
                port.detach()
                assert await port.stream().receive_some() == b"x"
            port.close()


@KINDS
async def test_falls_through_to_the_next_address(kind: type[Reactor]) -> None:
    with listener(socket.AF_INET6, "::1") as sock:
        number = sock.getsockname()[1]
        async with running(kind) as reactor:
            port = await dial(reactor, addresses(parse_upstream(f"localhost:{number}")))
            assert isinstance(port, Port)
            assert port.peer is not None
            assert port.peer[0] == "::1"
            port.close()


@KINDS
async def test_refused(kind: type[Reactor], tmp_path: Path) -> None:
    with listener() as sock:
        address = sock.getsockname()
    async with running(kind) as reactor:
        for choices in ([(socket.AF_INET, address)], [(socket.AF_UNIX, str(tmp_path / "none"))]):
            result = await dial(reactor, choices)  # type: ignore[arg-type]
            assert isinstance(result, LinkError)
            assert result.code == "refused"
        result = await dial(reactor, [])
        assert isinstance(result, LinkError)
        assert result.code == "unreachable"


@KINDS
async def test_a_full_backlog_runs_into_the_deadline_and_can_be_cancelled(kind: type[Reactor]) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        async with running(kind) as reactor:
            result = await dial(reactor, [(socket.AF_INET, sock.getsockname())], timeout=0.05)
            assert isinstance(result, LinkError)
            assert result.code == "dial_timeout"
            with reactor.turn():
                connect_now(
                    reactor, [(socket.AF_INET, sock.getsockname())], lambda _result: pytest.fail("called"), 0.05
                ).cancel()
        for filler in fillers:
            filler.close()
