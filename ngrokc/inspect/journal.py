"""The agent's life, as the status view shows it: states with reasons, latencies, metrics of each tunnel.

Fed with events, except those that come with every visitor: taps tell of these, because building and carrying an event costs
20 us. Keeps the last of each, never all. Connections that failed before a tap saw a byte become entries of the store, so
that "upstream refused" is in the list too.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from ngrokc.events import (
    ConnectionClosed,
    Event,
    Latency,
    Notice,
    SessionStarted,
    StateChanged,
    TunnelClosed,
    TunnelOnline,
    TunnelRefused,
)
from ngrokc.inspect.metrics import TunnelMeters
from ngrokc.inspect.model import Connection, Exchange, Origin
from ngrokc.inspect.store import Store

HISTORY: Final = 100
LATENCIES: Final = 120
TUNNELS: Final = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history."""

    at: float
    what: str
    text: str


class Journal:
    """See the module's docstring."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.history: deque[Entry] = deque(maxlen=HISTORY)
        self.latencies: deque[tuple[float, float]] = deque(maxlen=LATENCIES)
        self.server_version = ""
        self.reconnects = 0
        self.started = time.time()
        self._meters: dict[str, TunnelMeters] = {}
        self._sessions = 0

    def meters(self, tunnel: str) -> TunnelMeters:
        found = self._meters.get(tunnel)
        if found is None:
            if len(self._meters) >= TUNNELS:
                del self._meters[next(iter(self._meters))]
            found = self._meters[tunnel] = TunnelMeters(time.monotonic())
        return found

    def opened(self, tunnel: str) -> None:
        """A tap is made: a visitor is connected, and what becomes of him shows there."""
        self.meters(tunnel).gauge += 1

    def closed(self, tunnel: str, since: float) -> None:
        """That visitor's connection is over; it was opened at `since` (of the monotonic clock)."""
        meters, now = self.meters(tunnel), time.monotonic()
        meters.gauge = max(0, meters.gauge - 1)
        meters.connections.mark(now, now - since)

    def exchange_done(self, exchange: Exchange) -> None:
        if exchange.state == "done" and exchange.kind == "http" and exchange.ended_at is not None:
            seconds = exchange.ended_at - exchange.started_at
            self.meters(exchange.origin.tunnel).exchanges.mark(time.monotonic(), seconds)

    def note(self, event: Event) -> None:
        """Take one event in."""
        match event:
            case ConnectionClosed() if event.failure is not None and not event.relayed:
                self._failed(event)
            case Latency(seconds=seconds):
                self.latencies.append((time.time(), seconds))
            case StateChanged(state=state, reason=reason):
                self._add(state, reason)
            case SessionStarted(server_version=version, server=server):
                self.server_version = version
                self._sessions += 1
                self.reconnects = self._sessions - 1
                self._add("session", f"logged in at {server}, server {version}")
            case TunnelOnline(url=url, upstream=upstream):
                self._add("tunnel", f"{url} -> {upstream}")
            case TunnelRefused(name=name, message=message):
                self._add("refused", f"{name}: {message}")
            case TunnelClosed(url=url, message=message):
                self._add("closed", f"{url}: {message}")
            case Notice(level=level, message=message) if level != "debug":
                self._add(level, message)

    def _add(self, what: str, text: str) -> None:
        self.history.append(Entry(time.time(), what, text))

    def _failed(self, event: ConnectionClosed) -> None:
        """A visitor whom no upstream took; no tap saw him."""
        self.meters(event.tunnel).connections.mark(time.monotonic(), event.seconds)
        protocol = event.url.partition("://")[0]
        origin = Origin(event.tunnel, event.url, protocol, event.conn_id, event.client_addr)
        now = time.time()
        entry = Connection(self.store.new_id(), origin, now - event.seconds)
        entry.up, entry.down, entry.failure, entry.ended_at = event.up, event.down, event.failure or "", now
        self.store.add(entry)
