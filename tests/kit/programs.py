"""The real programs as processes: each with its own state directory and free ports, watched by their log lines.

    async with open_world(tmp_path) as world:
        server = await world.ngrokd()
        agent = await world.ngrokc({"test": {"proto": {"http": port}}})
        assert agent.urls["http"] == f"http://test.localhost:{server.http_port}"

At the end of the block whatever still runs is told to stop, must exit with 0, and no log may hold a traceback.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio

READY_WITHIN = 20.0  # seconds; a guard for a busy machine, nothing waits for it
STOP_WITHIN = 15.0
GIVE_UP_AFTER = float(os.environ.get("WORLD_SECONDS", "50"))
ROOT = Path(__file__).parent.parent.parent
URL = re.compile(r"\b(?:https?|tcp)://[A-Za-z0-9.\[\]:-]+")
TRACE = "Traceback (most recent call last)"


def script(name: str) -> str:
    """The console script beside this interpreter."""
    return str(Path(sys.executable).with_name(name))


def free_port() -> int:
    """A port that was free a moment ago, below the range from which the kernel gives outgoing connections theirs: those had
    taken one before its program could. For listeners that others must know beforehand."""
    for _ in range(1000):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no free port between 20000 and 32000")


class Program:
    """One process. `lines` is what it wrote so far, on stdout and stderr together."""

    def __init__(self, name: str, process: trio.Process) -> None:
        self.name = name
        self.process = process
        self.lines: list[str] = []
        self.expected_code: int | None = 0
        self.traceback_expected = False
        self._news = trio.Event()
        self._ended = trio.Event()
        self._seen = 0

    async def collect(self) -> None:
        """Read until the process ends. Runs in the world's nursery."""
        stream = self.process.stdout
        assert stream is not None
        buffer = b""
        async for data in stream:
            *whole, buffer = (buffer + data).split(b"\n")
            self._add(whole)
        self._add([buffer] if buffer else [])
        await self.process.wait()
        self._ended.set()
        self._tell()

    def _add(self, lines: list[bytes]) -> None:
        self.lines += [line.decode("utf-8", "replace").rstrip("\r") for line in lines]
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    async def line(self, pattern: str, *, within: float = READY_WITHIN) -> str:
        """The next line (after the last one asked for) in which `pattern` is found. Fails with the log otherwise."""
        wanted = re.compile(pattern)
        with trio.move_on_after(within):
            while True:
                while self._seen < len(self.lines):
                    line = self.lines[self._seen]
                    self._seen += 1
                    if wanted.search(line):
                        return line
                if self._ended.is_set():
                    break
                await self._news.wait()
        raise AssertionError(f"{self.name} never said {pattern!r}:\n{self.log}")

    @property
    def log(self) -> str:
        return f"--- {self.name} (exit {self.process.returncode})\n" + "\n".join(self.lines[-200:])

    @property
    def pid(self) -> int:
        return self.process.pid

    async def wait(self, *, within: float = STOP_WITHIN) -> int:
        """The exit code."""
        with trio.move_on_after(within):
            await self._ended.wait()
        assert self._ended.is_set(), f"{self.name} does not end:\n{self.log}"
        code = self.process.returncode
        assert code is not None
        return code

    async def stop(self, *, within: float = STOP_WITHIN) -> None:
        """SIGTERM, and a clean exit."""
        if self.process.returncode is None:
            self.process.terminate()
        await self.wait(within=within)

    async def kill(self) -> None:
        """SIGKILL: no farewell to anyone."""
        self.expected_code = -signal.SIGKILL
        self.process.kill()
        await self.wait()

    def check(self) -> None:
        """The exit code and the absence of tracebacks."""
        assert self.expected_code in (None, self.process.returncode), f"unexpected exit code\n{self.log}"
        assert self.traceback_expected or not any(TRACE in line for line in self.lines), self.log


class Server(Program):
    """A running ngrokd. Ports are 0 where the listener is off."""

    http_port = 0
    https_port = 0
    tunnel_port = 0
    domain = "localhost"
    pin = ""
    state: Path


class Agent(Program):
    """A running ngrokc."""

    url_list: list[str]

    @property
    def urls(self) -> dict[str, str]:
        """The last URL of each scheme."""
        return {url.partition(":")[0]: url for url in self.url_list}

    async def online(self, count: int = 1, *, within: float = READY_WITHIN) -> list[str]:
        """Wait for the next `count` different URLs."""
        found: list[str] = []
        with trio.move_on_after(within):
            while len(found) < count:
                line = await self.line("tunnel online", within=within)
                found += [url for url in URL.findall(line)[:1] if url not in found]
        assert len(found) == count, f"wanted {count} URLs, got {found}\n{self.log}"
        self.url_list = [*getattr(self, "url_list", []), *found]
        return found


