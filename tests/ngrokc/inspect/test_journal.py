from __future__ import annotations

import time

from ngrokc.events import (
    ConnectionClosed,
    Latency,
    Notice,
    SessionStarted,
    StateChanged,
    TunnelRefused,
)
from ngrokc.inspect.journal import HISTORY, Journal
from ngrokc.inspect.model import Connection
from tests.kit.inspection import Bench


def test_connections_count_and_failures_without_a_tap_are_shown() -> None:
    bench = Bench()
    journal = Journal(bench.store)
    for _ in range(3):
        journal.opened("test")
    assert journal.meters("test").gauge == 3
    for _ in range(3):
        journal.closed("test", time.monotonic() - 0.5)
    url, visitor = "http://test.example.me", "1.2.3.4:5"
    journal.note(ConnectionClosed("test", "a", 1, 2, 0.5, "upstream: reset", url, visitor, relayed=True))  # has a tap
    journal.note(ConnectionClosed("test", "c", 0, 9, 0.5, "upstream_refused: no", url, visitor, relayed=False))
    (entry,) = bench.store.newest()
    assert isinstance(entry, Connection)
    assert (entry.failure, entry.down, entry.origin.client_addr) == ("upstream_refused: no", 9, visitor)
    assert (entry.origin.url, entry.origin.protocol) == (url, "http")
    assert (journal.meters("test").gauge, journal.meters("test").connections.count) == (0, 4)


def test_history_latency_and_reconnects() -> None:
    journal = Journal(Bench().store)
    for _ in range(3):
        journal.note(StateChanged("connecting"))
        journal.note(SessionStarted("1.7", "s", "c", (), "example.me:4443"))
    journal.note(Latency(0.1))
    journal.note(TunnelRefused("x", "http", "taken", "the name is taken", True))
    journal.note(Notice("debug", "unheard"))
    assert (journal.reconnects, journal.server_version) == (2, "1.7")
    assert journal.history[-1].text == "x: the name is taken"
    assert [seconds for _, seconds in journal.latencies] == [0.1]
    for _ in range(500):
        journal.note(Notice("info", "x"))
    assert len(journal.history) == HISTORY
