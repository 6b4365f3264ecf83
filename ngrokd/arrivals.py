"""What happens to a visitor between accept and its first request: is there room, who is it, TLS.

Plain visitors of nobody's proxy pass through in the accepting callback. Whatever must wait (a handshake, the header of a
PROXY protocol that a trusted proxy may send) runs in a task with one deadline for all of it. Turning a visitor away costs
one small write on http and nothing on https: no handshake is made to say no.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Hashable
from typing import Final

import trio

from ngrokd.certdir import CertificateDirectory
from ngrokd.edge.guard import Guard
from ngrokd.edge.http import EdgeWorld, HttpEdge
from protocol.errors import WireError
from protocol.link.logs import Log
from protocol.link.plain import PlainPort
from protocol.link.port import PortBroken
from protocol.link.tls import TlsPort
from protocol.proxy_header import decode

HANDSHAKE_TIMEOUT: Final = 10.0  # seconds, as for a request head
COMPLAIN_EVERY: Final = 1.0  # seconds between two lines about visitors turned away
READ_BYTES: Final = 16 * 1024
DISCARD_BYTES: Final = 64 * 1024
_V1, _V2 = b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n"

Address = tuple[str, int]


class Arrivals:
    """Shared by all public http and https listeners."""

    def __init__(self, world: EdgeWorld, log: Log, certificates: CertificateDirectory | None) -> None:
        self._world = world
        self._guard = world.guard
        self._log = log
        self._certificates = certificates
        self._complained = float("-inf")
        self._turned_away = 0

    def use(self, guard: Guard | None, certificates: CertificateDirectory | None) -> None:
        """For who arrives from now on."""
        self._guard, self._certificates = guard, certificates

    def trusted(self, address: Address) -> bool:
        """Whether this is a proxy that may say who its visitor is."""
        guard = self._guard
        return guard is not None and guard.trusts(address[0])

    # -- is there room
    def enter(self, sock: socket.socket, source: Hashable, edge: HttpEdge) -> bool:
        """Count the visitor for `source`; False when it was turned away, its socket is closed then."""
        code = self._world.crowd.enter(source, sock.fileno())
        if code is None:
            return True
        if code != "no_descriptor" and not edge.secure:
            self._say_no(sock, edge.pages.render(code, edge.next_conn_id()))
        sock.close()
        self._complain(code)
        return False

    def source(self, address: Address) -> Hashable:
        """Whom the connection counts for. A trusted proxy brings many and limits them itself: nobody."""
        return None if self.trusted(address) else self._world.crowd.source(address[0])

    def _say_no(self, sock: socket.socket, page: bytes) -> None:
        try:
            sock.send(page)
            sock.shutdown(socket.SHUT_WR)
            sock.recv(DISCARD_BYTES)  # closing over an unread request would send a reset that overtakes the page
        except OSError:
            pass  # nothing there yet, or gone already

    def _complain(self, code: str) -> None:
        self._turned_away += 1
        now = trio.current_time()
        if now - self._complained >= COMPLAIN_EVERY:
            self._complained = now
            self._log.warning("visitors are turned away", code=code, count=self._turned_away)
            self._turned_away = 0

    # -- TLS
    def _tls_port(self, sock: socket.socket, context: ssl.SSLContext) -> TlsPort:
        """A port that takes its certificate by the name asked for."""
        choose = self._certificates.choose if self._certificates is not None else None
        return TlsPort(sock, context, server_side=True, choose=choose)

    async def receive(
        self, sock: socket.socket, address: Address, edge: HttpEdge, *, source: Hashable, context: ssl.SSLContext | None
    ) -> None:
        """A visitor that has entered as `source`, until the reactor has it: a trusted proxy's header, then (with a context)
        TLS. A failure, ours too, ends this visitor alone."""
        try:
            await self._receive(sock, address, edge, source, context)
        except Exception:  # noqa: BLE001 - told here; the others go on
            self._log.exception("a visitor was lost to a defect of the server")

    async def _receive(
        self, sock: socket.socket, address: Address, edge: HttpEdge, source: Hashable, context: ssl.SSLContext | None
    ) -> None:
        port: PlainPort | TlsPort | None = None
        done = False
        try:
            with trio.move_on_after(HANDSHAKE_TIMEOUT):
                if context is not None:  # OpenSSL's state is 40 KiB: not for who says nothing
                    await trio.lowlevel.wait_readable(sock)
                port = PlainPort(sock) if context is None else self._tls_port(sock, context)
                if self.trusted(address):
                    address, rest = await _proxy_header(sock, address)
                    _give_back(port, rest)
                if isinstance(port, TlsPort):
                    await port.handshake()
                done = True
        except (PortBroken, OSError, WireError) as error:
            self._log.debug("a visitor failed before its first request", visitor=address[0], reason=str(error))
        finally:
            if not done:
                self._world.crowd.leave(source)
                (port or PlainPort(sock)).abort()
        if done and port is not None:
            port.attach(self._world.reactor)
            with self._world.reactor.turn():
                edge.serve(port, address, port.sni if isinstance(port, TlsPort) else None, source=source)


def _give_back(port: PlainPort | TlsPort, rest: bytes) -> None:
    if isinstance(port, TlsPort):
        port.feed(rest)
    else:
        port.unread(rest)


async def _proxy_header(sock: socket.socket, peer: Address) -> tuple[Address, bytes]:
    """Who is there, and the bytes behind the header (all bytes, when there is none). Raises WireError for a malformed
    one, OSError."""
    data = b""
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            more = sock.recv(READ_BYTES)
        except BlockingIOError:
            continue
        data += more
        if not more or not _may_be_header(data):
            return peer, data
        found = decode(data)
        if found is not None:
            header, end = found
            return header.source or peer, data[end:]


def _may_be_header(data: bytes) -> bool:
    return any(mark.startswith(data[: len(mark)]) for mark in (_V1, _V2))
