"""Messages over a link: cuts, ends, caps, and handing the port over with what was read early."""

from __future__ import annotations

import pytest
import trio

from protocol.errors import Fault, LinkError, WireError
from protocol.frames import FRAME_CAP, frame
from protocol.link.framed import READ_BYTES, READS_PER_TURN, FramedLink, FramedPort
from protocol.link.port import Port
from protocol.link.reactor import Reactor
from protocol.messages import Auth, Message, Ping, Pong, StartProxy
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


# -- in callbacks
class Heard:
    """What a FramedPort told."""

    def __init__(self, reactor: Reactor, port: Port, cap: int = 1 << 20) -> None:
        self.messages: list[Message] = []
        self.ends: list[Fault | None] = []
        self.changed = trio.Event()
        self.link = FramedPort(reactor, port, self._message, self._end, cap=cap)

    def _message(self, message: Message) -> None:
        self.messages.append(message)
        self._wake()

    def _end(self, fault: Fault | None) -> None:
        self.ends.append(fault)
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, messages: int = 0, ends: int = 0) -> None:
        with trio.fail_after(10):
            while len(self.messages) < messages or len(self.ends) < ends:
                await self.changed.wait()


@KINDS
@pytest.mark.parametrize("reactor_kind", ["epoll", "tasks"])
async def test_a_reactor_hears_messages_and_the_end(kind: str, reactor_kind: str) -> None:
    near, far = await PAIRS[kind]()
    first = FramedLink(far.stream())
    await near.stream().send_all(frame(Auth()) + frame(Ping())[:5])
    assert await first.receive() == Auth()
    async with running(reactor_kind) as reactor:
        heard = Heard(reactor, first.release())  # what was read early is heard first
        heard.link.start()
        await near.stream().send_all(frame(Ping())[5:])
        await heard.until(messages=1)
        for byte in frame(Pong()):
            await near.stream().send_all(bytes([byte]))
        await heard.until(messages=2)
        assert heard.messages == [Ping(), Pong()]
        assert trio.current_time() - heard.link.last_received < 5
        near.close()
        await heard.until(ends=1)
        assert kind == "tls-socket" or heard.ends == [None]
        far.close()


async def test_a_flood_is_taken_in_parts_and_whole() -> None:
    """More than a turn takes, and more than a TLS record holds."""
    near, far = await PAIRS["tls-client"]()
    count = 2 * READ_BYTES * READS_PER_TURN // len(frame(Ping()))
    async with running("epoll") as reactor, trio.open_nursery() as nursery:
        heard = Heard(reactor, far)
        heard.link.start()
        nursery.start_soon(near.stream().send_all, frame(Ping()) * count + frame(StartProxy(url="x" * 15_000)))
        await heard.until(messages=count + 1)
        assert heard.messages[-1] == StartProxy(url="x" * 15_000)
        near.close()
        far.close()


async def test_bad_frames_and_cut_ones_end_it_once() -> None:
    async with running("epoll") as reactor:
        near, far = await PAIRS["plain"]()
        heard = Heard(reactor, far, cap=100)
        heard.link.start()
        near.write((101).to_bytes(8, "little") + frame(Ping()))
        await heard.until(ends=1)
        near.close()
        await trio.testing.wait_all_tasks_blocked()
        assert heard.messages == []
        assert len(heard.ends) == 1
        assert isinstance(heard.ends[0], WireError)
        far.close()
        near, far = await PAIRS["plain"]()
        heard = Heard(reactor, far)
        heard.link.start()
        near.write(frame(Ping())[:9])
        near.close()
        await heard.until(ends=1)
        assert isinstance(heard.ends[0], LinkError)
        far.close()


async def test_a_lost_link_is_named_and_a_stopped_one_is_silent() -> None:
    async with running("epoll") as reactor:
        for stopped in (False, True):
            near, far = await PAIRS["plain"]()
            heard = Heard(reactor, far)
            heard.link.start()
            near.write(frame(Ping()))
            await heard.until(messages=1)
            if stopped:
                heard.link.stop()
            near.abort()
            if not stopped:
                await heard.until(ends=1)
                assert isinstance(heard.ends[0], LinkError)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert len(heard.ends) == (0 if stopped else 1)
            far.close()


async def test_the_owner_may_stop_at_any_message() -> None:
    async with running("epoll") as reactor:
        near, far = await PAIRS["plain"]()
        got: list[Message] = []

        def take(message: Message) -> None:
            got.append(message)
            link.stop()

        link = FramedPort(reactor, far, take, lambda _fault: None)
        link.start()
        near.write(frame(Ping()) * 3)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert got == [Ping()]
        near.close()
        far.close()
