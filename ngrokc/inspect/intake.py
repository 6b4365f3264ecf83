"""Between traffic and parser: taps append copies, a task works them off within a share of the processor.

The taps run in the reactor's callbacks at tens of thousands of calls a second: they append and leave. The worker turns
copies into exchanges in slices of half a millisecond and sleeps when its share is spent; meanwhile connections look away at
the beginning of their next exchange, which costs a comparison, and what passes is counted.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from ngrokc.inspect.settings import Limits
from ngrokc.inspect.store import Store

if TYPE_CHECKING:
    from ngrokc.inspect.tap import HttpTap

SLICE: Final = 0.0005  # seconds of parsing between two turns of the reactor
BURST: Final = 0.15  # seconds of parsing that may be saved up: five thousand exchanges out of the blue are seen in full
TICK: Final = 0.02  # seconds to sleep when the share is spent
ENOUGH: Final = 0.02  # seconds of share that let connections look again
SOFT: Final = 4  # the queue is full for new exchanges at this part of its cap; the rest is for those under way
EXPIRE_EVERY: Final = 60.0


class Intake:
    """Owns the queue's budget. `room` is what it can still take, `full` tells taps to begin nothing new."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self.store = store
        self.limits = limits
        self.room = limits.queue
        self.full = False
        self.clock = time.monotonic
        self._wall = time.time() - time.monotonic()
        self._ready: deque[HttpTap] = deque()
        self._parked = False
        self._wake = trio.Event()
        self._saved = BURST
        self._counted = time.monotonic()

    def __repr__(self) -> str:
        return f"<Intake {len(self._ready)} ready, {self.room} room{' full' if self.full else ''}>"

    def wall(self, at: float) -> float:
        """Seconds since the epoch for a reading of `clock`."""
        return at + self._wall

    # -- for taps: called within traffic
    def ready(self, tap: HttpTap) -> None:
        """`tap` has copies; called when its queue was empty."""
        self._ready.append(tap)
        if self._parked:
            self._parked = False
            self._wake.set()

    # -- the worker
    async def run(self) -> None:
        """Works until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._expire)
            while True:
                if not self._ready:
                    self.full = False
                    self._parked = True
                    await self._wake.wait()
                    self._wake = trio.Event()
                await self._turn()

    async def _turn(self) -> None:
        now = time.monotonic()
        self._saved = min(BURST, self._saved + (now - self._counted) * self.limits.cpu_share)
        self._counted = now
        if self._saved <= 0:
            self.full = True
            await trio.sleep(TICK)
            return
        self.slice(now + SLICE)
        self._saved -= time.monotonic() - now
        queued = self.limits.queue - self.room
        if queued > self.limits.queue // SOFT:
            self.full = True
        elif self._saved > ENOUGH:
            self.full = False
        await trio.lowlevel.checkpoint()

    def slice(self, until: float) -> None:
        """Parse what is queued until `until` (of `clock`) or until nothing is left."""
        ready = self._ready
        while ready:
            tap = ready.popleft()
            if not tap.work(until):
                ready.append(tap)
            if self.clock() >= until:
                return

    def drain(self) -> None:
        """Parse everything now: for replays and tests, whose connections are few."""
        while self._ready:
            self.slice(self.clock() + 1.0)

    async def _expire(self) -> None:
        while True:
            await trio.sleep(EXPIRE_EVERY)
            self.store.expire()
