"""An inspector for tests: its parts without a server (`Bench`), and a serving one with a fake agent (`open_inspection`)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio

from ngrokc.events import EventBus
from ngrokc.inspect.body import Vault
from ngrokc.inspect.conversation import Conversation
from ngrokc.inspect.inspector import Inspector
from ngrokc.inspect.intake import Intake
from ngrokc.inspect.model import Exchange, Origin
from ngrokc.inspect.settings import InspectSettings, Limits
from ngrokc.inspect.spool import Spool
from ngrokc.inspect.store import Store
from ngrokc.inspect.tap import HttpTap
from ngrokc.options import TunnelOptions
from ngrokc.status import AgentStatus, TunnelStatus
from ngrokc.tunnel_spec import TunnelSpec
from protocol.address import Upstream
from protocol.errors import Fault

ORIGIN = Origin("test", "http://test.example.me", "http", "conn-1", "203.0.113.7:5555")


def request(method: str = "GET", path: str = "/", body: bytes = b"", kind: str = "", extra: str = "") -> bytes:
    """A request as the wire has it."""
    head = f"{method} {path} HTTP/1.1\r\nHost: test.example.me\r\n{extra}"
    if body:
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def answer(body: bytes = b"", kind: str = "text/plain", status: str = "200 OK", extra: str = "") -> bytes:
    """An answer as the wire has it."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


class Bench:
    """Everything between tap and store. Call `close` at the end when bodies may have been spooled."""

    def __init__(self, limits: Limits | None = None, parent: Path | None = None) -> None:
        self.limits = limits or Limits()
        self.spool = Spool(parent, disk=self.limits.disk, queue=self.limits.spool_queue)
        self.store = Store(Vault(self.limits, self.spool), time.time)
        self.intake = Intake(self.store, self.limits)
        self.done: list[Exchange] = []

    def talk(self, origin: Origin = ORIGIN) -> Conversation:
        return Conversation(self.store, origin, self.done.append)

    def tap(self, origin: Origin = ORIGIN) -> HttpTap:
        return HttpTap(self.intake, self.intake.lane(origin.tunnel), partial(self.talk, origin))

    def exchanges(self) -> list[Exchange]:
        """All that the store holds, oldest first."""
        self.intake.drain()
        return [entry for entry in reversed(list(self.store.newest())) if isinstance(entry, Exchange)]

    def close(self) -> None:
        self.spool.close()


@dataclass(slots=True)
class FakeRoute:
    """What the agent knows about one public URL."""

    upstream: Upstream | None
    name: str = "test"
    url: str = "http://test.example.me"
    protocol: str = "http"
    options: TunnelOptions = field(default_factory=TunnelOptions)


@dataclass(slots=True)
class FakeVisit:
    conn_id: str = "c1"
    client_addr: str = "203.0.113.7:5555"


class FakeAgent:
    """An agent with tunnels that are simply there."""

    def __init__(self, *routes: FakeRoute) -> None:
        self.events = EventBus()
        self.routes = list(routes)
        self.asked: list[TunnelSpec] = []
        self.refusal: Fault | None = None

    def status(self) -> AgentStatus:
        tunnels = tuple(
            TunnelStatus(r.name, r.protocol, "online", r.url, str(r.upstream or "this program"), "", "")
            for r in self.routes
        )
        return AgentStatus(
            state="online",
            reason="",
            server="127.0.0.1:4443",
            server_version="ngrokd 0.1.0",
            session_id="s",
            client_id="c",
            caps=("mux",),
            latency=0.0123,
            tunnels=tunnels,
            connections=7,
            active=1,
            up=1000,
            down=2000,
        )

    async def open_tunnel(self, spec: TunnelSpec) -> tuple[TunnelStatus, ...]:
        self.asked.append(spec)
        if self.refusal is not None:
            raise self.refusal
        for protocol, upstream in spec.upstreams.items():
            self.routes.append(FakeRoute(upstream, spec.name, f"{protocol}://{spec.name}.example.me", protocol))
        return tuple(tunnel for tunnel in self.status().tunnels if tunnel.name == spec.name)

    async def close_tunnel(self, name: str) -> bool:
        before = len(self.routes)
        self.routes = [route for route in self.routes if route.name != name]
        return len(self.routes) < before


class Inspection:
    """A serving inspector with a fake agent, and a client that has the token."""

    def __init__(self, inspector: Inspector, agent: FakeAgent, client: httpx.AsyncClient) -> None:
        self.inspector = inspector
        self.agent = agent
        self.client = client

    @property
    def route(self) -> FakeRoute:
        return self.agent.routes[0]

    def send(self, request: bytes, answer: bytes = b"", *, end: bool = True, reason: str | None = None) -> str:
        """One visitor's connection with one exchange; the id."""
        tap = self.inspector.open(self.route, FakeVisit())
        assert isinstance(tap, HttpTap)
        tap.up(memoryview(request))
        if answer:
            tap.down(memoryview(answer))
        if end:
            tap.closed(reason)
        tap.work(float("inf"))
        return next(self.inspector.store.newest()).id

    async def json(self, path: str) -> Any:
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def open_inspection(
    upstream: Upstream | None = None, settings: InspectSettings | None = None
) -> AsyncIterator[Inspection]:
    """For the length of the block."""
    inspector = Inspector(settings or InspectSettings(port=0, version="9.9"))
    agent = FakeAgent(FakeRoute(upstream or Upstream("tcp", "127.0.0.1", 1)))
    async with trio.open_nursery() as nursery:
        await nursery.start(inspector.serve, agent)
        headers = {"authorization": f"Bearer {inspector.token.secret.reveal()}"}
        async with httpx.AsyncClient(base_url=inspector.base_url, headers=headers, trust_env=False) as client:
            yield Inspection(inspector, agent, client)
        nursery.cancel_scope.cancel()


def from_thread(it: Inspection, request: bytes, answer: bytes, *, end: bool = True) -> str:
    """As `Inspection.send`, for the thread of a browser."""
    return trio.from_thread.run_sync(partial(it.send, request, answer, end=end))
