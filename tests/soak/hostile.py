"""Crowds that mean no good, and what a normal visitor notices of them.

The crowd has an agent and a service of its own, both at the lowest priority: they stand for other machines. Otherwise what a
slow crowd costs *them* (a service accepts its thousands one after the other) would pass for unfairness of ngrokd. The normal
visitor has its own too, and the same path, listener and loop of ngrokd as the crowd.
"""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from tests.kit.programs import ROOT, Server, open_world
from tests.kit.upstream import open_upstream
from tests.kit.visitor import open_visitor, trusting
from tests.soak.mixture import held

HOST = "calm.localhost"
CROWD = "crowd.localhost"
LOWEST = 19
FILL_SECONDS, FILL_STEP = 20, 1 << 20
ASKED = 200  # requests of the normal visitor in each half, 50 a second
SLOWEST = 0.2  # seconds for 99 of 100
KIB_EACH = 20  # of memory for each hostile connection that says next to nothing


def _silent(_: int) -> bytes:
    return b""


def _half_head(number: int) -> bytes:
    return b"GET /%d HTTP/1.1\r\nHost: crowd.localhost\r\nX: " % number


def _slow_reader(_: int) -> bytes:
    return b"GET /bytes/100000000 HTTP/1.1\r\nHost: crowd.localhost\r\n\r\n"


def _half_body(_: int) -> bytes:
    return b"POST /upload HTTP/1.1\r\nHost: crowd.localhost\r\nContent-Length: 100000\r\n\r\nabc"


def _half_hello(_: int) -> bytes:
    """The record header and the beginning of a ClientHello, which says that more of it comes."""
    return bytes.fromhex("16030102000100 01fc0303") + bytes(40)


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "silent": _silent, "half-heads": _half_head, "flood": _half_head, "slow-readers": _slow_reader, "half-bodies": _half_body,
    "tls-silent": _silent, "tls-half-hellos": _half_hello, "tls-flood": _half_hello, "tls-half-heads": _half_head,
    "tls-slow-readers": _slow_reader,
}  # fmt: skip
HANDSHAKEN = ("tls-half-heads", "tls-slow-readers")  # these say it through TLS, the other tls kinds instead of it
TLS_KIB_EACH = 72  # of who has begun a handshake: OpenSSL's state
HANDSHAKES = 2000  # of these at most: the crowd's half of each costs this process as much as ngrokd


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


@asynccontextmanager
async def _service() -> AsyncIterator[int]:
    """The crowd's service, a process of its own: its port for http."""
    words = [sys.executable, "-m", "tests.kit.upstream"]
    process = await trio.lowlevel.open_process(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=str(ROOT))
    assert process.stdout is not None
    try:
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some(4096)
        os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST)
        yield json.loads(line)["http"]
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def stall(path: Path, count: int, kind: str, *, asked: int = ASKED) -> Calm:
    """`count` connections of a kind, and a normal visitor meanwhile. A flood makes them anew all the time."""
    path.mkdir(parents=True, exist_ok=True)
    https = kind.startswith("tls-")
    scheme = "https" if https else "http"
    async with open_upstream() as upstream, _service() as port, open_world(path, seconds=600) as world:
        server = await world.ngrokd(https=https)
        await world.ngrokc({"calm": {"proto": {scheme: upstream.http_port}}}, server)
        agent = await world.ngrokc({"crowd": {"proto": {scheme: port}}}, server, name="crowd")
        os.setpriority(os.PRIO_PROCESS, agent.pid, LOWEST)
        await _ask(server, 20, [], https=https)
        before = held(server).memory
        async with trio.open_nursery() as nursery:
            failed = 0
            crowd = _Crowd(server.https_port if https else server.http_port, HOSTILE[kind], tls=kind in HANDSHAKEN)
            times: list[float] = []
            if kind.endswith("flood"):
                nursery.start_soon(crowd.flood, min(count, 500))
            else:  # while they come, and while what they asked for fills every buffer
                failed = await _beside(
                    crowd.gather,
                    min(count, HANDSHAKES) if kind in HANDSHAKEN else count,
                    partial(_ask, server, asked, times, https=https),
                )
                await _full(server)
            failed += await _ask(server, asked, times, https=https)
            memory = held(server).memory - before
            made = crowd.made
            nursery.cancel_scope.cancel()
        crowd.leave()
        await _ask(server, 1, [], https=https)
        for program in world.programs:
            await program.kill()  # the crowd's last bytes are nobody's business
            program.expected_code = None
    return Calm(kind, made, times, failed, memory)


async def _beside(gather: Callable[[int], Awaitable[None]], count: int, ask: Callable[[], Awaitable[int]]) -> int:
    """What `ask` gives, asked while the crowd gathers."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gather, count)
        return await ask()


async def _full(server: Server) -> None:
    """Until the crowd makes ngrokd grow no more; its service may be slow."""
    with trio.move_on_after(FILL_SECONDS):
        last, now = 0, held(server).memory
        while now - last > FILL_STEP:
            await trio.sleep(1)
            last, now = now, held(server).memory


async def _ask(server: Server, count: int, times: list[float], *, https: bool) -> int:
    """A normal visitor's requests, each on a connection of its own; how many failed."""
    failed = 0
    port = server.https_port if https else server.http_port
    tls = trusting() if https else None
    for _ in range(count):
        began = time.monotonic()
        try:
            with trio.fail_after(10):
                async with open_visitor(port, HOST, tls=tls) as visitor:
                    failed += (await visitor.ask()).status != 200
        except (OSError, trio.TooSlowError, trio.BrokenResourceError):
            failed += 1
        times.append(time.monotonic() - began)
        await trio.sleep(max(0.0, 0.02 - times[-1]))
    return failed


class _Crowd:
    """Plain sockets of this process, from many loopback addresses (one has 28 000 ports)."""

    def __init__(self, port: int, says: Callable[[int], bytes], *, tls: bool = False) -> None:
        self._port = port
        self._tls = trusting() if tls else None
        self._says = says
        self._sockets: list[socket.socket] = []
        self.made = 0

    async def gather(self, count: int) -> None:
        for number in range(count):
            if self._tls is not None:
                await trio.to_thread.run_sync(self._shake, self._tls, number)
                continue
            self._sockets.append(self._connect(number))
            if number % 50 == 49:
                await trio.sleep(0.01)

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

    def _shake(self, context: ssl.SSLContext, number: int) -> None:
        """One that says it through TLS. Blocks."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind((f"127.0.{number % 40}.2", 0))
        sock.settimeout(20)
        sock.connect(("127.0.0.1", self._port))
        shaken = context.wrap_socket(sock, server_hostname=CROWD)
        shaken.sendall(self._says(number))
        self._sockets.append(shaken)
        self.made += 1

    def leave(self) -> None:
        for sock in self._sockets:
            sock.close()
