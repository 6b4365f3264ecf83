"""Which visitor belongs to which tunnel, on the agent's side. Pure but for the dial addresses worked out beforehand.

A route is what one tunnel over one protocol needs when a visitor comes; the table finds it by the server's tunnel id or,
as in 1.7, by the URL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ngrokc.options import TunnelOptions
from protocol.address import Upstream
from protocol.link.connect_now import Address, addresses, can_connect_now
from protocol.messages import StartProxy

if TYPE_CHECKING:
    from ngrokc.visitor_stream import VisitorStream

Offer = Callable[["VisitorStream"], bool]


@dataclass(slots=True, eq=False)
class Route:
    """One public URL. `upstream` None: visitors go to `offer`, the listener of a program (False: its queue is full).
    `guard`: whether the agent itself has to check addresses, because the server does not know the option."""

    name: str
    url: str
    protocol: str
    tunnel_id: str
    upstream: Upstream | None
    options: TunnelOptions
    offer: Offer | None = None
    guard: bool = False
    choices: Sequence[Address] = field(default=())
    """Where `connect_now` dials; empty when a task has to do it."""
    look_at: float = 0.0
    """When (the reactor's clock) `HostWatch` wants to see a connection of this route again."""

    def __post_init__(self) -> None:
        if not self.web:
            self.look_at = math.inf
        if self.upstream is not None and can_connect_now(self.upstream):
            self.choices = addresses(self.upstream)

    @property
    def web(self) -> bool:
        return self.protocol != "tcp"


class Routes:
    """The routes of one session. Kept while streams of the session can still come, also after its control link ended."""

    __slots__ = ("_by_id", "_by_url", "_late")

    def __init__(self) -> None:
        self._late: list[Callable[[], None]] = []
        self._by_id: dict[str, Route] = {}
        self._by_url: dict[str, Route] = {}

    def __len__(self) -> int:
        return len(self._by_url)

    def __repr__(self) -> str:
        return f"<Routes {' '.join(self._by_url)}>"

    def add(self, route: Route) -> None:
        if route.tunnel_id:
            self._by_id[route.tunnel_id] = route
        self._by_url[route.url] = route
        late, self._late = self._late, []
        for callback in late:
            callback()

    def when_added(self, callback: Callable[[], None]) -> None:
        """Call once, when the next route is added."""
        self._late.append(callback)

    def remove(self, route: Route) -> None:
        """Forget exactly this route; one that took its place stays."""
        for table, key in ((self._by_id, route.tunnel_id), (self._by_url, route.url)):
            if table.get(key) is route:
                del table[key]

    def find(self, start: StartProxy) -> Route | None:
        """The route of a visitor: by id where the server sends one, else by URL."""
        found = self._by_id.get(start.tunnel_id) if start.tunnel_id else None
        return found or self._by_url.get(start.url)

    def by_id(self, tunnel_id: str) -> Route | None:
        return self._by_id.get(tunnel_id)
