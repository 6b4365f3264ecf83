from __future__ import annotations

import threading

import trio

from ngrokc.inspect.backroom import Backroom, at_once


async def test_in_order_in_another_thread_and_the_end_in_ours() -> None:
    room, here = Backroom(), threading.get_ident()
    seen: list[tuple[str, bool]] = []

    def job(name: str) -> None:
        room.offload(
            lambda: seen.append((f"work {name}", threading.get_ident() == here)),
            lambda: seen.append((f"then {name}", threading.get_ident() == here)),
        )

    job("a")
    job("b")
    assert repr(room) == "<Backroom 2 waiting>"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(room.run)
        with trio.fail_after(10):
            while len(seen) < 4:
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert seen == [("work a", False), ("then a", True), ("work b", False), ("then b", True)]


def test_at_once() -> None:
    seen: list[int] = []
    at_once(lambda: seen.append(1), lambda: seen.append(2))
    assert seen == [1, 2]
