"""What is particular to the leg's TLS port; the common contract is in test_port."""

from __future__ import annotations

import pytest

from protocol.link.port import PortBroken
from tests.kit.ports import PAIRS, Collector, running


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
