"""Whether the server is still there: pings, silence, and the probe after a sleep. Two tasks over one control link.

Native: any received byte is life, ten seconds of silence are death. Classic: only an unanswered Ping counts. A link is never
given up because this machine slept: bytes may be waiting unread, so a late clock probes first.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from protocol.errors import LinkError
from protocol.link.framed import FramedLink
from protocol.messages import Ping
from protocol.session import Side, Sign, heartbeat

PROBE = 2.0  # seconds to answer after a sleep or clock jump
LATE = 1.0  # waking later than this is no busy machine: somebody slept


class Pulse:
    """The heartbeat of one session. `life` gives trio's clock when a byte last came on any other link of the session (legs
    under load keep a session alive whose control link is stuck behind them); `latency` is told each round trip."""

    def __init__(
        self, link: FramedLink, caps: tuple[str, ...], *, life: Callable[[], float], latency: Callable[[float], None]
    ) -> None:
        self._link = link
        self._beat = heartbeat(Side.AGENT, caps)
        self._life = life
        self._latency = latency
        self._pinged: float = math.inf  # when the oldest unanswered Ping went out
        self._changed = trio.Event()
        self._probe = trio.Event()
        self._reason = ""

    def ponged(self) -> None:
        """A Pong came."""
        if self._pinged != math.inf:
            self._latency(trio.current_time() - self._pinged)
            self._pinged = math.inf

    def probe(self, reason: str) -> None:
        """Something happened to this machine: ask the server now, and expect an answer soon."""
        self._reason = reason
        self._probe.set()

    async def run(self) -> None:
        """Until the link is dead: then LinkError `silent`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ping_in_turn)
            nursery.start_soon(self._watch)
            nursery.start_soon(self._probe_on_demand)

    async def _ping_in_turn(self) -> None:
        while True:
            await trio.sleep(self._beat.every)
            await self._ping()

    async def _ping(self) -> None:
        if self._pinged == math.inf:
            self._pinged = trio.current_time()
            self._changed.set()
        await self._link.send(Ping())

    def _last_byte(self) -> float:
        return max(self._link.last_received, self._life())

    def _deadline(self) -> float:
        if self._beat.sign is Sign.PONG:
            return self._pinged + self._beat.dead_after
        return self._last_byte() + self._beat.dead_after

    async def _watch(self) -> None:
        while True:
            deadline = self._deadline()
            self._changed = trio.Event()
            with trio.move_on_at(deadline):
                await self._changed.wait()
                continue
            if trio.current_time() - deadline > LATE:
                await self._ask(
                    f"it was silent while this machine was stopped for {trio.current_time() - deadline:.0f} s"
                )
            if trio.current_time() >= self._deadline():
                raise LinkError("silent", f"the server has been silent for {self._beat.dead_after:g} s")

    async def _probe_on_demand(self) -> None:
        while True:
            await self._probe.wait()
            self._probe = trio.Event()
            await self._ask(self._reason)

    async def _ask(self, reason: str) -> None:
        """Ping, and expect a byte within PROBE seconds. Raises LinkError."""
        asked = trio.current_time()
        await _within(PROBE, self._ping)
        while self._last_byte() < asked:
            if trio.current_time() >= asked + PROBE:
                raise LinkError("silent", f"the server does not answer; {reason}")
            await trio.sleep(PROBE / 20)


async def _within(seconds: float, call: Callable[[], Awaitable[None]]) -> None:
    with trio.move_on_after(seconds):
        await call()
