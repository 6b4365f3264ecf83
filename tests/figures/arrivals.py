"""Visitors that arrive at a rate, whether or not those before them have been answered: a process of its own.

    python -m tests.figures.arrivals PORT HOST RATE SECONDS

Each visitor connects, asks once and reads to the end. One epoll loop without tasks, so that it can outrun what it measures.
Prints one JSON object: for each second of arrival how many got which outcome, and how long they took.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass

OUTSTANDING = 8_000  # visitors at a time; over it arrivals are counted as `not sent`
GIVE_UP = 10.0  # seconds


@dataclass(slots=True)
class Visitor:
    sock: socket.socket
    born: float
    sent: bool = False
    data: bytes = b""


class Arrivals:
    def __init__(self, port: int, host: str) -> None:
        self.address = ("127.0.0.1", port)
        self.request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        self.epoll = select.epoll()
        self.visitors: dict[int, Visitor] = {}
        self.line: deque[Visitor] = deque()
        self.began = time.monotonic()
        self.found: list[tuple[int, str, float]] = []

    def note(self, born: float, what: str) -> None:
        self.found.append((int(born - self.began), what, time.monotonic() - born))

    def arrive(self, born: float) -> None:
        if len(self.visitors) >= OUTSTANDING:
            self.note(born, "not sent")
            return
        sock = socket.socket()
        sock.setblocking(False)
        visitor = Visitor(sock, born)
        sock.connect_ex(self.address)
        self.visitors[sock.fileno()] = visitor
        self.line.append(visitor)
        self.epoll.register(sock.fileno(), select.EPOLLOUT)

    def end(self, number: int, what: str) -> None:
        visitor = self.visitors.pop(number)
        visitor.sock.close()
        self.note(visitor.born, what)

    def event(self, number: int, mask: int) -> None:
        visitor = self.visitors.get(number)
        if visitor is None:
            return
        try:
            if not visitor.sent:
                visitor.sock.send(self.request)
                visitor.sent = True
                self.epoll.modify(number, select.EPOLLIN)
                return
            data = visitor.sock.recv(65536)
        except OSError:
            self.end(number, visitor.data[9:12].decode() if visitor.data else "reset")
            return
        visitor.data += data[: 16 - len(visitor.data)] if len(visitor.data) < 16 else b""
        if not data or mask & select.EPOLLHUP:
            self.end(number, visitor.data[9:12].decode() or "closed")

    def run(self, rate: float, seconds: float) -> None:
        due, sent = self.began, 0
        while True:
            now = time.monotonic()
            while due <= now and sent < rate * seconds:
                self.arrive(due)
                sent += 1
                due += 1 / rate
            while self.line and (self.line[0].sock.fileno() < 0 or now - self.line[0].born > GIVE_UP):
                oldest = self.line.popleft()
                if oldest.sock.fileno() >= 0:
                    self.end(oldest.sock.fileno(), "no answer")
            if sent >= rate * seconds and not self.visitors:
                return
            for number, mask in self.epoll.poll(max(0.0, min(due - now, 0.05)) if sent < rate * seconds else 0.05, 512):
                self.event(number, mask)


def main() -> None:
    port, host, rate, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    arrivals = Arrivals(port, host)
    arrivals.run(rate, seconds)
    print(json.dumps(arrivals.found))


if __name__ == "__main__":
    main()
