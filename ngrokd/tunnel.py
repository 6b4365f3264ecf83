"""A tunnel: one public name or port bound by a session. Data only; it must not know sockets, the registry or the edge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ngrokd.policy import Policy
    from ngrokd.session import Session

Protocol = Literal["http", "https", "tcp"]


@dataclass(slots=True)
class Traffic:
    """What went through a tunnel; the edge counts, the admin page reads. Bytes are as the visitor sees them."""

    connections: int = 0
    live: int = 0
    up: int = 0  # visitor -> upstream
    down: int = 0  # upstream -> visitor


@dataclass(slots=True, eq=False)
class Tunnel:
    """Made by the registry, by `declare`. `url` is what the agent was told, byte for byte (StartProxy repeats it)."""

    id: str
    url: str
    protocol: Protocol
    host: str  # as routed: lower case, no port; "" for tcp
    port: int  # the public port of a tcp tunnel, else 0
    session: Session
    policy: Policy | None
    chosen: bool = True  # False: the server picked the name or port
    traffic: Traffic = field(default_factory=Traffic)

    def __repr__(self) -> str:
        return f"<Tunnel {self.url} of session {self.session.client_id[:8]} live={self.traffic.live}>"
