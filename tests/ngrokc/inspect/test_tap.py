from __future__ import annotations

import time

from ngrokc.inspect.model import Connection
from ngrokc.inspect.settings import Limits
from ngrokc.inspect.tap import CountingTap
from tests.kit.inspection import ORIGIN, Bench

GET = memoryview(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
OK = memoryview(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_copies_are_its_own() -> None:
    bench = Bench()
    tap = bench.tap()
    borrowed = bytearray(GET)
    tap.up(memoryview(borrowed))
    borrowed[:] = b"x" * len(borrowed)
    tap.down(OK)
    tap.closed(None)
    (exchange,) = bench.exchanges()
    assert (exchange.method, exchange.status, exchange.state) == ("GET", 200, "done")
    assert bench.intake.room == bench.limits.queue


def test_while_full_new_exchanges_pass_unseen_and_are_counted() -> None:
    bench = Bench()
    tap = bench.tap()
    tap.up(GET)
    bench.intake.lane("test").full = True
    tap.down(OK)  # under way: seen to its end
    for _ in range(5):
        tap.up(GET)
        tap.down(OK)
    assert [e.state for e in bench.exchanges()] == ["done"]
    assert bench.store.counts.missed == 5
    bench.intake.lane("test").full = False
    tap.up(memoryview(b"no beginning"))
    tap.down(OK)
    tap.up(GET)
    tap.down(OK)
    assert [e.state for e in bench.exchanges()] == ["done", "done"]


def test_a_connection_of_a_flood_leaves_nothing_to_do() -> None:
    bench = Bench()
    bench.intake.lane("test").full = True
    tap = bench.tap()
    tap.up(GET)
    tap.down(OK)
    tap.up_ended()
    tap.down_ended()
    tap.closed(None)
    assert (tap.talk, bench.intake.lane("test").taps, bench.store.counts.missed) == (None, 0, 1)
    assert "0 ready" in repr(bench.intake)


def test_a_download_beyond_the_cap_is_counted_not_copied() -> None:
    bench = Bench(Limits(body_memory=1000, body_total=1000))
    tap = bench.tap()
    tap.up(GET)
    size, block = 50_000_000, memoryview(bytes(100_000))
    tap.down(memoryview(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size))
    tap.down(block)
    bench.intake.drain()
    before = bench.intake.room
    for _ in range(size // len(block) - 1):
        tap.down(block)
        assert bench.intake.room == before
    tap.up(GET)
    tap.down(OK)
    first, second = bench.exchanges()
    assert first.answer is not None
    assert (first.state, first.answer.body.size, first.answer.body.kept) == ("done", size, 1000)
    assert second.state == "done"


def test_the_queue_of_a_connection_is_bounded() -> None:
    bench = Bench(Limits(connection_queue=10_000))
    tap = bench.tap()
    tap.up(GET)
    tap.down(memoryview(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"))
    for _ in range(100):
        tap.down(memoryview(bytes(1000)))
    assert bench.limits.queue - bench.intake.room <= 10_000
    (exchange,) = bench.exchanges()
    assert exchange.answer is not None
    assert (exchange.state, exchange.answer.body.size) == ("done", 100_000)
    assert exchange.answer.body.cut


def test_an_unreadable_connection_is_left_alone() -> None:
    bench = Bench()
    tap = bench.tap()
    tap.up(memoryview(b"nonsense\r\n\r\n"))
    bench.intake.drain()
    tap.down(OK)
    tap.up(GET)
    tap.down(OK)
    assert bench.exchanges() == []
    assert bench.intake.room == bench.limits.queue


def test_a_counting_tap() -> None:
    bench = Bench()
    connection = Connection("1", ORIGIN, time.time())
    bench.store.add(connection)
    tap = CountingTap(bench.store, connection)
    tap.up(GET)
    tap.down(OK)
    tap.up_ended()
    tap.down_ended()
    tap.closed("reset")
    assert (connection.up, connection.down, connection.failure) == (len(GET), len(OK), "reset")
    assert connection.ended_at is not None


def test_a_gap_that_grows_queues_its_tap_once() -> None:
    """A bulk download would else put its tap into the worker's queue with every chunk."""
    bench = Bench(Limits(body_memory=1000, body_total=1000))
    tap = bench.tap()
    block = memoryview(bytes(10_000))
    tap.up(GET)
    tap.down(memoryview(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n"))
    tap.down(block)
    bench.intake.drain()
    for _ in range(100):
        tap.down(block)
    assert "1 ready" in repr(bench.intake)
    assert bench.exchanges()[0].answer is not None
    assert "0 ready" in repr(bench.intake)


def test_while_full_an_exchange_under_way_is_seen_to_its_end() -> None:
    """Its visitor may speak again after the upstream did: a body that was waited with, one after an early answer."""
    bench = Bench()
    tap = bench.tap()
    tap.up(memoryview(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n"))
    bench.intake.lane("test").full = True
    tap.down(memoryview(b"HTTP/1.1 100 Continue\r\n\r\n"))
    tap.up(memoryview(b"body"))
    tap.down(OK)
    tap.up(memoryview(b"rest"))
    tap.up_ended()
    tap.down_ended()
    tap.closed(None)
    (exchange,) = bench.exchanges()
    assert (exchange.state, exchange.request.body.read(), exchange.request.whole) == ("done", b"bodyrest", True)
    assert bench.store.counts.missed == 0
