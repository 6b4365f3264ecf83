"""Hot restart between two tasks: sockets and names arrive, a successor that fails changes nothing."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
import trio

from ngrokd import handover
from ngrokd.handover import BATCH, SOCKET, Estate, inherit, serve_handover
from protocol.errors import Fault


def listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


class Predecessor:
    """A server that can be replaced."""

    def __init__(self, path: Path, count: int = 3) -> None:
        self.path = path
        self.sockets = [listening() for _ in range(count)]
        self.released = 0

    def estate(self) -> Estate:
        names = [("http", f"n{number}.example") for number in range(3)]
        return Estate({"http": self.sockets[:1], "tcp": self.sockets[1:]}, names)

    async def release(self) -> None:
        self.released += 1

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await serve_handover(self.path / SOCKET, self.estate, self.release, task_status=task_status)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


@pytest.mark.parametrize("count", [1, 3, 2 * BATCH + 5])
async def test_everything_arrives(tmp_path: Path, count: int) -> None:
    old = Predecessor(tmp_path, count)
    async with trio.open_nursery() as nursery:
        await nursery.start(old.run)
        with trio.fail_after(10):
            found = await inherit(tmp_path)
            assert found is not None
            assert old.released == 0
            estate = found.estate
            assert estate.names == [("http", f"n{number}.example") for number in range(3)]
            got = [*estate.sockets["http"], *estate.sockets.get("tcp", [])]
            assert [sock.getsockname() for sock in got] == [sock.getsockname() for sock in old.sockets]
            assert not any(os.get_inheritable(sock.fileno()) or sock.getblocking() for sock in got)
            await found.claim()
            assert old.released == 1
            old.close()
            client = socket.create_connection(got[0].getsockname())
            peer, _ = got[0].accept()
            peer.close()
            client.close()
            await found.aclose()
    assert not (tmp_path / SOCKET).exists()


async def test_a_successor_that_goes_leaves_all_as_it_was(tmp_path: Path) -> None:
    old = Predecessor(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(old.run)
        with trio.fail_after(10):
            for _ in range(3):
                found = await inherit(tmp_path)
                assert found is not None
                await found.aclose()
            async with await trio.open_unix_socket(str(tmp_path / SOCKET)) as stream:
                await stream.send_all(b"\xff\xff\xff\xff nonsense")
                with contextlib.suppress(trio.BrokenResourceError):  # a reset will do
                    assert await stream.receive_some() == b""
            assert old.released == 0
            assert all(sock.fileno() >= 0 for sock in old.sockets)
            last = await inherit(tmp_path)
            assert last is not None
            await last.claim()
            await last.aclose()
    assert old.released == 1
    old.close()


async def test_nobody_to_replace(tmp_path: Path) -> None:
    assert await inherit(tmp_path) is None
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / SOCKET))
    sock.close()
    assert await inherit(tmp_path) is None  # left over from one that was killed


async def test_a_predecessor_that_dies_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "ANSWER", 0.2)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / SOCKET))
        sock.listen()
        with pytest.raises(Fault) as caught:
            await inherit(tmp_path)
    assert caught.value.code == "no_handover"
