"""LinkWatch: a dead path is ended at the second look; a slow reader, an answered one and a unix socket are left alone."""

from __future__ import annotations

import struct
import time

import pytest
import trio

from protocol.link import link_watch
from protocol.link.link_watch import DEAD_AFTER, LinkWatch, unanswered_for
from protocol.link.plain import PlainPort
from protocol.link.port import ignore
from protocol.link.tls import TlsPort
from tests.kit.ports import PAIRS, running, tcp_sockets


def test_an_answered_connection_is_not_suspected() -> None:
    near, far = tcp_sockets()
    near.sendall(b"x")
    assert far.recv(1) == b"x"
    assert unanswered_for(near) == 0.0
    near.close()
    far.close()
    assert unanswered_for(near) == 0.0


def test_a_slow_reader_is_not_suspected() -> None:
    """Its window is closed: nothing is under way."""
    near, far = tcp_sockets()
    near.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            near.send(bytes(1 << 16))
    end = time.monotonic() + 5
    while unanswered_for(near) and time.monotonic() < end:
        pass
    assert unanswered_for(near) == 0.0
    near.close()
    far.close()


class Told:
    """A socket that says what the test wants."""

    def __init__(self, unacked: int, milliseconds: int, size: int = 60, probes: int = 0) -> None:
        self.info = struct.pack("=3xB20xI28xI", probes, unacked, milliseconds)[:size]

    def getsockopt(self, *_: int) -> bytes:
        return self.info


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (Told(3, 12_500), 12.5),
        (Told(0, 12_500), 0.0),
        (Told(3, 12_500, 40), 0.0),
        (Told(0, 12_500, probes=1), 0.0),
        (Told(0, 12_500, probes=2), 12.5),
    ],
)
def test_what_the_kernel_says(told: Told, seconds: float) -> None:
    assert unanswered_for(told) == seconds  # type: ignore[arg-type]


async def test_a_dead_path_is_ended_at_the_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_watch, "LOOK_EVERY", 0.01)
    looks: list[float] = []

    def unanswered(_: object) -> float:
        looks.append(DEAD_AFTER)
        return DEAD_AFTER

    monkeypatch.setattr(link_watch, "unanswered_for", unanswered)
    near, far = await PAIRS["tls-server"]()
    assert isinstance(near, TlsPort)
    async with running("epoll") as reactor:
        watch = LinkWatch(reactor)
        near.attach(reactor)
        ended, gone = trio.Event(), trio.Event()
        near.on_readable = ended.set
        watch.add(near, gone.set)
        assert len(watch) == 1
        near.take()  # nothing yet: an edge will follow
        with trio.fail_after(5):
            await ended.wait()
        assert len(looks) == 2
        assert near.take() == b""
        assert not near.clean_end
        near.abort()
        assert gone.is_set()
        assert len(watch) == 0
    await far.stream().aclose()


async def test_one_that_answers_in_time_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_watch, "LOOK_EVERY", 0.01)
    looks: list[int] = []
    enough = trio.Event()

    def unanswered(_: object) -> float:
        looks.append(1)
        if len(looks) == 6:
            enough.set()
        return DEAD_AFTER * (len(looks) % 2)

    monkeypatch.setattr(link_watch, "unanswered_for", unanswered)
    near, far = await PAIRS["unix"]()
    assert isinstance(near, PlainPort)
    async with running("tasks") as reactor:
        near.attach(reactor)
        LinkWatch(reactor).add(near, ignore)
        with trio.fail_after(5):
            await enough.wait()
        assert near.take() is None
        near.close()
    await far.stream().aclose()
