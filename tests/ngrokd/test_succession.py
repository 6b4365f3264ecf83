"""A server that is replaced: its books are closed before the successor may open them, everything else goes on."""

from __future__ import annotations

from pathlib import Path

import structlog
import trio
from structlog.testing import capture_logs

from ngrokd.handover import Estate, inherit
from ngrokd.keeping import open_keeping
from ngrokd.state import StateDirectory
from ngrokd.store.memory import MemoryStore
from ngrokd.succession import Succession


async def test_books_first_then_the_end(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    keeping = await open_keeping(state, structlog.get_logger(), MemoryStore())
    seen: list[str] = []
    stopped = trio.Event()

    async def books() -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append("books closed")

    async def start(nursery: trio.Nursery) -> None:
        nursery.start_soon(books)

    succession = Succession(state, structlog.get_logger())
    async with trio.open_nursery() as nursery:
        await nursery.start(succession.keep, start)
        estate = Estate(names=[("http", "a.localhost")])
        await nursery.start(succession.wait, lambda: estate, keeping, stopped.set)
        for fails in (True, False):
            assert not succession.replaced
            heir = await inherit(tmp_path)
            assert heir is not None
            if fails:
                await heir.aclose()
                continue
            await heir.claim()
            assert seen == ["books closed"]
            await heir.aclose()
        with trio.fail_after(5):
            await stopped.wait()
    assert succession.replaced


async def test_a_place_without_sockets_is_a_warning(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / ("x" * 120))  # longer than an address of a socket may be
    keeping = await open_keeping(state, structlog.get_logger(), MemoryStore())
    with capture_logs() as lines:
        await Succession(state, structlog.get_logger()).wait(Estate, keeping, lambda: None)
    assert [line["event"] for line in lines] == ["no hot restart here"]
