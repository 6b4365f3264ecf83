"""Making connections: to the server (TLS, perhaps through a proxy) and to the private service.

All of it runs in tasks, under a deadline; `connect_now` is the sister for the hot path. Nothing here knows frames or tunnels.
Every failure is a LinkError with a code: `unresolved`, `refused`, `unreachable`, `dial_timeout`, `tls`, `certificate`,
`pin_mismatch`, `proxy_*`.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

import trio

from protocol.address import HostPort, Upstream
from protocol.errors import Blame, LinkError
from protocol.link.faults import TlsError
from protocol.link.keepalive import keep_alive
from protocol.link.plain import PlainPort
from protocol.link.port import Port, PortBroken
from protocol.link.proxy_connect import ProxyUrl, connect_through
from protocol.link.reactor import Reactor
from protocol.link.relay import Relay
from protocol.link.tls import TlsPort
from protocol.link.tls_socket import TlsSocketPort
from protocol.link.trust import ClientTls

KEEPALIVE_SECONDS: Final = 30  # a dead peer of an idle connection is found in about two minutes
LOCALHOST: Final = ("127.0.0.1", "::1")  # services bind either; a refusal on this machine costs microseconds


# -- sockets
def fault_of(error: OSError, blame: Blame) -> LinkError:
    """An OSError of a dial in our words."""
    if isinstance(error, socket.gaierror):
        return LinkError("unresolved", f"the name has no address ({error.strerror})", blame=blame)
    if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
        return LinkError("refused", "nothing listens there", blame=blame)
    return LinkError("unreachable", (error.strerror or str(error)).lower(), blame=blame)


async def dial_tcp(host: str, port: int, *, timeout: float, blame: Blame = Blame.SERVER) -> PlainPort:
    """Connect by name or address; several addresses race (RFC 8305). The caller owns the port. Raises LinkError."""
    failure = LinkError("dial_timeout", f"no connection within {timeout:g} s", blame=blame)
    with trio.move_on_after(timeout):
        for name in LOCALHOST if host == "localhost" else (host,):
            try:
                return PlainPort(await _open(name, port))
            except OSError as error:
                failure = fault_of(_first(error), blame)
            except UnicodeError:  # Python's way to say that a label is too long or empty
                failure = LinkError("unresolved", "no such name can exist", blame=blame)
        raise failure
    raise failure


async def _open(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket with TCP_NODELAY. Raises OSError (or an exception group of them as its cause)."""
    stream = await trio.open_tcp_stream(host, port)
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_alive(sock, idle=KEEPALIVE_SECONDS, every=KEEPALIVE_SECONDS)
    return sock


