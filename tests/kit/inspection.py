"""A small inspector for tests: a store with tiny or default limits, taps to feed, and the exchanges that came out."""

from __future__ import annotations

import time
from pathlib import Path

from ngrokc.inspect.body import Vault
from ngrokc.inspect.conversation import Conversation
from ngrokc.inspect.intake import Intake
from ngrokc.inspect.model import Exchange, Origin
from ngrokc.inspect.settings import Limits
from ngrokc.inspect.spool import Spool
from ngrokc.inspect.store import Store
from ngrokc.inspect.tap import HttpTap

ORIGIN = Origin("test", "http://test.example.me", "http", "conn-1", "203.0.113.7:5555")


class Bench:
    """Everything between tap and store. Call `close` at the end when bodies may have been spooled."""

    def __init__(self, limits: Limits | None = None, parent: Path | None = None) -> None:
        self.limits = limits or Limits()
        self.spool = Spool(parent, disk=self.limits.disk, queue=self.limits.spool_queue)
        self.store = Store(Vault(self.limits, self.spool), time.time)
        self.intake = Intake(self.store, self.limits)
        self.done: list[Exchange] = []

    def talk(self, origin: Origin = ORIGIN) -> Conversation:
        return Conversation(self.store, origin, self.done.append)

    def tap(self, origin: Origin = ORIGIN) -> HttpTap:
        return HttpTap(self.intake, self.talk(origin))

    def exchanges(self) -> list[Exchange]:
        """All that the store holds, oldest first."""
        self.intake.drain()
        return [entry for entry in reversed(list(self.store.newest())) if isinstance(entry, Exchange)]

    def close(self) -> None:
        self.spool.close()
