"""From what an agent asks for to a public name: which host, which URL. Pure; who owns the name is the registry's business."""

from __future__ import annotations

from dataclasses import dataclass

from ngrokd.settings import PublicUrl
from ngrokd.tunnel import Protocol
from protocol.errors import Blame, Fault
from protocol.messages import ReqTunnel
from protocol.names import DEFAULT_PORTS, PublicName, PublicUrls, Zone

PROTOCOLS: tuple[Protocol, ...] = ("http", "https", "tcp")


@dataclass(frozen=True, slots=True)
class Naming:
    """The rules of one server: what may be asked for (`zone`), how URLs look (`urls`), and how visitors reach the http
    listener when it stands behind somebody else's proxy (`public`)."""

    zone: Zone
    urls: PublicUrls
    public: PublicUrl | None = None

    def requested(
        self, protocol: Protocol, request: ReqTunnel, *, wildcard: bool = False, native: bool = True
    ) -> PublicName | None:
        """The name that `request` asks for; None when it leaves the choice to the server. As in 1.7 a hostname wins over a
        subdomain. `wildcard`: one may be asked for (whether it may be had is for the claims to say). A 1.7 agent, not
        `native`, is shown hostnames without port, as a 1.7 server does. Raises Fault for names that may not be had."""
        if request.hostname.strip():
            host = self.zone.hostname(request.hostname, wildcard=wildcard)
            if self.public is not None:
                return self._behind_proxy(host)
            return self.urls.at_host(protocol, host, with_port=native)
        if request.subdomain.strip():
            return self.under_domain(protocol, self.zone.subdomain(request.subdomain, wildcard=wildcard))
        return None

    def under_domain(self, protocol: Protocol, name: str) -> PublicName:
        """`name` below the server's domain. Raises Fault `unsupported_protocol` without such a listener."""
        if self.public is None:
            return self.urls.under_domain(protocol, name)
        return self._behind_proxy(f"{name}.{self.public.host}")

    def _behind_proxy(self, host: str) -> PublicName:
        """Behind a proxy http and https come in by the same listener, so both have the proxy's URL."""
        assert self.public is not None
        default = DEFAULT_PORTS[self.public.scheme] == self.public.port
        return PublicName(f"{self.public.scheme}://{host}{'' if default else f':{self.public.port}'}", host)


def protocols_of(request: ReqTunnel) -> list[Protocol]:
    """The protocols of a ReqTunnel, in the order asked for. Raises Fault for an unknown, empty or doubled one."""
    found: list[Protocol] = []
    for word in request.protocol.split("+"):
        known = next((protocol for protocol in PROTOCOLS if protocol == word), None)
        if known is None:
            raise Fault(
                "unsupported_protocol",
                "a tunnel is http, https or tcp, or several of them joined by +",
                blame=Blame.AGENT,
            )
        if known in found:
            raise Fault("unsupported_protocol", f"{known} is asked for twice", blame=Blame.AGENT)
        found.append(known)
    return found
