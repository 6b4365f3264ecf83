"""Addresses as people write them and as the wire shows them: ports, hosts, upstreams, visitors.

Only text: nothing is resolved or dialled here. A bad address raises Fault `bad_address` with a hint; whoever read it from
a file or flag adds where it stood.
"""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from protocol.errors import Blame, Fault
from protocol.names import normalize_host

LOOPBACK = "127.0.0.1"  # what 1.7 puts where an address names only a port
MAX_PORT = 65535
MAX_UNIX_PATH = 107  # sun_path on Linux, without its terminator
_MAPPED = "::ffff:"
_SCHEME_PORTS = (("http", 80), ("https", 443))


def _bad(message: str, hint: str = "") -> Fault:
    return Fault("bad_address", message, blame=Blame.OPERATOR, hint=hint)


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host name or IP address (IPv6 without brackets; "" means every interface) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_address(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Upstream:
    """The private service: `tcp` with host and port, or `unix` with a path. `tls`: dial it with TLS; `verify`: check its
    certificate (only for services of one's own is False sensible)."""

    kind: Literal["tcp", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False
    verify: bool = True

    def __str__(self) -> str:
        """The shortest text that `parse_upstream` reads back (but for `verify`)."""
        if self.kind == "unix":
            return f"unix:{self.path}"
        return ("https://" if self.tls else "") + format_address(self.host, self.port)

    @property
    def authority(self) -> str:
        """What a browser on the same machine would send as Host: no default port; `localhost` for a unix socket."""
        if self.kind == "unix":
            return "localhost"
        default = self.port == (443 if self.tls else 80)
        return _bracketed(self.host) if default else format_address(self.host, self.port)


def parse_port(text: str, *, zero: bool = False) -> int:
    """A port number from text: decimal ASCII digits, 1 to 65535, or from 0 with `zero`. Raises Fault."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise _bad("a port is a number from 1 to 65535")
    port = int(text)
    if port > MAX_PORT or (port == 0 and not zero):
        raise _bad("a port is a number from 1 to 65535")
    return port


def parse_address(text: str, *, host: str = LOOPBACK, port: int | None = None, zero: bool = False) -> HostPort:
    """`host:port`, `[v6]:port`, `:port` or `port`; `host` stands where none is written. With a default `port` a bare host
    will do as well. `zero` allows port 0 (pick one). Raises Fault."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return HostPort(host, parse_port(text, zero=zero))
    name, port_text = _split(text)
    if port_text is None:
        if port is None or not name:
            raise _bad("the address needs a port", "write host:port")
        return HostPort(_host(name), port)
    return HostPort(_host(name) if name else host, parse_port(port_text, zero=zero))


def parse_listen(text: str) -> HostPort:
    """Where to listen: as `parse_address`, but without a host it is every interface (""), and port 0 picks one."""
    return parse_address(text, host="", zero=True)


def parse_upstream(text: str, *, verify: bool = True) -> Upstream:
    """The private service in any form we accept: `8080`, `:8080`, `host:8080`, `[::1]:8080`, `unix:/path`,
    `http://host[:port]`, `https://host[:port]`. Raises Fault."""
    text = text.strip()
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    if "://" in text:
        return _from_url(text, verify)
    found = parse_address(text)
    return Upstream("tcp", found.host, found.port, verify=verify)


def _unix(path: str) -> Upstream:
    path = "/" + path.lstrip("/") if path.startswith("//") else path  # unix:///run/app.sock is common too
    if not path or "\0" in path:
        raise _bad("a unix upstream needs a path", "write unix:/path/to/socket")
    if len(path.encode("utf-8", "surrogateescape")) > MAX_UNIX_PATH:
        raise _bad(f"the path of a unix socket has at most {MAX_UNIX_PATH} bytes")
    return Upstream("unix", path=path)


def _from_url(text: str, verify: bool) -> Upstream:
    try:
        url = urlsplit(text)
    except ValueError:
        raise _bad("the address is not a URL") from None
    default = dict(_SCHEME_PORTS).get(url.scheme)
    if default is None:
        raise _bad("an upstream URL begins with http:// or https://", "or write host:port")
    if "@" in url.netloc:
        raise _bad("an upstream URL carries no user name", "set `request_headers` for credentials")
    if url.path not in ("", "/") or url.query or url.fragment or text.endswith(("?", "#")):
        raise _bad(
            "an upstream URL has no path: visitors' paths are passed as they are", "leave out what follows the port"
        )
    found = parse_address(url.netloc, port=default)
    return Upstream("tcp", found.host, found.port, tls=url.scheme == "https", verify=verify)


def _split(text: str) -> tuple[str, str | None]:
    """Host (IPv6 keeps its brackets) and the text after the last colon, None without one. Raises Fault."""
    if text.startswith("["):
        name, bracket, rest = text.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _bad("an IPv6 address is written [address]:port")
        return name + bracket, rest[1:] if rest else None
    if text.count(":") > 1:
        raise _bad("an IPv6 address needs brackets", f"write [{_MAPPED[:2]}1]:port")
    name, colon, port = text.partition(":")
    return name, port if colon else None


def _host(name: str) -> str:
    """A host as written: brackets off, checked, in lower case. Raises Fault."""
    if not name.startswith("["):
        try:
            return normalize_host(name)
        except Fault as fault:
            if _plain_name(name):
                return name.lower()  # names of machines and containers may have underscores
            raise _bad(fault.message, fault.hint) from None
    try:
        return str(ipaddress.IPv6Address(name[1:-1]))
    except ValueError:
        raise _bad("this is not an IPv6 address") from None


def _plain_name(name: str) -> bool:
    return len(name) <= 253 and name.isascii() and name.replace("_", "").replace("-", "").replace(".", "").isalnum()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def format_address(host: str, port: int) -> str:
    """`host:port`, IPv6 in brackets."""
    return f"{_bracketed(host)}:{port}"


def plain_ip(host: str) -> str:
    """An IP address as a socket gives it, IPv4-mapped IPv6 shown as IPv4, without a zone. Other text is left alone."""
    if ":" not in host:
        return host
    host = host.partition("%")[0]
    if host[:7].lower() == _MAPPED:
        with contextlib.suppress(ValueError):
            return str(ipaddress.IPv6Address(host).ipv4_mapped or host)
    return host


def client_addr(host: str, port: int) -> str:
    """StartProxy.ClientAddr: `ip:port`, IPv6 in brackets, IPv4-mapped shown as IPv4."""
    return format_address(plain_ip(host), port)


def parse_client_addr(text: str) -> HostPort:
    """A ClientAddr from the other side: an IP address, never a name, and a port (0 to 65535). Raises Fault."""
    found = parse_address(text, zero=True)
    try:
        ipaddress.ip_address(found.host)
    except ValueError:
        raise _bad("this is not an IP address and a port") from None
    return HostPort(plain_ip(found.host), found.port)
