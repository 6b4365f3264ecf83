"""What is particular to the leg's TLS port; the common contract is in test_port."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trio

from protocol.link.port import PortBroken
from tests.kit.ports import PAIRS, REACTORS, Collector, running


async def test_it_is_never_half_closed() -> None:
    near, far = await PAIRS["tls-socket"]()
    with pytest.raises(PortBroken):
        near.end_writing()
    near.close()
    far.close()


async def test_a_cut_write_wants_the_identical_bytes_again() -> None:
    near, far = await PAIRS["tls-socket"]()
    async with running("epoll") as reactor:
        near.attach(reactor)
        far.attach(reactor)
        sent = bytearray()
        block = bytes(range(256)) * 512
        while count := near.write(block):
            assert count == len(block)
            sent += block
        at_far = Collector(far)
        done: list[int] = []

        def again() -> None:
            done.append(near.write(block))

        near.on_writable = again
        at_far.read()
        await at_far.until(lambda it: bool(done) and done[-1] == len(block) and len(it.data) == len(sent) + len(block))
        assert at_far.data == sent + block
        near.close()
        far.close()


async def test_a_lost_leg_is_broken_not_ended() -> None:
    near, far = await PAIRS["tls-socket"]()
    async with running("epoll") as reactor:
        far.attach(reactor)
        at_far = Collector(far)
        near.close()
        await at_far.until(lambda it: it.broken is not None)
        assert not at_far.ended
        far.close()


class HeldUp:
    """A TLS connection that has to write before it can read, as after a key update whose answer found the socket full."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self.tls = tls
        self.held_up = True
        self.tried = trio.Event()

    def read(self, *wanted: Any) -> int:
        if self.held_up:
            self.tried.set()
            raise ssl.SSLWantWriteError
        return int(self.tls.read(*wanted))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tls, name)


@pytest.mark.parametrize("kind", list(REACTORS))
async def test_a_read_that_has_to_write_first_goes_on_when_there_is_room(kind: str) -> None:
    near, far = await PAIRS["tls-socket"]()
    async with running(kind) as reactor:
        far.attach(reactor)
        at_far = Collector(far)
        far.on_readable = lambda: None
        near.attach(reactor)
        at_near = Collector(near)
        sent = 0
        while count := near.write(bytes(100_000)):
            sent += count
        tls = near._tls = HeldUp(near._tls)  # type: ignore[attr-defined]
        far.write(b"question")
        with trio.fail_after(5):
            await tls.tried.wait()
        assert not at_near.data
        tls.held_up = False
        at_far.read()
        far.on_readable = at_far.read
        await at_far.until(lambda it: len(it.data) >= sent)
        await at_near.until(lambda it: it.data == b"question")
        far.write(b", and more")
        await at_near.until(lambda it: it.data == b"question, and more")
        near.close()
        far.close()
