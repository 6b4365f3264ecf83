"""Stdout: a reader that leaves is noticed without a write; files and terminals have none."""

from __future__ import annotations

import os
from pathlib import Path

import trio
import trio.testing

from ngrokc.stdout import forget, reader_left


async def test_a_reader_that_leaves_is_noticed() -> None:
    reading, writing = os.pipe()
    over = trio.Event()

    async def wait() -> None:
        await reader_left(writing)
        over.set()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            os.write(writing, b"a line\n")
            await trio.testing.wait_all_tasks_blocked()
            assert not over.is_set()
            os.close(reading)
            with trio.fail_after(10):
                await over.wait()
    finally:
        os.close(writing)


async def test_a_file_has_no_reader(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    with (tmp_path / "out").open("w") as file, trio.move_on_after(3600) as scope:
        await reader_left(file.fileno())
    assert scope.cancelled_caught


def test_what_is_forgotten_takes_everything() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    forget(writing)
    assert os.write(writing, b"a line\n") == 7
    os.close(writing)
