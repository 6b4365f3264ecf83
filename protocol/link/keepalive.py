"""Keepalives: the kernel asks silent connections whether their peer still lives."""

from __future__ import annotations

import socket
from typing import Final

PROBES: Final = 3  # without an answer: then the peer is gone


def keep_alive(sock: socket.socket, *, idle: int, every: int) -> None:
    """Ask after `idle` seconds of silence, and then each `every` seconds. Systems that can't be told keep their own times;
    unix sockets have nothing to ask. Raises OSError."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", idle), ("TCP_KEEPINTVL", every), ("TCP_KEEPCNT", PROBES)):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
