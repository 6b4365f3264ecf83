"""The tunnels an agent wants and how each of them fares. Pure: says what to ask, takes in what was answered.

A tunnel is one entry of the configuration; over each of its protocols it has an `Endpoint` with a URL of its own. The book
outlives sessions; what a session asked and has not heard of yet is in `Asked`, which dies with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ngrokc.backoff import Backoff
from ngrokc.routes import Offer, Route
from ngrokc.tunnel_spec import TunnelSpec
from protocol.errors import Fault
from protocol.messages import NewTunnel, ReqTunnel
from protocol.secret import new_request_id

EndpointState = Literal["waiting", "online", "refused", "closed"]
RETRY_FIRST = 5.0  # seconds until a refused tunnel is asked for again: a taken name is mostly ours from before
RETRY_LONGEST = 60.0
# Refusals that waiting does not change: somebody has to edit the configuration here or the server's. The next login asks
# once more, for the server may be another by then. Not so rights and port ranges: a running server can be given others, and
# codes that are not known here may pass, as those of a taken name do.
FOR_GOOD = frozenset({
    "bad_name", "reserved_name", "lookalike_name", "unsupported_protocol", "unknown_option", "bad_option"
})  # fmt: skip


@dataclass(slots=True, eq=False)
class Endpoint:
    """One protocol of one tunnel."""

    protocol: str
    state: EndpointState = "waiting"
    url: str = ""
    code: str = ""
    message: str = ""
    route: Route | None = None

    @property
    def hopeless(self) -> bool:
        """Refused, and asking again in this session would bring the same answer."""
        return self.state == "refused" and self.code in FOR_GOOD


@dataclass(slots=True, eq=False)
class WantedTunnel:
    """One tunnel. `given_up`: not asked for by itself any more (taken over by somebody, closed by the server)."""

    spec: TunnelSpec
    offer: Offer | None = None
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    given_up: bool = False
    refusals: int = 0
    backoff: Backoff = field(default_factory=lambda: Backoff(RETRY_FIRST, RETRY_LONGEST))

    def __post_init__(self) -> None:
        self.endpoints = {protocol: Endpoint(protocol) for protocol in self.spec.protocols}

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def missing(self) -> tuple[str, ...]:
        """The protocols that are not online."""
        return tuple(name for name, endpoint in self.endpoints.items() if endpoint.state != "online")


class TunnelBook:
    """All wanted tunnels by name."""

    def __init__(self, specs: Iterator[TunnelSpec] | list[TunnelSpec] | tuple[TunnelSpec, ...] = ()) -> None:
        self._tunnels = {spec.name: WantedTunnel(spec) for spec in specs}

    def __iter__(self) -> Iterator[WantedTunnel]:
        return iter(list(self._tunnels.values()))

    def __len__(self) -> int:
        return len(self._tunnels)

    def __contains__(self, name: str) -> bool:
        return name in self._tunnels

    def get(self, name: str) -> WantedTunnel | None:
        return self._tunnels.get(name)

    def add(self, tunnel: WantedTunnel) -> None:
        """Raises Fault `tunnel_exists` for a name that is taken here."""
        if tunnel.name in self._tunnels:
            raise Fault("tunnel_exists", f"there is a tunnel called {tunnel.name!r} already")
        self._tunnels[tunnel.name] = tunnel

    def remove(self, name: str) -> WantedTunnel | None:
        return self._tunnels.pop(name, None)

    def session_lost(self) -> None:
        """Nothing is online without a session. What was refused is asked for anew by the next one."""
        for tunnel in self._tunnels.values():
            for endpoint in tunnel.endpoints.values():
                if endpoint.state != "closed":
                    endpoint.state = "waiting"
                endpoint.route = None

    def in_asking_order(self) -> list[WantedTunnel]:
        """What to ask for at login. Refused ones last: a 1.7 server ends a session whose first tunnel it refuses."""
        return sorted((tunnel for tunnel in self if not tunnel.given_up), key=lambda tunnel: tunnel.refusals)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a NewTunnel says about which tunnel. `protocols` has one entry when online, all that failed when refused."""

    tunnel: WantedTunnel
    protocols: tuple[str, ...]
    message: NewTunnel