P = TypeVar("P", bound=Program)
Tunnels = Mapping[str, Any]  # name -> what the configuration file says of it


class World:
    """The programs of one test, below one directory."""

    def __init__(self, path: Path, nursery: trio.Nursery) -> None:
        self.path = path
        self.programs: list[Program] = []
        self._nursery = nursery

    def environment(self, name: str) -> dict[str, str]:
        """Nothing of the user's own, and a home of its own. PYTHONPATH is where compiled modules are (`make test-compiled`)."""
        home = self.path / name
        home.mkdir(parents=True, exist_ok=True)
        kept = {
            key: os.environ[key]
            for key in ("PATH", "PYTHONPATH", "LANG", "LD_LIBRARY_PATH", "COVERAGE_PROCESS_START")
            if key in os.environ
        }
        return {
            **kept,
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }

    async def start(self, kind: type[P], name: str, words: Sequence[str]) -> P:
        """Start a process whose output is watched."""
        process = await trio.lowlevel.open_process(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=str(self.path),
            env=self.environment(name),
        )
        program = kind(name, process)
        self.programs.append(program)
        self._nursery.start_soon(program.collect)
        return program

    async def ngrokd(
        self,
        *flags: str,
        name: str = "ngrokd",
        like: Server | None = None,
        https: bool = True,
        descriptors: int | None = None,
    ) -> Server:
        """Start ngrokd and wait until it listens. `like`: with the ports and the state of an earlier one. `descriptors`:
        how many it may have."""
        ports = (
            (like.http_port, like.https_port, like.tunnel_port)
            if like
            else (free_port(), free_port() if https else 0, free_port())
        )
        state = like.state if like else self.path / name / "ngrokd-state"
        words = [
            script("ngrokd"),
            f"-domain={Server.domain}",
            f"-httpAddr=127.0.0.1:{ports[0]}",
            f"-httpsAddr=127.0.0.1:{ports[1]}" if ports[1] else "-httpsAddr=",
            f"-tunnelAddr=127.0.0.1:{ports[2]}",
            f"-stateDir={state}",
            "-log=stdout",
            "-logFormat=json",
            *flags,
        ]
        if descriptors is not None:
            words = ["/bin/sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *words]
        server = await self.start(Server, name, words)
        server.http_port, server.https_port, server.tunnel_port = ports
        server.state = state
        await server.line("ngrokd is up")
        return server

    async def ngrokc(
        self,
        tunnels: Tunnels,
        server: Server,
        *,
        name: str = "ngrokc",
        settings: Mapping[str, object] | None = None,
        online: int | None = None,
    ) -> Agent:
        """Start ngrokc with a config file that names `tunnels`, and wait until `online` URLs are there (None: one for each
        protocol of each tunnel)."""
        config = {
            "server_addr": f"127.0.0.1:{server.tunnel_port}",
            "inspect_addr": "disabled",
            "tunnels": tunnels,
            **(settings or {}),
        }
        file = self.path / f"{name}.yml"
        file.write_text(json.dumps(config, indent=2))  # JSON is YAML
        agent = await self.start(Agent, name, [script("ngrokc"), f"-config={file}", "-log=stdout", "start-all"])
        count = sum(len(tunnel["proto"]) for tunnel in tunnels.values() if isinstance(tunnel["proto"], Mapping))
        await agent.online(count if online is None else online)
        return agent

    async def start_plain(self, server: Server, *words: str, name: str = "ngrokc") -> Agent:
        """`ngrokc -server ... WORDS`, without a config file; waits for one URL."""
        flags = [f"-server=127.0.0.1:{server.tunnel_port}", "-inspectAddr=disabled", "-log=stdout", "-proto=http"]
        agent = await self.start(Agent, name, [script("ngrokc"), *flags, *words])
        await agent.online(1)
        return agent


@asynccontextmanager
async def open_world(path: Path, *, seconds: float = GIVE_UP_AFTER) -> AsyncIterator[World]:
    """The programs that a test starts; all are stopped, and looked at, at the end. After `seconds` the test hangs."""
    async with trio.open_nursery() as nursery:
        world = World(path, nursery)
        nursery.start_soon(_give_up, world, seconds)
        try:
            yield world
            for program in reversed(world.programs):  # agents first
                await program.stop()
            for program in world.programs:
                program.check()
        except BaseException:
            for program in world.programs:
                print(program.log)
            raise
        finally:
            for program in world.programs:
                if program.process.returncode is None:
                    program.process.kill()
            nursery.cancel_scope.cancel()


async def _give_up(world: World, seconds: float) -> None:
    """End a test that hangs in an orderly way, with the logs; a signal in the middle of trio would leave a mess."""
    await trio.sleep(seconds)
    raise AssertionError("the test hangs\n" + "\n".join(program.log for program in world.programs))
