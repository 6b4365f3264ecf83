"""How the agent fares, as one frozen value: for screens, the inspector's API and programs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ngrokc.events import State
from ngrokc.tunnels import EndpointState, TunnelBook


@dataclass(frozen=True, slots=True)
class TunnelStatus:
    """One protocol of one tunnel. `url` is the last one it had; `message` says why it is not online."""

    name: str
    protocol: str
    state: EndpointState
    url: str
    upstream: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """The agent as it is now. `latency` in seconds, None before the first round trip; bytes since the agent started."""

    state: State
    reason: str
    server: str
    server_version: str
    session_id: str
    client_id: str
    caps: tuple[str, ...]
    latency: float | None
    tunnels: tuple[TunnelStatus, ...]
    connections: int
    active: int
    up: int
    down: int


def tunnel_statuses(book: TunnelBook, name: str | None = None) -> tuple[TunnelStatus, ...]:
    """One entry for each protocol of each tunnel, or of the tunnel `name`."""
    return tuple(
        TunnelStatus(
            tunnel.name,
            endpoint.protocol,
            endpoint.state,
            endpoint.url,
            str(tunnel.spec.upstreams[endpoint.protocol] or "this program"),
            endpoint.code,
            endpoint.message,
        )
        for tunnel in book
        if name is None or tunnel.name == name
        for endpoint in tunnel.endpoints.values()
    )
