from __future__ import annotations

import trio

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
