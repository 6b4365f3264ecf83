"""What is particular to plain sockets; the common contract is in test_port."""

from __future__ import annotations

import gc
import socket
import weakref

import pytest

from protocol.link.listener import bind
from protocol.link.plain import PlainPort, peer_of
from protocol.link.port import PortBroken
from tests.kit.ports import PAIRS, REACTORS, Collector, running, tcp_sockets


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


@pytest.mark.parametrize("kind", ["plain", "tls-server"])
async def test_urgent_data_stalls_nobody(kind: str) -> None:
    """TCP cuts a read short at the urgent mark, which must not pass for "there is no more"."""
    near, far = await PAIRS[kind]()
    if kind == "plain":
        far.sock.send(b"abc")  # type: ignore[attr-defined]
        far.sock.send(b"X", socket.MSG_OOB)  # type: ignore[attr-defined]
        far.sock.send(b"def")  # type: ignore[attr-defined]
    else:
        far.write(b"abc")
        far.sock.send(b"X", socket.MSG_OOB)  # type: ignore[attr-defined]
        far.write(b"def")  # which is no record any more
    async with running("epoll") as reactor:
        near.attach(reactor)
        owner = Collector(near)
        await owner.until(lambda it: it.data == b"abcXdef" if kind == "plain" else it.broken is not None)
        near.close()
        far.close()


@pytest.mark.parametrize("kind", list(REACTORS))
async def test_urgent_bytes_of_a_visitor_stand_where_they_were_sent(kind: str) -> None:
    """Telnet's Synch is such a byte: RFC 6093 wants it among the others, and a relay has nowhere else to put it."""
    with bind("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()) as far:
        near = PlainPort(listening.accept()[0])
        async with running(kind) as reactor:
            near.attach(reactor)
            owner = Collector(near)
            for number in range(5):
                for piece, flags in (
                    (b"abc%d" % number, 0),
                    (b"X", socket.MSG_OOB),
                    (b"def", 0),
                    (b"Y", socket.MSG_OOB),
                ):
                    far.send(piece, flags)
                await owner.until(lambda it: it.data.endswith(b"Y"))
                assert owner.data == b"abc%dXdefY" % number
                owner.data.clear()
            near.close()
