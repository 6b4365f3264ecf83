"""Polite closing: the answer arrives although the peer was still sending."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from protocol.link.linger import LINGER_BYTES, LINGER_SECONDS, linger
from protocol.link.port import Port
from tests.kit.ports import PAIRS, REACTORS, running

on_both = pytest.mark.parametrize("kind", list(REACTORS))


async def until_closed(port: Port) -> None:
    """Well before the time of a lingering port is up. The kernel brings an end when it has time for it."""
    with trio.fail_after(LINGER_SECONDS * 0.9):
        while not port.closed:  # type: ignore[attr-defined]
            await trio.testing.wait_all_tasks_blocked(0.001)


@on_both
async def test_the_answer_is_read_by_a_peer_that_was_sending(kind: str) -> None:
    near, far = await PAIRS["plain"]()
    stream = far.stream()
    async with running(kind) as reactor:
        near.attach(reactor)
        await stream.send_all(bytes(200_000))
        with reactor.turn():
            near.write(b"no more, please")
            linger(reactor, near)
        await stream.send_all(bytes(100_000))
        assert await stream.receive_some() == b"no more, please"
        assert await stream.receive_some() == b""
        await stream.aclose()
        await until_closed(near)


async def test_a_peer_that_stays_is_left_after_a_while(autojump_clock: trio.testing.MockClock) -> None:
    near, far = await PAIRS["plain"]()
    async with running("epoll") as reactor:
        near.attach(reactor)
        linger(reactor, near)
        await trio.sleep(LINGER_SECONDS - 0.1)
        assert not near.closed  # type: ignore[attr-defined]
        await trio.sleep(0.2)
        assert near.closed  # type: ignore[attr-defined]
        far.close()


@on_both
async def test_a_flood_is_cut(kind: str) -> None:
    near, far = await PAIRS["plain"]()
    stream = far.stream()
    async with running(kind) as reactor:
        near.attach(reactor)
        linger(reactor, near)
        sent = 0
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(bytes(100_000))
                sent += 100_000
        assert sent < 10 * LINGER_BYTES
        await stream.aclose()


@on_both
async def test_a_peer_that_is_gone_ends_it_at_once(kind: str) -> None:
    near, far = await PAIRS["plain"]()
    async with running(kind) as reactor:
        near.attach(reactor)
        far.abort()
        linger(reactor, near)
        await until_closed(near)


@on_both
@pytest.mark.parametrize("ports", ["plain", "tls-server"])
async def test_it_does_not_outlive_its_reactor(kind: str, ports: str) -> None:
    near, far = await PAIRS[ports]()
    async with running(kind) as reactor:
        near.attach(reactor)
        while near.write(bytes(256 * 1024)):
            pass
        linger(reactor, near)
        assert not near.closed  # type: ignore[attr-defined]
    assert near.sock.fileno() < 0  # type: ignore[attr-defined]
    assert not reactor.lingering
    far.close()
