"""What the figures share: programs, crowds, visitors that ask until they are answered, and the table.

It knows no fault; `storms` and `faults` do.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.kit.programs import ROOT, Server, World

ASKED_PER_SECOND = 300  # tunnels in turn; more takes the cores from what it watches
ASKED_AT_ONCE = 60  # who has not been answered is given up after seconds, but its work is still done: a queue of such
# visitors would only grow, and nobody be answered in time, long after all agents are back
PATIENCE = 240.0  # seconds until a crowd must be there


class Table:
    """Rows are printed at once: a run that is stopped has said what it knew."""

    def add(self, name: str, what: str, value: str) -> None:
        print(f"{name:4} | {what:68} | {value}", flush=True)


class CrowdProcess:
    """The parent's end of `tests.figures.crowd`."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._buffer = b""

    async def ask(self, command: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        await self.process.stdin.send_all(command.encode() + b"\n")
        while b"\n" not in self._buffer:
            data = await self.process.stdout.receive_some()
            assert data, "the crowd broke down"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def online(self, count: int) -> list[str]:
        """Wait until all have their URL; the URLs."""
        with trio.fail_after(PATIENCE):
            while True:
                urls: list[str] = await self.ask("urls")
                if sum(map(bool, urls)) == count:
                    return urls
                await trio.sleep(0.2)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


class Stage:
    """The programs of one figure. `world` has the real ones."""

    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        self.world = world
        self.nursery = nursery
        self.crowds: list[CrowdProcess] = []

    async def crowd(
        self, server: Server, count: int, kind: str = "mixed", env: Mapping[str, str] | None = None
    ) -> CrowdProcess:
        words = [sys.executable, "-m", "tests.figures.crowd", str(server.tunnel_port), str(count), kind]
        process = await trio.lowlevel.open_process(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=str(ROOT), env={**os.environ, **(env or {})}
        )
        self.crowds.append(CrowdProcess(process))
        return self.crowds[-1]


@asynccontextmanager
async def open_stage(path: Path) -> AsyncIterator[Stage]:
    """Everything is killed at the end: the figures are taken by then."""
    async with trio.open_nursery() as nursery:
        stage = Stage(World(path, nursery), nursery)
        try:
            yield stage
        finally:
            for process in [one.process for one in stage.crowds] + [one.process for one in stage.world.programs]:
                if process.returncode is None:
                    process.kill()
            nursery.cancel_scope.cancel()


# -- visitors
async def ask(url: str, path: str = "/", *, within: float = 5.0) -> bytes:
    """The whole answer of one request on a connection of its own, b"" when there is none. Names resolve to loopback."""
    host, _, port = url.partition("://")[2].partition(":")
    data = b""
    with contextlib.suppress(OSError), trio.move_on_after(within):
        async with await trio.open_tcp_stream("127.0.0.1", int(port)) as stream:
            head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
            await stream.send_all(head.encode())
            with contextlib.suppress(trio.BrokenResourceError):
                while more := await stream.receive_some():
                    data += more
                    if url.startswith("tcp:") and b"\r\n\r\n" in data:
                        break
    return data


async def answered(urls: list[str], *, share: float = 0.99, within: float = PATIENCE) -> tuple[float, float]:
    """Ask all until they answer 200; the moments (trio's clock) when `share` of them had, and when all had. The latter is
    infinite when some never did. A visitor that hangs holds up few others."""
    moments: list[float] = []
    turn, room = trio.Lock(), trio.CapacityLimiter(ASKED_AT_ONCE)

    async def one(url: str) -> None:
        while True:
            async with turn:
                await trio.sleep(1 / ASKED_PER_SECOND)
            async with room:
                answer = await ask(url, within=2.0)
            if b" 200 " in answer[:16]:
                moments.append(trio.current_time())
                return

    with trio.move_on_after(within):
        async with trio.open_nursery() as nursery:
            for url in urls:
                nursery.start_soon(one, url)
    moments += [float("inf")] * (len(urls) - len(moments))
    return moments[max(0, int(len(urls) * share + 0.999) - 1)], moments[-1]


async def load(urls: list[str], per_second: float, failures: list[float]) -> None:
    """Visitors at this rate until cancelled; `failures` gets the moment of each that was not answered 200."""

    async def one(url: str) -> None:
        if b" 200 " not in (await ask(url))[:16]:
            failures.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        number = 0
        while True:
            nursery.start_soon(one, urls[number % len(urls)])
            number += 1
            await trio.sleep(1 / per_second)


async def attempt(name: str, run: Callable[[Stage, Table], Awaitable[None]], table: Table, *, within: float) -> bool:
    """One figure on a stage of its own; whether it came to its end within so many seconds. If not, the table says why."""
    with tempfile.TemporaryDirectory(prefix="figures-") as directory:
        try:
            with trio.fail_after(within):
                async with open_stage(Path(directory)) as stage:
                    await run(stage, table)
        except* (AssertionError, trio.TooSlowError) as group:
            table.add(name, "broke down", "; ".join(map(str, group.exceptions))[-2000:])
        else:
            return True
    return False
