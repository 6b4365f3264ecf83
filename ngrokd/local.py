"""The socket in the state directory by which commands reach a running server: one JSON line there, one back.

Whoever can open it owns the server's state anyway: the directory is 0700, the socket 0600. Requests are
`{"do": word, "with": {...}}`, answers `{"ok": ...}` or `{"code", "message", "hint"}`. Knows no command.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from protocol.errors import Blame, Fault

SOCKET: Final = "control.sock"
LINE_CAP: Final = 4 << 20  # a list of ten thousand tokens; requests are far smaller
REQUEST_CAP: Final = 64 << 10
DEADLINE: Final = 30.0  # seconds for one request; a backup of a large state takes some
CALLERS: Final = 16  # at the same time; more wait
BACKLOG: Final = 1024  # a unix socket refuses at once when it is full, instead of waiting as tcp does
ACCEPT_AGAIN: Final = 0.5  # seconds, where no caller can be taken in
LONGEST_PATH: Final = 100  # bytes; the kernel takes 108 (unix(7))

Handler = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


@asynccontextmanager
async def _reachable(path: Path) -> AsyncIterator[str]:
    """A name for `path` that is short enough for the kernel."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


async def serve_local(
    path: Path, handler: Handler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer at `path` until cancelled; then it is gone. The caller holds the lock of the directory, so what lies there is
    left over from a server that was killed. `handler` gets the word and its arguments; its Faults go back as they are."""
    _remove(path)
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        async with _reachable(path) as name:
            await sock.bind(name)
        _close_to_others(path)
        sock.listen(BACKLOG)
        room = trio.Semaphore(CALLERS)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    await room.acquire()
                    caller = await next_caller(sock)
                    nursery.start_soon(_serve, trio.SocketStream(caller), handler, room)
        finally:
            _remove(path)


async def next_caller(sock: trio.socket.SocketType) -> trio.socket.SocketType:
    """Who has connected to `sock`. Without a descriptor for it callers wait: that must end neither the server nor its being
    reachable."""
    while True:
        try:
            caller, _ = await sock.accept()
        except OSError:
            await trio.sleep(ACCEPT_AGAIN)
        else:
            return caller


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _close_to_others(path: Path) -> None:
    path.chmod(0o600)


async def _serve(stream: trio.SocketStream, handler: Handler, room: trio.Semaphore) -> None:
    try:
        async with stream:
            with trio.move_on_after(DEADLINE):
                line = await _line(stream, REQUEST_CAP)
                if line:
                    await stream.send_all(json.dumps(await _answer(line, handler)).encode() + b"\n")
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the caller did not wait
    finally:
        room.release()


async def _answer(line: bytes, handler: Handler) -> dict[str, Any]:
    try:
        request = json.loads(line)
        word, arguments = request["do"], request.get("with", {})
        if not isinstance(word, str) or not isinstance(arguments, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {"code": "bad_argument", "message": "not a request", "hint": ""}
    try:
        return {"ok": await handler(word, arguments)}
    except Fault as fault:
        return {"code": fault.code, "message": fault.message, "hint": fault.hint}


async def _line(stream: trio.SocketStream, cap: int) -> bytes:
    """One line without its end; what there is at the end of file. Raises BrokenResourceError for a longer one."""
    found = bytearray()
    while b"\n" not in found:
        data = await stream.receive_some()
        if not data:
            break
        found += data
        if len(found) > cap:
            raise trio.BrokenResourceError("the line is too long")
    return bytes(found.partition(b"\n")[0])


async def ask(path: Path, word: str, arguments: Mapping[str, Any]) -> Any:
    """What a running server answers. Raises FileNotFoundError or ConnectionRefusedError when none listens, Fault as the
    server says, or `no_answer`."""
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        async with _reachable(path) as name:
            await sock.connect(name)
        stream = trio.SocketStream(sock)
        try:
            with trio.fail_after(DEADLINE + 1):
                await stream.send_all(json.dumps({"do": word, "with": dict(arguments)}).encode() + b"\n")
                answer = json.loads(await _line(stream, LINE_CAP))
        except (trio.BrokenResourceError, trio.TooSlowError, ValueError) as error:
            raise Fault("no_answer", "ngrokd is running but did not answer", blame=Blame.SERVER, retry=True) from error
    if "ok" in answer:
        return answer["ok"]
    raise Fault(answer["code"], answer["message"], blame=Blame.OPERATOR, hint=answer.get("hint", ""))
