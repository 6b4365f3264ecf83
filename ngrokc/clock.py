"""Noticing that this machine slept, was stopped, or had its clock set.

Timers of the event loop stand still while a laptop sleeps, so a link that died hours ago would be found out seconds
or minutes after waking. The watch here compares what really passed with what it had asked for. It knows nothing of
sessions: whoever listens decides what a jump means (end a backoff wait, probe a link).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

TICK = 2.0  # seconds between two looks: the time after waking in which nobody knows yet
LATE = 3.0  # a busy machine wakes us late by less than this
WALL_JUMP = 5.0  # NTP slews by milliseconds; a step of this size was set by somebody


def boottime() -> float:
    """Seconds since boot, sleep included where the system counts it (CLOCK_BOOTTIME on Linux)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(clock) if clock is not None else time.monotonic()


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks that are compared; tests bring their own."""

    elapsed: Callable[[], float] = boottime
    wall: Callable[[], float] = time.time


def jump(asked: float, elapsed: float, wall: float) -> str | None:
    """What happened in a pause of `asked` seconds in which `elapsed` really passed and the wall clock moved by `wall`.
    None: nothing out of the ordinary. Else the reason in plain words."""
    if elapsed > asked + LATE:
        return f"this machine was asleep or stopped for {elapsed - asked:.0f} s"
    if abs(wall - elapsed) > WALL_JUMP:
        return f"the clock was moved by {wall - elapsed:+.0f} s"
    return None


async def watch(on_jump: Callable[[str], None], clocks: Clocks | None = None) -> None:
    """Call `on_jump(reason)` after each sleep or clock jump. Runs until it is cancelled."""
    clocks = clocks or Clocks()
    elapsed, wall = clocks.elapsed(), clocks.wall()
    while True:
        await trio.sleep(TICK)
        elapsed_now, wall_now = clocks.elapsed(), clocks.wall()
        reason = jump(TICK, elapsed_now - elapsed, wall_now - wall)
        elapsed, wall = elapsed_now, wall_now
        if reason is not None:
            on_jump(reason)
