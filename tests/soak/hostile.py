"""Crowds that mean no good, and what a normal visitor notices of them."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.kit.http1 import Wire
from tests.kit.programs import Server, open_world
from tests.kit.upstream import open_upstream
from tests.soak.mixture import held

HOST = b"calm.localhost"
ASKED = 200  # requests of the normal visitor, 50 a second
SLOWEST = 0.2  # seconds for 99 of 100
KIB_EACH = 16  # of memory for each hostile connection that says next to nothing


def _silent(_: int) -> bytes:
    return b""


def _half_head(number: int) -> bytes:
    return b"GET /%d HTTP/1.1\r\nHost: calm.localhost\r\nX: " % number


def _slow_reader(_: int) -> bytes:
    return b"GET /bytes/100000000 HTTP/1.1\r\nHost: calm.localhost\r\n\r\n"


def _half_body(_: int) -> bytes:
    return b"POST /upload HTTP/1.1\r\nHost: calm.localhost\r\nContent-Length: 100000\r\n\r\nabc"


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "silent": _silent, "half-heads": _half_head, "flood": _half_head, "slow-readers": _slow_reader, "half-bodies": _half_body,
}  # fmt: skip


@dataclass(frozen=True)
class Calm:
    """What the normal visitor saw, and what the crowd cost the server."""

    kind: str
    count: int
    times: list[float]
    failed: int
    memory: int

    @property
    def p99(self) -> float:
        return sorted(self.times)[int(len(self.times) * 0.99)] if self.times else float("inf")

    def faults(self) -> list[str]:
        found = [f"{self.failed} requests of the normal visitor failed"] if self.failed else []
        if self.p99 > SLOWEST:
            found.append(f"p99 {self.p99 * 1000:.0f} ms, wanted {SLOWEST * 1000:.0f}")
        return found

    def text(self) -> str:
        half = sorted(self.times)[len(self.times) // 2] if self.times else float("inf")
        line = f"{self.kind}: {self.count} connections; a normal visitor: median {half * 1000:.1f} ms, "
        line += f"p99 {self.p99 * 1000:.1f} ms; "
        line += f"memory of ngrokd +{self.memory / (1 << 20):.1f} MiB ({self.memory / 1024 / max(self.count, 1):.1f} KiB each)"
        return "\n".join([line, *self.faults()])


async def stall(path: Path, count: int, kind: str, *, asked: int = ASKED) -> Calm:
    """`count` connections of a kind, and a normal visitor meanwhile. A flood makes them anew all the time."""
    path.mkdir(parents=True, exist_ok=True)
    async with open_upstream() as upstream, open_world(path, seconds=600) as world:
        server = await world.ngrokd(https=False)
        await world.ngrokc({"calm": {"proto": {"http": upstream.http_port}}}, server)
        await _ask(server, 20, [])
        before = held(server).memory
        async with trio.open_nursery() as nursery:
            crowd = _Crowd(server.http_port, HOSTILE[kind])
            if kind == "flood":
                nursery.start_soon(crowd.flood, min(count, 500))
            else:
                await crowd.gather(count)
            times: list[float] = []
            failed = await _ask(server, asked, times)
            memory = held(server).memory - before
            made = crowd.made
            nursery.cancel_scope.cancel()
        crowd.leave()
        await _ask(server, 1, [])
        for program in world.programs:
            await program.kill()  # the crowd's last bytes are nobody's business
            program.expected_code = None
    return Calm(kind, made, times, failed, memory)


async def _ask(server: Server, count: int, times: list[float]) -> int:
    """A normal visitor's requests, each on a connection of its own; how many failed."""
    failed = 0
    for _ in range(count):
        began = time.monotonic()
        try:
            with trio.fail_after(10):
                async with await trio.open_tcp_stream("127.0.0.1", server.http_port) as stream:
                    await stream.send_all(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST)
                    failed += (await Wire(stream).answer()).status != 200
        except (OSError, trio.TooSlowError, trio.BrokenResourceError):
            failed += 1
        times.append(time.monotonic() - began)
        await trio.sleep(max(0.0, 0.02 - times[-1]))
    return failed


class _Crowd:
    """Plain sockets of this process, from many loopback addresses (one has 28 000 ports)."""

    def __init__(self, port: int, says: Callable[[int], bytes]) -> None:
        self._port = port
        self._says = says
        self._sockets: list[socket.socket] = []
        self.made = 0

    async def gather(self, count: int) -> None:
        for number in range(count):
            self._sockets.append(self._connect(number))
            if number % 50 == 49:
                await trio.sleep(0.01)
        await trio.sleep(1 + count / 500)  # what they ask for fills every buffer first

    async def flood(self, at_a_time: int) -> None:
        """Half heads, dropped at random and made anew."""
        pick = random.Random(1)
        for number in range(10_000_000):
            self._sockets.append(self._connect(number))
            if len(self._sockets) > at_a_time:
                self._sockets.pop(pick.randrange(len(self._sockets))).close()
            if number % 4 == 3:
                await trio.sleep(0.001)

    def _connect(self, number: int) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        sock.bind((f"127.0.{number % 40}.2", 0))
        try:
            sock.connect(("127.0.0.1", self._port))
        except BlockingIOError:
            pass  # loopback: it is done by the time anybody looks
        try:
            sock.send(self._says(number))
        except (BlockingIOError, OSError):
            pass  # not connected yet: a silent one, then
        self.made += 1
        return sock

    def leave(self) -> None:
        for sock in self._sockets:
            sock.close()