@dataclass(slots=True, eq=False)
class _Request:
    req_id: str
    tunnel: WantedTunnel
    left: list[str]


class Asked:
    """Requests of one session that are not answered in full. `native`: the server echoes ReqId on errors, too."""

    def __init__(self, *, native: bool) -> None:
        self._native = native
        self._open: deque[_Request] = deque()

    def __len__(self) -> int:
        return len(self._open)

    def requests(self, tunnel: WantedTunnel) -> list[ReqTunnel]:
        """The messages to send for what `tunnel` misses and may get, in order; they are expected to be answered from now on.

        Native: protocols with equal options go in one request, which the server grants whole or not at all. Towards
        1.7 each protocol is asked for on its own: it would give the second one the first one's port.
        """
        pending = {protocol for request in self._open if request.tunnel is tunnel for protocol in request.left}
        pending |= {protocol for protocol, endpoint in tunnel.endpoints.items() if endpoint.hopeless}
        missing = [protocol for protocol in tunnel.missing if protocol not in pending]
        return [self._request(tunnel, group) for group in self._groups(tunnel, missing)]

    def _groups(self, tunnel: WantedTunnel, missing: list[str]) -> list[list[str]]:
        if self._native:
            groups: list[list[str]] = []
            for protocol in missing:
                options = tunnel.spec.wire_options(protocol)
                for group in groups:
                    if tunnel.spec.wire_options(group[0]) == options:
                        group.append(protocol)
                        break
                else:
                    groups.append([protocol])
            return groups
        if _nameless(tunnel.spec) and not _label(tunnel):
            web = [protocol for protocol in missing if protocol != "tcp"]
            missing = [protocol for protocol in missing if protocol == "tcp" or protocol == web[0]]
        return [[protocol] for protocol in missing]

    def _request(self, tunnel: WantedTunnel, protocols: list[str]) -> ReqTunnel:
        spec = tunnel.spec
        request = _Request(new_request_id(), tunnel, list(protocols))
        self._open.append(request)
        web = protocols != ["tcp"]
        options = spec.wire_options(protocols[0]) if self._native else None
        return ReqTunnel(
            req_id=request.req_id,
            protocol="+".join(protocols),
            hostname=spec.hostname if web else "",
            subdomain=(spec.subdomain or (_label(tunnel) if not spec.hostname else "")) if web else "",
            http_auth=spec.auth.reveal() if web else "",
            remote_port=spec.remote_port if "tcp" in protocols else 0,
            options=options or None,
        )

    def answered(self, message: NewTunnel) -> Answer | None:
        """Which request this belongs to; None for an answer to nothing. A refusal ends its whole request."""
        request = next((entry for entry in self._open if message.req_id and entry.req_id == message.req_id), None)
        if request is None and message.error and not message.req_id and self._open:
            request = self._open[0]  # 1.7 names nothing on errors, but answers in order
        if request is None:
            return None
        if message.error:
            self._open.remove(request)
            return Answer(request.tunnel, tuple(request.left), message)
        if message.protocol not in request.left:
            return None
        request.left.remove(message.protocol)
        if not request.left:
            self._open.remove(request)
        return Answer(request.tunnel, (message.protocol,), message)


def _nameless(spec: TunnelSpec) -> bool:
    return not spec.subdomain and not spec.hostname


def _label(tunnel: WantedTunnel) -> str:
    """The name that the server has chosen for one web protocol of a nameless tunnel, for the other one to share."""
    if not _nameless(tunnel.spec):
        return ""
    for endpoint in tunnel.endpoints.values():
        if endpoint.protocol != "tcp" and endpoint.state == "online":
            return endpoint.url.partition("://")[2].partition(".")[0]
    return ""
