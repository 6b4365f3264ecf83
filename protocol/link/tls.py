"""TLS ports: TLS over a socket, in two builds behind one interface.

`TlsPort` moves ciphertext through two memory buffers and can end writing while it still reads: for visitors,
proxy links, control links and https upstreams. `TlsSocketPort` (tls_socket.py) lets OpenSSL work on the descriptor,
10-20 % faster for bulk because the ciphertext never becomes a Python object; it is for legs only, because an SSLSocket
that half-closes loses what the peer has in flight (a leg never half-closes: its streams do).

Two habits of TLS that readiness does not show: after a partial read the TLS object can hold decrypted bytes (so an owner
that stops early must come back, as for any port), and a cut write doesn't say how much it took (so `TlsSocketPort.write`
is all or nothing and wants the identical bytes again).
"""

from __future__ import annotations

import abc
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

import trio

from protocol.link.faults import tls_error
from protocol.link.plain import SocketPort
from protocol.link.port import WOULD_BLOCK, Buffer, PortBroken, ignore
from protocol.link.sni import Choose, NamedTls

WRITE_BYTES: Final = 256 * 1024  # plaintext taken at once while nothing is unsent: the cap of the ciphertext queue
RECORD_BYTES: Final = 16 * 1024
CIPHER_BYTES: Final = RECORD_BYTES + 512  # a record with what TLS puts around it
_NOTHING: Final = memoryview(b"")
Receive = Callable[[int, memoryview], int]
LINGER_SECONDS: Final = 30.0  # for the last bytes of a closed port; as long as a server's drain


class TlsBase(SocketPort):
    """What both builds share: reading records until there is no more."""

    __slots__ = ("_tls",)

    _tls: ssl.SSLObject | ssl.SSLSocket

    def read(self) -> memoryview | None:
        early = self._early
        if early is not None:
            self._early = None
            return early
        assert self._reactor is not None, "read() is for a reactor's ports; tasks use stream()"
        scratch = self._reactor.scratch
        count = self._decrypt(scratch)
        return None if count < 0 else scratch[:count]

    def read_into(self, room: memoryview) -> int:
        if self._early is not None:
            return self._take_early(room)
        return self._decrypt(room)

    @abc.abstractmethod
    def _decrypt(self, room: memoryview) -> int:
        """Records, one after the other, until the room is full or the socket has no more."""

    @property
    def tls(self) -> ssl.SSLObject | ssl.SSLSocket:
        """The TLS object, for the certificate, the version, SNI and ALPN."""
        return self._tls


