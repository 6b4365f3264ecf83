"""What is particular to plain sockets; the common contract is in test_port."""

from __future__ import annotations

import pytest

from protocol.link.plain import PlainPort, peer_of
from protocol.link.port import PortBroken
from tests.kit.ports import PAIRS, Collector, running, tcp_sockets


async def test_the_peer_is_known_and_remembered() -> None:
    near, far = tcp_sockets()
    port = PlainPort(near)
    assert port.peer == far.getsockname()
    port.close()
    assert port.peer == far.getsockname()
    far.close()
    assert peer_of(far) is None


async def test_unix_sockets_have_no_peer() -> None:
    near, far = await PAIRS["unix"]()
    assert near.peer is None
    near.close()
    far.close()


async def test_the_repr_names_the_owner() -> None:
    near, far = await PAIRS["plain"]()
    async with running("epoll") as reactor:
        assert repr(near).endswith(" task>")
        near.attach(reactor)
        assert repr(near).endswith(" reactor>")
        near.close()
        assert repr(near).endswith(" closed>")
        far.close()


async def test_writing_to_a_peer_that_is_gone_raises() -> None:
    near, far = await PAIRS["plain"]()
    async with running("epoll") as reactor:
        near.attach(reactor)
        owner = Collector(near)
        far.abort()
        await owner.until(lambda it: it.broken is not None)
        with pytest.raises(PortBroken):
            near.write(b"x")
        with pytest.raises(PortBroken):
            near.end_writing()
        near.close()
