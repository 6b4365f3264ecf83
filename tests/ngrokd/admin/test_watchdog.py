"""The watchdog sees a loop that stands still, says what it was doing, and when it goes on."""

from __future__ import annotations

import time

import structlog
import trio
from structlog.testing import capture_logs

from ngrokd.admin import watchdog
from ngrokd.admin.meters import Meters
from ngrokd.admin.watchdog import Watchdog


def stand_still(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_stall_is_written_down_with_its_stack() -> None:
    meters = Meters(lambda: 0.0)
    alive: list[int] = []
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Watchdog(meters, structlog.get_logger(), stall=0.1, alive=lambda: alive.append(1)).run)
            await trio.sleep(0.3)
            stand_still(0.9)
            with trio.fail_after(5):
                while len(lines) < 2:
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
    assert meters.stalls == 1
    assert "stand_still" in lines[0]["exception"]
    assert lines[0]["exception"].startswith("thread MainThread")
    assert lines[1]["event"] == "the loop is served again"
    assert alive
    assert len(meters.lag) >= 1


def test_stacks_name_their_threads() -> None:
    assert "test_stacks_name_their_threads" in watchdog.stacks(0)
