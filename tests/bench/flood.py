"""Bulk over HTTP: a service that floods and swallows, and a visitor that does the opposite for some seconds.

What iperf3 is for tcp tunnels: bytes without meaning, moved with as few calls as Python can. `serve` runs as a process of its
own; so does the visitor, because it must not share an interpreter with the bench.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

CHUNK = 1 << 20  # bytes to a call; the kernel takes what it has room for
WARM_UP = 0.3  # seconds that do not count: windows grow
ENDLESS = 1 << 50  # the length of an upload that ends when the visitor leaves


def serve() -> None:
    """Print the port, then serve until killed: GET is answered with zeros without end, anything else is read."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_answer, args=(sock,), daemon=True).start()


def _answer(sock: socket.socket) -> None:
    room = bytearray(CHUNK)
    with sock:
        try:
            if sock.recv_into(room) and room.startswith(b"GET "):
                sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                zeros = bytes(CHUNK)
                while True:
                    sock.sendall(zeros)
            while sock.recv_into(room):
                pass
        except OSError:
            pass  # the visitor has enough


def visit(port: int, host: str, seconds: float, *, down: bool) -> float:
    """Gbit/s that came (down) or were taken (up) after the warm-up."""
    room = memoryview(bytearray(CHUNK))
    head = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"
    if not down:
        head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {ENDLESS}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(head.encode())
        move = sock.recv_into if down else sock.send
        _move_for(move, room, WARM_UP)
        began = time.perf_counter()
        count = _move_for(move, room, seconds)
        return count * 8 / (time.perf_counter() - began) / 1e9


def _move_for(move: Callable[[memoryview], int], room: memoryview, seconds: float) -> int:
    end, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        moved = move(room)
        if not moved:
            raise SystemExit("the flood ended early")
        count += moved
    return count


def flood(port: int, host: str, *, seconds: float, down: bool) -> float:
    """`visit` in a process of its own. Raises CalledProcessError when the way was not clear."""
    words = [sys.executable, "-m", "tests.bench.flood", "down" if down else "up", str(port), host, f"{seconds:g}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=seconds + 60)
    return float(done.stdout)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        print(visit(int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), down=sys.argv[1] == "down"))
