from __future__ import annotations

import trio

from ngrokc.inspect.model import Origin
from ngrokc.inspect.settings import Limits
from tests.kit.inspection import Bench

GET = memoryview(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
OK = memoryview(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_the_worker_parses_and_rests() -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.intake.run)
        for _ in range(3):
            tap = bench.tap()
            tap.up(GET)
            tap.down(OK)
            with trio.fail_after(10):
                while not bench.done:
                    await trio.lowlevel.checkpoint()
            bench.done.clear()
        assert bench.intake.room == bench.limits.queue
        nursery.cancel_scope.cancel()


async def test_a_burst_of_what_is_remembered_is_seen_whole() -> None:
    bench = Bench()
    taps = [bench.tap() for _ in range(50)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.intake.run)
        for _ in range(bench.limits.tunnel_exchanges // len(taps)):
            for tap in taps:
                tap.up(GET)
                tap.down(OK)
        with trio.fail_after(20):
            while len(bench.done) < bench.limits.tunnel_exchanges:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert bench.store.counts.missed == 0


async def test_after_a_flood_everything_is_seen_again() -> None:
    bench = Bench(Limits(tunnel_exchanges=10))
    tap = bench.tap()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.intake.run)
        for _ in range(1000):
            tap.up(GET)
            tap.down(OK)
        missed = bench.store.counts.missed
        with trio.fail_after(20):
            while bench.intake.lane("test").full:
                await trio.sleep(0.01)
        tap.up(GET)
        tap.down(OK)
        with trio.fail_after(20):
            while len(bench.done) < 11:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert bench.store.counts.missed == missed == 990


async def test_a_flood_on_one_tunnel_does_not_blind_another() -> None:
    bench = Bench(Limits(tunnel_exchanges=20))
    flood = bench.tap(Origin("flood", "http://f.example.me", "http", "1", "192.0.2.1:1"))
    quiet = bench.tap(Origin("quiet", "http://q.example.me", "http", "2", "192.0.2.1:2"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.intake.run)
        for _ in range(50):
            for _ in range(500):
                flood.up(GET)
                flood.down(OK)
            quiet.up(GET)
            quiet.down(OK)
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    bench.intake.drain()
    assert bench.store.counts.missed > 10_000
    assert sum(exchange.origin.tunnel == "quiet" for exchange in bench.done) == 50


async def test_a_lane_goes_with_its_last_tap() -> None:
    bench = Bench()
    tap = bench.tap()
    lane = bench.intake.lane("test")
    tap.up(GET)
    tap.down(OK)
    tap.closed(None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.intake.run)
        with trio.fail_after(20):
            while not bench.done:
                await trio.sleep(0.01)
        await trio.sleep(0.05)
        other = bench.tap(Origin("other", "http://o.example.me", "http", "2", "192.0.2.1:2"))
        other.up(GET)  # the worker tidies up when it is awake
        with trio.fail_after(20):
            while bench.intake.lane("test") is lane:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert lane.taps == 0


async def test_a_flood_is_seen_in_part_within_its_share() -> None:
    bench = Bench(Limits(cpu_share=0.05))
    taps = [bench.tap() for _ in range(50)]
    sent = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.intake.run)
        end = trio.current_time() + 1.0
        while trio.current_time() < end:
            for tap in taps:
                tap.up(GET)
                tap.down(OK)
                sent += 1
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    bench.intake.drain()
    counts = bench.store.counts
    assert counts.missed > 0
    assert counts.captured + counts.missed == sent
    assert all(exchange.state == "done" for exchange in bench.exchanges())
    assert bench.intake.room == bench.limits.queue
