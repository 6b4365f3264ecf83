"""One wanted tunnel: what it is called here, what it shall be called outside, and where its visitors go. Pure.

Made by the configuration file, the command line or a program that uses the SDK; nothing else in the agent cares which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ngrokc.options import TunnelOptions
from protocol.address import Upstream
from protocol.errors import ConfigError, Fault
from protocol.names import WILDCARD, normalize_host
from protocol.secret import Secret

PROTOCOLS = ("http", "https", "tcp")  # also the order in which they are asked for, whatever the order in a file


@dataclass(frozen=True, slots=True)
class TunnelSpec:
    """`upstreams` says for each protocol where visitors go; None stands for a listener of the SDK. `auth` is
    `user:password`. `remote_port` 0 and empty names: the server chooses."""

    name: str
    upstreams: Mapping[str, Upstream | None]
    subdomain: str = ""
    hostname: str = ""
    remote_port: int = 0
    auth: Secret = field(default_factory=lambda: Secret(""))
    options: TunnelOptions = field(default_factory=TunnelOptions)

    @property
    def protocols(self) -> tuple[str, ...]:
        return tuple(protocol for protocol in PROTOCOLS if protocol in self.upstreams)

    def wire_options(self, protocol: str) -> dict[str, object]:
        """`ReqTunnel.Options` for one protocol; a tcp tunnel has no heads to edit."""
        upstream = self.upstreams[protocol]
        wire = self.options.wire(upstream.authority if upstream is not None else "localhost")
        if protocol == "tcp":
            return {key: value for key, value in wire.items() if key in ("allow_ips", "deny_ips", "on_conflict")}
        return wire

    @property
    def idle_name(self) -> str:
        """What to tell about a name that does not count, "" where all do. As in 1.7 a hostname goes before a subdomain."""
        if not (self.hostname.strip() and self.subdomain.strip()):
            return ""
        return f"tunnel {self.name}: subdomain {self.subdomain!r} does not count, hostname {self.hostname!r} goes before it"


def split_protocols(text: str) -> tuple[str, ...]:
    """`http+https` in its parts, in our order. Raises ConfigError for unknown and repeated ones."""
    parts = text.split("+")
    for part in parts:
        if part not in PROTOCOLS:
            raise ConfigError(f"{part!r} is no protocol", hint="http, https, tcp, or several joined with +")
    if len(set(parts)) != len(parts):
        raise ConfigError(f"{text!r} names a protocol twice")
    return tuple(protocol for protocol in PROTOCOLS if protocol in parts)


def check_spec(spec: TunnelSpec) -> None:
    """What can be known to be wrong before a server is asked. Raises ConfigError."""
    if not spec.upstreams:
        raise ConfigError("there is no protocol", hint="proto: {http: 8080}")
    if spec.auth and (":" not in spec.auth.reveal() or spec.auth.reveal().startswith(":")):
        raise ConfigError("auth must be user:password")
    web = "http" in spec.upstreams or "https" in spec.upstreams
    if spec.remote_port and "tcp" not in spec.upstreams:
        raise ConfigError(
            "remote_port is for tcp only", hint="http and https tunnels have names: subdomain or hostname"
        )
    if (spec.auth or spec.hostname or spec.subdomain) and not web:
        raise ConfigError(
            "auth, subdomain and hostname are for http and https only", hint="tcp tunnels have remote_port"
        )
    _check_names(spec)


def _check_names(spec: TunnelSpec) -> None:
    """Only the spelling: what may be asked for is the server's to say."""
    for what, text in (("subdomain", spec.subdomain), ("hostname", spec.hostname)):
        name = text.strip()
        if not name or (what == "subdomain" and name == "*"):
            continue
        try:
            normalize_host(name.removeprefix(WILDCARD))
        except Fault as fault:
            raise ConfigError(f"{what}: {fault.message}", hint=fault.hint) from fault


def no_upstreams(protocols: tuple[str, ...]) -> Mapping[str, Upstream | None]:
    """For the SDK's listeners."""
    return MappingProxyType(dict.fromkeys(protocols))
