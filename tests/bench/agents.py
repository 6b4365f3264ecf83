"""A crowd of idle agents: real `ngrokc.agent.Agent`s, many to a process, against an ngrokd of their own.

As a process (`python -m tests.bench.agents PORT`) it reads how many more agents to start from stdin, one number a line, and
prints how many are online once they are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import trio

from ngrokc.agent import Agent, AgentSettings
from ngrokc.events import TunnelOnline
from ngrokc.tunnel_spec import TunnelSpec
from protocol.address import HostPort, Upstream
from tests.bench.peers import ROOT, BenchFailed, Peers, Process
from tests.kit.programs import free_port, script

AT_ONCE = 20  # that connect at the same time: two handshakes each
PER_PROCESS = 1000
SETTLE = 2.0  # seconds after the last agent came, before memory is read


class Crowd:
    """The parent's side: `server` is the ngrokd that holds them."""

    def __init__(self, server: Process, port: int) -> None:
        self.server = server
        self.count = 0
        self._port = port
        self._children: list[subprocess.Popen[str]] = []
        self._room = 0

    def grow(self, more: int) -> int:
        """Start `more` agents and wait until they are online; returns how many."""
        left = more
        while left:
            if not self._room:
                self._start_child()
            step = min(left, self._room)
            child = self._children[-1]
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(f"{step}\n")
            child.stdin.flush()
            if not child.stdout.readline().startswith("online"):
                raise BenchFailed(f"the crowd broke down after {self.count} agents:\n{self.server.tail()}")
            left -= step
            self._room -= step
            self.count += step
        time.sleep(SETTLE)
        return more

    def _start_child(self) -> None:
        words = [sys.executable, "-m", "tests.bench.agents", str(self._port)]
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._children.append(child)
        self._room = PER_PROCESS

    def server_cpu(self, seconds: float) -> float:
        """The share of one core that ngrokd used over `seconds`."""
        before, began = self.server.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return (self.server.cpu_seconds() - before) / (time.monotonic() - began)

    def check(self) -> None:
        """Nobody was lost meanwhile: each child says how many are online."""
        online = 0
        for child in self._children:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("0\n")
            child.stdin.flush()
            online += int(child.stdout.readline().split()[1])
        if online != self.count:
            raise BenchFailed(f"{self.count - online} of {self.count} idle agents were lost")

    def stop(self) -> None:
        for child in self._children:
            child.kill()
            child.communicate()


@contextmanager
def crowd(peers: Peers, most: int) -> Iterator[Crowd]:
    """An ngrokd with room for `most` agents, and nobody there yet."""
    port, home = free_port(), peers.directory / "crowd"
    home.mkdir(exist_ok=True)
    flags = [f"-httpAddr=127.0.0.1:{free_port()}", "-httpsAddr=", f"-tunnelAddr=127.0.0.1:{port}"]
    flags += [f"-stateDir={home}", "-log=stdout", "-log-level=WARNING", "-logFormat=json"]
    server = peers.start(f"crowd-of-{most}", [script("ngrokd"), "-domain=localhost", *flags], dict(os.environ))
    server.wait_for_port(port)
    found = Crowd(server, port)
    try:
        yield found
    finally:
        found.stop()
        server.stop()


# -- the child's side
async def _be_a_crowd(port: int) -> None:
    agents: list[Agent] = []
    gate = trio.CapacityLimiter(AT_ONCE)
    async with trio.open_nursery() as nursery:
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            async with trio.open_nursery() as starting:
                for _ in range(int(line)):
                    name = f"crowd-{os.getpid()}-{len(agents)}"
                    upstream = Upstream("tcp", "127.0.0.1", 9)
                    agent = Agent(
                        AgentSettings(HostPort("127.0.0.1", port)), [TunnelSpec(name, {"http": upstream}, name)]
                    )
                    agents.append(agent)
                    starting.start_soon(_start, agent, nursery, gate)
            print("online", sum(agent.status().state == "online" for agent in agents), flush=True)
        nursery.cancel_scope.cancel()


async def _start(agent: Agent, nursery: trio.Nursery, gate: trio.CapacityLimiter) -> None:
    """Until its tunnel is there; it runs on in `nursery`."""
    async with gate:
        with agent.events.subscribe() as events:
            nursery.start_soon(partial(agent.run))
            async for event in events:
                if isinstance(event, TunnelOnline):
                    return


if __name__ == "__main__":
    trio.run(_be_a_crowd, int(sys.argv[1]))
