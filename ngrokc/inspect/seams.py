"""What the inspector asks of its surroundings, as protocols: a route, a visitor's connection, an agent.

They are the shapes of ngrokc.routes, ngrokc.proxy and ngrokc.agent, so those fit without knowing this package, and tests
bring their own.
"""

from __future__ import annotations

from typing import Protocol

from ngrokc.events import EventBus
from ngrokc.options import TunnelOptions
from ngrokc.status import AgentStatus, TunnelStatus
from ngrokc.tunnel_spec import TunnelSpec
from protocol.address import Upstream


class RouteLike(Protocol):
    """One public URL and where its visitors go (ngrokc.routes.Route)."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def upstream(self) -> Upstream | None: ...
    @property
    def options(self) -> TunnelOptions: ...


class VisitLike(Protocol):
    """One visitor's connection (ngrokc.proxy.Visit)."""

    @property
    def conn_id(self) -> str: ...
    @property
    def client_addr(self) -> str: ...


class AgentLike(Protocol):
    """The agent, as ngrokc.agent.Agent offers itself."""

    @property
    def events(self) -> EventBus: ...
    def status(self) -> AgentStatus: ...
    async def open_tunnel(self, spec: TunnelSpec) -> tuple[TunnelStatus, ...]: ...
    async def close_tunnel(self, name: str) -> bool: ...
