"""Is the loop alive? A task that wakes four times a second measures how late it is served; a thread sees when it is not
served at all, and writes down what every thread is doing at that moment. Knows nothing of tunnels.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final

import trio

from ngrokd.admin.meters import Meters
from protocol.link.logs import Log

BEAT: Final = 0.25  # seconds between two beats
STALL: Final = 1.0  # seconds of silence that are a stall
AGAIN: Final = 10.0  # seconds until one that goes on is written down again
FRAMES: Final = 40  # of each stack


class Watchdog:
    """`run` beats, for ever; the thread lives as long as it does."""

    def __init__(
        self, meters: Meters, log: Log, *, stall: float = STALL, alive: Callable[[], None] | None = None
    ) -> None:
        """`alive` is called now and then while the loop is served (for a supervisor)."""
        self._alive = alive
        self._meters = meters
        self._log = log
        self._stall = stall
        self._last = time.monotonic()
        self._over = threading.Event()

    async def run(self) -> None:
        self._last = time.monotonic()
        thread = threading.Thread(target=self._watch, args=(threading.get_ident(),), name="watchdog", daemon=True)
        thread.start()
        try:
            while True:
                due = time.monotonic() + BEAT
                await trio.sleep(BEAT)
                self._last = now = time.monotonic()
                self._meters.lag.add(max(0.0, now - due))
                if self._alive is not None:
                    self._alive()
        finally:
            self._over.set()

    def _watch(self, loop: int) -> None:
        told = 0.0
        stalled_since: float | None = None
        while not self._over.wait(BEAT):
            last = self._last
            silent = time.monotonic() - last
            if silent < self._stall + BEAT:
                if stalled_since is not None:
                    self._log.warning("the loop is served again", stalled=round(last - stalled_since, 2))
                    stalled_since = None
            elif stalled_since is None or time.monotonic() - told > AGAIN:
                self._meters.stalls += stalled_since is None
                stalled_since, told = last, time.monotonic()
                self._log.error("the loop has not been served", seconds=round(silent, 2), exception=stacks(loop))


def stacks(first: int) -> str:
    """What each thread is doing, the one with the identity `first` first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to see other threads' stacks
    order = sorted(frames, key=lambda ident: ident != first)
    return "\n".join(f"thread {names.get(ident, ident)}:\n{_stack(frames[ident])}" for ident in order)


def _stack(frame: FrameType) -> str:
    return "".join(traceback.format_stack(frame)[-FRAMES:])
