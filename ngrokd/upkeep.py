"""Keeping a running server as its files say: asked for, because a file has changed, or because a certificate ages.

`Upkeep` is the one door for reloads, whoever asks. What is read and checked is `reloading`'s business, what changes is the
server's. Tells the supervisor while it works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from ngrokd.notify import Notifier
from ngrokd.reloading import Changes, Reloader

RENEWAL_CHECK: Final = 12 * 3600.0  # seconds between two looks at the certificate's age


class Upkeep:
    """`reopen` has log files opened anew: at every reload that is asked for, whether or not it works."""

    def __init__(self, reloader: Reloader, reopen: Callable[[], None], notifier: Notifier) -> None:
        self._reloader = reloader
        self._reopen = reopen
        self._notifier = notifier

    async def run(self) -> None:
        """Watch files and the certificate's age, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reloader.watch)
            nursery.start_soon(self._reloader.watch_certificates)
            nursery.start_soon(self._renew)

    async def reload(self) -> Changes:
        """Read again what may change; what did. Raises ConfigError or OSError, then all is as before."""
        self._reopen()
        self._notifier.reloading()
        try:
            return await self._reloader.reload()
        finally:
            self._notifier.ready("serving")

    async def try_reload(self, why: str) -> None:
        """The same; what is wrong goes to the log."""
        self._reopen()
        self._notifier.reloading()
        await self._reloader.try_reload(why)
        self._notifier.ready("serving")

    async def _renew(self) -> None:
        """Our own certificate is made anew in time, and used from the next handshake on."""
        while True:
            await trio.sleep(RENEWAL_CHECK)
            await self._reloader.try_reload("the certificate's age")
