"""Two ports joined in memory: for tests that use the autojump clock, which must never wait for a kernel.

Behaves as the contract in protocol/link/port.py says, in a task or in a reactor, with an optional cap on what is under way.
"""

from __future__ import annotations

import trio

from protocol.link.port import WOULD_BLOCK, Buffer, Port, PortBroken, ignore
from protocol.link.reactor import Reactor
from protocol.link.stream import PortStream


class MemoryPort(Port):
    """One end; `memory_pair` makes two."""

    __slots__ = (
        "_early",
        "_ended",
        "_full",
        "_reactor",
        "_reset",
        "_room",
        "_stream",
        "closed",
        "far",
        "incoming",
        "moved",
        "peer_address",
    )

    def __init__(self, room: int) -> None:
        super().__init__()
        self.far: MemoryPort = self
        self.incoming = bytearray()
        self.closed = False
        self.peer_address: tuple[str, int] | None = ("127.0.0.1", 50000)
        self.moved = trio.Event()
        self._room = room
        self._early = b""
        self._ended = False  # the far end will not write any more
        self._reset = False
        self._full = False
        self._reactor: Reactor | None = None
        self._stream: PortStream | None = None

    # -- both ends
    def _stir(self) -> None:
        """Something happened at this end: wake whoever owns it."""
        moved, self.moved = self.moved, trio.Event()
        moved.set()
        if self._reactor is not None:
            self._reactor.soon(self._call_back)

    def _call_back(self) -> None:
        if self.closed or self._reactor is None:
            return
        if self._full and len(self.far.incoming) < self._room:
            self._full = False
            self.on_writable()
        if self.incoming or self._early or self._ended or self._reset:
            self.on_readable()

    def _take(self, count: int) -> bytes:
        if self._early:
            found, self._early = self._early[:count], self._early[count:]
            return found
        if self.closed or self._reset:
            raise PortBroken("reset" if self._reset else "closed")
        found = bytes(self.incoming[:count])
        del self.incoming[:count]
        if found:
            self.far._stir()
        return found

    # -- reading
    def read(self) -> memoryview | None:
        found = self._take(1 << 16)
        return memoryview(found) if found or self._ended else None

    def read_into(self, room: memoryview) -> int:
        found = self._take(len(room))
        room[: len(found)] = found
        return len(found) if found or self._ended else WOULD_BLOCK

    def unread(self, rest: Buffer) -> None:
        self._early = bytes(rest) + self._early

    # -- writing
    def write(self, data: Buffer) -> int:
        if self.closed or self._reset or self.far.closed:
            raise PortBroken("the far end has gone")
        taken = min(len(data), max(self._room - len(self.far.incoming), 0))
        self.far.incoming += bytes(data[:taken])
        self._full = taken < len(data)
        if taken:
            self.far._stir()
        return taken

    def end_writing(self) -> None:
        self.far._ended = True
        self.far._stir()

    # -- the end
    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.on_readable = self.on_writable = ignore
            self.end_writing()
            self._stir()

    def abort(self) -> None:
        if not self.closed:
            self.far._reset = True
            self.close()

    # -- ownership
    def attach(self, reactor: Reactor) -> None:
        if self._stream is not None and self._stream.busy:
            raise trio.BusyResourceError("the port is in use")
        self._stream = None
        self._reactor = reactor
        reactor.soon(self._call_back)

    def detach(self) -> None:
        self._reactor = None
        self.on_readable = self.on_writable = ignore

    def stream(self) -> PortStream:
        if self._reactor is not None:
            raise trio.BusyResourceError("a reactor owns the port")
        self._stream = self._stream or PortStream(self)
        return self._stream

    async def wait_readable(self) -> None:
        while not (self.incoming or self._ended or self._reset or self.closed):
            await self.moved.wait()

    async def wait_writable(self) -> None:
        while len(self.far.incoming) >= self._room and not (self._reset or self.far.closed or self.closed):
            await self.moved.wait()

    @property
    def peer(self) -> tuple[str, int] | None:
        return self.peer_address


def memory_pair(room: int = 1 << 20) -> tuple[MemoryPort, MemoryPort]:
    """Two ends of one connection; at most `room` bytes are under way in each direction."""
    one, other = MemoryPort(room), MemoryPort(room)
    one.far, other.far = other, one
    return one, other
