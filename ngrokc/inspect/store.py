"""What is remembered: exchanges and tcp connections by id, in order, within budgets, and who wants to know of changes.

Everything happens in one thread and nothing waits. What does not fit makes the oldest go: within the tunnel that is over its
share first, then the oldest of all.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ngrokc.inspect.body import Vault
from ngrokc.inspect.model import Connection, Exchange

Entry = Exchange | Connection
CONNECTION_WEIGHT = 1024


@dataclass(slots=True)
class Counts:
    """What was lost, and why nobody sees everything."""

    captured: int = 0
    missed: int = 0
    """Exchanges that passed while parsing was over its share of the processor."""
    cut: int = 0
    """Connections whose capture ended early."""
    forgotten: int = 0
    """Exchanges that made room for newer ones."""


class Feed:
    """One reader's view of what changed since it last looked: ids, each once, at most `cap`; beyond that it counts."""

    def __init__(self, wake: Callable[[], None], cap: int) -> None:
        self._wake = wake
        self._cap = cap
        self._ids: dict[str, None] = {}
        self.gone: list[str] = []
        self.cleared = False
        self.dropped = 0

    def put(self, id_: str) -> None:
        if id_ in self._ids:
            return
        if len(self._ids) >= self._cap:
            self._ids.pop(next(iter(self._ids)))
            self.dropped += 1
        self._ids[id_] = None
        self._wake()

    def clear(self) -> None:
        self._ids.clear()
        self.cleared = True
        self._wake()

    def take(self) -> list[str]:
        """The changed ids, oldest change first; they are forgotten here."""
        ids = list(self._ids)
        self._ids.clear()
        return ids


class _Share:
    """What one tunnel holds."""

    __slots__ = ("ids", "weight")

    def __init__(self) -> None:
        self.ids: OrderedDict[str, None] = OrderedDict()
        self.weight = 0


class Store:
    """See the module's docstring. `clock` gives seconds since the epoch."""

    def __init__(self, vault: Vault, clock: Callable[[], float]) -> None:
        self.vault = vault
        self.limits = vault.limits
        self.clock = clock
        self.counts = Counts()
        self.weight = 0
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._weights: dict[str, int] = {}
        self._shares: dict[str, _Share] = {}
        self._feeds: set[Feed] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Store {len(self._entries)} entries, {self.weight} bytes, {self.counts.missed} missed>"

    def new_id(self) -> str:
        """Ids can't be guessed: one names what may be replayed."""
        return secrets.token_hex(8)

    def get(self, id_: str) -> Entry | None:
        return self._entries.get(id_)

    def exchange(self, id_: str) -> Exchange | None:
        entry = self._entries.get(id_)
        return entry if isinstance(entry, Exchange) else None

    def newest(self) -> Iterator[Entry]:
        """All entries, the newest first. The store must not change meanwhile."""
        return reversed(self._entries.values())

    def add(self, entry: Entry) -> None:
        share = self._shares.setdefault(entry.origin.tunnel, _Share())
        self._entries[entry.id] = entry
        share.ids[entry.id] = None
        self._weights[entry.id] = 0
        self.counts.captured += 1
        self.changed(entry)

    def changed(self, entry: Entry) -> None:
        """Weigh it anew, make room if needed, tell the feeds."""
        entry.version += 1
        held = self._weights.get(entry.id)
        if held is None:
            if isinstance(entry, Exchange):
                entry.release()  # forgotten meanwhile, though its connection goes on: what came since goes too
            return
        weight = entry.weight if isinstance(entry, Exchange) else CONNECTION_WEIGHT
        share = self._shares[entry.origin.tunnel]
        share.weight += weight - held
        self.weight += weight - held
        self._weights[entry.id] = weight
        self._make_room(share)
        for feed in self._feeds:
            feed.put(entry.id)

    def clear(self) -> None:
        """Forget everything that is over, and what is not yet as well: what still runs is shown no more."""
        for id_ in list(self._entries):
            self._forget(id_)
        for feed in self._feeds:
            feed.clear()

    def expire(self) -> None:
        """Forget what ended longer ago than `Limits.age`."""
        edge = self.clock() - self.limits.age
        old = [entry.id for entry in self._entries.values() if entry.ended_at is not None and entry.ended_at < edge]
        for id_ in old:
            self._forget(id_)

    @contextmanager
    def feed(self, wake: Callable[[], None], cap: int = 1000) -> Iterator[Feed]:
        """Changes from now until the block is left; `wake` is called at each and must not wait."""
        feed = Feed(wake, cap)
        self._feeds.add(feed)
        try:
            yield feed
        finally:
            self._feeds.discard(feed)

    def _make_room(self, share: _Share) -> None:
        limits = self.limits
        while len(share.ids) > limits.tunnel_exchanges or share.weight > limits.tunnel_memory:
            if not self._forget_oldest(share.ids):
                break
        while len(self._entries) > limits.exchanges or self.weight > limits.memory:
            if not self._forget_oldest(self._entries):
                break

    def _forget_oldest(self, ids: OrderedDict[str, None] | OrderedDict[str, Entry]) -> bool:
        """The oldest that is over among the first few; else simply the oldest. Never the last one left."""
        if len(ids) < 2:
            return False
        for position, id_ in enumerate(ids):
            if self._entries[id_].ended_at is not None:
                break
            if position >= 64:
                id_ = next(iter(ids))
                break
        else:
            id_ = next(iter(ids))
        self._forget(id_)
        self.counts.forgotten += 1
        return True

    def _forget(self, id_: str) -> None:
        entry = self._entries.pop(id_)
        share = self._shares[entry.origin.tunnel]
        del share.ids[id_]
        weight = self._weights.pop(id_)
        share.weight -= weight
        self.weight -= weight
        if not share.ids:
            del self._shares[entry.origin.tunnel]
        if isinstance(entry, Exchange):
            entry.release()
        for feed in self._feeds:
            if len(feed.gone) < 10_000:
                feed.gone.append(id_)
