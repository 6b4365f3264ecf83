"""Work for show that may take long goes to one thread, one piece after the other, so that traffic never waits for it.

Knows nothing of what the work is. Order is kept: what was given first is done first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

Work = Callable[[], None]
Offload = Callable[[Work, Work], None]
"""`offload(work, then)`: run `work` where it delays nobody, then `then` in the loop's thread. Neither may raise."""


def at_once(work: Work, then: Work) -> None:
    """For tests, and where nobody waits."""
    work()
    then()


class Backroom:
    """`offload` from callbacks and tasks of the loop; `run` beside them. Who gives work bounds how much he gives."""

    def __init__(self) -> None:
        self._jobs: deque[tuple[Work, Work]] = deque()
        self._wake = trio.Event()

    def __repr__(self) -> str:
        return f"<Backroom {len(self._jobs)} waiting>"

    def offload(self, work: Work, then: Work) -> None:
        self._jobs.append((work, then))
        self._wake.set()

    async def run(self) -> None:
        """Works until cancelled; a piece that is under way then is waited for."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._jobs:
                work, then = self._jobs.popleft()
                await trio.to_thread.run_sync(work)
                then()
