"""What a user sets for one tunnel beside its name and address. Pure: no file, no YAML, no network.

Some options travel to the server (`wire`), which then enforces them; some stay here (`inspect`, `verify`,
`proxy_protocol`). A server that does not know an access option refuses it by name; a 1.7 server would drop it in silence,
so the agent enforces `allow_ips` and `deny_ips` itself there and refuses what it can't (`missing_on_classic`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from protocol.errors import ConfigError

ON_CONFLICT = ("fail", "takeover", "random")
HEADER_LIMIT = 64  # edits per direction: more is a program, not an option
VALUE_LIMIT = 8192  # bytes of one header value: what servers commonly take for a whole line

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*\Z")
_FRAMING = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Changes to a head: first `remove`, then `set` (replaces), then `add`."""

    add: tuple[tuple[str, str], ...] = ()
    set: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.set or self.remove)

    def wire(self) -> dict[str, object]:
        return {"add": dict(self.add), "set": dict(self.set), "remove": list(self.remove)}


@dataclass(frozen=True, slots=True)
class TunnelOptions:
    """The defaults are what 1.7 does, plus inspection and certificate checks towards https:// upstreams."""

    host_header: str = "preserve"
    allow_ips: tuple[str, ...] = ()
    deny_ips: tuple[str, ...] = ()
    request_headers: HeaderEdits = field(default_factory=HeaderEdits)
    response_headers: HeaderEdits = field(default_factory=HeaderEdits)
    redirect_https: bool = False
    on_conflict: str = "fail"
    proxy_protocol: int = 0
    inspect: bool = True
    verify: bool = True

    def wire(self, authority: str) -> dict[str, object]:
        """What goes into `ReqTunnel.Options`: only what differs from the defaults. `authority` is the upstream's
        host:port, which `host_header: rewrite` stands for."""
        options: dict[str, object] = {}
        if self.host_header != "preserve":
            options["host_header"] = authority if self.host_header == "rewrite" else self.host_header
        if self.allow_ips:
            options["allow_ips"] = list(self.allow_ips)
        if self.deny_ips:
            options["deny_ips"] = list(self.deny_ips)
        if self.request_headers:
            options["request_headers"] = self.request_headers.wire()
        if self.response_headers:
            options["response_headers"] = self.response_headers.wire()
        if self.redirect_https:
            options["redirect_https"] = True
        if self.on_conflict != "fail":
            options["on_conflict"] = self.on_conflict
        return options

    def lost_on_classic(self) -> list[str]:
        """Options that a 1.7 server would ignore and that the agent can't take over. None of them is about access."""
        names = self.wire("")
        return sorted(set(names) - {"allow_ips", "deny_ips"})

    def admits(self, client_addr: str) -> bool:
        """Whether a visitor may come in, judged by `StartProxy.ClientAddr`. An address that can't be read is refused as
        soon as there is any rule."""
        if not self.allow_ips and not self.deny_ips:
            return True
        try:
            address = ipaddress.ip_address(client_addr.rpartition(":")[0].strip("[]").partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        if any(address in ipaddress.ip_network(network) for network in self.deny_ips):
            return False
        return not self.allow_ips or any(address in ipaddress.ip_network(network) for network in self.allow_ips)


def network(text: str) -> str:
    """One entry of allow_ips or deny_ips in its canonical form. Raises ConfigError."""
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ConfigError(
            f"{text!r} is no address and no network", hint="for example 203.0.113.7 or 10.0.0.0/8"
        ) from None
    raise ConfigError(f"{text!r} has bits set behind its prefix", hint=f"did you mean {loose}?")


def header_edits(add: Mapping[str, str], set_: Mapping[str, str], remove: Iterable[str]) -> HeaderEdits:
    """Checked edits. Raises ConfigError for names and values that no head may carry, and for fields that frame a message
    or route it: those are the edge's own."""
    removed = tuple(remove)
    if len(add) + len(set_) + len(removed) > HEADER_LIMIT:
        raise ConfigError(f"more than {HEADER_LIMIT} header changes")
    for name in (*add, *set_, *removed):
        if not _TOKEN.match(name):
            raise ConfigError(f"{name!r} can't be the name of a header")
        if name.lower() in _FRAMING:
            hint = "use host_header" if name.lower() == "host" else ""
            raise ConfigError(f"the header {name!r} can't be changed by hand", hint=hint)
    for name, value in (*add.items(), *set_.items()):
        if not _VALUE.match(value) or len(value.encode(errors="replace")) > VALUE_LIMIT:
            raise ConfigError(
                f"the value of header {name!r} has control characters or is longer than {VALUE_LIMIT} bytes"
            )
    return HeaderEdits(tuple(add.items()), tuple(set_.items()), removed)


def host_header(text: str) -> str:
    """`preserve`, `rewrite` or a host with an optional port. Raises ConfigError."""
    if text in ("preserve", "rewrite"):
        return text
    if not re.fullmatch(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](?::[0-9]{1,5})?", text):
        raise ConfigError(f"{text!r} is no host name", hint="preserve, rewrite or a name such as app.local:3000")
    return text