class TlsPort(TlsBase):
    """TLS through memory buffers. `sock` is connected; the port owns and closes it. Call `handshake` first."""

    __slots__ = (
        "_ending",
        "_failure",
        "_incoming",
        "_lingering",
        "_outgoing",
        "_socket_ended",
        "_unsent",
        "clean_end",
        "sni",
    )

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_name: str | None = None,
        choose: Choose | None = None,
    ) -> None:
        """`choose`: which context a name gets, for servers whose context notices names (`sni`)."""
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        if isinstance(self._tls, NamedTls):
            self._tls.choose = choose
        self._unsent = _NOTHING
        self._ending = False
        self._failure: str | None = None  # the kernel tells of a reset once, and of an end of file from then on
        self._socket_ended = False
        self._lingering = False  # closed by its owner, the rest of the ciphertext still on its way
        self.clean_end = True
        self.sni: str | None = None
        """The name that the client asked for; None before the handshake, and when it asked for none."""

    def feed(self, ciphertext: Buffer) -> None:
        """Before the handshake: bytes of the TLS connection that were read from the socket already."""
        self._incoming.write(ciphertext)

    async def handshake(self) -> None:
        """Shake hands (a cancel point; set a deadline around it). Raises TlsError; the caller closes the port then."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush_all()
                if self._fill() < 0:
                    await self.wait_readable()
            except (ssl.SSLError, OSError) as error:
                self._say_why()
                raise tls_error("TLS handshake", error) from error
            else:
                await self._flush_all()
                if isinstance(self._tls, NamedTls):
                    self.sni = self._tls.sni
                return

    async def _flush_all(self) -> None:
        while not self._flush():
            await self.wait_writable()

    def _say_why(self) -> None:
        """Best effort: let the alert go out before the socket closes."""
        try:
            self._flush()
        except PortBroken:
            pass  # the peer is gone already; it learns nothing, which is all it asked for

    # -- ciphertext
    def _fill(self) -> int:
        """Read ciphertext once: the count, 0 at the end, WOULD_BLOCK."""
        if self._drained and self._reactor is not None and self._failure is None:
            return WOULD_BLOCK
        try:
            if self._reactor is not None:
                room = self._reactor.cipher_scratch
                count, asked = self.sock.recv_into(room), len(room)
                received = room[:count]
            else:  # a task's port waits without a buffer: it may wait for hours
                received = memoryview(self.sock.recv(CIPHER_BYTES))
                count, asked = len(received), CIPHER_BYTES
        except BlockingIOError:
            self._drained = True
            return WOULD_BLOCK
        except OSError as error:
            self._failure = f"read: {error.strerror or error}"
            raise PortBroken(self._failure) from error
        if count == 0:
            self._check_failure()
            self._incoming.write_eof()
            self._socket_ended = True
        else:
            self._incoming.write(received)
            if count < asked and not self._hup:
                self._drained = True  # see PlainPort: what comes later raises a new edge
        return count

    def _check_failure(self) -> None:
        if self._failure is not None:
            raise PortBroken(self._failure)

    def _flush(self) -> bool:
        """Send ciphertext; whether all of it went out."""
        while True:
            if not self._unsent:
                if not self._outgoing.pending:
                    return True
                self._unsent = memoryview(self._outgoing.read())
            try:
                count = self.sock.send(self._unsent)
            except BlockingIOError:
                return False
            except OSError as error:
                self._unsent = _NOTHING
                self._failure = f"write: {error.strerror or error}"
                raise PortBroken(self._failure) from error
            if count < len(self._unsent):
                self._unsent = self._unsent[count:]
                return False
            self._unsent = _NOTHING  # an empty rest would hold all that was sent

    # -- plaintext
    def _decrypt(self, room: memoryview) -> int:
        if self._end_seen:
            return self._after_end()
        filled = 0
        read = cast("Receive", self._tls.read)  # its stub promises bytes in either case
        try:
            while filled < len(room):
                try:
                    count = read(len(room) - filled, room[filled:])
                except ssl.SSLWantReadError:
                    if self._fill() < 0:
                        break
                    continue
                if not count:
                    self._end_seen = True
                    break
                filled += count
        except ssl.SSLZeroReturnError:
            self._end_seen = True
        except ssl.SSLEOFError:
            self._end_seen = True
            self.clean_end = False
        except ssl.SSLError as error:
            raise tls_error("read", error) from error
        except PortBroken:
            if not filled:
                raise
            # else what came before it is read first: the next call meets the failure again
        if filled or self._end_seen:
            return filled
        self._nothing_now()
        return WOULD_BLOCK

    def _holds_bytes(self) -> bool:
        return self._tls.pending() > 0 or self._incoming.pending > 0 or self._end_seen

    def write(self, data: Buffer) -> int:
        if self._ending:
            raise PortBroken("write after the end of writing")
        self._check_failure()
        if self._unsent and not self._flush():
            self._no_room()
            return 0
        taken, size = 0, len(data)
        while taken < size:
            piece = data if size <= WRITE_BYTES else memoryview(data)[taken : taken + WRITE_BYTES]
            try:
                taken += self._tls.write(piece)
            except ssl.SSLError as error:
                raise tls_error("write", error) from error
            if not self._flush():
                self._no_room()
                break
        return taken

    def _became_writable(self) -> None:
        try:
            if not self._flush():
                self._no_room()
                return
        except PortBroken:
            if self._lingering:
                self.abort()
                return
            self.on_writable()  # the owner's next write meets the same error, or its next read where it has ended writing
            if not self._closed:
                self.on_readable()
            return
        if self._lingering:
            self._discard_unread()
            super().close()
        elif self._ending:
            self._shut()
        else:
            self.on_writable()

    def end_writing(self) -> None:
        if self._ending:
            return
        self._ending = True
        self._say_close_notify()
        if self._flush():
            self._shut()
        else:
            self._no_room()

    def _say_close_notify(self) -> None:
        """Put our close_notify into the outgoing buffer. Python's `unwrap` also looks for the peer's, and fails on any
        data it finds there, losing it: so what has come in is kept away from it."""
        self._keep_decrypted()
        ciphertext = self._incoming.read()
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass  # the expected case: the peer's close_notify comes when it is done
        except ssl.SSLError as error:
            raise tls_error("end of writing", error) from error
        finally:
            if ciphertext:
                self._incoming.write(ciphertext)

    def _keep_decrypted(self) -> None:
        """Move to `early` what TLS holds decrypted; after the socket's end, all that came (nothing can be put back)."""
        kept = bytearray(self._early or b"")
        while self._tls.pending() or (self._socket_ended and self._incoming.pending):
            try:
                kept += self._tls.read(RECORD_BYTES)
            except ssl.SSLError:
                break  # the end, or a fault that the next read meets again
        if kept:
            self._early = None
            self.unread(kept)

    def _shut(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer left meanwhile: reading tells

    def close(self) -> None:
        """Send what was taken and our close_notify, then close. Where the socket is full and a reactor owns the port,
        it does so in the background for at most LINGER_SECONDS; nothing is called back any more."""
        if self._closed:
            return
        if not self._ending:
            try:
                self.end_writing()
            except PortBroken:
                pass  # it was gone already, which is what was asked for
        reactor = self._reactor
        if reactor is None or self._nothing_left():
            self._discard_unread()
            super().close()
            return
        self.on_readable = self.on_writable = ignore
        if not self._lingering:
            self._lingering = True
            reactor.lingering.add(self.abort)
            reactor.timer(self.abort).set(LINGER_SECONDS)

    def _let_go(self) -> None:
        if self._lingering and self._reactor is not None:
            self._reactor.lingering.discard(self.abort)
        super()._let_go()

    def _nothing_left(self) -> bool:
        """Whether all ciphertext is out, or can't go out any more. After a fault that is the alert which says so."""
        try:
            if self._flush():
                return True
        except PortBroken:
            return True
        self._no_room()
        return False

    async def wait_writable(self) -> None:
        while True:
            await trio.lowlevel.wait_writable(self.sock)
            if self._flush():
                return

    async def flushed(self) -> None:
        if self._unsent:
            await self._flush_all()
