"""Keepalives of TCP sockets; unix sockets have none."""

from __future__ import annotations

import socket

from protocol.link.keepalive import PROBES, keep_alive


def test_the_kernel_is_told_when_to_ask() -> None:
    with socket.socket() as sock:
        keep_alive(sock, idle=20, every=5)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        told = [
            sock.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        ]
        assert told == [20, 5, PROBES]


def test_a_unix_socket_has_nothing_to_ask() -> None:
    near, far = socket.socketpair()
    with near, far:
        keep_alive(near, idle=20, every=5)
        assert not near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
