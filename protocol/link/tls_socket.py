"""The TLS port of a leg: OpenSSL works on the descriptor itself. See `tls` for why there are two builds."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import cast

from protocol.link.faults import tls_error
from protocol.link.plain import DISCARD_BYTES
from protocol.link.port import WOULD_BLOCK, Buffer, PortBroken
from protocol.link.tls import Receive, TlsBase


class TlsSocketPort(TlsBase):
    """TLS on the descriptor, for legs. `write` is all or nothing: after 0 offer the identical bytes (or more of them).
    It never half-closes: `end_writing` raises PortBroken."""

    __slots__ = ("_held_up",)

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, *, server_side: bool = False, server_name: str | None = None
    ) -> None:
        sock.setblocking(False)
        try:
            wrapped = context.wrap_socket(
                sock,
                server_side=server_side,
                server_hostname=server_name,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        except OSError as error:  # the peer left before its handshake; wrap_socket has closed `sock`
            raise tls_error("TLS handshake", error) from error
        super().__init__(wrapped)
        self._tls: ssl.SSLSocket = wrapped
        self._held_up = False  # a read found that TLS has to write first (a key update), and the socket was full

    async def handshake(self) -> None:
        """Shake hands (a cancel point). Raises TlsError; the caller closes the port then."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.wait_readable()
            except ssl.SSLWantWriteError:
                await self.wait_writable()
            except (ssl.SSLError, OSError) as error:
                raise tls_error("TLS handshake", error) from error
            else:
                return

    def _decrypt(self, room: memoryview) -> int:
        if self._end_seen:
            return 0
        if self._drained and self._reactor is not None:
            self._signalled = False
            return WOULD_BLOCK
        filled = 0
        size = len(room)
        # `recv_into` would wrap the buffer in two more views, a tenth of the time of a read
        receive = cast("Receive", self._tls.read)
        try:
            while filled < size:
                count = receive(size - filled, room[filled:] if filled else room)
                if not count:
                    self._end_seen = True
                    break
                filled += count
        except ssl.SSLWantReadError:
            self._nothing_now()
            if not filled:
                return WOULD_BLOCK
            self._signalled = True  # until the owner has seen that there is no more: that costs it no system call
        except ssl.SSLWantWriteError:
            if not filled:
                self._held_up = True
                self._no_room()
                return WOULD_BLOCK
        except ssl.SSLZeroReturnError:
            self._end_seen = True
        except (ssl.SSLError, OSError) as error:
            if not filled:
                raise tls_error("read", error) from error
        return filled

    def write(self, data: Buffer) -> int:
        if not len(data) or (self._full and self._reactor is not None):
            return 0
        try:
            return self._tls.send(data)
        except ssl.SSLWantWriteError:
            self._no_room()
            return 0
        except ssl.SSLWantReadError:
            self._full = True
            return 0
        except (ssl.SSLError, OSError) as error:
            raise tls_error("write", error) from error

    def _became_writable(self) -> None:
        self.on_writable()
        if self._held_up:
            self._held_up = False
            self.on_readable()  # the edge of what waits there has passed

    def close(self) -> None:
        if not self._closed:
            with contextlib.suppress(OSError):
                self._tls.recv(DISCARD_BYTES)  # see SocketPort: unread tickets would turn the close into a reset
        super().close()

    def _holds_bytes(self) -> bool:
        return self._tls.pending() > 0

    def end_writing(self) -> None:
        raise PortBroken("a leg's TLS connection is never half-closed")
