"""Notices when a private service turns visitors away for their host name, and tells the tunnel's owner once what to do.

Of each tunnel the first answer on one connection a second is looked at, whether the inspector is on or off: every answer of
such a service is the same. Beyond that a visitor costs a comparison (`Route.look_at`), and a request nothing.
"""

from __future__ import annotations

import math
from typing import Final
from urllib.parse import urlsplit

from ngrokc.blocked_host import LOOK_BYTES, Blocker, Look, advice, judge
from ngrokc.events import EventBus, Notice
from ngrokc.routes import Route
from protocol.link.relay import Relay

EVERY: Final = 1.0  # seconds between two looks at one route
PIECES: Final = 64  # of one answer; a service that sends it in more is no development server


class HostWatch:
    """One for an agent: it outlives sessions and their routes, so nobody is told twice."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._told: set[tuple[str, str]] = set()

    def watch(self, route: Route, relay: Relay, now: float) -> None:
        """Look at what `relay` (not started) brings first; `now` is the reactor's clock. For routes whose `look_at` has
        come."""
        if (route.name, route.options.host_header) in self._told:
            route.look_at = math.inf
            return
        route.look_at = now + EVERY
        relay.show_first(_FirstAnswer(self, route).see)

    def found(self, route: Route, blocker: Blocker) -> None:
        """`route`'s service is one that turns its visitors away."""
        route.look_at = math.inf
        key = (route.name, route.options.host_header)
        if key in self._told:
            return
        self._told.add(key)
        host = urlsplit(route.url).hostname or ""
        port = route.upstream.port if route.upstream is not None else 0
        header = "" if route.guard else route.options.host_header  # guard: the server knows no options
        self._bus.publish(Notice("warning", f"{route.name}: {advice(blocker, host, port, header=header)}"))


class _FirstAnswer:
    """Of one connection."""

    __slots__ = ("_pieces", "_route", "_seen", "_watch")

    def __init__(self, watch: HostWatch, route: Route) -> None:
        self._watch = watch
        self._route = route
        self._seen = b""
        self._pieces = 0

    def see(self, data: memoryview) -> bool:
        """Whether to be shown more."""
        self._pieces += 1
        self._seen += bytes(data[: LOOK_BYTES - len(self._seen)])
        found = judge(self._seen)
        if isinstance(found, Blocker):
            self._watch.found(self._route, found)
        return found is Look.MORE and self._pieces < PIECES
