"""Messages over a link: cuts, ends, caps, and handing the port over with what was read early."""

from __future__ import annotations

import pytest
import trio

from protocol.errors import LinkError, WireError
from protocol.frames import FRAME_CAP, frame
from protocol.link.framed import FramedLink
from protocol.messages import Auth, Ping, Pong, StartProxy
from tests.kit.ports import PAIRS, Collector, running

KINDS = pytest.mark.parametrize("kind", ["plain", "tls-client", "tls-socket"])


@KINDS
async def test_messages_pass_both_ways(kind: str) -> None:
    near, far = await PAIRS[kind]()
    one, other = FramedLink(near.stream()), FramedLink(far.stream())
    await one.send(Auth(user="a token"))
    await one.send(Ping())
    assert await other.receive() == Auth(user="a token")
    assert await other.receive() == Ping()
    await other.send(Pong())
    assert await one.receive() == Pong()
    assert one.port is near
    await one.aclose()
    if kind != "tls-socket":
        assert await other.receive() is None
    with pytest.raises(LinkError):
        await one.send(Ping())
    with pytest.raises(LinkError):
        await one.receive()
    await other.aclose()


async def test_many_senders_take_turns() -> None:
    near, far = await PAIRS["plain"]()
    one, other = FramedLink(near.stream()), FramedLink(far.stream(), cap=1 << 20)
    assert other.cap == 1 << 20
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(one.send, StartProxy(url=f"{number:03d}" * 1000))
        got = [await other.receive() for _ in range(50)]
    urls = sorted(message.url for message in got if isinstance(message, StartProxy))
    assert urls == [f"{number:03d}" * 1000 for number in range(50)]
    await one.aclose()
    await other.aclose()


async def test_the_leftover_goes_with_the_port() -> None:
    near, far = await PAIRS["plain"]()
    link = FramedLink(far.stream())
    near.write(frame(StartProxy(url="http://a")) + b"GET / HTTP/1.1\r\n\r\n")
    assert await link.receive() == StartProxy(url="http://a")
    port = link.release()
    async with running("epoll") as reactor:
        owner = Collector(port)
        port.attach(reactor)
        await owner.until(lambda it: bytes(it.data) == b"GET / HTTP/1.1\r\n\r\n")
        near.close()
        port.close()
    with pytest.raises(LinkError):
        await link.receive()


async def test_bad_frames_and_lost_links_are_named() -> None:
    near, far = await PAIRS["plain"]()
    link = FramedLink(far.stream(), cap=100)
    near.write((101).to_bytes(8, "little"))
    with pytest.raises(WireError):
        await link.receive()
    near.close()
    await link.aclose()
    near, far = await PAIRS["plain"]()
    link = FramedLink(far.stream())
    near.write(frame(Ping())[:9])
    near.close()
    with pytest.raises(LinkError, match="within a frame"):
        await link.receive()
    await link.aclose()


async def test_the_cap_can_be_raised_after_login() -> None:
    near, far = await PAIRS["plain"]()
    other = FramedLink(far.stream())
    big = Auth(user="x" * 20_000)
    other.cap = FRAME_CAP
    await near.stream().send_all(frame(big, cap=FRAME_CAP))
    assert await other.receive() == big
    near.close()
    await other.aclose()
