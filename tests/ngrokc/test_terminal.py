from __future__ import annotations

import os
import pty
import termios
import tty

import pytest
import trio

from ngrokc.terminal import LEAVE, AsyncKeys, Terminal, usable


def read(descriptor: int, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        data += os.read(descriptor, 65536)
    return data


def test_only_changed_lines_are_written() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave, termios.TCSANOW)
    terminal = Terminal(slave, slave)
    terminal.show(["one", "two", "three"])
    assert b"two" in read(master, b"three")
    terminal.show(["one", "2", "three"])
    written = read(master, b"\x1b[2;1H2\x1b[0m\x1b[K")
    assert b"one" not in written
    terminal.show(["one"])
    assert b"\x1b[2;1H\x1b[J" in read(master, b"\x1b[J")
    terminal.close()
    assert read(master, LEAVE.encode()).endswith(LEAVE.encode())
    os.close(slave)
    os.close(master)


async def test_keys_without_escape_sequences() -> None:
    ours, theirs = os.pipe()
    keys = AsyncKeys(ours)
    os.write(theirs, b"oQ")
    assert [await anext(keys), await anext(keys)] == ["o", "Q"]
    async with trio.open_nursery() as nursery:

        async def arrow_then_key() -> None:
            os.write(theirs, b"\x1b[A")
            await trio.testing.wait_all_tasks_blocked()
            os.write(theirs, b"q")

        nursery.start_soon(arrow_then_key)
        assert await anext(keys) == "q"
    os.close(theirs)
    with pytest.raises(StopAsyncIteration):
        await anext(keys)
    os.close(ours)


def test_pytest_captures_so_there_is_no_screen() -> None:
    assert not usable()


def test_a_pipe_has_a_default_size() -> None:
    ours, theirs = os.pipe()
    terminal = Terminal(ours, theirs)
    assert terminal.size() == (80, 24)
    terminal.close()
    os.close(ours)
    os.close(theirs)
