"""The local socket: answers, faults, bad callers, and a socket that was left over."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from ngrokd import local
from ngrokd.local import REQUEST_CAP, SOCKET, ask, serve_local
from protocol.errors import Fault


async def handler(word: str, given: Mapping[str, Any]) -> Any:
    if word == "fail":
        raise Fault("no_such_token", "there is no such token", hint="look again")
    return {"word": word, **given}


@contextlib.asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_local, path, handler)
        with trio.fail_after(10):
            yield
        nursery.cancel_scope.cancel()


async def test_a_question_and_its_answer(tmp_path: Path) -> None:
    path = tmp_path / SOCKET
    async with serving(path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert await ask(path, "token_list", {"a": [1, "é"]}) == {"word": "token_list", "a": [1, "é"]}
        with pytest.raises(Fault) as caught:
            await ask(path, "fail", {})
        assert (caught.value.code, caught.value.hint) == ("no_such_token", "look again")
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        await ask(path, "x", {})


async def test_many_callers(tmp_path: Path) -> None:
    path = tmp_path / SOCKET
    async with serving(path), trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask, path, "x", {})


async def test_what_a_killed_server_left_is_no_server(tmp_path: Path) -> None:
    path = tmp_path / SOCKET
    with trio.socket.socket(trio.socket.AF_UNIX) as dead:
        await dead.bind(str(path))
    with pytest.raises(ConnectionRefusedError):
        await ask(path, "x", {})
    async with serving(path):
        assert await ask(path, "x", {}) == {"word": "x"}


async def test_a_directory_with_a_long_name(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with serving(deep / SOCKET):
        assert await ask(deep / SOCKET, "x", {}) == {"word": "x"}


@pytest.mark.parametrize(
    "line", [b"hello\n", b"[]\n", b'{"do": 1}\n', b'{"do": "x", "with": []}\n', b"[" * 5000 + b"\n", b"\xff\n", b"1\n"]
)
async def test_nonsense_is_told_so(tmp_path: Path, line: bytes) -> None:
    async with serving(tmp_path / SOCKET):
        async with await trio.open_unix_socket(str(tmp_path / SOCKET)) as stream:
            await stream.send_all(line)
            assert json.loads(await stream.receive_some())["code"] == "bad_argument"
        assert await ask(tmp_path / SOCKET, "x", {}) == {"word": "x"}


async def test_too_long_a_line_and_callers_that_leave(tmp_path: Path) -> None:
    async with serving(tmp_path / SOCKET):
        async with await trio.open_unix_socket(str(tmp_path / SOCKET)) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(b"x" * (REQUEST_CAP * 3))
                assert await stream.receive_some() == b""
        for sent in (b"", b'{"do"', b'{"do": "x"}\n'):
            async with await trio.open_unix_socket(str(tmp_path / SOCKET)) as stream:
                await stream.send_all(sent) if sent else None
        assert await ask(tmp_path / SOCKET, "x", {}) == {"word": "x"}


async def test_a_server_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "DEADLINE", -0.9)
    with trio.socket.socket(trio.socket.AF_UNIX) as mute:
        await mute.bind(str(tmp_path / SOCKET))
        mute.listen()
        with pytest.raises(Fault) as caught:
            await ask(tmp_path / SOCKET, "x", {})
    assert caught.value.code == "no_answer"


async def test_callers_wait_while_there_is_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "ACCEPT_AGAIN", 0.01)
    with trio.socket.socket() as any_socket:
        kind = type(any_socket)
    accept, calls = kind.accept, 0

    async def fail(sock: trio.socket.SocketType) -> tuple[trio.socket.SocketType, object]:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise OSError(errno.EMFILE, "too many open files")
        return await accept(sock)

    monkeypatch.setattr(kind, "accept", fail)
    path = tmp_path / SOCKET
    async with serving(path):
        assert await ask(path, "x", {}) == {"word": "x"}
