"""A relay that puts a long line between the two programs: it adds half of a round trip in each direction and sends at a
given rate. As a process: `python -m tests.kit.delay PORT --rtt 0.08 --rate 125000000`, which prints its port.

Each connection has two lines of its own kind: what is read at t is written no earlier than t + rtt/2, and what waits on
the line is bounded by the product of bandwidth and delay plus a router's queue, so back-pressure reaches the sender as it
would. TCP's own handshakes are not delayed (they end here), so the first byte of a new connection waits rtt/2 less than on
a real line would its SYN; what is measured through it is compared with what is measured through it.

Plain blocking threads on purpose: it must not share the event loop, nor the failings, of what it measures.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
from collections import deque

CHUNK = 64 * 1024
SOCKET_BUFFER = 4 * 1024 * 1024


class Pacer:
    """The rate of one direction, in bytes per second (0: unlimited), shared by all connections on the line."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._free_at = 0.0
        self._lock = threading.Lock()

    def send(self, count: int) -> float:
        """The moment at which `count` more bytes have been put on the line."""
        now = time.monotonic()
        if not self.rate:
            return now
        with self._lock:
            self._free_at = max(self._free_at, now) + count / self.rate
            return self._free_at


class Line:
    """One direction of one connection. `delay` in seconds."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float, pacer: Pacer) -> None:
        self._source = source
        self._sink = sink
        self._delay = delay
        self._pacer = pacer
        rate = pacer.rate
        # What fits on the line, and a router's queue of as much again
        self._room = max(2 * int(rate * delay), 4 * CHUNK) if rate else 64 * 1024 * 1024
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._changed = threading.Condition()

    def start(self) -> None:
        threading.Thread(target=self._fill, daemon=True).start()
        threading.Thread(target=self._drain, daemon=True).start()

    def _fill(self) -> None:
        while True:
            try:
                data = self._source.recv(CHUNK)
            except OSError:
                data = b""
            due = self._pacer.send(len(data)) + self._delay
            with self._changed:
                self._changed.wait_for(lambda: self._queued < self._room)
                self._queue.append((due, data))
                self._queued += len(data)
                self._changed.notify_all()
            if not data:
                return

    def _drain(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                due, data = self._queue[0]
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            try:
                if data:
                    self._sink.sendall(data)
                else:
                    self._sink.shutdown(socket.SHUT_WR)
            except OSError:
                data = b""
                self._cut()
            with self._changed:
                self._queue.popleft()
                self._queued -= len(data)
                self._changed.notify_all()
            if not data:
                return

    def _cut(self) -> None:
        for sock in (self._source, self._sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is gone already


def serve(listener: socket.socket, target: tuple[str, int], rtt: float, rate: float) -> None:
    """Accept for ever. `rtt` in seconds, `rate` in bytes per second for each direction."""
    there, back = Pacer(rate), Pacer(rate)
    while True:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(target)
        except OSError:
            near.close()
            continue
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Line(near, far, rtt / 2, there).start()
        Line(far, near, rtt / 2, back).start()


def open_listener(port: int = 0) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    return listener


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A long line in front of a port of 127.0.0.1.")
    parser.add_argument("target", type=int)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rtt", type=float, default=0.08, help="seconds")
    parser.add_argument("--rate", type=float, default=0, help="bytes per second and direction; 0: unlimited")
    options = parser.parse_args()
    bound = open_listener(options.port)
    print(json.dumps({"port": bound.getsockname()[1]}), flush=True)
    try:
        serve(bound, ("127.0.0.1", options.target), options.rtt, options.rate)
    except KeyboardInterrupt:
        raise SystemExit(0) from None
