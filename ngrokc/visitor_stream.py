"""What a program gets for a visitor when it listens itself instead of naming an upstream: a trio stream with an address."""

from __future__ import annotations

from collections.abc import Callable

import trio

from protocol.link.port import PortBroken
from protocol.link.stream import PortStream

Closed = Callable[[int, int], None]


class VisitorStream(trio.abc.HalfCloseableStream):
    """One visitor. The program owns it and closes it. `client_addr` is `ip:port`, `url` the tunnel's. `counted(up, down)`
    is called once, when the stream is closed, with the bytes that were received and sent."""

    def __init__(self, stream: PortStream, *, url: str, client_addr: str, counted: Closed) -> None:
        self.url = url
        self.client_addr = client_addr
        self._stream = stream
        self._counted: Closed | None = counted
        self._up = 0
        self._down = 0

    def __repr__(self) -> str:
        return f"<VisitorStream {self.client_addr} of {self.url}>"

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await self._stream.receive_some(max_bytes)
        self._up += len(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)
        self._down += len(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        self._count()
        await self._stream.aclose()

    def abort(self) -> None:
        """Let go with a reset: what was sent shall not pass for a complete answer."""
        self._count()
        try:
            self._stream.port.abort()
        except PortBroken:
            return  # it was gone already

    def _count(self) -> None:
        counted, self._counted = self._counted, None
        if counted is not None:
            counted(self._up, self._down)
