"""Listening sockets that systemd opened and hands over (sd_listen_fds(3)): with `ngrokd.socket` the service needs no right
to open low ports, and nobody is refused while it restarts.

Names (FileDescriptorName=) say whose a socket is: http, https or tunnel. Knows nothing of what is done with them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

from protocol.link.listener import set_options

FIRST_FD: Final = 3  # sd_listen_fds(3): they begin behind standard error
NAMES: Final = frozenset({"http", "https", "tunnel"})


def activated(environ: Mapping[str, str], *, first: int = FIRST_FD) -> dict[str, list[socket.socket]]:
    """The sockets by name; empty when systemd gave none to this very process. The caller owns them. A descriptor with
    another name, or one that is no stream socket, is left alone."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[socket.socket]] = {}
    for number in range(min(int(count), len(names))):
        if names[number] in NAMES and (sock := _stream_socket(first + number)) is not None:
            found.setdefault(names[number], []).append(sock)
    return found


def _stream_socket(fd: int) -> socket.socket | None:
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        return None
    if sock.type != socket.SOCK_STREAM:
        sock.detach()
        return None
    os.set_inheritable(fd, False)
    set_options(sock)
    return sock
