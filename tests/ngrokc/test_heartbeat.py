"""Pings, silence and probes under a clock that jumps, over a link that only counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
import trio.testing

from ngrokc.heartbeat import Pulse
from protocol.errors import LinkError
from protocol.link.framed import FramedLink
from protocol.messages import Message


class FakeLink:
    """Counts pings; `answers` are called for each."""

    def __init__(self) -> None:
        self.last_received = trio.current_time()
        self.pings: list[float] = []
        self.answer: Callable[[], None] = lambda: None

    async def send(self, message: Message) -> None:
        del message
        self.pings.append(trio.current_time())
        self.answer()

    def byte(self) -> None:
        self.last_received = trio.current_time()


@asynccontextmanager
async def beating(
    *caps: str, life: Callable[[], float] = lambda: 0.0
) -> AsyncIterator[tuple[FakeLink, Pulse, list[str]]]:
    link = FakeLink()
    ends: list[str] = []
    rounds: list[float] = []
    pulse = Pulse(cast(FramedLink, link), caps, life=life, latency=rounds.append)

    async def run() -> None:
        try:
            await pulse.run()
        except* LinkError as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            ends.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield link, pulse, ends
        nursery.cancel_scope.cancel()


async def test_classic_pings_and_dies_of_an_unanswered_one(autojump_clock: trio.testing.MockClock) -> None:
    async with beating() as (link, pulse, ends):
        start = trio.current_time()
        await trio.sleep(21)
        assert [at - start for at in link.pings] == [20]
        pulse.ponged()
        await trio.sleep(100 - 21)
        assert ends
        assert "15 s" in ends[0]
        assert [round(at - start) for at in link.pings] == [20, 40]


async def test_classic_lives_on_pongs(autojump_clock: trio.testing.MockClock) -> None:
    async with beating() as (link, pulse, ends):
        link.answer = pulse.ponged
        await trio.sleep(1000)
        assert not ends
        assert len(link.pings) in (49, 50)


async def test_native_dies_after_ten_silent_seconds(autojump_clock: trio.testing.MockClock) -> None:
    async with beating("ticket") as (link, _, ends):
        await trio.sleep(9.9)
        assert len(link.pings) == 2
        assert not ends
        await trio.sleep(0.2)
        assert ends


async def test_native_lives_on_any_byte(autojump_clock: trio.testing.MockClock) -> None:
    async with beating("ticket") as (link, _, ends):
        link.answer = link.byte
        await trio.sleep(1000)
        assert not ends


async def test_native_lives_on_bytes_of_its_legs(autojump_clock: trio.testing.MockClock) -> None:
    async with beating("ticket", life=trio.current_time) as (_, _, ends):
        await trio.sleep(1000)
        assert not ends


@pytest.mark.parametrize("caps", [(), ("ticket",)])
async def test_a_probe_that_is_answered_changes_nothing(
    autojump_clock: trio.testing.MockClock, caps: tuple[str, ...]
) -> None:
    async with beating(*caps) as (link, pulse, ends):
        await trio.sleep(1)

        def answer() -> None:
            link.byte()
            pulse.ponged()

        link.answer = answer
        pulse.probe("slept")
        await trio.sleep(3)
        assert len(link.pings) >= 1
        assert not ends


@pytest.mark.parametrize("caps", [(), ("ticket",)])
async def test_a_probe_without_an_answer_ends_it(autojump_clock: trio.testing.MockClock, caps: tuple[str, ...]) -> None:
    async with beating(*caps) as (_, pulse, ends):
        await trio.sleep(1)
        pulse.probe("this machine slept")
        await trio.sleep(2.5)
        assert ends == ["the server does not answer; this machine slept"]
