"""Many agents in one process, with the private service behind them. Started by `tests.figures.liveness`, commanded on stdin.

    python -m tests.figures.crowd PORT COUNT KIND     ("mixed": a third has a name, a third a random one, a third a tcp port)

Each command is one line and gets one line of JSON: `urls` (by agent, those that are online), `drops` (sessions that were lost
since the last time), `notices`, `cut` (every connection to the server ends now, without a goodbye),
`identity` (of the first agent).
It must not measure: that is the parent's business, on another loop.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from functools import partial

import trio

from ngrokc.agent import Agent, AgentSettings
from ngrokc.events import Notice, StateChanged, TunnelClosed
from ngrokc.identity import Identity
from ngrokc.tunnel_spec import TunnelSpec
from protocol.address import HostPort, Upstream
from protocol.secret import Secret

AT_ONCE = 20  # that begin at the same time; only the start is paced, what comes after is the agents' own affair
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


async def serve_visitor(name: bytes, stream: trio.SocketStream) -> None:
    """Answer each request with `name`; `/hang` gets no answer, `/half` half of one."""
    async with stream:
        try:
            while data := await stream.receive_some(65536):
                if data.startswith(b"GET /half"):
                    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
                elif not data.startswith(b"GET /hang"):
                    await stream.send_all(ANSWER % (len(name), name))
        except trio.BrokenResourceError:
            return  # the visitor, or its agent, left


class Crowd:
    """The agents of this process."""

    def __init__(self, port: int, service: int) -> None:
        self.port = port
        self.agents: list[Agent] = []
        self.dropped: list[str] = []
        self.noticed: list[str] = []
        self._service = service
        self._gate = trio.CapacityLimiter(AT_ONCE)

    def add(self, name: str, kind: str, identity: Identity) -> Agent:
        protocol = "tcp" if kind == "tcp" else "http"
        upstreams = {protocol: Upstream("tcp", "127.0.0.1", self._service)}
        spec = TunnelSpec(name, upstreams, name if kind == "named" else "")
        agent = Agent(AgentSettings(HostPort("127.0.0.1", self.port), identity=identity), [spec])
        self.agents.append(agent)
        return agent

    async def run(self, agent: Agent) -> None:
        async with trio.open_nursery() as nursery:
            with agent.events.subscribe(visitors=False) as events:
                async with self._gate:
                    nursery.start_soon(partial(agent.run))
                    while agent.status().state != "online":
                        await trio.sleep(0.02)
                async for event in events:
                    if isinstance(event, StateChanged) and event.state == "reconnecting":
                        self.dropped.append(event.reason)
                    elif isinstance(event, Notice):
                        self.noticed.append(event.message)
                    elif isinstance(event, TunnelClosed):
                        self.dropped.append(f"{event.code}: {event.message}")

    def obey(self, command: str) -> object:
        match command:
            case "urls":
                tunnels = [agent.status().tunnels for agent in self.agents]
                return [one[0].url if one and one[0].state == "online" else "" for one in tunnels]
            case "drops":
                dropped, self.dropped = self.dropped, []
                return dropped
            case "notices":
                return self.noticed
            case "cut":
                return cut(self.port)
            case _:
                identity = self.agents[0].settings.identity
                return [identity.client_id, identity.ticket.reveal()]


def cut(port: int) -> int:
    """End every connection of this process to `port`, both ways; how many."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            copy = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue  # no socket, or the list's own descriptor
        with copy:
            try:
                if copy.getpeername()[1:2] == (port,):
                    copy.shutdown(socket.SHUT_RDWR)
                    count += 1
            except OSError:
                continue  # a listener, or one that has ended already
    return count


async def main(port: int, count: int, kind: str) -> None:
    kinds = ("named", "random", "tcp") if kind == "mixed" else (kind,)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, partial(serve_visitor, str(os.getpid()).encode()), 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        crowd = Crowd(port, listeners[0].socket.getsockname()[1])
        words = os.environ.get("CROWD_IDENTITY", "").split()
        identity = Identity(words[0], Secret(words[1])) if words else None
        for number in range(count):
            agent = crowd.add(f"crowd{number}", kinds[number % len(kinds)], identity or Identity())
            nursery.start_soon(crowd.run, agent)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            print(json.dumps(crowd.obey(line.strip())), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
