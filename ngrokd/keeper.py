"""Writes down what changes by itself: held names and when tokens were last used. Nobody waits for it.

What has changed is collected by key, so a name that comes and goes is one row, and written in one transaction a moment
later. A disk that is full or read-only stops nothing: the keeper keeps what it could not write, says so once a minute,
counts, and tries again each second.
"""

from __future__ import annotations

from typing import Final

import trio

from ngrokd.claims import Claims
from ngrokd.store.base import Store
from ngrokd.store.records import Hold, Name, Notes
from protocol.errors import Fault
from protocol.link.logs import Log

COLLECT: Final = 0.1  # seconds between a change and its write: a storm of logins is one transaction
RETRY: Final = 1.0
COMPLAIN_EVERY: Final = 60.0


class Keeper:
    """`run` is its task; `changed` is called after claims have changed, `used` after a login."""

    def __init__(self, store: Store, claims: Claims, log: Log) -> None:
        self._store = store
        self._claims = claims
        self._log = log
        self._used: dict[str, tuple[float, str]] = {}
        self._holds: dict[Name, Hold | None] = {}
        self._news = trio.Event()
        self._complained = float("-inf")
        self.failures = 0
        """Writes that failed, for metrics."""
        self.behind = False
        """Whether something could not be written yet."""

    def changed(self) -> None:
        self._news.set()

    def used(self, token_id: str, when: float, source: str) -> None:
        self._used[token_id] = (when, source)
        self._news.set()

    async def run(self) -> None:
        """Write changes as they come, for ever; once more when cancelled."""
        try:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                await trio.sleep(COLLECT)
                while True:
                    if await self._write():
                        break
                    await trio.sleep(RETRY)
        finally:
            with trio.CancelScope(shield=True):  # a local disk: waiting for it is bounded
                await self._write()

    async def _write(self) -> bool:
        self._holds |= self._claims.take_changes()
        notes = Notes(holds=self._holds, used=self._used)
        if not notes:
            return True
        self._holds, self._used = {}, {}
        try:
            await self._store.note(notes)
        except Fault as fault:
            self._holds = {**notes.holds, **self._holds}
            self._used = {**notes.used, **self._used}
            self._complain(fault)
            return False
        if self.behind:
            self.behind = False
            self._log.info("the state can be written again")
        return True

    def _complain(self, fault: Fault) -> None:
        self.failures += 1
        self.behind = True
        now = trio.current_time()
        if now - self._complained >= COMPLAIN_EVERY:
            self._complained = now
            self._log.warning("the state can't be written; service goes on", code=fault.code, reason=fault.message)
