"""What wrk cannot do: many visitors who stay, a thousand who come at once, and the first byte for a new one.

Plain sockets on one epoll set, so that the generator costs as little as Python can.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.peers import SMALL, BenchFailed


def _request(host: str) -> bytes:
    return f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def burst(port: int, host: str, count: int) -> float:
    """`count` new visitors at once, each one request: seconds until the last answer was whole and right."""
    request = _request(host)
    poll = select.epoll()
    waiting: dict[int, tuple[socket.socket, bytearray]] = {}
    began = time.perf_counter()
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", port))
        waiting[sock.fileno()] = (sock, bytearray())
        poll.register(sock, select.EPOLLOUT)
    try:
        while waiting:
            events = poll.poll(30)
            if not events:
                raise BenchFailed(f"{len(waiting)} of {count} visitors got no answer within 30 s")
            for number, event in events:
                sock, received = waiting[number]
                if event & select.EPOLLOUT:
                    sock.send(request)
                    poll.modify(sock, select.EPOLLIN)
                    continue
                data = sock.recv(65536)
                received += data
                if received.endswith(SMALL) or not data:
                    poll.unregister(number)
                    del waiting[number]
                    sock.close()
                    _check(received)
        return time.perf_counter() - began
    finally:
        for sock, _ in waiting.values():
            sock.close()
        poll.close()


def _check(received: bytes | bytearray) -> None:
    if not received.startswith(b"HTTP/1.1 200") or not received.endswith(SMALL):
        raise BenchFailed(f"a visitor got {bytes(received[:200])!r}")


def ask(sock: socket.socket, host: str) -> float:
    """One request on an open connection: seconds until its first byte. The answer is read and checked."""
    began = time.perf_counter()
    sock.sendall(_request(host))
    received = sock.recv(65536)
    first = time.perf_counter() - began
    while received and not received.endswith(SMALL):
        received += sock.recv(65536)
    _check(received)
    return first


@contextmanager
def staying(port: int, host: str, count: int) -> Iterator[list[socket.socket]]:
    """`count` visitors who made one request each and keep their connection open."""
    visitors = []
    try:
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port), timeout=30)
            visitors.append(sock)
            ask(sock, host)
        yield visitors
    finally:
        for sock in visitors:
            sock.close()


def first_byte(port: int, host: str) -> tuple[float, float]:
    """A new visitor: seconds to the first byte from the moment of dialling, and that of a second request."""
    began = time.perf_counter()
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected = time.perf_counter() - began
        return connected + ask(sock, host), ask(sock, host)
    finally:
        sock.close()
