"""The plain port: a non-blocking socket (TCP or unix)."""

from __future__ import annotations

import socket
import struct
from typing import Final

import trio

from protocol.link.port import WOULD_BLOCK, Buffer, Callback, Port, PortBroken, ignore
from protocol.link.reactor import FAILED, READABLE, URGENT, WRITABLE, Reactor
from protocol.link.stream import PortStream

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time left: close sends a reset
TAKE_BYTES: Final = 16 * 1024  # a usual head with room to spare
DISCARD_BYTES: Final = 64 * 1024


def peer_of(sock: socket.socket) -> tuple[str, int] | None:
    """Address and port of the other side, IPv4-mapped shown as IPv4; None for unix sockets and lost peers."""
    try:
        name = sock.getpeername()
    except OSError:
        return None
    if not isinstance(name, tuple):
        return None
    host, port = str(name[0]), int(name[1])
    return (host[7:] if host.startswith("::ffff:") and "." in host else host), port


class SocketPort(Port):
    """What every port over a socket shares: ownership, readiness, closing. Children move the bytes."""

    __slots__ = (
        "_closed",
        "_drained",
        "_early",
        "_end_seen",
        "_face",
        "_failed",
        "_fileno",
        "_full",
        "_hup",
        "_peer",
        "_reactor",
        "_signalled",
        "gone",
        "sock",
    )

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.sock = sock
        sock.setblocking(False)
        self._fileno = sock.fileno()
        self._reactor: Reactor | None = None
        self._face: PortStream | None = None
        self._early: memoryview | None = None  # given back by the owner: comes first at the next read
        self._drained = False  # the kernel had no more; an edge will follow
        self._signalled = False  # on_readable was called and the owner has not yet read until None
        self._full = False  # a write was cut short: on_writable is owed
        self._hup = False  # the kernel announced the end, or urgent bytes: a short read does not mean drained
        self._failed = False  # the kernel announced a reset, maybe of a connection whose end was read long ago
        self._end_seen = False
        self._closed = False
        self._peer: tuple[str, int] | None = None
        self.gone: Callback = ignore
        """Called once when the socket is let go, which for TLS and lingering ports may be some time after `close`."""

    # -- readiness (the reactor's handler)
    def on_event(self, mask: int) -> None:
        """For the reactor. Edges for what nobody waits for are remembered, not reported."""
        if mask & WRITABLE and self._full:
            self._full = False
            self._became_writable()
            if self._closed:
                return
        if mask & ~WRITABLE:
            if mask & ~(READABLE | WRITABLE):
                self._hup = True
                self._failed = bool(mask & FAILED)
                if mask & URGENT:
                    self._keep_urgent_bytes()
            self._drained = False
            if not self._signalled or (self._failed and self._end_seen):
                self._signalled = True
                self.on_readable()

    def _keep_urgent_bytes(self) -> None:
        """Let the kernel leave them in their place, as listeners' sockets do from the start; others cost no call for it."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        except OSError:
            pass  # a unix socket: what its peer calls urgent comes in its turn, or not at all

    def _became_writable(self) -> None:
        self.on_writable()

    def _nothing_now(self) -> None:
        """A read would have blocked."""
        self._drained = True
        self._signalled = False
        if self._reactor is not None and not self._reactor.edge_triggered:
            self._reactor.arm(self.sock, READABLE)

    def _no_room(self) -> None:
        """A write would have blocked."""
        self._full = True
        if self._reactor is not None and not self._reactor.edge_triggered:
            self._reactor.arm(self.sock, WRITABLE)

    def unread(self, rest: Buffer) -> None:
        if len(rest):
            early = self._early
            copied = bytes(rest) if early is None else bytes(rest) + bytes(early)
            self._early = memoryview(copied)
            self._signalled = True

    def _take_early(self, room: memoryview) -> int:
        early = self._early
        assert early is not None
        count = min(len(early), len(room))
        room[:count] = early[:count]
        self._early = early[count:] if count < len(early) else None
        return count

    # -- the end
    def _after_end(self) -> int:
        """What reading gives once the end was read. A visitor that is gone altogether shows so by a reset: to the next
        bytes, or to a keepalive."""
        if self._failed:
            raise PortBroken("reset after its end")
        return 0

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._let_go()

    def _discard_unread(self) -> None:
        """Closing over unread bytes sends a reset, which can overtake our last ones: a TLS peer's session tickets are
        always such bytes."""
        try:
            self.sock.recv(DISCARD_BYTES)
        except OSError:
            pass  # nothing there, or gone: nothing to spoil

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            except OSError:
                pass  # gone already: nothing left to reset
            self._let_go()

    def _let_go(self) -> None:
        self.on_readable = self.on_writable = ignore
        self._early = None
        self._face = None  # it points back: a circle would keep TLS state and buffers until the collector's rare look
        reactor = self._reactor
        if reactor is None:
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()
        else:
            self._reactor = None
            reactor.forget(self.sock)
            reactor.close_later(self.sock)
        gone, self.gone = self.gone, ignore
        gone()

    @property
    def closed(self) -> bool:
        return self._closed

    # -- ownership
    def attach(self, reactor: Reactor) -> None:
        if self._closed:
            raise PortBroken("the port is closed")
        if self._reactor is not None or (self._face is not None and self._face.busy):
            raise trio.BusyResourceError("the port is in use")
        self._face = None
        self._reactor = reactor
        self._drained = self._signalled = self._full = False
        reactor.register(self.sock, self.on_event)
        if self._early is not None or self._holds_bytes():
            reactor.soon(self._announce)

    def _announce(self) -> None:
        if not self._closed and not self._signalled:
            self._signalled = True
            self.on_readable()

    def _holds_bytes(self) -> bool:
        return False

    def detach(self) -> None:
        reactor, self._reactor = self._reactor, None
        if reactor is not None:
            reactor.forget(self.sock)
        self.on_readable = self.on_writable = ignore
        self._full = False

    def stream(self) -> PortStream:
        if self._reactor is not None:
            raise trio.BusyResourceError("a reactor owns the port")
        if self._face is None:
            self._face = PortStream(self)
        return self._face

    async def wait_readable(self) -> None:
        await trio.lowlevel.wait_readable(self.sock)

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self.sock)

    @property
    def peer(self) -> tuple[str, int] | None:
        if self._peer is None and not self._closed:
            self._peer = peer_of(self.sock)
        return self._peer

    def __repr__(self) -> str:
        owner = "closed" if self._closed else "task" if self._reactor is None else "reactor"
        return f"<{type(self).__name__} fd={self._fileno} {owner}>"


class PlainPort(SocketPort):
    """A socket as it is. `sock` is connected; the port owns and closes it."""

    __slots__ = ()

    def read(self) -> memoryview | None:
        early = self._early
        if early is not None:
            self._early = None
            return early
        if self._drained and self._reactor is not None:
            self._signalled = False
            return None
        assert self._reactor is not None, "read() is for a reactor's ports; tasks use stream()"
        scratch = self._reactor.scratch
        count = self._receive(scratch)
        return None if count < 0 else scratch[:count]

    def settled(self) -> bool:
        if self._drained and self._early is None:
            self._signalled = False
            return True
        return False

    def take(self) -> bytes | None:
        # The hot path of requests: one call into the kernel, no buffer in between.
        if self._early is not None or self._end_seen:
            return super().take()
        if self._drained:
            self._signalled = False
            return None
        try:
            data = self.sock.recv(TAKE_BYTES)
        except BlockingIOError:
            self._nothing_now()
            return None
        except OSError as error:
            raise PortBroken(f"read: {error.strerror or error}") from error
        self._received(len(data), TAKE_BYTES)
        return data

    def read_into(self, room: memoryview) -> int:
        if self._early is not None:
            return self._take_early(room)
        if self._drained and self._reactor is not None:
            self._signalled = False
            return WOULD_BLOCK
        return self._receive(room)

    def _receive(self, room: memoryview) -> int:
        if self._end_seen:
            return self._after_end()
        try:
            count = self.sock.recv_into(room)
        except BlockingIOError:
            self._nothing_now()
            return WOULD_BLOCK
        except OSError as error:
            raise PortBroken(f"read: {error.strerror or error}") from error
        self._received(count, len(room))
        return count

    def _received(self, count: int, asked: int) -> None:
        if count == 0:
            self._end_seen = True
        elif count < asked and not self._hup:
            # Edge-triggered: what comes after a short read raises a new edge, so the call that would only say
            # "would block" is saved (one syscall in four of a small request).
            self._drained = True
            if self._reactor is not None and not self._reactor.edge_triggered:
                self._reactor.arm(self.sock, READABLE)

    def write(self, data: Buffer) -> int:
        if self._full and self._reactor is not None:
            return 0
        try:
            count = self.sock.send(data)
        except BlockingIOError:
            count = 0
        except OSError as error:
            raise PortBroken(f"write: {error.strerror or error}") from error
        if count < len(data):
            self._no_room()
        return count

    def end_writing(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise PortBroken(f"end of writing: {error.strerror or error}") from error