def _first(error: OSError) -> OSError:
    """trio reports several failed addresses as one error with a group as its cause; the first says most."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause if isinstance(cause, OSError) else error


# -- the server
class ServerDialer:
    """Opens links to one server. Made once for a session; it owns nothing but the bridges to a TLS proxy, which live in
    `reactor` as long as their links."""

    def __init__(self, address: HostPort, tls: ClientTls, proxy: ProxyUrl | None, reactor: Reactor) -> None:
        self.address = address
        self.tls = tls
        self.proxy = proxy
        self._reactor = reactor

    async def dial(self, *, timeout: float, leg: bool = False) -> Port:
        """A link with TLS done, task-owned by the caller: a TlsPort, or a TlsSocketPort for a `leg`. Raises LinkError."""
        with trio.move_on_after(timeout):
            try:
                return await self._attempt(leg)
            except LinkError as error:
                if error.code != "tls_excused":
                    raise
            return await self._attempt(leg)
        raise LinkError("dial_timeout", f"{self.address} did not answer within {timeout:g} s")

    async def _attempt(self, leg: bool) -> Port:
        plain = await self._connect()
        address = plain.peer[0] if plain.peer is not None and self.proxy is None else None
        kind = TlsSocketPort if leg else TlsPort
        port: TlsPort | TlsSocketPort | PlainPort = plain
        try:
            port = kind(plain.sock, self.tls.context_for(address, leg=leg), server_name=self.address.host)
            await port.handshake()
            self.tls.check(port.tls.getpeercert(binary_form=True))
        except TlsError as error:
            port.close()
            raise self._tls_fault(error, address) from error
        except PortBroken as error:
            port.close()
            raise LinkError("link_lost", f"{self.address} closed the connection: {error}") from error
        except BaseException:
            port.close()
            raise
        return port

    def _tls_fault(self, error: TlsError, address: str | None) -> LinkError:
        if not error.doubt:
            return LinkError("tls", f"{error}", hint="is that the tunnel port of an ngrokd?")
        if self.tls.excuse(address, error.doubt):
            return LinkError("tls_excused")
        hint = "give ngrokc the server's fingerprint with -pin (ngrokd prints it) or its CA file with -ca"
        return LinkError("certificate", f"{error}", blame=Blame.OPERATOR, hint=hint)

    async def _connect(self) -> PlainPort:
        if self.proxy is None:
            try:
                return await dial_tcp(self.address.host, self.address.port, timeout=float("inf"))
            except LinkError as error:
                raise LinkError(error.code, f"{self.address}: {error.message}") from error
        try:
            plain = await dial_tcp(self.proxy.host, self.proxy.port, timeout=float("inf"), blame=Blame.OPERATOR)
        except LinkError as error:
            raise LinkError(
                "proxy_" + error.code, f"the proxy {self.proxy}: {error.message}", blame=Blame.OPERATOR
            ) from error
        if self.proxy.tls:
            return await self._through_tls(plain)
        try:
            await connect_through(plain, self.proxy, self.address.host, self.address.port)
        except BaseException:
            plain.close()
            raise
        return plain

    async def _through_tls(self, plain: PlainPort) -> PlainPort:
        """TLS within TLS: the outer connection is relayed to a socket pair, whose far end looks like any socket."""
        assert self.proxy is not None
        outer = TlsPort(plain.sock, ssl.create_default_context(), server_name=self.proxy.host)
        try:
            await outer.handshake()
            await connect_through(outer, self.proxy, self.address.host, self.address.port)
        except TlsError as error:
            outer.close()
            raise LinkError("proxy_tls", f"the proxy {self.proxy}: {error}", blame=Blame.OPERATOR) from error
        except BaseException:
            outer.close()
            raise
        near, far = socket.socketpair()
        inner = PlainPort(near)
        outer.attach(self._reactor)
        inner.attach(self._reactor)
        Relay(self._reactor, inner, outer, on_end=lambda _end: None).start()
        return PlainPort(far)


# -- the private service
async def dial_upstream(upstream: Upstream, *, timeout: float) -> Port:
    """Connect to a private service, TLS included. The caller owns the port. Raises LinkError (blame: upstream)."""
    failure = LinkError("dial_timeout", f"no connection within {timeout:g} s", blame=Blame.UPSTREAM)
    with trio.move_on_after(timeout):
        if upstream.kind == "unix":
            try:
                stream = await trio.open_unix_socket(upstream.path)
            except OSError as error:
                raise fault_of(error, Blame.UPSTREAM) from error
            return PlainPort(socket.socket(fileno=stream.socket.detach()))
        plain = await dial_tcp(upstream.host, upstream.port, timeout=float("inf"), blame=Blame.UPSTREAM)
        return await _secure(plain, upstream) if upstream.tls else plain
    raise failure


async def _secure(plain: PlainPort, upstream: Upstream) -> TlsPort:
    context = ssl.create_default_context()
    if not upstream.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    port = TlsPort(plain.sock, context, server_name=upstream.host)
    try:
        await port.handshake()
    except PortBroken as error:
        port.close()
        certificate = isinstance(error, TlsError) and error.doubt
        hint = "set `verify: false` for a service of your own" if certificate else "does it speak https?"
        raise LinkError("tls", f"{error}", blame=Blame.UPSTREAM, hint=hint) from error
    except BaseException:
        port.close()
        raise
    return port
