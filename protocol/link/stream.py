"""The async face of a task-owned port: a trio stream for handshakes, control links and SDK users."""

from __future__ import annotations

from typing import Final

import trio

from protocol.link.port import WOULD_BLOCK, Port, PortBroken

RECEIVE_BYTES: Final = 16 * 1024  # one TLS record


class PortStream(trio.abc.HalfCloseableStream):
    """A trio stream over `port`. Closing it closes the port; `detach` gives the port back instead.

    Errors are trio's: BrokenResourceError (reset, TLS failure), ClosedResourceError (after aclose or detach),
    BusyResourceError (two tasks in one direction).
    """

    def __init__(self, port: Port) -> None:
        self.port = port
        self._closed = False
        self._busy_receiving = False
        self._busy_sending = False
        self._eof_sent = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, at most `max_bytes` (default 16 KiB); b"" at the end of file."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        most = max_bytes or RECEIVE_BYTES
        self._check(self._busy_receiving)
        self._busy_receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                self._check()
                data = self._read(most)
                if data is not None:
                    return data
                await self.port.wait_readable()
        except PortBroken as error:
            raise trio.BrokenResourceError(str(error)) from error
        finally:
            self._busy_receiving = False

    def _read(self, most: int) -> bytes | None:
        """What there is now. In a function of its own, so that no buffer is held while a task waits, maybe for hours."""
        room = memoryview(bytearray(most))
        count = self.port.read_into(room)
        return None if count == WOULD_BLOCK else bytes(room[:count])

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Hand all of `data` to the port. Cancelled midway, an unknown part has gone out: only close is left then."""
        self._check(self._busy_sending)
        if self._eof_sent:
            raise trio.ClosedResourceError("send_eof was called")
        self._busy_sending = True
        try:
            await trio.lowlevel.checkpoint()
            rest = memoryview(data)
            while rest:
                self._check()
                taken = self.port.write(rest)
                rest = rest[taken:]
                if rest:
                    await self.port.wait_writable()
            await self.port.flushed()
        except PortBroken as error:
            raise trio.BrokenResourceError(str(error)) from error
        finally:
            self._busy_sending = False

    async def wait_send_all_might_not_block(self) -> None:
        self._check(self._busy_sending)
        self._busy_sending = True
        try:
            await trio.lowlevel.checkpoint()
            await self.port.wait_writable()
        finally:
            self._busy_sending = False

    async def send_eof(self) -> None:
        self._check(self._busy_sending)
        await trio.lowlevel.checkpoint()
        self._eof_sent = True
        try:
            self.port.end_writing()
        except PortBroken as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def aclose(self) -> None:
        """Close the port (idempotent). What was sent is still delivered."""
        if not self._closed:
            self._closed = True
            self.port.close()
        await trio.lowlevel.checkpoint()

    @property
    def busy(self) -> bool:
        """Whether a task is inside `receive_some` or `send_all`."""
        return self._busy_receiving or self._busy_sending

    def detach(self) -> Port:
        """Give the port up without closing it; the stream is closed from then on. Raises trio.BusyResourceError while
        a task is inside."""
        self._check(self.busy)
        self._closed = True
        return self.port

    def _check(self, busy: bool = False) -> None:
        if self._closed:
            raise trio.ClosedResourceError("the stream was closed or its port handed over")
        if busy:
            raise trio.BusyResourceError("another task is using this stream")
