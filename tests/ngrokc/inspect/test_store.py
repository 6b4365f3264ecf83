from __future__ import annotations

from dataclasses import replace

from ngrokc.inspect.settings import Limits
from tests.kit.inspection import ORIGIN, Bench


def visit(bench: Bench, count: int, tunnel: str = "test", *, body: bytes = b"", answered: bool = True) -> None:
    talk = bench.talk(replace(ORIGIN, tunnel=tunnel))
    for number in range(count):
        talk.feed(True, number, b"POST /%d HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (number, len(body)) + body)
        if answered:
            talk.feed(False, number, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_the_oldest_make_room_within_their_tunnel_first() -> None:
    bench = Bench(Limits(exchanges=15, tunnel_exchanges=10))
    visit(bench, 5, "quiet")
    visit(bench, 100, "busy")
    names = [exchange.origin.tunnel for exchange in bench.exchanges()]
    assert (names.count("quiet"), names.count("busy")) == (5, 10)
    assert bench.store.counts.forgotten == 90


def test_memory_is_bounded_and_given_back() -> None:
    bench = Bench(Limits(memory=200_000, tunnel_memory=150_000))
    visit(bench, 200, body=b"x" * 5000)
    assert bench.store.weight <= 150_000
    assert bench.store.vault.memory <= 150_000
    bench.store.clear()
    assert (bench.store.weight, bench.store.vault.memory, len(bench.store)) == (0, 0, 0)


def test_pending_ones_stay_longer() -> None:
    bench = Bench(Limits(exchanges=5))
    visit(bench, 1, answered=False)
    visit(bench, 20)
    assert [exchange.state for exchange in bench.exchanges()].count("pending") == 1


def test_forgotten_while_it_runs() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"GET / HTTP/1.1\r\n\r\n")
    bench.store.clear()
    talk.feed(False, 2, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    assert len(bench.store) == 0
    assert bench.store.vault.memory == 0


def test_age() -> None:
    bench = Bench(Limits(age=10))
    visit(bench, 3)
    bench.store.expire()
    assert len(bench.store) == 0


def test_feeds_are_bounded_and_tell_each_change_once() -> None:
    bench = Bench()
    woken: list[None] = []
    with bench.store.feed(lambda: woken.append(None), cap=3) as feed:
        visit(bench, 5)
        assert len(feed.take()) == 3
        assert feed.dropped == 2
        assert feed.take() == []
        bench.store.clear()
        assert feed.cleared
        assert len(feed.gone) == 5
    before = len(woken)
    visit(bench, 1)
    assert len(woken) == before
