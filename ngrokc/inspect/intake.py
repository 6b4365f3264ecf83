"""Between traffic and parser: taps append copies, a task turns them into exchanges a little later.

The taps run in the reactor's callbacks at tens of thousands of calls a second: they append and leave. The worker looks at
the queue a hundred times a second, parses in slices of half a millisecond and rests between them while there is traffic.
What it can't follow is sampled: each tunnel's lane lets so many exchanges begin as parsing them has measured to cost
(`lane`); the others pass at the price of a comparison, and are counted.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from ngrokc.inspect.lane import Lane
from ngrokc.inspect.settings import Limits
from ngrokc.inspect.store import Store

if TYPE_CHECKING:
    from ngrokc.inspect.tap import HttpTap

SLICE: Final = 0.0005  # seconds of parsing between two turns of the reactor
REST: Final = 0.005  # seconds between two slices while there is traffic that they delay: a tenth of a processor
LONG_REST: Final = 0.04  # the same in a flood: what began before it was one can wait for its end, within an eightieth
PAUSE: Final = 0.01  # seconds between two looks at the queue: waking up for each exchange would cost as much as parsing
TICK: Final = 0.1  # the same while only a sample is seen: ten large bites leave the caches warmer than fifty small ones
SOFT: Final = 4  # the queue is full for new exchanges at this part of its cap; the rest is for those under way
FIRST_GUESS: Final = 60e-6  # seconds to parse one exchange, until it was measured
CHEAPEST, DEAREST = 20e-6, 0.05  # seconds; what a measurement may say
MEMORY: Final = 200  # exchanges that the measured cost is a mean of
EXPIRE_EVERY: Final = 60.0


class Intake:
    """Owns the queue's budget (`room` is what it can still take) and the lanes."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self.store = store
        self.limits = limits
        self.room = limits.queue
        self.clock = time.monotonic
        self.cost = FIRST_GUESS
        """Seconds to parse one exchange, as measured lately."""
        self._wall = time.time() - time.monotonic()
        self._ready: deque[HttpTap] = deque()
        self._lanes: dict[str, Lane] = {}
        self._parked = False
        self._flooded = False
        self._wake = trio.Event()
        self._refilled = time.monotonic()
        self._spent = 0.0  # seconds that were parsed for exchanges that are not counted yet
        self._captured = 0

    def __repr__(self) -> str:
        return f"<Intake {len(self._ready)} ready, {self.room} room, {len(self._lanes)} lanes>"

    def wall(self, at: float) -> float:
        """Seconds since the epoch for a reading of `clock`."""
        return at + self._wall

    def lane(self, tunnel: str) -> Lane:
        """The lane of a tunnel, for a tap that counts itself in and out (`Lane.taps`). A burst of as many exchanges as
        would be remembered is seen whole."""
        found = self._lanes.get(tunnel)
        if found is None:
            found = self._lanes[tunnel] = Lane(self.limits.tunnel_exchanges)
        return found

    # -- for taps: called within traffic
    def ready(self, tap: HttpTap) -> None:
        """`tap` has copies; called when its queue was empty."""
        if self._flooded and not tap.lane.full:
            self._ready.appendleft(tap)  # a quiet tunnel does not wait behind the flood on another
        else:
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
                if not self._ready and not self._sampling:
                    self._parked = True
                    await self._wake.wait()
                    self._wake = trio.Event()
                await trio.sleep(self._turn())

    def _turn(self) -> float:
        """Refill, parse a slice; how long to rest."""
        moving = self._refill()
        if self._ready:
            self._parse(SLICE)
        if self._ready and not moving:
            return 0.0
        if self._sampling:
            return LONG_REST if self._ready else TICK
        return REST if self._ready else PAUSE

    @property
    def _sampling(self) -> bool:
        return any(lane.full for lane in self._lanes.values())

    def _refill(self) -> bool:
        """What time has earned for the lanes; whether anything began since the last time."""
        now = self.clock()
        exchanges = (now - self._refilled) / self.cost
        self._refilled = now
        self._flooded = self._sampling
        moving = [lane for lane in self._lanes.values() if lane.moving]
        each = exchanges / max(1, len(moving))
        crowded = self.limits.queue - self.room > self.limits.queue // SOFT
        for name, lane in list(self._lanes.items()):
            lane.refill(each * self.limits.cpu_share, each * self.limits.sample_share, crowded=crowded)
            if lane.rested:
                del self._lanes[name]
        return bool(moving)

    def _parse(self, seconds: float) -> None:
        """One slice, and what it says about the cost of an exchange."""
        began = self.clock()
        self.slice(began + seconds)
        self._spent += self.clock() - began
        count = self.store.counts.captured - self._captured
        if count > 0:
            self._captured += count
            measured = min(DEAREST, max(CHEAPEST, self._spent / count))
            self.cost += (measured - self.cost) * min(1.0, count / MEMORY)
            self._spent = 0.0

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
