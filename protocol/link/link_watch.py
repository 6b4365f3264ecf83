"""Finds connections whose path has died under them, for visitors that have one of their own. Legs ping; these carry a visitor's
bytes alone, so TCP has to tell.

Where bytes are under way and nothing has been acknowledged for DEAD_AFTER, at two looks in a row, the path is dead. A reader
that is merely slow has closed its window: nothing is under way then but probes, which it answers, so it is left alone
(TCP_USER_TIMEOUT would end it). Probes without an answer mean that not even the first hop is there. Silent connections are
asked by keepalives. Systems that do not tell leave it at those.
"""

from __future__ import annotations

import socket
import struct
from functools import partial
from typing import Final

from protocol.link.keepalive import keep_alive
from protocol.link.plain import SocketPort
from protocol.link.port import Callback
from protocol.link.reactor import Reactor

LOOK_EVERY: Final = 4.0  # seconds, as legs ping
DEAD_AFTER: Final = 10.0  # seconds without an acknowledgement
KEEPALIVE_SECONDS: Final = 10  # how long a silent one may go unasked
_PROBES: Final = 3  # offsets in Linux' struct tcp_info (linux/tcp.h): probes since the last answer,
_UNACKED: Final = 24  # segments under way,
_LAST_ACK: Final = 56  # and milliseconds since the last acknowledgement
_INFO_BYTES: Final = 60


class LinkWatch:
    """Watches the ports that are added until they are let go of; one for all sessions, which they may outlive."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self._suspects: dict[SocketPort, bool] = {}  # whether the last look found it unanswered
        self._timer = reactor.timer(self._look)

    def __len__(self) -> int:
        return len(self._suspects)

    def add(self, port: SocketPort, gone: Callback) -> None:
        """Watch `port` (attached); `gone` is called when its socket is let go of."""
        keep_alive(port.sock, idle=KEEPALIVE_SECONDS, every=3)
        self._suspects[port] = False
        port.gone = partial(self._gone, port, gone)
        if not self._timer.armed:
            self._timer.set(LOOK_EVERY)

    def _gone(self, port: SocketPort, tell: Callback) -> None:
        self._suspects.pop(port, None)
        tell()

    def _look(self) -> None:
        for port, suspected in list(self._suspects.items()):
            unanswered = unanswered_for(port.sock) >= DEAD_AFTER
            self._suspects[port] = unanswered
            if unanswered and suspected:
                _end_path(port.sock)
        if self._suspects:
            self._timer.set(LOOK_EVERY)


def unanswered_for(sock: socket.socket) -> float:
    """Seconds since the other side acknowledged anything, while bytes or more than one probe are under way to it; 0 while none
    are, and where the system does not tell."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return 0.0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, option, _INFO_BYTES)
    except OSError:
        return 0.0
    if len(info) < _INFO_BYTES:
        return 0.0
    (unacked,) = struct.unpack_from("=I", info, _UNACKED)
    (milliseconds,) = struct.unpack_from("=I", info, _LAST_ACK)
    return milliseconds / 1000 if unacked or info[_PROBES] > 1 else 0.0


def _end_path(sock: socket.socket) -> None:
    """Whoever owns the port reads the end of a connection that said no goodbye, and its writes fail."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has just ended
