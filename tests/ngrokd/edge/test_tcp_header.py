"""Waiting for a PROXY protocol header: once, whole or in pieces, with a deadline, and nothing lost behind it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from ngrokd.edge.tcp_header import HEADER_SECONDS, HeaderWait
from protocol.link.port import Port
from protocol.link.stream import PortStream
from protocol.link.tasks import TaskReactor
from protocol.proxy_header import ProxyHeader, encode
from tests.kit.memory_port import memory_pair

SOURCE = ("203.0.113.7", 4711)


class Waiting:
    def __init__(self, port: Port, far: PortStream) -> None:
        self.port = port
        self.far = far
        self.outcomes: list[ProxyHeader | str] = []
        self.wait: HeaderWait


@contextlib.asynccontextmanager
async def waiting() -> AsyncIterator[Waiting]:
    near, far = memory_pair()
    reactor = TaskReactor()
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        near.attach(reactor)
        found = Waiting(near, far.stream())
        found.wait = HeaderWait(reactor, near, found.outcomes.append)
        with reactor.turn():
            found.wait.start()
        yield found
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_the_header_is_taken_off(version: int, size: int, autojump_clock: MockClock) -> None:
    data = encode(version, SOURCE) + b"behind it"
    async with waiting() as w:
        for start in range(0, len(data), size):
            await w.far.send_all(data[start : start + size])
            await trio.testing.wait_all_tasks_blocked()
        (header,) = w.outcomes
        assert isinstance(header, ProxyHeader)
        assert header.source == SOURCE
        rest = b""
        while view := w.port.read():
            rest += view
        assert rest == b"behind it"
        await trio.sleep(2 * HEADER_SECONDS)
        assert len(w.outcomes) == 1


async def test_silence_and_trickles_have_an_end(autojump_clock: MockClock) -> None:
    async with waiting() as w:
        for byte in b"PROXY ":
            await w.far.send_all(bytes([byte]))
            await trio.sleep(HEADER_SECONDS / 5)
        assert w.outcomes == [f"no header within {HEADER_SECONDS:g} s"]


@pytest.mark.parametrize(
    "data", [b"x", b"PROXY TCP9 \r\n", b"PROXY " + b"x" * 200, b"\r\n\r\n\x00\r\nQUIT\n\xff\xff\xff\xff"]
)
async def test_anything_else_is_refused(data: bytes, autojump_clock: MockClock) -> None:
    async with waiting() as w:
        await w.far.send_all(data)
        await trio.testing.wait_all_tasks_blocked()
        (reason,) = w.outcomes
        assert isinstance(reason, str)
        assert reason


async def test_an_end_or_a_reset_before_it_is_no_header(autojump_clock: MockClock) -> None:
    async with waiting() as w:
        await w.far.send_all(b"PROXY ")
        await w.far.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        assert w.outcomes == ["it ended before its header"]


async def test_nobody_waits_any_more(autojump_clock: MockClock) -> None:
    async with waiting() as w:
        w.wait.cancel()
        w.wait.cancel()
        await w.far.send_all(b"late")
        await trio.sleep(2 * HEADER_SECONDS)
        assert w.outcomes == [""]
