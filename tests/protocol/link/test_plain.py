"""What is particular to plain sockets; the common contract is in test_port."""

from __future__ import annotations

import gc
import weakref

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


async def test_a_closed_port_is_freed_without_the_collector() -> None:
    """It looks rarely (`garbage`), and a thousand refused strangers would be 25 MB until it does."""
    near, far = tcp_sockets()
    port = PlainPort(near)
    stream, gone = port.stream(), weakref.ref(near)
    port.close()
    gc.disable()
    try:
        del port, stream, near
        assert gone() is None
    finally:
        gc.enable()
    far.close()
