"""Hot restart: a new process gets the listening sockets of the one that serves, over a unix socket in the state directory.

    successor                              predecessor
    connect, "take"          ------------>  (same user only)
                             <------------  batches of sockets with what each is, and the names that are online
    gets itself ready
    "ready"                  ------------>  finishes its books, lets the state go
                             <------------  "released"
    opens the state, accepts                stops accepting, tells its agents to come over, finishes what runs, ends

Until "ready" nothing has changed for the predecessor: a successor that fails leaves it as it was. New connections wait in
the kernel's queue between the two. Messages are a length (4 bytes, little-endian) and JSON; sockets ride on their batch.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from ngrokd.local import next_caller
from protocol.errors import Blame, Fault

SOCKET: Final = "handover.sock"
BATCH: Final = 100  # sockets in one message; the kernel takes 253 (unix(7))
MESSAGE_CAP: Final = 4 << 20
PATIENCE: Final = 60.0  # seconds that a successor has to get ready
ANSWER: Final = 10.0  # seconds for a predecessor to answer

HEADER: Final = struct.Struct("<I")
_CREDENTIALS: Final = struct.Struct("iii")


@dataclass(slots=True)
class Estate:
    """What is handed over: sockets by the name of their listener (http, https, tunnel, admin, or `tcp` for tunnels' ports),
    and the (scheme, host) of tunnels that are online."""

    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)
    names: list[tuple[str, str]] = field(default_factory=list)

    def close(self) -> None:
        """Close the sockets that nobody has taken."""
        for found in self.sockets.values():
            for sock in found:
                sock.close()
        self.sockets.clear()


class Inheritance:
    """A successor's end. `estate` is its own now; `claim` ends the predecessor's reign. Close it in any case."""

    def __init__(self, stream: trio.SocketStream, estate: Estate) -> None:
        self._stream = stream
        self.estate = estate

    async def claim(self) -> None:
        """Say that we are ready, and wait until the state is free. Raises Fault."""
        try:
            with trio.fail_after(ANSWER):
                await _send(self._stream.socket, {"do": "ready"})
                answer, _ = await _receive(self._stream.socket)
        except (OSError, trio.TooSlowError, ValueError) as error:
            raise _failed("it did not let go") from error
        if answer != {"ok": "released"}:
            raise _failed("it did not let go")

    async def aclose(self) -> None:
        self.estate.close()
        await self._stream.aclose()


async def inherit(state: Path) -> Inheritance | None:
    """Ask the server that uses this state directory for its sockets; None when none runs. Raises Fault."""
    try:
        stream = await trio.open_unix_socket(str(state / SOCKET))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise _failed(error.strerror or str(error)) from error
    estate = Estate()
    try:
        with trio.fail_after(ANSWER):
            await _send(stream.socket, {"do": "take"})
            more = True
            while more:
                message, sockets = await _receive(stream.socket)
                for name, sock in zip(message["sockets"], sockets, strict=True):
                    estate.sockets.setdefault(name, []).append(sock)
                estate.names += [(str(scheme), str(host)) for scheme, host in message["names"]]
                more = message["more"]
    except (OSError, trio.TooSlowError, ValueError, KeyError, TypeError) as error:
        estate.close()
        await stream.aclose()
        raise _failed("it did not hand over its listeners") from error
    return Inheritance(stream, estate)


async def serve_handover(
    path: Path,
    estate: Callable[[], Estate],
    release: Callable[[], Awaitable[None]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Wait at `path` for a successor and hand over; returns after that. `estate` is asked for what there is (its sockets stay
    the server's); `release` stops the server's use of all of it. What lies at `path` is replaced."""
    _remove(path)
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        await sock.bind(str(path))
        _close_to_others(path)
        sock.listen(4)
        task_status.started()
        done = False
        while not done:
            with await next_caller(sock) as peer:
                if same_user(peer):
                    done = await _hand_over(peer, path, estate, release)


async def _hand_over(
    peer: trio.socket.SocketType, path: Path, estate: Callable[[], Estate], release: Callable[[], Awaitable[None]]
) -> bool:
    """Serve one successor; whether it has taken over."""
    try:
        with trio.fail_after(ANSWER):
            message, _ = await _receive(peer)
            if message != {"do": "take"}:
                return False
            await _send_estate(peer, estate())
        with trio.fail_after(PATIENCE):
            message, _ = await _receive(peer)
    except (OSError, ValueError, trio.TooSlowError):
        return False  # it has failed; nothing has changed here
    if message != {"do": "ready"}:
        return False
    _remove(path)  # the successor makes its own
    await release()
    try:
        with trio.move_on_after(ANSWER):
            await _send(peer, {"ok": "released"})
    except OSError:
        return True  # it died at the last moment; we have let go all the same, a supervisor starts another
    return True


async def _send_estate(peer: trio.socket.SocketType, estate: Estate) -> None:
    pairs = [(name, sock) for name, found in estate.sockets.items() for sock in found]
    for start in range(0, max(1, len(pairs)), BATCH):
        batch = pairs[start : start + BATCH]
        more = start + BATCH < len(pairs)
        message = {"sockets": [name for name, _ in batch], "names": [] if more else estate.names, "more": more}
        await _send(peer, message, [sock.fileno() for _, sock in batch])


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _close_to_others(path: Path) -> None:
    path.chmod(0o600)


# -- messages
async def _send(sock: trio.socket.SocketType, message: object, descriptors: Sequence[int] = ()) -> None:
    body = json.dumps(message).encode()
    data = HEADER.pack(len(body)) + body
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    sent = await sock.sendmsg([data], rights)
    while sent < len(data):
        sent += await sock.send(data[sent:])


async def _receive(sock: trio.socket.SocketType) -> tuple[Any, list[socket.socket]]:
    """A message and its sockets, non-blocking. Raises ValueError for anything else, OSError."""
    space = socket.CMSG_SPACE(BATCH * array.array("i").itemsize)
    head, rights, _, _ = await sock.recvmsg(HEADER.size, space)
    sockets = _adopt(rights)
    try:
        head += await _exactly(sock, HEADER.size - len(head))
        (length,) = HEADER.unpack(head)
        if length > MESSAGE_CAP:
            raise ValueError("the message is too long")
        return json.loads(await _exactly(sock, length)), sockets
    except BaseException:
        for found in sockets:
            found.close()
        raise


async def _exactly(sock: trio.socket.SocketType, count: int) -> bytes:
    found = b""
    while len(found) < count:
        data = await sock.recv(count - len(found))
        if not data:
            raise ValueError("the other side has gone")
        found += data
    return found


def _adopt(rights: Sequence[tuple[int, int, bytes]]) -> list[socket.socket]:
    numbers = array.array("i")
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    sockets = []
    for number in numbers:
        os.set_inheritable(number, False)
        sock = socket.socket(fileno=number)
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


def same_user(peer: trio.socket.SocketType | socket.socket) -> bool:
    """The directory is closed to others; this says it once more (unix(7), SO_PEERCRED)."""
    _, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return user in (os.geteuid(), 0)


def _failed(why: str) -> Fault:
    return Fault(
        "no_handover",
        f"the ngrokd that runs could not be replaced: {why}",
        blame=Blame.SERVER,
        hint="it serves on; look at its log",
    )
