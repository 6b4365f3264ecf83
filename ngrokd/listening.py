"""Opening listening sockets: dual stack, real ports, and errors that name the flag to change. Accepting is others' business."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any

import trio

from protocol.address import HostPort, format_address
from protocol.errors import Blame, Fault

BACKLOG = 4_096  # the kernel cuts it to its own limit; a burst of visitors must not meet a full queue
SAME_PORT_TRIES = 20  # for port 0 on two addresses: the second may be taken


def open_any(port: int) -> socket.socket:
    """One socket that listens on `port` (0: any) of every address, IPv6 and IPv4. Raises OSError."""
    if not socket.has_ipv6:
        return _listen(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - that is what was asked for
    try:
        return _listen(socket.AF_INET6, ("::", port), dual=True)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT):
            raise
        return _listen(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - IPv6 is off in this kernel


async def open_listeners(address: HostPort, flag: str) -> list[socket.socket]:
    """The sockets for `address`, all on one port; the caller closes them. Raises Fault that names `flag`."""
    try:
        if not address.host:
            return [open_any(address.port)]
        found: list[tuple[Any, ...]] = await trio.socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return _open_all(sorted({(family, where) for family, _, _, _, where in found}, key=str), address.port)
    except OSError as error:
        raise cannot_listen(error, address, flag) from error


def _open_all(places: Sequence[tuple[int, tuple[Any, ...]]], port: int) -> list[socket.socket]:
    for attempt in range(SAME_PORT_TRIES):
        sockets: list[socket.socket] = []
        try:
            for family, where in places:
                real = sockets[0].getsockname()[1] if sockets else port
                sockets.append(_listen(family, (where[0], real, *where[2:])))
        except OSError as error:
            for sock in sockets:
                sock.close()
            usable = [place for place in places if place[0] != socket.AF_INET6]
            if error.errno == errno.EADDRNOTAVAIL and len(usable) < len(places) and usable:
                return _open_all(
                    usable, port
                )  # `localhost` has an IPv6 address in the hosts file, the machine has none
            if port or error.errno != errno.EADDRINUSE or attempt == SAME_PORT_TRIES - 1:
                raise
        else:
            return sockets
    raise AssertionError("the last attempt returns or raises")


def _listen(family: int, where: tuple[object, ...], *, dual: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind(where)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def cannot_listen(error: OSError, address: HostPort, flag: str) -> Fault:
    """Why a listener could not be opened, in one sentence with the flag to change."""
    where = format_address(address.host, address.port) if address.host else f"port {address.port}"
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = f"run as root, give the capability CAP_NET_BIND_SERVICE, or choose a port above 1023 with -{flag}"
        return _fault(f"no permission to listen on {where}", hint)
    if error.errno == errno.EADDRINUSE:
        return _fault(f"{where} is in use by another program", f"stop that one or choose another port with -{flag}")
    if isinstance(error, socket.gaierror):
        return _fault(f"{address.host} is no address of this machine", f"change -{flag}")
    return _fault(f"can't listen on {where}: {error.strerror or error}", f"change -{flag}")


def _fault(message: str, hint: str) -> Fault:
    return Fault("cannot_listen", message, blame=Blame.OPERATOR, hint=hint)
