"""Being replaced: what a running server does when another process comes to take its place.

What uses the state directory runs within `keep`. When a successor is ready this ends first, so that the other can open the
state; visitors and agents go on until the server has drained. The protocol between the two is `handover`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ngrokd.handover import SOCKET, Estate, serve_handover
from ngrokd.keeping import Keeping
from ngrokd.state import StateDirectory
from protocol.link.logs import Log


class Succession:
    """One server's end by another. `replaced` says whether it has come to that."""

    def __init__(self, state: StateDirectory, log: Log) -> None:
        self.replaced = False
        self._state = state
        self._log = log
        self._books = trio.CancelScope()
        self._closed = trio.Event()

    async def keep(
        self,
        start: Callable[[trio.Nursery], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run what `start` puts into a nursery, until cancelled or until a successor is ready."""
        try:
            with self._books:
                async with trio.open_nursery() as nursery:
                    await start(nursery)
                    task_status.started()
        finally:
            self._closed.set()

    async def wait(
        self,
        estate: Callable[[], Estate],
        keeping: Keeping,
        stop: Callable[[], None],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hand over `estate` to who comes for it, close `keeping`, then call `stop`. Only once; without a successor it waits
        until cancelled."""

        async def release() -> None:
            self._log.info("another ngrokd takes over")
            self._books.cancel()
            await self._closed.wait()
            await keeping.aclose()

        try:
            await serve_handover(self._state.file(SOCKET), estate, release, task_status=task_status)
        except OSError as error:
            self._log.warning("no hot restart here", reason=error.strerror or str(error))
            return
        self.replaced = True
        stop()
