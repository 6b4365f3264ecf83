"""Dialling in callbacks of the reactor: the way to the private service for each new visitor, with no task at all.

Only for what needs no waiting in a task: numeric addresses, `localhost` and unix sockets without TLS (`can_connect_now`);
everything else is `dial.dial_upstream`'s. Failures are LinkErrors with the same codes as there.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Sequence

from protocol.address import Upstream
from protocol.errors import Blame, LinkError
from protocol.link.dial import LOCALHOST, fault_of
from protocol.link.plain import PlainPort
from protocol.link.port import Port
from protocol.link.reactor import WRITABLE, Reactor, Timer

Ready = Callable[[Port | LinkError], None]


def can_connect_now(upstream: Upstream) -> bool:
    """Whether `connect_now` takes this one: no name to look up, no TLS."""
    if upstream.tls:
        return False
    return upstream.kind == "unix" or upstream.host == "localhost" or _numeric(upstream.host) is not None


def _numeric(host: str) -> int | None:
    try:
        return socket.AF_INET6 if ipaddress.ip_address(host.partition("%")[0]).version == 6 else socket.AF_INET
    except ValueError:
        return None


Address = tuple[int, tuple[str, int] | str]  # family and what connect takes


def addresses(upstream: Upstream) -> list[Address]:
    """What `connect_now` tries, in order. Worked out once for a tunnel."""
    if upstream.kind == "unix":
        return [(socket.AF_UNIX, upstream.path)]
    hosts = LOCALHOST if upstream.host == "localhost" else (upstream.host,)
    return [(_numeric(host) or socket.AF_INET, (host, upstream.port)) for host in hosts]


def _told(_: Port | LinkError) -> None:
    """Once is enough."""


class Connecting:
    """One dial of the reactor's. `ready` is called once, perhaps before the constructor returns: with a port attached to
    the reactor, which the callee owns, or with a LinkError. `cancel` ends it without a call."""

    __slots__ = ("_addresses", "_over", "_reactor", "_ready", "_sock", "_timeout", "_timer")

    def __init__(self, reactor: Reactor, choices: Sequence[Address], ready: Ready, timeout: float) -> None:
        self._reactor = reactor
        self._addresses = iter(choices)
        self._ready = ready
        self._timeout = timeout
        self._timer: Timer | None = None
        self._sock: socket.socket | None = None
        self._over = False
        self._next(LinkError("unreachable", "there is no address", blame=Blame.UPSTREAM))

    def _next(self, failure: LinkError) -> None:
        """Try addresses until one connects or has to be waited for."""
        for family, address in self._addresses:
            try:
                sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            except OSError as error:
                failure = fault_of(error, Blame.UPSTREAM)
                continue
            code = self._begin(sock, family, address)
            if code == 0:
                self._connected(sock)
                return
            if code in (errno.EINPROGRESS, errno.EALREADY):
                self._wait(sock)
                return
            sock.close()
            failure = fault_of(OSError(code, os.strerror(code)), Blame.UPSTREAM)
        self._end(failure)

    def _begin(self, sock: socket.socket, family: int, address: tuple[str, int] | str) -> int:
        try:
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex(address)
            if code == errno.EINPROGRESS:
                # On loopback the handshake is over by now, but the kernel answers before it looks. Asking again costs a
                # system call; waiting for the event costs three and a turn.
                code = sock.connect_ex(address)
        except OSError as error:
            return error.errno or errno.EINVAL
        return 0 if code == errno.EISCONN else code

    def _wait(self, sock: socket.socket) -> None:
        self._sock = sock
        if self._timer is None:
            self._timer = self._reactor.timer(self._too_long)
            self._timer.set(self._timeout)
        self._reactor.register(sock, self._on_event)
        self._reactor.arm(sock, WRITABLE)

    def _on_event(self, _mask: int) -> None:
        sock = self._sock
        if sock is None:
            return
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            try:
                sock.getpeername()
            except OSError:
                return  # an edge of the registration itself: not connected yet
        self._sock = None
        self._reactor.forget(sock)
        if code == 0:
            self._connected(sock)
            return
        self._reactor.close_later(sock)
        self._next(fault_of(OSError(code, os.strerror(code)), Blame.UPSTREAM))

    def _connected(self, sock: socket.socket) -> None:
        port = PlainPort(sock)
        port.attach(self._reactor)
        self._end(port)

    def _too_long(self) -> None:
        self._drop()
        self._end(LinkError("dial_timeout", f"no connection within {self._timeout:g} s", blame=Blame.UPSTREAM))

    def _drop(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            self._reactor.forget(sock)
            self._reactor.close_later(sock)

    def _end(self, result: Port | LinkError) -> None:
        ready = self._ready
        self._let_go()
        ready(result)

    def _let_go(self) -> None:
        """Whoever waited may hold this dial, and must not be held by it: circles stay in memory for long."""
        self._over = True
        self._ready = _told
        if self._timer is not None:
            self._timer.end()

    def cancel(self) -> None:
        """Give up; `ready` is not called any more."""
        if not self._over:
            self._let_go()
            self._drop()


def connect_now(reactor: Reactor, choices: Sequence[Address], ready: Ready, timeout: float) -> Connecting:
    """Dial in callbacks, within a turn of the reactor; `choices` from `addresses`. See Connecting."""
    return Connecting(reactor, choices, ready, timeout)
