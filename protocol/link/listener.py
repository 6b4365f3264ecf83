"""Listening sockets served by a reactor: bind (both address families), accept in callbacks, stay calm when descriptors
run out. What a connection is for is the callback's business."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from typing import Final

from protocol.link.keepalive import keep_alive
from protocol.link.plain import PlainPort
from protocol.link.reactor import READABLE, Reactor

BACKLOG: Final = 4096  # 1 000 visitors at once must not see a refused connection; the kernel caps it by somaxconn
ACCEPTS_PER_TURN: Final = 4  # then what these visitors asked for goes to the agent, which works on it meanwhile
CALM_SECONDS: Final = 0.1  # how long accepting rests when the process or the machine is out of something
OUT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
KEEPALIVE_SECONDS: Final = 30  # how long a silent connection may go unasked whether its peer still lives

Accepted = Callable[[PlainPort, tuple[str, int]], None]


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on `host` (a name, an address, "" for every address of both families) and `port` (0: any free
    one). The caller owns it. Raises OSError, with the reason of the last address tried."""
    if not host:
        if socket.has_dualstack_ipv6():
            with contextlib.suppress(OSError):
                return _listen(socket.AF_INET6, ("::", port), dual=True)
        return _listen(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - every address was asked for
    problem: OSError | None = None
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
        try:
            return _listen(family, address)
        except OSError as error:
            problem = error
    raise problem or OSError(f"{host} has no address")


def _listen(family: socket.AddressFamily, address: tuple[object, ...], *, dual: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    set_options(sock)
    return sock


def set_options(sock: socket.socket) -> None:
    """No delay for small writes, keepalive, and urgent bytes in their place among the others (RFC 6093, 4). Accepted
    sockets inherit all of it from their listener (Linux, BSD)."""
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    keep_alive(sock, idle=KEEPALIVE_SECONDS, every=10)


class Listener:
    """Accepts from `sock` (owned; closed by `close`) on `reactor` and calls `accepted(port, address)` with fresh,
    task-owned ports. Out of descriptors, it rests CALM_SECONDS at a time and gives up one spare descriptor so that the
    kernel's queue is emptied by refusals, not left to time out; `exhausted(errno)` is told, damped by its owner."""

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        accepted: Accepted,
        exhausted: Callable[[int], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        self._accepted = accepted
        self._exhausted = exhausted
        self._resting = reactor.timer(self._accept)
        self._spare = _spare_descriptor()
        self._open = True
        name = sock.getsockname()
        self.port: int = name[1] if isinstance(name, tuple) else 0
        """The real port, also where 0 was asked for."""

    @property
    def sock(self) -> socket.socket:
        """The listening socket, which stays the listener's."""
        return self._sock

    def start(self) -> None:
        self._reactor.register(self._sock, self._on_event)

    def pause(self) -> socket.socket:
        """Stop accepting and give the socket up, for a successor process; nothing is closed."""
        self._stop()
        return self._sock

    def close(self) -> None:
        """Stop accepting; connections that the kernel queued are refused. Idempotent."""
        if self._open:
            self._stop()
            self._reactor.close_later(self._sock)

    def _stop(self) -> None:
        if self._open:
            self._open = False
            self._resting.clear()
            self._reactor.forget(self._sock)
            if self._spare is not None:
                os.close(self._spare)
                self._spare = None

    def _on_event(self, mask: int) -> None:
        if mask & ~4 and not self._resting.armed:
            self._accept()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if not self._open:
                return
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                self._reactor.arm(self._sock, READABLE)
                return
            except OSError as error:
                if error.errno in OUT_OF:
                    self._rest(error.errno)
                    return
                continue  # that one visitor left while it was queued (ECONNABORTED and kin)
            port = PlainPort(sock)
            try:
                self._accepted(port, _plain_address(address))
            except Exception as error:  # noqa: BLE001 - a defect: told to the crash handler; the edge is not repeated
                port.abort()
                self._reactor.crashed(self._accepted, error)
        self._reactor.soon(self._accept)

    def _rest(self, number: int) -> None:
        if self._exhausted is not None:
            self._exhausted(number)
        if self._spare is not None:
            os.close(self._spare)
            with contextlib.suppress(OSError):
                self._sock.accept()[0].close()
            self._spare = _spare_descriptor()
        self._resting.set(CALM_SECONDS)


def _spare_descriptor() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


def _plain_address(address: object) -> tuple[str, int]:
    if not isinstance(address, tuple) or len(address) < 2:
        return ("", 0)
    host = str(address[0])
    return (host[7:] if host.startswith("::ffff:") and "." in host else host), int(address[1])
