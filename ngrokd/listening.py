"""Opening listening sockets: dual stack, real ports, and errors that name the flag to change. Accepting is others' business."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from protocol.address import HostPort, format_address, plain_ip
from protocol.errors import Blame, Fault
from protocol.link.listener import bind

Addresses = dict[str, list[HostPort]]
ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})  # the hosts file knows ::1, the machine does not
PUBLIC = ("http", "https")
SAME_PORT_TRIES = 20  # for port 0 on two addresses: the second may be taken


async def open_listeners(address: HostPort, flag: str) -> list[socket.socket]:
    """The sockets for `address`, all on one port; the caller closes them. Raises Fault that names `flag`."""
    try:
        if not address.host:
            return [bind("", address.port)]
        found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        hosts = sorted({str(where[0]) for _, _, _, _, where in found}, key=lambda host: ":" in host)
        return _bind_all(hosts, address.port)
    except OSError as error:
        raise cannot_listen(error, address, flag) from error


def _bind_all(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """A socket for each address of a name: `localhost` is 127.0.0.1 and ::1, and clients try either first."""
    for attempt in range(SAME_PORT_TRIES):
        sockets: list[socket.socket] = []
        try:
            for host in hosts:
                try:
                    sockets.append(bind(host, sockets[0].getsockname()[1] if sockets else port))
                except OSError as error:
                    if not (sockets and error.errno in ABSENT):
                        raise
        except OSError as error:
            for sock in sockets:
                sock.close()
            if port or error.errno != errno.EADDRINUSE or attempt == SAME_PORT_TRIES - 1:
                raise
        else:
            return sockets
    raise AssertionError("the last attempt returns or raises")


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


@dataclass(slots=True)
class Listeners:
    """Open listening sockets by the name of their flag's listener: http, https, tunnel, admin."""

    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)

    def addresses(self) -> Addresses:
        return {name: [address_of(sock) for sock in sockets] for name, sockets in self.sockets.items()}

    def ports(self) -> dict[str, int]:
        return {name: sockets[0].getsockname()[1] for name, sockets in self.sockets.items() if name in PUBLIC}

    def hand_over(self) -> dict[str, list[socket.socket]]:
        """The sockets, for those who accept on them and close them from now on."""
        found, self.sockets = self.sockets, {}
        return found

    def close(self) -> None:
        for sockets in self.sockets.values():
            for sock in sockets:
                sock.close()


def address_of(sock: socket.socket) -> HostPort:
    """Where a listening socket is, without a host when it is all of them."""
    host, port = sock.getsockname()[:2]
    return HostPort("" if host in ("::", "0.0.0.0") else plain_ip(host), port)  # noqa: S104 - compared, not bound
