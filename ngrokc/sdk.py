"""Tunnels for programs: an agent in a few lines of trio. `ngrokc/__init__.py` shows what is public; see docs/sdk.md.

    async with ngrokc.listen(server="example.me", name=ngrokc.Name(subdomain="hello")) as listener:
        print(listener.url)
        await trio.serve_listeners(handler, [listener])

Errors: ConfigError for arguments that can't be right, before anything connects; RefusedError when the server says no.
Connection trouble is no error: the agent goes on trying, and `agent.events` tells.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType

import trio

from ngrokc.agent import Agent, AgentSettings
from ngrokc.config import server_address
from ngrokc.identity import Identity
from ngrokc.options import TunnelOptions
from ngrokc.plan import TOKEN_VARIABLE
from ngrokc.status import TunnelStatus
from ngrokc.tunnel_spec import TunnelSpec, no_upstreams, split_protocols
from ngrokc.visitor_stream import VisitorStream
from protocol.address import parse_upstream
from protocol.errors import ConfigError, Fault, RefusedError
from protocol.link.proxy_connect import parse_proxy, proxy_from_environment
from protocol.secret import Secret, new_request_id

BACKLOG = 64  # visitors that may wait for `accept`; further ones are turned away


@dataclass(frozen=True, slots=True)
class Server:
    """Where to connect, for calls that make their own agent. `token` defaults to NGROK_AUTHTOKEN."""

    address: str
    token: str = ""
    ca: str = ""
    pin: str = ""
    proxy: str = ""


@dataclass(frozen=True, slots=True)
class Name:
    """What a tunnel is to be called, and its options. All of it may be left out."""

    proto: str = "http"
    subdomain: str = ""
    hostname: str = ""
    remote_port: int = 0
    auth: str = ""
    options: TunnelOptions = TunnelOptions()  # noqa: RUF009 - frozen


class TunnelListener(trio.abc.Listener[VisitorStream]):
    """Visitors of one tunnel, as streams. Close it to take the tunnel down. `url` is its first URL, `urls` all of them."""

    def __init__(self, agent: Agent, name: str) -> None:
        self._agent = agent
        self._name = name
        self._send, self._receive = trio.open_memory_channel[VisitorStream](BACKLOG)
        self.urls: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return self.urls[0]

    def __repr__(self) -> str:
        return f"<TunnelListener {' '.join(self.urls)}>"

    async def accept(self) -> VisitorStream:
        """The next visitor; the caller owns the stream. Raises trio.ClosedResourceError after `aclose`."""
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError("the listener was closed") from None

    async def aclose(self) -> None:
        """Take the tunnel down; visitors that wait are turned away, those that were accepted stay."""
        self._send.close()
        while True:
            try:
                self._receive.receive_nowait().abort()
            except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                break
        self._receive.close()
        await self._agent.close_tunnel(self._name)

    def offer(self, visitor: VisitorStream) -> bool:
        """For the agent: whether there is room."""
        try:
            self._send.send_nowait(visitor)
        except (trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
            return False
        return True


class Forwarder:
    """A tunnel to an upstream. `url` is its first URL, `urls` all of them."""

    def __init__(self, agent: Agent, name: str, statuses: tuple[TunnelStatus, ...]) -> None:
        self._agent = agent
        self._name = name
        self.urls = tuple(status.url for status in statuses)

    @property
    def url(self) -> str:
        return self.urls[0]

    def __repr__(self) -> str:
        return f"<Forwarder {' '.join(self.urls)}>"

    async def aclose(self) -> None:
        await self._agent.close_tunnel(self._name)


class Connection:
    """A running agent. Made by `connect`; `agent` has its events and status."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def __repr__(self) -> str:
        return f"<Connection {self.agent!r}>"

    async def forward(self, upstream: str | int, name: Name | None = None) -> Forwarder:
        """Open a tunnel to `upstream` (`8080`, `host:port`, `unix:/path`, `https://host`) and wait until it is online.
        Raises ConfigError and RefusedError; then nothing is open."""
        wanted = name or Name()
        try:
            target = parse_upstream(str(upstream), verify=wanted.options.verify)
        except Fault as fault:
            raise ConfigError(fault.message, hint=fault.hint) from fault
        spec = _spec(wanted)
        spec = replace(spec, upstreams=MappingProxyType(dict.fromkeys(spec.protocols, target)))
        return Forwarder(self.agent, spec.name, await self.agent.open_tunnel(spec))

    async def listen(self, name: Name | None = None) -> TunnelListener:
        """Open a tunnel whose visitors come to this program, and wait until it is online. Errors as with `forward`."""
        spec = _spec(name or Name())
        listener = TunnelListener(self.agent, spec.name)
        statuses = await self.agent.open_tunnel(spec, offer=listener.offer)
        listener.urls = tuple(status.url for status in statuses)
        return listener


def _spec(name: Name) -> TunnelSpec:
    return TunnelSpec(
        f"sdk-{new_request_id()}",
        no_upstreams(split_protocols(name.proto)),
        subdomain=name.subdomain,
        hostname=name.hostname,
        remote_port=name.remote_port,
        auth=Secret(name.auth),
        options=name.options,
    )


def _settings(server: Server) -> AgentSettings:
    try:
        address = server_address(server.address)
    except Fault as fault:
        raise ConfigError(f"server: {fault.message}", hint=fault.hint) from fault
    proxy = (
        parse_proxy(server.proxy) if server.proxy else proxy_from_environment(os.environ, address.host, address.port)
    )
    return AgentSettings(
        server=address,
        token=Secret(server.token or os.environ.get(TOKEN_VARIABLE, "")),
        ca=server.ca,
        pin=server.pin,
        proxy=proxy,
        identity=Identity(),
    )


@asynccontextmanager
async def connect(
    server: str, *, token: str = "", ca: str = "", pin: str = "", proxy: str = ""
) -> AsyncIterator[Connection]:
    """An agent at `server` (`host` or `host:port`), connected for ever while the block runs; tunnels end with it. The block
    starts at once, before there is a connection. A server that says no for good ends the block with RefusedError."""
    agent = Agent(_settings(Server(server, token, ca, pin, proxy)))
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            nonlocal failure
            try:
                await agent.run(task_status=task_status)
            except RefusedError as error:
                failure = error
                nursery.cancel_scope.cancel()

        await nursery.start(run)
        try:
            yield Connection(agent)
        except Exception as error:  # noqa: BLE001 - raised again below, as it is and not in a group
            failure = error
        finally:
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def forward(
    upstream: str | int, *, server: str, token: str = "", pin: str = "", name: Name | None = None
) -> AsyncIterator[Forwarder]:
    """One tunnel to an upstream, with an agent of its own, as long as the block runs."""
    async with connect(server, token=token, pin=pin) as connection:
        yield await connection.forward(upstream, name)


@asynccontextmanager
async def listen(
    *, server: str, token: str = "", pin: str = "", name: Name | None = None
) -> AsyncIterator[TunnelListener]:
    """One tunnel whose visitors come to this program, with an agent of its own, as long as the block runs."""
    async with connect(server, token=token, pin=pin) as connection:
        listener = await connection.listen(name)
        try:
            yield listener
        finally:
            with trio.move_on_after(1.0, shield=True):
                await listener.aclose()
